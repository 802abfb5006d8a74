// Package escrow keeps the deposits of leases, and the pay that was redeemed from them and is not final.
// It promises that a deposit leaves only as a voucher of its payer's says, as a fee, or back to its payer; that pay becomes final in the
// order in which it was redeemed; that a halt of the chain costs nobody his grace; and that every unit is accounted for.
// It leaves the split of final pay to chain/reward, what a lease is for to spec/lease, and vouchers as words to spec/voucher.
package escrow

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

	"github.com/hpips/hpips/proto/gen/escrowv1"
	"github.com/hpips/hpips/spec/voucher"
)

// Name is the module's, its store's and its account's.
const Name = "escrow"

// Denom is what fees are paid in, and what counts as its payer's holding while it lies here.
const Denom = "uhpips"

// Prefixes of the store. They are consensus: never renumber them.
var (
	paramsPrefix   = collections.NewPrefix(1)
	leasesPrefix   = collections.NewPrefix(2)
	payersPrefix   = collections.NewPrefix(3)
	nodesPrefix    = collections.NewPrefix(4)
	endsPrefix     = collections.NewPrefix(5)
	gracesPrefix   = collections.NewPrefix(6)
	pendingPrefix  = collections.NewPrefix(7)
	headsPrefix    = collections.NewPrefix(8)
	lastPrefix     = collections.NewPrefix(9)
	cursorPrefix   = collections.NewPrefix(10)
	totalsPrefix   = collections.NewPrefix(11)
	escrowedPrefix = collections.NewPrefix(12)
	waitingPrefix  = collections.NewPrefix(13)
	gravesPrefix   = collections.NewPrefix(14)
	fadingPrefix   = collections.NewPrefix(15)
)

// Bank is what escrow asks of the SDK's bank.
type Bank interface {
	BlockedAddr(who sdk.AccAddress) bool
	GetBalance(ctx context.Context, who sdk.AccAddress, denom string) sdk.Coin
	SendCoinsFromAccountToModule(ctx context.Context, from sdk.AccAddress, to string, amount sdk.Coins) error
	SendCoinsFromModuleToAccount(ctx context.Context, from string, to sdk.AccAddress, amount sdk.Coins) error
	SendCoinsFromModuleToModule(ctx context.Context, from, to string, amount sdk.Coins) error
}

// Supply keeps what an account owns outside of its balance, in uhpips. What lies here stays its payer's holding until it is final, a fee, or back.
type Supply interface {
	Reserve(ctx context.Context, who sdk.AccAddress, delta math.Int) error
}

// Nodes knows a node's owner by its key, and whether it takes part.
type Nodes interface {
	Owner(ctx context.Context, node []byte) (owner string, active, known bool, err error)
}

// Assets tells whether a denomination other than Denom was admitted by vote.
type Assets interface {
	Admitted(ctx context.Context, denom string) (bool, error)
}

// Clock counts the blocks with a seed, the one under way included.
type Clock interface {
	Index(ctx context.Context) (uint64, error)
}

// Final is pay that nothing calls back any more. Amount is in base units of Denom, above 0.
type Final struct {
	Lease, Node  []byte
	Payer, Payee string
	Denom        string
	Amount       math.Int
}

// Pay divides final pay. Split takes exactly the amount out of this module's account. With ErrResting it says that no payouts are made now: pay
// stays pending, and the same is asked in the next block with a seed. With any other error this one payment waits, with all later ones of its node.
type Pay interface {
	Split(ctx context.Context, f Final) error
}

// Fate is what becomes of a redemption that could be final by its age.
type Fate int

// The fates of a redemption.
const (
	Passes Fate = iota // it is final
	Waits              // it is audited, or is going to be
	Lost               // its node was convicted: it goes back to its payer
)

// Audit looks at results before their pay is final. It is told of each redemption whose payer wants a jury when it is there (Redeemed) and when it is over (Settled); Busy tells whether
// anything of a lease is still looked at, which its rest may have to pay for.
type Audit interface {
	Redeemed(ctx context.Context, r escrowv1.Redemption, l escrowv1.Lease) error
	Fate(ctx context.Context, node []byte, sequence uint64) (Fate, error)
	Settled(ctx context.Context, r escrowv1.Redemption, lost bool) error
	Busy(ctx context.Context, lease []byte) (bool, error)
}

// Bond is told of a lease that is gone, with all of its pay: its node has nothing more to answer for in it.
type Bond interface {
	Touch(ctx context.Context, node []byte) error
}

// Others are the rooms that escrow asks. Audit may be nil: nothing is audited; Bond, too: nobody wants to know.
type Others struct {
	Bank   Bank
	Supply Supply
	Nodes  Nodes
	Assets Assets
	Clock  Clock
	Pay    Pay
	Audit  Audit
	Bond   Bond
}

type (
	byName = collections.Pair[string, []byte] // account, lease
	byNode = collections.Pair[[]byte, []byte] // node, lease
	byTime = collections.Pair[uint64, []byte] // when, lease
	turn   = collections.Pair[[]byte, uint64] // node, sequence
	purse  = collections.Pair[string, string] // account, denomination
)

