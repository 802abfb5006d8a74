// Package storage keeps who holds which pieces, what each holder is asked on a day, and whether it answered.
// It promises that a holder says itself what it has, is asked only for what it had before anybody knew the day's seed, and is paid for a day only when auditors drawn by lot, or the chain, saw its answer; that a segment of the
// archive has as many holders as there are to be, or all there are; and that who misses too often makes room for the next.
// It leaves the list of segments to chain/archive, challenges and answers to spec/proof, the order of nodes to spec/placement, auditors to chain/committee, duty pay to chain/reward and the bytes to store.
package storage

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"cosmossdk.io/collections"
	"cosmossdk.io/core/address"
	"cosmossdk.io/core/store"

	"github.com/cosmos/cosmos-sdk/codec"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/storagev1"
	"github.com/hpips/hpips/spec/placement"
	"github.com/hpips/hpips/spec/proof"
	"github.com/hpips/hpips/spec/sortition"
)

// Name is the module's and its store's.
const Name = "storage"

// MaxPieces is how many pieces a holder may have: its whole row may be written anew in one block.
const MaxPieces = 1 << 16

// Prefixes of the store. They are consensus: never renumber them.
var (
	paramsPrefix  = collections.NewPrefix(1)
	holdersPrefix = collections.NewPrefix(2)
	rowsPrefix    = collections.NewPrefix(3)
	copiesPrefix  = collections.NewPrefix(4)
	askedPrefix   = collections.NewPrefix(5)
	sharesPrefix  = collections.NewPrefix(6)
	servedPrefix  = collections.NewPrefix(7)
)

// Segment is one of the archive's list that has a place.
type Segment struct {
	Piece  proof.Piece
	Point  placement.Point
	Height int64 // of the block in which it was recorded
}

// Kept is a part of a deal, and who keeps it.
type Kept struct {
	proof.Part
	Node sortition.Key
}

// Deals knows the deals that parts belong to.
type Deals interface {
	// Take gives a part of a deal to one of the nodes that has room for it, and tells what it brings for a day, and who kept it until now and gives it up.
	Take(ctx context.Context, p proof.Part, node sortition.Key, nodes []placement.Node, rules placement.Rules) (piece proof.Piece, rate uint64, left *sortition.Key, err error)
	// Still tells whether a part is to be had, by this node or any.
	Still(ctx context.Context, p proof.Part, node sortition.Key) error
	// Open tells whether there is anything to take, of deals after a number.
	Open(ctx context.Context, after uint64) (bool, error)
	// Offers lists parts that a node may take, of deals after a number.
	Offers(ctx context.Context, node sortition.Key, nodes []placement.Node, rules placement.Rules, after uint64, most int) ([]proof.Part, error)
	// Leaves opens a part whose keeper leaves, or shuts it.
	Leaves(ctx context.Context, p proof.Part, node sortition.Key, leaves bool) error
	// Left tells that a part is in a node's row no more, after so many proven days.
	Left(ctx context.Context, p proof.Part, node sortition.Key, days uint64, why string) error
	// Reward pays a node for its proven days. With an error nothing is moved, and it is asked again.
	Reward(ctx context.Context, node sortition.Key, amount uint64) error
	// Over ends a few deals whose last day was before this one, and gives the parts that go, and of whom.
	Over(ctx context.Context, today uint64) (gone []Kept, done bool, err error)
}

// Neighbours are the modules that this one asks and tells.
type Neighbours struct {
	Committee interface {
		Day(ctx context.Context) uint64
		EpochNumber(ctx context.Context) uint64
		Slot(ctx context.Context) (uint64, error)
		// Observers are drawn by the slot's seed among other owners and networks; as many as the number must agree.
		Observers(ctx context.Context, node sortition.Key, slot uint64) ([]sortition.Key, uint32, error)
		// Limited tells whether nodes of one owner, and of one network, count once.
		Limited(ctx context.Context) (owner, network bool, err error)
	}
	Registry interface {
		// Placed gives a node that takes part and has a place; what it weighs is reckoned here.
		Placed(ctx context.Context, node sortition.Key) (placement.Node, bool, error)
	}
	Archive interface {
		Segment(ctx context.Context, number uint64) (Segment, bool, error)
	}
	Duty interface {
		// Stored counts a day for which a node proved that it keeps so many MiB.
		Stored(ctx context.Context, node sortition.Key, mib uint64) error
	}
	Deals Deals
	Bond  interface {
		// Fine takes so many uhpips from a node's bond, or all that it has.
		Fine(ctx context.Context, node sortition.Key, amount uint64) error
	}
}

