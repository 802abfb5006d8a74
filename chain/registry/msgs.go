package registry

import (
	"context"

	"github.com/hpips/hpips/proto/gen/registryv1"
)

type msgs struct{ keeper Keeper }

// Register takes a node in.
func (m msgs) Register(ctx context.Context, msg *registryv1.MsgRegister) (*registryv1.MsgRegisterResponse, error) {
	if err := m.keeper.Register(ctx, msg); err != nil {
		return nil, err
	}
	return &registryv1.MsgRegisterResponse{}, nil
}

// ChangeKeys gives a node other keys. The message is the same, and so is what must be proven.
func (m msgs) ChangeKeys(ctx context.Context, msg *registryv1.MsgChangeKeys) (*registryv1.MsgChangeKeysResponse, error) {
	if err := m.keeper.ChangeKeys(ctx, (*registryv1.MsgRegister)(msg)); err != nil {
		return nil, err
	}
	return &registryv1.MsgChangeKeysResponse{}, nil
}

// Describe sets the digest of a node's inventory.
func (m msgs) Describe(ctx context.Context, msg *registryv1.MsgDescribe) (*registryv1.MsgDescribeResponse, error) {
	if err := m.keeper.Describe(ctx, msg.Owner, msg.Node, msg.Capabilities); err != nil {
		return nil, err
	}
	return &registryv1.MsgDescribeResponse{}, nil
}

// Retire takes a node out.
func (m msgs) Retire(ctx context.Context, msg *registryv1.MsgRetire) (*registryv1.MsgRetireResponse, error) {
	if err := m.keeper.Retire(ctx, msg.Owner, msg.Node); err != nil {
		return nil, err
	}
	return &registryv1.MsgRetireResponse{}, nil
}

// UpdateParams sets what a vote decided.
func (m msgs) UpdateParams(ctx context.Context, msg *registryv1.MsgUpdateParams) (*registryv1.MsgUpdateParamsResponse, error) {
	if msg.Authority != m.keeper.authority {
		return nil, ErrAuthority.Wrap("registry parameters")
	}
	if err := CheckParams(msg.Params); err != nil {
		return nil, err
	}
	if err := m.keeper.params.Set(ctx, msg.Params); err != nil {
		return nil, err
	}
	return &registryv1.MsgUpdateParamsResponse{}, nil
}
