package supply

import (
	"context"
	"errors"
	"fmt"

	"cosmossdk.io/collections"
	"cosmossdk.io/math"

	sdk "github.com/cosmos/cosmos-sdk/types"
)

// Watch is told of an account whose holding is about to change, while it is still as it was. An error refuses the change. Transfers come
// to the same modules by the bank's send restrictions.
type Watch interface {
	BeforeHolding(ctx context.Context, who sdk.AccAddress) error
}

// Check is a module's word on its own running totals.
type Check interface {
	// Unsound says which of them is wrong, empty: none. Its cost does not depend on how many accounts there are. An error stops the block.
	Unsound(ctx context.Context) (string, error)
}

type named struct {
	name  string
	check Check
}

// Option names a module that lives with the supply.
type Option func(*Keeper, Accounts)

// Watched tells w of each holding before Reserve changes it, in the order of the options.
func Watched(w Watch) Option {
	return func(k *Keeper, _ Accounts) { k.watches = append(k.watches, w) }
}

// Backed names the module accounts that keep what is reserved: together they must hold no less.
func Backed(modules ...string) Option {
	return func(k *Keeper, accounts Accounts) {
		for _, name := range modules {
			at := accounts.GetModuleAddress(name)
			if !k.pooled[string(at)] {
				panic(fmt.Sprintf("supply: %s is not among the module accounts", name))
			}
			k.backing = append(k.backing, at)
		}
	}
}

// Checked adds the totals of a module to the invariants, under the module's name.
func Checked(name string, c Check) Option {
	return func(k *Keeper, _ Accounts) { k.checks = append(k.checks, named{name, c}) }
}

// Pooled tells whether an account is a module's, which has no holding.
func (k Keeper) Pooled(who sdk.AccAddress) bool { return k.pooled[string(who)] }

// Holding is what counts as an account's own, in uhpips: its whole balance, locked or not, and what is reserved for it. A module's account
// has none.
func (k Keeper) Holding(ctx context.Context, who sdk.AccAddress) math.Int {
	if k.pooled[string(who)] {
		return math.ZeroInt()
	}
	return k.bank.GetBalance(ctx, who, Denom).Amount.Add(k.ReservedFor(ctx, who))
}

// Circulating is the sum of all holdings, in uhpips, reckoned from the few accounts that have none and the running sum of what is reserved.
func (k Keeper) Circulating(ctx context.Context) math.Int {
	sum := k.bank.GetSupply(ctx, Denom).Amount.Add(k.Reserved(ctx))
	for _, at := range k.modules {
		sum = sum.Sub(k.bank.GetBalance(ctx, at, Denom).Amount)
	}
	return sum
}

// Reserve moves what an account owns outside of its balance, in escrow, in open orders, as its bond, by delta uhpips. The module that keeps it
// calls this where it takes money in from the account or gives it back or away; money itself moves by the bank. It never goes below
// zero, and a module's account owns nothing.
func (k Keeper) Reserve(ctx context.Context, who sdk.AccAddress, delta math.Int) error {
	if len(who) == 0 || k.pooled[string(who)] {
		return ErrHolder.Wrap("reserve for a module's account")
	}
	if delta.IsNil() {
		return ErrAmount.Wrap("reserve no amount")
	}
	if delta.IsZero() {
		return nil
	}
	of, sum := k.ReservedFor(ctx, who).Add(delta), k.Reserved(ctx).Add(delta)
	if of.IsNegative() || sum.IsNegative() {
		return ErrReserved.Wrapf("%s of %s%s", delta, of.Sub(delta), Denom)
	}
	for _, w := range k.watches {
		if err := w.BeforeHolding(ctx, who); err != nil {
			return fmt.Errorf("reserve: %w", err)
		}
	}
	if err := k.reservedSum.Set(ctx, sum); err != nil {
		return err
	}
	if of.IsZero() {
		return k.reserved.Remove(ctx, who)
	}
	return k.reserved.Set(ctx, who, of)
}

// Reserved is the sum of all that is reserved, in uhpips.
func (k Keeper) Reserved(ctx context.Context) math.Int { return amount(k.reservedSum.Get(ctx)) }

// ReservedFor is what an account owns outside of its balance, in uhpips.
func (k Keeper) ReservedFor(ctx context.Context, who sdk.AccAddress) math.Int {
	return amount(k.reserved.Get(ctx, who))
}

// amount takes what is not there for zero. That a number cannot be read means that the store is broken: no block may follow.
func amount(n math.Int, err error) math.Int {
	if errors.Is(err, collections.ErrNotFound) {
		return math.ZeroInt()
	}
	if err != nil {
		panic(fmt.Errorf("supply: reserved: %w", err))
	}
	return n
}
