package pay

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/spec/voucher"
)

func TestWhatIsNotPaid(t *testing.T) {
	tn := newTown(t, "alice", "bob")
	alice := tn.payer("alice")
	bob, own := lease.Quote{Owner: "hpips1bob", Rates: rates}, lease.Quote{Owner: "hpips1alice", Rates: rates}
	pay := alice.Terms(bob, 5*hpips)
	if pay == nil || pay.Chain != "hpips-test-1" || pay.Payer != "hpips1alice" || pay.Denom != money.Denom || pay.Deposit != 5*hpips || len(pay.Key) != voucher.KeySize {
		t.Errorf("bob's lease is paid so: %+v", pay)
	}
	poor, err := NewPayer(nil, PayerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]*lease.Pay{"free": alice.Terms(lease.Quote{Owner: "hpips1bob"}, 5), "her own": alice.Terms(own, 5), "without a chain": poor.Terms(bob, 5)} {
		if got != nil {
			t.Errorf("%s is paid: %+v", name, got)
		}
	}
	free := lease.Lease{Terms: lease.Terms{Quote: own}}
	if _, err := alice.Promise(free, used(time.Hour), noRoot); !errors.Is(err, ErrUnpaid) {
		t.Errorf("a promise for what is not paid: %v", err)
	}
	if err := errors.Join(alice.Fund(context.Background(), []lease.Lease{free}), alice.Close(context.Background(), []lease.Lease{free})); err != nil || tn.chain.count("open")+tn.chain.count("close") != 0 {
		t.Errorf("a lease that is not paid reaches the chain: %v", err)
	}
	for name, c := range map[string]PayerConfig{"no account": {Secret: bytes.Repeat([]byte{1}, 32)}, "no key": {Account: "a"}, "zero": {Account: "a", Secret: make([]byte, 32)}, "too large": {Account: "a", Secret: bytes.Repeat([]byte{255}, 32)}} {
		if _, err := NewPayer(tn.door("alice"), c); err == nil {
			t.Errorf("a payer with %s", name)
		}
	}
}

func TestManyDepositsAreOneTransaction(t *testing.T) {
	tn := newTown(t, "alice", "bob")
	alice := tn.payer("alice")
	var all []lease.Lease
	for range 40 {
		all = append(all, tn.lease(alice, "bob", hpips))
	}
	for range 2 { // it may be repeated
		if err := alice.Fund(context.Background(), all); err != nil {
			t.Fatal(err)
		}
	}
	if n := tn.chain.count("open"); n != 1 || len(tn.chain.leases) != 40 {
		t.Errorf("%d transactions for %d leases", n, len(tn.chain.leases))
	}
	for range 2 {
		if err := alice.Close(context.Background(), all); err != nil {
			t.Fatal(err)
		}
	}
	if n := tn.chain.count("close"); n != 1 {
		t.Errorf("%d transactions to close", n)
	}
	tn.chain.rules.Batch = 15
	all = nil
	for range 40 {
		all = append(all, tn.lease(alice, "bob", hpips))
	}
	if err := alice.Fund(context.Background(), all); err != nil || tn.chain.count("open") != 1+3 {
		t.Errorf("fifteen at once: %d transactions, %v", tn.chain.count("open")-1, err)
	}
	tn.chain.check(t)
}

// The answer of the chain does not come, or the transaction is lost: alice looks before she sends again, and pays once.
func TestAnUnknownOutcomeIsLookedUp(t *testing.T) {
	for name, fault := range map[string]func(*ledger, func(string) bool){
		"the answer is lost":      func(c *ledger, once func(string) bool) { c.dumb = once },
		"the transaction is lost": func(c *ledger, once func(string) bool) { c.lost = once },
		"the chain is not reachable": func(c *ledger, _ func(string) bool) {
			c.change(func() { c.down = true })
			time.AfterFunc(time.Minute, func() { c.change(func() { c.down = false }) })
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			tn := newTown(t, "alice", "bob")
			alice := tn.payer("alice")
			again := func() {
				left := 2
				fault(tn.chain, func(string) bool { left--; return left >= 0 })
			}
			l := tn.lease(alice, "bob", 5*hpips)
			ctx, stop := context.WithTimeout(context.Background(), time.Hour)
			defer stop()
			again()
			if err := alice.Fund(ctx, []lease.Lease{l}); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			again()
			if err := alice.TopUp(ctx, l, 2*hpips); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if a := tn.chain.leases[l.Terms.Key()]; a.Deposit != 7*hpips || tn.chain.wealth("hpips1alice") != 993*hpips {
				t.Errorf("%s: a deposit of %d, %d are left to her", name, a.Deposit, tn.chain.wealth("hpips1alice"))
			}
			again()
			if err := alice.Close(ctx, []lease.Lease{l}); err != nil || tn.chain.leases[l.Terms.Key()].Phase != Closing {
				t.Errorf("%s: close: %v", name, err)
			}
			tn.chain.check(t)
		})
	}
}

