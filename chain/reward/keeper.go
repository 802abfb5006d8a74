// Package reward shares out what work brought: nine tenths to who did it, one tenth to all holders, and what the community fund adds.
// It promises that only final money is split and every unit of it is accounted for, that each token earns for exactly the time it was held at
// a cost that does not depend on how many holders there are, and that a day is closed in bounded steps, once, whatever happens meanwhile.
// It leaves leases and finality to chain/escrow, the sale of other assets to chain/exchange, days to chain/committee, and what a holding is
// to chain/supply.
package reward

import (
	"context"
	"errors"
	"fmt"

	"cosmossdk.io/collections"
	"cosmossdk.io/core/address"
	"cosmossdk.io/core/store"
	"cosmossdk.io/math"

	"github.com/cosmos/cosmos-sdk/codec"
	sdk "github.com/cosmos/cosmos-sdk/types"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"

	"github.com/hpips/hpips/proto/gen/rewardv1"
	"github.com/hpips/hpips/spec/sortition"
)

// Name is the module's and its store's.
const Name = "reward"

// The module accounts: what was levied and neither streams nor is sold yet, and the holders' pot. The fund is chain/supply's, and pays
// from here only.
const (
	LevyAccount   = "levy"
	StreamAccount = "stream"
	fundAccount   = "fund"
)

const denom = "uhpips"

// kept is for how many days each provider's part of a day is remembered. The days themselves are for ever.
const kept = 90

// Prefixes of the store. They are consensus: never renumber them.
var (
	paramsPrefix  = collections.NewPrefix(1)
	streamPrefix  = collections.NewPrefix(2)
	holdersPrefix = collections.NewPrefix(3)
	todayPrefix   = collections.NewPrefix(4)
	daysPrefix    = collections.NewPrefix(5)
	assetsPrefix  = collections.NewPrefix(6)
	worksPrefix   = collections.NewPrefix(7)
	earnersPrefix = collections.NewPrefix(8)
	totalsPrefix  = collections.NewPrefix(9)
	closingPrefix = collections.NewPrefix(10)
)

// Bank is what reward asks of the SDK's bank.
type Bank interface {
	GetBalance(ctx context.Context, who sdk.AccAddress, denom string) sdk.Coin
	SendCoinsFromModuleToAccount(ctx context.Context, from string, to sdk.AccAddress, amount sdk.Coins) error
	SendCoinsFromModuleToModule(ctx context.Context, from, to string, amount sdk.Coins) error
}

// Supply tells what an account holds and what all hold, in uhpips, which accounts are modules' and hold nothing, and whether an invariant is
// broken.
type Supply interface {
	Holding(ctx context.Context, who sdk.AccAddress) math.Int
	Circulating(ctx context.Context) math.Int
	Pooled(who sdk.AccAddress) bool
	Broken(ctx context.Context) (string, error)
}

// Committee counts the days, and tells in Unix seconds when this one ends.
type Committee interface {
	Day(ctx context.Context) uint64
	DayEnd(ctx context.Context) (int64, error)
}

// Registry tells whose a node is; empty: nobody's.
type Registry interface {
	Owner(ctx context.Context, node sortition.Key) (string, error)
}

// Exchange sells what was levied in another asset for HPIPS in the day that begins. It takes it out of the levy account as it is
// sold, brings in there what it bought and tells of it by Converted. Its error stops the block.
type Exchange interface {
	Sell(ctx context.Context, denom string, amount math.Int) error
}

// Bond takes its part of pay that becomes final out of a module's account, and tells how much that is. It stays the owner's. Its error
// makes the pay wait.
type Bond interface {
	Hold(ctx context.Context, from string, node sortition.Key, owner sdk.AccAddress, pay sdk.Coin) (math.Int, error)
}

// Neighbours are the modules that reward lives with.
type Neighbours struct {
	Bank      Bank
	Supply    Supply
	Committee Committee
	Registry  Registry
	Exchange  Exchange
	Bond      Bond
}

