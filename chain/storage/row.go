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
		h.Grown, h.Before, h.ArchivedBefore, h.RateBefore = day, h.Leaves, h.Archived, h.Rate
	}
	if h.Since == 0 {
		h.Since = day + 1
	}
	piece.Day = day
	if piece.Deal > 0 {
		key := collections.Join(h.Node, day)
		if has, err := k.served.Has(ctx, key); err != nil {
			return h, err
		} else if !has {
			if err := k.served.Set(ctx, key, h.Served); err != nil {
				return h, err
			}
		}
	}
	h, err := k.append(ctx, h, piece)
	return h, errors.Join(err, k.keep(ctx, h))
}

// append writes a piece at the end of a row.
func (k Keeper) append(ctx context.Context, h storagev1.Holder, piece storagev1.Held) (storagev1.Holder, error) {
	at, leaves := h.Pieces, pieceOf(piece).Leaves()
	h.Pieces++
	h.Leaves += leaves
	h.Rate += piece.Rate
	piece.End = h.Leaves
	err := k.rows.Set(ctx, collections.Join(h.Node, at), piece)
	if piece.Deal > 0 {
		return h, errors.Join(err, k.shares.Set(ctx, shareOf(partOf(piece), h.Node), at))
	}
	h.Archived += leaves
	return h, errors.Join(err, k.copies.Set(ctx, collections.Join(piece.Segment, h.Node), at))
}

// length is how many leaves of a row are asked for on a day: what was there before it began.
func length(h storagev1.Holder, day uint64) uint64 {
	if h.Grown >= day {
		return h.Before
	}
	return h.Leaves
}

// archived is how many of those are of the archive.
func archived(h storagev1.Holder, day uint64) uint64 {
	if h.Grown >= day {
		return h.ArchivedBefore
	}
	return h.Archived
}

// rate is what they bring that are of deals, in uhpips.
func rate(h storagev1.Holder, day uint64) uint64 {
	if h.Grown >= day {
		return h.RateBefore
	}
	return h.Rate
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
	var stay, gone []storagev1.Held
	if err := k.rows.Walk(ctx, rowOf(h), func(_ collections.Pair[[]byte, uint64], piece storagev1.Held) (bool, error) {
		if piece.Gone {
			gone = append(gone, piece)
		} else {
			stay = append(stay, piece)
		}
		return false, nil
	}); err != nil {
		return h, err
	}
	for _, piece := range gone {
		if piece.Deal > 0 {
			if err := errors.Join(k.left(ctx, h, piece, "handed over"), k.shares.Remove(ctx, shareOf(partOf(piece), h.Node))); err != nil {
				return h, err
			}
		}
	}
	if err := errors.Join(k.rows.Clear(ctx, rowOf(h)), k.forget(ctx, h, stay)); err != nil {
		return h, err
	}
	day := k.Committee.Day(ctx)
	h.Leaves, h.Pieces, h.Archived, h.Rate, h.Since, h.Thinned = 0, 0, 0, 0, 0, false
	h.Before, h.ArchivedBefore, h.RateBefore = 0, 0, 0
	for _, piece := range stay {
		if h.Since == 0 {
			h.Since = piece.Day + 1
		}
		var err error
		if h, err = k.append(ctx, h, piece); err != nil {
			return h, err
		}
		if piece.Day < day && h.Grown == day {
			h.Before, h.ArchivedBefore, h.RateBefore = h.Leaves, h.Archived, h.Rate
		}
	}
	return h, nil
}

// forget drops counts of proven days that no part of a row needs any more.
func (k Keeper) forget(ctx context.Context, h storagev1.Holder, stay []storagev1.Held) error {
	needed := map[uint64]bool{} // for looking up only
	for _, piece := range stay {
		needed[piece.Day] = needed[piece.Day] || piece.Deal > 0
	}
	var unneeded []collections.Pair[[]byte, uint64]
	if err := k.served.Walk(ctx, rowOf(h), func(key collections.Pair[[]byte, uint64], _ uint64) (bool, error) {
		if !needed[key.K2()] {
			unneeded = append(unneeded, key)
		}
		return false, nil
	}); err != nil {
		return err
	}
	for _, key := range unneeded {
		if err := k.served.Remove(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

// leave takes all pieces from a holder: it is away until it says that it is there.
func (k Keeper) leave(ctx context.Context, h storagev1.Holder, why string) error {
	node := sortition.Key(h.Node)
	var row []storagev1.Held
	if err := k.rows.Walk(ctx, rowOf(h), func(_ collections.Pair[[]byte, uint64], piece storagev1.Held) (bool, error) {
		row = append(row, piece)
		return false, nil
	}); err != nil {
		return wrap("row", node, err)
	}
	for _, piece := range row {
		var err error
		if piece.Deal > 0 {
			err = errors.Join(k.left(ctx, h, piece, "its holder "+why), k.shares.Remove(ctx, shareOf(partOf(piece), h.Node)))
		} else {
			err = k.copies.Remove(ctx, collections.Join(piece.Segment, h.Node))
		}
		if err != nil {
			return wrap("piece", node, err)
		}
	}
	if err := errors.Join(k.rows.Clear(ctx, rowOf(h)), k.served.Clear(ctx, rowOf(h))); err != nil {
		return wrap("row", node, err)
	}
	tell(ctx, "hpips_away", "node", node.String(), "why", why)
	return k.keep(ctx, storagev1.Holder{Node: h.Node, Proven: h.Proven, Missed: h.Missed, Doubted: h.Doubted, Due: h.Due, Joined: h.Joined, Offer: h.Offer, Offered: h.Offered, Away: true})
}
