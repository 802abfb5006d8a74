package chain

import (
	"bytes"
	"fmt"

	errorsmod "cosmossdk.io/errors"
	"github.com/cosmos/cosmos-sdk/store/v2/rootmulti"
	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	sdkerrors "github.com/cosmos/cosmos-sdk/types/errors"
	authante "github.com/cosmos/cosmos-sdk/x/auth/ante"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/hpips/hpips/chain/escrow"
	archivev1 "github.com/hpips/hpips/proto/gen/archivev1"
	auditv1 "github.com/hpips/hpips/proto/gen/auditv1"
	committeev1 "github.com/hpips/hpips/proto/gen/committeev1"
	escrowv1 "github.com/hpips/hpips/proto/gen/escrowv1"
	storagev1 "github.com/hpips/hpips/proto/gen/storagev1"
)

// Gas that a free message may use, what looking at one costs, and what each byte of it costs. Nobody pays it; it bounds what the block around
// it does: more than a thousand of them fill it.
const (
	FreeGas        = 1_000_000
	freeGasEach    = 50_000
	freeGasPerByte = 10
)

// newAnte makes the gate that every transaction passes before it is kept, passed on or run.
//
// An ordinary transaction goes through the SDK's checks: size, fee, signatures, sequence. A free message (a ticket, a claim, a stepping
// down, what jurors found, what seats made of the blocks) has its proof inside and needs no account: it comes alone, in the one form that FreeTx gives it, so that nobody can multiply
// it by changing bytes that no proof covers. The committee checks the proof, and that it is good once, before it is passed on.
func (a *App) newAnte() (sdk.AnteHandler, error) {
	k := &a.keepers
	standard, err := authante.NewAnteHandler(authante.HandlerOptions{
		AccountKeeper:   k.account,
		BankKeeper:      k.bank,
		FeegrantKeeper:  k.feegrant,
		SignModeHandler: a.codec.Tx.SignModeHandler(),
		SigGasConsumer:  authante.DefaultSigVerificationGasConsumer,
	})
	if err != nil {
		return nil, err
	}
	return func(ctx sdk.Context, tx sdk.Tx, simulate bool) (sdk.Context, error) {
		ctx = a.atHead(ctx)
		messages := tx.GetMsgs()
		for _, message := range messages {
			redeems, pays := message.(*escrowv1.MsgRedeem)
			if !isFree(message) && !pays {
				continue
			}
			if len(messages) > 1 {
				return bare(ctx), errorsmod.Wrapf(sdkerrors.ErrInvalidRequest, "%s comes alone in its transaction", sdk.MsgTypeURL(message))
			}
			if pays {
				return a.anteRedeem(ctx, redeems)
			}
			return a.anteFree(ctx, message)
		}
		if err := known(tx); err != nil {
			return bare(ctx), err
		}
		return standard(ctx, tx, simulate)
	}, nil
}

// atHead gives a check the height and the time of the last block. The SDK's base begins its life without them, and would look at transactions as if it were
// the year 1 until this process has seen a block: on a quiet chain for a whole heartbeat. A block brings its own, and is left as it is.
func (a *App) atHead(ctx sdk.Context) sdk.Context {
	store, ok := a.CommitMultiStore().(*rootmulti.Store)
	if !ctx.BlockTime().IsZero() || !ok {
		return ctx
	}
	info, err := store.GetCommitInfo(a.LastBlockHeight())
	if err != nil || info.Timestamp.IsZero() {
		return ctx // there was no block yet
	}
	return ctx.WithBlockHeight(a.LastBlockHeight()).WithBlockTime(info.Timestamp)
}

// bare is what a transaction gets that was refused at sight: no gas.
func bare(ctx sdk.Context) sdk.Context { return ctx.WithGasMeter(storetypes.NewGasMeter(0)) }

// anteFree checks a free message. It is the same when the transaction comes in, is checked again after a block, and runs.
func (a *App) anteFree(ctx sdk.Context, message sdk.Msg) (sdk.Context, error) {
	return a.anteProven(ctx, message, FreeGas, func(next sdk.Context) error {
		next.GasMeter().ConsumeGas(freeGasEach, "free message")
		switch message.(type) {
		case *auditv1.MsgAttest, *auditv1.MsgDispute, *auditv1.MsgCommit, *auditv1.MsgReveal:
			return a.keepers.audit.CheckFree(next, message)
		case *archivev1.MsgSegment:
			return a.keepers.archive.CheckFree(next, message)
		case *storagev1.MsgHold, *storagev1.MsgKeep, *storagev1.MsgVouch, *storagev1.MsgProve, *storagev1.MsgAccuse:
			return a.keepers.storage.CheckFree(next, message)
		}
		return a.keepers.committee.CheckFree(next, message)
	})
}

