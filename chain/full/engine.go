package full

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	cmtdb "github.com/cometbft/cometbft-db"
	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/config"
	"github.com/cometbft/cometbft/node"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/proxy"
	"github.com/cometbft/cometbft/rpc/client/local"
	cmttypes "github.com/cometbft/cometbft/types"
	dbm "github.com/cosmos/cosmos-db"
	"github.com/cosmos/cosmos-sdk/server"

	"github.com/hpips/hpips/chain"
)

// How much a node keeps that is no archive. Blocks that prove a double signature stay in any case (evidenceBlocks of package chain); of states it needs
// the few that a question or a snapshot may ask for.
const (
	keepBlocks = 14 * 86_400
	keepStates = 10_000 // see Node.prune
)

// engine is CometBFT with the files it and the application hold open.
type engine struct {
	node   *node.Node
	client *local.Local
	listen string        // host:port
	rpc    string        // host:port, or empty; the endpoints know
	quiet  time.Duration // a chain without a block for this long stands still

	book    string // the file of addresses of other nodes
	app     *chain.App
	dbs     []cmtdb.DB
	started bool
	live    atomic.Bool // blocks are applied by running routines, no longer by New
}

func openEngine(n *Node) (*engine, error) {
	e := &engine{}
	if err := e.open(n); err != nil {
		return nil, errors.Join(fmt.Errorf("chain engine: %w", err), e.close())
	}
	return e, nil
}

func (e *engine) open(n *Node) error {
	c := n.config
	if err := e.openApp(n); err != nil {
		return err
	}
	pace, err := e.app.Pace(c.Doc)
	if err != nil {
		return err
	}
	if c.Wait == 0 {
		c.Wait = time.Duration(pace.EpochBlocks) * pace.Heartbeat
	}
	e.quiet = 2*pace.Heartbeat + 5*time.Second
	if err := n.signer.attend(e.app.EpochNumber, c.Wait); err != nil {
		return err
	}
	settings, err := settle(c, pace)
	if err != nil {
		return err
	}
	e.book = settings.P2P.AddrBookFile()
	if e.listen, err = free(&settings.P2P.ListenAddress); err != nil {
		return err
	}
	name, err := p2p.LoadOrGenNodeKey(settings.NodeKeyFile())
	if err != nil {
		return err
	}
	sets := config.DBProvider(func(ctx *config.DBContext) (cmtdb.DB, error) {
		opened, err := config.DefaultDBProvider(ctx)
		if err != nil {
			return nil, err
		}
		db := &database{DB: opened}
		e.dbs = append(e.dbs, db)
		return db, nil
	})
	log := engineLog{sdkLog{n.log}}
	witness := &witness{Application: server.NewCometABCIWrapper(e.app), node: n, engine: e}
	genesis := func() (*cmttypes.GenesisDoc, error) { return c.Doc, nil }
	fresh := e.app.LastBlockHeight() == 0
	if fresh {
		if err := mayStart(c, e.app, time.Now()); err != nil {
			return err
		}
	}
	settings.StateSync.Enable = settings.StateSync.Enable && fresh
	e.node, err = node.NewNode(settings, wrap(n.signer, n), name, proxy.NewLocalClientCreator(witness), genesis, sets,
		node.DefaultMetricsProvider(settings.Instrumentation), log)
	if err != nil {
		return err
	}
	e.client = local.New(e.node)
	return mayGoOn(c, e.app, e.node.BlockStore(), time.Now())
}

// openApp opens the application and its state.
func (e *engine) openApp(n *Node) error {
	c := n.config
	db, err := dbm.NewGoLevelDB("application", filepath.Join(c.Home, "data"), nil)
	if err != nil {
		return fmt.Errorf("open state: %w", err)
	}
	if e.app, err = chain.New(n.options(db)); err != nil {
		return errors.Join(err, db.Close())
	}
	n.app = e.app
	return nil
}

// options are what the application is told of the settings.
func (n *Node) options(db dbm.DB) chain.Options {
	c := n.config
	o := chain.Options{
		ChainID: c.Doc.ChainID, DB: db, Log: sdkLog{n.log}, VRF: c.VRF, Home: c.Home, MinGas: c.MinGas, Calm: n.calm,
		Snapshots: filepath.Join(c.Home, "snapshots"), SnapshotEvery: c.SnapshotEvery,
		Retain: keepBlocks, Upgrades: c.Upgrades,
	}
	if c.Archive {
		o.Retain = 0
	}
	if o.SnapshotEvery == 0 {
		o.SnapshotEvery = 1500
		if c.Dev {
			o.SnapshotEvery = 200
		}
	}
	return o
}

