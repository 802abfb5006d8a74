package p2p

import (
	"context"
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p/core/peer"
)

// serveWire answers a stream that a peer has opened, and reads it to its end.
func (a *Sessions) serveWire(from peer.ID, w wire) {
	ctx, ok := a.begin()
	if !ok {
		_ = w.Reset()
		return
	}
	defer a.wg.Done()
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Handshake)
	stop := context.AfterFunc(ctx, func() { _ = w.Reset() })
	l := &link{w: w, r: newFrameReader(w, a.cfg.Silence), gone: make(chan struct{})}
	s, frame, err := a.welcome(from, l)
	if err != nil && frame != 0 {
		_, _ = w.Write(appendText(nil, frame, err.Error()))
		_ = w.Close()
	}
	stop()
	cancel()
	switch {
	case err == nil:
		s.follow(l)
	default:
		a.log.Debug("session stream refused", "peer", from, "error", err)
		if frame == 0 {
			_ = w.Reset()
		}
	}
}

// begin counts one more stream being served, while Serve runs.
func (a *Sessions) begin() (context.Context, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ctx == nil || a.over {
		return nil, false
	}
	a.wg.Add(1)
	return a.ctx, true
}

// welcome reads the hello of a stream that a peer dialled and puts the stream to use. An error goes to the peer in the
// frame of the given kind, if any.
func (a *Sessions) welcome(from peer.ID, l *link) (*Session, byte, error) {
	kind, _, body, err := l.r.next()
	if err != nil {
		return nil, 0, err
	}
	if kind != frameHello {
		return nil, 0, fmt.Errorf("%w: kind %d instead of a hello", errFrame, kind)
	}
	h, err := parseHello(body)
	if err != nil {
		return nil, frameRefuse, err
	}
	s, err := a.find(from, h)
	if errors.Is(err, errPeerBye) {
		return nil, frameBye, err
	}
	if err == nil {
		err = s.takeOffered(l, h)
	}
	return s, frameRefuse, err
}

// find is the session that a hello is about; for an opener's hello it may be a new one.
func (a *Sessions) find(from peer.ID, h hello) (*Session, error) {
	key := sessionKey{peer: from, name: h.Name, opener: !h.Opener}
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.open[key]; s != nil {
		return s, nil
	}
	if self, ok := a.closed[key]; ok && self == h.Known {
		return nil, errPeerBye
	}
	fn := a.accept[h.Name]
	switch {
	case !h.Opener || fn == nil || a.over:
		return nil, errors.New("no such session here")
	case a.accepted >= a.cfg.MaxAccepted:
		return nil, errors.New("too many sessions here, try again later")
	}
	s := newSession(a, key, incarnation())
	a.add(s)
	a.wg.Go(func() { fn(s) })
	return s, nil
}

// takeOffered puts a stream that the peer dialled to use, if it is the one that shall live.
func (s *Session) takeOffered(l *link, h hello) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	err := settle(standing{opener: s.key.opener, lower: s.lower(), attached: s.link != nil, last: s.last, peer: s.peer,
		dialling: s.dial != nil && s.dial.sent, refused: s.dial != nil && s.dial.refused}, h)
	if err != nil {
		if s.dial != nil {
			s.dial.refused = true
		}
		return err
	}
	l.id = linkID{Opener: h.Opener, N: h.Dial}
	if err := s.attach(l, h); err != nil {
		return err
	}
	b, err := encode(s.hello())
	if err != nil {
		s.unlink(l, err)
		return err
	}
	l.greeting = append(appendHead(nil, frameHello, len(b)), b...)
	l.ackSent = s.in.acked
	return nil
}