// Keeper holds the rows.
type Keeper struct {
	Neighbours

	schema    collections.Schema
	addresses address.Codec
	authority string

	params  collections.Item[storagev1.Params]
	holders collections.Map[[]byte, storagev1.Holder]
	rows    collections.Map[collections.Pair[[]byte, uint64], storagev1.Held] // by holder and place in its row, from 0 without a gap
	copies  collections.Map[collections.Pair[uint64, []byte], uint64]         // by segment and holder: place in its row; without those that go
	shares  collections.Map[share, uint64]                                    // by deal, part and holder: place in the row, of those too that go at the end of the day
	served  collections.Map[collections.Pair[[]byte, uint64], uint64]         // by holder and a day on which a part came: days proven by its end
	asked   collections.Item[storagev1.Asked]

	seen *seen // by the mempool
}

type share = collections.Triple[uint64, uint64, []byte]

func shareOf(p proof.Part, node []byte) share { return collections.Join3(p.Deal, p.Number, node) }

// NewKeeper needs how addresses are written, its neighbours, and the address whose word is a vote's outcome.
func NewKeeper(cdc codec.Codec, service store.KVStoreService, addresses address.Codec, n Neighbours, authority string) Keeper {
	b := collections.NewSchemaBuilder(service)
	k := Keeper{
		Neighbours: n, addresses: addresses, authority: authority, seen: &seen{},
		params:  collections.NewItem(b, paramsPrefix, "params", codec.CollValue[storagev1.Params](cdc)),
		holders: collections.NewMap(b, holdersPrefix, "holders", collections.BytesKey, codec.CollValue[storagev1.Holder](cdc)),
		rows:    collections.NewMap(b, rowsPrefix, "rows", collections.PairKeyCodec(collections.BytesKey, collections.Uint64Key), codec.CollValue[storagev1.Held](cdc)),
		copies:  collections.NewMap(b, copiesPrefix, "copies", collections.PairKeyCodec(collections.Uint64Key, collections.BytesKey), collections.Uint64Value),
		shares:  collections.NewMap(b, sharesPrefix, "shares", collections.TripleKeyCodec(collections.Uint64Key, collections.Uint64Key, collections.BytesKey), collections.Uint64Value),
		served:  collections.NewMap(b, servedPrefix, "served", collections.PairKeyCodec(collections.BytesKey, collections.Uint64Key), collections.Uint64Value),
		asked:   collections.NewItem(b, askedPrefix, "asked", codec.CollValue[storagev1.Asked](cdc)),
	}
	var err error
	if k.schema, err = b.Build(); err != nil {
		panic(err)
	}
	return k
}

// Holder is what is known of a holder; false: it never said that it is there.
func (k Keeper) Holder(ctx context.Context, node sortition.Key) (storagev1.Holder, bool, error) {
	h, err := k.holders.Get(ctx, node[:])
	if errors.Is(err, collections.ErrNotFound) {
		return storagev1.Holder{Node: node[:]}, false, nil
	}
	return h, err == nil, err
}

// Bound tells whether a node keeps parts of deals: it is not free to go.
func (k Keeper) Bound(ctx context.Context, node sortition.Key) (bool, error) {
	h, _, err := k.Holder(ctx, node)
	return h.Rate > 0, err
}

// keep writes a holder.
func (k Keeper) keep(ctx context.Context, h storagev1.Holder) error {
	return k.holders.Set(ctx, h.Node, h)
}

// holding are the keys of who said that it has a segment.
func (k Keeper) holding(ctx context.Context, segment uint64) (keys []sortition.Key, err error) {
	err = k.copies.Walk(ctx, collections.NewPrefixedPairRange[uint64, []byte](segment), func(key collections.Pair[uint64, []byte], _ uint64) (bool, error) {
		keys = append(keys, sortition.Key(key.K2()))
		return false, nil
	})
	return keys, err
}

// standing is a holder that is there and stays, and its place.
type standing struct {
	holder storagev1.Holder
	node   placement.Node
}

