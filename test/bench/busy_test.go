//go:build linux

package bench

import (
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/hpips/hpips/api/client"
)

// Dave has 10,000 tasks of 10 ms for two slots. The ideal is that both compute all the time and nothing else takes any.
//
//  1. Calibrate: one task for each slot goes round the loop some billion times, both at once through the same network, because the two
//     cores of a small machine are often one core's two threads.
//  2. Run the tasks, with as many rounds as take 10 ms after that.
//  3. Calibrate again: the mean of both is what the ideal is worked out from, as the machine is not ours alone.
//
// Beside the time taken stands the processor time: what the tasks' rounds took in the calibration, of all that the processes of the
// network took. It tells the same where nothing waits, and says it also on a machine that has other work.
func TestBusyTasks(t *testing.T) {
	const each = 10 * time.Millisecond
	spin := assemble(t, filepath.Join("testdata", "spin.wat"))
	dave := pool(t, 2)
	rounds := either(100_000_000, 3_000_000_000)
	dave.perRound(spin, rounds/100) // compiles

	before := dave.perRound(spin, rounds)
	n := int(float64(each) / before.wall)
	count, runs := either(400, 10_000), either(1, 3)
	dave.mapped(40, "--verify", "none", spin, "--", strconv.Itoa(n)) // learns how long a task takes
	var byTime, byCPU []float64
	for range runs {
		nodes, sandboxes := dave.spent()
		o := dave.mapped(count, "--verify", "none", spin, "--", strconv.Itoa(n))
		nodesAfter, sandboxesAfter := dave.spent()
		after := dave.perRound(spin, rounds)
		all := float64(count) * float64(n) / float64(time.Second) // of rounds, in thousand millions
		ideal := all * (before.wall + after.wall) / 2 / 2
		work, spent := all*(before.cpu+after.cpu)/2, (nodesAfter - nodes + sandboxesAfter - sandboxes).Seconds()
		t.Logf("ideal %.1f s, taken %.1f s; %.3g and %.3g ns a round, by processor time %.3g and %.3g; %.1f s of processor time for %.1f s of work, %.1f s of it in nodes; load %s",
			ideal, o.Seconds, before.wall, after.wall, before.cpu, after.cpu, spent, work, (nodesAfter - nodes).Seconds(), load(t))
		byTime, byCPU = append(byTime, 100*ideal/o.Seconds), append(byCPU, 100*work/spent)
		before = after
	}
	figure(t, "busy", median(byTime), "% of the ideal time")
	figure(t, "busy-cpu", median(byCPU), "% of the processor time is the tasks'")
	atLeast(t, "busy", median(byTime), 95, 20)
	atLeast(t, "busy-cpu", median(byCPU), 90, 20)
}

// round is what one round of a loop takes, in nanoseconds.
type round struct{ wall, cpu float64 }

// perRound is what one round takes when both slots are at it: the mean of two long tasks.
func (n *node) perRound(spin string, rounds int) round {
	n.t.Helper()
	o := n.mapped(2, "--verify", "none", spin, "--", strconv.Itoa(rounds))
	if len(o.Nodes) != 2 {
		n.t.Fatalf("the calibration ran on %d nodes, not on two", len(o.Nodes))
	}
	api, err := client.Open(n.home)
	must(n.t, err)
	defer api.Close()
	var sum round
	for task := range int64(2) {
		logs, err := api.Logs(n.t.Context(), o.Job, task)
		must(n.t, err)
		if len(logs) == 0 {
			n.t.Fatalf("task %d has no log", task)
		}
		took := logs[len(logs)-1].Usage
		sum.wall, sum.cpu = sum.wall+float64(took.Wall)/2, sum.cpu+float64(took.CPU)/2
	}
	return round{sum.wall / float64(rounds), sum.cpu / float64(rounds)}
}
