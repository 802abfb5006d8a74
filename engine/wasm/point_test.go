package wasm

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/spec/meter"
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
// come to the same states, which differ from point to point, and to the same results as without a point.
func TestStateIsTheSame(t *testing.T) {
	passed, ended := 0, 0
	for seed := range uint64(8) {
		path := filepath.Join(t.TempDir(), fmt.Sprintf("%d.wasm", seed))
		if err := os.WriteFile(path, metertest.Program(seed, metertest.Mixed), 0o600); err != nil {
			t.Fatal(err)
		}
		plain := one(t, program(t, path), engine.Task{})
		work := uint64(plain.Usage.Work)
		tasks := []engine.Task{{ID: 1, Point: at(0)}, {ID: 2, Point: at(work / 3)}, {ID: 3, Point: at(work - 1)}, {ID: 4, Point: at(work)}, {ID: 5, Point: at(1 << 63)}}
		p := program(t, path)
		p.Limits.Time = time.Minute
		alice := runAll(t, openSandbox(t, p), tasks...)
		bob := runAll(t, openSandbox(t, program(t, path)), tasks[4], tasks[2], tasks[1], tasks[0], tasks[3])
		sums := map[[32]byte]uint64{}
		for _, task := range tasks {
			a, b := alice.byID[task.ID], bob.byID[task.ID]
			if a.State == nil || b.State == nil || *a.State != *b.State {
				t.Fatalf("seed %d, point %d: %v and %v", seed, *task.Point, a.State, b.State)
			}
			for _, o := range []engine.Outcome{a, b} {
				if o.End != plain.End || o.Message != plain.Message || string(o.Stdout.Inline) != string(plain.Stdout.Inline) || o.Usage.Work != plain.Usage.Work {
					t.Errorf("seed %d, point %d: %s %q %d, without a point %s %q %d", seed, *task.Point, o.End, o.Message, o.Usage.Work, plain.End, plain.Message, plain.Usage.Work)
				}
			}
			if a.State.Passed != (*task.Point < work) {
				t.Errorf("seed %d, point %d of %d: passed %t", seed, *task.Point, work, a.State.Passed)
			}
			if a.State.Passed {
				passed++
			} else {
				ended++
			}
			sums[a.State.Sum] = *task.Point
		}
		if alice.byID[4].State.Sum != alice.byID[5].State.Sum {
			t.Errorf("seed %d: the end is not the same for all points beyond it", seed)
		}
		if len(sums) < 3 {
			t.Errorf("seed %d: %d states of four: %v", seed, len(sums), sums)
		}
	}
	if passed < 16 || ended < 16 {
		t.Errorf("%d passed, %d ended before", passed, ended)
	}
}

