package requester

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hpips/hpips/market"
	"github.com/hpips/hpips/spec/job"
)

// history is what alice saw of somebody, in all.
func (w *worker) history(r *Requester) (sum market.Record) {
	for _, one := range r.Histories()[w.id.String()] {
		sum.Right, sum.Wrong, sum.Lost, sum.Unverified = sum.Right+one.Right, sum.Wrong+one.Wrong, sum.Lost+one.Lost, sum.Unverified+one.Unverified
	}
	return sum
}

// plain is a job of n tasks that nobody verifies.
func (tn *town) plain(n int) job.Spec {
	spec := tn.count(n)
	spec.Verify = job.Verify{Mode: job.None}
	return spec
}

// settle has alice's requester carry a job to a good end.
func settle(t *testing.T, r *Requester, spec job.Spec) job.Status {
	t.Helper()
	s := finish(t, r, submit(t, r, spec))
	if s.State != job.Settled {
		t.Fatalf("status %+v, error %+v", s, s.Error)
	}
	return s
}

// TestCarolLiesTwiceAndIsNotAsked follows carol from her first lies: she is not asked for a day, also by alice's next life, then only after bob.
func TestCarolLiesTwiceAndIsNotAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob", "carol")
		bob, carol := tn.folk[0], tn.folk[1]
		bob.pace, carol.pace = time.Millisecond, time.Millisecond
		bob.class, carol.class = "amd64", "arm64"
		carol.answer = lie
		checked := tn.count(60)
		checked.Verify = tn.checker(fair)
		r, stop := tn.life()
		settle(t, r, checked)
		of := func(w *worker) float64 { return r.Histories()[w.id.String()].Score(w.class, time.Now()) }
		b, c := bob.history(r), carol.history(r)
		if b.Right != 60 || b.Wrong != 0 || c.Right != 0 || c.Wrong < 2 || of(bob) <= market.Newcomer || of(carol) >= 0.3 {
			t.Fatalf("bob %+v %v, carol %+v %v", b, of(bob), c, of(carol))
		}
		carol.answer = echo
		apart := func() {
			t.Helper()
			ran := len(carol.ran)
			settle(t, r, tn.plain(20))
			if len(carol.ran) != ran {
				t.Fatalf("carol was given %d tasks", len(carol.ran)-ran)
			}
			why, err := r.Preview(context.Background(), tn.count(1))
			if err != nil || why.Accepted != 1 || len(why.Rejected) != 1 || why.Rejected[0] != (job.Rejection{Reason: resting, Count: 1}) {
				t.Fatalf("alice is told %+v, %v", why, err)
			}
		}
		apart()
		bob.here = false
		alone := tn.plain(1)
		alone.Limits.Queue = job.Duration(2 * time.Second)
		if s := finish(t, r, submit(t, r, alone)); s.State != job.Failed || !strings.Contains(s.Error.Message, "1× "+resting) || !strings.Contains(s.Error.Hint, "hpips market forget ID --record") {
			t.Fatalf("with carol alone: %+v, %+v", s, s.Error)
		}
		bob.here = true
		stop()
		before := of(carol)
		r, stop = tn.life()
		if now := of(carol); now != before || carol.history(r) != c {
			t.Fatalf("after a restart carol has %v, was %v", now, before)
		}
		apart()
		time.Sleep(25 * time.Hour)
		for range 10 { // bob suffices
			if s := settle(t, r, tn.plain(1)); len(s.Nodes) != 1 || s.Nodes[0].Node != bob.id.String() {
				t.Fatalf("carol comes before bob: %+v", s.Nodes)
			}
		}
		if s := settle(t, r, tn.plain(60)); len(s.Nodes) != 2 {
			t.Fatalf("carol is not asked again where there is work for two: %+v", s.Nodes)
		}
		if known, err := r.ForgetNode(context.Background(), carol.id.String()); err != nil || !known || carol.history(r) != (market.Record{}) {
			t.Fatalf("carol is not forgotten: %v, %v", known, err)
		}
		stop()
		r, stop = tn.life()
		defer stop()
		if carol.history(r) != (market.Record{}) || bob.history(r).Right != 60 {
			t.Fatalf("a restart brings back what was forgotten, or not what was not: carol %+v, bob %+v", carol.history(r), bob.history(r))
		}
	})
}

func TestWhoIsOddIsWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob", "carol", "dan")
		carol := tn.folk[1]
		carol.answer = lie
		for _, w := range tn.folk {
			w.pace = time.Millisecond
		}
		spec := tn.count(30)
		spec.Verify = job.Verify{Mode: job.Quorum, Copies: 2, Limit: 7}
		r, stop := tn.life()
		defer stop()
		s := settle(t, r, spec)
		if s.Verified != 30 {
			t.Fatalf("status %+v", s)
		}
		b, c, d := tn.folk[0].history(r), carol.history(r), tn.folk[2].history(r)
		if b.Right != 30 || d.Right != 30 || c.Right != 0 || c.Wrong == 0 || c.Wrong > 30 || b.Wrong+d.Wrong != 0 {
			t.Fatalf("bob %+v, carol %+v, dan %+v", b, c, d)
		}
	})
}

