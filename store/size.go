package store

import (
	"context"
	"fmt"
	"math"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/go-cid"
)

// deepest is how many blocks lie above one another at most: a file of 1 TiB has four, a folder of a million names three for each folder.
const deepest = 4 * maxDepth

// Size is how many bytes the content under c has: a file's length, a folder's sum, a symbolic link's target. It counts the blocks themselves, which must be on
// this disk, and believes nothing that a block says of those below it.
func (s *Store) Size(ctx context.Context, c cid.Cid) (uint64, error) {
	n, err := s.measure(ctx, c, map[cid.Cid]uint64{}, deepest)
	if err != nil {
		return 0, s.missing("measure", c, err)
	}
	return n, nil
}

// measure looks at each block once, however often it occurs.
func (s *Store) measure(ctx context.Context, c cid.Cid, known map[cid.Cid]uint64, left int) (uint64, error) {
	if n, ok := known[c]; ok {
		return n, nil
	}
	switch {
	case left == 0:
		return 0, fmt.Errorf("%w: blocks lie deeper than %d", ErrTooLarge, deepest)
	case ctx.Err() != nil:
		return 0, ctx.Err()
	}
	var sum uint64
	if c.Prefix().Codec == cid.Raw {
		n, err := s.blocks.GetSize(ctx, c)
		if err != nil {
			return 0, err
		}
		sum = uint64(n)
	} else {
		block, err := s.blocks.Get(ctx, c)
		if err != nil {
			return 0, err
		}
		node, err := merkledag.DecodeProtobufBlock(block)
		if err != nil {
			return 0, fmt.Errorf("block %s: %w", c, err)
		}
		proto, ok := node.(*merkledag.ProtoNode)
		if !ok {
			return 0, fmt.Errorf("block %s: %w", c, errCodec)
		}
		info, err := unixfs.FSNodeFromBytes(proto.Data())
		if err != nil {
			return 0, fmt.Errorf("block %s: %w", c, err)
		}
		if t := info.Type(); t != unixfs.TDirectory && t != unixfs.THAMTShard { // the data of those are no content
			sum = uint64(len(info.Data()))
		}
		for _, l := range proto.Links() {
			n, err := s.measure(ctx, l.Cid, known, left-1)
			if err != nil {
				return 0, err
			}
			sum += min(n, math.MaxUint64-sum)
		}
	}
	known[c] = sum
	return sum, nil
}
