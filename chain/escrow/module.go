package escrow

import (
	"encoding/json"
	"fmt"

	"cosmossdk.io/collections"
	"google.golang.org/grpc"

	"github.com/cosmos/cosmos-sdk/codec"
	"github.com/cosmos/cosmos-sdk/codec/types"
	"github.com/cosmos/cosmos-sdk/types/msgservice"
	"github.com/cosmos/cosmos-sdk/x/authz"

	"github.com/hpips/hpips/proto/gen/escrowv1"
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
	escrowv1.RegisterMsgServer(r, msgs{m.keeper})
	escrowv1.RegisterQueryServer(r, queries{m.keeper})
	return nil
}

// RegisterInterfaces names the messages and the authorization to the codec.
func (Module) RegisterInterfaces(r types.InterfaceRegistry) { RegisterInterfaces(r) }

// RegisterInterfaces names the messages and the authorization to the codec of a client.
func RegisterInterfaces(r types.InterfaceRegistry) {
	r.RegisterImplementations((*authz.Authorization)(nil), &BudgetAuthorization{})
	msgservice.RegisterMsgServiceDesc(r, &escrowv1.Msg_serviceDesc)
}

// ConsensusVersion counts the changes of what is stored.
func (Module) ConsensusVersion() uint64 { return 1 }

// Genesis is the module's part of a new chain's genesis, in the form of the schema: its parameters, and nothing deposited.
func Genesis(p escrowv1.Params) (json.RawMessage, error) {
	if err := CheckParams(p); err != nil {
		return nil, fmt.Errorf("genesis of escrow: %w", err)
	}
	value, err := codec.ProtoMarshalJSON(&p, nil)
	if err != nil {
		return nil, fmt.Errorf("genesis of escrow: %w", err)
	}
	type entry struct {
		Key   string          `json:"key"`
		Value json.RawMessage `json:"value"`
	}
	rows := map[string][]entry{"params": {{"item", value}}}
	for _, empty := range []string{"leases", "payers", "nodes", "ends", "graces", "pending", "heads", "last", "cursor", "totals", "escrowed", "waiting",
		"graves", "fading"} {
		rows[empty] = []entry{}
	}
	return json.Marshal(rows)
}
