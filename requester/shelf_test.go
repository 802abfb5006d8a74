package requester

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multihash"

	"github.com/hpips/hpips/store"
)

// shelf is a store in memory. A file's address is its hash; a directory is a file that lists its entries.
type shelf struct {
	mu   sync.Mutex
	kept map[cid.Cid][]byte
	dirs map[cid.Cid][]store.Link

	flood   cid.Cid      // a content without end
	flooded atomic.Int64 // how much of it came
}

func newShelf() *shelf {
	return &shelf{kept: map[cid.Cid][]byte{}, dirs: map[cid.Cid][]store.Link{}}
}

func address(codec uint64, data []byte) cid.Cid {
	h, err := multihash.Sum(data, multihash.SHA2_256, -1)
	if err != nil {
		panic(err)
	}
	return cid.NewCidV1(codec, h)
}

func (s *shelf) AddBytes(_ context.Context, data []byte) (store.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := address(cid.Raw, data)
	s.kept[c] = slices.Clone(data)
	return store.Entry{CID: c, Kind: store.Regular, Size: uint64(len(data)), Total: uint64(len(data))}, nil
}

func (s *shelf) Add(ctx context.Context, r io.Reader) (store.Entry, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return store.Entry{}, err
	}
	return s.AddBytes(ctx, data)
}

func (s *shelf) AddFiles(ctx context.Context, files iter.Seq2[string, []byte]) ([]store.Link, error) {
	var links []store.Link
	for name, data := range files {
		e, err := s.AddBytes(ctx, data)
		if err != nil {
			return nil, err
		}
		e.Name = name
		links = append(links, e.Link())
	}
	return links, nil
}

func (s *shelf) Dir(_ context.Context, links []store.Link) (store.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	links = slices.Clone(links)
	slices.SortFunc(links, func(a, b store.Link) int { return strings.Compare(a.Name, b.Name) })
	c := address(cid.DagProtobuf, fmt.Append(nil, links))
	s.dirs[c] = links
	return store.Entry{CID: c, Kind: store.Directory}, nil
}

func (s *shelf) Tree(_ context.Context, c cid.Cid) ([]store.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tree("", c), nil
}

func (s *shelf) tree(path string, c cid.Cid) []store.File {
	links, ok := s.dirs[c]
	if !ok {
		return []store.File{{Path: path, CID: c, Size: uint64(len(s.kept[c])), Kind: store.Regular}}
	}
	var files []store.File
	for _, l := range links {
		files = append(files, s.tree(strings.TrimPrefix(path+"/"+l.Name, "/"), l.CID)...)
	}
	return files
}

func (s *shelf) Resolve(_ context.Context, ref string) (cid.Cid, error) {
	return cid.Decode(strings.TrimPrefix(ref, "ipfs://"))
}

type book struct{ *bytes.Reader }

func (book) Close() error   { return nil }
func (b book) Size() uint64 { return uint64(b.Reader.Size()) }

func (s *shelf) Open(_ context.Context, c cid.Cid) (store.Reader, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	data, ok := s.kept[c]
	if !ok {
		return nil, store.ErrNotFound
	}
	return book{bytes.NewReader(data)}, nil
}

// Export writes a file, or a folder of files, to the disk.
func (s *shelf) Export(_ context.Context, c cid.Cid, hostPath string, _ int64, _ func(store.Progress)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.tree("", c) {
		host := filepath.Join(hostPath, filepath.FromSlash(f.Path))
		if err := os.MkdirAll(filepath.Dir(host), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(host, s.kept[f.CID], 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (s *shelf) Fetch(ctx context.Context, c cid.Cid, progress func(store.Progress), _ ...peer.ID) (int64, error) {
	for c == s.flood && ctx.Err() == nil {
		sum := s.flooded.Add(1 << 20)
		if sum > 1<<30 {
			break
		}
		progress(store.Progress{Bytes: sum})
	}
	s.mu.Lock()
	_, file := s.kept[c]
	_, dir := s.dirs[c]
	s.mu.Unlock()
	if file || dir {
		return 0, nil
	}
	<-ctx.Done() // as a network in which nobody has it
	return 0, ctx.Err()
}

func (s *shelf) Size(_ context.Context, c cid.Cid) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	total := uint64(0)
	for _, f := range s.tree("", c) {
		total += f.Size
	}
	return total, nil
}

func (s *shelf) Pin(context.Context, cid.Cid, string) error { return nil }

// files reads a directory of the shelf by name.
func (s *shelf) files(t *testing.T, address string) map[string]string {
	t.Helper()
	c, err := cid.Decode(address)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, f := range s.tree("", c) {
		found[f.Path] = string(s.kept[f.CID])
	}
	return found
}
