// Package committee keeps who makes blocks: the chain's seed, the tickets, the draw of each epoch, the seats, and what becomes of those who
// are absent or sign two blocks.
// It promises that every seat weighs the same, that a node's chance depends on its one ticket alone, that never more than a third of the
// seats changes in an epoch but for double signers, and that a block without a seed leaves all of its state untouched.
// It leaves the lottery's rules to spec/sortition, nodes and their keys to the registry, work and bonds to the modules behind Credit, and
// the carrying of seeds in blocks to the application.
package committee

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cosmossdk.io/collections"
	"cosmossdk.io/core/address"
	"cosmossdk.io/core/store"
	"github.com/cosmos/cosmos-sdk/codec"

	"github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/spec/sortition"
)

// Name is the module's and its store's.
const Name = "committee"

// Prefixes of the store. They are consensus: never renumber them.
var (
	paramsPrefix      = collections.NewPrefix(1)
	beaconPrefix      = collections.NewPrefix(2)
	epochPrefix       = collections.NewPrefix(3)
	seatsPrefix       = collections.NewPrefix(4)
	votersPrefix      = collections.NewPrefix(5)
	partingPrefix     = collections.NewPrefix(6)
	missedPrefix      = collections.NewPrefix(7)
	claimsPrefix      = collections.NewPrefix(8)
	substitutesPrefix = collections.NewPrefix(9)
	beforePrefix      = collections.NewPrefix(10)
	offencesPrefix    = collections.NewPrefix(11)
	slotsPrefix       = collections.NewPrefix(12)
	holdersPrefix     = collections.NewPrefix(13)
	ringPrefix        = collections.NewPrefix(14)
	ownersPrefix      = collections.NewPrefix(15)
	networksPrefix    = collections.NewPrefix(16)
	expiryPrefix      = collections.NewPrefix(17)
	gravesPrefix      = collections.NewPrefix(18)
	ticketsPrefix     = collections.NewPrefix(19)
	waitingPrefix     = collections.NewPrefix(20)
	waitersPrefix     = collections.NewPrefix(21)
	lotsPrefix        = collections.NewPrefix(22)
	lotSeedPrefix     = collections.NewPrefix(23)
	lotHeightPrefix   = collections.NewPrefix(24)
	lotCursorPrefix   = collections.NewPrefix(25)
	lotQuotaPrefix    = collections.NewPrefix(26)
	movesPrefix       = collections.NewPrefix(27)
)

// Node is what the committee must know of a registered node.
type Node struct {
	ID, Consensus, VRF sortition.Key
	Owner              string
	Active             bool  // neither retired nor barred
	KeysHeight         int64 // since when the keys are these
	KeysTime           time.Time
	KeysEpoch          uint64
}

// Registry knows the nodes. The bool says whether the node is known; an error stops the block.
type Registry interface {
	Node(ctx context.Context, id sortition.Key) (Node, bool, error)
	// ByConsensusAddress finds the node that ever had the consensus key with this address.
	ByConsensusAddress(ctx context.Context, address []byte) (Node, bool, error)
	// Bar takes a node's standing for good. It may be called again.
	Bar(ctx context.Context, id sortition.Key) error
}

// Credit knows a node's work, duty and bond.
type Credit interface {
	// Check says why the node has not done enough for a ticket, or nil.
	Check(ctx context.Context, node sortition.Key) error
	// Forfeit takes the bond of a node that signed two blocks. Its error stops the block.
	Forfeit(ctx context.Context, node sortition.Key) error
}

// Duty is told what nodes do for the network, as it happens: epochs that they served in a seat, and receipts of theirs that an application for a
// ticket made use of. Its error stops the block, or refuses the application. A Credit that is a Duty, too, is told.
type Duty interface {
	Duty(ctx context.Context, node sortition.Key, seats, receipts uint64) error
}

// Parting is told of each seat that is left, as it happens. Its error stops the block. A Credit that is a Parting, too, is told.
type Parting interface {
	Left(ctx context.Context, node sortition.Key) error
}

