package p2p

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// dial is one attempt of this side to get a stream.
type dial struct {
	cancel  context.CancelFunc
	link    *link // once there is a stream
	sent    bool  // the hello is out
	refused bool  // a dial of the peer was refused because of this one
}

// keep is the one goroutine of a session beside the reader of its stream. It dials while there is no stream, and
// writes while there is one.
func (s *Session) keep(ctx context.Context) {
	tries, mute := 0, 0
	for {
		l, closed := s.current()
		if l != nil {
			s.detach(l, cmpErr(s.write(ctx, l), ErrClosed))
			if mute = 0; time.Since(l.born) >= s.all.cfg.BackoffFirst {
				tries = 0 // a link that lived deserves a dial at once, one that did not a pause
			}
			continue
		}
		if closed || ctx.Err() != nil {
			return
		}
		kicked, ok := s.rest(ctx, tries)
		if !ok {
			continue
		}
		if kicked {
			tries = 0
		}
		tries++
		err := s.redial(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			// Twice no answer at all: the connection is dead and does not know it. A new one is made for the next dial.
			if mute++; mute%2 == 0 {
				s.all.net.hangUp(s.key.peer)
			}
		}
	}
}

func (s *Session) current() (*link, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.link, s.closed
}

// rest waits until it is time to dial; !ok means that there is something else to do. The higher of the two peer IDs
// waits a little before its first dial, so that both do not dial at the same moment each time a link is lost.
func (s *Session) rest(ctx context.Context, tries int) (kicked, ok bool) {
	var d time.Duration
	if tries > 0 {
		d = jitter(backoff(s.all.cfg.BackoffFirst, s.all.cfg.BackoffLast, tries-1))
	} else if !s.lower() {
		d = jitter(s.all.cfg.BackoffFirst / 2)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	due := t.C
	if s.key.peer == s.all.net.ID() && !s.key.opener {
		due = nil // the opener is in this process and dials
	}
	for {
		if l, closed := s.current(); l != nil || closed {
			return false, false
		}
		select {
		case <-due:
			return kicked, true
		case <-s.kick:
			if !kicked {
				kicked = true
				t.Reset(min(d, rand.N(s.all.cfg.BackoffFirst/4+1)))
			}
		case <-s.wake:
		case <-ctx.Done():
			return false, false
		}
	}
}

// lower tells whether this side's streams win over those that the peer dials at the same moment.
func (s *Session) lower() bool {
	if self := s.all.net.ID(); s.key.peer != self {
		return self < s.key.peer
	}
	return s.key.opener
}

// hello is what this side says at the beginning of a stream. Needs s.mu.
func (s *Session) hello() hello {
	return hello{Version: sessionVersion, Name: s.key.name, Opener: s.key.opener, Self: s.self,
		Known: s.peer, Received: s.in.received, Acked: s.in.acked, Last: s.last}
}

// redial makes one attempt. Where the peer's own dial comes first, it is given up.
func (s *Session) redial(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.all.cfg.Handshake)
	defer cancel()
	d := &dial{cancel: cancel}
	s.mu.Lock()
	if s.link != nil || s.closed {
		s.mu.Unlock()
		return nil
	}
	s.dials++
	id := linkID{Opener: s.key.opener, N: s.dials}
	s.dial = d
	s.mu.Unlock()
	err := s.greet(ctx, d, id)
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dial == d {
		s.dial = nil
		if err != nil {
			s.lastError = printable(err.Error(), maxReason)
		}
	}
	return err
}

// greet opens a stream, exchanges hellos, and puts the stream to use.
func (s *Session) greet(ctx context.Context, d *dial, id linkID) error {
	w, err := s.all.openWire(ctx, s.key.peer)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = w.Reset() })
	l := &link{w: w, r: newFrameReader(w, s.all.cfg.Silence), id: id, gone: make(chan struct{})}
	s.mu.Lock()
	mine := s.hello()
	mine.Dial = id.N
	d.link, d.sent, l.ackSent = l, true, mine.Acked
	s.mu.Unlock()
	h, err := shakeHands(l, mine)
	if !stop() {
		err = cmpErr(err, ctx.Err())
	}
	if err == nil {
		err = s.takeDialled(l, d, h)
	}
	if err != nil {
		l.drop()
		if errors.Is(err, errPeerBye) {
			s.end(false, err.Error())
		}
		return err
	}
	s.all.wg.Go(func() { s.follow(l) })
	return nil
}

// shakeHands writes the hello and reads the peer's.
func shakeHands(l *link, mine hello) (hello, error) {
	b, err := encode(mine)
	if err != nil {
		return hello{}, err
	}
	if _, err := l.w.Write(append(appendHead(nil, frameHello, len(b)), b...)); err != nil {
		return hello{}, err
	}
	kind, _, body, err := l.r.next()
	switch {
	case err != nil:
		return hello{}, noEOF(err)
	case kind == frameBye:
		return hello{}, errPeerBye
	case kind == frameRefuse:
		return hello{}, fmt.Errorf("refused by the peer: %s", printable(string(body), maxReason))
	case kind != frameHello:
		return hello{}, fmt.Errorf("%w: kind %d instead of a hello", errFrame, kind)
	}
	h, err := parseHello(body)
	if err == nil && (h.Name != mine.Name || h.Opener == mine.Opener || h.Known != mine.Self) {
		err = errors.New("hello: answers another session")
	}
	return h, err
}

// takeDialled puts a stream that this side dialled to use, unless another has come first.
func (s *Session) takeDialled(l *link, d *dial, h hello) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return ErrClosed
	case s.dial != d || s.link != nil:
		return errReplaced
	}
	return s.attach(l, h)
}

// follow reads a stream to its end and takes it out of use.
func (s *Session) follow(l *link) {
	err := s.read(l)
	if errors.Is(err, errFrame) {
		s.log.Warn("peer broke the session's rules, link closed", "error", err)
	}
	if errors.Is(err, errPeerBye) {
		s.end(false, err.Error())
	}
	s.detach(l, err)
}

// openWire dials a peer, or this node itself by a pipe.
func (a *Sessions) openWire(ctx context.Context, to peer.ID) (wire, error) {
	if to != a.net.ID() {
		return a.net.openWire(ctx, to)
	}
	here, there := net.Pipe()
	a.wg.Go(func() { a.serveWire(to, pipe{there}) })
	return pipe{here}, nil
}

// pipe is a wire within this process.
type pipe struct{ net.Conn }

func (p pipe) Reset() error { return p.Close() }

func cmpErr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
