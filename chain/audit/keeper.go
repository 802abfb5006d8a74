// Package audit keeps what is checked of results before their pay is final: audits of redemptions, what jurors found, disputes and how they ended.
// It promises that a seed which nobody knew draws what is checked, that who looks is drawn as seats are, that pay waits only as long as somebody looks, that every dispute ends, and that
// nobody loses anything but by the word of jurors who were all alike, or four of seven.
// It leaves the rules of rates and verdicts to spec/trust, deposits to chain/escrow, bonds to chain/bond, tickets to chain/committee, and running results again to those who do.
package audit

import (
	"context"
	"encoding/hex"
	"errors"
	"strconv"

	"cosmossdk.io/collections"
	"cosmossdk.io/core/address"
	"cosmossdk.io/core/store"
	"cosmossdk.io/math"

	"github.com/cosmos/cosmos-sdk/codec"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/auditv1"
	"github.com/hpips/hpips/spec/sortition"
)

// Name is the module's and its store's.
const Name = "audit"

// Prefixes of the store. They are consensus: never renumber them.
var (
	paramsPrefix      = collections.NewPrefix(1)
	auditsPrefix      = collections.NewPrefix(2)
	comingPrefix      = collections.NewPrefix(3)
	lapsesPrefix      = collections.NewPrefix(4)
	recentPrefix      = collections.NewPrefix(5)
	convictionsPrefix = collections.NewPrefix(6)
	forgivesPrefix    = collections.NewPrefix(7)
	disputesPrefix    = collections.NewPrefix(8)
	lastPrefix        = collections.NewPrefix(9)
	duesPrefix        = collections.NewPrefix(10)
	askedPrefix       = collections.NewPrefix(11)
	commitsPrefix     = collections.NewPrefix(12)
	leasesPrefix      = collections.NewPrefix(13)
	barredPrefix      = collections.NewPrefix(14)
	pardonsPrefix     = collections.NewPrefix(15)
	vainPrefix        = collections.NewPrefix(16)
)

// Ticket is what the committee knows of a node that holds a ticket: whose it is, the key of its verifiable random function, its network (empty where networks do not count), and how many tickets
// there are in that.
type Ticket struct {
	Owner   string
	VRF     sortition.Key
	Network string
	Beside  uint64
	Since   int64 // height at which it was taken out
}

// Committee draws: it knows the seed of the last block that carried one and its index, and who holds a ticket that is older than a block.
type Committee interface {
	Seed(ctx context.Context) (seed sortition.Seed, index uint64, err error)
	Tickets(ctx context.Context) uint64
	Ticket(ctx context.Context, node sortition.Key, before int64) (Ticket, bool, error)
}

// Registry knows a node's owner.
type Registry interface {
	Owner(ctx context.Context, node []byte) (owner string, active, known bool, err error)
}

// Escrow pays jurors out of a lease, and knows the last redemption of all and a node's first one that waits. Hire tells with ErrRests that no payouts are made now.
type Escrow interface {
	Free(ctx context.Context, lease []byte) (math.Int, error)
	Hire(ctx context.Context, lease, node []byte, owner string, amount math.Int) (math.Int, error)
	Last(ctx context.Context) (uint64, error)
	First(ctx context.Context, node []byte) (sequence uint64, waits bool, err error)
}

// Refund is what a slash pays back to somebody, in base units.
type Refund struct {
	To     string
	Amount math.Int
}

// Bond is what stands behind a node's word: Counts is nothing while the node leaves, Held is what is there all the same. Slash takes no more than there is, pays refunds in their order, the rest to the fund, and tells what it took; ErrRests as above.
type Bond interface {
	Counts(ctx context.Context, node sortition.Key, denom string) (math.Int, error)
	Held(ctx context.Context, node sortition.Key, denom string) (math.Int, error)
	Slash(ctx context.Context, node sortition.Key, denom string, amount math.Int, refunds ...Refund) (math.Int, error)
	Touch(ctx context.Context, node sortition.Key) error
}

// Neighbours are the modules that audits live with.
type Neighbours struct {
	Committee Committee
	Registry  Registry
	Escrow    Escrow
	Bond      Bond
}

type (
	turn   = collections.Pair[[]byte, uint64]           // node, sequence
	due    = collections.Pair[uint64, turn]             // height or Unix seconds, then whose
	leaf   = collections.Triple[[]byte, uint64, []byte] // lease, place, accused node
	choice = collections.Triple[uint64, uint64, []byte] // dispute, round, juror
	when   = collections.Pair[uint64, uint64]           // index of a seed, dispute
	date   = collections.Pair[uint64, []byte]           // Unix seconds, node
)

// Keeper holds audits and disputes.
type Keeper struct {
	schema    collections.Schema
	addresses address.Codec
	authority string
	Neighbours

	params      collections.Item[auditv1.Params]
	audits      collections.Map[turn, auditv1.Audit] // of redemptions that are not final
	coming      collections.KeySet[due]              // not opened, by the height of their redemption
	lapses      collections.KeySet[due]              // open, by the time at which they are passed
	recent      collections.Map[turn, auditv1.Audit] // of the last final redemptions of each node
	convictions collections.Map[[]byte, auditv1.Conviction]
	forgives    collections.KeySet[date] // convictions, by when they are forgotten
	disputes    collections.Map[uint64, auditv1.Dispute]
	last        collections.Item[uint64]      // number of the last dispute
	dues        collections.KeySet[when]      // disputes, by the height at which their phase ends
	asked       collections.Map[leaf, uint64] // disputes by what they are about: each is good once while its audit is here
	vain        collections.Map[leaf, uint64] // how often each found no jury
	commits     collections.Map[choice, auditv1.Commitment]
	leases      collections.Map[[]byte, uint64] // how many audits and disputes of a lease are here
	barred      collections.Map[[]byte, uint64] // jurors that were wrong, until when they are none, in Unix seconds
	pardons     collections.KeySet[date]        // those, by that time
}

