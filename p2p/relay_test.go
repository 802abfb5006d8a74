package p2p

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"
)

// relay forwards TCP connections to a host until it is told to hold every byte.
type relay struct {
	net.Listener
	to   string
	mu   sync.Mutex
	gate chan struct{}
	age  int // counts connections
	lost int // those before this one carry nothing any more
	wg   sync.WaitGroup
}

func newRelay(t *testing.T, to string) *relay {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{Listener: l, to: to, gate: make(chan struct{})}
	close(r.gate)
	ctx, cancel := context.WithCancel(context.Background())
	r.wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			r.wg.Go(func() { r.forward(ctx, in) })
		}
	})
	t.Cleanup(func() { cancel(); l.Close(); r.wg.Wait() })
	return r
}

func (r *relay) forward(ctx context.Context, in net.Conn) {
	out, err := net.Dial("tcp", r.to)
	if err != nil {
		in.Close()
		return
	}
	stop := context.AfterFunc(ctx, func() { in.Close(); out.Close() })
	defer stop()
	r.mu.Lock()
	r.age++
	began := r.age
	r.mu.Unlock()
	var wg sync.WaitGroup
	for _, c := range [][2]net.Conn{{in, out}, {out, in}} {
		wg.Go(func() {
			defer c[1].Close()
			buf := make([]byte, 32<<10)
			for {
				n, err := c[0].Read(buf)
				r.mu.Lock()
				gate := r.gate
				if began < r.lost {
					gate = nil
				}
				r.mu.Unlock()
				select {
				case <-gate:
				case <-ctx.Done():
					return
				}
				if _, werr := c[1].Write(buf[:n]); err != nil || werr != nil {
					return
				}
			}
		})
	}
	wg.Wait()
}

func (r *relay) hold()    { r.mu.Lock(); r.gate = make(chan struct{}); r.mu.Unlock() }
func (r *relay) release() { r.mu.Lock(); close(r.gate); r.mu.Unlock() }

// abandon makes every connection there is a dead one that nobody is told about; new ones work.
func (r *relay) abandon() { r.mu.Lock(); r.lost = r.age + 1; r.mu.Unlock() }

// way is a session of alice with bob by a relay; bob puts what he gets into got.
func way(t *testing.T) (r *relay, s *Session, got chan string) {
	bob := newHost(t, "bob")
	port, err := bob.Libp2p().Addrs()[0].ValueForProtocol(6)
	if err != nil {
		t.Fatal(err)
	}
	r = newRelay(t, "127.0.0.1:"+port)
	alice := newHost(t, "alice", joining(fmt.Sprintf("/ip4/127.0.0.1/tcp/%d/p2p/%s", r.Addr().(*net.TCPAddr).Port, bob.ID())))
	if err := alice.dial(within(t, 10*time.Second), alice.join[0]); err != nil {
		t.Fatal(err)
	}
	// Alice must not learn bob's own address, or she would go round the relay.
	serve(t, func(ctx context.Context) error {
		for pause(ctx, 5*time.Millisecond) {
			alice.Libp2p().Peerstore().ClearAddrs(bob.ID())
			alice.Libp2p().Peerstore().AddAddrs(bob.ID(), alice.join[0].Addrs, time.Hour)
		}
		return nil
	})
	got = make(chan string, 100)
	there := NewSessions(quiet(), bob, brisk)
	there.Accept("work", func(s *Session) {
		for m, err := s.Receive(context.Background()); err == nil; m, err = s.Receive(context.Background()) {
			if m.Event == EventNone {
				got <- string(m.Data)
				s.Ack(m.Seq)
			}
		}
	})
	here := NewSessions(quiet(), alice, brisk)
	serve(t, there.Serve)
	serve(t, here.Serve)
	return r, here.Open(bob.ID(), "work"), got
}

// The connection dies without a word, as when a router forgets it. Streams on it get no answer, so it is hung up, and
// the session goes on over a new one long before TCP would give up.
func TestRealDeadConnection(t *testing.T) {
	r, s, got := way(t)
	if err := s.Send(t.Context(), []byte("one")); err != nil {
		t.Fatal(err)
	}
	if g := <-got; g != "one" {
		t.Fatalf("got %q", g)
	}
	r.abandon()
	if err := s.Send(t.Context(), []byte("two")); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	select {
	case g := <-got:
		if g != "two" {
			t.Errorf("got %q, want two", g)
		}
		t.Logf("again after %s", time.Since(began).Round(time.Millisecond))
	case <-time.After(20 * time.Second):
		t.Errorf("not again after 20 s: %+v", s.State())
	}
}

// The way to bob swallows everything for a while, without an error: the session is down after the silence, and goes on
// when the way is free, with nothing lost.
func TestRealPauseAndResume(t *testing.T) {
	r, s, got := way(t)
	if err := s.Send(t.Context(), []byte("one")); err != nil {
		t.Fatal(err)
	}
	if g := <-got; g != "one" {
		t.Fatalf("got %q", g)
	}
	r.hold()
	if err := s.Send(t.Context(), []byte("two")); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "the session is down", func() bool { return !s.State().Up })
	r.release()
	eventually(t, 20*time.Second, "the session is up", func() bool { return s.State().Up && s.Unacked() == 0 })
	if g := <-got; g != "two" || len(got) != 0 {
		t.Errorf("got %q and %d more, want two, once", g, len(got))
	}
}
