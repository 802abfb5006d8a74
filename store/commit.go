package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"

	"github.com/multiformats/go-multihash"

	"github.com/hpips/hpips/store/pack"
)

// errLost is why a block that was taken may not be on the disk.
var errLost = errors.New("the disk lost blocks that were just written")

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
		return fmt.Errorf("flush %s: %w", b.dir, errLost)
	}
	return nil
}

// commit writes one batch: packs are synced, then small blocks and the places of the
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
	b.syncing = b.unsynced
	small, big := b.committing, b.syncing
	b.pending, b.unsynced, b.waiting = make(map[string][]byte), make(map[string]pack.Place), [2]int{}
	if len(small)+len(big) == 0 {
		b.failed = nil
		b.mu.Unlock()
		return nil
	}
	b.mu.Unlock()
	// Others' blocks are in the batch: the end of one caller must not end it.
	return b.store(context.WithoutCancel(ctx), small, big)
}

func (b *blocks) store(ctx context.Context, small map[string][]byte, big map[string]pack.Place) error {
	if err := b.sync(len(big)); err != nil {
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
	b.syncing = nil
	if b.failed = err; err != nil {
		maps.Copy(b.unsynced, big)
		return err
	}
	b.committing = nil
	b.total[0], b.total[1] = b.total[0]+n, b.total[1]+size
	return nil
}

// sync makes the n large blocks of a commit durable. When the disk fails it forgets all that are not yet listed, for after a failed sync nobody knows what is on it.
func (b *blocks) sync(n int) error {
	if n == 0 {
		return nil
	}
	err := b.settle()
	if err == nil {
		return nil
	}
	b.mu.Lock()
	b.lost++
	b.forget()
	b.mu.Unlock()
	b.onDrop()
	return fmt.Errorf("sync %d blocks: %w", n, explain(err, filepath.Join(b.dir, packFolder)))
}

// forget lets go of the large blocks that are not listed yet. mu is held.
func (b *blocks) forget() {
	for _, big := range []map[string]pack.Place{b.unsynced, b.syncing} {
		for h := range big {
			delete(b.fresh, head(multihash.Multihash(h)))
		}
	}
	b.unsynced, b.syncing, b.waiting[1] = make(map[string]pack.Place), nil, 0
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
func (b *blocks) abandon() {
	b.commits.Lock()
	defer b.commits.Unlock()
	b.mu.Lock()
	b.forget()
	b.pending, b.committing, b.waiting, b.failed = make(map[string][]byte), nil, [2]int{}, nil
	b.mu.Unlock()
	b.onDrop()
}
