package store

import (
	"context"
	"fmt"

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
	h, err := multihash.Sum(data, multihash.SHA2_256, -1)
	if err != nil {
		return piece{}, err
	}
	n := uint64(len(data))
	return piece{cid.NewCidV1(cid.Raw, h), n, n}, s.blocks.put(ctx, h, data)
}

// stack builds the balanced tree over the leaves of a file and returns its root. It is the
// balanced layout of the UnixFS specification (https://specs.ipfs.tech/unixfs/#layout):
// all leaves at one depth, every node but the last of a level full. Built level by level
// it lets the leaves be hashed in parallel, which boxo's builder does not.
func (s *Store) stack(ctx context.Context, level []*piece) (piece, error) {
	for len(level) > 1 {
		var above []*piece
		for start := 0; start < len(level); start += fanOut {
			p, err := s.fileNode(ctx, level[start:min(start+fanOut, len(level))])
			if err != nil {
				return piece{}, err
			}
			above = append(above, &p)
		}
		level = above
	}
	return *level[0], nil
}

func (s *Store) fileNode(ctx context.Context, children []*piece) (piece, error) {
	node := new(merkledag.ProtoNode)
	if err := node.SetCidBuilder(uio.UnixFS_v1_2025.CidBuilder()); err != nil {
		return piece{}, err
	}
	info := unixfs.NewFSNode(unixfs.TFile)
	var size uint64
	for _, child := range children {
		if err := node.AddRawLink("", &ipld.Link{Cid: child.cid, Size: child.total}); err != nil {
			return piece{}, err
		}
		info.AddBlockSize(child.size)
		size += child.size
	}
	data, err := info.GetBytes()
	if err != nil {
		return piece{}, err
	}
	node.SetData(data)
	return s.node(ctx, node, size)
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
