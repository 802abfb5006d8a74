package wasm

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/capture"
)

func indexed(id uint64, index string) engine.Task {
	return engine.Task{ID: id, Env: []string{"HPIPS_INDEX=" + index}}
}

// TestCounter is the words: a module that counts in a global must always print 1; this one counts in its memory too.
func TestCounter(t *testing.T) {
	s := openSandbox(t, program(t, assemble(t, "testdata/counter.wat")))
	var tasks []engine.Task
	for id := uint64(1); id <= 500; id++ {
		tasks = append(tasks, engine.Task{ID: id})
	}
	for id, o := range runAll(t, s, tasks...).byID {
		if string(o.Stdout.Inline) != "11" {
			t.Fatalf("task %d counts %q, want 11", id, o.Stdout.Inline)
		}
	}
}

func TestTraps(t *testing.T) {
	p := program(t, assemble(t, "testdata/trap.wat"))
	s := openSandbox(t, p)
	for i, row := range []struct{ how, says string }{
		{"unreachable", "the program trapped: unreachable"},
		{"divide", "the program trapped: integer divide by zero"},
		{"bounds", "the program trapped: out of bounds memory access"},
		{"stack", "the program trapped: stack overflow"},
		{"nothing", ""},
	} {
		o := runAll(t, s, indexed(uint64(i+1), row.how)).byID[uint64(i+1)]
		want := engine.Trapped
		if row.says == "" {
			want = engine.Exited
		}
		if o.End != want || o.Message != row.says {
			t.Errorf("%s: %s %q, want %s %q", row.how, o.End, o.Message, want, row.says)
		}
	}
}

// TestTable lets a program grow a table without end: it may have a million elements and no more, on every machine alike.
func TestTable(t *testing.T) {
	s := openSandbox(t, program(t, assemble(t, "testdata/table.wat")))
	l := runAll(t, s, engine.Task{ID: 1}, engine.Task{ID: 2})
	for id, o := range l.byID {
		if o.End != engine.Trapped || o.Message != "the program trapped: unreachable" || o.Usage.Work != l.byID[1].Usage.Work {
			t.Errorf("task %d: %s %q", id, o.End, o.Message)
		}
	}
}

func TestHalfMade(t *testing.T) {
	o := one(t, program(t, assemble(t, "testdata/half.wat")), engine.Task{})
	if o.End != engine.Trapped || !strings.Contains(o.Message, "out of bounds") {
		t.Errorf("%s %q", o.End, o.Message)
	}
}

func TestArgumentsAndEnvironment(t *testing.T) {
	p := program(t, guest(t))
	p.Args, p.Env = []string{"args"}, []string{"A=1", "B=2", "HOME=/home"}
	s := openSandbox(t, p)
	o := runAll(t, s, engine.Task{ID: 1, Args: []string{"x", "", "ü z"}}).byID[1]
	if got, want := string(o.Stdout.Inline), `["program" "args" "x" "" "ü z"]`; got != want {
		t.Errorf("arguments %s, want %s", got, want)
	}
	p.Args, p.Dir = []string{"env"}, t.TempDir()
	s = openSandbox(t, p)
	l := runAll(t, s, engine.Task{ID: 1, Env: []string{"C=3", "A=one", "C=three"}}, engine.Task{ID: 2})
	for id, want := range map[uint64]string{
		1: `["PWD=/" "HOME=/home" "A=one" "B=2" "C=three"]`,
		2: `["PWD=/" "HOME=/home" "A=1" "B=2"]`,
	} {
		if got := string(l.byID[id].Stdout.Inline); got != want {
			t.Errorf("task %d has environment %s, want %s", id, got, want)
		}
	}
}

func TestArgumentsTooLong(t *testing.T) {
	s := openSandbox(t, program(t, assemble(t, tinyWat)))
	l := runAll(t, s, engine.Task{ID: 1, Args: []string{strings.Repeat("x", maxTask)}}, indexed(2, "fine"))
	if o := l.byID[1]; o.End != engine.Broken || !strings.Contains(o.Message, "1 MiB; put them into a file") {
		t.Errorf("%s %q", o.End, o.Message)
	}
	if got := string(l.byID[2].Stdout.Inline); got != "fine" {
		t.Errorf("the next task says %q", got)
	}
}

