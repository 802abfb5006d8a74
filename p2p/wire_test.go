package p2p

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// brisk is a session configuration for stories on loopback.
var brisk = SessionConfig{
	Ping: 200 * time.Millisecond, Silence: time.Second, Handshake: time.Second,
	BackoffFirst: 10 * time.Millisecond, BackoffLast: 200 * time.Millisecond, Window: 256 << 10,
}

// cutAll breaks the session streams of a host, and with conns the connections too; it tells how many it broke.
func cutAll(h *Host, conns bool) (n int) {
	for _, c := range h.Libp2p().Network().Conns() {
		for _, s := range c.GetStreams() {
			if s.Protocol() == sessionProtocol {
				_ = s.Reset()
				n++
			}
		}
		if conns {
			_ = c.Close()
			n++
		}
	}
	return n
}

// converse sends numbered messages until enough is closed, and receives the other's to their end; it returns how many
// came, and the first thing that was wrong.
func converse(ctx context.Context, s *Session, enough <-chan struct{}) (int, error) {
	ctx, cancel := context.WithCancel(ctx)
	sent := make(chan error, 1)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-enough:
				sent <- s.Send(ctx, []byte("end"))
				return
			default:
			}
			if err := s.Send(ctx, text(i)); err != nil {
				sent <- err
				return
			}
		}
	}()
	got, err := listen(ctx, s)
	if err != nil {
		cancel()
	}
	serr := <-sent
	cancel()
	return got, cmpErr(err, serr)
}

func listen(ctx context.Context, s *Session) (int, error) {
	for i := 0; ; {
		m, err := s.Receive(ctx)
		switch {
		case err != nil:
			return i, fmt.Errorf("after %d messages: %w", i, err)
		case m.Event != EventNone:
			continue
		}
		s.Ack(m.Seq)
		if string(m.Data) == "end" {
			return i, nil
		}
		if string(m.Data) != string(text(i)) {
			return i, fmt.Errorf("got %q, want %q", m.Data, text(i))
		}
		i++
	}
}

// Real sockets, TCP and QUIC, cut 200 times in all while both sides talk as fast as they can.
func TestRealLinkCutUnderLoad(t *testing.T) {
	for _, listen := range []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"} {
		t.Run(strings.Split(listen, "/")[3], func(t *testing.T) {
			const cuts = 100
			on := func(c *Config) { c.Listen = []string{listen} }
			bob := newHost(t, "bob", on)
			alice := newHost(t, "alice", on, joining(bob.Addrs()[0]))
			serve(t, alice.Serve)
			ctx := within(t, 60*time.Second)
			type result struct {
				got int
				err error
			}
			enough, results := make(chan struct{}), make(chan result, 2)
			talk := func(s *Session) {
				got, err := converse(ctx, s, enough)
				results <- result{got, err}
			}
			there := NewSessions(quiet(), bob, brisk)
			there.Accept("work", talk)
			here := NewSessions(quiet(), alice, brisk)
			serve(t, there.Serve)
			serve(t, here.Serve)
			s := here.Open(bob.ID(), "work")
			go talk(s)
			dice := rand.New(rand.NewPCG(3, 4))
			for cut := 0; cut < cuts; {
				select {
				case r := <-results:
					t.Fatalf("after %d cuts: %v; %+v", cut, r.err, s.State())
				case <-time.After(time.Duration(dice.IntN(int(30 * time.Millisecond)))):
					cut += min(1, cutAll([]*Host{alice, bob}[dice.IntN(2)], dice.IntN(4) == 0))
				}
			}
			close(enough)
			one, other := <-results, <-results
			if one.err != nil || other.err != nil {
				t.Fatalf("%v; %v; %+v", one.err, other.err, s.State())
			}
			eventually(t, 10*time.Second, "all is acked", func() bool { return s.Unacked() == 0 })
			t.Logf("%d cuts, %d links, %d and %d messages", cuts, s.State().Links, one.got, other.got)
		})
	}
}

// Bob's process dies and comes back on another port. Alice's address of him is wrong now, but he joins her.
func TestRealRestartOnAnotherPort(t *testing.T) {
	alice := newHost(t, "alice")
	here := NewSessions(quiet(), alice, brisk)
	serve(t, here.Serve)
	s := here.Open(idOf("bob"), "work")
	got := make(chan string, 100)
	life := func() (stop func()) {
		bob := newHost(t, "bob", joining(alice.Addrs()[0]))
		there := NewSessions(quiet(), bob, brisk)
		there.Accept("work", func(s *Session) {
			for {
				m, err := s.Receive(context.Background())
				if err != nil {
					return
				}
				if m.Event == EventNone {
					got <- string(m.Data)
				}
				if string(m.Data) == "first" {
					s.Ack(m.Seq)
				}
			}
		})
		stopSessions, stopHost := serve(t, there.Serve), serve(t, bob.Serve)
		return func() { stopSessions(); stopHost(); bob.Close() }
	}
	wants := func(want string) {
		t.Helper()
		select {
		case g := <-got:
			if g != want {
				t.Fatalf("bob got %q, want %q", g, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("bob did not get %q: %+v", want, s.State())
		}
	}
	stop := life()
	for _, m := range []string{"first", "second"} {
		if err := s.Send(t.Context(), []byte(m)); err != nil {
			t.Fatal(err)
		}
		wants(m)
	}
	eventually(t, 10*time.Second, "the first is acked", func() bool { return s.Unacked() == 1 })
	stop()
	if err := s.Send(t.Context(), []byte("third")); err != nil {
		t.Fatal(err)
	}
	stop = life()
	defer stop()
	wants("second")
	wants("third")
	var events []string
	for m, err := s.Receive(within(t, 5*time.Second)); err == nil; m, err = s.Receive(within(t, 5*time.Second)) {
		events = append(events, m.Event.String())
		if strings.Join(events, " ") == "up down restarted up" {
			return
		}
	}
	t.Errorf("alice saw %v, want up down restarted up", events)
}

// frames strings frames together as a peer may send them.
func frames(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case hello:
			body, err := encode(p)
			if err != nil {
				panic(err)
			}
			b = append(appendHead(b, frameHello, len(body)), body...)
		case []byte:
			b = append(b, p...)
		}
	}
	return b
}

