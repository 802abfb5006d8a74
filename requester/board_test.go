package requester

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hpips/hpips/verify"
)

func person(name string) *hire {
	return &hire{id: name, node: name, owner: name, slots: 1, held: map[uint64]struct{}{}, ready: true, up: true}
}

func ballot(h *hire, digest byte) verify.Vote {
	return verify.Vote{Node: h.node, Owner: h.owner, Digest: [32]byte{digest}}
}

func TestEveryTaskIsGivenOnce(t *testing.T) {
	b := newBoard(5, rules{policy: verify.Policy{Copies: 1, Limit: 1}})
	alice, bob := person("alice"), person("bob")
	now := time.Unix(0, 0)
	got := slices.Concat(b.give(alice, 3, now, 0), b.give(bob, 3, now, 0))
	if want := []uint64{0, 1, 2, 3, 4}; !slices.Equal(got, want) {
		t.Fatalf("given %v, want %v", got, want)
	}
	for i := range uint64(5) {
		h := alice
		if i > 2 {
			h = bob
		}
		if !b.arrived(i, h) || !b.vote(i, ballot(h, 1), 2).decided {
			t.Fatalf("task %d does not count", i)
		}
	}
	if !b.finished() || len(b.out) != 0 || len(alice.held)+len(bob.held) != 0 {
		t.Fatalf("not finished: %d done, %d out", b.done, len(b.out))
	}
}

func TestLostTasksGoToTheOther(t *testing.T) {
	b := newBoard(4, rules{policy: verify.Policy{Copies: 1, Limit: 1}})
	alice, bob := person("alice"), person("bob")
	now := time.Unix(0, 0)
	b.give(alice, 4, now, 0)
	b.arrived(1, alice)
	b.vote(1, ballot(alice, 1), 2)
	held, rerun := b.lost(alice)
	if !slices.Equal(held, []uint64{0, 2, 3}) || rerun != 3 {
		t.Fatalf("lost %v, %d to rerun", held, rerun)
	}
	if got := b.give(bob, 4, now, 0); !slices.Equal(got, []uint64{0, 2, 3}) {
		t.Fatalf("bob got %v", got)
	}
}

func TestSlowTasksAreCopiedAtTheTail(t *testing.T) {
	b := newBoard(2, rules{policy: verify.Policy{Copies: 1, Limit: 1}})
	alice, bob := person("alice"), person("bob")
	start := time.Unix(0, 0)
	b.give(alice, 1, start, 0)
	b.give(bob, 1, start.Add(time.Second), 0)
	b.arrived(1, bob)
	b.vote(1, ballot(bob, 1), 2)
	if got := b.give(bob, 2, start.Add(2*time.Second), 3*time.Second); len(got) != 0 {
		t.Fatalf("copied %v before its time", got)
	}
	if got := b.give(bob, 2, start.Add(4*time.Second), 3*time.Second); !slices.Equal(got, []uint64{0}) {
		t.Fatalf("copied %v, want task 0", got)
	}
	if others := b.others(0, bob); len(others) != 1 || others[0] != alice {
		t.Fatalf("others %v", others)
	}
	b.arrived(0, bob)
	b.vote(0, ballot(bob, 1), 2)
	if b.arrived(0, alice) {
		t.Fatal("alice's late copy still counts")
	}
}

func TestCopiesGoToDifferentOwners(t *testing.T) {
	b := newBoard(3, rules{policy: verify.Policy{Copies: 2, Limit: 7}})
	alice, twin, bob := person("alice"), person("twin"), person("bob")
	twin.owner = "alice"
	now := time.Unix(0, 0)
	if got := b.give(alice, 10, now, 0); len(got) != 3 {
		t.Fatalf("alice got %v", got)
	}
	if got := b.give(twin, 10, now, 0); len(got) != 0 {
		t.Fatalf("alice's other node got copies %v of her tasks", got)
	}
	got := b.give(bob, 10, now, 0)
	slices.Sort(got)
	if !slices.Equal(got, []uint64{0, 1, 2}) {
		t.Fatalf("bob got %v", got)
	}
}

