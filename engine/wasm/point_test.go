package wasm

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/spec/meter/metertest"
)

func at(point uint64) *uint64 { return &point }

// pointed is a task of a program that looks at its index alone.
func pointed(id uint64, index string, point uint64) engine.Task {
	t := indexed(id, index)
	t.Point = at(point)
	return t
}

// TestStateIsTheSame has alice and bob stop the same programs at the same points, each in a sandbox of its own and with another limit of time: they
// come to the same states, which differ from point to point. Who does not come so far ends as without a point.
func TestStateIsTheSame(t *testing.T) {
	ends := map[engine.End]int{}
	for seed := range uint64(8) {
		path := filepath.Join(t.TempDir(), fmt.Sprintf("%d.wasm", seed))
		if err := os.WriteFile(path, metertest.Program(seed, metertest.Mixed), 0o600); err != nil {
			t.Fatal(err)
		}
		whole := one(t, program(t, path), engine.Task{})
		work := uint64(whole.Usage.Work)
		points := []uint64{0, work / 3, work - 1, work, 1 << 63}
		var tasks []engine.Task
		for i, point := range points {
			tasks = append(tasks, engine.Task{ID: uint64(i), Point: at(point)})
		}
		p := program(t, path)
		p.Limits.Time = time.Minute
		alice := runAll(t, openSandbox(t, p), tasks...)
		slices.Reverse(tasks)
		bob := runAll(t, openSandbox(t, program(t, path)), tasks...)
		sums := map[[32]byte]bool{}
		for i, point := range points {
			a, b := alice.byID[uint64(i)], bob.byID[uint64(i)]
			if a.State == nil || b.State == nil || *a.State != *b.State || a.End != b.End || a.Usage.Work != b.Usage.Work {
				t.Fatalf("seed %d, point %d: %+v and %+v", seed, point, a, b)
			}
			switch {
			case point < work && (a.End != engine.AtPoint || uint64(a.Usage.Work) <= point || uint64(a.Usage.Work) > work):
				t.Errorf("seed %d, point %d of %d: %s %q at %d", seed, point, work, a.End, a.Message, a.Usage.Work)
			case point >= work && (a.End != whole.End || a.Message != whole.Message || string(a.Stdout.Inline) != string(whole.Stdout.Inline) || uint64(a.Usage.Work) != work):
				t.Errorf("seed %d, point %d of %d: %s %q at %d, not %s %q", seed, point, work, a.End, a.Message, a.Usage.Work, whole.End, whole.Message)
			}
			ends[a.End]++
			sums[*a.State] = true
		}
		if *alice.byID[3].State != *alice.byID[4].State || len(sums) < 3 {
			t.Errorf("seed %d: %d states, of which the last two are one: %t", seed, len(sums), *alice.byID[3].State == *alice.byID[4].State)
		}
	}
	if ends[engine.AtPoint] != 24 || ends[engine.Exited] < 8 {
		t.Errorf("they ended with %v", ends)
	}
}

// TestStateOfInputs gives a program of Go's another argument, another index, files to write, and an exit code of its own: a state shows all that is in memory.
func TestStateOfInputs(t *testing.T) {
	s := openSandbox(t, program(t, guest(t)))
	task := func(id uint64, point uint64, index string, args ...string) engine.Task {
		return engine.Task{ID: id, Point: at(point), Env: []string{"HPIPS_INDEX=" + index}, Args: args, Outputs: []string{"/out"}}
	}
	work := uint64(runAll(t, s, task(1, 1<<40, "1", "write", "/out/x", "some")).byID[1].Usage.Work)
	near := work - 2000
	l := runAll(t, s, task(1, near, "1", "write", "/out/x", "some"), task(2, near, "1", "write", "/out/x", "some"), task(3, near, "1", "write", "/out/x", "more"),
		task(4, near, "2", "write", "/out/x", "some"), task(5, 1<<40, "1", "write", "/out/x", "some"), task(6, 1<<40, "1", "exit", "3"))
	for id, end := range map[uint64]engine.End{1: engine.AtPoint, 2: engine.AtPoint, 3: engine.AtPoint, 4: engine.AtPoint, 5: engine.Exited, 6: engine.Exited} {
		if o := l.byID[id]; o.End != end || o.State == nil || (id == 6) != (o.Exit == 3) {
			t.Fatalf("task %d: %s %d %q", id, o.End, o.Exit, o.Message)
		}
	}
	if a, b := l.byID[1], l.byID[2]; *a.State != *b.State || a.Usage.Work != b.Usage.Work {
		t.Errorf("the same task twice: %x %d and %x %d", *a.State, a.Usage.Work, *b.State, b.Usage.Work)
	}
	for _, other := range []uint64{3, 4, 5, 6} {
		if *l.byID[other].State == *l.byID[1].State {
			t.Errorf("task %d has the state of task 1", other)
		}
	}
}

