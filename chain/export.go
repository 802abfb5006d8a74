package chain

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	upgradetypes "github.com/cosmos/cosmos-sdk/x/upgrade/types"

	cmttypes "github.com/cometbft/cometbft/types"

	"github.com/hpips/hpips/spec/sortition"
)

// Standstill is where a chain stands, and who may say how it goes on.
type Standstill struct {
	ChainID string
	Height  int64 // of the last block
	AppHash []byte
	Time    time.Time     // of the last block with a seed
	Day     time.Duration // that must pass before the chain goes on by hand
	Sitting []sortition.Key
	Voters  []sortition.Key // of the last three committees, still taking part; rising
}

// Earliest is when the first block after a restart may be made, in whole seconds.
func (s Standstill) Earliest() time.Time {
	return s.Time.Add(s.Day).Truncate(time.Second).Add(time.Second)
}

// Standstill reads the last state.
func (a *App) Standstill() (Standstill, error) {
	s := Standstill{ChainID: a.options.ChainID, Height: a.LastBlockHeight(), AppHash: a.LastCommitID().Hash}
	fail := func(err error) (Standstill, error) { return s, fmt.Errorf("state of the halted chain: %w", err) }
	if s.Height == 0 {
		return fail(fmt.Errorf("there is no block yet"))
	}
	ctx, err := a.state()
	if err != nil {
		return fail(err)
	}
	b, err := a.keepers.committee.Beacon(ctx)
	if err != nil {
		return fail(err)
	}
	params, err := a.keepers.committee.Params(ctx)
	if err != nil {
		return fail(err)
	}
	s.Time, s.Day = b.Time, time.Duration(params.DaySeconds)*time.Second
	if s.Voters, err = a.keepers.committee.RestartVoters(ctx); err != nil {
		return fail(err)
	}
	seats, err := a.seats(ctx)
	for _, seat := range seats {
		s.Sitting = append(s.Sitting, sortition.Key(seat.Node))
	}
	if err != nil {
		return fail(err)
	}
	return s, nil
}

// Restart writes the last state as the genesis of a chain that goes on after a gap of heights, at a time of whole seconds, with these nodes in
// its seats and nobody else. before is the genesis that the chain came from. The same state gives the same bytes on every computer.
//
//  1. The seats change, in a copy of the state.
//  2. What runs out until then goes, as the first block would make it go: modules refuse a genesis with it.
//  3. Each module exports; what the SDK's upgrade module leaves out is added.
//  4. The whole is checked as a genesis.
func (a *App) Restart(before *cmttypes.GenesisDoc, seats []sortition.Key, at time.Time) (*cmttypes.GenesisDoc, error) {
	doc, err := a.restart(before, seats, at.UTC().Truncate(time.Second))
	if err != nil {
		return nil, fmt.Errorf("export for a restart: %w", err)
	}
	return doc, nil
}

func (a *App) restart(before *cmttypes.GenesisDoc, seats []sortition.Key, at time.Time) (*cmttypes.GenesisDoc, error) {
	_, network, err := outline(before)
	if err != nil {
		return nil, err
	}
	ctx, err := a.state()
	if err != nil {
		return nil, err
	}
	later := ctx.WithBlockTime(at).WithGasMeter(storetypes.NewInfiniteGasMeter())
	sat, err := a.seats(ctx)
	if err != nil {
		return nil, err
	}
	for _, seat := range sat { // those who do not sit again have left their seats by then
		if err := a.keepers.bond.Touch(later, sortition.Key(seat.Node)); err != nil {
			return nil, err
		}
	}
	if err := a.keepers.committee.Restart(ctx, seats); err != nil { // 1
		return nil, err
	}
	if err := a.keepers.authz.DequeueAndDeleteExpiredGrants(later, math.MaxInt32); err != nil { // 2
		return nil, err
	}
	if err := a.keepers.feegrant.RemoveExpiredAllowances(later, math.MaxInt32); err != nil {
		return nil, err
	}
	state, err := a.export(ctx) // 3
	if err != nil {
		return nil, err
	}
	if state[networkKey], err = json.Marshal(network); err != nil {
		return nil, err
	}
	text, err := json.Marshal(state)
	if err != nil {
		return nil, err
	}
	params := limits()
	if have, want := a.GetConsensusParams(ctx), params.ToProto(); have.Block != nil && have.Evidence != nil && have.Validator != nil && !want.Equal(&have) {
		have.Version, have.Abci, have.Authority = want.Version, want.Abci, want.Authority
		voted := cmttypes.ConsensusParamsFromProto(have)
		params = &voted
	}
	doc := &cmttypes.GenesisDoc{
		GenesisTime: at, ChainID: a.options.ChainID, InitialHeight: a.LastBlockHeight() + sortition.RestartGap, ConsensusParams: params, AppState: text,
	}
	if _, err := CheckGenesis(doc); err != nil { // 4
		return nil, err
	}
	return doc, nil
}

