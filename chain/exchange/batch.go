package exchange

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"

	"cosmossdk.io/collections"
	"cosmossdk.io/math"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/exchangev1"
	"github.com/hpips/hpips/spec/auction"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/spec/sortition"
)

// kept is how many batches of an asset are remembered.
const kept = 100

// Advance does what nobody sends a message for, once in each block that carries a seed and before its messages: parts of levies come on offer, and
// where the seed says so, an asset's batch ends. Nothing happens while the supply is broken.
//
// A batch that cannot be carried through, because somebody in it cannot be paid, is told by an event and leaves all as it was: it stops one asset,
// not the chain.
func (k Keeper) Advance(ctx context.Context, seed sortition.Seed) error {
	why, err := k.supply.Broken(ctx)
	if err != nil || why != "" {
		return err
	}
	p, err := k.Params(ctx)
	if err != nil {
		return err
	}
	assets, err := k.Assets(ctx)
	if err != nil {
		return fmt.Errorf("assets: %w", err)
	}
	for _, a := range assets {
		if err := k.offerParts(ctx, p, a); err != nil {
			return fmt.Errorf("sale of %s: %w", a.Denom, err)
		}
		since, ends, err := k.ends(ctx, p, a.Denom, seed)
		if err != nil {
			return fmt.Errorf("lot of %s: %w", a.Denom, err)
		}
		if !ends {
			continue
		}
		sctx := sdk.UnwrapSDKContext(ctx)
		tried, write := sctx.CacheContext()
		if err := k.batch(tried, p, a, since); err != nil {
			sctx.EventManager().EmitEvent(sdk.NewEvent("hpips_batch_failed", sdk.NewAttribute("denom", a.Denom), sdk.NewAttribute("why", err.Error())))
			continue
		}
		write()
	}
	return nil
}

// offerParts moves the parts of a levy whose time has come.
func (k Keeper) offerParts(ctx context.Context, p exchangev1.Params, a exchangev1.Asset) error {
	s, err := k.sales.Get(ctx, a.Denom)
	if err != nil {
		return err
	}
	s, moved := due(s, p, a.Decimals, sdk.UnwrapSDKContext(ctx).BlockTime().Unix())
	if !moved {
		return nil
	}
	return k.sales.Set(ctx, a.Denom, s)
}

// ends tells whether a batch of an asset trades in this block, and from which height on orders are too young for it: one goes on for which an
// earlier block had no room, or the lot ends one.
func (k Keeper) ends(ctx context.Context, p exchangev1.Params, denom string, seed sortition.Seed) (since int64, ends bool, err error) {
	since, err = k.unfinished.Get(ctx, denom)
	if errors.Is(err, collections.ErrNotFound) {
		return sdk.UnwrapSDKContext(ctx).BlockHeight() - 1, auction.Ends(seed, denom, p.BatchBlocks), nil
	}
	return since, true, err
}

// batch trades an asset's batch, as far as one block has room for it.
//
//  1. The price, from the sums at all limits that meet.
//  2. The orders that trade: the best of each side, fills_per_batch at most. The others follow in the next blocks, before any younger ones: otherwise
//     small orders, again and again, would keep the sale from what others offer.
//  3. Shares, and what each pays and gets.
//  4. Money moves; the base unit that rounding may leave goes to the fund.
//  5. The sale's price moves.
func (k Keeper) batch(ctx context.Context, p exchangev1.Params, a exchangev1.Asset, since int64) error {
	y, err := k.young(ctx, since)
	if err != nil {
		return err
	}
	s, err := k.sales.Get(ctx, a.Denom)
	if err != nil {
		return err
	}
	o := offer(s, p, a.Decimals)
	price, traded, err := k.price(ctx, a.Denom, o, y)
	if err != nil {
		return err
	}
	if traded > 0 {
		buys, err1 := k.take(ctx, k.buys, a.Denom, price, traded, p.FillsPerBatch, y)
		sells, err2 := k.take(ctx, k.sells, a.Denom, price, traded, p.FillsPerBatch, y)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		t := deal{asset: a, price: price, buys: buys, sells: sells, offer: o}
		t.share(traded)
		paid, bought, err := k.settle(ctx, &t)
		if err != nil {
			return err
		}
		if err := k.remember(ctx, a, price, t.traded); err != nil {
			return err
		}
		if bought > 0 {
			s = filled(s, p, math.NewIntFromBigInt(paid), bought, price)
			tellSale(ctx, s, paid, bought)
		}
		if t.traded < traded {
			return errors.Join(k.sales.Set(ctx, a.Denom, s), k.unfinished.Set(ctx, a.Denom, since))
		}
	}
	if o.Limit > 0 && onOffer(s, p, a.Decimals) {
		s = unfilled(s, p, sdk.UnwrapSDKContext(ctx).BlockTime().Unix())
	}
	if err := k.unfinished.Remove(ctx, a.Denom); err != nil || o.Limit == 0 {
		return err
	}
	return k.sales.Set(ctx, a.Denom, s)
}

