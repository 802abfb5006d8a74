package wasm

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/hpips/hpips/engine"
)

// batch is one Run: which tasks wait, which the child has, which have ended. The child works in order and answers in order, so that what
// runs is always the first it has not answered. Run's goroutine drives it; what others may touch is under the sandbox's lock.
type batch struct {
	s     *sandbox
	sink  engine.Sink
	tasks []engine.Task
	index map[uint64]int

	next  int   // the first task that no child was given
	sent  []int // what the child has, in order
	bytes int   // of the orders in sent
	size  []int // of each task's order
	left  int   // tasks without an outcome
	out   []engine.Outcome

	since    time.Time // when sent[0] became first, as far as is known
	doomed   int       // the task for which the child is being killed, or -1
	doomedBy engine.End
	lied     string // why the child is not believed any more

	// Under s.mu.
	ended     []bool
	cancelled map[int]bool // to be acted on
	feeds     map[int]feedOrder
	fed       map[int]bool // feeds to be sent
	heldAt    time.Time    // when it was paused; zero if it is not
	held      time.Duration
}

// lostDrop is how long a child may take to drop a task that it does not run.
const lostDrop = 50 * time.Millisecond

func newBatch(s *sandbox, tasks []engine.Task, sink engine.Sink) *batch {
	b := &batch{
		s: s, sink: sink, tasks: tasks, index: make(map[uint64]int, len(tasks)), size: make([]int, len(tasks)), left: len(tasks), doomed: -1,
		ended: make([]bool, len(tasks)), cancelled: map[int]bool{}, feeds: map[int]feedOrder{}, fed: map[int]bool{},
	}
	for i, t := range tasks {
		b.index[t.ID] = i
	}
	return b
}

func (b *batch) finished() bool { return b.left == 0 }

// files are the host paths that the tasks still to come need.
func (b *batch) files() []string {
	var out []string
	for _, t := range b.tasks[b.next:] {
		for _, m := range t.Mounts {
			out = append(out, m.Host)
		}
		if t.Stdin != "" {
			out = append(out, t.Stdin)
		}
	}
	return out
}

// feed, cancel and hold are called under the sandbox's lock.
func (b *batch) feed(f feedOrder) bool {
	i, ok := b.index[f.ID]
	if !ok || b.ended[i] || !b.tasks[i].StdinOpen {
		return false
	}
	was := b.feeds[i]
	b.feeds[i] = feedOrder{ID: f.ID, Size: max(f.Size, was.Size), EOF: f.EOF || was.EOF}
	b.fed[i] = true
	return true
}

func (b *batch) cancel(id uint64) bool {
	i, ok := b.index[id]
	if !ok || b.ended[i] {
		return false
	}
	b.cancelled[i] = true
	return true
}

func (b *batch) hold(on bool, now time.Time) {
	if on && b.heldAt.IsZero() {
		b.heldAt = now
	} else if !on && !b.heldAt.IsZero() {
		b.held += now.Sub(b.heldAt)
		b.heldAt = time.Time{}
	}
}

// heldFor is how long the child has stood still since its first task became that.
func (b *batch) heldFor(now time.Time) time.Duration {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	if b.heldAt.IsZero() {
		return b.held
	}
	return b.held + now.Sub(b.heldAt)
}

// serve feeds one child and hears it, until every task has its outcome or the child is gone.
func (b *batch) serve(ctx context.Context, p *process) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	done := ctx.Done()
	for {
		b.act(p)
		b.fill(p)
		b.deliver()
		if b.finished() && b.doomed < 0 && len(b.sent) == 0 {
			return
		}
		b.arm(timer)
		select {
		case r, ok := <-p.reports:
			if !ok {
				b.bury(p)
				b.deliver() // before the next child, which takes a while to start
				return
			}
			b.hear(p, r)
		case <-b.s.wake:
		case <-timer.C:
			b.overdue(p)
		case <-done:
			done = nil
			b.s.mu.Lock()
			for i := range b.tasks {
				if !b.ended[i] {
					b.cancelled[i] = true
				}
			}
			b.s.mu.Unlock()
		}
	}
}

