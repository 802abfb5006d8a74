// Package exchange keeps the book: orders that trade HPIPS against assets admitted by vote, and the standing sale that turns levies of these into HPIPS.
// It promises one price for all who trade in a batch, batches whose last word nobody knows, that every unit of either side is accounted for, and that
// what an order holds comes back at once when it is cancelled, whatever state the supply is in.
// It leaves the rules of a batch to spec/auction, holdings to chain/supply, and what becomes of the HPIPS that the sale buys to chain/reward.
package exchange

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"strconv"

	"cosmossdk.io/collections"
	"cosmossdk.io/core/address"
	"cosmossdk.io/core/store"
	"cosmossdk.io/math"

	"github.com/cosmos/cosmos-sdk/codec"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/exchangev1"
	"github.com/hpips/hpips/spec/auction"
	"github.com/hpips/hpips/spec/money"
)

// Name is the module's, its store's and its account's, which has what orders and sales hold.
const Name = "exchange"

// Accounts of other modules: levies come from levy, and what is bought with them goes there; what rounding leaves goes to fund.
const (
	levy = "levy"
	fund = "fund"
)

// Prefixes of the store. They are consensus: never renumber them.
var (
	paramsPrefix     = collections.NewPrefix(1)
	assetsPrefix     = collections.NewPrefix(2)
	ordersPrefix     = collections.NewPrefix(3)
	numberPrefix     = collections.NewPrefix(4)
	ownedPrefix      = collections.NewPrefix(5)
	buysPrefix       = collections.NewPrefix(6)
	buyLevelsPrefix  = collections.NewPrefix(7)
	sellsPrefix      = collections.NewPrefix(8)
	sellLevelsPrefix = collections.NewPrefix(9)
	salesPrefix      = collections.NewPrefix(10)
	batchesPrefix    = collections.NewPrefix(11)
	unfinishedPrefix = collections.NewPrefix(12)
)

// Bank is what the exchange asks of the SDK's bank.
type Bank interface {
	BlockedAddr(who sdk.AccAddress) bool
	SendCoinsFromAccountToModule(ctx context.Context, from sdk.AccAddress, to string, amount sdk.Coins) error
	SendCoinsFromModuleToAccount(ctx context.Context, from string, to sdk.AccAddress, amount sdk.Coins) error
	SendCoinsFromModuleToModule(ctx context.Context, from, to string, amount sdk.Coins) error
}

// Supply counts HPIPS that an account owns outside of its balance, in uhpips, and says what is broken; empty: nothing.
type Supply interface {
	Reserve(ctx context.Context, who sdk.AccAddress, delta math.Int) error
	Broken(ctx context.Context) (string, error)
}

// Reward is told how many uhpips came into the account levy for sold levies.
type Reward interface {
	Converted(ctx context.Context, amount math.Int) error
}

// Keeper holds the book.
type Keeper struct {
	schema     collections.Schema
	params     collections.Item[exchangev1.Params]
	assets     collections.Map[string, exchangev1.Asset]
	orders     collections.Map[uint64, exchangev1.Order]
	number     collections.Sequence
	owned      collections.KeySet[collections.Pair[string, uint64]] // open orders by owner
	buys       side
	sells      side
	sales      collections.Map[string, exchangev1.Sale]
	batches    collections.Map[collections.Pair[string, uint64], exchangev1.Batch] // the last ones of an asset, by their number
	unfinished collections.Map[string, int64]                                      // batches that go on in the next block: from which height on orders are too young for them
	bank       Bank
	supply     Supply
	reward     Reward
	codec      address.Codec
	authority  string
}

