package reward

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"cosmossdk.io/core/genesis"
	"cosmossdk.io/log/v2"
	"cosmossdk.io/math"

	"github.com/cosmos/cosmos-sdk/codec"
	"github.com/cosmos/cosmos-sdk/codec/address"
	"github.com/cosmos/cosmos-sdk/codec/types"
	"github.com/cosmos/cosmos-sdk/runtime"
	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	"github.com/cosmos/cosmos-sdk/testutil"
	sdk "github.com/cosmos/cosmos-sdk/types"
	authkeeper "github.com/cosmos/cosmos-sdk/x/auth/keeper"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	bankkeeper "github.com/cosmos/cosmos-sdk/x/bank/keeper"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"

	"github.com/hpips/hpips/proto/gen/rewardv1"
	"github.com/hpips/hpips/spec/sortition"
)

const (
	authority = "hpips1vote"
	junk      = "ujunk"
	escrow    = "escrow"
	bond      = "bond"
)

// daySeconds is how long a day lasts here.
const daySeconds = 1000

var (
	began  = time.Unix(1_800_000_000, 0).UTC()
	bech32 = address.NewBech32Codec("hpips")
	pots   = []string{escrow, LevyAccount, StreamAccount, fundAccount, bond}
)

func at(name string) sdk.AccAddress { return authtypes.NewModuleAddress("person/" + name) }

func text(name string) string {
	s, err := bech32.BytesToString(at(name))
	if err != nil {
		panic(err)
	}
	return s
}

func nodeOf(name string) sortition.Key {
	var key sortition.Key
	copy(key[:], at("node/"+name))
	return key
}

// town is a reward over a real bank, with honest fakes of what lives beside it: a supply in which nothing is reserved, days of a thousand
// seconds, people who own the nodes named like them, an exchange that remembers what it was to sell, and a bond that lacks nothing. test/money has the real supply.
type town struct {
	t      testing.TB
	ctx    sdk.Context
	bank   bankkeeper.BaseKeeper
	keeper Keeper
	msgs   msgs
	ask    queries
	owners map[sortition.Key]string
	breach string
	sold   sdk.Coins
	refuse error // what the exchange says
	holds  int64 // what the bond still takes, at most a quarter of a pay
	full   error // what the bond says
}

func (s *town) Holding(ctx context.Context, who sdk.AccAddress) math.Int {
	if s.Pooled(who) {
		return math.ZeroInt()
	}
	return s.bank.GetBalance(ctx, who, denom).Amount
}

func (s *town) Circulating(ctx context.Context) math.Int {
	sum := s.bank.GetSupply(ctx, denom).Amount
	for _, pot := range pots {
		sum = sum.Sub(s.bank.GetBalance(ctx, authtypes.NewModuleAddress(pot), denom).Amount)
	}
	return sum
}

func (s *town) Pooled(who sdk.AccAddress) bool {
	for _, pot := range pots {
		if who.Equals(authtypes.NewModuleAddress(pot)) {
			return true
		}
	}
	return false
}

func (s *town) Broken(context.Context) (string, error) { return s.breach, nil }

func (s *town) Day(ctx context.Context) uint64 {
	return uint64(sdk.UnwrapSDKContext(ctx).BlockTime().Unix()-began.Unix()) / daySeconds
}

func (s *town) DayEnd(ctx context.Context) (int64, error) {
	return began.Unix() + int64(s.Day(ctx)+1)*daySeconds, nil
}

func (s *town) Owner(_ context.Context, node sortition.Key) (string, error) {
	return s.owners[node], nil
}

func (s *town) Sell(_ context.Context, asset string, amount math.Int) error {
	s.sold = s.sold.Add(sdk.NewCoin(asset, amount))
	return s.refuse
}

// Hold keeps a quarter of a pay while the bond lacks as much.
func (s *town) Hold(ctx context.Context, from string, _ sortition.Key, _ sdk.AccAddress, pay sdk.Coin) (math.Int, error) {
	part := math.MinInt(pay.Amount.QuoRaw(4), math.NewInt(s.holds))
	if s.holds -= part.Int64(); s.full != nil || part.IsZero() {
		return part, s.full
	}
	return part, s.bank.SendCoinsFromModuleToModule(ctx, from, bond, coins(pay.Denom, part))
}

// founded has two million HPIPS with alice, 50 in the fund for a hundred people, and everybody's junk with alice.
func founded(t testing.TB, p rewardv1.Params) *town {
	s := bare(t)
	s.bank.InitGenesis(s.ctx, &banktypes.GenesisState{Params: banktypes.DefaultParams(), Balances: []banktypes.Balance{
		{Address: text("alice"), Coins: sdk.NewCoins(sdk.NewInt64Coin(denom, 2_000_000*hpips), sdk.NewInt64Coin(junk, 1_000_000))},
		{Address: textOf(fundAccount), Coins: coins(denom, math.NewInt(50_000_000*hpips))},
	}})
	for _, name := range []string{"alice", "bob", "carol", "dave"} {
		s.owners[nodeOf(name)] = text(name)
	}
	state, err := Genesis(p)
	s.must(err)
	s.fill(state)
	return s
}