func TestNotEnoughMoneyIsToldWithARemedy(t *testing.T) {
	tn := newTown(t, "alice", "bob")
	alice := tn.payer("alice")
	l := tn.lease(alice, "bob", 1001*hpips)
	told := func(err error, what string) {
		t.Helper()
		var f *job.Failure
		if !errors.As(err, &f) || f.Code != job.CodeFunds || f.ExitCode(0) != 121 || !bytes.Contains([]byte(f.Hint), []byte(what)) {
			t.Errorf("she is told %v (%+v)", err, f)
		}
	}
	told(alice.Fund(context.Background(), []lease.Lease{l}), "hpips wallet balances")
	tn.chain.budget["hpips1alice"] = 3 * hpips
	l = tn.lease(alice, "bob", 4*hpips)
	told(alice.Fund(context.Background(), []lease.Lease{l}), "hpips wallet allow")
	l = tn.lease(alice, "bob", 2*hpips)
	if err := alice.Fund(context.Background(), []lease.Lease{l}); err != nil {
		t.Fatal(err)
	}
	told(alice.TopUp(context.Background(), l, 2*hpips), "hpips wallet allow")
	if a := tn.chain.leases[l.Terms.Key()]; a.Deposit != 2*hpips {
		t.Errorf("a deposit of %d", a.Deposit)
	}
}

// Mallory sees alice's lease and opens it first with a deposit of his own: that is another lease, and hers opens all the same.
func TestADepositOfSomebodyElseIsNotHers(t *testing.T) {
	tn := newTown(t, "alice", "bob", "mallory")
	alice, bob := tn.payer("alice"), tn.payee("bob")
	defer bob.Close()
	l := tn.lease(alice, "bob", 5*hpips)
	err := tn.door("mallory").Open(context.Background(), []Deposit{{Terms: l.Terms.Digest(), Node: named(t, "bob").public(), Key: l.Terms.Pay.Key, Denom: money.Denom, Amount: 10_000, Until: end(l.Terms)}})
	if err != nil {
		t.Fatal(err)
	}
	once, cancel := context.WithCancel(context.Background())
	cancel() // he looks, and does not wait
	if _, err := bob.Funded(once, l); !errors.Is(err, ErrUnfunded) {
		t.Errorf("bob takes it for hers: %v", err)
	}
	if err := alice.Fund(context.Background(), []lease.Lease{l}); err != nil {
		t.Fatal(err)
	}
	if _, err := bob.Funded(context.Background(), l); err != nil || tn.chain.leases[l.Terms.Key()].Deposit != 5*hpips {
		t.Errorf("hers is not open: %v", err)
	}
}

func TestPromisesNeverShrink(t *testing.T) {
	tn := newTown(t, "alice", "bob")
	alice := tn.payer("alice")
	l := tn.lease(alice, "bob", 5*hpips)
	first := promise(t, alice, l, used(time.Second))
	if first.Voucher.Amount != cpuSecond || first.Voucher.Usage != used(time.Second) {
		t.Errorf("a CPU-second is promised as %+v", first.Voucher)
	}
	same := func(what string, got voucher.Signed, want voucher.Signed) {
		t.Helper()
		if got.Voucher != want.Voucher || !bytes.Equal(got.Signature, want.Signature) {
			t.Errorf("%s: %+v, want %+v", what, got.Voucher, want.Voucher)
		}
	}
	same("asked again", promise(t, alice, l, used(time.Second)), first)
	same("a little more that costs nothing yet", promise(t, alice, l, used(time.Second+time.Nanosecond)), first)
	same("less", promise(t, alice, l, used(time.Millisecond)), first)
	if _, err := alice.Promise(l, voucher.Usage{CPU: uint64(time.Hour)}, noRoot); !errors.Is(err, ErrLess) {
		t.Errorf("more time and fewer tasks: %v", err)
	}
	second := promise(t, alice, l, used(2*time.Second))

	alice = tn.payer("alice") // she restarts; her journal has the second one, and the first one comes late
	for range 2 {
		if err := errors.Join(alice.Restore(l, second), alice.Restore(l, first)); err != nil {
			t.Fatal(err)
		}
	}
	same("after a restart", promise(t, alice, l, used(time.Millisecond)), second)
	third := promise(t, alice, l, used(3*time.Second))
	other := tn.payer("alice")
	if err := other.Restore(l, second); err != nil {
		t.Fatal(err)
	}
	same("in two lives", promise(t, other, l, used(3*time.Second)), third)

	forged := resign(t, third.Voucher, "carol", func(*voucher.Voucher) {})
	if err := alice.Restore(l, forged); !errors.Is(err, voucher.ErrSignature) {
		t.Errorf("restored what she never signed: %v", err)
	}
	if err := alice.Restore(tn.lease(alice, "bob", 1), third); !errors.Is(err, ErrVoucher) {
		t.Errorf("restored for another lease: %v", err)
	}
	if _, err := tn.payer("carol").Promise(l, used(time.Second), noRoot); !errors.Is(err, ErrForeign) {
		t.Errorf("carol promises alice's money: %v", err)
	}
}

