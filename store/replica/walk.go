package replica

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/multiformats/go-multihash"

	"github.com/hpips/hpips/store"
)

// ours refuses what the profile does not make.
func ours(c cid.Cid) error {
	p := c.Prefix()
	if p.MhType != multihash.SHA2_256 || p.MhLength != sha256.Size || p.Codec != cid.Raw && p.Codec != cid.DagProtobuf {
		return fmt.Errorf("block %s is %w: add the content again with hpips put", c, ErrProfile)
	}
	return nil
}

func isLeaf(c cid.Cid) bool { return c.Prefix().Codec == cid.Raw }

// digestOf is the SHA-256 in an address of ours.
func digestOf(c cid.Cid) [sha256.Size]byte {
	return [sha256.Size]byte(c.Hash()[len(c.Hash())-sha256.Size:])
}

// walker goes through a tree, each node before what is below it and each block where it comes first.
type walker struct {
	read func(cid.Cid) ([]byte, error) // of a node
	leaf func(cid.Cid) error
	node func(c cid.Cid, size int) error

	nodes, leaves map[[sha256.Size]byte]bool
}

// walk goes from the root down; it keeps the links of one branch.
func (w *walker) walk(ctx context.Context, root cid.Cid) error {
	w.nodes, w.leaves = map[[sha256.Size]byte]bool{}, map[[sha256.Size]byte]bool{}
	branch := [][]cid.Cid{{root}}
	for len(branch) > 0 {
		level := &branch[len(branch)-1]
		if len(*level) == 0 {
			branch = branch[:len(branch)-1]
			continue
		}
		c := (*level)[0]
		*level = (*level)[1:]
		below, err := w.visit(c)
		if err != nil {
			return err
		}
		if len(branch) > maxDepth {
			return fmt.Errorf("%w: its nodes lie deeper than %d", ErrLarge, maxDepth)
		}
		branch = append(branch, below)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// visit looks at one block and gives its links.
func (w *walker) visit(c cid.Cid) ([]cid.Cid, error) {
	if err := ours(c); err != nil {
		return nil, err
	}
	seen := w.nodes
	if isLeaf(c) {
		seen = w.leaves
	}
	if seen[digestOf(c)] {
		return nil, nil
	}
	if len(seen) == MaxBlocks {
		return nil, fmt.Errorf("%w: more than %d leaves, or nodes above them: divide it", ErrLarge, MaxBlocks)
	}
	seen[digestOf(c)] = true
	if isLeaf(c) {
		return nil, w.leaf(c)
	}
	data, err := w.read(c)
	if err != nil {
		return nil, err
	}
	if err := w.node(c, len(data)); err != nil {
		return nil, err
	}
	n, err := merkledag.DecodeProtobuf(data)
	if err != nil {
		return nil, fmt.Errorf("block %s: %w: %w", c, ErrProfile, err)
	}
	var below []cid.Cid
	for _, l := range n.Links() {
		below = append(below, l.Cid)
	}
	return below, nil
}

// list fills the manifest with the blocks under its root, which are on this disk.
func (m *Manifest) list(ctx context.Context, s *store.Store) error {
	take := func(list *[]block) func(cid.Cid, int) error {
		return func(c cid.Cid, size int) error {
			if size > MaxBlock {
				return fmt.Errorf("block %s of %d bytes is %w: blocks have %d at most: add the content again with hpips put", c, size, ErrProfile, MaxBlock)
			}
			*list = append(*list, block{digestOf(c), size})
			return nil
		}
	}
	leaf := take(&m.leaves)
	w := walker{node: take(&m.nodes), read: func(c cid.Cid) ([]byte, error) { return read(ctx, s, c) }, leaf: func(c cid.Cid) error {
		size, err := s.BlockSize(ctx, c)
		if err != nil {
			return absent(c, err)
		}
		return leaf(c, size)
	}}
	return w.walk(ctx, m.Root)
}

// holds looks whether the manifest lists exactly the blocks under its root; the nodes are on this disk. Else it is ErrManifest.
func (m *Manifest) holds(ctx context.Context, s *store.Store) error {
	nodes, leaves := m.nodes, m.leaves
	next := func(list *[]block, c cid.Cid) error {
		if len(*list) == 0 || (*list)[0].digest != digestOf(c) {
			return fmt.Errorf("%w: %s of its object is not where it should be", ErrManifest, c)
		}
		*list = (*list)[1:]
		return nil
	}
	w := walker{
		read: func(c cid.Cid) ([]byte, error) {
			if len(nodes) == 0 || nodes[0].digest != digestOf(c) {
				return nil, fmt.Errorf("%w: %s of its object is not where it should be", ErrManifest, c)
			}
			return read(ctx, s, c)
		},
		node: func(c cid.Cid, _ int) error { return next(&nodes, c) },
		leaf: func(c cid.Cid) error { return next(&leaves, c) },
	}
	if err := w.walk(ctx, m.Root); err != nil {
		return err
	}
	if len(nodes)+len(leaves) > 0 {
		return fmt.Errorf("%w: it lists %d blocks that its object has not", ErrManifest, len(nodes)+len(leaves))
	}
	return nil
}

// read gives the bytes of a block of this disk.
func read(ctx context.Context, s *store.Store, c cid.Cid) ([]byte, error) {
	b, err := s.Block(ctx, c)
	if err != nil {
		return nil, absent(c, err)
	}
	return b.RawData(), nil
}

func absent(c cid.Cid, err error) error {
	if ipld.IsNotFound(err) {
		return fmt.Errorf("block %s: %w on this disk: fetch the whole object first", c, store.ErrNotFound)
	}
	return err
}