// present are all that are there and stay, by what they offer and prove, and rules who of them is to keep a segment. Who offers nothing for deals weighs as who offers a MiB: everybody keeps the chain's archive.
func (k Keeper) present(ctx context.Context) (nodes []placement.Node, rules placement.Rules, err error) {
	list, rules, err := k.there(ctx)
	day := k.Committee.Day(ctx)
	for _, s := range list {
		s.node.Weight = max(1, placement.Weight(s.holder.Offer, kept(s.holder, day)))
		nodes = append(nodes, s.node)
	}
	return nodes, rules, err
}

// bidders are the same, by what they offer for parts of deals: who offers nothing weighs nothing, and counts all the same where it keeps a part and another of its owner wants one.
func (k Keeper) bidders(ctx context.Context) (nodes []placement.Node, rules placement.Rules, err error) {
	list, rules, err := k.there(ctx)
	day := k.Committee.Day(ctx)
	for _, s := range list {
		s.node.Weight, s.node.Room = placement.Weight(s.holder.Offer, kept(s.holder, day)), room(s.holder)
		nodes = append(nodes, s.node)
	}
	return nodes, rules, err
}

// kept is how many MiB of a holder audits stand behind: what it is asked for, while it proves it.
func kept(h storagev1.Holder, day uint64) uint64 {
	if h.Proven == 0 || h.Missed > 0 {
		return 0
	}
	return mibOf(length(h, day))
}

// room is how many MiB of its offer a holder has left.
func room(h storagev1.Holder) uint64 { return placement.Room(h.Offer, mibOf(h.Leaves-h.Archived)) }

// there lists all that are there and stay.
func (k Keeper) there(ctx context.Context) (list []standing, rules placement.Rules, err error) {
	if rules, err = k.rules(ctx); err != nil {
		return nil, rules, err
	}
	if ctx.Value(glance{}) == nil {
		list, err = k.read(ctx)
		return list, rules, err
	}
	k.seen.Lock()
	defer k.seen.Unlock()
	if height := sdk.UnwrapSDKContext(ctx).BlockHeight(); k.seen.height != height || k.seen.list == nil {
		if k.seen.list, err = k.read(ctx); err != nil {
			return nil, rules, err
		}
		k.seen.height = height
	}
	return k.seen.list, rules, nil
}

// glance marks the context of a word on its way into the mempool: nothing is decided there, so who is there is read once for a block, and words that are no good cost no more than that.
type glance struct{}

// seen is who was there when a block was made.
type seen struct {
	sync.Mutex
	height int64
	list   []standing
}

func (k Keeper) read(ctx context.Context) (list []standing, err error) {
	var holders []storagev1.Holder
	if err := k.holders.Walk(ctx, nil, func(_ []byte, h storagev1.Holder) (bool, error) {
		if !h.Away && h.Leaving == 0 {
			holders = append(holders, h)
		}
		return false, nil
	}); err != nil {
		return nil, err
	}
	for _, h := range holders {
		key := sortition.Key(h.Node)
		n, ok, err := k.Registry.Placed(ctx, key)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		if n.Network == "" { // it is in one of its own
			n.Network = key.String()
		}
		list = append(list, standing{h, n})
	}
	return list, nil
}

func (k Keeper) rules(ctx context.Context) (rules placement.Rules, err error) {
	p, err1 := k.Params(ctx)
	owner, network, err2 := k.Committee.Limited(ctx)
	rules.Copies = int(p.Copies)
	if owner {
		rules.PerOwner = 1
	}
	if network {
		rules.PerNetwork = 1
	}
	return rules, errors.Join(err1, err2)
}

func tell(ctx context.Context, what string, pairs ...string) {
	e := sdk.NewEvent(what)
	for i := 0; i+1 < len(pairs); i += 2 {
		e = e.AppendAttributes(sdk.NewAttribute(pairs[i], pairs[i+1]))
	}
	sdk.UnwrapSDKContext(ctx).EventManager().EmitEvent(e)
}

// mibOf is how many MiB began of a row of leaves.
func mibOf(leaves uint64) uint64 { return (leaves + proof.SpanLeaves - 1) / proof.SpanLeaves }

func wrap(what string, node sortition.Key, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s of holder %s: %w", what, node, err)
}
