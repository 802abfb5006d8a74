package process

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/enginetest"
	"github.com/hpips/hpips/engine/execution"
)

var built struct {
	once sync.Once
	dir  string
	err  error
}

func TestMain(m *testing.M) {
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
		Crash: func(t *testing.T, s engine.Sandbox) {
			box := s.(*sandbox)
			box.mu.Lock()
			defer box.mu.Unlock()
			if err := box.current.cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		},
		Pauses: true,
	})
}

// TestSuite holds this engine to the contract of all engines.
func TestSuite(t *testing.T) { suite(t, Config{}) }

// TestSuiteWithoutGroups does it where limits are kept by resource limits and the watch-dog.
func TestSuiteWithoutGroups(t *testing.T) { suite(t, Config{NoGroups: true}) }
