// Package archive keeps the list of the chain's archive: which file each segment of blocks makes, as two thirds of the seats say who made it.
// It promises that entries follow one another without a gap, that none is changed, that a lone seat neither writes an entry nor keeps one from being written, and that where a segment stands among nodes
// is known to nobody before it is recorded.
// It leaves the form of a segment to store/archive, what a node says to spec/proof, who holds what to spec/placement, and seats to chain/committee.
package archive

import (
	"context"
	"errors"
	"strconv"

	"cosmossdk.io/collections"
	"cosmossdk.io/core/address"
	"cosmossdk.io/core/store"

	"github.com/cosmos/cosmos-sdk/codec"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/archivev1"
	"github.com/hpips/hpips/spec/placement"
	"github.com/hpips/hpips/spec/proof"
	"github.com/hpips/hpips/spec/sortition"
)

// Name is the module's and its store's.
const Name = "archive"

// Prefixes of the store. They are consensus: never renumber them.
var (
	segmentsPrefix = collections.NewPrefix(1)
	wordsPrefix    = collections.NewPrefix(2)
	unplacedPrefix = collections.NewPrefix(3)
	nextPrefix     = collections.NewPrefix(4)
)

// Committee knows who sits, and the epoch.
type Committee interface {
	Sitting(ctx context.Context) ([]sortition.Key, error)
	Epoch(ctx context.Context) uint64
}

// Keeper holds the list.
type Keeper struct {
	schema    collections.Schema
	addresses address.Codec
	committee Committee

	segments collections.Map[uint64, archivev1.Segment]
	words    collections.Map[[]byte, archivev1.Word] // about the next entry, by node
	unplaced collections.KeySet[uint64]              // recorded, and without a point
	next     collections.Item[archivev1.Entry]       // number and first block of the next entry; absent before the first one
}

// NewKeeper needs how addresses are written, and the committee.
func NewKeeper(cdc codec.Codec, service store.KVStoreService, addresses address.Codec, committee Committee) Keeper {
	b := collections.NewSchemaBuilder(service)
	k := Keeper{
		addresses: addresses, committee: committee,
		segments: collections.NewMap(b, segmentsPrefix, "segments", collections.Uint64Key, codec.CollValue[archivev1.Segment](cdc)),
		words:    collections.NewMap(b, wordsPrefix, "words", collections.BytesKey, codec.CollValue[archivev1.Word](cdc)),
		unplaced: collections.NewKeySet(b, unplacedPrefix, "unplaced", collections.Uint64Key),
		next:     collections.NewItem(b, nextPrefix, "next", codec.CollValue[archivev1.Entry](cdc)),
	}
	var err error
	if k.schema, err = b.Build(); err != nil {
		panic(err)
	}
	return k
}

// Next is the number and the first block of the entry that comes next.
func (k Keeper) Next(ctx context.Context) (number uint64, from int64, err error) {
	e, err := k.next.Get(ctx)
	if errors.Is(err, collections.ErrNotFound) {
		return 1, 1, nil
	}
	return e.Number, e.From, err
}

// Placed is what is recorded of a segment, and of which block; without a point there is none, or it has no place yet.
func (k Keeper) Placed(ctx context.Context, number uint64) (proof.Entry, *placement.Point, int64, error) {
	s, err := k.segments.Get(ctx, number)
	if errors.Is(err, collections.ErrNotFound) || err == nil && len(s.Point) == 0 {
		return proof.Entry{}, nil, 0, nil
	}
	if err != nil {
		return proof.Entry{}, nil, 0, err
	}
	e, err := entryOf(s.Entry)
	point := placement.Point(s.Point)
	return e, &point, s.Height, err
}

// Advance gives points to what was recorded in earlier blocks, by the seed of this one.
func (k Keeper) Advance(c context.Context, seed sortition.Seed) error {
	ctx := sdk.UnwrapSDKContext(c)
	var due []uint64
	err := k.unplaced.Walk(ctx, nil, func(number uint64) (bool, error) {
		due = append(due, number)
		return false, nil
	})
	for _, number := range due {
		err = errors.Join(err, k.place(ctx, number, seed))
	}
	return err
}

func (k Keeper) place(ctx sdk.Context, number uint64, seed sortition.Seed) error {
	s, err := k.segments.Get(ctx, number)
	if err != nil || s.Height >= ctx.BlockHeight() {
		return err
	}
	e, err := entryOf(s.Entry)
	if err != nil {
		return err
	}
	point := placement.PiecePoint(seed, e.Piece.ID())
	s.Point = point[:]
	return errors.Join(k.segments.Set(ctx, number, s), k.unplaced.Remove(ctx, number))
}

// record writes an entry, and begins the next one.
func (k Keeper) record(ctx sdk.Context, e archivev1.Entry) error {
	ctx.EventManager().EmitEvent(sdk.NewEvent("hpips_segment", sdk.NewAttribute("number", strconv.FormatUint(e.Number, 10)),
		sdk.NewAttribute("from", strconv.FormatInt(e.From, 10)), sdk.NewAttribute("to", strconv.FormatInt(e.To, 10))))
	return errors.Join(
		k.segments.Set(ctx, e.Number, archivev1.Segment{Entry: e, Height: ctx.BlockHeight()}),
		k.unplaced.Set(ctx, e.Number),
		k.next.Set(ctx, archivev1.Entry{Number: e.Number + 1, From: e.To + 1}),
		k.words.Clear(ctx, nil),
	)
}

// entryOf puts an entry into the words of spec/proof.
func entryOf(e archivev1.Entry) (proof.Entry, error) {
	out := proof.Entry{Number: e.Number, From: e.From, To: e.To, Address: e.Address, Piece: proof.Piece{Size: e.Length}}
	if copy(out.Piece.Root[:], e.Root) != len(e.Root) || len(e.Root) != len(out.Piece.Root) {
		return out, ErrMalformed.Wrapf("root of %d bytes", len(e.Root))
	}
	if err := out.Check(); err != nil {
		return out, ErrMalformed.Wrap(err.Error())
	}
	return out, nil
}
