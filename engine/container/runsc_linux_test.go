package container

import (
	"errors"
	"flag"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/enginetest"
	"github.com/hpips/hpips/engine/sandbox"
)

var runsc = flag.String("runsc", "runsc", "name or path of gVisor's runtime, for the tests of it")

// gvisor is an engine whose containers gVisor makes; tests are skipped by name where it is not.
func gvisor(t *testing.T) *Engine {
	t.Helper()
	path, err := exec.LookPath(*runsc)
	if err != nil {
		t.Skip("runsc (gVisor) is not here: " + err.Error())
	}
	e, err := New(t.Context(), slog.New(slog.NewTextHandler(t.Output(), nil)), Config{Processes: 64, Runtime: path})
	var missing *Missing
	if errors.As(err, &missing) {
		t.Skip("runsc (gVisor) makes no containers here: " + missing.What)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.cfg.Images = 0
		e.collect()
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	if !e.kernel() {
		t.Fatalf("containers are made by %q", e.via)
	}
	return e
}

// TestGVisorSuite holds containers of gVisor's to the contract of all engines.
func TestGVisorSuite(t *testing.T) {
	enginetest.Suite(t, enginetest.Kit{
		Engine:  gvisor(t),
		Program: func(t *testing.T) engine.Program { return program(t, "guest") },
		Bad:     spoilt,
		Crash:   killMonitor,
		Pauses:  true,
		Most:    2,
	})
}

// killMonitor kills what holds gVisor's containers of this process, whose programs the machine does not see.
func killMonitor(t *testing.T, _ engine.Sandbox) {
	killed := 0
	for _, pid := range sandbox.Children(os.Getpid()) {
		line, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
		if err != nil || !strings.Contains(string(line), monitor) || !strings.Contains(string(line), "runsc") {
			continue
		}
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			t.Error(err)
		}
		killed++
	}
	if killed == 0 {
		t.Error("nothing holds a container")
	}
}

// otherwise are acts that end otherwise with a kernel of gVisor's, in ways that harm nobody else: a program that signals the container's first process by a handle ends the
// container, and with it itself; files without a name cannot be made at all, so the disk does not fill with them.
var otherwise = []string{"kill by a handle", "nameless files"}

// TestGVisorHostile lets some of mallory's images do their worst in them.
func TestGVisorHostile(t *testing.T) {
	e := gvisor(t)
	var cases []enginetest.Case
	for _, c := range enginetest.Fewer(enginetest.Native(), *every) {
		if !slices.Contains(elsewhere, c.Act) && !slices.Contains(otherwise, c.Act) && !strings.HasPrefix(c.Act, "SIG") {
			cases = append(cases, c)
		}
	}
	enginetest.Hostile(t, enginetest.Hold{
		Engine:  e,
		Program: func(t *testing.T, _ enginetest.Case) engine.Program { return program(t, "hostile") },
		Running: enginetest.Tokened,
		Own:     ownPaths,
		Loose:   !e.limited,
		Limits:  engine.Limits{Time: 10 * time.Second, Memory: 96 << 20, Output: 1 << 20, Disk: 8 << 20},
	}, cases)
}
