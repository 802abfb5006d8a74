//go:build linux

package bench

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"cosmossdk.io/core/appmodule"
	"cosmossdk.io/log/v2"
	cmtdb "github.com/cometbft/cometbft-db"
	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/config"
	"github.com/cometbft/cometbft/crypto/ed25519"
	cmtlog "github.com/cometbft/cometbft/libs/log"
	comet "github.com/cometbft/cometbft/node"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/privval"
	"github.com/cometbft/cometbft/proxy"
	"github.com/cometbft/cometbft/rpc/client/local"
	cmttypes "github.com/cometbft/cometbft/types"
	dbm "github.com/cosmos/cosmos-db"
	"github.com/cosmos/cosmos-sdk/baseapp"
	"github.com/cosmos/cosmos-sdk/codec/address"
	"github.com/cosmos/cosmos-sdk/runtime"
	"github.com/cosmos/cosmos-sdk/server"
	pruningtypes "github.com/cosmos/cosmos-sdk/store/v2/pruning/types"
	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/module"
	"github.com/cosmos/cosmos-sdk/x/auth"
	authante "github.com/cosmos/cosmos-sdk/x/auth/ante"
	authkeeper "github.com/cosmos/cosmos-sdk/x/auth/keeper"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	"github.com/cosmos/cosmos-sdk/x/bank"
	bankkeeper "github.com/cosmos/cosmos-sdk/x/bank/keeper"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"
	"github.com/cosmos/cosmos-sdk/x/consensus"
	consensuskeeper "github.com/cosmos/cosmos-sdk/x/consensus/keeper"
	consensustypes "github.com/cosmos/cosmos-sdk/x/consensus/types"

	"github.com/hpips/hpips/chain"
	"github.com/hpips/hpips/chain/chaintest"
)

// plainApp is what our chain is compared with: the SDK's accounts and money, the SDK's checks, fixed seats, and nothing of ours.
func plainApp(t *testing.T, home string, codec chain.Codec) *baseapp.BaseApp {
	t.Helper()
	db, err := dbm.NewGoLevelDB("application", filepath.Join(home, "data"), nil)
	must(t, err)
	app := baseapp.NewBaseApp("plain", log.NewNopLogger(), db, codec.Tx.TxDecoder(), baseapp.SetChainID(benchChain), baseapp.SetMinGasPrices(""),
		baseapp.SetPruning(pruningtypes.NewCustomPruningOptions(10_000, 10)), baseapp.SetIAVLCacheSize(100_000), baseapp.SetIAVLSyncPruning(true))
	app.SetInterfaceRegistry(codec.Registry)
	app.SetTxEncoder(codec.Tx.TxEncoder())
	keys := storetypes.NewKVStoreKeys(authtypes.StoreKey, banktypes.StoreKey, consensustypes.StoreKey)
	app.MountKVStores(keys)
	who, authority := address.NewBech32Codec(chain.Prefix), chain.Authority()
	params := consensuskeeper.NewKeeper(codec, runtime.NewKVStoreService(keys[consensustypes.StoreKey]), authority, runtime.EventService{})
	app.SetParamStore(params.ParamsStore)
	accounts := authkeeper.NewAccountKeeper(codec, runtime.NewKVStoreService(keys[authtypes.StoreKey]), authtypes.ProtoBaseAccount,
		map[string][]string{authtypes.FeeCollectorName: nil}, who, chain.Prefix, authority)
	money := bankkeeper.NewBaseKeeper(codec, runtime.NewKVStoreService(keys[banktypes.StoreKey]), accounts, nil, authority, log.NewNopLogger())
	modules := module.NewManagerFromMap(map[string]appmodule.AppModule{
		authtypes.ModuleName: auth.NewAppModule(codec, accounts, nil), banktypes.ModuleName: bank.NewAppModule(codec, money, accounts),
		consensustypes.ModuleName: consensus.NewAppModule(codec, params),
	})
	modules.SetOrderInitGenesis(authtypes.ModuleName, banktypes.ModuleName, consensustypes.ModuleName)
	modules.SetOrderPreBlockers(authtypes.ModuleName)
	modules.SetOrderEndBlockers(banktypes.ModuleName)
	must(t, modules.RegisterServices(module.NewConfigurator(codec, app.MsgServiceRouter(), app.GRPCQueryRouter())))
	gate, err := authante.NewAnteHandler(authante.HandlerOptions{
		AccountKeeper: accounts, BankKeeper: money, SignModeHandler: codec.Tx.SignModeHandler(), SigGasConsumer: authante.DefaultSigVerificationGasConsumer,
	})
	must(t, err)
	app.SetAnteHandler(gate)
	app.SetInitChainer(func(ctx sdk.Context, req *abci.RequestInitChain) (*abci.ResponseInitChain, error) {
		var state map[string]json.RawMessage
		if err := json.Unmarshal(req.AppStateBytes, &state); err != nil {
			return nil, err
		}
		for _, name := range []string{authtypes.ModuleName, banktypes.ModuleName} {
			modules.Modules[name].(module.HasGenesis).InitGenesis(ctx, codec, state[name])
		}
		return &abci.ResponseInitChain{Validators: req.Validators}, nil
	})
	app.SetPreBlocker(func(ctx sdk.Context, _ *abci.RequestFinalizeBlock) (*sdk.ResponsePreBlock, error) {
		return modules.PreBlock(ctx)
	})
	app.SetBeginBlocker(modules.BeginBlock)
	app.SetEndBlocker(modules.EndBlock)
	must(t, app.LoadLatestVersion())
	return app
}

