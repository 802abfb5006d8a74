package p2p

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// keyOf is the node key of a person of the stories, the same in each run.
func keyOf(name string) crypto.PrivKey {
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, name)
	std := ed25519.NewKeyFromSeed(seed)
	key, err := crypto.UnmarshalEd25519PrivateKey(std)
	if err != nil {
		panic(err)
	}
	return key
}

func idOf(name string) peer.ID {
	id, err := peer.IDFromPublicKey(keyOf(name).GetPublic())
	if err != nil {
		panic(err)
	}
	return id
}

func loopback() Config {
	c := Default()
	c.Listen = []string{"/ip4/127.0.0.1/tcp/0"}
	c.MDNS = false
	return c
}

// newHost is a real host on loopback, closed with the test.
func newHost(t testing.TB, name string, change ...func(*Config)) *Host {
	t.Helper()
	cfg := loopback()
	for _, f := range change {
		f(&cfg)
	}
	h, err := New(quiet(), keyOf(name), cfg)
	if err != nil {
		t.Fatalf("host of %s: %v", name, err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Errorf("closing host of %s: %v", name, err)
		}
	})
	return h
}

func joining(addrs ...string) func(*Config) { return func(c *Config) { c.Join = addrs } }

// serve runs a Serve until the test ends or the returned function is called.
func serve(t testing.TB, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = f(ctx) }()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

// within gives a context for one step of a story over real sockets.
func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// eventually looks again and again, without a fixed pause that a slow machine would outlast, until ok or d has passed.
func eventually(t testing.TB, d time.Duration, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(d)
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("not within %s: %s", d, what)
		}
	}
}

// town is a network in memory: whoever lives there can reach the others, unless a rule says otherwise.
type town struct {
	mu      sync.Mutex
	serve   map[peer.ID]func(peer.ID, wire)
	links   map[*street]bool
	blocked map[[2]peer.ID]bool // who cannot dial whom
	dialled int
	delay   time.Duration // one way
	gate    chan struct{} // closed: bytes flow
}

func newTown() *town {
	open := make(chan struct{})
	close(open)
	return &town{serve: map[peer.ID]func(peer.ID, wire){}, links: map[*street]bool{}, blocked: map[[2]peer.ID]bool{}, gate: open}
}

// freeze stops every byte without closing anything; thaw lets them flow again.
func (n *town) freeze() { n.mu.Lock(); n.gate = make(chan struct{}); n.mu.Unlock() }
func (n *town) thaw()   { n.mu.Lock(); close(n.gate); n.mu.Unlock() }

// cut breaks every stream and tells how many there were.
func (n *town) cut() int {
	n.mu.Lock()
	links := n.links
	n.links = map[*street]bool{}
	n.mu.Unlock()
	for l := range links {
		l.a.Close()
		l.b.Close()
	}
	return len(links)
}

func (n *town) block(from, to peer.ID, on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.blocked[[2]peer.ID{from, to}] = on
}

// street is one stream, with its two ends.
type street struct{ a, b net.Conn }

// door is one end of a street.
type door struct {
	net.Conn
	n    *town
	gone chan struct{}
	once *sync.Once
}

func (d door) Write(p []byte) (int, error) {
	d.n.mu.Lock()
	gate := d.n.gate
	d.n.mu.Unlock()
	select {
	case <-gate:
		if d.n.delay > 0 {
			<-time.After(d.n.delay)
		}
		return d.Conn.Write(p)
	case <-d.gone:
		return 0, net.ErrClosed
	}
}

func (d door) Close() error { d.once.Do(func() { close(d.gone) }); return d.Conn.Close() }
func (d door) Reset() error { return d.Close() }

// house is where one node lives in a town.
type house struct {
	n  *town
	id peer.ID
}

func (n *town) house(name string) house { return house{n, idOf(name)} }

func (h house) ID() peer.ID        { return h.id }
func (h house) hold(peer.ID, bool) {}
func (h house) hangUp(peer.ID)     {}

func (h house) serveWires(serve func(peer.ID, wire), _ func(peer.ID)) {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	h.n.serve[h.id] = serve
}

var errNoWay = errors.New("no way there")

func (h house) openWire(_ context.Context, to peer.ID) (wire, error) {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	h.n.dialled++
	serve := h.n.serve[to]
	if serve == nil || h.n.blocked[[2]peer.ID{h.id, to}] {
		return nil, errNoWay
	}
	a, b := net.Pipe()
	h.n.links[&street{a, b}] = true
	go serve(h.id, door{b, h.n, make(chan struct{}), new(sync.Once)})
	return door{a, h.n, make(chan struct{}), new(sync.Once)}, nil
}

// text numbers the messages of a story.
func text(i int) []byte { return fmt.Appendf(nil, "message %d", i) }
