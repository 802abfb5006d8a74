package committee

import (
	"context"
	"errors"
	"fmt"
	"math/bits"

	"cosmossdk.io/collections"
	"cosmossdk.io/core/comet"
	errorsmod "cosmossdk.io/errors"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/spec/sortition"
)

// Change says what a block began, for modules that wait for it.
type Change struct {
	Day   bool // it is the first block of a day
	Epoch bool // the committee turned
}

// Advance takes a block that carries a seed through everything that nobody sends a message for. It happens before the block's messages;
// an error stops the block.
//
//  1. Seed: the proposer's output, checked by CheckSeed, extends it.
//  2. Absence: the commit of the block before tells which seats did not sign.
//  3. Evidence: who signed two blocks loses ticket, standing, bond and seat.
//  4. Slot: the first block of an hour keeps the seed that draws the hour's observers.
//  5. Day: tickets run out, applicants get their lots, guardians may end. It changes once, however long the chain stood still.
//  6. Epoch: opened by its first block, closed by the last: the committee turns.
//
// EndBlock, after the messages, replaces the seats that are absent or asked to leave, and tells the engine.
func (k Keeper) Advance(c context.Context, output sortition.Beta) (Change, error) {
	ctx := sdk.UnwrapSDKContext(c)
	params, err := k.Params(ctx)
	if err != nil {
		return Change{}, err
	}
	before, err := k.beacon.Get(ctx)
	if err != nil {
		return Change{}, fmt.Errorf("advance: beacon: %w", err)
	}
	now, err := k.extend(ctx, params, before, output)
	if err != nil {
		return Change{}, fmt.Errorf("advance: seed: %w", err)
	}
	if err := k.countAbsence(ctx, params, now); err != nil {
		return Change{}, fmt.Errorf("advance: absence: %w", err)
	}
	if err := k.readEvidence(ctx, params); err != nil {
		return Change{}, fmt.Errorf("advance: evidence: %w", err)
	}
	if now.Slot != before.Slot || before.Index == 0 {
		if err := k.turnSlot(ctx, params, now.Slot, before.Seed); err != nil {
			return Change{}, fmt.Errorf("advance: slot %d: %w", now.Slot, err)
		}
	}
	change := Change{Day: now.Day != before.Day}
	if change.Day {
		if err := k.turnDay(ctx, params, now); err != nil {
			return Change{}, fmt.Errorf("advance: day %d: %w", now.Day, err)
		}
	}
	if err := k.sweep(ctx, params, now); err != nil {
		return Change{}, fmt.Errorf("advance: sweep: %w", err)
	}
	if change.Epoch, err = k.turnEpoch(ctx, params, now); err != nil {
		return Change{}, fmt.Errorf("advance: epoch: %w", err)
	}
	return change, nil
}

// Carries tells whether the block at the context's height must carry a seed, given its transactions (the seed's own not counted) and its
// pieces of evidence. A block that must not may not.
func (k Keeper) Carries(ctx context.Context, txs, misbehaviour int) (bool, error) {
	b, err := k.beacon.Get(ctx)
	if err != nil {
		return false, fmt.Errorf("beacon: %w", err)
	}
	return sortition.Carries(txs, misbehaviour, b.Height == sdk.UnwrapSDKContext(ctx).BlockHeight()-1), nil
}

// Alpha is what the proposer of the block at the context's height proves.
func (k Keeper) Alpha(ctx context.Context) ([]byte, error) {
	b, err := k.beacon.Get(ctx)
	if err != nil {
		return nil, fmt.Errorf("beacon: %w", err)
	}
	at := sdk.UnwrapSDKContext(ctx)
	return sortition.SeedAlpha(at.ChainID(), at.BlockHeight(), sortition.Seed(b.Seed)), nil
}

// CheckSeed checks the proof of the proposer with this consensus address for the block at the context's height, and gives the output that
// Advance takes.
func (k Keeper) CheckSeed(ctx context.Context, proposer []byte, p sortition.Proof) (sortition.Beta, error) {
	key, seated, err := k.SeatKey(ctx, proposer)
	if err != nil {
		return sortition.Beta{}, err
	}
	if !seated {
		return sortition.Beta{}, errorsmod.Wrapf(ErrSeed, "proposer %X holds no seat", proposer)
	}
	alpha, err := k.Alpha(ctx)
	if err != nil {
		return sortition.Beta{}, err
	}
	b, err := sortition.Verify(key, alpha, p)
	if err != nil {
		return sortition.Beta{}, errorsmod.Wrap(ErrSeed, err.Error())
	}
	return b, nil
}

