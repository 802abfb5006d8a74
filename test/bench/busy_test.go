//go:build linux

package bench

import (
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/hpips/hpips/api/client"
)

// Dave has 10,000 tasks of 10 ms for two slots. The ideal is that both compute all the time and nothing else takes any.
//
//  1. Calibrate: one task for each slot goes round the loop some billion times, both at once through the same network, because the two
//     cores of a small machine are often one core's two threads. What counts is the processor time that the sandboxes measured.
//  2. Run the tasks, each with as many rounds as take 10 ms.
//  3. Calibrate again: the ideal is worked out from the mean of both.
//
// The machine may have other work. The figure "busy" is the ideal time of what was left to the network of the time taken: of the time of
// two slots, and not more than all cores had beside the others' work. Where nobody else is at work this is the ideal of the time taken.
func TestBusyTasks(t *testing.T) {
	const each, slots = 10 * time.Millisecond, 2
	spin := assemble(t, filepath.Join("testdata", "spin.wat"))
	dave := pool(t, slots)
	rounds := either(100_000_000, 1_000_000_000)
	dave.perRound(spin, rounds/100) // compiles

	before := dave.perRound(spin, rounds)
	n := int(float64(each) / before)
	count, runs := either(400, 10_000), either(1, 3)
	dave.mapped(40, "--verify", "none", spin, "--", strconv.Itoa(n)) // learns how long a task takes
	var busy, raw, overhead []float64
	for range runs {
		nodes, sandboxes := dave.spent()
		machine := machineBusy(t)
		o := dave.mapped(count, "--verify", "none", spin, "--", strconv.Itoa(n))
		nodesAfter, sandboxesAfter := dave.spent()
		machineAfter := machineBusy(t)
		after := dave.perRound(spin, rounds)

		work := float64(count) * float64(n) * (before + after) / 2 / float64(time.Second)
		spent := (nodesAfter - nodes + sandboxesAfter - sandboxes).Seconds()
		others := max(0, (machineAfter-machine).Seconds()-spent)
		left := min(slots*o.Seconds, float64(runtime.NumCPU())*o.Seconds-others)
		t.Logf("ideal %.1f s, taken %.1f s; %.1f s of processor time for %.1f s of work, %.1f s of it in nodes; others took %.1f s of %d cores; load %s",
			work/slots, o.Seconds, spent, work, (nodesAfter - nodes).Seconds(), others, runtime.NumCPU(), load(t))
		busy, raw, overhead = append(busy, 100*work/left), append(raw, 100*work/slots/o.Seconds), append(overhead, 1e6*(spent-work)/float64(count))
		before = after
	}
	figure(t, "busy", median(busy), "% of the ideal time")
	figure(t, "busy-with-others", median(raw), "% of the ideal time, others' work not taken off")
	figure(t, "busy-overhead", median(overhead), "µs of processor time a task")
	atLeast(t, "busy", median(busy), 95, 10)
}

// perRound is how many nanoseconds of processor time one round takes when both slots are at it: the mean of two long tasks.
func (n *node) perRound(spin string, rounds int) float64 {
	n.t.Helper()
	o := n.mapped(2, "--verify", "none", spin, "--", strconv.Itoa(rounds))
	if len(o.Nodes) != 2 {
		n.t.Fatalf("the calibration ran on %d nodes, not on two", len(o.Nodes))
	}
	api, err := client.Open(n.home)
	must(n.t, err)
	defer api.Close()
	var sum float64
	for task := range int64(2) {
		logs, err := api.Logs(n.t.Context(), o.Job, task)
		must(n.t, err)
		if len(logs) == 0 {
			n.t.Fatalf("task %d has no log", task)
		}
		sum += float64(logs[len(logs)-1].Usage.CPU)
	}
	return sum / 2 / float64(rounds)
}
