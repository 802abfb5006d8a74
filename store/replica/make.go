package replica

import (
	"context"
	"fmt"
	"runtime"

	"github.com/ipfs/go-cid"
	"github.com/klauspost/reedsolomon"
	"golang.org/x/sync/errgroup"

	"github.com/hpips/hpips/spec/erasure"
	"github.com/hpips/hpips/spec/proof"
	"github.com/hpips/hpips/store"
	"github.com/hpips/hpips/store/holder"
)

// Make brings the object under root, all of which is on this disk, into pieces. What is new, parity and manifest, comes into the store and is held there by one pin, of the folder of all pieces, until the holders have theirs. What was made
// before it was interrupted has no pin, and making it again gives the same:
//  1. the object's blocks, in the order of a walk through its tree;
//  2. stripe by stripe: its leaves, their parity, and the audit tree of each piece;
//  3. the manifest, which ends each piece;
//  4. the pieces as files, their folder, the pin.
func Make(ctx context.Context, s *store.Store, root cid.Cid, scheme erasure.Scheme, name string) (Made, error) {
	made, err := makePieces(ctx, s, Manifest{Root: root, Scheme: scheme}, name)
	if err != nil {
		return Made{}, fmt.Errorf("make pieces of %s: %w", root, err)
	}
	return made, nil
}

func makePieces(ctx context.Context, s *store.Store, m Manifest, name string) (Made, error) {
	if err := check(m.Scheme); err != nil {
		return Made{}, err
	}
	release, err := s.Reserve(ctx)
	if err != nil {
		return Made{}, err
	}
	defer release()
	if err := m.list(ctx, s); err != nil {
		return Made{}, err
	}
	if nodes, leaves := total(m.nodes), total(m.leaves); m.Scheme.Coded() && nodes > leaves+MaxBlock {
		return Made{}, fmt.Errorf("%w: %d bytes in nodes, which each piece has, and %d in raw leaves, which are coded: add the content again with hpips put, or choose --copies N", ErrProfile, nodes, leaves)
	}
	audits := newSummer(m.Scheme)
	for _, b := range m.nodes {
		data, err := read(ctx, s, b.cid())
		if err != nil {
			return Made{}, err
		}
		audits.all(data)
	}
	if err := m.encode(ctx, s, audits); err != nil {
		return Made{}, err
	}
	if err := m.seal(); err != nil {
		return Made{}, err
	}
	if err := m.put(ctx, s); err != nil {
		return Made{}, err
	}
	for _, p := range m.tail {
		data, err := read(ctx, s, p.CID)
		if err != nil {
			return Made{}, err
		}
		audits.all(data)
	}
	links, err := s.Join(ctx, m.files(all(m.Scheme.Pieces)...))
	if err != nil {
		return Made{}, err
	}
	folder, err := s.Dir(ctx, links)
	if err != nil {
		return Made{}, err
	}
	made := Made{Manifest: m, Folder: folder.CID}
	for i, l := range links {
		piece := audits.piece(i)
		if piece.Size != l.Size {
			return Made{}, fmt.Errorf("piece %d has %d bytes, and %d were read", i, l.Size, piece.Size)
		}
		made.Pieces = append(made.Pieces, holder.Held{CID: l.CID, Piece: piece})
	}
	return made, s.Pin(ctx, folder.CID, name)
}

