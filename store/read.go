package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/ipfs/boxo/blockservice"
	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/boxo/ipld/unixfs/hamt"
	uio "github.com/ipfs/boxo/ipld/unixfs/io"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
)

const (
	maxDepth  = 512       // folders in folders
	maxPath   = 4096      // bytes
	maxPaths  = 256 << 20 // bytes of all paths of one tree: few blocks can name many entries
	readAhead = 256       // nodes asked for at a time
)

// Reader reads the content of one file.
type Reader interface {
	io.ReadSeekCloser
	io.WriterTo
	Size() uint64 // bytes
}

// Open reads the file c, over the network where blocks are missing; ctx bounds all reads.
func (s *Store) Open(ctx context.Context, c cid.Cid) (Reader, error) {
	return s.open(blockservice.ContextWithSession(ctx, s.service), s.dag, c)
}

func (s *Store) open(ctx context.Context, dag ipld.DAGService, c cid.Cid) (Reader, error) {
	node, err := dag.Get(ctx, c)
	if err != nil {
		return nil, s.missing("open", c, err)
	}
	r, err := uio.NewDagReader(ctx, node, dag)
	if errors.Is(err, uio.ErrIsDir) {
		return nil, hint(fmt.Errorf("open %s: is a directory", c), "name a file in it: CID/path")
	}
	if errors.Is(err, uio.ErrCantReadSymlinks) {
		return nil, hint(fmt.Errorf("open %s: is a symbolic link", c), "name what it leads to: CID/path")
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", c, err)
	}
	return r, nil
}

// List gives the entries of the directory that ref (see Resolve) means, sorted by name, or
// the one entry of a file, with their sizes and kinds.
func (s *Store) List(ctx context.Context, ref string) ([]Entry, error) {
	c, err := s.Resolve(ctx, ref)
	if err != nil {
		return nil, err
	}
	ctx = blockservice.ContextWithSession(ctx, s.service)
	w := walk{dag: s.dag, left: s.cfg.MaxEntries, room: maxPaths}
	top, err := w.look(ctx, []node{{cid: c}})
	if err != nil {
		return nil, s.missing("list", c, err)
	}
	found := top
	if top[0].kind == Directory {
		if found, err = w.look(ctx, w.next); err != nil {
			return nil, s.missing("list", c, err)
		}
	}
	entries := make([]Entry, 0, len(found))
	for _, n := range found {
		entries = append(entries, Entry{Name: n.path, CID: n.cid, Kind: n.kind, Size: n.size, Total: n.claim})
	}
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return entries, nil
}

