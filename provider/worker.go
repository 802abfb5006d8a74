package provider

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/execution"
	"github.com/hpips/hpips/spec/lease"
)

// errHalted says that a sandbox was not opened because nothing may run any more.
var errHalted = errors.New("nothing may run now")

// worker is one slot: it takes a batch of the lease whose turn it is, runs it in its own sandbox for that lease, and takes the next.
type worker struct {
	p     *Provider
	boxes []*box // the last used first
}

// box is a sandbox of one slot for one lease.
type box struct {
	t       *tenant
	sandbox engine.Sandbox
	dir     string
	number  uint64    // in the order of their making
	held    time.Time // since when it stands still; zero while it may run; needs Provider.pausing and mu
	once    sync.Once
}

// close ends the sandbox and removes its folder. It may be repeated.
func (b *box) close(log *slog.Logger) {
	b.once.Do(func() {
		if err := errors.Join(b.sandbox.Close(), os.RemoveAll(b.dir)); err != nil {
			log.Warn("Sandbox did not end cleanly", "lease", b.t.id, "err", err)
		}
	})
}

// shift is a batch of one lease in one slot.
type shift struct {
	t       *tenant
	box     *box
	tasks   []*task
	base    uint64       // tasks[i].id is base+i
	devices []*equipment // that each of them has while it runs
	ended   int          // tasks that came to an end of their own; needs Provider.mu
	memory  int64
	last    time.Time // when it began, or a task of it ended
}

// ran is how long the task that runs has been at work.
func (s *shift) ran(now time.Time) time.Duration {
	if s.box != nil && !s.box.held.IsZero() {
		now = s.box.held
	}
	return max(0, now.Sub(s.last))
}

func (w *worker) serve(ctx context.Context) {
	for {
		s := w.p.next()
		if s == nil {
			break
		}
		if err := w.run(s); err != nil && ctx.Err() == nil {
			w.p.log.Warn("Sandbox failed", "lease", s.t.id, "err", err)
		}
		w.p.finish(s)
	}
	for _, b := range w.boxes {
		b.close(w.p.log)
	}
}

// next waits for work; nil when the provider stops.
func (p *Provider) next() *shift {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle++
	defer func() { p.idle-- }()
	for !p.closing {
		if t := p.pick(); t != nil {
			return p.cut(t)
		}
		p.work.Wait()
	}
	return nil
}

// maxPassed is how often a lease may be passed over because other leases' tasks have the memory that it needs.
const maxPassed = 64

// pick chooses the lease whose turn it is among those with something to do. One whose tasks do not fit into the memory that is left is passed over a
// bounded number of times; then nothing else starts before it. Needs p.mu.
func (p *Provider) pick() *tenant {
	blocked := false
	for i := range p.turns {
		at := (p.turn + i) % len(p.turns)
		t := p.turns[at]
		if !t.hungry() || !p.own(t) && (p.foreign >= p.shared() || p.withheld(t) != "") {
			continue
		}
		limit, need := p.cfg.Memory, t.program.Limits.Memory
		if !p.own(t) {
			if limit = p.memoryLimit(); need > limit {
				continue // nothing that ends makes room for it
			}
		}
		if p.memory+need > limit && p.memory > 0 {
			blocked = true
			continue
		}
		switch {
		case !blocked:
			p.turn, p.passed = at+1, 0
		case p.passed >= maxPassed:
			return nil
		default:
			p.passed++
		}
		return t
	}
	return nil
}

// hungry reports whether a slot could work for t now.
func (t *tenant) hungry() bool {
	return t.prepared && len(t.ready) > 0 && t.running < t.slots && (t.opened || !t.opening) && t.link.queued.Load() < congested &&
		(t.bill == nil || t.bill.room() > 0)
}

// cut takes a batch off the ready tasks of t. Needs p.mu.
func (p *Provider) cut(t *tenant) *shift {
	n := batch(t.mean, len(t.ready), t.slots)
	if t.work.Live || t.work.Stream {
		n = 1
	}
	now := time.Now()
	if t.bill != nil {
		n = min(n, t.bill.room())
	}
	s := &shift{last: now, t: t, tasks: slices.Clone(t.ready[:n]), memory: t.program.Limits.Memory, devices: t.issue()}
	t.ready = t.ready[n:]
	for _, k := range s.tasks {
		k.state, k.box, k.returned = running, nil, false
		t.charge(k)
	}
	if t.bill != nil {
		t.shifts = append(t.shifts, s)
	}
	p.busy, p.worked = p.busy+1, p.worked-now.Sub(p.born)
	if !p.own(t) {
		p.foreign++
	}
	t.running++
	t.opening = !t.opened
	p.memory += s.memory
	t.doing.Add(1)
	return s
}

