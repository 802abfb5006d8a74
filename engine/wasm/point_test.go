package wasm

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/spec/meter/metertest"
)

// watched is a program whose tasks may be asked for states.
func watched(t testing.TB, module string) engine.Program {
	t.Helper()
	p := program(t, module)
	p.Watched = true
	return p
}

// pointed is a task of a program that looks at its index alone.
func pointed(id uint64, index string, points ...uint64) engine.Task {
	t := indexed(id, index)
	t.Points = points
	return t
}

// TestStatesAreTheSame has alice and bob run the same programs with the same points, each in a sandbox of its own and with another limit of time, and bob one point at a time
// besides: they come to the same states. The task itself is as it is without any.
func TestStatesAreTheSame(t *testing.T) {
	for seed := range uint64(8) {
		kind := metertest.Mixed
		if seed == 7 {
			kind = metertest.Deep
		}
		path := filepath.Join(t.TempDir(), fmt.Sprintf("%d.wasm", seed))
		if err := os.WriteFile(path, metertest.Program(seed, kind), 0o600); err != nil {
			t.Fatal(err)
		}
		whole := one(t, program(t, path), engine.Task{})
		work := uint64(whole.Usage.Work)
		points := slices.Compact([]uint64{0, 1, work / 3, work/3 + 1, work - 1, work, 1 << 63})
		p := watched(t, path)
		p.Limits.Time = time.Minute
		alice := one(t, p, engine.Task{Points: points})
		tasks := []engine.Task{{ID: 100, Points: points}}
		for i, point := range points {
			tasks = append(tasks, engine.Task{ID: uint64(i), Points: []uint64{point}})
		}
		bob := runAll(t, openSandbox(t, watched(t, path)), tasks...)
		if len(alice.States) != len(points) || !slices.Equal(alice.States, bob.byID[100].States) {
			t.Fatalf("seed %d: %x and %x", seed, alice.States, bob.byID[100].States)
		}
		for i := range points {
			if a := bob.byID[uint64(i)]; len(a.States) != 1 || a.States[0] != alice.States[i] {
				t.Errorf("seed %d: at %d alone %x, with others %x", seed, points[i], a.States, alice.States[i])
			}
		}
		for id, o := range bob.byID {
			if o.End != whole.End || o.Message != whole.Message || string(o.Stdout.Inline) != string(whole.Stdout.Inline) || uint64(o.Usage.Work) != work {
				t.Errorf("seed %d, task %d: %s %q at %d, without points %s %q at %d", seed, id, o.End, o.Message, o.Usage.Work, whole.End, whole.Message, work)
			}
		}
		n := len(points)
		if s := alice.States; s[n-1] != s[n-2] || s[n-2] == s[n-3] || s[0] == s[n-3] {
			t.Errorf("seed %d: states %x at %d of %d", seed, s, points, work)
		}
	}
}

// TestStateOfInputs gives a program of Go's another argument, another index, files to write, and an exit code of its own: a state shows all that is in memory.
func TestStateOfInputs(t *testing.T) {
	s := openSandbox(t, watched(t, guest(t)))
	var points []uint64
	task := func(id uint64, index string, args ...string) engine.Task {
		return engine.Task{ID: id, Points: points, Env: []string{"HPIPS_INDEX=" + index}, Args: args, Outputs: []string{"/out"}}
	}
	work := uint64(runAll(t, s, task(1, "1", "write", "/out/x", "some")).byID[1].Usage.Work)
	points = []uint64{work - 2000, 1 << 40}
	l := runAll(t, s, task(1, "1", "write", "/out/x", "some"), task(2, "1", "write", "/out/x", "some"), task(3, "1", "write", "/out/x", "more"),
		task(4, "2", "write", "/out/x", "some"), task(5, "1", "exit", "3"))
	for id, o := range l.byID {
		if o.End != engine.Exited || len(o.States) != 2 || id < 5 && o.States[0] == o.States[1] || (id == 5) != (o.Exit == 3) {
			t.Fatalf("task %d: %s %d %q", id, o.End, o.Exit, o.Message)
		}
	}
	if a, b := l.byID[1], l.byID[2]; !slices.Equal(a.States, b.States) || a.Usage.Work != b.Usage.Work {
		t.Errorf("the same task twice: %x %d and %x %d", a.States, a.Usage.Work, b.States, b.Usage.Work)
	}
	for _, other := range []uint64{3, 4, 5} {
		if a, b := l.byID[1].States, l.byID[other].States; a[0] == b[0] || a[1] == b[1] {
			t.Errorf("task %d has a state of task 1", other)
		}
	}
}

