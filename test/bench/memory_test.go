//go:build linux

package bench

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

// A node that nobody asks anything is a guest on its owner's PC.
func TestMemoryIdle(t *testing.T) {
	bin := program(t)
	requester := up(t, bin)
	other := up(t, bin, "--join", requester.address())
	requester.offers(2)
	rest(t, time.Duration(either(3, 30))*time.Second)
	for _, n := range []*node{requester, other} {
		got := memory(t, n.cmd.Process.Pid, "VmRSS")
		figure(t, "memory-idle", got, "MB")
		if got >= 120 {
			t.Errorf("an idle node takes %.0f MB, more than 120", got)
		}
	}
}

// Erin queues a million tasks before anybody is there to run them; then frank comes and begins.
func TestMemoryQueued(t *testing.T) {
	tiny := assemble(t, filepath.Join("..", "..", "examples", "tiny", "tiny.wat"))
	bin := program(t)
	erin := up(t, bin, "--no-provider")
	count := either(100_000, 1_000_000)
	id := erin.hpips("map", "-q", "--detach", "--over", fmt.Sprintf("count:%d", count), tiny)
	erin.poll("the plan", func() bool { return erin.job(id).Tasks.Total == count })
	rest(t, time.Duration(either(2, 10))*time.Second)
	queued := memory(t, erin.cmd.Process.Pid, "VmRSS")

	up(t, bin, "--slots", "1", "--join", erin.address())
	erin.poll("the work", func() bool { return erin.job(id).Tasks.Done > 0 })
	rest(t, time.Duration(either(2, 20))*time.Second)
	working, most := memory(t, erin.cmd.Process.Pid, "VmRSS"), memory(t, erin.cmd.Process.Pid, "VmHWM")
	erin.hpips("job", "cancel", id)
	figure(t, "memory-queued", queued, "MB")
	figure(t, "memory-queued-working", working, "MB")
	figure(t, "memory-queued-most", most, "MB")
	if most >= 500 {
		t.Errorf("a requester with %d tasks queued takes %.0f MB, more than 500", count, most)
	}
}

// rest lets a time pass in which nothing happens: it is what is measured, not a way to wait for something.
func rest(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}
