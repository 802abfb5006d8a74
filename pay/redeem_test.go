package pay

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/voucher"
)

// shop is bob with his redeemer at work, and alice beside him.
type shop struct {
	*town
	alice *Payer
	bob   *Payee
	stop  func()
	did   map[voucher.ID]voucher.Usage
	n     uint64
}

func opened(t *testing.T, change ...func(*PayeeConfig)) *shop {
	tn := newTown(t, "alice", "bob")
	s := &shop{town: tn, alice: tn.payer("alice"), bob: tn.payee("bob"), did: map[voucher.ID]voucher.Usage{}}
	for _, c := range change {
		c(&s.bob.cfg)
	}
	s.open()
	return s
}

func (s *shop) open() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.bob.Serve(ctx) }()
	s.stop = func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			s.t.Error(err)
		}
		if err := s.bob.Close(); err != nil {
			s.t.Error(err)
		}
	}
}

// works lets bob do a task under a lease and be promised its price.
func (s *shop) works(l lease.Lease, took time.Duration) {
	s.t.Helper()
	s.n++
	take(s.t, s.bob, l, promise(s.t, s.alice, l, s.bob.Did(l, []job.Result{ran(s.n, took)})))
}

// redemptions counts transactions, and for a lease those that held it.
func (s *shop) redemptions(l lease.Lease) (all, its int, at []time.Duration) {
	s.chain.mu.Lock()
	defer s.chain.mu.Unlock()
	for _, x := range s.chain.txs {
		if x.op != "redeem" {
			continue
		}
		all++
		for _, id := range x.leases {
			if id == l.Terms.Key() {
				its++
				at = append(at, x.at.Sub(s.chain.genesis))
			}
		}
	}
	return all, its, at
}

// got is all that bob was paid, and what the fees took of it.
func (s *shop) got() uint64 { return s.chain.final("hpips1bob") + s.chain.fees() }

// long makes a lease that runs for weeks: extensions do it.
func (s *shop) long(deposit uint64) lease.Lease {
	l := s.lease(s.alice, "bob", deposit, func(t *lease.Terms) {
		t.Until += (30 * 24 * time.Hour).Milliseconds()
		t.Serial = 30
	})
	if err := s.alice.Fund(context.Background(), []lease.Lease{l}); err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.bob.Funded(context.Background(), l); err != nil {
		s.t.Fatal(err)
	}
	return l
}

func TestANewcomerHasItsFirstMoneyWithinTenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := opened(t)
		defer func() { s.stop() }()
		l := s.long(100 * hpips)
		s.works(l, time.Second)
		time.Sleep(10 * time.Minute)
		if got := s.got(); got != cpuSecond {
			t.Errorf("after ten minutes bob has %d", got)
		}
		s.works(l, time.Second)
		time.Sleep(20 * time.Hour)
		if got := s.got(); got != cpuSecond {
			t.Errorf("the second payment comes the same day: %d", got)
		}
		time.Sleep(5 * time.Hour)
		if got := s.got(); got != 2*cpuSecond {
			t.Errorf("a day later bob has %d", got)
		}
		s.chain.check(t)
	})
}

// 25,000 tasks on each of four leases of three days: open, close, and one redemption of each a day.
func TestOneRedemptionForALeaseAndDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := opened(t)
		defer func() { s.stop() }()
		var leases []lease.Lease
		for range 4 {
			leases = append(leases, s.long(100*hpips))
		}
		for range 3 * 24 {
			for _, l := range leases {
				var results []job.Result
				for range 347 {
					s.n++
					results = append(results, ran(s.n, 10*time.Millisecond))
				}
				take(t, s.bob, l, promise(t, s.alice, l, s.bob.Did(l, results)))
			}
			time.Sleep(time.Hour)
		}
		for _, l := range leases {
			s.bob.Ended(context.Background(), l)
		}
		if err := s.alice.Close(context.Background(), leases); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * 24 * time.Hour)
		if want := uint64(4 * 3 * 24 * 347 * 10); s.got() != want {
			t.Errorf("bob has %d of %d", s.got(), want)
		}
		for _, l := range leases {
			all, its, at := s.redemptions(l)
			t.Logf("a lease in %d of %d redemptions, at %v", its, all, at)
			if its > 4 || all > 8 {
				t.Errorf("%d redemptions of one lease in four days, %d in all", its, all)
			}
			for i := range at[1:] {
				if at[i+1]-at[i] < 24*time.Hour {
					t.Errorf("two redemptions %v apart", at[i+1]-at[i])
				}
			}
		}
		if s.chain.count("open")+s.chain.count("close") != 5 {
			t.Errorf("%d transactions to open, %d to close", s.chain.count("open"), s.chain.count("close"))
		}
		s.chain.check(t)
	})
}

