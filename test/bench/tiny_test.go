//go:build linux

package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Alice has many tasks of next to no work; bob and carol offer a slot each, on the same machine. What xargs and GNU parallel make of a native
// program that does the same stands beside it.
func TestTinyTasks(t *testing.T) {
	tiny := assemble(t, filepath.Join("..", "..", "examples", "tiny", "tiny.wat"))
	alice := pool(t, 2)
	alice.mapped(1000, "--verify", "none", tiny) // compiles, and learns how long a task takes

	count, runs := either(5_000, 50_000), either(1, 5)
	var plain, wall, checked, xargs, parallel []float64
	nodes, sandboxes := alice.spent()
	for range runs {
		a := alice.mapped(count, "--verify", "none", tiny)
		b := alice.mapped(count, tiny)
		plain, wall, checked = append(plain, float64(count)/a.Seconds), append(wall, float64(count)/a.wall.Seconds()), append(checked, float64(count)/b.Seconds)
		if b.Verified == 0 {
			t.Errorf("none of %d tasks was checked twice", count)
		}
		x, p := natively(t, count/10, count/50)
		xargs, parallel = append(xargs, x), append(parallel, p)
	}
	nodesAfter, sandboxesAfter := alice.spent()
	figure(t, "tiny", median(plain), "tasks/s")
	figure(t, "tiny-wall", median(wall), "tasks/s")
	figure(t, "tiny-checked", median(checked), "tasks/s")
	figure(t, "tiny-xargs", median(xargs), "tasks/s")
	figure(t, "tiny-parallel", median(parallel), "tasks/s")
	each := float64(time.Microsecond) * float64(2*runs*count)
	figure(t, "tiny-cpu-nodes", float64(nodesAfter-nodes)/each, "µs of processor time a task")
	figure(t, "tiny-cpu-sandboxes", float64(sandboxesAfter-sandboxes)/each, "µs of processor time a task")
	figure(t, "tiny-to-xargs", median(plain)/median(xargs), "times")
	figure(t, "tiny-to-parallel", median(plain)/median(parallel), "times")
	t.Logf("each of %d runs of %d tasks: %.0f; load %s", runs, count, plain, load(t))
	atLeast(t, "tiny", median(plain), 5000, 200)
	atLeast(t, "tiny-checked", median(checked), 5000, 200)
}

// natively runs the native program under xargs and under GNU parallel, two at a time, and returns their tasks per second.
func natively(t *testing.T, underXargs, underParallel int) (xargs, parallel float64) {
	t.Helper()
	native := filepath.Join(t.TempDir(), "tiny")
	command(t, "cc", "-O2", "-o", native, filepath.Join("testdata", "tiny.c"))
	out := filepath.Join(t.TempDir(), "out")
	rate := func(count int, line string) float64 {
		began := time.Now()
		cmd := exec.CommandContext(t.Context(), "sh", "-c", fmt.Sprintf("seq 0 %d | %s >%s", count-1, line, out))
		cmd.Env = append(os.Environ(), "PARALLEL_HOME="+t.TempDir())
		finish(t, cmd)
		took := time.Since(began)
		if got, err := os.Stat(out); err != nil || got.Size() < int64(count) {
			t.Fatalf("%s did not do its work: %v", line, err)
		}
		return float64(count) / took.Seconds()
	}
	return rate(underXargs, "xargs -P2 -n1 "+native), rate(underParallel, "parallel --will-cite -j2 "+native)
}

// Memory is fresh for each task: what one leaves in a global or in memory, the next does not find.
func TestTinyTasksDoNotMeet(t *testing.T) {
	counter := assemble(t, filepath.Join("testdata", "counter.wat"))
	alice := pool(t, 2)
	count := either(2_000, 20_000)
	result := alice.mapped(count, "--verify", "none", counter).Result
	to := filepath.Join(t.TempDir(), "parts")
	alice.hpips("get", result, "-O", to)
	seen := 0
	must(t, filepath.WalkDir(to, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		seen++
		text, err := os.ReadFile(path)
		if err == nil && strings.TrimSpace(string(text)) != "1" {
			t.Fatalf("%s says %q, not 1", path, text)
		}
		return err
	}))
	if seen != count {
		t.Errorf("%d parts of %d tasks", seen, count)
	}
}
