package storage

import (
	"context"
	"encoding/json"
	"fmt"

	"cosmossdk.io/collections"
	"google.golang.org/grpc"

	"github.com/cosmos/cosmos-sdk/codec"
	"github.com/cosmos/cosmos-sdk/codec/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/msgservice"

	"github.com/hpips/hpips/proto/gen/storagev1"
	"github.com/hpips/hpips/spec/sortition"
)

// Module is what the chain mounts. Its schema is the whole genesis.
type Module struct {
	collections.Schema
	keeper Keeper
}

// NewModule mounts a keeper.
func NewModule(k Keeper) Module { return Module{Schema: k.schema, keeper: k} }

// RegisterServices offers messages and queries.
func (m Module) RegisterServices(r grpc.ServiceRegistrar) error {
	storagev1.RegisterMsgServer(r, msgs{m.keeper})
	storagev1.RegisterQueryServer(r, queries{m.keeper})
	return nil
}

// RegisterInterfaces names the messages to the codec.
func (Module) RegisterInterfaces(r types.InterfaceRegistry) {
	msgservice.RegisterMsgServiceDesc(r, &storagev1.Msg_serviceDesc)
}

// ConsensusVersion counts the changes of what is stored.
func (Module) ConsensusVersion() uint64 { return 1 }

// Genesis is the module's part of a new chain's genesis, in the form of the schema: its parameters, and nobody holds anything.
func Genesis(p storagev1.Params) (json.RawMessage, error) {
	if err := CheckParams(p); err != nil {
		return nil, fmt.Errorf("genesis of storage: %w", err)
	}
	value, err := codec.ProtoMarshalJSON(&p, nil)
	if err != nil {
		return nil, fmt.Errorf("genesis of storage: %w", err)
	}
	type entry struct {
		Key   string          `json:"key"`
		Value json.RawMessage `json:"value"`
	}
	rows := map[string][]entry{"params": {{"item", value}}}
	for _, empty := range []string{"holders", "rows", "copies", "asked", "shares", "served"} {
		rows[empty] = []entry{}
	}
	return json.Marshal(rows)
}

type msgs struct{ keeper Keeper }

var _ storagev1.MsgServer = msgs{}

// Hold takes what a holder says.
func (m msgs) Hold(ctx context.Context, msg *storagev1.MsgHold) (*storagev1.MsgHoldResponse, error) {
	return &storagev1.MsgHoldResponse{}, m.keeper.hold(unmetered(ctx), msg)
}

// Keep takes what a holder says of parts of deals.
func (m msgs) Keep(ctx context.Context, msg *storagev1.MsgKeep) (*storagev1.MsgKeepResponse, error) {
	return &storagev1.MsgKeepResponse{}, m.keeper.take(unmetered(ctx), msg)
}

// Vouch takes what auditors say.
func (m msgs) Vouch(ctx context.Context, msg *storagev1.MsgVouch) (*storagev1.MsgVouchResponse, error) {
	return &storagev1.MsgVouchResponse{}, m.keeper.vouch(unmetered(ctx), msg)
}

// Prove takes an answer.
func (m msgs) Prove(ctx context.Context, msg *storagev1.MsgProve) (*storagev1.MsgProveResponse, error) {
	return &storagev1.MsgProveResponse{}, m.keeper.prove(unmetered(ctx), msg)
}

// Accuse takes a wrong answer.
func (m msgs) Accuse(ctx context.Context, msg *storagev1.MsgAccuse) (*storagev1.MsgAccuseResponse, error) {
	return &storagev1.MsgAccuseResponse{}, m.keeper.accuse(unmetered(ctx), msg)
}

// Doubt makes a holder answer on the chain.
func (m msgs) Doubt(ctx context.Context, msg *storagev1.MsgDoubt) (*storagev1.MsgDoubtResponse, error) {
	node, err := sortition.KeyOf(msg.Node)
	if err != nil {
		return nil, ErrMalformed.Wrap(err.Error())
	}
	day, err := m.keeper.doubt(ctx, node)
	return &storagev1.MsgDoubtResponse{Day: day}, err
}

// UpdateParams sets what a vote decided.
func (m msgs) UpdateParams(ctx context.Context, msg *storagev1.MsgUpdateParams) (*storagev1.MsgUpdateParamsResponse, error) {
	if msg.Authority != m.keeper.authority {
		return nil, ErrAuthority.Wrap("storage parameters")
	}
	if err := CheckParams(msg.Params); err != nil {
		return nil, err
	}
	return &storagev1.MsgUpdateParamsResponse{}, m.keeper.params.Set(sdk.UnwrapSDKContext(ctx), msg.Params)
}

// Msgs takes messages as the chain does.
func (k Keeper) Msgs() storagev1.MsgServer { return msgs{k} }

// Queries answers questions as the chain does.
func (k Keeper) Queries() storagev1.QueryServer { return queries{k} }
