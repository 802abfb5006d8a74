package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/chain"
	"github.com/hpips/hpips/chain/full"
	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/p2p"
	"github.com/hpips/hpips/seat"
	"github.com/hpips/hpips/spec/canon"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/proof"
)

// The files of a home about its chain.
const (
	ChainAddressFile = "chain.addr"     // http://host:port of the chain node's RPC; absent when none runs
	chainDir         = "chain"          // the chain node's own
	genesisFile      = "genesis.json"   // in chainDir
	pinFile          = "genesis.sha256" // in chainDir, if the owner has said which genesis it must be
	trustFile        = "trust"          // in chainDir, HEIGHT:HASH, if the owner has named a block to trust
	receiptsDir      = "receipts"       // in chainDir, of the seat
	snapshotsDir     = "snapshots"      // in chainDir, of the chain node: a folder for each height
)

// chaining is one member's part in the chain: its chain node, its window, its seat. Without a genesis it waits for one.
type chaining struct {
	log     *slog.Logger
	dir     string // the member's folder
	address string // file that tells wallets where the RPC is; empty: nobody is told
	cfg     Config
	host    *p2p.Host
	keys    ChainKeys
	seat    *seat.Seat
	blocks  chan struct{} // told of new blocks: the seat
	sealed  chan struct{} // likewise: the archivist
	dealt   chan struct{} // likewise: the keeper
	told    atomic.Uint64 // how many new blocks this life was told of; 0: nobody tells
	clerk   clerk
	spend   *ledger.Secret
	wanted  string // SHA-256 of the only genesis to take, in hex; empty: any
	carried carried
	gate    *seat.Gate // for those who ask for the genesis, which is large
	light   *seat.Gate // for those who ask for headers
	free    func(address string) bool
	taken   int // starts that failed because somebody took a port first

	mu      sync.Mutex
	genesis *genesis
	life    *chainLife
}

// chainLife is a chain node between its start and its end.
type chainLife struct {
	node      *full.Node
	ledger    *ledger.Ledger
	witnesses []*witness // of a newcomer that takes a snapshot
}

func (l *chainLife) dismiss() {
	for _, w := range l.witnesses {
		w.close()
	}
}

// openChain reads the genesis of a member, if it has one, and answers the questions of others from now on.
func openChain(m *member, cfg Config, role role) (*chaining, error) {
	c := &chaining{log: m.log.With("room", "chain"), dir: m.dir, address: role.address, cfg: cfg, host: m.host, gate: seat.NewGate(16, 1), light: seat.NewGate(256, 64),
		blocks: make(chan struct{}, 1), sealed: make(chan struct{}, 1), dealt: make(chan struct{}, 1), free: isFree}
	var err error
	if c.keys, err = LoadChainKeys(m.dir); err != nil {
		return nil, err
	}
	if c.spend, err = LoadSpendKey(m.dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.path(), 0o700); err != nil {
		return nil, fmt.Errorf("chain: %w", err)
	}
	if err := c.pin(cfg.ChainNode.Genesis); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(c.path(genesisFile))
	if err == nil {
		c.genesis, err = c.check(text)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("%s: %v", c.path(genesisFile), err),
			Hint: "put the right one there, which hpips chain genesis checks; or start with another home: --home DIR"}
	}
	if cfg.ChainNode.Genesis != "" { // it fits what is here, so it is kept
		if err := writeWhole(c.path(pinFile), []byte(c.wanted+"\n")); err != nil {
			return nil, err
		}
	}
	c.seat, err = seat.New(m.log.With("room", "seat"), onChain{c}, seat.Over(m.host), seat.Config{Dir: c.path(receiptsDir), Key: c.keys.Node, VRF: c.keys.VRF})
	if err != nil {
		return nil, err
	}
	return c, errors.Join(m.host.Handle(chainProtocol, maxChainAsk, c.answer), m.host.Handle(possessionProtocol, proof.MaxAnswer, c.audit))
}

func (c *chaining) path(names ...string) string {
	return filepath.Join(append([]string{c.dir, chainDir}, names...)...)
}

// Serve waits for a genesis if there is none, then follows the chain until ctx ends.
func (c *chaining) Serve(ctx context.Context) error {
	if !c.await(ctx) {
		return ctx.Err()
	}
	ctx, stop := context.WithCancel(ctx)
	var beside sync.WaitGroup
	defer beside.Wait()
	defer stop()
	beside.Go(func() { _ = c.seat.Serve(ctx) })
	for {
		err := c.follow(ctx)
		switch {
		case ctx.Err() != nil:
			return err
		case errors.Is(err, full.ErrSignAgain):
		case portTaken(err) && c.taken < 3: // by a node that started in the same moment, say; the next time others are found
			c.taken++
			c.log.Debug("A port of the chain node was taken", "err", err)
		default:
			return err
		}
	}
}

