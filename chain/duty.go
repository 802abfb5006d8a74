package chain

import (
	"context"
	"errors"

	errorsmod "cosmossdk.io/errors"

	"github.com/hpips/hpips/chain/committee"
	"github.com/hpips/hpips/spec/sortition"
)

// credit is what a node must have done before it gets a ticket: in the last days its work has brought the holders a levy, or a tenth of its duty pay
// is as much; and it has a bond, kept of its pay. How much, are parameters of the modules reward and bond; on pools and development networks it
// is nothing.
type credit struct{ *keepers }

// asks says so to people.
const asks = "a levy of its work, or ten times that in duty pay: ticket_levy in the last ticket_days of hpips gov params; and a bond of ticket_bond, kept of its pay"

// Check says why a node has not done enough, or nil.
func (c credit) Check(ctx context.Context, node sortition.Key) error {
	earned, err1 := c.reward.Earned(ctx, node)
	bonded, err2 := c.bond.Enough(ctx, node)
	switch err := errors.Join(err1, err2); {
	case err != nil:
		return err
	case !earned:
		return errorsmod.Wrap(committee.ErrCredit, "its work has not yet brought the holders what a ticket needs")
	case !bonded:
		return errorsmod.Wrap(committee.ErrCredit, "its bond is not what a ticket needs, was slashed and is not whole again, or it leaves")
	}
	return nil
}

// Forfeit takes the bond. The stream flows first, up to now, as before anything that changes a holding.
func (c credit) Forfeit(ctx context.Context, node sortition.Key) error {
	if err := c.reward.Flow(ctx); err != nil {
		return err
	}
	return c.bond.Forfeit(ctx, node)
}

// Left tells the bond of a seat that its node has no more.
func (c credit) Left(ctx context.Context, node sortition.Key) error { return c.bond.Touch(ctx, node) }

// Duty counts an epoch served in a seat, or a receipt that was used.
func (c credit) Duty(ctx context.Context, node sortition.Key, seats, receipts uint64) error {
	return c.reward.Duty(ctx, node, seats, receipts)
}
