package chain_test

import (
	"testing"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"

	"github.com/hpips/hpips/chain/bond"
	"github.com/hpips/hpips/chain/chaintest"
	"github.com/hpips/hpips/chain/supply"
	bondv1 "github.com/hpips/hpips/proto/gen/bondv1"
	escrowv1 "github.com/hpips/hpips/proto/gen/escrowv1"
	registryv1 "github.com/hpips/hpips/proto/gen/registryv1"
)

// bond is what the chain says of a node's bonds.
func (d *desk) bond(of chaintest.Person) bondv1.QueryNodeResponse {
	var res bondv1.QueryNodeResponse
	id := of.ID()
	d.ask("/hpips.bond.v1.Query/Node", &bondv1.QueryNodeRequest{Node: id[:]}, &res)
	return res
}

// beat makes two blocks: one of them carries a seed.
func (d *desk) beat() {
	d.block()
	d.block()
}

// earned is a desk on which bob was paid 360,000 uhpips, a quarter of which is his bond.
func earned(t *testing.T) (*desk, chaintest.Person, []byte) {
	t.Helper()
	d, bob := paidDesk(t)
	lease := d.open(t, bob, [32]byte{7}, 1_000_000, 0)
	if r := d.block(d.redeem(t, bob, lease, 400_200))[0]; r.Code != 0 {
		t.Fatal(r.Log)
	}
	for range 4 {
		d.block()
	}
	return d, bob, lease[:]
}

// Bob goes, with a lease that is still open. Fourteen development days after the lease is gone, and not a second earlier, his bond is back.
func TestBobsBondReturnsAfterHisLastLease(t *testing.T) {
	d, bob, lease := earned(t)
	circulating := d.supply().Circulating
	var account authtypes.QueryAccountInfoResponse
	d.ask("/cosmos.auth.v1beta1.Query/AccountInfo", &authtypes.QueryAccountInfoRequest{Address: bob.Address()}, &account)
	id := bob.ID()
	say := func(sequence uint64, m chaintest.Message) *abci.ExecTxResult {
		tx, err := chaintest.Sign(d.app.Codec(), bob, chaintest.Envelope{ChainID: testChain, Account: account.Info.AccountNumber, Sequence: sequence}, m)
		if err != nil {
			t.Fatal(err)
		}
		return d.block(tx)[0]
	}
	if r := say(0, &bondv1.MsgLeave{Owner: d.alice.Address(), Node: id[:]}); r.Code == 0 {
		t.Error("bob spoke for alice")
	}
	if r := say(0, &bondv1.MsgLeave{Owner: bob.Address(), Node: id[:]}); r.Code != 0 {
		t.Fatal(r.Log)
	}
	if b := d.bond(bob); b.Leaving == nil || b.Busy != "lease" || !b.Bonds[0].Counts.IsZero() || !b.Enough {
		t.Errorf("at his word %+v", b)
	}
	d.time = d.time.Add(time.Hour)
	due := d.bond(bob).Leaving.Due
	d.beat()
	if b := d.bond(bob); b.Leaving == nil || b.Leaving.Due < due+3600-14*60 {
		t.Errorf("an hour later, with a lease: %+v", b)
	}
	if r := d.block(d.signed(chaintest.Envelope{Sequence: 1}, &escrowv1.MsgClose{Party: d.alice.Address(), Leases: [][]byte{lease}}))[0]; r.Code != 0 {
		t.Fatal(r.Log)
	}
	for d.bond(bob).Busy != "" {
		d.block()
	}
	gone := d.time
	if b := d.bond(bob); b.Leaving.Due != gone.Unix()+14*60 {
		t.Errorf("the lease is gone at %d: %+v", gone.Unix(), b.Leaving)
	}
	paid := d.balance(bob.Address())
	d.time = gone.Add(14*time.Minute - 3*time.Second)
	d.beat()
	if b := d.bond(bob); b.Leaving == nil || d.balance(bob.Address()) != paid {
		t.Errorf("a second too early: %+v", b)
	}
	d.beat()
	if b := d.bond(bob); b.Leaving != nil || len(b.Bonds) != 0 || d.balance(bob.Address()) != paid+90_000 {
		t.Errorf("bob has %d, had %d; %+v", d.balance(bob.Address()), paid, b)
	}
	d.time = d.time.Add(time.Minute)
	d.beat()                                                                                    // a day's first block looks at all sums
	if s := d.supply(); s.Totals.Breach != "" || s.Circulating.LT(circulating.SubRaw(20_000)) { // bob and alice paid fees
		t.Errorf("%s circulates, before %s; breach %q", s.Circulating, circulating, s.Totals.Breach)
	}
}

// Bob signed two blocks. His bond is the fund's, in the same block, and he is barred.
func TestADoubleSignersBondIsForfeited(t *testing.T) {
	d, bob, _ := earned(t)
	fund := func() (n int64) {
		for _, pot := range d.supply().Pots {
			if pot.Name == supply.Fund {
				n = pot.Amount.Int64()
			}
		}
		return n
	}
	before, circulating := fund(), d.supply().Circulating
	d.guilty = []abci.Misbehavior{{Type: abci.MisbehaviorType_DUPLICATE_VOTE, Validator: abci.Validator{Address: bob.ConsensusAddress(), Power: 1}, Height: d.height, Time: d.time, TotalVotingPower: 1}}
	d.block()
	if got := fund(); got != before+90_000 {
		t.Errorf("the fund has %d more", got-before)
	}
	if b := d.bond(bob); len(b.Bonds) != 1 || !b.Bonds[0].Bond.Held.IsZero() || b.Bonds[0].Bond.Before.Int64() != 90_000 {
		t.Errorf("bob's bond is %+v", b)
	}
	if now := d.supply().Circulating; !now.Equal(circulating.SubRaw(90_000)) {
		t.Errorf("%s circulates, before %s", now, circulating)
	}
	id := bob.ID()
	var n registryv1.QueryNodeResponse
	d.ask("/hpips.registry.v1.Query/Node", &registryv1.QueryNodeRequest{Id: id[:]}, &n)
	if n.Node.Standing != registryv1.STANDING_BARRED {
		t.Errorf("bob's node is %s", n.Node.Standing)
	}
	d.time = d.time.Add(time.Minute)
	d.beat()
	if s := d.supply(); s.Totals.Breach != "" {
		t.Errorf("breach %q", s.Totals.Breach)
	}
	var totals bondv1.QueryTotalsResponse
	d.ask("/hpips.bond.v1.Query/Totals", &bondv1.QueryTotalsRequest{}, &totals)
	if len(totals.Totals) != 1 || totals.Totals[0].Slashed.Int64() != 90_000 || totals.Totals[0].Denom != bond.Denom {
		t.Errorf("totals %+v", totals)
	}
}
