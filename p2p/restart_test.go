package p2p

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestBobRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTown()
		var alices, bobs diary
		bob := moveIn(n, "bob", SessionConfig{}, func(s *Session) {
			for { // this bob works on things and dies before any of them is done
				m, err := s.Receive(context.Background())
				if err != nil {
					return
				}
				bobs.write(m.Event.String() + string(m.Data))
				if string(m.Data) == "done" {
					s.Ack(m.Seq)
				}
			}
		})
		alice := moveIn(n, "alice", SessionConfig{}, nil)
		s := alice.Open(idOf("bob"), "work")
		go alices.keep(s)
		say(t, s, "done", "half", "begun")
		step(time.Second)
		bobs.wants(t, "up, messagedone, messagehalf, messagebegun")
		bob.stop()
		bobs.take() // a last "down" or not
		n.cut()
		say(t, s, "new")
		step(time.Second)
		alices.wants(t, "up, down")

		bob = moveIn(n, "bob", SessionConfig{}, func(s *Session) { say(t, s, "I am new"); bobs.keep(s) })
		step(10 * time.Second)
		bobs.wants(t, "up, half, begun, new")
		alices.wants(t, "restarted, up, I am new")
		if got := s.Unacked(); got != 0 {
			t.Errorf("%d unacked at the end", got)
		}
		alice.stop()
		bob.stop()
	})
}

func TestAliceRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTown()
		var alices, bobs diary
		answer := make(chan *Session, 2)
		bob := moveIn(n, "bob", SessionConfig{}, func(s *Session) { answer <- s; bobs.keep(s) })
		alice := moveIn(n, "alice", SessionConfig{}, nil)
		say(t, alice.Open(idOf("bob"), "work"), "one")
		step(time.Second)
		bobs.wants(t, "up, one")
		back := <-answer
		alice.stop()
		n.cut()
		say(t, back, "result of one") // alice is away: bob keeps it
		step(3 * time.Second)
		bobs.wants(t, "down")

		alice = moveIn(n, "alice", SessionConfig{}, nil)
		step(20 * time.Second) // bob dials, but alice has not asked for the session yet
		bobs.wants(t, "")
		s := alice.Open(idOf("bob"), "work")
		go alices.keep(s)
		say(t, s, "two")
		step(10 * time.Second)
		bobs.wants(t, "restarted, up, two")
		alices.wants(t, "up, result of one")
		if got := len(answer); got != 0 {
			t.Errorf("bob got %d more sessions, want the old one to go on", got)
		}
		alice.stop()
		bob.stop()
	})
}

// Acks of messages from before a restart must not be taken for acks of the new ones.
func TestOldAckAfterRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTown()
		answer := make(chan *Session, 2)
		bob := moveIn(n, "bob", SessionConfig{}, func(s *Session) { answer <- s })
		alice := moveIn(n, "alice", SessionConfig{}, nil)
		say(t, alice.Open(idOf("bob"), "work"), "a", "b", "c")
		step(time.Second)
		alice.stop()
		n.cut()
		alice = moveIn(n, "alice", SessionConfig{}, nil)
		s := alice.Open(idOf("bob"), "work")
		say(t, s, "d", "e")
		step(10 * time.Second)
		back := <-answer
		var seqs []uint64
		var row []string
		for range 9 {
			m, err := back.Receive(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if m.Event == EventNone {
				seqs = append(seqs, m.Seq)
			}
			row = append(row, m.Event.String()+string(m.Data))
		}
		want := "up, messagea, messageb, messagec, down, restarted, up, messaged, messagee"
		if got := strings.Join(row, ", "); got != want {
			t.Errorf("bob received %q, want %q", got, want)
		}
		if !slices.Equal(seqs, []uint64{1, 2, 3, 4, 5}) {
			t.Errorf("numbers %v, want 1 to 5", seqs)
		}
		back.Ack(3)
		step(time.Second)
		if got := s.Unacked(); got != 2 {
			t.Errorf("%d unacked after an ack of the old messages, want 2", got)
		}
		back.Ack(4)
		step(time.Second)
		if got := s.Unacked(); got != 1 {
			t.Errorf("%d unacked after an ack of the first new one, want 1", got)
		}
		alice.stop()
		bob.stop()
	})
}
