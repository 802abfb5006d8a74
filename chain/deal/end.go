package deal

import (
	"context"
	"errors"

	"cosmossdk.io/collections"

	"github.com/hpips/hpips/proto/gen/dealv1"
	"github.com/hpips/hpips/spec/proof"
	"github.com/hpips/hpips/spec/sortition"
)

// Kept is a part and who keeps it.
type Kept struct {
	proof.Part
	Node sortition.Key
}

// Over ends deals whose last day is before this one, a few at a time, and gives the parts that somebody keeps: they leave the rows with the day. done: no more end today.
func (k Keeper) Over(ctx context.Context, today uint64) (gone []Kept, done bool, err error) {
	p, err := k.Params(ctx)
	if err != nil {
		return nil, false, err
	}
	var due []collections.Pair[uint64, uint64]
	if err := k.ends.Walk(ctx, new(collections.Range[collections.Pair[uint64, uint64]]).EndExclusive(collections.Join(today, uint64(0))), func(key collections.Pair[uint64, uint64]) (bool, error) {
		due = append(due, key)
		return len(due) == int(p.Batch), nil
	}); err != nil {
		return nil, false, err
	}
	for _, key := range due {
		if err := k.ends.Remove(ctx, key); err != nil {
			return nil, false, err
		}
		some, err := k.over(ctx, key.K2())
		if err != nil {
			return nil, false, err
		}
		gone = append(gone, some...)
	}
	return gone, len(due) < int(p.Batch), nil
}

func (k Keeper) over(ctx context.Context, number uint64) (gone []Kept, err error) {
	d, err := k.Deal(ctx, number)
	if err != nil {
		return nil, err
	}
	d.Over = true
	if err := k.parts.Walk(ctx, collections.NewPrefixedPairRange[uint64, uint64](number), func(key part, p dealv1.Part) (bool, error) {
		if len(p.Node) > 0 {
			gone = append(gone, Kept{proof.Part{Deal: number, Number: key.K2()}, sortition.Key(p.Node)})
		}
		return false, nil
	}); err != nil {
		return nil, err
	}
	if err := k.open.Clear(ctx, collections.NewPrefixedPairRange[uint64, uint64](number)); err != nil {
		return nil, err
	}
	if d.Held == 0 {
		return nil, k.end(ctx, d)
	}
	return gone, k.deals.Set(ctx, number, d)
}

// end gives back what a deal did not use, and forgets it.
func (k Keeper) end(ctx context.Context, d dealv1.Deal) error {
	_, at, err := k.canonical(d.Payer)
	if err != nil {
		return err
	}
	back := d.Deposit - d.Spent
	if back > 0 {
		if err := k.Bank.SendCoinsFromModuleToAccount(ctx, Name, at, coins(back)); err != nil {
			return err
		}
	}
	tell(ctx, "hpips_deal_over", "deal", text(d.Number), "payer", d.Payer, "spent", text(d.Spent)+denom, "returned", text(back)+denom)
	return errors.Join(
		k.count(ctx, func(t *dealv1.Totals) { t.Returned += back }),
		k.parts.Clear(ctx, collections.NewPrefixedPairRange[uint64, uint64](d.Number)), k.deals.Remove(ctx, d.Number), k.unplaced.Remove(ctx, d.Number),
		k.payers.Remove(ctx, collections.Join(d.Payer, d.Number)), k.objects.Remove(ctx, collections.Join(d.Object, d.Number)),
	)
}

// Unsound tells why the running sums do not come to what the module's account holds; empty: they do.
func (k Keeper) Unsound(ctx context.Context) (string, error) {
	t, err := k.Totals(ctx)
	if err != nil {
		return "", err
	}
	have := k.Bank.GetBalance(ctx, k.account, denom).Amount
	if out := t.Paid + t.Returned; out > t.Deposited || !have.IsUint64() || have.Uint64() != t.Deposited-out {
		return "deals: deposited " + text(t.Deposited) + ", paid " + text(t.Paid) + ", returned " + text(t.Returned) + ", and there are " + have.String(), nil
	}
	return "", nil
}
