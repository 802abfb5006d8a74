package provider

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/store"
)

// crowd is a store whose fetches are all under way before any ends.
type crowd struct {
	*shelf
	all sync.WaitGroup
}

// Fetch waits for the others.
func (c *crowd) Fetch(ctx context.Context, id cid.Cid, progress func(store.Progress), from ...peer.ID) (int64, error) {
	n, err := c.shelf.Fetch(ctx, id, progress, from...)
	c.all.Done()
	c.all.Wait()
	return n, errors.Join(err, ctx.Err())
}

// TestManyAtOnceKeepToTheCap: each of carol's inputs fits, all of them at once do not.
func TestManyAtOnceKeepToTheCap(t *testing.T) {
	const each, most = 600 << 10, 1 << 20
	s := &crowd{shelf: newShelf()}
	p := &Provider{store: s, cfg: Config{Disk: most, Stall: time.Minute}}
	s.all.Add(4)
	full, kept := make(chan error, 4), make(chan int64, 4)
	dir := t.TempDir()
	for i := range 4 {
		large := make([]byte, each)
		large[0] = byte(i)
		ref := s.put(large)
		go func() {
			n, err := p.fetch(t.Context(), ref, filepath.Join(dir, ref), each, 0, "carol")
			full <- err
			kept <- n
		}()
	}
	var total int64
	refused := 0
	for range 4 {
		total += <-kept
		if err := <-full; errors.Is(err, errFull) {
			refused++
		} else if err != nil {
			t.Error(err)
		}
	}
	if total > most || refused < 3 {
		t.Errorf("%d bytes under a cap of %d, %d refused", total, int64(most), refused)
	}
	if p.incoming != 0 {
		t.Errorf("%d bytes are still on their way", p.incoming)
	}
}
