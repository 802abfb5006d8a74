package process

import (
	"io"
	"os"
)

// inlet is how far a growing input has come.
type inlet struct {
	size int64
	eof  bool
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
func (s *sandbox) grown(t *task, sent int64) (size int64, more bool) {
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
