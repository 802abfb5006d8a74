package provider

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multihash"

	"github.com/hpips/hpips/store"
)

// shelf is a content store in memory. A file is its bytes; a folder is a list of links, as text.
type shelf struct {
	slow     []int64 // bytes that a fetch has brought after each second
	mu       sync.Mutex
	content  map[cid.Cid]item
	pins     map[cid.Cid]string
	full     bool
	reserves int
}

type item struct {
	file  []byte
	links map[string]cid.Cid // of a folder
}

func newShelf() *shelf { return &shelf{content: map[cid.Cid]item{}, pins: map[cid.Cid]string{}} }

func address(b []byte) cid.Cid {
	h, err := multihash.Sum(b, multihash.SHA2_256, -1)
	if err != nil {
		panic(err)
	}
	return cid.NewCidV1(cid.Raw, h)
}

// put places a file and returns its address.
func (s *shelf) put(b []byte) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := address(b)
	s.content[c] = item{file: bytes.Clone(b)}
	return c.String()
}

// folder places a folder of files.
func (s *shelf) folder(files map[string]string) string {
	links := map[string]cid.Cid{}
	for name, text := range files {
		links[name] = cid.MustParse(s.put([]byte(text)))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dir(links).String()
}

func (s *shelf) dir(links map[string]cid.Cid) cid.Cid {
	var lines []string
	for name, c := range links {
		lines = append(lines, name+" "+c.String())
	}
	sort.Strings(lines)
	c := address([]byte("folder\n" + strings.Join(lines, "\n")))
	s.content[c] = item{links: links}
	return c
}

func (s *shelf) Resolve(_ context.Context, ref string) (cid.Cid, error) { return cid.Decode(ref) }

func (s *shelf) Fetch(ctx context.Context, c cid.Cid, progress func(store.Progress), _ ...peer.ID) (int64, error) {
	s.mu.Lock()
	it, ok := s.content[c]
	s.mu.Unlock()
	if !ok {
		<-ctx.Done() // nobody has it, but somebody might come who does
		return 0, ctx.Err()
	}
	for _, n := range s.slow {
		<-time.After(time.Second)
		progress(store.Progress{Bytes: n})
	}
	progress(store.Progress{Bytes: int64(len(it.file))})
	return int64(len(it.file)), nil
}

func (s *shelf) Export(_ context.Context, c cid.Cid, host string, limit int64, progress func(store.Progress)) error {
	s.mu.Lock()
	it, ok := s.content[c]
	s.mu.Unlock()
	switch {
	case !ok:
		return store.ErrNotFound
	case it.links == nil && int64(len(it.file)) > limit:
		return store.ErrTooLarge
	case it.links == nil:
		progress(store.Progress{Bytes: int64(len(it.file))})
		return os.WriteFile(host, it.file, 0o600)
	}
	if err := os.Mkdir(host, 0o700); err != nil {
		return err
	}
	var total int64
	for name, link := range it.links {
		if err := s.Export(context.Background(), link, filepath.Join(host, name), limit-total, func(p store.Progress) { total += p.Bytes }); err != nil {
			return err
		}
	}
	progress(store.Progress{Bytes: total})
	return nil
}

func (s *shelf) AddPath(_ context.Context, path string, _ func(store.Progress)) (store.Entry, error) {
	if s.full {
		return store.Entry{}, store.ErrFull
	}
	if s.reserves == 0 {
		return store.Entry{}, errors.New("added without a reserve: it could be collected before its pin")
	}
	info, err := os.Stat(path)
	if err != nil {
		return store.Entry{}, err
	}
	if !info.IsDir() {
		b, err := os.ReadFile(path)
		return store.Entry{CID: cid.MustParse(s.put(b)), Size: uint64(len(b))}, err
	}
	files := map[string]string{}
	size := 0
	err = filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		files[strings.ReplaceAll(strings.TrimPrefix(name, path+"/"), "/", "_")] = string(b)
		size += len(b)
		return err
	})
	return store.Entry{CID: cid.MustParse(s.folder(files)), Size: uint64(size)}, err
}

func (s *shelf) Dir(_ context.Context, links []store.Link) (store.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]cid.Cid{}
	for _, l := range links {
		if _, twice := all[l.Name]; twice || l.Name == "" || len(l.Name) > 255 {
			return store.Entry{}, fmt.Errorf("name %q", l.Name)
		}
		all[l.Name] = l.CID
	}
	return store.Entry{CID: s.dir(all)}, nil
}

func (s *shelf) Reserve(context.Context) (func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reserves++
	return func() { s.mu.Lock(); s.reserves--; s.mu.Unlock() }, nil
}

func (s *shelf) Pin(_ context.Context, c cid.Cid, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pins[c] = name
	return nil
}

func (s *shelf) Unpin(_ context.Context, c cid.Cid) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.pins[c]; !ok {
		return store.ErrNotFound
	}
	delete(s.pins, c)
	return nil
}

func (s *shelf) pinned() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pins)
}

// read returns a file, or a file of a folder.
func (s *shelf) read(t testing.TB, ref string, path ...string) string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	it, ok := s.content[cid.MustParse(ref)]
	if !ok {
		t.Fatalf("%s is not here", ref)
	}
	for _, name := range path {
		it = s.content[it.links[name]]
	}
	return string(it.file)
}
