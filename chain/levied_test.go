package chain_test

import (
	"testing"
	"time"

	"cosmossdk.io/math"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"

	"github.com/hpips/hpips/chain"
	"github.com/hpips/hpips/chain/chaintest"
	"github.com/hpips/hpips/chain/exchange"
	escrowv1 "github.com/hpips/hpips/proto/gen/escrowv1"
	exchangev1 "github.com/hpips/hpips/proto/gen/exchangev1"
	rewardv1 "github.com/hpips/hpips/proto/gen/rewardv1"
	"github.com/hpips/hpips/spec/voucher"
)

// redeems is what a node hands in at once for several vouchers of alice's.
func (d *desk) redeems(t *testing.T, by chaintest.Person, amounts map[voucher.ID]uint64, order ...voucher.ID) []byte {
	t.Helper()
	id := by.ID()
	m := &escrowv1.MsgRedeem{Sender: chaintest.Sender(by), Node: id[:]}
	var claims []voucher.Claim
	for _, lease := range order {
		v := voucher.Voucher{Chain: testChain, Lease: lease, Amount: amounts[lease], Usage: voucher.Usage{Tasks: 1}}
		signed, err := v.Sign(d.alice.Owner.Key)
		if err != nil {
			t.Fatal(err)
		}
		text, err := v.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		claims = append(claims, voucher.Claim{Voucher: text, Signature: signed.Signature})
		m.Claims = append(m.Claims, escrowv1.Claim{Voucher: text, Signature: signed.Signature})
	}
	m.Signature = voucher.SignRedeem(testChain, claims, by.Node)
	tx, err := chain.FreeTx(d.app.Codec(), m)
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

func (d *desk) day(n uint64) rewardv1.QueryDayResponse {
	var r rewardv1.QueryDayResponse
	d.ask("/hpips.reward.v1.Query/Day", &rewardv1.QueryDayRequest{Day: n}, &r)
	return r
}

func (d *desk) owed(who string) int64 {
	var r rewardv1.QueryOwedResponse
	d.ask("/hpips.reward.v1.Query/Owed", &rewardv1.QueryOwedRequest{Address: who}, &r)
	return r.Amount.Int64()
}

// sums fails unless there are as many uhpips as ever and of an asset, if one is named, as many as there were, and no invariant is broken.
func (d *desk) sums(t *testing.T, asset string, n int64) {
	t.Helper()
	if s := d.supply(); s.Total.String() != "100000000000000" || s.Totals.Breach != "" {
		t.Fatalf("block %d: supply %s, breach %q", d.height, s.Total, s.Totals.Breach)
	}
	for denom, want := range map[string]int64{chain.Base: 100_000_000_000_000, asset: n} {
		if denom == "" {
			continue
		}
		var all banktypes.QueryDenomOwnersResponse
		d.ask("/cosmos.bank.v1beta1.Query/DenomOwners", &banktypes.QueryDenomOwnersRequest{Denom: denom}, &all)
		sum := math.ZeroInt()
		for _, o := range all.DenomOwners {
			sum = sum.Add(o.Balance.Amount)
		}
		if sum.Int64() != want {
			t.Fatalf("block %d: all have %s%s, want %d", d.height, sum, denom, want)
		}
	}
}

// Alice pays bob in credits, and a little in HPIPS out of which the fee comes. He gets nine tenths of both. What is levied in credits is for sale from the
// next day on, part by part; alice sells HPIPS for it, and these flow to the holders on the day after.
func TestALevyInAnotherAssetBecomesTheHolders(t *testing.T) {
	const credits, work, coins = 1_000_000_000_000, 1_000_000_000, 100_400
	d, bob := paidDesk(t)
	id, asset := bob.ID(), exchange.Credit().Asset.Denom
	terms := map[string][32]byte{chain.Base: {7}, asset: {8}}
	open := &escrowv1.MsgOpen{Payer: d.alice.Address()}
	for _, denom := range []string{chain.Base, asset} {
		word := terms[denom]
		open.Deposits = append(open.Deposits, escrowv1.Deposit{Terms: word[:], Node: id[:], VoucherKey: d.alice.Owner.PubKey().Bytes(), Denom: denom, Amount: math.NewInt(2 * work),
			Until: d.time.Add(10 * time.Hour).Unix()})
	}
	if r := d.block(d.signed(chaintest.Envelope{}, open))[0]; r.Code != 0 {
		t.Fatal(r.Log)
	}
	inHPIPS, inCredits := voucher.LeaseID(d.alice.Address(), terms[chain.Base]), voucher.LeaseID(d.alice.Address(), terms[asset])
	amounts := map[voucher.ID]uint64{inHPIPS: coins, inCredits: work}
	if r := d.block(d.redeems(t, bob, amounts, inCredits))[0]; r.Code == 0 {
		t.Error("credits alone were redeemed, and nobody paid the fee")
	}
	if r := d.block(d.redeems(t, bob, amounts, inCredits, inHPIPS))[0]; r.Code != 0 {
		t.Fatal(r.Log)
	}
	for range 4 {
		d.block()
	}
	var has banktypes.QueryBalanceResponse
	d.ask("/cosmos.bank.v1beta1.Query/Balance", &banktypes.QueryBalanceRequest{Address: bob.Address(), Denom: asset}, &has)
	if got := d.balance(bob.Address()); got != 67_500 || has.Balance.Amount.Int64() != work/10*9*3/4 { // 100,400 less the fee of two claims; a quarter is his bond
		t.Errorf("bob has %d uhpips and %s", got, has.Balance)
	}
	d.sums(t, asset, credits)

	until := func(day int) {
		for d.time.Before(d.doc.GenesisTime.Add(time.Duration(day)*time.Minute + time.Second)) {
			d.block()
		}
	}
	until(1)
	sell := &exchangev1.MsgPlace{Owner: d.alice.Address(), Denom: asset, Side: exchangev1.SIDE_SELL, Price: exchange.Credit().FirstPrice / 10, Amount: math.NewInt(500_000_000)}
	if r := d.block(d.signed(chaintest.Envelope{Sequence: 1}, sell))[0]; r.Code != 0 {
		t.Fatal(r.Log)
	}
	until(2)
	d.sums(t, asset, credits)
	first, second := d.day(0), d.day(1)
	if len(first.Assets) != 2 || first.Day.Levied.Int64() != 10_000 || first.Day.Streamed.Int64() != 10_000 || !first.Day.Converted.IsZero() {
		t.Errorf("day 0: %+v", first)
	}
	for _, a := range first.Assets {
		if want := map[string]int64{chain.Base: 100_000, asset: work}[a.Denom]; a.Sum.Gross.Int64() != want || a.Sum.Paid.Int64() != want/10*9 || a.Sum.Levied.Int64() != want/10 {
			t.Errorf("day 0: %+v", a)
		}
	}
	converted := second.Day.Converted.Int64()
	if converted < 200_000_000 || converted > 500_000_000 { // for 100 credits at half a credit each or less, as far as there were sellers
		t.Fatalf("day 1 converted %d uhpips", converted)
	}
	if !second.Day.Levied.IsZero() || second.Day.Streamed.Int64() != converted || len(second.Assets) != 0 {
		t.Errorf("day 1: %+v", second)
	}
	before := d.owed(d.alice.Address())
	if before < 9_900 || before > 10_000 {
		t.Errorf("after day 1 alice is owed %d of 10,000 levied on day 0", before)
	}
	until(3)
	if now := d.owed(d.alice.Address()); now-before < converted-1000 || now-before > converted { // bob holds less than a millionth
		t.Errorf("in day 2 alice is owed %d more of %d converted", now-before, converted)
	}
	d.sums(t, asset, credits)
	if s := d.supply(); s.Circulating.IsNegative() || s.Reserved.IsNegative() {
		t.Errorf("%+v", s)
	}
}

// A public chain begins with alice holding the hundredth part of an HPIPS, and nobody else anything. It goes through 40 days; the one seat is paid by the fund, its owner pays her own node out of that, and
// has it all but the levy, which waits: too little circulates for it to flow, and for any bonus.
func TestAPublicChainBeginsWithAlmostNothing(t *testing.T) {
	g := genesis(t, "alice")
	g.Network, g.Grants[0].Amount, g.Grants[0].From = chain.Public, 10_000, "investors"
	doc, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	d := deskOn(t, doc)
	d.block()
	alice := d.alice.Address()
	if s := d.supply(); s.Circulating.Int64() != 10_000 {
		t.Fatalf("%s circulates", s.Circulating)
	}
	days := func(n int) {
		for end := doc.GenesisTime.Add(time.Duration(n)*24*time.Hour + time.Minute); d.time.Before(end); {
			d.block()
			d.time = d.time.Add(time.Hour)
		}
	}
	days(31)
	earned := d.balance(alice)
	if earned <= 10_000 {
		t.Fatalf("after an epoch in the only seat alice has %d uhpips", earned)
	}
	if s := d.supply(); s.Circulating.Int64() != earned {
		t.Errorf("%s circulates, alice has %d", s.Circulating, earned)
	}
	lease := d.open(t, d.alice, [32]byte{7}, earned, 0)
	if s, rest := d.supply(), d.balance(alice); s.Circulating.Int64() != earned+rest {
		t.Errorf("with %d deposited and %d left %s circulates", earned, rest, s.Circulating)
	}
	if r := d.block(d.redeem(t, d.alice, lease, uint64(earned)))[0]; r.Code != 0 {
		t.Fatal(r.Log)
	}
	days(40)
	levied, streamed := int64(0), int64(0)
	for n := range uint64(39) {
		day := d.day(n)
		if !day.Day.Done || day.Day.Height == 0 || day.Day.Bonus.IsPositive() {
			t.Fatalf("day %d: %+v", n, day)
		}
		levied, streamed = levied+day.Day.Levied.Int64(), day.Day.Streamed.Int64()
	}
	if levied == 0 || streamed != levied || d.owed(alice) != 0 {
		t.Errorf("levied %d, streaming %d, alice is owed %d", levied, streamed, d.owed(alice))
	}
	d.sums(t, "", 0)
}
