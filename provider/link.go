package provider

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/hpips/hpips/p2p"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
)

// errGone ends what waits for a link that is no more.
var errGone = errors.New("session is closed")

// The bounds of what waits for a session, in bytes and pieces.
const (
	congested = 1 << 20 // no further batch is started for a tenant behind this
	jammed    = 4 << 20 // streaming tasks wait behind this, and batches give back what they have not started
	maxNotes  = 1024
)

// link is one session: a reader that takes messages, and a writer that sends what waits in queue, in order. Nobody but the writer ever waits for the
// session, so a requester that takes nothing holds up only itself.
type link struct {
	p       *Provider
	session Session
	queued  atomic.Int64 // bytes in queue
	since   atomic.Int64 // Unix milliseconds when the writer began to wait for the session; 0 when it does not

	mu      sync.Mutex
	queue   []parcel
	notes   map[note]bool // in queue
	wake    chan struct{}
	drained chan struct{} // closed when the queue has become shorter
	closed  bool

	// of the writer, and of settle; need mu
	count    uint64 // messages sent
	receipts []receipt

	down time.Time // since when the session is down; zero while it is up; needs Provider.mu
}

// parcel is one message to send.
type parcel struct {
	msg     []byte // nil: the note is written when its turn comes
	note    note
	t       *tenant
	tasks   []*task      // that msg answers
	results []job.Result // of tasks
	keep    keep
}

// note is a short message that tells how things stand when it is sent; the same one never waits twice.
type note struct {
	lease   string
	what    topic
	refusal lease.Refused
}

type topic uint8

const (
	heldNote topic = iota + 1
	creditNote
	refusedNote
	takenNote
	comingNote
)

// keep is content that is pinned until the requester has taken the message that names it.
type keep struct {
	root  cid.Cid // undefined: none
	bytes int64
}

// receipt waits for a message to be acknowledged.
type receipt struct {
	number uint64
	keep   keep
}

func (p *Provider) join(s Session) *link {
	l := &link{p: p, session: s, notes: map[note]bool{}, wake: make(chan struct{}, 1), drained: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.links[l] = struct{}{}
	return l
}

// serve reads until the session is closed or ctx ends. A message counts as processed once it is taken in: after a restart of this process the
// requester learns from Held what has to be sent again.
func (l *link) serve(ctx context.Context) {
	defer l.leave()
	for {
		m, err := l.session.Receive(ctx)
		if err != nil {
			return
		}
		switch m.Event {
		case p2p.EventUp:
			l.p.present(l)
		case p2p.EventDown:
			l.p.absent(l, false)
		case p2p.EventRestarted:
			l.p.absent(l, true)
		case p2p.EventNone:
			if err := l.p.take(ctx, l, m.Data); err != nil {
				l.p.log.Warn("Requester sent what is not a message; its session is closed", "peer", l.session.Peer(), "err", err)
				l.session.Close()
				return
			}
			l.session.Ack(m.Seq)
		}
	}
}

// leave ends the link: what waits for it is dropped, and its tenants are without a requester.
func (l *link) leave() {
	l.mu.Lock()
	l.closed = true
	queue, receipts := l.queue, l.receipts
	l.queue, l.receipts = nil, nil
	close(l.drained)
	l.mu.Unlock()
	l.poke()
	for _, parcel := range queue {
		l.p.letGo(parcel.keep)
	}
	for _, r := range receipts {
		l.p.letGo(r.keep)
	}
	l.p.gone(l)
}

func (l *link) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// put queues a message; with patient it waits while the queue is jammed.
func (l *link) put(ctx context.Context, m parcel, patient bool) error {
	for {
		l.mu.Lock()
		if l.closed {
			l.mu.Unlock()
			return errGone
		}
		if !patient || l.queued.Load() < jammed {
			l.queue = append(l.queue, m)
			l.queued.Add(int64(len(m.msg)))
			l.mu.Unlock()
			l.poke()
			return nil
		}
		drained := l.drained
		l.mu.Unlock()
		select {
		case <-drained:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tell queues a note. It never waits; a flood of different notes is cut off.
func (l *link) tell(n note) {
	l.mu.Lock()
	if !l.closed && !l.notes[n] && len(l.notes) < maxNotes {
		l.notes[n] = true
		l.queue = append(l.queue, parcel{note: n})
	}
	l.mu.Unlock()
	l.poke()
}

func (l *link) refuse(id string, r lease.Refused) {
	l.tell(note{lease: id, what: refusedNote, refusal: r})
}

// write sends what is queued until the link is left or ctx ends.
func (l *link) write(ctx context.Context) {
	for {
		m, ok := l.next(ctx)
		if !ok {
			return
		}
		if m.msg == nil {
			if m.msg = l.p.compose(m.note); m.msg == nil {
				continue
			}
		}
		l.p.handOver(m)
		l.since.Store(time.Now().UnixMilli())
		err := l.session.Send(ctx, m.msg)
		l.since.Store(0)
		if err != nil {
			l.p.lost(m)
			l.p.letGo(m.keep)
			return
		}
		l.p.answered(m)
		l.sent(m.keep)
	}
}

// sent counts a message that the session has taken over.
func (l *link) sent(k keep) {
	l.mu.Lock()
	closed := l.closed
	l.count++
	if !closed && k.root.Defined() {
		l.receipts = append(l.receipts, receipt{l.count, k})
	}
	l.mu.Unlock()
	if closed {
		l.p.letGo(k)
	}
}

func (l *link) next(ctx context.Context) (parcel, bool) {
	for {
		l.mu.Lock()
		if len(l.queue) > 0 {
			m := l.queue[0]
			l.queue[0] = parcel{}
			l.queue = l.queue[1:]
			delete(l.notes, m.note)
			after := l.queued.Add(-int64(len(m.msg)))
			before := after + int64(len(m.msg))
			if before >= jammed && after < jammed {
				close(l.drained)
				l.drained = make(chan struct{})
			}
			l.mu.Unlock()
			if before >= congested && after < congested {
				l.p.uncongested()
			}
			return m, true
		}
		closed := l.closed
		l.mu.Unlock()
		if closed {
			return parcel{}, false
		}
		select {
		case <-l.wake:
		case <-ctx.Done():
			return parcel{}, false
		}
	}
}

// settle lets go of content whose messages the requester has processed for good.
func (l *link) settle() {
	l.mu.Lock()
	// Unacked is read first: a message that is sent in between makes fewer count as processed, not more.
	done := int64(l.count) - int64(l.session.Unacked())
	var free []keep
	for len(l.receipts) > 0 && int64(l.receipts[0].number) <= done {
		free = append(free, l.receipts[0].keep)
		l.receipts = l.receipts[1:]
	}
	l.mu.Unlock()
	for _, k := range free {
		l.p.letGo(k)
	}
}