// finish gives back what a shift had.
func (p *Provider) finish(s *shift) {
	t := s.t
	p.mu.Lock()
	t.running--
	p.busy, p.worked = p.busy-1, p.worked+time.Since(p.born)
	if !p.own(t) {
		p.foreign--
	}
	if t.bill != nil {
		t.shifts = slices.DeleteFunc(t.shifts, func(o *shift) bool { return o == s })
	}
	t.opening = false
	p.memory -= s.memory
	for _, e := range s.devices {
		e.busy = false
	}
	if s.box != nil {
		delete(p.boxes, s.box)
	}
	paths := p.unstarted(s)
	if !t.over {
		if now := t.wish(); changed(t.credit, now) {
			t.link.tell(note{lease: t.id, what: creditNote})
		}
	}
	p.work.Broadcast()
	p.mu.Unlock()
	p.remove(paths...)
	t.doing.Done()
}

// unstarted puts back what a shift could not start because it had no sandbox. It returns what is to be removed. Needs p.mu.
func (p *Provider) unstarted(s *shift) (paths []string) {
	if s.box != nil {
		return nil // each task had its outcome
	}
	for _, k := range s.tasks {
		switch {
		case k.state != running:
		case k.cancelled || s.t.over:
			s.t.drop(k)
			paths = append(paths, p.unstage(s.t, k))
		default:
			k.state = waiting
			s.t.clear(k)
			s.t.ready = append(s.t.ready, k)
		}
	}
	return paths
}

// run runs a shift. Its error is one of this machine; every task has its outcome even then, or goes back to the ready ones.
func (w *worker) run(s *shift) error {
	t := s.t
	b, err := w.box(t)
	if errors.Is(err, errHalted) {
		return nil // what it was to run goes back
	}
	if err != nil {
		w.p.unopened(t, err)
		return nil
	}
	tasks := w.p.start(s, b)
	if len(tasks) == 0 {
		return nil
	}
	watch := w.p.watch(s)
	began := time.Now()
	err = b.sandbox.Run(t.ctx, tasks, &sink{p: w.p, s: s})
	took := time.Since(began)
	watch()
	w.p.mu.Lock()
	t.learn(took, s.ended)
	w.p.mu.Unlock()
	if err != nil {
		w.discard(b)
	}
	return err
}

// unopened ends a lease for which no sandbox can be had.
func (p *Provider) unopened(t *tenant, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var fault *engine.ProgramError
	switch {
	case t.over || p.closing:
	case errors.As(err, &fault):
		p.turnOut(t, lease.Refused{Reason: fmt.Sprintf("program %s: %s", t.work.Module, fault.Message), Hint: fault.Hint, Program: true})
	default:
		p.turnOut(t, lease.Refused{Reason: "sandbox: " + err.Error(), Hint: "hpips node doctor on that node tells more"})
	}
}

// box returns this slot's sandbox for t, a new one if there is none.
func (w *worker) box(t *tenant) (*box, error) {
	if i := slices.IndexFunc(w.boxes, func(b *box) bool { return b.t == t }); i >= 0 {
		b := w.boxes[i]
		w.boxes = slices.Insert(slices.Delete(w.boxes, i, i+1), 0, b)
		return b, nil
	}
	p := w.p
	p.mu.Lock()
	p.folders++
	program := t.program
	number := p.folders
	program.Dir = filepath.Join(t.dir, fmt.Sprint("box-", number))
	halt := p.halt
	if p.own(t) {
		halt = p.life
	}
	p.mu.Unlock()
	if err := os.MkdirAll(program.Dir, 0o700); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(t.ctx) // a compilation does not stand still: it is given up, and made anew
	defer cancel()
	defer context.AfterFunc(halt, cancel)()
	sandbox, err := t.engine.Open(ctx, program)
	if err != nil && halt.Err() != nil && t.ctx.Err() == nil {
		return nil, errors.Join(errHalted, os.RemoveAll(program.Dir))
	}
	if err != nil {
		return nil, err
	}
	b := &box{t: t, sandbox: sandbox, dir: program.Dir, number: number}
	p.mu.Lock()
	t.boxes = append(t.boxes, b)
	t.opened = true
	p.work.Broadcast()
	p.mu.Unlock()
	w.boxes = slices.Insert(w.boxes, 0, b)
	for len(w.boxes) > p.cfg.Idle {
		w.discard(w.boxes[len(w.boxes)-1])
	}
	return b, nil
}

