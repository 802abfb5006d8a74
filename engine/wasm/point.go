package wasm

import (
	"github.com/hpips/hpips/spec/meter"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

// aim sets how far the task at hand may come: to its limit, or to its point as if that were its limit.
func (r *runner) aim(t *taskOrder) {
	r.most, r.point = meter.Endless, -1
	if limit := r.set.Limits.Work; limit > 0 {
		r.most = min(limit, r.most)
	}
	if t.Point != nil {
		r.point = int64(min(*t.Point, meter.Endless))
		r.most = min(r.most, r.point)
		r.state = meter.State{}.Sum() // of a program that does not even begin
	}
}

// note keeps the state of an instance that has stopped, if it is wanted.
func (r *runner) note(mod api.Module) {
	inside, ok := mod.(experimental.InternalModule)
	if r.point < 0 || !ok { // every instance of wazero's is one
		return
	}
	s := meter.State{Passed: r.work > r.point, Count: uint64(r.work), Memory: r.mem.lent()}
	left := inside.NumGlobal() - 1
	if r.recurs {
		left--
	}
	for i := range inside.NumGlobal() {
		if g := inside.Global(i); i != left {
			s.Globals = append(s.Globals, meter.Global{Type: g.Type(), Bits: g.Get()})
		}
	}
	r.state = s.Sum()
}
