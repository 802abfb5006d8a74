package storage

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
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
	keeper   Keeper
	nodes    []node
	retired  map[node]bool
	segments map[uint64]Segment
	day      uint64
	epoch    uint64
	auditors []node
	stored   map[sortition.Key]uint64
	fined    map[sortition.Key]uint64
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

func (s *town) Segment(_ context.Context, number uint64) (Segment, bool, error) {
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

// noDeals is chain/deal where nobody ever made one; both together are tried by test/deals.
type noDeals struct {
	Deals // nothing else is asked
}

func (noDeals) Over(context.Context, uint64) ([]Kept, bool, error) { return nil, true, nil }

func founded(t rapid.TB, copies uint32, nodes ...node) *town {
	key := storetypes.NewKVStoreKey(Name)
	s := &town{t: t, nodes: nodes, ctx: testutil.DefaultContext(key, storetypes.NewTransientStoreKey("t")), day: 10, retired: map[node]bool{}, segments: map[uint64]Segment{}, stored: map[sortition.Key]uint64{}, fined: map[sortition.Key]uint64{}}
	s.ctx = s.ctx.WithChainID(chainID).WithBlockHeight(100).WithBlockTime(time.Unix(1_800_000_000, 0).UTC())
	s.keeper = NewKeeper(codec.NewProtoCodec(types.NewInterfaceRegistry()), runtime.NewKVStoreService(key), bech32, Neighbours{Committee: s, Registry: s, Archive: s, Duty: s, Deals: noDeals{}, Bond: s}, "the vote")
	p := Public()
	p.Copies = copies
	text, err := Genesis(p)
	s.must(err)
	source, err := genesis.SourceFromRawJSON(text)
	s.must(err)
	s.must(s.keeper.schema.InitGenesis(s.ctx, source))
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
		s.must(s.keeper.Advance(s.ctx, seed))
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
	s.segments[number] = Segment{Piece: piece, Point: placement.PiecePoint([32]byte{2}, piece.ID()), Height: s.ctx.BlockHeight()}
}

// line are all nodes in the order in which they are to keep a segment.
func (s *town) line(number uint64) (line []node) {
	nodes, err := s.keeper.placed(s.ctx, s.keys())
	s.must(err)
	list, err := placement.Holders(s.segments[number].Point, nodes, placement.Rules{Copies: len(nodes)})
	s.must(err)
	for _, p := range list {
		i := slices.IndexFunc(s.nodes, func(n node) bool { return n.key() == sortition.Key(p.ID) })
		line = append(line, s.nodes[i])
	}
	return line
}

func (s *town) keys() (keys []sortition.Key) {
	for _, n := range s.nodes {
		keys = append(keys, n.key())
	}
	return keys
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
	return s.cached(func(ctx sdk.Context) error { return s.keeper.hold(ctx, s.says(n, segments...)) })
}

func (s *town) holder(n node) storagev1.Holder {
	h, _, err := s.keeper.Holder(s.ctx, n.key())
	s.must(err)
	return h
}

// holding are the names of who has a segment.
func (s *town) holding(number uint64) (names []node) {
	keys, err := s.keeper.holding(s.ctx, number)
	s.must(err)
	for _, n := range s.nodes {
		if slices.Contains(keys, n.key()) {
			names = append(names, n)
		}
	}
	return names
}

// asked is what a node is asked today.
func (s *town) asked(n node) (proof.Challenge, []proof.Leaf, []uint64) {
	h, _, c, err := s.keeper.task(s.ctx, n.key())
	s.must(err)
	leaves, of, err := s.keeper.leaves(s.ctx, h, c)
	s.must(err)
	var segments []uint64
	for _, piece := range of {
		segments = append(segments, piece.Segment)
	}
	return c, leaves, segments
}

// answers is what a node shows today; spoiled, one leaf is another.
func (s *town) answers(n node, spoiled bool) []byte {
	c, leaves, segments := s.asked(n)
	a := proof.Answer{Chain: chainID, Day: c.Day}
	for i, l := range leaves {
		b := file(segments[i])
		o := proof.NewOutliner()
		_, err := o.Write(b)
		s.must(err)
		p, err := o.Outline().Prove(bytes.NewReader(b), l.Place)
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
		return s.keeper.prove(ctx, &storagev1.MsgProve{Sender: n.sender(), Answer: text})
	})
}

// vouched is what auditors say of a node.
func (s *town) vouched(n node, by ...node) *storagev1.MsgVouch {
	c, _, _ := s.asked(n)
	key := n.key()
	m := &storagev1.MsgVouch{Sender: n.sender(), Node: key[:], Day: c.Day}
	for _, a := range by {
		signature, err := c.Witness(chainID, a.secret())
		s.must(err)
		auditor := a.key()
		m.Witnesses = append(m.Witnesses, storagev1.Witness{Auditor: auditor[:], Signature: signature})
	}
	slices.SortFunc(m.Witnesses, func(a, b storagev1.Witness) int { return bytes.Compare(a.Auditor, b.Auditor) })
	return m
}

func (s *town) vouch(m *storagev1.MsgVouch) error {
	return s.cached(func(ctx sdk.Context) error { return s.keeper.vouch(ctx, m) })
}
