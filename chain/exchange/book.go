package exchange

import (
	"context"
	"errors"
	"fmt"

	"cosmossdk.io/collections"
	"cosmossdk.io/math"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/exchangev1"
	"github.com/hpips/hpips/spec/auction"
)

// side is one half of the books of all assets: orders with the best limit first and by number within a limit, and beside them the sum of what is
// left of all orders at a limit, so that the price of a batch does not ask for each order. buys has the highest limit first.
type side struct {
	orders collections.KeySet[collections.Triple[string, uint64, uint64]] // asset, rank of its limit, number
	levels collections.Map[collections.Pair[string, uint64], math.Int]    // asset, rank of its limit
	buys   bool
}

func newSide(b *collections.SchemaBuilder, name string, orders, levels collections.Prefix, buys bool) side {
	key := collections.TripleKeyCodec(collections.StringKey, collections.Uint64Key, collections.Uint64Key)
	at := collections.PairKeyCodec(collections.StringKey, collections.Uint64Key)
	return side{
		orders: collections.NewKeySet(b, orders, name, key),
		levels: collections.NewMap(b, levels, name+"_levels", at, sdk.IntValue),
		buys:   buys,
	}
}

// rank turns a limit into its place in the store, and back: the store goes upwards.
func (s side) rank(price uint64) uint64 {
	if s.buys {
		return ^price
	}
	return price
}

// add enters an order.
func (s side) add(ctx context.Context, o exchangev1.Order) error {
	if err := s.orders.Set(ctx, collections.Join3(o.Denom, s.rank(o.Price), o.Id)); err != nil {
		return err
	}
	return s.shift(ctx, o, o.Left)
}

// remove takes an order out, of which so much was left.
func (s side) remove(ctx context.Context, o exchangev1.Order, left math.Int) error {
	if err := s.orders.Remove(ctx, collections.Join3(o.Denom, s.rank(o.Price), o.Id)); err != nil {
		return err
	}
	return s.shift(ctx, o, left.Neg())
}

// shift moves the sum at an order's limit.
func (s side) shift(ctx context.Context, o exchangev1.Order, delta math.Int) error {
	at := collections.Join(o.Denom, s.rank(o.Price))
	sum, err := s.levels.Get(ctx, at)
	if errors.Is(err, collections.ErrNotFound) {
		sum, err = math.ZeroInt(), nil
	}
	if err != nil {
		return err
	}
	switch sum = sum.Add(delta); {
	case sum.IsNegative():
		return fmt.Errorf("the sum of %s at %d would be %s", o.Denom, o.Price, sum)
	case sum.IsZero():
		return s.levels.Remove(ctx, at)
	}
	return s.levels.Set(ctx, at, sum)
}

// best gives the best limit of an asset; 0: there is no order.
func (s side) best(ctx context.Context, denom string) (price uint64, err error) {
	err = s.levels.Walk(ctx, collections.NewPrefixedPairRange[string, uint64](denom), func(at collections.Pair[string, uint64], _ math.Int) (bool, error) {
		price = s.rank(at.K2())
		return true, nil
	})
	return price, err
}

// until gives the sums at all limits from the best one to the one given, less those of orders that are too young.
func (s side) until(ctx context.Context, denom string, last uint64, young youngs) (all []auction.Level, err error) {
	r := collections.NewPrefixedPairRange[string, uint64](denom).EndInclusive(s.rank(last))
	err = s.levels.Walk(ctx, r, func(at collections.Pair[string, uint64], sum math.Int) (bool, error) {
		price := s.rank(at.K2())
		if y, ok := young.sums[place{denom, s.buys, price}]; ok {
			sum = sum.Sub(y)
		}
		switch {
		case sum.IsNegative():
			return true, fmt.Errorf("orders of %s at %d come to more than their sum", denom, price)
		case !sum.IsPositive():
		case sum.IsUint64():
			all = append(all, auction.Level{Price: price, Amount: sum.Uint64()})
		default:
			all = append(all, auction.Level{Price: price, Amount: ^uint64(0)})
		}
		return false, nil
	})
	return all, err
}

// place is one limit of one side of one asset.
type place struct {
	denom string
	buys  bool
	price uint64
}

// youngs are the orders that a batch does not take in: of the blocks from a height on.
type youngs struct {
	since int64
	sums  map[place]math.Int // for looking up only
}

// young finds the orders placed since a height. It looks at no others, but for one.
func (k Keeper) young(ctx context.Context, since int64) (youngs, error) {
	y := youngs{since: since, sums: map[place]math.Int{}}
	err := k.orders.Walk(ctx, new(collections.Range[uint64]).Descending(), func(_ uint64, o exchangev1.Order) (bool, error) {
		if o.Height < y.since {
			return true, nil
		}
		at := place{o.Denom, o.Side == exchangev1.SIDE_BUY, o.Price}
		sum, ok := y.sums[at]
		if !ok {
			sum = math.ZeroInt()
		}
		y.sums[at] = sum.Add(o.Left)
		return false, nil
	})
	return y, err
}

// take gives the orders, the best first, that share in need uhpips at a price: those before the limit at which need is met, and all at it; never
// more than limit of them.
func (k Keeper) take(ctx context.Context, s side, denom string, price, need uint64, limit uint32, y youngs) (all []exchangev1.Order, err error) {
	rest := math.NewIntFromUint64(need)
	r := collections.NewPrefixedTripleRange[string, uint64, uint64](denom)
	err = s.orders.Walk(ctx, r, func(at collections.Triple[string, uint64, uint64]) (bool, error) {
		switch n := len(all); {
		case n >= int(limit) || at.K2() > s.rank(price):
			return true, nil
		case !rest.IsPositive() && n > 0 && all[n-1].Price != s.rank(at.K2()):
			return true, nil
		}
		o, err := k.orders.Get(ctx, at.K3())
		if err != nil {
			return true, fmt.Errorf("order %d: %w", at.K3(), err)
		}
		if o.Height < y.since {
			all, rest = append(all, o), rest.Sub(o.Left)
		}
		return false, nil
	})
	return all, err
}
