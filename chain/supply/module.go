package supply

import (
	"encoding/json"
	"fmt"

	"cosmossdk.io/collections"
	"cosmossdk.io/math"
	"github.com/cosmos/gogoproto/proto"
	"google.golang.org/grpc"

	"github.com/cosmos/cosmos-sdk/codec"
	"github.com/cosmos/cosmos-sdk/codec/types"
	"github.com/cosmos/cosmos-sdk/types/msgservice"

	"github.com/hpips/hpips/proto/gen/supplyv1"
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
	supplyv1.RegisterMsgServer(r, msgs{m.keeper})
	supplyv1.RegisterQueryServer(r, queries{m.keeper})
	return nil
}

// RegisterInterfaces names the messages to the codec.
func (Module) RegisterInterfaces(r types.InterfaceRegistry) { RegisterInterfaces(r) }

// RegisterInterfaces names the messages to the codec of a client.
func RegisterInterfaces(r types.InterfaceRegistry) {
	msgservice.RegisterMsgServiceDesc(r, &supplyv1.Msg_serviceDesc)
}

// ConsensusVersion counts the changes of what is stored.
func (Module) ConsensusVersion() uint64 { return 1 }

type entry struct {
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value"`
}

// Genesis is the module's part of a new chain's genesis, in the form of the schema: nothing is burned, and what moved from
// investors, founders and operations counts as released. It refuses moves that the accounts do not carry; the fund moves nothing.
func Genesis(moves []supplyv1.Move) (json.RawMessage, error) {
	left, released := Allocations(), math.ZeroInt()
	rows := []entry{}
	for i, m := range moves {
		found := false
		for j, a := range left {
			if a.Name != m.From || a.Name == Fund {
				continue
			}
			if m.Amount.IsNil() || !m.Amount.IsPositive() || m.Amount.GT(a.Amount) {
				return nil, fmt.Errorf("genesis of supply: move %q of %s%s from %s: %w", m.Label, m.Amount, Denom, m.From, ErrAmount)
			}
			found, left[j].Amount = true, a.Amount.Sub(m.Amount)
			if a.halved {
				released = released.Add(m.Amount)
			}
		}
		if !found {
			return nil, fmt.Errorf("genesis of supply: move %q from %q: %w", m.Label, m.From, ErrPot)
		}
		value, err := text(&m)
		if err != nil {
			return nil, err
		}
		rows = append(rows, entry{fmt.Sprint(i), value})
	}
	totals, err := text(&supplyv1.Totals{Burned: math.ZeroInt(), Released: released})
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string][]entry{"totals": {{"item", totals}}, "moves": rows, "reserved": {}, "reserved_sum": {}})
}

func text(m proto.Message) (json.RawMessage, error) {
	b, err := codec.ProtoMarshalJSON(m, nil)
	if err != nil {
		return nil, fmt.Errorf("genesis of supply: %w", err)
	}
	return b, nil
}