// TestStatesAndLimits has programs that end at a limit, with points before and behind it: what they end with is the state at those that lie behind.
func TestStatesAndLimits(t *testing.T) {
	p := watched(t, assemble(t, "testdata/trap.wat"))
	p.Limits.Work = 1_000_000
	all := []uint64{20, 999_000, 1_000_000, 1_000_001, 2_000_000}
	l := runAll(t, openSandbox(t, p), pointed(1, "loop", all...), pointed(2, "loop"), pointed(3, "unreachable", all...), pointed(4, "stack", all...))
	a, b, trapped, deep := l.byID[1], l.byID[2], l.byID[3], l.byID[4]
	if a.End != engine.WorkFull || b.End != engine.WorkFull || a.Usage.Work != b.Usage.Work || len(a.States) != 5 || b.States != nil {
		t.Fatalf("%s at %d with %d states, without points %s at %d", a.End, a.Usage.Work, len(a.States), b.End, b.Usage.Work)
	}
	sums := map[[32]byte]int{}
	for _, s := range a.States {
		sums[s]++
	}
	if want := map[bool]int{true: 4, false: 5}[a.Usage.Work > 1_000_001]; len(sums) < 4 || len(sums) > want || a.States[2] == a.States[4] {
		t.Errorf("%d states, the one at the limit is that at the end: %t; it ended at %d", len(sums), a.States[2] == a.States[4], a.Usage.Work)
	}
	if trapped.End != engine.Trapped || len(trapped.States) != 5 || trapped.States[0] == trapped.States[1] || trapped.States[1] != trapped.States[4] {
		t.Errorf("one that traps: %s %q %x", trapped.End, trapped.Message, trapped.States)
	}
	if deep.End != engine.WorkFull && (deep.End != engine.Trapped || deep.Message != "the program trapped: stack overflow") || len(deep.States) != 5 || deep.States[0] == deep.States[1] {
		t.Errorf("one that calls itself: %s %q %x", deep.End, deep.Message, deep.States)
	}
	g := watched(t, guest(t))
	g.Limits.Output = 200 << 10
	l = runAll(t, openSandbox(t, g), engine.Task{ID: 1, Args: []string{"flood"}, Points: []uint64{1 << 40}})
	if o := l.byID[1]; o.End != engine.OutputFull || len(o.States) != 1 {
		t.Errorf("too long an output: %s %q %v", o.End, o.Message, o.States)
	}
}

// TestNoStateOfTheKilled: a task that is killed has no states, and the next one is none the worse for it.
func TestNoStateOfTheKilled(t *testing.T) {
	p := watched(t, assemble(t, "testdata/trap.wat"))
	p.Limits.Time = 200 * time.Millisecond
	l := runAll(t, openSandbox(t, p), pointed(1, "loop", 5, 500, 1<<50), pointed(2, "nothing", 0))
	if o := l.byID[1]; o.End != engine.TimedOut || o.States != nil {
		t.Errorf("an endless one: %s %v", o.End, o.States)
	}
	if o := l.byID[2]; o.End != engine.Exited || len(o.States) != 1 {
		t.Errorf("the next one: %s %q %v", o.End, o.Message, o.States)
	}
}

// TestStateAtAnExit: a program that leaves by proc_exit has its memory looked at, not an empty one.
func TestStateAtAnExit(t *testing.T) {
	s := openSandbox(t, watched(t, assemble(t, "testdata/exit.wat")))
	l := runAll(t, s, pointed(1, "a", 1000), pointed(2, "b", 1000), pointed(3, "a", 1000))
	a, b, c := l.byID[1], l.byID[2], l.byID[3]
	if a.End != engine.Exited || a.Exit != 0 || a.Usage.Work != b.Usage.Work || a.States[0] == b.States[0] || a.States[0] != c.States[0] {
		t.Errorf("%+v, %+v, %+v", a, b, c)
	}
}

// TestPointsThatAreNone are refused before the child has them, and cost the next task nothing.
func TestPointsThatAreNone(t *testing.T) {
	many := make([]uint64, engine.MaxPoints+1)
	for i := range many {
		many[i] = uint64(i)
	}
	l := runAll(t, openSandbox(t, watched(t, assemble(t, tinyWat))), pointed(1, "a", many...), pointed(2, "a", 7, 7), pointed(3, "a", 8, 7), pointed(4, "a", many[1:]...))
	for id := uint64(1); id < 4; id++ {
		if o := l.byID[id]; o.End != engine.Broken || !strings.HasPrefix(o.Message, "states cannot be told: ") || o.States != nil {
			t.Errorf("task %d: %s %q", id, o.End, o.Message)
		}
	}
	if o := l.byID[4]; o.End != engine.Exited || len(o.States) != engine.MaxPoints {
		t.Errorf("as many as there may be: %s %q, %d states", o.End, o.Message, len(o.States))
	}
	if o := one(t, program(t, assemble(t, tinyWat)), pointed(1, "a", 7)); o.End != engine.Broken {
		t.Errorf("a program that is not watched: %s %q", o.End, o.Message)
	}
}

// TestFormsAreKeptApart has one cache hold a program in both forms, each loaded anew: neither is taken for the other.
func TestFormsAreKeptApart(t *testing.T) {
	e := newEngine(t)
	e.cfg.Cache = t.TempDir()
	for range 2 {
		for _, watched := range []bool{false, true, true, false} {
			p := program(t, assemble(t, "testdata/trap.wat"))
			p.Limits.Work, p.Watched = 1000, watched
			s, err := e.Open(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			task := indexed(1, "loop")
			if watched {
				task.Points = []uint64{10, 500}
			}
			if o := runAll(t, s, task).byID[1]; o.End != engine.WorkFull || watched && (len(o.States) != 2 || o.States[0] == o.States[1]) {
				t.Errorf("watched %t: %s %q %x", watched, o.End, o.Message, o.States)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if list, err := os.ReadDir(e.cfg.Cache); err != nil || len(list) != 2 {
		t.Errorf("the cache has %v, %v", list, err)
	}
}
