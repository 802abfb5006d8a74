package committee

import (
	"context"
	"crypto/ed25519"
	"errors"

	"cosmossdk.io/collections"
	errorsmod "cosmossdk.io/errors"
	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/spec/sortition"
)

// Free messages pay nothing, so each is good once and carries a proof that costs more to make than to check. What is refused has a code.
//
//	message   proof                          good once because
//	Ticket    node's signature and receipts  a ticket is renewed in the later half of its days only; an applicant waits
//	Claim     VRF proof below the threshold  the claim is kept to the end of its epoch
//	StepDown  node's signature               the seat is marked, or gone

// CheckFree checks a free message for the ante handler. On its way into the mempool the message is checked in full and done on the state
// that is checked against, so that a second copy in other bytes is refused. In a block only its shape is checked, because the message
// server, which comes next, checks it in full in any case. Work is bounded by the rules and not by gas.
func (k Keeper) CheckFree(c context.Context, msg sdk.Msg) error {
	ctx := unmetered(c)
	mode := ctx.ExecMode()
	whole := mode == sdk.ExecModeCheck || mode == sdk.ExecModeReCheck
	switch m := msg.(type) {
	case *committeev1.MsgTicket:
		if !whole {
			return k.shapeTicket(m)
		}
		_, err := k.applyTicket(ctx, m)
		return err
	case *committeev1.MsgClaim:
		if !whole {
			return k.shapeClaim(m)
		}
		return k.applyClaim(ctx, m)
	case *committeev1.MsgStepDown:
		if !whole {
			return k.shapeStepDown(m)
		}
		return k.applyStepDown(ctx, m)
	}
	return errorsmod.Wrapf(ErrMalformed, "%T is not free", msg)
}

// unmetered lets the rules bound the work: a sender that has no account has no gas to buy either.
func unmetered(c context.Context) sdk.Context {
	return sdk.UnwrapSDKContext(c).WithGasMeter(storetypes.NewInfiniteGasMeter())
}

// sender checks that a message has a node's key, and that its sender is that key's address.
func (k Keeper) sender(sender string, node []byte) error {
	if len(node) != len(sortition.Key{}) {
		return errorsmod.Wrapf(ErrMalformed, "node key of %d bytes", len(node))
	}
	want, err := k.addresses.BytesToString(addressOf(node))
	if err != nil {
		return errorsmod.Wrap(ErrMalformed, err.Error())
	}
	if sender != want {
		return ErrSender
	}
	return nil
}

func (k Keeper) shapeTicket(m *committeev1.MsgTicket) error {
	if m == nil || len(m.Signature) != ed25519.SignatureSize || len(m.Receipts) > 64*64 {
		return ErrMalformed
	}
	for _, r := range m.Receipts {
		if len(r) == 0 || len(r) > sortition.MaxReceipt {
			return errorsmod.Wrapf(ErrMalformed, "receipt of %d bytes", len(r))
		}
	}
	return k.sender(m.Sender, m.Node)
}

// applyTicket takes out or renews a ticket and tells whether it is good at once. What costs little is checked first.
func (k Keeper) applyTicket(ctx sdk.Context, m *committeev1.MsgTicket) (bool, error) {
	if err := k.shapeTicket(m); err != nil {
		return false, err
	}
	params, err := k.Params(ctx)
	if err != nil {
		return false, err
	}
	b, err := k.beacon.Get(ctx)
	if err != nil {
		return false, err
	}
	if m.Slot > b.Slot || m.Slot+1 < b.Slot { // the one before is for messages that were under way
		return false, errorsmod.Wrapf(ErrSlot, "slot %d in slot %d", m.Slot, b.Slot)
	}
	id := sortition.Key(m.Node)
	n, err := k.mayApply(ctx, params, b, id)
	if err != nil {
		return false, err
	}
	word := sortition.Application{Chain: ctx.ChainID(), Node: id, Slot: m.Slot, Receipts: sortition.Digest(m.Receipts)}
	if err := word.Check(m.Signature); err != nil {
		return false, errorsmod.Wrap(ErrSignature, err.Error())
	}
	network, err := k.checkReceipts(ctx, params, id, m.Slot, m.Receipts)
	if err != nil {
		return false, err
	}
	good, err := k.takeOut(ctx, params, n, network)
	if err != nil {
		return false, err
	}
	return good, k.creditReceipts(ctx, m.Receipts)
}

