//go:build linux

package bench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// megabyte is what memory is counted in, 10⁶ bytes.
const megabyte = 1e6

// ticks is how many of Linux' clock ticks make a second (USER_HZ).
const ticks = 100

// memory reads a line such as VmRSS of a process, in megabytes.
func memory(t *testing.T, pid int, line string) float64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	for _, l := range strings.Split(string(text), "\n") {
		if rest, ok := strings.CutPrefix(l, line+":"); ok {
			kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			must(t, err)
			return kib * 1024 / megabyte
		}
	}
	t.Fatalf("process %d has no %s", pid, line)
	return 0
}

// stat is what Linux tells of a process beside its name.
type stat struct {
	parent int
	cpu    time.Duration // its own
	buried time.Duration // of children that have ended
}

func readStat(path string) (s stat, ok bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return s, false // it has ended
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 15 {
		return s, false
	}
	spent := func(user, system string) time.Duration {
		u, _ := strconv.Atoi(user) // Linux writes numbers there
		s, _ := strconv.Atoi(system)
		return time.Duration(u+s) * time.Second / ticks
	}
	s.parent, _ = strconv.Atoi(fields[1])
	s.cpu, s.buried = spent(fields[11], fields[12]), spent(fields[13], fields[14])
	return s, true
}

// spent is the processor time of a node's pool so far: that of the nodes, and that of the sandboxes which they start.
func (n *node) spent() (nodes, sandboxes time.Duration) {
	n.t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	must(n.t, err)
	for _, member := range n.pool {
		pid := member.cmd.Process.Pid
		s, ok := readStat(fmt.Sprintf("/proc/%d/stat", pid))
		if !ok {
			n.t.Fatalf("process %d is gone", pid)
		}
		nodes, sandboxes = nodes+s.cpu, sandboxes+s.buried
		for _, path := range all {
			if c, ok := readStat(path); ok && c.parent == pid {
				sandboxes += c.cpu
			}
		}
	}
	return nodes, sandboxes
}

// machineBusy is the processor time that all processes of the machine have taken, and what its host has taken from it.
func machineBusy(t *testing.T) time.Duration {
	t.Helper()
	text, err := os.ReadFile("/proc/stat")
	must(t, err)
	line, _, _ := strings.Cut(string(text), "\n")
	var sum time.Duration
	for i, f := range strings.Fields(line)[1:] {
		if n, err := strconv.Atoi(f); err == nil && (i < 3 || 4 < i && i < 8) { // user nice system, idle iowait, irq softirq steal
			sum += time.Duration(n) * time.Second / ticks
		}
	}
	return sum
}
