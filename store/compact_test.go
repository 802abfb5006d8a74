package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base32"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	blockfmt "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/multiformats/go-multihash"

	"github.com/hpips/hpips/store/pack"
	"github.com/hpips/hpips/store/storetest"
)

// smallPacks opens a store whose packs are full with 4 MiB.
func smallPacks(t *testing.T, dir string) *Store {
	t.Helper()
	cfg := Default()
	cfg.PackSize = 4 << 20
	s, err := Open(slog.New(slog.DiscardHandler), dir, nil, cfg)
	must(t, err)
	return s
}

// Alice unpins most of what she has while bob reads the rest: the room of what is collected is given back, and bob misses nothing.
func TestCompactionGivesRoomBack(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	s := smallPacks(t, dir)
	contents := map[cid.Cid][]byte{}
	for n := range uint64(100) {
		data := random(40<<10+int(n)*4000, n)
		e, err := s.AddBytes(ctx, data)
		must(t, err)
		if n%10 == 0 || n > 90 {
			must(t, s.Pin(ctx, e.CID, fmt.Sprint(n)))
			contents[e.CID] = data
		}
	}
	before := packBytes(t, dir)
	end := make(chan struct{})
	var reader sync.WaitGroup
	rounds := 0
	reader.Go(func() {
		for ; ; rounds++ {
			for c, data := range contents {
				if b, err := s.blocks.Get(ctx, c); err != nil || !bytes.Equal(b.RawData(), data) {
					t.Errorf("round %d: %s: %v", rounds, c, err)
					return
				}
			}
			select {
			case <-end:
				return
			default:
			}
		}
	})
	got, err := s.GC(ctx)
	must(t, err)
	close(end)
	reader.Wait()
	st, err := s.Stat(ctx)
	must(t, err)
	after := packBytes(t, dir)
	if st.Blocks != int64(len(contents)) || got.Blocks != 81 {
		t.Errorf("%+v was collected, %+v is left", got, st)
	}
	if most := st.Bytes + st.Bytes/2 + 600*st.Blocks; after > most {
		t.Errorf("packs of %d bytes became %d for %d bytes of blocks, %d at most", before, after, st.Bytes, most)
	}
	for range 2 {
		c, err := s.Check(ctx, nil)
		if err != nil || c.Damaged != 0 || len(c.Short) != 0 || c.Blocks != int64(len(contents)) {
			t.Errorf("%+v, %v", c, err)
		}
		must(t, s.Close())
		s = smallPacks(t, dir)
	}
	must(t, s.Close())
}

// Where there is no room for the copies a collection still ends well, takes them away again, and the next one goes on where there is.
func TestCompactionWithoutRoom(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	s := smallPacks(t, dir)
	var pinned []cid.Cid
	for n := range uint64(12) {
		e, err := s.AddBytes(ctx, random(1<<20, n))
		must(t, err)
		if n%4 == 3 {
			must(t, s.Pin(ctx, e.CID, fmt.Sprint(n)))
			pinned = append(pinned, e.CID)
		}
	}
	before, left := packBytes(t, dir), 1
	was := s.blocks.write
	s.blocks.write = func(h multihash.Multihash, data []byte) (pack.Place, error) {
		if left--; left < 0 {
			return pack.Place{}, &os.PathError{Op: "write", Path: "pack", Err: syscall.ENOSPC}
		}
		return was(h, data)
	}
	got, err := s.GC(ctx)
	must(t, err)
	if size := packBytes(t, dir); got.Blocks != 9 || size > before {
		t.Errorf("%+v was collected, packs of %d bytes became %d", got, before, size)
	}
	s.blocks.write = was
	_, err = s.GC(ctx)
	must(t, err)
	if size := packBytes(t, dir); size > 3*(1<<20+512) {
		t.Errorf("with room packs of %d bytes are left", size)
	}
	for _, c := range pinned {
		if _, err := s.blocks.Get(ctx, c); err != nil {
			t.Error(err)
		}
	}
	must(t, s.Close())
}

