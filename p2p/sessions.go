package p2p

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// SessionConfig holds the times and sizes of sessions; a field left zero takes its value from DefaultSessions.
type SessionConfig struct {
	Window       int           // bytes a session may have unacked before Send blocks, messages counted with 64 extra
	Unread       int           // messages that may wait for Receive before the peer is stopped
	UnreadBytes  int           // bytes of them
	AckDelay     time.Duration // how long an ack may wait for company
	Ping         time.Duration // an idle link says something this often
	Silence      time.Duration // a link that says nothing for this long is lost
	Handshake    time.Duration // for a dial to come to a link
	BackoffFirst time.Duration // between dials that fail, doubling …
	BackoffLast  time.Duration // … up to this
	MaxAccepted  int           // sessions that peers may hold open here
}

// DefaultSessions is the configuration between computers of different owners.
func DefaultSessions() SessionConfig {
	return SessionConfig{
		Window:       16 << 20,
		Unread:       4096,
		UnreadBytes:  16 << 20,
		AckDelay:     20 * time.Millisecond,
		Ping:         2 * time.Second,
		Silence:      6 * time.Second,
		Handshake:    4 * time.Second,
		BackoffFirst: 100 * time.Millisecond,
		BackoffLast:  5 * time.Second,
		MaxAccepted:  1024,
	}
}

func (c SessionConfig) orDefault() SessionConfig {
	d := DefaultSessions()
	return SessionConfig{
		Window:       cmp.Or(c.Window, d.Window),
		Unread:       cmp.Or(c.Unread, d.Unread),
		UnreadBytes:  cmp.Or(c.UnreadBytes, d.UnreadBytes),
		AckDelay:     cmp.Or(c.AckDelay, d.AckDelay),
		Ping:         cmp.Or(c.Ping, d.Ping),
		Silence:      cmp.Or(c.Silence, d.Silence),
		Handshake:    cmp.Or(c.Handshake, d.Handshake),
		BackoffFirst: cmp.Or(c.BackoffFirst, d.BackoffFirst),
		BackoffLast:  cmp.Or(c.BackoffLast, d.BackoffLast),
		MaxAccepted:  cmp.Or(c.MaxAccepted, d.MaxAccepted),
	}
}

// maxClosed is how many closed sessions are remembered, to tell peers that were away when they closed.
const maxClosed = 1024

// carrier is what sessions need of the network.
type carrier interface {
	ID() peer.ID
	openWire(ctx context.Context, to peer.ID) (wire, error)
	serveWires(serve func(from peer.ID, w wire), near func(peer.ID)) // nil, nil stops both
	hold(p peer.ID, on bool)                                         // keep the connection to p when there are too many
	hangUp(p peer.ID)                                                // the connections to p carry nothing any more
}

// Sessions are all sessions of this node, opened by it or by peers.
type Sessions struct {
	log     *slog.Logger
	cfg     SessionConfig
	net     carrier
	writers sync.Pool // *bufio.Writer, held by links in use

	mu       sync.Mutex
	accept   map[string]func(*Session)
	open     map[sessionKey]*Session
	closed   map[sessionKey]uint64 // incarnations of sessions closed here
	order    []sessionKey          // of closed, oldest first
	accepted int
	ctx      context.Context // of Serve while it runs
	over     bool
	wg       sync.WaitGroup
}

// NewSessions prepares the sessions of a host, one Sessions per host. Nothing is dialled or accepted before Serve.
func NewSessions(log *slog.Logger, host *Host, cfg SessionConfig) *Sessions {
	return newSessions(log, host, cfg)
}

func newSessions(log *slog.Logger, net carrier, cfg SessionConfig) *Sessions {
	return &Sessions{
		log: log, cfg: cfg.orDefault(), net: net,
		writers: sync.Pool{New: func() any { return bufio.NewWriterSize(io.Discard, 64<<10) }},
		accept:  map[string]func(*Session){},
		open:    map[sessionKey]*Session{},
		closed:  map[sessionKey]uint64{},
	}
}

