package escrow

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	errorsmod "cosmossdk.io/errors"
	"cosmossdk.io/math"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"

	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/escrowv1"
	"github.com/hpips/hpips/spec/voucher"
)

// otherHalf is the second signature that anybody can make of one: r and n − s.
func otherHalf(signature []byte) []byte {
	var s secp256k1.ModNScalar
	s.SetByteSlice(signature[32:])
	s.Negate()
	b := s.Bytes()
	return append(bytes.Clone(signature[:32]), b[:]...)
}

// Bob redeemed half of what alice promised. Whatever else he, or carol in his name, brings forward is refused, with all that comes beside it.
func TestWhatIsNotRedeemed(t *testing.T) {
	s := founded(t)
	daves := s.deposit(3, hpips)
	daves.Node = dave.id()
	metal := s.deposit(4, hpips)
	metal.Denom, metal.Amount = silver, math.NewInt(500)
	s.must(s.open(alice, s.deposit(1, hpips), s.deposit(2, hpips), daves, metal))
	s.must(s.redeem(bob, promise(t, 1, hpips/2)))
	good := func() escrowv1.Claim { return promise(t, 1, hpips*3/4) }
	word := func(chain string, n, amount uint64) voucher.Voucher {
		return voucher.Voucher{Chain: chain, Lease: lease(n), Amount: amount, Usage: voucher.Usage{Tasks: amount}}
	}
	with := func(change func(*escrowv1.Claim)) *escrowv1.MsgRedeem {
		c := good()
		change(&c)
		return redemption(bob, c)
	}
	changed := func(change func(*escrowv1.MsgRedeem)) *escrowv1.MsgRedeem {
		m := redemption(bob, good())
		change(m)
		return m
	}
	for name, row := range map[string]struct {
		m    *escrowv1.MsgRedeem
		want error
	}{
		"the same voucher":           {redemption(bob, promise(t, 1, hpips/2)), ErrOld},
		"an older one":               {redemption(bob, promise(t, 1, hpips/4)), ErrOld},
		"fewer results":              {redemption(bob, signs(t, alice, voucher.Voucher{Chain: chainID, Lease: lease(1), Amount: hpips, Usage: voucher.Usage{Tasks: 1}})), ErrOld},
		"a promise of nothing":       {redemption(bob, promise(t, 2, 0)), ErrOld},
		"more than the deposit":      {redemption(bob, promise(t, 1, hpips+1)), ErrDeposit},
		"all that a voucher can say": {redemption(bob, promise(t, 1, 1<<64-1)), ErrDeposit},
		"less than the fee":          {redemption(bob, promise(t, 1, hpips/2+199)), ErrFee},
		"less than the fee for two":  {redemption(bob, promise(t, 1, hpips/2+100), promise(t, 2, 299)), ErrFee},
		"silver alone":               {redemption(bob, promise(t, 4, 500)), ErrFee},
		"another chain":              {redemption(bob, signs(t, alice, word("hpips-test-2", 1, hpips*3/4))), ErrChain},
		"a lease that is not":        {redemption(bob, promise(t, 9, hpips)), ErrUnknown},
		"dave's lease":               {redemption(bob, promise(t, 3, hpips/2)), ErrParty},
		"carol's word":               {redemption(bob, signs(t, carol, word(chainID, 1, hpips*3/4))), ErrSignature},
		"another amount":             {with(func(c *escrowv1.Claim) { c.Voucher = promise(t, 1, hpips).Voucher }), ErrSignature},
		"the signature's other half": {with(func(c *escrowv1.Claim) { c.Signature = otherHalf(c.Signature) }), ErrSignature},
		"no signature":               {with(func(c *escrowv1.Claim) { c.Signature = nil }), ErrMalformed},
		"zeros for a signature":      {with(func(c *escrowv1.Claim) { c.Signature = make([]byte, 64) }), ErrSignature},
		"no voucher":                 {with(func(c *escrowv1.Claim) { c.Voucher = nil }), ErrMalformed},
		"a byte more":                {with(func(c *escrowv1.Claim) { c.Voucher = append(c.Voucher, 0) }), ErrMalformed},
		"too long":                   {with(func(c *escrowv1.Claim) { c.Voucher = make([]byte, voucher.MaxVoucher+1) }), ErrMalformed},
		"one claim fewer": {changed(func(m *escrowv1.MsgRedeem) {
			*m = *redemption(bob, good(), promise(t, 2, hpips))
			m.Claims = m.Claims[:1]
		}), ErrSignature},
		"the node's signature is wrong": {changed(func(m *escrowv1.MsgRedeem) { m.Signature[5]++ }), ErrSignature},
		"no signature of the node":      {changed(func(m *escrowv1.MsgRedeem) { m.Signature = nil }), ErrMalformed},
		"no node":                       {changed(func(m *escrowv1.MsgRedeem) { m.Node = nil }), ErrMalformed},
		"dave's node":                   {redemption(dave, good()), ErrParty},
		"somebody sends it":             {changed(func(m *escrowv1.MsgRedeem) { m.Sender = carol.address() }), ErrSender},
		"the sender in capitals":        {changed(func(m *escrowv1.MsgRedeem) { m.Sender = strings.ToUpper(m.Sender) }), ErrSender},
		"nothing":                       {redemption(bob), ErrBatch},
		"a lease twice":                 {redemption(bob, good(), promise(t, 1, hpips)), ErrTwice},
		"a good one beside a bad one":   {redemption(bob, promise(t, 2, hpips/2), promise(t, 1, hpips/2)), ErrOld},
		"1001 claims":                   {changed(func(m *escrowv1.MsgRedeem) { m.Claims = make([]escrowv1.Claim, 1001) }), ErrBatch},
	} {
		s.refuses(name, s.send(row.m), row.want)
		if space, code, _ := errorsmod.ABCIInfo(s.send(row.m), false); space != Name || code == 1 {
			t.Errorf("%s: %s %d", name, space, code)
		}
	}
	many := make([]escrowv1.Claim, 201)
	for i := range many {
		many[i] = good()
	}
	s.refuses("201 good ones", s.redeem(bob, many...), ErrBatch)
	s.refuses("no message", s.send(nil), ErrMalformed)
	if l, _ := s.lease(2); !l.Redeemed.IsZero() {
		t.Error("half of a message was done")
	}
	s.must(s.send(redemption(bob, good())))
	s.sound()
}

