package registry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"cosmossdk.io/collections"
	collcodec "cosmossdk.io/collections/codec"
	"github.com/cosmos/gogoproto/proto"
	"google.golang.org/grpc"

	"github.com/cosmos/cosmos-sdk/codec"
	"github.com/cosmos/cosmos-sdk/codec/types"
	"github.com/cosmos/cosmos-sdk/types/msgservice"

	"github.com/hpips/hpips/proto/gen/registryv1"
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
	registryv1.RegisterMsgServer(r, msgs{m.keeper})
	registryv1.RegisterQueryServer(r, queries{m.keeper})
	return nil
}

// RegisterInterfaces names the messages to the codec.
func (Module) RegisterInterfaces(r types.InterfaceRegistry) { RegisterInterfaces(r) }

// RegisterInterfaces names the messages to the codec of a client.
func RegisterInterfaces(r types.InterfaceRegistry) {
	msgservice.RegisterMsgServiceDesc(r, &registryv1.Msg_serviceDesc)
}

// ConsensusVersion counts the changes of what is stored.
func (Module) ConsensusVersion() uint64 { return 1 }

type entry struct {
	Key   json.RawMessage `json:"key"`
	Value json.RawMessage `json:"value,omitempty"`
}

// Genesis is the module's part of a new chain's genesis, in the form of the schema: the first nodes, which nobody carried. Who
// builds it has checked their proofs. It refuses keys that serve twice. The order of the nodes does not matter.
func Genesis(p registryv1.Params, nodes []registryv1.Node) (json.RawMessage, error) {
	fail := func(err error) (json.RawMessage, error) { return nil, fmt.Errorf("genesis of registry: %w", err) }
	if err := CheckParams(p); err != nil {
		return fail(err)
	}
	nodes = slices.SortedFunc(slices.Values(nodes), func(a, b registryv1.Node) int { return bytes.Compare(a.Id, b.Id) })
	rows := map[string][]entry{"carried": {}, "entered": {}}
	var failed error
	row := func(table string, key, value json.RawMessage, err error) {
		rows[table] = append(rows[table], entry{key, value})
		if err != nil && failed == nil {
			failed = err
		}
	}
	params, err := text(&p)
	row("params", json.RawMessage(`"item"`), params, err)
	var keys [][]byte
	var owners []string
	for _, n := range nodes {
		consensus, err := sortition.KeyOf(n.ConsensusKey)
		if err != nil {
			return fail(ErrWord.Wrap(err.Error()))
		}
		keys, owners = append(keys, n.Id, n.ConsensusKey, n.VrfKey), append(owners, n.Owner)
		value, err := text(&n)
		row("nodes", of(collections.BytesKey, n.Id), value, err)
		row("unplaced", of(collections.BytesKey, n.Id), nil, nil)
		row("addresses", of(collections.BytesKey, consensusAddress(consensus)), of(collections.BytesKey, n.Id), nil)
		row("owned", of(ownedKey, collections.Join(n.Owner, n.Id)), nil, nil)
	}
	slices.SortFunc(keys, bytes.Compare)
	for i, key := range keys {
		if len(key) != len(sortition.Key{}) || i > 0 && bytes.Equal(key, keys[i-1]) {
			return fail(ErrKeyUsed.Wrapf("%x", key))
		}
		row("keys", of(collections.BytesKey, key), nil, nil)
	}
	slices.SortFunc(owners, strings.Compare)
	for i := 0; i < len(owners); {
		n := 1
		for i+n < len(owners) && owners[i+n] == owners[i] {
			n++
		}
		row("active", of(collections.StringKey, owners[i]), json.RawMessage(fmt.Sprintf("%q", fmt.Sprint(n))), nil)
		i += n
	}
	if failed != nil {
		return fail(failed)
	}
	return json.Marshal(rows)
}

// of writes a key as the schema does; these keys always can be written.
func of[K any](c collcodec.KeyCodec[K], key K) json.RawMessage {
	b, err := c.EncodeJSON(key)
	if err != nil {
		panic(err)
	}
	return b
}

func text(m proto.Message) (json.RawMessage, error) { return codec.ProtoMarshalJSON(m, nil) }
