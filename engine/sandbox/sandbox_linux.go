package sandbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/hpips/hpips/engine"
)

// Sandbox runs the tasks of one program, each with a life of its own. It is an engine.Sandbox.
type Sandbox struct {
	log   *slog.Logger
	maker Maker
	prog  engine.Program

	run      sync.Mutex     // held by Run
	cleaning sync.WaitGroup // groups and files of ended tasks

	mu        sync.Mutex
	cond      *sync.Cond
	waiting   map[uint64]bool // tasks of the Run under way without an outcome
	cancelled map[uint64]bool // of these
	inlets    map[uint64]*inlet
	early     []uint64 // inlets of tasks that Run has not seen yet
	current   *task    // that runs
	paused    bool
	pausedAt  time.Time
	held      time.Duration // for which it was paused before
	closed    bool
}

// maxEarly is for how many tasks that Run has not seen feeds are kept.
const maxEarly = 256

// New makes a sandbox for a program whose lives the maker makes. Zero limits are the engine's own defaults.
func New(log *slog.Logger, maker Maker, p engine.Program) *Sandbox {
	p.Limits = p.Limits.OrDefault()
	s := &Sandbox{log: log, maker: maker, prog: p, waiting: map[uint64]bool{}, cancelled: map[uint64]bool{}, inlets: map[uint64]*inlet{}}
	s.cond = sync.NewCond(&s.mu)
	return s
}

func (s *Sandbox) taskDir(id uint64) string {
	return filepath.Join(s.prog.Dir, "tasks", strconv.FormatUint(id, 10))
}

// gather is how long an outcome waits at most for others to be told with it.
const gather = 20 * time.Millisecond

// mailbox gathers outcomes for a sink.
type mailbox struct {
	sink  engine.Sink
	list  []engine.Outcome
	first time.Time
}

func (m *mailbox) add(o engine.Outcome) {
	if len(m.list) == 0 {
		m.first = time.Now()
	}
	if m.list = append(m.list, o); time.Since(m.first) >= gather {
		m.flush()
	}
}

func (m *mailbox) flush() {
	if len(m.list) > 0 {
		list := m.list
		m.list = nil
		m.sink.Done(list)
	}
}

// Run runs tasks in order; see engine.Sandbox.
func (s *Sandbox) Run(ctx context.Context, tasks []engine.Task, sink engine.Sink) error {
	s.run.Lock()
	defer s.run.Unlock()
	s.enter(tasks)
	out := &mailbox{sink: sink}
	defer out.flush()
	stop := context.AfterFunc(ctx, s.nudge)
	defer stop()
	var failed error
	for i := range tasks {
		o, err := s.one(ctx, &tasks[i], out)
		s.leave(o.ID)
		out.add(o)
		failed = errors.Join(failed, err)
	}
	return failed
}

func (s *Sandbox) nudge() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cond.Broadcast()
}

func (s *Sandbox) enter(tasks []engine.Task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range tasks {
		s.waiting[t.ID] = true
		if t.StdinOpen && s.inlets[t.ID] == nil {
			s.inlets[t.ID] = &inlet{}
		}
	}
	for _, id := range s.early {
		if !s.waiting[id] {
			delete(s.inlets, id)
		}
	}
	s.early = nil
}

func (s *Sandbox) leave(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waiting, id)
	delete(s.cancelled, id)
	delete(s.inlets, id)
}

// one runs a task to its outcome. Its error is one of this machine.
func (s *Sandbox) one(ctx context.Context, k *engine.Task, out *mailbox) (engine.Outcome, error) {
	if !s.await(ctx, k.ID) {
		return ended(k.ID, engine.Cancelled, "cancelled before it started"), nil
	}
	t := s.newTask(k)
	go t.run()
	end := ctx.Done()
	settled := time.NewTimer(gather)
	defer settled.Stop()
	for {
		select {
		case c := <-t.chunks:
			out.flush()
			out.sink.Output(k.ID, c.fd, c.offset, c.data)
		case <-settled.C:
			out.flush()
		case <-end:
			end = nil
			s.slay(t, engine.Cancelled, "cancelled")
		case <-t.done:
			return t.outcome, t.failed
		}
	}
}

// await waits while the sandbox is paused, and says whether the task may start.
func (s *Sandbox) await(ctx context.Context, id uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.paused && ctx.Err() == nil && !s.closed && !s.cancelled[id] {
		s.cond.Wait()
	}
	return ctx.Err() == nil && !s.closed && !s.cancelled[id]
}

func ended(id uint64, end engine.End, why string) engine.Outcome {
	return engine.Outcome{ID: id, End: end, Exit: -1, Message: why}
}

// slay ends a task for the first reason that is given, which people are told.
func (s *Sandbox) slay(t *task, end engine.End, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.kill(end, why)
}

// Feed tells of a growing input.
func (s *Sandbox) Feed(id uint64, size int64, eof bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	in := s.inlets[id]
	if in == nil {
		if s.waiting[id] {
			return // its input does not grow
		}
		in = &inlet{}
		s.inlets[id] = in
		if s.early = append(s.early, id); len(s.early) > maxEarly {
			delete(s.inlets, s.early[0])
			s.early = s.early[1:]
		}
	}
	in.size, in.eof = max(in.size, size), in.eof || eof
	s.cond.Broadcast()
}

// Cancel ends a task.
func (s *Sandbox) Cancel(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.waiting[id] {
		return
	}
	s.cancelled[id] = true
	if s.current != nil && s.current.ID == id {
		s.current.kill(engine.Cancelled, "cancelled")
	}
	s.cond.Broadcast()
}

// Release deletes what a task left.
func (s *Sandbox) Release(id uint64) {
	if err := remove(s.taskDir(id)); err != nil {
		s.log.Warn("Files of a task cannot be removed", "task", id, "err", err)
	}
}

// Pause stops all processes of the task that runs, and no other starts.
func (s *Sandbox) Pause() error { return s.hold(true) }

// Resume lets them go on.
func (s *Sandbox) Resume() error { return s.hold(false) }

// hold waits for a task that is about to begin: it would begin behind its back.
func (s *Sandbox) hold(on bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if on && !s.paused {
		s.pausedAt = time.Now()
	} else if !on && s.paused {
		s.held += time.Since(s.pausedAt)
	}
	s.paused = on
	s.cond.Broadcast()
	for s.current != nil && s.current.beginning {
		s.cond.Wait()
	}
	if t := s.current; t != nil && t.begun {
		return t.life.Freeze(s.paused)
	}
	return nil
}

// heldFor is how long the sandbox has been paused in all. Needs s.mu.
func (s *Sandbox) heldFor() time.Duration {
	if s.paused {
		return s.held + time.Since(s.pausedAt)
	}
	return s.held
}

// Close ends it all.
func (s *Sandbox) Close() error {
	s.mu.Lock()
	s.closed = true
	if s.current != nil {
		s.current.kill(engine.Cancelled, "cancelled")
	}
	s.cond.Broadcast()
	s.mu.Unlock()
	s.run.Lock() // Run has ended, and hears no more
	defer s.run.Unlock()
	s.cleaning.Wait()
	if err := errors.Join(remove(filepath.Join(s.prog.Dir, "tasks")), s.maker.Close()); err != nil {
		return fmt.Errorf("sandbox close: %w", err)
	}
	return nil
}