// follow runs a chain node until ctx ends or the node does.
func (c *chaining) follow(ctx context.Context) error {
	life, err := c.start(ctx)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	var beside sync.WaitGroup
	defer func() {
		stop()
		beside.Wait()
		_ = life.ledger.Close()
		life.dismiss()
	}()
	c.enter(life)
	defer c.enter(nil)
	ended := make(chan error, 1)
	beside.Go(func() { ended <- life.node.Serve(ctx) })
	if c.address != "" {
		rpc, _, _ := life.node.Addresses()
		if err := writeWhole(c.address, []byte("http://"+rpc+"\n")); err != nil {
			return err
		}
		defer os.Remove(c.address)
	}
	beside.Go(func() { c.tell(ctx, life) })
	meet := &meeting{log: c.log, host: c.host, peers: func() []peer.ID { return c.others() }, seen: seat.Over(c.host).Seen,
		genesis: c.genesis.sum,
		lonely: func() bool {
			st, err := life.node.Status(ctx)
			return err == nil && st.Peers == 0
		},
		dial: func(addresses ...string) {
			if err := life.node.Dial(addresses...); err != nil {
				c.log.Debug("A node of the chain cannot be dialled", "err", err)
			}
		}}
	beside.Go(func() { _ = meet.Serve(ctx) })
	err = <-ended
	if err == nil {
		err = ctx.Err()
	}
	return err
}

// others are the peers that can be asked about the chain.
func (c *chaining) others() []peer.ID {
	return slices.DeleteFunc(c.host.Candidates(chainProtocol), func(p peer.ID) bool { return p == c.host.ID() })
}

// settings are those of the home's chain node.
func (c *chaining) settings() (full.Config, error) {
	doc, err := chain.ReadGenesis(c.genesis.text)
	if err != nil {
		return full.Config{}, err
	}
	n := c.cfg.ChainNode
	loop := "127.0.0.1"
	listen := "0.0.0.0"
	if c.cfg.loopbackOnly() {
		listen = loop
	}
	cfg := full.Config{Home: c.path(), Doc: doc, Consensus: c.keys.Consensus, VRF: c.keys.VRF, Peers: n.Peers, Origins: n.Origins, Archive: n.Archive,
		Dev: c.genesis.summary.Network == chain.Dev, Log: c.log,
		Listen: c.at(n.Listen, listen, "26656"), RPC: c.at(n.RPC, loop, "26657"), GRPC: c.at(n.GRPC, loop, "9090"), REST: c.at(n.REST, loop, "1317")}
	if !cfg.Dev {
		cfg.MinGas = "0.001uhpips"
	}
	cfg.Trust, err = c.trust()
	return cfg, err
}

// start opens the chain node of the home.
func (c *chaining) start(ctx context.Context) (_ *chainLife, err error) {
	cfg, err := c.settings()
	if err != nil {
		return nil, err
	}
	if !cfg.Dev && c.fresh() {
		c.log.Info("This node checks the blocks of the chain from what it trusts on", "chain", cfg.Doc.ChainID, "trusts", trusts(cfg.Trust))
	}
	life := &chainLife{}
	defer func() {
		if err != nil {
			life.dismiss()
		}
	}()
	if cfg.Trust != nil && c.fresh() {
		life.witnesses = c.seekWitnesses(ctx)
		for _, w := range life.witnesses {
			cfg.StateSyncServers = append(cfg.StateSyncServers, w.at)
		}
	}
	if life.node, err = full.New(cfg); err != nil {
		return nil, err
	}
	if life.ledger, err = ledger.New(life.node.Client(), ledger.Default()); err != nil {
		return nil, errors.Join(err, life.node.Close())
	}
	return life, nil
}

// trust is the block that the owner trusts, if there is one: the newest of those that the owner named, that stands in the genesis file which the owner named, and
// that the program was built with.
func (c *chaining) trust() (*full.Trust, error) {
	told, err := c.named()
	if err != nil {
		return nil, err
	}
	built, err := c.checkpoint()
	if err != nil {
		return nil, err
	}
	best := told
	for _, t := range []*full.Trust{c.genesis.trust, built} {
		if t != nil && (best == nil || t.Height > best.Height) {
			best = t
		}
	}
	return best, nil
}

// trusts says what a history is compared with.
func trusts(t *full.Trust) string {
	if t == nil {
		return "the genesis alone, from the first block on"
	}
	return "block " + t.String()
}

