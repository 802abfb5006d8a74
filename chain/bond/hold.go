package bond

import (
	"context"
	"errors"
	"fmt"

	"cosmossdk.io/math"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/bondv1"
	"github.com/hpips/hpips/spec/sortition"
)

// Hold takes the bond's part of pay that becomes final out of the module account from, and tells how much that is; the rest is the caller's to
// pay. The part is a quarter of the pay, rounded down, and never more than the bond lacks. What is held stays the owner's.
//
//  1. What the bond lacks of its target.
//  2. The part moves; it is its owner's before it comes, so that the holding is at no moment less.
//  3. A bond that was slashed is whole again once new pay has brought it to its target.
func (k Keeper) Hold(ctx context.Context, from string, node sortition.Key, owner sdk.AccAddress, pay sdk.Coin) (math.Int, error) {
	none := math.ZeroInt()
	who, err := k.addresses.BytesToString(owner)
	if err != nil {
		return none, ErrOwner.Wrap(err.Error())
	}
	p, err1 := k.Params(ctx)
	b, err2 := k.Bond(ctx, node, pay.Denom)
	if err := errors.Join(err1, err2); err != nil {
		return none, fmt.Errorf("hold: %w", err)
	}
	if b.Owner != "" && b.Owner != who {
		return none, ErrOwner.Wrapf("the bond of %s is %s's, not %s's", node, b.Owner, who)
	}
	b.Owner = who
	target, err := k.target(ctx, p, b, pay.Amount) // 1
	if err != nil {
		return none, fmt.Errorf("hold: target: %w", err)
	}
	part := math.MinInt(pay.Amount.MulRaw(int64(p.HoldPermille)).QuoRaw(1000), math.MaxInt(target.Sub(b.Held), none))
	if part.IsPositive() { // 2
		b.Held = b.Held.Add(part)
		if err := errors.Join(
			k.move(ctx, b, part), k.count(ctx, b.Denom, func(t *bondv1.Totals) { t.Held = t.Held.Add(part) }),
			k.Bank.SendCoinsFromModuleToModule(ctx, from, Name, coins(pay.Denom, part)),
		); err != nil {
			return none, fmt.Errorf("hold: %w", err)
		}
	}
	whole := b.Held.GTE(target) && !b.Before.IsZero()
	if whole { // 3
		b.Before = none
	}
	tell(ctx, "hpips_held", "node", node.String(), "owner", who, "amount", part.String()+pay.Denom, "bond", b.Held.String()+pay.Denom, "target", target.String()+pay.Denom)
	if !part.IsPositive() && !whole {
		return none, nil
	}
	return part, k.keep(ctx, b)
}

// target is what a bond grows to: ten days of mean pay, which is what was paid in the last ten days, the open one and the pay under way
// among them; in HPIPS no less than the least; of a bond that was slashed no less than it was.
func (k Keeper) target(ctx context.Context, p bondv1.Params, b bondv1.Bond, underWay math.Int) (math.Int, error) {
	paid, err := k.Pay.Paid(ctx, sortition.Key(b.Node), b.Denom, uint64(p.TargetDays))
	if err != nil {
		return math.Int{}, err
	}
	least := b.Before
	if b.Denom == Denom {
		least = math.MaxInt(least, math.NewIntFromUint64(p.LeastTarget))
	}
	return math.MaxInt(paid.Add(underWay), least), nil
}
