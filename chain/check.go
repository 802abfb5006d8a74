package chain

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"cosmossdk.io/log/v2"
	"cosmossdk.io/math"
	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/crypto/ed25519"
	cmtjson "github.com/cometbft/cometbft/libs/json"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	cmttypes "github.com/cometbft/cometbft/types"
	dbm "github.com/cosmos/cosmos-db"
	sdk "github.com/cosmos/cosmos-sdk/types"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	"github.com/cosmos/gogoproto/proto"

	"github.com/hpips/hpips/chain/audit"
	"github.com/hpips/hpips/chain/bond"
	"github.com/hpips/hpips/chain/committee"
	"github.com/hpips/hpips/chain/supply"
	committeev1 "github.com/hpips/hpips/proto/gen/committeev1"
	supplyv1 "github.com/hpips/hpips/proto/gen/supplyv1"
)

// FreeAtStart is what a genesis may move out of investors, all that a public one may move: 3.4 M HPIPS, in uhpips.
const FreeAtStart = 3_400_000_000_000

// Summary is what a genesis comes to. Amounts are in uhpips.
type Summary struct {
	Network, ChainID string
	Hash             string // SHA-256 of the file, as GenesisBytes writes it
	Total            string
	Accounts         []Account // the five, as allocated
	Moves            []supplyv1.Move
	Seats            int
	Guardians        int
	Day              time.Duration
}

// Account is one of the five.
type Account struct{ Name, Address, Amount string }

// GenesisBytes writes a genesis the one way whose hash people compare.
func GenesisBytes(doc *cmttypes.GenesisDoc) ([]byte, error) {
	text, err := cmtjson.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("genesis: %w", err)
	}
	return text, nil
}

// CheckGenesis starts a chain from a genesis, in memory, and looks whether everything adds up. It names the first thing that does not.
//
//  1. The engine's limits are ours at the beginning, and the state holds our modules' parts and no others.
//  2. Every module takes its part, and there are seats.
//  3. All HPIPS are there: in the five accounts, less the moves, and where the moves went. Other assets are admitted ones. A genesis that goes on
//     from an earlier chain has all that was not burned, and its leases and bonds come to what escrow and bond say.
//  4. What the kind of network promises: the public parameters, guardians in just over a third of the places or none, and no money moved but
//     the investors' free part.
func CheckGenesis(doc *cmttypes.GenesisDoc) (Summary, error) {
	s, err := checkGenesis(doc)
	if err != nil {
		return Summary{}, fmt.Errorf("genesis: %w", err)
	}
	return s, nil
}

// refused makes an error of a panic: the engine's and the SDK's code, and sums of more than 256 bits, have no other way to say what is wrong with a genesis.
func refused(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%v", r)
	}
}

func checkGenesis(doc *cmttypes.GenesisDoc) (s Summary, err error) {
	defer refused(&err)
	state, network, err := outline(doc)
	if err != nil {
		return Summary{}, err
	}
	a, ctx, seats, err := trial(doc, state)
	if err != nil {
		return Summary{}, err
	}
	var supplied supplyv1.QuerySupplyResponse
	if err := a.ask(ctx, "/hpips.supply.v1.Query/Supply", &supplyv1.QuerySupplyRequest{}, &supplied); err != nil {
		return Summary{}, err
	}
	moved := supplied.Moves
	if err := a.adds(ctx, doc.InitialHeight > 1, moved); err != nil {
		return Summary{}, err
	}
	if err := errors.Join(a.keepers.escrow.Recount(ctx), a.keepers.bond.Recount(ctx)); err != nil {
		return Summary{}, err
	}
	s = Summary{Network: network, ChainID: doc.ChainID, Total: supply.Total().String(), Moves: moved, Seats: seats}
	params, err := a.keepers.committee.Params(ctx)
	if err != nil {
		return Summary{}, err
	}
	s.Day = time.Duration(params.DaySeconds) * time.Second
	if s.Guardians, err = a.promises(ctx, network, doc.InitialHeight > 1, moved); err != nil {
		return Summary{}, err
	}
	text, err := GenesisBytes(doc)
	if err != nil {
		return Summary{}, err
	}
	sum := sha256.Sum256(text)
	s.Hash = hex.EncodeToString(sum[:])
	for _, pot := range supply.Allocations() {
		s.Accounts = append(s.Accounts, Account{pot.Name, bech32(authtypes.NewModuleAddress(pot.Name)), pot.Amount.String()})
	}
	return s, nil
}

