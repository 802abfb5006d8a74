package proof

import (
	"fmt"
	"slices"

	"github.com/hpips/hpips/spec/merkle"
)

// Builder makes a piece of the bytes that are written to it. It keeps the tree's peaks and one leaf, about 3 KB for any size. The zero Builder is empty.
type Builder struct {
	size  uint64
	leaf  [LeafSize]byte // begun: its first size % LeafSize bytes
	span  merkle.Tree    // of leaves, the span under way
	spans merkle.Tree    // of spans before it
	keep  func(root [32]byte)
}

// Write takes the next bytes. Its one error is ErrLarge.
func (b *Builder) Write(p []byte) (int, error) {
	if uint64(len(p)) > MaxSize-b.size {
		return 0, fmt.Errorf("proof: %w: more than %d bytes", ErrLarge, int64(MaxSize))
	}
	n := len(p)
	for len(p) > 0 {
		begun := int(b.size % LeafSize)
		part := p[:min(len(p), LeafSize-begun)]
		p, b.size = p[len(part):], b.size+uint64(len(part))
		whole := part
		if begun > 0 || len(part) < LeafSize {
			copy(b.leaf[begun:], part)
			whole = b.leaf[:begun+len(part)]
		}
		if len(whole) == LeafSize {
			b.span.Push(merkle.Leaf(whole))
			b.roll()
		}
	}
	return n, nil
}

// roll ends a span that is full.
func (b *Builder) roll() {
	if b.span.Size() == SpanLeaves {
		b.end(&b.spans, b.span)
		b.span = merkle.Tree{}
	}
}

func (b *Builder) end(spans *merkle.Tree, span merkle.Tree) {
	root := span.Root()
	spans.Push(root)
	if b.keep != nil {
		b.keep(root)
	}
}

// Piece is what was written so far.
func (b *Builder) Piece() Piece {
	root, _ := b.last()
	return Piece{root, b.size}
}

// last is the root of all, and the last span where it is not full.
func (b *Builder) last() (root [32]byte, open *[32]byte) {
	span, spans := b.span.Clone(), b.spans.Clone()
	if begun := b.size % LeafSize; begun > 0 {
		span.Push(merkle.Leaf(b.leaf[:begun]))
	}
	if span.Size() > 0 {
		r := span.Root()
		open = &r
		spans.Push(r)
	}
	return spans.Root(), open
}

// Outline is what a holder keeps of a piece beside its bytes: the root of each span of 1 MiB, 32 bytes for each, 32 KiB for 1 GiB. To show a leaf it reads one span
// again, and not the piece.
type Outline struct {
	size  uint64
	spans [][32]byte
}

// Outliner makes an Outline of the bytes that are written to it. Use NewOutliner.
type Outliner struct {
	Builder
	spans [][32]byte
}

// NewOutliner begins one.
func NewOutliner() *Outliner {
	o := &Outliner{}
	o.keep = func(root [32]byte) { o.spans = append(o.spans, root) }
	return o
}

// Outline is that of what was written so far.
func (o *Outliner) Outline() Outline {
	spans := slices.Clone(o.spans)
	if _, open := o.last(); open != nil {
		spans = append(spans, *open)
	}
	return Outline{o.size, spans}
}
