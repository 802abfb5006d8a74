package requester

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hpips/hpips/pay"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/voucher"
	"github.com/hpips/hpips/verify"
)

// dear is one uhpips for a microsecond of processor time, so that small differences show.
var dear = voucher.Rates{CPU: 3_600_000_000}

const plenty = 1 << 50

// market town: alice has money, and everybody in it works for pay and takes pace for a task.
func payingTown(t testing.TB, pace time.Duration, names ...string) *town {
	tn := newTown(t, names...)
	tn.bank = newBank(plenty)
	for _, w := range tn.folk {
		w.rates, w.pace, w.answer = dear, pace, honest(pace)
	}
	return tn
}

// honest answers like echo and says that a task took so long.
func honest(took time.Duration) func(lease.Work, job.Task) *job.Result {
	return func(w lease.Work, task job.Task) *job.Result {
		r := echo(w, task)
		r.Usage = job.Usage{CPU: took.Nanoseconds(), Wall: took.Nanoseconds()}
		return r
	}
}

// dearCount is a job of n unchecked tasks that may cost what dear workers ask.
func (tn *town) dearCount(n int) job.Spec {
	s := tn.unchecked(n)
	s.Limits.Hour = "10000 HPIPS"
	return s
}

// settleAccounts checks everybody's vouchers, and that all that was done was paid.
func (tn *town) settleAccounts() (total uint64) {
	tn.t.Helper()
	for _, w := range tn.folk {
		promised, worth := tn.bank.earned(tn.t, w)
		if promised != worth {
			tn.t.Errorf("%s did work of %d and was promised %d", w.name, worth, promised)
		}
		total += promised
	}
	return total
}

func TestAlicePaysForWhatCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := payingTown(t, 10*time.Millisecond, "bob", "carol")
		r, stop := tn.life()
		defer stop()
		id := submit(t, r, tn.dearCount(200))
		s := finish(t, r, id)
		synctest.Wait()
		if s.State != job.Settled || len(s.Nodes) != 2 {
			t.Fatalf("status %+v, error %+v", s, s.Error)
		}
		if total := tn.settleAccounts(); total != 200*10_000 {
			t.Errorf("200 tasks of 10 ms cost %d", total)
		}
		for _, w := range tn.folk {
			for lease, vouchers := range w.paid {
				if len(vouchers) > 20 {
					t.Errorf("%s was sent %d vouchers for a second of work under %s", w.name, len(vouchers), lease)
				}
			}
		}
		if opens, topUps, closes, open := tn.bank.count(); opens != 1 || topUps != 0 || closes != 1 || open != 0 {
			t.Errorf("%d transactions to open, %d to add, %d to close; %d leases stay open", opens, topUps, closes, open)
		}
		c, err := r.Cost(context.Background(), id)
		if err != nil || c.Promised != 2_000_000 || c.Deposited < c.Promised || len(c.Leases) != 2 || !c.Leases[0].Closed {
			t.Errorf("cost %+v, %v", c, err)
		}
		if u := c.Leases[0].Usage.Add(c.Leases[1].Usage); u.Tasks != 200 || u.CPU != 2e9 {
			t.Errorf("usage %+v", u)
		}
	})
}

func TestEveryCopyIsPaidFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := payingTown(t, 5*time.Millisecond, "bob", "carol", "dave")
		r, stop := tn.life()
		defer stop()
		spec := tn.dearCount(30)
		spec.Verify = job.Verify{Mode: job.Quorum, Copies: 2}
		if s := finish(t, r, submit(t, r, spec)); s.State != job.Settled || s.Verified != 30 {
			t.Fatalf("status %+v", s)
		}
		synctest.Wait()
		if total := tn.settleAccounts(); total < 60*5_000 {
			t.Errorf("two copies of 30 tasks cost %d", total)
		}
	})
}