// settle turns our settings into the engine's.
func settle(c Config, pace chain.Pace) (*config.Config, error) {
	s := config.DefaultConfig().SetRoot(c.Home)
	s.NodeKey, s.Genesis = "node.json", "genesis.json"
	s.P2P.AddrBook = "addresses.json"
	s.LogLevel = "debug" // our own log decides
	s.P2P.ListenAddress = "tcp://" + c.Listen
	s.P2P.PersistentPeers = strings.Join(c.Peers, ",")
	s.P2P.AddrBookStrict = false // pools live on private networks
	s.P2P.AllowDuplicateIP = true
	s.P2P.FlushThrottleTimeout = 10 * time.Millisecond
	s.P2P.PersistentPeersMaxDialPeriod = 10 * time.Second
	s.RPC.ListenAddress = "" // the endpoints serve it, behind their fence
	s.RPC.MaxSubscriptionClients, s.RPC.MaxSubscriptionsPerClient = 200, 20
	s.Mempool.MaxTxBytes, s.Mempool.MaxTxsBytes = chain.MaxTx, 64<<20
	s.Mempool.Size, s.Mempool.CacheSize = 5000, 20_000
	s.Consensus.CreateEmptyBlocks = false
	s.Consensus.CreateEmptyBlocksInterval = pace.Heartbeat
	s.Consensus.TimeoutCommit = time.Second
	s.Consensus.DoubleSignCheckHeight = 0 // the signer looks itself, and does not give up for good
	if c.Dev {
		s.Consensus.TimeoutCommit = 500 * time.Millisecond
		s.Consensus.TimeoutPropose = time.Second
		s.Consensus.PeerGossipSleepDuration = 20 * time.Millisecond
	}
	s.TxIndex.Indexer = "kv"
	if c.Trust != nil && len(c.StateSyncServers) > 0 {
		servers := c.StateSyncServers
		if len(servers) == 1 {
			servers = append(servers, servers[0]) // the engine wants a witness: with one server it vouches for itself
		}
		s.StateSync.Enable = true
		s.StateSync.RPCServers = servers
		s.StateSync.TrustHeight, s.StateSync.TrustHash = c.Trust.Height, fmt.Sprintf("%X", c.Trust.Hash)
		s.StateSync.TrustPeriod = c.period()
		s.StateSync.DiscoveryTime = 5 * time.Second
	}
	if err := s.ValidateBasic(); err != nil {
		return nil, err
	}
	return s, nil
}

// free replaces port 0 by a free one: the engine never tells which it got.
func free(address *string) (string, error) {
	at := strings.TrimPrefix(*address, "tcp://")
	host, port, err := net.SplitHostPort(at)
	if err != nil {
		return "", fmt.Errorf("listen on %s: %w", at, err)
	}
	if port != "0" {
		return at, nil
	}
	l, err := quiet(host)
	if err != nil {
		return "", fmt.Errorf("listen on %s: %w", at, err)
	}
	at = l.Addr().String()
	*address = "tcp://" + at
	return at, l.Close()
}

// quiet listens on a port below those that systems give to connections by themselves, since the engine listens there only later; where it
// finds none, on any.
func quiet(host string) (net.Listener, error) {
	const low, high, tries = 16_000, 32_000, 20
	for range tries {
		if l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(low+rand.IntN(high-low)))); err == nil {
			return l, nil
		}
	}
	return net.Listen("tcp", net.JoinHostPort(host, "0"))
}

func (e *engine) start() error {
	e.live.Store(true)
	if err := e.node.Start(); err != nil {
		return fmt.Errorf("start chain engine: %w", err)
	}
	e.started = true
	return nil
}

// close stops the engine and closes all that it and the application had open.
func (e *engine) close() error {
	var all []error
	if e.started {
		before := written(e.book)
		if err := e.node.Stop(); err != nil {
			all = append(all, err)
		}
		e.node.Wait()
		e.settled(before)
	} else if e.node != nil {
		e.node.OnStop() // what New started: the bus of events and the index
	}
	for _, db := range e.dbs {
		all = append(all, db.Close())
	}
	if e.app != nil {
		all = append(all, e.app.Close())
	}
	return errors.Join(all...)
}

// settled waits for the engine's book of addresses, which is written once more after the engine says that it has stopped: whoever
// removes or copies the home then must not meet that. It gives up after a second; what is lost is the last few addresses.
func (e *engine) settled(before time.Time) {
	limit := time.NewTimer(time.Second)
	defer limit.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for written(e.book).Equal(before) {
		select {
		case <-limit.C:
			return
		case <-tick.C:
		}
	}
}

// written is when a file was written last.
func written(name string) time.Time {
	info, err := os.Stat(name)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// witness stands between engine and application: it tells when a block was committed, refuses a block that contradicts the trust
// point before it is applied, and turns a block that cannot be applied into the end of Serve.
type witness struct {
	abci.Application
	node   *Node
	engine *engine
}

// FinalizeBlock applies a block, if the trust point does not contradict it.
func (w *witness) FinalizeBlock(ctx context.Context, req *abci.RequestFinalizeBlock) (*abci.ResponseFinalizeBlock, error) {
	if err := w.node.config.Trust.agrees(req.Height, req.Hash); err != nil {
		return nil, w.broken(err)
	}
	res, err := w.Application.FinalizeBlock(ctx, req)
	if err != nil {
		return nil, w.broken(fmt.Errorf("apply block %d: %w", req.Height, err))
	}
	return res, nil
}

// Commit notes the hour.
func (w *witness) Commit(ctx context.Context, req *abci.RequestCommit) (*abci.ResponseCommit, error) {
	res, err := w.Application.Commit(ctx, req)
	if err == nil && w.engine.live.Load() {
		w.node.last.Store(int64(time.Since(w.node.started)))
	}
	return res, err
}

// broken ends Serve. While blocks are fetched in bulk the engine would answer an error by ending the whole process, other services
// included: there the routine that asked ends in its place, with its locks released and its waiters told.
func (w *witness) broken(err error) error {
	w.node.fail(err)
	if w.engine.live.Load() && w.engine.node.ConsensusReactor().WaitSync() {
		runtime.Goexit()
	}
	return err
}
