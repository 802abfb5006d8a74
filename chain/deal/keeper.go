// Package deal keeps what users pay others for keeping their objects: which parts an object has, who keeps each, what is paid for them, and until when.
// It promises that a deposit leaves only as pay for a day on which a part was kept and proven, or back to its payer; that no day of a part is paid twice; that who keeps a part is drawn by a seed that nobody knew when the deal was made,
// and nodes of one owner, or of one network, count once; and that every unit is accounted for.
// It leaves rows of pieces, days and answers to chain/storage, the form of parts to store/replica, and the split of pay to chain/reward.
package deal

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

	"github.com/hpips/hpips/proto/gen/dealv1"
	"github.com/hpips/hpips/spec/proof"
	"github.com/hpips/hpips/spec/sortition"
)

// Name is the module's, its store's and its account's.
const Name = "deal"

const denom = "uhpips"

// Prefixes of the store. They are consensus: never renumber them.
var (
	paramsPrefix   = collections.NewPrefix(1)
	lastPrefix     = collections.NewPrefix(2)
	dealsPrefix    = collections.NewPrefix(3)
	partsPrefix    = collections.NewPrefix(4)
	openPrefix     = collections.NewPrefix(5)
	endsPrefix     = collections.NewPrefix(6)
	payersPrefix   = collections.NewPrefix(7)
	objectsPrefix  = collections.NewPrefix(8)
	unplacedPrefix = collections.NewPrefix(9)
	totalsPrefix   = collections.NewPrefix(10)
)

// Neighbours are the modules that this one asks and tells.
type Neighbours struct {
	Bank interface {
		GetBalance(ctx context.Context, who sdk.AccAddress, denom string) sdk.Coin
		SendCoinsFromAccountToModule(ctx context.Context, from sdk.AccAddress, to string, amount sdk.Coins) error
		SendCoinsFromModuleToAccount(ctx context.Context, from string, to sdk.AccAddress, amount sdk.Coins) error
	}
	Days interface {
		Day(ctx context.Context) uint64
	}
	Pay interface {
		// Split pays a node's owner uhpips out of a module's account, less what goes to the holders. ErrRests: nothing is paid out now.
		Split(ctx context.Context, from string, node sortition.Key, amount math.Int) error
	}
}

type part = collections.Pair[uint64, uint64] // deal, number

// Keeper holds the deals.
type Keeper struct {
	Neighbours

	schema    collections.Schema
	addresses address.Codec
	account   sdk.AccAddress
	authority string

	params   collections.Item[dealv1.Params]
	last     collections.Item[uint64] // number of the last deal
	deals    collections.Map[uint64, dealv1.Deal]
	parts    collections.Map[part, dealv1.Part]
	open     collections.KeySet[part]                             // those that somebody may take: nobody keeps them, or who does leaves
	ends     collections.KeySet[collections.Pair[uint64, uint64]] // last day, deal: of all that have not ended
	payers   collections.KeySet[collections.Pair[string, uint64]]
	objects  collections.KeySet[collections.Pair[[]byte, uint64]]
	unplaced collections.KeySet[uint64] // deals without a point
	totals   collections.Item[dealv1.Totals]
}

// NewKeeper needs how addresses are written, its neighbours, and the address whose word is a vote's outcome.
func NewKeeper(cdc codec.Codec, service store.KVStoreService, addresses address.Codec, n Neighbours, authority string) Keeper {
	b := collections.NewSchemaBuilder(service)
	number := collections.Uint64Key
	k := Keeper{
		Neighbours: n, addresses: addresses, account: authtypes.NewModuleAddress(Name), authority: authority,
		params:   collections.NewItem(b, paramsPrefix, "params", codec.CollValue[dealv1.Params](cdc)),
		last:     collections.NewItem(b, lastPrefix, "last", collections.Uint64Value),
		deals:    collections.NewMap(b, dealsPrefix, "deals", number, codec.CollValue[dealv1.Deal](cdc)),
		parts:    collections.NewMap(b, partsPrefix, "parts", collections.PairKeyCodec(number, number), codec.CollValue[dealv1.Part](cdc)),
		open:     collections.NewKeySet(b, openPrefix, "open", collections.PairKeyCodec(number, number)),
		ends:     collections.NewKeySet(b, endsPrefix, "ends", collections.PairKeyCodec(number, number)),
		payers:   collections.NewKeySet(b, payersPrefix, "payers", collections.PairKeyCodec(collections.StringKey, number)),
		objects:  collections.NewKeySet(b, objectsPrefix, "objects", collections.PairKeyCodec(collections.BytesKey, number)),
		unplaced: collections.NewKeySet(b, unplacedPrefix, "unplaced", number),
		totals:   collections.NewItem(b, totalsPrefix, "totals", codec.CollValue[dealv1.Totals](cdc)),
	}
	var err error
	if k.schema, err = b.Build(); err != nil {
		panic(err)
	}
	return k
}

