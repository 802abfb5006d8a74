package deals

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"cosmossdk.io/core/genesis"
	"pgregory.net/rapid"

	"github.com/cosmos/cosmos-sdk/codec"
	"github.com/cosmos/cosmos-sdk/codec/address"
	"github.com/cosmos/cosmos-sdk/codec/types"
	"github.com/cosmos/cosmos-sdk/runtime"
	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	"github.com/cosmos/cosmos-sdk/testutil"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/chain/deal"
	"github.com/hpips/hpips/chain/storage"
	"github.com/hpips/hpips/proto/gen/storagev1"
	"github.com/hpips/hpips/spec/placement"
	"github.com/hpips/hpips/spec/proof"
	"github.com/hpips/hpips/spec/sortition"
)

const chainID = "hpips-test-1"

var bech32 = address.NewBech32Codec("hpips")

// node is somebody's, by the name of its owner.
type node string

func (n node) secret() ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(string(n) + "'s node"))
	return ed25519.NewKeyFromSeed(seed[:])
}

func (n node) key() sortition.Key { return sortition.Key(n.secret().Public().(ed25519.PublicKey)) }

func (n node) sender() string {
	key := n.key()
	sum := sha256.Sum256(key[:])
	text, err := bech32.BytesToString(sum[:20])
	if err != nil {
		panic(err)
	}
	return text
}

// town is a chain of some nodes, and what they keep. Each segment's file is made of its number.
type town struct {
	t        rapid.TB
	ctx      sdk.Context
	rows     storage.Keeper
	nodes    []node
	retired  map[node]bool
	segments map[uint64]storage.Segment
	day      uint64
	epoch    uint64
	auditors []node
	stored   map[sortition.Key]uint64
	fined    map[sortition.Key]uint64

	deals deal.Keeper
	purse map[string]int64      // uhpips
	files map[proof.Part]uint64 // numbers of parts' files
	rests bool                  // nothing is paid out
}

func (s *town) Day(context.Context) uint64         { return s.day }
func (s *town) EpochNumber(context.Context) uint64 { return s.epoch }

func (s *town) Slot(context.Context) (uint64, error) { return s.day, nil }

func (s *town) Limited(context.Context) (owner, network bool, err error) { return true, false, nil }

func (s *town) Observers(context.Context, sortition.Key, uint64) (keys []sortition.Key, needed uint32, err error) {
	for _, n := range s.auditors {
		keys = append(keys, n.key())
	}
	return keys, sortition.Needed(5, 3, uint32(len(keys))), nil
}

func (s *town) Placed(_ context.Context, key sortition.Key) (placement.Node, bool, error) {
	for _, n := range s.nodes {
		if n.key() == key && !s.retired[n] {
			return placement.Node{ID: key, Point: placement.NodePoint([32]byte{1}, key), Owner: string(n), Weight: 1}, true, nil
		}
	}
	return placement.Node{}, false, nil
}

func (s *town) Segment(_ context.Context, number uint64) (storage.Segment, bool, error) {
	g, ok := s.segments[number]
	return g, ok, nil
}

func (s *town) Stored(_ context.Context, key sortition.Key, mib uint64) error {
	s.stored[key] += mib
	return nil
}

func (s *town) Fine(_ context.Context, key sortition.Key, amount uint64) error {
	s.fined[key] += amount
	return nil
}

func founded(t rapid.TB, copies uint32, nodes ...node) *town {
	key, beside := storetypes.NewKVStoreKey(storage.Name), storetypes.NewKVStoreKey(deal.Name)
	s := &town{t: t, nodes: nodes, day: 10, retired: map[node]bool{}, segments: map[uint64]storage.Segment{}, stored: map[sortition.Key]uint64{}, fined: map[sortition.Key]uint64{},
		purse: map[string]int64{}, files: map[proof.Part]uint64{}}
	s.ctx = testutil.DefaultContextWithKeys(map[string]*storetypes.KVStoreKey{storage.Name: key, deal.Name: beside}, nil, nil)
	s.ctx = s.ctx.WithChainID(chainID).WithBlockHeight(100).WithBlockTime(time.Unix(1_800_000_000, 0).UTC())
	cdc := codec.NewProtoCodec(types.NewInterfaceRegistry())
	s.deals = deal.NewKeeper(cdc, runtime.NewKVStoreService(beside), bech32, deal.Neighbours{Bank: bank{s}, Days: s, Pay: bank{s}}, "the vote")
	s.rows = storage.NewKeeper(cdc, runtime.NewKVStoreService(key), bech32, storage.Neighbours{Committee: s, Registry: s, Archive: s, Duty: s, Deals: contracts{s.deals}, Bond: s}, "the vote")
	p := storage.Public()
	p.Copies = copies
	text, err := storage.Genesis(p)
	s.must(err)
	source, err := genesis.SourceFromRawJSON(text)
	s.must(err)
	s.must(storage.NewModule(s.rows).Schema.InitGenesis(s.ctx, source))
	return s
}

