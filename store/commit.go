package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/ipfs/boxo/datastore/dshelp"
	"github.com/multiformats/go-multihash"
)

// Flush makes all blocks put before it durable, or says why not.
func (b *blocks) Flush(ctx context.Context) error { return b.commit(ctx, true) }

// mark and flushSince bracket an operation: an error tells that blocks put in between may
// be lost, also when another goroutine's commit lost them.
func (b *blocks) mark() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lost
}

func (b *blocks) flushSince(ctx context.Context, mark int64) error {
	if err := b.commit(ctx, true); err != nil {
		return err
	}
	if b.mark() != mark {
		return fmt.Errorf("flush %s: the disk lost blocks that were just written", b.dir)
	}
	return nil
}

// commit writes one batch: large files are synced, then small blocks and the list of the
// large ones go into one transaction. Without force it does so only past the limits.
func (b *blocks) commit(ctx context.Context, force bool) error {
	over := func() bool { return b.waiting[0] >= commitSmall || b.waiting[1] >= commitBig }
	b.mu.Lock()
	due := force || over()
	b.mu.Unlock()
	if !due {
		return nil
	}
	b.commits.Lock()
	defer b.commits.Unlock()
	b.mu.Lock()
	if !force && !over() { // another goroutine did it meanwhile
		b.mu.Unlock()
		return nil
	}
	if len(b.committing) > 0 {
		maps.Copy(b.committing, b.pending)
	} else {
		b.committing = b.pending
	}
	small, big := b.committing, b.unsynced
	b.pending, b.unsynced, b.waiting = make(map[string][]byte), nil, [2]int{}
	if len(small)+len(big) == 0 {
		b.failed = nil
		b.mu.Unlock()
		return nil
	}
	b.mu.Unlock()
	// Others' blocks are in the batch: the end of one caller must not end it.
	return b.write(context.WithoutCancel(ctx), small, big)
}

func (b *blocks) write(ctx context.Context, small map[string][]byte, big []bigRow) error {
	big, err := b.sync(ctx, big)
	if err != nil {
		b.mu.Lock()
		b.failed = err // small is kept for the next try
		b.mu.Unlock()
		return err
	}
	n, size, err := b.index.store(ctx, small, big)
	err = explain(err, b.index.path)
	if err != nil {
		err = fmt.Errorf("commit %d blocks: %w", len(small)+len(big), err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed = err; err != nil {
		b.unsynced = append(big, b.unsynced...)
		return err
	}
	b.committing = nil
	b.total[0], b.total[1] = b.total[0]+n, b.total[1]+size
	return nil
}

// sync makes the files of the rows durable and returns the rows whose file is there. When
// the disk fails it removes all of them, for after a failed sync nobody knows what is on it.
func (b *blocks) sync(ctx context.Context, rows []bigRow) ([]bigRow, error) {
	kept := rows[:0:0]
	files := make([]string, 0, len(rows))
	dirs := map[string]bool{}
	for _, row := range rows {
		path := b.path(multihash.Multihash(row.hash))
		if _, err := os.Stat(path); err != nil {
			continue // deleted meanwhile
		}
		kept, files = append(kept, row), append(files, path)
		dirs[filepath.Dir(path)] = true
	}
	if len(files) == 0 {
		return nil, nil
	}
	root := filepath.Join(b.dir, bigFolder)
	dirs[root] = true
	err := b.settle(files, slices.Sorted(maps.Keys(dirs)))
	if err == nil {
		return kept, nil
	}
	for _, row := range kept {
		_ = b.big.Delete(ctx, dshelp.MultihashToDsKey(multihash.Multihash(row.hash)))
	}
	b.mu.Lock()
	b.lost++
	clear(b.fresh)
	b.mu.Unlock()
	b.onDrop()
	return nil, fmt.Errorf("sync %d blocks: %w", len(files), explain(err, root))
}

// syncEach makes each file and folder durable, several at a time since file systems join
// the commits of concurrent syncs.
func syncEach(files, dirs []string) error {
	if runtime.GOOS == "windows" {
		dirs = nil // NTFS has no sync of folders; its journal orders their entries
	}
	for _, paths := range [][]string{files, dirs} {
		if err := inParallel(16, paths, syncOne); err != nil {
			return err
		}
	}
	return nil
}

func syncOne(path string) error {
	flag := os.O_RDWR
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		flag = os.O_RDONLY
	}
	f, err := os.OpenFile(path, flag, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// abandon takes away the blocks that are not yet committed. Nobody may be adding any.
func (b *blocks) abandon(ctx context.Context) error {
	b.commits.Lock()
	defer b.commits.Unlock()
	b.mu.Lock()
	big := b.unsynced
	b.pending, b.committing, b.unsynced, b.waiting, b.failed = make(map[string][]byte), nil, nil, [2]int{}, nil
	for _, row := range big {
		delete(b.fresh, head(multihash.Multihash(row.hash)))
	}
	b.mu.Unlock()
	for _, row := range big {
		if err := b.big.Delete(ctx, dshelp.MultihashToDsKey(multihash.Multihash(row.hash))); err != nil {
			return fmt.Errorf("abandon blocks: %w", err)
		}
	}
	b.onDrop()
	return nil
}
