package full

import (
	"errors"
	"fmt"

	"github.com/cometbft/cometbft/store"
)

// Errors of Block.
var (
	// ErrPruned is why a block is not there any more.
	ErrPruned = errors.New("this node keeps newer blocks only")
	// ErrNoBlock is why a block is not there yet.
	ErrNoBlock = errors.New("there is no such block yet")
)

// Blocks are those of a node's store. They may be read while the node runs, until it is closed.
type Blocks struct{ store *store.BlockStore }

// Blocks are those that this node keeps.
func (n *Node) Blocks() Blocks { return Blocks{n.engine.node.BlockStore()} }

// Height is that of the last block that is decided, 0 without one.
func (b Blocks) Height() int64 { return b.store.Height() }

// Base is the height of the oldest block that is kept, 0 without one.
func (b Blocks) Base() int64 { return b.store.Base() }

// Block gives the bytes of a block as the seats agreed on them: its parts, whose Merkle root is in the block's ID, which two thirds signed. They are the same on every node, however it came by them.
// The commit in a block is that of the block before. Errors are ErrPruned and ErrNoBlock.
func (b Blocks) Block(height int64) ([]byte, error) {
	switch {
	case height < b.store.Base():
		return nil, fmt.Errorf("block %d: %w: from %d on", height, ErrPruned, b.store.Base())
	case height > b.store.Height():
		return nil, fmt.Errorf("block %d: %w: the last one is %d", height, ErrNoBlock, b.store.Height())
	}
	meta := b.store.LoadBlockMeta(height)
	if meta == nil { // pruned since
		return nil, fmt.Errorf("block %d: %w", height, ErrPruned)
	}
	var all []byte
	for i := range int(meta.BlockID.PartSetHeader.Total) {
		part := b.store.LoadBlockPart(height, i)
		if part == nil {
			return nil, fmt.Errorf("block %d: %w: part %d is gone", height, ErrPruned, i)
		}
		all = append(all, part.Bytes...)
	}
	return all, nil
}
