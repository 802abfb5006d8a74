package store

import (
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/hpips/hpips/store/pack"
	"github.com/hpips/hpips/store/storetest"
)

func openTestBlocks(t *testing.T, dir string) *blocks {
	t.Helper()
	b, err := openBlocks(slog.New(slog.DiscardHandler), dir, Default().SmallBlock, Default().PackSize)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBlocks(t *testing.T) {
	storetest.Run(t, storetest.Maker{
		Open: func(t *testing.T, dir string) storetest.Store { return openTestBlocks(t, dir) },
		Damage: func(t *testing.T, dir string, c cid.Cid) {
			t.Helper()
			b := openTestBlocks(t, dir)
			at, big, err := b.index.place(t.Context(), c.Hash())
			must(t, err)
			if big {
				b.scribble(t, at, at.Size/2, 1)
			}
			must(t, b.Close())
			if big {
				return
			}
			db, err := sql.Open("sqlite", filepath.Join(dir, "index.db"))
			must(t, err)
			r, err := db.Exec("UPDATE small SET data = zeroblob(length(data)) WHERE mh = ?", []byte(c.Hash()))
			must(t, err)
			if n, _ := r.RowsAffected(); n != 1 {
				t.Fatalf("damaged %d rows", n)
			}
			must(t, db.Close())
		},
	})
}

// scribble changes a byte of a record, counted from its first.
func (b *blocks) scribble(t *testing.T, at pack.Place, n int, by byte) {
	t.Helper()
	f, err := os.OpenFile(b.packPath(at.Pack), os.O_RDWR, 0)
	must(t, err)
	one := make([]byte, 1)
	_, err = f.ReadAt(one, at.At+int64(n))
	must(t, err)
	one[0] ^= by
	_, err = f.WriteAt(one, at.At+int64(n))
	must(t, err)
	must(t, f.Close())
}

func (b *blocks) packPath(id uint32) string {
	return filepath.Join(b.dir, packFolder, fmt.Sprintf("%08d.pack", id))
}

// The machine of alice loses power: her store was never closed, records written since the
// last flush are cut short or were never written, and a whole pack is gone.
func TestUncleanStop(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	first := openTestBlocks(t, dir)
	flushed, whole, cut := storetest.Block(t, 1, 1<<20), storetest.Block(t, 2, 1<<20), storetest.Block(t, 3, 1<<20)
	smallFlushed, smallLost := storetest.Block(t, 4, 100), storetest.Block(t, 5, 100)
	gone, hole := storetest.Block(t, 6, 1<<20), storetest.Block(t, 7, 1<<20)
	must(t, first.Put(ctx, gone))
	must(t, first.Flush(ctx))
	first.big.Seal()
	must(t, first.Put(ctx, flushed))
	must(t, first.Put(ctx, smallFlushed))
	must(t, first.Flush(ctx))
	must(t, first.Put(ctx, hole))
	must(t, first.Put(ctx, whole))
	must(t, first.Put(ctx, cut))
	must(t, first.Put(ctx, smallLost))
	where := func(c cid.Cid) pack.Place {
		at, ok, err := first.place(ctx, c.Hash())
		if !ok || err != nil {
			t.Fatalf("%s is nowhere: %v", c, err)
		}
		return at
	}
	goneAt, holeAt, cutAt := where(gone.Cid()), where(hole.Cid()), where(cut.Cid())
	// No Close: the process is gone. Let go of the files only.
	must(t, errors.Join(first.index.close(), first.big.Close()))
	first.scribble(t, holeAt, 5, 1)
	must(t, os.Truncate(first.packPath(cutAt.Pack), cutAt.At+1000))
	must(t, os.Remove(first.packPath(goneAt.Pack)))

	second := openTestBlocks(t, dir)
	for name, row := range map[string]struct {
		c    cid.Cid
		want bool
	}{
		"flushed":                  {flushed.Cid(), true},
		"small, flushed":           {smallFlushed.Cid(), true},
		"unflushed but whole":      {whole.Cid(), true},
		"unflushed and cut short":  {cut.Cid(), false},
		"unflushed, in memory":     {smallLost.Cid(), false},
		"unflushed, not written":   {hole.Cid(), false},
		"flushed, pack taken away": {gone.Cid(), false},
	} {
		if _, err := second.Get(ctx, row.c); (err == nil) != row.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n, size := second.totals(); n != 3 || size != 2<<20+100 {
		t.Errorf("totals %d blocks, %d bytes", n, size)
	}
	must(t, second.Close())
	if _, err := os.Stat(filepath.Join(dir, dirtyMark)); !os.IsNotExist(err) {
		t.Errorf("the mark outlived a clean close: %v", err)
	}
}

// fill makes the disk refuse large blocks, and mend takes them again.
func (b *blocks) fill() (mend func()) {
	was := b.write
	b.write = func(multihash.Multihash, []byte) (pack.Place, error) {
		return pack.Place{}, &os.PathError{Op: "write", Path: "pack", Err: syscall.ENOSPC}
	}
	return func() { b.write = was }
}

func TestDiskRefuses(t *testing.T) {
	ctx := t.Context()
	b := openTestBlocks(t, t.TempDir())
	mend := b.fill()
	block := storetest.Block(t, 1, 1<<20)
	err := b.Put(ctx, block)
	if !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), b.dir) || !strings.Contains(err.Error(), "free some space") {
		t.Errorf("the error should name path and remedy: %v", err)
	}
	if has, err := b.Has(ctx, block.Cid()); has || err != nil {
		t.Errorf("half a block is there: %v, %v", has, err)
	}
	mend()
	must(t, b.Put(ctx, block))
	must(t, b.Close())
}