// TestAVerdictCountsOnceInManyLives stops alice every few milliseconds, with a checker and with copies.
func TestAVerdictCountsOnceInManyLives(t *testing.T) {
	for _, mode := range []job.Mode{job.Check, job.Quorum} {
		t.Run(string(mode), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tn := newTown(t, "bob", "carol", "dan")
				tn.folk[1].answer = lie
				for _, w := range tn.folk {
					w.pace = 20 * time.Millisecond
				}
				spec := tn.count(60)
				if spec.Verify = (job.Verify{Mode: job.Quorum, Copies: 2, Limit: 7}); mode == job.Check {
					spec.Verify = tn.checker(fair)
				}
				r, stop := tn.life()
				id := submit(t, r, spec)
				lives := 1
				for {
					time.Sleep(190 * time.Millisecond)
					s, err := r.Job(context.Background(), id)
					if err != nil {
						t.Fatal(err)
					}
					if s.State.Final() {
						break
					}
					stop()
					r, stop = tn.life()
					lives++
				}
				defer stop()
				s, err := r.Job(context.Background(), id)
				b, c, d := tn.folk[0].history(r), tn.folk[1].history(r), tn.folk[2].history(r)
				if err != nil || s.State != job.Settled || s.Verified != 60 || lives < 2 {
					t.Fatalf("%d lives, %+v, %v", lives, s, err)
				}
				want := uint64(60) // each task has one right result by the checker, two by copies
				if mode == job.Quorum {
					want = 120
				}
				if b.Right+d.Right != want || c.Right != 0 || c.Wrong == 0 || c.Wrong > 60 || b.Wrong+d.Wrong != 0 {
					t.Fatalf("%d lives: bob %+v, carol %+v, dan %+v", lives, b, c, d)
				}
			})
		})
	}
}

// TestABrokenCheckerBlamesNobody: where nothing is right, it may be the checker that is wrong.
func TestABrokenCheckerBlamesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "carol", "eve")
		for _, w := range tn.folk {
			w.answer = lie
		}
		spec := tn.count(3)
		spec.Verify = tn.checker(fair)
		spec.Verify.Limit = 4
		r, stop := tn.life()
		defer stop()
		if s := finish(t, r, submit(t, r, spec)); s.State != job.Failed {
			t.Fatalf("status %+v", s)
		}
		for _, w := range tn.folk {
			if h := w.history(r); h.Wrong != 0 {
				t.Errorf("%s: %+v", w.name, h)
			}
		}
		settle(t, r, tn.plain(3))
	})
}

func TestWhatIsNotVerifiedMakesNoScore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob", "carol")
		bob, carol := tn.folk[0], tn.folk[1]
		bob.pace, carol.mute = time.Millisecond, true
		r, stop := tn.life()
		defer stop()
		id := submit(t, r, tn.plain(40))
		synctest.Wait()
		held := 0
		for _, tasks := range carol.held {
			held += len(tasks)
		}
		carol.vanish()
		if s := finish(t, r, id); s.State != job.Settled || held == 0 {
			t.Fatalf("carol held %d, status %+v", held, s)
		}
		b, c := bob.history(r), carol.history(r)
		if b != (market.Record{Unverified: 40}) || c.Lost < uint64(held) || c.Unverified+c.Right+c.Wrong != 0 {
			t.Fatalf("bob %+v, carol %+v, who held %d", b, c, held)
		}
		for _, w := range tn.folk {
			if h := r.Histories()[w.id.String()]; h.Verified() || h.Score(w.class, time.Now()) != market.Newcomer {
				t.Errorf("%s has a score", w.name)
			}
		}
	})
}

