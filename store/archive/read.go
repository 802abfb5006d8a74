package archive

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/hpips/hpips/store"
)

// Read reads the CAR of a segment and gives each block, in order, when its bytes were checked against its address; each may be kept. At the end it tells which segment it was, to be compared with what is recorded: until then
// the addresses are the file's own. It reads exactly what Make writes, and nothing else: ErrNotOurs tells what is not so. An error of each, or of the reader, ends it and is wrapped as it came.
func Read(r io.Reader, each func(height int64, block []byte) error) (Segment, error) {
	sum := newSummer(io.Discard)
	in := &reader{r: bufio.NewReaderSize(io.TeeReader(r, sum), 64<<10)}
	s, err := in.segment(each)
	if err == nil {
		s.CID, err = sum.cid()
	}
	if err != nil {
		return Segment{}, fmt.Errorf("read segment: %w", err)
	}
	s.Piece = sum.pieces.Piece()
	return s, nil
}

// reader reads a CAR.
type reader struct{ r *bufio.Reader }

func bad(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrNotOurs, fmt.Sprintf(format, a...))
}

// cut makes an end that comes too soon ErrNotOurs; what the reader itself found stays as it is.
func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return bad("it is cut off")
	}
	return err
}

func (in *reader) segment(each func(int64, []byte) error) (Segment, error) {
	root, err := in.head()
	if err != nil {
		return Segment{}, err
	}
	folder, err := in.block(root, maxFolder)
	if err != nil {
		return Segment{}, err
	}
	from, links, err := parseFolder(root, folder)
	if err != nil {
		return Segment{}, err
	}
	for i, l := range links {
		b, err := in.file(l)
		if err != nil {
			return Segment{}, fmt.Errorf("block %d: %w", from+int64(i), err)
		}
		if err := each(from+int64(i), b); err != nil {
			return Segment{}, fmt.Errorf("block %d: %w", from+int64(i), err)
		}
	}
	switch _, err := in.r.ReadByte(); {
	case err == nil:
		return Segment{}, bad("it goes on after its last block")
	case err != io.EOF:
		return Segment{}, err
	}
	return Segment{From: from, To: from + int64(len(links)) - 1, Root: root}, nil
}

// like is an address of the form that all in a segment have; they differ in codec and digest.
func like(codec uint64) cid.Cid {
	h, err := multihash.Encode(make([]byte, 32), multihash.SHA2_256)
	if err != nil {
		panic("archive: " + err.Error()) // sha2-256 is always there
	}
	return cid.NewCidV1(codec, h)
}

func ours(c cid.Cid, codec uint64) bool { return c.Prefix() == like(codec).Prefix() }

// head reads the CAR's and gives its root.
func (in *reader) head() (cid.Cid, error) {
	form := head(like(cid.DagProtobuf))
	b := make([]byte, len(form))
	if _, err := io.ReadFull(in.r, b); err != nil {
		return cid.Undef, cut(err)
	}
	const behind = len("\x67version\x01")
	root, err := cid.Cast(b[len(b)-behind-like(cid.DagProtobuf).ByteLen() : len(b)-behind])
	if err != nil || !ours(root, cid.DagProtobuf) || !bytes.Equal(head(root), b) {
		return cid.Undef, bad("its head is another's")
	}
	return root, nil
}

// block reads a section whose address is known, of most bytes.
func (in *reader) block(want cid.Cid, most int) ([]byte, error) {
	n, err := in.length()
	if err != nil {
		return nil, err
	}
	address := make([]byte, want.ByteLen())
	if n < uint64(len(address)) || n-uint64(len(address)) > uint64(most) {
		return nil, bad("a section of %d bytes, at most %d", n, most+len(address))
	}
	if _, err := io.ReadFull(in.r, address); err != nil {
		return nil, cut(err)
	}
	if !bytes.Equal(address, want.Bytes()) {
		return nil, bad("%s should come here", want)
	}
	b := make([]byte, n-uint64(len(address)))
	if _, err := io.ReadFull(in.r, b); err != nil {
		return nil, cut(err)
	}
	if got, err := want.Prefix().Sum(b); err != nil || got != want {
		return nil, bad("the bytes of %s are others", want)
	}
	return b, nil
}

// length reads a number in its shortest form.
func (in *reader) length() (uint64, error) {
	var b []byte
	for len(b) < binary.MaxVarintLen64 {
		c, err := in.r.ReadByte()
		if err != nil {
			return 0, cut(err)
		}
		if b = append(b, c); c < 0x80 {
			break
		}
	}
	n, used := binary.Uvarint(b)
	if used <= 0 || !bytes.Equal(binary.AppendUvarint(nil, n), b) {
		return 0, bad("a length is not in its shortest form")
	}
	return n, nil
}

// parseFolder takes the names and addresses of blocks, which follow one another, from exactly the bytes that Make writes for them.
func parseFolder(root cid.Cid, b []byte) (from int64, links []store.Link, err error) {
	node, err := merkledag.DecodeProtobuf(b)
	if err != nil {
		return 0, nil, bad("its folder cannot be read")
	}
	all := node.Links()
	if len(all) == 0 || len(all) > MaxBlocks {
		return 0, nil, bad("%d blocks, 1 to %d are possible", len(all), MaxBlocks)
	}
	if from, err = strconv.ParseInt(all[0].Name, 10, 64); err != nil || from < 1 || from+int64(len(all))-1 > MaxHeight {
		return 0, nil, bad("its first block is called %.20q", all[0].Name)
	}
	for i, l := range all {
		if l.Name != name(from+int64(i)) || !ours(l.Cid, cid.Raw) && !ours(l.Cid, cid.DagProtobuf) {
			return 0, nil, bad("its %d. block is called %.20q", i+1, l.Name)
		}
		links = append(links, store.Link{Name: l.Name, CID: l.Cid, Total: l.Size})
	}
	again, err := store.FolderNode(links)
	if err != nil || again.Cid() != root {
		return 0, nil, bad("its folder is not written as it should be")
	}
	return from, links, nil
}

// file reads a block of the chain.
func (in *reader) file(l store.Link) ([]byte, error) {
	if ours(l.CID, cid.Raw) {
		b, err := in.block(l.CID, leafSize)
		if err == nil && (len(b) == 0 || uint64(len(b)) != l.Total) {
			err = bad("its size is not that of the folder")
		}
		return b, err
	}
	raw, err := in.block(l.CID, maxFolder)
	if err != nil {
		return nil, err
	}
	node, err := merkledag.DecodeProtobuf(raw)
	if err != nil {
		return nil, bad("its node cannot be read")
	}
	leaves := node.Links()
	if len(leaves) < 2 || len(leaves) > MaxBlock/leafSize {
		return nil, bad("%d leaves, 2 to %d are possible", len(leaves), MaxBlock/leafSize)
	}
	var whole []byte
	for _, leaf := range leaves {
		if !ours(leaf.Cid, cid.Raw) {
			return nil, bad("%s is no leaf", leaf.Cid)
		}
		part, err := in.block(leaf.Cid, leafSize)
		if err != nil {
			return nil, err
		}
		whole = append(whole, part...)
	}
	again, err := newFile(whole) // the leaves, the node above them and all sizes are those of the bytes
	if err != nil || again.root != l.CID || again.total != l.Total {
		return nil, bad("it is not cut as it should be")
	}
	return whole, nil
}
