package governance

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"cosmossdk.io/collections"
	"cosmossdk.io/core/genesis"
	"cosmossdk.io/log/v2"
	"cosmossdk.io/math"
	"github.com/cosmos/gogoproto/proto"
	"pgregory.net/rapid"

	"github.com/cosmos/cosmos-sdk/baseapp"
	"github.com/cosmos/cosmos-sdk/codec"
	"github.com/cosmos/cosmos-sdk/codec/address"
	"github.com/cosmos/cosmos-sdk/codec/types"
	"github.com/cosmos/cosmos-sdk/runtime"
	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	"github.com/cosmos/cosmos-sdk/testutil"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/msgservice"
	authkeeper "github.com/cosmos/cosmos-sdk/x/auth/keeper"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	"github.com/cosmos/cosmos-sdk/x/authz"
	bankkeeper "github.com/cosmos/cosmos-sdk/x/bank/keeper"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"
	"github.com/cosmos/cosmos-sdk/x/gov"
	govkeeper "github.com/cosmos/cosmos-sdk/x/gov/keeper"
	govtypes "github.com/cosmos/cosmos-sdk/x/gov/types"
	v1 "github.com/cosmos/cosmos-sdk/x/gov/types/v1"
	"github.com/cosmos/cosmos-sdk/x/tx/signing"

	"github.com/hpips/hpips/proto/gen/governancev1"
	"github.com/hpips/hpips/proto/gen/supplyv1"
)

const (
	hpips = 1_000_000
	// bystander holds what nobody votes with, so that it takes some to make a tenth.
	bystander = "bystander"
)

// authority is x/gov's account. To ask for it sets the prefix that the SDK writes its addresses with.
var authority = func() string {
	sdk.GetConfig().SetBech32PrefixForAccount("hpips", "hpipspub")
	return authtypes.NewModuleAddress(govtypes.ModuleName).String()
}()

// town is a chain of accounts, bank and x/gov, with governance in it, and an honest fake of tickets and supply.
type town struct {
	t        rapid.TB
	ctx      sdk.Context
	bank     bankkeeper.BaseKeeper
	gov      *govkeeper.Keeper
	keeper   Keeper
	module   Module
	server   v1.MsgServer
	tickets  map[string][]int64 // by owner: heights at which they were taken out
	released []*supplyv1.MsgRelease
	escrowed map[string]int64 // by account, in HPIPS: what lies in x/gov's account and is still its owner's
}

func at(name string) sdk.AccAddress { return authtypes.NewModuleAddress("person/" + name) }

func (s *town) Tickets(context.Context) uint64 {
	var n int
	for _, list := range s.tickets {
		n += len(list)
	}
	return uint64(n)
}

func (s *town) TicketsOf(_ context.Context, owner string, before int64) uint64 {
	return uint64(len(slices.DeleteFunc(slices.Clone(s.tickets[owner]), func(h int64) bool { return h >= before })))
}

func (s *town) Holding(ctx context.Context, who sdk.AccAddress) math.Int {
	if who.String() == authority {
		return math.ZeroInt()
	}
	return s.bank.GetBalance(ctx, who, denom).Amount.AddRaw(s.escrowed[who.String()] * hpips)
}

func (s *town) Circulating(ctx context.Context) math.Int {
	return s.bank.GetSupply(ctx, denom).Amount.Sub(s.bank.GetBalance(ctx, authtypes.NewModuleAddress(govtypes.ModuleName), denom).Amount)
}

// Release and Burn stand in for chain/supply, which has its own tests.
func (s *town) Release(_ context.Context, m *supplyv1.MsgRelease) (*supplyv1.MsgReleaseResponse, error) {
	s.released = append(s.released, m)
	return &supplyv1.MsgReleaseResponse{}, nil
}

func (s *town) Burn(context.Context, *supplyv1.MsgBurn) (*supplyv1.MsgBurnResponse, error) {
	return nil, errors.New("nobody burns here")
}

// founded gives people their HPIPS and their tickets. On this development network a day lasts a minute, and so does a vote.
func founded(t rapid.TB, holdings map[string]int64, tickets map[string]int) *town {
	return slowly(t, steps, holdings, tickets)
}

