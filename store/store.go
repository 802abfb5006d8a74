// Package store keeps content-addressed bytes: the blocks on this disk, files and
// directories as UnixFS over them, the pins that hold them, and the exchange with other
// peers by bitswap. It promises the CIDs of the profile unixfs-v1-2025 (equal to Kubo's),
// that what Flush or Pin has returned for survives a power cut, and that a damaged block
// is dropped, never used. It leaves to others who should hold what, and who pays.
package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/ipfs/boxo/bitswap"
	"github.com/ipfs/boxo/bitswap/client"
	"github.com/ipfs/boxo/bitswap/network/bsnet"
	"github.com/ipfs/boxo/blockservice"
	"github.com/ipfs/boxo/blockstore"
	"github.com/ipfs/boxo/exchange"
	"github.com/ipfs/boxo/ipld/merkledag"
	uio "github.com/ipfs/boxo/ipld/unixfs/io"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Profile is the name of the import settings; every node must use the same.
const Profile = "unixfs-v1-2025"

const (
	chunkSize = 1 << 20   // bytes of file content in one leaf
	fanOut    = 1024      // links of one node of a file
	shardAt   = 256 << 10 // a directory block above this size is sharded
	shardFan  = 256       // children of one shard of a directory
)

// Config says how a Store works. The zero value is not valid; start from Default.
type Config struct {
	SmallBlock  int                // bytes; blocks up to this size live in SQLite, larger ones in packs
	PackSize    int64              // bytes; a pack of this size takes no more blocks
	Outstanding int                // bytes in flight to one peer before it has taken them
	Workers     int                // goroutines that answer peers
	MaxEntries  int                // files and directories that one tree may have
	MaxFetch    int64              // bytes that one Fetch may bring; 0 is no limit
	Gives       func(peer.ID) bool // whether a peer is given blocks now; nil: all are

	Withheld func(peer.ID, cid.Cid) bool // whether a block is one that a peer is not given; nil: none is
}

// Default returns the settings measured to be good on a home PC.
func Default() Config {
	return Config{
		SmallBlock:  32 << 10,
		PackSize:    128 << 20,
		Outstanding: 16 << 20, // 9 times faster than the default of 1 MiB at 50 ms
		Workers:     8,
		MaxEntries:  2_000_000,
	}
}

// Check reports the first field that cannot work.
func (c Config) Check() error {
	switch {
	case c.SmallBlock < 0 || c.SmallBlock > 256<<10:
		return fmt.Errorf("store config: SmallBlock %d is not in 0…262144", c.SmallBlock)
	case c.PackSize < maxBlockSize:
		return fmt.Errorf("store config: PackSize %d is below the largest block (%d)", c.PackSize, maxBlockSize)
	case c.Outstanding < 1<<20:
		return fmt.Errorf("store config: Outstanding %d is below one block (1048576)", c.Outstanding)
	case c.Workers < 1:
		return fmt.Errorf("store config: Workers %d is below 1", c.Workers)
	case c.MaxEntries < 1:
		return fmt.Errorf("store config: MaxEntries %d is below 1", c.MaxEntries)
	case c.MaxFetch < 0:
		return fmt.Errorf("store config: MaxFetch %d is negative", c.MaxFetch)
	}
	return nil
}

// Store is one node's store. All methods may be called at the same time.
type Store struct {
	log     *slog.Logger
	dir     string
	cfg     Config
	host    host.Host // nil when offline
	lock    *flock.Flock
	blocks  *blocks
	swap    *bitswap.Bitswap // nil when offline
	service blockservice.BlockService
	dag     ipld.DAGService
	gate    gate
	whole   wholes
	chunks  chan struct{} // one token per chunk being hashed and written
	buffers sync.Pool     // *[]byte of chunkSize
	stall   time.Duration // without any block, after which a fetch says its wants anew
}

var profileOnce sync.Once // boxo keeps the profile in process-wide variables

// Open opens the store under dir, creating it when absent, and serves its blocks to the
// peers of h; with h nil it works offline. After an unclean stop the blocks written since
// the last flush are verified before Open returns. The caller must Close it.
func Open(log *slog.Logger, dir string, h host.Host, cfg Config) (*Store, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	profileOnce.Do(uio.UnixFS_v1_2025.ApplyGlobals)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open store: %w", explain(err, dir))
	}
	lock := flock.New(filepath.Join(dir, "lock"))
	switch ok, err := lock.TryLock(); {
	case err != nil:
		return nil, fmt.Errorf("open store %s: %w", dir, explain(err, dir))
	case !ok:
		return nil, hint(fmt.Errorf("open store %s: in use by another process", dir),
			"stop the other daemon, or choose another home with --home")
	}
	b, err := openBlocks(log, dir, cfg.SmallBlock, cfg.PackSize)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w", dir, err), lock.Close())
	}
	workers := min(max(runtime.GOMAXPROCS(0), 2), 8)
	s := &Store{log: log, dir: dir, cfg: cfg, host: h, lock: lock, blocks: b,
		chunks: make(chan struct{}, workers+1), stall: stallTime}
	s.buffers.New = func() any { b := make([]byte, chunkSize); return &b }
	s.gate.changed = make(chan struct{})
	s.whole.roots = make(map[cid.Cid]bool)
	b.onDrop = s.whole.forget
	s.join()
	return s, nil
}