// act does what Cancel and Feed asked for, and Close.
func (b *batch) act(p *process) {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	if b.s.closed {
		for i := range b.tasks {
			if !b.ended[i] {
				b.cancelled[i] = true
			}
		}
	}
	var o order
	for i := range b.cancelled {
		delete(b.cancelled, i)
		if b.ended[i] {
			continue
		}
		if head := len(b.sent) > 0 && b.sent[0] == i; head && b.doomed < 0 {
			b.doom(p, engine.Cancelled)
			continue
		} else if head && b.doomed == i {
			continue
		}
		if i < b.next {
			o.Drop = append(o.Drop, b.tasks[i].ID)
		}
		b.end(i, engine.Outcome{ID: b.tasks[i].ID, End: engine.Cancelled, Exit: -1, Message: "cancelled before it started"})
	}
	for i := range b.fed {
		if i < b.next && !b.ended[i] {
			o.Feeds = append(o.Feeds, b.feeds[i])
			delete(b.fed, i)
		}
	}
	if len(o.Drop)+len(o.Feeds) > 0 && p.send(o) != nil {
		p.stop()
	}
}

// doom kills the child for the sake of its first task.
func (b *batch) doom(p *process, end engine.End) {
	if b.doomed < 0 {
		b.doomed, b.doomedBy = b.sent[0], end
		p.stop()
	}
}

// fill gives the child tasks, as many as the window holds.
func (b *batch) fill(p *process) {
	if b.doomed >= 0 {
		return
	}
	var o order
	size := 0
	flush := func() {
		if len(o.Tasks) > 0 && p.send(o) != nil {
			p.stop()
		}
		o, size = order{}, 0
	}
	for b.next < len(b.tasks) && len(b.sent) < window && b.bytes < windowLen {
		i := b.next
		b.next++
		t := &b.tasks[i]
		if b.isEnded(i) {
			continue
		}
		if b.size[i] = taskSize(t); b.size[i] > maxTask {
			b.refuse(i, "arguments and environment pass "+engine.Bytes(maxTask)+"; put them into a file")
			continue
		}
		if err := wellPointed(t.Points, b.s.prog.Watched); err != nil {
			b.refuse(i, "states cannot be told: "+err.Error())
			continue
		}
		o.Tasks = append(o.Tasks, taskOrder{ID: t.ID, Args: t.Args, Env: t.Env, Mounts: t.Mounts, Stdin: t.Stdin, Open: t.StdinOpen, Outputs: t.Outputs, Stream: t.Stream, Points: t.Points})
		if len(b.sent) == 0 {
			b.first(time.Now())
		}
		b.sent = append(b.sent, i)
		b.bytes += b.size[i]
		if f, ok := b.fedBefore(i); ok {
			o.Feeds = append(o.Feeds, f)
		}
		if size += b.size[i]; size > maxTask {
			flush()
		}
	}
	flush()
}

// refuse breaks a task that the child does not get.
func (b *batch) refuse(i int, why string) {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	b.end(i, broken(b.tasks[i].ID, why))
}

// fedBefore gives what was told of a task's input before the child had it.
func (b *batch) fedBefore(i int) (feedOrder, bool) {
	if !b.tasks[i].StdinOpen {
		return feedOrder{}, false
	}
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	f, ok := b.feeds[i]
	delete(b.fed, i)
	return f, ok
}

func taskSize(t *engine.Task) int {
	n := 64 + len(t.Stdin) + 9*len(t.Points)
	for _, list := range [][]string{t.Args, t.Env, t.Outputs} {
		for _, s := range list {
			n += 5 + len(s)
		}
	}
	for _, m := range t.Mounts {
		n += 32 + len(m.Guest) + len(m.Host)
	}
	return n
}

// first notes that another task has become the first of the child's.
func (b *batch) first(now time.Time) {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	b.since, b.held = now, 0
	if !b.heldAt.IsZero() {
		b.heldAt = now
	}
}