// NewKeeper needs who moves money, counts holdings and takes what was bought, how addresses are written, and the address whose word is a vote's
// outcome.
func NewKeeper(cdc codec.Codec, service store.KVStoreService, bank Bank, supply Supply, reward Reward, addresses address.Codec, authority string) Keeper {
	b := collections.NewSchemaBuilder(service)
	k := Keeper{
		params:     collections.NewItem(b, paramsPrefix, "params", codec.CollValue[exchangev1.Params](cdc)),
		assets:     collections.NewMap(b, assetsPrefix, "assets", collections.StringKey, codec.CollValue[exchangev1.Asset](cdc)),
		orders:     collections.NewMap(b, ordersPrefix, "orders", collections.Uint64Key, codec.CollValue[exchangev1.Order](cdc)),
		number:     collections.NewSequence(b, numberPrefix, "number"),
		owned:      collections.NewKeySet(b, ownedPrefix, "owned", collections.PairKeyCodec(collections.StringKey, collections.Uint64Key)),
		buys:       newSide(b, "buys", buysPrefix, buyLevelsPrefix, true),
		sells:      newSide(b, "sells", sellsPrefix, sellLevelsPrefix, false),
		sales:      collections.NewMap(b, salesPrefix, "sales", collections.StringKey, codec.CollValue[exchangev1.Sale](cdc)),
		batches:    collections.NewMap(b, batchesPrefix, "batches", collections.PairKeyCodec(collections.StringKey, collections.Uint64Key), codec.CollValue[exchangev1.Batch](cdc)),
		unfinished: collections.NewMap(b, unfinishedPrefix, "unfinished", collections.StringKey, collections.Int64Value),
		bank:       bank, supply: supply, reward: reward, codec: addresses, authority: authority,
	}
	var err error
	if k.schema, err = b.Build(); err != nil {
		panic(err)
	}
	return k
}

// Assets are all that were admitted, by denomination.
func (k Keeper) Assets(ctx context.Context) ([]exchangev1.Asset, error) {
	var all []exchangev1.Asset
	err := k.assets.Walk(ctx, nil, func(_ string, a exchangev1.Asset) (bool, error) {
		all = append(all, a)
		return false, nil
	})
	return all, err
}

// Admitted tells whether work may be paid with a denomination: HPIPS itself, and each asset that was admitted.
func (k Keeper) Admitted(ctx context.Context, denom string) (bool, error) {
	if denom == money.Denom {
		return true, nil
	}
	return k.assets.Has(ctx, denom)
}

// Admit takes an asset in. price is the first of the sale of its levies: the most that it pays for one HPIPS.
func (k Keeper) Admit(ctx context.Context, a exchangev1.Asset, price uint64) error {
	if err := checkAsset(a, price); err != nil {
		return err
	}
	known, err := k.assets.Has(ctx, a.Denom)
	if err != nil {
		return fmt.Errorf("admit %s: %w", a.Denom, err)
	}
	if known {
		return ErrAsset.Wrapf("%s is admitted", a.Denom)
	}
	return errors.Join(k.assets.Set(ctx, a.Denom, a), k.sales.Set(ctx, a.Denom, newSale(a.Denom, price)))
}

// checkAsset tells whether an asset may be admitted with this first price.
func checkAsset(a exchangev1.Asset, price uint64) error {
	switch {
	case sdk.ValidateDenom(a.Denom) != nil || a.Denom == money.Denom:
		return ErrAsset.Wrapf("denomination %.40q", a.Denom)
	case a.Decimals > auction.MostDecimals:
		return ErrAsset.Wrapf("%s: %d decimals", a.Denom, a.Decimals)
	case price == 0:
		return ErrAsset.Wrapf("%s: no first price", a.Denom)
	case len(a.Name) == 0 || len(a.Name) > 16 || a.Name == money.Symbol:
		return ErrAsset.Wrapf("%s: name %.40q", a.Denom, a.Name)
	}
	for _, c := range []byte(a.Name) {
		if c <= ' ' || c > '~' {
			return ErrAsset.Wrapf("%s: name %q", a.Denom, a.Name)
		}
	}
	return nil
}

