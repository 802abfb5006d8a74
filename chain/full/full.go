// Package full runs a chain node inside this process: the engine that agrees on blocks, the application, its endpoints and its signer.
// It promises that a vote never leaves before its record is on the disk, that a home found in two places stands down, that a history which
// contradicts the trust point is never applied, and that Serve leaves nothing running and no file open.
// It leaves the rules to package chain, deciding to take a seat to seat, and where peers are found to node.
package full

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cometbft/cometbft/config"
	"github.com/cometbft/cometbft/p2p"
	rpcclient "github.com/cometbft/cometbft/rpc/client"
	cmttypes "github.com/cometbft/cometbft/types"

	"github.com/hpips/hpips/chain"
)

// Config says where a node lives, who it is, and whom it talks to.
type Config struct {
	// Home is the folder of all the node's files. Two nodes never share one.
	Home string
	Doc  *cmttypes.GenesisDoc
	// Consensus signs votes and VRF extends the seed when the node has a seat. Nil: it follows only.
	Consensus, VRF ed25519.PrivateKey
	// Listen is where other chain nodes connect, as host:port; port 0 takes a free one. Peers are id@host:port.
	Listen string
	Peers  []string
	// RPC, GRPC and REST are endpoints as host:port; empty: none; port 0 takes a free one.
	RPC, GRPC, REST string
	// Origins are those whose pages may ask RPC and REST, as https://wallet.example; none by default.
	Origins []string
	// Archive keeps all blocks and states for ever.
	Archive bool
	// Trust is a block that the owner knows to be right. StateSyncServers are RPC endpoints whose headers are checked against it; with
	// them a new node takes a snapshot in place of the whole history.
	Trust            *Trust
	TrustPeriod      time.Duration // 0: TrustPeriod of this package
	StateSyncServers []string
	// Dev shortens the pauses between blocks.
	Dev bool
	// MinGas is the least price of gas passed on; empty: none.
	MinGas string
	// SnapshotEvery is how many blocks lie between snapshots; 0: the default.
	SnapshotEvery uint64
	// Wait is how long a seat that stands down waits when the chain stands still; 0: an epoch of heartbeats.
	Wait time.Duration
	// Upgrades are those that the program can do; nil: those of this release.
	Upgrades []chain.Upgrade
	Log      *slog.Logger
}

// Check says what is missing.
func (c Config) Check() error {
	switch {
	case c.Home == "" || c.Doc == nil || c.Log == nil:
		return errors.New("chain node: home, genesis or log is missing")
	case c.Listen == "":
		return errors.New("chain node: no address to listen on")
	case c.Consensus != nil && len(c.Consensus) != ed25519.PrivateKeySize, c.VRF != nil && len(c.VRF) != ed25519.PrivateKeySize:
		return errors.New("chain node: a secret key has the wrong length")
	case c.Trust != nil && (c.Trust.Height < 1 || len(c.Trust.Hash) != 32):
		return errors.New("chain node: trust point must be a height and a hash of 32 bytes")
	}
	return nil
}

// Node is one chain node. It serves once.
type Node struct {
	config    Config
	app       *chain.App
	engine    *engine
	signer    *signer
	endpoints *endpoints
	log       *slog.Logger

	pruned int64 // the newest block whose state is gone; of trim alone

	last    atomic.Int64 // when the last block was committed, in nanoseconds since start
	started time.Time

	dialling sync.Mutex
	fresh    []string          // of them, those that were not dialled yet
	met      chan struct{}     // there are such
	dialled  []*p2p.NetAddress // peers to keep, the newest last

	fatal chan error
	close sync.Once
	ended error
}