// price finds a batch's price and how much could be traded at it.
func (k Keeper) price(ctx context.Context, denom string, o auction.Offer, y youngs) (price, traded uint64, err error) {
	highest, err := k.buys.best(ctx, denom)
	if err != nil {
		return 0, 0, err
	}
	sells, err := k.sells.until(ctx, denom, max(highest, o.Limit), y)
	if err != nil || len(sells) == 0 {
		return 0, 0, err
	}
	buys, err := k.buys.until(ctx, denom, sells[0].Price, y)
	if err != nil {
		return 0, 0, err
	}
	price, traded = auction.Clear(buys, sells, o)
	return price, traded, nil
}

// deal is what a batch trades: orders with their shares, and the sale, at place among the buys; −1: it is not among them.
type deal struct {
	asset       exchangev1.Asset
	price       uint64
	buys, sells []exchangev1.Order
	offer       auction.Offer
	place       int
	bought      []uint64 // of the buys and the sale, in uhpips
	sold        []uint64
	pays, gets  []*big.Int // in base units of the asset
	traded      uint64
}

// share divides up to most uhpips among the orders that were taken.
func (t *deal) share(most uint64) {
	wanted, offered := levels(t.buys), levels(t.sells)
	t.place = -1
	if n := t.offer.At(t.price); n > 0 {
		t.place = 0
		for t.place < len(wanted) && wanted[t.place].Price > t.offer.Limit {
			t.place++
		}
		wanted = slices.Insert(wanted, t.place, auction.Level{Price: t.offer.Limit, Amount: n})
	}
	t.traded = min(most, sum(wanted), sum(offered))
	t.bought, t.sold = auction.Fill(wanted, t.traded), auction.Fill(offered, t.traded)
	t.pays = auction.Pays(t.bought, t.price, t.asset.Decimals, true)
	t.gets = auction.Pays(t.sold, t.price, t.asset.Decimals, false)
}

func levels(orders []exchangev1.Order) []auction.Level {
	all := make([]auction.Level, len(orders))
	for i, o := range orders {
		all[i] = auction.Level{Price: o.Price, Amount: o.Left.Uint64()}
	}
	return all
}

// sum adds what a batch's orders are for: 10,001 times 10^14 at most.
func sum(orders []auction.Level) (n uint64) {
	for _, o := range orders {
		n += o.Amount
	}
	return n
}

// settle moves the money of a deal. It gives what the sale paid and bought.
func (k Keeper) settle(ctx context.Context, t *deal) (paid *big.Int, bought uint64, err error) {
	paid, dust, at := new(big.Int), new(big.Int), 0
	for i, n := range t.bought {
		dust.Add(dust, t.pays[i])
		if i == t.place {
			paid, bought = t.pays[i], n
			continue
		}
		if err := k.buy(ctx, t, t.buys[at], n, t.pays[i]); err != nil {
			return nil, 0, fmt.Errorf("order %d: %w", t.buys[at].Id, err)
		}
		at++
	}
	for i, n := range t.sold {
		dust.Sub(dust, t.gets[i])
		if err := k.sell(ctx, t, t.sells[i], n, t.gets[i]); err != nil {
			return nil, 0, fmt.Errorf("order %d: %w", t.sells[i].Id, err)
		}
	}
	if bought > 0 {
		n := math.NewIntFromUint64(bought)
		if err := k.bank.SendCoinsFromModuleToModule(ctx, Name, levy, sdk.NewCoins(sdk.NewCoin(money.Denom, n))); err != nil {
			return nil, 0, fmt.Errorf("converted: %w", err)
		}
		if err := k.reward.Converted(ctx, n); err != nil {
			return nil, 0, fmt.Errorf("converted: %w", err)
		}
	}
	if dust.Sign() != 0 {
		if err := k.bank.SendCoinsFromModuleToModule(ctx, Name, fund, sdk.NewCoins(coin(t.asset.Denom, dust))); err != nil {
			return nil, 0, fmt.Errorf("dust: %w", err)
		}
	}
	return paid, bought, nil
}

