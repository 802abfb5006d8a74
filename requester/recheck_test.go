package requester

import (
	"context"
	"errors"
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
		for range 2 { // a conviction counts once
			if err := a.r.recheckAll(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		found := a.disputed(t)
		last := found[len(found)-1]
		slices.Sort(found)
		if !slices.Equal(found, wrong) {
			t.Errorf("disputed are the results of tasks %v, want %v", found, wrong)
		}
		a.c.ends(NoJury)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if found := a.disputed(t); len(found) != len(wrong)+1 || found[len(wrong)] != last {
			t.Errorf("after task %d found no jury disputed are %v", last, found)
		}
		a.says(t, "nobody has checked what it gave for 200 tasks (0–199)", "2 results of provider", "found wrong: 2 tasks (5, 150)")
		if st, err := a.r.Job(t.Context(), a.job); err != nil || st.Wrong != 2 || st.Doubtful != 0 {
			t.Errorf("%+v, %v", st, err)
		}
		logs, err := a.r.Logs(t.Context(), a.job, -1)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range logs {
			if slices.Contains(wrong, l.Task) != (l.Doubt == reviewAsked.String()) {
				t.Errorf("task %d: %q", l.Task, l.Doubt)
			}
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

// disputed are the tasks about whose results alice asked the chain by her own word.
func (a *audit) disputed(t *testing.T) (tasks []uint64) {
	t.Helper()
	for _, q := range a.c.asked() {
		tasks = append(tasks, q.Shown.Index)
		if len(q.Witnesses) != 0 || q.Accused != 0 {
			t.Errorf("%+v", q)
		}
	}
	return tasks
}

// says tells whether the job's history says all of these, each once.
func (a *audit) says(t *testing.T, texts ...string) {
	t.Helper()
	why, err := a.r.Why(t.Context(), a.job)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range texts {
		n := 0
		for _, e := range why.Events {
			if strings.Contains(e.Text, text) {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%q is said %d times: %+v", text, n, why.Events)
		}
	}
}

// convicted is a job of bob's who was convicted after its pay was final; wrong are the tasks whose results he made up.
func convicted(t *testing.T, tasks int, before func(*audit), wrong ...uint64) *audit {
	a := prepare(t, func(w lease.Work, k job.Task) *job.Result {
		r := truth(w, k)
		if slices.Contains(wrong, k.Index) {
			r.Stdout = text("made up")
		}
		return r
	})
	a.job = submit(t, a.r, a.tn.dearCount(tasks))
	if s := finish(t, a.r, a.job); s.State != job.Settled {
		t.Fatalf("status %+v, error %+v", s, s.Error)
	}
	synctest.Wait()
	a.open(t, trust.Whole)
	if before != nil {
		before(a)
	}
	a.c.mu.Lock()
	defer a.c.mu.Unlock()
	a.c.hearings = nil
	a.c.recent, a.c.convicted = []Hearing{a.h}, time.Now().Add(24*time.Hour)
	return a
}

// The last 200 results that no jury has looked at are looked at, the last first: those of a panel that was attested are not among them.
func TestTheLastUncheckedResultsAreLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := convicted(t, 300, func(a *audit) {
			for n := range uint64(2) {
				sit(t, a.r, a.panel(n), a.jack, a.jill)
			}
			if n := a.verified(t); n != 2*trust.PanelSize {
				t.Fatalf("%d tasks are verified", n)
			}
		}, 130, 200, 299)
		defer a.close(t)
		if err := a.r.recheckAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		if found := a.disputed(t); !slices.Equal(found, []uint64{299, 200, 130}) {
			t.Errorf("disputed are the results of tasks %v", found)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		a := convicted(t, 300, nil, 99, 100)
		defer a.close(t)
		if err := a.r.recheckAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		if found := a.disputed(t); !slices.Equal(found, []uint64{100}) {
			t.Errorf("disputed are the results of tasks %v, of 100 to 299", found)
		}
	})
}

// The chain takes some disputes of a lease at once. Alice asks about the others when there is room, also in another life; and what she could not run at first she runs later.
func TestEveryWrongResultHasItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wrong := []uint64{3, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110}
		a := convicted(t, audited, nil, wrong...)
		defer a.close(t)
		away := true // with a content that task 10 wants
		a.stop()
		a.c.examine = func(ctx context.Context, s lease.Statement, points []uint64) (trust.Digest, []trust.Digest, error) {
			if away && s.Task.Index == 10 {
				return trust.Digest{}, nil, errors.New("not here just now")
			}
			return examine(ctx, s, points)
		}
		a.c.full = 8
		a.r, a.stop = a.tn.life()
		if err := a.r.recheckAll(t.Context()); !errors.Is(err, errFull) || len(a.c.asked()) != 8 {
			t.Fatalf("%d disputes, %v", len(a.c.asked()), err)
		}
		a.stop()
		a.c.full, away = 10, false
		a.r, a.stop = a.tn.life()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if n := len(a.c.asked()); n != 10 {
			t.Errorf("%d disputes, there is room for 10", n)
		}
		a.c.mu.Lock()
		a.c.full = 0
		a.c.mu.Unlock()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		found := a.disputed(t)
		slices.Sort(found)
		if !slices.Equal(found, wrong) {
			t.Errorf("disputed are the results of tasks %v, want %v", found, wrong)
		}
		a.says(t, "nobody has checked what it gave for 200 tasks", "found wrong: task 10;")
	})
}

// Bob's pay is not final when he is convicted: it comes back by itself, nothing is asked, and alice's job says what of it was wrong. When the conviction is forgotten, nothing more is done.
func TestAJobIsToldOfAConvictedNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := convicted(t, audited, nil, 7, 8, 9)
		defer a.close(t)
		a.c.mu.Lock()
		a.c.recent = nil
		a.c.mu.Unlock()
		for range 2 {
			if err := a.r.recheckAll(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		a.says(t, "what is not final of its pay comes back", "found wrong: 3 tasks (7–9)")
		if len(a.c.asked()) > 0 {
			t.Errorf("%+v", a.c.asked())
		}
		a.c.mu.Lock()
		a.c.recent, a.c.convicted = []Hearing{a.h}, time.Time{}
		a.c.mu.Unlock()
		if err := a.r.recheckAll(t.Context()); err != nil || len(a.c.asked()) > 0 {
			t.Errorf("%v, %+v", err, a.c.asked())
		}
		if logs, err := a.r.Logs(t.Context(), a.job, 8); err != nil || len(logs) != 1 || logs[0].Doubt != reviewLapsed.String() {
			t.Errorf("%+v, %v", logs, err)
		}
	})
}
