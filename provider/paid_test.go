package provider

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hpips/hpips/p2p"
	"github.com/hpips/hpips/pay"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/voucher"
)

const plenty = 1 << 50

// paidStory runs fn with a bob who is paid and an alice who has opened a session with him, in virtual time.
func paidStory(t *testing.T, fn func(t *testing.T, b *bob, a *patron), change ...func(*Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := newTill()
		b := earns(t, c, change...)
		defer func() { b.stop() }()
		fn(t, b, b.patronises(c, "alice"))
	})
}

func slots(n int) func(*Config) { return func(c *Config) { c.Slots = n } }

func TestALeaseBeginsWithItsDeposit(t *testing.T) {
	paidStory(t, func(t *testing.T, b *bob, a *patron) {
		a.signsFor(1, 5_000_000)
		a.says(lease.Message{Begin: &lease.Begin{Lease: a.lease, Work: a.work("index")}})
		if m, said := a.hearsWithin(5 * time.Second); said {
			t.Fatalf("before the deposit stands bob says %+v", m)
		}
		if err := a.payer.Fund(t.Context(), []lease.Lease{a.lease}); err != nil {
			t.Fatal(err)
		}
		if m, said := a.hearsWithin(2 * time.Second); !said || m.Held == nil {
			t.Fatalf("when it stands bob says %+v", m)
		}
		a.assigns(1)
		if a.takes(time.Second); len(a.got) != 1 {
			t.Errorf("%d results", len(a.got))
		}
	})
}

func TestWithoutADepositNothingIsDone(t *testing.T) {
	rows := map[string]struct {
		spoil func(a *patron)
		want  string
	}{
		"none":      {func(*patron) {}, "deposit: "},
		"too small": {func(a *patron) { a.deposits(func(d *pay.Deposit) { d.Amount-- }) }, "deposit"},
		"for carol": {func(a *patron) { a.deposits(func(d *pay.Deposit) { d.Node = make([]byte, 32) }) }, "not that of the lease"},
		"another key": {func(a *patron) {
			a.deposits(func(d *pay.Deposit) { d.Key = append([]byte{3}, make([]byte, 32)...) })
		}, "not that of the lease"},
		"too short": {func(a *patron) { a.deposits(func(d *pay.Deposit) { d.Until -= 60 }) }, "before the term"},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			paidStory(t, func(t *testing.T, b *bob, a *patron) {
				a.signsFor(1, 5_000_000)
				row.spoil(a)
				a.says(lease.Message{Begin: &lease.Begin{Lease: a.lease, Work: a.work("index")}})
				a.assigns(upTo(4)...)
				no := a.takes(2 * time.Minute)
				if no == nil || !strings.Contains(no.Reason, row.want) || len(b.engine.started()) > 0 {
					t.Errorf("refusal %+v, %d tasks were started", no, len(b.engine.started()))
				}
			})
		})
	}
}

// deposits puts a deposit on the chain that is not quite what was agreed.
func (a *patron) deposits(edit func(*pay.Deposit)) {
	a.t.Helper()
	raw, err := a.bob.me.id.ExtractPublicKey()
	if err != nil {
		a.t.Fatal(err)
	}
	node, err := raw.Raw()
	if err != nil {
		a.t.Fatal(err)
	}
	p := a.lease.Terms.Pay
	d := pay.Deposit{Terms: a.lease.Terms.Digest(), Node: node, Key: p.Key, Denom: p.Denom, Amount: p.Deposit, Until: a.lease.Terms.Until/1000 + 1}
	edit(&d)
	if err := a.till.Open(a.t.Context(), []pay.Deposit{d}); err != nil {
		a.t.Fatal(err)
	}
}

func TestWhoIsPaidNowhereTakesNoPaidLease(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		a := b.patronises(newTill(), "alice")
		a.signsFor(1, 5_000_000)
		if err := b.Hold(a.lease); err == nil {
			t.Error("bob holds a place for it")
		}
		a.says(lease.Message{Begin: &lease.Begin{Lease: a.lease, Work: a.work("index")}})
		if no := a.takes(time.Minute); no == nil || !strings.Contains(no.Reason, "no chain") {
			t.Errorf("refusal %+v", no)
		}
	})
}

