//go:build linux

package bench

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/spec/job"
)

// frame is how often a screen is drawn, and drawing how much a program computes for it.
const (
	frame   = time.Second / 60
	drawing = 2 * time.Millisecond
)

// frames wakes up 60 times a second for a while, draws, and gives how late each waking was, and how late each drawing was done, in milliseconds. It keeps to a thread
// of its own, as a program with a window does.
func frames(n int) (woken, drawn []float64) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	now := func() (ts unix.Timespec) {
		_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // it does not fail with this clock
		return ts
	}
	first := now()
	due := first.Nano()
	for range n {
		due += int64(frame)
		at := unix.NsecToTimespec(due)
		for unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &at, nil) == unix.EINTR {
		}
		ts := now()
		woken = append(woken, float64(ts.Nano()-due)/1e6)
		for spent := threadTime(); threadTime()-spent < drawing; {
		}
		ts = now()
		drawn = append(drawn, float64(ts.Nano()-due)/1e6)
		if late := ts.Nano() - due; late > int64(frame) { // the frames that were missed are not made up for
			due += late / int64(frame) * int64(frame)
		}
	}
	return woken, drawn
}

func threadTime() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts) // it does not fail with this clock
	return time.Duration(ts.Nano())
}

func p99(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)*99/100]
}

// Frank is at his PC, and shares all of its processors all the same: his windows are drawn sixty times a second beside as many tasks as there are processors, in turns with the
// PC to himself. What loops of the kernel's idle class do to them, without any of HPIPS, is told beside: no program can take a processor and be felt less.
func TestComfort(t *testing.T) {
	erin, frank := loaded(t, "in-use", map[string]string{"in_use.cpu": "100", "in_use.total": "100"})
	cores := runtime.NumCPU()
	erin.poll("the load", func() bool { return frank.busyBoxes(t) == cores })

	n := either(120, 600)
	var alone, bare, beside lateness
	var shares, idle []float64
	for range either(2, 10) {
		frank.hpips("share", "pause")
		alone.add(frames(n))
		end := idleLoops(t, cores)
		bare.add(frames(n))
		end()
		frank.hpips("share", "resume")
		erin.poll("the load", func() bool { return frank.busyBoxes(t) == cores })
		_, before := frank.spentBy()
		busy, began := machineBusy(t), time.Now()
		beside.add(frames(n))
		_, after := frank.spentBy()
		took := time.Since(began).Seconds() * float64(cores)
		shares, idle = append(shares, (after-before).Seconds()/took), append(idle, 1-(machineBusy(t)-busy).Seconds()/took)
	}
	t.Logf("the load took %.2f of the processors, %.2f were idle; load %s", median(shares), median(idle), load(t))
	if median(idle) > 0.3 {
		t.Error("the load is none: processors were idle")
	}
	figure(t, "comfort-loops", p99(slices.Concat(bare.drawn...))/p99(slices.Concat(alone.drawn...)), "times, beside idle loops without HPIPS")
	figure(t, "comfort-woken-loops", p99(slices.Concat(bare.woken...))/p99(slices.Concat(alone.woken...)), "times, beside idle loops without HPIPS")
	drawn, woken := compared(t, "drawn", alone.drawn, beside.drawn), compared(t, "woken", alone.woken, beside.woken)
	figure(t, "comfort", drawn, "times the latency of the PC to itself")
	figure(t, "comfort-woken", woken, "times")
	atLeast(t, "comfort, inverse", 1/drawn, 1/1.5, 0.02)
	atLeast(t, "comfort-woken, inverse", 1/woken, 1/1.5, 0.02)
}

// idleLoops starts endless loops in the kernel's idle class; end ends them.
func idleLoops(t *testing.T, n int) (end func()) {
	t.Helper()
	all := make([]*exec.Cmd, n)
	for i := range all {
		all[i] = exec.Command("chrt", "--idle", "0", "sh", "-c", "while :; do :; done")
		if err := all[i].Start(); err != nil {
			t.Fatal(err)
		}
	}
	end = sync.OnceFunc(func() {
		for _, c := range all {
			_ = c.Process.Kill()
			_ = c.Wait() // killed
		}
	})
	t.Cleanup(end)
	return end
}

