package exchange

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"cosmossdk.io/collections"
	"cosmossdk.io/core/genesis"
	"cosmossdk.io/log/v2"
	"cosmossdk.io/math"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	dbm "github.com/cosmos/cosmos-db"
	"pgregory.net/rapid"

	"github.com/cosmos/cosmos-sdk/codec"
	"github.com/cosmos/cosmos-sdk/codec/address"
	"github.com/cosmos/cosmos-sdk/codec/types"
	"github.com/cosmos/cosmos-sdk/runtime"
	"github.com/cosmos/cosmos-sdk/store/v2"
	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	authkeeper "github.com/cosmos/cosmos-sdk/x/auth/keeper"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	bankkeeper "github.com/cosmos/cosmos-sdk/x/bank/keeper"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"

	"github.com/hpips/hpips/proto/gen/exchangev1"
	"github.com/hpips/hpips/spec/auction"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/spec/sortition"
)

const (
	hpips  = 1_000_000
	credit = "ucredit"
	ore    = "uore" // with 18 decimals
	gov    = "gov"
	half   = auction.Scale / 2
	buy    = exchangev1.SIDE_BUY
	sell   = exchangev1.SIDE_SELL
)

// town is an exchange with a real bank, beside a supply that counts what is reserved and a reward that counts what is converted. Batches
// end in every block, unless a test says otherwise.
type town struct {
	t         rapid.TB
	ctx       sdk.Context
	stores    storetypes.CommitMultiStore
	key       *storetypes.KVStoreKey
	keeper    Keeper
	msgs      msgs
	bank      bankkeeper.BaseKeeper
	seed      sortition.Seed
	reserved  map[string]math.Int
	converted math.Int
	broken    string
	issued    map[string]math.Int
	people    []string
}

func (s *town) Reserve(_ context.Context, who sdk.AccAddress, delta math.Int) error {
	sum, ok := s.reserved[who.String()]
	if !ok {
		sum = math.ZeroInt()
	}
	if sum = sum.Add(delta); sum.IsNegative() {
		return fmt.Errorf("%s would have %s reserved", who, sum)
	}
	s.reserved[who.String()] = sum
	return nil
}

func (s *town) Broken(context.Context) (string, error) { return s.broken, nil }

func (s *town) Converted(_ context.Context, n math.Int) error {
	s.converted = s.converted.Add(n)
	return nil
}

var bech32 = address.NewBech32Codec("hpips")

func at(name string) sdk.AccAddress { return authtypes.NewModuleAddress("person/" + name) }

func text(who sdk.AccAddress) string {
	a, err := bech32.BytesToString(who)
	if err != nil {
		panic(err)
	}
	return a
}

func authority() string { return text(authtypes.NewModuleAddress(gov)) }

// open is a town with two assets, in which nobody has anything yet.
func open(t rapid.TB) *town {
	s := bare(t)
	p := DefaultParams()
	p.BatchBlocks = 1
	state, err := Genesis(p, []Listing{Credit(), {exchangev1.Asset{Denom: ore, Name: "ORE", Decimals: 18}, half / 100}})
	if err != nil {
		t.Fatal(err)
	}
	s.fill(state)
	return s
}

