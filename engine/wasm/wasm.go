// Package wasm keeps the engine for WASI programs: wazero in a child process of the same binary, one child per lease, one task at a time.
// It promises a fresh memory and the same bytes for the same task on every machine, limits on time, memory, output and disk, and that
// a cancelled task is dead within 100 ms while the others go on; the child has no keys, no network and no files but its own.
// It leaves fetching programs and inputs, and what becomes of results, to the provider, and other kinds of programs to its siblings.
package wasm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/spec/meter"
	"golang.org/x/sys/cpu"
)

// Config of an engine.
type Config struct {
	// Command starts a child that calls Child: [self, "wasm-child"].
	Command []string
	// Cache is a folder for compiled code. It must be this user's alone, for it holds machine code.
	Cache string
	// Nice is added to the children's priority number, 0 to 19.
	Nice int
	// MaxModule is in bytes; 0 is 64 MiB.
	MaxModule int64
	// CompileTime is how long one module may take to compile; 0 is 2 minutes.
	CompileTime time.Duration
	// CacheSize is how many bytes of compiled code are kept; 0 is 4 GiB.
	CacheSize int64
}

// Engine makes sandboxes for WASI programs.
type Engine struct {
	log   *slog.Logger
	cfg   Config
	coder *coder
	cpu   string
	ranks ranks

	mu        sync.Mutex
	compiling map[string]chan struct{} // closed when the compilation of that entry has ended
}

// New makes an engine. It touches nothing until Open.
func New(log *slog.Logger, cfg Config) (*Engine, error) {
	if len(cfg.Command) == 0 || cfg.Cache == "" {
		return nil, errors.New("wasm engine: command and cache folder are needed")
	}
	if cfg.MaxModule <= 0 {
		cfg.MaxModule = 64 << 20
	}
	if cfg.CompileTime <= 0 {
		cfg.CompileTime = 2 * time.Minute
	}
	if cfg.CacheSize <= 0 {
		cfg.CacheSize = 4 << 30
	}
	coder, err := newCoder()
	if err != nil {
		return nil, err
	}
	return &Engine{log: log, cfg: cfg, coder: coder, cpu: cpuName(), compiling: map[string]chan struct{}{}}, nil
}

// cpuName tells processors apart that the compiler may write different code for.
func cpuName() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%+v %+v", cpu.X86, cpu.ARM64))
	return hex.EncodeToString(sum[:4])
}

// Name is "wasm".
func (e *Engine) Name() string { return "wasm" }

// Open checks and compiles p, or finds its code in the cache, and starts its child.
func (e *Engine) Open(ctx context.Context, p engine.Program) (engine.Sandbox, error) {
	p.Limits = p.Limits.OrDefault()
	if err := e.admit(p); err != nil {
		return nil, err
	}
	s := newSandbox(e, p)
	for again := false; ; again = true {
		entry, err := e.prepare(ctx, p)
		if err != nil {
			return nil, err
		}
		s.cache = entry
		err = s.start(ctx, nil)
		if err == nil {
			return s, nil
		}
		var f *fault
		if again || !errors.As(err, &f) || ctx.Err() != nil {
			return nil, errors.Join(err, s.Close())
		}
		e.log.Warn("compiled code could not be loaded; compiling again", "module", p.Key, "error", err)
		if err := os.RemoveAll(entry); err != nil {
			return nil, fmt.Errorf("cache entry %s: %w", entry, err)
		}
	}
}

