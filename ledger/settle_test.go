package ledger

import (
	"errors"
	"strings"
	"testing"

	ctypes "github.com/cometbft/cometbft/rpc/core/types"

	"github.com/hpips/hpips/proto/gen/bondv1"
	"github.com/hpips/hpips/proto/gen/escrowv1"
	"github.com/hpips/hpips/proto/gen/registryv1"
	"github.com/hpips/hpips/proto/gen/rewardv1"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/money"
)

// changing is a fair on which everything changes that a day's reckoning rests on. Alice pays for bob's node in each of four days; the fee rises in
// day 1, the node becomes carol's in day 2 and erin's as it ends, when its
// bond is whole and a vote makes it grow more slowly to more, and prices change in day 3.
func changing(t *testing.T) (*fair, *Ledger) {
	t.Helper()
	f, l := newFair(t, "bob", "dave")
	f.balances[fairAddress("alice")] = 3_000_000
	f.next(f.opens("one", "alice", "bob", money.Denom), f.opens("other", "alice", "dave", money.Denom), f.opens("shells", "alice", "bob", "ushell"))
	f.next(f.redeems("alice", "bob", 100_015, "one", "shells"), f.sits("bob"))
	f.next(f.redeems("alice", "dave", 5000, "other"))
	f.until(10) // day 1
	f.next(f.redeems("alice", "bob", 7000, "one"))
	f.next(f.redeems("alice", "bob", 8000, "one"), f.decides(&escrowv1.MsgUpdateParams{Authority: Authority(), Params: escrowv1.Params{RedeemFee: 900, Batch: 100}}))
	f.next(f.redeems("alice", "bob", 9000, "one"), f.sits("bob"))
	f.until(17)
	f.next(f.redeems("alice", "bob", 4000, "one")) // final in block 20
	f.until(20)                                    // day 2
	f.next(f.registers("bob", "carol"), f.opens("two", "alice", "bob", money.Denom))
	f.next(f.redeems("alice", "bob", 30_000, "one", "two"))
	f.until(25)
	f.next(f.decides(&bondv1.MsgUpdateParams{Authority: Authority(), Params: bondv1.Params{HoldPermille: 100, LeastTarget: 40_000}}))
	f.until(29)
	f.next(f.registers("bob", "erin")) // the block's first: day 3, day 2 is paid before
	f.next(f.redeems("alice", "bob", 11_000, "two"), f.sits("bob"))
	f.next(f.decides(&rewardv1.MsgUpdateParams{Authority: Authority(), Params: rewardv1.Params{WholeCirculating: 4_000_000, SeatPrice: 7, BonusDay: 3}}))
	f.until(40)
	f.next(f.decides(&rewardv1.MsgUpdateParams{Authority: Authority(), Params: rewardv1.Params{WholeCirculating: 4_000_000, SeatPrice: 9, BonusDay: 1000}}))
	f.until(42)
	return f, l
}

func settle(t *testing.T, l *Ledger, day uint64) (Settlement, error) {
	t.Helper()
	d, err := l.Day(t.Context(), day)
	if err != nil {
		t.Fatal(err)
	}
	return l.SettleVerify(t.Context(), d)
}

// Whatever changed since, each day comes out as it was: by the fee, the owner and the prices of its time.
func TestADayIsSettledByTheRulesOfItsTime(t *testing.T) {
	f, l := changing(t)
	for day, want := range []Settlement{
		{OK: true, Day: 0, From: 1, To: 9, Payments: 3, FundPayments: 2},
		{OK: true, Day: 1, From: 10, To: 19, Payments: 3, FundPayments: 1},
		{OK: true, Day: 2, From: 20, To: 29, Payments: 3, FundPayments: 1},
		{OK: true, Day: 3, From: 30, To: 39, Payments: 1, FundPayments: 1},
	} {
		if got, err := settle(t, l, uint64(day)); err != nil || got != want {
			t.Errorf("day %d is %+v, %v; want %+v", day, got, err, want)
		}
	}
	if f.lease.RedeemFee != 900 || f.owners[nodeHex("bob")] != fairAddress("erin") || f.prices.SeatPrice != 9 || f.bond.HoldPermille != 100 || f.bonds[nodeHex("bob")+money.Denom] != 30_909 {
		t.Fatalf("nothing changed: %+v, %+v, %+v", f.lease, f.prices, f.bonds)
	}
}

