package requester

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hpips/hpips/verify"
)

// crowd is some people at work on a board.
func crowd(n int) (people []*hire, atWork map[string]bool) {
	atWork = map[string]bool{}
	for i := range n {
		h := person(fmt.Sprint("person", i))
		people, atWork[h.owner] = append(people, h), true
	}
	return people, atWork
}

// TestNoHistoryLosesAJudgedTask plays random histories of giving, losing, failing and refusing: every task is decided exactly once, by a result that the
// checker found right, and nobody is given again what he was wrong about while there is somebody else.
func TestNoHistoryLosesAJudgedTask(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		count := rapid.Uint64Range(1, 20).Draw(t, "count")
		b := newBoard(count, rules{policy: verify.Policy{Copies: 1, Limit: 7}, judged: true})
		people, atWork := crowd(rapid.IntRange(1, 4).Draw(t, "people"))
		liars := rapid.IntRange(0, len(people)-1).Draw(t, "liars") // the first ones; one is honest
		decided := map[uint64]int{}
		refused := map[uint64]map[string]bool{}
		now := time.Unix(0, 0)
		answer := func(k int, i uint64) {
			h := people[k]
			if !b.arrived(i, h) {
				return
			}
			switch {
			case k >= liars:
				if b.count(i, h.owner).decided {
					decided[i]++
				}
			case rapid.IntRange(0, 4).Draw(t, "fails") == 0:
				failed := ballot(h, byte(k))
				failed.Failed = true
				if b.vote(i, failed, max(2, len(people))).decided {
					decided[i] += 100 // nobody else failed in the same way
				}
				return
			default:
				b.mislead(i, h.owner)
				if refused[i] == nil {
					refused[i] = map[string]bool{}
				}
				refused[i][h.owner] = true
				b.back(i, h)
				return
			}
			for _, o := range b.others(i, nil) {
				b.drop(i, o)
			}
		}
		act := func(k, what int) {
			h := people[k]
			now = now.Add(time.Second)
			switch what {
			case 0, 1:
				for _, i := range b.give(h, rapid.IntRange(1, 8).Draw(t, "n"), now, 2*time.Second) {
					if refused[i][h.owner] {
						t.Fatalf("%s has task %d again, with %d people at work", h.owner, i, len(people))
					}
				}
			case 2:
				b.lost(h)
			default:
				for i := range h.held {
					answer(k, i)
					break
				}
			}
		}
		for range rapid.IntRange(0, 150).Draw(t, "steps") {
			act(rapid.IntRange(0, len(people)-1).Draw(t, "who"), rapid.IntRange(0, 9).Draw(t, "what"))
		}
		for round := 0; !b.finished(); round++ {
			if round > 300 {
				t.Fatalf("stuck: %d of %d done, %d out, %d wanted", b.done, count, len(b.out), b.wanted())
			}
			if stuck := b.barred(atWork); len(stuck) > 0 {
				for _, i := range stuck {
					delete(refused, i)
				}
				b.forgive(stuck)
			}
			for k, h := range people {
				act(k, 0)
				for len(h.held) > 0 {
					act(k, 9)
				}
			}
		}
		for i := range count {
			if decided[i] != 1 {
				t.Fatalf("task %d was decided %d times", i, decided[i])
			}
		}
		if len(b.wrongs) != 0 || len(b.checks) != 0 || b.kept != 0 {
			t.Fatalf("left behind: %d wrong, %d checks, %d bytes", len(b.wrongs), len(b.checks), b.kept)
		}
	})
}

// TestNoHistoryMixesHardwareClasses: people of two classes answer, go and come back; what is accepted was said by two owners of one class, and is
// theirs.
func TestNoHistoryMixesHardwareClasses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		count := rapid.Uint64Range(1, 20).Draw(t, "count")
		same := func(a, b []byte) bool {
			if a[0] != b[0] {
				t.Fatalf("what %s and what %s said are compared", a, b)
			}
			return true
		}
		b := newBoard(count, rules{policy: verify.Policy{Copies: 2, Limit: 7, Same: same}, classed: true})
		people, _ := crowd(rapid.IntRange(3, 5).Draw(t, "people"))
		classes := map[string]int{}
		for k, h := range people {
			h.class = []string{"a", "b"}[min(1, k/2)] // two of the first, the others of the second
			classes[h.class]++
		}
		now := time.Unix(0, 0)
		act := func(k, what int) {
			h := people[k]
			now = now.Add(time.Second)
			switch what {
			case 0, 1:
				b.give(h, rapid.IntRange(1, 8).Draw(t, "n"), now, 2*time.Second)
			case 2:
				b.lost(h)
			default:
				for i := range h.held {
					if !b.arrived(i, h) {
						break
					}
					v := ballot(h, byte(k))
					v.Class, v.Value = h.class, []byte(fmt.Sprintf("%s %d", h.class, k))
					ruled := b.vote(i, v, len(people))
					if ruled.weigh {
						c := b.checks[i]
						w := weighed{i, len(c.votes), c.ran, verify.Judge(b.policy(c, c.owners), c.votes)}
						if ruled = b.weighed(w); b.weighed(w).decided {
							t.Fatal("one verdict decides twice")
						}
					}
					if ruled.decided && (ruled.undecided || !ruled.checked || len(ruled.odd) != 0) {
						t.Fatalf("task %d: %+v", i, ruled)
					}
					for _, o := range b.others(i, nil) {
						if b.state[i] == done {
							b.drop(i, o)
						}
					}
					break
				}
			}
		}
		for range rapid.IntRange(0, 150).Draw(t, "steps") {
			act(rapid.IntRange(0, len(people)-1).Draw(t, "who"), rapid.IntRange(0, 9).Draw(t, "what"))
		}
		for round := 0; !b.finished(); round++ {
			if round > 300 {
				t.Fatalf("stuck: %d of %d done, %d out, %d wanted", b.done, count, len(b.out), b.wanted())
			}
			for k, h := range people {
				act(k, 0)
				for len(h.held) > 0 {
					act(k, 9)
				}
			}
			b.rehome(classes)
		}
		if len(b.checks) != 0 || b.kept != 0 {
			t.Fatalf("left behind: %d checks, %d bytes", len(b.checks), b.kept)
		}
	})
}