// A block whose place could not be listed yet is in nobody's list, and its pack stays all the same.
func TestCompactionSparesWhatIsNotListedYet(t *testing.T) {
	ctx, b := t.Context(), openTestBlocks(t, t.TempDir())
	block := storetest.Block(t, 1, 1<<20)
	must(t, b.Put(ctx, block))
	_, err := b.index.db.Exec("CREATE TRIGGER full BEFORE INSERT ON big BEGIN SELECT RAISE(FAIL, 'disk full'); END")
	must(t, err)
	if err := b.Flush(ctx); err == nil {
		t.Fatal("a refused commit was reported as done")
	}
	must(t, b.compact(ctx))
	_, err = b.index.db.Exec("DROP TRIGGER full")
	must(t, err)
	must(t, b.Flush(ctx))
	if got, err := b.Get(ctx, block.Cid()); err != nil || !bytes.Equal(got.RawData(), block.RawData()) {
		t.Errorf("the block: %v", err)
	}
	must(t, b.Close())
}

// A block that is in a pack already, and that nobody has noted yet, is nobody's for a moment: none is written while packs are settled.
func TestNothingIsWrittenWhilePacksAreSettled(t *testing.T) {
	s := smallPacks(t, t.TempDir())
	e, err := s.AddBytes(t.Context(), random(100<<10, 1))
	must(t, err)
	must(t, s.Pin(t.Context(), e.CID, "one"))
	settle, looked := s.blocks.settle, false
	s.blocks.settle = func() error {
		if looked = true; s.blocks.appends.TryRLock() {
			s.blocks.appends.RUnlock()
			t.Error("a block can be written into a pack that is about to be cut")
		}
		return settle()
	}
	_, err = s.blocks.clear(t.Context())
	s.blocks.settle = settle
	must(t, errors.Join(err, s.Close()))
	if !looked {
		t.Error("packs are taken as settled without a sync")
	}
}

// A block that went bad is dropped when its pack is emptied, and nothing else is.
func TestCompactionMeetsDamage(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	s := smallPacks(t, dir)
	var all []cid.Cid
	for n := range uint64(4) {
		e, err := s.AddBytes(ctx, random(1<<20, n))
		must(t, err)
		all = append(all, e.CID)
	}
	must(t, s.Pin(ctx, all[1], "good"))
	must(t, s.Pin(ctx, all[3], "bad"))
	at, _, err := s.blocks.place(ctx, all[3].Hash())
	must(t, err)
	s.blocks.scribble(t, at, at.Size/2, 1)
	_, err = s.GC(ctx)
	must(t, err)
	c, err := s.Check(ctx, nil)
	if err != nil || c.Blocks != 1 || c.Damaged != 0 || len(c.Short) != 1 || c.Short[0].CID != all[3] {
		t.Errorf("%+v, %v", c, err)
	}
	must(t, s.Close())
}

var errCrash = errors.New("the power is cut")

// history is a store beside a model of it.
type history struct {
	t       *testing.T
	dice    *rand.Rand
	dir     string
	b       *blocks
	pool    []blockfmt.Block
	durable map[int]bool     // blocks that are on the disk for good
	put     map[int]bool     // blocks that may be
	synced  map[uint32]int64 // how long each pack is for good
}

func (h *history) open() {
	h.t.Helper()
	b, err := openBlocks(slog.New(slog.DiscardHandler), h.dir, 1<<10, 256<<10)
	must(h.t, err)
	h.b, h.synced = b, h.lengths()
	settle := b.settle
	b.settle = func() error {
		now := h.lengths()
		err := settle()
		h.synced = now
		return err
	}
}

func (h *history) lengths() map[uint32]int64 {
	h.t.Helper()
	entries, err := os.ReadDir(filepath.Join(h.dir, packFolder))
	must(h.t, err)
	all := map[uint32]int64{}
	for _, e := range entries {
		info, err := e.Info()
		must(h.t, err)
		var id uint32
		_, err = fmt.Sscanf(e.Name(), "%d.pack", &id)
		must(h.t, err)
		all[id] = info.Size()
	}
	return all
}

