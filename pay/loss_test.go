package pay

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/voucher"
)

// trade is work under one lease: bob works as far as his window lets him, the requester signs as far as she is honest.
type trade struct {
	*town
	l     lease.Lease
	payer *Payer
	payee *Payee
	took  func(task uint64) time.Duration

	bob, alice  Window
	done        voucher.Usage // as bob counts, and as alice does
	counts      voucher.Usage
	paid        uint64 // taken by bob
	signed      []voucher.Signed
	next        uint64
	wasted      uint64 // given back since he was paid
	most, worst uint64 // bob's largest window, and the most that was ever unpaid
}

// trading begins a trade. Its deposit is large enough for everything here.
func trading(tn *town, took func(uint64) time.Duration) *trade {
	limits := job.Limits{Time: job.Duration(2 * time.Hour)}
	tr := &trade{town: tn, payer: tn.payer("alice"), payee: tn.payee("bob"), took: took}
	tr.l = tn.hired(tr.payer, tr.payee, "bob", 500*hpips)
	tr.bob, tr.alice = NewWindow(tr.l.Terms, limits), NewWindow(tr.l.Terms, limits)
	return tr
}

func cost(t testing.TB, u voucher.Usage) uint64 {
	t.Helper()
	c, err := voucher.Cost(rates, u)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (tr *trade) unpaid() uint64 { return cost(tr.t, tr.done) - tr.paid }

// shift lets bob fill his slots as far as his window goes, and finish what he started, but for tasks that outgrow the window, which he gives back.
func (tr *trade) shift() []job.Result {
	var running, results []job.Result
	for len(running) < slots && tr.bob.Start(tr.unpaid(), len(running)) {
		running = append(running, ran(tr.next, tr.took(tr.next)))
		tr.next++
	}
	done := tr.done
	for now := time.Duration(0); len(running) > 0; {
		now += max(time.Duration(running[len(running)-1].Usage.Wall)/100, 10*time.Millisecond)
		var on []job.Result
		for _, r := range running {
			if time.Duration(r.Usage.Wall) > now {
				on = append(on, r)
				continue
			}
			u := Used(r, tr.l.Terms.Order.Resources)
			tr.bob.Ended(u)
			done, results = done.Add(u), append(results, r)
		}
		kept := tr.bob.Keep(cost(tr.t, done)-tr.paid, len(on), time.Duration(len(on))*now)
		tr.wasted += cost(tr.t, used(now)) * uint64(len(on)-kept)
		running = on[:kept]
		tr.most = max(tr.most, tr.bob.Size())
	}
	tr.done = tr.payee.Did(tr.l, results)
	tr.worst = max(tr.worst, tr.unpaid()+tr.wasted)
	return results
}

// owed lets alice count results, and signs when it is time.
func (tr *trade) owed(results []job.Result) (voucher.Signed, bool) {
	for _, r := range results {
		u := Used(r, tr.l.Terms.Order.Resources)
		tr.counts = tr.counts.Add(u)
		tr.alice.Ended(u)
	}
	last := uint64(0)
	if n := len(tr.signed); n > 0 {
		last = tr.signed[n-1].Voucher.Amount
	}
	if !tr.alice.Due(cost(tr.t, tr.counts)-last, 0, len(results) == 0) {
		return voucher.Signed{}, false
	}
	v := promise(tr.t, tr.payer, tr.l, tr.counts)
	tr.alice.Paid(v.Voucher.Amount)
	tr.signed = append(tr.signed, v)
	return v, true
}

// pays hands bob a voucher as it comes, good or bad.
func (tr *trade) pays(v voucher.Signed) error {
	amount, err := tr.payee.Take(context.Background(), tr.l, lease.Voucher{Signed: v})
	if err == nil {
		tr.paid = amount
		tr.bob.Paid(amount)
		tr.wasted = 0
	}
	return err
}

// honest goes on until so many vouchers were taken.
func (tr *trade) honest(vouchers int) {
	for len(tr.signed) < vouchers {
		if v, due := tr.owed(tr.shift()); due {
			if err := tr.pays(v); err != nil {
				tr.t.Fatal(err)
			}
		}
	}
}

// serves lets bob's redeemer run for some time.
func (tr *trade) serves(long time.Duration) {
	serves(tr.t, tr.payee, long)
}

func serves(t testing.TB, p *Payee, long time.Duration) {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), long)
	defer stop()
	if err := p.Serve(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// kinds are tasks of five kinds of lives.
var kinds = map[string]func(uint64) time.Duration{
	"tiny":    func(uint64) time.Duration { return 10 * time.Millisecond },
	"middle":  func(uint64) time.Duration { return 2 * time.Second },
	"long":    func(uint64) time.Duration { return time.Hour },
	"mixed":   func(i uint64) time.Duration { return time.Duration(7-i%7) * 300 * time.Millisecond },
	"growing": func(i uint64) time.Duration { return time.Duration(1+i) * 300 * time.Millisecond },
}

// Each is a way to pay no more. It gets a trade in which so many vouchers were taken, and what alice would sign now if she were honest.
var frauds = map[string]func(t *testing.T, tr *trade, v voucher.Signed){
	"stops paying": func(*testing.T, *trade, voucher.Signed) {},
	"signs less than before": func(t *testing.T, tr *trade, v voucher.Signed) {
		if tr.paid == 0 {
			return
		}
		refuse(t, tr, resign(t, v.Voucher, "alice", func(v *voucher.Voucher) { v.Amount = tr.paid - 1 }), ErrLess)
		refuse(t, tr, resign(t, v.Voucher, "alice", func(v *voucher.Voucher) { v.Amount, v.Usage = tr.paid+1, voucher.Usage{} }), ErrLess)
	},
	"signs for another lease": func(t *testing.T, tr *trade, v voucher.Signed) {
		refuse(t, tr, resign(t, v.Voucher, "alice", func(v *voucher.Voucher) { v.Lease[0]++ }), ErrVoucher)
	},
	"signs for another chain": func(t *testing.T, tr *trade, v voucher.Signed) {
		refuse(t, tr, resign(t, v.Voucher, "alice", func(v *voucher.Voucher) { v.Chain = "hpips-test-2" }), ErrVoucher)
	},
	"signs with another key": func(t *testing.T, tr *trade, v voucher.Signed) {
		refuse(t, tr, resign(t, v.Voucher, "carol", func(*voucher.Voucher) {}), voucher.ErrSignature)
	},
	"signs what she does not have": func(t *testing.T, tr *trade, v voucher.Signed) {
		refuse(t, tr, resign(t, v.Voucher, "alice", func(v *voucher.Voucher) { v.Amount = 501 * hpips }), ErrDeposit)
	},
	"signs for work that was not done": func(t *testing.T, tr *trade, v voucher.Signed) {
		refuse(t, tr, resign(t, v.Voucher, "alice", func(v *voucher.Voucher) { v.Usage.Tasks += 100; v.Amount++ }), ErrUsage)
		refuse(t, tr, resign(t, v.Voucher, "alice", func(v *voucher.Voucher) { v.Amount += hpips }), ErrUsage)
	},
	"replays": func(t *testing.T, tr *trade, _ voucher.Signed) {
		for _, old := range tr.signed {
			if err := tr.pays(old); err != nil && !errors.Is(err, ErrLess) {
				t.Error(err)
			}
		}
	},
	"closes early": func(t *testing.T, tr *trade, _ voucher.Signed) {
		if err := tr.payer.Close(context.Background(), []lease.Lease{tr.l}); err != nil {
			t.Fatal(err)
		}
	},
}

// resign changes a voucher and signs it anew.
func resign(t testing.TB, v voucher.Voucher, who string, change func(*voucher.Voucher)) voucher.Signed {
	t.Helper()
	change(&v)
	s, err := v.Sign(named(t, who).secret)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func refuse(t *testing.T, tr *trade, v voucher.Signed, why error) {
	t.Helper()
	if err := tr.pays(v); !errors.Is(err, why) {
		t.Errorf("bob is given %+v: %v, want %v", v.Voucher, err, why)
	}
}

// In each of these bob was paid for a while, and then is not. He works on until his window is used up, not more, and has all that was ever promised.
func TestBobLosesOneWindowAtMost(t *testing.T) {
	for fraud, play := range frauds {
		for kind, took := range kinds {
			worst := 0.0
			if fraud != "stops paying" && kind != "tiny" && kind != "long" {
				continue // what she sends differs, how bob works does not
			}
			for _, after := range []int{0, 1, 5} {
				synctest.Test(t, func(t *testing.T) {
					tn := newTown(t, "alice", "bob")
					tr := trading(tn, took)
					defer tr.payee.Close()
					tr.honest(after)
					play(t, tr, tr.fair())
					for len(tr.shift()) > 0 {
					}
					loss, most := tr.unpaid()+tr.wasted, tr.most
					if kind == "growing" {
						most += tr.bob.Task() // the oldest one goes on, longer than any before it
					}
					if loss > most || tr.worst > most {
						t.Errorf("%s tasks, she %s after %d vouchers: %d are lost, %d at the worst, of a window of %d", kind, fraud, after, loss, tr.worst, tr.most)
					}
					worst = max(worst, float64(loss)/float64(tr.most))
					tr.serves(5 * 24 * time.Hour) // past the end of the term, and the grace
					if got := tn.chain.final("hpips1bob") + tn.chain.fees(); got != tr.paid {
						t.Errorf("%s tasks, she %s after %d vouchers: bob has %d of %d", kind, fraud, after, got, tr.paid)
					}
					if got := tn.chain.wealth("hpips1alice"); got != 1000*hpips-tr.paid {
						t.Errorf("she has %d, and promised %d", got, tr.paid)
					}
					tn.chain.check(t)
				})
			}
			t.Logf("she %s, %s tasks: bob loses %.2f of a window at most", fraud, kind, worst)
		}
	}
}

// fair is what an honest alice would sign now for all that bob has done, without giving it to him.
func (tr *trade) fair() voucher.Signed {
	return resign(tr.t, voucher.Voucher{Chain: "hpips-test-1", Lease: tr.l.Terms.Key(), Amount: cost(tr.t, tr.done), Usage: tr.done}, "alice", func(*voucher.Voucher) {})
}

// Carol pays for tiny tasks until her credit is large, then sends tasks that run for hours, and pays no more. Bob gives back what outgrows the window.
func TestTasksThatSuddenlyTakeLong(t *testing.T) {
	for _, vouchers := range []int{0, 1, 4, 12} {
		synctest.Test(t, func(t *testing.T) {
			tn := newTown(t, "alice", "bob")
			tr := trading(tn, kinds["tiny"])
			defer tr.payee.Close()
			tr.honest(vouchers)
			window := tr.bob.Size()
			started := 0
			for started < slots && tr.bob.Start(tr.unpaid(), started) {
				started++
			}
			var ran, spent time.Duration // for which all that go on have been running, and what all took together
			for kept := started; ran < 2*time.Hour; {
				ran += time.Second
				spent += time.Duration(kept) * time.Second
				kept = tr.bob.Keep(tr.unpaid(), kept, time.Duration(kept)*ran)
			}
			one, grain := tr.bob.price(used(2*time.Hour)), tr.bob.price(used(slots*time.Second))
			loss := plus(tr.unpaid(), tr.bob.price(used(spent)))
			if loss > window+one+grain {
				t.Errorf("after %d vouchers: %d are lost, the window was %d, one task costs %d", vouchers, loss, window, one)
			}
			t.Logf("after %d vouchers: %d started, %d are lost, the window was %d, one task at its limits %d", vouchers, started, loss, window, one)
		})
	}
}

// Bob takes her money and does nothing more: alice has a result for all that she ever signed, and the rest of her deposit comes back.
func TestAliceLosesNothingToABobWhoStops(t *testing.T) {
	for kind, took := range kinds {
		synctest.Test(t, func(t *testing.T) {
			tn := newTown(t, "alice", "bob")
			tr := trading(tn, took)
			defer tr.payee.Close()
			tr.honest(6)
			if tr.paid > cost(t, tr.counts) {
				t.Errorf("%s: she has signed %d for work of %d", kind, tr.paid, cost(t, tr.counts))
			}
			if err := tr.payer.Close(context.Background(), []lease.Lease{tr.l}); err != nil {
				t.Fatal(err)
			}
			tr.serves(4 * 24 * time.Hour)
			if got := tn.chain.wealth("hpips1alice"); got < 1000*hpips-cost(t, tr.counts) {
				t.Errorf("%s: %d are left to her", kind, got)
			}
			tn.chain.check(t)
		})
	}
}

// What bob tries with a voucher that he has.
func TestBobCannotRedeemTwiceNorAnOldVoucherNorTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "alice", "bob")
		tr := trading(tn, kinds["middle"])
		defer tr.payee.Close()
		tr.honest(5)
		bob := tn.door("bob")
		claim := func(v voucher.Signed) []voucher.Claim {
			b, err := v.Voucher.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			return []voucher.Claim{{Voucher: b, Signature: v.Signature}}
		}
		redeem := func(v voucher.Signed) error {
			c := claim(v)
			_, err := bob.Redeem(context.Background(), c, voucher.SignRedeem(bob.ID(), c, named(t, "bob").node))
			return err
		}
		if err := redeem(tr.signed[3]); err != nil {
			t.Fatal(err)
		}
		if err := redeem(tr.signed[3]); !errors.Is(err, errOld) {
			t.Errorf("twice: %v", err)
		}
		if err := redeem(tr.signed[1]); !errors.Is(err, errOld) {
			t.Errorf("an old one: %v", err)
		}
		if err := tr.payer.Close(context.Background(), []lease.Lease{tr.l}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(tn.chain.rules.Grace + blockTime)
		if err := redeem(tr.signed[4]); !errors.Is(err, errGrace) && !errors.Is(err, errNoLease) {
			t.Errorf("after its grace: %v", err)
		}
		time.Sleep(time.Minute)
		if got, fee := tn.chain.final("hpips1bob"), tn.chain.rules.Fee; got != tr.signed[3].Voucher.Amount-fee {
			t.Errorf("bob has %d of %d", got, tr.signed[3].Voucher.Amount)
		}
		tn.chain.check(t)
	})
}

// Carol has copied bob's home, or runs it twice: both redeem, and the chain pays once.
func TestTwoBobsAreOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "alice", "bob")
		tr := trading(tn, kinds["middle"])
		defer tr.payee.Close()
		other := tn.payee("bob-copy")
		defer other.Close()
		other.cfg.Key, other.self = named(t, "bob").node, named(t, "bob").public()
		other.chain = tn.door("bob")
		if _, err := other.Funded(context.Background(), tr.l); err != nil {
			t.Fatal(err)
		}
		for range 4 {
			results := tr.shift()
			other.Did(tr.l, results)
			if v, due := tr.owed(results); due {
				if err := tr.pays(v); err != nil {
					t.Fatal(err)
				}
				take(t, other, tr.l, v)
			}
		}
		done := make(chan struct{})
		go func() { defer close(done); serves(t, other, 5*24*time.Hour) }()
		tr.serves(5 * 24 * time.Hour)
		<-done
		if got := tn.chain.final("hpips1bob") + tn.chain.fees(); got != tr.paid {
			t.Errorf("bob has %d of %d", got, tr.paid)
		}
		tn.chain.check(t)
	})
}
