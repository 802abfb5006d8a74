package chain_test

import (
	"bytes"
	"errors"
	"runtime"
	"testing"
	"time"

	"cosmossdk.io/log/v2"
	abci "github.com/cometbft/cometbft/abci/types"
	cmttypes "github.com/cometbft/cometbft/types"
	dbm "github.com/cosmos/cosmos-db"
	"github.com/cosmos/cosmos-sdk/types/msgservice"
	"github.com/cosmos/gogoproto/proto"

	"github.com/hpips/hpips/chain"
	"github.com/hpips/hpips/chain/chaintest"
	"github.com/hpips/hpips/chain/committee"
	committeev1 "github.com/hpips/hpips/proto/gen/committeev1"
	supplyv1 "github.com/hpips/hpips/proto/gen/supplyv1"
	"github.com/hpips/hpips/spec/sortition"
)

// desk drives an application as the engine would, with alice in the only seat.
type desk struct {
	t      testing.TB
	app    *chain.App
	doc    *cmttypes.GenesisDoc
	alice  chaintest.Person
	height int64
	time   time.Time
	calm   time.Duration
	db     dbm.DB
	guilty []abci.Misbehavior // evidence in the next block
	retain uint64             // blocks that are kept; 0: all
	mayGo  int64              // after the last block the engine may forget those before this one; 0: none
	home   string             // where an upgrade leaves its note
	can    []chain.Upgrade    // what the program can do
}

func newDesk(t testing.TB) *desk {
	t.Helper()
	g := genesis(t, "alice")
	g.Tune = func(p *committeev1.Params) { p.HeartbeatSeconds = 2 }
	doc, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	return deskOn(t, doc)
}

func deskOn(t testing.TB, doc *cmttypes.GenesisDoc) *desk {
	t.Helper()
	return deskOf(t, doc, chaintest.New("alice"))
}

// deskOf has somebody's seat that makes the blocks.
func deskOf(t testing.TB, doc *cmttypes.GenesisDoc, who chaintest.Person) *desk {
	t.Helper()
	d := &desk{t: t, doc: doc, alice: who, height: doc.InitialHeight - 1, time: doc.GenesisTime, calm: time.Hour, db: dbm.NewMemDB()}
	d.begin()
	params := doc.ConsensusParams.ToProto()
	if _, err := d.app.InitChain(&abci.RequestInitChain{
		ChainId: doc.ChainID, Time: doc.GenesisTime, ConsensusParams: &params, AppStateBytes: doc.AppState, InitialHeight: doc.InitialHeight,
	}); err != nil {
		t.Fatal(err)
	}
	return d
}

