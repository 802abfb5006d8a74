package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/egress"
	"github.com/hpips/hpips/engine/enginetest"
	"github.com/hpips/hpips/engine/execution"
	"github.com/hpips/hpips/engine/sandbox"
)

var built struct {
	once sync.Once
	dir  string
	err  error
}

// wayChild is how the test's own executable is started as what makes a way out.
const wayChild = "way-child"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == wayChild {
		os.Exit(egress.Child())
	}
	code := m.Run()
	if built.dir != "" {
		if err := os.RemoveAll(built.dir); err != nil {
			code = 1
		}
	}
	os.Exit(code)
}

// helper builds the programs of the tests once and gives the path of one.
func helper(t testing.TB, name string) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "hpips-process-test-"); built.err != nil {
			return
		}
		build := exec.Command("go", "build", "-o", built.dir+"/", "./testdata/guest", "../enginetest/testdata/hostile")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			built.err = errors.Join(err, errors.New(string(out)))
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return filepath.Join(built.dir, name)
}

// newEngine skips, by the name of what is missing, on machines that can hold no native programs.
func newEngine(t testing.TB, cfg Config) *Engine {
	t.Helper()
	e, err := New(context.Background(), slog.New(slog.NewTextHandler(t.Output(), nil)), cfg)
	var missing *Missing
	if errors.As(err, &missing) {
		t.Skip(missing.What)
	} else if err != nil {
		t.Fatal(err)
	}
	return e
}

func program(t testing.TB, path string) engine.Program {
	t.Helper()
	key, err := execution.Key(path)
	if err != nil {
		t.Fatal(err)
	}
	return engine.Program{Module: path, Key: key}
}

// killBubblewrap kills what holds the sandbox, which is a child of this process.
func killBubblewrap(t *testing.T, _ engine.Sandbox) {
	for _, pid := range sandbox.Family(os.Getpid(), sandbox.Everyone) {
		name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		stat, err2 := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || err2 != nil || string(name) != "bwrap\n" || !strings.Contains(string(stat), fmt.Sprintf(" %d ", os.Getpid())) {
			continue
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	}
}

func suite(t *testing.T, cfg Config) {
	enginetest.Suite(t, enginetest.Kit{
		Engine:  newEngine(t, cfg),
		Program: func(t *testing.T) engine.Program { return program(t, helper(t, "guest")) },
		Bad: func(t *testing.T) engine.Program {
			path := filepath.Join(t.TempDir(), "notes.txt")
			if err := os.WriteFile(path, []byte("no program"), 0o600); err != nil {
				t.Fatal(err)
			}
			return program(t, path)
		},
		Crash:  killBubblewrap,
		Pauses: true,
	})
}

// TestSuite holds this engine to the contract of all engines.
func TestSuite(t *testing.T) { suite(t, Config{}) }

// TestSuiteWithoutGroups does it where limits are kept by resource limits and the watch-dog.
func TestSuiteWithoutGroups(t *testing.T) { suite(t, Config{NoGroups: true}) }