func bare(t rapid.TB) *town {
	registry := types.NewInterfaceRegistry()
	authtypes.RegisterInterfaces(registry)
	cdc := codec.NewProtoCodec(registry)
	keys := storetypes.NewKVStoreKeys(Name, authtypes.StoreKey, banktypes.StoreKey)
	stores := store.NewCommitMultiStore(dbm.NewMemDB(), log.NewNopLogger())
	for _, name := range []string{Name, authtypes.StoreKey, banktypes.StoreKey} {
		stores.MountStoreWithDB(keys[name], storetypes.StoreTypeIAVL, nil)
	}
	s := &town{t: t, stores: stores, key: keys[Name], seed: sortition.Genesis("hpips-test-1")}
	s.must(stores.LoadLatestVersion())
	s.ctx = sdk.NewContext(stores, cmtproto.Header{}, false, log.NewNopLogger())
	s.ctx = s.ctx.WithBlockHeight(100).WithBlockTime(time.Unix(1_800_000_000, 0).UTC())
	s.reserved, s.issued, s.converted = map[string]math.Int{}, map[string]math.Int{}, math.ZeroInt()
	permissions := map[string][]string{Name: nil, levy: nil, fund: nil, gov: nil, "mint": {authtypes.Minter}}
	blocked := map[string]bool{}
	for name := range permissions {
		blocked[text(authtypes.NewModuleAddress(name))] = true
	}
	sdk.GetConfig().SetBech32PrefixForAccount("hpips", "hpipspub")
	accounts := authkeeper.NewAccountKeeper(cdc, runtime.NewKVStoreService(keys[authtypes.StoreKey]), authtypes.ProtoBaseAccount, permissions, bech32, "hpips", authority())
	s.bank = bankkeeper.NewBaseKeeper(cdc, runtime.NewKVStoreService(keys[banktypes.StoreKey]), accounts, blocked, authority(), log.NewNopLogger())
	for _, name := range []string{Name, levy, fund, gov, "mint"} { // as genesis does
		accounts.GetModuleAccount(s.ctx, name)
	}
	s.keeper = NewKeeper(cdc, runtime.NewKVStoreService(keys[Name]), s.bank, s, s, bech32, authority())
	s.msgs = msgs{s.keeper}
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

func (s *town) export() string {
	s.t.Helper()
	target := genesis.RawJSONTarget{}
	s.must(s.keeper.schema.ExportGenesis(s.ctx, target.Target()))
	b, err := target.JSON()
	s.must(err)
	return string(b)
}

// restart writes the exchange's state down, wipes it, and reads it back.
func (s *town) restart() {
	s.t.Helper()
	out := s.export()
	all := s.ctx.KVStore(s.key)
	var keys [][]byte
	it := all.Iterator(nil, nil)
	for ; it.Valid(); it.Next() {
		keys = append(keys, it.Key())
	}
	s.must(it.Close())
	for _, key := range keys {
		all.Delete(key)
	}
	s.fill(json.RawMessage(out))
	if back := s.export(); back != out {
		s.t.Fatalf("out:\n%s\nback:\n%s", out, back)
	}
}

// issue gives somebody, or a module, coins out of nothing: what genesis or another chain does.
func (s *town) issue(who sdk.AccAddress, denom string, n math.Int) {
	s.t.Helper()
	if !n.IsPositive() {
		return
	}
	c := sdk.NewCoins(sdk.NewCoin(denom, n))
	s.must(s.bank.MintCoins(s.ctx, "mint", c))
	s.must(s.bank.SendCoins(s.ctx, authtypes.NewModuleAddress("mint"), who, c))
	if sum, ok := s.issued[denom]; ok {
		n = n.Add(sum)
	}
	s.issued[denom] = n
}

func (s *town) rich(names ...string) {
	s.t.Helper()
	for _, name := range names {
		s.issue(at(name), money.Denom, math.NewInt(1_000_000*hpips))
		s.issue(at(name), credit, math.NewInt(1_000_000*hpips))
		s.issue(at(name), ore, math.NewIntWithDecimal(1_000_000, 18))
		s.people = append(s.people, name)
	}
}

func (s *town) has(who, denom string) math.Int {
	return s.bank.GetBalance(s.ctx, at(who), denom).Amount
}

func (s *town) pot(name, denom string) math.Int {
	return s.bank.GetBalance(s.ctx, authtypes.NewModuleAddress(name), denom).Amount
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

func (s *town) order(who, denom string, side exchangev1.Side, price uint64, n math.Int) (id uint64, err error) {
	err = s.try(func(ctx sdk.Context) error {
		r, err := s.msgs.Place(ctx, &exchangev1.MsgPlace{Owner: text(at(who)), Denom: denom, Side: side, Price: price, Amount: n})
		if err == nil {
			id = r.Id
		}
		return err
	})
	return id, err
}

// place is an order in uhpips that must be taken.
func (s *town) place(who string, side exchangev1.Side, price uint64, n int64) uint64 {
	s.t.Helper()
	id, err := s.order(who, credit, side, price, math.NewInt(n))
	s.must(err)
	return id
}

func (s *town) cancel(who string, id uint64) error {
	return s.try(func(ctx sdk.Context) error {
		_, err := s.msgs.Cancel(ctx, &exchangev1.MsgCancel{Owner: text(at(who)), Id: id})
		return err
	})
}

// step makes the next block, with a seed, some seconds later.
func (s *town) step(seconds int64) {
	s.t.Helper()
	s.seed = s.seed.Extend(sortition.Beta{})
	s.ctx = s.ctx.WithBlockHeight(s.ctx.BlockHeight() + 1).WithBlockTime(s.ctx.BlockTime().Add(time.Duration(seconds) * time.Second))
	s.ctx = s.ctx.WithEventManager(sdk.NewEventManager())
	s.must(s.keeper.Advance(s.ctx, s.seed))
	if s.ctx.BlockHeight()%20 == 0 {
		s.commit()
	}
	for _, e := range s.ctx.EventManager().Events() {
		if e.Type == "hpips_batch_failed" {
			s.t.Fatalf("%v", e)
		}
	}
}

// commit lets the stores write down what they have, without which walking them grows slow.
func (s *town) commit() { s.stores.Commit() }

// settle makes the two blocks after which what was placed last has taken part in a batch.
func (s *town) settle() {
	s.t.Helper()
	s.step(1)
	s.step(1)
}

// levied lets a day bring so much of an asset, and puts it into the sale.
func (s *town) levied(denom string, n math.Int) {
	s.t.Helper()
	s.issue(authtypes.NewModuleAddress(levy), denom, n)
	s.must(s.keeper.Sell(s.ctx, denom, n))
}

func (s *town) sale(denom string) exchangev1.Sale {
	s.t.Helper()
	sale, err := s.keeper.sales.Get(s.ctx, denom)
	s.must(err)
	return sale
}

func (s *town) all() (orders []exchangev1.Order) {
	s.t.Helper()
	s.must(s.keeper.orders.Walk(s.ctx, nil, func(_ uint64, o exchangev1.Order) (bool, error) {
		orders = append(orders, o)
		return false, nil
	}))
	return orders
}

// sound checks what always holds: every unit is accounted for, and the book is what its orders say.
func (s *town) sound() {
	s.t.Helper()
	zero, holds, reserved := math.ZeroInt(), map[string]math.Int{money.Denom: math.ZeroInt()}, map[string]math.Int{}
	levels := map[place]math.Int{}
	assets, err := s.keeper.Assets(s.ctx)
	s.must(err)
	decimals := map[string]uint32{}
	for _, a := range assets {
		sale := s.sale(a.Denom)
		holds[a.Denom] = sale.Waiting.Add(sale.Offered)
		decimals[a.Denom] = a.Decimals
	}
	plus := func(to map[string]math.Int, key string, n math.Int) {
		if _, ok := to[key]; !ok {
			to[key] = zero
		}
		to[key] = to[key].Add(n)
	}
	orders := s.all()
	for _, o := range orders {
		where := place{o.Denom, o.Side == buy, o.Price}
		if _, ok := levels[where]; !ok {
			levels[where] = zero
		}
		levels[where] = levels[where].Add(o.Left)
		want := o.Left
		if o.Side == buy {
			_, cost := auction.Value(o.Left.Uint64(), o.Price, decimals[o.Denom])
			want = math.NewIntFromBigInt(cost)
		} else {
			plus(reserved, o.Owner, o.Left)
		}
		if !o.Left.IsPositive() || !o.Held.Equal(want) {
			s.t.Fatalf("order %+v holds %s, want %s", o, o.Held, want)
		}
		for _, c := range held(o) {
			plus(holds, c.Denom, c.Amount)
		}
		mine, err1 := s.keeper.owned.Has(s.ctx, collections.Join(o.Owner, o.Id))
		side := s.keeper.side(o)
		listed, err2 := side.orders.Has(s.ctx, collections.Join3(o.Denom, side.rank(o.Price), o.Id))
		if err1 != nil || err2 != nil || !mine || !listed {
			s.t.Fatalf("order %d: its owner's %v, in the book %v, %v, %v", o.Id, mine, listed, err1, err2)
		}
	}
	for denom, n := range holds {
		if got := s.pot(Name, denom); !got.Equal(n) {
			s.t.Fatalf("the exchange has %s%s, its orders and sales hold %s", got, denom, n)
		}
		all := s.pot(Name, denom).Add(s.pot(levy, denom)).Add(s.pot(fund, denom))
		for _, who := range s.people {
			all = all.Add(s.has(who, denom))
		}
		if issued, ok := s.issued[denom]; ok && !all.Equal(issued) {
			s.t.Fatalf("%s%s are somewhere, %s were issued", all, denom, issued)
		}
	}
	for who, n := range s.reserved {
		if r, ok := reserved[who]; ok && !r.Equal(n) || !ok && !n.IsZero() {
			s.t.Fatalf("%s has %s reserved, its orders hold %s", who, n, r)
		}
	}
	if got := s.pot(levy, money.Denom); !got.Equal(s.converted) {
		s.t.Fatalf("%s converted, the levy has %s", s.converted, got)
	}
	s.counted(orders, levels)
}

// counted checks the sums at all limits, and that no list has more than there are orders.
func (s *town) counted(orders []exchangev1.Order, levels map[place]math.Int) {
	s.t.Helper()
	n, owned := 0, 0
	for _, side := range []side{s.keeper.buys, s.keeper.sells} {
		s.must(side.levels.Walk(s.ctx, nil, func(at collections.Pair[string, uint64], sum math.Int) (bool, error) {
			where := place{at.K1(), side.buys, side.rank(at.K2())}
			if want, ok := levels[where]; !ok || !want.Equal(sum) {
				s.t.Fatalf("%+v: %s, want %v", where, sum, want)
			}
			delete(levels, where)
			return false, nil
		}))
		s.must(side.orders.Walk(s.ctx, nil, func(collections.Triple[string, uint64, uint64]) (bool, error) { n++; return false, nil }))
	}
	s.must(s.keeper.owned.Walk(s.ctx, nil, func(collections.Pair[string, uint64]) (bool, error) { owned++; return false, nil }))
	if len(levels) > 0 || n != len(orders) || owned != len(orders) {
		s.t.Fatalf("%d orders: %d in the book, %d have owners, limits without a sum: %v", len(orders), n, owned, levels)
	}
}
