package escrow

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"cosmossdk.io/collections"
	"cosmossdk.io/core/genesis"
	"cosmossdk.io/log/v2"
	"cosmossdk.io/math"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	dbm "github.com/cosmos/cosmos-db"
	"github.com/cosmos/gogoproto/proto"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"google.golang.org/grpc"
	"pgregory.net/rapid"

	"github.com/cosmos/cosmos-sdk/baseapp"
	"github.com/cosmos/cosmos-sdk/codec"
	"github.com/cosmos/cosmos-sdk/codec/address"
	"github.com/cosmos/cosmos-sdk/codec/types"
	"github.com/cosmos/cosmos-sdk/runtime"
	"github.com/cosmos/cosmos-sdk/std"
	"github.com/cosmos/cosmos-sdk/store/v2"
	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	authkeeper "github.com/cosmos/cosmos-sdk/x/auth/keeper"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	"github.com/cosmos/cosmos-sdk/x/authz"
	authzkeeper "github.com/cosmos/cosmos-sdk/x/authz/keeper"
	bankkeeper "github.com/cosmos/cosmos-sdk/x/bank/keeper"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"
	"github.com/cosmos/cosmos-sdk/x/tx/signing"

	"github.com/hpips/hpips/proto/gen/escrowv1"
	"github.com/hpips/hpips/spec/voucher"
)

const (
	chainID = "hpips-test-1"
	hpips   = 1_000_000
	silver  = "silver" // an asset that a vote admitted
	tin     = "tin"    // one that none did
	levy    = "levy"
)

// authority speaks for a vote.
var authority = people{"vote"}.address()

var bech32 = address.NewBech32Codec("hpips")

// cdc knows the messages of accounts, money, allowances and escrow.
var cdc = func() *codec.ProtoCodec {
	sdk.GetConfig().SetBech32PrefixForAccount("hpips", "hpipspub")
	registry, err := types.NewInterfaceRegistryWithOptions(types.InterfaceRegistryOptions{
		ProtoFiles: proto.HybridResolver, SigningOptions: signing.Options{AddressCodec: bech32, ValidatorAddressCodec: bech32},
	})
	if err != nil {
		panic(err)
	}
	std.RegisterInterfaces(registry)
	authtypes.RegisterInterfaces(registry)
	banktypes.RegisterInterfaces(registry)
	authz.RegisterInterfaces(registry)
	RegisterInterfaces(registry)
	return codec.NewProtoCodec(registry)
}()

// services takes messages and questions where the chain takes them.
type services struct {
	msgs    *baseapp.MsgServiceRouter
	queries *baseapp.GRPCQueryRouter
}

func (s services) RegisterService(d *grpc.ServiceDesc, server any) {
	if d.ServiceName == "hpips.escrow.v1.Msg" {
		s.msgs.RegisterService(d, server)
		return
	}
	s.queries.RegisterService(d, server)
}

// people own accounts; those who provide have a node, those who ask have a key for vouchers.
type people struct{ name string }

var alice, bob, carol, dave = people{"alice"}, people{"bob"}, people{"carol"}, people{"dave"}

func (p people) at() sdk.AccAddress { return authtypes.NewModuleAddress("person/" + p.name) }

func (p people) address() string {
	text, err := bech32.BytesToString(p.at())
	if err != nil {
		panic(err)
	}
	return text
}

func (p people) node() ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(p.name + "'s node"))
	return ed25519.NewKeyFromSeed(seed[:])
}

func (p people) id() []byte { return p.node().Public().(ed25519.PublicKey) }

func (p people) secret() []byte {
	sum := sha256.Sum256([]byte(p.name + "'s vouchers"))
	return sum[:]
}

func (p people) key() []byte {
	return secp256k1.PrivKeyFromBytes(p.secret()).PubKey().SerializeCompressed()
}

// town is an escrow beside a real bank. What it asks of other rooms, the test says.
type town struct {
	t      rapid.TB
	ctx    sdk.Context
	stores storetypes.CommitMultiStore
	key    *storetypes.KVStoreKey
	keeper Keeper
	msgs   msgs
	bank   bankkeeper.BaseKeeper
	authz  authzkeeper.Keeper

	index    uint64
	left     map[string]bool                   // nodes that take part no more, by key
	reserved collections.Map[[]byte, math.Int] // by account
	resting  bool
	refused  map[string]bool // payees whose payment fails
	audits   map[uint64]bool // open, by sequence
	lost     map[uint64]bool // whose node was convicted
	settled  []uint64        // redemptions of which the audits heard that they are over
	asked    bool            // audits look at something of every lease
	finals   []Final
	touched  []string // nodes, a lease of which was gone
}

