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

// Refund is what a slash pays back to somebody, in base units.
type Refund struct {
	To     sdk.AccAddress
	Amount math.Int
}

// Slash takes min(bond, amount) from a node's bond in an asset and tells how much that was. It pays the refunds in their order as far as it goes, and
// the rest to the fund, which also gets what an account refuses. The bond counts for no ticket until new pay has made it whole again.
// With ErrRests nothing was moved, and the same is to be asked again.
func (k Keeper) Slash(ctx context.Context, node sortition.Key, denom string, amount math.Int, refunds ...Refund) (math.Int, error) {
	if amount.IsNil() || amount.IsNegative() {
		return math.ZeroInt(), ErrAmount.Wrapf("slash %s by %s%s", node, amount, denom)
	}
	if err := k.rests(ctx); err != nil {
		return math.ZeroInt(), err
	}
	taken, err := k.slash(sdk.UnwrapSDKContext(ctx), node, denom, amount, refunds)
	if err != nil {
		return math.ZeroInt(), fmt.Errorf("slash: %w", err)
	}
	return taken, nil
}

// Forfeit takes all of a node's bond in HPIPS to the fund: its node signed two blocks, which is told once. So it does not rest while an invariant
// is broken; nobody is paid by it. Bonds in other assets stay.
func (k Keeper) Forfeit(ctx context.Context, node sortition.Key) error {
	b, err := k.Bond(ctx, node, Denom)
	if err == nil {
		_, err = k.slash(sdk.UnwrapSDKContext(ctx), node, Denom, b.Held, nil)
	}
	if err != nil {
		return fmt.Errorf("forfeit: %w", err)
	}
	return nil
}

func (k Keeper) slash(ctx sdk.Context, node sortition.Key, denom string, amount math.Int, refunds []Refund) (math.Int, error) {
	b, err := k.Bond(ctx, node, denom)
	taken := math.MinInt(b.Held, amount)
	if err != nil || !taken.IsPositive() {
		return math.ZeroInt(), err
	}
	b.Before, b.Held = math.MaxInt(b.Before, b.Held), b.Held.Sub(taken)
	if err := errors.Join(k.move(ctx, b, taken.Neg()), k.count(ctx, denom, func(t *bondv1.Totals) { t.Slashed = t.Slashed.Add(taken) }), k.keep(ctx, b)); err != nil {
		return taken, err
	}
	left := taken
	for _, r := range refunds {
		part := math.MinInt(r.Amount, left)
		if part.IsPositive() && k.refund(ctx, node, r.To, sdk.NewCoin(denom, part)) {
			left = left.Sub(part)
		}
	}
	tell(ctx, "hpips_slashed", "node", node.String(), "owner", b.Owner, "amount", taken.String()+denom, "fund", left.String()+denom, "bond", b.Held.String()+denom)
	if !left.IsPositive() {
		return taken, nil
	}
	return taken, k.Bank.SendCoinsFromModuleToModule(ctx, Name, fundAccount, coins(denom, left))
}

// refund pays one refund, unless its account refuses it.
func (k Keeper) refund(ctx sdk.Context, node sortition.Key, to sdk.AccAddress, amount sdk.Coin) bool {
	who, err := k.addresses.BytesToString(to)
	if err != nil {
		return false
	}
	trial, write := ctx.CacheContext()
	if err := k.Bank.SendCoinsFromModuleToAccount(trial, Name, to, sdk.NewCoins(amount)); err != nil {
		tell(ctx, "hpips_refund_refused", "node", node.String(), "to", who, "amount", amount.String(), "why", err.Error())
		return false
	}
	write()
	tell(ctx, "hpips_refunded", "node", node.String(), "to", who, "amount", amount.String())
	return true
}
