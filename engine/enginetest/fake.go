package enginetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/hpips/hpips/engine"
)

// Program is what a fake sandbox runs: a Go function. It must return soon after ctx ends. A panic is a trap.
type Program func(ctx context.Context, g *Guest) int

// Fake is an engine whose programs are Go functions, found by Program.Key. It keeps the whole contract but for isolation: limits are
// counted, a killed task counts as a lost child, and outcomes come in batches.
type Fake struct {
	mu       sync.Mutex
	programs map[string]Program
	boxes    map[string]*Box
	starts   int
}

// NewFake makes an engine of these programs by key.
func NewFake(programs map[string]Program) *Fake {
	return &Fake{programs: programs, boxes: map[string]*Box{}}
}

// Name is "wasm", for it stands in for that engine.
func (f *Fake) Name() string { return "wasm" }

// Open finds the program; an unknown key is a *engine.ProgramError.
func (f *Fake) Open(ctx context.Context, p engine.Program) (engine.Sandbox, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	run := f.programs[p.Key]
	if run == nil {
		return nil, &engine.ProgramError{Module: filepath.Base(p.Module), Message: "it is not WASM", Hint: "give a module"}
	}
	p.Limits = p.Limits.OrDefault()
	b := &Box{fake: f, prog: p, run: run, inlets: map[uint64]*inlet{}, cancelled: map[uint64]bool{}}
	b.cond = sync.NewCond(&b.mu)
	f.boxes[p.Lease] = b
	f.starts++
	return b, nil
}

// Box gives the sandbox that was last opened for a lease, nil if there is none.
func (f *Fake) Box(lease string) *Box {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.boxes[lease]
}

// Starts counts the children so far: one for each Open, and one after each task that had to be killed.
func (f *Fake) Starts() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.starts
}

// Box is a fake sandbox.
type Box struct {
	fake *Fake
	prog engine.Program
	run  Program
	busy sync.Mutex // held by Run

	mu        sync.Mutex
	cond      *sync.Cond
	inlets    map[uint64]*inlet
	cancelled map[uint64]bool
	waiting   map[uint64]bool // tasks of the Run under way without an outcome
	running   uint64
	kill      func(engine.End)
	paused    bool
	pausedAt  time.Time
	held      time.Duration // for which it was paused before
	closed    bool
}

// errKilled ends a guest's context.
var errKilled = errors.New("killed")

// Run runs tasks in order.
func (b *Box) Run(ctx context.Context, tasks []engine.Task, sink engine.Sink) error {
	b.busy.Lock()
	defer b.busy.Unlock()
	b.mu.Lock()
	b.waiting = map[uint64]bool{}
	for _, t := range tasks {
		b.waiting[t.ID] = true
	}
	b.mu.Unlock()
	var batch []engine.Outcome
	var first time.Time
	for i, t := range tasks {
		if len(batch) == 0 {
			first = time.Now()
		}
		batch = append(batch, b.one(ctx, t, sink, func() {
			if len(batch) > 0 {
				sink.Done(batch)
				batch = nil
			}
		}))
		if i == len(tasks)-1 || len(batch) >= 256 || time.Since(first) > 5*time.Millisecond {
			sink.Done(batch)
			batch = nil
		}
	}
	return nil
}

// one runs a task to its outcome. early hands on what is done before a task that may take long.
func (b *Box) one(ctx context.Context, t engine.Task, sink engine.Sink, early func()) engine.Outcome {
	guest, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	g := &Guest{box: b, task: t, ctx: guest, files: map[string]string{}, left: b.prog.Limits.Output, chunks: make(chan chunk)}
	if !b.begin(ctx, t, g, stop) {
		return b.outcome(g, engine.Cancelled, -1, "cancelled before it started")
	}
	if err := g.furnish(); err != nil {
		return b.finish(g, engine.Broken, -1, err.Error())
	}
	done := make(chan struct{})
	var code int
	var trap any
	go func() {
		defer close(done)
		defer func() { trap = recover() }()
		code = b.run(guest, g)
	}()
	start, held := time.Now(), b.heldFor()
	limit := time.NewTimer(time.Hour)
	defer limit.Stop()
	if d := b.prog.Limits.Time; d > 0 {
		limit.Reset(d)
	}
	settled := time.NewTimer(5 * time.Millisecond)
	defer settled.Stop()
	ended := ctx.Done()
	for {
		select {
		case <-done:
			end, why := g.verdict(code, trap)
			if end != engine.Exited {
				code = -1
			}
			return b.finish(g, end, code, why)
		case <-limit.C:
			if left := b.prog.Limits.Time - time.Since(start) + b.heldFor() - held; left > 0 {
				limit.Reset(max(left, time.Millisecond))
			} else {
				b.slay(t.ID, engine.TimedOut)
			}
		case <-ended:
			ended = nil
			b.slay(t.ID, engine.Cancelled)
		case c := <-g.chunks:
			early()
			sink.Output(t.ID, c.fd, c.offset, c.data)
		case <-settled.C:
			early()
		}
	}
}