func TestLeasesThatEndTogetherAreRedeemedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := opened(t, func(c *PayeeConfig) { c.First = c.Day })
		defer func() { s.stop() }()
		var leases []lease.Lease
		for range 250 {
			l := s.hired(s.alice, s.bob, "bob", hpips)
			s.works(l, time.Second)
			leases = append(leases, l)
		}
		time.Sleep(time.Hour)
		if n := s.chain.count("redeem"); n != 0 {
			t.Errorf("%d redemptions before anything is due", n)
		}
		for _, l := range leases {
			s.bob.Ended(context.Background(), l)
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		if n := s.chain.count("redeem"); n != 3 || s.got() != 250*cpuSecond {
			t.Errorf("%d redemptions brought %d", n, s.got())
		}
		s.chain.check(t)
	})
}

func TestWhatMakesARedemptionSooner(t *testing.T) {
	for name, row := range map[string]struct {
		worth  uint64
		play   func(s *shop, l lease.Lease)
		within time.Duration
	}{
		"a day":                      {0, func(*shop, lease.Lease) {}, 24*time.Hour + time.Minute},
		"the lease's end":            {0, func(s *shop, l lease.Lease) { s.bob.Ended(context.Background(), l) }, time.Minute},
		"its closing by its payer":   {0, func(s *shop, l lease.Lease) { s.alice.Close(context.Background(), []lease.Lease{l}) }, time.Hour + time.Minute},
		"a deposit nearly used up":   {0, func(s *shop, l lease.Lease) { s.works(l, 8*time.Second) }, time.Minute},
		"an amount that is worth it": {3 * cpuSecond, func(s *shop, l lease.Lease) { s.works(l, 2*time.Second) }, time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := opened(t, func(c *PayeeConfig) { c.First, c.Worth = c.Day, row.worth })
			defer func() { s.stop() }()
			l := s.lease(s.alice, "bob", 10_000, func(t *lease.Terms) { t.Until += (72 * time.Hour).Milliseconds() })
			if err := s.alice.Fund(context.Background(), []lease.Lease{l}); err != nil {
				t.Fatal(err)
			}
			if _, err := s.bob.Funded(context.Background(), l); err != nil {
				t.Fatal(err)
			}
			s.works(l, time.Second)
			time.Sleep(time.Second)
			row.play(s, l)
			time.Sleep(row.within)
			if _, its, at := s.redemptions(l); its != 1 {
				t.Errorf("%s: redeemed at %v, not within %v", name, at, row.within)
			}
		})
	}
}

func TestTheChainIsAwayForADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := opened(t)
		defer func() { s.stop() }()
		l := s.long(hpips)
		s.works(l, time.Second)
		s.chain.change(func() { s.chain.down = true })
		time.Sleep(24 * time.Hour)
		s.works(l, time.Second)
		s.chain.change(func() { s.chain.down = false })
		time.Sleep(2 * time.Hour)
		if s.got() != 2*cpuSecond || s.chain.count("redeem") != 1 {
			t.Errorf("bob has %d by %d redemptions", s.got(), s.chain.count("redeem"))
		}
	})
}