// Keeper holds the days, the stream and what holders are owed.
type Keeper struct {
	schema    collections.Schema
	addresses address.Codec
	authority string
	Neighbours

	params  collections.Item[rewardv1.Params]
	stream  collections.Item[rewardv1.Stream]
	holders collections.Map[[]byte, rewardv1.Holder] // by account; one without a record holds since index 0
	today   collections.Item[uint64]                 // the day that is open
	days    collections.Map[uint64, rewardv1.Day]
	assets  collections.Map[collections.Pair[uint64, string], rewardv1.Sum]           // of a day
	works   collections.Map[collections.Triple[uint64, []byte, string], rewardv1.Sum] // of a day and node
	earners collections.Map[collections.Pair[uint64, []byte], rewardv1.Earner]        // of a day: all nodes with work or duty
	totals  collections.Map[string, rewardv1.Sum]                                     // of all time, by asset
	closing collections.Item[rewardv1.Closing]                                        // the first day that is not done
}

// NewKeeper needs how addresses are written, its neighbours, and the address whose word is a vote's outcome.
func NewKeeper(cdc codec.Codec, service store.KVStoreService, addresses address.Codec, beside Neighbours, authority string) Keeper {
	b := collections.NewSchemaBuilder(service)
	sum, key, day := codec.CollValue[rewardv1.Sum](cdc), collections.BytesKey, collections.Uint64Key
	k := Keeper{
		addresses: addresses, authority: authority, Neighbours: beside,
		params:  collections.NewItem(b, paramsPrefix, "params", codec.CollValue[rewardv1.Params](cdc)),
		stream:  collections.NewItem(b, streamPrefix, "stream", codec.CollValue[rewardv1.Stream](cdc)),
		holders: collections.NewMap(b, holdersPrefix, "holders", key, codec.CollValue[rewardv1.Holder](cdc)),
		today:   collections.NewItem(b, todayPrefix, "today", collections.Uint64Value),
		days:    collections.NewMap(b, daysPrefix, "days", day, codec.CollValue[rewardv1.Day](cdc)),
		assets:  collections.NewMap(b, assetsPrefix, "assets", collections.PairKeyCodec(day, collections.StringKey), sum),
		works:   collections.NewMap(b, worksPrefix, "works", collections.TripleKeyCodec(day, key, collections.StringKey), sum),
		earners: collections.NewMap(b, earnersPrefix, "earners", collections.PairKeyCodec(day, key), codec.CollValue[rewardv1.Earner](cdc)),
		totals:  collections.NewMap(b, totalsPrefix, "totals", collections.StringKey, sum),
		closing: collections.NewItem(b, closingPrefix, "closing", codec.CollValue[rewardv1.Closing](cdc)),
	}
	var err error
	if k.schema, err = b.Build(); err != nil {
		panic(err)
	}
	return k
}

// Total is what was ever split of an asset.
func (k Keeper) Total(ctx context.Context, asset string) (rewardv1.Sum, error) {
	return or(none())(k.totals.Get(ctx, asset))
}

// Levied is what work of a node brought to the holders in these last days, the open one among them, in uhpips. Other assets count nothing:
// their price can be made up.
func (k Keeper) Levied(ctx context.Context, node sortition.Key, days uint64) (math.Int, error) {
	sum := math.ZeroInt()
	err := k.eachDay(ctx, days, func(day uint64) error {
		w, err := or(none())(k.works.Get(ctx, collections.Join3(day, node[:], denom)))
		sum = sum.Add(w.Levied)
		return err
	})
	return sum, err
}

// Paid is what was paid to a node in an asset in these last days, the open one among them, what its bond holds of it included; a payment that
// is under way is counted when it is done.
func (k Keeper) Paid(ctx context.Context, node sortition.Key, asset string, days uint64) (math.Int, error) {
	sum := math.ZeroInt()
	err := k.eachDay(ctx, days, func(day uint64) error {
		w, err := or(none())(k.works.Get(ctx, collections.Join3(day, node[:], asset)))
		sum = sum.Add(w.Paid)
		return err
	})
	return sum, err
}

// DutyPaid is what the fund paid a node for its duty in these last days, in uhpips.
func (k Keeper) DutyPaid(ctx context.Context, node sortition.Key, days uint64) (math.Int, error) {
	sum := math.ZeroInt()
	err := k.eachDay(ctx, days, func(day uint64) error {
		e, err := or(idle())(k.earners.Get(ctx, collections.Join(day, node[:])))
		sum = sum.Add(e.Duty)
		return err
	})
	return sum, err
}

