package archive

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/ipfs/go-cid"

	"github.com/hpips/hpips/spec/proof"
	"github.com/hpips/hpips/store"
)

// Make writes to to the CAR of the segment that begins at from, and tells what is to be recorded of it. ErrOpen: its last block is not there yet, and nothing was written. Blocks are
// read twice, one at a time, so that memory does not grow with the segment:
//  1. for their addresses, up to where the limits cut;
//  2. the folder of them, whose address stands first;
//  3. for their bytes, in order.
func Make(ctx context.Context, blocks Blocks, from int64, limits Limits, to io.Writer) (Segment, error) {
	s, _, err := makeOutlined(ctx, blocks, from, limits, to)
	return s, err
}

func makeOutlined(ctx context.Context, blocks Blocks, from int64, limits Limits, to io.Writer) (Segment, proof.Outline, error) {
	failed := func(err error) (Segment, proof.Outline, error) {
		return Segment{}, proof.Outline{}, fmt.Errorf("segment from block %d: %w", from, err)
	}
	if err := limits.check(); err != nil {
		return failed(err)
	}
	var links []store.Link
	for bytes := int64(0); len(links) == 0 || !limits.full(bytes, len(links)); {
		height := from + int64(len(links))
		f, err := look(ctx, blocks, height)
		if err != nil {
			return failed(err)
		}
		links = append(links, f.link(height))
		bytes += int64(f.size)
	}
	folder, err := store.FolderNode(links)
	if err != nil {
		return failed(err)
	}
	sum := newSummer(to)
	w := writer{sum}
	if err := w.head(folder.Cid()); err != nil {
		return failed(err)
	}
	if err := w.block(folder.Cid(), folder.RawData()); err != nil {
		return failed(err)
	}
	for i, l := range links {
		if err := w.file(ctx, blocks, from+int64(i), l.CID); err != nil {
			return failed(err)
		}
	}
	address, err := sum.cid()
	if err != nil {
		return failed(err)
	}
	outline := sum.pieces.Outline()
	return Segment{from, from + int64(len(links)) - 1, address, outline.Piece(), folder.Cid()}, outline, nil
}

// look reads a block and finds its address.
func look(ctx context.Context, blocks Blocks, height int64) (file, error) {
	if err := ctx.Err(); err != nil {
		return file{}, err
	}
	if height < 1 || height > MaxHeight {
		return file{}, fmt.Errorf("block %d: heights are 1 to %d", height, int64(MaxHeight))
	}
	if height > blocks.Height() {
		return file{}, fmt.Errorf("%w: block %d is not there", ErrOpen, height)
	}
	b, err := blocks.Block(height)
	if err != nil {
		return file{}, fmt.Errorf("block %d: %w", height, err)
	}
	if len(b) == 0 || len(b) > MaxBlock {
		return file{}, fmt.Errorf("block %d has %d bytes, 1 to %d are possible", height, len(b), MaxBlock)
	}
	return newFile(b)
}

// file is a block as a file of the store: a leaf, or a node with leaves of 1 MiB below it.
type file struct {
	bytes  []byte
	size   uint64
	total  uint64
	root   cid.Cid
	node   []byte // nil where the root is the one leaf
	leaves []cid.Cid
}

func newFile(b []byte) (file, error) {
	f := file{bytes: b, size: uint64(len(b))}
	var parts []store.Link
	for part := range chunks(b) {
		c, err := store.LeafCID(part)
		if err != nil {
			return f, err
		}
		f.leaves = append(f.leaves, c)
		parts = append(parts, store.Link{CID: c, Size: uint64(len(part)), Total: uint64(len(part))})
	}
	if len(parts) == 1 {
		f.root, f.total = f.leaves[0], f.size
		return f, nil
	}
	node, _, err := store.FileNode(parts)
	if err != nil {
		return f, err
	}
	f.root, f.node = node.Cid(), node.RawData()
	f.total, err = node.Size()
	return f, err
}

func (f file) link(height int64) store.Link {
	return store.Link{Name: name(height), CID: f.root, Size: f.size, Total: f.total}
}

// chunks are the leaves of b.
func chunks(b []byte) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for ; len(b) > 0; b = b[min(len(b), leafSize):] {
			if !yield(b[:min(len(b), leafSize)]) {
				return
			}
		}
	}
}

// writer writes a CAR, version 1 (https://ipld.io/specs/transport/car/carv1/).
type writer struct{ to io.Writer }

// head is the CAR's: {"roots": [root], "version": 1} in DAG-CBOR behind its length. Roots of this form have 36 bytes.
func head(root cid.Cid) []byte {
	c := root.Bytes()
	b := append([]byte{0}, "\xa2\x65roots\x81\xd8\x2a\x58"...)
	b = append(append(b, byte(1+len(c)), 0), c...)
	b = append(b, "\x67version\x01"...)
	b[0] = byte(len(b) - 1)
	return b
}

func (w writer) head(root cid.Cid) error {
	_, err := w.to.Write(head(root))
	return err
}

// block is a section: the length of what follows, address, bytes.
func (w writer) block(c cid.Cid, b []byte) error {
	h := binary.AppendUvarint(nil, uint64(c.ByteLen()+len(b)))
	if _, err := w.to.Write(append(h, c.Bytes()...)); err != nil {
		return err
	}
	_, err := w.to.Write(b)
	return err
}

// file writes a block of the chain: its node, where it has one, and its leaves.
func (w writer) file(ctx context.Context, blocks Blocks, height int64, want cid.Cid) error {
	f, err := look(ctx, blocks, height)
	if err != nil {
		return err
	}
	if f.root != want {
		return fmt.Errorf("block %d: %w", height, ErrUnsteady)
	}
	if f.node != nil {
		if err := w.block(f.root, f.node); err != nil {
			return err
		}
	}
	at := 0
	for part := range chunks(f.bytes) {
		if err := w.block(f.leaves[at], part); err != nil {
			return err
		}
		at++
	}
	return nil
}