// hear takes a report. A child that answers what it was not asked is killed.
func (b *batch) hear(p *process, r report) {
	for _, e := range r.Events {
		if b.lied != "" {
			return
		}
		if e.Chunk != nil {
			b.deliver()
			if i, ok := b.index[e.Chunk.ID]; ok && !b.isEnded(i) && b.tasks[i].Stream {
				b.sink.Output(e.Chunk.ID, e.Chunk.FD, e.Chunk.Offset, e.Chunk.Data)
			}
			continue
		}
		o := e.Outcome
		if len(b.sent) == 0 || b.tasks[b.sent[0]].ID != o.ID {
			b.lied = fmt.Sprintf("it answered for task %d out of order", o.ID)
			p.stop()
			return
		}
		held := b.heldFor(time.Now())
		i := b.pop()
		if !b.isEnded(i) {
			full, err := b.outcome(i, o)
			full.Usage.Wall = max(min(full.Usage.CPU, full.Usage.Wall), full.Usage.Wall-held) // the child's clock goes on while it stands still
			if err != nil {
				b.lied = err.Error()
				full = broken(o.ID, "the sandbox died: "+b.lied)
				p.stop()
			}
			b.s.mu.Lock()
			b.end(i, full)
			b.s.mu.Unlock()
		} else if o.End != engine.Cancelled {
			b.s.discard(o.ID) // it ran after all
		}
	}
}

func (b *batch) pop() int {
	i := b.sent[0]
	b.sent = b.sent[1:]
	b.bytes -= b.size[i]
	b.first(time.Now())
	return i
}

func (b *batch) isEnded(i int) bool {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	return b.ended[i]
}

// end gives a task its outcome, under the sandbox's lock.
func (b *batch) end(i int, o engine.Outcome) {
	b.ended[i] = true
	delete(b.feeds, i)
	delete(b.fed, i)
	b.left--
	b.out = append(b.out, o)
}

func (b *batch) deliver() {
	if len(b.out) > 0 {
		out := b.out
		b.out = nil
		b.sink.Done(out)
	}
}

// outcome turns the child's words into the contract's. It errors if what the child left on disk is not what it says, or may leave.
func (b *batch) outcome(i int, o *outcome) (engine.Outcome, error) {
	t, dir := &b.tasks[i], b.s.prog.Dir
	out := engine.Outcome{
		ID: o.ID, End: o.End, Exit: o.Exit, Message: o.Message,
		Stdout: engine.Blob{Inline: o.Stdout.Inline, Size: o.Stdout.Size},
		Stderr: engine.Blob{Inline: o.Stderr.Inline, Size: o.Stderr.Size},
		Usage:  engine.Usage{CPU: time.Duration(o.CPU), Wall: time.Duration(o.Wall), Memory: o.Memory, Work: o.Work},
	}
	var err error
	if out.States, err = states(t.Points, o); err != nil {
		return out, fmt.Errorf("the states of task %d: %w", o.ID, err)
	}
	if o.Stdout.Spilled {
		out.Stdout = engine.Blob{Path: stdoutFile(dir, t.ID), Size: o.Stdout.Size}
		if info, err := os.Lstat(out.Stdout.Path); err != nil || !info.Mode().IsRegular() || info.Size() != o.Stdout.Size {
			return out, fmt.Errorf("the standard output of task %d is not where it should be", o.ID)
		}
	}
	if len(t.Outputs) == 0 || o.End == engine.Broken || o.End == engine.Cancelled {
		return out, nil
	}
	out.Outputs = make(map[string]string, len(t.Outputs))
	for n, guest := range t.Outputs {
		host := outputDir(dir, t.ID, n)
		if err := plainFiles(host); err != nil {
			return out, err
		}
		out.Outputs[guest] = host
	}
	return out, nil
}

// states are those that the child tells. A task that is killed has none; at all points that it did not come past it is that at its end.
func states(points []uint64, o *outcome) ([][32]byte, error) {
	if o.End == engine.Broken || o.End == engine.Cancelled {
		points = nil
	}
	if len(o.States) != len(points)*sha256.Size {
		return nil, fmt.Errorf("%d were asked for, %d bytes told", len(points), len(o.States))
	}
	var all [][32]byte
	for i, point := range points {
		all = append(all, [32]byte(o.States[i*sha256.Size:]))
		if i > 0 && points[i-1] >= uint64(o.Work) && all[i] != all[i-1] {
			return nil, fmt.Errorf("another one at %d than at %d, and it ended at %d", point, points[i-1], o.Work)
		}
	}
	return all, nil
}

func broken(id uint64, why string) engine.Outcome {
	return engine.Outcome{ID: id, End: engine.Broken, Exit: -1, Message: clip(why)}
}

// plainFiles errors on anything but files and folders below dir.
func plainFiles(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !d.Type().IsRegular() {
			err = fmt.Errorf("output %s is neither a file nor a folder", filepath.Base(path))
		}
		return err
	})
}