// A commit that the disk refuses keeps its small blocks in memory, takes no more, and
// succeeds once there is room.
func TestCommitIsTriedAgain(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	b := openTestBlocks(t, dir)
	first, second := storetest.Block(t, 1, 100), storetest.Block(t, 2, 100)
	must(t, b.Put(ctx, first))
	_, err := b.index.db.Exec("CREATE TRIGGER full BEFORE INSERT ON small BEGIN SELECT RAISE(FAIL, 'disk full'); END")
	must(t, err)
	if err := b.Flush(ctx); err == nil {
		t.Fatal("a refused commit was reported as done")
	}
	if err := b.Put(ctx, second); err == nil {
		t.Error("a block was taken although the last ones could not be written")
	}
	if _, err := b.Get(ctx, first.Cid()); err != nil {
		t.Errorf("a block that waits for the disk should be readable: %v", err)
	}
	_, err = b.index.db.Exec("DROP TRIGGER full")
	must(t, err)
	must(t, b.Put(ctx, second))
	must(t, b.Close())
	b = openTestBlocks(t, dir)
	for _, c := range []cid.Cid{first.Cid(), second.Cid()} {
		if _, err := b.Get(ctx, c); err != nil {
			t.Error(err)
		}
	}
	must(t, b.Close())
}

// After a sync that failed nobody knows what is on the disk: the blocks of the batch are
// dropped, those who put them are told, and the store goes on.
func TestSyncFails(t *testing.T) {
	ctx, s := t.Context(), alone(t)
	s.blocks.settle = func() error { return &os.PathError{Op: "sync", Path: "block", Err: syscall.EIO} }
	if e, err := s.AddBytes(ctx, random(3<<20, 1)); !errors.Is(err, syscall.EIO) {
		t.Fatalf("added %s: %v", e.CID, err)
	}
	s.blocks.settle = s.blocks.big.Sync
	if n, size := s.blocks.totals(); n > 1 || size > 1<<10 { // the root, which is small, waits
		t.Errorf("%d blocks of %d bytes are left", n, size)
	}
	for _, data := range [][]byte{[]byte("small"), random(3<<20, 1)} {
		e, err := s.AddBytes(ctx, data)
		must(t, err)
		must(t, s.Pin(ctx, e.CID, "again"))
		r, err := s.Open(ctx, e.CID)
		must(t, err)
		must(t, r.Close())
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