// slowly is founded with so many steps in a block.
func slowly(t rapid.TB, steps int, holdings map[string]int64, tickets map[string]int) *town {
	s := bare(t, steps)
	state := banktypes.GenesisState{Params: banktypes.DefaultParams()}
	for name, n := range holdings {
		state.Balances = append(state.Balances, banktypes.Balance{Address: at(name).String(), Coins: hp(n)})
	}
	s.bank.InitGenesis(s.ctx, &state)
	for name, n := range tickets {
		s.tickets[at(name).String()] = make([]int64, n)
	}
	return s
}

func bare(t rapid.TB, steps int) *town {
	registry, err := types.NewInterfaceRegistryWithOptions(types.InterfaceRegistryOptions{
		ProtoFiles:     proto.HybridResolver,
		SigningOptions: signing.Options{AddressCodec: address.NewBech32Codec("hpips"), ValidatorAddressCodec: address.NewBech32Codec("hpipsvaloper")},
	})
	if err != nil {
		t.Fatal(err)
	}
	authtypes.RegisterInterfaces(registry)
	banktypes.RegisterInterfaces(registry)
	authz.RegisterInterfaces(registry)
	v1.RegisterInterfaces(registry)
	msgservice.RegisterMsgServiceDesc(registry, &supplyv1.Msg_serviceDesc)
	cdc := codec.NewProtoCodec(registry)
	keys := storetypes.NewKVStoreKeys(Name, authtypes.StoreKey, banktypes.StoreKey, govtypes.StoreKey)
	s := &town{t: t, ctx: testutil.DefaultContextWithKeys(keys, nil, nil), tickets: map[string][]int64{}, escrowed: map[string]int64{}}
	s.ctx = s.ctx.WithBlockHeight(10).WithBlockTime(time.Unix(1_800_000_000, 0).UTC())
	bech32 := address.NewBech32Codec("hpips")
	accounts := authkeeper.NewAccountKeeper(cdc, runtime.NewKVStoreService(keys[authtypes.StoreKey]), authtypes.ProtoBaseAccount,
		map[string][]string{govtypes.ModuleName: nil}, bech32, "hpips", authority)
	s.bank = bankkeeper.NewBaseKeeper(cdc, runtime.NewKVStoreService(keys[banktypes.StoreKey]), accounts, map[string]bool{authority: true}, authority, log.NewNopLogger())
	s.keeper = NewKeeper(cdc, runtime.NewKVStoreService(keys[Name]), s, s, bech32)
	s.keeper.steps = steps
	s.bank.AppendSendRestriction(s.keeper.BeforeSend)
	router := baseapp.NewMsgServiceRouter()
	router.SetInterfaceRegistry(registry)
	s.gov = govkeeper.NewKeeper(cdc, runtime.NewKVStoreService(keys[govtypes.StoreKey]), accounts, s.bank, nil, router, govtypes.DefaultConfig(), authority, s.keeper.Tally)
	s.gov.SetHooks(NewHooks(s.keeper, s.gov))
	s.server = govkeeper.NewMsgServerImpl(s.gov)
	v1.RegisterMsgServer(router, s.server)
	banktypes.RegisterMsgServer(router, bankkeeper.NewMsgServerImpl(s.bank))
	supplyv1.RegisterMsgServer(router, s)
	s.module = NewModule(s.keeper, s.gov)
	govkeeper.InitGenesis(s.ctx, accounts, s.bank, s.gov, GovGenesis(true, time.Minute))
	return s
}

func hp(n int64) sdk.Coins { return sdk.NewCoins(sdk.NewInt64Coin(denom, n*hpips)) }

// try does what a transaction would: all of it or nothing.
func (s *town) try(do func(sdk.Context) error) error {
	ctx, write := s.ctx.CacheContext()
	err := do(ctx)
	if err == nil {
		write()
	}
	return err
}

// propose brings a proposal to a vote at once and gives its number.
func (s *town) propose(who string, expedited bool, messages ...sdk.Msg) (uint64, error) {
	deposit := hp(1)
	if expedited {
		deposit = hp(5)
	}
	return s.submit(who, deposit, expedited, messages...)
}

