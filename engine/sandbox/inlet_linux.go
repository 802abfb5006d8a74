package sandbox

import (
	"errors"
	"io"
	"os"
)

// inlet is how far a growing input has come.
type inlet struct {
	size int64
	eof  bool
}

// input opens the standard input: the end that the program reads. That is a pipe, for the program could open what it has as /proc/self/fd/0 anew, for writing.
func (t *task) input() (*os.File, error) {
	if t.Stdin == "" {
		return os.Open(os.DevNull)
	}
	from, err := os.Open(t.Stdin)
	if err != nil {
		return nil, err
	}
	if info, err := from.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(errors.New("it is no file"), from.Close())
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, from.Close())
	}
	t.lively.Go(func() { t.feed(from, w) })
	return r, nil
}

// feed copies a task's standard input into its pipe, waiting for more of one that grows, until its end or that of the task.
func (t *task) feed(from *os.File, to *os.File) {
	defer from.Close()
	defer to.Close()
	if !t.StdinOpen {
		_, _ = io.Copy(to, from) // a program need not read its input
		return
	}
	var sent int64
	for {
		size, more := t.s.grown(t, sent)
		if _, err := io.Copy(to, io.NewSectionReader(from, sent, size-sent)); err != nil || !more {
			return
		}
		sent = size
	}
}

// grown waits until a task's input has more than sent bytes, or its end, and tells how many; more says that there may be others later.
func (s *Sandbox) grown(t *task, sent int64) (size int64, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		in := s.inlets[t.ID]
		switch {
		case t.over || in == nil:
			return sent, false
		case in.size > sent:
			return in.size, true
		case in.eof:
			return sent, false
		}
		s.cond.Wait()
	}
}
