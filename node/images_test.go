package node

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/hpips/hpips/store"
)

// larder is a store that holds images by their sizes, and hears what is discarded.
type larder struct {
	sizes  map[cid.Cid]uint64
	kept   []cid.Cid
	spoilt cid.Cid // is here, and no image
}

func (l *larder) Size(_ context.Context, c cid.Cid) (uint64, error) {
	n, ok := l.sizes[c]
	if !ok {
		return 0, store.ErrNotFound
	}
	if c == l.spoilt {
		return 0, errors.New("no node")
	}
	return n, nil
}

func (l *larder) Discard(_ context.Context, roots, keep []cid.Cid) (store.Collected, error) {
	for _, c := range roots {
		delete(l.sizes, c)
	}
	l.kept = keep
	return store.Collected{Blocks: int64(len(roots))}, nil
}

func rootOf(t *testing.T, word string) cid.Cid {
	t.Helper()
	h, err := multihash.Sum([]byte(word), multihash.SHA2_256, -1)
	if err != nil {
		t.Fatal(err)
	}
	return cid.NewCidV1(cid.DagProtobuf, h)
}

// Leases bring images into bob's store; what nobody uses leaves it when it is too much or too old, the longest unused first, across restarts, and never what is in use.
func TestImagesLeaveTheStore(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	l := &larder{sizes: map[cid.Cid]uint64{}}
	m := &member{log: slog.New(slog.NewTextHandler(t.Output(), nil)), dir: t.TempDir()}
	start := func() *images {
		i := newImages(m)
		i.store, i.now, i.most = l, func() time.Time { return now }, 250
		return i
	}
	i := start()
	use := func(word string) (done func()) {
		l.sizes[rootOf(t, word)] = 100
		now = now.Add(time.Hour)
		return i.Use(rootOf(t, word))
	}
	here := func(want ...string) {
		t.Helper()
		if err := i.collect(t.Context()); err != nil {
			t.Fatal(err)
		}
		roots := []cid.Cid{}
		for _, word := range want {
			roots = append(roots, rootOf(t, word))
		}
		got := slices.Collect(maps.Keys(l.sizes))
		less := func(a, b cid.Cid) int { return slices.Compare(a.Hash(), b.Hash()) }
		slices.SortFunc(roots, less)
		slices.SortFunc(got, less)
		if !slices.Equal(got, roots) {
			t.Errorf("after %s there are %d images, want %v", now.Format(time.DateTime), len(got), want)
		}
	}
	a := use("a")
	b := use("b")
	here("a", "b")
	use("no image")()
	l.spoilt = rootOf(t, "no image")
	i.Use(rootOf(t, "never came"))()
	here("a", "b")
	if len(i.used) != 2 {
		t.Errorf("account is kept of %v", i.used)
	}
	b()
	use("c")()
	use("d")() // three unused ones of 100 are more than 250, and a is in use
	here("a", "c", "d")
	if !slices.Contains(l.kept, rootOf(t, "a")) || !slices.Contains(l.kept, rootOf(t, "d")) {
		t.Errorf("blocks that others share are not kept: %v", l.kept)
	}
	i = start() // and nothing is in use
	now = now.Add(imagesKeep - time.Hour)
	here("d")
	a() // of a life that is over
	use("d")()
	now = now.Add(imagesKeep - time.Minute)
	here("d")
	now = now.Add(time.Minute)
	here()
	if text, err := filepath.Glob(filepath.Join(m.dir, "*")); err != nil || len(text) != 1 {
		t.Errorf("in the folder are %v, %v", text, err)
	}
}
