// Package money tests the rules of money with the chain's own keepers, a real bank and nothing else of a chain: the clock, the days and
// the owners of nodes are the test's. It promises histories of people that are checked to the last unit, at instants that no whole chain
// could be brought to in time. It leaves messages, blocks and seeds to chain, and each module's own stories to the module.
package money

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"cosmossdk.io/core/appmodule"
	"cosmossdk.io/core/genesis"
	"cosmossdk.io/core/store"
	"cosmossdk.io/log/v2"
	"cosmossdk.io/math"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	dbm "github.com/cosmos/cosmos-db"
	"google.golang.org/grpc"
	"pgregory.net/rapid"

	"github.com/cosmos/cosmos-sdk/codec"
	"github.com/cosmos/cosmos-sdk/codec/address"
	"github.com/cosmos/cosmos-sdk/codec/types"
	"github.com/cosmos/cosmos-sdk/runtime"
	"github.com/cosmos/cosmos-sdk/store/v2/rootmulti"
	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	authkeeper "github.com/cosmos/cosmos-sdk/x/auth/keeper"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	bankkeeper "github.com/cosmos/cosmos-sdk/x/bank/keeper"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"

	"github.com/hpips/hpips/chain/bond"
	"github.com/hpips/hpips/chain/reward"
	"github.com/hpips/hpips/chain/supply"
	"github.com/hpips/hpips/proto/gen/rewardv1"
	"github.com/hpips/hpips/proto/gen/supplyv1"
	"github.com/hpips/hpips/spec/sortition"
)

const (
	uhpips = supply.Denom
	hpips  = 1_000_000
	junk   = "ujunk"
	shells = "ushell"
	escrow = "escrow"
	market = "exchange"
)

// daySeconds is how long a day lasts here.
const daySeconds = 1000

var began = time.Unix(1_800_000_000, 0).UTC()

// authority is the address whose word is a vote's outcome. To ask for it sets the prefix that the SDK writes its addresses with.
var authority = func() string {
	sdk.GetConfig().SetBech32PrefixForAccount("hpips", "hpipspub")
	return authtypes.NewModuleAddress("gov").String()
}()

func at(name string) sdk.AccAddress { return authtypes.NewModuleAddress("person/" + name) }

// nodeOf is the key of a person's PC.
func nodeOf(name string) sortition.Key {
	var key sortition.Key
	copy(key[:], at("node/"+name))
	return key
}

// town is an economy. Its people are known to the test, which the keepers' running sums are not told.
type town struct {
	t       rapid.TB
	kind    storetypes.StoreType
	data    func() dbm.DB // opens one that is empty
	store   *rootmulti.Store
	ctx     sdk.Context
	work    *work
	bank    bankkeeper.BaseKeeper
	supply  supply.Keeper
	reward  reward.Keeper
	bond    bond.Keeper
	modules map[string]appmodule.HasGenesis
	people  []string
	owners  map[sortition.Key]string // by node
	sold    sdk.Coins                // handed to the exchange and not sold yet
}

// work counts what is asked of the stores.
type work struct{ gets, sets, steps int }

// Day and DayEnd are the committee's words, Owner the registry's: a day is a thousand seconds, and people own the nodes named like them.
func (s *town) Day(ctx context.Context) uint64 {
	return uint64(max(sdk.UnwrapSDKContext(ctx).BlockTime().Unix()-began.Unix(), 0)) / daySeconds
}

func (s *town) DayEnd(ctx context.Context) (int64, error) {
	return began.Unix() + int64(s.Day(ctx)+1)*daySeconds, nil
}

func (s *town) Owner(_ context.Context, node sortition.Key) (string, error) {
	return s.owners[node], nil
}

// Busy is what a node has to answer for: here nothing ever.
func (s *town) Busy(context.Context, sortition.Key) (string, error) { return "", nil }

// Sell is the exchange's: it offers what it gets, and the test finds buyers.
func (s *town) Sell(_ context.Context, denom string, amount math.Int) error {
	s.sold = s.sold.Add(sdk.NewCoin(denom, amount))
	return nil
}

