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

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/spec/job"
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
			n, err := p.fetch(t.Context(), s, ref, filepath.Join(dir, ref), each, 0, "carol")
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

// boxes is an engine by the name of that for images.
type boxes struct{ *works }

// Name is that name.
func (boxes) Name() string { return job.EngineContainer }

// TestImagesOfLeasesAreTold: who keeps images hears of those that leases use, and when they do no more; programs of other engines are nobody's to keep.
func TestImagesOfLeasesAreTold(t *testing.T) {
	s := newShelf()
	using := make(chan cid.Cid, 2)
	done := make(chan cid.Cid, 2)
	p := &Provider{store: s, images: func(root cid.Cid) func() {
		using <- root
		return func() { done <- root }
	}}
	ref := s.put([]byte("an image"))
	ctx, end := context.WithCancel(t.Context())
	defer end()
	alice, carol := &tenant{engine: boxes{newWorks(t)}, ctx: ctx}, &tenant{engine: newWorks(t), ctx: ctx}
	alice.work.Module, carol.work.Module = ref, s.put([]byte("a module"))
	p.lend(alice)
	p.lend(carol)
	if root := <-using; root.String() != ref || len(using) > 0 || len(done) > 0 {
		t.Errorf("told of %s, want %s; %d more, %d no more in use", root, ref, len(using), len(done))
	}
	end()
	if root := <-done; root.String() != ref {
		t.Errorf("no more in use: %s, want %s", root, ref)
	}
}

// TestAnImageOnItsWayIsTold: alice hears how much of her image has come to bob while it takes its time, and when nothing is on its way any more; nobody hears of what comes at once, or
// of modules, which are small.
func TestAnImageOnItsWayIsTold(t *testing.T) {
	image := func(w *works) engine.Engine { return boxes{w} }
	for name, row := range map[string]struct {
		engine func(*works) engine.Engine
		slow   []int64
		told   bool
	}{
		"an image":    {image, []int64{1 << 20, 2 << 20, 3 << 20}, true},
		"a small one": {image, nil, false},
		"a module":    {func(w *works) engine.Engine { return w }, []int64{1 << 20, 2 << 20}, false},
	} {
		story(t, func(t *testing.T, b *bob) {
			b.stop()
			b.shelf.slow = row.slow
			b.serve(row.engine(b.engine))
			alice := b.visits("alice")
			alice.begins(alice.work("index"), 1)
			alice.assigns(0)
			var told []int64
			for done := false; !done; {
				m := alice.hears()
				if m.Coming != nil {
					told = append(told, m.Coming.Bytes)
				}
				done = m.Results != nil
			}
			switch n := len(told); { // the last number may be told of when it is no more
			case !row.told && n > 0, row.told && (n < 3 || told[0] != 1<<20 || told[1] != 2<<20 || told[n-1] != 0):
				t.Errorf("%s: told of %v", name, told)
			}
		})
	}
}
