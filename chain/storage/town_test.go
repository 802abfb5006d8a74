package storage

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"
	"time"

	"cosmossdk.io/core/genesis"
	"pgregory.net/rapid"

	"github.com/cosmos/cosmos-sdk/codec"
	"github.com/cosmos/cosmos-sdk/codec/types"
	"github.com/cosmos/cosmos-sdk/runtime"
	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	"github.com/cosmos/cosmos-sdk/testutil"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/chain/chaintest/keeptest"
	"github.com/hpips/hpips/proto/gen/storagev1"
	"github.com/hpips/hpips/spec/placement"
	"github.com/hpips/hpips/spec/proof"
	"github.com/hpips/hpips/spec/sortition"
)

type node = keeptest.Node

// town is a chain of some nodes, and what they keep. Each segment's file is made of its number.
type town struct {
	keeptest.World

	t        rapid.TB
	ctx      sdk.Context
	keeper   Keeper
	segments map[uint64]Segment
}

func (s *town) Segment(_ context.Context, number uint64) (Segment, bool, error) {
	g, ok := s.segments[number]
	return g, ok, nil
}

// noDeals is chain/deal where nobody ever made one; both together are tried by test/deals.
type noDeals struct {
	Deals // nothing else is asked
}

func (noDeals) Over(context.Context, uint64) ([]Kept, bool, error) { return nil, true, nil }

func founded(t rapid.TB, copies uint32, nodes ...node) *town {
	key := storetypes.NewKVStoreKey(Name)
	s := &town{t: t, World: keeptest.New(nodes...), ctx: testutil.DefaultContext(key, storetypes.NewTransientStoreKey("t")), segments: map[uint64]Segment{}}
	s.ctx = s.ctx.WithChainID(keeptest.ChainID).WithBlockHeight(100).WithBlockTime(time.Unix(1_800_000_000, 0).UTC())
	s.keeper = NewKeeper(codec.NewProtoCodec(types.NewInterfaceRegistry()), runtime.NewKVStoreService(key), keeptest.Bech32, Neighbours{Committee: s, Registry: s, Archive: s, Duty: s, Deals: noDeals{}, Bond: s}, "the vote")
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
	s.Today++
	s.Current++
	s.blocks(4)
}

// record puts a segment on the archive's list.
func (s *town) record(number uint64) {
	var b proof.Builder
	if _, err := b.Write(keeptest.File(number)); err != nil {
		s.t.Fatal(err)
	}
	piece := b.Piece()
	s.segments[number] = Segment{Piece: piece, Point: placement.PiecePoint([32]byte{2}, piece.ID()), Height: s.ctx.BlockHeight()}
}

// line are all nodes in the order in which they are to keep a segment.
func (s *town) line(number uint64) (line []node) {
	var nodes []placement.Node
	for _, key := range s.keys() {
		if n, ok, _ := s.Placed(s.ctx, key); ok {
			nodes = append(nodes, n)
		}
	}
	list, err := placement.Holders(s.segments[number].Point, nodes, placement.Rules{Copies: len(nodes)})
	s.must(err)
	for _, p := range list {
		i := slices.IndexFunc(s.Nodes, func(n node) bool { return n.Key() == sortition.Key(p.ID) })
		line = append(line, s.Nodes[i])
	}
	return line
}

func (s *town) keys() (keys []sortition.Key) {
	for _, n := range s.Nodes {
		keys = append(keys, n.Key())
	}
	return keys
}

// says is a node's word about segments.
func (s *town) says(n node, segments ...uint64) *storagev1.MsgHold {
	key := n.Key()
	signature, err := proof.Hold{Epoch: s.Current, Segments: segments}.Sign(keeptest.ChainID, n.Secret())
	s.must(err)
	return &storagev1.MsgHold{Sender: n.Sender(), Node: key[:], Epoch: s.Current, Segments: segments, Signature: signature}
}

func (s *town) cached(do func(ctx sdk.Context) error) error { return keeptest.Cached(s.ctx, do) }

func (s *town) hold(n node, segments ...uint64) error {
	return s.cached(func(ctx sdk.Context) error { return s.keeper.hold(ctx, s.says(n, segments...)) })
}

func (s *town) holder(n node) storagev1.Holder {
	h, _, err := s.keeper.Holder(s.ctx, n.Key())
	s.must(err)
	return h
}

// holding are the names of who has a segment.
func (s *town) holding(number uint64) (names []node) {
	keys, err := s.keeper.holding(s.ctx, number)
	s.must(err)
	for _, n := range s.Nodes {
		if slices.Contains(keys, n.Key()) {
			names = append(names, n)
		}
	}
	return names
}

// asked is what a node is asked today.
func (s *town) asked(n node) (proof.Challenge, []proof.Leaf, []uint64) {
	h, _, c, err := s.keeper.task(s.ctx, n.Key())
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
	a := proof.Answer{Chain: keeptest.ChainID, Day: c.Day}
	for i, l := range leaves {
		b := keeptest.File(segments[i])
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
	a, err := a.Sign(n.Secret())
	s.must(err)
	text, err := a.Bytes()
	s.must(err)
	return text
}

func (s *town) prove(n node) error {
	text := s.answers(n, false)
	return s.cached(func(ctx sdk.Context) error {
		return s.keeper.prove(ctx, &storagev1.MsgProve{Sender: n.Sender(), Answer: text})
	})
}

// vouched is what auditors say of a node.
func (s *town) vouched(n node, by ...node) *storagev1.MsgVouch {
	c, _, _ := s.asked(n)
	key := n.Key()
	m := &storagev1.MsgVouch{Sender: n.Sender(), Node: key[:], Day: c.Day}
	for _, a := range by {
		signature, err := c.Witness(keeptest.ChainID, a.Secret())
		s.must(err)
		auditor := a.Key()
		m.Witnesses = append(m.Witnesses, storagev1.Witness{Auditor: auditor[:], Signature: signature})
	}
	slices.SortFunc(m.Witnesses, func(a, b storagev1.Witness) int { return bytes.Compare(a.Auditor, b.Auditor) })
	return m
}

func (s *town) vouch(m *storagev1.MsgVouch) error {
	return s.cached(func(ctx sdk.Context) error { return s.keeper.vouch(ctx, m) })
}
