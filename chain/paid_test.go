package chain_test

import (
	"strings"
	"testing"
	"time"

	"cosmossdk.io/math"
	abci "github.com/cometbft/cometbft/abci/types"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"

	"github.com/hpips/hpips/chain"
	"github.com/hpips/hpips/chain/chaintest"
	"github.com/hpips/hpips/chain/escrow"
	committeev1 "github.com/hpips/hpips/proto/gen/committeev1"
	escrowv1 "github.com/hpips/hpips/proto/gen/escrowv1"
	rewardv1 "github.com/hpips/hpips/proto/gen/rewardv1"
	supplyv1 "github.com/hpips/hpips/proto/gen/supplyv1"
	"github.com/hpips/hpips/spec/voucher"
)

// paidDesk is a desk on which alice pays bob, whose node is registered and who owns nothing. A day has 60 s.
func paidDesk(t *testing.T) (*desk, chaintest.Person) {
	t.Helper()
	bob := chaintest.New("bob")
	g := genesis(t, "alice")
	word, err := bob.Registration(testChain, 0)
	if err != nil {
		t.Fatal(err)
	}
	g.Nodes = append(g.Nodes, word)
	g.Grants[0].Amount = 2_000_000_000_000 // enough circulates for holders to be paid
	g.Tune = func(p *committeev1.Params) { p.HeartbeatSeconds = 2 }
	doc, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	d := deskOn(t, doc)
	d.block()
	return d, bob
}

// deposit is alice's transaction that opens a lease.
func (d *desk) deposit(to chaintest.Person, terms [32]byte, amount int64, sequence uint64) []byte {
	id := to.ID()
	m := &escrowv1.MsgOpen{Payer: d.alice.Address(), Deposits: []escrowv1.Deposit{{Terms: terms[:], Node: id[:], VoucherKey: d.alice.Owner.PubKey().Bytes(), Denom: chain.Base,
		Amount: math.NewInt(amount), Until: d.time.Add(10 * time.Hour).Unix()}}}
	return d.signed(chaintest.Envelope{Sequence: sequence}, m)
}

func (d *desk) open(t *testing.T, to chaintest.Person, terms [32]byte, amount int64, sequence uint64) voucher.ID {
	t.Helper()
	if r := d.block(d.deposit(to, terms, amount, sequence))[0]; r.Code != 0 {
		t.Fatal(r.Log)
	}
	return voucher.LeaseID(d.alice.Address(), terms)
}