// anteRedeem checks a redemption. It has no account either, and its proofs inside; but it pays, out of what it redeems, and so does not count to
// the part of a block that is for free messages.
func (a *App) anteRedeem(ctx sdk.Context, m *escrowv1.MsgRedeem) (sdk.Context, error) {
	gas := FreeGas + escrow.RedeemGas(len(m.Claims))
	return a.anteProven(ctx, m, gas, func(next sdk.Context) error { return a.keepers.escrow.CheckRedeem(next, m) })
}

// anteProven checks a message that carries its own proofs.
func (a *App) anteProven(ctx sdk.Context, message sdk.Msg, gas storetypes.Gas, check func(sdk.Context) error) (next sdk.Context, err error) {
	next = ctx.WithGasMeter(storetypes.NewGasMeter(gas))
	defer func() {
		if r := recover(); r != nil {
			out, ok := r.(storetypes.ErrorOutOfGas)
			if !ok {
				panic(r)
			}
			err = errorsmod.Wrapf(sdkerrors.ErrOutOfGas, "message without an account: %v", out.Descriptor)
		}
	}()
	want, err := FreeTx(a.codec, message)
	if err != nil {
		return next, err
	}
	if !bytes.Equal(ctx.TxBytes(), want) {
		return next, errorsmod.Wrap(sdkerrors.ErrInvalidRequest, "a message without an account carries no fee, gas, memo, time-out or signature of one")
	}
	next.GasMeter().ConsumeGas(freeGasPerByte*storetypes.Gas(len(want)), "size of a message without an account")
	return next, check(next)
}

// FreeTx gives the only bytes in which a free message is taken.
func FreeTx(codec Codec, message sdk.Msg) ([]byte, error) {
	builder := codec.Tx.NewTxBuilder()
	if err := builder.SetMsgs(message); err != nil {
		return nil, errorsmod.Wrap(sdkerrors.ErrInvalidRequest, err.Error())
	}
	bytes, err := codec.Tx.TxEncoder()(builder.GetTx())
	if err != nil {
		return nil, errorsmod.Wrap(sdkerrors.ErrTxDecode, err.Error())
	}
	return bytes, nil
}

// isFree tells whether a message needs no account.
func isFree(message sdk.Msg) bool {
	switch message.(type) {
	case *committeev1.MsgTicket, *committeev1.MsgClaim, *committeev1.MsgStepDown,
		*auditv1.MsgAttest, *auditv1.MsgDispute, *auditv1.MsgCommit, *auditv1.MsgReveal,
		*archivev1.MsgSegment,
		*storagev1.MsgHold, *storagev1.MsgKeep, *storagev1.MsgVouch, *storagev1.MsgProve, *storagev1.MsgAccuse:
		return true
	}
	return false
}

// freeNames are the names of the free messages, as they stand in a transaction's bytes.
func freeNames() [12]string {
	return [12]string{"/hpips.committee.v1.MsgTicket", "/hpips.committee.v1.MsgClaim", "/hpips.committee.v1.MsgStepDown",
		"/hpips.audit.v1.MsgAttest", "/hpips.audit.v1.MsgDispute", "/hpips.audit.v1.MsgCommit", "/hpips.audit.v1.MsgReveal", "/hpips.archive.v1.MsgSegment",
		"/hpips.storage.v1.MsgHold", "/hpips.storage.v1.MsgVouch", "/hpips.storage.v1.MsgProve", "/hpips.storage.v1.MsgAccuse"}
}

// looksFree tells from the first bytes of a transaction whether it is a free message, without decoding it whole: proposals hold
// thousands. What hides a free message behind another one is refused when it runs.
func looksFree(tx []byte) bool {
	name := string(field(field(field(tx, 1), 1), 1)) // TxRaw.body_bytes, TxBody.messages, Any.type_url
	for _, free := range freeNames() {
		if name == free {
			return true
		}
	}
	return false
}

// field gives the first occurrence of a field of bytes in a protobuf message, if it is the message's first field.
func field(message []byte, number protowire.Number) []byte {
	got, kind, n := protowire.ConsumeTag(message)
	if n < 0 || got != number || kind != protowire.BytesType {
		return nil
	}
	value, m := protowire.ConsumeBytes(message[n:])
	if m < 0 {
		return nil
	}
	return value
}

// known refuses fees in what is not this chain's money; amounts in messages are refused by the bank, which can send nothing else.
func known(tx sdk.Tx) error {
	paying, ok := tx.(sdk.FeeTx)
	if !ok {
		return errorsmod.Wrap(sdkerrors.ErrTxDecode, "transaction without a fee field")
	}
	for _, coin := range paying.GetFee() {
		if coin.Denom != Base {
			return errorsmod.Wrap(sdkerrors.ErrInvalidCoins, fmt.Sprintf("fee in %q: this chain knows %s only", coin.Denom, Base))
		}
		if coin.Amount.IsNil() || !coin.Amount.IsPositive() || coin.Amount.BigInt().BitLen() > 64 {
			return errorsmod.Wrap(sdkerrors.ErrInvalidCoins, "fee out of range")
		}
	}
	return nil
}
