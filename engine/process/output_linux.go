package process

import (
	"errors"
	"io"
	"os"
	"sync"

	"github.com/hpips/hpips/engine"
)

// The sizes, in bytes, up to which what a task writes is held in memory, and what is kept of a standard error that is longer.
const (
	inline  = 64 << 10
	errHead = 32 << 10
	errTail = 32 << 10
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

// capture is where one of a task's outputs goes: into memory, then standard output into a file and standard error into its first and last parts.
type capture struct {
	fd   int
	path string // of the file
	head []byte
	tail []byte // a ring
	pos  int
	size int64
	file *os.File
}

// follow reads an output to its end, as far as the budget goes; at its end full is called and the rest dropped. stream, if any, hears every piece and says whether it is
// to hear more.
func (c *capture) follow(from io.Reader, b *budget, stream func(chunk) bool, full func()) error {
	buf := make([]byte, 32<<10)
	var failed error
	over := false
	for {
		n, err := from.Read(buf)
		if n > 0 && !over && failed == nil {
			k := b.take(n)
			if stream != nil && k > 0 && !stream(chunk{fd: c.fd, offset: c.size, data: append([]byte(nil), buf[:k]...)}) {
				stream = nil
			}
			failed = c.keep(buf[:k])
			if over = k < n; over {
				full()
			}
		}
		if err != nil {
			if c.file != nil {
				failed = errors.Join(failed, c.file.Close())
			}
			return failed // a pipe ends when nobody holds its other end
		}
	}
}

func (c *capture) keep(p []byte) error {
	c.size += int64(len(p))
	switch {
	case c.fd == 2:
		c.keepErr(p)
		return nil
	case c.file == nil && len(c.head)+len(p) <= inline:
		c.head = append(c.head, p...)
		return nil
	case c.file == nil:
		f, err := os.OpenFile(c.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		c.file = f
		if _, err := f.Write(c.head); err != nil {
			return err
		}
		c.head = nil
	}
	_, err := c.file.Write(p)
	return err
}

// keepErr holds the first errHead bytes and a ring of the last errTail.
func (c *capture) keepErr(p []byte) {
	n := min(errHead-len(c.head), len(p))
	c.head, p = append(c.head, p[:n]...), p[n:]
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

// blob is what was kept.
func (c *capture) blob() engine.Blob {
	b := engine.Blob{Size: c.size}
	if c.file != nil {
		b.Path = c.path
		return b
	}
	b.Inline = append(b.Inline, c.head...)
	if cut := c.size - int64(len(c.head)+len(c.tail)); cut > 0 {
		b.Inline = append(b.Inline, "\n[... "+engine.Bytes(cut)+" of standard error left out ...]\n"...)
	}
	b.Inline = append(append(b.Inline, c.tail[c.pos:]...), c.tail[:c.pos]...)
	return b
}