// Keeper holds the committee's state. Keys of nodes, consensus addresses and points are raw bytes.
type Keeper struct {
	schema    collections.Schema
	addresses address.Codec
	registry  Registry
	credit    Credit
	duty      Duty    // nil: nobody wants to know
	left      Parting // the same
	authority string

	params collections.Item[committeev1.Params]
	beacon collections.Item[committeev1.Beacon]
	epoch  collections.Item[committeev1.Epoch]

	seats       collections.Map[[]byte, committeev1.Seat]      // by node
	voters      collections.Map[[]byte, committeev1.Seat]      // by consensus address: the seats as the engine was told of them
	parting     collections.Map[[]byte, committeev1.Seat]      // by consensus address: left at since_height, vote for two blocks more
	missed      collections.Map[[]byte, uint64]                // by node: one bit a seeded block, set where the seat missed the commit before it
	claims      collections.Map[[]byte, committeev1.Claim]     // by node: of the epoch that draws
	substitutes collections.Map[uint64, committeev1.Claim]     // in the order in which they step in
	before      collections.Map[uint64, committeev1.Committee] // by epoch: the last three
	offences    collections.Map[collections.Pair[[]byte, int64], committeev1.Offence]
	slots       collections.Map[uint64, []byte] // the seed at a slot's beginning

	holders  collections.Map[[]byte, []byte]                           // the point of each node's ticket
	ring     collections.Map[[]byte, committeev1.Ticket]               // by point: tickets, and for a while those that are gone
	owners   collections.Map[collections.Pair[string, []byte], int64]  // owner and point: the height at which the ticket went, 0 while it is good
	networks collections.Map[string, uint64]                           // tickets of each network
	expiry   collections.KeySet[collections.Pair[uint64, []byte]]      // until_day and node
	graves   collections.KeySet[collections.Pair[uint64, []byte]]      // slot from which a ticket that is gone may be forgotten, and its point
	tickets  collections.Item[uint64]                                  // how many are good
	moves    collections.Map[collections.Pair[[]byte, uint64], string] // point and slot: the network that the ticket was in to the end of that slot

	waiting   collections.Map[[]byte, committeev1.Ticket]          // by node: applicants for the day's lot
	waiters   collections.Item[uint64]                             // how many
	lots      collections.KeySet[collections.Pair[uint64, []byte]] // day, and lot followed by node
	lotSeed   collections.Item[[]byte]                             // draws the day's lots, while applicants are still without one
	lotHeight collections.Item[int64]                              // applications from here on wait for the next day
	lotCursor collections.Item[[]byte]                             // the last applicant who has a lot
	lotQuota  collections.Item[uint64]                             // tickets that the day's lot still gives
}