// outline is step 1.
func outline(doc *cmttypes.GenesisDoc) (map[string]json.RawMessage, string, error) {
	if doc == nil {
		return nil, "", errors.New("there is none")
	}
	if err := doc.ValidateAndComplete(); err != nil {
		return nil, "", err
	}
	want, have := limits().ToProto(), doc.ConsensusParams.ToProto()
	if doc.InitialHeight <= 1 && !want.Equal(&have) { // later they are what a vote made of them
		return nil, "", fmt.Errorf("consensus parameters are %v, want %v", have, want)
	}
	if len(doc.Validators) > 0 {
		return nil, "", errors.New("validators are named outside the committee")
	}
	var state map[string]json.RawMessage
	if err := json.Unmarshal(doc.AppState, &state); err != nil {
		return nil, "", fmt.Errorf("application state: %w", err)
	}
	var network string
	if err := json.Unmarshal(state[networkKey], &network); err != nil {
		return nil, "", fmt.Errorf("kind of network: %w", err)
	}
	if _, err := networkParams(network); err != nil {
		return nil, "", err
	}
	for _, name := range sorted(state) {
		if name != networkKey && !slices.Contains(moduleNames(), name) {
			return nil, "", fmt.Errorf("state of %.40q, which is no module of this chain", name)
		}
	}
	return state, network, nil
}

// trial is step 2.
func trial(doc *cmttypes.GenesisDoc, state map[string]json.RawMessage) (a *App, ctx sdk.Context, seats int, err error) {
	defer refused(&err)
	if a, err = New(Options{ChainID: doc.ChainID, DB: dbm.NewMemDB(), Log: log.NewNopLogger()}); err != nil {
		return nil, ctx, 0, err
	}
	head := cmtproto.Header{ChainID: doc.ChainID, Time: doc.GenesisTime, Height: doc.InitialHeight - 1}
	ctx = sdk.NewContext(a.CommitMultiStore(), head, false, a.Logger())
	params := doc.ConsensusParams.ToProto()
	if err := a.StoreConsensusParams(ctx, params); err != nil {
		return nil, ctx, 0, err
	}
	for _, name := range []string{committee.Name, supply.Name, authtypes.ModuleName} {
		if state[name] == nil {
			return nil, ctx, 0, fmt.Errorf("no state of %s", name)
		}
	}
	res, err := a.initChain(ctx, &abci.RequestInitChain{AppStateBytes: doc.AppState, ChainId: doc.ChainID, Time: doc.GenesisTime})
	if err != nil {
		return nil, ctx, 0, err
	}
	return a, ctx, len(res.Validators), nil
}

// adds is step 3.
func (a *App) adds(ctx sdk.Context, goesOn bool, moves []supplyv1.Move) error {
	want, total := map[string]math.Int{}, math.ZeroInt() // looked up only
	for _, pot := range supply.Allocations() {
		want[bech32(authtypes.NewModuleAddress(pot.Name))] = pot.Amount
	}
	for _, m := range moves {
		from := bech32(authtypes.NewModuleAddress(m.From))
		if _, found := want[from]; !found || m.Amount.IsNil() || !m.Amount.IsPositive() {
			return fmt.Errorf("move %.40q from %.40q: impossible", m.Label, m.From)
		}
		if _, found := want[m.To]; !found {
			want[m.To] = math.ZeroInt()
		}
		want[from], want[m.To] = want[from].Sub(m.Amount), want[m.To].Add(m.Amount)
	}
	var wrong error
	holders := 0
	a.keepers.bank.IterateAllBalances(ctx, func(who sdk.AccAddress, coin sdk.Coin) bool {
		expected, known := want[bech32(who)]
		if coin.Denom != Base {
			admitted, err := a.keepers.exchange.Admitted(ctx, coin.Denom)
			if wrong = err; err == nil && !admitted {
				wrong = fmt.Errorf("%s holds %s: this chain knows %s and admitted assets only", bech32(who), coin, Base)
			}
			return wrong != nil
		}
		switch {
		case !goesOn && (!known || !expected.Equal(coin.Amount)):
			wrong = fmt.Errorf("%s holds %s, which the allocation and the moves do not explain", bech32(who), coin)
		}
		total = total.Add(coin.Amount)
		holders++
		return wrong != nil
	})
	if wrong != nil {
		return wrong
	}
	totals, err := a.keepers.supply.Totals(ctx)
	if err != nil {
		return err
	}
	if !goesOn && !totals.Burned.IsZero() {
		return fmt.Errorf("%s%s burned before the first block", totals.Burned, Base)
	}
	if sum := total.Add(totals.Burned); !sum.Equal(supply.Total()) {
		return fmt.Errorf("%s%s are there, with %s burned, want %s", total, Base, totals.Burned, supply.Total())
	}
	if have := a.keepers.bank.GetSupply(ctx, Base); !have.Amount.Equal(total) {
		return fmt.Errorf("supply is said to be %s, balances come to %s", have, total)
	}
	broken, err := a.keepers.supply.Broken(ctx)
	if err != nil || broken == "" || goesOn {
		return err
	}
	return errors.New(broken)
}

