package exchange

import (
	"context"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/exchangev1"
)

type msgs struct{ keeper Keeper }

// Place opens an order.
func (m msgs) Place(ctx context.Context, msg *exchangev1.MsgPlace) (*exchangev1.MsgPlaceResponse, error) {
	id, err := m.keeper.Place(ctx, msg)
	if err != nil {
		return nil, err
	}
	return &exchangev1.MsgPlaceResponse{Id: id}, nil
}

// Cancel takes an order back, and what it holds with it.
func (m msgs) Cancel(ctx context.Context, msg *exchangev1.MsgCancel) (*exchangev1.MsgCancelResponse, error) {
	if err := m.keeper.Cancel(ctx, msg.Owner, msg.Id); err != nil {
		return nil, err
	}
	return &exchangev1.MsgCancelResponse{}, nil
}

// Admit takes an asset in, as a vote decided.
func (m msgs) Admit(ctx context.Context, msg *exchangev1.MsgAdmit) (*exchangev1.MsgAdmitResponse, error) {
	if msg.Authority != m.keeper.authority {
		return nil, ErrAuthority.Wrap("admit an asset")
	}
	a := exchangev1.Asset{Denom: msg.Denom, Name: msg.Name, Decimals: msg.Decimals}
	if err := m.keeper.Admit(ctx, a, msg.FirstPrice); err != nil {
		return nil, err
	}
	sdk.UnwrapSDKContext(ctx).EventManager().EmitEvent(sdk.NewEvent("hpips_asset", sdk.NewAttribute("denom", a.Denom), sdk.NewAttribute("name", a.Name)))
	return &exchangev1.MsgAdmitResponse{}, nil
}

// UpdateParams sets what a vote decided.
func (m msgs) UpdateParams(ctx context.Context, msg *exchangev1.MsgUpdateParams) (*exchangev1.MsgUpdateParamsResponse, error) {
	if msg.Authority != m.keeper.authority {
		return nil, ErrAuthority.Wrap("exchange parameters")
	}
	if err := CheckParams(msg.Params); err != nil {
		return nil, err
	}
	if err := m.keeper.params.Set(ctx, msg.Params); err != nil {
		return nil, err
	}
	return &exchangev1.MsgUpdateParamsResponse{}, nil
}
