package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/multiformats/go-multihash"
	"golang.org/x/sync/errgroup"

	"github.com/hpips/hpips/store/pack"
)

// begin verifies after an unclean stop, sets the mark that a clean Close removes, and
// loads the counts.
func (b *blocks) begin() error {
	ctx := context.Background()
	mark := filepath.Join(b.dir, dirtyMark)
	_, err := os.Stat(mark)
	switch {
	case err == nil || b.index.made: // packs without an index had one once
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
	if b.total[0], b.total[1], err = b.index.totals(ctx); err != nil {
		return err
	}
	return b.takeOver(ctx)
}

// verify settles what an unclean stop left, pack by pack:
//  1. blocks whose record is not there any more are taken out;
//  2. records behind the last listed one were not synced: keep those whose hash is right;
//  3. cut off what is behind them, sync, commit.
//
// Small blocks need nothing: SQLite has them whole or not at all.
func (b *blocks) verify(ctx context.Context) error {
	live, err := b.index.packs(ctx)
	if err != nil {
		return err
	}
	files, err := b.big.List()
	if err != nil {
		return err
	}
	kept, dropped, gone := 0, 0, 0
	for _, f := range files {
		listed := live[f.ID]
		delete(live, f.ID)
		if f.Size < listed.end {
			n, err := b.shortened(ctx, f)
			if gone += n; err != nil {
				return err
			}
			continue
		}
		n, damaged, err := b.tail(ctx, f, listed.end)
		kept, dropped = kept+n, dropped+damaged
		if err == nil {
			err = b.Flush(ctx)
		}
		if err != nil {
			return err
		}
	}
	for id := range live {
		n, err := b.shortened(ctx, pack.File{ID: id})
		if gone += n; err != nil {
			return err
		}
	}
	if !b.index.made || kept > 0 {
		b.log.Info("verified blocks after an unclean stop", "kept", kept, "damaged", dropped, "missing", gone)
	}
	return nil
}

// shortened takes out the blocks that a pack does not reach to the end of, and tells how many.
func (b *blocks) shortened(ctx context.Context, f pack.File) (int, error) {
	rows, err := b.index.inPack(ctx, f.ID)
	if err != nil {
		return 0, err
	}
	var lost []multihash.Multihash
	for _, r := range rows {
		if !b.big.Has(r.hash, r.at) {
			lost = append(lost, r.hash)
		}
	}
	if len(lost) == 0 {
		return 0, nil
	}
	return len(lost), b.unlist(ctx, lost...)
}

// tail looks at the records of a pack from a byte on, which are not listed.
func (b *blocks) tail(ctx context.Context, f pack.File, from int64) (kept, dropped int, err error) {
	if f.Size == from && from > 0 {
		return 0, 0, nil
	}
	end := from
	err = b.big.Scan(f.ID, from, func(h multihash.Multihash, at pack.Place, until int64, data []byte) error {
		if !matches(h, data) {
			b.log.Warn("dropped a block damaged by the unclean stop", "multihash", h.B58String(), "bytes", len(data))
			dropped++
			return nil
		}
		if _, ok, err := b.place(ctx, h); ok || err != nil {
			return err // it was being moved
		}
		b.mu.Lock()
		b.unsynced[string(h)] = at
		b.noteFresh(h, len(data))
		b.mu.Unlock()
		kept++
		end = until
		return nil
	})
	if err != nil {
		return kept, dropped, err
	}
	return kept, dropped, b.big.Cut(f.ID, end)
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
