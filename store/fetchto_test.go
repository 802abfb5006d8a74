package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/hpips/hpips/store/storetest"
)

// Bob gets a folder with files of all sizes and a link while it comes; what he has is what alice has, whole and durable, and a second time nothing comes.
func TestFetchTo(t *testing.T) {
	ctx := t.Context()
	alice, bob := pair(t)
	dir := t.TempDir()
	manyFiles(t, filepath.Join(dir, "many"), 300, 4<<10)
	plant(t, dir, map[string]string{"big": string(random(9<<20, 1)), "a/b/c": "c", "a/link": "->b/c", "empty": ""})
	folder, err := alice.AddPath(ctx, dir, nil)
	must(t, err)
	out := filepath.Join(t.TempDir(), "out")
	var last Progress
	for range 2 {
		fetching, writing := bob.FetchTo(ctx, folder.CID, out, true, func(p Progress) { last = p })
		must(t, errors.Join(fetching, writing))
		same(t, snapshot(t, out), snapshot(t, dir))
	}
	if last.Bytes+int64(len("b/c")) != last.TotalBytes || last.Bytes < 10<<20 { // a link is not written by bytes
		t.Errorf("at the end it tells %+v", last)
	}
	if list, err := os.ReadDir(filepath.Dir(out)); err != nil || len(list) != 1 {
		t.Errorf("beside the target are %v, %v", list, err)
	}
}

// What has come is written while the rest is on its way, and the target is not there before the end.
func TestFetchToWritesMeanwhile(t *testing.T) {
	const size = 64 << 20 // many times what is asked for at once, of which the first block may come last
	a, b := newHost(t), newHost(t)
	alice, bob := openStore(t, t.TempDir(), a), openStore(t, t.TempDir(), b)
	data := random(size, 1)
	e, err := alice.AddBytes(t.Context(), data)
	must(t, err)
	slow := storetest.Line{Rate: 16 << 20}.Before(t, a.Addrs()[0])
	must(t, b.Connect(t.Context(), peer.AddrInfo{ID: a.ID(), Addrs: []multiaddr.Multiaddr{slow}}))
	out := filepath.Join(t.TempDir(), "out")
	var early int64 // bytes written when there were most to come
	fetching, writing := bob.FetchTo(t.Context(), e.CID, out, false, func(p Progress) {
		if _, err := os.Lstat(out); err == nil && p.TotalBytes == 0 {
			t.Error("the target is there before all has come")
		}
		made, err := filepath.Glob(filepath.Join(filepath.Dir(out), ".hpips-export-*", "content"))
		must(t, err)
		if fi, err := os.Stat(filepath.Join(append(made, "none")[0])); err == nil && p.Bytes < size*3/4 {
			early = max(early, fi.Size())
		}
	})
	must(t, errors.Join(fetching, writing))
	if got, err := os.ReadFile(out); err != nil || string(got) != string(data) {
		t.Errorf("%d bytes differ from %d: %v", len(got), len(data), err)
	}
	if early < 1<<20 {
		t.Errorf("%d bytes were written before three quarters had come", early)
	}
}

// A part that nobody has, a wait that ends, a target that cannot be: each says whose fault it is, and leaves nothing beside the target.
func TestFetchToFails(t *testing.T) {
	alice, bob := pair(t)
	data := random(5<<20, 1)
	e, err := alice.AddBytes(t.Context(), data)
	must(t, err)
	gone := random(6<<20, 2)
	holed, err := alice.AddBytes(t.Context(), gone)
	must(t, err)
	last, err := alice.blocks.Get(t.Context(), holed.CID)
	must(t, err)
	below, err := linksOf(last)
	must(t, err)
	must(t, alice.blocks.DeleteBlock(t.Context(), below[len(below)-1].cid))
	dir := t.TempDir()
	there := filepath.Join(dir, "there")
	must(t, os.WriteFile(there, []byte("mine"), 0o644))
	quiet := func(Progress) {}

	soon, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	fetching, writing := bob.FetchTo(soon, holed.CID, filepath.Join(dir, "holed"), false, quiet)
	if !errors.Is(fetching, ErrNotFound) || writing != nil {
		t.Errorf("with a hole: %v, %v", fetching, writing)
	}
	fetching, writing = bob.FetchTo(t.Context(), e.CID, there, false, quiet)
	if fetching != nil || !errors.Is(writing, ErrExists) {
		t.Errorf("over what is there: %v, %v", fetching, writing)
	}
	fetching, writing = bob.FetchTo(t.Context(), e.CID, filepath.Join(dir, "no", "folder"), false, quiet)
	if fetching != nil || !errors.Is(writing, os.ErrNotExist) {
		t.Errorf("into a folder that is not there: %v, %v", fetching, writing)
	}
	if text, err := os.ReadFile(there); err != nil || string(text) != "mine" {
		t.Errorf("the target is %q, %v", text, err)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 1 {
		t.Errorf("beside the target are %v, %v", list, err)
	}
	fetching, writing = bob.FetchTo(t.Context(), e.CID, there, true, quiet)
	must(t, errors.Join(fetching, writing))
	if got, err := os.ReadFile(there); err != nil || string(got) != string(data) {
		t.Errorf("%d bytes differ from %d: %v", len(got), len(data), err)
	}
	if n := len(bob.blocks.arrivals.waiting); n != 0 {
		t.Errorf("%d blocks are still waited for", n)
	}
}