// NewKeeper puts the collections together. authority is the address whose word is a vote's outcome.
// It panics when the collections contradict one another, which only a change of this file can bring about.
func NewKeeper(cdc codec.Codec, service store.KVStoreService, addresses address.Codec, registry Registry, credit Credit, authority string) Keeper {
	var (
		b     = collections.NewSchemaBuilder(service)
		key   = collections.BytesKey
		dated = collections.PairKeyCodec(collections.Uint64Key, key)
		seat  = codec.CollValue[committeev1.Seat](cdc)
		claim = codec.CollValue[committeev1.Claim](cdc)
		paper = codec.CollValue[committeev1.Ticket](cdc)
	)
	k := Keeper{
		addresses: addresses, registry: registry, credit: credit, authority: authority,

		params: collections.NewItem(b, paramsPrefix, "params", codec.CollValue[committeev1.Params](cdc)),
		beacon: collections.NewItem(b, beaconPrefix, "beacon", codec.CollValue[committeev1.Beacon](cdc)),
		epoch:  collections.NewItem(b, epochPrefix, "epoch", codec.CollValue[committeev1.Epoch](cdc)),

		seats:       collections.NewMap(b, seatsPrefix, "seats", key, seat),
		voters:      collections.NewMap(b, votersPrefix, "voters", key, seat),
		parting:     collections.NewMap(b, partingPrefix, "parting", key, seat),
		missed:      collections.NewMap(b, missedPrefix, "missed", key, collections.Uint64Value),
		claims:      collections.NewMap(b, claimsPrefix, "claims", key, claim),
		substitutes: collections.NewMap(b, substitutesPrefix, "substitutes", collections.Uint64Key, claim),
		before:      collections.NewMap(b, beforePrefix, "before", collections.Uint64Key, codec.CollValue[committeev1.Committee](cdc)),
		offences: collections.NewMap(b, offencesPrefix, "offences", collections.PairKeyCodec(key, collections.Int64Key),
			codec.CollValue[committeev1.Offence](cdc)),
		slots: collections.NewMap(b, slotsPrefix, "slots", collections.Uint64Key, collections.BytesValue),

		holders:  collections.NewMap(b, holdersPrefix, "holders", key, collections.BytesValue),
		ring:     collections.NewMap(b, ringPrefix, "ring", key, paper),
		owners:   collections.NewMap(b, ownersPrefix, "owners", collections.PairKeyCodec(collections.StringKey, key), collections.Int64Value),
		networks: collections.NewMap(b, networksPrefix, "networks", collections.StringKey, collections.Uint64Value),
		expiry:   collections.NewKeySet(b, expiryPrefix, "expiry", dated),
		graves:   collections.NewKeySet(b, gravesPrefix, "graves", dated),
		moves:    collections.NewMap(b, movesPrefix, "moves", collections.PairKeyCodec(key, collections.Uint64Key), collections.StringValue),
		tickets:  collections.NewItem(b, ticketsPrefix, "tickets", collections.Uint64Value),

		waiting:   collections.NewMap(b, waitingPrefix, "waiting", key, paper),
		waiters:   collections.NewItem(b, waitersPrefix, "waiters", collections.Uint64Value),
		lots:      collections.NewKeySet(b, lotsPrefix, "lots", dated),
		lotSeed:   collections.NewItem(b, lotSeedPrefix, "lot_seed", collections.BytesValue),
		lotHeight: collections.NewItem(b, lotHeightPrefix, "lot_height", collections.Int64Value),
		lotCursor: collections.NewItem(b, lotCursorPrefix, "lot_cursor", collections.BytesValue),
		lotQuota:  collections.NewItem(b, lotQuotaPrefix, "lot_quota", collections.Uint64Value),
	}
	schema, err := b.Build()
	if err != nil {
		panic(fmt.Sprintf("committee: %v", err))
	}
	k.schema = schema
	k.duty, _ = credit.(Duty)
	k.left, _ = credit.(Parting)
	return k
}

// Beacon is the chain's randomness after the last block that carried a seed.
func (k Keeper) Beacon(ctx context.Context) (committeev1.Beacon, error) { return k.beacon.Get(ctx) }

// Day counts the days since genesis, as of the last block that carried a seed; 0 before the first.
func (k Keeper) Day(ctx context.Context) uint64 {
	b, err := k.beacon.Get(ctx)
	if err != nil {
		return 0
	}
	return b.Day
}

// DayEnd is when the day ends, in Unix seconds of block time, as of the last block that carried a seed.
func (k Keeper) DayEnd(ctx context.Context) (int64, error) {
	b, err := k.beacon.Get(ctx)
	if err != nil {
		return 0, fmt.Errorf("end of the day: %w", err)
	}
	params, err := k.Params(ctx)
	if err != nil {
		return 0, fmt.Errorf("end of the day: %w", err)
	}
	return b.GenesisTime.Unix() + int64((b.Day+1)*params.DaySeconds), nil
}

// EpochNumber is that of the epoch which draws for the next one; 0 before the first.
func (k Keeper) EpochNumber(ctx context.Context) uint64 {
	e, err := k.epoch.Get(ctx)
	if err != nil {
		return 0
	}
	return e.Number
}