// founded is a town in which alice and carol have 1,000 HPIPS, and 1,000,000 of silver and tin. Bob has nothing, not even an account.
func founded(t rapid.TB) *town {
	keys := storetypes.NewKVStoreKeys(Name, "supply", authtypes.StoreKey, banktypes.StoreKey, authzkeeper.StoreKey)
	s := &town{t: t, stores: store.NewCommitMultiStore(dbm.NewMemDB(), log.NewNopLogger()), key: keys[Name], index: 100, left: map[string]bool{}, refused: map[string]bool{}, audits: map[uint64]bool{}, lost: map[uint64]bool{}}
	s.reserved = collections.NewMap(collections.NewSchemaBuilder(runtime.NewKVStoreService(keys["supply"])), collections.NewPrefix(1), "reserved",
		collections.BytesKey, sdk.IntValue)
	for _, key := range keys {
		s.stores.MountStoreWithDB(key, storetypes.StoreTypeIAVL, nil)
	}
	s.must(s.stores.LoadLatestVersion())
	s.ctx = sdk.NewContext(s.stores, cmtproto.Header{}, false, log.NewNopLogger()).WithChainID(chainID).WithBlockHeight(1000).WithBlockTime(time.Unix(1_800_000_000, 0).UTC()).WithExecMode(sdk.ExecModeFinalize)
	permissions := map[string][]string{Name: nil, levy: nil, authtypes.FeeCollectorName: nil}
	blocked := map[string]bool{}
	for name := range permissions {
		blocked[authtypes.NewModuleAddress(name).String()] = true
	}
	accounts := authkeeper.NewAccountKeeper(cdc, runtime.NewKVStoreService(keys[authtypes.StoreKey]), authtypes.ProtoBaseAccount, permissions, bech32, "hpips", authority)
	s.bank = bankkeeper.NewBaseKeeper(cdc, runtime.NewKVStoreService(keys[banktypes.StoreKey]), accounts, blocked, authority, log.NewNopLogger())
	purse := sdk.NewCoins(sdk.NewInt64Coin(Denom, 1000*hpips), sdk.NewInt64Coin(silver, hpips), sdk.NewInt64Coin(tin, hpips))
	s.bank.InitGenesis(s.ctx, &banktypes.GenesisState{Params: banktypes.DefaultParams(), Balances: []banktypes.Balance{
		{Address: alice.address(), Coins: purse}, {Address: carol.address(), Coins: purse},
	}})
	s.keeper = NewKeeper(cdc, runtime.NewKVStoreService(s.key), Others{s.bank, s, s, s, s, s, s, s}, bech32, authority)
	s.msgs = msgs{s.keeper}
	router := baseapp.NewMsgServiceRouter()
	router.SetInterfaceRegistry(cdc.InterfaceRegistry())
	s.must(NewModule(s.keeper).RegisterServices(services{router, baseapp.NewGRPCQueryRouter()}))
	s.authz = authzkeeper.NewKeeper(runtime.NewKVStoreService(keys[authzkeeper.StoreKey]), cdc, router, accounts).SetBankKeeper(s.bank)
	state, err := Genesis(Public())
	if err != nil {
		t.Fatal(err)
	}
	s.fill(state)
	return s
}

// Reserve keeps what supply would, and does not let anybody have less than nothing.
func (s *town) Reserve(ctx context.Context, who sdk.AccAddress, delta math.Int) error {
	n := s.reserve(ctx, who).Add(delta)
	if n.IsNegative() {
		return fmt.Errorf("reserved for %s: %s", who, n)
	}
	return s.reserved.Set(ctx, who, n)
}

func (s *town) reserve(ctx context.Context, who sdk.AccAddress) math.Int {
	n, err := s.reserved.Get(ctx, who)
	if errors.Is(err, collections.ErrNotFound) {
		return math.ZeroInt()
	}
	s.must(err)
	return n
}

// Owner knows bob's and dave's nodes.
func (s *town) Owner(_ context.Context, node []byte) (owner string, active, known bool, err error) {
	for _, p := range []people{bob, dave} {
		if bytes.Equal(node, p.id()) {
			return p.address(), !s.left[string(node)], true, nil
		}
	}
	return "", false, false, nil
}

