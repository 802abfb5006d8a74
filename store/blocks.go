package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/ipfs/boxo/datastore/dshelp"
	blockfmt "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	flatfs "github.com/ipfs/go-ds-flatfs"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/multiformats/go-multihash"
)

// Where what lies, and when a batch is written.
const (
	bigFolder    = "big"     // large blocks, one file each, by flatfs
	dirtyMark    = "dirty"   // present while open, so found only after an unclean stop
	commitSmall  = 4 << 20   // bytes of small blocks that wait in memory for one commit
	commitBig    = 256 << 20 // bytes of large blocks written but not yet synced
	maxFresh     = 1 << 16   // large blocks remembered as verified
	maxBlockSize = 2 << 20   // bitswap's limit
)

// blocks is a blockstore.Blockstore of two halves: small blocks in SQLite, large ones in
// files. Put is seen by readers at once and durable after Flush. A block read from disk is
// hashed before it is given away: a small one each time, a large one unless it was hashed
// or written within the last minute. One that fails is dropped, with a log line.
type blocks struct {
	log      *slog.Logger
	dir      string
	small    int // bytes; the limit of a small block
	big      datastore.Datastore
	shard    flatfs.ShardFunc
	index    *index
	arrivals arrivals
	onDrop   func()                           // called after blocks went away
	settle   func(files, dirs []string) error // makes files and folders durable

	commits sync.Mutex // held while a batch is written

	mu         sync.Mutex
	pending    map[string][]byte // small blocks for the next commit, by multihash
	committing map[string][]byte // small blocks of the commit under way, or of one that failed
	failed     error             // why it failed; puts are refused until it succeeds
	unsynced   []bigRow
	waiting    [2]int // bytes in pending and in unsynced
	lost       int64  // times that a sync failed and took blocks with it
	total      [2]int64
	fresh      map[uint64]uint32 // large blocks that were right since a moment ago: head of the digest → size
	since      time.Time         // that moment
}

func openBlocks(log *slog.Logger, dir string, small int) (*blocks, error) {
	path := filepath.Join(dir, bigFolder)
	shard := flatfs.NextToLast(2)
	big, err := flatfs.CreateOrOpen(path, shard, false)
	if err != nil {
		return nil, fmt.Errorf("blocks %s: %w", path, explain(err, path))
	}
	x, err := openIndex(dir)
	if err != nil {
		return nil, errors.Join(err, big.Close())
	}
	b := &blocks{log: log, dir: dir, small: small, big: big, shard: shard.Func(), index: x, onDrop: func() {}, settle: syncEach,
		pending: make(map[string][]byte), fresh: make(map[uint64]uint32)}
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
		return b.putBig(ctx, h, data)
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

func (b *blocks) putBig(ctx context.Context, h multihash.Multihash, data []byte) error {
	key := dshelp.MultihashToDsKey(h)
	if have, err := b.big.Has(ctx, key); err == nil && have {
		if _, err := b.getBig(ctx, h); err == nil {
			return nil // there and whole
		}
	}
	if err := b.big.Put(ctx, key, data); err != nil {
		return fmt.Errorf("write block %s: %w", h.B58String(), explain(err, filepath.Join(b.dir, bigFolder)))
	}
	startWriting(b.path(h))
	b.mu.Lock()
	b.unsynced = append(b.unsynced, bigRow{hash: string(h), size: len(data)})
	b.waiting[1] += len(data)
	b.noteFresh(h, len(data))
	b.mu.Unlock()
	return b.commit(ctx, false)
}

// path is the file of a large block, as flatfs lays it out.
func (b *blocks) path(h multihash.Multihash) string {
	name := dshelp.MultihashToDsKey(h).String()[1:]
	return filepath.Join(b.dir, bigFolder, b.shard(name), name+".data")
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
	if err == nil || !errors.Is(err, datastore.ErrNotFound) {
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

// getBig reads a large block; datastore.ErrNotFound when absent or damaged.
func (b *blocks) getBig(ctx context.Context, h multihash.Multihash) ([]byte, error) {
	data, err := b.big.Get(ctx, dshelp.MultihashToDsKey(h))
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	if time.Since(b.since) > freshFor { // a disk may spoil at any time what was right
		clear(b.fresh)
		b.since = time.Now()
	}
	size, ok := b.fresh[head(h)]
	b.mu.Unlock()
	if ok && int(size) == len(data) {
		return data, nil
	}
	if !matches(h, data) {
		if err := b.dropDamaged(ctx, h, len(data)); err != nil {
			return nil, err
		}
		return nil, datastore.ErrNotFound
	}
	b.mu.Lock()
	b.noteFresh(h, len(data))
	b.mu.Unlock()
	return data, nil
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
	switch n, err := b.big.GetSize(ctx, dshelp.MultihashToDsKey(h)); {
	case err == nil:
		return n, nil
	case !errors.Is(err, datastore.ErrNotFound):
		return -1, fmt.Errorf("block %s: %w", c, err)
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

// remove takes blocks away, the index first, so that a crash leaves a file that the next
// open verifies rather than a row without a file.
func (b *blocks) remove(ctx context.Context, hashes ...multihash.Multihash) error {
	b.mu.Lock()
	for _, h := range hashes {
		delete(b.pending, string(h))
		delete(b.fresh, head(h))
	}
	held := len(b.committing) > 0
	b.mu.Unlock()
	if held { // let the commit under way finish, then take its rows out
		if err := b.commit(ctx, true); err != nil {
			return err
		}
	}
	n, size, err := b.index.drop(ctx, hashes...)
	if err != nil {
		return explain(err, b.index.path)
	}
	b.mu.Lock()
	b.total[0], b.total[1] = b.total[0]-n, b.total[1]-size
	b.mu.Unlock()
	for _, h := range hashes {
		if err := b.big.Delete(ctx, dshelp.MultihashToDsKey(h)); err != nil {
			return err
		}
	}
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
		end <- b.index.keys(ctx, false, func(page []multihash.Multihash) error {
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
	n, size = b.total[0]+int64(len(b.pending)+len(b.committing)+len(b.unsynced)), b.total[1]
	for _, row := range b.unsynced {
		size += int64(row.size)
	}
	for _, data := range b.pending {
		size += int64(len(data))
	}
	for _, data := range b.committing {
		size += int64(len(data))
	}
	return n, size
}
