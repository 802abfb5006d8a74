package bond

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"cosmossdk.io/collections"
	"cosmossdk.io/core/genesis"
	"cosmossdk.io/log/v2"
	"cosmossdk.io/math"
	"pgregory.net/rapid"

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

	"github.com/hpips/hpips/proto/gen/bondv1"
	"github.com/hpips/hpips/spec/sortition"
)

const (
	authority = "hpips1vote"
	silver    = "silver"
	escrow    = "escrow"
	reserve   = "reserve"
)

var (
	began  = time.Unix(1_800_000_000, 0).UTC()
	bech32 = address.NewBech32Codec("hpips")
	people = []string{"alice", "bob", "carol", "dave"}
)

func at(name string) sdk.AccAddress { return authtypes.NewModuleAddress("person/" + name) }

func text(name string) string {
	s, err := bech32.BytesToString(at(name))
	if err != nil {
		panic(err)
	}
	return s
}

// nodeOf is the key of a person's PC.
func nodeOf(name string) sortition.Key {
	var key sortition.Key
	copy(key[:], at("node/"+name))
	return key
}

// payment is one that bob's books remember.
type payment struct {
	day    uint64
	node   sortition.Key
	denom  string
	amount int64
}

// town is a bond over a real bank. Beside it are honest fakes: a supply that reserves, pay that is remembered by days, and nodes that are busy
// with what the test says. alice pays; test/money has the real supply and the real pay.
type town struct {
	t        rapid.TB
	ctx      sdk.Context
	keys     map[string]*storetypes.KVStoreKey
	bank     bankkeeper.BaseKeeper
	keeper   Keeper
	msgs     msgs
	ask      queries
	reserved collections.Map[[]byte, math.Int] // by account, in a store of its own
	breach   string
	pay      []payment
	busy     map[sortition.Key]string
}

func (s *town) Reserve(ctx context.Context, who sdk.AccAddress, delta math.Int) error {
	n, known, err := found(s.reserved.Get(ctx, who))
	if !known {
		n = math.ZeroInt()
	}
	if n = n.Add(delta); err != nil || n.IsNegative() {
		return errors.Join(err, errors.New("not so much is reserved"))
	}
	return s.reserved.Set(ctx, who, n)
}

// reserves is what supply has reserved for somebody.
func (s *town) reserves(who string) int64 {
	s.t.Helper()
	n, known, err := found(s.reserved.Get(s.ctx, at(who)))
	s.must(err)
	if !known {
		return 0
	}
	return n.Int64()
}

func (s *town) Broken(context.Context) (string, error) { return s.breach, nil }

func (s *town) day() uint64 { return uint64(s.ctx.BlockTime().Unix()-began.Unix()) / day }

func (s *town) Paid(_ context.Context, node sortition.Key, denom string, days uint64) (math.Int, error) {
	sum := int64(0)
	for _, p := range s.pay {
		if p.node == node && p.denom == denom && p.day+days > s.day() {
			sum += p.amount
		}
	}
	return math.NewInt(sum), nil
}

func (s *town) Busy(_ context.Context, node sortition.Key) (string, error) { return s.busy[node], nil }

func founded(t rapid.TB) *town {
	sdk.GetConfig().SetBech32PrefixForAccount("hpips", "hpipspub")
	s := &town{t: t, busy: map[sortition.Key]string{}}
	s.keys = storetypes.NewKVStoreKeys(Name, reserve, authtypes.StoreKey, banktypes.StoreKey)
	s.ctx = testutil.DefaultContextWithKeys(s.keys, nil, nil).WithBlockHeight(1).WithBlockTime(began)
	s.raise()
	s.bank.InitGenesis(s.ctx, &banktypes.GenesisState{Params: banktypes.DefaultParams(), Balances: []banktypes.Balance{
		{Address: text("alice"), Coins: sdk.NewCoins(sdk.NewInt64Coin(Denom, 1_000_000*hpips), sdk.NewInt64Coin(silver, 1_000_000*hpips))},
	}})
	state, err := Genesis(Public())
	s.must(err)
	s.fill(state)
	return s
}

