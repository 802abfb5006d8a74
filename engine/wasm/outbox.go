package wasm

import (
	"io"
	"sync"
	"time"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/capture"
)

// flushAfter is how long a finished task waits at most for others to share its frame. With lostDrop it is well below the 100 ms within
// which a cancelled task has ended.
const flushAfter = 20 * time.Millisecond

// outbox gathers what the child has to say and writes it in frames: when the queue of tasks is empty, at batchSize, or flushAfter the
// first. A node that does not read makes add wait, so nothing grows.
type outbox struct {
	coder *coder
	to    io.Writer

	mu     sync.Mutex
	events []event
	size   int
	first  time.Time
	timer  *time.Timer
	err    error
}

func newOutbox(c *coder, to io.Writer) *outbox {
	o := &outbox{coder: c, to: to}
	o.timer = time.AfterFunc(time.Hour, o.flush)
	o.timer.Stop()
	return o
}

// start sends, before a task runs, what has waited too long.
func (o *outbox) start() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.events) > 0 && time.Since(o.first) >= flushAfter {
		o.write()
	}
}

// done adds an outcome; last says that no task is waiting, so that nothing is worth waiting for.
func (o *outbox) done(out *outcome, last bool) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.add(event{Outcome: out}, 96+len(out.Message)+len(out.Stdout.Inline)+len(out.Stderr.Inline))
	if last {
		o.write()
	}
	return o.err
}

// output adds streamed bytes, in pieces.
func (o *outbox) output(id uint64, fd int, offset int64, data []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(data) > 0 {
		n := min(len(data), capture.Inline)
		o.add(event{Chunk: &chunk{ID: id, FD: fd, Offset: offset, Data: append([]byte(nil), data[:n]...)}}, n+32)
		data, offset = data[n:], offset+int64(n)
	}
}

func (o *outbox) add(e event, size int) {
	if len(o.events) == 0 {
		o.first = time.Now()
		o.timer.Reset(flushAfter)
	}
	o.events = append(o.events, e)
	o.size += size
	if o.size >= batchSize {
		o.write()
	}
}

func (o *outbox) flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.write()
}

// write sends what there is. The lock is held, which makes everyone wait for a slow reader.
func (o *outbox) write() {
	if len(o.events) == 0 || o.err != nil {
		return
	}
	o.timer.Stop()
	o.err = o.send(report{Events: o.events})
	clear(o.events)
	o.events, o.size = o.events[:0], 0
}

func (o *outbox) send(r report) error {
	b, err := o.coder.frame(r)
	if err == nil {
		_, err = o.to.Write(b)
	}
	return err
}

// written is what the program writes to one of its outputs, as far as the output limit goes.
type written struct {
	capture.Output
	run *runner
}

// Write takes what the program writes, and ends the program where its limit is.
func (w *written) Write(p []byte) (int, error) {
	room := w.run.outputLeft
	full := int64(len(p)) > room
	if full {
		p = p[:room]
	}
	w.run.outputLeft -= int64(len(p))
	if w.run.streaming {
		w.run.out.output(w.run.id, w.FD, w.Size(), p)
	}
	err := w.Keep(p)
	if err != nil {
		w.run.stop(engine.Broken, "output cannot be kept: "+cause(err).Error())
	}
	if full {
		w.run.stop(engine.OutputFull, "")
	}
	return len(p), nil
}

// result closes it and gives what the outcome carries.
func (w *written) result() (s stream, err error) {
	s.Size = w.Size()
	s.Inline, s.Spilled, err = w.Close()
	return s, err
}
