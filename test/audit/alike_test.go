package audit

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hpips/hpips/auditor"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/trust"
)

// row is one task of a program.
type row struct {
	name    string
	program string
	args    []string
	inputs  []job.Input
	stdin   string
	outputs []string
	limits  job.Limits
	disk    job.Size
	task    job.Task
	end     job.End
	exit    int
	large   bool // its standard output, or an output, goes by address
}

func (r row) work() lease.Work {
	if r.disk == 0 {
		r.disk = 8 << 20
	}
	return lease.Work{Module: r.program, Args: r.args, Env: map[string]string{"HOME": "/home", "A": "1"}, Inputs: r.inputs, Outputs: r.outputs, Stdin: r.stdin, Count: 64,
		Resources: job.Resources{CPU: 1, Memory: 64 << 20, Disk: r.disk}, Limits: r.limits, Seed: [32]byte{7}}
}

// TestAnAnswerIsAlike has bob do tasks of every end that is an answer. Carol and dave, who know the statements alone, come to the digest and the work that bob
// said, and each to a state of its own; carol at dave's point to dave's.
func TestAnAnswerIsAlike(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	v := settle(t)
	hello, primes, concordance, guest := v.alice.built("examples/hello"), v.alice.built("examples/primes"), v.alice.built("examples/concordance"), v.alice.built("engine/wasm/testdata/guest")
	source, err := os.ReadFile("alike_test.go")
	if err != nil {
		t.Fatal(err)
	}
	file := func(b []byte) *job.Content { return &job.Content{CID: v.alice.has(b), Size: int64(len(b))} }
	folder := &job.Content{CID: v.alice.hasDir("."), Size: 1}
	long := strings.Repeat("all work and no play ", 20_000)
	rows := []row{
		{name: "hello", program: hello, args: []string{"alice"}, end: job.Exited},
		{name: "a range of primes", program: primes, args: []string{"20000000"}, task: job.Task{Index: 5}, end: job.Exited},
		{name: "the words of a file", program: concordance, task: job.Task{Path: "/in/part", Input: file(source)}, end: job.Exited},
		{name: "the words of a folder", program: concordance, task: job.Task{Path: "/in/part", Input: folder}, end: job.Exited},
		{name: "the words of a few bytes", program: concordance, args: []string{"-top", "2"}, task: job.Task{Path: "/in/part", Input: &job.Content{Inline: []byte("a b a"), Size: 5}}, end: job.Exited},
		{name: "a long output from standard input", program: hello, args: []string{"copy"}, stdin: v.alice.has([]byte(long)), end: job.Exited, large: true},
		{name: "a shared input", program: hello, args: []string{"cat", "/in/x"}, inputs: []job.Input{{From: v.alice.has([]byte(long)), To: "/in/x"}}, end: job.Exited, large: true},
		{name: "files", program: guest, args: []string{"write", "/out/deep/x", "some"}, outputs: []string{"/out", "/other"}, end: job.Exited, large: true},
		{name: "an exit code", program: hello, args: []string{"exit", "3"}, end: job.Exited, exit: 3},
		{name: "a panic", program: guest, args: []string{"panic"}, end: job.Exited, exit: 2},
		{name: "a trap", program: guest, args: []string{"trap"}, end: job.Trapped},
		{name: "what might differ", program: guest, args: []string{"world"}, task: job.Task{Index: 9, Env: map[string]string{"Z": "26"}}, outputs: []string{"/out"}, end: job.Exited, large: true},
		{name: "too much output", program: guest, args: []string{"flood"}, limits: job.Limits{Output: 3 << 20}, end: job.OutputFull, large: true},
		{name: "too much memory", program: guest, args: []string{"grow"}, end: job.MemoryFull},
		{name: "too much written", program: guest, args: []string{"fill", "/out/x"}, outputs: []string{"/out"}, end: job.DiskFull, large: true},
		{name: "too large an input", program: hello, disk: 100 << 10, task: job.Task{Path: "/in/part", Input: file([]byte(long))}, end: job.DiskFull},
	}
	carol, dave := v.carol.examines(), v.dave.examines()
	rule := func(name string, s lease.Statement) auditor.Rule {
		return auditor.By([]byte(strings.Repeat(name, 16)[:64]), s)
	}
	states, far := 0, ""
	for _, row := range rows {
		w := row.work()
		said := v.asks(ctx, w, row.task)[row.task.Index]
		if said.End != row.end || said.Exit != row.exit || row.large != (said.Stdout.CID != "" || len(said.Outputs) > 0) {
			t.Fatalf("%s: bob says %s %d %q, standard output %d %q, %d outputs", row.name, said.End, said.Exit, said.Message, said.Stdout.Size, said.Stderr, len(said.Outputs))
		}
		w.Limits.Time, w.Stream = job.Duration(time.Second), true // what decides nothing
		s, err := w.Statement(row.task)
		if err != nil {
			t.Fatal(err)
		}
		leaf := trust.Leaf{Statement: s.Digest(), Result: said.Digest(), Work: uint64(said.Usage.Work)}
		c, err := carol.Examine(ctx, s, []auditor.Rule{rule("carol's proof", s), rule("dave's proof", s)}, v.alice.id)
		if err != nil {
			t.Fatalf("%s: carol: %v", row.name, err)
		}
		d, err := dave.Examine(ctx, s, []auditor.Rule{rule("dave's proof", s)}, v.alice.id)
		if err != nil {
			t.Fatalf("%s: dave: %v", row.name, err)
		}
		if c.Result.Digest() != said.Digest() || c.Result.Usage.Work != said.Usage.Work || c.Answer != leaf.Answer() || d.Answer != leaf.Answer() {
			t.Errorf("%s: bob %s %d %q work %d; carol %s %d %q work %d", row.name, said.End, said.Exit, said.Message, said.Usage.Work, c.Result.End, c.Result.Exit, c.Result.Message, c.Result.Usage.Work)
		}
		if c.States[1] != d.States[0] {
			t.Errorf("%s: at dave's point carol comes to %x, dave to %x", row.name, c.States[1], d.States[0])
		}
		if c.States[0] != d.States[0] {
			states++
		}
		if c.Result.Stdout.CID != "" {
			far = c.Result.Stdout.CID
		}
		t.Logf("%s: %s, %d instructions", row.name, c.Result.End, c.Result.Usage.Work)
	}
	if states != len(rows)-1 { // the last one is not begun
		t.Errorf("%d of %d have two states at two points", states, len(rows))
	}
	if far == "" || v.carol.collects(far) {
		t.Errorf("what carol reckoned the address of, %q, is kept", far)
	}
	if left, err := filepath.Glob(filepath.Join(t.TempDir(), "..", "*", "examinations", "*")); err != nil || len(left) > 0 {
		t.Errorf("examinations leave %v, %v", left, err)
	}
}