// Whoever forges a payment, a fee, a price or a sum, the first that differs is named.
func TestAForgedPaymentIsNamed(t *testing.T) {
	for _, c := range []struct {
		what   string
		day    uint64
		forge  func(*fair)
		differ string
	}{
		{"a payment went to the owner of later", 0, func(f *fair) { spoil(f, 4, "hpips_paid", 0, "payee", fairAddress("carol")) }, "block 4: payment of lease"},
		{"a payment of a unit more", 0, func(f *fair) { spoil(f, 5, "hpips_paid", 0, "paid", "4321uhpips") }, "block 5: payment of lease"},
		{"the second of two payments", 2, func(f *fair) { spoil(f, 24, "hpips_paid", 1, "payee", fairAddress("bob")) }, "block 24: payment of lease"},
		{"the coins went elsewhere", 0, func(f *fair) { spoil(f, 4, "transfer", 0, "recipient", fairAddress("mallory")) }, "did not go to"},
		{"what the bond got went elsewhere", 0, func(f *fair) { spoil(f, 4, "transfer", 1, "recipient", fairAddress("mallory")) }, "did not go to"},
		{"more than a quarter is held", 0, func(f *fair) {
			spoil(f, 4, "hpips_paid", 0, "held", "22414uhpips")
			spoil(f, 4, "hpips_held", 0, "amount", "22414uhpips")
		}, "22414 of 89653 is held, at most 22413 may be"},
		{"more than the bond lacks", 2, func(f *fair) { spoil(f, 24, "hpips_held", 0, "target", "29999uhpips") }, "for a bond of 30000 that grows to 29999"},
		{"less than the bond lacks", 2, func(f *fair) { spoil(f, 24, "hpips_held", 1, "target", "30001uhpips") }, "lacks more of 30001"},
		{"a bond that went", 1, func(f *fair) { spoil(f, 14, "hpips_held", 0, "bond", "25000uhpips") }, "and was 23943"},
		{"another's bond", 1, func(f *fair) { spoil(f, 14, "hpips_held", 0, "owner", fairAddress("mallory")) }, "the bond says"},
		{"a bond that says nothing", 1, func(f *fair) { spoil(f, 14, "hpips_held", 0, "bond", "") }, "the bond says"},
		{"what is held is in no sum", 0, func(f *fair) {
			s := f.days[0].works[nodeHex("bob")]["ushell"]
			s.Held = s.Held.SubRaw(1)
			f.days[0].works[nodeHex("bob")]["ushell"] = s
		}, "held is"},
		{"the old fee after the new one", 1, func(f *fair) { set(&f.txs[7].TxResult.Events[0], "fee", "200uhpips") }, "its fee is 200 uhpips, reckoned 900"},
		{"the new fee in the block of the vote", 1, func(f *fair) { set(&f.txs[6].TxResult.Events[0], "fee", "900uhpips") }, "its fee is 900 uhpips, reckoned 200"},
		{"no fee", 0, func(f *fair) { set(&f.txs[4].TxResult.Events[0], "fee", "0uhpips") }, "its fee is 0 uhpips, reckoned 200"},
		{"the bonus went to the owner of before", 2, func(f *fair) { spoil(f, 30, "hpips_bonus", 0, "owner", fairAddress("bob")) }, "was paid"},
		{"a seat at the price of later", 0, func(f *fair) {
			b, node := f.days[0], nodeHex("bob")
			e := b.earned[node]
			e.Duty, b.day.SeatPrice = e.Duty.SubRaw(4993), 7
			b.earned[node] = e
			spoil(f, 10, "hpips_bonus", 0, "duty", e.Duty.String()+money.Denom)
		}, "bonus"},
		{"kappa of before", 3, func(f *fair) { f.days[3].day.Kappa = 500_000 }, "kappa is 500000 millionths, reckoned 375000"},
		{"a registration that the node did not sign", 2, func(f *fair) { f.forged(f.txs[9]) }, "did not sign its registration"},
		{"a vote that no block carried out", 0, func(f *fair) { spoil(f, 12, "active_proposal", 0, "proposal_result", "proposal_rejected") }, "no block says that it was carried out"},
		{"a payment that is in no sum", 1, func(f *fair) {
			b := f.days[1]
			s := b.assets[money.Denom]
			s.Gross = s.Gross.SubRaw(1)
			b.assets[money.Denom] = s
		}, "gross is"},
	} {
		t.Run(c.what, func(t *testing.T) {
			f, l := changing(t)
			c.forge(f)
			got, err := settle(t, l, c.day)
			if err != nil || got.OK || !strings.Contains(got.Differs, c.differ) {
				t.Errorf("%+v, %v; want %q", got, err, c.differ)
			}
		})
	}
}

// forged spoils the node's signature in a registration.
func (f *fair) forged(of *ctypes.ResultTx) {
	t, err := f.words.tx.TxDecoder()(of.Tx)
	if err != nil {
		f.t.Fatal(err)
	}
	b, m := f.words.tx.NewTxBuilder(), t.GetMsgs()[0].(*registryv1.MsgRegister)
	m.NodeSignature[0] ^= 1
	if err := b.SetMsgs(m); err != nil {
		f.t.Fatal(err)
	}
	if of.Tx, err = f.words.tx.TxEncoder()(b.GetTx()); err != nil {
		f.t.Fatal(err)
	}
}

// A node that dropped old blocks says what is missing; it calls nothing wrong. What was decided before the oldest block that it holds still counts.
func TestASettledDayNeedsItsBlocks(t *testing.T) {
	f, l := changing(t)
	for oldest, day := range map[int64]uint64{3: 0, 10: 1, 11: 1, 19: 2} { // by which fee did who redeemed in block 18?
		f.oldest = oldest
		var no *job.Failure
		if got, err := settle(t, l, day); !errors.As(err, &no) || no.Code != job.CodeNotFound || got.Differs != "" {
			t.Errorf("day %d from block %d on: %+v, %v", day, oldest, got, err)
		}
	}
	f.blocks[12].seeded = false // nothing falls due in such a block
	for _, oldest := range []int64{12, 13, 18} {
		f.oldest = oldest
		if got, err := settle(t, l, 2); err != nil || !got.OK {
			t.Errorf("day 2 from block %d on: %+v, %v", oldest, got, err)
		}
	}
	f.oldest = 1
	for f.height() < 1000 {
		f.next()
	}
	if _, err := settle(t, l, 2); err == nil || !strings.Contains(err.Error(), "forgotten") {
		t.Errorf("a day of long ago: %v", err)
	}
}
