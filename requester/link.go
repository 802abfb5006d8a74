package requester

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/p2p"
	"github.com/hpips/hpips/spec/lease"
)

// Session is the requester's end of the message log between two nodes; *p2p.Session is one.
type Session interface {
	Send(ctx context.Context, msg []byte) error
	Receive(ctx context.Context) (p2p.Message, error)
	Ack(seq uint64)
	Unacked() int // messages that the other side has not processed for good
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

// link is the session with one provider: a reader that sorts its messages by lease, and a writer that sends what waits, so that a provider
// that takes nothing holds up only itself. Messages are acknowledged in order, each only after it and all before it are processed for good;
// what belongs to no lease is acknowledged at once.
type link struct {
	log     *slog.Logger
	peer    peer.ID
	session Session
	unused  time.Time // since when no lease is on it, as far as sweeps saw; needs Requester.mu

	mu     sync.Mutex
	lanes  map[string]lane
	up     bool
	closed bool
	queue  [][]byte          // what waits for the session
	queued int               // bytes in queue
	calls  []chan<- struct{} // to be signalled when the queue is short again
	wake   chan struct{}

	ackMu sync.Mutex
	next  uint64            // the first message that is not processed; 0 before any
	owed  map[uint64]string // messages that are not processed, and their leases
	last  uint64            // message that came
}

// longQueue is how many bytes may wait for a session before it is full.
const longQueue = 1 << 20

func newLink(log *slog.Logger, p peer.ID, s Session) *link {
	return &link{log: log, peer: p, session: s, lanes: map[string]lane{}, wake: make(chan struct{}, 1), owed: map[uint64]string{}}
}

// serve reads until the session is closed or ctx ends, beginning when ready is closed. A session that is closed is a provider that is down.
func (l *link) serve(ctx context.Context, ready <-chan struct{}) {
	select {
	case <-ready:
	case <-ctx.Done():
		return
	}
	for {
		m, err := l.session.Receive(ctx)
		if err != nil {
			l.end()
			l.tell(ctx, p2p.EventDown)
			return
		}
		if m.Event != p2p.EventNone {
			l.tell(ctx, m.Event)
			continue
		}
		msg, err := lease.DecodeMessage(m.Data)
		if err != nil {
			l.log.Warn("Message from provider is not one", "peer", l.peer, "err", err)
		}
		l.began(m.Seq, msg.Lease)
		done := func() { l.settle(m.Seq) }
		if err != nil {
			done()
			continue
		}
		l.put(ctx, delivery{lease: msg.Lease, msg: msg, done: done})
	}
}

// write sends what waits until the session is closed or ctx ends.
func (l *link) write(ctx context.Context) {
	for {
		l.mu.Lock()
		closed := l.closed
		var next []byte
		if len(l.queue) > 0 {
			next, l.queue[0] = l.queue[0], nil
			l.queue = l.queue[1:]
		}
		l.mu.Unlock()
		switch {
		case closed:
			return
		case next == nil:
			select {
			case <-l.wake:
			case <-ctx.Done():
				return
			}
			continue
		}
		if err := l.session.Send(ctx, next); err != nil {
			l.end()
			return
		}
		l.mu.Lock()
		l.queued -= len(next)
		l.call()
		l.mu.Unlock()
	}
}

// end notes that nothing more can be sent.
func (l *link) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed, l.queue, l.queued = true, nil, 0
	l.call()
	signal(l.wake)
}

// call tells those that wait for a short queue, if it is one. Needs l.mu.
func (l *link) call() {
	if l.queued < longQueue {
		for _, c := range l.calls {
			signal(c)
		}
		l.calls = nil
	}
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
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

// began notes message seq of a lease.
func (l *link) began(seq uint64, lease string) {
	l.ackMu.Lock()
	defer l.ackMu.Unlock()
	if l.next == 0 {
		l.next = seq
	}
	l.last, l.owed[seq] = seq, lease
}

// settle notes that messages are processed. It may be repeated.
func (l *link) settle(seqs ...uint64) {
	l.ackMu.Lock()
	defer l.ackMu.Unlock()
	if l.next == 0 {
		return
	}
	for _, seq := range seqs {
		delete(l.owed, seq)
	}
	from := l.next
	for ; l.next <= l.last; l.next++ {
		if _, owed := l.owed[l.next]; owed {
			break
		}
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

// leave ends a lane. Whatever came for its lease is processed by that: nobody else would.
func (l *link) leave(id string) {
	l.mu.Lock()
	delete(l.lanes, id)
	l.mu.Unlock()
	l.ackMu.Lock()
	var seqs []uint64
	for seq, of := range l.owed {
		if of == id {
			seqs = append(seqs, seq)
		}
	}
	l.ackMu.Unlock()
	l.settle(seqs...)
}

func (l *link) idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.lanes) == 0
}

// over reports whether nothing more can be sent.
func (l *link) over() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// send queues a message. It never waits; who has much to send asks full before.
func (l *link) send(m lease.Message) error {
	b, err := m.Encode()
	if err != nil {
		return err
	}
	if len(b) > lease.MaxMessage {
		return fmt.Errorf("message of %d bytes, at most %d", len(b), lease.MaxMessage)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return p2p.ErrClosed
	}
	l.queue = append(l.queue, b)
	l.queued += len(b)
	signal(l.wake)
	return nil
}

// full reports whether enough waits for the session. If so, call is signalled once that has changed.
func (l *link) full(call chan<- struct{}) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.queued < longQueue {
		return false
	}
	if !slices.Contains(l.calls, call) {
		l.calls = append(l.calls, call)
	}
	return true
}
