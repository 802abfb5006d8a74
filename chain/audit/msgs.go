package audit

import (
	"context"

	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/auditv1"
)

type msgs struct{ keeper Keeper }

var _ auditv1.MsgServer = msgs{}

// unmetered lets the rules bound the work: a sender that has no account has no gas to buy either.
func unmetered(c context.Context) sdk.Context {
	return sdk.UnwrapSDKContext(c).WithGasMeter(storetypes.NewInfiniteGasMeter())
}

// Attest takes what jurors found.
func (m msgs) Attest(ctx context.Context, msg *auditv1.MsgAttest) (*auditv1.MsgAttestResponse, error) {
	return &auditv1.MsgAttestResponse{}, m.keeper.attest(unmetered(ctx), msg)
}

// Dispute takes a question about a leaf.
func (m msgs) Dispute(ctx context.Context, msg *auditv1.MsgDispute) (*auditv1.MsgDisputeResponse, error) {
	id, err := m.keeper.dispute(unmetered(ctx), msg)
	return &auditv1.MsgDisputeResponse{Id: id}, err
}

// Commit takes a juror's commitment.
func (m msgs) Commit(ctx context.Context, msg *auditv1.MsgCommit) (*auditv1.MsgCommitResponse, error) {
	return &auditv1.MsgCommitResponse{}, m.keeper.commit(unmetered(ctx), msg)
}

// Reveal takes its answer.
func (m msgs) Reveal(ctx context.Context, msg *auditv1.MsgReveal) (*auditv1.MsgRevealResponse, error) {
	return &auditv1.MsgRevealResponse{}, m.keeper.reveal(unmetered(ctx), msg)
}

// UpdateParams sets what a vote decided. What is open goes on with the times that it has.
func (m msgs) UpdateParams(ctx context.Context, msg *auditv1.MsgUpdateParams) (*auditv1.MsgUpdateParamsResponse, error) {
	if msg.Authority != m.keeper.authority {
		return nil, ErrAuthority.Wrap("audit parameters")
	}
	if err := CheckParams(msg.Params); err != nil {
		return nil, err
	}
	return &auditv1.MsgUpdateParamsResponse{}, m.keeper.params.Set(ctx, msg.Params)
}
