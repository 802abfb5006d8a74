package requester

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/voucher"
)

func TestACeilingHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := payingTown(t, 10*time.Millisecond, "bob", "carol")
		r, stop := tn.life()
		defer stop()
		spec := tn.dearCount(1000)
		spec.Limits.Price = "1 HPIPS" // of the 10 that it would cost
		id := submit(t, r, spec)
		s := finish(t, r, id)
		synctest.Wait()
		if s.State != job.Failed || s.Error == nil || s.Error.Code != job.CodeFunds || s.ExitCode != 121 {
			t.Fatalf("status %+v, error %+v", s, s.Error)
		}
		promised, worth := uint64(0), uint64(0)
		for _, w := range tn.folk {
			p, d := tn.bank.earned(t, w)
			promised, worth = promised+p, worth+d
		}
		if promised > 1_000_000 || promised < 900_000 {
			t.Errorf("a ceiling of a million: %d were promised", promised)
		}
		if worth > promised+10*10_000 {
			t.Errorf("work of %d was taken for %d", worth, promised)
		}
		c, err := r.Cost(context.Background(), id)
		if err != nil || c.Promised != promised || c.Deposited > 1_000_000 {
			t.Errorf("cost %+v, %v", c, err)
		}
		if !strings.Contains(s.Error.Message, "HPIPS were spent on") || !strings.Contains(s.Error.Message, "ceiling of 1 HPIPS") {
			t.Errorf("alice is told %q", s.Error.Message)
		}
	})
}

func TestWhoHasNoMoneyIsTold(t *testing.T) {
	rows := map[string]struct {
		balance uint64
		code    job.Code
	}{"none": {0, job.CodeFunds}, "little, and enough": {6_000_000, ""}}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tn := payingTown(t, 10*time.Millisecond, "bob")
				tn.bank.balance = row.balance
				r, stop := tn.life()
				defer stop()
				s := finish(t, r, submit(t, r, tn.dearCount(100)))
				synctest.Wait()
				if row.code == "" {
					if s.State != job.Settled {
						t.Fatalf("status %+v, error %+v", s, s.Error)
					}
					tn.settleAccounts()
				} else if s.Error == nil || s.Error.Code != row.code || s.ExitCode != 121 || s.Error.Hint == "" {
					t.Fatalf("status %+v, error %+v", s, s.Error)
				}
			})
		})
	}
}

// TestTheLeastDeposit: a provider so cheap, or a job so short, that the chain would not take what it needs. The least deposit is made, and the rest returns; a
// ceiling below it is said at once.
func TestTheLeastDeposit(t *testing.T) {
	for name, row := range map[string]struct {
		ceiling string
		tasks   int
		rates   voucher.Rates
		fails   string
	}{
		"a cheap provider":          {"1 HPIPS", 50, voucher.Rates{CPU: 5_000}, ""},
		"one task of 10 ms":         {"1 HPIPS", 1, voucher.Rates{CPU: 3_600_000}, ""},
		"a ceiling just above it":   {"0.010001 HPIPS", 3, voucher.Rates{CPU: 3_600_000}, ""},
		"a ceiling just below it":   {"0.009999 HPIPS", 3, voucher.Rates{CPU: 3_600_000}, "0.010000 HPIPS"},
		"a ceiling of next to none": {"0.000001 HPIPS", 3, voucher.Rates{CPU: 3_600_000}, "0.010000 HPIPS"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tn := payingTown(t, 10*time.Millisecond, "bob")
				tn.folk[0].rates = row.rates
				r, stop := tn.life()
				defer stop()
				spec := tn.dearCount(row.tasks)
				spec.Limits.Price = row.ceiling
				id := submit(t, r, spec)
				s := finish(t, r, id)
				synctest.Wait()
				c, err := r.Cost(context.Background(), id)
				switch {
				case err != nil:
					t.Fatal(err)
				case row.fails == "" && s.State != job.Settled:
					t.Fatalf("status %+v, error %+v", s, s.Error)
				case row.fails != "" && (s.Error == nil || s.Error.Code != job.CodeFunds || !strings.Contains(s.Error.Message, row.fails) || c.Deposited != 0 || len(c.Leases) != 0):
					t.Fatalf("status %+v, error %+v, cost %+v", s, s.Error, c)
				}
			})
		})
	}
}

func TestOnlyGiftsAreTaken(t *testing.T) {
	rows := map[string]func(*town, *job.Spec){
		"a node without a purse": func(tn *town, _ *job.Spec) { tn.bank = nil },
		"a ceiling of nothing":   func(_ *town, s *job.Spec) { s.Limits.Price = "0 HPIPS" },
		"a ceiling for an hour":  func(_ *town, s *job.Spec) { s.Limits.Hour = "1 HPIPS" },
	}
	for name, edit := range rows {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tn := payingTown(t, 10*time.Millisecond, "bob", "carol")
				carol := tn.folk[1]
				carol.rates = voucher.Rates{}
				spec := tn.dearCount(10)
				edit(tn, &spec)
				r, stop := tn.life()
				defer stop()
				s := finish(t, r, submit(t, r, spec))
				if s.State != job.Settled || len(s.Nodes) != 1 || s.Nodes[0].Node != carol.id.String() || len(carol.paid) != 0 {
					t.Fatalf("status %+v", s)
				}
			})
		})
	}
}