// export asks one module after the other: all read the same copy of the state.
func (a *App) export(ctx sdk.Context) (map[string]json.RawMessage, error) {
	all := map[string]json.RawMessage{}
	for _, name := range moduleNames() {
		part, err := a.modules.ExportGenesisForModules(ctx, a.codec, []string{name})
		if err != nil {
			return nil, err
		}
		if text := part[name]; len(text) > 0 && string(text) != "null" {
			all[name] = text
		}
	}
	var err error
	all[upgradetypes.ModuleName], err = a.exportUpgrades(ctx)
	return all, err
}

// upgrades is what the SDK's upgrade module keeps and does not export: what is planned and what was done, as it lies in its store.
type upgrades struct {
	Kept []pair `json:"kept"`
}

type pair struct {
	Key   []byte `json:"key"`
	Value []byte `json:"value"`
}

// upgradeBytes begin the keys of what is carried over. The versions of modules are set by every genesis.
var upgradeBytes = []byte{upgradetypes.PlanByte, upgradetypes.DoneByte}

func (a *App) exportUpgrades(ctx sdk.Context) (json.RawMessage, error) {
	store := a.keepers.upgrades.OpenKVStore(ctx)
	kept := upgrades{Kept: []pair{}}
	for _, b := range upgradeBytes {
		rows, err := store.Iterator([]byte{b}, []byte{b + 1})
		if err != nil {
			return nil, err
		}
		for ; rows.Valid(); rows.Next() {
			kept.Kept = append(kept.Kept, pair{rows.Key(), rows.Value()})
		}
		if err := rows.Close(); err != nil {
			return nil, err
		}
	}
	return json.Marshal(kept)
}

// importUpgrades takes over what exportUpgrades wrote. A plan whose height fell into the gap is due in the first block.
func (a *App) importUpgrades(ctx sdk.Context, text json.RawMessage) error {
	var kept upgrades
	if len(text) == 0 {
		return nil
	}
	if err := json.Unmarshal(text, &kept); err != nil {
		return fmt.Errorf("genesis of %s: %w", upgradetypes.ModuleName, err)
	}
	store := a.keepers.upgrades.OpenKVStore(ctx)
	for _, p := range kept.Kept {
		planned := len(p.Key) == 1 && p.Key[0] == upgradetypes.PlanByte
		done := len(p.Key) > 9 && p.Key[0] == upgradetypes.DoneByte
		if !planned && !done || len(p.Value) == 0 {
			return fmt.Errorf("genesis of %s: impossible key %.80x", upgradetypes.ModuleName, p.Key)
		}
		if planned {
			var plan upgradetypes.Plan
			if err := a.codec.Unmarshal(p.Value, &plan); err != nil || plan.ValidateBasic() != nil {
				return fmt.Errorf("genesis of %s: impossible plan", upgradetypes.ModuleName)
			}
		}
		if err := store.Set(p.Key, p.Value); err != nil {
			return err
		}
	}
	return nil
}
