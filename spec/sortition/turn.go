package sortition

import (
	"bytes"
	"cmp"
	"slices"
)

// Member is who holds a seat.
type Member struct {
	Node           Key
	Owner, Network string
	SinceEpoch     uint64
	SinceHeight    int64
	Guardian       bool // exempt from the draw
	Leaving        bool // asked to step down
}

// Candidate is who claimed a seat by a winning draw.
type Candidate struct {
	Node           Key
	Owner, Network string
	Rank           Rank
}

// Rules are those of a committee. An owner or a network may hold any number of seats where its limit is 0.
type Rules struct {
	Seats, PerOwner, PerNetwork uint32
	Draw                        bool // draws are on; before that a committee only grows
}

// Guarded are the rules of a committee while guardians sit in it: it has at most three seats less one for each of them, so that they are more than a
// third, whatever the number of seats in the rules. A lone guardian, which has two seats by that, sends nobody away where up to four sit: of two
// seats neither can be absent for a block.
func (r Rules) Guarded(sitting []Member) Rules {
	guardians := 0
	for _, m := range sitting {
		if m.Guardian {
			guardians++
		}
	}
	if guardians > 0 {
		r.Seats = min(r.Seats, uint32(max(3*guardians-1, min(len(sitting), 4))))
	}
	return r
}

// Turn decides how a committee changes at the end of an epoch: who leaves, who enters, and who stands by until the next turn.
//
//  1. Guardians stay. The others leave in order: who asked to, then who sat longest.
//  2. While there is room to grow, the best claims enter.
//  3. Where a vote made the committee smaller, the first in that order leave for nobody.
//  4. If draws are on, the best claims replace the first in that order, a third of the committee at most. Without a claim that fits
//     they stay on: the committee never shrinks for want of claims.
//  5. The other claims are the substitutes, the best first.
//
// Growing, shrinking and replacing together change at most budget seats. A claim fits while its owner and network stay within their
// limits; members beyond a limit (a vote lowered it) are not sent away for it. A member's own claim counts only when it is to leave by age in
// step 4: then it may stay by that claim, and is found in enter though it is not in leave. It sits anew from then, and that counts as a change.
func Turn(sitting []Member, claims []Candidate, budget uint32, r Rules) (leave []Key, enter []Candidate, substitutes []Candidate) {
	t := seat(sitting, r)
	order := leaving(sitting) // 1
	queue := slices.SortedFunc(slices.Values(claims), byRank)
	left, third, seats := int(budget), len(sitting)/3, len(sitting)

	for ; left > 0 && seats < int(r.Seats); left, seats = left-1, seats+1 { // 2
		c, found := t.best(queue, nil)
		if !found {
			break
		}
		enter = append(enter, c)
	}
	for ; left > 0 && len(order) > 0 && seats > max(int(r.Seats), 1); left, seats = left-1, seats-1 { // 3
		t.count(order[0].Node, order[0].Owner, order[0].Network, -1)
		leave, order = append(leave, order[0].Node), order[1:]
	}
	if r.Draw { // 4
		for _, m := range order[:max(0, min(left, third, len(order)))] {
			own := &m.Node
			if m.Leaving {
				own = nil
			}
			t.count(m.Node, m.Owner, m.Network, -1)
			c, found := t.best(queue, own)
			if !found {
				t.count(m.Node, m.Owner, m.Network, +1)
				continue
			}
			if c.Node != m.Node {
				leave = append(leave, m.Node)
			}
			enter = append(enter, c)
		}
	}
	for _, m := range sitting { // 5
		if m.Leaving {
			t.sits[m.Node] = true // it asked to go: its claim does not bring it back
		}
	}
	return leave, enter, t.others(queue)
}

