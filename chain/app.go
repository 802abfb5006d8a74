// Package chain is the chain's rules put together: the SDK's modules for accounts, money and votes, and our own for nodes, seats and supply.
// It promises that the same blocks lead every node to the same state, that a block without a seed changes nothing, and that nothing mints.
// Running it, with its engine, its endpoints and its files, is left to package full below it; reading it from outside is ledger's.
package chain

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"sort"
	"time"

	"cosmossdk.io/core/appmodule"
	"cosmossdk.io/log/v2"
	abci "github.com/cometbft/cometbft/abci/types"
	dbm "github.com/cosmos/cosmos-db"
	"github.com/cosmos/cosmos-sdk/baseapp"
	"github.com/cosmos/cosmos-sdk/client"
	"github.com/cosmos/cosmos-sdk/client/grpc/cmtservice"
	nodeservice "github.com/cosmos/cosmos-sdk/client/grpc/node"
	"github.com/cosmos/cosmos-sdk/server"
	"github.com/cosmos/cosmos-sdk/server/api"
	serverconfig "github.com/cosmos/cosmos-sdk/server/config"
	servertypes "github.com/cosmos/cosmos-sdk/server/types"
	pruningtypes "github.com/cosmos/cosmos-sdk/store/v2/pruning/types"
	"github.com/cosmos/cosmos-sdk/store/v2/snapshots"
	snapshottypes "github.com/cosmos/cosmos-sdk/store/v2/snapshots/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/module"
	authtx "github.com/cosmos/cosmos-sdk/x/auth/tx"
	upgradetypes "github.com/cosmos/cosmos-sdk/x/upgrade/types"
	"github.com/grpc-ecosystem/grpc-gateway/runtime"
)

// Name is how the application calls itself to its engine.
const Name = "hpips"

// Options are what an App needs.
type Options struct {
	ChainID string
	DB      dbm.DB
	Log     log.Logger
	// VRF extends the seed in blocks that this node proposes; nil: this node has no seat.
	VRF ed25519.PrivateKey
	// Home is where a planned upgrade leaves its note; empty: nowhere.
	Home string
	// Snapshots is the folder of state snapshots, one each SnapshotEvery blocks; empty: none are made and none taken in.
	Snapshots     string
	SnapshotEvery uint64
	// Retain says how many blocks are kept; zero: all. States are kept until Prune.
	Retain uint64
	// MinGas is the least price of gas that this node passes on, as "0.001uhpips"; empty: none.
	MinGas string
	// Calm tells how long ago, by this node's clock, it saw the last block. Nil: empty blocks are not refused for being early.
	Calm func() time.Duration
	// Upgrades are those that the program can do; nil: Upgrades of this package.
	Upgrades []Upgrade
}

// App is the application that the engine drives, one block after the other.
type App struct {
	*baseapp.BaseApp
	codec   Codec
	options Options
	keepers keepers
	modules *module.Manager
	ante    sdk.AnteHandler
}

var _ servertypes.Application = (*App)(nil)

// New wires the application and loads its last state.
func New(o Options) (*App, error) {
	codec, err := Encoding()
	if err != nil {
		return nil, err
	}
	settings, err := settings(o)
	if err != nil {
		return nil, err
	}
	a := &App{codec: codec, options: o}
	a.BaseApp = baseapp.NewBaseApp(Name, o.Log, o.DB, codec.Tx.TxDecoder(), settings...)
	a.SetInterfaceRegistry(codec.Registry)
	a.SetTxEncoder(codec.Tx.TxEncoder())
	if err := a.open(); err != nil {
		return nil, fmt.Errorf("chain application: %w", err)
	}
	a.modules = module.NewManagerFromMap(a.moduleMap())
	order(a.modules)
	services := module.NewConfigurator(codec, a.MsgServiceRouter(), a.GRPCQueryRouter())
	if err := a.modules.RegisterServices(services); err != nil {
		return nil, fmt.Errorf("chain services: %w", err)
	}
	if o.Upgrades == nil {
		o.Upgrades = Upgrades()
	}
	a.learn(o.Upgrades, services)
	if a.ante, err = a.newAnte(); err != nil {
		return nil, fmt.Errorf("chain ante handler: %w", err)
	}
	a.SetAnteHandler(a.ante)
	a.SetInitChainer(a.initChain)
	a.SetPreBlocker(a.preBlock)
	a.SetBeginBlocker(a.beginBlock)
	a.SetEndBlocker(a.endBlock)
	a.SetPrepareProposal(a.prepare)
	a.SetProcessProposal(a.process)
	if err := a.LoadLatestVersion(); err != nil {
		return nil, fmt.Errorf("load chain state: %w", err)
	}
	return a, nil
}

