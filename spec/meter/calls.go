package meter

import (
	"fmt"
	"slices"
)

// The stack of calls is counted only where it can grow without end: in functions that can come to call themselves. To find them,
//
//  1. each function is read once, for whom it calls and how much of the stack it takes,
//  2. a call through a table may reach every function of that type that a table may hold,
//  3. the groups of functions that reach each other are found (Tarjan, Depth-first search and linear graph algorithms, 1972),
//  4. a function is counted if it calls another of its group, and the longest way through all others is bounded.

// maxUncounted is how many slots the longest chain of calls may take outside of recursion.
const maxUncounted = 2 << 20

// plan is what is known of a module before it is written.
type plan struct {
	m       *module
	weights []int32 // slots of each function with a body
	counted []bool
	leaf    []bool // small, and without calls or loops
}

// graph holds who calls whom: functions with bodies first, then one node for each type that is called through a table.
type graph struct {
	edges [][]int32
	w     []int32
	n     int // functions

	// Tarjan's.
	index, low []int32
	on         []bool
	stack      []int32
	next       int32
	walk       []step
	longest    []int64 // uncounted slots from here down, once the group is found
	looped     []bool
}

type step struct {
	node int32
	edge int
}

// survey reads all functions once.
func survey(m *module, w *work) (*plan, error) {
	n := len(m.bodies)
	p := &plan{m: m, weights: make([]int32, n), leaf: make([]bool, n)}
	g := &graph{edges: make([][]int32, n+len(m.types)), w: make([]int32, n+len(m.types)), n: n}
	b := &body{m: m}
	for f := range n {
		if err := b.read(f, w); err != nil {
			return nil, err
		}
		p.weights[f] = b.weight()
		p.leaf[f] = !b.loops && !b.sizes && len(b.calls)+len(b.through) == 0 && b.total <= smallLeaf
		g.edges[f] = g.callees(b)
	}
	copy(g.w, p.weights)
	for f := range n {
		if k := m.imported + f; k < len(m.reachable) && m.reachable[k] {
			t := n + int(m.same[m.funcs[k]])
			g.edges[t] = append(g.edges[t], int32(f))
		}
	}
	if err := g.search(); err != nil {
		return nil, err
	}
	p.counted = g.looped[:n]
	return p, nil
}

// weight is how many slots of the stack a function takes at most, about: what it keeps, and what a compiler makes between.
func (b *body) weight() int32 {
	w := 24 + b.high + b.count/4
	for _, t := range b.locals {
		w++
		if t == v128 {
			w++
		}
	}
	return int32(w)
}

func (g *graph) callees(b *body) []int32 {
	slices.Sort(b.calls)
	slices.Sort(b.through)
	list := slices.Compact(b.calls)
	list = list[:len(list):len(list)]
	for _, t := range slices.Compact(b.through) {
		list = append(list, int32(g.n)+t)
	}
	return slices.Clone(list)
}

func (g *graph) search() error {
	n := len(g.edges)
	g.index, g.low, g.on = make([]int32, n), make([]int32, n), make([]bool, n)
	g.longest, g.looped, g.next = make([]int64, n), make([]bool, n), 1
	for v := range n {
		if g.index[v] == 0 {
			if err := g.from(int32(v)); err != nil {
				return err
			}
		}
	}
	return nil
}

// from walks everything below v, without recursion of its own.
func (g *graph) from(v int32) error {
	g.open(v)
	for len(g.walk) > 0 {
		s := &g.walk[len(g.walk)-1]
		v := s.node
		if s.edge < len(g.edges[v]) {
			to := g.edges[v][s.edge]
			s.edge++
			switch {
			case g.index[to] == 0:
				g.open(to)
			case g.on[to]:
				g.low[v] = min(g.low[v], g.index[to])
			}
			continue
		}
		g.walk = g.walk[:len(g.walk)-1]
		if len(g.walk) > 0 {
			up := g.walk[len(g.walk)-1].node
			g.low[up] = min(g.low[up], g.low[v])
		}
		if g.low[v] == g.index[v] {
			if err := g.close(v); err != nil {
				return err
			}
		}
	}
	return nil
}

func (g *graph) open(v int32) {
	g.index[v], g.low[v] = g.next, g.next
	g.next++
	g.stack = append(g.stack, v)
	g.on[v] = true
	g.walk = append(g.walk, step{node: v})
}

// close takes the group whose first member is v off the stack. What the group calls outside of it is closed already.
func (g *graph) close(v int32) error {
	at := len(g.stack) - 1
	for g.stack[at] != v {
		at--
	}
	group := g.stack[at:]
	looped := len(group) > 1 || slices.Contains(g.edges[v], v)
	var below int64
	for _, u := range group {
		for _, to := range g.edges[u] {
			if !g.on[to] {
				below = max(below, g.longest[to])
			}
		}
	}
	for _, u := range group {
		g.on[u] = false
		g.looped[u] = looped
		g.longest[u] = below
		if !looped {
			g.longest[u] += int64(g.w[u])
		}
		if g.longest[u] > maxUncounted {
			return fmt.Errorf("its calls take %d slots without recursion, more than %d: split its largest functions", g.longest[u], maxUncounted)
		}
	}
	g.stack = g.stack[:at]
	return nil
}
