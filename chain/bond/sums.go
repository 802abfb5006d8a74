package bond

import (
	"context"
	"errors"
	"fmt"

	"cosmossdk.io/collections"
	"cosmossdk.io/math"

	"github.com/hpips/hpips/proto/gen/bondv1"
	"github.com/hpips/hpips/spec/sortition"
)

// Totals are the running sums of one asset; zero before there are any.
func (k Keeper) Totals(ctx context.Context, denom string) (bondv1.Totals, error) {
	t, known, err := found(k.totals.Get(ctx, denom))
	if !known {
		t = bondv1.Totals{Denom: denom, Held: math.ZeroInt(), Returned: math.ZeroInt(), Slashed: math.ZeroInt()}
	}
	return t, err
}

// Unsound names the first asset whose running sums do not come to what the module's account holds; empty: none. Its cost is that of the assets.
func (k Keeper) Unsound(ctx context.Context) (string, error) {
	why := ""
	err := k.totals.Walk(ctx, nil, func(denom string, t bondv1.Totals) (bool, error) {
		have := k.Bank.GetBalance(ctx, k.account, denom).Amount
		if !t.Returned.Add(t.Slashed).Add(have).Equal(t.Held) || t.Returned.IsNegative() || t.Slashed.IsNegative() {
			why = fmt.Sprintf("%s%s were held: %s returned, %s slashed and %s there are not that", t.Held, denom, t.Returned, t.Slashed, have)
		}
		return why != "", nil
	})
	return why, err
}

// Recount compares all running sums, rows and indexes with the bonds that are there, and names the first that is wrong. It reads everything: it is
// for tests, and for who verifies a chain from outside.
func (k Keeper) Recount(ctx context.Context) error {
	if err := k.recount(ctx); err != nil {
		return fmt.Errorf("recount of bonds: %w", err)
	}
	why, err := k.Unsound(ctx)
	if err == nil && why != "" {
		err = errors.New(why)
	}
	return err
}

func (k Keeper) recount(ctx context.Context) error {
	owned, held := map[[2]string]math.Int{}, map[string]math.Int{} // for looking up only
	if err := k.bonds.Walk(ctx, nil, func(key where, b bondv1.Bond) (bool, error) {
		if len(b.Node) != len(sortition.Key{}) || string(key.K1()) != string(b.Node) || key.K2() != b.Denom || b.Owner == "" ||
			b.Held.IsNegative() || b.Before.IsNegative() || b.Held.IsZero() && b.Before.IsZero() {
			return true, fmt.Errorf("bond of %x in %s is %s, before a slash %s", key.K1(), key.K2(), b.Held, b.Before)
		}
		raise(owned, [2]string{b.Owner, b.Denom}, b.Held)
		raise(held, b.Denom, b.Held)
		return false, nil
	}); err != nil {
		return err
	}
	seen := 0
	if err := k.owned.Walk(ctx, nil, func(key purse, n math.Int) (bool, error) {
		seen++
		if want, known := owned[[2]string{key.K1(), key.K2()}]; !known || !want.Equal(n) {
			return true, fmt.Errorf("%s is said to have %s%s", key.K1(), n, key.K2())
		}
		return false, nil
	}); err != nil {
		return err
	}
	if seen != len(owned) {
		return fmt.Errorf("%d sums of owners, want %d", seen, len(owned))
	}
	seen = 0
	if err := k.totals.Walk(ctx, nil, func(denom string, t bondv1.Totals) (bool, error) {
		want, known := held[denom]
		if known {
			seen++
		} else {
			want = math.ZeroInt()
		}
		if left := t.Held.Sub(t.Returned).Sub(t.Slashed); !left.Equal(want) {
			return true, fmt.Errorf("%s%s are left by the sums, bonds come to %s", left, denom, want)
		}
		return false, nil
	}); err != nil {
		return err
	}
	if seen != len(held) {
		return fmt.Errorf("%d assets have sums, %d have bonds", seen, len(held))
	}
	return k.countDues(ctx)
}

// countDues: whoever leaves has one time, and nobody else has.
func (k Keeper) countDues(ctx context.Context) error {
	leave, dues := 0, 0
	if err := k.leaving.Walk(ctx, nil, func(node []byte, l bondv1.Leaving) (bool, error) {
		leave++
		if has, err := k.dues.Has(ctx, dated(l)); err != nil || !has || string(node) != string(l.Node) || len(node) != len(sortition.Key{}) {
			return true, errors.Join(err, fmt.Errorf("node %x leaves at no time", node))
		}
		return false, nil
	}); err != nil {
		return err
	}
	if err := k.dues.Walk(ctx, nil, func(date) (bool, error) { dues++; return false, nil }); err != nil {
		return err
	}
	if leave != dues {
		return fmt.Errorf("%d leave, %d times", leave, dues)
	}
	return nil
}

// of lists the bonds of a node: one for each asset that it was ever paid in.
func (k Keeper) of(ctx context.Context, node sortition.Key) (all []bondv1.Bond, err error) {
	err = k.bonds.Walk(ctx, collections.NewPrefixedPairRange[[]byte, string](node[:]), func(_ where, b bondv1.Bond) (bool, error) {
		all = append(all, b)
		return false, nil
	})
	return all, err
}

// keep writes a bond; one of nothing that was never slashed leaves no key.
func (k Keeper) keep(ctx context.Context, b bondv1.Bond) error {
	at := collections.Join(b.Node, b.Denom)
	if b.Held.IsZero() && b.Before.IsZero() {
		return k.bonds.Remove(ctx, at)
	}
	return k.bonds.Set(ctx, at, b)
}

// move changes what a bond's owner has here, and tells supply of it before the holding changes.
func (k Keeper) move(ctx context.Context, b bondv1.Bond, delta math.Int) error {
	at := collections.Join(b.Owner, b.Denom)
	n, known, err := found(k.owned.Get(ctx, at))
	if err != nil {
		return err
	}
	if !known {
		n = math.ZeroInt()
	}
	switch n = n.Add(delta); {
	case n.IsNegative():
		return fmt.Errorf("%s would have %s%s", b.Owner, n, b.Denom)
	case n.IsZero():
		err = k.owned.Remove(ctx, at)
	default:
		err = k.owned.Set(ctx, at, n)
	}
	if err != nil || b.Denom != Denom {
		return err
	}
	owner, err := k.addresses.StringToBytes(b.Owner)
	if err != nil {
		return ErrOwner.Wrap(err.Error())
	}
	return k.Supply.Reserve(ctx, owner, delta)
}

// count moves the running sums of an asset.
func (k Keeper) count(ctx context.Context, denom string, move func(*bondv1.Totals)) error {
	t, err := k.Totals(ctx, denom)
	if err != nil {
		return err
	}
	move(&t)
	return k.totals.Set(ctx, denom, t)
}

// raise adds to a sum; nothing leaves no key.
func raise[K comparable](sums map[K]math.Int, key K, n math.Int) {
	if n.IsZero() {
		return
	}
	if had, known := sums[key]; known {
		n = n.Add(had)
	}
	sums[key] = n
}
