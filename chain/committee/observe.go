package committee

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"cosmossdk.io/collections"
	errorsmod "cosmossdk.io/errors"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/spec/sortition"
)

// Observers names those who may testify for a node in a slot, in the order in which they were drawn, and how many of their signatures
// the slot needs. Neither changes once the slot has begun. In a slot that has no seed, because it is too old or the chain stood still,
// nobody observes.
//
// For i = 0, 1, … the first ticket on the ring at or after the i-th point of node and slot, going round, that was good in the slot and is
// neither the node's nor, where owners are limited, its owner's; where networks are limited, only the first one in each network. Until there are
// enough, or four tries for each are used up: few networks give few observers, of whom the slot then needs the same share.
func (k Keeper) Observers(ctx context.Context, id sortition.Key, slot uint64) ([]sortition.Key, uint32, error) {
	params, err := k.Params(ctx)
	if err != nil {
		return nil, 0, err
	}
	return k.observers(ctx, params, id, slot, params.Observers)
}

// observers is Observers that looks for no more than few of them. With less than all, what the slot needs is only known to be none or some.
func (k Keeper) observers(ctx context.Context, params committeev1.Params, id sortition.Key, slot uint64, few uint32) ([]sortition.Key, uint32, error) {
	seed, err := k.slots.Get(ctx, slot)
	if errors.Is(err, collections.ErrNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	owner := ""
	if n, known, err := k.registry.Node(ctx, id); err != nil {
		return nil, 0, err
	} else if known && params.SeatsPerOwner > 0 {
		owner = n.Owner
	}
	may := func(t committeev1.Ticket) bool {
		return t.SinceSlot <= slot && slot <= t.UntilSlot && sortition.Key(t.Node) != id && (owner == "" || t.Owner != owner)
	}
	var all []sortition.Key
	var drawn []sortition.Observer
	for i := uint32(0); uint32(len(all)) < few && i < 4*params.Observers; i++ {
		t, found, err := k.next(ctx, sortition.ObserverPoint(sortition.Seed(seed), id, slot, i), may)
		if err != nil {
			return nil, 0, err
		}
		if !found {
			break // nobody on the whole ring may
		}
		network, err := k.networkIn(ctx, t, slot)
		if err != nil {
			return nil, 0, err
		}
		if o := (sortition.Observer{Node: sortition.Key(t.Node), Network: network}); o.Joins(drawn, params.SeatsPerNetwork > 0) {
			all, drawn = append(all, o.Node), append(drawn, o)
		}
	}
	return all, sortition.Needed(params.Observers, params.Signatures, uint32(len(all))), nil
}

// networkIn is the network that a ticket was in during a slot: what becomes known of it later counts from the next slot on.
func (k Keeper) networkIn(ctx context.Context, t committeev1.Ticket, slot uint64) (string, error) {
	network := t.Network
	moves := collections.NewPrefixedPairRange[[]byte, uint64](t.Point).StartInclusive(slot)
	err := k.moves.Walk(ctx, moves, func(_ collections.Pair[[]byte, uint64], before string) (bool, error) {
		network = before
		return true, nil
	})
	return network, err
}

// move notes the network that a ticket leaves, to the end of the open slot, and forgets those that no slot can be asked for any more.
func (k Keeper) move(ctx context.Context, params committeev1.Params, b committeev1.Beacon, t committeev1.Ticket) error {
	if kept := uint64(params.WindowSlots) + 2; b.Slot > kept {
		if err := k.moves.Clear(ctx, collections.NewPrefixedPairRange[[]byte, uint64](t.Point).EndExclusive(b.Slot-kept)); err != nil {
			return err
		}
	}
	at := collections.Join(t.Point, b.Slot)
	if has, err := k.moves.Has(ctx, at); err != nil || has {
		return err
	}
	return k.moves.Set(ctx, at, t.Network)
}

// next goes round the ring once from a point and finds the first ticket that may.
func (k Keeper) next(ctx context.Context, point [32]byte, may func(committeev1.Ticket) bool) (found committeev1.Ticket, ok bool, err error) {
	look := func(_ []byte, t committeev1.Ticket) (bool, error) {
		if may(t) {
			found, ok = t, true
		}
		return ok, nil
	}
	if err := k.ring.Walk(ctx, new(collections.Range[[]byte]).StartInclusive(point[:]), look); err != nil || ok {
		return found, ok, err
	}
	err = k.ring.Walk(ctx, new(collections.Range[[]byte]).EndExclusive(point[:]), look)
	return found, ok, err
}

// Picks names the slots for which a node that applies in a slot needs receipts, and how many of them. They are drawn by the seed at the
// beginning of that slot from those in the window before it in which there were blocks and the node had its keys.
func (k Keeper) Picks(ctx context.Context, id sortition.Key, slot uint64) ([]uint64, uint32, error) {
	params, err := k.Params(ctx)
	if err != nil {
		return nil, 0, err
	}
	seed, err := k.slots.Get(ctx, slot)
	if errors.Is(err, collections.ErrNotFound) {
		return nil, 0, errorsmod.Wrapf(ErrSlot, "slot %d has no seed", slot)
	}
	if err != nil {
		return nil, 0, err
	}
	first := slot - min(slot, uint64(params.WindowSlots))
	if n, known, err := k.registry.Node(ctx, id); err != nil {
		return nil, 0, err
	} else if known {
		first = max(first, (seconds(n.KeysTime.Unix())+params.SlotSeconds-1)/params.SlotSeconds)
	}
	if first >= slot {
		return nil, 0, nil
	}
	var open []uint64
	if err := k.slots.Walk(ctx, new(collections.Range[uint64]).StartInclusive(first).EndExclusive(slot), func(s uint64, _ []byte) (bool, error) {
		open = append(open, s)
		return false, nil
	}); err != nil {
		return nil, 0, err
	}
	needed := sortition.NeededSlots(params.PickedSlots, params.NeededSlots, uint32(len(open)))
	return sortition.Picks(sortition.Seed(seed), id, open, params.PickedSlots), needed, nil
}

// testimony is what the receipts for one slot say.
type testimony struct {
	by       []sortition.Key
	networks []string // as each of them saw it
}

// checkReceipts reads the receipts of an application and gives the network that most of the proven slots saw the node in: a few observers
// who lie in one slot do not choose it. It is empty where no receipt was needed. A slot is proven when enough of its observers saw the node
// in one and the same network.
// A receipt that is not to the point spoils all: what is free must not carry ballast.
func (k Keeper) checkReceipts(ctx sdk.Context, params committeev1.Params, id sortition.Key, slot uint64, receipts [][]byte) (string, error) {
	picks, needed, err := k.Picks(ctx, id, slot)
	if err != nil {
		return "", err
	}
	if len(receipts) > len(picks)*int(params.Observers) {
		return "", errorsmod.Wrapf(ErrReceipts, "%d of them", len(receipts))
	}
	said := make([]testimony, len(picks))
	for i, raw := range receipts {
		r, err := sortition.ParseReceipt(raw)
		if err != nil {
			return "", errorsmod.Wrapf(ErrReceipts, "receipt %d: %v", i, err)
		}
		at, picked := slices.BinarySearch(picks, r.Slot)
		switch {
		case r.Chain != ctx.ChainID() || r.Node != id:
			return "", errorsmod.Wrapf(ErrReceipts, "receipt %d is for another chain or node", i)
		case !picked:
			return "", errorsmod.Wrapf(ErrReceipts, "receipt %d: slot %d was not picked", i, r.Slot)
		case slices.Contains(said[at].by, r.Observer):
			return "", errorsmod.Wrapf(ErrReceipts, "receipt %d: its observer testified for slot %d already", i, r.Slot)
		}
		if err := r.Check(); err != nil {
			return "", errorsmod.Wrapf(ErrReceipts, "receipt %d: %v", i, err)
		}
		said[at].by, said[at].networks = append(said[at].by, r.Observer), append(said[at].networks, r.Network)
	}
	return k.weigh(ctx, params, id, picks, needed, said)
}

// creditReceipts tells of a unit of duty for each receipt of an application that was taken: its observer watched when the network needed it.
func (k Keeper) creditReceipts(ctx context.Context, receipts [][]byte) error {
	if k.duty == nil {
		return nil
	}
	for i, raw := range receipts {
		r, err := sortition.ParseReceipt(raw)
		if err != nil {
			return errorsmod.Wrapf(ErrReceipts, "receipt %d: %v", i, err)
		}
		if err := k.duty.Duty(ctx, r.Observer, 0, 1); err != nil {
			return fmt.Errorf("duty of %s: %w", r.Observer, err)
		}
	}
	return nil
}

// weigh counts the slots that are proven. It ends as soon as too few are left, and for a slot without testimony it asks only whether
// anybody was to testify: looking for observers is what costs, and an application that says nothing must not make others look for long.
func (k Keeper) weigh(ctx context.Context, params committeev1.Params, id sortition.Key, picks []uint64, needed uint32, said []testimony) (string, error) {
	var proven uint32
	var networks []string
	for i, slot := range picks {
		if proven+uint32(len(picks)-i) < needed {
			break
		}
		few := params.Observers
		if len(said[i].by) == 0 {
			few = min(few, 1)
		}
		observers, signatures, err := k.observers(ctx, params, id, slot, few)
		if err != nil {
			return "", fmt.Errorf("observers of slot %d: %w", slot, err)
		}
		for _, o := range said[i].by {
			if !slices.Contains(observers, o) {
				return "", errorsmod.Wrapf(ErrReceipts, "%s does not observe in slot %d", o, slot)
			}
		}
		saw, seen := most(said[i].networks)
		if seen < signatures {
			continue
		}
		proven++
		if seen > 0 {
			networks = append(networks, saw)
		}
	}
	if proven < needed {
		return "", errorsmod.Wrapf(ErrOffline, "%d of the %d slots", proven, needed)
	}
	network, _ := most(networks)
	return network, nil
}

// most is the name that occurs most often, the first in the alphabet of several, and how often.
func most(names []string) (name string, times uint32) {
	sorted := slices.Sorted(slices.Values(names))
	for i := 0; i < len(sorted); {
		end := i
		for end < len(sorted) && sorted[end] == sorted[i] {
			end++
		}
		if n := uint32(end - i); n > times {
			name, times = sorted[i], n
		}
		i = end
	}
	return name, times
}
