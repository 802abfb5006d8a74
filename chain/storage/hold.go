package storage

import (
	"context"
	"errors"
	"slices"

	"cosmossdk.io/collections"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/storagev1"
	"github.com/hpips/hpips/spec/placement"
	"github.com/hpips/hpips/spec/proof"
	"github.com/hpips/hpips/spec/sortition"
)

// hold takes a node's word:
//
//  1. The node takes part, and signed it in this epoch.
//  2. It is there from now on, if it was not: one of those among whom holders are drawn.
//  3. Each segment that it names has a place, and the node may keep it (see may).
//  4. The piece comes to the end of its row. It is asked for from the next day on.
//  5. Who kept the segment and is no more among the best placed of those who do lets it go at the end of the day.
func (k Keeper) hold(ctx sdk.Context, m *storagev1.MsgHold) error {
	node, h, err := k.word(ctx, m) // 1
	if err != nil {
		return err
	}
	if h.Away || h.Joined == 0 { // 2
		h = storagev1.Holder{Node: h.Node, Proven: h.Proven, Doubted: h.Doubted, Due: h.Due, Offer: h.Offer, Offered: h.Offered, Joined: max(1, k.Committee.Day(ctx))}
		if err := k.keep(ctx, h); err != nil {
			return err
		}
		tell(ctx, "hpips_holder", "node", node.String())
	} else if len(m.Segments) == 0 {
		return ErrTwice
	}
	if len(m.Segments) == 0 {
		return nil
	}
	if h.Leaving > 0 {
		return ErrLeaves
	}
	nodes, rules, err := k.present(ctx)
	if err != nil {
		return err
	}
	for _, number := range m.Segments {
		s, known, err := k.Archive.Segment(ctx, number) // 3
		switch {
		case err != nil:
			return err
		case !known:
			return ErrSegment.Wrapf("segment %d", number)
		}
		keep, err := k.may(ctx, node, number, s, nodes, rules)
		if err != nil {
			return err
		}
		if h, err = k.grow(ctx, h, storagev1.Held{Segment: number, Root: s.Piece.Root[:], Length: s.Piece.Size}); err != nil { // 4
			return err
		}
		if err := k.thin(ctx, number, keep); err != nil { // 5
			return err
		}
	}
	return nil
}

// word checks who says it.
func (k Keeper) word(ctx sdk.Context, m *storagev1.MsgHold) (sortition.Key, storagev1.Holder, error) {
	if err := k.shape(m); err != nil {
		return sortition.Key{}, storagev1.Holder{}, err
	}
	return k.says(ctx, sortition.Key(m.Node), m.Epoch, func(node [32]byte) error {
		return proof.Hold{Epoch: m.Epoch, Segments: m.Segments}.CheckSigned(ctx.ChainID(), node, m.Signature)
	})
}

// says gives the record of a node that takes part, and signed something in this epoch.
func (k Keeper) says(ctx sdk.Context, node sortition.Key, in uint64, signed func(node [32]byte) error) (sortition.Key, storagev1.Holder, error) {
	_, ok, err := k.Registry.Placed(ctx, node)
	switch {
	case err != nil:
		return node, storagev1.Holder{}, err
	case !ok:
		return node, storagev1.Holder{}, ErrNode
	}
	if epoch := k.Committee.EpochNumber(ctx); in != epoch {
		return node, storagev1.Holder{}, ErrEpoch.Wrapf("epoch %d in epoch %d", in, epoch)
	}
	if err := signed(node); err != nil {
		return node, storagev1.Holder{}, ErrSignature.Wrap(err.Error())
	}
	h, _, err := k.Holder(ctx, node)
	return node, h, err
}

// still tells whether a word that was good may be so after another block: nothing that it says is known.
func (k Keeper) still(ctx sdk.Context, m *storagev1.MsgHold) error {
	node, h, err := k.word(ctx, m)
	if err == nil && len(m.Segments) == 0 && h.Joined > 0 && !h.Away {
		err = ErrTwice
	}
	for _, number := range m.Segments {
		has, wrong := k.copies.Has(ctx, collections.Join(number, node[:]))
		if err = errors.Join(err, wrong); has {
			err = errors.Join(err, ErrTwice.Wrapf("segment %d", number))
		}
	}
	return err
}

// may tells by an error whether a node may say that it has a segment, and who keeps it then. On the day on which the segment was recorded only the best placed of all that are there may; from then on others fill the
// places of those who did not say so.
func (k Keeper) may(ctx context.Context, node sortition.Key, number uint64, s Segment, nodes []placement.Node, rules placement.Rules) (keep []sortition.Key, err error) {
	if has, err := k.copies.Has(ctx, collections.Join(number, node[:])); err != nil {
		return nil, err
	} else if has {
		return nil, ErrTwice.Wrapf("segment %d", number)
	}
	holding, err := k.holding(ctx, number)
	if err != nil {
		return nil, err
	}
	holding = append(holding, node)
	of := slices.DeleteFunc(slices.Clone(nodes), func(n placement.Node) bool { return !slices.Contains(holding, sortition.Key(n.ID)) })
	if keep, err = first(s.Point, of, rules); err != nil {
		return nil, err
	}
	best := keep
	a, err := k.today(ctx)
	if err != nil {
		return nil, err
	}
	if s.Height >= a.Height {
		if best, err = first(s.Point, nodes, rules); err != nil {
			return nil, err
		}
	}
	if !slices.Contains(best, node) || !slices.Contains(keep, node) {
		return nil, ErrPlace.Wrapf("segment %d", number)
	}
	return keep, nil
}

func first(at placement.Point, of []placement.Node, rules placement.Rules) (keys []sortition.Key, err error) {
	list, err := placement.Holders(at, of, rules)
	for _, n := range list {
		keys = append(keys, n.ID)
	}
	return keys, err
}

// thin marks the copies of who is not to keep a segment any more.
func (k Keeper) thin(ctx context.Context, number uint64, keep []sortition.Key) error {
	holding, err := k.holding(ctx, number)
	if err != nil {
		return err
	}
	for _, node := range holding {
		if slices.Contains(keep, node) {
			continue
		}
		if err := k.release(ctx, node, number); err != nil {
			return err
		}
	}
	return nil
}

// release lets a holder's copy go at the end of the day.
func (k Keeper) release(ctx context.Context, node sortition.Key, number uint64) error {
	key := collections.Join(number, node[:])
	at, err := k.copies.Get(ctx, key)
	if err != nil {
		return wrap("copy", node, err)
	}
	return errors.Join(k.copies.Remove(ctx, key), k.goes(ctx, node, at))
}

// goes marks a piece of a row that goes at the end of the day.
func (k Keeper) goes(ctx context.Context, node sortition.Key, at uint64) error {
	place := collections.Join(node[:], at)
	piece, err := k.rows.Get(ctx, place)
	if err != nil {
		return wrap("row", node, err)
	}
	h, err := k.holders.Get(ctx, node[:])
	if err != nil {
		return wrap("record", node, err)
	}
	piece.Gone, h.Thinned = true, true
	if err := k.rows.Set(ctx, place, piece); err != nil {
		return err
	}
	return k.keep(ctx, h)
}