// begin waits while paused and says whether the task may start.
func (b *Box) begin(ctx context.Context, t engine.Task, g *Guest, stop context.CancelCauseFunc) bool {
	wake := context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.cond.Broadcast()
	})
	defer wake()
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.paused && ctx.Err() == nil && !b.closed && !b.cancelled[t.ID] {
		b.cond.Wait()
	}
	if ctx.Err() != nil || b.closed || b.cancelled[t.ID] {
		return false
	}
	b.running = t.ID
	b.kill = func(end engine.End) {
		if g.killed == "" {
			g.killed = end
			stop(errKilled)
		}
	}
	if t.StdinOpen && b.inlets[t.ID] == nil {
		b.inlets[t.ID] = &inlet{}
	}
	return true
}

// slay kills the task if it runs.
func (b *Box) slay(id uint64, end engine.End) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.running == id && b.kill != nil {
		b.kill(end)
	}
	b.cond.Broadcast()
}

func (b *Box) finish(g *Guest, end engine.End, code int, why string) engine.Outcome {
	b.mu.Lock()
	killed := g.killed
	b.running, b.kill = 0, nil
	b.mu.Unlock()
	if killed != "" {
		b.fake.mu.Lock()
		b.fake.starts++
		b.fake.mu.Unlock()
		os.RemoveAll(b.dir(g.task.ID))
		why = b.prog.Limits.Excess(killed)
		switch killed {
		case engine.Cancelled:
			why = "cancelled"
		case engine.Broken:
			why = "the sandbox died: signal: killed"
		}
		g = &Guest{box: b, task: engine.Task{ID: g.task.ID}}
		return b.outcome(g, killed, -1, why)
	}
	return b.outcome(g, end, code, why)
}

func (b *Box) outcome(g *Guest, end engine.End, code int, why string) engine.Outcome {
	b.mu.Lock()
	delete(b.waiting, g.task.ID)
	delete(b.inlets, g.task.ID)
	delete(b.cancelled, g.task.ID)
	b.mu.Unlock()
	o := engine.Outcome{ID: g.task.ID, End: end, Exit: code, Message: why, Usage: engine.Usage{Memory: g.memory}}
	o.Stdout, o.Stderr = b.blob(g, &g.out, "stdout"), b.blob(g, &g.err, "stderr")
	if len(g.task.Outputs) > 0 && end != engine.Broken && end != engine.Cancelled {
		o.Outputs = map[string]string{}
		for i, guest := range g.task.Outputs {
			o.Outputs[guest] = filepath.Join(b.dir(g.task.ID), "out"+strconv.Itoa(i))
		}
	}
	return o
}

func (b *Box) blob(g *Guest, buf *bytes.Buffer, name string) engine.Blob {
	blob := engine.Blob{Size: int64(buf.Len())}
	if buf.Len() <= 64<<10 {
		blob.Inline = buf.Bytes()
		return blob
	}
	blob.Path = filepath.Join(b.dir(g.task.ID), name)
	if err := errors.Join(os.MkdirAll(b.dir(g.task.ID), 0o700), os.WriteFile(blob.Path, buf.Bytes(), 0o600)); err != nil {
		panic(fmt.Sprintf("fake engine: %v", err)) // a test's folder is gone
	}
	return blob
}

func (b *Box) dir(id uint64) string {
	return filepath.Join(b.prog.Dir, "tasks", strconv.FormatUint(id, 10))
}

// Feed tells of a growing input.
func (b *Box) Feed(id uint64, size int64, eof bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	in := b.inlets[id]
	if in == nil {
		in = &inlet{}
		b.inlets[id] = in
	}
	in.size, in.eof = max(in.size, size), in.eof || eof
	b.cond.Broadcast()
}

// Cancel ends a task.
func (b *Box) Cancel(id uint64) {
	b.mu.Lock()
	if b.waiting[id] {
		b.cancelled[id] = true
	}
	b.mu.Unlock()
	b.slay(id, engine.Cancelled)
}

// Crash kills the child as if from outside: the running task ends Broken.
func (b *Box) Crash() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.kill != nil {
		b.kill(engine.Broken)
	}
}

// Release deletes what a task left.
func (b *Box) Release(id uint64) { os.RemoveAll(b.dir(id)) }

// Pause stops guests at their next call, and no other starts.
func (b *Box) Pause() error { return b.hold(true) }

// Resume lets them go on.
func (b *Box) Resume() error { return b.hold(false) }

func (b *Box) hold(on bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if on && !b.paused {
		b.pausedAt = time.Now()
	} else if !on && b.paused {
		b.held += time.Since(b.pausedAt)
	}
	b.paused = on
	b.cond.Broadcast()
	return nil
}

// heldFor is how long the box has been paused in all.
func (b *Box) heldFor() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.paused {
		return b.held + time.Since(b.pausedAt)
	}
	return b.held
}

// Close cancels what runs and removes the files.
func (b *Box) Close() error {
	b.mu.Lock()
	b.closed = true
	if b.kill != nil {
		b.kill(engine.Cancelled)
	}
	b.cond.Broadcast()
	b.mu.Unlock()
	b.busy.Lock()
	defer b.busy.Unlock()
	return os.RemoveAll(filepath.Join(b.prog.Dir, "tasks"))
}