// join puts the exchange and the DAG service over the blocks.
func (s *Store) join() {
	local := everybodys{blockstore.NewIdStore(s.blocks)}
	var ex exchange.Interface
	if s.host != nil {
		s.swap = bitswap.New(context.Background(), bsnet.NewFromIpfsHost(s.host), nowhere{}, local,
			bitswap.MaxOutstandingBytesPerPeer(s.cfg.Outstanding),
			bitswap.EngineBlockstoreWorkerCount(s.cfg.Workers),
			bitswap.EngineTaskWorkerCount(s.cfg.Workers),
			bitswap.TaskWorkerCount(s.cfg.Workers),
			bitswap.ProviderSearchDelay(time.Second),
			bitswap.WithoutDuplicatedBlockStats(),
			bitswap.WithClientOption(client.WithDontHaveTimeoutConfig(patience())),
			bitswap.WithClientOption(client.WithDefaultProviderQueryManager(false)),
			bitswap.WithPeerBlockRequestFilter(func(p peer.ID, c cid.Cid) bool { return s.gives(p) && !s.withheld(p, c) }),
		)
		ex = s.swap
		s.host.SetStreamHandler(directProtocol, s.answerDirect)
	}
	s.service = blockservice.New(local, ex, blockservice.WriteThrough(true))
	s.dag = merkledag.NewDAGService(s.service)
}

// gives reports whether a peer is given blocks now.
func (s *Store) gives(p peer.ID) bool { return s.cfg.Gives == nil || s.cfg.Gives(p) }

// withheld reports whether a block is one that a peer is not given.
func (s *Store) withheld(p peer.ID, c cid.Cid) bool {
	return s.cfg.Withheld != nil && s.cfg.Withheld(p, c)
}

// patience is how long a peer may take to answer a want before bitswap pretends that it
// said no. The default is twice the latency seen, at least 50 ms: on a busy machine that
// passes while the answer is on its way, the peer leaves the session, and wants are lost.
func patience() *client.DontHaveTimeoutConfig {
	c := client.DefaultDontHaveTimeoutConfig()
	c.MinTimeout, c.DontHaveTimeout, c.MaxTimeout = 10*time.Second, 15*time.Second, 20*time.Second
	return c
}

// nowhere is the content discovery of a node that asks only the peers it is connected to.
type nowhere struct{}

// FindProvidersAsync knows no provider.
func (nowhere) FindProvidersAsync(context.Context, cid.Cid, int) <-chan peer.AddrInfo {
	none := make(chan peer.AddrInfo)
	close(none)
	return none
}

// Close stops the exchange, flushes, and releases the folder. It is called once.
func (s *Store) Close() error {
	var errs []error
	if s.swap != nil {
		s.host.RemoveStreamHandler(directProtocol)
		errs = append(errs, s.swap.Close())
	}
	errs = append(errs, s.blocks.Close(), s.lock.Close())
	return errors.Join(errs...)
}

// Flush makes every block put so far durable.
func (s *Store) Flush(ctx context.Context) error { return s.blocks.Flush(ctx) }

// Has tells whether the block c itself is on this disk; it asks nobody.
func (s *Store) Has(ctx context.Context, c cid.Cid) (bool, error) {
	return s.service.Blockstore().Has(ctx, c)
}

// Stat counts what the store holds.
type Stat struct {
	Blocks int64
	Bytes  int64 // of blocks, not of disk
	Pins   int
}

// Stat reports counts without reading any block.
func (s *Store) Stat(ctx context.Context) (Stat, error) {
	n, size := s.blocks.totals()
	pins, err := s.blocks.index.countPins(ctx)
	return Stat{Blocks: n, Bytes: size, Pins: pins}, err
}

// wholes remembers, within this process, roots whose DAG is known to be complete on this
// disk, so that a pin after an add does not walk it again.
type wholes struct {
	mu    sync.Mutex
	roots map[cid.Cid]bool
	drops int // times that blocks went away
}

const maxWholes = 4096

// mark is taken before a DAG is walked or built and given to note after it.
func (w *wholes) mark() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.drops
}

// note remembers c, unless blocks went away since the mark.
func (w *wholes) note(c cid.Cid, mark int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.drops != mark {
		return
	}
	if len(w.roots) >= maxWholes {
		clear(w.roots)
	}
	w.roots[c] = true
}

func (w *wholes) has(c cid.Cid) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.roots[c]
}

func (w *wholes) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drops++
	clear(w.roots)
}