// Deal is one that has not ended, or whose parts are not all gone.
func (k Keeper) Deal(ctx context.Context, number uint64) (dealv1.Deal, error) {
	d, err := k.deals.Get(ctx, number)
	if errors.Is(err, collections.ErrNotFound) {
		err = ErrDeal.Wrapf("deal %d", number)
	}
	return d, err
}

// part is one of a deal's.
func (k Keeper) part(ctx context.Context, p proof.Part) (dealv1.Part, error) {
	out, err := k.parts.Get(ctx, collections.Join(p.Deal, p.Number))
	if errors.Is(err, collections.ErrNotFound) {
		err = ErrDeal.Wrapf("part %d of deal %d", p.Number, p.Deal)
	}
	return out, err
}

// Totals are the sums of all deals.
func (k Keeper) Totals(ctx context.Context) (dealv1.Totals, error) {
	t, err := k.totals.Get(ctx)
	if errors.Is(err, collections.ErrNotFound) {
		err = nil
	}
	return t, err
}

// count changes the sums.
func (k Keeper) count(ctx context.Context, change func(*dealv1.Totals)) error {
	t, err := k.Totals(ctx)
	if err != nil {
		return err
	}
	change(&t)
	return k.totals.Set(ctx, t)
}

// pieceOf is what an audit sees of a part.
func pieceOf(d dealv1.Deal, number uint64) proof.Piece {
	p := d.Pieces[0]
	if d.Need > 1 {
		p = d.Pieces[number]
	}
	return proof.Piece{Root: [32]byte(p.Root), Size: p.Length}
}

// mibOf is how many MiB of a piece begin.
func mibOf(p proof.Piece) uint64 { return (p.Leaves() + proof.SpanLeaves - 1) / proof.SpanLeaves }

// largest is how many MiB of the largest part of a deal are paid for.
func largest(d dealv1.Deal) (mib uint64) {
	for _, p := range d.Pieces {
		mib = max(mib, mibOf(proof.Piece{Root: [32]byte(p.Root), Size: p.Length}))
	}
	return mib
}

// rates are what a day of each part costs, and of all together, in uhpips.
func rates(d dealv1.Deal) (each []uint64, all math.Int) {
	all = math.ZeroInt()
	for n := range uint64(d.Parts) {
		rate := mibOf(pieceOf(d, n)) * d.Price // MaxSize is 2^30 MiB, and maxPrice below 2^34
		each, all = append(each, rate), all.Add(math.NewIntFromUint64(rate))
	}
	return each, all
}

func coins(amount uint64) sdk.Coins {
	return sdk.Coins{{Denom: denom, Amount: math.NewIntFromUint64(amount)}}
}

func tell(ctx context.Context, what string, pairs ...string) {
	e := sdk.NewEvent(what)
	for i := 0; i+1 < len(pairs); i += 2 {
		e = e.AppendAttributes(sdk.NewAttribute(pairs[i], pairs[i+1]))
	}
	sdk.UnwrapSDKContext(ctx).EventManager().EmitEvent(e)
}

// Account is the module's.
func Account() sdk.AccAddress { return authtypes.NewModuleAddress(Name) }

// Each goes through all deals.
func (k Keeper) Each(ctx context.Context, do func(dealv1.Deal) error) error {
	return k.deals.Walk(ctx, nil, func(_ uint64, d dealv1.Deal) (bool, error) { return false, do(d) })
}
