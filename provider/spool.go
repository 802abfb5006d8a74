package provider

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/spec/lease"
)

// spool is the live standard input of one task: a file that grows while the task reads it.
type spool struct {
	path string

	mu   sync.Mutex
	file *os.File
	size int64
	eof  bool
}

// maxSpools bounds how many tasks of one lease may have a live standard input; jobs have one.
const maxSpools = 16

// errGap means that a piece of a live standard input is missing.
var errGap = errors.New("standard input: a piece is missing")

// spool returns the live standard input of a task, made when it is first asked for; nil if there are too many. Needs Provider.mu.
func (t *tenant) spool(index uint64) *spool {
	s := t.spools[index]
	if s == nil && len(t.spools) < maxSpools {
		s = &spool{path: filepath.Join(t.program.Inputs, fmt.Sprint("stdin-", index))}
		t.spools[index] = s
	}
	return s
}

// open makes the file if it is not there. Needs s.mu.
func (s *spool) open() error {
	if s.file != nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(s.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	s.file = f
	return err
}

// write appends a piece; what is there already, from an earlier sending, is passed over. It returns how many bytes it added.
func (s *spool) write(m lease.Stdin) (added int64, err error) {
	if err := s.open(); err != nil {
		return 0, err
	}
	if m.Offset < 0 || m.Offset > s.size {
		return 0, errGap
	}
	if s.eof {
		return 0, nil
	}
	if known := s.size - m.Offset; known < int64(len(m.Data)) {
		n, err := s.file.Write(m.Data[known:])
		s.size += int64(n)
		added = int64(n)
		if err != nil {
			return added, err
		}
	}
	s.eof = m.EOF && m.Offset+int64(len(m.Data)) == s.size
	return added, nil
}

// tell lets a sandbox know how far the input of its task is. It also makes the file, so that the task can start.
func (s *spool) tell(sandbox engine.Sandbox, id uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(); err != nil {
		return err
	}
	sandbox.Feed(id, s.size, s.eof)
	return nil
}

func (s *spool) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file != nil {
		s.file.Close() // the file is deleted next
	}
}

// feed takes in a piece of a live standard input.
func (p *Provider) feed(l *link, id string, m lease.Stdin) {
	p.mu.Lock()
	t := p.tenantOf(l, id)
	if t == nil || !t.work.Live {
		p.mu.Unlock()
		return
	}
	s := t.spool(m.Task)
	t.doing.Add(1)
	p.mu.Unlock()
	defer t.doing.Done()
	if s == nil {
		return
	}
	s.mu.Lock()
	added, err := s.write(m)
	size := s.size
	s.mu.Unlock()

	p.mu.Lock()
	t.kept += added
	p.disk += added
	var b *box
	var running uint64
	switch k := t.tasks[m.Task]; {
	case t.over:
	case err == nil && size > t.program.Limits.Disk:
		p.turnOut(t, lease.Refused{Reason: "standard input passed the limit of " + engine.Bytes(t.program.Limits.Disk), Hint: "raise it with --disk", Program: true})
	case err != nil:
		p.turnOut(t, lease.Refused{Reason: err.Error()})
	case k != nil && k.box != nil:
		b, running = k.box, k.id
	}
	p.mu.Unlock()
	if b == nil {
		return
	}
	if err := s.tell(b.sandbox, running); err != nil {
		p.log.Warn("Standard input does not reach its task", "lease", id, "err", err)
	}
}