// A transaction that was kept once is not kept again, nor run again, in whatever bytes.
func TestARedemptionIsGoodOnce(t *testing.T) {
	s := founded(t)
	s.must(s.open(alice, s.deposit(1, hpips)))
	m := redemption(bob, promise(t, 1, hpips/2))
	pool := s.ctx.WithExecMode(sdk.ExecModeCheck)
	pool, _ = pool.CacheContext()
	s.must(s.keeper.CheckRedeem(pool, m))
	s.refuses("into the mempool again", s.keeper.CheckRedeem(pool, m), ErrOld)
	s.must(s.send(m))
	s.refuses("in the same block again", s.send(m), ErrOld)
	again, _ := s.ctx.WithExecMode(sdk.ExecModeReCheck).CacheContext()
	s.refuses("checked again after the block", s.keeper.CheckRedeem(again, m), ErrOld)
	s.refuses("after all others", s.redeem(bob, promise(t, 1, hpips/2)), ErrOld)
	s.sound()
}

func TestTheMempoolSeesEverything(t *testing.T) {
	s := founded(t)
	s.must(s.open(alice, s.deposit(1, hpips)))
	forged := redemption(bob, signs(t, carol, voucher.Voucher{Chain: chainID, Lease: lease(1), Amount: hpips, Usage: voucher.Usage{Tasks: hpips}}))
	pool, _ := s.ctx.WithExecMode(sdk.ExecModeCheck).CacheContext()
	s.refuses("forged, to the mempool", s.keeper.CheckRedeem(pool, forged), ErrSignature)
	s.must(s.keeper.CheckRedeem(s.ctx, forged)) // in a block, the message server is who looks
	_, err := s.msgs.Redeem(s.ctx, forged)
	s.refuses("forged, in a block", err, ErrSignature)
}

