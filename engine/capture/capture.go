// Package capture keeps what a task writes to its standard output and standard error, as outcomes carry it.
// It promises the same for all engines: short texts inline, a long standard output in a file, of a long standard error its first and last parts, and never more memory than
// that. It leaves reading what the program writes, limits and streaming to the engines.
package capture

import (
	"io"

	"github.com/hpips/hpips/engine"
)

// The sizes, in bytes, up to which what a task writes is held in memory, and what is kept of a standard error that is longer.
const (
	Inline = 64 << 10
	Head   = 16 << 10
	Tail   = 48 << 10
)

// Output is what one of a task's outputs comes to.
type Output struct {
	// FD is 1 for standard output, 2 for standard error.
	FD int
	// Spill makes the file for a standard output that is longer than Inline; it is asked once for each task.
	Spill func() (io.WriteCloser, error)

	head []byte
	tail []byte // a ring
	pos  int
	size int64
	file io.WriteCloser
}

// Reset makes it empty again, for the next task.
func (o *Output) Reset() {
	o.head, o.size, o.tail, o.pos = o.head[:0], 0, o.tail[:0], 0
}

// Size is how many bytes were written, kept or not.
func (o *Output) Size() int64 { return o.size }

// Keep takes what the program wrote. Its error is the disk's.
func (o *Output) Keep(p []byte) error {
	o.size += int64(len(p))
	switch {
	case o.FD == 2:
		o.keepEnds(p)
		return nil
	case o.file == nil && len(o.head)+len(p) <= Inline:
		o.head = append(o.head, p...)
		return nil
	case o.file == nil:
		f, err := o.Spill()
		if err != nil {
			return err
		}
		o.file = f
		if _, err := f.Write(o.head); err != nil {
			return err
		}
		o.head = o.head[:0]
	}
	_, err := o.file.Write(p)
	return err
}

// keepEnds holds the first Head bytes and a ring of the last Tail.
func (o *Output) keepEnds(p []byte) {
	n := min(Head-len(o.head), len(p))
	o.head, p = append(o.head, p[:n]...), p[n:]
	for len(p) > 0 {
		if len(o.tail) < Tail {
			n := min(Tail-len(o.tail), len(p))
			o.tail, p = append(o.tail, p[:n]...), p[n:]
			continue
		}
		n := copy(o.tail[o.pos:], p)
		o.pos, p = (o.pos+n)%Tail, p[n:]
	}
}

// Close closes the file, if there is one, and gives what was kept: a text of the caller's own, or spilled, that it is in the file.
func (o *Output) Close() (inline []byte, spilled bool, err error) {
	if o.file != nil {
		err := o.file.Close()
		o.file = nil
		return nil, true, err
	}
	if o.size == 0 {
		return nil, false, nil
	}
	inline = append(make([]byte, 0, min(o.size, Inline)+64), o.head...)
	if cut := o.size - int64(len(o.head)+len(o.tail)); cut > 0 {
		inline = append(inline, "\n[... "+engine.Bytes(cut)+" of standard error left out ...]\n"...)
	}
	return append(append(inline, o.tail[o.pos:]...), o.tail[:o.pos]...), false, nil
}
