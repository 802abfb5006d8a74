package store

import (
	"context"

	"github.com/ipfs/boxo/blockstore"
	blockfmt "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
)

// nothing is the hash of the block without bytes, which an empty file is. Everybody has it: bitswap answers for it, as for any block, with its bytes, and takes an answer without any for none.
var nothing = func() string {
	h, err := multihash.Sum(nil, multihash.SHA2_256, -1)
	if err != nil {
		panic(err) // of two constants
	}
	return string(h)
}()

func isNothing(c cid.Cid) bool { return c.Defined() && string(c.Hash()) == nothing }

// everybodys are blocks and the one without bytes.
type everybodys struct{ blockstore.Blockstore }

// Has tells whether a block is here.
func (e everybodys) Has(ctx context.Context, c cid.Cid) (bool, error) {
	if isNothing(c) {
		return true, nil
	}
	return e.Blockstore.Has(ctx, c)
}

// Get gives a block.
func (e everybodys) Get(ctx context.Context, c cid.Cid) (blockfmt.Block, error) {
	if isNothing(c) {
		return blockfmt.NewBlockWithCid([]byte{}, c)
	}
	return e.Blockstore.Get(ctx, c)
}

// GetSize gives the bytes of a block.
func (e everybodys) GetSize(ctx context.Context, c cid.Cid) (int, error) {
	if isNothing(c) {
		return 0, nil
	}
	return e.Blockstore.GetSize(ctx, c)
}

// keepNothing puts the block without bytes among the blocks of a DAG that is fetched, as who checks what is pinned looks for it.
func (s *Store) keepNothing(ctx context.Context, c cid.Cid) error {
	if here, err := s.blocks.Has(ctx, c); here || err != nil {
		return err
	}
	block, err := blockfmt.NewBlockWithCid([]byte{}, c)
	if err != nil {
		return err
	}
	return s.blocks.Put(ctx, block)
}