// TestTheSlowOneIsPaidToo takes a task back from bob that carol was faster with, while his result is on its way. It is of no use, and still his
// work; once.
func TestTheSlowOneIsPaidToo(t *testing.T) {
	now := time.Now()
	b := newBoard(3, rules{policy: verify.Policy{Copies: 1, Limit: 1}})
	bob, carol := person("bob"), person("carol")
	bob.up, carol.up = false, false // nobody needs to hear of it
	quote := lease.Quote{Slots: 1, Rates: dear}
	of := job.Resources{CPU: 1}
	l := lease.Lease{Terms: lease.Terms{Order: lease.Order{Resources: of}, Quote: quote, From: now.UnixMilli(), Pay: &lease.Pay{Deposit: plenty}}}
	bob.purse = newPurse(l, job.Limits{Time: job.Duration(time.Hour)})
	bob.purse.hire = bob
	g := &gathering{r: &Requester{now: func() time.Time { return now.Add(time.Second) }}, e: &errand{spec: job.Spec{Resources: of}, changed: make(chan struct{})},
		board: b, p: phase{count: 3, work: lease.Work{Limits: job.Limits{Output: 1 << 20}}}, hires: []*hire{bob, carol}, purses: []*purse{bob.purse}}
	b.give(bob, 2, now, 0)
	b.hold(0, carol, now)
	if !b.arrived(0, carol) || !b.vote(0, ballot(carol, 1), 2).decided {
		t.Fatal("carol's result does not count")
	}
	g.recall(0)
	late := *honest(500*time.Millisecond)(lease.Work{}, job.Task{})
	for range 2 {
		if err := g.arrivals(context.Background(), bob, []job.Result{late}, func() {}); err != nil {
			t.Fatal(err)
		}
	}
	if u := bob.purse.used; u.Tasks != 1 || u.CPU != 500_000_000 {
		t.Errorf("bob is owed for %+v", u)
	}
	if all := g.payments(nil); len(all) != 1 || all[0].used.Tasks != 1 {
		t.Errorf("written down: %+v", all)
	}
}

// TestBytesThatNeverCame: mallory's result comes too late to be of use, with a petabyte that lies with her, she says. Nobody pulls it, and nobody pays for it; a
// claim beyond the task's limits makes the whole of it worthless.
func TestBytesThatNeverCame(t *testing.T) {
	now := time.Now()
	for name, row := range map[string]struct {
		claim job.Content
		want  voucher.Usage
	}{
		"within the limits": {job.Content{CID: "nothing of the kind", Size: 1 << 20}, voucher.Usage{Tasks: 1, CPU: 500_000_000, Sent: 5}},
		"a petabyte":        {job.Content{CID: "nothing of the kind", Size: 1 << 50}, voucher.Usage{}},
	} {
		for _, output := range []bool{false, true} {
			b := newBoard(3, rules{policy: verify.Policy{Copies: 1, Limit: 1}})
			mallory, carol := person("mallory"), person("carol")
			mallory.up, carol.up = false, false
			quote := lease.Quote{Slots: 1, Rates: voucher.Rates{CPU: 3_600_000, Sent: 1000}}
			of := job.Resources{CPU: 1, Disk: 1 << 30}
			l := lease.Lease{Terms: lease.Terms{Order: lease.Order{Resources: of}, Quote: quote, From: now.UnixMilli(), Pay: &lease.Pay{Deposit: plenty}}}
			limits := job.Limits{Time: job.Duration(time.Hour), Output: 1 << 30}
			mallory.purse = newPurse(l, limits)
			mallory.purse.hire = mallory
			g := &gathering{r: &Requester{now: func() time.Time { return now.Add(time.Second) }}, e: &errand{spec: job.Spec{Resources: of, Limits: limits}, changed: make(chan struct{})},
				board: b, p: phase{count: 3, work: lease.Work{Limits: limits, Outputs: []string{"/out"}}}, hires: []*hire{mallory, carol}, purses: []*purse{mallory.purse}}
			b.give(mallory, 2, now, 0)
			b.hold(0, carol, now)
			if !b.arrived(0, carol) || !b.vote(0, ballot(carol, 1), 2).decided {
				t.Fatal("carol's result does not count")
			}
			g.recall(0)
			late := job.Result{Index: 0, End: job.Exited, Usage: job.Usage{CPU: 500_000_000, Wall: 500_000_000}, Stdout: row.claim, Stderr: []byte("hello")}
			if output {
				late.Stdout, late.Outputs = job.Content{}, map[string]job.Content{"/out": row.claim}
			}
			if err := g.arrivals(context.Background(), mallory, []job.Result{late}, func() {}); err != nil {
				t.Fatal(err)
			}
			if u := mallory.purse.used; u != row.want && (u.Tasks > 0 || row.want.Tasks > 0) && (u.Tasks != row.want.Tasks || u.Sent != row.want.Sent) {
				t.Errorf("%s, in a folder: %v: mallory is owed for %+v, want %+v", name, output, u, row.want)
			}
		}
	}
}

