// Package proof keeps the audits of storage: the tree over a piece's bytes, the leaves that the chain's seed asks a holder for each day, and the answer that shows them.
// It promises that an answer shows the very bytes at the places that were drawn for this holder and day, is small (under 1.7 KB for each leaf of a piece of 1 GiB)
// and quick to check, and that what comes from outside is read strictly and within limits; README.md says what that proves, and what it does not.
// It leaves it to the chain who holds what and what a missed answer costs, and to store where the bytes lie.
package proof

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/hpips/hpips/spec/merkle"
)

// Sizes, in bytes and leaves.
const (
	LeafSize   = 1 << 10 // bytes of a leaf; the last one of a piece has what is left
	SpanLeaves = 1 << 10 // leaves of a span, the last one of a piece has what is left: one block of 1 MiB
	SpanSize   = SpanLeaves * LeafSize
	MaxSize    = 1 << 50            // bytes of a piece at most
	MaxPath    = 40                 // digests in a path: the height of the tree of MaxSize
	maxLeaves  = MaxSize / LeafSize // of a piece
)

// Piece is what a holder keeps: bytes, known by the root of their tree and by how many they are. Neither means anything without the other.
type Piece struct {
	Root [32]byte
	Size uint64 // bytes, MaxSize at most
}

const piecePrefix = "hpips/piece/v1\x00"

// ID is the one digest of a piece: SHA-256("hpips/piece/v1" 0x00 ‖ root ‖ size).
func (p Piece) ID() [32]byte {
	var b [len(piecePrefix) + 40]byte
	n := copy(b[:], piecePrefix)
	n += copy(b[n:], p.Root[:])
	binary.BigEndian.PutUint64(b[n:], p.Size)
	return sha256.Sum256(b[:])
}

// Leaves is how many leaves a piece has; one without bytes has none.
func (p Piece) Leaves() uint64 { return leaves(p.Size) }

func leaves(size uint64) uint64 { return size/LeafSize + min(1, size%LeafSize) }

// leafSize is how many bytes the leaf at a place below Leaves has.
func (p Piece) leafSize(place uint64) int { return int(min(LeafSize, p.Size-place*LeafSize)) }

// Proof shows one leaf of a piece.
type Proof struct {
	Leaf []byte     // its bytes
	Path [][32]byte // RFC 6962, section 2.1.1, from below
}

// What a check of a proof, or of an answer, may find.
var (
	ErrLarge = errors.New("piece is larger than a piece may be")
	ErrPlace = errors.New("the piece has no such leaf")
	ErrWrong = errors.New("the leaf is not that of the piece at this place")
)

// Check tells, by ErrPlace or ErrWrong, whether p shows the leaf of a piece at a place, counted from 0.
func (p Proof) Check(of Piece, place uint64) error {
	if of.Size > MaxSize {
		return fmt.Errorf("proof: %w: %d bytes, at most %d", ErrLarge, of.Size, int64(MaxSize))
	}
	n := of.Leaves()
	if place >= n {
		return fmt.Errorf("proof: %w: %d of %d", ErrPlace, place, n)
	}
	if len(p.Leaf) != of.leafSize(place) || len(p.Path) > MaxPath || merkle.Check(of.Root, n, place, merkle.Leaf(p.Leaf), p.Path) != nil {
		return fmt.Errorf("proof: %w: leaf %d of %d", ErrWrong, place, n)
	}
	return nil
}
