package wasm

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/spec/meter/metertest"
)

// TestWorkIsTheSame runs programs in two sandboxes each, so in two processes: what they print, how they end and what they are charged is the
// same. The generator's programs have floats, vectors, traps and recursion; spec/meter runs a thousand of them on two engines.
func TestWorkIsTheSame(t *testing.T) {
	ends := map[engine.End]int{}
	for seed := range uint64(16) {
		kind := metertest.Mixed
		if seed == 15 {
			kind = metertest.Deep
		}
		path := filepath.Join(t.TempDir(), fmt.Sprintf("%d.wasm", seed))
		if err := os.WriteFile(path, metertest.Program(seed, kind), 0o600); err != nil {
			t.Fatal(err)
		}
		var of [2]engine.Outcome
		for i := range of {
			p := program(t, path)
			p.Limits.Work = 1 << 40
			of[i] = one(t, p, engine.Task{})
		}
		a, b := of[0], of[1]
		if a.End != b.End || a.Message != b.Message || string(a.Stdout.Inline) != string(b.Stdout.Inline) || a.Usage.Work != b.Usage.Work || a.Usage.Work <= 0 {
			t.Errorf("seed %d: %s %q %d, %s %q %d", seed, a.End, a.Message, a.Usage.Work, b.End, b.Message, b.Usage.Work)
		}
		if kind == metertest.Deep && a.Message != "the program trapped: stack overflow" {
			t.Errorf("recursion ends with %q", a.Message)
		}
		ends[a.End]++
	}
	t.Log(ends)
}

// TestWorkLimit stops an endless program after the same work each time, and the next task is none the worse for it.
func TestWorkLimit(t *testing.T) {
	p := program(t, assemble(t, "testdata/trap.wat"))
	p.Limits.Work = 1_000_000
	s := openSandbox(t, p)
	l := runAll(t, s, indexed(1, "loop"), indexed(2, "nothing"), indexed(3, "loop"))
	child := s.(*sandbox).current()
	for _, id := range []uint64{1, 3} {
		o := l.byID[id]
		if o.End != engine.WorkFull || o.Message != "work passed its limit of 1000000 instructions; raise it with --work" || o.Usage.Work <= 1_000_000 || o.Usage.Work > 1_001_000 {
			t.Errorf("task %d: %s %q, %d", id, o.End, o.Message, o.Usage.Work)
		}
	}
	if l.byID[1].Usage.Work != l.byID[3].Usage.Work {
		t.Errorf("the same task is charged %d and %d", l.byID[1].Usage.Work, l.byID[3].Usage.Work)
	}
	if o := l.byID[2]; o.End != engine.Exited || o.Usage.Work <= 0 || o.Usage.Work > 2000 {
		t.Errorf("%s %q, %d", o.End, o.Message, o.Usage.Work)
	}
	if child == nil {
		t.Error("the limit cost a child")
	}
}

// TestWorkOfGo has a program of Go's charged, with files and without: as much for each attempt. Another
// index reads other random bytes, by which Go's maps and so the work differ a little.
func TestWorkOfGo(t *testing.T) {
	p := program(t, guest(t))
	s := openSandbox(t, p)
	task := func(id uint64) engine.Task {
		return engine.Task{ID: id, Env: []string{"HPIPS_INDEX=5"}, Args: []string{"write", "/out/x", "1"}, Outputs: []string{"/out"}}
	}
	l := runAll(t, s, task(1), task(2), engine.Task{ID: 3, Args: []string{"exit", "3"}})
	if a, b := l.byID[1].Usage.Work, l.byID[2].Usage.Work; a != b || a < 100_000 {
		t.Errorf("the same task is charged %d and %d", a, b)
	}
	if o := l.byID[3]; o.Exit != 3 || o.Usage.Work <= 0 {
		t.Errorf("exit %d, %d", o.Exit, o.Usage.Work)
	}
}

// TestStartSection has a function that runs by itself run once, before _start, and be charged.
func TestStartSection(t *testing.T) {
	o := one(t, program(t, assemble(t, "testdata/start.wat")), engine.Task{})
	if o.End != engine.Exited || string(o.Stdout.Inline) != "1" || o.Usage.Work <= 0 {
		t.Errorf("%s %q %q, %d", o.End, o.Message, o.Stdout.Inline, o.Usage.Work)
	}
}
