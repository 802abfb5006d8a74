package chain

import (
	"context"

	errorsmod "cosmossdk.io/errors"

	"github.com/hpips/hpips/chain/committee"
	"github.com/hpips/hpips/spec/sortition"
)

// credit is what a node must have done before it gets a ticket: in the last days its work has brought the holders a levy, or a tenth of its duty pay
// is as much. How much, is a parameter of the reward module; on pools and development networks it is nothing.
type credit struct{ *keepers }

// asks says so to people.
const asks = "a levy of its work, or ten times that in duty pay: ticket_levy in the last ticket_days of hpips gov params; no bond yet"

// Check says why a node has not done enough, or nil.
func (c credit) Check(ctx context.Context, node sortition.Key) error {
	enough, err := c.reward.Earned(ctx, node)
	if err != nil || enough {
		return err
	}
	return errorsmod.Wrap(committee.ErrCredit, "its work has not yet brought the holders what a ticket needs")
}

// Forfeit takes nothing: there is no bond yet.
func (credit) Forfeit(context.Context, sortition.Key) error { return nil }

// Duty counts an epoch served in a seat, or a receipt that was used.
func (c credit) Duty(ctx context.Context, node sortition.Key, seats, receipts uint64) error {
	return c.reward.Duty(ctx, node, seats, receipts)
}