// plainDoc takes accounts, money and limits of a block from our genesis, and nothing else.
func plainDoc(t *testing.T, doc *cmttypes.GenesisDoc, seats []chaintest.Person) *cmttypes.GenesisDoc {
	t.Helper()
	var state map[string]json.RawMessage
	must(t, json.Unmarshal(doc.AppState, &state))
	text, err := json.Marshal(map[string]json.RawMessage{authtypes.ModuleName: state[authtypes.ModuleName], banktypes.ModuleName: state[banktypes.ModuleName]})
	must(t, err)
	plain := *doc
	plain.AppState = text
	for _, p := range seats {
		key := ed25519.PrivKey(p.Consensus).PubKey()
		plain.Validators = append(plain.Validators, cmttypes.GenesisValidator{Address: key.Address(), PubKey: key, Power: 1, Name: p.Name})
	}
	return &plain
}

// plain founds the chain to compare with: the same engine with the same settings, keys, accounts and limits.
func plain(t *testing.T, doc *cmttypes.GenesisDoc, seats []chaintest.Person) *town {
	t.Helper()
	like := settings(t, doc, seats[0])
	codec, err := chain.Encoding()
	must(t, err)
	w := &town{name: "plain", codec: codec, doc: plainDoc(t, doc, seats)}
	var peers []string
	dir := t.TempDir()
	for _, p := range seats {
		s := copied(like, filepath.Join(dir, p.Name))
		s.P2P.PersistentPeers = strings.Join(peers, ",")
		app := plainApp(t, s.RootDir, codec)
		n := engine(t, s, w.doc, p, server.NewCometABCIWrapper(app), app.Close)
		w.clients = append(w.clients, local.New(n))
		peers = append(peers, fmt.Sprintf("%s@%s", n.NodeInfo().ID(), strings.TrimPrefix(s.P2P.ListenAddress, "tcp://")))
	}
	w.await(t, 1)
	return w
}

// copied are settings for another home and port.
func copied(like config.Config, home string) *config.Config {
	s := like
	base, p, m, c := s.BaseConfig, *s.P2P, *s.Mempool, *s.Consensus
	s.BaseConfig, s.P2P, s.Mempool, s.Consensus = base, &p, &m, &c
	s.SetRoot(home)
	s.P2P.ListenAddress = "tcp://" + freePort()
	return &s
}

// leftOpen is not closed with the engine, some of whose routines go on for seconds and panic then.
type leftOpen struct{ cmtdb.DB }

func (leftOpen) Close() error { return nil }

// engine runs CometBFT with an application until the test ends.
func engine(t *testing.T, s *config.Config, doc *cmttypes.GenesisDoc, p chaintest.Person, app abci.Application, closed func() error) *comet.Node {
	t.Helper()
	config.EnsureRoot(s.RootDir)
	name, err := p2p.LoadOrGenNodeKey(s.NodeKeyFile())
	must(t, err)
	signer := privval.NewFilePV(ed25519.PrivKey(p.Consensus), filepath.Join(s.RootDir, "key.json"), filepath.Join(s.RootDir, "signed.json"))
	open := func(c *config.DBContext) (cmtdb.DB, error) {
		db, err := config.DefaultDBProvider(c)
		return leftOpen{db}, err
	}
	n, err := comet.NewNode(s, signer, name, proxy.NewLocalClientCreator(app), func() (*cmttypes.GenesisDoc, error) { return doc, nil }, open,
		comet.DefaultMetricsProvider(s.Instrumentation), cmtlog.NewNopLogger())
	must(t, err)
	must(t, n.Start())
	t.Cleanup(func() {
		if err := n.Stop(); err != nil {
			t.Errorf("stop the engine: %v", err)
		}
		n.Wait()
		if err := closed(); err != nil {
			t.Errorf("close the application: %v", err)
		}
	})
	return n
}
