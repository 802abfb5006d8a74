package audit

import (
	"encoding/json"
	"fmt"

	"cosmossdk.io/collections"
	"google.golang.org/grpc"

	"github.com/cosmos/cosmos-sdk/codec"
	"github.com/cosmos/cosmos-sdk/codec/types"
	"github.com/cosmos/cosmos-sdk/types/msgservice"

	"github.com/hpips/hpips/proto/gen/auditv1"
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
	auditv1.RegisterMsgServer(r, msgs{m.keeper})
	auditv1.RegisterQueryServer(r, queries{m.keeper})
	return nil
}

// RegisterInterfaces names the messages to the codec.
func (Module) RegisterInterfaces(r types.InterfaceRegistry) { RegisterInterfaces(r) }

// RegisterInterfaces names the messages to the codec of a client.
func RegisterInterfaces(r types.InterfaceRegistry) {
	msgservice.RegisterMsgServiceDesc(r, &auditv1.Msg_serviceDesc)
}

// ConsensusVersion counts the changes of what is stored.
func (Module) ConsensusVersion() uint64 { return 1 }

type entry struct {
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value"`
}

// Genesis is the module's part of a new chain's genesis, in the form of the schema: its parameters, and nothing open.
func Genesis(p auditv1.Params) (json.RawMessage, error) {
	if err := CheckParams(p); err != nil {
		return nil, fmt.Errorf("genesis of audit: %w", err)
	}
	value, err := codec.ProtoMarshalJSON(&p, nil)
	if err != nil {
		return nil, fmt.Errorf("genesis of audit: %w", err)
	}
	rows := map[string][]entry{"params": {{"item", value}}}
	for _, empty := range []string{"audits", "coming", "lapses", "recent", "convictions", "forgives", "disputes", "last", "dues", "asked", "vain", "commits", "leases", "barred", "pardons"} {
		rows[empty] = []entry{}
	}
	return json.Marshal(rows)
}
