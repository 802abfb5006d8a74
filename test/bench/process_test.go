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
	cpu    time.Duration
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
	s.parent, _ = strconv.Atoi(fields[1])
	for _, f := range fields[11:13] { // user and system time
		n, _ := strconv.Atoi(f)
		s.cpu += time.Duration(n) * time.Second / ticks
	}
	return s, true
}

// cpu is the processor time of a process and of its living children.
func cpu(t *testing.T, pid int) (own, children time.Duration) {
	t.Helper()
	s, ok := readStat(fmt.Sprintf("/proc/%d/stat", pid))
	if !ok {
		t.Fatalf("process %d is gone", pid)
	}
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	must(t, err)
	for _, path := range all {
		if c, ok := readStat(path); ok && c.parent == pid {
			children += c.cpu
		}
	}
	return s.cpu, children
}
