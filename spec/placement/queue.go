package placement

import (
	"bytes"
	"cmp"
	"math/bits"
)

// candidate is a node, by its place among all, and its distance from the piece: far ÷ weight.
type candidate struct {
	far, weight uint64
	at          int
}

// queue gives nodes from the nearest on: a binary heap, because a few dozen are taken of what may be a million.
type queue struct {
	nodes []Node
	list  []candidate
}

// next takes the nearest out.
func (q *queue) next() Node {
	first, last := q.list[0], len(q.list)-1
	q.list[0] = q.list[last]
	q.list = q.list[:last]
	q.down(0)
	return q.nodes[first.at]
}

// down moves the i-th to below whatever is nearer.
func (q *queue) down(i int) {
	for {
		near := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(q.list); c++ {
			if q.nearer(q.list[c], q.list[near]) {
				near = c
			}
		}
		if near == i {
			return
		}
		q.list[i], q.list[near] = q.list[near], q.list[i]
		i = near
	}
}

// nearer compares far ÷ weight, without dividing; equal ones by their IDs.
func (q *queue) nearer(a, b candidate) bool {
	ahi, alo := bits.Mul64(a.far, b.weight)
	bhi, blo := bits.Mul64(b.far, a.weight)
	return cmp.Or(cmp.Compare(ahi, bhi), cmp.Compare(alo, blo), bytes.Compare(q.nodes[a.at].ID[:], q.nodes[b.at].ID[:])) < 0
}