// TestLossIsOneWindow has alice pay for a while and then play every trick of a requester. What bob has done for nothing is never more than the
// credit window that she had earned.
func TestLossIsOneWindow(t *testing.T) {
	forge := func(edit func(a *patron, v *voucher.Voucher)) func(*patron) {
		return func(a *patron) {
			s, err := a.payer.Promise(a.lease, a.used, a.root())
			if err != nil {
				a.t.Fatal(err)
			}
			v := s.Voucher
			edit(a, &v)
			if s, err = v.Sign(secret); err != nil {
				a.t.Fatal(err)
			}
			a.says(lease.Message{Voucher: a.names(s)})
		}
	}
	rows := map[string]func(*patron){
		"says nothing more":    func(*patron) {},
		"promises half":        forge(func(_ *patron, v *voucher.Voucher) { v.Amount /= 2 }),
		"promises less":        forge(func(_ *patron, v *voucher.Voucher) { v.Amount = 1 }),
		"promises nothing":     forge(func(_ *patron, v *voucher.Voucher) { v.Amount = 0 }),
		"for another lease":    forge(func(_ *patron, v *voucher.Voucher) { v.Lease[0]++ }),
		"on another chain":     forge(func(_ *patron, v *voucher.Voucher) { v.Chain = "hpips-test-2" }),
		"more than the work":   forge(func(_ *patron, v *voucher.Voucher) { v.Amount, v.Usage.CPU = v.Amount*100, v.Usage.CPU*100 }),
		"for less of the work": forge(func(_ *patron, v *voucher.Voucher) { v.Amount++; v.Usage.CPU = 0 }),
		"without a signature": func(a *patron) {
			a.says(lease.Message{Voucher: &lease.Voucher{Signed: voucher.Signed{Voucher: voucher.Voucher{Chain: a.till.ID(), Lease: a.lease.Terms.Key(), Amount: a.worth(), Usage: a.used}}}})
		},
		"begins again and again": func(a *patron) {
			a.says(lease.Message{Begin: &lease.Begin{Lease: a.lease, Work: a.work("second")}})
		},
		"cancels what runs": func(a *patron) { a.says(lease.Message{Cancel: &lease.Cancel{Tasks: upTo(1000)}}) },
		"restarts":          func(a *patron) { a.wire.event(p2p.EventRestarted); a.wire.event(p2p.EventUp) },
	}
	for name, trick := range rows {
		for _, honest := range []int{0, 3} { // vouchers that she gives before
			t.Run(name, func(t *testing.T) {
				paidStory(t, func(t *testing.T, b *bob, a *patron) {
					a.hires(a.work("second"), 2, plenty)
					a.assigns(upTo(1000)...)
					for range honest {
						if no := a.takes(1100 * time.Millisecond); no != nil {
							t.Fatalf("refused: %+v", no)
						}
						a.pays()
					}
					synctest.Wait()
					_, promised := b.payee.Unpaid(a.lease)
					if honest > 0 && promised == 0 {
						t.Fatal("bob was never paid")
					}
					var no *lease.Refused
					for range 40 {
						trick(a)
						if no = a.takes(3 * time.Second); no != nil {
							break
						}
					}
					_, promised = b.payee.Unpaid(a.lease)
					loss := a.worth() - promised
					if loss > a.window() {
						t.Errorf("bob has done %d for nothing, the window is %d", loss, a.window())
					}
					if ends := !slices.Contains([]string{"cancels what runs", "restarts", "promises half"}, name); ends && (no == nil || !strings.Contains(no.Reason, "pay: ")) {
						t.Errorf("bob goes on with her: %+v", no)
					}
					if started := len(b.engine.started()); uint64(started)*1_000_000 > promised+2*a.window()+2_000_000 {
						t.Errorf("%d tasks of a second were started for %d", started, promised)
					}
				}, slots(2))
			})
		}
	}
}