// NewKeeper needs how addresses are written, its neighbours, and the address whose word is a vote's outcome.
func NewKeeper(cdc codec.Codec, service store.KVStoreService, addresses address.Codec, beside Neighbours, authority string) Keeper {
	b, key := collections.NewSchemaBuilder(service), collections.BytesKey
	turns := collections.PairKeyCodec(key, collections.Uint64Key)
	rows := collections.PairKeyCodec(collections.Uint64Key, turns)
	k := Keeper{
		addresses: addresses, authority: authority, Neighbours: beside,
		params:      collections.NewItem(b, paramsPrefix, "params", codec.CollValue[auditv1.Params](cdc)),
		audits:      collections.NewMap(b, auditsPrefix, "audits", turns, codec.CollValue[auditv1.Audit](cdc)),
		coming:      collections.NewKeySet(b, comingPrefix, "coming", rows),
		lapses:      collections.NewKeySet(b, lapsesPrefix, "lapses", rows),
		recent:      collections.NewMap(b, recentPrefix, "recent", turns, codec.CollValue[auditv1.Audit](cdc)),
		convictions: collections.NewMap(b, convictionsPrefix, "convictions", key, codec.CollValue[auditv1.Conviction](cdc)),
		forgives:    collections.NewKeySet(b, forgivesPrefix, "forgives", collections.PairKeyCodec(collections.Uint64Key, key)),
		disputes:    collections.NewMap(b, disputesPrefix, "disputes", collections.Uint64Key, codec.CollValue[auditv1.Dispute](cdc)),
		last:        collections.NewItem(b, lastPrefix, "last", collections.Uint64Value),
		dues:        collections.NewKeySet(b, duesPrefix, "dues", collections.PairKeyCodec(collections.Uint64Key, collections.Uint64Key)),
		asked:       collections.NewMap(b, askedPrefix, "asked", collections.TripleKeyCodec(key, collections.Uint64Key, key), collections.Uint64Value),
		vain:        collections.NewMap(b, vainPrefix, "vain", collections.TripleKeyCodec(key, collections.Uint64Key, key), collections.Uint64Value),
		commits: collections.NewMap(b, commitsPrefix, "commits", collections.TripleKeyCodec(collections.Uint64Key, collections.Uint64Key, key),
			codec.CollValue[auditv1.Commitment](cdc)),
		leases:  collections.NewMap(b, leasesPrefix, "leases", key, collections.Uint64Value),
		barred:  collections.NewMap(b, barredPrefix, "barred", key, collections.Uint64Value),
		pardons: collections.NewKeySet(b, pardonsPrefix, "pardons", collections.PairKeyCodec(collections.Uint64Key, key)),
	}
	var err error
	if k.schema, err = b.Build(); err != nil {
		panic(err)
	}
	return k
}

// hold counts what of a lease is looked at.
func (k Keeper) hold(ctx context.Context, lease []byte, up bool) error {
	n, _, err := found(k.leases.Get(ctx, lease))
	switch {
	case err != nil:
		return err
	case up:
		return k.leases.Set(ctx, lease, n+1)
	case n > 1:
		return k.leases.Set(ctx, lease, n-1)
	}
	return k.leases.Remove(ctx, lease)
}

// forget takes away what was asked about an audit that is remembered no more.
func (k Keeper) forget(ctx context.Context, a auditv1.Audit) error {
	for _, rows := range []collections.Map[leaf, uint64]{k.asked, k.vain} {
		var old []leaf
		err := rows.Walk(ctx, collections.NewPrefixedTripleRange[[]byte, uint64, []byte](a.Lease), func(at leaf, _ uint64) (bool, error) {
			if p := at.K2(); p >= a.TasksBefore && p < a.TasksBefore+a.Tasks {
				old = append(old, at)
			}
			return false, nil
		})
		for _, at := range old {
			err = errors.Join(err, rows.Remove(ctx, at))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// owner is who owns a node; empty: nobody, it is not registered.
func (k Keeper) owner(ctx context.Context, node []byte) (string, error) {
	owner, _, _, err := k.Registry.Owner(ctx, node)
	return owner, err
}

// found tells what is absent from what went wrong.
func found[V any](v V, err error) (V, bool, error) {
	if errors.Is(err, collections.ErrNotFound) {
		return v, false, nil
	}
	return v, err == nil, err
}

func emit(ctx context.Context, name string, pairs ...string) {
	e := sdk.NewEvent(name)
	for i := 0; i+1 < len(pairs); i += 2 {
		e = e.AppendAttributes(sdk.NewAttribute(pairs[i], pairs[i+1]))
	}
	sdk.UnwrapSDKContext(ctx).EventManager().EmitEvent(e)
}

func number[N uint64 | uint32 | int64 | int](n N) string { return strconv.FormatInt(int64(n), 10) }

func digits(b []byte) string { return hex.EncodeToString(b) }

func height(ctx sdk.Context) uint64 { return uint64(ctx.BlockHeight()) }

func now(ctx context.Context) int64 { return sdk.UnwrapSDKContext(ctx).BlockTime().Unix() }
