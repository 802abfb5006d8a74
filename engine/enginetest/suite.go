// Package enginetest keeps the suite that every engine must pass, and a fake engine whose programs are Go functions.
// It promises that what the suite asks is in the contract of package engine, and that the fake passes it too, so that a provider tested
// against the fake meets no other behaviour in the real ones. It leaves what is special to one engine to that engine's own tests.
package enginetest

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hpips/hpips/engine"
)

var slow = flag.Int("slow", 1, "how many times as long as on a PC programs of tests may take, for virtual PCs whose processors are made of software")

// Patience is for how long programs, and those who wait for them, have where a PC would take d.
func Patience(d time.Duration) time.Duration { return time.Duration(*slow) * d }

// Kit is an engine under test.
type Kit struct {
	Engine engine.Engine
	// Program gives a program that does what its first argument, which the suite appends, says; see Guestbook for the acts. Limits and Dir are the suite's to set.
	Program func(t *testing.T) engine.Program
	// Bad is a program that Open must refuse with a *engine.ProgramError.
	Bad func(t *testing.T) engine.Program
	// Crash kills the child of a sandbox from outside.
	Crash func(t *testing.T, s engine.Sandbox)
	// Pauses says that Pause works here, Counts that work is counted.
	Pauses, Counts bool
	// Most is how many tasks the longer stories have at most, for engines that take long to start one; 0 leaves them as they are.
	Most int
}

// tasks is how many tasks a story has.
func (k *Kit) tasks(n int) int {
	if k.Most > 0 {
		return min(n, k.Most)
	}
	return n
}

// Guestbook names the acts that the suite asks of Kit.Program, by the first of its arguments:
//
//	exit N        ends with code N
//	cat           copies standard input to standard output
//	index         prints HPIPS_INDEX
//	count         adds one to a global variable and prints it
//	spin          prints "spinning" and computes for ever
//	flood         writes standard output for ever
//	grow          takes memory for ever
//	trap          does something impossible
//	read PATH     prints a file, or exits with 1
//	write PATH S  writes S into a file, or exits with 1
//	fill PATH     writes a file for ever
var Guestbook = []string{"exit", "cat", "index", "count", "spin", "flood", "grow", "trap", "read", "write", "fill"}

// Suite runs every test of the contract.
func Suite(t *testing.T, kit Kit) {
	tests := []struct {
		name string
		run  func(*testing.T, Kit)
	}{
		{"ends", ends}, {"fresh memory", freshMemory}, {"order and batches", inOrder}, {"standard input", standardInput},
		{"growing input", growingInput}, {"stream", streams}, {"files", files}, {"read-only mounts", readOnly}, {"missing input", missingInput},
		{"cancel one of fifty", cancelOneOfFifty}, {"cancel the running one", cancelRunning}, {"context ends", contextEnds},
		{"time limit", timeLimit}, {"crash", crash}, {"pause", pause}, {"close", closes}, {"bad program", badProgram}, {"two leases", twoLeases},
		{"points", points},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, kit) })
	}
}

// Limits that the suite's programs run within.
var limits = engine.Limits{Memory: 64 << 20, Output: 1 << 20, Disk: 1 << 20}