// TestManyLeasesAreManyTasks: who opens many leases and never pays gets one task of each.
func TestManyLeasesAreManyTasks(t *testing.T) {
	paidStory(t, func(t *testing.T, b *bob, a *patron) {
		for range 20 {
			c := b.patronises(a.till, "carol")
			c.hires(c.work("10ms"), 1, 5_000_000)
			c.assigns(upTo(1000)...)
			c.takes(5 * time.Second)
			if first := pay.NewWindow(c.lease.Terms, job.Limits{}); c.worth() > first.Size() {
				t.Errorf("carol has work of %d for nothing", c.worth())
			}
		}
	}, slots(1))
}

func TestWhoPaysIsServedAtFullSpeed(t *testing.T) {
	paidStory(t, func(t *testing.T, b *bob, a *patron) {
		began := time.Now()
		a.hires(a.work("10ms"), 2, plenty)
		a.assigns(upTo(2000)...)
		w := pay.NewWindow(a.lease.Terms, job.Limits{})
		vouchers, promised, seen := 0, uint64(0), map[uint64]bool{}
		for len(a.got) < 2000 {
			if no := a.takes(time.Millisecond); no != nil {
				t.Fatalf("refused: %+v", no)
			}
			for i, r := range a.got {
				if seen[i] {
					continue
				}
				seen[i] = true
				w.Ended(pay.Used(r, a.lease.Terms.Order.Resources))
			}
			if owed := a.worth() - promised; w.Due(owed, 0, len(a.got) == 2000) {
				promised = a.pays().Voucher.Amount
				w.Paid(promised)
				vouchers++
			}
		}
		if took := time.Since(began); took > 11*time.Second {
			t.Errorf("20 s of work on two slots took %v", took)
		}
		if vouchers > 12 {
			t.Errorf("%d vouchers for 2000 tasks", vouchers)
		}
	}, slots(2))
}

// TestLongTasksFillTheSlotsOncePaid: the first task runs alone, then they are two, then as many as there are slots.
func TestLongTasksFillTheSlotsOncePaid(t *testing.T) {
	paidStory(t, func(t *testing.T, b *bob, a *patron) {
		a.hires(a.work("second"), 4, plenty)
		a.lease.Terms.Quote.Slots = 4
		a.assigns(upTo(100)...)
		var most []int
		for range 6 {
			a.takes(1100 * time.Millisecond)
			a.pays()
			synctest.Wait()
			most = append(most, b.Status().Busy)
		}
		if most[0] < 1 || slices.Max(most) != 4 {
			t.Errorf("slots at work after each payment: %v", most)
		}
	}, slots(4))
}

// TestTasksThatTurnOutLong: alice pays for quick tasks, then has slow ones run in all slots. More than one of them is stopped before they cost more
// than she has credit for.
func TestTasksThatTurnOutLong(t *testing.T) {
	paidStory(t, func(t *testing.T, b *bob, a *patron) {
		a.hires(a.work("odd waits"), 4, plenty)
		a.assigns(upTo(7)...)
		a.takes(500 * time.Millisecond)
		a.pays()
		a.assigns(7) // runs for ever, and holds up nothing
		synctest.Wait()
		for i := range uint64(50) {
			a.assigns(100 + i)
		}
		a.takes(20 * time.Second)
		if len(a.got) != 57 {
			t.Errorf("%d results", len(a.got))
		}
	}, slots(4))
	paidStory(t, func(t *testing.T, b *bob, a *patron) {
		a.hires(a.work("forever when old"), 4, plenty)
		a.assigns(upTo(50)...)
		for range 3 {
			a.takes(500 * time.Millisecond)
			a.pays()
		}
		synctest.Wait()
		a.assigns(1000, 1001, 1002, 1003, 1004, 1005)
		time.Sleep(time.Minute)
		synctest.Wait()
		if s := b.Status(); s.Busy != 1 {
			t.Errorf("%d slots run what nobody has paid the like of", s.Busy)
		}
	}, slots(4))
}

