package escrow

import (
	"context"

	"github.com/hpips/hpips/proto/gen/escrowv1"
)

type msgs struct{ keeper Keeper }

var _ escrowv1.MsgServer = msgs{}

// Open takes deposits for leases.
func (m msgs) Open(ctx context.Context, msg *escrowv1.MsgOpen) (*escrowv1.MsgOpenResponse, error) {
	if err := m.keeper.Open(ctx, msg.Payer, msg.Deposits); err != nil {
		return nil, err
	}
	return &escrowv1.MsgOpenResponse{}, nil
}

// TopUp adds to deposits, or moves ends of terms out.
func (m msgs) TopUp(ctx context.Context, msg *escrowv1.MsgTopUp) (*escrowv1.MsgTopUpResponse, error) {
	if err := m.keeper.TopUp(ctx, msg.Payer, msg.Additions); err != nil {
		return nil, err
	}
	return &escrowv1.MsgTopUpResponse{}, nil
}

// Close ends leases early.
func (m msgs) Close(ctx context.Context, msg *escrowv1.MsgClose) (*escrowv1.MsgCloseResponse, error) {
	if err := m.keeper.Close(ctx, msg.Party, msg.Leases); err != nil {
		return nil, err
	}
	return &escrowv1.MsgCloseResponse{}, nil
}

// Redeem takes what vouchers promise.
func (m msgs) Redeem(ctx context.Context, msg *escrowv1.MsgRedeem) (*escrowv1.MsgRedeemResponse, error) {
	if err := m.keeper.Redeem(ctx, msg); err != nil {
		return nil, err
	}
	return &escrowv1.MsgRedeemResponse{}, nil
}

// UpdateParams sets what a vote decided.
func (m msgs) UpdateParams(ctx context.Context, msg *escrowv1.MsgUpdateParams) (*escrowv1.MsgUpdateParamsResponse, error) {
	if msg.Authority != m.keeper.authority {
		return nil, ErrAuthority.Wrap("escrow parameters")
	}
	if err := CheckParams(msg.Params); err != nil {
		return nil, err
	}
	if err := m.keeper.params.Set(ctx, msg.Params); err != nil {
		return nil, err
	}
	return &escrowv1.MsgUpdateParamsResponse{}, nil
}
