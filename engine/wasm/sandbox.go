package wasm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hpips/hpips/engine"
)

// sandbox runs the tasks of one program in one child after another: a child lives until a task of its has to be killed.
type sandbox struct {
	eng   *Engine
	prog  engine.Program
	cache string

	run sync.Mutex // held by Run

	mu     sync.Mutex
	child  *process // nil when none lives
	batch  *batch   // of the Run under way
	early  []feedOrder
	paused bool
	closed bool
	wake   chan struct{}
}

// maxEarly is how many feeds are kept for tasks that Run has not seen yet.
const maxEarly = 256

func newSandbox(e *Engine, p engine.Program) *sandbox {
	return &sandbox{eng: e, prog: p, wake: make(chan struct{}, 1)}
}

// common are the host paths that every child of the sandbox may read.
func (s *sandbox) common() []string {
	read := []string{s.prog.Module, s.cache}
	for _, m := range s.prog.Mounts {
		read = append(read, m.Host)
	}
	if s.prog.Inputs != "" {
		read = append(read, s.prog.Inputs)
	}
	return read
}

// start makes a child that may also read the given paths.
func (s *sandbox) start(ctx context.Context, also []string) error {
	s.eng.touch(s.cache)
	read := slices.DeleteFunc(append(s.common(), also...), func(path string) bool {
		_, err := os.Lstat(path) // what is not there now cannot be opened to the child, even if it comes later
		return err != nil
	})
	p, err := s.eng.launch(ctx, &setup{
		Mode: modeRun, Module: s.prog.Module, Cache: s.cache, Dir: s.prog.Dir, Args: s.prog.Args, Env: s.prog.Env, Mounts: s.prog.Mounts,
		Read: read, Limits: s.prog.Limits, Seed: s.prog.Seed, Nice: s.eng.cfg.Nice, Watched: s.prog.Watched,
	})
	if err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		p.end()
		return errors.New("sandbox: closed")
	}
	s.child = p
	if s.paused {
		return p.freeze(true)
	}
	return nil
}

// covers says that a host path is one of those, or below one.
func covers(dirs []string, path string) bool {
	for _, dir := range dirs {
		if rel, err := filepath.Rel(dir, path); err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
			return true
		}
	}
	return false
}

// ensure has a child that may read what the tasks of the batch need.
func (s *sandbox) ensure(ctx context.Context, b *batch) error {
	child := s.current()
	if child != nil {
		select {
		case <-child.gone: // it died while nothing ran
			s.bury(child)
			child = nil
		default:
		}
	}
	var needs []string
	stale := child == nil
	common := s.common()
	for _, path := range b.files() {
		stale = stale || !covers(child.read, path)
		if !covers(common, path) {
			needs = append(needs, path)
		}
	}
	if !stale {
		return nil
	}
	s.bury(child)
	return s.start(ctx, needs)
}

// bury ends a child, if there is one.
func (s *sandbox) bury(p *process) {
	if p == nil {
		return
	}
	p.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.child == p {
		s.child = nil
	}
}

// Run runs tasks in order; see engine.Sandbox.
func (s *sandbox) Run(ctx context.Context, tasks []engine.Task, sink engine.Sink) error {
	s.run.Lock()
	defer s.run.Unlock()
	b := newBatch(s, tasks, sink)
	if err := s.enter(b); err != nil {
		b.breakAll(err)
		return err
	}
	defer s.leave()
	for !b.finished() {
		if ctx.Err() != nil {
			b.cancelAll()
			break
		}
		if err := s.ensure(ctx, b); err != nil {
			if ctx.Err() != nil || s.isClosed() {
				b.cancelAll()
				break
			}
			b.breakAll(err)
			return err
		}
		b.serve(ctx, s.current())
	}
	b.deliver()
	return nil
}

func (s *sandbox) enter(b *batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.New("sandbox: closed")
	}
	s.batch = b
	for _, f := range s.early {
		b.feed(f)
	}
	s.early = nil
	return nil
}

func (s *sandbox) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batch = nil
}

func (s *sandbox) current() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.child
}

func (s *sandbox) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func (s *sandbox) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Feed tells of a growing input.
func (s *sandbox) Feed(id uint64, size int64, eof bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := feedOrder{ID: id, Size: size, EOF: eof}
	if s.batch != nil && s.batch.feed(f) {
		s.nudge()
		return
	}
	s.early = append(s.early, f)
	if len(s.early) > maxEarly {
		s.early = s.early[1:]
	}
}

// Cancel ends a task.
func (s *sandbox) Cancel(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.batch != nil && s.batch.cancel(id) {
		s.nudge()
	}
}

// Release deletes what a task left.
func (s *sandbox) Release(id uint64) { s.discard(id) }

func (s *sandbox) discard(id uint64) {
	if err := os.RemoveAll(taskDir(s.prog.Dir, id)); err != nil {
		s.eng.log.Warn("files of a task cannot be removed", "task", id, "error", err)
	}
}

// Pause stops the child.
func (s *sandbox) Pause() error { return s.hold(true) }

// Resume lets it go on.
func (s *sandbox) Resume() error { return s.hold(false) }

func (s *sandbox) hold(on bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.child != nil && on != s.paused {
		if err := s.child.freeze(on); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
	}
	if s.batch != nil {
		s.batch.hold(on, time.Now())
	}
	s.paused = on
	s.nudge()
	return nil
}

// Close ends it all.
func (s *sandbox) Close() error {
	s.mu.Lock()
	s.closed = true
	child := s.child
	s.mu.Unlock()
	if child != nil {
		child.stop()
	}
	s.nudge()
	s.run.Lock() // Run has ended, and hears no more
	defer s.run.Unlock()
	s.bury(s.current())
	if err := os.RemoveAll(filepath.Join(s.prog.Dir, "tasks")); err != nil {
		return fmt.Errorf("sandbox close: %w", err)
	}
	return nil
}