func (s *town) submit(who string, deposit sdk.Coins, expedited bool, messages ...sdk.Msg) (id uint64, err error) {
	m, err := v1.NewMsgSubmitProposal(messages, deposit, at(who).String(), "said at length", "title", "summary", expedited)
	if err != nil {
		return 0, err
	}
	err = s.try(func(ctx sdk.Context) error {
		r, err := s.server.SubmitProposal(ctx, m)
		if err == nil {
			id = r.ProposalId
		}
		return err
	})
	return id, err
}

// open is propose where nothing can go wrong.
func (s *town) open(who string, messages ...sdk.Msg) uint64 {
	s.t.Helper()
	id, err := s.propose(who, false, messages...)
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

func (s *town) vote(who string, id uint64, o v1.VoteOption) error {
	return s.try(func(ctx sdk.Context) error {
		_, err := s.server.Vote(ctx, v1.NewMsgVote(at(who), id, o, ""))
		return err
	})
}

func (s *town) says(id uint64, o v1.VoteOption, who ...string) {
	s.t.Helper()
	for _, name := range who {
		if err := s.vote(name, id, o); err != nil {
			s.t.Fatalf("%s votes: %v", name, err)
		}
	}
}

func (s *town) split(who string, id uint64, options ...*v1.WeightedVoteOption) error {
	return s.try(func(ctx sdk.Context) error {
		_, err := s.server.VoteWeighted(ctx, v1.NewMsgVoteWeighted(at(who), id, options, ""))
		return err
	})
}

func (s *town) send(from, to string, n int64) error {
	return s.try(func(ctx sdk.Context) error { return s.bank.SendCoins(ctx, at(from), at(to), hp(n)) })
}

// reserve moves what an account owns outside of its balance, as chain/supply does.
func (s *town) reserve(who string, delta int64) {
	s.t.Helper()
	if err := s.keeper.BeforeHolding(s.ctx, at(who)); err != nil {
		s.t.Fatal(err)
	}
	s.escrowed[at(who).String()] += delta
}

// block ends this block and begins the next one, some time later.
func (s *town) block(later time.Duration) {
	s.t.Helper()
	if err := errors.Join(gov.EndBlocker(s.ctx, s.gov), s.module.EndBlock(s.ctx)); err != nil {
		s.t.Fatal(err)
	}
	s.ctx = s.ctx.WithBlockHeight(s.ctx.BlockHeight() + 1).WithBlockTime(s.ctx.BlockTime().Add(later))
	if err := s.module.BeginBlock(s.ctx); err != nil {
		s.t.Fatal(err)
	}
}

// close lets a minute pass, and with it each vote that is open; they end one after the other.
func (s *town) close() {
	s.t.Helper()
	s.block(time.Minute)
	s.block(time.Second)
	for range 1000 {
		if n := s.voting(); n == 0 {
			return
		}
		s.block(time.Second)
	}
	s.t.Fatal("a vote does not end")
}

// voting is how many proposals' time has come and is not over.
func (s *town) voting() (n int) {
	s.t.Helper()
	err := s.gov.ActiveProposalsQueue.Walk(s.ctx, nil, func(collections.Pair[time.Time, uint64], uint64) (bool, error) {
		n++
		return false, nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *town) status(id uint64) v1.ProposalStatus {
	s.t.Helper()
	p, err := s.gov.Proposals.Get(s.ctx, id)
	if err != nil {
		s.t.Fatal(err)
	}
	return p.Status
}

func (s *town) tally(id uint64) *governancev1.QueryTallyResponse {
	s.t.Helper()
	r, err := queries{s.keeper, s.gov}.Tally(s.ctx, &governancev1.QueryTallyRequest{Proposal: id})
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (s *town) export() string {
	s.t.Helper()
	target := genesis.RawJSONTarget{}
	if err := s.keeper.schema.ExportGenesis(s.ctx, target.Target()); err != nil {
		s.t.Fatal(err)
	}
	b, err := target.JSON()
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

func (s *town) fill(state string) {
	s.t.Helper()
	source, err := genesis.SourceFromRawJSON(json.RawMessage(state))
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.keeper.schema.InitGenesis(s.ctx, source); err != nil {
		s.t.Fatal(err)
	}
}
