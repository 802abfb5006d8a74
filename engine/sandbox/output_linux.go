package sandbox

import (
	"errors"
	"io"
	"os"
	"sync"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/capture"
)

// chunk is a piece of a streamed output.
type chunk struct {
	fd     int
	offset int64
	data   []byte
}

// budget is what both of a task's outputs may come to.
type budget struct {
	mu   sync.Mutex
	left int64
}

// take gives how many of n bytes are still allowed.
func (b *budget) take(n int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := int(min(int64(n), b.left))
	b.left -= int64(k)
	return k
}

// capture reads what the program writes, from two pipes, and gives the ends that are the program's.
func (t *task) capture() (out, errs *os.File, err error) {
	t.out = capture.Output{FD: 1, Spill: func() (io.WriteCloser, error) {
		return os.OpenFile(t.file("stdout"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	}}
	t.err = capture.Output{FD: 2}
	fromOut, out, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	fromErr, errs, err := os.Pipe()
	if err != nil {
		return nil, nil, errors.Join(err, fromOut.Close(), out.Close())
	}
	t.budget.left = t.s.prog.Limits.Output
	for c, from := range map[*capture.Output]*os.File{&t.out: fromOut, &t.err: fromErr} {
		t.pipes.Go(func() {
			defer from.Close()
			if err := t.follow(c, from); err != nil {
				t.s.slay(t, engine.Broken, "output cannot be kept: "+cause(err).Error())
			}
		})
	}
	return out, errs, nil
}

// follow reads an output to its end, as far as the budget goes; at its end the task is ended and the rest dropped. A pipe ends when nobody holds its other end.
func (t *task) follow(c *capture.Output, from io.Reader) error {
	buf := make([]byte, 32<<10)
	var failed error
	over := false
	for {
		n, err := from.Read(buf)
		if n > 0 && !over && failed == nil {
			k := t.budget.take(n)
			if t.Stream && k > 0 {
				t.chunks <- chunk{fd: c.FD, offset: c.Size(), data: append([]byte(nil), buf[:k]...)} // Run takes them until the task is done
			}
			failed = c.Keep(buf[:k])
			if over = k < n; over {
				t.s.slay(t, engine.OutputFull, t.s.prog.Limits.Excess(engine.OutputFull))
			}
		}
		if err != nil {
			return failed
		}
	}
}

// blob is what was kept of an output.
func (t *task) blob(c *capture.Output) (engine.Blob, error) {
	inline, spilled, err := c.Close()
	b := engine.Blob{Inline: inline, Size: c.Size()}
	if spilled {
		b.Path = t.file("stdout")
	}
	return b, err
}