func (s *town) must(err error) {
	if s.t.Helper(); err != nil {
		s.t.Fatal(err)
	}
}

// blocks makes some, each with a seed.
func (s *town) blocks(n int) {
	s.t.Helper()
	for range n {
		s.ctx = s.ctx.WithBlockHeight(s.ctx.BlockHeight() + 1)
		var seed sortition.Seed
		binary.BigEndian.PutUint64(seed[:], uint64(s.ctx.BlockHeight()))
		s.must(s.deals.Advance(s.ctx, seed))
		s.must(s.rows.Advance(s.ctx, seed))
	}
}

// tomorrow begins a day, and makes as many blocks as it takes to ask.
func (s *town) tomorrow() {
	s.t.Helper()
	s.day++
	s.epoch++
	s.blocks(4)
}

// file is the bytes of a segment.
func file(number uint64) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < int(number)*700; i++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "%d %d", number, i))
		b.Write(sum[:])
	}
	return b.Bytes()
}

// record puts a segment on the archive's list.
func (s *town) record(number uint64) {
	var b proof.Builder
	if _, err := b.Write(file(number)); err != nil {
		s.t.Fatal(err)
	}
	piece := b.Piece()
	s.segments[number] = storage.Segment{Piece: piece, Point: placement.PiecePoint([32]byte{2}, piece.ID()), Height: s.ctx.BlockHeight()}
}

// says is a node's word about segments.
func (s *town) says(n node, segments ...uint64) *storagev1.MsgHold {
	key := n.key()
	signature, err := proof.Hold{Epoch: s.epoch, Segments: segments}.Sign(chainID, n.secret())
	s.must(err)
	return &storagev1.MsgHold{Sender: n.sender(), Node: key[:], Epoch: s.epoch, Segments: segments, Signature: signature}
}

// cached runs something as a transaction does: what it wrote is lost with an error.
func (s *town) cached(do func(ctx sdk.Context) error) error {
	ctx, write := s.ctx.CacheContext()
	err := do(ctx)
	if err == nil {
		write()
	}
	return err
}

func (s *town) hold(n node, segments ...uint64) error {
	return s.cached(func(ctx sdk.Context) error {
		_, err := s.rows.Msgs().Hold(ctx, s.says(n, segments...))
		return err
	})
}

func (s *town) holder(n node) storagev1.Holder {
	h, _, err := s.rows.Holder(s.ctx, n.key())
	s.must(err)
	return h
}

// asked is what a node is asked today.
func (s *town) asked(n node) *storagev1.QueryAskedResponse {
	key := n.key()
	r, err := s.rows.Queries().Asked(s.ctx, &storagev1.QueryAskedRequest{Node: key[:]})
	s.must(err)
	return r
}

// owes tells whether a node is to answer today.
func (s *town) owes(n node) bool {
	r := s.asked(n)
	return len(r.Places) > 0 && r.Holder.Proven != r.Day
}

// answers is what a node shows today; spoiled, one leaf is another.
func (s *town) answers(n node, spoiled bool) []byte {
	r := s.asked(n)
	a := proof.Answer{Chain: chainID, Day: r.Day}
	for i, l := range r.Places {
		b := file(l.Segment + s.files[proof.Part{Deal: l.Deal, Number: l.Part}])
		o := proof.NewOutliner()
		_, err := o.Write(b)
		s.must(err)
		p, err := o.Outline().Prove(bytes.NewReader(b), l.Leaf)
		s.must(err)
		if spoiled && i == 2 {
			p.Leaf[0] ^= 1
		}
		a.Proofs = append(a.Proofs, p)
	}
	a, err := a.Sign(n.secret())
	s.must(err)
	text, err := a.Bytes()
	s.must(err)
	return text
}

func (s *town) prove(n node) error {
	text := s.answers(n, false)
	return s.cached(func(ctx sdk.Context) error {
		_, err := s.rows.Msgs().Prove(ctx, &storagev1.MsgProve{Sender: n.sender(), Answer: text})
		return err
	})
}
