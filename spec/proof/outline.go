package proof

import (
	"errors"
	"fmt"
	"io"

	"github.com/hpips/hpips/spec/merkle"
)

// What keeps a holder from showing a leaf. A read error of the disk is neither: it is wrapped as it came, so that a disk that is not there is told from bytes that
// are not those of the piece.
var (
	ErrChanged = errors.New("the bytes are not those that the outline was made of")
	ErrOutline = errors.New("outline does not fit its piece")
)

// Piece is the piece that the outline is of.
func (o Outline) Piece() Piece { return Piece{merkle.Root(o.spans), o.size} }

// Bytes are the roots of the spans in order; with the piece they are the outline.
func (o Outline) Bytes() []byte {
	b := make([]byte, 0, 32*len(o.spans))
	for _, s := range o.spans {
		b = append(b, s[:]...)
	}
	return b
}

// ReadOutline takes the outline of a piece from exactly its Bytes. ErrOutline means that they are another piece's, or damaged.
func ReadOutline(of Piece, b []byte) (Outline, error) {
	n := of.Leaves()/SpanLeaves + min(1, of.Leaves()%SpanLeaves)
	if of.Size > MaxSize || uint64(len(b)) != 32*n {
		return Outline{}, fmt.Errorf("proof: %w: %d bytes for a piece of %d", ErrOutline, len(b), of.Size)
	}
	o := Outline{of.Size, make([][32]byte, n)}
	for i := range o.spans {
		copy(o.spans[i][:], b[32*i:])
	}
	if o.Piece() != of {
		return Outline{}, fmt.Errorf("proof: %w: another root", ErrOutline)
	}
	return o, nil
}

// Prove shows the leaf at a place. r gives the piece's bytes; the span around the leaf is read, 1 MiB at most, and compared: ErrChanged is found by the holder
// before anybody else finds it.
func (o Outline) Prove(r io.ReaderAt, place uint64) (Proof, error) {
	if place >= leaves(o.size) {
		return Proof{}, fmt.Errorf("proof: %w: %d of %d", ErrPlace, place, leaves(o.size))
	}
	span := place / SpanLeaves
	from := span * SpanSize
	b := make([]byte, min(SpanSize, o.size-from))
	if n, err := r.ReadAt(b, int64(from)); n < len(b) {
		if errors.Is(err, io.EOF) {
			return Proof{}, fmt.Errorf("proof: leaf %d: %w: they end at %d", place, ErrChanged, from+uint64(n))
		}
		return Proof{}, fmt.Errorf("proof: leaf %d: %w", place, err)
	}
	rows := make([][32]byte, 0, leaves(uint64(len(b))))
	for at := 0; at < len(b); at += LeafSize {
		rows = append(rows, merkle.Leaf(b[at:min(at+LeafSize, len(b))]))
	}
	if merkle.Root(rows) != o.spans[span] {
		return Proof{}, fmt.Errorf("proof: leaf %d: %w", place, ErrChanged)
	}
	at := int(place % SpanLeaves)
	leaf := b[at*LeafSize : min((at+1)*LeafSize, len(b))]
	// The tree over spans is the upper part of the tree over leaves: where a tree of more than one span is cut in two, the cut is between spans.
	return Proof{append([]byte(nil), leaf...), append(merkle.Path(rows, uint64(at)), merkle.Path(o.spans, span)...)}, nil
}