func TestCarolLiesAndIsOdd(t *testing.T) {
	b := newBoard(1, rules{policy: verify.Policy{Copies: 2, Limit: 7}})
	alice, bob, carol := person("alice"), person("bob"), person("carol")
	now := time.Unix(0, 0)
	b.give(alice, 1, now, 0)
	b.give(carol, 1, now, 0)
	b.arrived(0, carol)
	b.vote(0, ballot(carol, 9), 3)
	b.arrived(0, alice)
	if v := b.vote(0, ballot(alice, 1), 3); v.decided {
		t.Fatal("decided with one vote each")
	}
	if got := b.give(bob, 1, now, 0); !slices.Equal(got, []uint64{0}) {
		t.Fatalf("the quorum does not grow: bob got %v", got)
	}
	b.arrived(0, bob)
	v := b.vote(0, ballot(bob, 1), 3)
	if !v.accepted || v.digest != [32]byte{1} || !slices.Equal(v.odd, []string{"carol"}) || !v.checked {
		t.Fatalf("verdict %+v", v)
	}
}

func TestAloneNothingIsChecked(t *testing.T) {
	b := newBoard(100, rules{policy: verify.Policy{Copies: 1, Limit: 7}, rate: 1})
	alice := person("alice")
	for i := range b.give(alice, 100, time.Unix(0, 0), 0) {
		b.arrived(uint64(i), alice)
		if !b.vote(uint64(i), ballot(alice, 1), 1).decided {
			t.Fatalf("task %d waits for a second owner that is not there", i)
		}
	}
}

func TestRelaxWhenTheSecondOwnerLeaves(t *testing.T) {
	b := newBoard(1, rules{policy: verify.Policy{Copies: 1, Limit: 7}, rate: 1})
	alice, bob := person("alice"), person("bob")
	b.give(alice, 1, time.Unix(0, 0), 0)
	b.give(bob, 1, time.Unix(0, 0), 0)
	b.arrived(0, alice)
	b.vote(0, ballot(alice, 1), 2)
	b.lost(bob)
	if decided := b.relax(); len(decided) != 1 || !b.finished() {
		t.Fatalf("relaxed %v", decided)
	}
}

// TestNoHistoryLosesATask plays random histories of giving, answering, losing and cancelling against the rule that every task is decided exactly
// once and that nothing is left behind.
func TestNoHistoryLosesATask(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		count := rapid.Uint64Range(1, 40).Draw(t, "count")
		copies := rapid.IntRange(1, 3).Draw(t, "copies")
		b := newBoard(count, rules{policy: verify.Policy{Copies: copies, Limit: 7}, rate: rapid.Float64Range(0, 1).Draw(t, "rate")})
		people := make([]*hire, 4)
		for i := range people {
			people[i] = person(fmt.Sprint("person", i))
		}
		decided := map[uint64]int{}
		now := time.Unix(0, 0)
		act := func(h *hire, what int) {
			now = now.Add(time.Second)
			switch what {
			case 0, 1:
				b.give(h, rapid.IntRange(1, 8).Draw(t, "n"), now, 2*time.Second)
			case 2:
				b.lost(h)
			default:
				for i := range h.held {
					if b.arrived(i, h) && b.vote(i, ballot(h, 1), len(people)).decided {
						decided[i]++
						for _, o := range b.others(i, h) {
							b.drop(i, o)
						}
					}
					break
				}
			}
		}
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			act(people[rapid.IntRange(0, 3).Draw(t, "who")], rapid.IntRange(0, 9).Draw(t, "what"))
		}
		for round := 0; !b.finished(); round++ {
			if round > 1000 {
				t.Fatalf("stuck: %d of %d done, %d out, %d wanted", b.done, count, len(b.out), b.wanted())
			}
			for _, h := range people {
				act(h, 0)
				for len(h.held) > 0 {
					act(h, 9)
				}
			}
		}
		for i := range count {
			if decided[i] != 1 {
				t.Fatalf("task %d was decided %d times", i, decided[i])
			}
		}
	})
}

func BenchmarkBoard(b *testing.B) {
	board := newBoard(uint64(b.N), rules{policy: verify.Policy{Copies: 1, Limit: 7}, rate: 0.05})
	alice, bob := person("alice"), person("bob")
	now := time.Unix(0, 0)
	for !board.finished() {
		for _, h := range []*hire{alice, bob} {
			for _, i := range board.give(h, 1000, now, 0) {
				board.arrived(i, h)
				board.vote(i, ballot(h, 1), 2)
			}
		}
	}
}
