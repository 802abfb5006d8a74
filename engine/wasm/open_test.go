package wasm

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hpips/hpips/engine"
)

// ownEngine has a cache of its own.
func ownEngine(t *testing.T, change func(*Config)) (*Engine, string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Command: []string{self, "wasm-child"}, Cache: filepath.Join(t.TempDir(), "cache")}
	if change != nil {
		change(&cfg)
	}
	e, err := New(slog.New(slog.NewTextHandler(t.Output(), nil)), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return e, cfg.Cache
}

func saved(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestBadPrograms(t *testing.T) {
	whole, err := os.ReadFile(assemble(t, tinyWat))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		module, says, hint string
	}{
		{saved(t, "notes.txt", "dear bob, this is no program"), "it is not WASM", "GOOS=wasip1"},
		{saved(t, "empty.wasm", ""), "it is not WASM", "GOOS=wasip1"},
		{saved(t, "half.wasm", string(whole[:len(whole)/2])), "not a valid module", "wasm32-wasi"},
		{saved(t, "component.wasm", "\x00asm\x0d\x00\x01\x00"), "it is not WASM", "wasm32-wasi"},
		{assemble(t, "testdata/nostart.wat"), "it exports no _start function", "build a command"},
		{assemble(t, "testdata/foreign.wat"), "it imports env.emscripten_run", "only wasi_snapshot_preview1"},
		{assemble(t, "testdata/unknown.wat"), "it imports wasi_snapshot_preview1.sock_dream", "only wasi_snapshot_preview1"},
		{assemble(t, "testdata/mistyped.wat"), "fd_write with other parameters", "only wasi_snapshot_preview1"},
		{assemble(t, "testdata/greedy.wat"), "it starts with 512 MiB of memory and may have 256 MiB", "--memory"},
	} {
		e, cache := ownEngine(t, nil)
		_, err := e.Open(t.Context(), program(t, row.module))
		var bad *engine.ProgramError
		if !errors.As(err, &bad) || !strings.Contains(bad.Message, row.says) || !strings.Contains(bad.Hint, row.hint) || bad.Module != filepath.Base(row.module) {
			t.Errorf("%s: %v", filepath.Base(row.module), err)
		}
		if left, _ := filepath.Glob(filepath.Join(cache, "new-*")); len(left) > 0 {
			t.Errorf("%s left %v in the cache", row.module, left)
		}
	}
	p := program(t, assemble(t, "testdata/greedy.wat"))
	p.Limits.Memory = 512 << 20
	if o := one(t, p, engine.Task{}); o.End != engine.Exited || o.Usage.Memory != 512<<20 {
		t.Errorf("with enough memory: %s %q, %d bytes", o.End, o.Message, o.Usage.Memory)
	}
}

func TestModuleIsNotWhatItWas(t *testing.T) {
	e, _ := ownEngine(t, nil)
	p := program(t, assemble(t, tinyWat))
	p.Module = saved(t, "tiny.wasm", "carol changed it")
	var bad *engine.ProgramError
	if _, err := e.Open(t.Context(), p); err == nil || errors.As(err, &bad) || !strings.Contains(err.Error(), "sha256") {
		t.Errorf("a changed module: %v", err)
	}
	p.Module = filepath.Join(t.TempDir(), "gone")
	if _, err := e.Open(t.Context(), p); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing module: %v", err)
	}
}