// discard closes a sandbox for good.
func (w *worker) discard(b *box) {
	same := func(o *box) bool { return o == b }
	w.boxes = slices.DeleteFunc(w.boxes, same)
	w.p.mu.Lock()
	b.t.boxes = slices.DeleteFunc(b.t.boxes, same)
	w.p.mu.Unlock()
	b.close(w.p.log)
}

// start turns a shift into what the sandbox runs. What was cancelled meanwhile is left out; what cannot be written to disk is answered as broken.
func (p *Provider) start(s *shift, b *box) []engine.Task {
	p.inline(s)
	p.pausing.Lock()
	defer p.pausing.Unlock()
	p.mu.Lock()
	paths := p.place(s, b)
	tasks, spools := make([]engine.Task, len(s.tasks)), make([]*spool, len(s.tasks))
	for i, k := range s.tasks {
		tasks[i] = s.t.task(k)
		tasks[i].Devices = given(s.devices)
		if s.t.work.Live {
			spools[i] = s.t.spool(k.Index)
		}
	}
	still := p.standsStill(s.t)
	p.mu.Unlock()
	p.remove(paths...)
	for i, sp := range spools {
		if sp == nil {
			continue
		}
		tasks[i].Stdin, tasks[i].StdinOpen = sp.path, true
		if err := sp.tell(b.sandbox, tasks[i].ID); err != nil {
			p.log.Warn("Standard input cannot be written", "lease", s.t.id, "err", err)
		}
	}
	if err := p.still(b, still, time.Now()); err != nil {
		p.log.Warn("Sandbox does not stand still", "err", err)
	}
	return tasks
}

// place numbers the tasks of a shift for its sandbox and drops those that were cancelled. It returns what is to be removed. Needs p.mu.
func (p *Provider) place(s *shift, b *box) (paths []string) {
	s.tasks = slices.DeleteFunc(s.tasks, func(k *task) bool {
		if k.cancelled {
			s.t.drop(k)
			paths = append(paths, p.unstage(s.t, k))
		}
		return k.cancelled || k.state != running
	})
	s.box, s.base = b, p.ids+1
	p.ids += uint64(len(s.tasks))
	for i, k := range s.tasks {
		k.box, k.id = b, s.base+uint64(i)
	}
	p.boxes[b] = struct{}{}
	return paths
}

// task is k as the sandbox sees it.
func (t *tenant) task(k *task) engine.Task {
	e := execution.Task(t.work, k.Task, t.stdin, k.input)
	e.ID = k.id
	return e
}

// watch gives back tasks that a shift has not started when it takes much longer than was thought and others have nothing to do or wait for the slot.
// The function that it returns ends the watch.
func (p *Provider) watch(s *shift) (end func()) {
	if len(s.tasks) < 3 {
		return func() {}
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(longest)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				p.takeBack(s)
			case <-stop:
				return
			}
		}
	}()
	return func() { close(stop); <-done }
}

// takeBack leaves a shift the task that runs and the one after it, whose outcomes may be on their way, if the others could run elsewhere or later.
func (p *Provider) takeBack(s *shift) {
	p.mu.Lock()
	wanted := p.idle > 0
	for _, t := range p.turns {
		wanted = wanted || (t != s.t && t.hungry())
	}
	p.mu.Unlock()
	if wanted {
		p.giveBack(s, 2)
	}
}

// giveBack returns what a shift has not come to, but for the next few tasks, to the ready ones of its lease.
func (p *Provider) giveBack(s *shift, few int) {
	var ids []uint64
	p.mu.Lock()
	for i, k := range s.tasks {
		if k.box != s.box || k.id != s.base+uint64(i) {
			continue
		}
		if few--; few < 0 && !k.returned {
			k.returned = true
			ids = append(ids, k.id)
		}
	}
	p.mu.Unlock()
	for _, id := range slices.Backward(ids) {
		s.box.sandbox.Cancel(id)
	}
}
