package bond

import (
	"context"
	"errors"
	"fmt"

	"cosmossdk.io/collections"
	"cosmossdk.io/math"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/bondv1"
	"github.com/hpips/hpips/spec/sortition"
)

// Leave asks for all bonds of a node, and tells when they return if nothing comes between, in Unix seconds. Until then they count nothing, and
// pay is held as before. Whoever wants no new lease to come between retires the node.
func (k Keeper) Leave(ctx context.Context, owner string, node sortition.Key) (int64, error) {
	owner, held, err := k.ownersOwn(ctx, owner, node)
	if err != nil {
		return 0, err
	}
	if held.IsZero() {
		return 0, ErrNothing.Wrapf("of %s", node)
	}
	if leaves, err := k.leaving.Has(ctx, node[:]); err != nil || leaves {
		return 0, errors.Join(err, ErrLeaving.Wrapf("node %s", node))
	}
	l, err := k.postpone(ctx, bondv1.Leaving{Node: node[:], Owner: owner, Since: sdk.UnwrapSDKContext(ctx).BlockTime().Unix()})
	if err != nil {
		return 0, fmt.Errorf("leave: %w", err)
	}
	tell(ctx, "hpips_leaving", "what", "leave", "node", node.String(), "owner", owner)
	return l.Due, nil
}

// Stay takes the word back: the bonds count again.
func (k Keeper) Stay(ctx context.Context, owner string, node sortition.Key) error {
	owner, _, err := k.ownersOwn(ctx, owner, node)
	if err != nil {
		return err
	}
	l, leaves, err := found(k.leaving.Get(ctx, node[:]))
	if err != nil || !leaves {
		return errors.Join(err, ErrStays.Wrapf("node %s", node))
	}
	tell(ctx, "hpips_leaving", "what", "stay", "node", node.String(), "owner", owner)
	return k.stays(ctx, l)
}

// ownersOwn checks that a node's bonds are this account's, in whatever form its address is written, and sums how many units are held.
func (k Keeper) ownersOwn(ctx context.Context, owner string, node sortition.Key) (string, math.Int, error) {
	held := math.ZeroInt()
	raw, err := k.addresses.StringToBytes(owner)
	if err != nil {
		return "", held, ErrOwner.Wrapf("%.100q: %v", owner, err)
	}
	if owner, err = k.addresses.BytesToString(raw); err != nil {
		return "", held, ErrOwner.Wrap(err.Error())
	}
	all, err := k.of(ctx, node)
	if err != nil {
		return "", held, err
	}
	for _, b := range all {
		if b.Owner != owner {
			return "", held, ErrOwner.Wrapf("the bond of %s is another's", node)
		}
		held = held.Add(b.Held)
	}
	return owner, held, nil
}

// Touch tells that something that a node had to answer for ended just now: a lease with all of its pay, a seat, an audit. If the node leaves, its
// bonds return so long after this. It does nothing for others.
func (k Keeper) Touch(ctx context.Context, node sortition.Key) error {
	l, leaves, err := found(k.leaving.Get(ctx, node[:]))
	if err != nil || !leaves {
		return err
	}
	_, err = k.postpone(ctx, l)
	return err
}

// Advance returns the bonds that are due, a batch in a block. A node that is busy when its time has come is looked at again after as long
// again, or so long after the end of that. A return that is refused waits as long, too, and stops no block. Everything rests while an
// invariant is broken.
func (k Keeper) Advance(c context.Context) error {
	ctx := sdk.UnwrapSDKContext(c)
	if err := k.rests(ctx); errors.Is(err, ErrRests) {
		return nil
	} else if err != nil {
		return fmt.Errorf("advance bonds: %w", err)
	}
	p, err := k.Params(ctx)
	if err != nil {
		return err
	}
	now := ctx.BlockTime().Unix()
	for range p.Batch {
		due, node, there, err := k.first(ctx)
		if err != nil {
			return fmt.Errorf("advance bonds: %w", err)
		}
		if !there || due > uint64(max(now, 0)) {
			return nil
		}
		if err := k.fallDue(ctx, sortition.Key(node)); err != nil {
			return fmt.Errorf("advance bonds: %x: %w", node, err)
		}
	}
	return nil
}

// fallDue returns the bonds of one node, or sets a later time.
func (k Keeper) fallDue(ctx sdk.Context, node sortition.Key) error {
	busy, err := k.Work.Busy(ctx, node)
	if err != nil {
		return err
	}
	if busy != "" {
		return k.Touch(ctx, node)
	}
	trial, write := ctx.CacheContext()
	if err := k.Release(trial, node); err != nil {
		tell(ctx, "hpips_return_of_bond_refused", "node", node.String(), "why", err.Error())
		return k.Touch(ctx, node)
	}
	write()
	return nil
}

// Release pays all bonds of a node back to their owner, now, and the node leaves no more. What a slash took is not forgotten: the next bond is whole
// when it has grown to as much as that one was. With ErrRests nothing was moved.
func (k Keeper) Release(ctx context.Context, node sortition.Key) error {
	if err := k.rests(ctx); err != nil {
		return err
	}
	all, err := k.of(ctx, node)
	if err != nil {
		return err
	}
	for _, b := range all {
		if !b.Held.IsPositive() {
			continue
		}
		owner, err := k.addresses.StringToBytes(b.Owner)
		if err != nil {
			return ErrOwner.Wrap(err.Error())
		}
		amount := b.Held
		b.Held = math.ZeroInt()
		if err := errors.Join(
			k.Bank.SendCoinsFromModuleToAccount(ctx, Name, owner, coins(b.Denom, amount)),
			k.move(ctx, b, amount.Neg()), k.count(ctx, b.Denom, func(t *bondv1.Totals) { t.Returned = t.Returned.Add(amount) }), k.keep(ctx, b),
		); err != nil {
			return err
		}
		tell(ctx, "hpips_bond_returned", "node", node.String(), "owner", b.Owner, "amount", amount.String()+b.Denom)
	}
	l, leaves, err := found(k.leaving.Get(ctx, node[:]))
	if err != nil || !leaves {
		return err
	}
	return k.stays(ctx, l)
}

// postpone sets a node's time to as long after now as a return takes.
func (k Keeper) postpone(ctx context.Context, l bondv1.Leaving) (bondv1.Leaving, error) {
	p, err := k.Params(ctx)
	if err != nil {
		return l, err
	}
	if err := k.dues.Remove(ctx, dated(l)); err != nil { // a word that is new has none
		return l, err
	}
	l.Due = sdk.UnwrapSDKContext(ctx).BlockTime().Unix() + int64(p.ReturnSeconds)
	return l, errors.Join(k.dues.Set(ctx, dated(l)), k.leaving.Set(ctx, l.Node, l))
}

// stays forgets that a node leaves.
func (k Keeper) stays(ctx context.Context, l bondv1.Leaving) error {
	return errors.Join(k.dues.Remove(ctx, dated(l)), k.leaving.Remove(ctx, l.Node))
}

func dated(l bondv1.Leaving) date { return collections.Join(uint64(max(l.Due, 0)), l.Node) }

// first is the earliest time at which bonds are due.
func (k Keeper) first(ctx context.Context) (uint64, []byte, bool, error) {
	it, err := k.dues.Iterate(ctx, nil)
	if err != nil {
		return 0, nil, false, err
	}
	defer it.Close()
	if !it.Valid() {
		return 0, nil, false, nil
	}
	key, err := it.Key()
	return key.K1(), key.K2(), err == nil, err
}
