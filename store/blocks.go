package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	blockfmt "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/multiformats/go-multihash"

	"github.com/hpips/hpips/store/pack"
)

// Where what lies, and when a batch is written.
const (
	packFolder   = "packs"   // large blocks
	dirtyMark    = "dirty"   // present while open, so found only after an unclean stop
	commitSmall  = 4 << 20   // bytes of small blocks that wait in memory for one commit
	commitBig    = 256 << 20 // bytes of large blocks written but not yet synced
	maxFresh     = 1 << 16   // large blocks remembered as verified
	maxBlockSize = 2 << 20   // bitswap's limit
)

// blocks is a blockstore.Blockstore of two halves: small blocks in SQLite, large ones in
// packs, with their places in SQLite. Put is seen by readers at once and durable after Flush. A block read from disk is
// hashed before it is given away: a small one each time, a large one unless it was hashed
// or written within the last minute. One that fails is dropped, with a log line.
type blocks struct {
	log      *slog.Logger
	dir      string
	small    int // bytes; the limit of a small block
	big      *pack.Packs
	index    *index
	arrivals arrivals
	onDrop   func()                                                       // called after blocks went away
	write    func(h multihash.Multihash, data []byte) (pack.Place, error) // appends a large block
	settle   func() error                                                 // makes large blocks durable

	compaction sync.Mutex   // held by who compacts
	commits    sync.Mutex   // held while a batch is written, or a pack is emptied
	appends    sync.RWMutex // held for reading from before a large block is written until it is in unsynced

	mu         sync.Mutex
	pending    map[string][]byte     // small blocks for the next commit, by multihash
	committing map[string][]byte     // small blocks of the commit under way, or of one that failed
	failed     error                 // why it failed; puts are refused until it succeeds
	unsynced   map[string]pack.Place // large blocks for the next commit
	syncing    map[string]pack.Place // those of the commit under way
	waiting    [2]int                // bytes in pending and in unsynced
	lost       int64                 // times that a sync failed and took blocks with it
	total      [2]int64
	fresh      map[uint64]uint32 // large blocks that were right since a moment ago: head of the digest → size
	since      time.Time         // that moment
}

func openBlocks(log *slog.Logger, dir string, small int, packSize int64) (*blocks, error) {
	x, err := openIndex(dir)
	if err != nil {
		return nil, err
	}
	last, err := x.lastPack(context.Background())
	if err != nil {
		return nil, errors.Join(err, x.close())
	}
	path := filepath.Join(dir, packFolder)
	big, err := pack.Open(path, packSize, last)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("blocks %s: %w", path, explain(err, path)), x.close())
	}
	b := &blocks{log: log, dir: dir, small: small, big: big, index: x, onDrop: func() {}, write: big.Append, settle: big.Sync,
		pending: make(map[string][]byte), unsynced: make(map[string]pack.Place), fresh: make(map[uint64]uint32)}
	if err := b.begin(); err != nil {
		return nil, errors.Join(err, x.close(), big.Close())
	}
	return b, nil
}

// Close flushes and closes; after an error the next open verifies what was not flushed.
func (b *blocks) Close() error {
	ctx := context.Background()
	err := b.Flush(ctx)
	err = errors.Join(err, b.index.close(), b.big.Close())
	if err != nil {
		return fmt.Errorf("close blocks: %w", err)
	}
	return os.Remove(filepath.Join(b.dir, dirtyMark))
}

// Put takes the block; it copies what it keeps in memory. The caller vouches that the
// bytes have the hash of the CID.
func (b *blocks) Put(ctx context.Context, block blockfmt.Block) error {
	h := block.Cid().Hash()
	err := b.put(ctx, h, block.RawData())
	if err == nil {
		b.arrivals.tell(h)
	}
	return err
}

// PutMany puts each.
func (b *blocks) PutMany(ctx context.Context, many []blockfmt.Block) error {
	for _, block := range many {
		if err := b.Put(ctx, block); err != nil {
			return err
		}
	}
	return nil
}

func (b *blocks) put(ctx context.Context, h multihash.Multihash, data []byte) error {
	if len(data) > maxBlockSize {
		return fmt.Errorf("block %s of %d bytes: %w", h.B58String(), len(data), ErrTooLarge)
	}
	if len(data) > b.small {
		if err := b.putBig(ctx, h, data); err != nil {
			return err
		}
		return b.commit(ctx, false)
	}
	b.mu.Lock()
	if b.failed == nil {
		if _, ok := b.pending[string(h)]; !ok {
			b.pending[string(h)] = append([]byte{}, data...) // never nil
			b.waiting[0] += len(data) + 64
		}
	}
	retry := b.failed != nil
	b.mu.Unlock()
	if retry { // the disk refused a batch: take no more until it has it
		if err := b.commit(ctx, true); err != nil {
			return err
		}
		return b.put(ctx, h, data)
	}
	return b.commit(ctx, false)
}

