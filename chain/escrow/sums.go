package escrow

import (
	"context"
	"fmt"

	"cosmossdk.io/collections"
	"cosmossdk.io/math"

	"github.com/hpips/hpips/proto/gen/escrowv1"
)

// Totals are the running sums of one asset; zero before there are any.
func (k Keeper) Totals(ctx context.Context, denom string) (escrowv1.Totals, error) {
	t, known, err := found(k.totals.Get(ctx, denom))
	if !known {
		t = escrowv1.Totals{Denom: denom, Deposited: math.ZeroInt(), Returned: math.ZeroInt(), Final: math.ZeroInt(), Fees: math.ZeroInt(), Jury: math.ZeroInt()}
	}
	return t, err
}

// Unsound names the first asset whose running sums do not come to what the module's account holds; empty: none. Its cost is that of the assets.
func (k Keeper) Unsound(ctx context.Context) (string, error) {
	why := ""
	err := k.totals.Walk(ctx, nil, func(denom string, t escrowv1.Totals) (bool, error) {
		held := k.others.Bank.GetBalance(ctx, k.account, denom).Amount
		if sum := t.Returned.Add(t.Final).Add(t.Fees).Add(t.Jury).Add(held); !sum.Equal(t.Deposited) {
			why = fmt.Sprintf("escrow took in %s%s: %s returned, %s final, %s fees, %s for juries and %s held are not that", t.Deposited, denom, t.Returned, t.Final, t.Fees, t.Jury, held)
		}
		return why != "", nil
	})
	return why, err
}

// count moves the running sums of an asset.
func (k Keeper) count(ctx context.Context, denom string, move func(*escrowv1.Totals)) error {
	t, err := k.Totals(ctx, denom)
	if err != nil {
		return err
	}
	move(&t)
	return k.totals.Set(ctx, denom, t)
}

// add moves what an account has of an asset. What comes to nothing leaves no key; less than nothing is an error.
func add(ctx context.Context, purses collections.Map[purse, math.Int], who, denom string, delta math.Int) error {
	if delta.IsZero() {
		return nil
	}
	at := collections.Join(who, denom)
	n, known, err := found(purses.Get(ctx, at))
	if err != nil {
		return err
	}
	if !known {
		n = math.ZeroInt()
	}
	switch n = n.Add(delta); {
	case n.IsNegative():
		return fmt.Errorf("escrow: %s would have %s%s in %s", who, n, denom, purses.GetName())
	case n.IsZero():
		return purses.Remove(ctx, at)
	}
	return purses.Set(ctx, at, n)
}
