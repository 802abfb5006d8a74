package p2p

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// ErrClosed ends a session's methods after Close, after the peer's Close, and when Sessions has stopped.
var ErrClosed = errors.New("session closed")

// Session is an ordered log of messages in each direction between two nodes, which outlives its connections.
//
// A message is kept by its sender until the receiver acks it. After a lost link both sides continue where they were:
// each message arrives once and in order. When the peer's process has restarted, Receive yields EventRestarted and the
// unacked messages are sent to the new process; what the old one had received but not acked arrives there again.
// All methods may be called from several goroutines, but messages are in order only for one that calls Receive. A node
// that sends and receives in one goroutine may wait for itself: Send can block until the peer's Receive and Ack.
type Session struct {
	all  *Sessions
	log  *slog.Logger
	key  sessionKey
	self uint64 // this side's incarnation

	wake  chan struct{} // the keeper has something to do
	news  chan struct{} // the inbox has something
	space chan struct{} // the inbox has room again
	kick  chan struct{} // the peer may be reachable now
	done  chan struct{} // closed with closed

	mu        sync.Mutex
	peer      uint64 // the peer's incarnation, 0 until met
	out       outlog
	in        inbox
	link      *link  // in use, or nil
	last      linkID // of the link in use or the last one
	since     time.Time
	links     uint64
	dials     uint64
	dial      *dial // under way, or nil
	room      chan struct{}
	ackArmed  bool // the writer knows that an ack waits
	closed    bool
	bye       bool // tell the peer
	lastError string
}

// sessionKey names a session: with whom, what about, and who opened it.
type sessionKey struct {
	peer   peer.ID
	name   string
	opener bool // this node is the opener
}

// State is how a session stands, for people and tests.
type State struct {
	Peer    peer.ID
	Name    string
	Opener  bool // opened by this node
	Up      bool
	Since   time.Time // of the last change between up and down
	Links   uint64    // streams used so far
	Unacked int       // messages that the peer has not processed for good
	Unread  int       // messages that Receive has not yielded
	Error   string    // why the last link ended or the last dial failed
}

func newSession(all *Sessions, key sessionKey, incarnation uint64) *Session {
	return &Session{
		all: all, key: key, self: incarnation,
		log:   all.log.With("session", key.name, "peer", key.peer),
		wake:  make(chan struct{}, 1),
		news:  make(chan struct{}, 1),
		space: make(chan struct{}, 1),
		kick:  make(chan struct{}, 1),
		done:  make(chan struct{}),
		out:   newOutlog(),
		since: time.Now(),
	}
}

// Peer is the node at the other end.
func (s *Session) Peer() peer.ID { return s.key.peer }

// Name is what the opener named the session.
func (s *Session) Name() string { return s.key.name }

// Send queues msg, at most MaxMessage bytes, which the session keeps: the caller must not change it afterwards. It blocks
// while as many bytes as the window are unacked, and returns ErrClosed after Close. A nil error means that the message
// will reach the peer's process or its successors unless the session is closed first.
func (s *Session) Send(ctx context.Context, msg []byte) error {
	if len(msg) > MaxMessage {
		return fmt.Errorf("session send: %s", tooLarge(len(msg), MaxMessage))
	}
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return ErrClosed
		}
		if s.out.bytes == 0 || s.out.bytes+len(msg)+entryCost <= s.all.cfg.Window {
			s.out.add(msg)
			s.mu.Unlock()
			signal(s.wake)
			return nil
		}
		if s.room == nil {
			s.room = make(chan struct{})
		}
		room := s.room
		s.mu.Unlock()
		select {
		case <-room:
		case <-s.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Receive yields the next message or event and waits for it. Messages that arrived before the peer closed the session
// are still yielded; after them, and at once after this side's Close, it returns ErrClosed.
func (s *Session) Receive(ctx context.Context) (Message, error) {
	for {
		s.mu.Lock()
		m, ok := s.in.take()
		roomy := ok && s.roomy()
		more := s.in.head < len(s.in.q)
		closed := s.closed
		s.mu.Unlock()
		switch {
		case ok:
			if roomy {
				signal(s.space)
			}
			if more {
				signal(s.news)
			}
			return m, nil
		case closed:
			return Message{}, ErrClosed
		}
		select {
		case <-s.news:
		case <-s.done:
		case <-ctx.Done():
			return Message{}, ctx.Err()
		}
	}
}

// roomy tells whether the inbox may take more. Needs s.mu.
func (s *Session) roomy() bool {
	return s.in.unread <= s.all.cfg.Unread && s.in.bytes <= s.all.cfg.UnreadBytes
}

// Ack tells the peer that every message up to seq is processed for good, so that it may forget them. It does not block;
// the word travels within SessionConfig.AckDelay.
func (s *Session) Ack(seq uint64) {
	s.mu.Lock()
	wake := s.in.ack(seq) && !s.ackArmed
	s.ackArmed = s.ackArmed || wake
	s.mu.Unlock()
	if wake {
		signal(s.wake)
	}
}

// Unacked is how many sent messages the peer has not processed for good.
func (s *Session) Unacked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.len()
}

// State tells how the session stands.
func (s *Session) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return State{
		Peer: s.key.peer, Name: s.key.name, Opener: s.key.opener,
		Up: s.link != nil, Since: s.since, Links: s.links,
		Unacked: s.out.len(), Unread: s.in.unread, Error: s.lastError,
	}
}

// Close ends the session on both sides: at once here, and there after the messages already sent, when a link is there or
// comes again soon. Messages that the peer has not received may be lost. It may be called again.
func (s *Session) Close() { s.end(true, "closed here") }

// end closes the session; with bye the peer is told.
func (s *Session) end(bye bool, why string) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed, s.bye, s.lastError = true, bye, why
	if bye {
		s.in = inbox{}
	}
	if s.dial != nil {
		s.dial.cancel()
	}
	if s.link != nil && bye {
		_ = s.link.w.SetWriteDeadline(time.Now().Add(byeTime))
	} else if s.link != nil {
		s.link.drop()
	}
	met := s.peer != 0
	s.mu.Unlock()
	close(s.done)
	signal(s.wake)
	signal(s.space)
	s.all.forget(s, bye && met)
}

// byeTime is how long a closing session may take to send what is queued, and its bye.
const byeTime = time.Second

// signal wakes one waiter, now or when it comes next.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
