package node

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/hpips/hpips/machine"
	"github.com/hpips/hpips/store"
)

// What the store keeps of container images that leases brought: a lease of tomorrow may want them again.
const (
	imagesFile  = "images.json"      // in a node's folder
	imagesMost  = 20 << 30           // bytes of those that nobody uses, or an eighth of what is free where that is less
	imagesKeep  = 7 * 24 * time.Hour // for which one that nobody uses is kept
	imagesEvery = 10 * time.Minute   // from one look to the next
	imagesWait  = time.Minute        // for the store to be free for it; leases with images wait meanwhile
)

// images keeps account of container images in the store that leases brought, by when they were used last.
type images struct {
	log   *slog.Logger
	file  string
	most  uint64
	store interface {
		Size(ctx context.Context, c cid.Cid) (uint64, error)
		Discard(ctx context.Context, roots, keep []cid.Cid) (store.Collected, error)
	}
	now func() time.Time

	mu   sync.Mutex
	used map[string]time.Time // root → when
	busy map[string]int       // root → leases that use it now
}

// newImages takes up what an earlier life of the node noted. Notes that cannot be read are begun anew: what they named stays until the disk is full.
func newImages(m *member) *images {
	i := &images{log: m.log.With("room", "node"), file: filepath.Join(m.dir, imagesFile), most: imagesMost, store: m.store, now: time.Now, used: map[string]time.Time{}, busy: map[string]int{}}
	if free := machine.Read(m.dir).DiskFree; free > 0 {
		i.most = min(i.most, uint64(free)/8)
	}
	text, err := os.ReadFile(i.file)
	if err == nil {
		err = json.Unmarshal(text, &i.used)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		i.log.Warn("Which images the store has of leases is not known any more", "err", err)
	}
	if i.used == nil {
		i.used = map[string]time.Time{}
	}
	return i
}

// Use notes that a lease uses an image, until done.
func (i *images) Use(root cid.Cid) (done func()) {
	key := root.String()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.busy[key]++
	i.note(key)
	return func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		if i.busy[key]--; i.busy[key] == 0 {
			delete(i.busy, key)
		}
		i.note(key)
	}
}

// note sets when an image was used last, and writes all of that down. Needs i.mu.
func (i *images) note(key string) {
	i.used[key] = i.now()
	i.write()
}

func (i *images) write() {
	text, err := json.Marshal(i.used)
	if err == nil {
		err = writeWhole(i.file, text)
	}
	if err != nil {
		i.log.Warn("Which images the store has of leases cannot be noted", "err", err)
	}
}

// Serve lets images go that are due, until ctx ends.
func (i *images) Serve(ctx context.Context) error {
	tick := time.NewTicker(imagesEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			within, cancel := context.WithTimeout(ctx, imagesWait)
			if err := i.collect(within); err != nil && ctx.Err() == nil {
				i.log.Debug("Images that nobody uses any more stay in the store until the next look", "err", err)
			}
			cancel()
		}
	}
}

// collect discards the images that are due: what never came whole or is no image, those that nobody has used for too long, and as long as unused ones take more than they
// may, those unused for the longest. One that is in use, or pinned, is never touched.
func (i *images) collect(ctx context.Context) error {
	i.mu.Lock()
	defer i.mu.Unlock() // nobody begins to use one meanwhile
	var idle, keep []cid.Cid
	size, total := map[cid.Cid]uint64{}, uint64(0)
	for key := range i.used {
		c, err := cid.Decode(key)
		if err != nil {
			delete(i.used, key)
			continue
		}
		if i.busy[key] > 0 {
			keep = append(keep, c)
			continue
		}
		if size[c], err = i.store.Size(ctx, c); ctx.Err() != nil {
			return ctx.Err()
		} else if err != nil {
			i.used[key] = time.Time{}
		}
		idle, total = append(idle, c), total+size[c]
	}
	slices.SortFunc(idle, func(a, b cid.Cid) int { return i.used[a.String()].Compare(i.used[b.String()]) })
	n := 0
	for ; n < len(idle) && (i.now().Sub(i.used[idle[n].String()]) >= imagesKeep || total > i.most); n++ {
		total -= size[idle[n]]
	}
	if n == 0 {
		return nil
	}
	got, err := i.store.Discard(ctx, idle[:n], append(keep, idle[n:]...))
	if err != nil {
		return err
	}
	for _, c := range idle[:n] {
		delete(i.used, c.String())
	}
	i.write()
	i.log.Info("Images that nobody used for the longest are out of the store", "images", n, "blocks", got.Blocks, "bytes", got.Bytes)
	return nil
}
