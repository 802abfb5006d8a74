package store

import (
	"bytes"
	"context"
	"io"
	"iter"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/boxo/ipld/unixfs/hamt"
	blockfmt "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/multiformats/go-multihash"
)

// FuzzForeignBlock gives a node whatever bytes a peer may call a directory or a file: each
// way of reading must end, with or without an error.
func FuzzForeignBlock(f *testing.F) {
	s, err := Open(slog.New(slog.DiscardHandler), f.TempDir(), nil, Default())
	must(f, err)
	f.Cleanup(func() { must(f, s.Close()) })
	leaf, err := s.AddBytes(f.Context(), []byte("leaf"))
	must(f, err)
	link := &ipld.Link{Name: "leaf", Cid: leaf.CID, Size: 4}
	for _, data := range [][]byte{unixfs.FolderPBData(), unixfs.FilePBData([]byte("x"), 1), unixfs.FilePBData(nil, 1<<62)} {
		node := merkledag.NodeWithData(data)
		f.Add(node.RawData())
		must(f, node.AddRawLink("leaf", link))
		f.Add(node.Copy().RawData())
	}
	for _, fan := range []uint64{8, 256, 1 << 20} {
		data, err := unixfs.HAMTShardData([]byte{1}, fan, hamt.HashMurmur3)
		must(f, err)
		node := merkledag.NodeWithData(data)
		must(f, node.AddRawLink("00leaf", link))
		f.Add(node.RawData())
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > maxBlockSize {
			return
		}
		h, err := multihash.Sum(data, multihash.SHA2_256, -1)
		must(t, err)
		c := cid.NewCidV1(cid.DagProtobuf, h)
		block, err := blockfmt.NewBlockWithCid(data, c)
		must(t, err)
		must(t, s.blocks.Put(t.Context(), block))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		_, _ = s.Tree(ctx, c)
		_, _ = s.List(ctx, c.String())
		_, _ = s.Resolve(ctx, c.String()+"/leaf/x")
		_, _ = s.Fetch(ctx, c, nil)
		_ = s.Export(ctx, c, filepath.Join(t.TempDir(), "out"), 1<<20, nil)
		if r, err := s.Open(ctx, c); err == nil {
			_, _ = io.CopyN(io.Discard, r, 1<<20)
			_, _ = r.Seek(1, io.SeekStart)
			_ = r.Close()
		}
	})
}

// Alice gathers the results of many tasks at once; each equals what Add makes of it.
func TestAddFiles(t *testing.T) {
	ctx, s := t.Context(), alone(t)
	contents := map[string][]byte{"a": []byte("1"), "b": {}, "c": random(3<<20, 1)}
	var each iter.Seq2[string, []byte] = func(yield func(string, []byte) bool) {
		reused := make([]byte, 0, 4<<20)
		for _, name := range []string{"a", "b", "c"} {
			if !yield(name, append(reused[:0], contents[name]...)) {
				return
			}
		}
	}
	links, err := s.AddFiles(ctx, each)
	must(t, err)
	dir, err := s.Dir(ctx, links)
	must(t, err)
	for name, data := range contents {
		want, err := s.AddBytes(ctx, data)
		must(t, err)
		got, err := s.Resolve(ctx, dir.CID.String()+"/"+name)
		must(t, err)
		if got != want.CID {
			t.Errorf("%s: %s, want %s", name, got, want.CID)
		}
		r, err := s.Open(ctx, got)
		must(t, err)
		read, err := io.ReadAll(r)
		must(t, err)
		if !bytes.Equal(read, data) {
			t.Errorf("%s: %d bytes read", name, len(read))
		}
		must(t, r.Close())
	}
}

// Alice pins the directory of many results: it is known to be whole without a look at each, but not once one of them went away or came
// from somebody else.
func TestDirOfWhatIsHereIsWhole(t *testing.T) {
	ctx, s := t.Context(), alone(t)
	files := func(yield func(string, []byte) bool) { _ = yield("a", []byte("1")) && yield("b", []byte("2")) }
	links, err := s.AddFiles(ctx, files)
	must(t, err)
	dir, err := s.Dir(ctx, links)
	must(t, err)
	if !s.whole.has(dir.CID) {
		t.Error("a directory of files that were just added is not known to be whole")
	}
	far := Link{Name: "far", CID: cid.MustParse("bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"), Size: 1, Total: 1}
	partly, err := s.Dir(ctx, append(links, far))
	must(t, err)
	if s.whole.has(partly.CID) {
		t.Error("a directory with an entry from elsewhere passes for whole")
	}
	must(t, s.blocks.DeleteBlock(ctx, links[0].CID))
	again, err := s.Dir(ctx, links)
	must(t, err)
	if s.whole.has(again.CID) {
		t.Error("a directory passes for whole after an entry of it went away")
	}
	if err := s.Pin(ctx, again.CID, "lost"); err == nil {
		t.Error("a directory is pinned without one of its entries")
	}
}
