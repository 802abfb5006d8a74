package exchange

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"cosmossdk.io/collections"
	"github.com/cosmos/gogoproto/proto"
	"google.golang.org/grpc"

	"github.com/cosmos/cosmos-sdk/codec"
	"github.com/cosmos/cosmos-sdk/codec/types"
	"github.com/cosmos/cosmos-sdk/types/msgservice"

	"github.com/hpips/hpips/proto/gen/exchangev1"
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
	exchangev1.RegisterMsgServer(r, msgs{m.keeper})
	exchangev1.RegisterQueryServer(r, queries{m.keeper})
	return nil
}

// RegisterInterfaces names the messages to the codec.
func (Module) RegisterInterfaces(r types.InterfaceRegistry) { RegisterInterfaces(r) }

// RegisterInterfaces names the messages to the codec of a client.
func RegisterInterfaces(r types.InterfaceRegistry) {
	msgservice.RegisterMsgServiceDesc(r, &exchangev1.Msg_serviceDesc)
}

// ConsensusVersion counts the changes of what is stored.
func (Module) ConsensusVersion() uint64 { return 1 }

// Listing is an asset that a network begins with, and the first price of the sale of its levies.
type Listing struct {
	Asset      exchangev1.Asset
	FirstPrice uint64
}

// Credit is what a development network begins with besides HPIPS: half of one buys an HPIPS at first.
func Credit() Listing {
	return Listing{exchangev1.Asset{Denom: "ucredit", Name: "CREDIT", Decimals: 6}, 500_000_000_000}
}

type entry struct {
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value"`
}

// Genesis is the module's part of a new chain's genesis, in the form of the schema: assets are admitted, nobody trades yet. The order of the assets
// does not matter.
func Genesis(p exchangev1.Params, assets []Listing) (json.RawMessage, error) {
	fail := func(err error) (json.RawMessage, error) { return nil, fmt.Errorf("genesis of exchange: %w", err) }
	if err := CheckParams(p); err != nil {
		return fail(err)
	}
	assets = slices.SortedFunc(slices.Values(assets), func(a, b Listing) int { return strings.Compare(a.Asset.Denom, b.Asset.Denom) })
	rows := map[string][]entry{ // every table, with nothing in most
		"assets": {}, "orders": {}, "number": {}, "owned": {}, "buys": {}, "buys_levels": {}, "sells": {}, "sells_levels": {}, "sales": {}, "batches": {},
		"unfinished": {},
	}
	row := func(table, key string, m proto.Message) error {
		value, err := codec.ProtoMarshalJSON(m, nil)
		rows[table] = append(rows[table], entry{key, value})
		return err
	}
	if err := row("params", "item", &p); err != nil {
		return fail(err)
	}
	for i, l := range assets {
		if err := checkAsset(l.Asset, l.FirstPrice); err != nil {
			return fail(err)
		}
		if i > 0 && assets[i-1].Asset.Denom == l.Asset.Denom {
			return fail(ErrAsset.Wrapf("%s twice", l.Asset.Denom))
		}
		s := newSale(l.Asset.Denom, l.FirstPrice)
		if err := row("assets", l.Asset.Denom, &l.Asset); err != nil {
			return fail(err)
		}
		if err := row("sales", l.Asset.Denom, &s); err != nil {
			return fail(err)
		}
	}
	return json.Marshal(rows)
}
