package enginetest

import (
	"os/exec"
	"testing"
	"time"

	"github.com/hpips/hpips/engine"
)

// Bench is a sandbox whose tasks run one by one and are timed.
type Bench struct {
	tb testing.TB
	s  engine.Sandbox
	id uint64
}

// NewBench opens a program for it; lease and folder are its to set. It is closed with the test.
func NewBench(tb testing.TB, e engine.Engine, p engine.Program) *Bench {
	tb.Helper()
	p.Lease, p.Dir = tb.Name(), tb.TempDir()
	s, err := e.Open(tb.Context(), p)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return &Bench{tb: tb, s: s}
}

// Run runs a task, which must end with 0, and says how long that took from asking for it to its outcome.
func (b *Bench) Run(args ...string) (engine.Outcome, time.Duration) {
	b.tb.Helper()
	b.id++
	l, began := NewLedger(), time.Now()
	err := b.s.Run(b.tb.Context(), []engine.Task{{ID: b.id, Args: args}}, l)
	took, o := time.Since(began), l.Of[b.id]
	if err != nil || o.End != engine.Exited || o.Exit != 0 {
		b.tb.Fatalf("%v: %s %d %s", err, o.End, o.Exit, o.Message)
	}
	b.s.Release(b.id)
	return o, took
}

// Share is what is left of a processor in the sandbox: the processor time of a program alone by its time in the sandbox with the same argument, n times in turns, 1 is all.
func (b *Bench) Share(bare, argument string, n int) (share []float64) {
	b.tb.Helper()
	for range n {
		alone := exec.CommandContext(b.tb.Context(), bare, argument)
		if err := alone.Run(); err != nil {
			b.tb.Fatal(err)
		}
		own := alone.ProcessState.UserTime() + alone.ProcessState.SystemTime()
		o, _ := b.Run(argument)
		share = append(share, own.Seconds()/o.Usage.CPU.Seconds())
	}
	return share
}