// mayApply checks all that a node needs for a ticket but its receipts. It writes nothing.
func (k Keeper) mayApply(ctx sdk.Context, params committeev1.Params, b committeev1.Beacon, id sortition.Key) (Node, error) {
	n, err := k.activeNode(ctx, id)
	if err != nil {
		return n, err
	}
	w, err := k.waiting.Get(ctx, id[:])
	if err != nil && !errors.Is(err, collections.ErrNotFound) {
		return n, err
	}
	if err == nil && w.KeysHeight == n.KeysHeight && w.UntilDay >= b.Day {
		return n, ErrWaiting
	}
	t, err := k.ticket(ctx, id[:])
	if err != nil && !errors.Is(err, ErrTicket) {
		return n, err
	}
	renewal := err == nil && t.KeysHeight == n.KeysHeight && t.UntilDay >= b.Day
	if renewal && t.UntilDay-b.Day > uint64(params.TicketDays)/2 {
		return n, errorsmod.Wrapf(ErrEarly, "until day %d, this is day %d", t.UntilDay, b.Day)
	}
	e, err := k.epoch.Get(ctx)
	if err != nil {
		return n, err
	}
	age := seconds(ctx.BlockTime().Unix() - n.KeysTime.Unix())
	if !renewal && (age < uint64(params.KeyAgeDays)*params.DaySeconds || e.Number < n.KeysEpoch+uint64(params.KeyAgeEpochs)) {
		return n, ErrKeyAge
	}
	if err := k.credit.Check(ctx, id); err != nil {
		return n, errorsmod.Wrap(ErrCredit, err.Error())
	}
	return n, nil
}

func (k Keeper) shapeClaim(m *committeev1.MsgClaim) error {
	if m == nil || len(m.Proof) != len(sortition.Proof{}) {
		return ErrMalformed
	}
	return k.sender(m.Sender, m.Node)
}

// applyClaim takes a winning draw for the next turn.
func (k Keeper) applyClaim(ctx sdk.Context, m *committeev1.MsgClaim) error {
	if err := k.shapeClaim(m); err != nil {
		return err
	}
	params, err := k.Params(ctx)
	if err != nil {
		return err
	}
	b, err := k.beacon.Get(ctx)
	if err != nil {
		return err
	}
	e, err := k.epoch.Get(ctx)
	if err != nil {
		return err
	}
	if err := open(ctx, params, e, m.Epoch); err != nil {
		return err
	}
	if claimed, err := k.claims.Has(ctx, m.Node); err != nil {
		return err
	} else if claimed {
		return ErrTwice
	}
	id := sortition.Key(m.Node)
	t, _, err := k.goodTicket(ctx, id, b.Day)
	if err != nil {
		return err
	}
	if t.SinceHeight >= e.Opened {
		return ErrYoung
	}
	alpha := sortition.DrawAlpha(ctx.ChainID(), e.Number, sortition.Seed(e.DrawSeed))
	output, err := sortition.Verify(sortition.Key(t.VrfKey), alpha, sortition.Proof(m.Proof))
	if err != nil {
		return errorsmod.Wrap(ErrProof, err.Error())
	}
	tickets, err := k.inNetwork(ctx, t.Network)
	if err != nil {
		return err
	}
	rank := output.Output().Rank(tickets)
	if !rank.Below(sortition.Threshold(e.Threshold)) {
		return ErrThreshold
	}
	e.Claims++
	return errors.Join(
		k.epoch.Set(ctx, e), k.claims.Set(ctx, m.Node, committeev1.Claim{Node: m.Node, Rank: rank[:], Epoch: e.Number}),
	)
}

// open tells whether claims for an epoch may be in this block, or, on the way into the mempool, in the next.
func open(ctx sdk.Context, params committeev1.Params, e committeev1.Epoch, epoch uint64) error {
	if epoch != e.Number {
		return errorsmod.Wrapf(ErrEpoch, "epoch %d in epoch %d", epoch, e.Number)
	}
	height := ctx.BlockHeight()
	if mode := ctx.ExecMode(); mode == sdk.ExecModeCheck || mode == sdk.ExecModeReCheck {
		height++
	}
	if e.Opened == 0 || height <= e.Opened || uint64(height-e.Opened) >= params.ClaimBlocks {
		return errorsmod.Wrapf(ErrLate, "block %d of an epoch that opened at %d", height, e.Opened)
	}
	return nil
}

func (k Keeper) shapeStepDown(m *committeev1.MsgStepDown) error {
	if m == nil || len(m.Signature) != ed25519.SignatureSize {
		return ErrMalformed
	}
	return k.sender(m.Sender, m.Node)
}

// applyStepDown marks a seat: it leaves at the end of this block, or as soon as that is safe.
func (k Keeper) applyStepDown(ctx sdk.Context, m *committeev1.MsgStepDown) error {
	if err := k.shapeStepDown(m); err != nil {
		return err
	}
	e, err := k.epoch.Get(ctx)
	if err != nil {
		return err
	}
	if m.Epoch != e.Number {
		return errorsmod.Wrapf(ErrEpoch, "epoch %d in epoch %d", m.Epoch, e.Number)
	}
	s, err := k.seatOf(ctx, m.Node)
	if err != nil {
		return err
	}
	if s.Leaving {
		return ErrTwice
	}
	word := sortition.Resignation{Chain: ctx.ChainID(), Node: sortition.Key(m.Node), Epoch: m.Epoch}
	if err := word.Check(m.Signature); err != nil {
		return errorsmod.Wrap(ErrSignature, err.Error())
	}
	s.Leaving = true
	return k.seats.Set(ctx, m.Node, s)
}
