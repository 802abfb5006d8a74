package reward

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"cosmossdk.io/collections"
	"cosmossdk.io/math"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/rewardv1"
	"github.com/hpips/hpips/spec/sortition"
)

// Final is pay that became final. It lies in the module account From; what was reserved for the payer is the caller's to take back.
type Final struct {
	From         string
	Lease        []byte
	Node         sortition.Key
	Payer, Payee sdk.AccAddress
	Denom        string
	Amount       math.Int // base units
}

// shares splits an amount: floor(0.9 × amount) and the rest, for amounts of any size.
func shares(amount math.Int) (paid, levied math.Int) {
	levied = amount.QuoRaw(10)
	if !amount.ModRaw(10).IsZero() {
		levied = levied.AddRaw(1)
	}
	return amount.Sub(levied), levied
}

// Split pays the provider, all but what its bond holds, puts the rest into the levy account and counts all of it for the day. With ErrRests nothing
// was moved: the money stays pending and comes again.
func (k Keeper) Split(ctx context.Context, f Final) error {
	switch {
	case f.Amount.IsNil() || !f.Amount.IsPositive() || sdk.ValidateDenom(f.Denom) != nil:
		return ErrAmount.Wrapf("split %s%.140q", f.Amount, f.Denom)
	case len(f.Payee) == 0 || k.Supply.Pooled(f.Payee):
		return ErrHolder.Wrapf("split for %x", []byte(f.Payee))
	}
	if err := k.rests(ctx); err != nil {
		return err
	}
	paid, levied := shares(f.Amount)
	held, err := k.Bond.Hold(ctx, f.From, f.Node, f.Payee, sdk.NewCoin(f.Denom, paid))
	if err != nil {
		return fmt.Errorf("split: bond: %w", err)
	}
	if rest := paid.Sub(held); rest.IsPositive() {
		if err := k.Bank.SendCoinsFromModuleToAccount(ctx, f.From, f.Payee, coins(f.Denom, rest)); err != nil {
			return fmt.Errorf("split: pay: %w", err)
		}
	}
	if err := k.Bank.SendCoinsFromModuleToModule(ctx, f.From, LevyAccount, coins(f.Denom, levied)); err != nil {
		return fmt.Errorf("split: levy: %w", err)
	}
	day := k.Committee.Day(ctx)
	if err := k.count(ctx, day, f, paid, held, levied); err != nil {
		return fmt.Errorf("split: count: %w", err)
	}
	return k.tellPaid(ctx, day, f, paid, held, levied)
}

// count adds a split to the sums of all time, of the day and of the provider.
func (k Keeper) count(ctx context.Context, n uint64, f Final, paid, held, levied math.Int) error {
	add := func(s rewardv1.Sum) rewardv1.Sum {
		s.Gross, s.Paid, s.Held, s.Levied = s.Gross.Add(f.Amount), s.Paid.Add(paid), s.Held.Add(held), s.Levied.Add(levied)
		return s
	}
	total, err1 := k.Total(ctx, f.Denom)
	asset, err2 := or(none())(k.assets.Get(ctx, collections.Join(n, f.Denom)))
	work, err3 := or(none())(k.works.Get(ctx, collections.Join3(n, f.Node[:], f.Denom)))
	earner, err4 := or(idle())(k.earners.Get(ctx, collections.Join(n, f.Node[:])))
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	if err := errors.Join(
		k.totals.Set(ctx, f.Denom, add(total)),
		k.assets.Set(ctx, collections.Join(n, f.Denom), add(asset)),
		k.works.Set(ctx, collections.Join3(n, f.Node[:], f.Denom), add(work)),
		k.earners.Set(ctx, collections.Join(n, f.Node[:]), earner),
	); err != nil || f.Denom != denom {
		return err
	}
	day, err := k.day(ctx, n)
	if err != nil {
		return err
	}
	day.Levied = day.Levied.Add(levied)
	return k.days.Set(ctx, n, day)
}

func (k Keeper) tellPaid(ctx context.Context, day uint64, f Final, paid, held, levied math.Int) error {
	payer, err := k.addresses.BytesToString(f.Payer)
	if err != nil {
		return fmt.Errorf("split: payer: %w", err)
	}
	payee, err := k.addresses.BytesToString(f.Payee)
	if err != nil {
		return fmt.Errorf("split: payee: %w", err)
	}
	tell(ctx, "hpips_paid", "day", strconv.FormatUint(day, 10), "lease", hex.EncodeToString(f.Lease), "node", f.Node.String(),
		"payer", payer, "payee", payee, "amount", f.Amount.String()+f.Denom, "paid", paid.String()+f.Denom, "held", held.String()+f.Denom, "levied", levied.String()+f.Denom)
	return nil
}

// Duty counts what a node did for the network: epochs in a seat, receipts that were used. The fund pays for it when the day is closed.
func (k Keeper) Duty(ctx context.Context, node sortition.Key, seats, receipts uint64) error {
	return k.serve(ctx, node, rewardv1.Earner{Seats: seats, Receipts: receipts})
}

// Stored counts MiB of the chain's archive that a node kept, and proved, for a day.
func (k Keeper) Stored(ctx context.Context, node sortition.Key, mib uint64) error {
	return k.serve(ctx, node, rewardv1.Earner{Stored: mib})
}

func (k Keeper) serve(ctx context.Context, node sortition.Key, units rewardv1.Earner) error {
	n := k.Committee.Day(ctx)
	day, err1 := k.day(ctx, n)
	earner, err2 := or(idle())(k.earners.Get(ctx, collections.Join(n, node[:])))
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("duty: %w", err)
	}
	day.Seats, day.Receipts, day.Stored = day.Seats+units.Seats, day.Receipts+units.Receipts, day.Stored+units.Stored
	earner.Seats, earner.Receipts, earner.Stored = earner.Seats+units.Seats, earner.Receipts+units.Receipts, earner.Stored+units.Stored
	return errors.Join(k.days.Set(ctx, n, day), k.earners.Set(ctx, collections.Join(n, node[:]), earner))
}

// Converted takes uhpips, which a sale of levies bought and brought into the levy account: they flow with the next day.
func (k Keeper) Converted(ctx context.Context, amount math.Int) error {
	if amount.IsNil() || !amount.IsPositive() {
		return ErrAmount.Wrapf("converted %s%s", amount, denom)
	}
	if err := k.Bank.SendCoinsFromModuleToModule(ctx, LevyAccount, StreamAccount, coins(denom, amount)); err != nil {
		return fmt.Errorf("converted: %w", err)
	}
	n := k.Committee.Day(ctx)
	day, err1 := k.day(ctx, n)
	s, err2 := k.Stream(ctx)
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("converted: %w", err)
	}
	day.Converted = day.Converted.Add(amount)
	s.Brought, s.Next = s.Brought.Add(amount), s.Next.Add(amount)
	tell(ctx, "hpips_converted", "day", strconv.FormatUint(n, 10), "amount", amount.String()+denom)
	return errors.Join(k.days.Set(ctx, n, day), k.stream.Set(ctx, s))
}

// tell emits an event of names and values in turn.
func tell(ctx context.Context, event string, words ...string) {
	var list []sdk.Attribute
	for i := 0; i+1 < len(words); i += 2 {
		list = append(list, sdk.NewAttribute(words[i], words[i+1]))
	}
	sdk.UnwrapSDKContext(ctx).EventManager().EmitEvent(sdk.NewEvent(event, list...))
}