// redeem is what bob hands in for a voucher of alice's over an amount.
func (d *desk) redeem(t *testing.T, by chaintest.Person, lease voucher.ID, amount uint64) []byte {
	t.Helper()
	v := voucher.Voucher{Chain: testChain, Lease: lease, Amount: amount, Usage: voucher.Usage{Tasks: 1}}
	signed, err := v.Sign(d.alice.Owner.Key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := v.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	claims := []voucher.Claim{{Voucher: text, Signature: signed.Signature}}
	id := by.ID()
	m := &escrowv1.MsgRedeem{Sender: chaintest.Sender(by), Node: id[:], Signature: voucher.SignRedeem(testChain, claims, by.Node),
		Claims: []escrowv1.Claim{{Voucher: text, Signature: signed.Signature}}}
	tx, err := chain.FreeTx(d.app.Codec(), m)
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

func (d *desk) balance(who string) int64 {
	var res banktypes.QueryBalanceResponse
	d.ask("/cosmos.bank.v1beta1.Query/Balance", &banktypes.QueryBalanceRequest{Address: who, Denom: chain.Base}, &res)
	return res.Balance.Amount.Int64()
}

func (d *desk) supply() supplyv1.QuerySupplyResponse {
	var s supplyv1.QuerySupplyResponse
	d.ask("/hpips.supply.v1.Query/Supply", &supplyv1.QuerySupplyRequest{}, &s)
	return s
}

// Bob has no account and no HPIPS. He works for alice, redeems her promise without anybody's help, and a few blocks later nine tenths of it are
// his; the rest flows to the holders in the course of the next day, and nothing is lost on the way.
func TestBobIsPaidForHisWork(t *testing.T) {
	d, bob := paidDesk(t)
	circulating := d.supply().Circulating
	lease := d.open(t, bob, [32]byte{7}, 1_000_000, 0)
	if now := d.supply().Circulating; !now.Equal(circulating) {
		t.Errorf("with a deposit %s circulates, before %s", now, circulating)
	}
	tx := d.redeem(t, bob, lease, 400_200)
	res, err := d.app.CheckTx(&abci.RequestCheckTx{Tx: tx, Type: abci.CheckTxType_New})
	if err != nil || res.Code != 0 {
		t.Fatalf("the node does not take it: %v %s", err, res.GetLog())
	}
	if r := d.block(tx)[0]; r.Code != 0 {
		t.Fatal(r.Log)
	}
	if r := d.block(tx)[0]; r.Codespace != escrow.Name || r.Code != escrow.ErrOld.ABCICode() {
		t.Errorf("redeemed twice: %s", r.Log)
	}
	for range 4 {
		d.block()
	}
	if got := d.balance(bob.Address()); got != 270_000 { // 400,200 less the fee of 200
		t.Errorf("bob has %d uhpips, want three quarters of nine tenths of 400,000", got)
	}
	if b := d.bond(bob); len(b.Bonds) != 1 || b.Bonds[0].Bond.Held.Int64() != 90_000 || b.Bonds[0].Target.Int64() != 10_000_000 || b.Busy != "lease" {
		t.Errorf("bob's bond is %+v", b)
	}
	for d.time.Before(d.doc.GenesisTime.Add(3 * time.Minute)) {
		d.block()
	}
	var day rewardv1.QueryDayResponse
	d.ask("/hpips.reward.v1.Query/Day", &rewardv1.QueryDayRequest{Day: 0}, &day)
	if !day.Day.Done || len(day.Assets) != 1 || day.Assets[0].Sum.Gross.Int64() != 400_000 || day.Assets[0].Sum.Levied.Int64() != 40_000 ||
		day.Assets[0].Sum.Paid.Int64() != 360_000 || day.Assets[0].Sum.Held.Int64() != 90_000 {
		t.Errorf("day 0: %+v", day)
	}
	var owed rewardv1.QueryOwedResponse
	d.ask("/hpips.reward.v1.Query/Owed", &rewardv1.QueryOwedRequest{Address: d.alice.Address()}, &owed)
	if n := owed.Amount.Int64(); n < 39_900 || n > 40_000 { // she holds all but what bob does
		t.Errorf("alice is owed %d of 40,000 levied", n)
	}
	s := d.supply()
	if s.Total.String() != "100000000000000" || s.Totals.Breach != "" {
		t.Errorf("supply %s, breach %q", s.Total, s.Totals.Breach)
	}
}

// Alice's node has just been started and has seen no block yet: it knows what time it is on the chain all the same, and takes a deposit.
func TestADepositRightAfterARestart(t *testing.T) {
	d, bob := paidDesk(t)
	d.begin()
	tx := d.deposit(bob, [32]byte{7}, 1_000_000, 0)
	if _, _, err := d.app.Simulate(tx); err != nil {
		t.Errorf("it cannot be reckoned: %v", err)
	}
	if r := d.block(tx)[0]; r.Code != 0 {
		t.Error(r.Log)
	}
	d.begin()
	if _, _, err := d.app.Simulate(d.deposit(bob, [32]byte{7}, 1_000_000, 1)); err == nil || !strings.Contains(err.Error(), escrow.ErrUsed.Error()) {
		t.Errorf("the same lease again: %v", err)
	}
}

func TestARedemptionComesInOneFormAlone(t *testing.T) {
	d, bob := paidDesk(t)
	lease := d.open(t, bob, [32]byte{7}, 1_000_000, 0)
	good := d.redeem(t, bob, lease, 400_200)
	carol := chaintest.New("carol")
	for name, tx := range map[string][]byte{
		"another byte":  append(append([]byte{}, good...), 0x12, 0),
		"carol's word":  d.redeem(t, carol, lease, 400_200),
		"too much":      d.redeem(t, bob, lease, 1_000_001),
		"no such lease": d.redeem(t, bob, voucher.ID{8}, 400_200),
		"less than fee": d.redeem(t, bob, lease, 199),
	} {
		res, err := d.app.CheckTx(&abci.RequestCheckTx{Tx: tx, Type: abci.CheckTxType_New})
		if err != nil || res.Code == 0 {
			t.Errorf("%s: the node takes it: %v", name, err)
		}
		if r := d.block(tx)[0]; r.Code == 0 {
			t.Errorf("%s: the block takes it", name)
		}
	}
	if r := d.block(good)[0]; r.Code != 0 {
		t.Error(r.Log)
	}
}
