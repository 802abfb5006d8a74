package chain_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	dbm "github.com/cosmos/cosmos-db"
	sdk "github.com/cosmos/cosmos-sdk/types"
	govv1 "github.com/cosmos/cosmos-sdk/x/gov/types/v1"
	upgradetypes "github.com/cosmos/cosmos-sdk/x/upgrade/types"

	"github.com/hpips/hpips/chain"
	"github.com/hpips/hpips/chain/chaintest"
)

// fails wants the next block to be one that the program cannot make, and says so.
func (d *desk) fails(what, says string) {
	d.t.Helper()
	if _, err := d.finalize(d.prepare()); err == nil || !strings.Contains(err.Error(), says) {
		d.t.Errorf("%s makes block %d: %v", what, d.height+1, err)
	}
}

// decides has both houses decide on an upgrade at a height.
func (d *desk) decides(due int64) {
	d.t.Helper()
	plan := upgradetypes.Plan{Name: "better", Height: due, Info: "SHA-256 of the release"}
	m, err := govv1.NewMsgSubmitProposal([]sdk.Msg{&upgradetypes.MsgSoftwareUpgrade{Authority: chain.Authority(), Plan: plan}}, chaintest.Coins(5_000_000), d.alice.Address(), "why", "better", "better", true)
	if err != nil {
		d.t.Fatal(err)
	}
	d.must(0, m)
	d.must(1, govv1.NewMsgVote(d.alice.Account(), 1, govv1.OptionYes, ""))
	for range 45 {
		d.block()
	}
	var planned upgradetypes.QueryCurrentPlanResponse
	d.ask("/cosmos.upgrade.v1beta1.Query/CurrentPlan", &upgradetypes.QueryCurrentPlanRequest{}, &planned)
	if planned.Plan == nil || planned.Plan.Height != due {
		d.t.Fatalf("planned is %v", planned.Plan)
	}
}

// Both houses decide on an upgrade. Until its height the program of before is the right one, and a later one refuses to run; from there on it is the other way round,
// however often either is started. What the new program changes is in the state of that block.
func TestAnUpgradeIsDoneAtItsHeight(t *testing.T) {
	const due = 60
	d := newDesk(t)
	d.block()
	d.home = t.TempDir()
	d.begin()
	d.decides(due)

	var changed []int64
	better := []chain.Upgrade{{Name: "better", Change: func(ctx context.Context) error {
		changed = append(changed, sdk.UnwrapSDKContext(ctx).BlockHeight())
		return nil
	}}}
	d.can = better
	d.begin()
	d.fails("a program that comes too early", "BINARY UPDATED BEFORE TRIGGER")
	d.can = nil
	d.begin()
	for d.height < due-1 {
		d.block()
	}
	before := d.hash()
	for range 2 {
		d.fails("the program of before", `UPGRADE "better" NEEDED at height: 60: SHA-256 of the release`)
		d.begin()
	}
	if note, err := os.ReadFile(filepath.Join(d.home, "data", upgradetypes.UpgradeInfoFilename)); err != nil || !strings.Contains(string(note), "better") {
		t.Errorf("its note: %s, %v", note, err)
	}
	if d.app.LastBlockHeight() != due-1 || string(d.hash()) != string(before) {
		t.Errorf("the program of before changed the state, at block %d", d.app.LastBlockHeight())
	}

	d.can = better
	d.begin()
	d.block()
	d.must(2, chaintest.Send(d.alice, chaintest.New("bob"), 5))
	d.begin()
	d.block()
	var done upgradetypes.QueryAppliedPlanResponse
	d.ask("/cosmos.upgrade.v1beta1.Query/AppliedPlan", &upgradetypes.QueryAppliedPlanRequest{Name: "better"}, &done)
	if slices.Compact(changed)[0] != due || len(slices.Compact(changed)) != 1 || done.Height != due {
		t.Errorf("changed in blocks %v, done at %d", changed, done.Height)
	}
	d.can = nil
	d.begin()
	d.fails("the program of before, afterwards", "upgrade handler is missing for better upgrade plan")
}

// The chain stands still before an upgrade is due, and people go on without those who left: its height has gone by. It is due in the first block.
func TestAnUpgradeOfTheGapIsDueAtOnce(t *testing.T) {
	d := newDesk(t)
	d.block()
	d.decides(500)
	s, err := d.app.Standstill()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := d.app.Restart(d.doc, s.Sitting, s.Time.Add(10*time.Minute).Truncate(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	begin := func(can []chain.Upgrade) *desk {
		next := &desk{t: t, doc: doc, alice: d.alice, height: doc.InitialHeight - 1, time: doc.GenesisTime.Add(-time.Second), calm: time.Hour, db: dbm.NewMemDB(), home: t.TempDir(), can: can}
		next.begin()
		params := doc.ConsensusParams.ToProto()
		if _, err := next.app.InitChain(&abci.RequestInitChain{
			ChainId: doc.ChainID, Time: doc.GenesisTime, ConsensusParams: &params, AppStateBytes: doc.AppState, InitialHeight: doc.InitialHeight,
		}); err != nil {
			t.Fatal(err)
		}
		return next
	}
	begin(nil).fails("the program of before", `UPGRADE "better" NEEDED at height: 500`)
	better := begin([]chain.Upgrade{{Name: "better"}})
	better.block()
	better.must(2, chaintest.Send(better.alice, chaintest.New("bob"), 5))
}
