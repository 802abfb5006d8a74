package pay

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
)

// ends tells bob that a lease is over, as its provider does.
func (s *shop) ends(l lease.Lease) { s.bob.Ended(context.Background(), l) }

// again lets bob begin another life.
func (s *shop) again() {
	s.stop()
	s.bob = s.payee("bob")
	s.bob.cfg.First = s.bob.cfg.Day
	s.open()
}

// back wants alice to have this much, in all and for good, and the lease to be there or not.
func (s *shop) back(when string, want uint64, l lease.Lease, there bool) {
	s.t.Helper()
	if got := s.chain.wealth("hpips1alice"); got != want {
		s.t.Errorf("%s: alice has %d, want %d", when, got, want)
	}
	s.chain.mu.Lock()
	defer s.chain.mu.Unlock()
	if _, found := s.chain.leases[l.Terms.Key()]; found != there {
		s.t.Errorf("%s: the chain has the lease: %v", when, found)
	}
}

func patient(c *PayeeConfig) { c.First = c.Day }

const (
	wealth = 1000 * hpips // of alice at first
	fee    = 200
)

// What alice did not use is back within minutes: with bob's last redemption, and where nothing was done for her, or less than a redemption costs, for a fee.
func TestWhatIsNotUsedReturnsAtOnce(t *testing.T) {
	for name, row := range map[string]struct {
		took time.Duration
		left uint64
		pays uint64
	}{
		"a second of work":   {time.Second, wealth - cpuSecond, cpuSecond},
		"no work":            {0, wealth - fee, 0},
		"less than the fee":  {100 * time.Millisecond, wealth - fee, 0},
		"the fee, no more":   {200 * time.Millisecond, wealth - fee, 0},
		"a little more":      {201 * time.Millisecond, wealth - 201, 201},
		"all of the deposit": {1000 * time.Second, wealth - hpips, hpips},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := opened(t, patient)
			defer func() { s.stop() }()
			l := s.hired(s.alice, s.bob, "bob", hpips)
			if row.took > 0 {
				s.works(l, row.took)
			}
			s.back(name+": while it runs", wealth-hpips, l, true)
			s.ends(l)
			time.Sleep(2 * time.Minute)
			s.back(name, row.left, l, false)
			if s.got() != row.pays || s.chain.count("redeem") != 1 {
				t.Errorf("%s: %d were paid, by %d redemptions", name, s.got(), s.chain.count("redeem"))
			}
			if !s.bob.Closed(l) {
				t.Errorf("%s: bob would go on", name)
			}
			if err := s.alice.Close(context.Background(), []lease.Lease{l}); err != nil || s.chain.count("close") != 0 {
				t.Errorf("%s: alice closes what is gone: %v", name, err)
			}
			time.Sleep(5 * 24 * time.Hour)
			s.bob.mu.Lock()
			defer s.bob.mu.Unlock()
			if len(s.bob.tabs) != 0 || s.chain.count("redeem") != 1 {
				t.Errorf("%s: %d leases are kept for ever, %d redemptions", name, len(s.bob.tabs), s.chain.count("redeem"))
			}
			s.chain.check(t)
		})
	}
}

// Alice was away when the lease ended. As long as anything that bob did is not promised he says nothing, also after a restart, and takes her promise two days later.
func TestNobodysPayDependsOnLettingGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := opened(t, patient)
		defer func() { s.stop() }()
		l := s.hired(s.alice, s.bob, "bob", hpips)
		s.works(l, time.Second)
		all := s.bob.Did(l, []job.Result{ran(9, time.Second)})
		s.ends(l)
		if err := s.alice.Close(context.Background(), []lease.Lease{l}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(24 * time.Hour)
		s.again()
		time.Sleep(24 * time.Hour)
		s.back("after two days", wealth-hpips, l, true)
		if s.got() != cpuSecond {
			t.Errorf("bob has %d of what was promised", s.got())
		}
		take(t, s.bob, l, promise(t, s.alice, l, all))
		time.Sleep(time.Hour)
		s.back("when all is promised", wealth-2*cpuSecond, l, false)
		if s.got() != 2*cpuSecond {
			t.Errorf("bob has %d", s.got())
		}
		s.chain.check(t)
	})
}