func TestADepositThatIsUsedUp(t *testing.T) {
	tn := newTown(t, "alice", "bob")
	alice, bob := tn.payer("alice"), tn.payee("bob")
	defer bob.Close()
	l := tn.hired(alice, bob, "bob", 10*cpuSecond)
	bob.Did(l, []job.Result{ran(0, 12*time.Second)})
	all, err := alice.Promise(l, used(12*time.Second), noRoot)
	if !errors.Is(err, ErrDeposit) || all.Voucher.Amount != 10*cpuSecond {
		t.Fatalf("she promises %d of 10000: %v", all.Voucher.Amount, err)
	}
	take(t, bob, l, all) // better than nothing
	if _, err := alice.Promise(l, used(13*time.Second), noRoot); !errors.Is(err, ErrDeposit) {
		t.Errorf("still: %v", err)
	}
	if err := alice.TopUp(context.Background(), l, 5*cpuSecond); err != nil {
		t.Fatal(err)
	}
	bob.Did(l, []job.Result{ran(1, time.Second)})
	take(t, bob, l, promise(t, alice, l, used(12*time.Second).Add(used(time.Second)))) // bob asks the chain himself
	tn.chain.check(t)

	alice = tn.payer("alice") // she knows of no top-up any more, and the chain does
	if err := alice.TopUp(context.Background(), l, 5*cpuSecond); err != nil {
		t.Fatal(err)
	}
	if a := tn.chain.leases[l.Terms.Key()]; a.Deposit != 15*cpuSecond {
		t.Errorf("a deposit of %d", a.Deposit)
	}
	if err := alice.TopUp(context.Background(), l, cpuSecond); err != nil {
		t.Fatal(err)
	}
	if a := tn.chain.leases[l.Terms.Key()]; a.Deposit != 16*cpuSecond {
		t.Errorf("a deposit of %d", a.Deposit)
	}
}

func TestAnExtensionMovesTheEndOnTheChain(t *testing.T) {
	tn := newTown(t, "alice", "bob")
	alice, bob := tn.payer("alice"), tn.payee("bob")
	defer bob.Close()
	l := tn.hired(alice, bob, "bob", hpips)
	l.Terms.Serial, l.Terms.Until = 1, l.Terms.Until+time.Hour.Milliseconds()+1
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer stop()
	if _, err := bob.Funded(ctx, l); !errors.Is(err, ErrUnfunded) {
		t.Errorf("bob works on past the end: %v", err)
	}
	if err := alice.TopUp(context.Background(), l, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := bob.Funded(context.Background(), l); err != nil || tn.chain.leases[l.Terms.Key()].Deposit != hpips {
		t.Errorf("after the extension: %v", err)
	}
	if err := errors.Join(alice.Close(context.Background(), []lease.Lease{l}), alice.TopUp(context.Background(), l, 1)); !errors.Is(err, ErrUnfunded) {
		t.Errorf("a closed lease takes more: %v", err)
	}
}

func TestAlicesMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "alice", "bob")
		alice := tn.payer("alice")
		for range 3 {
			l := tn.lease(alice, "bob", hpips)
			if err := alice.Fund(context.Background(), []lease.Lease{l}); err != nil {
				t.Fatal(err)
			}
			promise(t, alice, l, used(time.Second))
			if err := alice.Close(context.Background(), []lease.Lease{l}); err != nil {
				t.Fatal(err)
			}
			if len(alice.purses) != 1 {
				t.Errorf("she remembers %d leases", len(alice.purses))
			}
			time.Sleep(49 * time.Hour)
		}
	})
}
