package trust

import "github.com/hpips/hpips/spec/merkle"

// Tree is the tree of spec/merkle over a growing list of digests: each is a leaf's 32 bytes. The zero Tree is empty.
type Tree struct{ tree merkle.Tree }

// ErrPath is returned for a path that does not lead to the root.
var ErrPath = merkle.ErrPath

// ReadTree takes a tree of size leaves from exactly its Bytes.
func ReadTree(size uint64, b []byte) (Tree, error) {
	t, err := merkle.Read(size, b)
	return Tree{t}, err
}

// Add appends a leaf.
func (t *Tree) Add(digest [32]byte) { t.tree.Push(merkle.Leaf(digest[:])) }

// Size is the number of leaves.
func (t *Tree) Size() uint64 { return t.tree.Size() }

// Root is the Merkle tree hash of all leaves so far.
func (t *Tree) Root() [32]byte { return t.tree.Root() }

// Clone is a tree that grows by itself.
func (t *Tree) Clone() Tree { return Tree{t.tree.Clone()} }

// Bytes are what ReadTree reads.
func (t *Tree) Bytes() []byte { return t.tree.Bytes() }

// Path is what proves that the place-th leaf is under the root of t's leaves and those after them. The place must not be one of t's own, whose leaves are not
// kept.
func (t *Tree) Path(after [][32]byte, place uint64) ([][32]byte, error) {
	return t.tree.Path(hashes(after), place)
}

// Path is what proves that the place-th of these leaves is under their root.
func Path(leaves [][32]byte, place uint64) [][32]byte { return merkle.Path(hashes(leaves), place) }

// CheckPath tells whether leaf is the place-th of size leaves under root.
func CheckPath(root [32]byte, size, place uint64, leaf [32]byte, path [][32]byte) error {
	return merkle.Check(root, size, place, merkle.Leaf(leaf[:]), path)
}

func hashes(leaves [][32]byte) [][32]byte {
	list := make([][32]byte, len(leaves))
	for i := range leaves {
		list[i] = merkle.Leaf(leaves[i][:])
	}
	return list
}