// The owner of a PC is told of what goes wrong with pay. That its chain node is not up yet, or not any more, is told elsewhere.
func TestAChainThatIsAwayIsNoFaultOfPay(t *testing.T) {
	for name, row := range map[string]struct {
		fault func(c *ledger)
		warns bool
	}{
		"the chain is away":     {func(c *ledger) { c.down = true }, false},
		"a transaction is lost": {func(c *ledger) { c.lost = func(op string) bool { return op == "redeem" } }, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := opened(t)
			l := s.long(hpips)
			s.works(l, time.Second)
			s.chain.change(func() { row.fault(s.chain) })
			s.stop()
			var said bytes.Buffer
			s.bob = s.payee("bob") // after a restart
			s.bob.log = slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug}))
			s.open()
			time.Sleep(time.Hour)
			s.stop()
			if text := said.String(); !strings.Contains(text, "Pay cannot be redeemed now") || strings.Contains(text, "level=WARN") != row.warns {
				t.Errorf("%s: %s", name, text)
			}
		})
	}
}

// The answer to a redemption is lost, and so is another transaction whole: the chain is asked before anything is sent again.
func TestARedemptionOfUnknownOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := opened(t)
		defer func() { s.stop() }()
		l := s.long(hpips)
		s.works(l, time.Second)
		lost, dumb := 2, 1
		s.chain.change(func() {
			s.chain.lost = func(op string) bool { lost--; return op == "redeem" && lost >= 0 }
			s.chain.dumb = func(op string) bool { dumb--; return op == "redeem" && dumb >= 0 }
		})
		time.Sleep(time.Hour)
		if s.got() != cpuSecond || s.chain.count("redeem") != 1 {
			t.Errorf("bob has %d by %d redemptions", s.got(), s.chain.count("redeem"))
		}
		s.bob.mu.Lock()
		defer s.bob.mu.Unlock()
		if k := s.bob.tabs[l.Terms.Key()]; k.redeemed != cpuSecond {
			t.Errorf("bob believes in %d", k.redeemed)
		}
	})
}

// One lease of many is refused, for a reason that bob cannot see: the others are redeemed.
func TestOneBadLeaseDoesNotHoldUpTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := opened(t, func(c *PayeeConfig) { c.First = c.Day })
		defer func() { s.stop() }()
		var leases []lease.Lease
		for range 20 {
			l := s.hired(s.alice, s.bob, "bob", hpips)
			s.works(l, time.Second)
			leases = append(leases, l)
		}
		s.chain.change(func() { s.chain.leases[leases[7].Terms.Key()].Key = make([]byte, voucher.KeySize) })
		for _, l := range leases {
			s.bob.Ended(context.Background(), l)
		}
		time.Sleep(10 * time.Minute)
		if s.got() != 19*cpuSecond {
			t.Errorf("bob has %d of nineteen leases", s.got())
		}
		if n := s.chain.count("redeem"); n > 6 {
			t.Errorf("%d redemptions", n)
		}
		time.Sleep(10 * 24 * time.Hour)
		s.bob.mu.Lock()
		defer s.bob.mu.Unlock()
		if len(s.bob.tabs) != 0 {
			t.Errorf("%d leases are kept for ever", len(s.bob.tabs))
		}
	})
}

func TestLessThanTheFeeWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := opened(t)
		defer func() { s.stop() }()
		l := s.long(hpips)
		s.works(l, 100*time.Millisecond) // 100 of a fee of 200
		time.Sleep(48 * time.Hour)
		if n := s.chain.count("redeem"); n != 0 {
			t.Errorf("%d redemptions of nothing", n)
		}
		s.works(l, time.Second)
		time.Sleep(2 * time.Hour)
		if s.got() != cpuSecond+100 {
			t.Errorf("bob has %d", s.got())
		}
	})
}

