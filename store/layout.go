package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	uio "github.com/ipfs/boxo/ipld/unixfs/io"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/multiformats/go-multihash"
)

// piece is a finished part of a DAG.
type piece struct {
	cid   cid.Cid
	size  uint64 // bytes of content below it
	total uint64 // bytes of blocks below it, itself included
}

// leaf hashes and puts one raw leaf.
func (s *Store) leaf(ctx context.Context, data []byte) (piece, error) {
	c, err := LeafCID(data)
	if err != nil {
		return piece{}, err
	}
	n := uint64(len(data))
	return piece{c, n, n}, s.blocks.put(ctx, c.Hash(), data)
}

// stack builds the balanced tree over the leaves of a file and returns its root. It is the
// balanced layout of the UnixFS specification (https://specs.ipfs.tech/unixfs/#layout):
// all leaves at one depth, every node but the last of a level full. Built level by level
// it lets the leaves be hashed in parallel, which boxo's builder does not.
func (s *Store) stack(ctx context.Context, level []*piece) (piece, error) {
	parts := make([]Link, len(level))
	for i, p := range level {
		parts[i] = Link{CID: p.cid, Size: p.size, Total: p.total}
	}
	root, err := FileTree(parts, func(node *merkledag.ProtoNode) error { return s.blocks.Put(ctx, node) })
	return piece{root.CID, root.Size, root.Total}, err
}

// FileTree gives the root of the file of these parts, in order, and each node above them to put, from below. Nothing else is put anywhere. A file of one part is that part.
func FileTree(parts []Link, put func(*merkledag.ProtoNode) error) (Link, error) {
	if len(parts) == 0 {
		return Link{}, errors.New("file: no parts")
	}
	for len(parts) > 1 {
		var above []Link
		for level := range slices.Chunk(parts, fanOut) {
			node, size, err := FileNode(level)
			if err != nil {
				return Link{}, err
			}
			total, err := node.Size()
			if err != nil {
				return Link{}, fmt.Errorf("size of node: %w", err)
			}
			if err := put(node); err != nil {
				return Link{}, err
			}
			above = append(above, Link{CID: node.Cid(), Size: size, Total: total})
		}
		parts = above
	}
	return parts[0], nil
}

// LeafCID is the address of a file of 1 MiB at most, and of each such part of a larger one: that of the bytes themselves.
func LeafCID(data []byte) (cid.Cid, error) {
	h, err := multihash.Sum(data, multihash.SHA2_256, -1)
	if err != nil {
		return cid.Undef, err
	}
	return cid.NewCidV1(cid.Raw, h), nil
}

// FileNode is the node above the parts of a file, 1,024 at most, in order: leaves of 1 MiB of which the last may be shorter, or nodes above such. size is that of all. Nothing is put anywhere: with
// LeafCID it tells the address of a file that is not in the store.
func FileNode(parts []Link) (node *merkledag.ProtoNode, size uint64, err error) {
	if len(parts) > fanOut {
		return nil, 0, fmt.Errorf("file: a node above %d parts, at most %d", len(parts), fanOut)
	}
	node = new(merkledag.ProtoNode)
	if err := node.SetCidBuilder(uio.UnixFS_v1_2025.CidBuilder()); err != nil {
		return nil, 0, err
	}
	info := unixfs.NewFSNode(unixfs.TFile)
	for _, p := range parts {
		if err := node.AddRawLink("", &ipld.Link{Cid: p.CID, Size: p.Total}); err != nil {
			return nil, 0, err
		}
		info.AddBlockSize(p.Size)
		size += p.Size
	}
	data, err := info.GetBytes()
	if err != nil {
		return nil, 0, err
	}
	node.SetData(data)
	return node, size, nil
}

// FolderNode is the node of a folder that needs no shards, or an error. Nothing is put anywhere.
func FolderNode(links []Link) (*merkledag.ProtoNode, error) {
	made := make([]*ipld.Link, len(links))
	for i, l := range links {
		made[i] = &ipld.Link{Name: l.Name, Cid: l.CID, Size: l.Total}
	}
	node, err := plainDir(made)
	if err == nil && len(node.RawData()) > shardAt {
		return nil, fmt.Errorf("folder: %d entries need shards", len(links))
	}
	return node, err
}

// node puts a node and makes a piece of it.
func (s *Store) node(ctx context.Context, node ipld.Node, size uint64) (piece, error) {
	total, err := node.Size()
	if err != nil {
		return piece{}, fmt.Errorf("size of node: %w", err)
	}
	return piece{node.Cid(), size, total}, s.blocks.Put(ctx, node)
}

// symlink puts a UnixFS symbolic link.
func (s *Store) symlink(ctx context.Context, target string) (piece, error) {
	data, err := unixfs.SymlinkData(target)
	if err != nil {
		return piece{}, err
	}
	node := merkledag.NodeWithData(data)
	if err := node.SetCidBuilder(uio.UnixFS_v1_2025.CidBuilder()); err != nil {
		return piece{}, err
	}
	return s.node(ctx, node, uint64(len(target)))
}
