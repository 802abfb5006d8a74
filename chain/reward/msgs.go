package reward

import (
	"context"

	"github.com/hpips/hpips/proto/gen/rewardv1"
)

type msgs struct{ keeper Keeper }

// Claim pays the signer's share of the holders' stream.
func (m msgs) Claim(ctx context.Context, msg *rewardv1.MsgClaim) (*rewardv1.MsgClaimResponse, error) {
	who, err := m.keeper.addresses.StringToBytes(msg.Holder)
	if err != nil {
		return nil, ErrHolder.Wrapf("%.100q: %v", msg.Holder, err)
	}
	amount, err := m.keeper.Claim(ctx, who)
	if err != nil {
		return nil, err
	}
	tell(ctx, "hpips_claim", "holder", msg.Holder, "amount", amount.String()+denom)
	return &rewardv1.MsgClaimResponse{Amount: amount}, nil
}

// UpdateParams sets what a vote decided. A day that has ended is paid by what was in force at its end.
func (m msgs) UpdateParams(ctx context.Context, msg *rewardv1.MsgUpdateParams) (*rewardv1.MsgUpdateParamsResponse, error) {
	if msg.Authority != m.keeper.authority {
		return nil, ErrAuthority.Wrap("reward parameters")
	}
	if err := CheckParams(msg.Params); err != nil {
		return nil, err
	}
	return &rewardv1.MsgUpdateParamsResponse{}, m.keeper.params.Set(ctx, msg.Params)
}
