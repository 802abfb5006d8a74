package p2p

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"golang.org/x/time/rate"
)

// Throttle holds what goes over the network to rates, and counts it. One is for a whole machine: hosts and servers may share it.
type Throttle struct {
	up, down lane
	closed   atomic.Pointer[string]
}

// NewThrottle counts, and holds nothing back before Limit.
func NewThrottle() *Throttle {
	t := &Throttle{up: lane{limiter: rate.NewLimiter(rate.Inf, 0)}, down: lane{limiter: rate.NewLimiter(rate.Inf, 0)}}
	t.Close("")
	return t
}

// Limit sets the rates, in bytes a second; 0 is none. It may be called at any time, and again and again with the same.
func (t *Throttle) Limit(up, down float64) {
	t.up.limit(up)
	t.down.limit(down)
}

// Moved is how many bytes went out and came in so far: those of streams and of listeners, without what carries them (TLS, TCP, QUIC, IP: about a twentieth).
func (t *Throttle) Moved() (sent, received int64) { return t.up.moved.Load(), t.down.moved.Load() }

// Close says why nothing is to be given to others any more, "" that it is again. It stops no byte by itself: those who give ask Closed.
func (t *Throttle) Close(why string) { t.closed.Store(&why) }

// Closed is that; "" where things are given.
func (t *Throttle) Closed() string { return *t.closed.Load() }

// lane is one direction.
type lane struct {
	limiter *rate.Limiter
	moved   atomic.Int64
}

// The pieces in which bytes pass, so that all streams have their turns; and what passes before others: small messages, as long as the lane is not more than so long in arrears.
const (
	leastPiece = 4 << 10
	mostPiece  = 64 << 10
	small      = 4 << 10
	arrears    = 2 * time.Second
)

// limit sets a rate. What may pass at once is a tenth of a second's.
func (l *lane) limit(bytes float64) {
	want := rate.Inf
	if bytes > 0 {
		want = rate.Limit(bytes)
	}
	if l.limiter.Limit() == want {
		return
	}
	l.limiter.SetBurst(max(leastPiece, int(min(bytes/10, 1<<30))))
	l.limiter.SetLimit(want)
}

// piece is how much may pass at once now.
func (l *lane) piece() int {
	if l.limiter.Limit() == rate.Inf {
		return 1 << 30
	}
	return min(l.limiter.Burst(), mostPiece)
}

// pass counts n bytes, and is how long they have to wait. Those of a small message go first, and whoever comes after them waits longer.
func (l *lane) pass(n, of int) time.Duration {
	l.moved.Add(int64(n))
	now := time.Now()
	r := l.limiter.ReserveN(now, n)
	if !r.OK() { // the rate was lowered just now
		return 0
	}
	wait := r.DelayFrom(now)
	if of <= small {
		wait = max(0, wait-arrears)
	}
	return wait
}

// line is what carries bytes: a stream or a connection.
type line interface {
	Read(b []byte) (int, error)
	Write(b []byte) (int, error)
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
}

// paced is a line at the pace of a throttle. The time for which it waits for its turn counts for no deadline; a deadline that is over when it is set, and the line's end, end the wait.
type paced struct {
	t    *Throttle
	line line

	mu            sync.Mutex
	reads, writes direction
}

// direction is one of the two of a line.
type direction struct {
	by, set time.Time     // its deadline, and when that was set
	over    bool          // the line has ended in this direction
	stop    chan struct{} // closed to end the wait under way; nil where nobody waits
}

// done says that there is nothing to wait for any more.
func (w *direction) done(now time.Time) bool { return w.over || !w.by.IsZero() && !w.by.After(now) }

// wake ends the wait under way if there is nothing to wait for any more.
func (w *direction) wake(now time.Time) {
	if w.stop != nil && w.done(now) {
		close(w.stop)
		w.stop = nil
	}
}

func (p *paced) read(b []byte) (int, error) {
	n, err := p.line.Read(b[:min(len(b), p.t.down.piece())])
	if n > 0 {
		p.wait(p.t.down.pass(n, n), &p.reads, p.line.SetReadDeadline)
	}
	return n, err
}

func (p *paced) write(b []byte) (sum int, err error) {
	for of := len(b); ; {
		piece := b[:min(len(b), p.t.up.piece())]
		p.wait(p.t.up.pass(len(piece), of), &p.writes, p.line.SetWriteDeadline)
		n, err := p.line.Write(piece) // where the wait was ended, it tells why
		sum += n
		if b = b[n:]; err != nil || len(b) == 0 {
			return sum, err
		}
	}
}

// wait waits, and moves a deadline by as much as it has waited since that was set.
func (p *paced) wait(d time.Duration, w *direction, move func(time.Time) error) {
	if d <= 0 {
		return
	}
	began := time.Now()
	p.mu.Lock()
	if w.done(began) {
		p.mu.Unlock()
		return
	}
	if w.stop == nil {
		w.stop = make(chan struct{})
	}
	stop := w.stop
	p.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-stop:
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.by.IsZero() || w.done(w.set) { // none, or one that ends waiting
		return
	}
	if w.set.After(began) {
		d -= w.set.Sub(began)
	}
	w.by = w.by.Add(max(d, 0))
	_ = move(w.by) // the line may be over, which its user will see
}

