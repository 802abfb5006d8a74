package p2p

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// link is one stream in use by a session.
type link struct {
	w        wire
	r        *frameReader
	id       linkID
	greeting []byte // this side's hello, where the peer dialled; written first
	gone     chan struct{}
	once     sync.Once
	born     time.Time
	expect   uint64 // the next message's number; the reader's own
	ackSent  uint64 // the writer's own
}

// drop ends the stream at once and with it the reader and the writer.
func (l *link) drop() {
	l.once.Do(func() {
		close(l.gone)
		_ = l.w.Reset()
	})
}

// finish ends the stream after what was written.
func (l *link) finish() {
	l.once.Do(func() {
		close(l.gone)
		_ = l.w.Close()
	})
}

var (
	errPeerBye  = errors.New("closed by the peer")
	errReplaced = errors.New("another stream took its place")
)

// attach makes l the stream in use, as the peer's hello h says how far it is, and fills in l's place in the logs.
// Needs s.mu. On an error the session is as before but without a stream.
func (s *Session) attach(l *link, h hello) error {
	if s.link != nil {
		s.unlink(s.link, errReplaced)
	}
	if h.Self != s.peer || h.Known != s.self {
		met := s.peer != 0
		s.peer = h.Self
		s.out.renumber()
		if met {
			s.in.restart()
		}
	} else if err := s.out.resume(h.Received, h.Acked); err != nil {
		return err
	}
	if s.dial != nil && s.dial.link != l {
		s.dial.cancel()
		s.dial = nil
	}
	l.expect, l.born, l.ackSent = s.in.received+1, time.Now(), min(l.ackSent, s.in.acked)
	s.link, s.last, s.since = l, l.id, l.born
	s.links++
	s.ackArmed = false
	s.lastError = ""
	s.in.event(EventUp)
	signal(s.news)
	signal(s.wake)
	s.unblock()
	return nil
}

// unlink takes l out of use. Needs s.mu; does nothing if another stream has taken its place.
func (s *Session) unlink(l *link, cause error) {
	l.drop()
	if s.link != l {
		return
	}
	s.link, s.since = nil, time.Now()
	s.lastError = printable(cause.Error(), maxReason)
	if !s.closed {
		s.in.event(EventDown)
	}
	signal(s.news)
	signal(s.wake)
}

func (s *Session) detach(l *link, cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unlink(l, cause)
}

// unblock lets waiting senders look again. Needs s.mu.
func (s *Session) unblock() {
	if s.room != nil {
		close(s.room)
		s.room = nil
	}
}

// read takes in what the peer sends until the stream ends, and says why it ended.
func (s *Session) read(l *link) error {
	const most, mostBytes = 256, 1 << 20
	var batch [][]byte
	bytes := 0
	for {
		kind, seq, body, err := l.r.next()
		if err == nil && kind == frameData {
			if seq == l.expect {
				l.expect++
				bytes += len(body)
				batch = append(batch, body)
			} else {
				err = fmt.Errorf("%w: message %d where %d is next", errFrame, seq, l.expect)
			}
		}
		if len(batch) > 0 && (err != nil || kind != frameData || !l.r.ready() || len(batch) >= most || bytes >= mostBytes) {
			if derr := s.deliver(l, batch); derr != nil {
				return derr
			}
			clear(batch)
			batch, bytes = batch[:0], 0
		}
		if err == nil {
			err = s.control(l, kind, seq, body)
		}
		if err != nil {
			return err
		}
	}
}

// control acts on a frame that is not data.
func (s *Session) control(l *link, kind byte, seq uint64, body []byte) error {
	switch kind {
	case frameData, framePing:
		return nil
	case frameAck:
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.link != l {
			return errReplaced
		}
		if err := s.out.ack(seq); err != nil {
			return fmt.Errorf("%w: %w", errFrame, err)
		}
		s.unblock()
		return nil
	case frameBye:
		return errPeerBye
	default:
		return fmt.Errorf("%w: kind %d after the hello", errFrame, kind)
	}
}

// deliver queues messages for Receive. While the inbox is full it waits, and the stream's own window stops the peer.
func (s *Session) deliver(l *link, batch [][]byte) error {
	s.mu.Lock()
	for {
		if s.link != l {
			s.mu.Unlock()
			return errReplaced
		}
		if s.closed { // the bye is on its way; nobody wants these any more
			s.mu.Unlock()
			return nil
		}
		if s.roomy() {
			break
		}
		s.mu.Unlock()
		select {
		case <-s.space:
		case <-l.gone:
			return errReplaced
		}
		s.mu.Lock()
	}
	for _, m := range batch {
		s.in.add(m)
	}
	s.mu.Unlock()
	signal(s.news)
	return nil
}