// raise puts the keepers together, over stores that are empty.
func (s *town) raise() {
	registry := types.NewInterfaceRegistry()
	authtypes.RegisterInterfaces(registry)
	cdc := codec.NewProtoCodec(registry)
	keys := storetypes.NewKVStoreKeys(authtypes.StoreKey, banktypes.StoreKey, supply.Name, reward.Name, bond.Name)
	db := s.data()
	s.store = rootmulti.NewStore(db, log.NewNopLogger())
	for _, name := range []string{authtypes.StoreKey, banktypes.StoreKey, supply.Name, reward.Name, bond.Name} {
		if s.kind == storetypes.StoreTypeDB {
			s.store.MountStoreWithDB(keys[name], s.kind, dbm.NewPrefixDB(db, []byte(name)))
		} else {
			s.store.MountStoreWithDB(keys[name], s.kind, nil)
		}
	}
	s.must(s.store.LoadLatestVersion())
	s.ctx = sdk.NewContext(s.store, cmtproto.Header{Height: 1, Time: began}, false, log.NewNopLogger()).WithExecMode(sdk.ExecModeFinalize)
	service := func(name string) store.KVStoreService { return counted{runtime.NewKVStoreService(keys[name]), s.work} }
	permissions := map[string][]string{
		supply.Name: {authtypes.Burner}, authtypes.FeeCollectorName: nil, "gov": nil,
		escrow: nil, market: nil, reward.LevyAccount: nil, reward.StreamAccount: nil, bond.Name: nil,
	}
	names := []string{authtypes.FeeCollectorName, "gov", escrow, market, reward.LevyAccount, reward.StreamAccount, bond.Name}
	for _, a := range supply.Allocations() {
		permissions[a.Name] = nil
	}
	blocked := map[string]bool{}
	for name := range permissions {
		blocked[authtypes.NewModuleAddress(name).String()] = true
	}
	bech32 := address.NewBech32Codec("hpips")
	accounts := authkeeper.NewAccountKeeper(cdc, service(authtypes.StoreKey), authtypes.ProtoBaseAccount, permissions, bech32, "hpips", authority)
	s.bank = bankkeeper.NewBaseKeeper(cdc, service(banktypes.StoreKey), accounts, blocked, authority, log.NewNopLogger())
	later := &beside{s}
	s.supply = supply.NewKeeper(cdc, service(supply.Name), s.bank, accounts, names, authority,
		supply.Watched(later), supply.Backed(escrow, market, bond.Name), supply.Checked(reward.Name, later))
	s.bond = bond.NewKeeper(cdc, service(bond.Name), bech32, bond.Neighbours{Bank: s.bank, Supply: s.supply, Pay: later, Work: s}, authority)
	s.reward = reward.NewKeeper(cdc, service(reward.Name), bech32, reward.Neighbours{Bank: s.bank, Supply: s.supply, Committee: s, Registry: s, Exchange: s, Bond: s.bond}, authority)
	s.bank.AppendSendRestriction(s.reward.BeforeSend)
	s.modules = map[string]appmodule.HasGenesis{supply.Name: supply.NewModule(s.supply), reward.Name: reward.NewModule(s.reward), bond.Name: bond.NewModule(s.bond)}
}

// beside is how the supply and the bond reach the reward, which is built after them.
type beside struct{ *town }

func (b *beside) BeforeHolding(ctx context.Context, who sdk.AccAddress) error {
	return b.reward.BeforeHolding(ctx, who)
}

func (b *beside) Unsound(ctx context.Context) (string, error) {
	what, err := b.reward.Unsound(ctx)
	if err != nil || what != "" {
		return what, err
	}
	return b.bond.Unsound(ctx)
}

func (b *beside) Paid(ctx context.Context, node sortition.Key, denom string, days uint64) (math.Int, error) {
	return b.reward.Paid(ctx, node, denom, days)
}

// founded begins with the five accounts less what people got out of community and the first three, in uhpips. Everybody has a bag of junk and one of shells.
func founded(t rapid.TB, p rewardv1.Params, grants map[string]int64, people ...string) *town {
	return settled(t, storetypes.StoreTypeDB, inMemory, p, grants, people...)
}

func inMemory() dbm.DB { return dbm.NewMemDB() }

