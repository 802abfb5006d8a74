//go:build linux

package bench

import (
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

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
	held := enginetest.NewBench(t, e, contract.Program{Module: bare, Key: key})
	var start []float64
	for range either(20, 200) {
		_, took := held.Run("0")
		start = append(start, took.Seconds()*1000)
	}
	share := held.Share(bare, strconv.Itoa(either(100_000_000, 1_000_000_000)), either(3, 11))
	slices.Sort(start)
	figure(t, "native-start", median(start), "ms")
	figure(t, "native-start-p99", start[len(start)*99/100], "ms")
	figure(t, "native-share", 100*median(share), "% of the bare program")
	atLeast(t, "native-share", 100*median(share), 98, 50)
	atLeast(t, "starts a second", 1000/median(start), 1000.0/25, 0.2)
}
