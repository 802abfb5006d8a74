package ledger

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	sdkmath "cosmossdk.io/math"
	abci "github.com/cometbft/cometbft/abci/types"
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
	f.next(f.redeems("alice", "bob", 9000, "one"), f.sits("bob"), f.converts(700))
	f.until(17)
	f.next(f.redeems("alice", "bob", 4000, "one")) // final in block 20
	f.until(20)                                    // day 2
	f.next(f.registers("bob", "carol"), f.opens("two", "alice", "bob", money.Denom))
	f.next(f.redeems("alice", "bob", 30_000, "one", "two"))
	f.until(25)
	f.next(f.decides(&bondv1.MsgUpdateParams{Authority: Authority(), Params: bondv1.Params{HoldPermille: 100, LeastTarget: 40_000}}))
	f.until(29)
	f.next(f.registers("bob", "erin")) // the block's first: day 3, day 2 is paid before
	f.next(f.redeems("alice", "bob", 11_000, "two"), f.sits("bob"), f.applies("carol", "dave"))
	f.next(f.decides(&rewardv1.MsgUpdateParams{Authority: Authority(), Params: rewardv1.Params{WholeCirculating: 4_000_000, SeatPrice: 7, ReceiptPrice: 11, BonusDay: 3}}))
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
	seats := "which seats served each of the 1 epochs that ended: no seat is counted more often, and hpips chain verify checks who sat"
	trade := "which orders traded with the sale of levies, and at what price: only that what it bought is what they sold, and where it went"
	before := func(day string) string {
		return "what came before: fund, circulating and streamed go on from the figures of day " + day + ", which settle-verify --day " + day + " reckons"
	}
	for day, want := range []Settlement{
		{OK: true, Day: 0, From: 1, To: 9, Payments: 3, FundPayments: 2, Redeemed: 3, NotReckoned: []string{seats}},
		{OK: true, Day: 1, From: 10, To: 19, Payments: 3, FundPayments: 1, Redeemed: 4, NotReckoned: []string{seats, trade, before("0")}},
		{OK: true, Day: 2, From: 20, To: 29, Payments: 3, FundPayments: 1, Redeemed: 2, NotReckoned: []string{before("1")}},
		{OK: true, Day: 3, From: 30, To: 39, Payments: 1, FundPayments: 2, Redeemed: 1, NotReckoned: []string{seats, before("2")}},
	} {
		if got, err := settle(t, l, uint64(day)); err != nil || !reflect.DeepEqual(got, want) {
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
		{"kappa of before", 3, func(f *fair) { f.days[3].day.Kappa = 500_000 }, "kappa is 500000 millionths, reckoned 374171"},
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

// A lease that was let go of unused is no payment, and its fee is one of its transaction's.
func TestALeaseThatWasLetGoIsSettled(t *testing.T) {
	for forged, differ := range map[string]string{"": "", "199uhpips": "its fee is 399 uhpips, reckoned 400", "201uhpips": "its fee is 401 uhpips, reckoned 400"} {
		f, l := newFair(t, "bob")
		f.balances[fairAddress("alice")] = 3_000_000
		f.next(f.opens("one", "alice", "bob", money.Denom), f.opens("two", "alice", "bob", money.Denom))
		f.next(f.redeems("alice", "bob", 100_200, "-two", "one"))
		f.next(f.redeems("alice", "bob", 7000, "one"))
		f.until(12)
		if forged != "" {
			set(&f.txs[2].TxResult.Events[0], "fee", forged)
		}
		got, err := settle(t, l, 0)
		if err != nil || got.OK != (differ == "") || !strings.Contains(got.Differs, differ) || got.OK && (got.Payments != 2 || got.Redeemed != 2) {
			t.Errorf("%q: %+v, %v", forged, got, err)
		}
		all, err := l.redemptions(t.Context(), fairNode("bob").Public().(ed25519.PublicKey), time.Time{})
		if err != nil || len(all) != 2 || all[1].Amount != "100200" || all[0].Amount != "7000" {
			t.Errorf("bob sees %+v, %v", all, err)
		}
	}
}

// hides takes events of a block away.
func hides(f *fair, height int64, gone func(kind string) bool) {
	b := &f.blocks[height-1]
	b.events = slices.DeleteFunc(b.events, func(e abci.Event) bool { return gone(e.Type) })
}

// Nobody can leave out what is due: the blocks' redemptions say what has to be paid, in which order, and a refusal is told of in each block again.
func TestAPaymentThatIsDueIsDemanded(t *testing.T) {
	final := func(kind string) bool {
		return slices.Contains([]string{"hpips_paid", "hpips_final", "transfer", "coin_spent", "coin_received"}, kind)
	}
	for _, c := range []struct {
		what   string
		day    uint64
		forge  func(*fair)
		differ string
	}{
		{"dave's only payment is left out", 0, func(f *fair) {
			hides(f, 5, final)
			f.days[0].works[nodeHex("dave")] = nil
			b, four := f.days[0], sdkmath.NewInt(4800)
			all := b.assets[money.Denom]
			all.Gross, all.Paid, all.Levied = all.Gross.Sub(four), all.Paid.SubRaw(4320), all.Levied.SubRaw(480)
			b.assets[money.Denom] = all
		}, "of block 3, was due and is neither paid nor refused"},
		{"what was redeemed on the day before is left out", 2, func(f *fair) { hides(f, 20, final) }, "of block 18, was due and is neither paid nor refused"},
		{"the last payment of a day", 1, func(f *fair) { hides(f, 15, final) }, "of block 13, was due and is neither paid nor refused"},
		{"a payment comes a block late", 0, func(f *fair) {
			for _, e := range f.blocks[4].events {
				if final(e.Type) {
					f.blocks[5].events = append(f.blocks[5].events, e)
				}
			}
			hides(f, 5, final)
		}, "of block 3, was due and is neither paid nor refused"},
		{"a block without a seed pays", 1, func(f *fair) { f.blocks[12].seeded = false }, "block 13 carries no seed"},
		{"a redemption that its transaction does not tell of", 2, func(f *fair) { set(&f.txs[11].TxResult.Events[0], "node", nodeHex("dave")) }, "does not tell of it"},
	} {
		t.Run(c.what, func(t *testing.T) {
			f, l := changing(t)
			c.forge(f)
			if got, err := settle(t, l, c.day); err != nil || got.OK || !strings.Contains(got.Differs, c.differ) {
				t.Errorf("%+v, %v; want %q", got, err, c.differ)
			}
		})
	}
}

// What the chain refuses to pay waits with all of its node behind it, over the day's end, and holds up no other node; a block deals with no more than it may.
func TestARefusedPaymentWaits(t *testing.T) {
	f, l := newFair(t, "bob", "dave")
	f.balances[fairAddress("alice")] = 3_000_000
	f.next(f.opens("one", "alice", "bob", money.Denom), f.opens("other", "alice", "dave", money.Denom),
		f.decides(&escrowv1.MsgUpdateParams{Authority: Authority(), Params: escrowv1.Params{RedeemFee: 200, Batch: 3}}))
	f.refused = func(p fairPay) bool { return p.lease.node == nodeHex("bob") && f.height() < 14 }
	f.until(5)
	f.next(f.redeems("alice", "bob", 5000, "one"))
	f.next(f.redeems("alice", "dave", 6000, "other"), f.redeems("alice", "bob", 7000, "one"))
	f.until(10)
	f.next(f.redeems("alice", "dave", 8000, "other"))
	f.until(21)
	for day, want := range map[uint64]int{0: 1, 1: 3} {
		if got, err := settle(t, l, day); err != nil || !got.OK || got.Payments != want {
			t.Errorf("day %d: %+v, %v", day, got, err)
		}
	}
	hides(f, 12, func(kind string) bool { return kind == "hpips_pay_refused" })
	if got, err := settle(t, l, 1); err != nil || !strings.Contains(got.Differs, "block 12: redemption") {
		t.Errorf("a refusal that is not told: %+v, %v", got, err)
	}
}

// Each figure of a day is reckoned from what moved in its blocks, and a forged one is named.
func TestAForgedFigureIsNamed(t *testing.T) {
	one := sdkmath.OneInt()
	lose := func(height int64, kind, key, value string) func(*fair) {
		return func(f *fair) {
			b := &f.blocks[height-1]
			n := len(b.events)
			b.events = slices.DeleteFunc(b.events, func(e abci.Event) bool { return e.Type == kind && fairWord(e, key) == value })
			if len(b.events) != n-1 {
				f.t.Fatalf("block %d: %d events less", height, n-len(b.events))
			}
		}
	}
	for _, c := range []struct {
		what   string
		day    uint64
		forge  func(*fair)
		differ string
	}{
		{"converted", 1, func(f *fair) { f.days[1].day.Converted = f.days[1].day.Converted.Add(one) }, "converted is 701, reckoned 700"},
		{"converted, where nothing was", 2, func(f *fair) { f.days[2].day.Converted = one }, "converted is 1, reckoned 0"},
		{"a sale that bought nothing", 1, func(f *fair) { spoil(f, 13, "hpips_sale", 0, "bought", "0uhpips") }, "bought 0 uhpips, and 700 are told"},
		{"a batch that leaves less", 1, func(f *fair) { spoil(f, 13, "hpips_fill", 0, "amount", "800uhpips") }, "leave 600"},
		{"what was bought went elsewhere", 1, lose(13, "transfer", "recipient", module("stream")), "did not go to the holders' pot"},
		{"streamed", 1, func(f *fair) { f.days[1].day.Streamed = f.days[1].day.Streamed.Add(one) }, "streamed is"},
		{"streamed of the day before", 2, func(f *fair) {
			f.days[1].day.Streamed, f.days[1].day.Circulating = f.days[1].day.Streamed.Add(one), f.days[1].day.Circulating.Add(one)
		}, "circulating is"},
		{"circulating", 0, func(f *fair) { f.days[0].day.Circulating = f.days[0].day.Circulating.Add(one) }, "circulating is"},
		{"the fund", 0, func(f *fair) { f.days[0].day.Fund = f.days[0].day.Fund.Sub(one) }, "the fund is 50000000000599, reckoned 50000000000600"},
		{"duty in all", 0, func(f *fair) { f.days[0].day.Duty = f.days[0].day.Duty.Add(one) }, "duty pay in all is 5001"},
		{"duty due", 0, func(f *fair) { f.days[0].day.DutyDue = f.days[0].day.DutyDue.Add(one) }, "duty pay in all is 5000 of 5001 due"},
		{"a receipt more", 3, func(f *fair) { f.earns("dave", 3, func(e *rewardv1.Earner) { e.Receipts++ }) }, "2 receipts were used, reckoned 1"},
		{"no receipt", 3, func(f *fair) { f.earns("dave", 3, func(e *rewardv1.Earner) { e.Receipts = 0 }) }, "0 receipts were used, reckoned 1"},
		{"an observer left out", 3, func(f *fair) { delete(f.days[3].earned, nodeHex("dave")) }, "1 receipts were used, which the chain's figures do not have"},
		{"more epochs in a seat than ended", 0, func(f *fair) { f.earns("bob", 0, func(e *rewardv1.Earner) { e.Seats++ }) }, "2 epochs in a seat, and 1 ended"},
		{"a levy that was kept", 0, lose(5, "transfer", "recipient", module("levy")), "480uhpips of it were not levied"},
		{"a day's levy that stayed", 1, lose(20, "transfer", "recipient", module("stream")), "did not go to the holders' pot"},
		{"shells that were not sold", 0, lose(10, "transfer", "recipient", module("exchange")), "did not go to the exchange"},
		{"a bonus that nobody got", 0, lose(10, "transfer", "recipient", fairAddress("dave")), "did not go to"},
		{"duty pay that went elsewhere", 3, func(f *fair) {
			spoil(f, 40, "transfer", len(kinds(f, 40, "transfer"))-1, "recipient", fairAddress("mallory"))
		}, "did not go to"},
	} {
		t.Run(c.what, func(t *testing.T) {
			f, l := changing(t)
			c.forge(f)
			if got, err := settle(t, l, c.day); err != nil || got.OK || !strings.Contains(got.Differs, c.differ) {
				t.Errorf("%+v, %v; want %q", got, err, c.differ)
			}
		})
	}
}

func fairWord(e abci.Event, key string) string {
	for _, a := range e.Attributes {
		if a.Key == key {
			return a.Value
		}
	}
	return ""
}

func kinds(f *fair, height int64, kind string) []abci.Event {
	return slices.DeleteFunc(slices.Clone(f.blocks[height-1].events), func(e abci.Event) bool { return e.Type != kind })
}

// earns changes what the chain says that a node did.
func (f *fair) earns(node string, day int, change func(*rewardv1.Earner)) {
	e := f.days[day].earned[nodeHex(node)]
	change(&e)
	f.days[day].earned[nodeHex(node)] = e
}

// While too little circulates, nothing flows to the holders, and it is all there when enough does: as much as came in, by the block.
func TestWhatTooLittleCirculatesForFlowsOn(t *testing.T) {
	f, l := newFair(t, "bob")
	f.balances[fairAddress("alice")] = 3_000_000
	few := func(least uint64) func() {
		return f.decides(&rewardv1.MsgUpdateParams{Authority: Authority(), Params: rewardv1.Params{WholeCirculating: 4_000_000, BonusDay: 1000, LeastCirculating: least}})
	}
	f.next(f.opens("one", "alice", "bob", money.Denom), few(4_000_000))
	f.next(f.redeems("alice", "bob", 100_200, "one"))
	f.until(24)
	f.next(few(1_000_000))
	f.until(42)
	for day, want := range []string{"10000", "10000", "5000", "0"} { // in day 2, from block 26 on, a part of it has flowed
		d, err := l.Day(t.Context(), uint64(day))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := l.SettleVerify(t.Context(), d); err != nil || !got.OK || d.Streamed != want {
			t.Errorf("day %d: %+v, %v; streamed %s, want %s", day, got, err, d.Streamed, want)
		}
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

// What is not fixed is no number, and a day that is not over is not settled.
func TestADayThatIsNotOver(t *testing.T) {
	f, l := changing(t)
	open := uint64(len(f.days) - 1)
	d, err := l.Day(t.Context(), open)
	if err != nil {
		t.Fatal(err)
	}
	for day, known := range map[*Day]bool{&d: false, ended(t, l, 0): true} {
		text, err := json.Marshal(day)
		if err != nil {
			t.Fatal(err)
		}
		var told map[string]any
		if err := json.Unmarshal(text, &told); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"bonus", "duty", "washIndex", "streamed", "kappa", "budget", "fund", "circulating"} {
			if (told[name] != nil) != known {
				t.Errorf("day %d: %s is %v", day.Day, name, told[name])
			}
		}
		if told["gross"] == nil || told["providers"] == nil {
			t.Errorf("%s", text)
		}
	}
	var no *job.Failure
	if _, err := l.SettleVerify(t.Context(), d); !errors.As(err, &no) || no.Code != job.CodeUnavailable || no.Message != "day 4 is not over" {
		t.Errorf("an open day: %v", err)
	}
	if _, err := l.Day(t.Context(), open+1); !errors.As(err, &no) || no.Code != job.CodeNotFound || !strings.Contains(no.Message, "day 5 has not begun: it is day 4") {
		t.Errorf("a day of later: %v", err)
	}
}

func TestNoDayIsClosedYet(t *testing.T) {
	f, l := newFair(t)
	f.until(9)
	var no *job.Failure
	if _, err := l.LastDay(t.Context()); !errors.As(err, &no) || no.Code != job.CodeUnavailable || no.Message != "no day is closed yet" {
		t.Errorf("in the first day: %v", err)
	}
	f.until(10)
	if d, err := l.LastDay(t.Context()); err != nil || d.Day != 0 || !d.Closed {
		t.Errorf("in the second: %+v, %v", d, err)
	}
}

func ended(t *testing.T, l *Ledger, day uint64) *Day {
	t.Helper()
	d, err := l.Day(t.Context(), day)
	if err != nil {
		t.Fatal(err)
	}
	return &d
}
