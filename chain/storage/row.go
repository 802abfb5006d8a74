package storage

import (
	"context"
	"errors"
	"sort"

	"cosmossdk.io/collections"

	"github.com/hpips/hpips/proto/gen/storagev1"
	"github.com/hpips/hpips/spec/proof"
	"github.com/hpips/hpips/spec/sortition"
)

// grow puts a piece at the end of a row.
func (k Keeper) grow(ctx context.Context, h storagev1.Holder, piece storagev1.Held) (storagev1.Holder, error) {
	if h.Pieces >= MaxPieces {
		return h, ErrFull.Wrapf("%d pieces", h.Pieces)
	}
	day := k.Committee.Day(ctx)
	if h.Grown != day {
		h.Grown, h.Before = day, h.Leaves
	}
	if h.Since == 0 {
		h.Since = day + 1
	}
	h.Leaves += (proof.Piece{Size: piece.Length}).Leaves()
	piece.End, piece.Day = h.Leaves, day
	at := h.Pieces
	h.Pieces++
	return h, errors.Join(
		k.rows.Set(ctx, collections.Join(h.Node, at), piece),
		k.copies.Set(ctx, collections.Join(piece.Segment, h.Node), at),
		k.keep(ctx, h),
	)
}

// length is how many leaves of a row are asked for on a day: what was there before it began.
func length(h storagev1.Holder, day uint64) uint64 {
	if h.Grown >= day {
		return h.Before
	}
	return h.Leaves
}

// at finds the piece that has a leaf of a row, and which of its leaves that is.
func (k Keeper) at(ctx context.Context, h storagev1.Holder, leaf uint64) (piece storagev1.Held, place uint64, err error) {
	i := sort.Search(int(h.Pieces), func(i int) bool { //nolint:gosec // MaxPieces
		if err != nil {
			return true
		}
		var p storagev1.Held
		p, err = k.rows.Get(ctx, collections.Join(h.Node, uint64(i)))
		return p.End > leaf
	})
	if err != nil {
		return piece, 0, wrap("row", sortition.Key(h.Node), err)
	}
	if piece, err = k.rows.Get(ctx, collections.Join(h.Node, uint64(i))); err != nil {
		return piece, 0, wrap("row", sortition.Key(h.Node), err)
	}
	return piece, leaf - (piece.End - pieceOf(piece).Leaves()), nil
}

func pieceOf(h storagev1.Held) proof.Piece {
	return proof.Piece{Root: [32]byte(h.Root), Size: h.Length}
}

// settle writes a row anew without what goes. It comes before the seed of the day that has begun is known.
func (k Keeper) settle(ctx context.Context, h storagev1.Holder) (storagev1.Holder, error) {
	var stay []storagev1.Held
	row := collections.NewPrefixedPairRange[[]byte, uint64](h.Node)
	if err := k.rows.Walk(ctx, row, func(_ collections.Pair[[]byte, uint64], piece storagev1.Held) (bool, error) {
		if !piece.Gone {
			stay = append(stay, piece)
		}
		return false, nil
	}); err != nil {
		return h, err
	}
	if err := k.rows.Clear(ctx, row); err != nil {
		return h, err
	}
	day := k.Committee.Day(ctx)
	h.Leaves, h.Pieces, h.Before, h.Since, h.Thinned = 0, 0, 0, 0, false
	for i, piece := range stay {
		h.Leaves += pieceOf(piece).Leaves()
		piece.End = h.Leaves
		if piece.Day < day {
			h.Before = h.Leaves
		}
		if h.Since == 0 {
			h.Since = piece.Day + 1
		}
		at := uint64(i) //nolint:gosec // an index
		if err := errors.Join(k.rows.Set(ctx, collections.Join(h.Node, at), piece), k.copies.Set(ctx, collections.Join(piece.Segment, h.Node), at)); err != nil {
			return h, err
		}
	}
	h.Pieces = uint64(len(stay))
	if h.Grown != day {
		h.Before = 0
	}
	return h, nil
}

// leave takes all pieces from a holder: it is away until it says that it is there.
func (k Keeper) leave(ctx context.Context, h storagev1.Holder, why string) error {
	node := sortition.Key(h.Node)
	row := collections.NewPrefixedPairRange[[]byte, uint64](h.Node)
	var segments []uint64
	if err := k.rows.Walk(ctx, row, func(_ collections.Pair[[]byte, uint64], piece storagev1.Held) (bool, error) {
		segments = append(segments, piece.Segment)
		return false, nil
	}); err != nil {
		return wrap("row", node, err)
	}
	for _, number := range segments {
		if err := k.copies.Remove(ctx, collections.Join(number, h.Node)); err != nil {
			return wrap("copy", node, err)
		}
	}
	if err := k.rows.Clear(ctx, row); err != nil {
		return wrap("row", node, err)
	}
	tell(ctx, "hpips_away", "node", node.String(), "why", why)
	return k.keep(ctx, storagev1.Holder{Node: h.Node, Proven: h.Proven, Missed: h.Missed, Doubted: h.Doubted, Joined: h.Joined, Away: true})
}
