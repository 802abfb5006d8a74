package escrow

import (
	"testing"
	"time"

	"cosmossdk.io/math"

	"github.com/hpips/hpips/proto/gen/escrowv1"
	"github.com/hpips/hpips/spec/voucher"
)

// Jurors are paid out of what nobody was promised, as for any work: it is alice's until then. What they got bob cannot be promised any more.
func TestJurorsArePaidOutOfWhatIsFree(t *testing.T) {
	s := founded(t)
	s.must(s.open(alice, s.deposit(1, hpips)))
	s.must(s.redeem(bob, promise(t, 1, hpips/2)))
	id := lease(1)
	free, err := s.keeper.Free(s.ctx, id)
	if err != nil || free.Int64() != hpips/2 {
		t.Fatalf("%s are free, %v", free, err)
	}
	paid, err := s.keeper.Hire(s.ctx, id, dave.id(), dave.address(), math.NewInt(1000))
	if err != nil || paid.Int64() != 1000 {
		t.Fatalf("dave got %s, %v", paid, err)
	}
	s.must(s.keeper.Recount(s.ctx))
	s.refuses("what dave got", s.redeem(bob, promise(t, 1, hpips-999)), ErrDeposit)
	s.must(s.redeem(bob, promise(t, 1, hpips-5000)))
	if paid, err = s.keeper.Hire(s.ctx, id, dave.id(), dave.address(), math.NewInt(hpips)); err != nil || paid.Int64() != 4000 {
		t.Fatalf("of what is left dave got %s, %v", paid, err)
	}
	if paid, err = s.keeper.Hire(s.ctx, id, dave.id(), dave.address(), math.NewInt(1)); err != nil || !paid.IsZero() {
		t.Fatalf("of nothing dave got %s, %v", paid, err)
	}
	if paid, err = s.keeper.Hire(s.ctx, voucher.ID{9}, dave.id(), dave.address(), math.NewInt(1)); err != nil || !paid.IsZero() {
		t.Fatalf("of a lease that is not dave got %s, %v", paid, err)
	}
	s.must(s.keeper.Recount(s.ctx))
	s.resting = true
	s.must(s.open(alice, s.deposit(2, hpips)))
	if _, err = s.keeper.Hire(s.ctx, lease(2), dave.id(), dave.address(), math.NewInt(1)); err == nil {
		t.Error("a juror is paid while payouts rest")
	}
	s.must(s.keeper.Recount(s.ctx))
}

// What a convicted node redeemed goes back at once, also where the rest of the lease has returned; what it redeems later is another matter. The audits hear of each end.
func TestPayOfAConvictedNodeGoesBack(t *testing.T) {
	s := founded(t)
	s.must(s.open(alice, s.deposit(1, hpips), s.deposit(2, hpips)))
	root := func(n, amount uint64) escrowv1.Claim {
		return signs(t, alice, voucher.Voucher{Chain: chainID, Lease: lease(n), Amount: amount, Usage: voucher.Usage{Tasks: amount}, Root: [32]byte{1}})
	}
	before := s.bank.GetBalance(s.ctx, alice.at(), Denom).Amount
	s.must(s.redeem(bob, root(1, hpips/2)))
	s.must(s.redeem(bob, root(2, hpips/4)))
	s.audits[1] = true
	s.must(s.close(alice, 1))
	s.block(time.Hour)
	s.lost[1], s.lost[2] = true, true
	s.block(time.Second)
	s.block(time.Second)
	fees := int64(400)
	if got := s.bank.GetBalance(s.ctx, alice.at(), Denom).Amount.Sub(before).Int64(); got != hpips/2+hpips/4-fees {
		t.Errorf("alice has %d back", got)
	}
	if len(s.settled) != 2 {
		t.Errorf("the audits heard of the end of %v", s.settled)
	}
	s.must(s.keeper.Recount(s.ctx))
	s.refuses("what went back", s.redeem(bob, root(2, hpips/4)), ErrOld)
	s.must(s.redeem(bob, root(2, hpips/3)))
	s.block(time.Second)
	s.block(time.Second)
	l, known, err := s.keeper.Lease(s.ctx, lease(2))
	s.must(err)
	if !known || l.Final.Int64()+l.Fees.Int64()+l.Forfeited.Int64() != l.Redeemed.Int64() || !l.Final.IsPositive() {
		t.Errorf("%+v", l)
	}
	s.must(s.keeper.Recount(s.ctx))
}

// The rest of a lease pays jurors as long as somebody looks at its results: it returns a grace later.
func TestTheRestWaitsForTheJury(t *testing.T) {
	s := founded(t)
	s.rules(func(p *escrowv1.Params) { p.GraceSeconds, p.GraceBlocks = 60, 1 })
	s.must(s.open(alice, s.deposit(1, hpips)))
	s.must(s.redeem(bob, promise(t, 1, hpips/2)))
	s.must(s.close(alice, 1))
	s.asked = true
	s.block(2 * time.Minute)
	s.block(time.Second)
	if free, err := s.keeper.Free(s.ctx, lease(1)); err != nil || free.Int64() != hpips/2 {
		t.Fatalf("%s are free, %v", free, err)
	}
	s.must(s.keeper.Recount(s.ctx))
	s.asked = false
	s.block(2 * time.Minute)
	if free, err := s.keeper.Free(s.ctx, lease(1)); err != nil || !free.IsZero() {
		t.Errorf("%s are free after the grace, %v", free, err)
	}
	s.must(s.keeper.Recount(s.ctx))
}
