package placement

import (
	"slices"
	"testing"
)

func TestTheTreeIsOneTree(t *testing.T) {
	for fan := MinFan; fan <= MaxFan; fan++ {
		for n := range 60 {
			sent := map[int]int{}
			for i := range n {
				p := Parent(i, fan)
				if p >= i {
					t.Fatalf("fan %d: %d pulls from %d", fan, i, p)
				}
				if sent[p]++; sent[p] > fan {
					t.Fatalf("fan %d: %d sends to %d", fan, p, sent[p])
				}
				if !slices.Contains(Children(p, n, fan), i) {
					t.Fatalf("fan %d: %d is no child of its parent %d", fan, i, p)
				}
			}
			for i := Source; i < n; i++ {
				if got := len(Children(i, n, fan)); got != sent[i] {
					t.Fatalf("fan %d: %d of %d has %d children, want %d", fan, i, n, got, sent[i])
				}
			}
		}
	}
	for _, row := range []struct{ n, fan, want int }{{0, 2, 0}, {1, 2, 1}, {2, 2, 1}, {3, 2, 2}, {51, 2, 5}, {51, 3, 4}} {
		if got := Depth(row.n, row.fan); got != row.want {
			t.Errorf("%d holders, fan %d: %d deep, want %d", row.n, row.fan, got, row.want)
		}
	}
}

// Whoever is lost, each holder has somebody left to pull from, and the children of one parent have different second choices.
func TestALostParentIsReplaced(t *testing.T) {
	for fan := MinFan; fan <= MaxFan; fan++ {
		for i := range 51 {
			all := slices.Collect(Parents(i, fan))
			if all[0] != Parent(i, fan) {
				t.Fatalf("fan %d: the first of %d is %d", fan, i, all[0])
			}
			sorted := slices.Sorted(slices.Values(all))
			if len(all) != i+1 || len(slices.Compact(sorted)) != i+1 || sorted[0] != Source || sorted[i] != i-1 {
				t.Fatalf("fan %d: %d asks %v", fan, i, all)
			}
			for range Parents(i, fan) {
				break // may end anywhere
			}
		}
		for p := fan + 1; p < 20; p++ { // high up there are fewer choices than children
			var second []int
			for _, c := range Children(p, 51, fan) {
				second = append(second, slices.Collect(Parents(c, fan))[1])
			}
			if slices.Sort(second); len(second) > 1 && len(slices.Compact(second)) != len(Children(p, 51, fan)) {
				t.Errorf("fan %d: the children of %d all go to %v", fan, p, second)
			}
		}
	}
}