// buy gives a buyer n uhpips, and what the order holds beyond the price of what is left of it. What is left is what the rest still pays for.
func (k Keeper) buy(ctx context.Context, t *deal, o exchangev1.Order, n uint64, pays *big.Int) error {
	if n == 0 {
		return nil
	}
	before, rest := o.Left, o.Held.Sub(math.NewIntFromBigInt(pays))
	left := min(o.Left.Uint64()-n, auction.Affords(rest.BigInt(), o.Price, t.asset.Decimals))
	_, need := auction.Value(left, o.Price, t.asset.Decimals)
	o.Left, o.Held = math.NewIntFromUint64(left), math.NewIntFromBigInt(need)
	back := sdk.NewCoins(sdk.NewCoin(money.Denom, math.NewIntFromUint64(n)), sdk.NewCoin(o.Denom, rest.Sub(o.Held)))
	return k.trade(ctx, t, o, before, n, pays, back)
}

// sell gives a seller the price of n uhpips, which leave its holding.
func (k Keeper) sell(ctx context.Context, t *deal, o exchangev1.Order, n uint64, gets *big.Int) error {
	if n == 0 {
		return nil
	}
	before, sold := o.Left, math.NewIntFromUint64(n)
	o.Left, o.Held = o.Left.Sub(sold), o.Held.Sub(sold)
	who, err := k.codec.StringToBytes(o.Owner)
	if err != nil {
		return err
	}
	if err := k.supply.Reserve(ctx, who, sold.Neg()); err != nil {
		return err
	}
	return k.trade(ctx, t, o, before, n, gets, sdk.NewCoins(coin(o.Denom, gets)))
}

// trade stores an order of which n uhpips were traded and pays its owner.
func (k Keeper) trade(ctx context.Context, t *deal, o exchangev1.Order, before math.Int, n uint64, value *big.Int, pay sdk.Coins) error {
	who, err := k.codec.StringToBytes(o.Owner)
	if err != nil {
		return err
	}
	if o.Left.IsPositive() {
		err = errors.Join(k.side(o).shift(ctx, o, o.Left.Sub(before)), k.orders.Set(ctx, o.Id, o))
	} else {
		err = errors.Join(k.side(o).remove(ctx, o, before), k.close(ctx, o))
	}
	if err != nil {
		return err
	}
	sdk.UnwrapSDKContext(ctx).EventManager().EmitEvent(sdk.NewEvent("hpips_fill", sdk.NewAttribute("id", strconv.FormatUint(o.Id, 10)),
		sdk.NewAttribute("owner", o.Owner), sdk.NewAttribute("amount", strconv.FormatUint(n, 10)+money.Denom),
		sdk.NewAttribute("value", value.String()+o.Denom), sdk.NewAttribute("left", o.Left.String()+money.Denom)))
	return k.give(ctx, who, pay)
}

// remember writes down a batch that traded, and forgets the oldest.
func (k Keeper) remember(ctx context.Context, a exchangev1.Asset, price, traded uint64) error {
	sctx := sdk.UnwrapSDKContext(ctx)
	a.LastPrice = price
	a.Batches++
	b := exchangev1.Batch{Denom: a.Denom, Height: sctx.BlockHeight(), Time: sctx.BlockTime().Unix(), Price: price, Traded: math.NewIntFromUint64(traded)}
	sctx.EventManager().EmitEvent(sdk.NewEvent("hpips_batch", sdk.NewAttribute("denom", a.Denom), sdk.NewAttribute("price", strconv.FormatUint(price, 10)),
		sdk.NewAttribute("traded", b.Traded.String()+money.Denom)))
	err := errors.Join(k.assets.Set(ctx, a.Denom, a), k.batches.Set(ctx, collections.Join(a.Denom, a.Batches), b))
	if a.Batches > kept {
		err = errors.Join(err, k.batches.Remove(ctx, collections.Join(a.Denom, a.Batches-kept)))
	}
	return err
}

func tellSale(ctx context.Context, s exchangev1.Sale, paid *big.Int, bought uint64) {
	sdk.UnwrapSDKContext(ctx).EventManager().EmitEvent(sdk.NewEvent("hpips_sale", sdk.NewAttribute("sold", paid.String()+s.Denom),
		sdk.NewAttribute("bought", strconv.FormatUint(bought, 10)+money.Denom), sdk.NewAttribute("price", strconv.FormatUint(s.Price, 10))))
}