func (k Keeper) extend(ctx sdk.Context, params committeev1.Params, b committeev1.Beacon, output sortition.Beta) (committeev1.Beacon, error) {
	seed := sortition.Seed(b.Seed).Extend(output)
	b.Seed, b.Height, b.Time = seed[:], ctx.BlockHeight(), ctx.BlockTime()
	b.Index++
	b.Day = max(b.Day, seconds(b.Time.Unix()-b.GenesisTime.Unix())/params.DaySeconds)
	b.Slot = max(b.Slot, seconds(b.Time.Unix())/params.SlotSeconds)
	return b, k.beacon.Set(ctx, b)
}

// seconds is a span that is none before it begins.
func seconds(n int64) uint64 { return uint64(max(n, 0)) }

// countAbsence notes for each seat whether it signed for the block before. A seat counts from the first commit that it could sign.
// Its bits go round the window, so that nothing is written where nothing changed.
func (k Keeper) countAbsence(ctx sdk.Context, params committeev1.Params, b committeev1.Beacon) error {
	seats, err := k.sitting(ctx)
	if err != nil {
		return err
	}
	voted := map[string]bool{} // by consensus address: whether it signed for the block; for looking up only
	votes := ctx.CometInfo().GetLastCommit().Votes()
	for i := range votes.Len() {
		v := votes.Get(i)
		voted[string(v.Validator().Address())] = v.GetBlockIDFlag() == comet.BlockIDFlagCommit
	}
	bit := uint64(1) << (b.Index % uint64(params.AbsenceWindow))
	for _, s := range seats {
		signed, asked := voted[string(addressOf(s.ConsensusKey))]
		if !asked || ctx.BlockHeight()-1 < s.SinceHeight+2 {
			continue
		}
		old, err := k.missed.Get(ctx, s.Node)
		if err != nil && !errors.Is(err, collections.ErrNotFound) {
			return err
		}
		now := old | bit
		if signed {
			now = old &^ bit
		}
		if now == old {
			continue
		}
		if err := k.missed.Set(ctx, s.Node, now); err != nil {
			return err
		}
	}
	return nil
}

// absent tells whether a seat missed so much that it is replaced.
func (k Keeper) absent(ctx context.Context, params committeev1.Params, node []byte) (bool, error) {
	missed, err := k.missed.Get(ctx, node)
	if errors.Is(err, collections.ErrNotFound) {
		return false, nil
	}
	window := ^uint64(0) >> (64 - params.AbsenceWindow)
	return uint32(bits.OnesCount64(missed&window)) >= params.AbsenceMissed, err
}

// turnSlot keeps the seed as it was when the slot began, and forgets those out of every window.
func (k Keeper) turnSlot(ctx context.Context, params committeev1.Params, slot uint64, before []byte) error {
	if err := k.slots.Set(ctx, slot, before); err != nil {
		return err
	}
	kept := uint64(params.WindowSlots) + 2
	if slot < kept {
		return nil
	}
	return k.slots.Clear(ctx, new(collections.Range[uint64]).EndExclusive(slot-kept))
}

// turnDay begins the day's lot and counts towards the end of the guardians. What takes long is left to sweep.
func (k Keeper) turnDay(ctx sdk.Context, params committeev1.Params, b committeev1.Beacon) error {
	if err := k.openLot(ctx, params, b); err != nil {
		return err
	}
	e, err := k.epoch.Get(ctx)
	if err != nil || e.GuardiansEnded || params.GuardianTickets == 0 || params.GuardianDays == 0 {
		return err
	}
	was := e.GuardedDays
	if e.GuardedDays++; k.Tickets(ctx) < params.GuardianTickets {
		e.GuardedDays = 0
	}
	if e.GuardedDays >= params.GuardianDays {
		return k.endGuardians(ctx, e)
	}
	if e.GuardedDays == was {
		return nil
	}
	return k.epoch.Set(ctx, e)
}

// sweepLimit is how many tickets, applicants and graves one block deals with at most.
const sweepLimit = 1000

// sweep does a bounded share of what fell due at the change of a day or slot, and goes on where it stopped in the next seeded block.
func (k Keeper) sweep(ctx sdk.Context, params committeev1.Params, b committeev1.Beacon) error {
	left := sweepLimit
	for _, chore := range []func(sdk.Context, committeev1.Params, committeev1.Beacon, int) (int, error){
		k.expire, k.bury, k.draw,
	} {
		done, err := chore(ctx, params, b, left)
		if err != nil {
			return err
		}
		if left -= done; left <= 0 {
			return nil
		}
	}
	return nil
}
