package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/multiformats/go-multihash"

	"github.com/hpips/hpips/store/pack"
)

// wasteful tells whether a pack is worth emptying: more than a third of it is wanted by nobody. So packs take half as much again as what is in them at most, and
// two bytes at most are copied for each that is given back.
func wasteful(live, size int64) bool { return live < size-size/3 }

// compact gives the room of large blocks that were removed back to the disk:
//  1. packs of which nothing is wanted are removed, and what is behind the last wanted record of others is cut off;
//  2. of wasteful ones, the emptiest first, the wanted records are copied behind all others, synced, and listed there; then the pack is removed.
//
// Blocks may be read, put and removed meanwhile. Where there is no room for the copies the rest stays as it is.
func (b *blocks) compact(ctx context.Context) error {
	b.compaction.Lock()
	defer b.compaction.Unlock()
	todo, err := b.clear(ctx)
	for _, id := range todo {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = b.empty(ctx, id)
		}
	}
	if errors.Is(err, ErrFull) {
		_, _ = b.clear(ctx) // takes the copies away; that it fails changes nothing
		b.log.Warn("there is no room to give back the rest of what was removed", "folder", b.dir)
		return nil
	}
	if err != nil {
		return fmt.Errorf("compact packs: %w", err)
	}
	return nil
}

// clear gives back what can be given back without copying, and lists the wasteful packs.
func (b *blocks) clear(ctx context.Context) ([]uint32, error) {
	b.commits.Lock()
	defer b.commits.Unlock()
	live, err := b.index.packs(ctx)
	if err != nil {
		return nil, err
	}
	files, err := b.settled(live)
	if err != nil {
		return nil, err
	}
	var todo []uint32
	for _, f := range files {
		l := live[f.ID]
		if l.end < f.Size {
			if err := b.cut(f.ID, l.end); err != nil {
				return nil, err
			}
		}
		if l.end > 0 && wasteful(l.bytes, min(f.Size, l.end)) {
			todo = append(todo, f.ID)
		}
	}
	slices.SortFunc(todo, func(x, y uint32) int { return cmp.Compare(live[x].bytes, live[y].bytes) })
	return todo, nil
}

// settled are the packs in which everything that is wanted is listed. No block is written meanwhile: one that is in a pack already, and not in unsynced yet, would be taken for nobody's.
func (b *blocks) settled(live map[uint32]packed) ([]pack.File, error) {
	b.appends.Lock()
	defer b.appends.Unlock()
	if last := b.big.Last(); wasteful(live[last.ID].bytes, last.Size) {
		b.big.Seal()
	}
	if err := b.sync(1); err != nil {
		return nil, err
	}
	files, err := b.big.Settled()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, at := range b.unsynced { // their commit comes, or failed
		files = slices.DeleteFunc(files, func(f pack.File) bool { return f.ID == at.Pack })
	}
	return files, err
}

// empty moves what is wanted of a settled pack to the end of all and removes it. What is found damaged is dropped.
func (b *blocks) empty(ctx context.Context, id uint32) error {
	b.commits.Lock()
	defer b.commits.Unlock()
	rows, err := b.index.inPack(ctx, id)
	if err != nil {
		return err
	}
	moved := make(map[string]pack.Place, len(rows))
	var lost []multihash.Multihash
	for _, r := range rows {
		data, err := b.big.Read(r.hash, r.at)
		if errors.Is(err, pack.ErrDamaged) || err == nil && !matches(r.hash, data) {
			b.log.Warn("dropped a damaged block", "multihash", r.hash.B58String(), "bytes", r.at.Size)
			lost = append(lost, r.hash)
			continue
		}
		if err != nil {
			return explain(err, b.dir)
		}
		if moved[string(r.hash)], err = b.write(r.hash, data); err != nil {
			return explain(err, b.dir)
		}
	}
	if err := b.sync(len(moved)); err != nil {
		return err
	}
	if err := b.index.move(ctx, id, moved); err != nil {
		return explain(err, b.index.path)
	}
	if len(lost) > 0 {
		if err := b.unlist(ctx, lost...); err != nil {
			return err
		}
	}
	return b.cut(id, 0)
}

// cut is pack's Cut, which may be tried again at another time where somebody has the file open.
func (b *blocks) cut(id uint32, end int64) error {
	err := b.big.Cut(id, end)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && errors.Is(explain(err, b.dir), ErrFull) {
		return explain(err, b.dir)
	}
	if err != nil {
		b.log.Debug("a pack cannot be cut now", "pack", id, "error", err)
	}
	return nil
}
