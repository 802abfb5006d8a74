package requester

import (
	"testing"
	"testing/synctest"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/trust"
)

// Mallory copies answers, and has no state of her own. Alice runs a draw of each panel herself, also where several fall on one result.
func TestAJurorWhoCopiedIsAccused(t *testing.T) {
	for name, row := range map[string]struct {
		copies bool
		rate   uint64
	}{"mallory copies": {true, trust.Whole}, "everybody works": {false, trust.Whole}, "mallory copies rows": {true, trust.Whole - 50_000}, "everybody works on rows": {false, trust.Whole - 50_000}} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && row.rate != trust.Whole {
				t.Skip("hundreds of panels")
			}
			synctest.Test(t, func(t *testing.T) {
				copies, a := row.copies, hold(t, row.rate, nil)
				defer a.close(t)
				a.stop()
				a.c.canaries = 1
				a.r, a.stop = a.tn.life()
				if copies {
					a.mallory.lie = func(_ uint64, s *trust.Say) { s.State = trust.Digest{1} }
				}
				sit(t, a.r, a.panel(0), a.jack, a.mallory)
				for n := uint64(1); !copies && n < trust.Panels(a.h.Draws); n++ {
					sit(t, a.r, a.panel(n), a.jack, a.mallory)
				}
				a.looks()
				asked := a.c.asked()
				if !copies {
					if len(asked) > 0 {
						t.Errorf("%+v", asked)
					}
					return
				}
				if len(asked) != 1 || asked[0].Accused != 2 || asked[0].Witnesses[1].Juror != a.mallory.node {
					t.Errorf("%+v", asked)
				}
				if h, err := a.mallory.asks(a.r, a.panel(0)); err != nil || h.Stage != lease.StageFilled || len(a.c.found()) > 0 {
					t.Errorf("she may come again: %+v, %v; attested are %v", h, err, a.c.found())
				}
				sit(t, a.r, a.panel(0), a.jill, a.jack) // he tells it again
				a.looks()
				if paid := a.c.paid(); len(a.c.asked()) != 1 || paid[a.jack.node] != 1 || paid[a.jill.node] != 1 || paid[a.mallory.node] != 0 {
					t.Errorf("%d disputes; jack has %d fees, jill %d, mallory %d", len(a.c.asked()), paid[a.jack.node], paid[a.jill.node], paid[a.mallory.node])
				}
			})
		})
	}
}

// Bob made a result up, and his jurors jack and mallory say the same. Alice runs a draw herself: she asks fresh jurors by her own word, and nobody of the panel is paid.
func TestBobAndHisJurorsLieAlike(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lie := func(w lease.Work, k job.Task) *job.Result {
			r := truth(w, k)
			r.Stdout = text("made up")
			return r
		}
		a := hold(t, trust.Whole, lie)
		defer a.close(t)
		a.stop()
		a.c.canaries = 1
		a.r, a.stop = a.tn.life()
		for _, j := range []*juror{a.jack, a.mallory} {
			j.runs = func(s lease.Statement) (trust.Digest, uint64) {
				r := lie(s.Work, s.Task)
				return trust.Answer(r.Digest(), uint64(r.Usage.Work)), uint64(r.Usage.Work)
			}
		}
		a.c.full = 1
		a.c.disputes = []Question{{Place: audited}} // the lease has no room for another
		sit(t, a.r, a.panel(0), a.jack, a.mallory)
		a.looks()
		if asked, found := a.c.asked(), a.c.found(); len(asked) != 1 || len(found) > 0 {
			t.Fatalf("%d disputes, attested are %v", len(asked), found)
		}
		a.c.mu.Lock()
		a.c.full = 0
		a.c.mu.Unlock()
		a.looks()
		a.looks()
		asked := a.c.asked()
		if len(asked) != 2 || len(asked[1].Witnesses) > 0 || asked[1].Accused != 0 || asked[1].Place >= trust.PanelSize {
			t.Errorf("%+v", asked)
		}
		if len(a.c.found()) > 0 || a.verified(t) != 0 {
			t.Errorf("attested are %v, %d tasks are verified", a.c.found(), a.verified(t))
		}
	})
}
