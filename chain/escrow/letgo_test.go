package escrow

import (
	"testing"
	"time"

	"cosmossdk.io/math"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/escrowv1"
	"github.com/hpips/hpips/spec/voucher"
)

// Bob redeems his last voucher and says so. What alice did not use is hers as soon as his pay is final, three days before the grace would be over; of dave, who
// says nothing, it returns after the grace.
func TestTheRestReturnsWhenTheProviderLetsGo(t *testing.T) {
	s := founded(t)
	daves := s.deposit(2, hpips)
	daves.Node = dave.id()
	s.must(s.open(alice, s.deposit(1, hpips), daves))
	s.must(s.close(alice, 1, 2))
	s.must(s.redeem(bob, last(promise(t, 1, hpips/4))))
	s.must(s.redeem(dave, promise(t, 2, hpips/4)))
	if l, _ := s.lease(1); !l.LetGo || l.Phase != escrowv1.PHASE_CLOSING || s.has(alice, Denom) != 998*hpips {
		t.Errorf("before his pay is final: alice has %d, %+v", s.has(alice, Denom), l)
	}
	s.sound()
	s.blocks(2, time.Second)
	if _, known := s.lease(1); known || s.has(alice, Denom) != 998*hpips+hpips*3/4 || s.has(bob, Denom) != (hpips/4-200)*9/10 {
		t.Errorf("two blocks later alice has %d, bob %d", s.has(alice, Denom), s.has(bob, Denom))
	}
	if l, known := s.lease(2); !known || l.LetGo || l.Phase != escrowv1.PHASE_CLOSING {
		t.Errorf("of dave, who said nothing: %+v", l)
	}
	s.sound()
	s.restart()
	s.blocks(8637, 31*time.Second)
	if s.has(alice, Denom) != 998*hpips+hpips*3/4 {
		t.Errorf("within the grace that dave has, alice has %d", s.has(alice, Denom))
	}
	s.blocks(2, 31*time.Second)
	if _, known := s.lease(2); known || s.has(alice, Denom) != 998*hpips+hpips*3/2 {
		t.Errorf("after the grace alice has %d", s.has(alice, Denom))
	}
	s.sound()
}

// After the word nothing of the lease is good any more: no later voucher, none that bob kept back, none that a thief of alice's key signs, no message of before again.
func TestNothingIsRedeemedAfterTheLastWord(t *testing.T) {
	s := founded(t)
	s.must(s.open(alice, s.deposit(1, hpips), s.deposit(2, hpips)))
	old, word := redemption(bob, promise(t, 1, hpips/8)), redemption(bob, last(promise(t, 1, hpips/4)))
	s.must(s.send(old))
	s.must(s.send(word))
	if l, _ := s.lease(1); l.Phase != escrowv1.PHASE_CLOSING || l.ClosingIndex != s.index {
		t.Errorf("an open lease closes with the word: %+v", l)
	}
	more := escrowv1.Addition{Lease: id(1), Denom: Denom, Amount: math.NewInt(hpips), Until: s.now() + day}
	refused := func(when string, want error) {
		t.Helper()
		for name, m := range map[string]*escrowv1.MsgRedeem{
			"the same again":       word,
			"one of before again":  old,
			"a later voucher":      redemption(bob, promise(t, 1, hpips/2)),
			"all of it":            redemption(bob, last(promise(t, 1, hpips))),
			"an older one":         redemption(bob, promise(t, 1, hpips/16)),
			"nothing, once more":   redemption(bob, unused(1)),
			"beside what is good":  redemption(bob, promise(t, 2, hpips/2), promise(t, 1, hpips/2)),
			"nothing, beside that": redemption(bob, promise(t, 2, hpips/2), unused(1)),
		} {
			s.refuses(when+": "+name, s.send(m), want)
		}
	}
	refused("before it is final", ErrLetGo)
	s.refuses("topped up", s.topUp(alice, more), ErrPhase)
	s.must(s.close(alice, 1)) // changes nothing
	s.sound()
	s.blocks(2, time.Second)
	refused("after it", ErrUnknown)
	s.refuses("topped up", s.topUp(alice, more), ErrUnknown)
	s.refuses("opened again", s.open(alice, s.deposit(1, hpips)), ErrUsed)
	s.must(s.close(alice, 1, 2)) // the one was let go while this was under way
	if l, _ := s.lease(2); l.Phase != escrowv1.PHASE_CLOSING || l.LetGo {
		t.Errorf("lease 2: %+v", l)
	}
	if s.has(alice, Denom) != 998*hpips+hpips*3/4 {
		t.Errorf("alice has %d", s.has(alice, Denom))
	}
	s.sound()
}

