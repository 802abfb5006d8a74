package deals

import (
	"bytes"
	"context"
	"encoding/binary"
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
	"github.com/hpips/hpips/chain/deal"
	"github.com/hpips/hpips/chain/storage"
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
	rows     storage.Keeper
	segments map[uint64]storage.Segment

	deals deal.Keeper
	purse map[string]int64      // uhpips
	files map[proof.Part]uint64 // numbers of parts' files
	rests bool                  // nothing is paid out
}

func (s *town) Segment(_ context.Context, number uint64) (storage.Segment, bool, error) {
	g, ok := s.segments[number]
	return g, ok, nil
}

func founded(t rapid.TB, copies uint32, nodes ...node) *town {
	key, beside := storetypes.NewKVStoreKey(storage.Name), storetypes.NewKVStoreKey(deal.Name)
	s := &town{t: t, World: keeptest.New(nodes...), segments: map[uint64]storage.Segment{},
		purse: map[string]int64{}, files: map[proof.Part]uint64{}}
	s.ctx = testutil.DefaultContextWithKeys(map[string]*storetypes.KVStoreKey{storage.Name: key, deal.Name: beside}, nil, nil)
	s.ctx = s.ctx.WithChainID(keeptest.ChainID).WithBlockHeight(100).WithBlockTime(time.Unix(1_800_000_000, 0).UTC())
	cdc := codec.NewProtoCodec(types.NewInterfaceRegistry())
	s.deals = deal.NewKeeper(cdc, runtime.NewKVStoreService(beside), keeptest.Bech32, deal.Neighbours{Bank: bank{s}, Days: s, Pay: bank{s}}, "the vote")
	s.rows = storage.NewKeeper(cdc, runtime.NewKVStoreService(key), keeptest.Bech32, storage.Neighbours{Committee: s, Registry: s, Archive: s, Duty: s, Deals: contracts{s.deals}, Bond: s}, "the vote")
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
	s.segments[number] = storage.Segment{Piece: piece, Point: placement.PiecePoint([32]byte{2}, piece.ID()), Height: s.ctx.BlockHeight()}
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
	return s.cached(func(ctx sdk.Context) error {
		_, err := s.rows.Msgs().Hold(ctx, s.says(n, segments...))
		return err
	})
}

func (s *town) holder(n node) storagev1.Holder {
	h, _, err := s.rows.Holder(s.ctx, n.Key())
	s.must(err)
	return h
}

// asked is what a node is asked today.
func (s *town) asked(n node) *storagev1.QueryAskedResponse {
	key := n.Key()
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
	a := proof.Answer{Chain: keeptest.ChainID, Day: r.Day}
	for i, l := range r.Places {
		b := keeptest.File(l.Segment + s.files[proof.Part{Deal: l.Deal, Number: l.Part}])
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
	a, err := a.Sign(n.Secret())
	s.must(err)
	text, err := a.Bytes()
	s.must(err)
	return text
}

func (s *town) prove(n node) error {
	text := s.answers(n, false)
	return s.cached(func(ctx sdk.Context) error {
		_, err := s.rows.Msgs().Prove(ctx, &storagev1.MsgProve{Sender: n.Sender(), Answer: text})
		return err
	})
}