// Place opens an order and takes what it holds: the uhpips of a sale, which stay in the owner's holding, or what a purchase costs at its limit.
// It gives the order's number.
func (k Keeper) Place(ctx context.Context, m *exchangev1.MsgPlace) (uint64, error) {
	who, owner, err := k.person(m.Owner)
	if err != nil {
		return 0, err
	}
	o, err := k.check(ctx, m, owner)
	if err != nil {
		return 0, err
	}
	last, err := k.number.Next(ctx)
	if err != nil {
		return 0, fmt.Errorf("place: %w", err)
	}
	o.Id = last + 1                     // the sale stands in a batch as number 0
	if o.Side == exchangev1.SIDE_SELL { // first counted, then sent: the holding is never less in between
		if err := k.supply.Reserve(ctx, who, o.Held); err != nil {
			return 0, fmt.Errorf("place: %w", err)
		}
	}
	if err := k.bank.SendCoinsFromAccountToModule(ctx, who, Name, held(o)); err != nil {
		return 0, fmt.Errorf("place: %w", err)
	}
	err = errors.Join(k.orders.Set(ctx, o.Id, o), k.owned.Set(ctx, collections.Join(o.Owner, o.Id)), k.side(o).add(ctx, o))
	tellOrder(ctx, o, "placed")
	return o.Id, err
}

// check makes an order of a message, or says why not. It takes nothing.
func (k Keeper) check(ctx context.Context, m *exchangev1.MsgPlace, owner string) (none exchangev1.Order, err error) {
	why, err := k.supply.Broken(ctx)
	if err != nil {
		return none, fmt.Errorf("place: %w", err)
	}
	if why != "" {
		return none, ErrBroken.Wrap(why)
	}
	p, err := k.Params(ctx)
	if err != nil {
		return none, err
	}
	a, err := k.asset(ctx, m.Denom)
	if err != nil {
		return none, err
	}
	switch {
	case m.Side != exchangev1.SIDE_BUY && m.Side != exchangev1.SIDE_SELL:
		return none, ErrSide.Wrapf("side %d", m.Side)
	case m.Price == 0 || m.Price != auction.Round(m.Price):
		return none, ErrPrice.Wrapf("%d: want more than 0, and four digits followed by zeros at most", m.Price)
	case m.Amount.IsNil() || !m.Amount.IsPositive() || m.Amount.GT(math.NewIntFromUint64(auction.Most)):
		return none, ErrAmount.Wrapf("%s%s", m.Amount, money.Denom)
	case m.Amount.LT(math.NewIntFromUint64(p.LeastOrder)):
		return none, ErrLeast.Wrapf("%s%s, the least is %d", m.Amount, money.Denom, p.LeastOrder)
	}
	open, err := k.countOpen(ctx, owner, p.OrdersPerAccount)
	if err != nil {
		return none, err
	}
	if open >= p.OrdersPerAccount {
		return none, ErrMany.Wrapf("%d", open)
	}
	o := exchangev1.Order{Owner: owner, Denom: m.Denom, Side: m.Side, Price: m.Price, Left: m.Amount, Held: m.Amount, Height: sdk.UnwrapSDKContext(ctx).BlockHeight()}
	if o.Side == exchangev1.SIDE_BUY {
		_, cost := auction.Value(m.Amount.Uint64(), m.Price, a.Decimals)
		o.Held = math.NewIntFromBigInt(cost) // below 10^14 × 2^64 × 10^18 ÷ 10^18: it always fits
	}
	return o, nil
}

// Cancel takes an order out and gives back all that it holds.
func (k Keeper) Cancel(ctx context.Context, owner string, id uint64) error {
	who, owner, err := k.person(owner)
	if err != nil {
		return err
	}
	o, err := k.orders.Get(ctx, id)
	switch {
	case errors.Is(err, collections.ErrNotFound):
		return ErrUnknown.Wrapf("%d", id)
	case err != nil:
		return fmt.Errorf("cancel %d: %w", id, err)
	case o.Owner != owner:
		return ErrOwner.Wrapf("%d", id)
	}
	if err := errors.Join(k.side(o).remove(ctx, o, o.Left), k.close(ctx, o)); err != nil {
		return fmt.Errorf("cancel %d: %w", id, err)
	}
	if err := k.give(ctx, who, held(o)); err != nil {
		return fmt.Errorf("cancel %d: %w", id, err)
	}
	if o.Side == exchangev1.SIDE_SELL {
		if err := k.supply.Reserve(ctx, who, o.Held.Neg()); err != nil {
			return fmt.Errorf("cancel %d: %w", id, err)
		}
	}
	tellOrder(ctx, o, "cancelled")
	return nil
}