func settled(t rapid.TB, kind storetypes.StoreType, data func() dbm.DB, p rewardv1.Params, grants map[string]int64, people ...string) *town {
	s := &town{t: t, kind: kind, data: data, work: &work{}, owners: map[sortition.Key]string{}}
	s.raise()
	for _, name := range people {
		s.comes(name)
	}
	left := map[string]math.Int{}
	for _, a := range supply.Allocations() {
		left[a.Name] = a.Amount
	}
	var moves []supplyv1.Move
	balances := banktypes.GenesisState{Params: banktypes.DefaultParams()}
	for _, name := range people {
		purse := sdk.NewCoins(sdk.NewInt64Coin(junk, 1_000_000*hpips), sdk.NewInt64Coin(shells, 1000*hpips))
		for _, pot := range []string{supply.Community, supply.Operations, supply.Investors, supply.Founders} {
			part := math.MinInt(left[pot], math.NewInt(grants[name]).Sub(purse.AmountOf(uhpips)))
			if part.IsPositive() {
				left[pot], purse = left[pot].Sub(part), purse.Add(sdk.NewCoin(uhpips, part))
				moves = append(moves, supplyv1.Move{From: pot, To: at(name).String(), Label: name, Amount: part})
			}
		}
		if !purse.AmountOf(uhpips).Equal(math.NewInt(grants[name])) {
			t.Fatalf("there is not so much for %s", name)
		}
		balances.Balances = append(balances.Balances, banktypes.Balance{Address: at(name).String(), Coins: purse})
	}
	for _, a := range supply.Allocations() {
		balances.Balances = append(balances.Balances, banktypes.Balance{
			Address: authtypes.NewModuleAddress(a.Name).String(), Coins: sdk.NewCoins(sdk.NewCoin(uhpips, left[a.Name])),
		})
	}
	s.bank.InitGenesis(s.ctx, &balances)
	ofSupply, err1 := supply.Genesis(moves)
	ofReward, err2 := reward.Genesis(p)
	rules := bond.Development()
	rules.ReturnSeconds = bond.ReturnDays * daySeconds
	ofBond, err3 := bond.Genesis(rules)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	s.fill(supply.Name, ofSupply)
	s.fill(reward.Name, ofReward)
	s.fill(bond.Name, ofBond)
	return s
}

// comes is a person with a PC.
func (s *town) comes(name string) {
	s.people = append(s.people, name)
	s.owners[nodeOf(name)] = at(name).String()
}

func (s *town) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("height %d: %v", s.ctx.BlockHeight(), err)
	}
}

func (s *town) fill(module string, state json.RawMessage) {
	s.t.Helper()
	source, err := genesis.SourceFromRawJSON(state)
	s.must(err)
	s.must(s.modules[module].InitGenesis(s.ctx, source))
}

func (s *town) export(module string) json.RawMessage {
	s.t.Helper()
	target := genesis.RawJSONTarget{}
	s.must(s.modules[module].ExportGenesis(s.ctx, target.Target()))
	state, err := target.JSON()
	s.must(err)
	return state
}

