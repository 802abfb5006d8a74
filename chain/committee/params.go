package committee

import (
	"context"
	"errors"

	"cosmossdk.io/collections"
	errorsmod "cosmossdk.io/errors"

	"github.com/hpips/hpips/proto/gen/committeev1"
)

// Public are the parameters of the public chain.
func Public() committeev1.Params {
	return committeev1.Params{
		Seats: 101, EpochBlocks: 720, ClaimBlocks: 540,
		DaySeconds: 86_400, HeartbeatSeconds: 30,
		KeyAgeDays: 30, KeyAgeEpochs: 1, TicketDays: 8,
		NewTicketsPermille: 30, NewTicketsMin: 10,
		SlotSeconds: 3600, WindowSlots: 168, PickedSlots: 10, NeededSlots: 8, Observers: 8, Signatures: 5,
		SeatsPerOwner: 1, SeatsPerNetwork: 1,
		AbsenceWindow: 60, AbsenceMissed: 30,
		FirstDrawDay:    31,
		GuardianTickets: 5000, GuardianDays: 30,
		GuardianHeight: 10_000_000, // four months at a block a second, five years of an idle chain
	}
}

// Development are those of a network on one desk: the same rules, shorter times, nobody waits for anybody.
func Development() committeev1.Params {
	return committeev1.Params{
		Seats: 4, EpochBlocks: 20, ClaimBlocks: 15,
		DaySeconds: 60, HeartbeatSeconds: 10,
		KeyAgeEpochs: 1, TicketDays: 30,
		SlotSeconds: 20, WindowSlots: 3, PickedSlots: 1, NeededSlots: 1, Observers: 8, Signatures: 5,
		AbsenceWindow: 60, AbsenceMissed: 30,
		GuardianTickets: 5000, GuardianDays: 30,
	}
}

// maxSeats bounds what a vote can set: the work of a block grows with the seats.
const maxSeats = 1000

// Check tells whether a chain can live with the parameters.
func Check(p committeev1.Params) error {
	for _, rule := range []struct {
		holds bool
		want  string
	}{
		{p.Seats >= 1 && p.Seats <= maxSeats, "seats from 1 to 1000"},
		{p.EpochBlocks >= 3 && p.EpochBlocks <= 1_000_000, "epoch_blocks from 3 to 1,000,000"},
		{p.ClaimBlocks >= 2 && p.ClaimBlocks < p.EpochBlocks, "claim_blocks from 2 to less than epoch_blocks"},
		{p.DaySeconds >= 1 && p.DaySeconds <= 1<<32, "day_seconds from 1 to 2^32"},
		{p.HeartbeatSeconds >= 1 && p.HeartbeatSeconds <= 3600, "heartbeat_seconds from 1 to 3600"},
		{p.TicketDays >= 1 && p.TicketDays <= 3650, "ticket_days from 1 to 3650"},
		{p.NewTicketsPermille <= 1000, "new_tickets_permille up to 1000"},
		{p.SlotSeconds >= 1 && p.SlotSeconds <= 1<<32, "slot_seconds from 1 to 2^32"},
		{p.WindowSlots >= 1 && p.WindowSlots <= 1000, "window_slots from 1 to 1000"},
		{p.PickedSlots <= min(p.WindowSlots, 64), "picked_slots up to window_slots and 64"},
		{p.NeededSlots <= p.PickedSlots, "needed_slots up to picked_slots"},
		{p.Observers <= 64, "observers up to 64"},
		{p.Signatures <= p.Observers, "signatures up to observers"},
		{p.AbsenceWindow >= 1 && p.AbsenceWindow <= 64, "absence_window from 1 to 64"},
		{p.AbsenceMissed >= 1 && p.AbsenceMissed <= p.AbsenceWindow, "absence_missed from 1 to absence_window"},
		{p.GuardianHeight >= 0, "guardian_height not negative"},
	} {
		if !rule.holds {
			return errorsmod.Wrap(ErrParams, rule.want)
		}
	}
	return nil
}

// Params are the parameters in force: those of the public chain while nothing else was set.
func (k Keeper) Params(ctx context.Context) (committeev1.Params, error) {
	p, err := k.params.Get(ctx)
	if errors.Is(err, collections.ErrNotFound) {
		return Public(), nil
	}
	return p, err
}

// setParams takes what a vote decided. The lengths of days and slots stay as they were at genesis: numbers that were given out would
// change their meaning.
func (k Keeper) setParams(ctx context.Context, p committeev1.Params) error {
	if err := Check(p); err != nil {
		return err
	}
	old, err := k.Params(ctx)
	if err != nil {
		return err
	}
	if p.DaySeconds != old.DaySeconds || p.SlotSeconds != old.SlotSeconds {
		return errorsmod.Wrap(ErrParams, "day_seconds and slot_seconds are fixed at genesis")
	}
	return k.params.Set(ctx, p)
}
