package p2p

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// post is one person's Sessions in a town, running.
type post struct {
	*Sessions
	stop func()
}

// moveIn starts the Sessions of a person; accept is what they do with each session that others open.
func moveIn(n *town, name string, cfg SessionConfig, accept func(*Session)) post {
	all := newSessions(quiet(), n.house(name), cfg)
	if accept != nil {
		all.Accept("work", accept)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = all.Serve(ctx) }()
	synctest.Wait()
	return post{all, func() { cancel(); <-done }}
}

// diary collects what a session yields, in order; processed messages are acked.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) keep(s *Session) {
	for {
		m, err := s.Receive(context.Background())
		if err != nil {
			d.write("end")
			return
		}
		if m.Event != EventNone {
			d.write(m.Event.String())
			continue
		}
		d.write(string(m.Data))
		s.Ack(m.Seq)
	}
}

func (d *diary) write(line string) { d.mu.Lock(); d.lines = append(d.lines, line); d.mu.Unlock() }

// take is what was written since the last take.
func (d *diary) take() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := strings.Join(d.lines, ", ")
	d.lines = nil
	return out
}

func (d *diary) wants(t *testing.T, want string) {
	t.Helper()
	synctest.Wait()
	if got := d.take(); got != want {
		t.Errorf("diary says %q, want %q", got, want)
	}
}

func say(t *testing.T, s *Session, words ...string) {
	t.Helper()
	for _, w := range words {
		if err := s.Send(t.Context(), []byte(w)); err != nil {
			t.Fatalf("sending %q: %v", w, err)
		}
	}
}

// step lets fake time pass and everything that follows from it happen.
func step(d time.Duration) { <-time.After(d); synctest.Wait() }

func TestAliceTalksToBob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTown()
		var bobs, alices diary
		answer := make(chan *Session, 1)
		bob := moveIn(n, "bob", SessionConfig{}, func(s *Session) { answer <- s; bobs.keep(s) })
		alice := moveIn(n, "alice", SessionConfig{}, nil)
		s := alice.Open(idOf("bob"), "work")
		if alice.Open(idOf("bob"), "work") != s {
			t.Error("opening twice gives two sessions")
		}
		go alices.keep(s)
		say(t, s, "one", "two")
		step(time.Second)
		bobs.wants(t, "up, one, two")
		say(t, <-answer, "three")
		alices.wants(t, "up, three")
		if got := s.Unacked(); got != 0 {
			t.Errorf("%d messages unacked after bob acked all", got)
		}
		s.Close()
		alices.wants(t, "end")
		bobs.wants(t, "end")
		if err := s.Send(t.Context(), nil); !errors.Is(err, ErrClosed) {
			t.Errorf("sending after close: %v", err)
		}
		if left := len(bob.All()) + len(alice.All()); left != 0 {
			t.Errorf("%d sessions left after close", left)
		}
		alice.stop()
		bob.stop()
	})
}

func TestAliceTalksToHerself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d, back diary
		alice := moveIn(newTown(), "alice", SessionConfig{}, func(s *Session) {
			say(t, s, "welcome")
			d.keep(s)
		})
		s := alice.Open(idOf("alice"), "work")
		go back.keep(s)
		say(t, s, "hello me")
		step(time.Second)
		d.wants(t, "up, hello me")
		back.wants(t, "up, welcome")
		step(time.Minute) // pings keep both directions alive
		d.wants(t, "")
		alice.stop()
		if got := d.take(); !strings.HasSuffix(got, "end") { // of two ends in one process one may see the other go
			t.Errorf("after the stop the diary says %q, want an end", got)
		}
	})
}

