package wasm

import (
	"os"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/spec/meter"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

// A task whose state at a point is wanted is run up to there, as if the point were its limit of work, and if it came so far once more from its start to
// its end. A program that would call its host at the point instead is slower everywhere: RATIONALE.md.

// past runs a task up to its point and then to its end. most is what it may be charged in all.
func (r *runner) past(t *taskOrder, in *inlet, point, most int64) *outcome {
	r.point, r.state = point, meter.State{}.Sum() // of a program that does not even begin
	o := r.execute(t, in, min(point, most))
	r.point = -1
	if o.End == engine.Broken {
		return o
	}
	at := &state{Sum: append([]byte(nil), r.state[:]...), Passed: r.work > point}
	if at.Passed && point < most {
		come := r.work
		if err := os.RemoveAll(taskDir(r.set.Dir, t.ID)); err != nil {
			return &outcome{ID: t.ID, End: engine.Broken, Exit: -1, Message: clip("what the program wrote before its point cannot be removed: " + cause(err).Error())}
		}
		switch o = r.execute(t, in, most); {
		case o.End == engine.Broken:
			return o
		case o.Work < come:
			return &outcome{ID: t.ID, End: engine.Broken, Exit: -1, Message: "the program ended before a point that it had passed: this machine does not compute the same twice"}
		}
	}
	o.State = at
	return o
}

// note keeps the state of an instance that has stopped, if it is wanted.
func (r *runner) note(mod api.Module) {
	if r.point < 0 {
		return
	}
	s := meter.State{Passed: r.work > r.point, Count: uint64(r.work), Memory: r.mem.lent()}
	inside, ok := mod.(experimental.InternalModule)
	if !ok {
		return // every instance of wazero's is one
	}
	left := inside.NumGlobal() - 1
	if r.recurs {
		left--
	}
	for i := range inside.NumGlobal() {
		if g := inside.Global(i); i != left {
			s.Globals = append(s.Globals, meter.Global{Type: byte(g.Type()), Bits: g.Get()})
		}
	}
	r.state = s.Sum()
}