// lateness is how late frames were, in milliseconds, round by round.
type lateness struct{ woken, drawn [][]float64 }

func (l *lateness) add(woken, drawn []float64) {
	l.woken, l.drawn = append(l.woken, woken), append(l.drawn, drawn)
}

// compared is how many times as late the last hundredth of all frames is beside the load; the medians of the rounds are told beside.
func compared(t *testing.T, what string, alone, beside [][]float64) float64 {
	t.Helper()
	of := func(how string, rounds [][]float64) (all, middle float64) {
		var each []float64
		for _, r := range rounds {
			each = append(each, p99(r))
		}
		all, middle = p99(slices.Concat(rounds...)), median(each)
		figure(t, "comfort-"+what+"-"+how, all, "ms, 99th percentile")
		figure(t, "comfort-"+what+"-"+how+"-rounds", middle, "ms, median of the rounds' 99th percentiles")
		return all, middle
	}
	a, amid := of("alone", alone)
	b, bmid := of("sharing", beside)
	figure(t, "comfort-"+what+"-rounds", bmid/amid, "times, by the medians of the rounds")
	return b / a
}

// Frank is away, and shares a part of his processors: what Erin's tasks take over half a minute is that part, seen from outside. That they may have all of it is asked only where
// it was free.
func TestShare(t *testing.T) {
	const part = 0.3
	erin, frank := loaded(t, "away", map[string]string{"away.cpu": "30", "away.total": "100"})
	erin.poll("the load", func() bool { return frank.busyBoxes(t) > 0 })
	for range either(1, 3) {
		_, before := frank.spentBy()
		busy, began := machineBusy(t), time.Now()
		<-time.After(time.Duration(either(5, 30)) * time.Second)
		_, after := frank.spentBy()
		all := time.Since(began).Seconds() * float64(runtime.NumCPU())
		share, idle := (after-before).Seconds()/all, 1-(machineBusy(t)-busy).Seconds()/all
		figure(t, "share", 100*share, "% of the processors, 30 are allowed")
		if share > part*1.1 || share < part*0.9 && idle > part-share {
			t.Errorf("the share is %.3f, %.2f is allowed, %.3f were idle; load %s", share, part, idle, load(t))
		}
	}
}

// loaded starts a requester and a PC that shares by these rules, with an endless task for each of its processors. That PC has a user with that presence.
func loaded(t *testing.T, presence string, rules map[string]string) (erin, frank *node) {
	t.Helper()
	spin := assemble(t, filepath.Join("testdata", "spin.wat"))
	bin := program(t)
	erin = up(t, bin, "--no-provider")
	cores := runtime.NumCPU()
	frank = upAt(t, bin, t.TempDir(), "--listen", "/ip4/127.0.0.1/tcp/0", "--slots", strconv.Itoa(cores), "--join", erin.address(), "--presence", presence)
	for key, value := range rules {
		frank.hpips("share", "set", key, value)
	}
	erin.pool = []*node{erin, frank}
	erin.offers(1)
	api, err := client.Open(erin.home)
	must(t, err)
	defer api.Close()
	text, err := os.Open(spin)
	must(t, err)
	defer text.Close()
	module, err := api.PutBytes(t.Context(), text)
	must(t, err)
	for range cores {
		_, err := api.Submit(t.Context(), job.Spec{Kind: job.Batch, Run: job.Run{WASM: module.CID, Args: []string{"1000000000000000"}}, Limits: job.Limits{Time: job.Duration(time.Hour)}, Verify: job.Verify{Mode: job.None}}, false)
		must(t, err)
	}
	return erin, frank
}

// spentBy is the processor time of this node alone and of its sandboxes.
func (n *node) spentBy() (own, sandboxes time.Duration) {
	other := *n
	other.pool = []*node{n}
	return other.spent()
}

// busyBoxes is how many children of a node have used a processor.
func (n *node) busyBoxes(t *testing.T) (busy int) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	must(t, err)
	for _, path := range all {
		if s, ok := readStat(path); ok && s.parent == n.cmd.Process.Pid && s.cpu > 200*time.Millisecond {
			busy++
		}
	}
	return busy
}