// settings are the options of the SDK's base.
func settings(o Options) ([]func(*baseapp.BaseApp), error) {
	if o.MinGas != "" {
		if _, err := sdk.ParseDecCoins(o.MinGas); err != nil {
			return nil, fmt.Errorf("least gas price %q: %w", o.MinGas, err)
		}
	}
	all := []func(*baseapp.BaseApp){
		baseapp.SetChainID(o.ChainID),
		baseapp.SetMinGasPrices(o.MinGas),
		baseapp.SetPruning(pruningtypes.NewPruningOptions(pruningtypes.PruningNothing)), // see Prune
		baseapp.SetMinRetainBlocks(o.Retain),
		baseapp.SetIAVLCacheSize(100_000),
		baseapp.SetIAVLSyncPruning(true), // see Prune
		baseapp.EnableBlockGasMeter(),    // nobody votes on the gas of a proposal: what is beyond the limit fails when it is run
	}
	if o.Snapshots == "" {
		return all, nil
	}
	db, err := dbm.NewGoLevelDB("metadata", o.Snapshots, nil)
	if err != nil {
		return nil, fmt.Errorf("open snapshots in %s: %w", filepath.Base(o.Snapshots), err)
	}
	store, err := snapshots.NewStore(db, o.Snapshots)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open snapshots: %w", err), db.Close())
	}
	return append(all, baseapp.SetSnapshot(store, snapshottypes.NewSnapshotOptions(o.SnapshotEvery, 2))), nil
}

// Prune removes the states up to a height, all of which are older than the last one. It may run beside blocks, but not beside itself, and may be called
// again. The SDK's own pruning either makes a block wait for it or has a goroutine for each store that looks for work ten times a second, for ever.
func (a *App) Prune(to int64) error {
	store, ok := a.CommitMultiStore().(interface{ PruneStores(height int64) error })
	if last := a.LastBlockHeight(); !ok || to >= last {
		return fmt.Errorf("prune the chain's states up to %d of %d: not possible", to, last)
	}
	if err := store.PruneStores(to); err != nil {
		return fmt.Errorf("prune the chain's states up to %d: %w", to, err)
	}
	return nil
}

// Oldest is the first block whose state is there: all from it to the last one are.
func (a *App) Oldest() int64 {
	return 1 + int64(sort.Search(int(a.LastBlockHeight()), func(before int) bool {
		_, err := a.CommitMultiStore().CacheMultiStoreWithVersion(int64(before) + 1)
		return err == nil
	}))
}

// Codec reads and writes this chain's messages.
func (a *App) Codec() Codec { return a.codec }

// initChain fills the stores from the genesis. It happens once, before the first block.
func (a *App) initChain(ctx sdk.Context, req *abci.RequestInitChain) (*abci.ResponseInitChain, error) {
	var state map[string]json.RawMessage
	if err := json.Unmarshal(req.AppStateBytes, &state); err != nil {
		return nil, fmt.Errorf("genesis state: %w", err)
	}
	if err := a.keepers.upgrade.SetModuleVersionMap(ctx, a.modules.GetVersionMap()); err != nil {
		return nil, fmt.Errorf("genesis versions: %w", err)
	}
	if err := a.importUpgrades(ctx, state[upgradetypes.ModuleName]); err != nil {
		return nil, err
	}
	return a.modules.InitGenesis(ctx, a.codec, state)
}

