package provider

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hpips/hpips/pay"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/trust"
	"github.com/hpips/hpips/spec/voucher"
)

// wantsJury makes a lease's payer sign roots.
func wantsJury(t *lease.Terms) { t.Pay.Jury = true }

// counts takes a result for one that she pays for, and puts its leaf behind all others.
func (a *patron) counts(r job.Result) {
	a.t.Helper()
	u := pay.Used(r, a.lease.Terms.Order.Resources)
	if a.used = a.used.Add(u); a.tally != nil && u.Tasks > 0 {
		a.tally.Add(pay.Deed{Index: r.Index, Statement: a.state(job.Task{Index: r.Index}), Result: r.Digest(), Work: u.Work})
	}
}

// root is that of all results that she has; nothing but zeros where she wants no jury.
func (a *patron) root() [32]byte {
	if a.tally == nil {
		return [32]byte{}
	}
	draft := a.tally.Draft()
	root, _, _ := draft.Reckon()
	a.tally.Kept(draft)
	return root
}

// names is a voucher as she sends it.
func (a *patron) names(s voucher.Signed) *lease.Voucher {
	v := lease.Voucher{Signed: s}
	if a.tally != nil {
		v = a.tally.Message(s)
	}
	return &v
}

// swears hires bob with a jury.
func (a *patron) swears(w lease.Work, slots int) *lease.Held {
	a.t.Helper()
	var err error
	if a.state, err = w.Digests(); err != nil {
		a.t.Fatal(err)
	}
	return a.hires(w, slots, plenty, wantsJury)
}

// told is what bob says last of the results that he has taken vouchers for, until he has said nothing for a while.
func (a *patron) told(quiet time.Duration) (taken uint64) {
	a.t.Helper()
	for {
		m, ok := a.hearsWithin(quiet)
		if !ok {
			return taken
		}
		if m.Taken != nil {
			taken = m.Taken.Tasks
		}
		if m.Results != nil {
			for _, r := range m.Results.Results {
				a.got[r.Index] = r
				a.counts(r)
			}
		}
	}
}

// leaves checks that bob shows n leaves under the root of a voucher, of her results.
func (a *patron) leaves(payee Payee, v voucher.Voucher) {
	a.t.Helper()
	for place := range v.Usage.Tasks {
		shown, err := payee.(*pay.Payee).Leaf(context.Background(), a.lease.Terms.Key(), place, v.Usage.Tasks)
		if err != nil {
			a.t.Fatal(err)
		}
		r := a.got[shown.Index]
		if shown.Leaf.Statement != trust.Digest(a.state(job.Task{Index: r.Index})) || shown.Leaf.Result != trust.Digest(r.Digest()) {
			a.t.Errorf("leaf %d is not that of task %d", place, r.Index)
		}
		if err := trust.CheckPath(v.Root, v.Usage.Tasks, place, shown.Leaf.Seal(shown.Salt), shown.Path); err != nil {
			a.t.Errorf("leaf %d: %v", place, err)
		}
	}
}

func TestBobShowsTheLeavesThatHeIsPaidFor(t *testing.T) {
	paidStory(t, func(t *testing.T, b *bob, a *patron) {
		a.swears(a.work("second"), 2)
		a.assigns(upTo(6)...)
		if no := a.takes(1100 * time.Millisecond); no != nil {
			t.Fatalf("refused: %+v", no)
		}
		first := a.pays()
		if n := a.told(900 * time.Millisecond); n != first.Voucher.Usage.Tasks || n == 0 {
			t.Fatalf("bob says that he has taken %d, she signed for %d", n, first.Voucher.Usage.Tasks)
		}
		a.leaves(b.payee, first.Voucher)
		b.restarts()
		a.wire = b.visits("alice").wire
		if held := a.resumes(a.work("second")); held.Taken != first.Voucher.Usage.Tasks {
			t.Errorf("after his restart he has taken %d", held.Taken)
		}
		a.tally.Doubt()
		a.assigns(upTo(6)...) // some of them he does once more
		a.told(3 * time.Second)
		for range 4 {
			a.pays()
			a.told(3 * time.Second)
		}
		last := a.pays()
		if len(a.got) != 6 || a.told(time.Second) != last.Voucher.Usage.Tasks || last.Voucher.Usage.Tasks < 6 {
			t.Errorf("%d results, %d are paid for", len(a.got), last.Voucher.Usage.Tasks)
		}
		a.leaves(b.payee, last.Voucher)
	}, slots(2))
}

// Alice names a result that bob never gave. He takes none of her vouchers, and stops as with anybody who does not pay.
func TestBobTakesNoRootThatIsNotHis(t *testing.T) {
	paidStory(t, func(t *testing.T, b *bob, a *patron) {
		a.swears(a.work("second"), 1)
		a.assigns(upTo(100)...)
		honest := a.state
		a.state = func(k job.Task) [32]byte {
			if k.Index == 1 {
				return [32]byte{'f', 'o', 'r', 'g', 'e', 'd'}
			}
			return honest(k)
		}
		var no *lease.Refused
		for range 40 {
			if no = a.takes(3 * time.Second); no != nil {
				break
			}
			a.pays()
		}
		synctest.Wait()
		_, promised := b.payee.Unpaid(a.lease)
		if loss := a.worth() - promised; no == nil || !strings.Contains(no.Reason, "pay: ") || loss > a.window() {
			t.Errorf("bob has done %d for nothing of a window of %d, and says %+v", loss, a.window(), no)
		}
		if n := b.payee.Taken(t.Context(), a.lease); n > 1 {
			t.Errorf("he has taken %d", n)
		}
	})
}

func TestAJuryCannotRunWhatCameLive(t *testing.T) {
	paidStory(t, func(t *testing.T, b *bob, a *patron) {
		a.signsFor(1, plenty, wantsJury)
		w := a.work("second")
		w.Live = true
		a.says(lease.Message{Begin: &lease.Begin{Lease: a.lease, Work: w}})
		if no := a.takes(time.Minute); no == nil || !strings.Contains(no.Reason, "live") {
			t.Errorf("refusal %+v", no)
		}
	})
}

// Nothing is kept or said of leaves where nobody wants a jury.
func TestWhoWantsNoJuryHearsNothingOfIt(t *testing.T) {
	paidStory(t, func(t *testing.T, b *bob, a *patron) {
		a.hires(a.work("10ms"), 1, plenty)
		a.assigns(upTo(5)...)
		a.takes(time.Second)
		a.pays()
		var kinds []string
		for m, ok := a.hearsWithin(time.Second); ok; m, ok = a.hearsWithin(time.Second) {
			if m.Taken != nil || m.Held != nil && m.Held.Taken != 0 {
				kinds = append(kinds, "taken")
			}
		}
		if slices.Contains(kinds, "taken") {
			t.Error("bob tells how many leaves he has")
		}
	})
}