// Sell puts a levy of an asset, which lies in the account levy, into the standing sale: on offer in equal parts from now on.
func (k Keeper) Sell(ctx context.Context, denom string, amount math.Int) error {
	if _, err := k.asset(ctx, denom); err != nil {
		return err
	}
	if amount.IsNil() || !amount.IsPositive() {
		return ErrAmount.Wrapf("sell levy of %s%s", amount, denom)
	}
	p, err := k.Params(ctx)
	if err != nil {
		return err
	}
	s, err := k.sales.Get(ctx, denom)
	if err != nil {
		return fmt.Errorf("sell levy of %s: %w", denom, err)
	}
	if err := k.bank.SendCoinsFromModuleToModule(ctx, levy, Name, sdk.NewCoins(sdk.NewCoin(denom, amount))); err != nil {
		return fmt.Errorf("sell levy of %s: %w", denom, err)
	}
	return k.sales.Set(ctx, denom, join(s, p, amount, sdk.UnwrapSDKContext(ctx).BlockTime().Unix()))
}

// give pays out of what is held.
func (k Keeper) give(ctx context.Context, who sdk.AccAddress, coins sdk.Coins) error {
	if coins.IsZero() {
		return nil
	}
	return k.bank.SendCoinsFromModuleToAccount(ctx, Name, who, coins)
}

// close forgets an order, but for the book.
func (k Keeper) close(ctx context.Context, o exchangev1.Order) error {
	return errors.Join(k.orders.Remove(ctx, o.Id), k.owned.Remove(ctx, collections.Join(o.Owner, o.Id)))
}

func (k Keeper) asset(ctx context.Context, denom string) (exchangev1.Asset, error) {
	a, err := k.assets.Get(ctx, denom)
	if errors.Is(err, collections.ErrNotFound) {
		return a, ErrDenom.Wrapf("%.40q", denom)
	}
	return a, err
}

func (k Keeper) side(o exchangev1.Order) side {
	if o.Side == exchangev1.SIDE_BUY {
		return k.buys
	}
	return k.sells
}

// countOpen counts an account's open orders, up to limit.
func (k Keeper) countOpen(ctx context.Context, owner string, limit uint32) (n uint32, err error) {
	err = k.owned.Walk(ctx, collections.NewPrefixedPairRange[string, uint64](owner), func(collections.Pair[string, uint64]) (bool, error) {
		n++
		return n >= limit, nil
	})
	return n, err
}

// person reads an address, and writes it in the one way in which owners are stored. An account that cannot be paid has no orders.
func (k Keeper) person(text string) (sdk.AccAddress, string, error) {
	who, err := k.codec.StringToBytes(text)
	if err != nil {
		return nil, "", ErrAddress.Wrapf("%.100q: %v", text, err)
	}
	if k.bank.BlockedAddr(who) {
		return nil, "", ErrAddress.Wrapf("%s is a module's account", text)
	}
	owner, err := k.codec.BytesToString(who)
	return who, owner, err
}

// held is what an order holds, as coins.
func held(o exchangev1.Order) sdk.Coins {
	denom := o.Denom
	if o.Side == exchangev1.SIDE_SELL {
		denom = money.Denom
	}
	return sdk.NewCoins(sdk.NewCoin(denom, o.Held))
}

func coin(denom string, n *big.Int) sdk.Coin { return sdk.NewCoin(denom, math.NewIntFromBigInt(n)) }

func tellOrder(ctx context.Context, o exchangev1.Order, what string) {
	side := "buy"
	if o.Side == exchangev1.SIDE_SELL {
		side = "sell"
	}
	sdk.UnwrapSDKContext(ctx).EventManager().EmitEvent(sdk.NewEvent("hpips_order", sdk.NewAttribute("what", what),
		sdk.NewAttribute("id", strconv.FormatUint(o.Id, 10)), sdk.NewAttribute("owner", o.Owner), sdk.NewAttribute("denom", o.Denom),
		sdk.NewAttribute("side", side), sdk.NewAttribute("price", strconv.FormatUint(o.Price, 10)), sdk.NewAttribute("left", o.Left.String()+money.Denom)))
}
