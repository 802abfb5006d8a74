package placement

import "iter"

// Source is in the place of a holder's number: who had the piece first.
const Source = -1

// The fan-outs of a tree. Two sends least from each, three is less deep.
const (
	MinFan = 2
	MaxFan = 3
)

// Parent is from whom the i-th holder pulls, where each sends to fan others and so does the source: ⌊(i − fan) ÷ fan⌋, or Source for the first fan of them.
func Parent(i, fan int) int {
	if i < fan {
		return Source
	}
	return i/fan - 1
}

// Children are who pulls from the i-th of n holders, or with Source from the source.
func Children(i, n, fan int) []int {
	var all []int
	for c := (i + 1) * fan; c < min(n, (i+2)*fan); c++ {
		all = append(all, c)
	}
	return all
}

// Depth is how many steps the last of n holders is away from the source.
func Depth(n, fan int) int {
	depth := 0
	for i := n - 1; i != Source && n > 0; i = Parent(i, fan) {
		depth++
	}
	return depth
}

// Parents gives from whom the i-th holder pulls, and from whom instead where that one is lost or slow: its parent, then the others before it in the order, beginning
// at a place of its own, so that the children of a lost parent do not all go to one; the source last, unless it is the parent. All but the source come before i, so nobody waits for one who waits for him.
func Parents(i, fan int) iter.Seq[int] {
	return func(yield func(int) bool) {
		parent := Parent(i, fan)
		if !yield(parent) {
			return
		}
		first := parent - 1 - i%fan
		for k := range i {
			if at := ((first-k)%i + i) % i; at != parent && !yield(at) {
				return
			}
		}
		if parent != Source {
			yield(Source)
		}
	}
}