// Replace decides about one seat within an epoch: gone is absent, or asked to step down. The first substitute that fits takes its place.
// Without one the seat is left empty only while at least two thirds of size, the seats at the epoch's opening, stay on: else an absent
// seat is still better than a smaller committee. Without budget nothing changes. rest are the substitutes that are left.
func Replace(sitting []Member, gone Key, subs []Candidate, size uint32, budget uint32, r Rules) (enter *Candidate, leave bool, rest []Candidate) {
	enter, leave, rest = Expel(sitting, gone, subs, r)
	if alone := leave && enter == nil; budget == 0 || alone && 3*(len(sitting)-1) < 2*int(size) {
		return nil, false, slices.SortedFunc(slices.Values(subs), byRank)
	}
	return enter, leave, rest
}

// Expel decides about a seat that signed two blocks: it leaves whatever the budget is, for the first substitute that fits or for nobody,
// unless it is the last.
func Expel(sitting []Member, gone Key, subs []Candidate, r Rules) (enter *Candidate, leave bool, rest []Candidate) {
	t := seat(sitting, r)
	queue := slices.SortedFunc(slices.Values(subs), byRank)
	at := slices.IndexFunc(sitting, func(m Member) bool { return m.Node == gone })
	if at < 0 {
		return nil, false, queue
	}
	t.count(gone, sitting[at].Owner, sitting[at].Network, -1)
	if c, found := t.best(queue, nil); found {
		enter = &c
	} else if len(sitting) == 1 {
		return nil, false, queue
	}
	t.sits[gone] = true // it does not come back for itself
	return enter, true, t.others(queue)
}

// table is the committee as it would be after what was decided so far.
type table struct {
	rules            Rules
	before           map[Key]bool // who sat at the beginning
	sits             map[Key]bool
	owners, networks map[string]int
}

func seat(sitting []Member, r Rules) *table {
	t := &table{rules: r, before: map[Key]bool{}, sits: map[Key]bool{}, owners: map[string]int{}, networks: map[string]int{}}
	for _, m := range sitting {
		t.before[m.Node] = true
		t.count(m.Node, m.Owner, m.Network, +1)
	}
	return t
}

func (t *table) count(node Key, owner, network string, by int) {
	t.sits[node] = by > 0
	t.owners[owner] += by
	t.networks[network] += by
}

// best seats the first claim of the queue that fits. Of those who sat at the beginning only own, if there is one, may enter.
func (t *table) best(queue []Candidate, own *Key) (Candidate, bool) {
	for _, c := range queue {
		if t.sits[c.Node] || t.before[c.Node] && (own == nil || *own != c.Node) || !t.fits(c) {
			continue
		}
		t.count(c.Node, c.Owner, c.Network, +1)
		return c, true
	}
	return Candidate{}, false
}

func (t *table) fits(c Candidate) bool {
	return (t.rules.PerOwner == 0 || t.owners[c.Owner] < int(t.rules.PerOwner)) &&
		(t.rules.PerNetwork == 0 || t.networks[c.Network] < int(t.rules.PerNetwork))
}

// others are the claims of those who do not sit, each node once.
func (t *table) others(queue []Candidate) (rest []Candidate) {
	for _, c := range queue {
		if !t.sits[c.Node] {
			t.sits[c.Node] = true
			rest = append(rest, c)
		}
	}
	return rest
}

// leaving gives the members that the draw may send away, in the order in which they leave.
func leaving(sitting []Member) []Member {
	order := slices.DeleteFunc(slices.Clone(sitting), func(m Member) bool { return m.Guardian })
	slices.SortFunc(order, func(a, b Member) int {
		return cmp.Or(
			-cmp.Compare(asked(a), asked(b)),
			cmp.Compare(a.SinceEpoch, b.SinceEpoch),
			cmp.Compare(a.SinceHeight, b.SinceHeight),
			bytes.Compare(a.Node[:], b.Node[:]),
		)
	})
	return order
}

func asked(m Member) int {
	if m.Leaving {
		return 1
	}
	return 0
}

// byRank orders claims; two of one rank, which only a broken hash could give, go by their nodes, and then by all else, so that the order in
// which claims came in never counts.
func byRank(a, b Candidate) int {
	return cmp.Or(a.Rank.Compare(b.Rank), bytes.Compare(a.Node[:], b.Node[:]), cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Network, b.Network))
}
