package registry

import (
	"context"
	stded25519 "crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"cosmossdk.io/core/genesis"

	"github.com/cosmos/cosmos-sdk/codec"
	"github.com/cosmos/cosmos-sdk/codec/address"
	"github.com/cosmos/cosmos-sdk/codec/types"
	"github.com/cosmos/cosmos-sdk/crypto/keys/secp256k1"
	"github.com/cosmos/cosmos-sdk/runtime"
	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	"github.com/cosmos/cosmos-sdk/testutil"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/registryv1"
	"github.com/hpips/hpips/spec/sortition"
)

const (
	chainID   = "hpips-test-1"
	authority = "hpips1vote"
)

var bech32 = address.NewBech32Codec("hpips")

// town is a registry beside a committee whose time the test moves, and which remembers whose ticket was taken.
type town struct {
	t          testing.TB
	ctx        sdk.Context
	keeper     Keeper
	msgs       msgs
	day, epoch uint64
	forgotten  []sortition.Key
}

func (s *town) Day(context.Context) uint64   { return s.day }
func (s *town) Epoch(context.Context) uint64 { return s.epoch }
func (s *town) Forget(_ context.Context, id sortition.Key) error {
	s.forgotten = append(s.forgotten, id)
	return nil
}

// founded starts with one node of alice's.
func founded(t testing.TB) *town {
	s := bare(t)
	alice := person("alice")
	genesis, err := Genesis(DefaultParams(), []registryv1.Node{alice.first("pc")})
	if err != nil {
		t.Fatal(err)
	}
	s.fill(genesis)
	return s
}

func bare(t testing.TB) *town {
	key := storetypes.NewKVStoreKey(Name)
	s := &town{t: t, ctx: testutil.DefaultContext(key, storetypes.NewTransientStoreKey("t"))}
	s.ctx = s.ctx.WithChainID(chainID).WithBlockHeight(100).WithBlockTime(time.Unix(1_800_000_000, 0).UTC())
	s.keeper = NewKeeper(codec.NewProtoCodec(types.NewInterfaceRegistry()), runtime.NewKVStoreService(key), s, bech32, authority)
	s.msgs = msgs{s.keeper}
	return s
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

// people own accounts, and the keys of machines that they name.
type people struct {
	name    string
	account *secp256k1.PrivKey
}

func person(name string) people {
	return people{name, secp256k1.GenPrivKeyFromSecret([]byte(name))}
}

func (p people) address() string {
	a, err := bech32.BytesToString(p.account.PubKey().Address())
	if err != nil {
		panic(err)
	}
	return a
}

func (p people) key(what string) stded25519.PrivateKey {
	seed := sha256.Sum256([]byte(p.name + "/" + what))
	return stded25519.NewKeyFromSeed(seed[:])
}

func public(k stded25519.PrivateKey) sortition.Key {
	return sortition.Key(k.Public().(stded25519.PublicKey))
}

func (p people) first(pc string) registryv1.Node {
	node, votes, draws := public(p.key(pc)), public(p.key(pc+" votes")), public(p.key(pc+" draws"))
	return registryv1.Node{Id: node[:], ConsensusKey: votes[:], VrfKey: draws[:], Owner: p.address(), Standing: registryv1.STANDING_ACTIVE}
}

// word is what an honest owner registers a machine with; keys names the pair that it votes and draws with.
func (p people) word(pc, keys string) sortition.Registration {
	return sortition.Registration{Chain: chainID, Node: public(p.key(pc)), Consensus: public(p.key(keys + " votes")),
		VRF: public(p.key(keys + " draws")), Owner: p.address(), Height: 90}
}

// sign signs a word with whatever keys p has under these names.
func (p people) sign(t testing.TB, r sortition.Registration, pc, keys string) *registryv1.MsgRegister {
	t.Helper()
	m := &registryv1.MsgRegister{Carrier: person("alice").address(), OwnerKey: p.account.PubKey().Bytes()}
	signed, err := r.Signed()
	if err != nil {
		t.Fatal(err)
	}
	vrf, e1 := r.Prove(p.key(keys + " draws"))
	var e2, e3, e4, e5 error
	m.VrfProof = vrf[:]
	m.Registration, e2 = r.Bytes()
	m.NodeSignature, e3 = r.Sign(p.key(pc))
	m.ConsensusSignature, e4 = r.Sign(p.key(keys + " votes"))
	m.OwnerSignature, e5 = p.account.Sign(signed)
	if err := errors.Join(e1, e2, e3, e4, e5); err != nil {
		t.Fatal(err)
	}
	return m
}

func (p people) register(t testing.TB, pc string) *registryv1.MsgRegister {
	return p.sign(t, p.word(pc, pc), pc, pc)
}

func (p people) change(t testing.TB, pc, keys string) *registryv1.MsgChangeKeys {
	return (*registryv1.MsgChangeKeys)(p.sign(t, p.word(pc, keys), pc, keys))
}

func (s *town) node(p people, pc string) registryv1.Node {
	s.t.Helper()
	n, known, err := s.keeper.Node(s.ctx, public(p.key(pc)))
	if err != nil || !known {
		s.t.Fatalf("%s's %s: known %v, %v", p.name, pc, known, err)
	}
	return n
}