// The last word does not reach the chain, and may yet be brought there: bob takes no promise after it, in this life or the next, and asks for no more than it says.
func TestTheLastWordIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := opened(t, patient)
		defer func() { s.stop() }()
		l := s.hired(s.alice, s.bob, "bob", hpips)
		s.works(l, time.Second)
		s.chain.change(func() { s.chain.lost = func(op string) bool { return op == "redeem" } })
		s.ends(l)
		time.Sleep(10 * time.Minute)
		refused := func(life string) {
			t.Helper()
			more := s.bob.Did(l, []job.Result{ran(9, time.Second)})
			if _, err := s.bob.Take(context.Background(), l, lease.Voucher{Signed: promise(t, s.alice, l, more)}); !errors.Is(err, ErrLetGo) {
				t.Errorf("%s: a promise after the last word: %v", life, err)
			}
			ctx, stop := context.WithTimeout(context.Background(), time.Minute)
			defer stop()
			if _, err := s.bob.Funded(ctx, l); !errors.Is(err, ErrLetGo) || !s.bob.Closed(l) {
				t.Errorf("%s: bob would work on: %v", life, err)
			}
		}
		refused("this life")
		s.again()
		refused("the next")
		s.chain.change(func() { s.chain.lost = func(string) bool { return false } })
		time.Sleep(2 * time.Hour)
		s.back("at last", wealth-cpuSecond, l, false)
		if s.got() != cpuSecond || s.chain.count("redeem") != 1 {
			t.Errorf("bob has %d by %d redemptions", s.got(), s.chain.count("redeem"))
		}
		s.chain.check(t)
	})
}

// What ended in an earlier life is let go when its payer has closed it: this life knows of no work for it. A lease that this one works for is not.
func TestWhatAnEarlierLifeWorkedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := opened(t, patient)
		defer func() { s.stop() }()
		old, unused, runs := s.hired(s.alice, s.bob, "bob", hpips), s.hired(s.alice, s.bob, "bob", hpips), s.lease(s.alice, "bob", hpips)
		s.works(old, time.Second)
		s.again()
		if err := s.alice.Fund(context.Background(), []lease.Lease{runs}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.bob.Funded(context.Background(), runs); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Hour)
		s.back("nobody closed anything", wealth-3*hpips, old, true)
		if err := s.alice.Close(context.Background(), []lease.Lease{old, unused, runs}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		s.back("closed", wealth-hpips-cpuSecond-fee, old, false)
		s.back("closed", wealth-hpips-cpuSecond-fee, unused, false)
		s.back("closed", wealth-hpips-cpuSecond-fee, runs, true)
		s.works(runs, time.Second) // it was under way
		s.ends(runs)
		time.Sleep(2 * time.Hour)
		s.back("ended", wealth-2*cpuSecond-fee, runs, false)
		s.chain.check(t)
	})
}

// A lease that was redeemed when it ended waits until that is final, and not more than one message of a lease goes to the chain within a day.
func TestALeaseThatWasRedeemedBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := opened(t)
		defer func() { s.stop() }()
		l := s.long(hpips)
		s.works(l, time.Second)
		time.Sleep(10 * time.Minute) // bob's first money
		s.ends(l)
		time.Sleep(20 * time.Hour)
		s.back("the same day", wealth-hpips, l, true)
		time.Sleep(5 * time.Hour)
		s.back("a day later", wealth-cpuSecond-fee, l, false)
		if _, its, _ := s.redemptions(l); its != 2 {
			t.Errorf("%d messages", its)
		}
		s.chain.check(t)
	})
}

// In another asset there is nothing to take the fee from: what was not used waits for the grace, what was used is let go with its redemption.
func TestLettingGoInAnotherAsset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := opened(t, patient)
		defer func() { s.stop() }()
		s.chain.change(func() { s.chain.give("hpips1alice", "gold", 1000*hpips) })
		p := named(t, "alice")
		golden, err := NewPayer(s.door("alice"), PayerConfig{Account: p.account, Secret: p.secret, Denom: "gold"})
		if err != nil {
			t.Fatal(err)
		}
		worked, unused, plain := s.hired(golden, s.bob, "bob", hpips), s.hired(golden, s.bob, "bob", hpips), s.hired(s.alice, s.bob, "bob", hpips)
		take(t, s.bob, worked, promise(t, golden, worked, s.bob.Did(worked, []job.Result{ran(1, time.Second)})))
		s.works(plain, time.Second)
		for _, l := range []lease.Lease{worked, unused, plain} {
			s.ends(l)
		}
		time.Sleep(time.Hour)
		s.back("HPIPS", wealth-cpuSecond, worked, false)
		s.back("HPIPS", wealth-cpuSecond, unused, true)
		time.Sleep(10 * 24 * time.Hour)
		s.back("after the grace", wealth-cpuSecond, unused, false)
		gold := uint64(0)
		s.chain.change(func() { gold = s.chain.balance["hpips1alice"]["gold"] })
		if gold != 1000*hpips-cpuSecond || s.chain.count("redeem") != 1 {
			t.Errorf("alice has %d of gold, after %d redemptions", gold, s.chain.count("redeem"))
		}
		s.chain.check(t)
	})
}
