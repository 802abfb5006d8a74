// Package merkle keeps the house's one Merkle tree, that of RFC 6962, section 2.1: over the leaves' hashes, so that what a leaf is made of is its owner's choice.
// It promises that a leaf is never taken for a subtree (each has a prefix of its own), that a growing tree needs memory for the logarithm of its leaves only, and
// that a path from outside is checked within limits, without a panic.
// It leaves the meaning of leaves to spec/trust (results that are paid for) and spec/proof (bytes that are kept).
package merkle

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/bits"
	"slices"
)

// Tree is a tree over a growing list of leaves. It keeps the roots of its full subtrees alone, the largest first: one for each bit that is set in the number of
// leaves. The zero Tree is empty.
type Tree struct {
	size  uint64
	peaks [][32]byte
}

// Size is the number of leaves.
func (t *Tree) Size() uint64 { return t.size }

// Push appends a leaf by its hash (Leaf, or the root of a full subtree where all leaves are such) and joins full subtrees of one size.
func (t *Tree) Push(h [32]byte) {
	for n := t.size; n&1 == 1; n >>= 1 {
		last := len(t.peaks) - 1
		h = Join(t.peaks[last], h)
		t.peaks = t.peaks[:last]
	}
	t.peaks = append(t.peaks, h)
	t.size++
}

// Root is the Merkle tree hash of all leaves so far.
func (t *Tree) Root() [32]byte {
	if t.size == 0 {
		return sha256.Sum256(nil)
	}
	root := t.peaks[len(t.peaks)-1]
	for i := len(t.peaks) - 2; i >= 0; i-- {
		root = Join(t.peaks[i], root)
	}
	return root
}

// Leaf is the hash of a leaf's bytes: SHA-256(0x00 ‖ b).
func Leaf(b []byte) [32]byte {
	var short [1 + 1024]byte // what the house's trees have, without an allocation
	if len(b) < len(short) {
		return sha256.Sum256(short[:1+copy(short[1:], b)])
	}
	return sha256.Sum256(append([]byte{0}, b...))
}

// Join is the hash of a subtree: SHA-256(0x01 ‖ left ‖ right).
func Join(left, right [32]byte) [32]byte {
	var b [65]byte
	b[0] = 1
	copy(b[1:], left[:])
	copy(b[33:], right[:])
	return sha256.Sum256(b[:])
}

// Clone is a tree that grows by itself.
func (t *Tree) Clone() Tree { return Tree{t.size, slices.Clone(t.peaks)} }

// Bytes are the peaks, 32 bytes each.
func (t *Tree) Bytes() []byte {
	b := make([]byte, 0, 32*len(t.peaks))
	for _, p := range t.peaks {
		b = append(b, p[:]...)
	}
	return b
}

// Read takes a tree of size leaves from exactly its Bytes.
func Read(size uint64, b []byte) (Tree, error) {
	if len(b) != 32*bits.OnesCount64(size) {
		return Tree{}, errors.New("merkle tree: it does not fit its size")
	}
	t := Tree{size: size, peaks: make([][32]byte, len(b)/32)}
	for i := range t.peaks {
		copy(t.peaks[i][:], b[32*i:])
	}
	return t, nil
}

// ErrPath is returned for a path that does not lead to the root.
var ErrPath = errors.New("merkle tree: the leaf is not under this root")

// Path is what proves that the place-th of these leaves' hashes is under their root (RFC 6962, section 2.1.1): the roots of the subtrees beside it, from below.
// place is below their number.
func Path(leaves [][32]byte, place uint64) [][32]byte {
	if len(leaves) < 2 {
		return nil
	}
	k := uint64(1) << (bits.Len64(uint64(len(leaves)-1)) - 1)
	if place < k {
		return append(Path(leaves[:k], place), Root(leaves[k:]))
	}
	return append(Path(leaves[k:], place-k), Root(leaves[:k]))
}

// Root is the root of a tree of these leaves' hashes.
func Root(leaves [][32]byte) [32]byte {
	var t Tree
	for _, l := range leaves {
		t.Push(l)
	}
	return t.Root()
}

// Path is what proves that the place-th leaf is under the root of t's leaves and those after them, given by their hashes. The place must not be one of t's own, whose leaves are not
// kept.
func (t *Tree) Path(after [][32]byte, place uint64) ([][32]byte, error) {
	size := t.size + uint64(len(after))
	if place < t.size || place >= size {
		return nil, fmt.Errorf("merkle tree: place %d of %d is not there, the leaves before %d are not kept", place, size, t.size)
	}
	var path [][32]byte
	for from, to := uint64(0), size; to-from > 1; {
		middle := from + uint64(1)<<(bits.Len64(to-from-1)-1)
		if place < middle {
			path, to = append(path, t.span(after, middle, to)), middle
		} else {
			path, from = append(path, t.span(after, from, middle)), middle
		}
	}
	slices.Reverse(path) // it was walked from above
	return path, nil
}

// span is the root of a subtree on the way down. One that lies in t altogether is one of its peaks: its brother holds a later leaf.
func (t *Tree) span(after [][32]byte, from, to uint64) [32]byte {
	if from >= t.size {
		return Root(after[from-t.size : to-t.size])
	}
	start := uint64(0)
	for _, peak := range t.peaks {
		if start == from && to <= t.size {
			return peak
		}
		start += uint64(1) << (bits.Len64(t.size-start) - 1)
	}
	middle := from + uint64(1)<<(bits.Len64(to-from-1)-1)
	return Join(t.span(after, from, middle), t.span(after, middle, to))
}

// Check tells, by ErrPath, whether h is the hash of the place-th of size leaves under root.
func Check(root [32]byte, size, place uint64, h [32]byte, path [][32]byte) error {
	if place >= size || len(path) > 64 {
		return ErrPath
	}
	last := size - 1
	for _, beside := range path {
		switch {
		case last == 0:
			return ErrPath // longer than the tree is high
		case place&1 == 1:
			h = Join(beside, h)
		case place < last:
			h = Join(h, beside)
		default: // the last of an uneven row goes up as it is, to where it has a partner on its left
			for place&1 == 0 {
				place, last = place>>1, last>>1
			}
			h = Join(beside, h)
		}
		place, last = place>>1, last>>1
	}
	if last != 0 || h != root {
		return ErrPath
	}
	return nil
}