// preBlock begins a block: a planned upgrade first, since all that follows may be new code; then the seed, checked again because a
// node that catches up was never asked about this proposal. A wrong seed stops the node: others have committed an invalid block.
func (a *App) preBlock(ctx sdk.Context, req *abci.RequestFinalizeBlock) (*sdk.ResponsePreBlock, error) {
	res, err := a.modules.PreBlock(ctx)
	if err != nil {
		return nil, err
	}
	beta, carries, err := a.seed(ctx, req.ProposerAddress, req.Txs, len(req.Misbehavior))
	if err != nil {
		return nil, fmt.Errorf("block %d: %w", req.Height, err)
	}
	if !carries {
		return res, nil
	}
	if err := a.advance(ctx, beta); err != nil {
		return nil, fmt.Errorf("block %d: %w", req.Height, err)
	}
	return res, nil
}

// beginBlock and endBlock leave a block without a seed alone: what falls due in it waits for the next one.
func (a *App) beginBlock(ctx sdk.Context) (sdk.BeginBlock, error) {
	if seeded, err := a.seeded(ctx); err != nil || !seeded {
		return sdk.BeginBlock{}, err
	}
	return a.modules.BeginBlock(ctx)
}

func (a *App) endBlock(ctx sdk.Context) (sdk.EndBlock, error) {
	if seeded, err := a.seeded(ctx); err != nil || !seeded {
		return sdk.EndBlock{}, err
	}
	if err := a.keepers.supply.Sweep(ctx); err != nil {
		return sdk.EndBlock{}, err
	}
	return a.modules.EndBlock(ctx)
}

// RegisterAPIRoutes offers the queries of all modules over REST.
func (a *App) RegisterAPIRoutes(s *api.Server, _ serverconfig.APIConfig) {
	authtx.RegisterGRPCGatewayRoutes(s.ClientCtx, s.GRPCGatewayRouter)
	cmtservice.RegisterGRPCGatewayRoutes(s.ClientCtx, s.GRPCGatewayRouter)
	nodeservice.RegisterGRPCGatewayRoutes(s.ClientCtx, s.GRPCGatewayRouter)
	for _, name := range moduleNames() {
		if m, ok := a.modules.Modules[name].(interface {
			RegisterGRPCGatewayRoutes(client.Context, *runtime.ServeMux)
		}); ok {
			m.RegisterGRPCGatewayRoutes(s.ClientCtx, s.GRPCGatewayRouter)
		}
	}
	ourRoutes(s.ClientCtx, s.GRPCGatewayRouter)
}

// RegisterTxService offers simulation, broadcast and look-up of transactions.
func (a *App) RegisterTxService(c client.Context) {
	authtx.RegisterTxService(a.GRPCQueryRouter(), c, a.Simulate, a.codec.Registry)
}

// RegisterTendermintService offers blocks and validators under the name that wallets know.
func (a *App) RegisterTendermintService(c client.Context) {
	cmtservice.RegisterTendermintService(c, a.GRPCQueryRouter(), a.codec.Registry, server.NewCometABCIWrapper(a).Query)
}

// RegisterNodeService offers this node's settings.
func (a *App) RegisterNodeService(c client.Context, config serverconfig.Config) {
	nodeservice.RegisterNodeService(c, a.GRPCQueryRouter(), config, func() int64 { return a.CommitMultiStore().EarliestVersion() })
}

// moduleMap holds the SDK's modules and ours by name.
func (a *App) moduleMap() map[string]appmodule.AppModule {
	all := a.sdkModules()
	for name, m := range a.ourModules() {
		all[name] = m
	}
	return all
}