// The mempool takes such a word once, and does with it what a block will do.
func TestTheMempoolTakesALastWordOnce(t *testing.T) {
	s := founded(t)
	s.must(s.open(alice, s.deposit(1, hpips), s.deposit(2, hpips)))
	pool, _ := s.ctx.WithExecMode(sdk.ExecModeCheck).CacheContext()
	m, more := redemption(bob, last(promise(t, 1, hpips/2)), unused(2)), redemption(bob, promise(t, 1, hpips))
	s.must(s.keeper.CheckRedeem(pool, m))
	s.refuses("again", s.keeper.CheckRedeem(pool, m), ErrLetGo)
	s.refuses("a later voucher", s.keeper.CheckRedeem(pool, more), ErrLetGo)
	s.refuses("the unused one", s.keeper.CheckRedeem(pool, redemption(bob, unused(2))), ErrUnknown)
	s.must(s.send(m))
	again, _ := s.ctx.WithExecMode(sdk.ExecModeReCheck).CacheContext()
	s.refuses("checked again after the block", s.keeper.CheckRedeem(again, more), ErrLetGo)
	s.sound()
}

// Nobody but bob lets go of his leases, and not by another word than his.
func TestOnlyTheNodeLetsGo(t *testing.T) {
	s := founded(t)
	s.must(s.open(alice, s.deposit(1, hpips)))
	said, silent := redemption(bob, last(promise(t, 1, hpips/2))), redemption(bob, promise(t, 1, hpips/2))
	added, taken := *silent, *said
	added.Claims = []escrowv1.Claim{last(silent.Claims[0])}
	taken.Claims = []escrowv1.Claim{{Voucher: said.Claims[0].Voucher, Signature: said.Claims[0].Signature}}
	forged := redemption(bob, unused(1))
	forged.Signature = silent.Signature
	both := last(promise(t, 1, hpips/2))
	both.Lease = id(1)
	half := unused(1)
	half.Lease = half.Lease[:31]
	none := unused(1)
	none.Last = false
	for name, row := range map[string]struct {
		m    *escrowv1.MsgRedeem
		want error
	}{
		"the word is added":       {&added, ErrSignature},
		"the word is taken away":  {&taken, ErrSignature},
		"carol says it for him":   {forged, ErrSignature},
		"dave says it":            {redemption(dave, unused(1)), ErrParty},
		"a voucher and a lease":   {redemption(bob, both), ErrMalformed},
		"31 bytes":                {redemption(bob, half), ErrMalformed},
		"not said":                {redemption(bob, none), ErrMalformed},
		"a lease that is not":     {redemption(bob, unused(9)), ErrUnknown},
		"twice":                   {redemption(bob, unused(1), unused(1)), ErrTwice},
		"a voucher and then gone": {redemption(bob, promise(t, 1, hpips/2), unused(1)), ErrTwice},
	} {
		s.refuses(name, s.send(row.m), row.want)
	}
	if l, _ := s.lease(1); l.LetGo || l.Phase != escrowv1.PHASE_OPEN || !l.Redeemed.IsZero() {
		t.Errorf("something was done: %+v", l)
	}
	s.sound()
}

// A lease that nothing was done for is let go for a fee out of what returns, once: such words pay for themselves. In silver there is nothing to take it from.
func TestALeaseThatWasNotUsedIsLetGo(t *testing.T) {
	s := founded(t)
	metal := s.deposit(3, hpips)
	metal.Denom, metal.Amount = silver, math.NewInt(500)
	s.must(s.open(alice, s.deposit(1, hpips), s.deposit(2, hpips), metal))
	s.must(s.close(alice, 1))
	s.must(s.redeem(bob, unused(1), unused(2)))
	s.sound()
	for n := range uint64(2) {
		if _, known := s.lease(n + 1); known {
			t.Errorf("lease %d is still there", n+1)
		}
	}
	if s.has(alice, Denom) != 1000*hpips-400 || s.holds("fee_collector", Denom) != 400 || s.has(bob, Denom) != 0 || len(s.touched) != 2 {
		t.Errorf("alice has %d, %d are fees, the bond heard of %d", s.has(alice, Denom), s.holds("fee_collector", Denom), len(s.touched))
	}
	s.refuses("again", s.redeem(bob, unused(1)), ErrUnknown)
	s.refuses("silver alone", s.redeem(bob, unused(3)), ErrFee)
	s.must(s.open(alice, s.deposit(4, hpips), s.deposit(5, hpips)))
	s.refuses("silver, with what is alice's", s.redeem(bob, unused(3), unused(4)), ErrFee)
	s.refuses("silver, with less than the fee for two", s.redeem(bob, unused(3), promise(t, 5, 399)), ErrFee)
	s.must(s.redeem(bob, unused(3), unused(4), promise(t, 5, 1000)))
	s.sound()
	if l, _ := s.lease(5); s.has(alice, silver) != hpips || l.Fees.Int64() != 400 || s.has(alice, Denom) != 999*hpips-600 {
		t.Errorf("alice has %d silver and %d, lease 5 paid %s", s.has(alice, silver), s.has(alice, Denom), l.Fees)
	}
	s.blocks(2, time.Second)
	s.sound()
	if len(s.finals) != 1 {
		t.Errorf("%d payments", len(s.finals))
	}
}

