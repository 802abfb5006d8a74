package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/boxo/ipld/unixfs/hamt"
	uio "github.com/ipfs/boxo/ipld/unixfs/io"
	blockfmt "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
)

const maxName = 255 // bytes; what file systems allow

// Dir makes a directory of existing entries, sharded when its block would exceed 256 KiB,
// and makes it durable; the entries themselves need not be here. Names must be unique and
// fit for a file system. For entries with Total 0 that are not raw leaves the root block
// is read, from a peer when need be.
func (s *Store) Dir(ctx context.Context, links []Link) (Entry, error) {
	release, err := s.gate.enter(ctx)
	if err != nil {
		return Entry{}, fmt.Errorf("make directory: %w", err)
	}
	defer release()
	mark, whole := s.blocks.mark(), s.whole.mark()
	p, err := s.directory(ctx, links)
	if err == nil {
		err = s.blocks.flushSince(ctx, mark)
	}
	if err != nil {
		return Entry{}, fmt.Errorf("make directory: %w", err)
	}
	absent := func(l Link) bool { return l.here != whole+1 && !s.whole.has(l.CID) }
	if !slices.ContainsFunc(links, absent) {
		s.whole.note(p.cid, whole) // a pin of it need not look at each entry
	}
	return Entry{CID: p.cid, Kind: Directory, Size: p.size, Total: p.total}, nil
}

func (s *Store) directory(ctx context.Context, links []Link) (piece, error) {
	seen := make(map[string]bool, len(links))
	made := make([]*ipld.Link, len(links))
	var size uint64
	least := 0 // lower bound of the block's bytes
	for i, l := range links {
		if err := checkName(l.Name); err != nil {
			return piece{}, err
		}
		if seen[l.Name] {
			return piece{}, fmt.Errorf("name %q: twice in one directory", l.Name)
		}
		if !l.CID.Defined() {
			return piece{}, fmt.Errorf("entry %q: no content address", l.Name)
		}
		seen[l.Name] = true
		total, err := s.linkTotal(ctx, l)
		if err != nil {
			return piece{}, fmt.Errorf("entry %q: %w", l.Name, err)
		}
		made[i] = &ipld.Link{Name: l.Name, Size: total, Cid: l.CID}
		size += l.Size
		least += len(l.Name) + l.CID.ByteLen()
	}
	if least <= shardAt {
		node, err := plainDir(made)
		if err != nil {
			return piece{}, err
		}
		if len(node.RawData()) <= shardAt {
			return s.node(ctx, node, size)
		}
	}
	node, err := s.shardedDir(ctx, made)
	if err != nil {
		return piece{}, err
	}
	return s.node(ctx, node, size)
}

// linkTotal is the Tsize that a link to the entry must record for the CID to equal Kubo's.
func (s *Store) linkTotal(ctx context.Context, l Link) (uint64, error) {
	if l.Total > 0 || l.here > 0 { // an empty file has 0
		return l.Total, nil
	}
	if l.CID.Prefix().Codec == cid.Raw && l.Size > 0 {
		return l.Size, nil
	}
	node, err := s.dag.Get(ctx, l.CID)
	if err != nil {
		return 0, s.missing("look up", l.CID, err)
	}
	return node.Size()
}

func plainDir(links []*ipld.Link) (*merkledag.ProtoNode, error) {
	node := unixfs.EmptyDirNode()
	if err := node.SetCidBuilder(uio.UnixFS_v1_2025.CidBuilder()); err != nil {
		return nil, err
	}
	for _, l := range links {
		if err := node.AddRawLink(l.Name, l); err != nil {
			return nil, err
		}
	}
	if _, err := node.EncodeProtobuf(false); err != nil {
		return nil, err
	}
	return node, nil
}

func (s *Store) shardedDir(ctx context.Context, links []*ipld.Link) (ipld.Node, error) {
	shard, err := hamt.NewShard(putter{ctx: ctx, blocks: s.blocks}, shardFan)
	if err != nil {
		return nil, err
	}
	shard.SetCidBuilder(uio.UnixFS_v1_2025.CidBuilder())
	for _, l := range links {
		if err := shard.SetLink(ctx, l.Name, l); err != nil {
			return nil, err
		}
	}
	return shard.Node()
}

// putter is the DAG service of a shard under construction, which only adds. It carries the
// context because hamt gives its own when it writes.
type putter struct {
	ipld.DAGService
	ctx    context.Context
	blocks *blocks
}

// Add puts the node.
func (p putter) Add(_ context.Context, n ipld.Node) error { return p.blocks.Put(p.ctx, n) }

// checkName refuses what no file system takes or what could lead out of a folder.
func checkName(name string) error {
	switch {
	case name == "", name == ".", name == "..", strings.ContainsAny(name, "/\x00"), !filepath.IsLocal(name),
		filepath.Separator == '\\' && strings.ContainsAny(name, `\:*?"<>|`):
		return fmt.Errorf("%w %q", ErrUnsafe, name)
	case len(name) > maxName:
		return fmt.Errorf("%w: %d bytes long, at most %d", ErrUnsafe, len(name), maxName)
	}
	return nil
}

// want is a block to have, with the bytes that the link to it claims for all below it.
type want struct {
	cid  cid.Cid
	size uint64
}

var errCodec = errors.New("codec not known here")

// linksOf gives the links of a block; a raw one has none.
func linksOf(block blockfmt.Block) ([]want, error) {
	switch codec := block.Cid().Prefix().Codec; codec {
	case cid.Raw:
		return nil, nil
	case cid.DagProtobuf:
		node, err := merkledag.DecodeProtobuf(block.RawData())
		if err != nil {
			return nil, fmt.Errorf("block %s: %w", block.Cid(), err)
		}
		below := make([]want, 0, len(node.Links()))
		for _, l := range node.Links() {
			below = append(below, want{l.Cid, l.Size})
		}
		return below, nil
	default:
		return nil, fmt.Errorf("block %s: %w: 0x%x", block.Cid(), errCodec, codec)
	}
}
