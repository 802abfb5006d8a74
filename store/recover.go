package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/ipfs/boxo/datastore/dshelp"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	"github.com/multiformats/go-multihash"
	"golang.org/x/sync/errgroup"
)

// begin verifies after an unclean stop, sets the mark that a clean Close removes, and
// loads the counts.
func (b *blocks) begin() error {
	ctx := context.Background()
	mark := filepath.Join(b.dir, dirtyMark)
	_, err := os.Stat(mark)
	switch {
	case err == nil:
		if err := b.verify(ctx); err != nil {
			return fmt.Errorf("verify after an unclean stop: %w", err)
		}
	case !os.IsNotExist(err):
		return err
	}
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		return explain(err, mark)
	}
	if err := syncEach([]string{mark}, []string{b.dir}); err != nil {
		return explain(err, mark)
	}
	b.total[0], b.total[1], err = b.index.totals(ctx)
	return err
}

// verify settles what an unclean stop left:
//  1. files that the index does not list were not synced: keep those whose hash is right;
//  2. rows whose file is gone are taken out;
//  3. commit.
//
// Small blocks need nothing: SQLite has them whole or not at all.
func (b *blocks) verify(ctx context.Context) error {
	kept, dropped, err := b.verifyFiles(ctx)
	if err != nil {
		return err
	}
	gone := 0
	err = b.index.keys(ctx, true, func(page []multihash.Multihash) error {
		var lost []multihash.Multihash
		for _, h := range page {
			if _, err := os.Stat(b.path(h)); os.IsNotExist(err) {
				lost = append(lost, h)
			}
		}
		gone += len(lost)
		if len(lost) == 0 {
			return nil
		}
		return b.remove(ctx, lost...)
	})
	if err != nil {
		return err
	}
	b.log.Info("verified blocks after an unclean stop", "kept", kept, "damaged", dropped, "missing", gone)
	return b.Flush(ctx)
}

func (b *blocks) verifyFiles(ctx context.Context) (kept, dropped int, err error) {
	found, err := b.big.Query(ctx, query.Query{KeysOnly: true})
	if err != nil {
		return 0, 0, err
	}
	defer found.Close()
	for r := range found.Next() {
		if r.Error != nil {
			return kept, dropped, r.Error
		}
		key := datastore.NewKey(r.Key)
		h, err := dshelp.DsKeyToMultihash(key)
		if err != nil {
			continue // not ours; never looked up
		}
		if size, err := b.index.listed(ctx, h); err != nil || size >= 0 {
			if err != nil {
				return kept, dropped, err
			}
			continue
		}
		data, err := b.big.Get(ctx, key)
		if err == nil && matches(h, data) {
			b.mu.Lock()
			b.unsynced = append(b.unsynced, bigRow{hash: string(h), size: len(data)})
			b.noteFresh(h, len(data))
			b.mu.Unlock()
			kept++
			continue
		}
		b.log.Warn("dropped a block damaged by the unclean stop", "multihash", h.B58String(), "bytes", len(data))
		if err := b.big.Delete(ctx, key); err != nil {
			return kept, dropped, err
		}
		dropped++
	}
	return kept, dropped, nil
}

// inParallel calls fn for each of the items, at most n at a time, and gives the first error.
func inParallel[T any](n int, items []T, fn func(T) error) error {
	var group errgroup.Group
	group.SetLimit(n)
	for _, item := range items {
		group.Go(func() error { return fn(item) })
	}
	return group.Wait()
}