// TestAnEndlessProgramHasNoAnswer: nobody could be paid for it, and carol gives it up when her own clock says so.
func TestAnEndlessProgramHasNoAnswer(t *testing.T) {
	alice, carol := moveIn(t, "alice"), moveIn(t, "carol")
	alice.knows(carol)
	s, err := row{program: alice.built("engine/wasm/testdata/guest"), args: []string{"spin"}}.work().Statement(job.Task{})
	if err != nil {
		t.Fatal(err)
	}
	e := carol.examines(func(c *auditor.Config) { c.Time = 300 * time.Millisecond })
	_, err = e.Examine(t.Context(), s, []auditor.Rule{auditor.By(make([]byte, 64), s)}, alice.id)
	if !errors.Is(err, auditor.ErrNoAnswer) || !strings.Contains(err.Error(), "time limit") {
		t.Errorf("an endless program: %v", err)
	}
	e = carol.examines(func(c *auditor.Config) { c.Time = time.Minute }) // she runs no more than she is paid for
	_, err = e.Within(10_000_000).Examine(t.Context(), s, []auditor.Rule{auditor.By(make([]byte, 64), s)}, alice.id)
	if !errors.Is(err, auditor.ErrNoAnswer) || !strings.Contains(err.Error(), "what is paid for") {
		t.Errorf("an endless program, within ten million instructions: %v", err)
	}
}
