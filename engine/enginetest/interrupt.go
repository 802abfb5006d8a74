package enginetest

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hpips/hpips/engine"
)

// spinning is a task that tells when it runs.
func spinning(id uint64) engine.Task {
	return engine.Task{ID: id, Args: []string{"spin"}, Stream: true}
}

// whenItSpins is a ledger that calls f once when task id has begun.
func whenItSpins(id uint64, f func()) *Ledger {
	l, told := NewLedger(), false
	l.OnChunk = func(got uint64, _ []byte) {
		if got == id && !told {
			told = true
			f()
		}
	}
	return l
}

// cancelOneOfFifty is the story of the issue: one of fifty computes for ever, alice cancels it, and the others are right.
func cancelOneOfFifty(t *testing.T, kit Kit) {
	s := open(t, kit, nil)
	var tasks []engine.Task
	all := kit.tasks(50)
	for id := range uint64(all) {
		tasks = append(tasks, index(id+1))
	}
	odd := uint64(max(all*2/5, 1))
	tasks[odd-1] = spinning(odd)
	l := run(t, s, whenItSpins(odd, func() { s.Cancel(odd) }), tasks...)
	good := 0
	for id, o := range l.Of {
		switch {
		case id == odd && o.End != engine.Cancelled:
			t.Errorf("the cancelled task: %s", o.End)
		case right(o):
			good++
		}
	}
	if good != all-1 {
		t.Errorf("%d right results, want %d", good, all-1)
	}
	s.Cancel(odd) // again, and an unknown one: nothing happens
	s.Cancel(12345)
	if o := run(t, s, nil, index(60)).Of[60]; !right(o) {
		t.Errorf("after the cancel: %v", o)
	}
}

// cancelRunning measures that a running task is dead within 100 ms, and that waiting ones can be dropped behind its back. A machine that does much else may be late once
// or twice.
func cancelRunning(t *testing.T, kit Kit) {
	s := open(t, kit, nil)
	took := cancelOnce(t, s, 0)
	for n := 1; n < tries && took > Patience(100*time.Millisecond); n++ {
		took = min(took, cancelOnce(t, s, uint64(4*n)))
	}
	if took > Patience(100*time.Millisecond) {
		t.Errorf("the cancel took %s", took)
	}
	t.Logf("cancel took %s", took)
}

// cancelOnce runs four tasks whose numbers follow one, and gives how long the cancel of the first took.
func cancelOnce(t *testing.T, s engine.Sandbox, base uint64) (took time.Duration) {
	t.Helper()
	var asked time.Time
	l := whenItSpins(base+1, func() {
		s.Cancel(base + 3)
		asked = time.Now()
		s.Cancel(base + 1)
	})
	l.OnDone = func(o engine.Outcome) {
		if o.ID == base+1 {
			took = time.Since(asked)
		}
	}
	run(t, s, l, spinning(base+1), index(base+2), index(base+3), index(base+4))
	if l.Of[base+1].End != engine.Cancelled || l.Of[base+3].End != engine.Cancelled {
		t.Errorf("cancelled tasks: %s, %s", l.Of[base+1].End, l.Of[base+3].End)
	}
	if !right(l.Of[base+2]) || !right(l.Of[base+4]) {
		t.Errorf("the others: %v, %v", l.Of[base+2], l.Of[base+4])
	}
	return took
}

