package supply

import (
	"context"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/supplyv1"
)

type msgs struct{ keeper Keeper }

// Release pays out of one of the accounts; the word of the authority is a vote's outcome.
func (m msgs) Release(ctx context.Context, msg *supplyv1.MsgRelease) (*supplyv1.MsgReleaseResponse, error) {
	if msg.Authority != m.keeper.authority {
		return nil, ErrAuthority.Wrap("release")
	}
	to, err := m.keeper.codec.StringToBytes(msg.To)
	if err != nil {
		return nil, ErrReceiver.Wrapf("%.100q: %v", msg.To, err)
	}
	if err := m.keeper.Release(ctx, msg.From, to, msg.Amount); err != nil {
		return nil, err
	}
	sdk.UnwrapSDKContext(ctx).EventManager().EmitEvent(sdk.NewEvent("hpips_release",
		sdk.NewAttribute("from", msg.From), sdk.NewAttribute("to", msg.To), sdk.NewAttribute("amount", msg.Amount.String()+Denom)))
	return &supplyv1.MsgReleaseResponse{}, nil
}

// Burn destroys the signer's own HPIPS.
func (m msgs) Burn(ctx context.Context, msg *supplyv1.MsgBurn) (*supplyv1.MsgBurnResponse, error) {
	holder, err := m.keeper.codec.StringToBytes(msg.Holder)
	if err != nil {
		return nil, ErrHolder.Wrapf("%.100q: %v", msg.Holder, err)
	}
	if err := m.keeper.Burn(ctx, holder, msg.Amount); err != nil {
		return nil, err
	}
	sdk.UnwrapSDKContext(ctx).EventManager().EmitEvent(sdk.NewEvent("hpips_burn",
		sdk.NewAttribute("holder", msg.Holder), sdk.NewAttribute("amount", msg.Amount.String()+Denom)))
	return &supplyv1.MsgBurnResponse{}, nil
}