// deadline sets that of one or both directions, on the line and here.
func (p *paced) deadline(t time.Time, set func(time.Time) error, ways ...*direction) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := set(t)
	now := time.Now()
	for _, w := range ways {
		w.by, w.set = t, now
		w.wake(now)
	}
	return err
}

// end ends the waits of directions that are over, once the line has been told.
func (p *paced) end(err error, ways ...*direction) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range ways {
		w.over = true
		w.wake(time.Time{})
	}
	return err
}

// throttled is a host whose streams keep to a throttle. Those that libp2p opens for itself, to know its peers, are not among them.
type throttled struct {
	host.Host
	t *Throttle
}

// NewStream opens a stream.
func (h throttled) NewStream(ctx context.Context, p peer.ID, protocols ...protocol.ID) (network.Stream, error) {
	s, err := h.Host.NewStream(ctx, p, protocols...)
	if err != nil {
		return nil, err
	}
	return h.over(s), nil
}

// SetStreamHandler takes streams.
func (h throttled) SetStreamHandler(proto protocol.ID, fn network.StreamHandler) {
	h.Host.SetStreamHandler(proto, func(s network.Stream) { fn(h.over(s)) })
}

// SetStreamHandlerMatch takes streams.
func (h throttled) SetStreamHandlerMatch(proto protocol.ID, match func(protocol.ID) bool, fn network.StreamHandler) {
	h.Host.SetStreamHandlerMatch(proto, match, func(s network.Stream) { fn(h.over(s)) })
}

func (h throttled) over(s network.Stream) network.Stream {
	return &pacedStream{Stream: s, p: paced{t: h.t, line: s}}
}

// pacedStream is a stream at the pace of a throttle.
type pacedStream struct {
	network.Stream
	p paced
}

// Read reads at most a piece.
func (s *pacedStream) Read(b []byte) (int, error) { return s.p.read(b) }

// Write writes all, piece by piece.
func (s *pacedStream) Write(b []byte) (int, error) { return s.p.write(b) }

// SetDeadline is that of reads and writes.
func (s *pacedStream) SetDeadline(t time.Time) error {
	return s.p.deadline(t, s.Stream.SetDeadline, &s.p.reads, &s.p.writes)
}

// SetReadDeadline is that of reads.
func (s *pacedStream) SetReadDeadline(t time.Time) error {
	return s.p.deadline(t, s.Stream.SetReadDeadline, &s.p.reads)
}

// SetWriteDeadline is that of writes.
func (s *pacedStream) SetWriteDeadline(t time.Time) error {
	return s.p.deadline(t, s.Stream.SetWriteDeadline, &s.p.writes)
}

// Close closes it for writing, and for reading what comes.
func (s *pacedStream) Close() error { return s.p.end(s.Stream.Close(), &s.p.reads, &s.p.writes) }

// CloseRead closes it for reading.
func (s *pacedStream) CloseRead() error { return s.p.end(s.Stream.CloseRead(), &s.p.reads) }

// CloseWrite closes it for writing.
func (s *pacedStream) CloseWrite() error { return s.p.end(s.Stream.CloseWrite(), &s.p.writes) }

// Reset breaks it off.
func (s *pacedStream) Reset() error { return s.p.end(s.Stream.Reset(), &s.p.reads, &s.p.writes) }

// ResetWithError breaks it off, and tells why.
func (s *pacedStream) ResetWithError(code network.StreamErrorCode) error {
	return s.p.end(s.Stream.ResetWithError(code), &s.p.reads, &s.p.writes)
}

// Conn is a connection that keeps to the throttle.
func (t *Throttle) Conn(c net.Conn) net.Conn { return &pacedConn{Conn: c, p: paced{t: t, line: c}} }

// Listener gives connections that keep to the throttle.
func (t *Throttle) Listener(l net.Listener) net.Listener { return pacedListener{l, t} }

type pacedListener struct {
	net.Listener
	t *Throttle
}

// Accept gives the next one.
func (l pacedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.t.Conn(c), nil
}

// pacedConn is a connection at the pace of a throttle.
type pacedConn struct {
	net.Conn
	p paced
}

// Read reads at most a piece.
func (c *pacedConn) Read(b []byte) (int, error) { return c.p.read(b) }

// Write writes all, piece by piece.
func (c *pacedConn) Write(b []byte) (int, error) { return c.p.write(b) }

// SetDeadline is that of reads and writes.
func (c *pacedConn) SetDeadline(t time.Time) error {
	return c.p.deadline(t, c.Conn.SetDeadline, &c.p.reads, &c.p.writes)
}

// SetReadDeadline is that of reads.
func (c *pacedConn) SetReadDeadline(t time.Time) error {
	return c.p.deadline(t, c.Conn.SetReadDeadline, &c.p.reads)
}

// SetWriteDeadline is that of writes.
func (c *pacedConn) SetWriteDeadline(t time.Time) error {
	return c.p.deadline(t, c.Conn.SetWriteDeadline, &c.p.writes)
}

// Close ends it.
func (c *pacedConn) Close() error { return c.p.end(c.Conn.Close(), &c.p.reads, &c.p.writes) }
