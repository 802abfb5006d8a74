package replica

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"iter"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/hpips/hpips/spec/canon"
	"github.com/hpips/hpips/spec/erasure"
	"github.com/hpips/hpips/store"
)

const version = "hpips/pieces/v1"

// Manifest lists the blocks of an object and of its pieces. With it and any Need pieces anybody has the object back. The zero Manifest is none: it comes from Make, Load or Parse, and is not changed.
type Manifest struct {
	Root   cid.Cid
	Scheme erasure.Scheme

	nodes, leaves []block
	parity        []byte // digests, those of a stripe one after the other
	bytes         []byte
	cid           cid.Cid
	tail          []store.Link // its own blocks, as parts of each piece
}

// block is one by its bytes: the SHA-256 of them and how many they are.
type block struct {
	digest [sha256.Size]byte
	size   int
}

// cid is the address of the bytes, whatever they mean.
func (b block) cid() cid.Cid {
	h, err := multihash.Encode(b.digest[:], multihash.SHA2_256)
	if err != nil {
		panic("replica: " + err.Error()) // sha2-256 is always there
	}
	return cid.NewCidV1(cid.Raw, h)
}

func (b block) link() store.Link {
	return store.Link{CID: b.cid(), Size: uint64(b.size), Total: uint64(b.size)}
}

// of tells whether these are the block's bytes.
func (b block) of(data []byte) bool {
	return len(data) == b.size && sha256.Sum256(data) == b.digest
}

// written is how a manifest is written.
type written struct {
	Version   string   `cbor:"version"`
	Profile   string   `cbor:"profile"`
	Root      []byte   `cbor:"root"`
	Need      uint64   `cbor:"need"`
	Pieces    uint64   `cbor:"pieces"`
	Nodes     []byte   `cbor:"nodes"` // one digest after the other, as in all three
	NodeSizes []uint32 `cbor:"nodeSizes"`
	Leaves    []byte   `cbor:"leaves"`
	LeafSizes []uint32 `cbor:"leafSizes"`
	Parity    []byte   `cbor:"parity"`
}

// seal writes the manifest when its lists are whole.
func (m *Manifest) seal() error {
	w := written{Version: version, Profile: store.Profile, Root: m.Root.Bytes(), Need: uint64(m.Scheme.Need), Pieces: uint64(m.Scheme.Pieces), Parity: append([]byte{}, m.parity...)}
	w.Nodes, w.NodeSizes = pack(m.nodes)
	w.Leaves, w.LeafSizes = pack(m.leaves)
	b, err := canon.Encode(w)
	if err != nil {
		return err
	}
	if len(b) > MaxManifest {
		return fmt.Errorf("%w: its manifest has %d bytes, at most %d: divide it, or choose a code of fewer pieces", ErrLarge, len(b), MaxManifest)
	}
	return m.own(b)
}

// own takes the manifest's bytes and reckons the file that they are: a leaf, or a node with leaves of 1 MiB below it.
func (m *Manifest) own(b []byte) error {
	m.bytes, m.tail = b, nil
	var parts []store.Link
	for rest := b; len(rest) > 0; rest = rest[min(len(rest), MaxBlock):] {
		parts = append(parts, sum(rest[:min(len(rest), MaxBlock)]).link())
	}
	m.cid = parts[0].CID
	if len(parts) > 1 {
		node, _, err := store.FileNode(parts)
		if err != nil {
			return err
		}
		m.cid, m.tail = node.Cid(), []store.Link{sum(node.RawData()).link()}
	}
	m.tail = append(m.tail, parts...)
	return nil
}

func sum(data []byte) block { return block{sha256.Sum256(data), len(data)} }

func pack(blocks []block) ([]byte, []uint32) {
	digests, sizes := make([]byte, 0, len(blocks)*sha256.Size), make([]uint32, len(blocks))
	for i, b := range blocks {
		digests, sizes[i] = append(digests, b.digest[:]...), uint32(b.size)
	}
	return digests, sizes
}

// unpack refuses a block that comes twice: it is listed where it came first.
func unpack(digests []byte, sizes []uint32) ([]block, error) {
	if len(sizes) > MaxBlocks || len(digests) != len(sizes)*sha256.Size {
		return nil, fmt.Errorf("%d sizes of %d bytes of digests", len(sizes), len(digests))
	}
	blocks, seen := make([]block, len(sizes)), make(map[[sha256.Size]byte]bool, len(sizes))
	for i, size := range sizes {
		b := block{[sha256.Size]byte(digests[i*sha256.Size:]), int(size)}
		if size > MaxBlock || seen[b.digest] {
			return nil, fmt.Errorf("block %d has %d bytes, or was there before", i, size)
		}
		blocks[i], seen[b.digest] = b, true
	}
	return blocks, nil
}

// Bytes are the manifest's, canonical CBOR, to be left as they are.
func (m Manifest) Bytes() []byte { return m.bytes }

// CID is the address of those bytes as a file of the store.
func (m Manifest) CID() cid.Cid { return m.cid }