// cut ends the power: packs end at any byte behind what was synced, and some bits of what is between are others.
func (h *history) cut() {
	h.t.Helper()
	must(h.t, errors.Join(h.b.index.close(), h.b.big.Close()))
	for id, size := range h.lengths() {
		from := min(h.synced[id], size)
		at := from + h.dice.Int64N(size-from+1)
		must(h.t, os.Truncate(h.b.packPath(id), at))
		for range h.dice.IntN(3) {
			if at > from {
				h.b.scribble(h.t, pack.Place{Pack: id}, int(from+h.dice.Int64N(at-from)), byte(1+h.dice.IntN(255)))
			}
		}
	}
	h.open()
	h.put = map[int]bool{} // what was not synced may be there, and so may what was removed since
	for i := range h.pool {
		if has, err := h.b.Has(h.t.Context(), h.pool[i].Cid()); err == nil && has && !h.durable[i] {
			h.put[i] = true
		}
	}
	h.look("after a cut")
}

// look compares: what is durable is there, what was never put or was removed is not, and each block has its bytes.
func (h *history) look(when string) {
	h.t.Helper()
	n := int64(0)
	for i, block := range h.pool {
		got, err := h.b.Get(h.t.Context(), block.Cid())
		switch {
		case err != nil && !ipld.IsNotFound(err):
			h.t.Fatalf("%s: block %d: %v", when, i, err)
		case err == nil && !bytes.Equal(got.RawData(), block.RawData()):
			h.t.Fatalf("%s: block %d has other bytes", when, i)
		case err != nil && h.durable[i]:
			h.t.Fatalf("%s: block %d was durable and is lost", when, i)
		case err == nil && !h.durable[i] && !h.put[i]:
			h.t.Fatalf("%s: block %d was removed and is there", when, i)
		}
		if err == nil {
			n++
		}
	}
	if total, _ := h.b.totals(); total != n {
		h.t.Fatalf("%s: %d blocks are counted, %d are there", when, total, n)
	}
}

func (h *history) step() {
	h.t.Helper()
	ctx, i := h.t.Context(), h.dice.IntN(len(h.pool))
	switch h.dice.IntN(12) {
	case 0, 1, 2, 3, 4:
		must(h.t, h.b.Put(ctx, h.pool[i]))
		h.put[i] = true
	case 5:
		must(h.t, h.b.Flush(ctx))
		for i := range h.put {
			h.durable[i] = true
		}
	case 6, 7:
		must(h.t, h.b.DeleteBlock(ctx, h.pool[i].Cid()))
		delete(h.put, i)
		delete(h.durable, i)
	case 8:
		must(h.t, h.b.compact(ctx))
	case 9: // the power is cut in the middle of a compaction
		left := h.dice.IntN(6)
		write := h.b.write
		h.b.write = func(m multihash.Multihash, data []byte) (pack.Place, error) {
			if left--; left < 0 {
				return pack.Place{}, errCrash
			}
			return write(m, data)
		}
		if h.dice.IntN(2) == 0 { // after the copies were made and before they are listed
			settle := h.b.settle
			rounds := h.dice.IntN(3)
			h.b.settle = func() error {
				if rounds--; rounds < 0 {
					return errors.Join(settle(), errCrash)
				}
				return settle()
			}
		}
		if err := h.b.compact(ctx); err != nil && !errors.Is(err, errCrash) {
			h.t.Fatal(err)
		}
		h.cut()
	case 10:
		h.cut()
	case 11:
		must(h.t, h.b.Close())
		h.open()
		for i := range h.put {
			h.durable[i] = true
		}
		h.look("after a close")
	}
}

// Random histories of a store, with power cuts at random moments, beside a model of what must be there.
func TestHistoriesWithPowerCuts(t *testing.T) {
	for seed := range uint64(8) {
		h := &history{t: t, dice: rand.New(rand.NewPCG(seed, 5)), dir: t.TempDir(), durable: map[int]bool{}, put: map[int]bool{}}
		for i := range 24 {
			h.pool = append(h.pool, storetest.Block(t, uint64(i), 500+i*i*200))
		}
		h.open()
		for range 120 {
			h.step()
		}
		must(t, h.b.Flush(t.Context())) // until then a small block that is put again is counted twice
		h.look("at the end")
		must(t, h.b.Close())
	}
}

