package reward

import (
	"context"
	"errors"
	"fmt"

	"cosmossdk.io/collections"

	"github.com/hpips/hpips/proto/gen/rewardv1"
)

// hpips is one HPIPS in uhpips; all that ever was is a hundred million of them.
const (
	hpips = 1_000_000
	total = 100_000_000 * hpips
)

// Public are the parameters of the public chain.
func Public() rewardv1.Params {
	return rewardv1.Params{
		BonusDay: 31, LeastCirculating: 1_000_000 * hpips, WholeCirculating: 50_000_000 * hpips,
		SeatPrice: 5000, ReceiptPrice: 100, StoredPrice: 1,
		TicketLevy: hpips, TicketDays: 30,
		Batch: 250,
	}
}

// Development are those of a network on one desk: nobody waits for a bonus or works for a ticket, and an archive of a few KiB, which counts as a MiB, is paid as a GiB.
func Development() rewardv1.Params {
	p := Public()
	p.BonusDay, p.TicketLevy = 1, 0
	p.StoredPrice = 1000
	return p
}

// CheckParams tells whether a chain can live with the parameters.
func CheckParams(p rewardv1.Params) error {
	for _, rule := range []struct {
		holds bool
		want  string
	}{
		{p.BonusDay <= 1_000_000, "bonus_day up to 1,000,000"},
		{p.LeastCirculating >= 1 && p.LeastCirculating <= total, "least_circulating from 1 to the supply"},
		{p.WholeCirculating >= 1 && p.WholeCirculating <= total, "whole_circulating from 1 to the supply"},
		{p.SeatPrice <= 1000*hpips, "seat_price up to 1000 HPIPS"},
		{p.ReceiptPrice <= 1000*hpips, "receipt_price up to 1000 HPIPS"},
		{p.StoredPrice <= hpips, "stored_price up to 1 HPIPS"},
		{p.TicketLevy <= total, "ticket_levy up to the supply"},
		{p.TicketDays >= 1 && p.TicketDays <= kept, "ticket_days from 1 to 90"},
		{p.Batch >= 1 && p.Batch <= 2000, "batch from 1 to 2000"},
	} {
		if !rule.holds {
			return ErrParams.Wrap(rule.want)
		}
	}
	return nil
}

// Params are the parameters in force: those of the public chain while nothing else was set.
func (k Keeper) Params(ctx context.Context) (rewardv1.Params, error) {
	p, err := k.params.Get(ctx)
	if errors.Is(err, collections.ErrNotFound) {
		return Public(), nil
	}
	if err != nil {
		return p, fmt.Errorf("reward parameters: %w", err)
	}
	return p, nil
}
