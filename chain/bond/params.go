package bond

import (
	"context"
	"fmt"

	"github.com/hpips/hpips/proto/gen/bondv1"
)

const (
	hpips = 1_000_000
	total = 100_000_000 * hpips // all that ever was
	day   = 86_400              // seconds
)

// ReturnDays is for how many days of the chain a bond stays after all that its node had to answer for.
const ReturnDays = 14

// mostDays is for how many days it is known what a node was paid.
const mostDays = 90

// Public are the parameters of the public chain.
func Public() bondv1.Params {
	return bondv1.Params{HoldPermille: 250, TargetDays: 10, LeastTarget: 10 * hpips, ReturnSeconds: ReturnDays * day, TicketBond: 2 * hpips, Batch: 100}
}

// Development are those of a network on one desk: nobody works for a ticket, and a day has a minute.
func Development() bondv1.Params {
	p := Public()
	p.ReturnSeconds, p.TicketBond = ReturnDays*60, 0
	return p
}

// CheckParams tells whether a chain can live with the parameters.
func CheckParams(p bondv1.Params) error {
	for _, rule := range []struct {
		holds bool
		want  string
	}{
		{p.HoldPermille <= 1000, "hold_permille up to 1000"},
		{p.TargetDays >= 1 && p.TargetDays <= mostDays, "target_days from 1 to 90"},
		{p.LeastTarget <= total, "least_target up to the supply"},
		{p.ReturnSeconds >= 1 && p.ReturnSeconds <= 366*day, "return_seconds from 1 to a year"},
		{p.TicketBond <= p.LeastTarget, "ticket_bond up to least_target: a bond that is whole must be enough"},
		{p.Batch >= 1 && p.Batch <= 1000, "batch from 1 to 1000"},
	} {
		if !rule.holds {
			return ErrParams.Wrap(rule.want)
		}
	}
	return nil
}

// Params are the parameters in force: those of the public chain while nothing else was set.
func (k Keeper) Params(ctx context.Context) (bondv1.Params, error) {
	p, known, err := found(k.params.Get(ctx))
	if err != nil {
		return p, fmt.Errorf("bond parameters: %w", err)
	}
	if !known {
		return Public(), nil
	}
	return p, nil
}