// promises is step 4.
func (a *App) promises(ctx sdk.Context, network string, goesOn bool, moves []supplyv1.Move) (guardians int, err error) {
	gov, err := a.keepers.gov.Params.Get(ctx)
	if err != nil {
		return 0, fmt.Errorf("x/gov: %w", err)
	}
	ratio, err := math.LegacyNewDecFromStr(gov.ProposalCancelRatio)
	if err != nil || !ratio.IsZero() || gov.BurnVoteQuorum || gov.BurnVoteVeto || gov.BurnProposalDepositPrevote {
		return 0, errors.New("x/gov would burn deposits")
	}
	seats, err := a.seats(ctx)
	if err != nil {
		return 0, err
	}
	for _, s := range seats {
		if s.Guardian {
			guardians++
		}
	}
	if network != Public {
		if guardians > 0 {
			return 0, fmt.Errorf("a %s network has no guardians", network)
		}
		return 0, nil
	}
	if goesOn {
		return guardians, nil
	}
	return guardians, a.publicly(ctx, len(seats), guardians, moves)
}

// publicly is step 4 for a new public chain.
func (a *App) publicly(ctx sdk.Context, seats, guardians int, moves []supplyv1.Move) error {
	if want := seats/3 + 1; guardians != 0 && guardians != want {
		return fmt.Errorf("%d of %d seats are guardians, want %d or none: just over a third can stop the chain, and not decide alone", guardians, seats, want)
	}
	params, err := a.keepers.committee.Params(ctx)
	if err != nil {
		return err
	}
	if want := committee.Public(); !proto.Equal(&params, &want) {
		return errors.New("parameters of the committee are not the public ones")
	}
	bonds, err := a.keepers.bond.Params(ctx)
	if err != nil {
		return err
	}
	if want := bond.Public(); !proto.Equal(&bonds, &want) {
		return errors.New("parameters of bonds are not the public ones")
	}
	juries, err := a.keepers.audit.Params(ctx)
	if err != nil {
		return err
	}
	if want := audit.Public(); !proto.Equal(&juries, &want) {
		return errors.New("parameters of audits are not the public ones")
	}
	moved := math.ZeroInt()
	for _, m := range moves {
		if m.From != supply.Investors {
			return fmt.Errorf("move %.40q from %s: a public chain moves only the investors' free part", m.Label, m.From)
		}
		moved = moved.Add(m.Amount)
	}
	if moved.GT(math.NewInt(FreeAtStart)) {
		return fmt.Errorf("%s%s moved out of investors, at most %d", moved, Base, int64(FreeAtStart))
	}
	return nil
}

func (a *App) seats(ctx sdk.Context) ([]committeev1.Seat, error) {
	var res committeev1.QueryCommitteeResponse
	err := a.ask(ctx, "/hpips.committee.v1.Query/Committee", &committeev1.QueryCommitteeRequest{}, &res)
	return res.Seats, err
}

// ask puts a question to a module as a client would, about any state.
func (a *App) ask(ctx sdk.Context, path string, question, answer proto.Message) error {
	text, err := proto.Marshal(question)
	if err != nil {
		return fmt.Errorf("ask %s: %w", path, err)
	}
	res, err := a.GRPCQueryRouter().Route(path)(ctx, &abci.RequestQuery{Data: text, Path: path})
	if err != nil {
		return fmt.Errorf("ask %s: %w", path, err)
	}
	return proto.Unmarshal(res.Value, answer)
}

// Alone tells whether the key with this consensus address is the only one that signs: as the last state says, or before there is one, the
// genesis.
func (a *App) Alone(doc *cmttypes.GenesisDoc, address []byte) (bool, error) {
	of, ctx, err := a.newest(doc)
	if err != nil {
		return false, err
	}
	seats, err := of.seats(ctx)
	if err != nil || len(seats) != 1 {
		return false, err
	}
	return string(ed25519.PubKey(seats[0].ConsensusKey).Address()) == string(address), nil
}

// Pace tells how fast the chain goes by itself: as its last state says, or before there is one, its genesis.
func (a *App) Pace(doc *cmttypes.GenesisDoc) (Pace, error) {
	of, ctx, err := a.newest(doc)
	if err != nil {
		return Pace{}, err
	}
	p, err := of.keepers.committee.Params(ctx)
	return pace(p), err
}

// newest is the last state and the application to ask about it: the chain's own, or before its first block one that was tried on the genesis.
func (a *App) newest(doc *cmttypes.GenesisDoc) (*App, sdk.Context, error) {
	if a.LastBlockHeight() > 0 {
		ctx, err := a.state()
		if err != nil {
			return nil, ctx, fmt.Errorf("chain state: %w", err)
		}
		return a, ctx, nil
	}
	state, _, err := outline(doc)
	if err != nil {
		return nil, sdk.Context{}, fmt.Errorf("genesis: %w", err)
	}
	t, ctx, _, err := trial(doc, state)
	if err != nil {
		return nil, ctx, fmt.Errorf("genesis: %w", err)
	}
	return t, ctx, nil
}
