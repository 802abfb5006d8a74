package storage

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"cosmossdk.io/collections"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/storagev1"
	"github.com/hpips/hpips/spec/placement"
	"github.com/hpips/hpips/spec/proof"
	"github.com/hpips/hpips/spec/sortition"
)

// take takes a node's word about parts of deals:
//
//  1. The node is there, and signed it in this epoch.
//  2. Without parts, it says how much it offers, or that it leaves, or stays (state).
//  3. Each part that it names is to be had, and is not in its row until the end of the day. That is looked at before all nodes are, which costs more.
//  4. The part is this node's to have (chain/deal).
//  5. It comes to the end of its row, and is asked for from the next day on.
//  6. Who kept the part, and leaves, lets it go at the end of the day.
func (k Keeper) take(ctx sdk.Context, m *storagev1.MsgKeep) error {
	node, h, err := k.keeps(ctx, m) // 1
	if err != nil {
		return err
	}
	if len(m.Parts) == 0 { // 2
		return k.state(ctx, h, m)
	}
	if err := k.open(ctx, h, m); err != nil { // 3
		return err
	}
	nodes, rules, err := k.bidders(ctx)
	if err != nil {
		return err
	}
	for _, part := range partsOf(m) {
		piece, rate, left, err := k.Deals.Take(ctx, part, node, nodes, rules) // 4
		if err != nil {
			return err
		}
		if h, err = k.grow(ctx, h, storagev1.Held{Deal: part.Deal, Part: part.Number, Rate: rate, Root: piece.Root[:], Length: piece.Size}); err != nil { // 5
			return err
		}
		if left != nil { // 6
			if err := k.give(ctx, *left, part); err != nil {
				return err
			}
		}
		shrink(nodes, node, h)
	}
	return nil
}

// shrink takes the room that a node has no more out of the nodes of which it is one.
func shrink(nodes []placement.Node, node sortition.Key, h storagev1.Holder) {
	if at := slices.IndexFunc(nodes, func(n placement.Node) bool { return n.ID == node }); at >= 0 {
		nodes[at].Room = room(h)
	}
}

// open tells whether parts are to be had at all, and by a holder.
func (k Keeper) open(ctx context.Context, h storagev1.Holder, m *storagev1.MsgKeep) error {
	switch {
	case m.Leaves || h.Leaving > 0:
		return ErrLeaves
	case room(h) == 0:
		return ErrOffer.Wrapf("%d MiB are offered", h.Offer)
	}
	for _, part := range partsOf(m) {
		if err := k.Deals.Still(ctx, part, sortition.Key(h.Node)); err != nil {
			return err
		}
		if has, err := k.shares.Has(ctx, shareOf(part, h.Node)); err != nil || has {
			return errors.Join(err, ErrTwice.Wrapf("part %d of deal %d is in its row until tomorrow", part.Number, part.Deal))
		}
	}
	return nil
}

// state writes how much a holder offers, or that it leaves, or stays. It offers something else once in an epoch, or whoever has its earlier word of the epoch could bring it again.
func (k Keeper) state(ctx context.Context, h storagev1.Holder, m *storagev1.MsgKeep) error {
	leaves, offers := m.Leaves != (h.Leaving > 0), !m.Leaves && m.Offer != h.Offer
	if !leaves && !offers {
		return ErrTwice
	}
	if offers {
		if h.Offered == m.Epoch+1 {
			return ErrTwice.Wrapf("it said in this epoch that it offers %d MiB, and may say another in the next one", h.Offer)
		}
		h.Offer, h.Offered = m.Offer, m.Epoch+1
		tell(ctx, "hpips_holder", "node", sortition.Key(h.Node).String(), "what", "offers", "mib", strconv.FormatUint(h.Offer, 10))
	}
	if leaves {
		return k.leaving(ctx, h, m.Leaves)
	}
	return k.keep(ctx, h)
}

// keeps checks who says it.
func (k Keeper) keeps(ctx sdk.Context, m *storagev1.MsgKeep) (sortition.Key, storagev1.Holder, error) {
	if err := k.shape(m); err != nil {
		return sortition.Key{}, storagev1.Holder{}, err
	}
	node, h, err := k.says(ctx, sortition.Key(m.Node), m.Epoch, func(node [32]byte) error {
		return proof.Keep{Epoch: m.Epoch, Leaves: m.Leaves, Offer: m.Offer, Parts: partsOf(m)}.CheckSigned(ctx.ChainID(), node, m.Signature)
	})
	if err == nil && (h.Away || h.Joined == 0) {
		err = ErrNode.Wrap("it has not said that it is there")
	}
	return node, h, err
}

// stillTakes tells whether a word that was good may be so after another block.
func (k Keeper) stillTakes(ctx sdk.Context, m *storagev1.MsgKeep) error {
	_, h, err := k.keeps(ctx, m)
	switch {
	case err != nil:
		return err
	case len(m.Parts) > 0:
		return k.open(ctx, h, m)
	case m.Leaves == (h.Leaving > 0) && (m.Leaves || m.Offer == h.Offer):
		return ErrTwice
	}
	return nil
}

func partsOf(m *storagev1.MsgKeep) (list []proof.Part) {
	for _, p := range m.Parts {
		list = append(list, proof.Part{Deal: p.Deal, Number: p.Number})
	}
	return list
}

func partOf(h storagev1.Held) proof.Part { return proof.Part{Deal: h.Deal, Number: h.Part} }

// leaving writes that a holder leaves, or stays: not on the day on which it said that it leaves, as its whole row is looked through for nothing.
func (k Keeper) leaving(ctx context.Context, h storagev1.Holder, leaves bool) error {
	today := max(1, k.Committee.Day(ctx))
	if !leaves && h.Leaving == today {
		return ErrTwice.Wrap("it said today that it leaves, and may stay from tomorrow on")
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
		return err
	}
	for _, part := range parts {
		if err := k.Deals.Leaves(ctx, part, sortition.Key(h.Node), leaves); err != nil {
			return err
		}
	}
	what := "stays"
	if leaves {
		what = "leaves"
	}
	tell(ctx, "hpips_holder", "node", sortition.Key(h.Node).String(), "what", what)
	return k.keep(ctx, h)
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
