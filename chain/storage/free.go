package storage

import (
	"context"
	"crypto/ed25519"
	"slices"

	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/storagev1"
	"github.com/hpips/hpips/spec/proof"
	"github.com/hpips/hpips/spec/sortition"
)

// maxWitnesses is how many signatures one message has at most.
const maxWitnesses = 64

// CheckFree checks a free message for the ante handler, as chain/committee does with its own: in full on its way into the mempool, and when a block was made since, but for who may hold what, which takes a look at all that are there; by its shape in a block, where the message server comes next. Each is good
// once: a holder proves a day once, has a segment once, and holds nothing after a wrong answer; its proof is a signature of a registered node.
func (k Keeper) CheckFree(c context.Context, msg sdk.Msg) error {
	if err := k.shape(msg); err != nil {
		return err
	}
	ctx := unmetered(c)
	mode := ctx.ExecMode()
	if mode != sdk.ExecModeCheck && mode != sdk.ExecModeReCheck {
		return nil
	}
	switch m := msg.(type) {
	case *storagev1.MsgHold:
		if mode == sdk.ExecModeReCheck {
			return k.still(ctx, m)
		}
		return k.hold(ctx.WithValue(glance{}, true), m)
	case *storagev1.MsgKeep:
		if mode == sdk.ExecModeReCheck {
			return k.stillTakes(ctx, m)
		}
		return k.take(ctx.WithValue(glance{}, true), m)
	case *storagev1.MsgVouch:
		return k.vouch(ctx, m)
	case *storagev1.MsgProve:
		return k.prove(ctx, m)
	case *storagev1.MsgAccuse:
		return k.accuse(ctx, m)
	}
	return nil // shape knows no other
}

// unmetered lets the rules bound the work: a sender that has no account has no gas to buy either.
func unmetered(c context.Context) sdk.Context {
	return sdk.UnwrapSDKContext(c).WithGasMeter(storetypes.NewInfiniteGasMeter())
}

// shape tells whether a message could be good at all, without looking at the state.
func (k Keeper) shape(msg sdk.Msg) error {
	switch m := msg.(type) {
	case *storagev1.MsgHold:
		if len(m.Node) != len(sortition.Key{}) || len(m.Signature) != ed25519.SignatureSize || len(m.Segments) > proof.MaxHold || !rising(m.Segments) {
			return ErrMalformed
		}
		return k.sent(m.Sender, sortition.Key(m.Node))
	case *storagev1.MsgKeep:
		if len(m.Node) != len(sortition.Key{}) || len(m.Signature) != ed25519.SignatureSize || len(m.Parts) > proof.MaxHold || m.Offer > 0 && (m.Leaves || len(m.Parts) > 0) {
			return ErrMalformed
		}
		return k.sent(m.Sender, sortition.Key(m.Node))
	case *storagev1.MsgVouch:
		if len(m.Node) != len(sortition.Key{}) || len(m.Witnesses) == 0 || len(m.Witnesses) > maxWitnesses || slices.ContainsFunc(m.Witnesses, malformed) {
			return ErrMalformed
		}
		return k.sent(m.Sender, sortition.Key(m.Node))
	case *storagev1.MsgProve:
		return limited(m.Answer)
	case *storagev1.MsgAccuse:
		return limited(m.Answer)
	}
	return ErrMalformed.Wrapf("%T is not free", msg)
}

func rising(list []uint64) bool {
	last := uint64(0)
	for _, n := range list {
		if n <= last {
			return false
		}
		last = n
	}
	return true
}

func malformed(w storagev1.Witness) bool {
	return len(w.Auditor) != len(sortition.Key{}) || len(w.Signature) != ed25519.SignatureSize
}

func limited(answer []byte) error {
	if len(answer) == 0 || len(answer) > proof.MaxAnswer {
		return ErrMalformed.Wrapf("answer of %d bytes, at most %d", len(answer), proof.MaxAnswer)
	}
	return nil
}

// sent tells whether a message comes in a node's name.
func (k Keeper) sent(sender string, node sortition.Key) error {
	want, err := k.addresses.BytesToString(node.Address())
	if err != nil {
		return ErrMalformed.Wrap(err.Error())
	}
	if sender != want {
		return ErrSender
	}
	return nil
}
