package node

import (
	"testing"
	"time"

	"github.com/hpips/hpips/spec/proof"
)

// A part that stalls is tried after 1, 2, 4 … minutes, at least once in an hour; one that came begins anew.
func TestAPartThatStallsIsTriedLessAndLess(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	all := newTries(func() time.Time { return now })
	p := proof.Part{Deal: 7, Number: 3}
	for i, want := range []int{1, 2, 4, 8, 16, 32, 60, 60} {
		if all.rests(p) {
			t.Fatalf("try %d: it rests", i)
		}
		all.failed(p)
		pause := time.Duration(want) * time.Minute
		now = now.Add(pause - time.Second)
		if !all.rests(p) {
			t.Errorf("try %d: it is tried before %v", i, pause)
		}
		now = now.Add(time.Second)
	}
	all.done(p)
	all.failed(p)
	now = now.Add(time.Minute)
	if all.rests(p) {
		t.Error("what came once rests longer than a minute after the next failure")
	}
	for n := range uint64(3 * keepForgets) {
		all.failed(proof.Part{Deal: 8, Number: n})
		now = now.Add(time.Minute)
	}
	if len(all.all) > keepForgets {
		t.Errorf("%d parts are remembered", len(all.all))
	}
}
