package container

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/image"
)

// shared is what the tests of this package make once: programs, and one engine for those that change nothing of it.
var shared struct {
	programs, engine sync.Once
	dir              string
	err              error
	e                *Engine
	missing          error
	log              lines
}

// lines is a log that is told by the test at hand.
type lines struct {
	mu sync.Mutex
	t  testing.TB
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.t == nil {
		return len(p), nil
	}
	return l.t.Output().Write(p)
}

func TestMain(m *testing.M) {
	// As a node is that has an engine for native programs: orphans, what holds the containers of a service of its own among them, are left to it.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	if len(os.Args) > 1 && os.Args[1] == bobsNode {
		os.Exit(bob(os.Args[2:]))
	}
	code := m.Run()
	if shared.e != nil {
		shared.e.cfg.Images = 0 // nothing of these tests is worth keeping
		shared.e.collect()
		if shared.e.Close() != nil {
			code = 1
		}
	}
	if shared.dir != "" && os.RemoveAll(shared.dir) != nil {
		code = 1
	}
	os.Exit(code)
}

// helper builds the programs of the native engines' tests once, and gives one.
func helper(t testing.TB, name string) []byte {
	t.Helper()
	shared.programs.Do(func() {
		if shared.dir, shared.err = os.MkdirTemp("", "hpips-container-test-"); shared.err != nil {
			return
		}
		const engines = "github.com/hpips/hpips/engine/"
		build := exec.Command("go", "build", "-o", shared.dir+"/", engines+"process/testdata/guest", engines+"enginetest/testdata/hostile")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			shared.err = errors.Join(err, errors.New(string(out)))
		}
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	b, err := os.ReadFile(filepath.Join(shared.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ours is the engine that tests share; it skips them, by the name of what is missing, on machines that can hold no containers.
func ours(t testing.TB) *Engine {
	t.Helper()
	shared.engine.Do(func() {
		shared.e, shared.missing = New(context.Background(), slog.New(slog.NewTextHandler(&shared.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Config{Processes: 64})
	})
	var missing *Missing
	if errors.As(shared.missing, &missing) {
		t.Skip(missing.What)
	} else if shared.missing != nil {
		t.Fatal(shared.missing)
	}
	shared.log.mu.Lock()
	shared.log.t = t
	shared.log.mu.Unlock()
	t.Cleanup(func() {
		shared.log.mu.Lock()
		defer shared.log.mu.Unlock()
		shared.log.t = nil
	})
	return shared.e
}

// program is an image that holds one of the helpers, from scratch.
func program(t testing.TB, name string) engine.Program {
	t.Helper()
	layer, err := image.Pack(image.File{Name: "hpips/program", Content: helper(t, name)})
	if err != nil {
		t.Fatal(err)
	}
	return layoutOf(t, v1.ImageConfig{Entrypoint: []string{"/hpips/program"}}, layer)
}

func layoutOf(t testing.TB, c v1.ImageConfig, layers ...[]byte) engine.Program {
	t.Helper()
	dir := t.TempDir()
	key, err := image.Make(dir, c, layers...)
	if err != nil {
		t.Fatal(err)
	}
	return engine.Program{Module: dir, Key: key}
}