// Keeper holds the leases.
type Keeper struct {
	schema    collections.Schema
	params    collections.Item[escrowv1.Params]
	leases    collections.Map[[]byte, escrowv1.Lease]
	payers    collections.KeySet[byName]
	nodes     collections.KeySet[byNode]
	ends      collections.KeySet[byTime] // open leases by the end of their term, in Unix seconds
	graces    collections.KeySet[byTime] // closing leases by the seed since which they are
	pending   collections.Map[turn, escrowv1.Redemption]
	heads     collections.Map[uint64, []byte]          // the lowest pending sequence of each node that has any
	last      collections.Item[uint64]                 // sequence of the last redemption
	cursor    collections.Item[uint64]                 // where among the heads the last block stopped; absent: at the end
	totals    collections.Map[string, escrowv1.Totals] // by denomination
	escrowed  collections.Map[purse, math.Int]         // of a payer: deposited and neither final, a fee, nor back
	waiting   collections.Map[purse, math.Int]         // of a payee: redeemed and not final
	graves    collections.KeySet[[]byte]               // leases that are gone
	fading    collections.KeySet[byTime]               // the same by when they may be forgotten, in Unix seconds
	others    Others
	codec     address.Codec
	account   sdk.AccAddress
	authority string
}

// NewKeeper needs the other rooms, how addresses are written, and the address whose word is a vote's outcome.
func NewKeeper(cdc codec.Codec, service store.KVStoreService, others Others, addresses address.Codec, authority string) Keeper {
	b := collections.NewSchemaBuilder(service)
	when := collections.PairKeyCodec(collections.Uint64Key, collections.BytesKey)
	whose := collections.PairKeyCodec(collections.StringKey, collections.StringKey)
	k := Keeper{
		params:   collections.NewItem(b, paramsPrefix, "params", codec.CollValue[escrowv1.Params](cdc)),
		leases:   collections.NewMap(b, leasesPrefix, "leases", collections.BytesKey, codec.CollValue[escrowv1.Lease](cdc)),
		payers:   collections.NewKeySet(b, payersPrefix, "payers", collections.PairKeyCodec(collections.StringKey, collections.BytesKey)),
		nodes:    collections.NewKeySet(b, nodesPrefix, "nodes", collections.PairKeyCodec(collections.BytesKey, collections.BytesKey)),
		ends:     collections.NewKeySet(b, endsPrefix, "ends", when),
		graces:   collections.NewKeySet(b, gracesPrefix, "graces", when),
		pending:  collections.NewMap(b, pendingPrefix, "pending", collections.PairKeyCodec(collections.BytesKey, collections.Uint64Key), codec.CollValue[escrowv1.Redemption](cdc)),
		heads:    collections.NewMap(b, headsPrefix, "heads", collections.Uint64Key, collections.BytesValue),
		last:     collections.NewItem(b, lastPrefix, "last", collections.Uint64Value),
		cursor:   collections.NewItem(b, cursorPrefix, "cursor", collections.Uint64Value),
		totals:   collections.NewMap(b, totalsPrefix, "totals", collections.StringKey, codec.CollValue[escrowv1.Totals](cdc)),
		escrowed: collections.NewMap(b, escrowedPrefix, "escrowed", whose, sdk.IntValue),
		waiting:  collections.NewMap(b, waitingPrefix, "waiting", whose, sdk.IntValue),
		graves:   collections.NewKeySet(b, gravesPrefix, "graves", collections.BytesKey),
		fading:   collections.NewKeySet(b, fadingPrefix, "fading", when),
		others:   others, codec: addresses, account: authtypes.NewModuleAddress(Name), authority: authority,
	}
	var err error
	if k.schema, err = b.Build(); err != nil {
		panic(err)
	}
	return k
}

// Lease gives a lease. False: it was never opened, or all of it is done.
func (k Keeper) Lease(ctx context.Context, id voucher.ID) (escrowv1.Lease, bool, error) {
	return found(k.leases.Get(ctx, id[:]))
}

// Serves tells whether a node has a lease that is open, closing, or not all final.
func (k Keeper) Serves(ctx context.Context, node []byte) (bool, error) {
	it, err := k.nodes.Iterate(ctx, collections.NewPrefixedPairRange[[]byte, []byte](node))
	if err != nil {
		return false, err
	}
	defer it.Close()
	return it.Valid(), nil
}

// lease gives one that must be there.
func (k Keeper) lease(ctx context.Context, id []byte) (escrowv1.Lease, error) {
	if len(id) != len(voucher.ID{}) {
		return escrowv1.Lease{}, ErrMalformed.Wrapf("lease of %d bytes", len(id))
	}
	l, known, err := found(k.leases.Get(ctx, id))
	if err == nil && !known {
		err = ErrUnknown.Wrapf("%x", id)
	}
	return l, err
}

// canonical is the one way to write an address, and the address.
func (k Keeper) canonical(who string) (string, sdk.AccAddress, error) {
	b, err := k.codec.StringToBytes(who)
	if err != nil {
		return "", nil, ErrAddress.Wrapf("%.100q: %v", who, err)
	}
	text, err := k.codec.BytesToString(b)
	if err != nil {
		return "", nil, ErrAddress.Wrap(err.Error())
	}
	return text, b, nil
}

// reserve tells supply of a change of what is an account's and lies here; only uhpips count.
func (k Keeper) reserve(ctx context.Context, who, denom string, delta math.Int) error {
	if denom != Denom || delta.IsZero() {
		return nil
	}
	_, at, err := k.canonical(who)
	if err != nil {
		return err
	}
	return k.others.Supply.Reserve(ctx, at, delta)
}

// found tells what is absent from what went wrong.
func found[V any](v V, err error) (V, bool, error) {
	if errors.Is(err, collections.ErrNotFound) {
		return v, false, nil
	}
	return v, err == nil, err
}

func coins(denom string, amount math.Int) sdk.Coins { return sdk.Coins{{Denom: denom, Amount: amount}} }