// What is looked at keeps the rest of its lease: until the audits are closed, jurors are paid out of it, also those of a dispute that stays open when the node was
// convicted in another one. Then it returns, without the days of grace where the pay of the lease is what was waited for.
func TestTheRestWaitsForAuditsAndJuries(t *testing.T) {
	s := founded(t)
	s.must(s.open(alice, s.deposit(1, hpips), s.deposit(2, hpips), s.deposit(3, hpips)))
	root := func(n, amount uint64) escrowv1.Claim {
		return signs(t, alice, voucher.Voucher{Chain: chainID, Lease: lease(n), Amount: amount, Usage: voucher.Usage{Tasks: amount}, Root: [32]byte{1}})
	}
	s.must(s.redeem(bob, root(1, hpips/4), root(2, hpips/4), root(3, hpips/4)))
	s.must(s.redeem(bob, last(root(1, hpips/2)), last(root(2, hpips/2))))
	s.audits[1], s.audits[2], s.asked = true, true, true
	s.refuses("without a voucher, while it is looked at", s.redeem(bob, unused(3)), ErrHeld)
	s.blocks(10, time.Hour)
	for n := range uint64(2) {
		if free, err := s.keeper.Free(s.ctx, lease(n+1)); err != nil || free.Int64() != hpips/2 {
			t.Errorf("lease %d: %s are free, %v", n+1, free, err)
		}
	}
	paid, err := s.keeper.Hire(s.ctx, lease(1), dave.id(), dave.address(), math.NewInt(1000))
	if err != nil || paid.Int64() != 1000 {
		t.Fatalf("dave got %s, %v", paid, err)
	}
	s.sound()
	before := s.has(alice, Denom)
	s.audits[1], s.asked = false, false
	s.block(time.Second) // the second waits for its audit, and what comes after it in bob's row
	s.sound()
	if s.has(alice, Denom) != before {
		t.Errorf("%d returned of leases with pay that is not final", s.has(alice, Denom)-before)
	}
	s.audits[2] = false
	s.blocks(4, time.Second)
	s.sound()
	if got := s.has(alice, Denom) - before; got != hpips-1000 {
		t.Errorf("%d returned", got)
	}
	if l, known := s.lease(3); !known || l.Phase != escrowv1.PHASE_OPEN {
		t.Errorf("lease 3: %+v", l)
	}
	s.must(s.redeem(bob, unused(3))) // all of it is final
	if got := s.has(alice, Denom) - before; got != hpips*7/4-1200 {
		t.Errorf("%d returned", got)
	}

	s.must(s.open(alice, s.deposit(4, hpips)))
	before = s.has(alice, Denom)
	s.must(s.redeem(bob, last(root(4, hpips/2))))
	l, err := s.keeper.Last(s.ctx)
	s.must(err)
	s.lost[l], s.asked = true, true
	s.blocks(3, time.Second)
	if got := s.has(alice, Denom) - before; got != hpips/2-200 {
		t.Errorf("of a convicted node %d came back while another jury sits", got)
	}
	if free, err := s.keeper.Free(s.ctx, lease(4)); err != nil || free.Int64() != hpips/2 {
		t.Errorf("%s are free for that jury, %v", free, err)
	}
	s.refuses("after the word", s.redeem(bob, root(4, hpips)), ErrLetGo)
	s.sound()
	s.asked = false
	s.blocks(8641, 31*time.Second)
	if got := s.has(alice, Denom) - before; got != hpips-200 {
		t.Errorf("%d came back in all", got)
	}
	s.sound()
}

// A convicted node's pay goes back, and with it the rest of a lease that it let go of.
func TestAConvictedNodeThatLetGo(t *testing.T) {
	s := founded(t)
	s.must(s.open(alice, s.deposit(1, hpips)))
	s.must(s.redeem(bob, promise(t, 1, hpips/4)))
	s.must(s.redeem(bob, last(promise(t, 1, hpips/2))))
	s.lost[1], s.lost[2] = true, true
	s.blocks(2, time.Second)
	if _, known := s.lease(1); known || s.has(alice, Denom) != 1000*hpips-400 {
		t.Errorf("alice has %d", s.has(alice, Denom))
	}
	s.sound()
}

// While payouts rest nothing is final, and what was let go waits with it: at most for the grace.
func TestTheRestWaitsWhilePayoutsRest(t *testing.T) {
	s := founded(t)
	s.must(s.open(alice, s.deposit(1, hpips)))
	s.must(s.redeem(bob, last(promise(t, 1, hpips/2))))
	s.resting = true
	s.blocks(8640, 31*time.Second)
	l, known := s.lease(1)
	if !known || l.Phase != escrowv1.PHASE_CLOSED || s.has(alice, Denom) != 999*hpips+hpips/2 {
		t.Errorf("after the grace alice has %d, %+v", s.has(alice, Denom), l)
	}
	s.sound()
	s.resting = false
	s.block(time.Second)
	if _, known := s.lease(1); known || s.has(bob, Denom) != (hpips/2-200)*9/10 {
		t.Errorf("bob has %d", s.has(bob, Denom))
	}
	s.sound()
}