func TestCompileLimits(t *testing.T) {
	module := assemble(t, tinyWat)
	for name, row := range map[string]struct {
		change func(*Config)
		says   string
	}{
		"size": {func(c *Config) { c.MaxModule = 100 }, "more than the 100 bytes that this node takes"},
		"time": {func(c *Config) { c.CompileTime = time.Nanosecond }, "it took more than 1ns to compile"},
	} {
		e, _ := ownEngine(t, row.change)
		_, err := e.Open(t.Context(), program(t, module))
		var bad *engine.ProgramError
		if !errors.As(err, &bad) || !strings.Contains(bad.Message, row.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	e, _ := ownEngine(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Open(ctx, program(t, module)); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
}

// TestCompiledOnce lets five leases open the same program at once, and a sixth later: one entry, written once.
func TestCompiledOnce(t *testing.T) {
	e, cache := ownEngine(t, nil)
	module := assemble(t, tinyWat)
	boxes := make([]engine.Sandbox, 5)
	var all sync.WaitGroup
	for i := range boxes {
		p := program(t, module)
		all.Go(func() {
			s, err := e.Open(t.Context(), p)
			if err != nil {
				t.Error(err)
				return
			}
			boxes[i] = s
		})
	}
	all.Wait()
	children := map[int]bool{}
	for _, s := range boxes {
		if s == nil {
			t.FailNow()
		}
		children[s.(*sandbox).current().cmd.Process.Pid] = true
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if len(children) != len(boxes) {
		t.Errorf("%d children for %d leases", len(children), len(boxes))
	}
	list, err := os.ReadDir(cache)
	if err != nil || len(list) != 1 || !strings.Contains(list[0].Name(), engineVersion) {
		t.Fatalf("the cache holds %v, %v", list, err)
	}
	before, err := os.Stat(filepath.Join(cache, list[0].Name(), infoFile))
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.Open(t.Context(), program(t, module))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	after, err := os.Stat(filepath.Join(cache, list[0].Name(), infoFile))
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("it was compiled again: %v", err)
	}
}

// TestDamagedCache cuts, flips and empties what is on disk: the program is compiled again and runs.
func TestDamagedCache(t *testing.T) {
	e, cache := ownEngine(t, nil)
	module := assemble(t, tinyWat)
	damage := map[string]func(string) error{
		"cut":    func(path string) error { return os.Truncate(path, 40) },
		"empty":  func(path string) error { return os.Truncate(path, 0) },
		"gone":   os.Remove,
		"noise":  func(path string) error { return os.WriteFile(path, bytes.Repeat([]byte{0xee}, 4000), 0o600) },
		"no dir": func(path string) error { return os.RemoveAll(filepath.Dir(path)) },
	}
	run := func(name string) {
		s, err := e.Open(t.Context(), program(t, module))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		defer s.Close()
		if o := runAll(t, s, indexed(1, "fine")).byID[1]; string(o.Stdout.Inline) != "fine" {
			t.Errorf("%s: %s %q", name, o.End, o.Message)
		}
	}
	run("new")
	for name, hurt := range damage {
		for _, pattern := range []string{"*/" + infoFile, "*/wazero-*/*"} {
			files, err := filepath.Glob(filepath.Join(cache, pattern))
			if err != nil || len(files) == 0 {
				t.Fatalf("%s: no file %s in the cache", name, pattern)
			}
			if err := hurt(files[0]); err != nil {
				t.Fatal(err)
			}
			run(name + " " + pattern)
		}
	}
}

// TestEngineVersion keeps the name in the cache equal to the dependency.
func TestEngineVersion(t *testing.T) {
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	want := "github.com/tetratelabs/wazero " + strings.TrimPrefix(engineVersion, "wazero-")
	if !strings.Contains(string(mod), want+"\n") {
		t.Errorf("go.mod does not require %s", want)
	}
}

func TestNew(t *testing.T) {
	if _, err := New(slog.Default(), Config{}); err == nil {
		t.Error("an engine without a command was made")
	}
	e, _ := ownEngine(t, func(c *Config) { c.Command = []string{filepath.Join(t.TempDir(), "no-such-program")} })
	if e.Name() != "wasm" {
		t.Errorf("name %q", e.Name())
	}
	if _, err := e.Open(t.Context(), program(t, assemble(t, tinyWat))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a child that cannot be started: %v", err)
	}
}

// TestCacheHasAnEnd has mallory bring one program after the other: what was not used for the longest time makes room.
func TestCacheHasAnEnd(t *testing.T) {
	tiny, err := os.ReadFile(assemble(t, tinyWat))
	if err != nil {
		t.Fatal(err)
	}
	variant := func(i byte) engine.Program { // an empty custom section makes another module of it
		return program(t, saved(t, "tiny.wasm", string(append(tiny, 0, 2, 1, 'a'+i))))
	}
	e, cache := ownEngine(t, nil)
	use := func(p engine.Program) {
		t.Helper()
		s, err := e.Open(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		if o := runAll(t, s, engine.Task{ID: 7, Env: []string{"HPIPS_INDEX=7"}}).byID[7]; o.End != engine.Exited || o.Exit != 0 {
			t.Errorf("%s %d %q", o.End, o.Exit, o.Message)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	first, second, third := variant(0), variant(1), variant(2)
	use(first)
	list, err := os.ReadDir(cache)
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	e.cfg.CacheSize = 5 * weigh(filepath.Join(cache, list[0].Name())).size / 2 // room for two
	for _, left := range []string{"new-123", "old-456"} {                      // by a node that was killed
		dir := filepath.Join(cache, left)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(dir, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	use(second)
	use(first) // the second is the oldest now
	use(third)
	var kept []string
	list, err = os.ReadDir(cache)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range list {
		key, _, _ := strings.Cut(d.Name(), "-")
		kept = append(kept, key)
	}
	want := []string{first.Key, third.Key}
	slices.Sort(want)
	if !slices.Equal(kept, want) {
		t.Errorf("kept %v, want %v", kept, want)
	}
	use(second)
}
