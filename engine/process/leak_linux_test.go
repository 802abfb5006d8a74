package process

import (
	"flag"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/enginetest"
	"github.com/hpips/hpips/engine/sandbox"
)

var starts = flag.Int("starts", 40, "sandboxes that the test for leaks opens and closes")

// TestNothingIsLeft wants no process, mount, control group, namespace, file, folder or goroutine to be left.
func TestNothingIsLeft(t *testing.T) {
	e, word := newEngine(t, Config{}), token(t)
	p := program(t, helper(t, "hostile"))
	p.Limits = engine.Limits{Time: time.Minute, Memory: 96 << 20}
	enginetest.NothingIsLeft(t, enginetest.Leak{
		Engine: e, Program: p, Starts: *starts, Slack: map[string]int{"files": 1},
		Ends: engine.Task{Args: []string{"zombies", word}, Outputs: []string{"/out"}}, Spins: engine.Task{Args: []string{"spin", word}},
		Left: func(t *testing.T) {
			if left := enginetest.Tokened(t, word); len(left) > 0 {
				t.Errorf("processes, and with them namespaces, are left: %v", left)
			}
			if all := sandbox.Family(os.Getpid(), sandbox.Everyone); len(all) > 1 {
				t.Errorf("children are left, dead or alive: %v", all[1:])
			}
			leftGroups(t, e)
		},
	})
}

// BenchmarkStart measures what a sandbox costs: how long it takes to have run what does nothing.
func BenchmarkStart(b *testing.B) {
	held := enginetest.NewBench(b, newEngine(b, Config{}), program(b, helper(b, "guest")))
	var took []time.Duration
	for b.Loop() {
		_, t := held.Run("exit", "0")
		took = append(took, t)
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2])/1e6, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100])/1e6, "p99-ms")
}