// TestStateOfInputs gives a program of Go's another input, another index, files to write, and an exit code of its own: a state shows all that is in memory.
// What it wrote before its point is not found when it starts again.
func TestStateOfInputs(t *testing.T) {
	p := program(t, guest(t))
	s := openSandbox(t, p)
	in := func(text string) string {
		path := filepath.Join(t.TempDir(), "in")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	task := func(id uint64, point uint64, index, stdin string, args ...string) engine.Task {
		return engine.Task{ID: id, Point: at(point), Env: []string{"HPIPS_INDEX=" + index}, Stdin: in(stdin), Args: args, Outputs: []string{"/out"}}
	}
	plain := one(t, program(t, guest(t)), engine.Task{Env: []string{"HPIPS_INDEX=1"}, Stdin: in("hello"), Args: []string{"write", "/out/x", "some"}, Outputs: []string{"/out"}})
	work := uint64(plain.Usage.Work)
	l := runAll(t, s,
		task(1, work-2000, "1", "hello", "write", "/out/x", "some"),
		task(2, work-2000, "1", "hello", "write", "/out/x", "some"),
		task(3, work-2000, "1", "hello", "write", "/out/x", "more"),
		task(4, work-2000, "2", "hello", "write", "/out/x", "some"),
		task(5, 1<<40, "1", "hello", "write", "/out/x", "some"),
		task(6, 1<<40, "1", "hello", "exit", "3"))
	for id, o := range l.byID {
		if o.End != engine.Exited || (o.Exit != 0) != (id == 6) || o.State == nil || o.State.Passed != (id < 5) {
			t.Fatalf("task %d: %s %d %q, state %+v", id, o.End, o.Exit, o.Message, o.State)
		}
	}
	if a, b := l.byID[1], l.byID[2]; a.State.Sum != b.State.Sum || a.Usage.Work != plain.Usage.Work || b.Usage.Work != plain.Usage.Work {
		t.Errorf("the same task twice: %x %d and %x %d", a.State.Sum, a.Usage.Work, b.State.Sum, b.Usage.Work)
	}
	for _, other := range []uint64{3, 4, 5, 6} {
		if l.byID[other].State.Sum == l.byID[1].State.Sum {
			t.Errorf("task %d has the state of task 1", other)
		}
	}
	if info, err := os.Stat(filepath.Join(l.byID[1].Outputs["/out"], "x")); err != nil || info.Size() != 4 {
		t.Errorf("what was written: %v, %v", info, err)
	}
}

// TestStateAndLimits has programs that end at a limit: before a point that lies beyond it, and as they would without a point that lies before it.
func TestStateAndLimits(t *testing.T) {
	p := program(t, assemble(t, "testdata/trap.wat"))
	p.Limits.Work = 1_000_000
	l := runAll(t, openSandbox(t, p),
		pointed(1, "loop", 500), pointed(2, "loop", 2_000_000), pointed(3, "loop", 1_000_000), indexed(4, "loop"))
	for id, passed := range map[uint64]bool{1: true, 2: false, 3: true} {
		if o := l.byID[id]; o.End != engine.WorkFull || o.State == nil || o.State.Passed != passed || o.Usage.Work != l.byID[4].Usage.Work {
			t.Errorf("task %d: %s %q %d %+v", id, o.End, o.Message, o.Usage.Work, o.State)
		}
	}
	if l.byID[4].State != nil {
		t.Error("a state that nobody asked for")
	}
	in := filepath.Join(t.TempDir(), "in")
	if err := os.WriteFile(in, make([]byte, 190_000), 0o600); err != nil {
		t.Fatal(err)
	}
	g := program(t, guest(t))
	g.Limits.Output = 200 << 10
	s := openSandbox(t, g)
	plain := runAll(t, s, engine.Task{ID: 1, Args: []string{"cat"}, Stdin: in, Env: []string{"HPIPS_INDEX=1"}}).byID[1]
	o := runAll(t, s, engine.Task{ID: 2, Args: []string{"cat"}, Stdin: in, Env: []string{"HPIPS_INDEX=1"}, Point: at(uint64(plain.Usage.Work) - 1000)}).byID[2]
	if plain.End != engine.Exited || o.End != plain.End || o.Stdout.Size != 190_000 || o.Stdout.Path == "" || !o.State.Passed || o.Usage.Work != plain.Usage.Work {
		t.Errorf("a long output: %s %q %+v, without a point %s %q", o.End, o.Message, o.State, plain.End, plain.Message)
	}
	full := runAll(t, s, engine.Task{ID: 3, Args: []string{"flood"}, Point: at(1 << 40)}).byID[3]
	if full.End != engine.OutputFull || full.State == nil || full.State.Passed {
		t.Errorf("too long an output: %s %q %+v", full.End, full.Message, full.State)
	}
}

// TestStateOfWhatNeverEnds: a task that is killed has no state, and one that streams or whose input grows is not begun with a point.
func TestStateOfWhatNeverEnds(t *testing.T) {
	p := program(t, assemble(t, "testdata/trap.wat"))
	p.Limits.Time = 200 * time.Millisecond
	streams, grows := pointed(2, "nothing", 5), pointed(3, "nothing", 5)
	streams.Stream, grows.StdinOpen = true, true
	l := runAll(t, openSandbox(t, p), pointed(1, "loop", 500), streams, grows, pointed(4, "nothing", 0))
	if o := l.byID[1]; o.End != engine.TimedOut || o.State != nil {
		t.Errorf("an endless one: %s %+v", o.End, o.State)
	}
	for _, id := range []uint64{2, 3} {
		if o := l.byID[id]; o.End != engine.Broken || o.State != nil || !strings.Contains(o.Message, "run twice") {
			t.Errorf("task %d: %s %q", id, o.End, o.Message)
		}
	}
	if o := l.byID[4]; o.End != engine.Exited || o.State == nil {
		t.Errorf("the next one: %s %q %+v", o.End, o.Message, o.State)
	}
}

// TestStateOfAnEmptyMemory measures what looking at 256 MiB that nobody has written costs.
func TestStateOfAnEmptyMemory(t *testing.T) {
	memory := make([]byte, 256<<20)
	start := time.Now()
	sum := meter.State{Memory: memory}.Sum()
	t.Logf("256 MiB of zeros: %v", time.Since(start))
	memory[len(memory)-1] = 1
	if sum == (meter.State{Memory: memory}).Sum() || sum == (meter.State{Memory: memory[:128<<20]}).Sum() {
		t.Error("the last byte, or the size, does not show")
	}
}

// TestStateAtAnExit: a program that leaves by proc_exit has its memory looked at, not an empty one.
func TestStateAtAnExit(t *testing.T) {
	s := openSandbox(t, program(t, assemble(t, "testdata/exit.wat")))
	l := runAll(t, s, pointed(1, "a", 1000), pointed(2, "b", 1000), pointed(3, "a", 1000))
	a, b, c := l.byID[1], l.byID[2], l.byID[3]
	if a.End != engine.Exited || a.Exit != 0 || a.Usage.Work != b.Usage.Work || a.State.Sum == b.State.Sum || a.State.Sum != c.State.Sum || a.State.Passed {
		t.Errorf("%+v, %+v, %+v", a, b, c)
	}
}