func TestBobGoesOnAfterHisRestart(t *testing.T) {
	paidStory(t, func(t *testing.T, b *bob, a *patron) {
		w := a.work("second")
		a.hires(w, 1, plenty)
		a.assigns(upTo(20)...)
		a.takes(1100 * time.Millisecond)
		s := a.pays()
		a.takes(1100 * time.Millisecond) // not paid
		b.restarts()
		again := b.visits("alice")
		a.wire = again.wire
		a.resumes(w)
		a.says(lease.Message{Voucher: a.names(s)}) // as requesters do, since he may have lost it
		a.assigns(10, 11, 12, 13)
		if no := a.takes(2 * time.Second); no != nil {
			t.Fatalf("refused: %+v", no)
		}
		a.pays()
		a.takes(1100 * time.Millisecond)
		if a.got[11].End != job.Exited {
			t.Errorf("results %v", a.got)
		}
		_, promised := b.payee.Unpaid(a.lease)
		if loss := a.worth() - promised; loss > a.window() {
			t.Errorf("bob has done %d for nothing, the window is %d", loss, a.window())
		}
	})
}

func TestTheLastVoucherMayComeLate(t *testing.T) {
	paidStory(t, func(t *testing.T, b *bob, a *patron) {
		a.hires(a.work("10ms"), 1, plenty)
		a.assigns(upTo(5)...)
		a.takes(time.Second)
		a.says(lease.Message{End: &lease.End{}})
		synctest.Wait()
		a.pays()
		synctest.Wait()
		if unpaid, promised := b.payee.Unpaid(a.lease); unpaid != 0 || promised != a.worth() || promised == 0 {
			t.Errorf("unpaid %d, promised %d of %d", unpaid, promised, a.worth())
		}
		carol := b.patronises(a.till, "carol")
		carol.client.id, carol.lease = a.id, a.lease
		carol.says(lease.Message{Voucher: &lease.Voucher{}})
		synctest.Wait()
	})
}

// Bob's PC was off when the lease ended: the last voucher finds a process that has never begun this lease.
func TestTheLastVoucherFindsAnotherLife(t *testing.T) {
	paidStory(t, func(t *testing.T, b *bob, a *patron) {
		a.hires(a.work("10ms"), 1, plenty)
		a.assigns(upTo(5)...)
		a.takes(time.Second)
		b.restarts()
		carol := b.patronises(a.till, "carol")
		carol.client.id, carol.lease = a.id, a.lease
		s, err := a.payer.Promise(a.lease, a.used, a.root())
		if err != nil {
			t.Fatal(err)
		}
		carol.says(lease.Message{Voucher: a.names(s)})
		synctest.Wait()
		if _, promised := b.payee.Unpaid(a.lease); promised != 0 {
			t.Errorf("bob took %d from carol, whose lease it is not", promised)
		}
		a.wire = b.visits("alice").wire
		a.pays()
		synctest.Wait()
		if unpaid, promised := b.payee.Unpaid(a.lease); unpaid != 0 || promised != a.worth() || promised == 0 {
			t.Errorf("unpaid %d, promised %d of %d", unpaid, promised, a.worth())
		}
	})
}

// TestAnExtensionNeedsItsDeposit: alice extends her lease through the market, and does not move the end of her deposit out, or has closed it. Bob works to the
// end for which he saw it, and no longer.
func TestAnExtensionNeedsItsDeposit(t *testing.T) {
	for _, moved := range []bool{false, true} {
		paidStory(t, func(t *testing.T, b *bob, a *patron) {
			a.hires(a.work("second"), 2, 100*plenty)
			a.assigns(1, 2)
			a.takes(1100 * time.Millisecond)
			a.pays()
			first := a.lease.Terms.Until
			terms := a.lease.Terms
			terms.Serial, terms.Until = 1, first+time.Hour.Milliseconds()
			longer := lease.Lease{Terms: terms, Requester: sign(t, terms, a.me), Provider: sign(t, terms, b.me)}
			if err := b.Hold(longer); err != nil {
				t.Fatal(err)
			}
			if moved {
				if err := a.till.TopUp(t.Context(), []pay.Addition{{Lease: terms.Key(), Until: terms.Until/1000 + 1}}); err != nil {
					t.Fatal(err)
				}
			}
			a.lease = longer
			a.says(lease.Message{Begin: &lease.Begin{Lease: longer, Work: a.work("second")}})
			time.Sleep(time.Until(time.UnixMilli(first)) + time.Second)
			done := len(a.got)
			a.assigns(3, 4)
			no := a.takes(time.Minute)
			switch {
			case moved && (no != nil || len(a.got) != done+2):
				t.Errorf("with the deposit: refused %+v, %d results", no, len(a.got)-done)
			case !moved && (no == nil || !strings.Contains(no.Reason, "extended") || len(a.got) != done):
				t.Errorf("without it: refused %+v, %d results", no, len(a.got)-done)
			}
		})
	}
}