// Both talk while somebody keeps cutting the wire: nothing is lost, doubled or out of order.
func TestLinkCutUnderLoad(t *testing.T) {
	const cuts, messages = 200, 20000
	synctest.Test(t, func(t *testing.T) {
		n := newTown()
		cfg := SessionConfig{Window: 64 << 10, Unread: 100}
		var wg sync.WaitGroup
		wrong := make(chan string, 2)
		talk := func(s *Session) {
			wg.Go(func() {
				for i := range messages {
					if s.Send(t.Context(), text(i)) != nil {
						return
					}
					if i%100 == 0 {
						<-time.After(5 * time.Millisecond)
					}
				}
			})
			for i := 0; i < messages; {
				m, err := s.Receive(t.Context())
				if err != nil {
					wrong <- fmt.Sprintf("after %d messages: %v", i, err)
					return
				}
				if m.Event != EventNone {
					continue
				}
				if string(m.Data) != string(text(i)) || m.Seq != uint64(i+1) {
					wrong <- fmt.Sprintf("got %q with number %d, want %q", m.Data, m.Seq, text(i))
					return
				}
				i++
				s.Ack(m.Seq)
			}
		}
		bob := moveIn(n, "bob", cfg, func(s *Session) { talk(s) })
		alice := moveIn(n, "alice", cfg, nil)
		s := alice.Open(idOf("bob"), "work")
		wg.Go(func() { talk(s) })
		dice := rand.New(rand.NewPCG(1, 2))
		cut := 0
		for cut < cuts {
			<-time.After(time.Duration(dice.IntN(5_000_000)))
			cut += n.cut()
		}
		wg.Wait()
		step(time.Second)
		select {
		case w := <-wrong:
			t.Error(w)
		default:
		}
		if st := s.State(); st.Unacked != 0 || st.Links < cuts/2 {
			t.Errorf("after %d cuts: %+v", cut, st)
		}
		alice.stop()
		bob.stop()
	})
}

// A wire that carries nothing, without an error, as when a computer sleeps.
func TestSilenceIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTown()
		var alices, bobs diary
		bob := moveIn(n, "bob", SessionConfig{}, bobs.keep)
		alice := moveIn(n, "alice", SessionConfig{}, nil)
		s := alice.Open(idOf("bob"), "work")
		go alices.keep(s)
		say(t, s, "one")
		step(time.Minute) // idle: pings alone keep it up
		alices.wants(t, "up")
		n.freeze()
		say(t, s, "two")
		step(3 * time.Second) // the last ping may have come two seconds before the frost
		alices.wants(t, "")
		step(4 * time.Second)
		alices.wants(t, "down")
		step(time.Minute)
		n.thaw()
		step(10 * time.Second)
		alices.wants(t, "up")
		bobs.wants(t, "up, one, down, up, two")
		alice.stop()
		bob.stop()
	})
}

// Alice cannot dial bob any more, because his address has changed; he can still dial her.
func TestEitherSideRedials(t *testing.T) {
	for _, stuck := range []string{"alice", "bob"} {
		t.Run(stuck+" cannot dial", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newTown()
				var bobs diary
				bob := moveIn(n, "bob", SessionConfig{}, bobs.keep)
				alice := moveIn(n, "alice", SessionConfig{}, nil)
				s := alice.Open(idOf("bob"), "work")
				say(t, s, "one")
				step(time.Second)
				other := map[string]string{"alice": "bob", "bob": "alice"}[stuck]
				n.block(idOf(stuck), idOf(other), true)
				n.cut()
				say(t, s, "two")
				step(time.Second)
				bobs.wants(t, "up, one, down, up, two")
				alice.stop()
				bob.stop()
			})
		})
	}
}

// Both dial at the very same moment, again and again; they agree on one stream each time, and soon, however far apart.
func TestGlare(t *testing.T) {
	for _, delay := range []time.Duration{0, time.Millisecond, 70 * time.Millisecond, 400 * time.Millisecond} {
		t.Run(delay.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newTown()
				n.delay = delay
				cfg := SessionConfig{BackoffFirst: 1} // no polite pause: both dial at once
				bob := moveIn(n, "bob", cfg, func(*Session) {})
				alice := moveIn(n, "alice", cfg, nil)
				s := alice.Open(idOf("bob"), "work")
				step(time.Second + 3*delay)
				for range 100 {
					n.cut()
					step(200*time.Millisecond + 8*delay)
					if !s.State().Up {
						t.Fatalf("not up again: %+v", s.State())
					}
				}
				step(time.Minute)
				before := s.State().Links
				step(time.Minute)
				if after := s.State(); after.Links != before || !after.Up {
					t.Errorf("the link changes while nobody cuts it: %d links, then %+v", before, after)
				}
				alice.stop()
				bob.stop()
			})
		})
	}
}

// Bob acks at once; the word reaches alice within the delay that the configuration allows, though nothing else is said.
func TestLoneAckIsPrompt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTown()
		var bobs diary
		bob := moveIn(n, "bob", SessionConfig{}, bobs.keep)
		alice := moveIn(n, "alice", SessionConfig{}, nil)
		s := alice.Open(idOf("bob"), "work")
		step(time.Second)
		say(t, s, "one")
		synctest.Wait()
		if got := s.Unacked(); got != 1 {
			t.Errorf("%d unacked before the delay, want the ack to wait for company", got)
		}
		step(DefaultSessions().AckDelay)
		if got := s.Unacked(); got != 0 {
			t.Errorf("%d unacked after the delay", got)
		}
		alice.stop()
		bob.stop()
	})
}

func TestWindowBlocksSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTown()
		answer := make(chan *Session, 1)
		bob := moveIn(n, "bob", SessionConfig{}, func(s *Session) { answer <- s })
		alice := moveIn(n, "alice", SessionConfig{Window: 10 * (100 + entryCost)}, nil)
		s := alice.Open(idOf("bob"), "work")
		sent := make(chan int, 100)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			for i := 0; s.Send(ctx, make([]byte, 100)) == nil; i++ {
				sent <- i
			}
			close(sent)
		}()
		step(time.Minute)
		if got := len(sent); got != 10 {
			t.Errorf("%d messages sent without an ack, want 10", got)
		}
		(<-answer).Ack(4)
		step(time.Second)
		if got := len(sent); got != 14 {
			t.Errorf("%d messages sent after 4 acks, want 14", got)
		}
		cancel()
		synctest.Wait()
		if got := len(sent); got != 14 || s.Unacked() != 10 {
			t.Errorf("%d sent, %d unacked after the sender gave up", got, s.Unacked())
		}
		alice.stop()
		bob.stop()
	})
}

// Bob does not read for an hour. Alice's messages wait at her side, the link stays up, and then all arrive.
func TestSlowReaderStopsThePeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTown()
		answer := make(chan *Session, 1)
		bob := moveIn(n, "bob", SessionConfig{Unread: 100}, func(s *Session) { answer <- s })
		alice := moveIn(n, "alice", SessionConfig{}, nil)
		s := alice.Open(idOf("bob"), "work")
		for i := range 5000 {
			say(t, s, string(text(i)))
		}
		step(time.Hour)
		back := <-answer
		if st := back.State(); st.Unread > 100+256 || !st.Up || st.Links != 1 {
			t.Errorf("bob, not reading: %+v", st)
		}
		for i := 0; i < 5000; {
			m, err := back.Receive(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if m.Event == EventDown {
				t.Fatal("the link went down while bob was slow")
			}
			if m.Event == EventNone {
				if string(m.Data) != string(text(i)) {
					t.Fatalf("got %q, want %q", m.Data, text(i))
				}
				i++
			}
		}
		alice.stop()
		bob.stop()
	})
}

// Bob closes while alice is away; she learns it when she is back.
func TestCloseWhileAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTown()
		var alices diary
		answer := make(chan *Session, 2)
		bob := moveIn(n, "bob", SessionConfig{}, func(s *Session) { answer <- s })
		alice := moveIn(n, "alice", SessionConfig{}, nil)
		go alices.keep(alice.Open(idOf("bob"), "work"))
		step(time.Second)
		n.block(idOf("alice"), idOf("bob"), true)
		n.block(idOf("bob"), idOf("alice"), true)
		n.cut()
		step(time.Second)
		(<-answer).Close()
		step(time.Minute)
		alices.wants(t, "up, down")
		n.block(idOf("alice"), idOf("bob"), false)
		step(10 * time.Second)
		alices.wants(t, "end")
		go alices.keep(alice.Open(idOf("bob"), "work"))
		step(time.Second)
		alices.wants(t, "up")
		if len(answer) != 1 {
			t.Error("opening again after the close is not a new session for bob")
		}
		alice.stop()
		bob.stop()
	})
}

func TestNobodyAccepts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTown()
		bob := moveIn(n, "bob", SessionConfig{MaxAccepted: 1}, func(*Session) {})
		alice := moveIn(n, "alice", SessionConfig{}, nil)
		carol := moveIn(n, "carol", SessionConfig{}, nil)
		alice.Open(idOf("bob"), "work")
		step(time.Second)
		other := alice.Open(idOf("bob"), "play")
		second := carol.Open(idOf("bob"), "work")
		nobody := carol.Open(idOf("dave"), "work")
		step(time.Minute)
		for _, c := range []struct {
			s    *Session
			want string
		}{
			{other, "refused by the peer: no such session here"},
			{second, "refused by the peer: too many sessions here, try again later"},
			{nobody, "no way there"},
		} {
			if st := c.s.State(); st.Up || st.Error != c.want {
				t.Errorf("state %+v, want error %q", st, c.want)
			}
		}
		if n.dialled > 100 {
			t.Errorf("%d dials in a minute, want back-off", n.dialled)
		}
		alice.stop()
		bob.stop()
		carol.stop()
	})
}