// TestManyLargeTasks passes the window and the frame size many times over.
func TestManyLargeTasks(t *testing.T) {
	s := openSandbox(t, program(t, assemble(t, tinyWat)))
	var tasks []engine.Task
	for id := uint64(1); id <= 20; id++ {
		tasks = append(tasks, indexed(id, strconv.FormatUint(id, 10)+strings.Repeat("x", 30_000)))
	}
	for id, o := range runAll(t, s, tasks...).byID {
		if o.Stdout.Size < 30_000 || !bytes.HasPrefix(o.Stdout.Inline, strconv.AppendUint(nil, id, 10)) {
			t.Errorf("task %d: %s %d bytes", id, o.End, o.Stdout.Size)
		}
	}
}

func TestLongStandardError(t *testing.T) {
	p := program(t, guest(t))
	p.Args = []string{"stderr"}
	s := openSandbox(t, p)
	for id, lines := range []int{0, 10, 6000, 6665 /* 4 bytes too many */, 20000} {
		o := runAll(t, s, engine.Task{ID: uint64(id), Args: []string{strconv.Itoa(lines)}}).byID[uint64(id)]
		var all bytes.Buffer
		for i := range lines {
			fmt.Fprintf(&all, "line %d\n", i)
		}
		want := all.String()
		if all.Len() > capture.Head+capture.Tail {
			cut := all.Len() - capture.Head - capture.Tail
			want = want[:capture.Head] + "\n[... " + engine.Bytes(int64(cut)) + " of standard error left out ...]\n" + want[len(want)-capture.Tail:]
		}
		if string(o.Stderr.Inline) != want || o.Stderr.Size != int64(all.Len()) {
			t.Errorf("%d lines: %d of %d bytes, size %d", lines, len(o.Stderr.Inline), len(want), o.Stderr.Size)
		}
	}
}

// TestGigabyte prints 1 GiB: one byte more than the limit stops it, within the limit all of it is kept.
func TestGigabyte(t *testing.T) {
	p := program(t, guest(t))
	p.Args, p.Limits.Output = []string{"flood"}, 1<<30
	s := openSandbox(t, p)
	l := runAll(t, s, engine.Task{ID: 1, Args: []string{"1024"}})
	o := l.byID[1]
	info, err := os.Stat(o.Stdout.Path)
	if err != nil || o.End != engine.Exited || o.Exit != 0 || o.Stdout.Size != 1<<30 || info.Size() != 1<<30 {
		t.Errorf("1 GiB: %s %d %q, %d bytes, %v", o.End, o.Exit, o.Message, o.Stdout.Size, err)
	}
	s.Release(1)
	p.Limits.Output, p.Dir = 0, t.TempDir()
	o = one(t, p, engine.Task{Args: []string{"1024"}})
	if o.End != engine.OutputFull || o.Message != "output passed its limit of 64 MiB; raise it with --max-output" || o.Stdout.Size != 64<<20 {
		t.Errorf("over the default limit: %s %q, %d bytes", o.End, o.Message, o.Stdout.Size)
	}
}

func TestSleepTakesNoTime(t *testing.T) {
	p := program(t, guest(t))
	p.Args = []string{"sleep", "1000h"}
	o := one(t, p, engine.Task{})
	if o.End != engine.Exited || string(o.Stdout.Inline) != "slept" || o.Usage.CPU <= 0 || o.Usage.Wall <= 0 || o.Usage.Memory <= 0 {
		t.Errorf("%s %q, usage %+v", o.End, o.Stdout.Inline, o.Usage)
	}
}

