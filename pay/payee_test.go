package pay

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/voucher"
)

func TestBobWaitsForTheDeposit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "alice", "bob")
		alice, bob := tn.payer("alice"), tn.payee("bob")
		defer bob.Close()
		l := tn.lease(alice, "bob", hpips)
		tn.chain.down = true
		time.AfterFunc(10*time.Second, func() { tn.chain.change(func() { tn.chain.down = false }) })
		time.AfterFunc(20*time.Second, func() { alice.Fund(context.Background(), []lease.Lease{l}) })
		ctx, stop := context.WithTimeout(context.Background(), time.Minute)
		defer stop()
		began := time.Now()
		if got, err := bob.Funded(ctx, l); err != nil || got != hpips {
			t.Errorf("a deposit of %d: %v", got, err)
		}
		if took := time.Since(began); took < 20*time.Second || took > 22*time.Second {
			t.Errorf("seen after %v", took)
		}
	})
}

func TestADepositThatIsNotThatOfTheLease(t *testing.T) {
	for name, row := range map[string]struct {
		change func(*Account)
		why    error
	}{
		"another payer":   {func(a *Account) { a.Payer = "hpips1mallory" }, ErrForeign},
		"another key":     {func(a *Account) { a.Key = append([]byte(nil), a.Key...); a.Key[5]++ }, ErrForeign},
		"another node":    {func(a *Account) { a.Node = make([]byte, 32) }, ErrForeign},
		"another owner":   {func(a *Account) { a.Payee = "hpips1mallory" }, ErrForeign},
		"another asset":   {func(a *Account) { a.Denom = "junk" }, ErrForeign},
		"closing":         {func(a *Account) { a.Phase, a.Closing = Closing, time.Now().Unix() }, ErrForeign},
		"less":            {func(a *Account) { a.Deposit-- }, ErrUnfunded},
		"not long enough": {func(a *Account) { a.Until -= 60 }, ErrUnfunded},
	} {
		synctest.Test(t, func(t *testing.T) {
			tn := newTown(t, "alice", "bob")
			alice, bob := tn.payer("alice"), tn.payee("bob")
			defer bob.Close()
			l := tn.lease(alice, "bob", hpips)
			if err := alice.Fund(context.Background(), []lease.Lease{l}); err != nil {
				t.Fatal(err)
			}
			row.change(&tn.chain.leases[l.Terms.Key()].Account)
			ctx, stop := context.WithTimeout(context.Background(), time.Minute)
			defer stop()
			if _, err := bob.Funded(ctx, l); !errors.Is(err, row.why) || errors.Is(err, ErrUnfunded) != (ctx.Err() != nil) {
				t.Errorf("%s: %v, want %v", name, err, row.why)
			}
			if _, err := bob.Take(context.Background(), l, lease.Voucher{Signed: promise(t, alice, l, used(time.Second))}); !errors.Is(err, ErrUnfunded) {
				t.Errorf("%s: bob takes a promise for it: %v", name, err)
			}
		})
	}
	tn := newTown(t, "alice", "bob")
	bob := tn.payee("bob")
	defer bob.Close()
	for name, l := range map[string]lease.Lease{"not paid": {}, "another chain": {Terms: lease.Terms{Pay: &lease.Pay{Chain: "hpips-1"}}}} {
		if _, err := bob.Funded(context.Background(), l); !errors.Is(err, ErrUnpaid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBobCountsWhatHeDid(t *testing.T) {
	tn := newTown(t, "alice", "bob")
	alice, bob := tn.payer("alice"), tn.payee("bob")
	l := tn.hired(alice, bob, "bob", hpips)
	broken := job.Result{Index: 7, End: job.Broken, Usage: job.Usage{CPU: 5, Wall: 5}}
	if got := bob.Did(l, []job.Result{ran(0, time.Second), broken, ran(1, time.Second)}); got != (voucher.Usage{Tasks: 2, CPU: 2_000_000_000, Sent: 2}) {
		t.Errorf("bob did %+v", got)
	}
	v := promise(t, alice, l, bob.Did(l, nil))
	take(t, bob, l, v)
	bob.Did(l, []job.Result{ran(2, time.Second)})
	if err := bob.Close(); err != nil {
		t.Fatal(err)
	}

	bob = tn.payee("bob") // a restart
	defer bob.Close()
	kept := bob.tabs[l.Terms.Key()]
	if kept.last != v.Voucher || kept.done.Tasks != 3 {
		t.Errorf("after a restart: %+v", kept)
	}
	if amount, err := bob.Take(context.Background(), l, lease.Voucher{Signed: v}); err != nil || amount != v.Voucher.Amount {
		t.Errorf("the same promise again: %d, %v", amount, err)
	}
	if got := bob.Did(lease.Lease{}, []job.Result{ran(0, time.Hour)}); got != (voucher.Usage{}) {
		t.Errorf("for a lease that is not paid for: %+v", got)
	}
}

func TestABookIsItsOwnersAlone(t *testing.T) {
	tn := newTown(t, "bob")
	bob := tn.payee("bob")
	defer bob.Close()
	fi, err := os.Stat(bob.cfg.Path)
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the book may be read by others: %v, %v", fi.Mode(), err)
	}
	for name, change := range map[string]func(*PayeeConfig){
		"path": func(c *PayeeConfig) { c.Path = "" }, "key": func(c *PayeeConfig) { c.Key = nil }, "day": func(c *PayeeConfig) { c.Day = 0 },
		"watch": func(c *PayeeConfig) { c.Watch = 0 }, "poll": func(c *PayeeConfig) { c.Poll = -1 }, "soon": func(c *PayeeConfig) { c.Soon = -1 },
	} {
		c := bob.cfg
		change(&c)
		if p, err := OpenPayee(slog.New(slog.DiscardHandler), tn.door("bob"), c); err == nil {
			p.Close()
			t.Errorf("a payee without a possible %s", name)
		}
	}
	damaged := filepath.Join(t.TempDir(), "pay.db")
	if err := os.WriteFile(damaged, []byte("this is not a book, whatever its name says: it has never been one"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := bob.cfg
	c.Path = damaged
	if p, err := OpenPayee(slog.New(slog.DiscardHandler), tn.door("bob"), c); err == nil {
		p.Close()
		t.Error("a damaged book is opened as an empty one")
	}
}

// Bob was restarted, and some of what he had done was on its way then: alice never saw it, and he does it anew. Neither that nor what he could not send
// stands in the way of going on.
func TestWhatNeverReachedAliceIsNotHeldAgainstHer(t *testing.T) {
	tn := newTown(t, "alice", "bob")
	alice, bob := tn.payer("alice"), tn.payee("bob")
	l := tn.hired(alice, bob, "bob", hpips)
	second := func(i uint64) []job.Result { return []job.Result{ran(i, time.Second)} }
	stands := func(what string, unpaid, promised uint64) {
		t.Helper()
		if u, p := bob.Unpaid(l); u != unpaid || p != promised {
			t.Errorf("%s: %d unpaid, %d promised, want %d and %d", what, u, p, unpaid, promised)
		}
	}
	stands("at first", 0, 0)
	bob.Did(l, second(0))
	stands("one task", cpuSecond, 0)
	take(t, bob, l, promise(t, alice, l, used(time.Second)))
	stands("it is paid", 0, cpuSecond)
	bob.Did(l, second(1))
	bob.Did(l, second(2))
	bob.Lost(l, second(2))
	stands("one more, and one that could not be sent", cpuSecond, cpuSecond)
	if err := bob.Close(); err != nil {
		t.Fatal(err)
	}
	bob = tn.payee("bob")
	defer bob.Close()
	stands("after a restart", 0, cpuSecond)
	bob.Did(l, second(1))
	stands("one of them is done anew", cpuSecond, cpuSecond)
	both := used(time.Second).Add(used(time.Second))
	take(t, bob, l, promise(t, alice, l, both)) // for a task of the earlier life, or for this one: she cannot tell
	stands("she pays for it", 0, 2*cpuSecond)
	bob.Did(l, second(3))
	stands("and bob goes on", cpuSecond, 2*cpuSecond)
	take(t, bob, l, promise(t, alice, l, both.Add(both).Add(used(time.Second))))
	stands("she had it all, and pays for all", 0, 5*cpuSecond)
	bob.Did(l, second(4))
	stands("nothing is forgiven any more", cpuSecond, 5*cpuSecond)
	if u, p := bob.Unpaid(lease.Lease{}); u != 0 || p != 0 {
		t.Errorf("a lease that is not paid for: %d, %d", u, p)
	}
	bob.Lost(lease.Lease{}, second(0))
}

// Alice closes her lease while bob works for her. He sees it, though she owes him nothing then, and takes no promise once the deposit has gone back.
func TestALeaseThatHerPayerCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		tn := newTown(t, "alice", "bob")
		alice, bob := tn.payer("alice"), tn.payee("bob")
		defer bob.Close()
		l := tn.hired(alice, bob, "bob", hpips)
		look := func() {
			t.Helper()
			time.Sleep(2 * time.Hour)
			if _, err := bob.step(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if look(); bob.Closed(l) {
			t.Error("it is open")
		}
		if err := tn.door("alice").Close(ctx, []voucher.ID{l.Terms.Key()}); err != nil {
			t.Fatal(err)
		}
		if look(); !bob.Closed(l) {
			t.Error("it is closing")
		}
		time.Sleep(3*24*time.Hour + time.Hour)
		if look(); !bob.Closed(l) {
			t.Error("it is gone")
		}
		bob.Did(l, []job.Result{ran(0, time.Second)})
		if _, err := bob.Take(ctx, l, lease.Voucher{Signed: promise(t, alice, l, used(time.Second))}); !errors.Is(err, ErrUnfunded) {
			t.Errorf("a promise that nobody pays is taken: %v", err)
		}
	})
}

// A lease can be looked up by those who come after, until nothing can be redeemed of it any more.
func TestALeaseIsKnownToLaterLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		tn := newTown(t, "alice", "bob")
		alice, bob := tn.payer("alice"), tn.payee("bob")
		l, other := tn.hired(alice, bob, "bob", hpips), tn.hired(alice, bob, "bob", hpips)
		if err := bob.Close(); err != nil {
			t.Fatal(err)
		}
		bob = tn.payee("bob")
		defer bob.Close()
		if got, ok := bob.Lease(ctx, l.ID()); !ok || got.Terms.Key() != l.Terms.Key() || got.Terms.Quote.Rates != rates {
			t.Errorf("%v, %+v", ok, got)
		}
		if _, ok := bob.Lease(ctx, tn.lease(alice, "bob", hpips).ID()); ok {
			t.Error("a lease without a deposit is known")
		}
		if err := bob.book.drop(ctx, l.Terms.Key()); err != nil {
			t.Fatal(err)
		}
		_, gone := bob.Lease(ctx, l.ID())
		_, stays := bob.Lease(ctx, other.ID())
		if gone || !stays {
			t.Errorf("of two leases of which one was forgotten: %v, %v", gone, stays)
		}
	})
}
