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
//  1. Calibrate: one task for each slot goes round the loop some hundred million times, both at once through the same network, because the
//     two cores of a small machine are often one core's two threads.
//  2. Run the tasks, with as many rounds as take 10 ms after that.
//  3. Calibrate again: the mean of both is what the ideal is worked out from, as the machine is not ours alone.
func TestBusyTasks(t *testing.T) {
	const each = 10 * time.Millisecond
	spin := assemble(t, filepath.Join("testdata", "spin.wat"))
	dave := pool(t, 2)
	rounds := either(100_000_000, 1_000_000_000)
	dave.perRound(spin, rounds/100) // compiles

	before := dave.perRound(spin, rounds)
	n := int(float64(each) / before)
	count := either(400, 10_000)
	dave.mapped(40, "--verify", "none", spin, "--", strconv.Itoa(n)) // learns how long a task takes
	o := dave.mapped(count, "--verify", "none", spin, "--", strconv.Itoa(n))
	after := dave.perRound(spin, rounds)
	ideal := float64(count) * float64(n) * (before + after) / 2 / 2 / float64(time.Second)
	figure(t, "busy-round-before", before, "ns")
	figure(t, "busy-round-after", after, "ns")
	figure(t, "busy-ideal", ideal, "s")
	figure(t, "busy-taken", o.Seconds, "s")
	figure(t, "busy", 100*ideal/o.Seconds, "% of ideal")
	t.Logf("%d tasks of %d rounds; load %s", count, n, load(t))
	atLeast(t, "busy", 100*ideal/o.Seconds, 95, 20)
}

// perRound is how many nanoseconds one round takes when both slots are at it: the mean of the wall time of two long tasks.
func (n *node) perRound(spin string, rounds int) float64 {
	n.t.Helper()
	o := n.mapped(2, "--verify", "none", spin, "--", strconv.Itoa(rounds))
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
		sum += float64(logs[len(logs)-1].Usage.Wall)
	}
	return sum / 2 / float64(rounds)
}