// TestHostFails has the folder of a sandbox spoilt by someone else: that is not the program's fault.
func TestHostFails(t *testing.T) {
	p := program(t, guest(t))
	if err := os.WriteFile(filepath.Join(p.Dir, "tasks"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := newEngine(t).Open(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l := runAll(t, s,
		engine.Task{ID: 1, Args: []string{"flood", "1"}},
		engine.Task{ID: 2, Args: []string{"write", "/out/x", "y"}, Outputs: []string{"/out"}},
		engine.Task{ID: 3, Args: []string{"exit", "0"}},
		engine.Task{ID: 4, Args: []string{"exit", "0"}, Mounts: []engine.Mount{{Guest: "/in", Host: filepath.Join(p.Dir, "gone")}}})
	for id, says := range map[uint64]string{1: "output cannot be kept", 2: "output /out", 4: "mount /in"} {
		if o := l.byID[id]; o.End != engine.Broken || !strings.Contains(o.Message, says) || strings.Contains(o.Message, p.Dir) {
			t.Errorf("task %d: %s %q", id, o.End, o.Message)
		}
	}
	if l.byID[3].End != engine.Exited {
		t.Errorf("a task without files: %s %q", l.byID[3].End, l.byID[3].Message)
	}
}

// TestInputsComeLater opens a sandbox before its inputs are fetched: they are within reach once they are there, below Inputs at no cost.
func TestInputsComeLater(t *testing.T) {
	p := program(t, guest(t))
	p.Args, p.Inputs = []string{"read", "/part"}, filepath.Join(t.TempDir(), "in")
	s := openSandbox(t, p)
	elsewhere := filepath.Join(t.TempDir(), "x")
	part := func(id uint64, host string) engine.Task {
		return engine.Task{ID: id, Mounts: []engine.Mount{{Guest: "/part", Host: host}}}
	}
	own := filepath.Join(p.Inputs, "1")
	l := newLedger()
	runWith(t, s, l, part(1, own), part(2, elsewhere))
	if l.byID[1].End != engine.Broken || l.byID[2].End != engine.Broken {
		t.Errorf("inputs that are not there: %v", l.byID)
	}
	if err := os.Mkdir(p.Inputs, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{own, own + "b", elsewhere} {
		if err := os.WriteFile(path, []byte("here"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l = newLedger()
	runWith(t, s, l, part(3, own), part(4, elsewhere))
	child := s.(*sandbox).current()
	runWith(t, s, newLedger(), part(5, own+"b"))
	if s.(*sandbox).current() != child {
		t.Error("an input below Inputs cost a child")
	}
	for id, o := range l.byID {
		if string(o.Stdout.Inline) != "here" {
			t.Errorf("task %d: %s %q", id, o.End, o.Message)
		}
	}
}

// TestInterruptedTyping feeds lines to a program while an earlier task is cancelled and the child replaced.
func TestInterruptedTyping(t *testing.T) {
	dir := t.TempDir()
	p := program(t, guest(t))
	p.Inputs = dir
	s := openSandbox(t, p)
	spool := filepath.Join(dir, "spool")
	if err := os.WriteFile(spool, []byte("a\nb\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Feed(2, 2, false) // before Run knows the task
	l := newLedger()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	began := make(chan struct{})
	sink := &tap{Sink: l, on: func() { close(began) }}
	go func() {
		<-began
		s.Feed(2, 4, true)
		s.Cancel(1)
	}()
	err := s.Run(ctx, []engine.Task{
		{ID: 1, Args: []string{"spin"}, Stream: true},
		{ID: 2, Args: []string{"lines"}, Stdin: spool, StdinOpen: true},
	}, sink)
	if err != nil || l.byID[1].End != engine.Cancelled || string(l.byID[2].Stdout.Inline) != "<a><b>" {
		t.Errorf("%v, %s, %q %q", err, l.byID[1].End, l.byID[2].Stdout.Inline, l.byID[2].Message)
	}
}

// tap calls on at the first streamed bytes.
type tap struct {
	engine.Sink
	on   func()
	once bool
}

func (s *tap) Output(id uint64, fd int, offset int64, data []byte) {
	s.Sink.Output(id, fd, offset, data)
	if !s.once {
		s.once = true
		s.on()
	}
}

func TestArena(t *testing.T) {
	a, err := newArena(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	dirty := func(n uint64) {
		m := a.Allocate(0, 0).Reallocate(n)
		if i := bytes.IndexFunc(m, func(r rune) bool { return r != 0 }); i >= 0 {
			t.Errorf("byte %d of %d is not zero", i, n)
		}
		for i := range m {
			m[i] = 0xff
		}
	}
	for _, n := range []uint64{pageSize, 1 << 20, 2 * pageSize, 0, 8 * pageSize, 1 << 20} {
		dirty(n) // without Free, as after an instance that failed half-made
		if n%3 == 0 {
			a.Free()
		}
	}
	if a.Reallocate(1<<20+1) != nil || !a.refused {
		t.Error("it grew past its limit")
	}
	if a.peak != 1<<20 {
		t.Errorf("peak is %d", a.peak)
	}
}

func TestInletWithoutFile(t *testing.T) {
	if b, err := io.ReadAll(&inlet{}); err != nil || len(b) > 0 {
		t.Errorf("%q, %v", b, err)
	}
}
