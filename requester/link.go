package requester

import (
	"context"
	"log/slog"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/p2p"
	"github.com/hpips/hpips/spec/lease"
)

// Session is the requester's end of the message log between two nodes; *p2p.Session is one.
type Session interface {
	Send(ctx context.Context, msg []byte) error
	Receive(ctx context.Context) (p2p.Message, error)
	Ack(seq uint64)
	Close()
}

// delivery is what a link brings to one lease: a message, or an event of the session. done is called once it is processed for good.
type delivery struct {
	lease string
	msg   lease.Message
	event p2p.Event
	done  func()
}

// lane is where a link puts what belongs to one lease.
type lane struct {
	to   chan<- delivery
	gone <-chan struct{} // closed when nobody reads to any more
}

// link reads the session with one provider and sorts its messages by lease. Messages are acknowledged in order, each only after it and
// all before it are processed for good; what belongs to no lease is acknowledged at once.
type link struct {
	log     *slog.Logger
	peer    peer.ID
	session Session

	mu    sync.Mutex
	lanes map[string]lane
	up    bool

	ackMu   sync.Mutex
	next    uint64              // the first message that is not processed; 0 before any
	settled map[uint64]struct{} // processed ones after it
}

func newLink(log *slog.Logger, p peer.ID, s Session) *link {
	return &link{log: log, peer: p, session: s, lanes: map[string]lane{}, settled: map[uint64]struct{}{}}
}

// serve reads until the session is closed or ctx ends, beginning when ready is closed.
func (l *link) serve(ctx context.Context, ready <-chan struct{}) {
	select {
	case <-ready:
	case <-ctx.Done():
		return
	}
	for {
		m, err := l.session.Receive(ctx)
		if err != nil {
			return
		}
		if m.Event != p2p.EventNone {
			l.tell(ctx, m.Event)
			continue
		}
		l.began(m.Seq)
		done := func() { l.settle(m.Seq) }
		msg, err := lease.DecodeMessage(m.Data)
		if err != nil {
			l.log.Warn("Message from provider is not one", "peer", l.peer, "err", err)
			done()
			continue
		}
		l.put(ctx, delivery{lease: msg.Lease, msg: msg, done: done})
	}
}

// tell passes an event to every lease of the link.
func (l *link) tell(ctx context.Context, e p2p.Event) {
	l.mu.Lock()
	if e != p2p.EventRestarted {
		l.up = e == p2p.EventUp
	}
	ids := make([]string, 0, len(l.lanes))
	for id := range l.lanes {
		ids = append(ids, id)
	}
	l.mu.Unlock()
	for _, id := range ids {
		l.put(ctx, delivery{lease: id, event: e, done: func() {}})
	}
}

func (l *link) put(ctx context.Context, d delivery) {
	l.mu.Lock()
	to, ok := l.lanes[d.lease]
	l.mu.Unlock()
	if !ok {
		d.done()
		return
	}
	select {
	case to.to <- d:
	case <-to.gone:
		d.done()
	case <-ctx.Done():
	}
}

// began notes the first sequence number of the session.
func (l *link) began(seq uint64) {
	l.ackMu.Lock()
	defer l.ackMu.Unlock()
	if l.next == 0 {
		l.next = seq
	}
}

// settle notes that message seq is processed. It may be repeated.
func (l *link) settle(seq uint64) {
	l.ackMu.Lock()
	defer l.ackMu.Unlock()
	if seq < l.next {
		return
	}
	l.settled[seq] = struct{}{}
	from := l.next
	for {
		if _, ok := l.settled[l.next]; !ok {
			break
		}
		delete(l.settled, l.next)
		l.next++
	}
	if l.next > from {
		l.session.Ack(l.next - 1)
	}
}

// join makes a lease's messages go to a lane. It reports whether the session is up now.
func (l *link) join(id string, to lane) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lanes[id] = to
	return l.up
}

func (l *link) leave(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.lanes, id)
}

func (l *link) idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.lanes) == 0
}

func (l *link) send(ctx context.Context, m lease.Message) error {
	b, err := m.Encode()
	if err != nil {
		return err
	}
	return l.session.Send(ctx, b)
}