// Gas is the same whatever a redemption finds, and is taken once: in the mempool by the check, in a block by the message server.
func TestGasOfRedemptions(t *testing.T) {
	s := founded(t)
	s.must(s.open(alice, s.deposit(1, hpips), s.deposit(2, hpips)))
	m := redemption(bob, promise(t, 1, hpips/2), promise(t, 2, hpips/2))
	for name, mode := range map[string]sdk.ExecMode{"mempool": sdk.ExecModeCheck, "block": sdk.ExecModeFinalize, "again": sdk.ExecModeReCheck} {
		for _, m := range []*escrowv1.MsgRedeem{m, redemption(bob, promise(t, 1, hpips/2), promise(t, 9, hpips/2)), redemption(bob, last(promise(t, 1, hpips/2)), unused(2))} {
			meter := storetypes.NewGasMeter(RedeemGas(2))
			ctx, _ := s.ctx.WithExecMode(mode).WithGasMeter(meter).CacheContext()
			err := s.keeper.CheckRedeem(ctx, m)
			if mode == sdk.ExecModeFinalize {
				if err != nil || meter.GasConsumed() != 0 {
					t.Errorf("%s: %v, %d gas before the message server", name, err, meter.GasConsumed())
				}
				_, err = s.msgs.Redeem(ctx, m)
			}
			if err != nil && !errors.Is(err, ErrUnknown) || meter.GasConsumed() != RedeemGas(2) {
				t.Errorf("%s: %v, %d gas", name, err, meter.GasConsumed())
			}
		}
	}
	func() {
		defer func() {
			if _, out := recover().(storetypes.ErrorOutOfGas); !out {
				t.Error("more was done than there was gas for")
			}
		}()
		_, _ = s.msgs.Redeem(s.ctx.WithGasMeter(storetypes.NewGasMeter(RedeemGas(2)-1)), m)
	}()
}

// The fee for silver comes out of HPIPS that are redeemed beside it, and out of no claim comes more than it redeems.
func TestFeesComeOutOfWhatIsRedeemed(t *testing.T) {
	s := founded(t)
	metal := s.deposit(3, hpips)
	metal.Denom, metal.Amount = silver, math.NewInt(500)
	s.must(s.open(alice, s.deposit(1, hpips), s.deposit(2, hpips), metal))
	s.must(s.redeem(bob, promise(t, 1, 150), promise(t, 3, 500), promise(t, 2, 1000)))
	s.sound()
	for n, want := range map[uint64]int64{1: 150, 2: 450, 3: 0} {
		if l, _ := s.lease(n); l.Fees.Int64() != want {
			t.Errorf("lease %d paid %s, want %d", n, l.Fees, want)
		}
	}
	s.blocks(2, time.Second)
	s.sound()
	if len(s.finals) != 2 { // the first was used up by the fee: nothing of it is left to split
		t.Errorf("%d payments", len(s.finals))
	}
	if s.has(bob, silver) != 450 || s.holds(levy, silver) != 50 || s.has(bob, Denom) != 550*9/10 || s.holds("fee_collector", Denom) != 600 {
		t.Errorf("bob has %d silver and %d", s.has(bob, silver), s.has(bob, Denom))
	}
	if l, _ := s.lease(1); l.Pending != 0 || !l.Final.IsZero() {
		t.Errorf("%+v", l)
	}
}

