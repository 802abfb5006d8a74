package committee

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"cosmossdk.io/collections"
	errorsmod "cosmossdk.io/errors"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/spec/sortition"
)

// RestartVoters are the nodes whose word counts when a halted chain goes on by hand: who sits, and who sat in the two epochs before, less
// those that are barred or retired. They rise.
func (k Keeper) RestartVoters(ctx context.Context) ([]sortition.Key, error) {
	seats, err := k.sitting(ctx)
	if err != nil {
		return nil, err
	}
	e, err := k.epoch.Get(ctx)
	if err != nil {
		return nil, err
	}
	var all []sortition.Key
	for _, s := range seats {
		all = append(all, sortition.Key(s.Node))
	}
	recent := new(collections.Range[uint64])
	if e.Number > 2 {
		recent = recent.StartInclusive(e.Number - 2)
	}
	if err := k.before.Walk(ctx, recent, func(_ uint64, c committeev1.Committee) (bool, error) {
		for _, node := range c.Nodes {
			all = append(all, sortition.Key(node))
		}
		return false, nil
	}); err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b sortition.Key) int { return bytes.Compare(a[:], b[:]) })
	var voters []sortition.Key
	for _, id := range slices.Compact(all) {
		_, err := k.activeNode(ctx, id)
		if isRefusal(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		voters = append(voters, id)
	}
	return voters, nil
}

// Restart seats these nodes and nobody else, in a state that is about to be exported: the epoch ends without a draw, and what was claimed in
// it is void, since who won may be among those who never return. A seat keeps its age; all take the keys that the registry has now. Only
// nodes with a voice in a restart may sit, within the limits for one owner and one network.
func (k Keeper) Restart(ctx sdk.Context, seats []sortition.Key) error {
	params, err := k.Params(ctx)
	if err != nil {
		return err
	}
	e, err := k.epoch.Get(ctx)
	if err != nil {
		return err
	}
	voters, err := k.RestartVoters(ctx)
	if err != nil {
		return err
	}
	if len(seats) == 0 || len(seats) > int(params.Seats) {
		return errorsmod.Wrapf(ErrGenesis, "%d seats, want 1 … %d", len(seats), params.Seats)
	}
	before, err := k.sitting(ctx)
	if err != nil {
		return err
	}
	next := make([]committeev1.Seat, 0, len(seats))
	owners, networks := map[string]uint32{}, map[string]uint32{} // counts, for looking up only
	for i, id := range seats {
		if !slices.Contains(voters, id) || slices.Contains(seats[:i], id) {
			return errorsmod.Wrapf(ErrGenesis, "node %s sits in none of the last three committees, takes no part any more, or is named twice", id)
		}
		s, err := k.sitsOn(ctx, id, e.Number+1)
		if err != nil {
			return err
		}
		owners[s.Owner]++
		networks[s.Network]++
		if params.SeatsPerOwner > 0 && owners[s.Owner] > params.SeatsPerOwner || params.SeatsPerNetwork > 0 && networks[s.Network] > params.SeatsPerNetwork {
			return errorsmod.Wrapf(ErrGenesis, "node %s is one too many of its owner or its network", id)
		}
		next = append(next, s)
	}
	if err := errors.Join(
		k.remember(ctx, e.Number, before), k.seats.Clear(ctx, nil), k.missed.Clear(ctx, nil), k.claims.Clear(ctx, nil), k.substitutes.Clear(ctx, nil),
	); err != nil {
		return err
	}
	for _, s := range next {
		if err := k.seats.Set(ctx, s.Node, s); err != nil {
			return err
		}
	}
	return k.epoch.Set(ctx, committeev1.Epoch{
		Number: e.Number + 1, Threshold: e.Threshold, Size_: uint32(len(next)), GuardedDays: e.GuardedDays, GuardiansEnded: e.GuardiansEnded,
	})
}

// sitsOn is the seat of a node in a restarted chain.
func (k Keeper) sitsOn(ctx sdk.Context, id sortition.Key, epoch uint64) (committeev1.Seat, error) {
	n, err := k.activeNode(ctx, id)
	if err != nil {
		return committeev1.Seat{}, err
	}
	s, err := k.seatOf(ctx, id[:])
	if errors.Is(err, ErrSeat) { // it sat before, and returns
		s, err = committeev1.Seat{Node: id[:], Owner: n.Owner, Network: unseen(id), SinceEpoch: epoch, SinceHeight: ctx.BlockHeight()}, nil
		if t, wrong := k.ticket(ctx, id[:]); wrong == nil {
			s.Network = t.Network
		} else if !isRefusal(wrong) {
			err = wrong
		}
	}
	s.ConsensusKey, s.VrfKey, s.Leaving = n.Consensus[:], n.VRF[:], false
	return s, err
}