// restart goes on from what was exported, with keepers that know nothing.
func (s *town) restart() {
	s.t.Helper()
	bank, was := s.bank.ExportGenesis(s.ctx), s.ctx
	var out []json.RawMessage
	for _, module := range []string{supply.Name, reward.Name, bond.Name} {
		out = append(out, s.export(module))
	}
	s.raise()
	s.ctx = s.ctx.WithBlockTime(was.BlockTime()).WithBlockHeight(was.BlockHeight())
	s.bank.InitGenesis(s.ctx, bank)
	for i, module := range []string{supply.Name, reward.Name, bond.Name} {
		s.fill(module, out[i])
		if back := s.export(module); string(back) != string(out[i]) {
			s.t.Fatalf("%s went out as\n%s\nand came back as\n%s", module, out[i], back)
		}
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

// block makes the next block with a seed, some seconds later. What comes between the stream and the close, as pay that becomes final
// does, is handed in.
func (s *town) block(later int64, between ...func()) {
	s.t.Helper()
	was := s.Day(s.ctx)
	s.ctx = s.ctx.WithBlockHeight(s.ctx.BlockHeight() + 1).WithBlockTime(s.ctx.BlockTime().Add(time.Duration(later) * time.Second))
	s.must(s.reward.Flow(s.ctx))
	for _, do := range between {
		do()
	}
	s.must(s.bond.Advance(s.ctx))
	s.must(s.reward.Close(s.ctx))
	if s.Day(s.ctx) != was {
		s.must(s.supply.CheckInvariants(s.ctx))
	}
}

func coin(denom string, n int64) sdk.Coins { return sdk.NewCoins(sdk.NewInt64Coin(denom, n)) }

func (s *town) send(from, to string, denom string, n int64) error {
	return s.try(func(ctx sdk.Context) error { return s.bank.SendCoins(ctx, at(from), at(to), coin(denom, n)) })
}

// keep puts a person's money into a module's account, and keepBack gives it back: its owner's it stays.
func (s *town) keep(who, module, denom string, n int64) error {
	return s.try(func(ctx sdk.Context) error {
		if err := s.bank.SendCoinsFromAccountToModule(ctx, at(who), module, coin(denom, n)); err != nil || denom != uhpips {
			return err
		}
		return s.supply.Reserve(ctx, at(who), math.NewInt(n))
	})
}

func (s *town) keepBack(who, module, denom string, n int64) error {
	return s.try(func(ctx sdk.Context) error {
		if denom == uhpips {
			if err := s.supply.Reserve(ctx, at(who), math.NewInt(-n)); err != nil {
				return err
			}
		}
		return s.bank.SendCoinsFromModuleToAccount(ctx, module, at(who), coin(denom, n))
	})
}

// final makes pay that lies in escrow final.
func (s *town) final(payer, payee, denom string, n int64) error {
	return s.try(func(ctx sdk.Context) error {
		if denom == uhpips {
			if err := s.supply.Reserve(ctx, at(payer), math.NewInt(-n)); err != nil {
				return err
			}
		}
		return s.reward.Split(ctx, reward.Final{
			From: escrow, Lease: []byte("lease of " + payer), Node: nodeOf(payee), Payer: at(payer), Payee: at(payee), Denom: denom, Amount: math.NewInt(n),
		})
	})
}

// job is one that is paid at once: deposit, work, final.
func (s *town) job(payer, payee, denom string, n int64) {
	s.t.Helper()
	s.must(s.keep(payer, escrow, denom, n))
	s.must(s.final(payer, payee, denom, n))
}

// buys takes some of the levies on offer, for HPIPS out of an order that lies at the exchange.
func (s *town) buys(who, denom string, n, price int64) error {
	err := s.try(func(ctx sdk.Context) error {
		if err := s.supply.Reserve(ctx, at(who), math.NewInt(-price)); err != nil {
			return err
		}
		return errors.Join(
			s.bank.SendCoinsFromModuleToAccount(ctx, reward.LevyAccount, at(who), coin(denom, n)),
			s.bank.SendCoinsFromModuleToModule(ctx, market, reward.LevyAccount, coin(uhpips, price)),
			s.reward.Converted(ctx, math.NewInt(price)),
		)
	})
	if err == nil {
		s.sold = s.sold.Sub(sdk.NewInt64Coin(denom, n))
	}
	return err
}

func (s *town) claim(who string) error {
	return s.try(func(ctx sdk.Context) error { _, err := s.reward.Claim(ctx, at(who)); return err })
}

func (s *town) owed(who string) math.Int {
	s.t.Helper()
	n, err := s.reward.Owed(s.ctx, at(who))
	s.must(err)
	return n
}

func (s *town) stream() rewardv1.Stream {
	s.t.Helper()
	r, err := s.reward.Stream(s.ctx)
	s.must(err)
	return r
}

func (s *town) vault(module, denom string) math.Int {
	return s.bank.GetBalance(s.ctx, authtypes.NewModuleAddress(module), denom).Amount
}

// branch runs a story that leaves no trace.
func (s *town) branch(story func()) {
	ctx, sold := s.ctx, s.sold
	s.ctx, _ = ctx.CacheContext()
	story()
	s.ctx, s.sold = ctx, sold
}

// ask is the reward's own server of queries.
func (s *town) ask() rewardv1.QueryServer {
	var q servers
	s.must(reward.NewModule(s.reward).RegisterServices(&q))
	return q.QueryServer
}

// servers takes the servers that a module offers.
type servers struct {
	rewardv1.QueryServer
	rewardv1.MsgServer
}

func (q *servers) RegisterService(_ *grpc.ServiceDesc, server any) {
	switch server := server.(type) {
	case rewardv1.QueryServer:
		q.QueryServer = server
	case rewardv1.MsgServer:
		q.MsgServer = server
	}
}

// counted is a store that counts what is asked of it.
type counted struct {
	store.KVStoreService
	*work
}

func (c counted) OpenKVStore(ctx context.Context) store.KVStore {
	return opened{c.KVStoreService.OpenKVStore(ctx), c.work}
}

type opened struct {
	store.KVStore
	*work
}

func (o opened) Get(key []byte) ([]byte, error) { o.gets++; return o.KVStore.Get(key) }
func (o opened) Has(key []byte) (bool, error)   { o.gets++; return o.KVStore.Has(key) }
func (o opened) Set(key, value []byte) error    { o.sets++; return o.KVStore.Set(key, value) }
func (o opened) Delete(key []byte) error        { o.sets++; return o.KVStore.Delete(key) }

func (o opened) Iterator(from, to []byte) (store.Iterator, error) {
	it, err := o.KVStore.Iterator(from, to)
	return walked{it, o.work}, err
}

func (o opened) ReverseIterator(from, to []byte) (store.Iterator, error) {
	it, err := o.KVStore.ReverseIterator(from, to)
	return walked{it, o.work}, err
}

type walked struct {
	store.Iterator
	*work
}

func (w walked) Next() { w.steps++; w.Iterator.Next() }