func (s *town) Admitted(_ context.Context, denom string) (bool, error) { return denom == silver, nil }

func (s *town) Index(context.Context) (uint64, error) { return s.index, nil }

func (s *town) Redeemed(context.Context, escrowv1.Redemption, escrowv1.Lease) error { return nil }

func (s *town) Fate(_ context.Context, _ []byte, sequence uint64) (Fate, error) {
	switch {
	case s.lost[sequence]:
		return Lost, nil
	case s.audits[sequence]:
		return Waits, nil
	}
	return Passes, nil
}

func (s *town) Settled(_ context.Context, r escrowv1.Redemption, lost bool) error {
	if lost != s.lost[r.Sequence] {
		return errors.New("another fate than its own")
	}
	s.settled = append(s.settled, r.Sequence)
	return nil
}

func (s *town) Busy(context.Context, []byte) (bool, error) { return s.asked, nil }

// Touch is the bond's.
func (s *town) Touch(_ context.Context, node []byte) error {
	s.touched = append(s.touched, string(node))
	return nil
}

// Split pays nine tenths to the payee and the rest to the levy, as chain/reward does.
func (s *town) Split(ctx context.Context, f Final) error {
	switch {
	case s.resting:
		return ErrResting
	case s.refused[f.Payee]:
		return errors.New("the payee's account takes nothing")
	}
	_, payee, err := s.keeper.canonical(f.Payee)
	if err != nil {
		return err
	}
	paid := f.Amount.MulRaw(9).QuoRaw(10)
	if paid.IsPositive() {
		if err := s.bank.SendCoinsFromModuleToAccount(ctx, Name, payee, coins(f.Denom, paid)); err != nil {
			return err
		}
	}
	if rest := f.Amount.Sub(paid); rest.IsPositive() {
		if err := s.bank.SendCoinsFromModuleToModule(ctx, Name, levy, coins(f.Denom, rest)); err != nil {
			return err
		}
	}
	s.finals = append(s.finals, f)
	return nil
}

func (s *town) fill(state json.RawMessage) {
	s.t.Helper()
	source, err := genesis.SourceFromRawJSON(state)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.keeper.schema.InitGenesis(s.ctx, source); err != nil {
		s.t.Fatal(err)
	}
}