func TestAliceChoosesWhoWorksForHer(t *testing.T) {
	owner := "owner-000102030405060708090a0b"
	rows := map[string]struct {
		list func(bob, carol *worker) market.List
		want string // who works
		why  string
	}{
		"deny a node":           {func(bob, _ *worker) market.List { return market.List{Deny: []string{bob.id.String()}} }, owner, "provider: on the deny list of this node"},
		"deny an owner":         {func(_, carol *worker) market.List { return market.List{Deny: []string{owner}} }, "bob", "provider: on the deny list of this node"},
		"allow a node":          {func(bob, _ *worker) market.List { return market.List{Allow: []string{bob.id.String()}} }, "bob", "provider: not on the allow list of this node"},
		"allow an owner":        {func(_, carol *worker) market.List { return market.List{Allow: []string{owner}} }, owner, "provider: not on the allow list of this node"},
		"allow another network": {func(_, _ *worker) market.List { return market.List{Allow: []string{"network:away"}} }, "", "provider: not on the allow list of this node"},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tn := newTown(t, "bob", owner)
				tn.list = row.list(tn.folk[0], tn.folk[1])
				r, stop := tn.life()
				defer stop()
				spec := tn.count(20)
				spec.Limits.Queue = job.Duration(3 * time.Second)
				s := finish(t, r, submit(t, r, spec))
				if row.want == "" {
					if s.State != job.Failed || s.Error.Code != job.CodeUnplaceable || !strings.Contains(s.Error.Message, "2× "+row.why) || strings.Count(s.Error.Hint, "hpips market lists") != 1 {
						t.Fatalf("status %+v, error %+v", s, s.Error)
					}
					return
				}
				who := tn.folk[slices.IndexFunc(tn.folk, func(w *worker) bool { return w.name == row.want })]
				if s.State != job.Settled || len(s.Nodes) != 1 || s.Nodes[0].Node != who.id.String() {
					t.Fatalf("status %+v, error %+v", s, s.Error)
				}
				why, err := r.Preview(context.Background(), spec)
				if err != nil || why.Accepted != 1 || len(why.Rejected) != 1 || why.Rejected[0].Reason != row.why {
					t.Fatalf("alice is told %+v, %v", why, err)
				}
			})
		})
	}
}

func TestTheJournalForgetsWhoWasSeenLongestAgo(t *testing.T) {
	dir, ctx := t.TempDir(), context.Background()
	j, err := openJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	see := func(from, to int) {
		t.Helper()
		seen := tallies{}
		for i := from; i < to; i++ {
			seen.add(hardware{fmt.Sprintf("node %05d", i), "amd64"}, right, 1)
		}
		if err := j.commit(ctx, "", batch{tallies: seen}, job.Status{}); err != nil {
			t.Fatal(err)
		}
	}
	see(0, 10)
	see(10, maxKnown)
	if n := len(j.known.all()); n != maxKnown {
		t.Fatalf("%d nodes are known", n)
	}
	see(5, 6)
	see(maxKnown, maxKnown+1)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if j, err = openJournal(dir); err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	all := j.known.all()
	if len(all) != maxKnown-someKnown || all["node 00000"] != nil || all["node 00005"]["amd64"].Right != 2 || all[fmt.Sprintf("node %05d", maxKnown)] == nil {
		t.Fatalf("%d nodes are known; node 5: %+v", len(all), all["node 00005"])
	}
}

// TestAKillKeepsTheRecords copies the files of a journal that nobody closed, as a kill leaves them.
func TestAKillKeepsTheRecords(t *testing.T) {
	dir, left := t.TempDir(), t.TempDir()
	j, err := openJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	seen := tallies{{"bob", "amd64"}: {Right: 3, Unverified: 2}, {"carol", ""}: {Wrong: 2, Lost: 1}}
	if err := j.commit(context.Background(), "", batch{tallies: seen}, job.Status{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"node.db", "node.db-wal"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(left, name), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	again, err := openJournal(left)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	now := time.Now()
	for node, h := range j.known.all() {
		for class, r := range h {
			got := again.known.get(node)[class]
			if got.Right != r.Right || got.Wrong != r.Wrong || got.Lost != r.Lost || got.Unverified != r.Unverified || got.Good != r.Good || got.Bad != r.Bad ||
				!got.At.Equal(r.At) || !got.Seen.Equal(r.Seen) || !got.Erred[0].Equal(r.Erred[0]) || !got.Erred[1].Equal(r.Erred[1]) {
				t.Errorf("%s as %q: %+v, was %+v", node, class, got, r)
			}
		}
	}
	if again.known.get("carol").Rest(now).IsZero() || len(again.known.all()) != 2 {
		t.Errorf("%+v", again.known.all())
	}
}

func TestAVerdictThatIsNotWrittenCountsForNobody(t *testing.T) {
	j, err := openJournal(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	promise := entry{promote: true, checked: true, right: []string{"bob"}, odd: []string{"carol"}, result: job.Result{Index: 3}} // there is no such vote
	if err := j.commit(context.Background(), "job", batch{entries: []entry{promise}}, job.Status{}); err == nil {
		t.Fatal("a vote that is not there was accepted")
	}
	if all := j.known.all(); len(all) != 0 {
		t.Fatalf("%+v", all)
	}
}

func TestManyClassesOfOneNodeAreBounded(t *testing.T) {
	var known standings
	for i := range 100 {
		known.of = known.after(tallies{{"carol", fmt.Sprint("class ", i)}: {Right: 1}}, time.Unix(int64(i), 0))
	}
	carol := known.get("carol")
	sum := uint64(0)
	for _, r := range carol {
		sum += r.Right
	}
	if len(carol) > maxClasses+1 || sum != 100 {
		t.Fatalf("%d classes, %d results", len(carol), sum)
	}
}