// TestStateAndLimits has programs that end at a limit, before a point that lies beyond it and behind one that lies before.
func TestStateAndLimits(t *testing.T) {
	p := program(t, assemble(t, "testdata/trap.wat"))
	p.Limits.Work = 1_000_000
	l := runAll(t, openSandbox(t, p), pointed(1, "loop", 500), pointed(2, "loop", 2_000_000), pointed(3, "loop", 1_000_000), indexed(4, "loop"), pointed(5, "unreachable", 2_000_000))
	for id, end := range map[uint64]engine.End{1: engine.AtPoint, 2: engine.WorkFull, 3: engine.AtPoint, 4: engine.WorkFull, 5: engine.Trapped} {
		if o := l.byID[id]; o.End != end || (o.State == nil) != (id == 4) {
			t.Errorf("task %d: %s %q %v", id, o.End, o.Message, o.State)
		}
	}
	if a, b, c := l.byID[2].Usage.Work, l.byID[3].Usage.Work, l.byID[4].Usage.Work; a != c || b != c {
		t.Errorf("the same place is at %d, %d and %d", a, b, c)
	}
	g := program(t, guest(t))
	g.Limits.Output, g.Limits.Time = 200<<10, 20*time.Second
	l = runAll(t, openSandbox(t, g), engine.Task{ID: 1, Args: []string{"flood"}, Point: at(1 << 40)}, engine.Task{ID: 2, Args: []string{"spin"}, Point: at(50_000_000)})
	if o := l.byID[1]; o.End != engine.OutputFull || o.State == nil {
		t.Errorf("too long an output: %s %q %v", o.End, o.Message, o.State)
	}
	if o := l.byID[2]; o.End != engine.AtPoint || o.State == nil {
		t.Errorf("an endless program: %s %q %v", o.End, o.Message, o.State)
	}
}

// TestNoStateOfTheKilled: a task that is killed has no state, and the next one is none the worse for it.
func TestNoStateOfTheKilled(t *testing.T) {
	p := program(t, assemble(t, "testdata/trap.wat"))
	p.Limits.Time = 200 * time.Millisecond
	l := runAll(t, openSandbox(t, p), pointed(1, "loop", 1<<50), pointed(2, "nothing", 0))
	if o := l.byID[1]; o.End != engine.TimedOut || o.State != nil {
		t.Errorf("an endless one: %s %v", o.End, o.State)
	}
	if o := l.byID[2]; o.End != engine.AtPoint || o.State == nil {
		t.Errorf("the next one: %s %q %v", o.End, o.Message, o.State)
	}
}

// TestStateAtAnExit: a program that leaves by proc_exit has its memory looked at, not an empty one.
func TestStateAtAnExit(t *testing.T) {
	s := openSandbox(t, program(t, assemble(t, "testdata/exit.wat")))
	l := runAll(t, s, pointed(1, "a", 1000), pointed(2, "b", 1000), pointed(3, "a", 1000))
	a, b, c := l.byID[1], l.byID[2], l.byID[3]
	if a.End != engine.Exited || a.Exit != 0 || a.Usage.Work != b.Usage.Work || *a.State == *b.State || *a.State != *c.State {
		t.Errorf("%+v, %+v, %+v", a, b, c)
	}
}