// all are the numbers below n.
func all(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

func total(blocks []block) (size uint64) {
	for _, b := range blocks {
		size += uint64(b.size)
	}
	return size
}

// put brings the manifest's own blocks into the store.
func (m *Manifest) put(ctx context.Context, s *store.Store) error {
	e, err := s.AddBytes(ctx, m.bytes)
	if err == nil && e.CID != m.cid {
		err = fmt.Errorf("the store calls the manifest %s, and it is %s", e.CID, m.cid)
	}
	return err
}

// encode reads the leaves, stripe by stripe, and puts their parity.
func (m *Manifest) encode(ctx context.Context, s *store.Store, audits *summer) error {
	c, err := newCoder(m.Scheme)
	if err != nil {
		return err
	}
	var failed error
	_, err = s.AddFiles(ctx, func(yield func(string, []byte) bool) {
		for stripe := range m.stripes() {
			shards, err := m.stripe(ctx, s, c, stripe)
			if err == nil {
				err = audits.stripe(m, stripe, shards)
			}
			if err != nil {
				failed = err
				return
			}
			for _, parity := range shards[m.Scheme.Need:] {
				b := sum(parity)
				m.parity = append(m.parity, b.digest[:]...)
				if !yield("", parity) {
					return
				}
			}
		}
	})
	if failed != nil {
		return failed
	}
	return err
}

// stripe reads the leaves of a stripe and reckons its parity; copies have none. The parity is good until the next one.
func (m *Manifest) stripe(ctx context.Context, s *store.Store, c *coder, stripe int) ([][]byte, error) {
	shards := make([][]byte, m.Scheme.Need)
	for i, b := range m.row(stripe) {
		data, err := read(ctx, s, b.cid())
		if err != nil {
			return nil, err
		}
		if len(data) != b.size {
			return nil, fmt.Errorf("block %s had %d bytes and has %d", b.cid(), b.size, len(data))
		}
		shards[i] = data
	}
	if !m.Scheme.Coded() {
		return shards, nil
	}
	return c.encode(shards, m.width(stripe))
}

// coder is the code of a scheme.
type coder struct {
	scheme erasure.Scheme
	code   reedsolomon.Encoder
	parity [][]byte
	zeros  []byte
}

func newCoder(s erasure.Scheme) (*coder, error) {
	c := &coder{scheme: s}
	if !s.Coded() {
		return c, nil
	}
	var err error
	if c.code, err = reedsolomon.New(s.Need, s.Parity()); err != nil {
		return nil, fmt.Errorf("%v: %w", s, err)
	}
	c.zeros = make([]byte, MaxBlock)
	return c, nil
}

// pad gives a shard the width of its stripe.
func (c *coder) pad(data []byte, width int) []byte {
	switch {
	case len(data) == width:
		return data
	case len(data) == 0:
		return c.zeros[:width]
	}
	padded := make([]byte, width)
	copy(padded, data)
	return padded
}

// encode gives data, as it was, and parity of a width behind it.
func (c *coder) encode(data [][]byte, width int) ([][]byte, error) {
	if c.parity == nil {
		c.parity = make([][]byte, c.scheme.Parity())
		for i := range c.parity {
			c.parity[i] = make([]byte, MaxBlock)
		}
	}
	shards := make([][]byte, 0, c.scheme.Pieces)
	for _, d := range data {
		shards = append(shards, c.pad(d, width))
	}
	for _, p := range c.parity {
		shards = append(shards, p[:width])
	}
	if width > 0 { // else parity of nothing is nothing
		if err := c.code.Encode(shards); err != nil {
			return nil, err
		}
	}
	copy(shards, data)
	return shards, nil
}

// summer makes the audit tree of each piece; copies have one.
type summer struct{ of []proof.Builder }

func newSummer(s erasure.Scheme) *summer {
	if s.Coded() {
		return &summer{make([]proof.Builder, s.Pieces)}
	}
	return &summer{make([]proof.Builder, 1)}
}

func (s *summer) piece(i int) proof.Piece { return s.of[min(i, len(s.of)-1)].Piece() }

// all gives every piece the same bytes.
func (s *summer) all(data []byte) {
	for i := range s.of {
		s.of[i].Write(data) //nolint:errcheck // its one error is for more than 2^50 bytes, which no manifest lists
	}
}

// stripe gives each piece its shard.
func (s *summer) stripe(m *Manifest, stripe int, shards [][]byte) error {
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := range s.of {
		if m.keeps(stripe, i) {
			group.Go(func() error {
				_, err := s.of[i].Write(shards[i])
				return err
			})
		}
	}
	return group.Wait()
}
