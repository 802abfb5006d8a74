package storage

import (
	"context"
	"errors"

	"cosmossdk.io/collections"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/storagev1"
	"github.com/hpips/hpips/spec/proof"
	"github.com/hpips/hpips/spec/sortition"
)

// take takes a node's word about parts of deals:
//
//  1. The node is there, and signed it in this epoch.
//  2. It leaves, or stays: what it keeps is to be had by others, or not any more.
//  3. Each part that it names is to be had, and by this node (chain/deal), and is not in its row until the end of the day.
//  4. The part comes to the end of its row, and is asked for from the next day on.
//  5. Who kept the part, and leaves, lets it go at the end of the day.
func (k Keeper) take(ctx sdk.Context, m *storagev1.MsgKeep) error {
	node, h, err := k.keeps(ctx, m) // 1
	if err != nil {
		return err
	}
	if m.Leaves != (h.Leaving > 0) { // 2
		if h, err = k.leaving(ctx, h, m.Leaves); err != nil {
			return err
		}
	} else if len(m.Parts) == 0 {
		return ErrTwice
	}
	if len(m.Parts) == 0 {
		return nil
	}
	if m.Leaves {
		return ErrLeaves
	}
	nodes, rules, err := k.present(ctx)
	if err != nil {
		return err
	}
	for _, part := range partsOf(m) {
		piece, rate, left, err := k.Deals.Take(ctx, part, node, nodes, rules) // 3
		if err != nil {
			return err
		}
		if has, err := k.shares.Has(ctx, shareOf(part, node[:])); err != nil || has {
			return errors.Join(err, ErrTwice.Wrapf("part %d of deal %d is in its row until tomorrow", part.Number, part.Deal))
		}
		if h, err = k.grow(ctx, h, storagev1.Held{Deal: part.Deal, Part: part.Number, Rate: rate, Root: piece.Root[:], Length: piece.Size}); err != nil { // 4
			return err
		}
		if left != nil { // 5
			if err := k.give(ctx, *left, part); err != nil {
				return err
			}
		}
	}
	return nil
}

// keeps checks who says it.
func (k Keeper) keeps(ctx sdk.Context, m *storagev1.MsgKeep) (sortition.Key, storagev1.Holder, error) {
	if err := k.shape(m); err != nil {
		return sortition.Key{}, storagev1.Holder{}, err
	}
	node, h, err := k.says(ctx, sortition.Key(m.Node), m.Epoch, func(node [32]byte) error {
		return proof.Keep{Epoch: m.Epoch, Leaves: m.Leaves, Parts: partsOf(m)}.CheckSigned(ctx.ChainID(), node, m.Signature)
	})
	if err == nil && (h.Away || h.Joined == 0) {
		err = ErrNode.Wrap("it has not said that it is there")
	}
	return node, h, err
}

// stillTakes tells whether a word that was good may be so after another block.
func (k Keeper) stillTakes(ctx sdk.Context, m *storagev1.MsgKeep) error {
	_, h, err := k.keeps(ctx, m)
	if err == nil && len(m.Parts) == 0 && m.Leaves == (h.Leaving > 0) {
		err = ErrTwice
	}
	for _, part := range partsOf(m) {
		err = errors.Join(err, k.Deals.Still(ctx, part))
	}
	return err
}

func partsOf(m *storagev1.MsgKeep) (list []proof.Part) {
	for _, p := range m.Parts {
		list = append(list, proof.Part{Deal: p.Deal, Number: p.Number})
	}
	return list
}

func partOf(h storagev1.Held) proof.Part { return proof.Part{Deal: h.Deal, Number: h.Part} }

// leaving writes that a holder leaves, or stays: not on the day on which it said that it leaves, as its whole row is looked through for nothing.
func (k Keeper) leaving(ctx context.Context, h storagev1.Holder, leaves bool) (storagev1.Holder, error) {
	today := max(1, k.Committee.Day(ctx))
	if !leaves && h.Leaving == today {
		return h, ErrTwice.Wrap("it said today that it leaves, and may stay from tomorrow on")
	}
	h.Leaving = 0
	if leaves {
		h.Leaving = today
	}
	var parts []proof.Part
	if err := k.rows.Walk(ctx, rowOf(h), func(_ collections.Pair[[]byte, uint64], piece storagev1.Held) (bool, error) {
		if piece.Deal > 0 && !piece.Gone {
			parts = append(parts, partOf(piece))
		}
		return false, nil
	}); err != nil {
		return h, err
	}
	for _, part := range parts {
		if err := k.Deals.Leaves(ctx, part, sortition.Key(h.Node), leaves); err != nil {
			return h, err
		}
	}
	what := "stays"
	if leaves {
		what = "leaves"
	}
	tell(ctx, "hpips_holder", "node", sortition.Key(h.Node).String(), "what", what)
	return h, k.keep(ctx, h)
}

// give lets a part go at the end of the day.
func (k Keeper) give(ctx context.Context, node sortition.Key, part proof.Part) error {
	at, err := k.shares.Get(ctx, shareOf(part, node[:]))
	if err != nil {
		return wrap("part", node, err)
	}
	return k.goes(ctx, node, at)
}

func rowOf(h storagev1.Holder) collections.Ranger[collections.Pair[[]byte, uint64]] {
	return collections.NewPrefixedPairRange[[]byte, uint64](h.Node)
}

// left tells chain/deal of a part that is in a row no more.
func (k Keeper) left(ctx context.Context, h storagev1.Holder, piece storagev1.Held, why string) error {
	before, err := k.served.Get(ctx, collections.Join(h.Node, piece.Day))
	if err != nil {
		return wrap("proven days", sortition.Key(h.Node), err)
	}
	return k.Deals.Left(ctx, partOf(piece), sortition.Key(h.Node), h.Served-before, why)
}

// overs lets the parts of deals go that ended with an earlier day; done: there are no more.
func (k Keeper) overs(ctx context.Context, today uint64) (done bool, err error) {
	gone, done, err := k.Deals.Over(ctx, today)
	for _, p := range gone {
		err = errors.Join(err, k.give(ctx, p.Node, p.Part))
	}
	return done, err
}

// Recount sums what holders' rows say of deals, in uhpips: earned with parts that are still in them, which chain/deal will be told of, and due to holders. It reads everything: it is for tests, and for who verifies a chain from outside.
func (k Keeper) Recount(ctx context.Context) (earned, due uint64, err error) {
	var list []storagev1.Holder
	if err := k.holders.Walk(ctx, nil, func(_ []byte, h storagev1.Holder) (bool, error) {
		list = append(list, h)
		return false, nil
	}); err != nil {
		return 0, 0, err
	}
	for _, h := range list {
		due += h.Due
		if err := k.rows.Walk(ctx, rowOf(h), func(_ collections.Pair[[]byte, uint64], p storagev1.Held) (bool, error) {
			if p.Deal == 0 {
				return false, nil
			}
			before, err := k.served.Get(ctx, collections.Join(h.Node, p.Day))
			if err == nil && before > h.Served {
				err = errors.New("more days were proven before a part came than in all")
			}
			earned += p.Rate * (h.Served - before)
			return false, err
		}); err != nil {
			return 0, 0, wrap("recount", sortition.Key(h.Node), err)
		}
	}
	return earned, due, nil
}
