package requester

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// chunk is how much of a stream is sent at once, in bytes.
const chunk = 256 << 10

// spool is a stream in a file: it grows at its end and may be followed by any number of readers from its beginning. What is in the file
// survives the process.
type spool struct {
	mu      sync.Mutex
	f       *os.File
	size    int64
	ended   bool
	failed  error
	changed chan struct{} // closed and replaced at each change
}

func openSpool(path string) (*spool, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", path, err)
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("stream %s: %w", path, err)
	}
	return &spool{f: f, size: size, changed: make(chan struct{})}, nil
}

// write adds what is new of data, whose first byte belongs at offset. A piece after a gap is left out: it comes again.
func (s *spool) write(offset int64, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.failed != nil || offset > s.size || offset+int64(len(data)) <= s.size {
		return
	}
	data = data[s.size-offset:]
	if _, err := s.f.WriteAt(data, s.size); err != nil {
		s.failed = fmt.Errorf("stream %s: %w", s.f.Name(), err)
	}
	s.size += int64(len(data))
	s.wake()
}

// fill copies r to the end of the stream until EOF, and ends it.
func (s *spool) fill(r io.Reader) error {
	buf := make([]byte, chunk)
	for {
		n, err := r.Read(buf)
		s.mu.Lock()
		at, ended, failed := s.size, s.ended, s.failed
		s.mu.Unlock()
		if ended || failed != nil {
			return failed // nobody reads on: the job is over
		}
		s.write(at, buf[:n])
		if err != nil {
			s.end()
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("standard input: %w", err)
		}
	}
}

// end says that nothing more comes.
func (s *spool) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.ended = true
		s.failed = errors.Join(s.failed, s.f.Close()) // readers have handles of their own
		s.wake()
	}
}

func (s *spool) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// follow calls fn for the whole stream, piece by piece, until it has ended, gone is closed, ctx ends or fn fails. The last call has eof set.
func (s *spool) follow(ctx context.Context, gone <-chan struct{}, fn func(offset int64, data []byte, eof bool) error) error {
	f, err := os.Open(s.f.Name())
	if err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	defer f.Close()
	buf := make([]byte, chunk)
	for at := int64(0); ; {
		s.mu.Lock()
		size, ended, failed, changed := s.size, s.ended, s.failed, s.changed
		s.mu.Unlock()
		if failed != nil {
			return failed
		}
		n := int(min(size-at, chunk))
		if n > 0 {
			if _, err := f.ReadAt(buf[:n], at); err != nil {
				return fmt.Errorf("stream %s: %w", s.f.Name(), err)
			}
		}
		last := ended && at+int64(n) == size
		if n > 0 || last {
			if err := fn(at, buf[:n:n], last); err != nil || last {
				return err
			}
			at += int64(n)
			continue
		}
		select {
		case <-changed:
		case <-gone:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
