package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
)

// What is measured is what was added: a file of many leaves, of which most are the same, a folder with a file, a link and a folder of many names.
func TestSizeIsWhatWasAdded(t *testing.T) {
	s := alone(t)
	dir := t.TempDir()
	write := func(name string, data []byte) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("zeros", make([]byte, 5<<20+7))
	write("empty", nil)
	write("deep/er/hello", []byte("hello"))
	for i := range 3000 {
		write(filepath.Join("many", strings.Repeat("n", 80)+string(rune('a'+i%26))+string(rune('a'+i/26%26))+string(rune('a'+i/676))), []byte{byte(i)})
	}
	if err := os.Symlink("zeros", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	e, err := s.AddPath(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		cid  cid.Cid
		want uint64
	}{{e.CID, e.Size}, {e.CID, 5<<20 + 7 + 5 + 3000 + 5}} {
		if got, err := s.Size(t.Context(), c.cid); err != nil || got != c.want {
			t.Errorf("%d bytes, %v, want %d", got, err, c.want)
		}
	}
	if one, err := s.AddBytes(t.Context(), []byte("four")); err != nil {
		t.Fatal(err)
	} else if got, err := s.Size(t.Context(), one.CID); err != nil || got != 4 {
		t.Errorf("%d bytes, %v, want 4", got, err)
	}
}

// Mallory's root says that there is a petabyte below it; there are ten bytes. What she says of blocks that are not there is no size either.
func TestSizeBelievesNoLink(t *testing.T) {
	s := alone(t)
	leaf, err := s.AddBytes(t.Context(), []byte("ten bytes."))
	if err != nil {
		t.Fatal(err)
	}
	put := func(file *unixfs.FSNode, links ...*ipld.Link) cid.Cid {
		t.Helper()
		data, err := file.GetBytes()
		if err != nil {
			t.Fatal(err)
		}
		node := merkledag.NodeWithData(data)
		for _, l := range links {
			if err := node.AddRawLink("", l); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.dag.Add(t.Context(), node); err != nil {
			t.Fatal(err)
		}
		return node.Cid()
	}
	file := unixfs.NewFSNode(unixfs.TFile)
	file.AddBlockSize(1 << 50)
	root := put(file, &ipld.Link{Cid: leaf.CID, Size: 1 << 50})
	if got, err := s.Size(t.Context(), root); err != nil || got != 10 {
		t.Errorf("%d bytes, %v, want 10", got, err)
	}
	gone, err := cid.Prefix{Version: 1, Codec: cid.Raw, MhType: 0x12, MhLength: -1}.Sum(bytes.Repeat([]byte("x"), 9))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Size(t.Context(), put(file, &ipld.Link{Cid: gone, Size: 5})); !errors.Is(err, ErrNotFound) {
		t.Errorf("a leaf that is not here: %d, %v", got, err)
	}
	tower := leaf.CID
	for range deepest + 1 {
		tower = put(unixfs.NewFSNode(unixfs.TFile), &ipld.Link{Cid: tower, Size: 1})
	}
	if got, err := s.Size(t.Context(), tower); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a tower of blocks: %d, %v", got, err)
	}
}