func dataFrame(seq uint64, msg string) []byte {
	b := appendHead(nil, frameData, seqSize+len(msg))
	return append(binary.BigEndian.AppendUint64(b, seq), msg...)
}

// Carol breaks the rules of a session in every way there is. Her stream is closed, and bob serves alice as before.
func TestCarolBreaksTheRules(t *testing.T) {
	good := hello{Version: sessionVersion, Name: "work", Opener: true, Self: 7, Dial: 1}
	with := func(f func(*hello)) hello { h := good; f(&h); return h }
	ack := func(seq uint64) []byte { return binary.BigEndian.AppendUint64(appendHead(nil, frameAck, seqSize), seq) }
	cases := []struct {
		name   string
		first  []byte
		answer byte   // the frame she gets for it; 0: none
		then   []byte // what she sends after bob's hello
	}{
		{"garbage", bytes.Repeat([]byte("garbage"), 1000), 0, nil},
		{"data before the hello", dataFrame(1, "x"), 0, nil},
		{"a large frame before the hello", appendHead(nil, frameData, MaxMessage), 0, nil},
		{"wrong version", frames(with(func(h *hello) { h.Version = 2 })), frameRefuse, nil},
		{"no incarnation", frames(with(func(h *hello) { h.Self = 0 })), frameRefuse, nil},
		{"name is no name", frames(with(func(h *hello) { h.Name = "../etc" })), frameRefuse, nil},
		{"name nobody accepts", frames(with(func(h *hello) { h.Name = "play" })), frameRefuse, nil},
		{"not the opener of anything", frames(with(func(h *hello) { h.Opener = false })), frameRefuse, nil},
		{"acked more than received", frames(with(func(h *hello) { h.Known, h.Received, h.Acked = 1, 2, 3 })), frameRefuse, nil},
		{"second hello", frames(good), frameHello, frames(good)},
		{"gap", frames(good), frameHello, frames(dataFrame(1, "a"), dataFrame(3, "c"))},
		{"replay", frames(good), frameHello, frames(dataFrame(1, "a"), dataFrame(1, "a"))},
		{"oversized", frames(good), frameHello, frames(appendHead(nil, frameData, MaxMessage+seqSize+1))},
		{"data without number", frames(good), frameHello, frames(appendHead(nil, frameData, 3), []byte("abc"))},
		{"ack of nothing", frames(good), frameHello, frames(ack(1))},
		{"fat ping", frames(good), frameHello, frames(appendHead(nil, framePing, 1), []byte{0})},
		{"unknown kind", frames(good), frameHello, frames(appendHead(nil, 99, 0))},
	}
	bob := newHost(t, "bob")
	there := NewSessions(quiet(), bob, SessionConfig{})
	there.Accept("work", func(s *Session) {
		for {
			m, err := s.Receive(context.Background())
			if err != nil {
				return
			}
			if m.Event == EventNone {
				_ = s.Send(context.Background(), m.Data)
				s.Ack(m.Seq)
			}
		}
	})
	serve(t, there.Serve)
	where := peer.AddrInfo{ID: bob.ID(), Addrs: bob.Libp2p().Addrs()}
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			carol := newHost(t, fmt.Sprintf("carol %d", i))
			carol.learn(where)
			s, err := carol.Libp2p().NewStream(within(t, 10*time.Second), bob.ID(), sessionProtocol)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.SetDeadline(time.Now().Add(3 * time.Second)); err != nil {
				t.Fatal(err)
			}
			defer s.Reset()
			if _, err := s.Write(c.first); err != nil && c.answer != 0 { // bob may hang up at the first bytes
				t.Fatal(err)
			}
			r := newFrameReader(s, 3*time.Second)
			kind, _, _, err := r.next()
			if kind != c.answer || (kind == 0) != (err != nil) {
				t.Fatalf("bob answered with frame %d, %v; want %d", kind, err, c.answer)
			}
			if _, err := s.Write(c.then); err != nil {
				t.Fatal(err)
			}
			for err == nil { // what bob has sent before he hung up
				_, _, _, err = r.next()
			}
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("bob keeps the stream open")
			}
		})
	}
	alice := newHost(t, "alice")
	alice.learn(where)
	here := NewSessions(quiet(), alice, SessionConfig{})
	serve(t, here.Serve)
	s := here.Open(bob.ID(), "work")
	if err := s.Send(t.Context(), []byte("still there?")); err != nil {
		t.Fatal(err)
	}
	for {
		m, err := s.Receive(within(t, 10*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if string(m.Data) == "still there?" {
			return
		}
	}
}
