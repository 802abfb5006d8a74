package p2p

import (
	"context"
	"testing"
	"time"
)

// BenchmarkSession is the time of one small message from alice to bob over TCP on loopback, acked in batches.
func BenchmarkSession(b *testing.B) {
	for _, size := range []int{100, 64 << 10} {
		b.Run(map[int]string{100: "100B", 64 << 10: "64KiB"}[size], func(b *testing.B) {
			bob := newHost(b, "bob")
			alice := newHost(b, "alice", joining(bob.Addrs()[0]))
			serve(b, alice.Serve)
			there := NewSessions(quiet(), bob, SessionConfig{})
			n := b.N
			done := make(chan struct{})
			there.Accept("work", func(s *Session) {
				defer close(done)
				for got := 0; got < n; {
					m, err := s.Receive(context.Background())
					if err != nil {
						b.Error(err)
						return
					}
					if m.Event == EventNone {
						got++
						s.Ack(m.Seq)
					}
				}
			})
			here := NewSessions(quiet(), alice, SessionConfig{})
			serve(b, there.Serve)
			serve(b, here.Serve)
			s := here.Open(bob.ID(), "work")
			if m, err := s.Receive(within(b, 10*time.Second)); err != nil || m.Event != EventUp {
				b.Fatal(m, err)
			}
			msg := make([]byte, size)
			b.SetBytes(int64(size))
			b.ResetTimer()
			for range b.N {
				if err := s.Send(context.Background(), msg); err != nil {
					b.Fatal(err)
				}
			}
			<-done
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
		})
	}
}

// BenchmarkRoundTrip is one message to bob and his answer, with 64 under way, as in the dispatch of tiny tasks.
func BenchmarkRoundTrip(b *testing.B) {
	bob := newHost(b, "bob")
	alice := newHost(b, "alice", joining(bob.Addrs()[0]))
	serve(b, alice.Serve)
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
	here := NewSessions(quiet(), alice, SessionConfig{})
	serve(b, there.Serve)
	serve(b, here.Serve)
	s := here.Open(bob.ID(), "work")
	if m, err := s.Receive(within(b, 10*time.Second)); err != nil || m.Event != EventUp {
		b.Fatal(m, err)
	}
	msg := make([]byte, 200)
	sent, got := 0, 0
	for b.Loop() {
		for ; sent-got < 64; sent++ {
			if err := s.Send(context.Background(), msg); err != nil {
				b.Fatal(err)
			}
		}
		m, err := s.Receive(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		s.Ack(m.Seq)
		got++
	}
	b.ReportMetric(float64(got)/b.Elapsed().Seconds(), "trips/s")
}

// BenchmarkCall is one call of 100 bytes to a connected peer, one at a time.
func BenchmarkCall(b *testing.B) {
	bob := newHost(b, "bob", func(c *Config) { c.CallRate, c.CallBurst = 1e9, 1e9 })
	if err := bob.Handle(echo, 1000, answerEcho); err != nil {
		b.Fatal(err)
	}
	alice := newHost(b, "alice", joining(bob.Addrs()[0]))
	serve(b, alice.Serve)
	req := make([]byte, 100)
	if _, err := alice.Call(within(b, 10*time.Second), bob.ID(), echo, req); err != nil {
		eventually(b, 10*time.Second, "alice has joined", func() bool { return len(alice.Peers()) == 1 })
	}
	for b.Loop() {
		if _, err := alice.Call(context.Background(), bob.ID(), echo, req); err != nil {
			b.Fatal(err)
		}
	}
}
