package requester

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/trust"
)

// Each juror finds something else: alice's program asks a clock. She notes it for good, tells the job, and asks no jury about it any more, neither about what is under way nor about what comes.
func TestAProgramOfChanceIsNotAskedAboutAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := hold(t, trust.Whole, nil)
		defer a.close(t)
		late, _ := a.jill.looks(t, a.r, a.panel(1))
		a.mallory.lie = lies(5)
		sit(t, a.r, a.panel(0), a.jack, a.mallory)
		a.looks()
		if len(a.c.asked()) != 1 {
			t.Fatalf("%d disputes", len(a.c.asked()))
		}
		a.c.ends(Undecided)
		a.looks()
		a.stop()
		a.r, a.stop = a.tn.life()
		a.looks()
		a.says(t, "its program is not deterministic: each juror found another result of task")
		if _, err := a.jack.asks(a.r, a.panel(2)); !errors.Is(err, errChance) {
			t.Errorf("jack is told what to look at: %v", err)
		}
		if open, err := a.r.journal.questions(t.Context()); err != nil || len(open) > 0 {
			t.Errorf("%+v, %v", open, err)
		}
		if h, err := a.jill.says(a.r, a.panel(1), &late, nil); err != nil || h.Stage != lease.StageWaiting {
			t.Errorf("%+v, %v", h, err)
		}

		a.job = submit(t, a.r, a.tn.dearCount(10))
		if s := finish(t, a.r, a.job); s.State != job.Settled {
			t.Fatalf("status %+v, error %+v", s, s.Error)
		}
		a.says(t, "no jury is asked about its results: jurors found before that its program is not deterministic")
		purses, err := a.r.journal.purses(t.Context(), a.job)
		if err != nil || len(purses) == 0 {
			t.Fatalf("%+v, %v", purses, err)
		}
		for _, p := range purses {
			if p.Lease.Terms.Pay.Jury {
				t.Errorf("jurors may look at what is paid under %s", p.Lease.ID())
			}
		}
	})
}

// Two jurors differ about a program of which that is known by now: nobody is asked about it, and nothing of it is attested.
func TestJurorsOfAProgramOfChanceDiffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := hold(t, trust.Whole, nil)
		defer a.close(t)
		vote, voice := a.jack.looks(t, a.r, a.panel(1))
		a.mallory.lie = lies(trust.PanelSize + 3)
		hers, says := a.mallory.looks(t, a.r, a.panel(1))
		s, err := a.r.Statement(t.Context(), leaseOf(t, a), 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.r.journal.addChance(t.Context(), s.Work.Module, a.job, "by chance", a.r.now()); err != nil {
			t.Fatal(err)
		}
		for _, step := range []func() (lease.Heard, error){
			func() (lease.Heard, error) { return a.jack.says(a.r, a.panel(1), &vote, nil) }, func() (lease.Heard, error) { return a.mallory.says(a.r, a.panel(1), &hers, nil) },
			func() (lease.Heard, error) { return a.jack.says(a.r, a.panel(1), nil, &voice) }, func() (lease.Heard, error) { return a.mallory.says(a.r, a.panel(1), nil, &says) },
		} {
			if _, err := step(); err != nil {
				t.Fatal(err)
			}
		}
		a.looks()
		if len(a.c.asked()) > 0 || len(a.c.found()) > 0 {
			t.Errorf("%d disputes, attested are %v", len(a.c.asked()), a.c.found())
		}
	})
}

func leaseOf(t *testing.T, a *audit) string {
	t.Helper()
	id, _, err := a.r.known(t.Context(), a.h.Lease)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// Alice's own PC makes an error, and she asks jurors about what bob and his panel agree on. They say that bob is right, and the panel is attested after all. Without a jury it is not, and she asks again.
func TestAlicesOwnPCIsWrong(t *testing.T) {
	for outcome, want := range map[Outcome][][]uint64{AccusedRight: {{0}}, NoJury: nil} {
		t.Run(string(outcome), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := hold(t, trust.Whole, nil)
				defer a.close(t)
				a.stop()
				a.c.canaries = 1
				a.c.examine = func(ctx context.Context, s lease.Statement, points []uint64) (trust.Digest, []trust.Digest, error) {
					answer, states, err := examine(ctx, s, points)
					answer[0]++
					return answer, states, err
				}
				a.r, a.stop = a.tn.life()
				sit(t, a.r, a.panel(0), a.jack, a.jill)
				a.looks()
				if len(a.c.asked()) != 1 || len(a.c.found()) > 0 {
					t.Fatalf("%d disputes, attested are %v", len(a.c.asked()), a.c.found())
				}
				a.c.ends(outcome)
				a.looks()
				if got := a.c.found(); !reflect.DeepEqual(got, want) {
					t.Errorf("attested are %v, want %v", got, want)
				}
				if n := len(a.c.asked()); n != 2-len(want) {
					t.Errorf("%d disputes", n)
				}
			})
		})
	}
}

// Mallory is found wrong elsewhere while alice's panel waits: the chain takes no word of hers, and the panel goes on with another juror.
func TestAJurorWithoutATicketLosesItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := hold(t, trust.Whole, nil)
		defer a.close(t)
		sit(t, a.r, a.panel(1), a.jack, a.mallory)
		a.c.mu.Lock()
		a.mallory.barred = true
		a.c.mu.Unlock()
		sit(t, a.r, a.panel(0), a.jack, a.jill)
		a.looks()
		if got := a.c.found(); !reflect.DeepEqual(got, [][]uint64{{0}}) {
			t.Errorf("attested are %v", got)
		}
		if _, err := a.mallory.asks(a.r, a.panel(1)); err == nil || !strings.Contains(err.Error(), ErrNoTicket.Error()) {
			t.Errorf("mallory may come again: %v", err)
		}
		sit(t, a.r, a.panel(1), a.jill, a.jack)
		a.looks()
		if paid := a.c.paid(); paid[a.jack.node] != 2 || paid[a.jill.node] != 2 || paid[a.mallory.node] != 0 {
			t.Errorf("attested are %v, paid %v", a.c.found(), paid)
		}
	})
}