func contextEnds(t *testing.T, kit Kit) {
	s := open(t, kit, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	tasks := []engine.Task{index(1), spinning(2), index(3)}
	l := whenItSpins(2, cancel)
	if err := s.Run(ctx, tasks, l); err != nil {
		t.Fatal(err)
	}
	l.check(t, tasks)
	if !right(l.Of[1]) || l.Of[2].End != engine.Cancelled || l.Of[3].End != engine.Cancelled {
		t.Errorf("ends %s, %s, %s", l.Of[1].End, l.Of[2].End, l.Of[3].End)
	}
	if o := run(t, s, nil, index(4)).Of[4]; !right(o) {
		t.Errorf("the next Run: %v", o)
	}
}

func timeLimit(t *testing.T, kit Kit) {
	s := open(t, kit, func(p *engine.Program) { p.Limits.Time = Patience(time.Second) }) // the others have to be done in that, on a machine that does much else
	start := time.Now()
	l := run(t, s, nil, index(1), act(2, "spin"), index(3))
	took := time.Since(start)
	if o := l.Of[2]; o.End != engine.TimedOut || !strings.Contains(o.Message, "limit of 1s; raise it with --time") {
		t.Errorf("the endless task: %s %q", o.End, o.Message)
	}
	if !right(l.Of[1]) || !right(l.Of[3]) {
		t.Errorf("the others: %v, %v", l.Of[1], l.Of[3])
	}
	if took < Patience(time.Second) {
		t.Errorf("the limit of 1s ended a task in %s", took)
	}
}

func crash(t *testing.T, kit Kit) {
	s := open(t, kit, nil)
	l := run(t, s, whenItSpins(2, func() { kit.Crash(t, s) }), index(1), spinning(2), index(3), index(4))
	if o := l.Of[2]; o.End != engine.Broken || !strings.Contains(o.Message, "sandbox died") {
		t.Errorf("the task in the crashed sandbox: %s %q", o.End, o.Message)
	}
	for _, id := range []uint64{1, 3, 4} {
		if !right(l.Of[id]) {
			t.Errorf("task %d: %v", id, l.Of[id])
		}
	}
}

// pause holds a running task for longer than its time limit, which does not count it.
func pause(t *testing.T, kit Kit) {
	if !kit.Pauses {
		t.Skip("this system cannot stop a process where it is")
	}
	s := open(t, kit, func(p *engine.Program) { p.Limits.Time = Patience(600 * time.Millisecond) })
	began, ended := make(chan struct{}), make(chan struct{})
	l := whenItSpins(1, func() {
		if err := s.Pause(); err != nil {
			t.Error(err)
		}
		close(began)
	})
	l.OnDone = func(o engine.Outcome) { close(ended) }
	finished := make(chan error, 1)
	go func() { finished <- s.Run(t.Context(), []engine.Task{spinning(1)}, l) }()
	<-began
	select {
	case <-ended:
		t.Error("a paused task came to its time limit")
	case <-time.After(Patience(900 * time.Millisecond)):
	}
	if err := s.Resume(); err != nil {
		t.Error(err)
	}
	if err := errors.Join(<-finished, l.Err); err != nil {
		t.Fatal(err)
	}
	if l.Of[1].End != engine.TimedOut {
		t.Errorf("after Resume: %s", l.Of[1].End)
	}
	// Paused again, nothing starts; resumed, all is well.
	if err := errors.Join(s.Pause(), s.Pause()); err != nil {
		t.Error(err)
	}
	next := NewLedger()
	go func() { finished <- s.Run(t.Context(), []engine.Task{index(2)}, next) }()
	select {
	case <-finished:
		t.Error("a task ran while paused")
	case <-time.After(100 * time.Millisecond):
	}
	if err := errors.Join(s.Resume(), s.Resume(), <-finished); err != nil {
		t.Fatal(err)
	}
	if !right(next.Of[2]) {
		t.Errorf("after the second Resume: %v", next.Of[2])
	}
}

func closes(t *testing.T, kit Kit) {
	var dir string
	s := open(t, kit, func(p *engine.Program) { dir = p.Dir })
	closed := make(chan error, 1)
	l := whenItSpins(2, func() { go func() { closed <- s.Close() }() })
	write := act(1, "write", "/out/x", "y")
	write.Outputs = []string{"/out"}
	run(t, s, l, write, spinning(2), index(3))
	if l.Of[2].End != engine.Cancelled || l.Of[3].End != engine.Cancelled {
		t.Errorf("ends %s, %s", l.Of[2].End, l.Of[3].End)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) > 0 {
		t.Errorf("a closed sandbox left %v, %v", left, err)
	}
}

func badProgram(t *testing.T, kit Kit) {
	p := kit.Bad(t)
	p.Lease, p.Dir, p.Limits = t.Name(), t.TempDir(), limits
	_, err := kit.Engine.Open(t.Context(), p)
	var bad *engine.ProgramError
	if !errors.As(err, &bad) || bad.Message == "" || bad.Hint == "" {
		t.Errorf("Open says %v", err)
	}
}

// twoLeases lets bob's task die while alice's runs in another sandbox of the same program.
func twoLeases(t *testing.T, kit Kit) {
	alice := open(t, kit, func(p *engine.Program) { p.Lease += "/alice" })
	bob := open(t, kit, func(p *engine.Program) { p.Lease += "/bob" })
	l := whenItSpins(1, func() {
		run(t, bob, whenItSpins(1, func() { bob.Cancel(1) }), spinning(1))
		if o := run(t, bob, nil, index(5)).Of[5]; !right(o) {
			t.Errorf("bob: %v", o)
		}
		alice.Cancel(2)
		alice.Cancel(1)
	})
	run(t, alice, l, spinning(1), index(2), index(3))
	if l.Of[1].End != engine.Cancelled || l.Of[2].End != engine.Cancelled || !right(l.Of[3]) {
		t.Errorf("alice: %s, %s, %v", l.Of[1].End, l.Of[2].End, l.Of[3])
	}
}