// admit checks a program's size and identity before anything reads it.
func (e *Engine) admit(p engine.Program) error {
	name := filepath.Base(p.Module)
	f, err := os.Open(p.Module)
	if err != nil {
		return fmt.Errorf("module: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("module: %w", err)
	}
	if info.Size() > e.cfg.MaxModule {
		return &engine.ProgramError{Module: name, Message: fmt.Sprintf("it has %s, more than the %s that this node takes", engine.Bytes(info.Size()), engine.Bytes(e.cfg.MaxModule)),
			Hint: "strip debug information, or move data into inputs"}
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return fmt.Errorf("module: %w", err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != p.Key {
		return fmt.Errorf("module %s: sha256 is %s, expected %q", name, got, p.Key)
	}
	return nil
}

// prepare gives the cache entry of a program, compiling it first if there is none. Each module is compiled once, however many ask.
func (e *Engine) prepare(ctx context.Context, p engine.Program) (string, error) {
	form := "meter"
	if p.Watched {
		form = "watched"
	}
	entry := filepath.Join(e.cfg.Cache, fmt.Sprintf("%s-%s-%d-%s-%s", p.Key, form, meter.Version, engineVersion, e.cpu))
	for {
		e.mu.Lock()
		busy := e.compiling[entry]
		if busy == nil {
			break
		}
		e.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	info, err := e.info(entry)
	if err == nil {
		e.mu.Unlock()
		return entry, fits(info, p)
	}
	mine := make(chan struct{})
	e.compiling[entry] = mine
	e.mu.Unlock()
	info, err = e.compile(ctx, p, entry)
	e.mu.Lock()
	delete(e.compiling, entry)
	e.mu.Unlock()
	close(mine)
	if err != nil {
		return "", err
	}
	return entry, fits(info, p)
}

// fits refuses a program that starts with more memory than it may have.
func fits(info moduleInfo, p engine.Program) error {
	if info.MinMemory <= p.Limits.Memory {
		return nil
	}
	need := engine.Bytes(info.MinMemory)
	return &engine.ProgramError{Module: filepath.Base(p.Module), Message: "it starts with " + need + " of memory and may have " + engine.Bytes(p.Limits.Memory),
		Hint: "raise the limit with --memory, to " + need + " at least"}
}

const infoFile = "module.cbor"

func (e *Engine) info(entry string) (moduleInfo, error) {
	var info moduleInfo
	b, err := os.ReadFile(filepath.Join(entry, infoFile))
	if err != nil {
		return info, err
	}
	return info, e.coder.dec.Unmarshal(b, &info)
}

// compile runs a compile child over a folder of its own, which becomes the entry when all is there.
func (e *Engine) compile(ctx context.Context, p engine.Program, entry string) (moduleInfo, error) {
	if err := os.MkdirAll(e.cfg.Cache, 0o700); err != nil {
		return moduleInfo{}, fmt.Errorf("cache: %w", err)
	}
	work, err := os.MkdirTemp(e.cfg.Cache, newCode)
	if err != nil {
		return moduleInfo{}, fmt.Errorf("cache: %w", err)
	}
	defer os.RemoveAll(work)
	timed, cancel := context.WithTimeout(ctx, e.cfg.CompileTime)
	defer cancel()
	set := setup{Mode: modeCompile, Module: p.Module, Cache: work, Read: []string{p.Module}, Nice: e.cfg.Nice, Watched: p.Watched}
	r, err := e.ask(timed, set)
	var f *fault
	name := filepath.Base(p.Module)
	switch {
	case errors.As(err, &f) && f.Program:
		return moduleInfo{}, &engine.ProgramError{Module: name, Message: f.Message, Hint: f.Hint}
	case err != nil && timed.Err() != nil && ctx.Err() == nil:
		return moduleInfo{}, &engine.ProgramError{Module: name, Message: fmt.Sprintf("it took more than %s to compile", e.cfg.CompileTime), Hint: "split the program, or build it with fewer inlined functions"}
	case err != nil:
		return moduleInfo{}, fmt.Errorf("compile %s: %w", name, err)
	}
	b, err := e.coder.enc.Marshal(r.Module)
	if err == nil {
		err = os.WriteFile(filepath.Join(work, infoFile), b, 0o600)
	}
	if err == nil {
		err = os.RemoveAll(entry) // what is there was not whole
	}
	if err == nil {
		err = os.Rename(work, entry)
	}
	if err != nil {
		return moduleInfo{}, fmt.Errorf("cache: %w", err)
	}
	e.prune(entry)
	return r.Module, nil
}

// ask starts a child that answers its setup and ends.
func (e *Engine) ask(ctx context.Context, set setup) (*ready, error) {
	p, err := e.launch(ctx, &set)
	if err != nil {
		return nil, err
	}
	p.end()
	return p.ready, nil
}

// Probe starts a child, confines it, and tells which walls really stand on this machine; for `hpips node doctor`.
func (e *Engine) Probe(ctx context.Context) ([]Check, error) {
	r, err := e.ask(ctx, setup{Mode: modeProbe})
	if err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	return r.Checks, nil
}

// Error makes a fault of a child an error.
func (f *fault) Error() string { return f.Message }