func open(t *testing.T, kit Kit, change func(*engine.Program)) engine.Sandbox {
	t.Helper()
	p := kit.Program(t)
	p.Lease, p.Dir, p.Limits = t.Name(), t.TempDir(), limits
	if change != nil {
		change(&p)
	}
	s, err := kit.Engine.Open(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Ledger is a sink that keeps what it hears, and holds it against the contract.
type Ledger struct {
	Order   []uint64
	Of      map[uint64]engine.Outcome
	Streams map[string][]byte // "ID/FD"
	OnDone  func(engine.Outcome)
	OnChunk func(id uint64, data []byte)
	Err     error
	Batches int
}

// NewLedger is empty.
func NewLedger() *Ledger {
	return &Ledger{Of: map[uint64]engine.Outcome{}, Streams: map[string][]byte{}}
}

// Done implements engine.Sink.
func (l *Ledger) Done(outcomes []engine.Outcome) {
	l.Batches++
	for _, o := range outcomes {
		if _, ok := l.Of[o.ID]; ok {
			l.Err = errors.Join(l.Err, fmt.Errorf("task %d has two outcomes", o.ID))
		}
		l.Of[o.ID] = o
		l.Order = append(l.Order, o.ID)
		if l.OnDone != nil {
			l.OnDone(o)
		}
	}
}

// Output implements engine.Sink.
func (l *Ledger) Output(id uint64, fd int, offset int64, data []byte) {
	key := fmt.Sprintf("%d/%d", id, fd)
	if _, ok := l.Of[id]; ok {
		l.Err = errors.Join(l.Err, fmt.Errorf("task %d streams after its outcome", id))
	}
	if int64(len(l.Streams[key])) != offset {
		l.Err = errors.Join(l.Err, fmt.Errorf("stream %s goes on at %d after %d bytes", key, offset, len(l.Streams[key])))
	}
	l.Streams[key] = append(l.Streams[key], data...)
	if l.OnChunk != nil {
		l.OnChunk(id, data)
	}
}

// run wants exactly one outcome for each task.
func run(t *testing.T, s engine.Sandbox, l *Ledger, tasks ...engine.Task) *Ledger {
	t.Helper()
	if l == nil {
		l = NewLedger()
	}
	if err := s.Run(t.Context(), tasks, l); err != nil {
		t.Fatal(err)
	}
	l.check(t, tasks)
	return l
}

func (l *Ledger) check(t *testing.T, tasks []engine.Task) {
	t.Helper()
	if l.Err != nil {
		t.Fatal(l.Err)
	}
	for _, task := range tasks {
		if _, ok := l.Of[task.ID]; !ok {
			t.Fatalf("task %d has no outcome", task.ID)
		}
	}
	if len(l.Of) != len(tasks) {
		t.Fatalf("%d outcomes for %d tasks", len(l.Of), len(tasks))
	}
}

// points asks for states of a task at its start, within it and behind its end, and for none: it runs to its end each time. Who does not count tells none.
func points(t *testing.T, kit Kit) {
	s := open(t, kit, func(p *engine.Program) { p.Watched = true })
	tasks := []engine.Task{index(1), index(2), index(2)}
	tasks[1].Points = []uint64{0, 1 << 61, 1 << 62}
	tasks[2].Points = []uint64{1 << 62}
	tasks[2].ID = 3
	l := NewLedger()
	run(t, s, l, tasks...)
	a, b, c := l.Of[1], l.Of[2], l.Of[3]
	if a.States != nil || !right(a) || !right(b) || c.End != engine.Exited {
		t.Errorf("without points %+v, with three %+v, with one %+v", a, b, c)
	}
	if b.Usage.Work != c.Usage.Work {
		t.Errorf("the same task takes %d and %d", b.Usage.Work, c.Usage.Work)
	}
	if !kit.Counts {
		if len(b.States)+len(c.States) > 0 {
			t.Errorf("work is not counted, and states are told: %x, %x", b.States, c.States)
		}
		return
	}
	if len(b.States) != 3 || len(c.States) != 1 {
		t.Fatalf("states %x and %x", b.States, c.States)
	}
	if b.States[0] == b.States[1] || b.States[1] != b.States[2] || b.States[2] != c.States[0] {
		t.Errorf("states at the start and at the end %x, and of the same task at its end %x", b.States, c.States)
	}
}

func act(id uint64, args ...string) engine.Task { return engine.Task{ID: id, Args: args} }

func index(id uint64) engine.Task {
	return engine.Task{ID: id, Args: []string{"index"}, Env: []string{"HPIPS_INDEX=" + strconv.FormatUint(id, 10)}}
}

// right says that an index task did its work.
func right(o engine.Outcome) bool {
	return o.End == engine.Exited && o.Exit == 0 && string(o.Stdout.Inline) == strconv.FormatUint(o.ID, 10)
}

func ends(t *testing.T, kit Kit) {
	s := open(t, kit, nil)
	rows := []struct {
		args []string
		end  engine.End
		exit int
		says string
	}{
		{[]string{"exit", "0"}, engine.Exited, 0, ""},
		{[]string{"exit", "3"}, engine.Exited, 3, "exit code 3"},
		{[]string{"exit", "255"}, engine.Exited, 255, "exit code 255"},
		{[]string{"trap"}, engine.Trapped, -1, "trapped"},
		{[]string{"flood"}, engine.OutputFull, -1, "limit of 1 MiB; raise it with --max-output"},
		{[]string{"grow"}, engine.MemoryFull, -1, "limit of 64 MiB; raise it with --memory"},
		{[]string{"exit", "0"}, engine.Exited, 0, ""},
	}
	for i, row := range rows {
		id := uint64(i + 1)
		o := run(t, s, nil, act(id, row.args...)).Of[id]
		if o.End != row.end || o.Exit != row.exit || !strings.Contains(o.Message, row.says) || (row.says == "") != (o.Message == "") {
			t.Errorf("%q: %s %d %q, want %s %d %q", row.args, o.End, o.Exit, o.Message, row.end, row.exit, row.says)
		}
		if row.end == engine.OutputFull && o.Stdout.Size != limits.Output {
			t.Errorf("%q: kept %d bytes of output, want %d", row.args, o.Stdout.Size, limits.Output)
		}
	}
}

func freshMemory(t *testing.T, kit Kit) {
	l := run(t, open(t, kit, nil), nil, act(1, "count"), act(2, "count"), act(3, "count"))
	for id, o := range l.Of {
		if got := string(o.Stdout.Inline); got != "1" {
			t.Errorf("task %d counts %q, want 1", id, got)
		}
	}
}

func inOrder(t *testing.T, kit Kit) {
	var tasks []engine.Task
	var want []uint64
	for id := uint64(1); id <= uint64(kit.tasks(200)); id++ {
		tasks = append(tasks, index(id))
		want = append(want, id)
	}
	s := open(t, kit, nil)
	start := time.Now()
	l := run(t, s, nil, tasks...)
	if !slices.Equal(l.Order, want) {
		t.Errorf("outcomes came in the order %v", l.Order)
	}
	if took := time.Since(start); l.Batches > 2+int(took/(5*time.Millisecond)) {
		t.Errorf("%d calls of Done for %d tasks in %s: nothing was batched", l.Batches, len(tasks), took)
	}
	for id, o := range l.Of {
		if !right(o) {
			t.Errorf("task %d: %s %d %q %q", id, o.End, o.Exit, o.Message, o.Stdout.Inline)
		}
	}
}

func write(t *testing.T, path string, data []byte) string {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func standardInput(t *testing.T, kit Kit) {
	dir := t.TempDir()
	big := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	s := open(t, kit, func(p *engine.Program) { p.Inputs = dir })
	small := act(2, "cat")
	small.Stdin = write(t, filepath.Join(dir, "small"), []byte("hello"))
	large := act(3, "cat")
	large.Stdin = write(t, filepath.Join(dir, "large"), big)
	l := run(t, s, nil, act(1, "cat"), small, large)
	if got := l.Of[1].Stdout; got.Size != 0 || len(got.Inline) != 0 {
		t.Errorf("no input gave %q", got.Inline)
	}
	if got := l.Of[2].Stdout; string(got.Inline) != "hello" || got.Size != 5 {
		t.Errorf("small input gave %q", got.Inline)
	}
	got := l.Of[3].Stdout
	data, err := os.ReadFile(got.Path)
	if err != nil || !bytes.Equal(data, big) || got.Size != int64(len(big)) || got.Inline != nil {
		t.Errorf("large input gave %d bytes in %q: %v", len(data), got.Path, err)
	}
	s.Release(3)
	if _, err := os.Stat(got.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("released output is still there: %v", err)
	}
}

func growingInput(t *testing.T, kit Kit) {
	dir := t.TempDir()
	s := open(t, kit, func(p *engine.Program) { p.Inputs = dir })
	spool, err := os.Create(filepath.Join(dir, "spool"))
	if err != nil {
		t.Fatal(err)
	}
	defer spool.Close()
	size := int64(0)
	say := func(word string, eof bool) {
		n, err := spool.WriteString(word)
		if err != nil {
			t.Error(err)
		}
		size += int64(n)
		s.Feed(1, size, eof)
	}
	task := act(1, "cat")
	task.Stdin, task.StdinOpen, task.Stream = spool.Name(), true, true
	l := NewLedger()
	l.OnChunk = func(_ uint64, data []byte) {
		switch string(l.Streams["1/1"]) { // alice types the next word when she sees the last
		case "one ":
			say("two ", false)
		case "one two ":
			say("three", true)
		}
	}
	say("one ", false)
	run(t, s, l, task)
	if got := string(l.Of[1].Stdout.Inline); got != "one two three" {
		t.Errorf("the program read %q", got)
	}
}

func streams(t *testing.T, kit Kit) {
	task := act(1, "flood")
	task.Stream = true
	l := run(t, open(t, kit, nil), nil, task, index(2))
	if got := int64(len(l.Streams["1/1"])); got != limits.Output {
		t.Errorf("%d bytes were streamed, want %d", got, limits.Output)
	}
	data, err := os.ReadFile(l.Of[1].Stdout.Path)
	if err != nil || !bytes.Equal(data, l.Streams["1/1"]) {
		t.Errorf("the outcome and the stream differ: %v", err)
	}
	if len(l.Streams["2/1"]) != 0 || !right(l.Of[2]) {
		t.Errorf("a task without Stream: %q, %v", l.Streams["2/1"], l.Of[2])
	}
}

func files(t *testing.T, kit Kit) {
	s := open(t, kit, nil)
	task := act(1, "write", "/out/deep/result", "forty-two")
	task.Outputs = []string{"/out", "/more"}
	full := act(2, "fill", "/out/big")
	full.Outputs = []string{"/out"}
	l := run(t, s, nil, task, full, act(3, "write", "/out/x", "no"))
	o := l.Of[1]
	data, err := os.ReadFile(filepath.Join(o.Outputs["/out"], "deep", "result"))
	if err != nil || string(data) != "forty-two" || o.Exit != 0 {
		t.Errorf("collected %q, %v; outcome %v", data, err, o)
	}
	if list, err := os.ReadDir(o.Outputs["/more"]); err != nil || len(list) != 0 {
		t.Errorf("the unused output has %v, %v", list, err)
	}
	if o := l.Of[2]; o.End != engine.DiskFull || !strings.Contains(o.Message, "limit of 1 MiB; raise it with --disk") {
		t.Errorf("a full disk: %s %q", o.End, o.Message)
	}
	if o := l.Of[3]; o.End != engine.Exited || o.Exit != 1 || o.Outputs != nil {
		t.Errorf("a task without outputs wrote: %s %d %v", o.End, o.Exit, o.Outputs)
	}
	s.Release(1)
	if _, err := os.Stat(o.Outputs["/out"]); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("released files are still there: %v", err)
	}
}

func readOnly(t *testing.T, kit Kit) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "data"), []byte("from alice"))
	s := open(t, kit, func(p *engine.Program) { p.Mounts = []engine.Mount{{Guest: "/in", Host: dir}} })
	own := act(3, "read", "/part")
	own.Mounts = []engine.Mount{{Guest: "/part", Host: filepath.Join(dir, "data")}}
	l := run(t, s, nil, act(1, "read", "/in/data"), act(2, "write", "/in/data", "from bob"), own, act(4, "read", "/part"))
	for id, want := range map[uint64]string{1: "from alice", 3: "from alice"} {
		if o := l.Of[id]; string(o.Stdout.Inline) != want || o.Exit != 0 {
			t.Errorf("task %d read %q, exit %d %s", id, o.Stdout.Inline, o.Exit, o.Stderr.Inline)
		}
	}
	for _, id := range []uint64{2, 4} {
		if o := l.Of[id]; o.Exit != 1 {
			t.Errorf("task %d: exit %d, want 1", id, o.Exit)
		}
	}
	if data, err := os.ReadFile(filepath.Join(dir, "data")); err != nil || string(data) != "from alice" {
		t.Errorf("the mount was written: %q, %v", data, err)
	}
}

func missingInput(t *testing.T, kit Kit) {
	s := open(t, kit, nil)
	task := act(1, "cat")
	task.Stdin = filepath.Join(t.TempDir(), "gone")
	l := run(t, s, nil, task, index(2))
	if o := l.Of[1]; o.End != engine.Broken || !strings.Contains(o.Message, "standard input") {
		t.Errorf("missing input: %s %q", o.End, o.Message)
	}
	if !right(l.Of[2]) {
		t.Errorf("the next task: %v", l.Of[2])
	}
}
