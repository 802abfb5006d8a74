package p2p

import (
	"testing"

	"pgregory.net/rapid"
)

// The log of a sender against a plain list: whatever is acked, lost and resumed, the peer gets 1, 2, 3 … and nothing
// acked comes again.
func TestOutlogAgainstAList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := newOutlog()
		added, renumbered := 0, 0 // messages added; messages gone by the time of the last renumbering
		received, acked := uint64(0), uint64(0)
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				for range rapid.IntRange(1, 3000).Draw(t, "n") {
					added++
					o.add(text(added))
				}
			},
			"send": func(t *rapid.T) {
				msgs, first := o.batch(nil, rapid.IntRange(0, 100000).Draw(t, "bytes"))
				if first != received+1 {
					t.Fatalf("first message is %d, but the peer has %d", first, received)
				}
				for _, m := range msgs {
					received++
					if want := text(renumbered + int(received)); string(m) != string(want) {
						t.Fatalf("message %d is %q, want %q", received, m, want)
					}
				}
			},
			"ack": func(t *rapid.T) {
				acked = rapid.Uint64Range(acked, received).Draw(t, "seq")
				if err := o.ack(acked); err != nil {
					t.Fatal(err)
				}
			},
			"lose": func(t *rapid.T) {
				received = rapid.Uint64Range(acked, received).Draw(t, "received")
				if err := o.resume(received, acked); err != nil {
					t.Fatal(err)
				}
			},
			"restart": func(*rapid.T) {
				o.renumber()
				renumbered += int(acked)
				received, acked = 0, 0
			},
			"lie": func(t *rapid.T) {
				beyond := o.sent + rapid.Uint64Range(1, 1<<60).Draw(t, "beyond")
				if o.ack(beyond) == nil || o.resume(beyond, acked) == nil {
					t.Fatal("a peer may ack what was never sent")
				}
			},
			"": func(t *rapid.T) {
				if want := added - renumbered - int(acked); o.len() != want {
					t.Fatalf("holds %d messages, want %d", o.len(), want)
				}
				if (o.len() == 0) != (o.bytes == 0) {
					t.Fatalf("%d messages, %d bytes", o.len(), o.bytes)
				}
			},
		})
	})
}

func TestOutlogRefusesWhatIsGone(t *testing.T) {
	o := newOutlog()
	for i := range 5 {
		o.add(text(i))
	}
	o.batch(nil, 1<<20)
	if err := o.ack(3); err != nil {
		t.Fatal(err)
	}
	if err := o.resume(2, 2); err == nil {
		t.Error("a peer that acked 3 messages may say that it received 2")
	}
}

func TestInboxMergesEvents(t *testing.T) {
	var in inbox
	in.add([]byte("x"))
	for range 100 {
		in.event(EventUp)
		in.event(EventDown)
	}
	in.restart()
	in.event(EventUp)
	if len(in.q) > maxEvents+1 {
		t.Errorf("%d entries wait, want at most %d", len(in.q), maxEvents+1)
	}
	var last Message
	restarted := false
	for m, ok := in.take(); ok; m, ok = in.take() {
		last = m
		restarted = restarted || m.Event == EventRestarted
	}
	if last.Event != EventUp || !restarted {
		t.Errorf("ends with %v, restart told: %v; want up and true", last.Event, restarted)
	}
	in.add([]byte("y"))
	if m, _ := in.take(); m.Seq != 2 || string(m.Data) != "y" {
		t.Errorf("after the restart came %d %q, want 2 y", m.Seq, m.Data)
	}
}

func TestSettle(t *testing.T) {
	const bob, newBob = 5, 6
	mine, his := func(n uint64) linkID { return linkID{Opener: true, N: n} }, func(n uint64) linkID { return linkID{N: n} }
	low := standing{opener: true, lower: true, peer: bob}
	high := standing{opener: true, peer: bob}
	with := func(s standing, f func(*standing)) standing { f(&s); return s }
	using := func(id linkID) func(*standing) { return func(s *standing) { s.attached, s.last = true, id } }
	used := func(id linkID) func(*standing) { return func(s *standing) { s.last = id } }
	dialling := func(s *standing) { s.dialling = true }
	for _, c := range []struct {
		name string
		s    standing
		h    hello
		want error
	}{
		{"no stream", low, hello{Self: bob, Dial: 1}, nil},
		{"first contact", standing{}, hello{Self: bob, Dial: 1}, nil},
		{"bob restarted while a stream seems up", with(low, using(mine(3))), hello{Self: newBob, Dial: 1}, nil},
		{"bob restarted, his count is low", with(low, using(his(9))), hello{Self: newBob, Dial: 1}, nil},
		{"bob restarted, this side is dialling", with(low, dialling), hello{Self: newBob, Dial: 1}, errGlare},
		{"bob dials again", with(low, using(his(3))), hello{Self: bob, Dial: 4, Last: his(3)}, nil},
		{"bob's old dial comes late", with(low, using(his(3))), hello{Self: bob, Dial: 2}, errLateDial},
		{"bob's old dial comes late, stream lost", with(low, used(his(3))), hello{Self: bob, Dial: 3}, errLateDial},
		{"bob lost this side's stream", with(low, using(mine(3))), hello{Self: bob, Dial: 1, Last: mine(3)}, nil},
		{"glare, this side lower", with(low, using(mine(3))), hello{Self: bob, Dial: 1, Last: mine(2)}, errGlare},
		{"glare, this side higher", with(high, using(mine(3))), hello{Self: bob, Dial: 1, Last: mine(2)}, nil},
		{"both dialling, this side lower", with(low, dialling), hello{Self: bob, Dial: 1}, errGlare},
		{"both dialling, this side higher", with(high, dialling), hello{Self: bob, Dial: 1}, nil},
		{"bob dials a second time", with(low, func(s *standing) { s.dialling, s.refused = true, true }), hello{Self: bob, Dial: 2}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := settle(c.s, c.h); got != c.want {
				t.Errorf("settle = %v, want %v", got, c.want)
			}
		})
	}
}