func (s *town) export() json.RawMessage {
	s.t.Helper()
	target := genesis.RawJSONTarget{}
	if err := s.keeper.schema.ExportGenesis(s.ctx, target.Target()); err != nil {
		s.t.Fatal(err)
	}
	b, err := target.JSON()
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// restart writes everything out, forgets it, and reads it in.
func (s *town) restart() {
	s.t.Helper()
	out := s.export()
	kept := s.ctx.KVStore(s.key)
	it := kept.Iterator(nil, nil)
	var all [][]byte
	for ; it.Valid(); it.Next() {
		all = append(all, it.Key())
	}
	if err := it.Close(); err != nil {
		s.t.Fatal(err)
	}
	for _, key := range all {
		kept.Delete(key)
	}
	s.fill(out)
	if again := s.export(); !bytes.Equal(again, out) {
		s.t.Fatalf("out:\n%s\nback:\n%s", out, again)
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

func (s *town) now() int64 { return s.ctx.BlockTime().Unix() }

// block makes the next block with a seed.
func (s *town) block(after time.Duration) {
	s.t.Helper()
	s.index++
	s.ctx = s.ctx.WithBlockHeight(s.ctx.BlockHeight() + 1).WithBlockTime(s.ctx.BlockTime().Add(after))
	if err := s.keeper.Advance(s.ctx); err != nil {
		s.t.Fatal(err)
	}
}

func (s *town) blocks(n int, each time.Duration) {
	s.t.Helper()
	for range n {
		s.block(each)
	}
}

// payers are those whose leases have numbers: alice's up to 2^32, then carol's and bob's.
var payers = []people{alice, carol, bob}

// terms is the digest that the terms of a lease with this number would have, lease its ID, id the ID's bytes. Two payers may have the same terms.
func terms(n uint64) [32]byte {
	return sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(uint32(n))))
}
func lease(n uint64) voucher.ID { return voucher.LeaseID(payers[n>>32].address(), terms(n)) }

func id(n uint64) []byte {
	id := lease(n)
	return id[:]
}

// deposit is alice's usual one, for a day's work of bob's.
func (s *town) deposit(n uint64, amount int64) escrowv1.Deposit {
	digest := terms(n)
	return escrowv1.Deposit{Terms: digest[:], Node: bob.id(), VoucherKey: alice.key(), Denom: Denom, Amount: math.NewInt(amount), Until: s.now() + day}
}

func (s *town) open(who people, deposits ...escrowv1.Deposit) error {
	return s.try(func(ctx sdk.Context) error {
		_, err := s.msgs.Open(ctx, &escrowv1.MsgOpen{Payer: who.address(), Deposits: deposits})
		return err
	})
}

func (s *town) topUp(who people, additions ...escrowv1.Addition) error {
	return s.try(func(ctx sdk.Context) error {
		_, err := s.msgs.TopUp(ctx, &escrowv1.MsgTopUp{Payer: who.address(), Additions: additions})
		return err
	})
}

func (s *town) close(who people, leases ...uint64) error {
	m := &escrowv1.MsgClose{Party: who.address()}
	for _, n := range leases {
		id := lease(n)
		m.Leases = append(m.Leases, id[:])
	}
	return s.try(func(ctx sdk.Context) error {
		_, err := s.msgs.Close(ctx, m)
		return err
	})
}

// promise is alice's voucher for a lease, in a claim.
func promise(t rapid.TB, n, amount uint64) escrowv1.Claim {
	return signs(t, alice, voucher.Voucher{Chain: chainID, Lease: lease(n), Amount: amount, Usage: voucher.Usage{Tasks: amount}})
}

func signs(t rapid.TB, who people, v voucher.Voucher) escrowv1.Claim {
	t.Helper()
	signed, err := v.Sign(who.secret())
	if err != nil {
		t.Fatal(err)
	}
	b, err := v.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return escrowv1.Claim{Voucher: b, Signature: signed.Signature}
}

// last is the same claim with the word that it is its lease's last.
func last(c escrowv1.Claim) escrowv1.Claim {
	c.Last = true
	return c
}

// unused lets go of a lease without a voucher.
func unused(n uint64) escrowv1.Claim { return escrowv1.Claim{Last: true, Lease: id(n)} }

// redemption is what an honest node sends.
func redemption(who people, claims ...escrowv1.Claim) *escrowv1.MsgRedeem {
	sum := sha256.Sum256(who.id())
	sender, err := bech32.BytesToString(sum[:20])
	if err != nil {
		panic(err)
	}
	m := &escrowv1.MsgRedeem{Sender: sender, Node: who.id(), Claims: claims}
	words := make([]voucher.Claim, len(claims))
	for i, c := range claims {
		words[i] = voucher.Claim{Voucher: c.Voucher, Signature: c.Signature, Last: c.Last, Lease: c.Lease}
	}
	m.Signature = voucher.SignRedeem(chainID, words, who.node())
	return m
}

func (s *town) send(m *escrowv1.MsgRedeem) error {
	return s.try(func(ctx sdk.Context) error {
		if err := s.keeper.CheckRedeem(ctx, m); err != nil {
			return err
		}
		_, err := s.msgs.Redeem(ctx, m)
		return err
	})
}

func (s *town) redeem(who people, claims ...escrowv1.Claim) error {
	return s.send(redemption(who, claims...))
}

func (s *town) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// refuses wants this code, and a registered one.
func (s *town) refuses(what string, err, want error) {
	s.t.Helper()
	if !errors.Is(err, want) {
		s.t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func (s *town) has(p people, denom string) int64 {
	return s.bank.GetBalance(s.ctx, p.at(), denom).Amount.Int64()
}

func (s *town) holds(name, denom string) int64 {
	return s.bank.GetBalance(s.ctx, authtypes.NewModuleAddress(name), denom).Amount.Int64()
}

func (s *town) lease(n uint64) (escrowv1.Lease, bool) {
	s.t.Helper()
	l, known, err := s.keeper.Lease(s.ctx, lease(n))
	s.must(err)
	return l, known
}

// sound is what holds at every moment.
func (s *town) sound() {
	s.t.Helper()
	s.must(s.keeper.Recount(s.ctx))
	for _, p := range []people{alice, bob, carol, dave} {
		reserved := s.reserve(s.ctx, p.at())
		res, err := queries{s.keeper}.Account(s.ctx, &escrowv1.QueryAccountRequest{Address: p.address()})
		s.must(err)
		if have := res.Escrowed.AmountOf(Denom); !have.Equal(reserved) {
			s.t.Fatalf("%s has %s in escrow, %s are reserved", p.name, have, reserved)
		}
	}
}