// TestKilledInTheMiddleOfPaidJobs kills alice again and again. Whatever she signs in a later life is never less than before and never conflicts with
// it, and in the end everything that was done is paid.
func TestKilledInTheMiddleOfPaidJobs(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				luck := rand.New(rand.NewPCG(seed, 1))
				tn := payingTown(t, 30*time.Millisecond, "bob", "carol")
				tn.bank.slow = time.Duration(luck.IntN(300)) * time.Millisecond
				r, stop := tn.life()
				id := submit(t, r, tn.dearCount(300))
				for range 8 {
					time.Sleep(time.Duration(luck.IntN(900)) * time.Millisecond)
					stop()
					time.Sleep(time.Duration(luck.IntN(100)) * time.Millisecond)
					r, stop = tn.life()
				}
				synctest.Wait()
				s := finish(t, r, id)
				if s.State != job.Settled || s.Tasks.Done != 300 {
					t.Fatalf("status %+v, error %+v", s, s.Error)
				}
				time.Sleep(2 * closeLate)
				synctest.Wait()
				stop()
				if total := tn.settleAccounts(); total < 300*30_000 {
					t.Errorf("300 tasks of 30 ms cost %d", total)
				}
				if _, _, _, open := tn.bank.count(); open != 0 {
					t.Errorf("%d leases stay open", open)
				}
			})
		})
	}
}

func TestAVoucherThatGotLostComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := payingTown(t, 10*time.Millisecond, "bob")
		bob := tn.folk[0]
		r, stop := tn.life()
		finish(t, r, submit(t, r, tn.dearCount(20)))
		synctest.Wait()
		bob.mu.Lock()
		bob.paid = nil // they were on their way when the link broke and alice was killed
		bob.mu.Unlock()
		stop()
		_, stop = tn.life()
		defer stop()
		synctest.Wait()
		tn.settleAccounts()
	})
}

// TestClaimsThatCannotBe has carol claim an hour for each task of ten milliseconds, and dave a little for what takes no time.
func TestClaimsThatCannotBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := payingTown(t, 10*time.Millisecond, "bob", "carol", "dave")
		tn.folk[1].answer = honest(time.Hour)
		tn.folk[2].answer = honest(29 * time.Millisecond)
		r, stop := tn.life()
		defer stop()
		id := submit(t, r, tn.dearCount(300))
		s := finish(t, r, id)
		synctest.Wait()
		if s.State != job.Settled {
			t.Fatalf("status %+v, error %+v", s, s.Error)
		}
		for _, w := range tn.folk[1:] {
			if promised, _ := tn.bank.earned(t, w); promised > uint64(s.Seconds*1.1*1e6) {
				t.Errorf("%s was promised %d for %.3f s", w.name, promised, s.Seconds)
			}
		}
		w, err := r.Why(context.Background(), id)
		if err != nil || s.Nodes[0].Node != tn.folk[0].id.String() {
			t.Errorf("%+v, %v: the liars should be turned away, nodes %+v", w, err, s.Nodes)
		}
	})
}

func TestDepositsGrowWithTheWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := payingTown(t, 2*time.Second, "bob")
		tn.folk[0].credit = 2
		r, stop := tn.life()
		defer stop()
		id := submit(t, r, tn.dearCount(1000)) // some half an hour; the first deposit is for five minutes
		s := finish(t, r, id)
		synctest.Wait()
		if s.State != job.Settled || s.Tasks.Rerun != 0 {
			t.Fatalf("status %+v, error %+v", s, s.Error)
		}
		if total := tn.settleAccounts(); total != 1000*2_000_000 {
			t.Errorf("1000 tasks of 2 s cost %d", total)
		}
		if opens, topUps, closes, _ := tn.bank.count(); opens != 1 || topUps < 2 || topUps > 4 || closes != 1 {
			t.Errorf("%d transactions to open, %d to add, %d to close", opens, topUps, closes)
		}
		if c, err := r.Cost(context.Background(), id); err != nil || c.Deposited > 2*c.Promised {
			t.Errorf("cost %+v, %v", c, err)
		}
	})
}

func TestWorkBeginsWhenItsDepositStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := payingTown(t, 10*time.Millisecond, "bob")
		tn.bank.slow = 2 * time.Second
		r, stop := tn.life()
		defer stop()
		id := submit(t, r, tn.dearCount(10))
		time.Sleep(1900 * time.Millisecond)
		if len(tn.folk[0].work) != 0 {
			t.Fatal("a lease has begun that nobody pays for")
		}
		if s := finish(t, r, id); s.State != job.Settled {
			t.Fatalf("status %+v", s)
		}
	})
}

func TestAChainThatIsAwayHoldsUpOnlyWhatIsPaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := payingTown(t, 10*time.Millisecond, "bob")
		tn.bank.down = true
		r, stop := tn.life()
		defer stop()
		id := submit(t, r, tn.dearCount(10))
		time.Sleep(time.Minute)
		w, err := r.Why(context.Background(), id)
		if err != nil || len(w.Rejected) == 0 || !strings.Contains(w.Rejected[0].Reason, "deposit: ") {
			t.Errorf("why: %+v, %v", w, err)
		}
		tn.arrive("carol") // gives her work away
		if s := finish(t, r, id); s.State != job.Settled || s.Nodes[0].Node != tn.folk[1].id.String() {
			t.Fatalf("status %+v", s)
		}
	})
}

// TestWhoeverEndsAJobPaysForIt ends jobs in all ways but the good one.
func TestWhoeverEndsAJobPaysForIt(t *testing.T) {
	rows := map[string]func(t *testing.T, tn *town, r *Requester, id string){
		"cancelled": func(t *testing.T, _ *town, r *Requester, id string) {
			if err := r.Cancel(context.Background(), id); err != nil {
				t.Fatal(err)
			}
		},
		"failed": func(_ *testing.T, tn *town, _ *Requester, _ string) {
			w := tn.folk[0]
			w.mu.Lock()
			defer w.mu.Unlock()
			w.answer = func(work lease.Work, task job.Task) *job.Result {
				r := honest(10*time.Millisecond)(work, task)
				r.Exit = 3
				return r
			}
		},
	}
	for name, end := range rows {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tn := payingTown(t, 10*time.Millisecond, "bob")
				r, stop := tn.life()
				defer stop()
				id := submit(t, r, tn.dearCount(1000))
				time.Sleep(time.Second)
				end(t, tn, r, id)
				if s := finish(t, r, id); s.State == job.Settled {
					t.Fatalf("status %+v", s)
				}
				synctest.Wait()
				promised, worth := tn.bank.earned(t, tn.folk[0])
				if _, _, closes, open := tn.bank.count(); promised == 0 || worth-promised > 10*10_000 || closes != 1 || open != 0 {
					t.Errorf("bob did work of %d and was promised %d; %d leases stay open", worth, promised, open)
				}
			})
		})
	}
}

// TestBobTakesAVoucherAndStops: what alice has promised is never more than the work that she has.
func TestBobTakesAVoucherAndStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := payingTown(t, 100*time.Millisecond, "bob", "carol")
		bob := tn.folk[0]
		r, stop := tn.life()
		defer stop()
		id := submit(t, r, tn.dearCount(100))
		for range 100 {
			time.Sleep(100 * time.Millisecond)
			bob.mu.Lock()
			stop := len(bob.paid) > 0
			bob.mu.Unlock()
			if stop {
				bob.vanish()
				break
			}
		}
		s := finish(t, r, id)
		synctest.Wait()
		if s.State != job.Settled || s.Tasks.Lost == 0 {
			t.Fatalf("status %+v", s)
		}
		taken := uint64(0)
		for _, n := range s.Nodes {
			if n.Node == bob.id.String() {
				taken = uint64(n.Tasks) * 100_000
			}
		}
		if promised, _ := tn.bank.earned(t, bob); promised == 0 || promised > taken {
			t.Errorf("bob was promised %d for results of %d", promised, taken)
		}
		if _, _, _, open := tn.bank.count(); open != 0 {
			t.Errorf("%d leases stay open", open)
		}
	})
}

func TestALongerTermIsDepositedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := payingTown(t, 10*time.Minute, "bob")
		r, stop := tn.life()
		defer stop()
		spec := tn.dearCount(20)
		spec.Limits.Time, spec.Limits.Queue = job.Duration(9*time.Hour), job.Duration(9*time.Hour)
		id := submit(t, r, spec)
		time.Sleep(2 * time.Hour)
		tn.mu.Lock()
		extended := tn.extended
		tn.mu.Unlock()
		tn.bank.mu.Lock()
		for _, a := range tn.bank.leases {
			if until := time.Unix(a.Until, 0); a.Phase == pay.Open && until.Before(time.Now()) || extended == 0 {
				t.Errorf("the deposit stands until %v, %d extensions", until, extended)
			}
		}
		tn.bank.mu.Unlock()
		finish(t, r, id)
		synctest.Wait()
		tn.settleAccounts()
	})
}

func TestWhatAJobMayCostIsSaidBefore(t *testing.T) {
	tn := payingTown(t, time.Second, "bob", "carol")
	r := tn.open()
	defer r.Close()
	w, err := r.Preview(context.Background(), tn.dearCount(10))
	if err != nil || w.Accepted != 2 || w.Estimate == nil || w.Estimate.Tasks != 10 || w.Estimate.Likely != 10*60_000_000 || w.Estimate.Most != 10*3_600_000_000 {
		t.Fatalf("%+v, estimate %+v, %v", w, w.Estimate, err)
	}
}

// BenchmarkTinyJob carries jobs of tasks that take no time, for nothing, for pay, and with a jury; the paid one's chain is instant.
func BenchmarkTinyJob(b *testing.B) {
	for name, rates := range map[string]voucher.Rates{"free": {}, "paid": dear, "jury": dear} {
		b.Run(name, func(b *testing.B) {
			tn := payingTown(b, 0, "bob", "carol")
			tn.jury = name == "jury"
			for _, w := range tn.folk {
				w.rates, w.slots, w.credit, w.answer = rates, 2, 4096, honest(time.Microsecond) // more than they took would be a lie
			}
			r, stop := tn.life()
			defer stop()
			b.ReportAllocs()
			b.ResetTimer()
			s := finish(b, r, submit(b, r, tn.dearCount(b.N)))
			b.StopTimer()
			if s.State != job.Settled {
				b.Fatalf("status %+v, error %+v", s, s.Error)
			}
			vouchers := 0
			for _, w := range tn.folk {
				w.mu.Lock()
				for _, v := range w.paid {
					vouchers += len(v)
				}
				w.mu.Unlock()
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
			b.ReportMetric(float64(vouchers), "vouchers")
		})
	}
}

// TestAVoucherWaitsForBob: his PC is off when the job ends; what alice said last waits for him, but not for ever.
func TestAVoucherWaitsForBob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := payingTown(t, 100*time.Millisecond, "bob", "carol")
		bob, carol := tn.folk[0], tn.folk[1]
		r, stop := tn.life()
		defer stop()
		id := submit(t, r, tn.dearCount(200))
		time.Sleep(5 * time.Second)
		bob.mu.Lock()
		bobs, carols := bob.line, carol.line
		bob.mu.Unlock()
		bob.vanish()
		if s := finish(t, r, id); s.State != job.Settled {
			t.Fatalf("status %+v", s)
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if bobs.over() || !carols.over() {
			t.Errorf("after five minutes the line to bob is closed: %v; that to carol, who has heard all: %v", bobs.over(), carols.over())
		}
		time.Sleep(remindFor)
		synctest.Wait()
		if !bobs.over() {
			t.Error("the line to bob is kept for ever")
		}
	})
}