// TestALeaseThatIsClosedOnTheChain: alice takes her deposit back while bob works. As soon as he sees it he stops.
func TestALeaseThatIsClosedOnTheChain(t *testing.T) {
	paidStory(t, func(t *testing.T, b *bob, a *patron) {
		watch, stop := context.WithCancel(t.Context())
		defer stop()
		payee := b.payee.(*pay.Payee)
		go payee.Serve(watch)
		a.hires(a.work("second"), 1, 100*plenty, func(t *lease.Terms) { t.Until = t.From + lease.MaxTerm.Milliseconds() })
		a.till.close(a.lease)
		time.Sleep(2 * time.Hour)
		a.assigns(1, 2, 3)
		if no := a.takes(5 * time.Second); no == nil || !strings.Contains(no.Reason, "closed on the chain") {
			t.Errorf("refused %+v, %d results", no, len(a.got))
		}
	})
}

// TestAVoucherBeforeItsBlock: the chain has more of alice's deposit than bob's node has seen.
func TestAVoucherBeforeItsBlock(t *testing.T) {
	paidStory(t, func(t *testing.T, b *bob, a *patron) {
		a.hires(a.work("second"), 1, 2_500_000)
		a.assigns(upTo(10)...)
		a.takes(1100 * time.Millisecond)
		a.pays()
		a.takes(1100 * time.Millisecond)
		a.pays()
		a.till.look(true)
		if err := a.till.TopUp(t.Context(), []pay.Addition{{Lease: a.lease.Terms.Key(), Amount: plenty}}); err != nil {
			t.Fatal(err)
		}
		a.takes(3 * time.Second)
		if done := len(a.got); done != 2 {
			t.Errorf("%d tasks of a second were done for a deposit of 2.5", done)
		}
		a.till.look(false)
		if no := a.takes(5 * time.Second); no != nil || len(a.got) < 3 {
			t.Fatalf("%d results, refusal %+v", len(a.got), no)
		}
		a.till.look(true)
		a.till.mu.Lock()
		poor := a.till.seen[a.lease.Terms.Key()]
		poor.Deposit = 2_500_000
		a.till.seen[a.lease.Terms.Key()] = poor
		a.till.mu.Unlock()
		s, err := voucher.Voucher{Chain: a.till.ID(), Lease: a.lease.Terms.Key(), Amount: a.worth(), Usage: a.used}.Sign(secret)
		if err != nil {
			t.Fatal(err)
		}
		a.says(lease.Message{Voucher: a.names(s)})
		synctest.Wait()
		a.till.look(false)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if _, promised := b.payee.Unpaid(a.lease); promised < s.Voucher.Amount {
			t.Errorf("promised %d, want %d", promised, s.Voucher.Amount)
		}
	})
}

func TestADepositThatIsUsedUp(t *testing.T) {
	paidStory(t, func(t *testing.T, b *bob, a *patron) {
		a.hires(a.work("second"), 1, 3_500_000)
		a.assigns(upTo(10)...)
		var no *lease.Refused
		for range 60 {
			if no = a.takes(1100 * time.Millisecond); no != nil {
				break
			}
			if a.worth() <= 3_500_000 {
				a.pays()
			}
		}
		if no == nil || !strings.Contains(no.Reason, "deposit") || len(a.got) != 3 {
			t.Errorf("%d results, refusal %+v", len(a.got), no)
		}
	})
}

func TestFreeLeasesGoBesidePaidOnes(t *testing.T) {
	paidStory(t, func(t *testing.T, b *bob, a *patron) {
		a.hires(a.work("second"), 2, plenty)
		a.assigns(upTo(100)...)
		dave := b.visits("dave")
		dave.begins(dave.work("10ms"), 2)
		dave.assigns(upTo(100)...)
		began := time.Now()
		dave.collects(100)
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("a gift took %v behind alice, who does not pay", took)
		}
	}, slots(2))
}