// A promise in another asset has no HPIPS to pay its fee with: it is redeemed beside one that has.
func TestAnotherAssetGoesBesideHPIPS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := opened(t)
		defer func() { s.stop() }()
		s.chain.change(func() { s.chain.give("hpips1alice", "gold", 1000*hpips) })
		p := named(t, "alice")
		golden, err := NewPayer(s.door("alice"), PayerConfig{Account: p.account, Secret: p.secret, Denom: "gold"})
		if err != nil {
			t.Fatal(err)
		}
		l := s.hired(golden, s.bob, "bob", hpips)
		take(t, s.bob, l, promise(t, golden, l, s.bob.Did(l, []job.Result{ran(1, time.Second)})))
		time.Sleep(time.Hour)
		if n := s.chain.count("redeem"); n != 0 {
			t.Errorf("%d redemptions without a fee", n)
		}
		s.works(s.hired(s.alice, s.bob, "bob", hpips), time.Second)
		time.Sleep(2 * time.Hour)
		got, gold := s.got(), uint64(0)
		s.chain.change(func() { gold = s.chain.paid["hpips1bob"]["gold"] })
		if all, its, _ := s.redemptions(l); all != 1 || its != 1 || got != cpuSecond || gold != cpuSecond {
			t.Errorf("%d redemptions, %d of gold; bob has %d and %d of gold", all, its, got, gold)
		}
		s.chain.check(t)
	})
}

// The node's own copy of the chain begins anew and knows none of the leases yet: nothing that is owed is forgotten.
func TestAChainThatIsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := opened(t)
		defer func() { s.stop() }()
		l := s.long(hpips)
		s.works(l, time.Second)
		s.chain.mu.Lock()
		leases := s.chain.leases
		s.chain.leases = map[voucher.ID]*deposited{}
		s.chain.mu.Unlock()
		time.Sleep(5 * 24 * time.Hour)
		s.chain.mu.Lock()
		s.chain.leases = leases
		s.chain.mu.Unlock()
		time.Sleep(2 * time.Hour)
		if s.got() != cpuSecond {
			t.Errorf("bob has %d", s.got())
		}
	})
}

// On a development network a day and a grace are a minute each: also what a requester closes in the middle of a day is redeemed in time.
func TestShortDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := opened(t, func(c *PayeeConfig) {
			day := DefaultPayee(time.Minute)
			day.Path, day.Key = c.Path, c.Key
			*c = day
		})
		defer func() { s.stop() }()
		s.chain.change(func() { s.chain.rules.Grace = time.Minute })
		owed := uint64(0)
		for i := range 30 {
			l := s.hired(s.alice, s.bob, "bob", hpips)
			for range 1 + i%4 {
				s.works(l, time.Second)
				owed += cpuSecond
				time.Sleep(time.Duration(1+i%7) * 5 * time.Second)
			}
			if err := s.alice.Close(context.Background(), []lease.Lease{l}); err != nil {
				t.Fatal(err)
			}
			if i%2 == 0 {
				s.bob.Ended(context.Background(), l)
			}
		}
		time.Sleep(3 * time.Minute)
		if s.got() != owed {
			t.Errorf("bob has %d of %d", s.got(), owed)
		}
		s.chain.check(t)
	})
}

// Eight leases at once, each from its own goroutine, while the redeemer is at work: for the race detector, and for the sums.
func TestSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := opened(t)
		defer func() { s.stop() }()
		var all sync.WaitGroup
		for range 8 {
			l := s.long(hpips)
			all.Go(func() {
				var done voucher.Usage
				for i := range uint64(20) {
					done = s.bob.Did(l, []job.Result{ran(i, time.Second)})
					v, err := s.alice.Promise(l, done, noRoot)
					if err == nil {
						_, err = s.bob.Take(context.Background(), l, lease.Voucher{Signed: v})
					}
					if err != nil {
						t.Error(err)
					}
					time.Sleep(time.Minute)
				}
				s.bob.Ended(context.Background(), l)
				if err := s.alice.Close(context.Background(), []lease.Lease{l}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		time.Sleep(48 * time.Hour)
		if s.got() != 8*20*cpuSecond {
			t.Errorf("bob has %d", s.got())
		}
		s.chain.check(t)
	})
}
