package full

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hpips/hpips/chain/chaintest"
)

// each gives blocks as an archive does.
func each(blocks [][]byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, b := range blocks {
			if !yield(b, nil) {
				return
			}
		}
	}
}

// Carol has nothing but the bytes of alice's blocks: her new home has the same state, goes on from there as one that was never away, and takes no other history.
func TestAHomeIsRebuiltFromBlocks(t *testing.T) {
	t.Parallel()
	alice := chaintest.New("alice")
	doc := genesis(t, quick(1, 4), alice)
	a, _ := serve(t, home(t, alice, doc))
	const last = 8
	send, err := chaintest.Sign(a.App().Codec(), alice, chaintest.Envelope{ChainID: testChain, Account: 14}, chaintest.Send(alice, chaintest.New("bob"), 5))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Client().BroadcastTxSync(t.Context(), send); err != nil {
		t.Fatal(err)
	}
	until(t, "blocks", func() bool { return a.Blocks().Height() > last+1 })
	var blocks [][]byte
	for h := range int64(last + 1) {
		b, err := a.Blocks().Block(h + 1)
		if err != nil {
			t.Fatal(err)
		}
		blocks = append(blocks, b)
	}
	point := func(height int64) *Trust {
		return &Trust{height, a.engine.node.BlockStore().LoadBlockMeta(height).BlockID.Hash}
	}
	fresh := func(trust *Trust) Config {
		c := home(t, chaintest.New("carol"), doc)
		c.Consensus, c.VRF, c.Peers, c.Trust = nil, nil, []string{a.Address()}, trust
		return c
	}

	changed := func(at int) [][]byte {
		all := slices.Clone(blocks)
		all[at] = bytes.Clone(all[at])
		all[at][len(all[at])/2] ^= 1
		return all
	}
	gone := errors.New("nobody has this segment")
	for _, row := range []struct {
		what   string
		trust  *Trust
		blocks iter.Seq2[[]byte, error]
		want   error
	}{
		{"another trust point", &Trust{5, bytes.Repeat([]byte{7}, 32)}, each(blocks), ErrForged},
		{"a trust point beyond the end", point(last + 1), each(blocks), ErrNoTrust},
		{"a changed block", point(last), each(changed(4)), ErrForged},
		{"a block left out", point(last), each(slices.Delete(slices.Clone(blocks), 3, 4)), ErrForged},
		{"without the first", point(last), each(blocks[1:]), ErrForged},
		{"no blocks", nil, each(nil), ErrNoBlock},
		{"one block", nil, each(blocks[:1]), ErrNoBlock},
		{"an archive that breaks off", nil, func(yield func([]byte, error) bool) { _ = yield(blocks[0], nil) && yield(nil, gone) }, gone},
	} {
		c := fresh(row.trust)
		if _, err := Rebuild(t.Context(), c, row.blocks); !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", row.what, err, row.want)
		}
		if _, err := os.Stat(filepath.Join(c.Home, "data")); err == nil {
			t.Errorf("%s: something is left", row.what)
		}
	}
	kept := fresh(&Trust{5, bytes.Repeat([]byte{7}, 32)}) // snapshots that were there before are not the rebuilding's
	if err := os.MkdirAll(filepath.Join(kept.Home, "snapshots", "mine"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Rebuild(t.Context(), kept, each(blocks)); !errors.Is(err, ErrForged) {
		t.Errorf("with snapshots: %v", err)
	}
	if _, err := os.Stat(filepath.Join(kept.Home, "snapshots", "mine")); err != nil {
		t.Errorf("snapshots are gone: %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := Rebuild(ctx, fresh(nil), each(blocks)); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}

	for _, at := range []int{0, 1, 5, last} { // the program is killed while it takes a block: a copy of its files is what is left
		whole, half := fresh(point(last)), fresh(point(last))
		if _, err := Rebuild(t.Context(), whole, func(yield func([]byte, error) bool) {
			for i, b := range blocks {
				if i == at {
					if err := os.CopyFS(half.Home, os.DirFS(whole.Home)); err != nil {
						t.Error(err)
					}
				}
				if !yield(b, nil) {
					return
				}
			}
		}); err != nil {
			t.Fatal(err)
		}
		if n, err := New(half); !errors.Is(err, ErrHalf) {
			t.Errorf("killed at block %d it is opened: %v, %v", at, n, err)
		}
		if got, err := Rebuild(t.Context(), half, each(blocks)); err != nil || !bytes.Equal(got.AppHash, hash(t, a, last)) {
			t.Errorf("killed at block %d and rebuilt again: %X, %v", at, got.AppHash, err)
		}
		if _, err := os.Stat(filepath.Join(half.Home, halfName)); err == nil {
			t.Error("the mark is left")
		}
	}

	c := fresh(point(last))
	got, err := Rebuild(t.Context(), c, each(blocks))
	if err != nil || got.Height != last || !bytes.Equal(got.AppHash, hash(t, a, last)) {
		t.Fatalf("rebuilt to %d with %X, alice has %X: %v", got.Height, got.AppHash, hash(t, a, last), err)
	}
	if _, err := Rebuild(t.Context(), c, each(blocks)); !errors.Is(err, ErrHasBlocks) {
		t.Errorf("once more: %v", err)
	}
	n, _ := serve(t, c)
	if h := height(n); h != last {
		t.Errorf("she begins at %d", h)
	}
	until(t, "carol at the head", func() bool { return height(n) > last+2 })
	if !bytes.Equal(hash(t, n, last+1), hash(t, a, last+1)) {
		t.Error("she goes on with another state")
	}
	for h := int64(1); h <= last; h++ {
		if b, err := n.Blocks().Block(h); err != nil || !bytes.Equal(b, blocks[h-1]) {
			t.Errorf("she keeps another block %d: %v", h, err)
		}
	}
}
