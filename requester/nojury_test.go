package requester

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/trust"
)

// A dispute about final pay takes a block or two until it is on the chain; it finds no jury twice, and is asked a third time. When it may not be asked again, the job says that what was paid could not be had.
func TestReviewIsAskedAgainEachTime(t *testing.T) {
	for _, delay := range []time.Duration{0, 10 * time.Second} {
		t.Run(delay.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := hold(t, trust.Whole, func(w lease.Work, k job.Task) *job.Result {
					r := truth(w, k)
					if k.Index == 5 {
						r.Stdout = text("made up")
					}
					return r
				})
				defer a.close(t)
				a.c.mu.Lock()
				a.c.delay = delay
				a.c.hearings = nil
				a.c.recent, a.c.convicted = []Hearing{a.h}, time.Now().Add(24*time.Hour)
				a.c.mu.Unlock()
				for want := 1; want <= 3; want++ {
					time.Sleep(10 * time.Minute)
					synctest.Wait()
					if n := len(a.c.asked()); n != want {
						t.Fatalf("asked %d times, want %d", n, want)
					}
					if want < 3 {
						a.c.ends(NoJury)
					}
				}
				a.c.givesUp()
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				states, err := a.r.journal.reviewedOf(t.Context(), a.job)
				if n := len(a.c.asked()); err != nil || n != 3 || states[5] != reviewLapsed {
					t.Errorf("asked %d times, task 5 is %q, %v", n, states[5], err)
				}
			})
		})
	}
}

// Mallory, a friend of bob's, contradicts him about a leaf that finds no jury, or one that says that he was right. Jack sits beside her and found his lie; it is asked about, too, also when she has no place any more and nobody else comes.
func TestAShieldedLieIsAskedAbout(t *testing.T) {
	for _, o := range []Outcome{NoJury, AccusedRight} {
		t.Run(string(o), func(t *testing.T) { shielded(t, o) })
	}
}

func shielded(t *testing.T, outcome Outcome) {
	synctest.Test(t, func(t *testing.T) {
		const shield, lie = 3, 17
		a := hold(t, trust.Whole, func(w lease.Work, k job.Task) *job.Result {
			r := truth(w, k)
			if k.Index == lie {
				r.Stdout = text("made up")
			}
			return r
		})
		defer a.close(t)
		place := func(draw uint64) uint64 { p, _ := a.h.draw().At(draw); return p }
		draw := uint64(0)
		for place(draw) != lie {
			draw++
		}
		a.mallory.lie = func(d uint64, s *trust.Say) {
			if d == shield {
				s.Answer[0]++
			}
			if d == draw {
				*s = a.bobs(t, lie, *s)
			}
		}
		sit(t, a.r, a.panel(draw/trust.PanelSize), a.mallory, a.jack)
		for range 20 {
			a.looks()
			a.c.ends(outcome)
		}
		a.looks()
		var places []uint64
		for _, q := range a.c.asked() {
			places = append(places, q.Place)
		}
		if !slices.Contains(places, lie) {
			t.Errorf("asked about places %v; the lie is at %d", places, lie)
		}
	})
}

// bobs is what bob said of a task, with the state of a juror.
func (a *audit) bobs(t *testing.T, place uint64, s trust.Say) trust.Say {
	for id := range a.tn.folk[0].paid {
		shown, err := a.r.Leaf(t.Context(), id, place, place+1)
		if err != nil {
			t.Fatal(err)
		}
		s.Answer = shown.Leaf.Answer()
	}
	return s
}