// putBig appends a large block to the packs, unless it is there.
func (b *blocks) putBig(ctx context.Context, h multihash.Multihash, data []byte) error {
	if have, err := b.getBig(ctx, h); err == nil && have != nil {
		return nil // there and whole
	}
	b.appends.RLock()
	defer b.appends.RUnlock()
	lost := b.mark()
	at, err := b.write(h, data)
	if err != nil {
		return fmt.Errorf("write block %s: %w", h.B58String(), explain(err, filepath.Join(b.dir, packFolder)))
	}
	b.mu.Lock()
	if b.lost != lost { // it may have been written into what a failed sync lost
		b.mu.Unlock()
		return fmt.Errorf("write block %s: %w", h.B58String(), errLost)
	}
	b.unsynced[string(h)] = at
	b.waiting[1] += len(data)
	b.noteFresh(h, len(data))
	b.mu.Unlock()
	return nil
}

// place tells where a large block lies.
func (b *blocks) place(ctx context.Context, h multihash.Multihash) (at pack.Place, ok bool, err error) {
	b.mu.Lock()
	at, ok = b.unsynced[string(h)]
	if !ok {
		at, ok = b.syncing[string(h)]
	}
	b.mu.Unlock()
	if ok {
		return at, true, nil
	}
	return b.index.place(ctx, h)
}

// Get reads and verifies; ipld.ErrNotFound when absent or damaged.
func (b *blocks) Get(ctx context.Context, c cid.Cid) (blockfmt.Block, error) {
	if !c.Defined() {
		return nil, ipld.ErrNotFound{Cid: c}
	}
	data, err := b.read(ctx, c.Hash())
	if err != nil {
		return nil, fmt.Errorf("read block %s: %w", c, err)
	}
	if data == nil {
		return nil, ipld.ErrNotFound{Cid: c}
	}
	return blockfmt.NewBlockWithCid(data, c)
}

func (b *blocks) read(ctx context.Context, h multihash.Multihash) ([]byte, error) {
	if data := b.waitingData(h); data != nil {
		return data, nil
	}
	data, err := b.getBig(ctx, h)
	if data != nil || err != nil {
		return data, err
	}
	if data, err = b.index.load(ctx, h); data == nil || err != nil {
		return nil, err
	}
	if !matches(h, data) {
		return nil, b.dropDamaged(ctx, h, len(data))
	}
	return data, nil
}

func (b *blocks) waitingData(h multihash.Multihash) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if data, ok := b.pending[string(h)]; ok {
		return data
	}
	return b.committing[string(h)]
}

// getBig reads a large block; nil when it is absent. One that is damaged or lost is dropped, unless the whole disk is away.
func (b *blocks) getBig(ctx context.Context, h multihash.Multihash) ([]byte, error) {
	at, ok, err := b.place(ctx, h)
	for ok && err == nil {
		var data []byte
		data, err = b.big.Read(h, at)
		if err == nil && (b.isFresh(h, at.Size) || matches(h, data)) {
			b.mu.Lock()
			b.noteFresh(h, len(data))
			b.mu.Unlock()
			return data, nil
		}
		gone := errors.Is(err, fs.ErrNotExist)
		if err != nil && !gone && !errors.Is(err, pack.ErrDamaged) {
			return nil, err
		}
		was := at
		if at, ok, err = b.place(ctx, h); err != nil || at != was {
			continue // it was moved, or removed, while it was read
		}
		if gone && b.away() {
			return nil, nil
		}
		return nil, b.dropDamaged(ctx, h, at.Size)
	}
	return nil, err
}

// away tells whether the folder is not there, as of a disk that is not mounted. The mark is there for as long as the store is open.
func (b *blocks) away() bool {
	for _, name := range []string{dirtyMark, packFolder} {
		if _, err := os.Stat(filepath.Join(b.dir, name)); err != nil {
			return true
		}
	}
	return false
}

// isFresh tells whether a large block was right a moment ago.
func (b *blocks) isFresh(h multihash.Multihash, n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if time.Since(b.since) > freshFor { // a disk may spoil at any time what was right
		clear(b.fresh)
		b.since = time.Now()
	}
	size, ok := b.fresh[head(h)]
	return ok && int(size) == n
}

// noteFresh is called with mu held.
func (b *blocks) noteFresh(h multihash.Multihash, size int) {
	if len(b.fresh) >= maxFresh {
		clear(b.fresh)
	}
	b.fresh[head(h)] = uint32(size)
}