func (k Keeper) eachDay(ctx context.Context, days uint64, do func(uint64) error) error {
	today := k.Committee.Day(ctx)
	for i := uint64(0); i < min(days, kept) && i <= today; i++ {
		if err := do(today - i); err != nil {
			return fmt.Errorf("day %d: %w", today-i, err)
		}
	}
	return nil
}

// Earned tells whether a node's work brought the holders, or a tenth of its duty pay is, what a ticket needs.
func (k Keeper) Earned(ctx context.Context, node sortition.Key) (bool, error) {
	p, err := k.Params(ctx)
	if err != nil {
		return false, err
	}
	need := math.NewIntFromUint64(p.TicketLevy)
	levied, err := k.Levied(ctx, node, uint64(p.TicketDays))
	if err != nil || levied.GTE(need) {
		return err == nil, err
	}
	duty, err := k.DutyPaid(ctx, node, uint64(p.TicketDays))
	return duty.QuoRaw(10).GTE(need), err
}

// Unsound names the first of the running totals that does not hold: paid and levied are final, for each asset, and no more of it held than paid;
// what is levied today lies in the levy account; the stream's pot holds what is owed and what has yet to flow.
func (k Keeper) Unsound(ctx context.Context) (string, error) {
	what := ""
	err := k.totals.Walk(ctx, nil, func(asset string, s rewardv1.Sum) (bool, error) {
		if !s.Paid.Add(s.Levied).Equal(s.Gross) || s.Levied.IsNegative() || s.Held.IsNegative() || s.Held.GT(s.Paid) {
			what = fmt.Sprintf("%s paid, %s of it held, and %s levied of %s%s", s.Paid, s.Held, s.Levied, s.Gross, asset)
		}
		return what != "", nil
	})
	if err != nil || what != "" {
		return what, err
	}
	today, err := or(uint64(0))(k.today.Get(ctx))
	if err != nil {
		return "", err
	}
	day, err := k.day(ctx, today)
	if err != nil {
		return "", err
	}
	if vault := k.balance(ctx, LevyAccount); vault.LT(day.Levied) {
		return fmt.Sprintf("%s in the levy account, %s levied", vault, day.Levied), nil
	}
	s, err := k.Stream(ctx)
	if err != nil {
		return "", err
	}
	if owed := owed(s); owed.IsNegative() || k.balance(ctx, StreamAccount).LT(s.Brought.Sub(s.Claimed)) {
		return fmt.Sprintf("%s owed, %s in the stream's pot, %s brought and %s claimed", owed, k.balance(ctx, StreamAccount), s.Brought, s.Claimed), nil
	}
	return "", nil
}

// rests tells, by ErrRests, that nothing is paid out now.
func (k Keeper) rests(ctx context.Context) error {
	if why, err := k.Supply.Broken(ctx); err != nil {
		return err
	} else if why != "" {
		return ErrRests.Wrap(why)
	}
	return nil
}

func (k Keeper) balance(ctx context.Context, account string) math.Int {
	return k.Bank.GetBalance(ctx, authtypes.NewModuleAddress(account), denom).Amount
}

// day is a day's record, empty before anything happened in it.
func (k Keeper) day(ctx context.Context, n uint64) (rewardv1.Day, error) {
	z := math.ZeroInt()
	return or(rewardv1.Day{
		Day: n, Fund: z, Budget: z, Levied: z, Bonus: z, Duty: z, DutyDue: z, Converted: z, Streamed: z, Circulating: z,
	})(k.days.Get(ctx, n))
}

func none() rewardv1.Sum {
	z := math.ZeroInt()
	return rewardv1.Sum{Gross: z, Paid: z, Levied: z, Held: z}
}

func idle() rewardv1.Earner { return rewardv1.Earner{Bonus: math.ZeroInt(), Duty: math.ZeroInt()} }

// or takes what is not there for a value.
func or[V any](absent V) func(V, error) (V, error) {
	return func(v V, err error) (V, error) {
		if errors.Is(err, collections.ErrNotFound) {
			return absent, nil
		}
		return v, err
	}
}

func coins(asset string, n math.Int) sdk.Coins { return sdk.NewCoins(sdk.NewCoin(asset, n)) }