// Whoever lost the index has the blocks of the packs all the same.
func TestIndexIsLost(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	s := smallPacks(t, dir)
	e, err := s.AddBytes(ctx, random(20<<20, 1))
	must(t, err)
	must(t, s.Close())
	old, err := filepath.Glob(filepath.Join(dir, "index.db*"))
	must(t, err)
	for _, name := range old {
		must(t, os.Remove(name))
	}
	s = smallPacks(t, dir)
	st, err := s.Stat(ctx)
	must(t, err)
	if st.Blocks != 20 || st.Bytes != 20<<20 { // the root is small: it was in the index
		t.Errorf("%+v", st)
	}
	again, err := s.AddBytes(ctx, random(20<<20, 1))
	must(t, err)
	if size := packBytes(t, dir); again.CID != e.CID || size > 20*(1<<20+512) {
		t.Errorf("%s again, %d bytes of packs", again.CID, size)
	}
	must(t, s.Close())
}

// A home of the first version has a file for each large block. They are brought into packs, also when that is interrupted; a damaged one is not.
func TestEarlierVersionIsTakenOver(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	db, err := sql.Open("sqlite", filepath.Join(dir, "index.db"))
	must(t, err)
	_, err = db.Exec(`
CREATE TABLE small (id INTEGER PRIMARY KEY, mh BLOB NOT NULL UNIQUE, data BLOB NOT NULL);
CREATE TABLE big (mh BLOB PRIMARY KEY, size INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE pins (cid BLOB PRIMARY KEY, name TEXT NOT NULL, since INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE total (blocks INTEGER NOT NULL, bytes INTEGER NOT NULL);
INSERT INTO total VALUES (5, 4194404);
PRAGMA user_version = 1;`)
	must(t, err)
	small := storetest.Block(t, 9, 100)
	_, err = db.Exec("INSERT INTO small (mh, data) VALUES (?, ?)", []byte(small.Cid().Hash()), small.RawData())
	must(t, err)
	var big []blockfmt.Block
	for n := range uint64(4) {
		b := storetest.Block(t, n, 1<<20)
		big = append(big, b)
		_, err := db.Exec("INSERT INTO big VALUES (?, ?)", []byte(b.Cid().Hash()), 1<<20)
		must(t, err)
		name := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b.Cid().Hash())
		folder := filepath.Join(dir, "big", name[len(name)-3:len(name)-1])
		must(t, os.MkdirAll(folder, 0o755))
		data := bytes.Clone(b.RawData())
		if n == 3 {
			data[5] ^= 1
		}
		must(t, os.WriteFile(filepath.Join(folder, name+".data"), data, 0o644))
	}
	must(t, os.WriteFile(filepath.Join(dir, "big", "SHARDING"), []byte("/repo/flatfs/shard/v1/next-to-last/2\n"), 0o644))
	_, err = db.Exec("INSERT INTO pins VALUES (?, 'first', 1)", big[0].Cid().Bytes())
	must(t, err)
	must(t, db.Close())

	// The first start is killed when one block has been brought over.
	x, err := openIndex(dir)
	must(t, err)
	p, err := pack.Open(filepath.Join(dir, packFolder), 4<<20, 0)
	must(t, err)
	at, err := p.Append(big[0].Cid().Hash(), big[0].RawData())
	must(t, err)
	must(t, p.Close())
	_, _, err = x.store(ctx, nil, map[string]pack.Place{string(big[0].Cid().Hash()): at})
	must(t, errors.Join(err, x.close()))
	must(t, os.WriteFile(filepath.Join(dir, dirtyMark), nil, 0o600))

	s := smallPacks(t, dir)
	for i, b := range append(big, small) {
		got, err := s.blocks.Get(ctx, b.Cid())
		if (err == nil) != (i != 3) || err == nil && !bytes.Equal(got.RawData(), b.RawData()) {
			t.Errorf("block %d: %v", i, err)
		}
	}
	if n, size := s.blocks.totals(); n != 4 || size != 3<<20+100 {
		t.Errorf("%d blocks of %d bytes", n, size)
	}
	if _, err := os.Stat(filepath.Join(dir, "big")); !os.IsNotExist(err) {
		t.Errorf("the folder of the earlier version is there still: %v", err)
	}
	if pins, err := s.Pins(context.WithoutCancel(ctx)); err != nil || len(pins) != 1 || pins[0].Name != "first" {
		t.Errorf("pins %v, %v", pins, err)
	}
	must(t, s.Close())
}