// raise puts the keepers over the stores.
func (s *town) raise() {
	registry := types.NewInterfaceRegistry()
	authtypes.RegisterInterfaces(registry)
	cdc := codec.NewProtoCodec(registry)
	permissions, blocked := map[string][]string{}, map[string]bool{}
	for _, pot := range []string{escrow, Name, fundAccount} {
		who, err := bech32.BytesToString(authtypes.NewModuleAddress(pot))
		s.must(err)
		permissions[pot], blocked[who] = nil, true
	}
	accounts := authkeeper.NewAccountKeeper(cdc, runtime.NewKVStoreService(s.keys[authtypes.StoreKey]), authtypes.ProtoBaseAccount, permissions, bech32, "hpips", text("alice"))
	s.bank = bankkeeper.NewBaseKeeper(cdc, runtime.NewKVStoreService(s.keys[banktypes.StoreKey]), accounts, blocked, text("alice"), log.NewNopLogger())
	s.keeper = NewKeeper(cdc, runtime.NewKVStoreService(s.keys[Name]), bech32, Neighbours{Bank: s.bank, Supply: s, Pay: s, Work: s}, authority)
	s.msgs, s.ask = msgs{s.keeper}, queries{s.keeper}
	b := collections.NewSchemaBuilder(runtime.NewKVStoreService(s.keys[reserve]))
	s.reserved = collections.NewMap(b, collections.NewPrefix(0), "reserved", collections.BytesKey, sdk.IntValue)
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

// restart goes on from what was exported, with keepers that know nothing.
func (s *town) restart() {
	s.t.Helper()
	bank, out, was, reserved := s.bank.ExportGenesis(s.ctx), s.export(), s.ctx, map[string]int64{}
	for _, name := range people {
		reserved[name] = s.reserves(name)
	}
	s.ctx = testutil.DefaultContextWithKeys(s.keys, nil, nil).WithBlockHeight(was.BlockHeight()).WithBlockTime(was.BlockTime())
	s.raise()
	s.bank.InitGenesis(s.ctx, bank)
	s.fill(out)
	for _, name := range people {
		s.must(s.Reserve(s.ctx, at(name), math.NewInt(reserved[name])))
	}
	if back := s.export(); string(back) != string(out) {
		s.t.Fatalf("bonds went out as\n%s\nand came back as\n%s", out, back)
	}
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

// pays pays somebody for work, in full but for what the bond holds, and gives what that is.
func (s *town) pays(to, denom string, n int64) int64 {
	s.t.Helper()
	held := math.ZeroInt()
	s.must(s.try(func(ctx sdk.Context) (err error) {
		if err := s.bank.SendCoinsFromAccountToModule(ctx, at("alice"), escrow, coins(denom, math.NewInt(n))); err != nil {
			return err
		}
		if held, err = s.keeper.Hold(ctx, escrow, nodeOf(to), at(to), sdk.NewInt64Coin(denom, n)); err != nil || held.Int64() == n {
			return err
		}
		return s.bank.SendCoinsFromModuleToAccount(ctx, escrow, at(to), coins(denom, math.NewInt(n).Sub(held)))
	}))
	s.pay = append(s.pay, payment{s.day(), nodeOf(to), denom, n})
	return held.Int64()
}

// block makes the next block, some time later.
func (s *town) block(later time.Duration) {
	s.t.Helper()
	s.ctx = s.ctx.WithBlockHeight(s.ctx.BlockHeight() + 1).WithBlockTime(s.ctx.BlockTime().Add(later))
	s.must(s.keeper.Advance(s.ctx))
}

func (s *town) days(n int) { s.block(time.Duration(n) * day * time.Second) }

func (s *town) leave(who string) error {
	id := nodeOf(who)
	return s.try(func(ctx sdk.Context) error {
		_, err := s.msgs.Leave(ctx, &bondv1.MsgLeave{Owner: text(who), Node: id[:]})
		return err
	})
}

func (s *town) stay(who string) error {
	id := nodeOf(who)
	return s.try(func(ctx sdk.Context) error {
		_, err := s.msgs.Stay(ctx, &bondv1.MsgStay{Owner: text(who), Node: id[:]})
		return err
	})
}

// slash takes from somebody's bond and tells how much.
func (s *town) slash(who, denom string, n int64, refunds ...Refund) int64 {
	s.t.Helper()
	taken := math.ZeroInt()
	s.must(s.try(func(ctx sdk.Context) (err error) {
		taken, err = s.keeper.Slash(ctx, nodeOf(who), denom, math.NewInt(n), refunds...)
		return err
	}))
	return taken.Int64()
}

func (s *town) has(who sdk.AccAddress, denom string) int64 {
	return s.bank.GetBalance(s.ctx, who, denom).Amount.Int64()
}

func (s *town) pot(name, denom string) int64 { return s.has(authtypes.NewModuleAddress(name), denom) }

func (s *town) bond(who, denom string) bondv1.Bond {
	s.t.Helper()
	b, err := s.keeper.Bond(s.ctx, nodeOf(who), denom)
	s.must(err)
	return b
}

// told is what the query says of somebody's node.
func (s *town) told(who string) *bondv1.QueryNodeResponse {
	s.t.Helper()
	id := nodeOf(who)
	r, err := s.ask.Node(s.ctx, &bondv1.QueryNodeRequest{Node: id[:]})
	s.must(err)
	return r
}

// wants compares a node's bond in HPIPS with what it should be.
func (s *town) wants(when, who string, held, target, counts int64, enough bool) {
	s.t.Helper()
	have := "nothing"
	r := s.told(who)
	for _, b := range r.Bonds {
		if b.Bond.Denom == Denom {
			have = fmt.Sprint(b.Bond.Held, " of ", b.Target, ", counts ", b.Counts, ", enough ", r.Enough)
		}
	}
	if want := fmt.Sprint(held, " of ", target, ", counts ", counts, ", enough ", enough); have != want {
		s.t.Errorf("%s: %s's bond is %s, want %s", when, who, have, want)
	}
}

// sound checks what always holds.
func (s *town) sound() {
	s.t.Helper()
	s.must(s.keeper.Recount(s.ctx))
	for _, name := range people {
		r, err := s.ask.Account(s.ctx, &bondv1.QueryAccountRequest{Address: text(name)})
		s.must(err)
		if n := r.Bonds.AmountOf(Denom).Int64(); s.reserves(name) != n || n != s.bond(name, Denom).Held.Int64() {
			s.t.Fatalf("%s has %d in bonds, of which supply knows %d", name, n, s.reserves(name))
		}
	}
}

// events gives the attributes of all events of a kind that a story brings about.
func (s *town) events(kind string, story func()) (all []map[string]string) {
	was := s.ctx
	s.ctx = s.ctx.WithEventManager(sdk.NewEventManager())
	story()
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
