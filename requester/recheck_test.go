package requester

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/trust"
)

// Bob was convicted, and alice looks again at what she paid him for before: what was wrong and no jury had seen is disputed, and its job says so.
func TestWhatAConvictedNodeDidIsLookedAtAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wrong := []uint64{5, 150}
		a := hold(t, trust.Whole, func(w lease.Work, k job.Task) *job.Result {
			r := truth(w, k)
			if slices.Contains(wrong, k.Index) {
				r.Stdout = text("made up")
			}
			return r
		})
		defer a.close(t)
		a.c.mu.Lock()
		a.c.hearings = nil // its pay is final
		a.c.recent, a.c.convicted = []Hearing{a.h}, time.Now().Add(time.Hour)
		a.c.mu.Unlock()
		done := map[trust.Matter]bool{}
		for range 2 { // a conviction counts once
			if err := a.r.recheckAll(t.Context(), done); err != nil {
				t.Fatal(err)
			}
		}
		var found []uint64
		for _, q := range a.c.asked() {
			found = append(found, q.Shown.Index)
			if len(q.Witnesses) != 0 || q.Accused != 0 {
				t.Errorf("%+v", q)
			}
		}
		slices.Sort(found)
		if !slices.Equal(found, wrong) {
			t.Errorf("disputed are the results of tasks %v, want %v", found, wrong)
		}
		why, err := a.r.Why(t.Context(), a.job)
		if err != nil || !slices.ContainsFunc(why.Events, func(e job.Event) bool {
			return strings.Contains(e.Text, "2 results of a node that was convicted since were wrong")
		}) {
			t.Errorf("%+v, %v", why.Events, err)
		}
		for _, history := range a.r.Histories() { // bob's alone
			if until := history.Rest(time.Now()); until.IsZero() {
				t.Errorf("he is asked again, until %v: %+v", until, history)
			}
			for _, r := range history {
				if r.Wrong != conviction {
					t.Errorf("his record is %+v", r)
				}
			}
		}
		if len(a.r.Histories()) != 1 {
			t.Errorf("records of %d nodes", len(a.r.Histories()))
		}
	})
}
