package wasm

import (
	"io"
	"sync"
	"time"

	"github.com/hpips/hpips/engine"
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
		n := min(len(data), inline)
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

// capture is where one of a task's outputs goes: into memory, then into a file in the task's folder.
type capture struct {
	run  *runner
	fd   int
	buf  []byte
	size int64
	file io.WriteCloser
	// tail keeps the end of a long standard error; it is used as a ring.
	tail []byte
	pos  int
}

func (c *capture) reset() {
	c.buf, c.size, c.tail, c.pos = c.buf[:0], 0, c.tail[:0], 0
}

// Write takes what the program writes, as far as the output limit goes, and ends the program there.
func (c *capture) Write(p []byte) (int, error) {
	room := c.run.outputLeft
	full := int64(len(p)) > room
	if full {
		p = p[:room]
	}
	c.run.outputLeft -= int64(len(p))
	if c.run.streaming {
		c.run.out.output(c.run.id, c.fd, c.size, p)
	}
	err := c.keep(p)
	if err != nil {
		c.run.stop(engine.Broken, "output cannot be kept: "+cause(err).Error())
	}
	if full {
		c.run.stop(engine.OutputFull, "")
	}
	return len(p), nil
}

func (c *capture) keep(p []byte) error {
	c.size += int64(len(p))
	if c.fd == 2 {
		c.keepErr(p)
		return nil
	}
	if c.file == nil && len(c.buf)+len(p) <= inline {
		c.buf = append(c.buf, p...)
		return nil
	}
	if c.file == nil {
		f, err := c.run.spill()
		if err != nil {
			return err
		}
		c.file = f
		if _, err := f.Write(c.buf); err != nil {
			return err
		}
		c.buf = c.buf[:0]
	}
	_, err := c.file.Write(p)
	return err
}

// keepErr holds the first errHead bytes and a ring of the last errTail.
func (c *capture) keepErr(p []byte) {
	n := min(errHead-len(c.buf), len(p))
	c.buf, p = append(c.buf, p[:n]...), p[n:]
	for len(p) > 0 {
		if len(c.tail) < errTail {
			n := min(errTail-len(c.tail), len(p))
			c.tail, p = append(c.tail, p[:n]...), p[n:]
			continue
		}
		n := copy(c.tail[c.pos:], p)
		c.pos, p = (c.pos+n)%errTail, p[n:]
	}
}

// result closes the capture and gives what the outcome carries.
func (c *capture) result() (stream, error) {
	s := stream{Size: c.size, Spilled: c.file != nil}
	if c.file != nil {
		err := c.file.Close()
		c.file = nil
		return s, err
	}
	if c.size == 0 {
		return s, nil
	}
	s.Inline = append(make([]byte, 0, c.size-max(0, c.size-inline)+64), c.buf...)
	if cut := c.size - int64(len(c.buf)+len(c.tail)); cut > 0 {
		s.Inline = append(s.Inline, "\n[... "+engine.Bytes(cut)+" of standard error left out ...]\n"...)
	}
	s.Inline = append(append(s.Inline, c.tail[c.pos:]...), c.tail[:c.pos]...)
	return s, nil
}
