// Package storetest is the suite that every block store of the house passes. It promises
// that a store which passes keeps, finds, deletes and lists blocks, keeps flushed ones over
// a reopening, and never gives away a damaged one. It leaves speed to the benchmarks.
package storetest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/ipfs/boxo/blockstore"
	blockfmt "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/multiformats/go-multihash"
)

// Store is what is tested: a block store that can be made durable and closed.
type Store interface {
	blockstore.Blockstore
	Flush(context.Context) error
	Close() error
}

// Maker makes stores. Damage changes one byte of a flushed block on disk while the store
// is closed.
type Maker struct {
	Open   func(t *testing.T, dir string) Store
	Damage func(t *testing.T, dir string, c cid.Cid)
}

// Block is a block of n random bytes that seed decides.
func Block(tb testing.TB, seed uint64, n int) blockfmt.Block {
	tb.Helper()
	data := make([]byte, n)
	source := rand.New(rand.NewPCG(seed, uint64(n)))
	for i := range data {
		data[i] = byte(source.Uint32())
	}
	h, err := multihash.Sum(data, multihash.SHA2_256, -1)
	if err != nil {
		tb.Fatal(err)
	}
	b, err := blockfmt.NewBlockWithCid(data, cid.NewCidV1(cid.Raw, h))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// Run tells each story to a store of its own.
func Run(t *testing.T, m Maker) {
	sizes := map[string]int{"empty": 0, "tiny": 7, "small": 4 << 10, "limit": 32 << 10, "past the limit": 32<<10 + 1, "large": 1 << 20, "largest": 2 << 20}
	for name, size := range sizes {
		t.Run("keeps a block/"+name, func(t *testing.T) { keeps(t, m, size) })
	}
	for name, size := range map[string]int{"small": 4 << 10, "large": 1 << 20} {
		t.Run("drops a damaged block/"+name, func(t *testing.T) { damaged(t, m, size) })
	}
	t.Run("refuses a block that is too large", func(t *testing.T) { oversized(t, m) })
	t.Run("lists all keys", func(t *testing.T) { lists(t, m) })
	t.Run("many small blocks", func(t *testing.T) { many(t, m) })
	t.Run("many hands", func(t *testing.T) { hands(t, m) })
}

func keeps(t *testing.T, m Maker, size int) {
	ctx, dir := t.Context(), t.TempDir()
	s := m.Open(t, dir)
	b := Block(t, 1, size)
	absent(t, s, b.Cid())
	must(t, s.DeleteBlock(ctx, b.Cid()))
	must(t, s.Put(ctx, b))
	present(t, s, b)
	must(t, s.PutMany(ctx, []blockfmt.Block{b, b}))
	must(t, s.Flush(ctx))
	present(t, s, b)
	must(t, s.Close())

	s = m.Open(t, dir)
	present(t, s, b)
	must(t, s.DeleteBlock(ctx, b.Cid()))
	absent(t, s, b.Cid())
	must(t, s.Close())

	s = m.Open(t, dir)
	absent(t, s, b.Cid())
	must(t, s.Put(ctx, b)) // once deleted is not for ever
	present(t, s, b)
	must(t, s.Close())
}

func damaged(t *testing.T, m Maker, size int) {
	ctx, dir := t.Context(), t.TempDir()
	s := m.Open(t, dir)
	b, other := Block(t, 1, size), Block(t, 2, size)
	must(t, s.PutMany(ctx, []blockfmt.Block{b, other}))
	must(t, s.Close())
	m.Damage(t, dir, b.Cid())

	s = m.Open(t, dir)
	if got, err := s.Get(ctx, b.Cid()); !ipld.IsNotFound(err) {
		t.Fatalf("a damaged block was given away: %v, %v", got, err)
	}
	absent(t, s, b.Cid())
	present(t, s, other)
	must(t, s.Put(ctx, b)) // healed by a new copy
	present(t, s, b)
	must(t, s.Close())
	m.Damage(t, dir, b.Cid())

	s = m.Open(t, dir)
	must(t, s.Put(ctx, b)) // a new copy heals although nobody read the old one
	must(t, s.Close())
	s = m.Open(t, dir)
	present(t, s, b)
	must(t, s.Close())
}

func oversized(t *testing.T, m Maker) {
	s := m.Open(t, t.TempDir())
	b := Block(t, 1, 2<<20+1)
	if err := s.Put(t.Context(), b); err == nil {
		t.Error("a block above 2 MiB was taken")
	}
	absent(t, s, b.Cid())
	must(t, s.Close())
}

func lists(t *testing.T, m Maker) {
	ctx := t.Context()
	s := m.Open(t, t.TempDir())
	want := map[string]bool{}
	for i := range 2500 {
		size := 100
		if i%100 == 0 {
			size = 40 << 10
		}
		b := Block(t, uint64(i), size)
		want[string(b.Cid().Hash())] = true
		must(t, s.Put(ctx, b))
	}
	keys, err := s.AllKeysChan(ctx)
	must(t, err)
	for c := range keys {
		if !want[string(c.Hash())] {
			t.Fatalf("listed twice or never put: %s", c)
		}
		delete(want, string(c.Hash()))
	}
	if len(want) > 0 {
		t.Errorf("%d keys not listed", len(want))
	}
	must(t, s.Close())
}

func many(t *testing.T, m Maker) {
	ctx, dir := t.Context(), t.TempDir()
	s := m.Open(t, dir)
	const n = 10_000
	for i := range n {
		must(t, s.Put(ctx, Block(t, uint64(i), 1<<10)))
	}
	must(t, s.Close())
	s = m.Open(t, dir)
	for i := 0; i < n; i += 97 {
		present(t, s, Block(t, uint64(i), 1<<10))
	}
	must(t, s.Close())
}

func hands(t *testing.T, m Maker) {
	ctx, dir := t.Context(), t.TempDir()
	s := m.Open(t, dir)
	var all sync.WaitGroup
	errs := make(chan error, 8)
	for hand := range 8 {
		all.Go(func() {
			for i := range 200 {
				size := 2 << 10
				if i%20 == 0 {
					size = 50 << 10
				}
				b := Block(t, uint64(i), size) // all put the same ones
				err := s.Put(ctx, b)
				if got, getErr := s.Get(ctx, b.Cid()); err == nil && (getErr != nil || !bytes.Equal(got.RawData(), b.RawData())) {
					err = fmt.Errorf("hand %d block %d: %w", hand, i, getErr)
				}
				if err == nil && i%50 == hand {
					err = s.Flush(ctx)
				}
				if err != nil {
					errs <- err
					return
				}
			}
		})
	}
	all.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	must(t, s.Close())
}

func present(t *testing.T, s Store, b blockfmt.Block) {
	t.Helper()
	got, err := s.Get(t.Context(), b.Cid())
	must(t, err)
	if !bytes.Equal(got.RawData(), b.RawData()) || got.Cid() != b.Cid() {
		t.Fatalf("block %s came back changed", b.Cid())
	}
	n, err := s.GetSize(t.Context(), b.Cid())
	must(t, err)
	has, err := s.Has(t.Context(), b.Cid())
	must(t, err)
	if n != len(b.RawData()) || !has {
		t.Fatalf("block %s: size %d, has %v", b.Cid(), n, has)
	}
}

func absent(t *testing.T, s Store, c cid.Cid) {
	t.Helper()
	has, err := s.Has(t.Context(), c)
	must(t, err)
	_, getErr := s.Get(t.Context(), c)
	_, sizeErr := s.GetSize(t.Context(), c)
	if has || !ipld.IsNotFound(getErr) || !ipld.IsNotFound(sizeErr) {
		t.Fatalf("block %s should be absent: has %v, get %v, size %v", c, has, getErr, sizeErr)
	}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
