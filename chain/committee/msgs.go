package committee

import (
	"context"

	errorsmod "cosmossdk.io/errors"

	"github.com/hpips/hpips/proto/gen/committeev1"
)

type msgs struct{ k Keeper }

var _ committeev1.MsgServer = msgs{}

// Ticket takes out or renews a node's one ticket.
func (s msgs) Ticket(ctx context.Context, m *committeev1.MsgTicket) (*committeev1.MsgTicketResponse, error) {
	good, err := s.k.applyTicket(unmetered(ctx), m)
	if err != nil {
		return nil, err
	}
	return &committeev1.MsgTicketResponse{Good: good}, nil
}

// Claim brings a winning draw forward.
func (s msgs) Claim(ctx context.Context, m *committeev1.MsgClaim) (*committeev1.MsgClaimResponse, error) {
	if err := s.k.applyClaim(unmetered(ctx), m); err != nil {
		return nil, err
	}
	return &committeev1.MsgClaimResponse{}, nil
}

// StepDown asks to leave the seat.
func (s msgs) StepDown(ctx context.Context, m *committeev1.MsgStepDown) (*committeev1.MsgStepDownResponse, error) {
	if err := s.k.applyStepDown(unmetered(ctx), m); err != nil {
		return nil, err
	}
	return &committeev1.MsgStepDownResponse{}, nil
}

// UpdateParams is governance's alone.
func (s msgs) UpdateParams(ctx context.Context, m *committeev1.MsgUpdateParams) (*committeev1.MsgUpdateParamsResponse, error) {
	if m.Authority != s.k.authority {
		return nil, errorsmod.Wrapf(ErrAuthority, "%q is not it", m.Authority)
	}
	if err := s.k.setParams(ctx, m.Params); err != nil {
		return nil, err
	}
	return &committeev1.MsgUpdateParamsResponse{}, nil
}