// Parse reads a manifest from exactly its bytes; anything else is ErrManifest. That it is true to its object is found when the object's nodes are there: by Hold, Repair and Recover.
func Parse(b []byte) (Manifest, error) {
	bad := func(format string, a ...any) (Manifest, error) {
		return Manifest{}, fmt.Errorf("%w: %s", ErrManifest, fmt.Sprintf(format, a...))
	}
	var w written
	if err := canon.Decode(b, MaxManifest, &w); err != nil {
		return bad("%v", err)
	}
	if w.Version != version || w.Profile != store.Profile {
		return bad("it is of %.40q and %.40q, this node knows %q and %q", w.Version, w.Profile, version, store.Profile)
	}
	if w.Need > erasure.MaxPieces || w.Pieces > erasure.MaxPieces {
		return bad("%d of %d pieces", w.Need, w.Pieces)
	}
	m := Manifest{Scheme: erasure.Scheme{Need: int(w.Need), Pieces: int(w.Pieces)}, parity: w.Parity}
	var err error
	if err = m.Scheme.Check(); err != nil {
		return bad("%v", err)
	}
	if m.nodes, err = unpack(w.Nodes, w.NodeSizes); err != nil {
		return bad("nodes: %v", err)
	}
	if m.leaves, err = unpack(w.Leaves, w.LeafSizes); err != nil {
		return bad("leaves: %v", err)
	}
	if want := m.parityOf() * m.stripes() * sha256.Size; len(w.Parity) != want {
		return bad("%d bytes of parity digests, want %d", len(w.Parity), want)
	}
	if m.Root, err = cid.Cast(w.Root); err != nil {
		return bad("its root: %v", err)
	}
	if err := ours(m.Root); err != nil {
		return bad("its root: %v", err)
	}
	first := m.nodes
	if isLeaf(m.Root) {
		first = m.leaves
	}
	if len(first) == 0 || first[0].digest != digestOf(m.Root) || isLeaf(m.Root) && (len(m.leaves) != 1 || len(m.nodes) != 0) {
		return bad("its first block is not its root")
	}
	if err := m.seal(); err != nil {
		return bad("%v", err)
	}
	if !bytes.Equal(m.bytes, b) {
		return bad("it is not in its one form")
	}
	return m, nil
}

// parityOf is how many parity blocks a stripe has: none where pieces are copies.
func (m *Manifest) parityOf() int {
	if !m.Scheme.Coded() {
		return 0
	}
	return m.Scheme.Parity()
}

// stripes is how many there are: Need leaves in a row each, the last one what is left.
func (m *Manifest) stripes() int {
	return (len(m.leaves) + m.Scheme.Need - 1) / m.Scheme.Need
}

// row are the leaves of a stripe.
func (m *Manifest) row(stripe int) []block {
	return m.leaves[stripe*m.Scheme.Need : min(len(m.leaves), (stripe+1)*m.Scheme.Need)]
}

// width is how long each shard of a stripe is for the code: its longest leaf.
func (m *Manifest) width(stripe int) int {
	longest := 0
	for _, b := range m.row(stripe) {
		longest = max(longest, b.size)
	}
	return longest
}

// keeps tells whether a piece has a block of a stripe. In the last stripe some may have none: for the code that is a leaf of zeros, which nobody keeps.
func (m *Manifest) keeps(stripe, piece int) bool {
	return !m.Scheme.Coded() || piece >= m.Scheme.Need || piece < len(m.row(stripe))
}

// shard is the block of a stripe that a piece has, if it has one.
func (m *Manifest) shard(stripe, piece int) (block, bool) {
	row, k := m.row(stripe), m.Scheme.Need
	switch {
	case !m.keeps(stripe, piece):
		return block{}, false
	case !m.Scheme.Coded():
		return row[0], true
	case piece < k:
		return row[piece], true
	}
	at := (stripe*m.Scheme.Parity() + piece - k) * sha256.Size
	return block{[sha256.Size]byte(m.parity[at:]), m.width(stripe)}, true
}

// parts are the blocks of a piece in order: the object's nodes, its shard of each stripe, the manifest's own blocks.
func (m *Manifest) parts(piece int) []store.Link {
	links := make([]store.Link, 0, len(m.nodes)+m.stripes()+len(m.tail))
	for _, b := range m.nodes {
		links = append(links, b.link())
	}
	for stripe := range m.stripes() {
		if b, ok := m.shard(stripe, piece); ok {
			links = append(links, b.link())
		}
	}
	return append(links, m.tail...)
}

// files are pieces by number, as Join of a store takes them.
func (m *Manifest) files(pieces ...int) iter.Seq2[string, []store.Link] {
	return func(yield func(string, []store.Link) bool) {
		for _, i := range pieces {
			if !yield(fmt.Sprintf("%03d", i), m.parts(i)) {
				return
			}
		}
	}
}

// Size is how many bytes a piece has.
func (m Manifest) Size(piece int) uint64 {
	var size uint64
	for _, p := range m.parts(piece) {
		size += p.Size
	}
	return size
}

// Stored is how many bytes all pieces have: what the object costs to keep.
func (m Manifest) Stored() uint64 {
	var size uint64
	for i := range m.Scheme.Pieces {
		size += m.Size(i)
	}
	return size
}

// has tells whether there is such a piece.
func (m *Manifest) has(piece int) error {
	if piece < 0 || piece >= m.Scheme.Pieces {
		return fmt.Errorf("piece %d: the object has pieces 0 to %d", piece, m.Scheme.Pieces-1)
	}
	return nil
}