func head(h multihash.Multihash) uint64 {
	if len(h) < 10 {
		return 0
	}
	return binary.BigEndian.Uint64(h[2:10])
}

func (b *blocks) dropDamaged(ctx context.Context, h multihash.Multihash, size int) error {
	b.log.Warn("dropped a damaged block", "multihash", h.B58String(), "bytes", size)
	return b.remove(ctx, h)
}

// matches tells whether data has the hash h.
func matches(h multihash.Multihash, data []byte) bool {
	if len(h) == 34 && h[0] == multihash.SHA2_256 && h[1] == sha256.Size {
		sum := sha256.Sum256(data)
		return bytes.Equal(sum[:], h[2:])
	}
	d, err := multihash.Decode(h)
	if err != nil {
		return false
	}
	sum, err := multihash.Sum(data, d.Code, d.Length)
	return err == nil && bytes.Equal(sum, h)
}

// Has tells whether the block is here.
func (b *blocks) Has(ctx context.Context, c cid.Cid) (bool, error) {
	_, err := b.GetSize(ctx, c)
	if ipld.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// GetSize gives the bytes of the block, or ipld.ErrNotFound.
func (b *blocks) GetSize(ctx context.Context, c cid.Cid) (int, error) {
	if !c.Defined() {
		return -1, ipld.ErrNotFound{Cid: c}
	}
	h := c.Hash()
	if data := b.waitingData(h); data != nil {
		return len(data), nil
	}
	switch at, ok, err := b.place(ctx, h); {
	case err != nil:
		return -1, fmt.Errorf("block %s: %w", c, err)
	case ok && b.big.Has(h, at):
		return at.Size, nil
	}
	n, err := b.index.smallSize(ctx, h)
	if err != nil {
		return -1, fmt.Errorf("block %s: %w", c, err)
	}
	if n < 0 {
		return -1, ipld.ErrNotFound{Cid: c}
	}
	return n, nil
}

// DeleteBlock removes the block; an absent one is no error.
func (b *blocks) DeleteBlock(ctx context.Context, c cid.Cid) error {
	if err := b.remove(ctx, c.Hash()); err != nil {
		return fmt.Errorf("delete block %s: %w", c, err)
	}
	return nil
}

// remove takes blocks away. The room of large ones is free after the next compaction.
func (b *blocks) remove(ctx context.Context, hashes ...multihash.Multihash) error {
	b.mu.Lock()
	for _, h := range hashes {
		delete(b.pending, string(h))
		delete(b.unsynced, string(h))
		delete(b.fresh, head(h))
	}
	held := len(b.committing)+len(b.syncing) > 0
	b.mu.Unlock()
	if held { // let the commit under way finish, then take its rows out
		if err := b.commit(ctx, true); err != nil {
			return err
		}
	}
	return b.unlist(ctx, hashes...)
}

// unlist takes blocks out of the index.
func (b *blocks) unlist(ctx context.Context, hashes ...multihash.Multihash) error {
	n, size, err := b.index.drop(ctx, hashes...)
	if err != nil {
		return explain(err, b.index.path)
	}
	b.mu.Lock()
	b.total[0], b.total[1] = b.total[0]-n, b.total[1]-size
	b.mu.Unlock()
	b.onDrop()
	return nil
}

// AllKeysChan gives every block as a raw CID; it ends early when ctx ends.
func (b *blocks) AllKeysChan(ctx context.Context) (<-chan cid.Cid, error) {
	keys, _, err := b.AllKeysChanWithErr(ctx)
	return keys, err
}

// AllKeysChanWithErr also gives a function that tells, once the channel is closed, whether
// the list was complete.
func (b *blocks) AllKeysChanWithErr(ctx context.Context) (<-chan cid.Cid, func() error, error) {
	if err := b.Flush(ctx); err != nil {
		return nil, nil, err
	}
	keys := make(chan cid.Cid, 64)
	end := make(chan error, 1)
	go func() {
		defer close(keys)
		end <- b.index.keys(ctx, func(page []multihash.Multihash) error {
			for _, h := range page {
				select {
				case keys <- cid.NewCidV1(cid.Raw, h):
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		})
	}()
	return keys, func() error { return <-end }, nil
}

// totals counts blocks and bytes, those that wait in memory too.
func (b *blocks) totals() (n, size int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, size = b.total[0]+int64(len(b.pending)+len(b.committing)+len(b.unsynced)+len(b.syncing)), b.total[1]
	for _, big := range []map[string]pack.Place{b.unsynced, b.syncing} {
		for _, at := range big {
			size += int64(at.Size)
		}
	}
	for _, data := range b.pending {
		size += int64(len(data))
	}
	for _, data := range b.committing {
		size += int64(len(data))
	}
	return n, size
}