// Tree lists all regular files below c, sorted by the bytes of their paths; directories are
// read over the network where they are missing, leaves are not.
func (s *Store) Tree(ctx context.Context, c cid.Cid) ([]File, error) {
	all, err := s.walk(blockservice.ContextWithSession(ctx, s.service), s.dag, c, s.cfg.MaxEntries)
	if err != nil {
		return nil, s.missing("list tree", c, err)
	}
	var files []File
	for _, n := range all {
		if n.kind == Regular {
			files = append(files, File{Path: n.path, CID: n.cid, Size: n.size, Kind: n.kind})
		}
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return files, nil
}

// node is one entry met on a walk.
type node struct {
	path   string
	cid    cid.Cid
	kind   Kind
	size   uint64
	claim  uint64 // bytes of blocks below, as its link says
	target string // of a symbolic link
}

// walk goes through directories level by level, so that each level is one round of wants.
type walk struct {
	dag  ipld.DAGService
	left int    // entries still allowed
	room int    // bytes of paths still allowed
	next []node // the level below the one last looked at; kinds not known yet
}

// walk lists the whole tree under c, folders before what is in them, if it has no more than so many entries.
func (s *Store) walk(ctx context.Context, dag ipld.DAGService, c cid.Cid, most int) ([]node, error) {
	w := walk{dag: dag, left: most, room: maxPaths, next: []node{{cid: c}}}
	var all []node
	for depth := 0; len(w.next) > 0; depth++ {
		if depth > maxDepth {
			return nil, fmt.Errorf("%w: deeper than %d folders", ErrTooLarge, maxDepth)
		}
		level, err := w.look(ctx, w.next)
		if err != nil {
			return nil, err
		}
		all = append(all, level...)
	}
	return all, nil
}

// look finds out kind and size of the nodes of one level and gathers the next.
func (w *walk) look(ctx context.Context, level []node) ([]node, error) {
	w.next = nil
	ask := make(map[cid.Cid][]int) // not leaves: which entries they are
	var keys []cid.Cid
	for i, n := range level {
		if n.cid.Prefix().Codec == cid.Raw {
			level[i].kind, level[i].size = Regular, n.claim
			if n.path == "" { // the root: nobody claims a size
				size, err := w.rawSize(ctx, n.cid)
				if err != nil {
					return nil, err
				}
				level[i].size, level[i].claim = size, size
			}
			continue
		}
		if _, ok := ask[n.cid]; !ok {
			keys = append(keys, n.cid)
		}
		ask[n.cid] = append(ask[n.cid], i)
	}
	for batch := range slices.Chunk(keys, readAhead) {
		for got := range w.dag.GetMany(ctx, batch) {
			if got.Err != nil {
				return nil, w.cause(ctx, got.Err)
			}
			if err := w.open(ctx, level, ask[got.Node.Cid()], got.Node); err != nil {
				return nil, err
			}
			delete(ask, got.Node.Cid())
		}
	}
	for c := range ask {
		return nil, w.cause(ctx, ipld.ErrNotFound{Cid: c})
	}
	return level, nil
}

func (w *walk) cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func (w *walk) rawSize(ctx context.Context, c cid.Cid) (uint64, error) {
	n, err := w.dag.Get(ctx, c)
	if err != nil {
		return 0, err
	}
	return uint64(len(n.RawData())), nil
}

// open settles the entries of the level that are this node.
func (w *walk) open(ctx context.Context, level []node, which []int, got ipld.Node) error {
	proto, ok := got.(*merkledag.ProtoNode)
	if !ok {
		return fmt.Errorf("block %s: %w", got.Cid(), errCodec)
	}
	info, err := unixfs.FSNodeFromBytes(proto.Data())
	if err != nil {
		return fmt.Errorf("block %s: %w", got.Cid(), err)
	}
	var links []*ipld.Link
	set := node{kind: Regular, size: info.FileSize()}
	switch info.Type() {
	case unixfs.TFile, unixfs.TRaw:
	case unixfs.TSymlink:
		set = node{kind: Symlink, size: uint64(len(info.Data())), target: string(info.Data())}
	case unixfs.TDirectory:
		set, links = node{kind: Directory}, proto.Links()
	case unixfs.THAMTShard:
		set = node{kind: Directory}
		if links, err = w.shard(ctx, got); err != nil {
			return err
		}
	default:
		return fmt.Errorf("block %s: UnixFS type %d", got.Cid(), info.Type())
	}
	total, err := got.Size()
	if err != nil {
		return err
	}
	for _, i := range which {
		n := &level[i]
		n.kind, n.size, n.target, n.claim = set.kind, set.size, set.target, total
		if err := w.below(n.path, links); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) shard(ctx context.Context, got ipld.Node) ([]*ipld.Link, error) {
	shard, err := hamt.NewHamtFromDag(w.dag, got)
	if err != nil {
		return nil, fmt.Errorf("block %s: %w", got.Cid(), err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var links []*ipld.Link
	for r := range shard.EnumLinksAsync(ctx) {
		if r.Err != nil {
			return nil, w.cause(ctx, r.Err)
		}
		if len(links) > w.left {
			return nil, fmt.Errorf("%w: too many entries", ErrTooLarge)
		}
		links = append(links, r.Link)
	}
	return links, ctx.Err()
}

func (w *walk) below(path string, links []*ipld.Link) error {
	if w.left -= len(links); w.left < 0 {
		return fmt.Errorf("%w: too many entries", ErrTooLarge)
	}
	for _, l := range links {
		if err := checkName(l.Name); err != nil {
			return fmt.Errorf("in %q: %w", path, err)
		}
		child := l.Name
		if path != "" {
			child = path + "/" + l.Name
		}
		if len(child) > maxPath {
			return fmt.Errorf("%w: path of more than %d bytes", ErrTooLarge, maxPath)
		}
		if w.room -= len(child); w.room < 0 {
			return fmt.Errorf("%w: paths of more than %d bytes in all", ErrTooLarge, maxPaths)
		}
		w.next = append(w.next, node{path: child, cid: l.Cid, claim: l.Size})
	}
	return nil
}
