package gateway

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/time/rate"
)

// door lets clients in: so many together, and so many of one address. Whoever is too many is closed at once, so that those inside are served.
type door struct {
	net.Listener
	most, each int

	mu     sync.Mutex
	all    int
	inside map[netip.Addr]int
}

// Accept gives the next connection that may come in.
func (d *door) Accept() (net.Conn, error) {
	for {
		c, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		who := clientOf(c.RemoteAddr().String())
		if d.enter(who) {
			return &visit{Conn: c, leave: func() { d.leave(who) }}, nil
		}
		_ = c.Close()
	}
}

func (d *door) enter(who netip.Addr) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.all >= d.most || d.inside[who] >= d.each {
		return false
	}
	d.all++
	d.inside[who]++
	return true
}

func (d *door) leave(who netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all--
	if d.inside[who]--; d.inside[who] == 0 {
		delete(d.inside, who)
	}
}

// visit is a connection that is counted until it closes.
type visit struct {
	net.Conn
	once  sync.Once
	leave func()
}

// Close ends the visit.
func (v *visit) Close() error {
	v.once.Do(v.leave)
	return v.Conn.Close()
}

// clientOf is who asks, for counting: an IPv4 address, or the /64 that a subscriber of IPv6 has. What cannot be read is one client.
func clientOf(remote string) netip.Addr {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	ip := at.Addr().Unmap().WithZone("")
	if ip.Is4() {
		return ip
	}
	net64, err := ip.Prefix(64)
	if err != nil {
		return ip
	}
	return net64.Addr()
}

// maxClients bounds the memory for allowances; those who have not asked for long are forgotten first, and begin with a full one.
const maxClients = 1 << 16

// inPlace makes a cache do its upkeep in whoever uses it: no goroutine to wait for, and its budget holds at once.
func inPlace(upkeep func()) { upkeep() }

// allowances says how much each client may still ask.
type allowances struct {
	rate  rate.Limit
	burst int
	known *otter.Cache[netip.Addr, *rate.Limiter]
}

func newAllowances(each float64, burst int) *allowances {
	return &allowances{rate: rate.Limit(each), burst: burst, known: otter.Must(&otter.Options[netip.Addr, *rate.Limiter]{MaximumSize: maxClients, Executor: inPlace})}
}

// take takes one request of a client, or tells after which time there is one again.
func (a *allowances) take(who netip.Addr) (wait time.Duration, ok bool) {
	l, _ := a.known.ComputeIfAbsent(who, func() (*rate.Limiter, bool) { return rate.NewLimiter(a.rate, a.burst), false })
	if l.Allow() {
		return 0, true
	}
	return time.Duration(float64(time.Second) / float64(a.rate)), false
}

// patient writes an answer in pieces, each of which the client has to take within a time; a client that takes none is cut off.
type patient struct {
	http.ResponseWriter
	control *http.ResponseController
	quiet   time.Duration
}

// pieceSize is what a client has to take within Config.Quiet.
const pieceSize = 64 << 10

// WriteHeader begins the answer.
func (p *patient) WriteHeader(status int) {
	_ = p.control.SetWriteDeadline(time.Now().Add(p.quiet))
	p.ResponseWriter.WriteHeader(status)
}

// Write writes all of b, or as much as the client took.
func (p *patient) Write(b []byte) (int, error) {
	n := 0
	for {
		_ = p.control.SetWriteDeadline(time.Now().Add(p.quiet))
		k, err := p.ResponseWriter.Write(b[n:min(n+pieceSize, len(b))])
		if n += k; err != nil || n == len(b) {
			return n, err
		}
	}
}

// Unwrap is for http.ResponseController.
func (p *patient) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// held is a value that is read again when its time changes.
type held[T any] struct {
	mu   sync.Mutex
	when time.Time
	have bool
	v    T
}

// at gives the value of a time; one that cannot be read leaves the one before it, if there is one.
func (h *held[T]) at(when time.Time, read func() (T, error)) (T, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.have && h.when.Equal(when) {
		return h.v, nil
	}
	v, err := read()
	if err == nil {
		h.v, h.when, h.have = v, when, true
	}
	if h.have {
		return h.v, nil
	}
	return v, err
}

// orElse gives the value that there is, else the error.
func (h *held[T]) orElse(err error) (T, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.have {
		return h.v, nil
	}
	return h.v, err
}