func textOf(module string) string {
	s, err := bech32.BytesToString(authtypes.NewModuleAddress(module))
	if err != nil {
		panic(err)
	}
	return s
}

func bare(t testing.TB) *town {
	sdk.GetConfig().SetBech32PrefixForAccount("hpips", "hpipspub")
	s := &town{t: t, owners: map[sortition.Key]string{}}
	registry := types.NewInterfaceRegistry()
	authtypes.RegisterInterfaces(registry)
	cdc := codec.NewProtoCodec(registry)
	keys := storetypes.NewKVStoreKeys(Name, authtypes.StoreKey, banktypes.StoreKey)
	s.ctx = testutil.DefaultContextWithKeys(keys, nil, nil).WithBlockHeight(1).WithBlockTime(began)
	permissions, blocked := map[string][]string{}, map[string]bool{}
	for _, pot := range pots {
		permissions[pot], blocked[textOf(pot)] = nil, true
	}
	accounts := authkeeper.NewAccountKeeper(cdc, runtime.NewKVStoreService(keys[authtypes.StoreKey]), authtypes.ProtoBaseAccount, permissions, bech32, "hpips", authority)
	s.bank = bankkeeper.NewBaseKeeper(cdc, runtime.NewKVStoreService(keys[banktypes.StoreKey]), accounts, blocked, textOf(escrow), log.NewNopLogger())
	s.keeper = NewKeeper(cdc, runtime.NewKVStoreService(keys[Name]), bech32, Neighbours{Bank: s.bank, Supply: s, Committee: s, Registry: s, Exchange: s, Bond: s}, authority)
	s.bank.AppendSendRestriction(s.keeper.BeforeSend)
	s.msgs, s.ask = msgs{s.keeper}, queries{s.keeper}
	return s
}

func (s *town) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *town) fill(state json.RawMessage) {
	s.t.Helper()
	source, err := genesis.SourceFromRawJSON(state)
	s.must(err)
	s.must(s.keeper.schema.InitGenesis(s.ctx, source))
}

func (s *town) export() json.RawMessage {
	s.t.Helper()
	target := genesis.RawJSONTarget{}
	s.must(s.keeper.schema.ExportGenesis(s.ctx, target.Target()))
	state, err := target.JSON()
	s.must(err)
	return state
}

// block makes the next block, some seconds later.
func (s *town) block(later int64) {
	s.t.Helper()
	s.ctx = s.ctx.WithBlockHeight(s.ctx.BlockHeight() + 1).WithBlockTime(s.ctx.BlockTime().Add(time.Duration(later) * time.Second))
	s.must(errors.Join(s.keeper.Flow(s.ctx), s.keeper.Close(s.ctx)))
}

// try does what a transaction would: all of it or nothing.
func (s *town) try(do func(sdk.Context) error) error {
	ctx, write := s.ctx.CacheContext()
	err := do(ctx)
	if err == nil {
		write()
	}
	return err
}

// pay is alice's, for work of somebody's node.
func pay(to, asset string, n int64) Final {
	return Final{From: escrow, Lease: []byte{7}, Node: nodeOf(to), Payer: at("alice"), Payee: at(to), Denom: asset, Amount: math.NewInt(n)}
}

// split pays out of escrow what alice put there.
func (s *town) split(f Final) error {
	return s.try(func(ctx sdk.Context) error {
		if err := s.bank.SendCoinsFromAccountToModule(ctx, f.Payer, escrow, coins(f.Denom, f.Amount)); err != nil {
			return err
		}
		return s.keeper.Split(ctx, f)
	})
}

func (s *town) has(who sdk.AccAddress, asset string) int64 {
	return s.bank.GetBalance(s.ctx, who, asset).Amount.Int64()
}

func (s *town) pot(name, asset string) int64 { return s.has(authtypes.NewModuleAddress(name), asset) }

func (s *town) day(n uint64) *rewardv1.QueryDayResponse {
	s.t.Helper()
	r, err := s.ask.Day(s.ctx, &rewardv1.QueryDayRequest{Day: n})
	s.must(err)
	return r
}

// events gives the attributes of all events of a kind that a story brings about.
func (s *town) events(kind string, story func()) []map[string]string {
	was := s.ctx
	s.ctx = s.ctx.WithEventManager(sdk.NewEventManager())
	story()
	var all []map[string]string
	for _, e := range s.ctx.EventManager().Events() {
		if e.Type != kind {
			continue
		}
		words := map[string]string{}
		for _, a := range e.Attributes {
			words[a.Key] = a.Value
		}
		all = append(all, words)
	}
	s.ctx = s.ctx.WithEventManager(was.EventManager())
	return all
}
