// Package archive keeps the form in which the chain's history is kept: segments of blocks, each of them one CAR file.
// It promises that a segment's bytes, and so its address, audit root and size, follow from the blocks and the limits alone, whoever writes it and whenever; that the file is one that
// every IPFS tool reads; and that what is read is checked against its addresses, block by block, within limits.
// It leaves the meaning of a block's bytes to the chain, what is recorded to the seats, and to store and spec/placement who holds it.
package archive

import (
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"

	"github.com/hpips/hpips/spec/proof"
)

// The limits of every segment, whatever those of its chain are.
const (
	MaxBlock  = 100 << 20             // bytes of a block: the most that CometBFT takes
	MaxBlocks = 4096                  // of a segment: its folder is one block of the store
	MaxBytes  = 512 << 20             // of blocks, before the last of them
	MaxHeight = 999_999_999_999       // what a name has digits for
	leafSize  = 1 << 20               // of the profile unixfs-v1-2025
	maxFolder = 256 << 10             // of the profile: above that a folder has shards
	maxCAR    = MaxBytes + 2*MaxBlock // with all heads far below 1,024 leaves: one node above them
)

// Limits say where a segment ends: with the block that brings its blocks to Bytes, or with its Blocks-th, whichever comes first. They are the chain's, the same for all.
type Limits struct {
	Bytes  int64
	Blocks int
}

// Default are the limits of a chain whose epochs are of so many blocks: 64 MiB or one epoch. On a development network an epoch is a few blocks, and so is a segment.
func Default(epochBlocks uint64) Limits {
	return Limits{64 << 20, int(min(max(1, epochBlocks), MaxBlocks))}
}

func (l Limits) check() error {
	if l.Bytes < 1 || l.Bytes > MaxBytes || l.Blocks < 1 || l.Blocks > MaxBlocks {
		return fmt.Errorf("archive: a segment of %d bytes or %d blocks: 1 to %d and 1 to %d are possible", l.Bytes, l.Blocks, MaxBytes, MaxBlocks)
	}
	return nil
}

// full tells whether a segment ends with the blocks that it has.
func (l Limits) full(bytes int64, blocks int) bool { return bytes >= l.Bytes || blocks >= l.Blocks }

// Segment is what is recorded of one. Two that have the same CID are the same in all.
type Segment struct {
	From, To int64       // heights of its first and last block
	CID      cid.Cid     // of its CAR as a file of the store
	Piece    proof.Piece // the same bytes as audits see them: root and size
	Root     cid.Cid     // of the folder inside the CAR, whose files are the blocks
}

// Blocks is where blocks come from: a chain node. Those up to Height are decided, so that each has the same bytes everywhere.
type Blocks interface {
	Height() int64
	// Block gives the bytes of the block at a height from 1 to Height. What it gives is not changed afterwards.
	Block(height int64) ([]byte, error)
}

// What making and reading may find.
var (
	ErrOpen     = errors.New("the chain has not yet come to the end of this segment")
	ErrNotOurs  = errors.New("this is no segment of a chain's archive")
	ErrUnsteady = errors.New("a block was read twice and was not the same")
)

// name is what the file of a block is called: of one length, so that names are in the order of heights.
func name(height int64) string { return fmt.Sprintf("%012d", height) }
