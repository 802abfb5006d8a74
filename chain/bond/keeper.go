// Package bond keeps what is held of each node's pay until its bond is whole, as security for its results and its seat.
// It promises that a bond stays its owner's and counts in its holding, that never more is held than lacks, that it returns after a while
// without lease, audit and seat, and that only a slash takes from it, no more than there is.
// It leaves the split of pay to chain/reward, what a lie costs to the audits, and who signed two blocks to chain/committee.
package bond

import (
	"context"
	"errors"

	"cosmossdk.io/collections"
	"cosmossdk.io/core/address"
	"cosmossdk.io/core/store"
	"cosmossdk.io/math"

	"github.com/cosmos/cosmos-sdk/codec"
	sdk "github.com/cosmos/cosmos-sdk/types"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"

	"github.com/hpips/hpips/proto/gen/bondv1"
	"github.com/hpips/hpips/spec/sortition"
)

// Name is the module's, its store's and its account's.
const Name = "bond"

// Denom is what counts as its owner's holding while it lies here, and what a ticket's bond is in.
const Denom = "uhpips"

// fundAccount gets what is slashed and goes back to nobody.
const fundAccount = "fund"

// Prefixes of the store. They are consensus: never renumber them.
var (
	paramsPrefix  = collections.NewPrefix(1)
	bondsPrefix   = collections.NewPrefix(2)
	ownedPrefix   = collections.NewPrefix(3)
	leavingPrefix = collections.NewPrefix(4)
	duesPrefix    = collections.NewPrefix(5)
	totalsPrefix  = collections.NewPrefix(6)
)

// Bank is what bond asks of the SDK's bank.
type Bank interface {
	GetBalance(ctx context.Context, who sdk.AccAddress, denom string) sdk.Coin
	SendCoinsFromModuleToAccount(ctx context.Context, from string, to sdk.AccAddress, amount sdk.Coins) error
	SendCoinsFromModuleToModule(ctx context.Context, from, to string, amount sdk.Coins) error
}

// Supply keeps what an account owns outside of its balance, in uhpips, and knows whether an invariant is broken.
type Supply interface {
	Reserve(ctx context.Context, who sdk.AccAddress, delta math.Int) error
	Broken(ctx context.Context) (string, error)
}

// Pay knows what was paid to a node in these last days, the open one among them, in base units; a pay that is under way is not in it.
type Pay interface {
	Paid(ctx context.Context, node sortition.Key, denom string, days uint64) (math.Int, error)
}

// Work tells what a node still has to answer for: a lease that is open, closing or not all final, a seat, an audit; empty: nothing. Whoever
// keeps such a thing calls Touch when it ends.
type Work interface {
	Busy(ctx context.Context, node sortition.Key) (string, error)
}

// Neighbours are the modules that bond lives with.
type Neighbours struct {
	Bank   Bank
	Supply Supply
	Pay    Pay
	Work   Work
}

type (
	where = collections.Pair[[]byte, string] // node, denomination
	purse = collections.Pair[string, string] // account, denomination
	date  = collections.Pair[uint64, []byte] // Unix seconds, node
)

// Keeper holds the bonds.
type Keeper struct {
	schema    collections.Schema
	addresses address.Codec
	authority string
	account   sdk.AccAddress
	Neighbours

	params  collections.Item[bondv1.Params]
	bonds   collections.Map[where, bondv1.Bond]
	owned   collections.Map[purse, math.Int] // sums of an account's bonds; nothing leaves no key
	leaving collections.Map[[]byte, bondv1.Leaving]
	dues    collections.KeySet[date] // of all that leave
	totals  collections.Map[string, bondv1.Totals]
}

// NewKeeper needs how addresses are written, its neighbours, and the address whose word is a vote's outcome.
func NewKeeper(cdc codec.Codec, service store.KVStoreService, addresses address.Codec, beside Neighbours, authority string) Keeper {
	b, key := collections.NewSchemaBuilder(service), collections.BytesKey
	k := Keeper{
		addresses: addresses, authority: authority, account: authtypes.NewModuleAddress(Name), Neighbours: beside,
		params:  collections.NewItem(b, paramsPrefix, "params", codec.CollValue[bondv1.Params](cdc)),
		bonds:   collections.NewMap(b, bondsPrefix, "bonds", collections.PairKeyCodec(key, collections.StringKey), codec.CollValue[bondv1.Bond](cdc)),
		owned:   collections.NewMap(b, ownedPrefix, "owned", collections.PairKeyCodec(collections.StringKey, collections.StringKey), sdk.IntValue),
		leaving: collections.NewMap(b, leavingPrefix, "leaving", key, codec.CollValue[bondv1.Leaving](cdc)),
		dues:    collections.NewKeySet(b, duesPrefix, "dues", collections.PairKeyCodec(collections.Uint64Key, key)),
		totals:  collections.NewMap(b, totalsPrefix, "totals", collections.StringKey, codec.CollValue[bondv1.Totals](cdc)),
	}
	var err error
	if k.schema, err = b.Build(); err != nil {
		panic(err)
	}
	return k
}

// Bond is what is held of a node's pay in an asset; one of nothing where nothing is.
func (k Keeper) Bond(ctx context.Context, node sortition.Key, denom string) (bondv1.Bond, error) {
	b, known, err := found(k.bonds.Get(ctx, collections.Join(node[:], denom)))
	if !known {
		b = bondv1.Bond{Node: node[:], Denom: denom, Held: math.ZeroInt(), Before: math.ZeroInt()}
	}
	return b, err
}

// Counts is what stands behind a node's results in an asset: its bond, and nothing while it leaves.
func (k Keeper) Counts(ctx context.Context, node sortition.Key, denom string) (math.Int, error) {
	if leaves, err := k.leaving.Has(ctx, node[:]); err != nil || leaves {
		return math.ZeroInt(), err
	}
	b, err := k.Bond(ctx, node, denom)
	return b.Held, err
}

// Enough tells whether a node's bond is what a ticket needs: so much in uhpips, of a node that stays, and whole again if it was ever slashed.
func (k Keeper) Enough(ctx context.Context, node sortition.Key) (bool, error) {
	p, err := k.Params(ctx)
	if err != nil || p.TicketBond == 0 {
		return err == nil, err
	}
	b, err1 := k.Bond(ctx, node, Denom)
	counts, err2 := k.Counts(ctx, node, Denom)
	return b.Before.IsZero() && counts.GTE(math.NewIntFromUint64(p.TicketBond)), errors.Join(err1, err2)
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

// found tells what is absent from what went wrong.
func found[V any](v V, err error) (V, bool, error) {
	if errors.Is(err, collections.ErrNotFound) {
		return v, false, nil
	}
	return v, err == nil, err
}

func coins(denom string, n math.Int) sdk.Coins { return sdk.NewCoins(sdk.NewCoin(denom, n)) }

// tell emits an event of names and values in turn.
func tell(ctx context.Context, event string, words ...string) {
	var list []sdk.Attribute
	for i := 0; i+1 < len(words); i += 2 {
		list = append(list, sdk.NewAttribute(words[i], words[i+1]))
	}
	sdk.UnwrapSDKContext(ctx).EventManager().EmitEvent(sdk.NewEvent(event, list...))
}
