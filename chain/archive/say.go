package archive

import (
	"context"
	"crypto/ed25519"
	"errors"
	"slices"

	"cosmossdk.io/collections"
	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/archivev1"
	"github.com/hpips/hpips/spec/sortition"
)

// CheckFree checks a free message for the ante handler, as chain/committee does with its own: in full on its way into the mempool, by its shape in a block, where the message server comes next. It is good once because a seat speaks
// once in an epoch about an entry; its proof is the signature of a node that sits.
func (k Keeper) CheckFree(c context.Context, msg sdk.Msg) error {
	m, ok := msg.(*archivev1.MsgSegment)
	if !ok {
		return ErrMalformed.Wrapf("%T is not free", msg)
	}
	ctx := unmetered(c)
	if mode := ctx.ExecMode(); mode != sdk.ExecModeCheck && mode != sdk.ExecModeReCheck {
		return k.shape(m)
	}
	return k.say(ctx, m)
}

// unmetered lets the rules bound the work: a sender that has no account has no gas to buy either.
func unmetered(c context.Context) sdk.Context {
	return sdk.UnwrapSDKContext(c).WithGasMeter(storetypes.NewInfiniteGasMeter())
}

func (k Keeper) shape(m *archivev1.MsgSegment) error {
	if m == nil || len(m.Node) != len(sortition.Key{}) || len(m.Signature) != ed25519.SignatureSize {
		return ErrMalformed
	}
	if _, err := entryOf(m.Entry); err != nil {
		return err
	}
	want, err := k.addresses.BytesToString(sortition.Key(m.Node).Address())
	if err != nil {
		return ErrMalformed.Wrap(err.Error())
	}
	if m.Sender != want {
		return ErrSender
	}
	return nil
}

// say takes what a seat made:
//
//  1. It is about the next entry, and about blocks that are decided.
//  2. The node sits, and has not spoken about it in this epoch. In a later one it may speak again: who made something else than the others makes it anew.
//  3. The node signed it for this epoch: nobody says again for it what it said before.
//  4. More than two thirds of those who sit now say the same: it is recorded.
func (k Keeper) say(ctx sdk.Context, m *archivev1.MsgSegment) error {
	if err := k.shape(m); err != nil {
		return err
	}
	number, from, err := k.Next(ctx) // 1
	if err != nil {
		return err
	}
	if m.Entry.Number != number || m.Entry.From != from {
		return ErrNext.Wrapf("number %d from block %d, not %d from block %d", number, from, m.Entry.Number, m.Entry.From)
	}
	if head := ctx.BlockHeight(); m.Entry.To > head {
		return ErrFuture.Wrapf("block %d after %d", m.Entry.To, head)
	}
	sitting, err := k.committee.Sitting(ctx) // 2
	if err != nil {
		return err
	}
	node := sortition.Key(m.Node)
	if !slices.Contains(sitting, node) {
		return ErrSeat
	}
	epoch := k.committee.Epoch(ctx)
	if m.Epoch != epoch {
		return ErrEpoch.Wrapf("epoch %d in epoch %d", m.Epoch, epoch)
	}
	before, err := k.words.Get(ctx, m.Node)
	switch {
	case err != nil && !errors.Is(err, collections.ErrNotFound):
		return err
	case err == nil && before.Epoch == epoch:
		return ErrTwice
	}
	e, err := entryOf(m.Entry) // 3
	if err != nil {
		return err
	}
	if err := e.CheckSigned(ctx.ChainID(), m.Epoch, node, m.Signature); err != nil {
		return ErrSignature.Wrap(err.Error())
	}
	if err := k.words.Set(ctx, m.Node, archivev1.Word{Node: m.Node, Epoch: epoch, Entry: m.Entry}); err != nil {
		return err
	}
	alike := 0 // 4
	for _, s := range sitting {
		w, err := k.words.Get(ctx, s[:])
		switch {
		case errors.Is(err, collections.ErrNotFound):
		case err != nil:
			return err
		case w.Entry.Equal(m.Entry):
			alike++
		}
	}
	if 3*alike <= 2*len(sitting) {
		return nil
	}
	return k.record(ctx, m.Entry)
}
