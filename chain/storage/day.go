package storage

import (
	"context"
	"errors"
	"strconv"

	"cosmossdk.io/collections"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/storagev1"
	"github.com/hpips/hpips/spec/sortition"
)

// settling is how many blocks after a day's first one its seed may come: nobody knows it when the rows of the day are fixed.
const settling = 2

// today is the day whose answers are taken.
func (k Keeper) today(ctx context.Context) (storagev1.Asked, error) {
	a, err := k.asked.Get(ctx)
	if errors.Is(err, collections.ErrNotFound) {
		return storagev1.Asked{Closed: true}, nil
	}
	return a, err
}

// Advance goes on by the seed of a block:
//
//  1. Another day has begun, and the one before is closed: it is the day that is asked about.
//  2. Deals end whose last day it was. The day before is closed, a few holders in a block: who did not answer missed it; who missed too many, or takes part no more, makes room; rows lose what was let go.
//  3. Rows are fixed now. The seed of a later block draws what is asked.
func (k Keeper) Advance(c context.Context, seed sortition.Seed) error {
	ctx := sdk.UnwrapSDKContext(c)
	a, err := k.today(ctx)
	if err != nil {
		return err
	}
	before := a
	if day := k.Committee.Day(ctx); a.Closed && (day != a.Day || a.Height == 0) { // 1
		a = storagev1.Asked{Day: day, Height: ctx.BlockHeight(), Last: a.Day, Owed: len(a.Seed) > 0}
	}
	if !a.Closed { // 2
		done, err := k.overs(ctx, a.Day)
		if err != nil {
			return err
		}
		if done {
			if a, err = k.closeSome(ctx, a); err != nil {
				return err
			}
		}
	}
	if a.Closed && len(a.Seed) == 0 && a.Day == k.Committee.Day(ctx) && ctx.BlockHeight() >= a.Height+settling { // 3
		if a.Slot, err = k.Committee.Slot(ctx); err != nil {
			return err
		}
		a.Seed = seed[:]
	}
	if a.Equal(&before) {
		return nil
	}
	return k.asked.Set(ctx, a)
}

// closeSome closes the day before for the next few holders.
func (k Keeper) closeSome(ctx sdk.Context, a storagev1.Asked) (storagev1.Asked, error) {
	p, err := k.Params(ctx)
	if err != nil {
		return a, err
	}
	var list []storagev1.Holder
	span := new(collections.Range[[]byte])
	if len(a.Cursor) > 0 {
		span = span.StartExclusive(a.Cursor)
	}
	if err := k.holders.Walk(ctx, span, func(_ []byte, h storagev1.Holder) (bool, error) {
		list = append(list, h)
		return len(list) == int(p.Batch), nil
	}); err != nil {
		return a, err
	}
	for _, h := range list {
		if err := k.closeOne(ctx, a, p, h); err != nil {
			return a, wrap("day", sortition.Key(h.Node), err)
		}
		a.Cursor = h.Node
	}
	if len(list) < int(p.Batch) {
		a.Cursor, a.Closed = nil, true
	}
	return a, nil
}

func (k Keeper) closeOne(ctx sdk.Context, a storagev1.Asked, p storagev1.Params, h storagev1.Holder) error {
	node := sortition.Key(h.Node)
	due := h.Due
	h = k.reward(ctx, h)
	if h.Away {
		if due == h.Due {
			return nil
		}
		return k.keep(ctx, h)
	}
	_, ok, err := k.Registry.Placed(ctx, node)
	if err != nil {
		return err
	}
	if !ok {
		return k.leave(ctx, h, "takes part no more")
	}
	missed := a.Owed && owes(h, a.Last) && h.Proven != a.Last
	if missed {
		h.Missed++
		tell(ctx, "hpips_missed", "node", node.String(), "day", strconv.FormatUint(a.Last, 10), "missed", strconv.FormatUint(uint64(h.Missed), 10))
	}
	idle := h.Since == 0 && a.Last >= h.Joined+uint64(p.Misses) // it keeps nothing of what it is to keep
	switch {
	case h.Missed >= p.Misses:
		return k.leave(ctx, h, "missed "+strconv.FormatUint(uint64(h.Missed), 10)+" days")
	case idle:
		return k.leave(ctx, h, "keeps nothing")
	case h.Thinned:
		if h, err = k.settle(ctx, h); err != nil {
			return err
		}
	case h.Leaving == 0 && !missed && due == h.Due:
		return nil
	}
	if h.Leaving > 0 && (h.Pieces == 0 || a.Day > h.Leaving+p.HandOverDays) {
		return k.leave(ctx, h, "left")
	}
	return k.keep(ctx, h)
}

// owes tells whether a holder is asked on a day.
func owes(h storagev1.Holder, day uint64) bool {
	return !h.Away && h.Since > 0 && h.Since <= day && length(h, day) > 0
}
