package pay

import (
	"crypto/sha256"
	"errors"
	"math/bits"
)

// Tree is the Merkle tree of RFC 6962, section 2.1, over a growing list of digests. It keeps the roots of its full subtrees alone, the largest first:
// one for each bit that is set in the number of leaves. The zero Tree is empty.
type Tree struct {
	size  uint64
	peaks [][32]byte
}

// Size is the number of leaves.
func (t *Tree) Size() uint64 { return t.size }

// Add appends a leaf.
func (t *Tree) Add(digest [32]byte) {
	var leaf [33]byte // 0x00 ‖ digest
	copy(leaf[1:], digest[:])
	t.push(sha256.Sum256(leaf[:]))
}

// push appends a leaf's hash and joins full subtrees of one size.
func (t *Tree) push(h [32]byte) {
	for n := t.size; n&1 == 1; n >>= 1 {
		last := len(t.peaks) - 1
		h = join(t.peaks[last], h)
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
		root = join(t.peaks[i], root)
	}
	return root
}

// join hashes two subtrees.
func join(left, right [32]byte) [32]byte {
	var b [65]byte
	b[0] = 1
	copy(b[1:], left[:])
	copy(b[33:], right[:])
	return sha256.Sum256(b[:])
}

// bytes writes the peaks, and readTree reads them back for a number of leaves.
func (t *Tree) bytes() []byte {
	b := make([]byte, 0, 32*len(t.peaks))
	for _, p := range t.peaks {
		b = append(b, p[:]...)
	}
	return b
}

func readTree(size uint64, b []byte) (Tree, error) {
	if len(b) != 32*bits.OnesCount64(size) {
		return Tree{}, errors.New("results' tree: it does not fit its size")
	}
	t := Tree{size: size, peaks: make([][32]byte, len(b)/32)}
	for i := range t.peaks {
		copy(t.peaks[i][:], b[32*i:])
	}
	return t, nil
}
