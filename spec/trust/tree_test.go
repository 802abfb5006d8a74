package trust

import (
	"crypto/sha256"
	"errors"
	"testing"
)

// A digest is a leaf of RFC 6962: 32 bytes behind 0x00. The tree of alice's three results is made by hand.
func TestDigestsAreLeaves(t *testing.T) {
	digests := [][32]byte{sha256.Sum256([]byte("a")), sha256.Sum256([]byte("b")), sha256.Sum256([]byte("c"))}
	var tree Tree
	var leaf [3][32]byte
	for i, d := range digests {
		tree.Add(d)
		leaf[i] = sha256.Sum256(append([]byte{0}, d[:]...))
	}
	two := sha256.Sum256(append(append([]byte{1}, leaf[0][:]...), leaf[1][:]...))
	if want := sha256.Sum256(append(append([]byte{1}, two[:]...), leaf[2][:]...)); tree.Root() != want {
		t.Errorf("root %x, want %x", tree.Root(), want)
	}
	if err := CheckPath(tree.Root(), tree.Size(), 1, digests[1], Path(digests, 1)); err != nil {
		t.Error(err)
	}
	if err := CheckPath(tree.Root(), tree.Size(), 1, leaf[1], Path(digests, 1)); !errors.Is(err, ErrPath) {
		t.Errorf("a leaf's hash in the place of the leaf: %v", err)
	}
	again, err := ReadTree(2, treeOf(digests[:2]).Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if path, err := again.Path(digests[2:], 2); err != nil || CheckPath(tree.Root(), 3, 2, digests[2], path) != nil {
		t.Errorf("a path from the peaks: %v", err)
	}
}

func treeOf(digests [][32]byte) *Tree {
	var t Tree
	for _, d := range digests {
		t.Add(d)
	}
	return &t
}