// Accept lets peers open sessions of this name. For each new one fn runs once, in its own goroutine, and may stay for as
// long as the session lives; Serve waits for it. Register before Serve.
func (a *Sessions) Accept(name string, fn func(*Session)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.accept[name] = fn
}

// Open gets the session of this name with a peer, opened by this node, or creates it. It does not wait for the peer:
// EventUp comes when it is there. The name is 1 to 32 lower-case letters, digits and inner dashes. A session with this
// node itself runs over a pipe. After Serve has ended, the session is a closed one.
func (a *Sessions) Open(to peer.ID, name string) *Session {
	key := sessionKey{peer: to, name: name, opener: true}
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.open[key]; s != nil {
		return s
	}
	s := newSession(a, key, incarnation())
	if a.over {
		s.closed = true
		close(s.done)
		return s
	}
	a.add(s)
	return s
}

// add enters a session and starts its keeper if Serve runs. Needs a.mu.
func (a *Sessions) add(s *Session) {
	a.open[s.key] = s
	if !s.key.opener {
		a.accepted++
	}
	a.net.hold(s.key.peer, true)
	if a.ctx != nil {
		ctx := a.ctx
		a.wg.Go(func() { s.keep(ctx) })
	}
}

// All tells how every session stands, ordered by peer and name.
func (a *Sessions) All() []State {
	a.mu.Lock()
	open := make([]*Session, 0, len(a.open))
	for _, s := range a.open {
		open = append(open, s)
	}
	a.mu.Unlock()
	out := make([]State, len(open))
	for i, s := range open {
		out[i] = s.State()
	}
	slices.SortFunc(out, func(x, y State) int {
		return cmp.Or(cmp.Compare(x.Peer, y.Peer), cmp.Compare(x.Name, y.Name))
	})
	return out
}

// Serve runs the sessions until ctx ends. Peers are not told, so that they hold on until this node's process is back;
// the sessions' methods return ErrClosed from then on. Call it once.
func (a *Sessions) Serve(ctx context.Context) error {
	// What serves the sessions ends after they are closed, so that nobody takes the end for a lost link.
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	a.mu.Lock()
	if a.ctx != nil || a.over {
		a.mu.Unlock()
		return errors.New("sessions: served already")
	}
	a.ctx = inner
	for _, s := range a.open {
		a.wg.Go(func() { s.keep(inner) })
	}
	a.mu.Unlock()
	a.net.serveWires(a.serveWire, a.kick)
	<-ctx.Done()
	a.net.serveWires(nil, nil)
	a.mu.Lock()
	a.over = true
	left := make([]*Session, 0, len(a.open))
	for _, s := range a.open {
		left = append(left, s)
	}
	a.mu.Unlock()
	for _, s := range left {
		s.end(false, "this node stopped")
	}
	cancel()
	a.wg.Wait()
	return ctx.Err()
}

// kick makes the sessions with a peer that is reachable now dial at once.
func (a *Sessions) kick(p peer.ID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for key, s := range a.open {
		if key.peer == p {
			signal(s.kick)
		}
	}
}

// forget takes out a closed session; with remember its peer is told when it comes back.
func (a *Sessions) forget(s *Session, remember bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open[s.key] != s {
		return
	}
	delete(a.open, s.key)
	if !s.key.opener {
		a.accepted--
	}
	held := false
	for key := range a.open {
		held = held || key.peer == s.key.peer
	}
	a.net.hold(s.key.peer, held)
	if !remember {
		return
	}
	if _, again := a.closed[s.key]; !again {
		a.order = append(a.order, s.key)
	}
	a.closed[s.key] = s.self
	if len(a.order) > maxClosed {
		delete(a.closed, a.order[0])
		a.order = slices.Delete(a.order, 0, 1)
	}
}

// incarnation is a random number that no other life of a session has; not 0, which means none.
func incarnation() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint64(b[:]) | 1
}
