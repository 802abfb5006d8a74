//go:build linux

package bench

import (
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	contract "github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/enginetest"
	"github.com/hpips/hpips/engine/execution"
	"github.com/hpips/hpips/engine/process"
)

// Bob's PC runs native programs: how long a sandbox takes to have run one that does nothing, and what is left of a processor inside of it, beside the same program bare
// in the same run, in turns.
func TestNative(t *testing.T) {
	e, err := process.New(t.Context(), slog.New(slog.NewTextHandler(t.Output(), nil)), process.Config{})
	var missing *process.Missing
	if errors.As(err, &missing) {
		t.Skip(missing.What)
	}
	must(t, err)
	dir := t.TempDir()
	bare := filepath.Join(dir, "kernel")
	command(t, "cc", "-O2", "-static", "-o", bare, filepath.Join("testdata", "kernel.c"))
	key, err := execution.Key(bare)
	must(t, err)
	work := filepath.Join(dir, "work")
	must(t, os.Mkdir(work, 0o700))
	s, err := e.Open(t.Context(), contract.Program{Lease: t.Name(), Module: bare, Key: key, Dir: work})
	must(t, err)
	defer s.Close()
	id := uint64(0)
	held := func(rounds string) (contract.Outcome, time.Duration) {
		id++
		l := enginetest.NewLedger()
		began := time.Now()
		must(t, s.Run(t.Context(), []contract.Task{{ID: id, Args: []string{rounds}}}, l))
		took := time.Since(began)
		if o := l.Of[id]; o.End != contract.Exited || o.Exit != 0 {
			t.Fatalf("%s %d %s", o.End, o.Exit, o.Message)
		}
		return l.Of[id], took
	}
	var start []float64
	for range either(20, 200) {
		_, took := held("0")
		start = append(start, took.Seconds()*1000)
	}
	var share []float64
	for range either(3, 11) {
		rounds := map[bool]string{false: "100000000", true: "1000000000"}[*full]
		alone := exec.CommandContext(t.Context(), bare, rounds)
		must(t, alone.Run())
		own := alone.ProcessState.UserTime() + alone.ProcessState.SystemTime()
		o, _ := held(rounds)
		share = append(share, own.Seconds()/o.Usage.CPU.Seconds())
	}
	slices.Sort(start)
	figure(t, "native-start", median(start), "ms")
	figure(t, "native-start-p99", start[len(start)*99/100], "ms")
	figure(t, "native-share", 100*median(share), "% of the bare program")
	atLeast(t, "native-share", 100*median(share), 98, 50)
	atLeast(t, "starts a second", 1000/median(start), 1000.0/25, 0.2)
}