// begin starts the application on what there is, as a process does.
func (d *desk) begin() {
	d.t.Helper()
	var err error
	d.app, err = chain.New(chain.Options{
		ChainID: d.doc.ChainID, DB: d.db, Log: log.NewNopLogger(), VRF: d.alice.VRF, Calm: func() time.Duration { return d.calm }, Retain: d.retain,
		Home: d.home, Upgrades: d.can,
	})
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) prepare(txs ...[]byte) [][]byte {
	d.t.Helper()
	res, err := d.app.PrepareProposal(&abci.RequestPrepareProposal{
		Height: d.height + 1, Time: d.time.Add(time.Second), Txs: txs, MaxTxBytes: 1 << 20, ProposerAddress: d.alice.ConsensusAddress(), Misbehavior: d.guilty,
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return res.Txs
}

func (d *desk) accepts(txs [][]byte) bool {
	d.t.Helper()
	res, err := d.app.ProcessProposal(&abci.RequestProcessProposal{
		Height: d.height + 1, Time: d.time.Add(time.Second), Txs: txs, ProposerAddress: d.alice.ConsensusAddress(), Misbehavior: d.guilty,
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return res.Status == abci.ResponseProcessProposal_ACCEPT
}

func (d *desk) finalize(txs [][]byte) (*abci.ResponseFinalizeBlock, error) {
	return d.app.FinalizeBlock(&abci.RequestFinalizeBlock{
		Height: d.height + 1, Time: d.time.Add(time.Second), Txs: txs, ProposerAddress: d.alice.ConsensusAddress(),
		DecidedLastCommit: abci.CommitInfo{}, Misbehavior: d.guilty,
	})
}

// block makes a whole block of these transactions and gives the result of each.
func (d *desk) block(txs ...[]byte) []*abci.ExecTxResult {
	d.t.Helper()
	all := d.prepare(txs...)
	if !d.accepts(all) {
		d.t.Fatalf("block %d: the proposer's own node refuses it", d.height+1)
	}
	res, err := d.finalize(all)
	if err != nil {
		d.t.Fatal(err)
	}
	done, err := d.app.Commit()
	if err != nil {
		d.t.Fatal(err)
	}
	d.mayGo = done.RetainHeight
	d.height++
	d.time, d.guilty = d.time.Add(time.Second), nil
	return res.TxResults[len(all)-len(txs):]
}

func (d *desk) hash() []byte { return d.app.LastCommitID().Hash }

func (d *desk) ask(path string, question, answer proto.Message) {
	d.t.Helper()
	data, err := proto.Marshal(question)
	if err != nil {
		d.t.Fatal(err)
	}
	res, err := d.app.Query(d.t.Context(), &abci.RequestQuery{Path: path, Data: data})
	if err != nil || res.Code != 0 {
		d.t.Fatalf("%s: %v %s", path, err, res.GetLog())
	}
	if err := proto.Unmarshal(res.Value, answer); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) committee() committeev1.QueryCommitteeResponse {
	var res committeev1.QueryCommitteeResponse
	d.ask("/hpips.committee.v1.Query/Committee", &committeev1.QueryCommitteeRequest{}, &res)
	return res
}

// signed is a transaction of alice's.
func (d *desk) signed(e chaintest.Envelope, messages ...chaintest.Message) []byte {
	d.t.Helper()
	if e.ChainID == "" {
		e.ChainID = testChain
	}
	e.Account = aliceAccount
	tx, err := chaintest.Sign(d.app.Codec(), d.alice, e, messages...)
	if err != nil {
		d.t.Fatal(err)
	}
	return tx
}

const aliceAccount = 14 // the modules' own come first

func TestAliceSendsAndQuietBlocksChangeNothing(t *testing.T) {
	d := newDesk(t)
	d.block()
	bob := chaintest.New("bob")
	if r := d.block(d.signed(chaintest.Envelope{}, chaintest.Send(d.alice, bob, 5)))[0]; r.Code != 0 {
		t.Fatal(r.Log)
	}
	before := d.hash()
	if txs := d.prepare(); len(txs) != 0 {
		t.Fatalf("a proof block carries %d transactions", len(txs))
	}
	d.block()
	if !bytes.Equal(before, d.hash()) {
		t.Error("a block without a seed changed the state")
	}
	if txs := d.prepare(); len(txs) != 1 {
		t.Fatalf("a heartbeat carries %d transactions, want its seed", len(txs))
	}
	d.block()
	if bytes.Equal(before, d.hash()) {
		t.Error("a heartbeat changed nothing")
	}
	var supply supplyv1.QuerySupplyResponse
	d.ask("/hpips.supply.v1.Query/Supply", &supplyv1.QuerySupplyRequest{}, &supply)
	if supply.Total.String() != "100000000000000" || supply.Circulating.String() != "1000000000" {
		t.Errorf("supply %s, circulating %s", supply.Total, supply.Circulating)
	}
}

func TestFeesGoToTheFund(t *testing.T) {
	d := newDesk(t)
	d.block()
	pay := chaintest.Coins(7)
	if r := d.block(d.signed(chaintest.Envelope{Fee: pay}, chaintest.Send(d.alice, chaintest.New("bob"), 5)))[0]; r.Code != 0 {
		t.Fatal(r.Log)
	}
	var supply supplyv1.QuerySupplyResponse
	d.ask("/hpips.supply.v1.Query/Supply", &supplyv1.QuerySupplyRequest{}, &supply)
	for _, pot := range supply.Pots {
		if pot.Name == "fund" && pot.Amount.String() != "50000000000007" {
			t.Errorf("fund holds %s", pot.Amount)
		}
	}
}

func TestAStepDownNeedsNoAccount(t *testing.T) {
	d := newDesk(t)
	d.block()
	message := d.stepDown(1)
	tx, err := chain.FreeTx(d.app.Codec(), message)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, false} { // good once
		res, err := d.app.CheckTx(&abci.RequestCheckTx{Tx: tx, Type: abci.CheckTxType_New})
		if err != nil || (res.Code == 0) != want {
			t.Fatalf("copy %d: %v %+v", i+1, err, res)
		}
	}
	if r := d.block(tx)[0]; r.Code != 0 {
		t.Fatal(r.Log)
	}
	if seats := d.committee().Seats; len(seats) != 1 || !seats[0].Leaving {
		t.Errorf("seats %+v, want alice's, leaving", seats)
	}
	if r := d.block(tx)[0]; r.Codespace != committee.Name {
		t.Errorf("the second time: %s %d", r.Codespace, r.Code)
	}
}

func (d *desk) stepDown(epoch uint64) *committeev1.MsgStepDown {
	d.t.Helper()
	signature, err := sortition.Resignation{Chain: testChain, Node: d.alice.ID(), Epoch: epoch}.Sign(d.alice.Node)
	if err != nil {
		d.t.Fatal(err)
	}
	id := d.alice.ID()
	return &committeev1.MsgStepDown{Sender: chaintest.Sender(d.alice), Node: id[:], Epoch: epoch, Signature: signature}
}

func TestMessagesCarryTheirAnnotations(t *testing.T) {
	if _, err := chain.Encoding(); err != nil {
		t.Fatal(err)
	}
	files, err := proto.MergedRegistry()
	if err != nil {
		t.Fatal(err)
	}
	if err := msgservice.ValidateProtoAnnotations(files); err != nil {
		t.Fatal(err)
	}
}

// Old states are removed while blocks are made. Those that are left, and only those, can be asked for, also in the next life, which goes on.
func TestOldStatesGoAway(t *testing.T) {
	d := newDesk(t)
	for d.height < 40 {
		d.block()
	}
	if h := d.app.Oldest(); h != 1 {
		t.Errorf("the oldest state is that of block %d", h)
	}
	pruned := make(chan error, 1)
	go func() {
		var err error
		for _, to := range []int64{10, 20, 30, 34, 34, 5} { // the last two have nothing to do
			err = errors.Join(err, d.app.Prune(to))
		}
		pruned <- err
	}()
	for d.height < 50 {
		d.block()
	}
	if err := <-pruned; err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for height, want := range map[int64]bool{1: false, 34: false, 35: true, 50: true} {
			if _, err := d.app.CommitMultiStore().CacheMultiStoreWithVersion(height); (err == nil) != want {
				t.Errorf("the state of block %d of %d: %v", height, d.height, err)
			}
		}
		if h := d.app.Oldest(); h != 35 {
			t.Errorf("the oldest state is that of block %d", h)
		}
		d.block()
		d.begin()
	}
	if err := d.app.Prune(d.height); err == nil {
		t.Error("the last state is removed")
	}
	stacks := make([]byte, 1<<20)
	if stacks = stacks[:runtime.Stack(stacks, true)]; bytes.Contains(stacks, []byte("iavl")) {
		t.Errorf("a store has a goroutine of its own, which wakes an idle PC:\n%s", stacks)
	}
}

// A node that keeps so many blocks lets the engine forget what is older, but none of those by which a double signature is proven. An archive forgets none.
func TestOldBlocksMayGo(t *testing.T) {
	doc, err := genesis(t, "alice").Build()
	if err != nil {
		t.Fatal(err)
	}
	doc.InitialHeight = 5_000_000
	d := deskOn(t, doc)
	d.block()
	for keep, stay := range map[uint64]int64{0: 0, 14 * 86_400: 1_300_000, 2_000_000: 2_000_000} {
		d.retain = keep
		d.begin()
		d.block()
		want := d.height - stay
		if stay == 0 {
			want = 0
		}
		if d.mayGo != want {
			t.Errorf("to keep %d blocks those before %d may go after block %d, want %d", keep, d.mayGo, d.height, want)
		}
	}
}
