package pay

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/voucher"
)

func terms(slots int) lease.Terms {
	return lease.Terms{Order: lease.Order{Slots: slots}, Quote: lease.Quote{Slots: slots, Rates: rates}}
}

// used is the usage of a task of that length.
func used(took time.Duration) voucher.Usage { return Used(ran(0, took), job.Resources{}) }

func TestAWindowIsOneTaskAtFirstAndDoublesWithEachWindowPaid(t *testing.T) {
	hour := job.Limits{Time: job.Duration(time.Hour)}
	for name, row := range map[string]struct {
		limits job.Limits
		took   time.Duration // of each task, in CPU-seconds of 1000
		want   []uint64      // size before any result, after the first one, and after each window that is paid
	}{
		"tiny tasks begin at a second of the slots":  {hour, 10 * time.Millisecond, []uint64{120_000, 4000, 8000, 16_000, 32_000, 64_000, 120_000, 120_000}},
		"limits that are short are believed":         {job.Limits{Time: job.Duration(8 * time.Second)}, 2 * time.Second, []uint64{8000, 4000, 8000, 16_000, 32_000, 64_000, 120_000}},
		"long tasks fill the slots in the end":       {hour, time.Hour, []uint64{120_000, 3_600_000, 7_200_000, 14_400_000, 28_800_000, 28_800_000}},
		"no limit is as long as 30 s of the slots'":  {job.Limits{}, time.Minute, []uint64{120_000, 60_000, 120_000, 240_000, 480_000, 480_000}},
		"a task as long as the largest window there": {hour, 120 * time.Second, []uint64{120_000, 120_000, 240_000, 480_000, 960_000, 960_000}},
	} {
		w := NewWindow(terms(4), row.limits)
		paid := uint64(0)
		for i, want := range row.want {
			if w.Size() != want {
				t.Errorf("%s: window %d is %d, want %d", name, i, w.Size(), want)
			}
			if i == 0 {
				w.Ended(used(row.took))
				continue
			}
			paid += w.Size()
			w.Paid(paid)
		}
	}
}

func TestTheFirstTaskRunsAlone(t *testing.T) {
	w := NewWindow(terms(4), job.Limits{Time: job.Duration(time.Hour)})
	if !w.Start(0, 0) || w.Start(0, 1) || w.Start(1, 0) {
		t.Errorf("start: the first %v, a second %v, one beside an unpaid one %v", w.Start(0, 0), w.Start(0, 1), w.Start(1, 0))
	}
	w.Ended(used(10 * time.Millisecond))
	if !w.Start(10, 4) {
		t.Error("tiny tasks run side by side once one has shown what they cost")
	}
	long := NewWindow(terms(4), job.Limits{Time: job.Duration(time.Hour)})
	long.Ended(used(time.Hour))
	for paid, want := range []int{1, 2, 3, 4, 4} {
		long.Paid(uint64(paid) * 3_600_000)
		n := 0
		for n < 4 && long.Start(0, n) {
			n++
		}
		if n != want {
			t.Errorf("%d long tasks paid: %d run side by side, want %d", paid, n, want)
		}
	}
}

func TestARequesterSignsInTime(t *testing.T) {
	w := NewWindow(terms(4), job.Limits{Time: job.Duration(time.Hour)})
	w.Ended(used(10 * time.Millisecond)) // 4000
	for _, row := range []struct {
		owed   uint64
		waited time.Duration
		idle   bool
		due    bool
	}{{0, time.Hour, true, false}, {1, 0, false, false}, {1999, 0, false, false}, {2000, 0, false, true}, {1, time.Second, false, true}, {1, 0, true, true}} {
		if got := w.Due(row.owed, row.waited, row.idle); got != row.due {
			t.Errorf("%+v: due is %v", row, got)
		}
	}
}

func TestWhatCostsNothingHasNoWindow(t *testing.T) {
	var zero Window
	free := terms(4)
	free.Quote.Rates = voucher.Rates{}
	for name, w := range map[string]Window{"zero": zero, "free": NewWindow(free, job.Limits{})} {
		w.Ended(used(time.Hour))
		if !w.Start(0, 1<<20) || w.Keep(0, 4, 1000*time.Hour) != 4 || w.Due(0, time.Hour, true) {
			t.Errorf("%s: work that costs nothing is held up", name)
		}
	}
}

// Whatever the prices and the tasks, the largest credit is what was paid and one task or one second, and somebody who pays is never stuck.
func TestNobodyHasMoreCreditThanTheyHavePaid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := NewWindow(lease.Terms{
			Order: lease.Order{Resources: job.Resources{CPU: rapid.IntRange(0, 8).Draw(t, "cpu"), Memory: job.Size(rapid.Int64Range(0, 1<<40).Draw(t, "memory"))}},
			Quote: lease.Quote{Slots: rapid.IntRange(1, 64).Draw(t, "slots"), Rates: voucher.Rates{CPU: rapid.Uint64Range(1, 1<<40).Draw(t, "rate"), Memory: rapid.Uint64Range(0, 1<<30).Draw(t, "rate of memory")}},
		}, job.Limits{Time: job.Duration(rapid.Int64Range(0, int64(100*time.Hour)).Draw(t, "limit"))})
		var paid uint64
		for range 20 {
			if !w.Start(0, 0) {
				t.Fatal("stuck with nothing unpaid")
			}
			if most := plus(paid, max(w.Task(), w.second)); w.Size() > most {
				t.Fatalf("credit of %d after %d paid and a task of %d", w.Size(), paid, w.Task())
			}
			n := 0
			for n < 64 && w.Start(0, n) {
				n++
			}
			if n > 1 && product(uint64(n), w.Task()) > w.Size() {
				t.Fatalf("%d tasks of %d in a window of %d", n, w.Task(), w.Size())
			}
			u := used(time.Duration(rapid.Int64Range(0, int64(100*time.Hour)).Draw(t, "took")))
			w.Ended(u)
			paid = plus(paid, w.price(u))
			w.Paid(paid)
		}
	})
}

// The first task of a sandbox costs a hundred times what the others do. It holds them up until some have shown what they cost, not for ever; and what costs
// less than a base unit is not taken for one.
func TestTinyTasksAreReckonedAtWhatTheyCostOfLate(t *testing.T) {
	w := NewWindow(terms(1), job.Limits{Time: job.Duration(time.Hour)}) // a second costs 1000
	w.Ended(used(5 * time.Millisecond))
	if n := w.Fits(w.Size()); n != 200 {
		t.Errorf("after the first one %d fit into a second, want 200", n)
	}
	for range 2 * some {
		w.Ended(used(50 * time.Microsecond))
	}
	if n := w.Fits(w.Size()); n < 19_900 || n > 20_200 {
		t.Errorf("%d tasks of 50 µs fit into a second, want about 20,000", n)
	}
	w.Ended(used(100 * time.Millisecond))
	if n := w.Fits(w.Size()); n != 10 {
		t.Errorf("after a long one %d fit, want 10 at once", n)
	}
}