// New opens the node's files and brings the application to where the blocks are. Whoever got a Node calls Serve or Close.
func New(c Config) (*Node, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	if c.Consensus == nil {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("chain node: %w", err)
		}
		c.Consensus = key // it signs nothing that anybody counts
	}
	if _, err := os.Lstat(filepath.Join(c.Home, halfName)); err == nil {
		return nil, fmt.Errorf("chain node %s: %w", c.Home, ErrHalf)
	}
	for _, folder := range []string{c.Home, filepath.Join(c.Home, "data"), filepath.Join(c.Home, "snapshots")} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return nil, fmt.Errorf("chain node: %w", err)
		}
	}
	n := &Node{config: c, log: c.Log, started: time.Now(), fatal: make(chan error, 1), met: make(chan struct{}, 1)}
	if err := n.open(); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func (n *Node) open() error {
	var err error
	if n.signer, err = openSigner(n.config); err != nil {
		return err
	}
	if n.engine, err = openEngine(n); err != nil {
		return err
	}
	n.endpoints, err = openEndpoints(n)
	return err
}

// Serve runs the node until ctx is done, or something is wrong that it cannot mend. Then it closes.
func (n *Node) Serve(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer func() {
		cancel()
		all.Wait()
		err = errors.Join(err, n.Close())
	}()
	watch, err := n.watch()
	if err != nil {
		return err
	}
	if err := n.engine.start(); err != nil {
		return err
	}
	all.Go(func() { n.endpoints.serve(ctx, n.fail) })
	all.Go(func() { watch(ctx) })
	all.Go(func() { n.trim(ctx) })
	all.Go(func() { n.keep(ctx) })
	n.log.Debug("chain node serves", "chain", n.config.Doc.ChainID, "address", n.Address())
	select {
	case <-ctx.Done():
		return nil
	case err := <-n.fatal:
		return err
	case <-n.engine.node.Quit():
		return errors.New("chain node: the engine stopped")
	}
}

// fail ends Serve.
func (n *Node) fail(err error) {
	select {
	case n.fatal <- err:
	default:
	}
}

// Close lets go of everything. It may be called again.
func (n *Node) Close() error {
	n.close.Do(func() {
		var all []error
		if n.endpoints != nil {
			all = append(all, n.endpoints.close())
		}
		if n.signer != nil {
			n.signer.close()
		}
		if n.engine != nil {
			all = append(all, n.engine.close())
		}
		n.ended = errors.Join(all...)
	})
	return n.ended
}

// Client asks this node without a network between. It is good from New until Serve ends.
func (n *Node) Client() rpcclient.Client { return n.engine.client }

// Address is how another chain node reaches this one.
func (n *Node) Address() string {
	return p2p.IDAddressString(n.engine.node.NodeInfo().ID(), n.engine.listen)
}

// Addresses are the endpoints as they were bound; empty where there is none.
func (n *Node) Addresses() (rpc, grpc, rest string) {
	return n.engine.rpc, n.endpoints.grpcAddress(), n.endpoints.restAddress()
}

// Settings are a copy of the engine's, for whoever runs another chain beside this one and compares.
func (n *Node) Settings() config.Config { return *n.engine.node.Config() }

// App is the application, for whoever reads its state in this process.
func (n *Node) App() *chain.App { return n.app }

// Status is how the node stands.
type Status struct {
	Height     int64     `json:"height"`
	Time       time.Time `json:"time"`
	CatchingUp bool      `json:"catchingUp"`
	Peers      int       `json:"peers"`
	// Seated tells whether the node's key is among those that sign now.
	Seated bool `json:"seated"`
	// Down says why the seat signs nothing; empty: it signs.
	Down string `json:"down,omitempty"`
}

// Status asks the engine.
func (n *Node) Status(ctx context.Context) (Status, error) {
	res, err := n.engine.client.Status(ctx)
	if err != nil {
		return Status{}, fmt.Errorf("chain status: %w", err)
	}
	return Status{
		Height: res.SyncInfo.LatestBlockHeight, Time: res.SyncInfo.LatestBlockTime, CatchingUp: res.SyncInfo.CatchingUp,
		Peers: n.engine.node.Switch().Peers().Size(), Seated: res.ValidatorInfo.VotingPower > 0, Down: n.signer.down(),
	}, nil
}

// calm is how long ago, by this PC's clock, the last block was committed; long, when this process saw none.
func (n *Node) calm() time.Duration {
	last := n.last.Load()
	if last == 0 {
		return time.Hour
	}
	return time.Since(n.started) - time.Duration(last)
}