// Alice takes the work and closes at once. The voucher that bob has is good for as long as the grace lasts, and not longer.
func TestClosingEarlyTakesNothingFromBob(t *testing.T) {
	s := founded(t)
	s.must(s.open(alice, s.deposit(1, hpips), s.deposit(2, hpips)))
	s.must(s.close(alice, 1, 2))
	s.blocks(8639, 31*time.Second)
	s.must(s.redeem(bob, promise(t, 1, hpips)))
	s.sound()
	// The last block of grace has come, and its messages are run before anything was returned: the rule counts, not the return.
	s.index++
	s.refuses("after grace", s.redeem(bob, promise(t, 2, hpips)), ErrGrace)
	s.index--
	s.block(31 * time.Second)
	if l, known := s.lease(1); !known || l.Phase != escrowv1.PHASE_CLOSED || l.Pending != 1 {
		t.Errorf("lease 1 waits for its last pay: %v", l)
	}
	s.sound()
	s.refuses("returned", s.redeem(bob, promise(t, 2, hpips)), ErrUnknown)
	s.refuses("closed", s.redeem(bob, promise(t, 1, hpips)), ErrGrace)
	s.block(31 * time.Second)
	if _, known := s.lease(1); known {
		t.Error("lease 1 is still there")
	}
	if s.has(alice, Denom) != 999*hpips || s.has(bob, Denom) != (hpips-200)*9/10 {
		t.Errorf("alice %d, bob %d", s.has(alice, Denom), s.has(bob, Denom))
	}
	s.sound()
}

func TestAnExpiredLeaseHasItsGrace(t *testing.T) {
	s := founded(t)
	s.must(s.open(alice, s.deposit(1, hpips)))
	s.blocks(48, 30*time.Minute)
	l, _ := s.lease(1)
	if l.Phase != escrowv1.PHASE_CLOSING || l.ClosingTime != s.now() || l.ClosingIndex != s.index {
		t.Fatalf("at its end it is %v", l)
	}
	s.refuses("topped up", s.topUp(alice, escrowv1.Addition{Lease: l.Id, Denom: Denom, Amount: math.NewInt(1)}), ErrPhase)
	s.must(s.redeem(bob, promise(t, 1, hpips/2)))
	s.blocks(8639, 31*time.Second)
	s.must(s.redeem(bob, promise(t, 1, hpips)))
	s.blocks(3, 31*time.Second)
	if _, known := s.lease(1); known || s.has(alice, Denom) != 999*hpips {
		t.Errorf("alice has %d", s.has(alice, Denom))
	}
	s.sound()
}

// The chain stands still for 30 hours, and for a week. The clock jumps; nobody's grace does.
func TestAHaltCostsNobody(t *testing.T) {
	s := founded(t)
	s.must(s.open(alice, s.deposit(1, hpips), s.deposit(2, hpips)))
	s.block(23 * time.Hour)
	s.must(s.close(alice, 1))
	s.block(30 * time.Hour) // lease 2 ended meanwhile
	if l, _ := s.lease(2); l.Phase != escrowv1.PHASE_CLOSING || l.ClosingTime != s.now() {
		t.Errorf("its grace began while nobody could redeem: %+v", l)
	}
	s.block(7 * 24 * time.Hour)
	s.must(s.redeem(bob, promise(t, 1, hpips/2), promise(t, 2, hpips/2)))
	s.sound()
	s.blocks(8637, 30*time.Second)
	s.must(s.redeem(bob, promise(t, 1, hpips)))
	s.block(30 * time.Second)
	s.refuses("lease 1, after 8640 seeds", s.redeem(bob, promise(t, 1, hpips)), ErrGrace)
	s.must(s.redeem(bob, promise(t, 2, hpips)))
	s.block(30 * time.Second)
	s.refuses("lease 2, a block later", s.redeem(bob, promise(t, 2, hpips)), ErrGrace)
	s.blocks(2, 30*time.Second)
	if s.has(alice, Denom) != 998*hpips {
		t.Errorf("alice has %d", s.has(alice, Denom))
	}
	s.sound()
}

// A busy chain makes blocks faster than heartbeats: seeds alone do not end a grace.
func TestGraceIsTimeToo(t *testing.T) {
	s := founded(t)
	s.must(s.open(alice, s.deposit(1, hpips)))
	s.must(s.close(alice, 1))
	s.blocks(9000, time.Second)
	s.must(s.redeem(bob, promise(t, 1, hpips)))
	s.block(3*24*time.Hour - 9001*time.Second)
	if _, known := s.lease(1); !known {
		t.Error("a second early")
	}
	s.block(time.Second)
	if _, known := s.lease(1); known {
		t.Error("not over")
	}
	s.sound()
}
