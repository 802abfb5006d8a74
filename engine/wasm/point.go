package wasm

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/spec/meter"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

// The states of a task at its points come from one execution: the watched form of the program (spec/meter) calls a function where nothing is left, which the host hears of.
//
//  1. aim lets the task come to its first point, as if that were its limit.
//  2. Where it has passed that, Before takes down the state for all points that are passed, and lets it come to the next, or to its limit.
//  3. When it has ended, note takes down the state for those that it did not come to, or where it was not looked.

// wellPointed tells what is wrong with the points of a task, if anything is.
func wellPointed(points []uint64, watched bool) error {
	switch {
	case len(points) > engine.MaxPoints:
		return fmt.Errorf("%d points, more than %d", len(points), engine.MaxPoints)
	case len(points) > 0 && !watched:
		return fmt.Errorf("its program is not watched")
	}
	for i := 1; i < len(points); i++ {
		if points[i] <= points[i-1] {
			return fmt.Errorf("points that do not ascend")
		}
	}
	return nil
}

// aim sets how far the task at hand may come. (1)
func (r *runner) aim(t *taskOrder) {
	r.limit, r.points, r.states = meter.Endless, t.Points, r.states[:0]
	if limit := r.set.Limits.Work; limit > 0 {
		r.limit = min(limit, r.limit)
	}
	r.allow()
}

// allow is up to the next point, or to the limit.
func (r *runner) allow() {
	r.most = r.limit
	if n := len(r.states) / sha256.Size; n < len(r.points) {
		r.most = int64(min(r.points[n], uint64(r.limit)))
	}
}

// lookout hears where nothing is left. The child that compiles has one without a runner, as the code is another with one.
type lookout struct{ run *runner }

// NewFunctionListener wants to hear of the one function.
func (l lookout) NewFunctionListener(f api.FunctionDefinition) experimental.FunctionListener {
	if slices.Contains(f.ExportNames(), meter.Passed) {
		return l
	}
	return nil // of no other: each of them would be slower
}

// Before lets the program go on if it has passed a point, and not its limit. (2)
func (l lookout) Before(_ context.Context, mod api.Module, _ api.FunctionDefinition, _ []uint64, _ experimental.StackIterator) {
	r := l.run
	left := mod.ExportedGlobal(meter.Left).(api.MutableGlobal)
	if int64(left.Get()) >= 0 {
		return // calls are nested too deep
	}
	count := r.most - int64(left.Get())
	r.keep(mod, count, true)
	r.allow()
	left.Set(uint64(r.most - count))
}

// After has nothing to do.
func (lookout) After(context.Context, api.Module, api.FunctionDefinition, []uint64) {}

// Abort has nothing to do.
func (lookout) Abort(context.Context, api.Module, api.FunctionDefinition, error) {}

// note takes down the state of an instance that has stopped, where it is still wanted. (3)
func (r *runner) note(mod api.Module) {
	r.keep(mod, r.work, true)
	r.keep(mod, r.work, false)
}

// keep takes down the state for the points that were passed, or for all others.
func (r *runner) keep(mod api.Module, count int64, passed bool) {
	n := len(r.points)
	if passed {
		n, _ = slices.BinarySearch(r.points, uint64(count))
	}
	inside, ok := mod.(experimental.InternalModule)
	if n*sha256.Size <= len(r.states) || !ok { // every instance of wazero's is one
		return
	}
	s := meter.State{Passed: passed, Count: uint64(count), Memory: r.mem.lent()}
	left := inside.NumGlobal() - 1
	if r.recurs {
		left--
	}
	for i := range inside.NumGlobal() {
		if g := inside.Global(i); i != left {
			s.Globals = append(s.Globals, meter.Global{Type: g.Type(), Bits: g.Get()})
		}
	}
	r.fill(s, n)
}

// fill is the state at all points up to n of them that have none.
func (r *runner) fill(s meter.State, n int) {
	sum := s.Sum()
	for len(r.states) < n*sha256.Size {
		r.states = append(r.states, sum[:]...)
	}
}
