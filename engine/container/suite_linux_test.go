package container

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/enginetest"
)

// TestSuite holds this engine to the contract of all engines.
func TestSuite(t *testing.T) {
	enginetest.Suite(t, enginetest.Kit{
		Engine:  ours(t),
		Program: func(t *testing.T) engine.Program { return program(t, "guest") },
		Bad:     spoilt,
		Crash:   killHolder,
		Pauses:  true,
		Most:    4,
	})
}

// spoilt is a program whose image is no whole layout.
func spoilt(t *testing.T) engine.Program {
	p := program(t, "guest")
	if err := os.Remove(filepath.Join(p.Module, "oci-layout")); err != nil {
		t.Fatal(err)
	}
	return p
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

// elsewhere are acts by which a container is told apart from a sandbox of bubblewrap's and gets nowhere: what looks like the host's and is its own (/run, /etc, /dev, its first
// process with what that was started with, files that the runtime of Go opens, its own priority and its own worth when memory is scarce), and calls that end the thread that makes them.
var elsewhere = []string{"autogroup", "merged", "oom score", "fill /run", "open files", "/etc", "/run", "the root", "what the first process was started with", "a core's filter", "more in /dev",
	"terminals", "another word size", "x32", "type for the owner"}

var every = flag.Int("every", 12, "of the hostile cases each so many-th is let loose")

// TestHostile lets mallory's images do their worst.
func TestHostile(t *testing.T) {
	var cases []enginetest.Case
	for _, c := range enginetest.Fewer(enginetest.Native(), *every) {
		if !slices.Contains(elsewhere, c.Act) && !strings.HasPrefix(c.Act, "SIG") { // which need a shell
			cases = append(cases, c)
		}
	}
	enginetest.Hostile(t, enginetest.Hold{
		Engine:  ours(t),
		Program: func(t *testing.T, _ enginetest.Case) engine.Program { return program(t, "hostile") },
		Running: enginetest.Tokened,
		Own:     ownPaths,
		Loose:   !ours(t).limited,
		Limits:  engine.Limits{Time: time.Second, Memory: 96 << 20, Output: 1 << 20, Disk: 8 << 20},
	}, cases)
}

// token is a word by which the processes of a test are known.
func token(t *testing.T) string {
	return fmt.Sprintf("hostile-%s-%d-%d", filepath.Base(t.Name()), os.Getpid(), time.Now().UnixNano())
}
