package container

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/enginetest"
	"github.com/hpips/hpips/engine/sandbox"
)

// TestSuite holds this engine to the contract of all engines.
func TestSuite(t *testing.T) {
	enginetest.Suite(t, enginetest.Kit{
		Engine:  ours(t),
		Program: func(t *testing.T) engine.Program { return program(t, "guest") },
		Bad: func(t *testing.T) engine.Program {
			p := program(t, "guest")
			if err := os.Remove(filepath.Join(p.Module, "oci-layout")); err != nil {
				t.Fatal(err)
			}
			return p
		},
		Crash:  killHolder,
		Pauses: true,
		Most:   4,
	})
}

// killHolder kills what holds the container of a program that spins, which tells the engine how it ended: conmon, or Docker's shim.
func killHolder(t *testing.T, _ engine.Sandbox) {
	list, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range list {
		line, err := os.ReadFile(path)
		if err != nil || string(line) != "/hpips/program\x00spin\x00" {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the container's first process, and what holds that
			fields, err := stat(pid)
			if err != nil {
				t.Fatal(err)
			}
			if pid, err = strconv.Atoi(fields[1]); err != nil {
				t.Fatal(err)
			}
			name, err := os.ReadFile(filepath.Join("/proc", fields[1], "comm"))
			if err != nil {
				t.Fatal(err)
			}
			if word := strings.TrimSpace(string(name)); word == "conmon" || strings.HasPrefix(word, "containerd-shim") {
				if err := unix.Kill(pid, unix.SIGKILL); err != nil {
					t.Error(err)
				}
				return
			}
		}
	}
	t.Error("no container spins")
}

// ownPaths are paths that look like the host's and are the container's own.
var ownPaths = strings.Fields(`/sys /etc/hostname /etc/resolv.conf /etc/mtab /etc/profile.d /proc/kcore /proc/kmsg
/proc/self/oom_score_adj /proc/self/coredump_filter
/dev/pts /dev/mqueue /dev/ptmx /dev/tty /dev/console /dev/core /dev/init /sys /var /dev/.dockerenv /.dockerenv /run/.containerenv`)

// TestHostile lets mallory's images do their worst.
func TestHostile(t *testing.T) {
	enginetest.Hostile(t, hostileKit(t))
}

func hostileKit(t *testing.T) enginetest.HostileKit {
	kit := enginetest.HostileKit{Engine: ours(t), Own: ownPaths, Time: time.Second / 2, Patience: sandbox.Patience, Program: func(t *testing.T) engine.Program { return program(t, "hostile") }}
	if !ours(t).limited { // then such calls are refused
		kit.Ends = map[string][]engine.End{"memory in files of memory": {engine.Exited}, "memory that is shared": {engine.Exited}}
	}
	return kit
}

// TestCancelledWhileSuspended has mallory's program frozen and ended.
func TestCancelledWhileSuspended(t *testing.T) {
	enginetest.Suspended(t, hostileKit(t), func(pid string) time.Duration {
		n, err := strconv.Atoi(pid)
		if err != nil {
			t.Fatal(err)
		}
		return sandbox.Weigh(sandbox.Family(n, sandbox.Everyone)).CPU
	})
}
