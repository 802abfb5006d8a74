package bond

import (
	"context"

	"github.com/hpips/hpips/proto/gen/bondv1"
	"github.com/hpips/hpips/spec/sortition"
)

type msgs struct{ keeper Keeper }

var _ bondv1.MsgServer = msgs{}

// Leave asks for the bonds of the signer's node.
func (m msgs) Leave(ctx context.Context, msg *bondv1.MsgLeave) (*bondv1.MsgLeaveResponse, error) {
	node, err := sortition.KeyOf(msg.Node)
	if err != nil {
		return nil, ErrNode.Wrap(err.Error())
	}
	due, err := m.keeper.Leave(ctx, msg.Owner, node)
	if err != nil {
		return nil, err
	}
	return &bondv1.MsgLeaveResponse{Due: due}, nil
}

// Stay takes that back.
func (m msgs) Stay(ctx context.Context, msg *bondv1.MsgStay) (*bondv1.MsgStayResponse, error) {
	node, err := sortition.KeyOf(msg.Node)
	if err != nil {
		return nil, ErrNode.Wrap(err.Error())
	}
	if err := m.keeper.Stay(ctx, msg.Owner, node); err != nil {
		return nil, err
	}
	return &bondv1.MsgStayResponse{}, nil
}

// UpdateParams sets what a vote decided. A node that leaves already keeps its time until that is moved.
func (m msgs) UpdateParams(ctx context.Context, msg *bondv1.MsgUpdateParams) (*bondv1.MsgUpdateParamsResponse, error) {
	if msg.Authority != m.keeper.authority {
		return nil, ErrAuthority.Wrap("bond parameters")
	}
	if err := CheckParams(msg.Params); err != nil {
		return nil, err
	}
	return &bondv1.MsgUpdateParamsResponse{}, m.keeper.params.Set(ctx, msg.Params)
}