// Tickets counts the tickets that are good.
func (k Keeper) Tickets(ctx context.Context) uint64 {
	n, err := k.tickets.Get(ctx)
	if err != nil {
		return 0
	}
	return n
}

// Seated tells whether a node has a seat.
func (k Keeper) Seated(ctx context.Context, id sortition.Key) (bool, error) {
	return k.seats.Has(ctx, id[:])
}

// Sitting are the nodes that have a seat, in the order of their keys.
func (k Keeper) Sitting(ctx context.Context) ([]sortition.Key, error) {
	seats, err := k.sitting(ctx)
	all := make([]sortition.Key, len(seats))
	for i, s := range seats {
		all[i] = sortition.Key(s.Node)
	}
	return all, err
}

// Good gives the ticket of a node that is good now and was taken out before the block at height before, and how many tickets are in its network. Where networks are not limited it is in none, and
// stands for itself.
func (k Keeper) Good(ctx context.Context, id sortition.Key, before int64) (t committeev1.Ticket, beside uint64, good bool, err error) {
	t, _, err = k.goodTicket(ctx, id, k.Day(ctx))
	if isRefusal(err) || err == nil && t.SinceHeight >= before {
		return t, 0, false, nil
	}
	params, err2 := k.Params(ctx)
	if err := errors.Join(err, err2); err != nil {
		return t, 0, false, err
	}
	if !limited(params) {
		t.Network = ""
		return t, 1, true, nil
	}
	beside, err = k.inNetwork(ctx, t.Network)
	return t, beside, err == nil, err
}

// Network is where a node with a good ticket was seen; empty for one without.
func (k Keeper) Network(ctx context.Context, id sortition.Key) (string, error) {
	t, _, err := k.goodTicket(ctx, id, k.Day(ctx))
	if isRefusal(err) {
		return "", nil
	}
	return t.Network, err
}

// TicketsOf counts an owner's tickets as at the opening of the block at height before: those taken out in earlier blocks and still good then.
// Tickets that are gone are remembered for fifteen days.
func (k Keeper) TicketsOf(ctx context.Context, owner string, before int64) uint64 {
	var n uint64
	err := k.owners.Walk(ctx, collections.NewPrefixedPairRange[string, []byte](owner), func(at collections.Pair[string, []byte], gone int64) (bool, error) {
		t, err := k.ring.Get(ctx, at.K2())
		if err == nil && t.SinceHeight < before && (gone == 0 || gone >= before) {
			n++
		}
		return false, err
	})
	if err != nil {
		return 0
	}
	return n
}

// SeatKey is the VRF key under which the seat with this consensus address extends the seed. A seat that left is found for the two blocks in
// which the engine still counts its votes. The bool says whether there is such a seat.
func (k Keeper) SeatKey(ctx context.Context, consensusAddress []byte) (sortition.Key, bool, error) {
	seat, err := k.voters.Get(ctx, consensusAddress)
	if errors.Is(err, collections.ErrNotFound) {
		seat, err = k.parting.Get(ctx, consensusAddress)
	}
	if errors.Is(err, collections.ErrNotFound) {
		return sortition.Key{}, false, nil
	}
	if err != nil {
		return sortition.Key{}, false, err
	}
	return sortition.Key(seat.VrfKey), true, nil
}

// addressOf is the address of a key that the state has.
func addressOf(key []byte) []byte { return sortition.Key(key).Address() }

// add moves a running number, which never goes below 0.
func add(ctx context.Context, total collections.Item[uint64], by int64) error {
	n, err := total.Get(ctx)
	if err != nil && !errors.Is(err, collections.ErrNotFound) {
		return err
	}
	return total.Set(ctx, moved(n, by))
}

func moved(n uint64, by int64) uint64 {
	if by < 0 && n < uint64(-by) {
		return 0
	}
	return n + uint64(by) // two's complement: adding a negative number takes away
}