// named is the block that the owner named; nil: none.
func (c *chaining) named() (*full.Trust, error) {
	text, err := os.ReadFile(c.path(trustFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	t, err := full.ParseTrust(string(text))
	if err != nil {
		return nil, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("%s: %v", c.path(trustFile), err), Hint: "it is one line, HEIGHT:HASH; hpips chain join --trust writes it"}
	}
	return &t, nil
}

// checkpoint is the block that the program was built with, if it is one of this chain.
func (c *chaining) checkpoint() (*full.Trust, error) {
	genesis, block, _ := strings.Cut(c.cfg.ChainNode.Checkpoint, ":")
	if genesis == "" || genesis != c.genesis.summary.Hash {
		return nil, nil
	}
	t, err := full.ParseTrust(block)
	if err != nil {
		return nil, fmt.Errorf("the checkpoint of this program: %w", err)
	}
	return &t, nil
}

// at is the address that is said; else the usual one, where it is free and wallets look for this node there; else any free port.
func (c *chaining) at(said, host, port string) string {
	if said != "" {
		return said
	}
	if usual := net.JoinHostPort(host, port); c.address != "" && c.taken == 0 && c.free(usual) {
		return usual
	}
	return net.JoinHostPort(host, "0")
}

// isFree tells whether an address can be listened on just now.
func isFree(address string) bool {
	l, err := net.Listen("tcp", address)
	return err == nil && l.Close() == nil
}

// portTaken tells whether a chain node failed because a port was taken; the engine's errors keep the system's words alone.
func portTaken(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "address already in use") || strings.Contains(err.Error(), "Only one usage of each socket address"))
}

// enter lets others see the life that runs now, or that none does.
func (c *chaining) enter(life *chainLife) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.life = life
}

// running is the life that runs now; nil: none.
func (c *chaining) running() *chainLife {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.life
}

// tell passes on that there is a new block, until ctx ends.
func (c *chaining) tell(ctx context.Context, life *chainLife) {
	const who = "hpips-seat"
	heads, err := life.node.Client().Subscribe(ctx, who, "tm.event='NewBlockHeader'")
	if err != nil {
		c.log.Debug("New blocks are not told of", "err", err)
		return // the seat looks by its clock
	}
	defer c.told.Store(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-heads:
		}
		c.told.Add(1)
		for _, to := range []chan struct{}{c.blocks, c.sealed, c.dealt} {
			select {
			case to <- struct{}{}:
			default: // told, and not looked at yet
			}
		}
	}
}

// answer answers what other nodes ask about the chain.
func (c *chaining) answer(ctx context.Context, from peer.ID, request []byte) ([]byte, error) {
	q, err := parseChainAsk(request)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	g, life := c.genesis, c.life
	c.mu.Unlock()
	var a chainAnswer
	switch {
	case q.What == askWhere:
		if g != nil {
			a.Chain, a.Genesis = g.summary.ChainID, g.sum[:]
		}
		if life != nil {
			a.Address, a.Snapshot = life.node.Address(), snapshot(c.path(snapshotsDir))
		}
	case g == nil:
		return nil, errNoChain
	case q.What == askGenesis && !c.gate.Pass(time.Now()), (q.What == askRPC || q.What == askArchive) && !c.light.Pass(time.Now()):
		return nil, errors.New("too many ask, try again later")
	case q.What == askGenesis:
		a.Text = g.text
	case q.What == askCarry && q.Carry != nil:
		if a.Tx, err = c.carry(ctx, *q.Carry); err != nil {
			c.log.Debug("A registration is not carried", "peer", from, "err", err)
			return nil, err
		}
	case q.What == askRPC && life != nil:
		rpc, _, _ := life.node.Addresses()
		if a.Text, err = askOwnRPC(ctx, rpc, q.RPC); err != nil {
			return nil, err
		}
	case q.What == askArchive && life != nil:
		if a.Segments, err = list(ctx, life.ledger, q.From); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("a question about the chain that is not known: %.20q", q.What)
	}
	return canon.Encode(a)
}

// status is what the node tells of its chain; nil while it follows none.
func (c *chaining) status(ctx context.Context) *client.ChainStatus {
	c.mu.Lock()
	g, life := c.genesis, c.life
	c.mu.Unlock()
	if g == nil {
		return nil
	}
	s := &client.ChainStatus{ID: g.summary.ChainID, Genesis: g.summary.Hash, CatchingUp: true}
	if life == nil {
		return s
	}
	if st, err := life.node.Status(ctx); err == nil {
		s.Height, s.CatchingUp, s.Peers, s.Seated, s.Down = st.Height, st.CatchingUp, st.Peers, st.Seated, st.Down
	}
	s.RPC, s.GRPC, s.REST = life.node.Addresses()
	if h, ok := c.seat.Head(); ok {
		s.Seats, s.Epoch = h.Seats, h.Epoch.Number
	}
	return s
}
