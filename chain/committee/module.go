package committee

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"cosmossdk.io/core/appmodule"
	"cosmossdk.io/core/genesis"
	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cosmos/cosmos-sdk/client"
	"github.com/cosmos/cosmos-sdk/codec"
	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/module"
	"github.com/cosmos/cosmos-sdk/types/msgservice"
	"github.com/grpc-ecosystem/grpc-gateway/runtime"
	"google.golang.org/grpc"

	"github.com/hpips/hpips/proto/gen/committeev1"
)

// Module hangs the keeper into the application. Its genesis is the schema of the collections; it is the one module that tells the engine who
// votes, which is why it speaks the older of the SDK's genesis interfaces.
type Module struct {
	keeper Keeper
	asks   string
}

var (
	_ appmodule.AppModule        = Module{}
	_ appmodule.HasServices      = Module{}
	_ module.HasABCIGenesis      = Module{}
	_ module.HasABCIEndBlock     = Module{}
	_ module.HasConsensusVersion = Module{}
)

// NewModule takes a keeper, and what its Credit asks of a node in a few words for people: the keeper itself must not hear of amounts.
func NewModule(k Keeper, asks string) Module { return Module{k, asks} }

// IsAppModule and IsOnePerModuleType are the SDK's marks.
func (Module) IsAppModule()        {}
func (Module) IsOnePerModuleType() {}

// Name is the module's.
func (Module) Name() string { return Name }

// ConsensusVersion counts the changes of what is stored.
func (Module) ConsensusVersion() uint64 { return 1 }

// RegisterInterfaces names the messages to the codec.
func (Module) RegisterInterfaces(r codectypes.InterfaceRegistry) { RegisterInterfaces(r) }

// RegisterInterfaces names the messages to the codec of a client.
func RegisterInterfaces(r codectypes.InterfaceRegistry) {
	msgservice.RegisterMsgServiceDesc(r, &committeev1.Msg_serviceDesc)
}

// RegisterLegacyAminoCodec does nothing: names for amino come from the messages' options.
func (Module) RegisterLegacyAminoCodec(*codec.LegacyAmino) {}

// RegisterGRPCGatewayRoutes does nothing: the application registers the routes of all its modules.
func (Module) RegisterGRPCGatewayRoutes(client.Context, *runtime.ServeMux) {}

// RegisterServices offers messages and queries.
func (m Module) RegisterServices(r grpc.ServiceRegistrar) error {
	committeev1.RegisterMsgServer(r, msgs{m.keeper})
	committeev1.RegisterQueryServer(r, queries{m.keeper, m.asks})
	return nil
}

// EndBlock replaces seats and tells the engine who votes.
func (m Module) EndBlock(ctx context.Context) ([]abci.ValidatorUpdate, error) {
	return m.keeper.EndBlock(ctx)
}

// DefaultGenesis is empty: a chain without seats cannot begin. See Genesis.
func (m Module) DefaultGenesis(codec.JSONCodec) json.RawMessage {
	target := genesis.RawJSONTarget{}
	if err := m.keeper.schema.DefaultGenesis(target.Target()); err != nil {
		panic(err) // writes to memory
	}
	state, err := target.JSON()
	if err != nil {
		panic(err)
	}
	return state
}

// ValidateGenesis checks that the state can be read.
func (m Module) ValidateGenesis(_ codec.JSONCodec, _ client.TxEncodingConfig, state json.RawMessage) error {
	from, err := source(state)
	if err != nil {
		return err
	}
	return m.keeper.schema.ValidateGenesis(from)
}

// InitGenesis takes the state and gives the engine all seats. It panics on an impossible state, as the interface has no error: a chain
// must not begin with it.
func (m Module) InitGenesis(ctx sdk.Context, _ codec.JSONCodec, state json.RawMessage) []abci.ValidatorUpdate {
	updates, err := m.initGenesis(ctx, state)
	if err != nil {
		panic(fmt.Errorf("genesis of %s: %w", Name, err))
	}
	return updates
}

func (m Module) initGenesis(ctx sdk.Context, state json.RawMessage) ([]abci.ValidatorUpdate, error) {
	from, err := source(state)
	if err != nil {
		return nil, err
	}
	if err := m.keeper.schema.InitGenesis(ctx, from); err != nil {
		return nil, err
	}
	return m.keeper.begin(ctx)
}

// ExportGenesis gives the whole state.
func (m Module) ExportGenesis(ctx sdk.Context, _ codec.JSONCodec) json.RawMessage {
	state, err := m.keeper.export(ctx)
	if err != nil {
		panic(fmt.Errorf("export of %s: %w", Name, err))
	}
	return state
}

// source reads a state; what is absent in it is empty.
func source(state json.RawMessage) (appmodule.GenesisSource, error) {
	from, err := genesis.SourceFromRawJSON(state)
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	return func(field string) (io.ReadCloser, error) {
		r, err := from(field)
		if r == nil && err == nil {
			r = io.NopCloser(strings.NewReader("[]"))
		}
		return r, err
	}, nil
}
