package audit

import (
	"context"

	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/auditv1"
	"github.com/hpips/hpips/spec/sortition"
)

// Free messages pay nothing, so each is good once and carries a proof that costs more to make than to check.
//
//	message  proof                                  good once because
//	Attest   the payer's signature, jurors' proofs  panels are attested in order
//	Dispute  the payer's signature, a leaf's path   each attempt at a leaf is good once, and a lease pays its jury
//	Commit   VRF proof below the threshold          a juror commits itself once in a dispute
//	Reveal   what opens the commitment              it is opened once

// JurorGas is what each juror whose proof is in a message costs.
const JurorGas = 20_000

// CheckFree checks a free message for the ante handler. On its way into the mempool it is checked in full and done on the state that is checked against, so that a second copy in other
// bytes is refused. In a block only its shape is checked, because the message server, which comes next, checks it in full in any case.
func (k Keeper) CheckFree(c context.Context, msg sdk.Msg) error {
	metered := sdk.UnwrapSDKContext(c)
	ctx := metered.WithGasMeter(storetypes.NewInfiniteGasMeter())
	mode := ctx.ExecMode()
	whole := mode == sdk.ExecModeCheck || mode == sdk.ExecModeReCheck
	jurors := 1
	var shape, do func() error
	switch m := msg.(type) {
	case *auditv1.MsgAttest:
		for _, p := range m.Panels {
			jurors += len(p.Voices)
		}
		shape, do = func() error { return k.shapeAttest(m) }, func() error { return k.attest(ctx, m) }
	case *auditv1.MsgDispute:
		jurors += len(m.Witnesses)
		shape, do = func() error { return k.shapeDispute(m) }, func() error { _, err := k.dispute(ctx, m); return err }
	case *auditv1.MsgCommit:
		shape, do = func() error { return k.shapeCommit(m) }, func() error { return k.commit(ctx, m) }
	case *auditv1.MsgReveal:
		shape, do = func() error { return k.shapeReveal(m) }, func() error { return k.reveal(ctx, m) }
	default:
		return ErrMalformed.Wrapf("%T is not free", msg)
	}
	metered.GasMeter().ConsumeGas(JurorGas*uint64(jurors), "jurors' proofs")
	if !whole {
		return shape()
	}
	return do()
}

// sender checks that a message has a node's key, and that its sender is that key's address.
func (k Keeper) sender(sender string, node []byte) error {
	if len(node) != 32 {
		return ErrMalformed.Wrapf("node key of %d bytes", len(node))
	}
	want, err := k.addresses.BytesToString(sortition.Key(node).Address())
	if err != nil {
		return ErrMalformed.Wrap(err.Error())
	}
	if sender != want {
		return ErrSender
	}
	return nil
}
