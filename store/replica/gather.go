package replica

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	blockfmt "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/store"
)

// patience is how long a holder may take for one block of 1 MiB.
const patience = 30 * time.Second

var (
	errBytes  = errors.New("its holder sent other bytes")
	errNobody = errors.New("nobody is known to hold it")
)

// Peers is the Source of pieces whose holders are peers: of[i] holds piece i, "" where nobody does.
func Peers(s *store.Store, of []peer.ID) Source {
	return func(ctx context.Context, piece int, c cid.Cid) ([]byte, error) {
		if piece >= len(of) || of[piece] == "" {
			return nil, errNobody
		}
		var data []byte
		err := s.Ask(ctx, of[piece], []cid.Cid{c}, func(b blockfmt.Block) error {
			data = b.RawData()
			return nil
		})
		if err == nil && data == nil {
			err = fmt.Errorf("peer %s: block %s: %w", of[piece], c, store.ErrNotFound)
		}
		return data, err
	}
}

// gatherer brings blocks of an object from this disk and from holders of its pieces.
type gatherer struct {
	s     *store.Store
	m     *Manifest
	code  *coder
	from  Source
	never []int // pieces that nobody has: they are to be made again

	mu   sync.Mutex
	lost map[int]error // pieces that did not give a block, and what their holder said last
}

func newGatherer(s *store.Store, m *Manifest, from Source, never []int) (*gatherer, error) {
	if m.cid == cid.Undef {
		return nil, fmt.Errorf("%w: it was not made, loaded or parsed", ErrManifest)
	}
	c, err := newCoder(m.Scheme)
	return &gatherer{s: s, m: m, code: c, from: from, never: never, lost: map[int]error{}}, err
}

// here gives a block of this disk, or nil.
func (g *gatherer) here(ctx context.Context, b block) ([]byte, error) {
	if b == sum(nil) {
		return []byte{}, nil
	}
	found, err := g.s.Block(ctx, b.cid())
	if ipld.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if len(found.RawData()) != b.size {
		return nil, fmt.Errorf("%w: block %s has %d bytes, not %d", ErrManifest, b.cid(), len(found.RawData()), b.size)
	}
	return found.RawData(), nil
}

// ask brings a block from the holder of a piece, or nil, which is remembered.
func (g *gatherer) ask(ctx context.Context, piece int, b block) []byte {
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	data, err := g.from(within, piece, b.cid())
	if err == nil && !b.of(data) {
		data, err = nil, errBytes
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil {
		g.lost[piece] = fmt.Errorf("piece %d: %w", piece, err)
		return nil
	}
	delete(g.lost, piece)
	return data
}

// order divides pieces into those that gave what they were asked for last, and those that did not; those that nobody has are in neither.
func (g *gatherer) order(of []int) (good, bad []int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, i := range of {
		switch {
		case slices.Contains(g.never, i):
		case g.lost[i] != nil:
			bad = append(bad, i)
		default:
			good = append(good, i)
		}
	}
	return good, bad
}

// cause is what the holder of the last one of these pieces said that failed.
func (g *gatherer) cause(of []int) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, i := range slices.Backward(of) {
		if err := g.lost[i]; err != nil {
			return err
		}
	}
	return nil
}

// node brings a block that every piece has.
func (g *gatherer) node(ctx context.Context, b block) ([]byte, error) {
	data, err := g.here(ctx, b)
	if data != nil || err != nil {
		return data, err
	}
	pieces := all(g.m.Scheme.Pieces)
	good, bad := g.order(pieces)
	for _, i := range append(good, bad...) {
		if data := g.ask(ctx, i, b); data != nil {
			return data, nil
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return nil, ErrMissing{Need: 1, Pieces: len(pieces), Missing: pieces, Cause: g.cause(pieces)}
}

// round is one stripe while its blocks come: each by the number of its piece, nil where it is not here.
type round struct {
	stripe int
	shards [][]byte
	have   int // shards that are here
	need   int // that are enough for any other one
}

// stripe brings the wanted pieces' blocks of a stripe:
//  1. from this disk and the holders themselves, so that of a healthy object no parity is touched;
//  2. if one is missing: from any others until they are enough, first from this disk, and at once from as many holders as are lacking;
//  3. and reckoned from those.
func (g *gatherer) stripe(ctx context.Context, at int, want []int) ([][]byte, error) {
	r := &round{stripe: at, shards: make([][]byte, g.m.Scheme.Pieces), need: len(g.m.row(at))}
	want = slices.DeleteFunc(slices.Clone(want), func(i int) bool { return !g.m.keeps(at, i) })
	if err := g.local(ctx, r, want); err != nil {
		return nil, err
	}
	own, _ := g.order(r.lacking(want))
	g.askAll(ctx, r, own)
	if len(r.lacking(want)) == 0 || ctx.Err() != nil {
		return r.shards, ctx.Err()
	}
	var others []int
	for i := range r.shards {
		if g.m.keeps(at, i) && !slices.Contains(want, i) {
			others = append(others, i)
		}
	}
	for _, i := range others {
		if r.have >= r.need {
			break
		}
		if err := g.local(ctx, r, []int{i}); err != nil {
			return nil, err
		}
	}
	good, bad := g.order(r.lacking(append(slices.Clone(others), want...))) // of those that failed before, one may be back
	rest := slices.DeleteFunc(append(good, bad...), func(i int) bool { return slices.Contains(own, i) })
	for r.have < r.need && len(rest) > 0 {
		n := min(r.need-r.have, len(rest))
		g.askAll(ctx, r, rest[:n])
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		rest = rest[n:]
	}
	if r.have < r.need {
		missing := r.lacking(append(others, want...))
		slices.Sort(missing)
		return nil, ErrMissing{Have: r.have, Need: r.need, Pieces: g.m.Scheme.Pieces, Missing: missing, Cause: g.cause(missing)}
	}
	return r.shards, g.reckon(r, want)
}

// lacking are those of the pieces whose block is not here.
func (r *round) lacking(of []int) []int {
	var list []int
	for _, i := range of {
		if r.shards[i] == nil {
			list = append(list, i)
		}
	}
	return list
}

func (r *round) take(piece int, data []byte) {
	if data != nil && r.shards[piece] == nil {
		r.shards[piece] = data
		r.have++
	}
}

// local takes what is on this disk.
func (g *gatherer) local(ctx context.Context, r *round, of []int) error {
	for _, i := range of {
		b, _ := g.m.shard(r.stripe, i)
		data, err := g.here(ctx, b)
		if err != nil {
			return err
		}
		r.take(i, data)
	}
	return nil
}

// askAll asks holders, all at once.
func (g *gatherer) askAll(ctx context.Context, r *round, of []int) {
	came := make([][]byte, len(of))
	var waiting sync.WaitGroup
	for at, i := range of {
		b, _ := g.m.shard(r.stripe, i)
		waiting.Go(func() { came[at] = g.ask(ctx, i, b) })
	}
	waiting.Wait()
	for at, i := range of {
		r.take(i, came[at])
	}
}

// reckon makes the wanted blocks from the others.
func (g *gatherer) reckon(r *round, want []int) error {
	want = r.lacking(want)
	var made [][]byte
	if g.m.Scheme.Coded() {
		var err error
		if made, err = g.code.reckon(r.shards, len(g.m.row(r.stripe)), g.m.width(r.stripe), want); err != nil {
			return err
		}
	} else { // all are alike
		i := slices.IndexFunc(r.shards, func(b []byte) bool { return b != nil })
		made = slices.Repeat([][]byte{r.shards[i]}, len(r.shards))
	}
	for _, i := range want {
		b, _ := g.m.shard(r.stripe, i)
		data := made[i][:min(len(made[i]), b.size)]
		if sha256.Sum256(data) != b.digest {
			return fmt.Errorf("%w: the parity that it lists is not that of its leaves: piece %d of stripe %d comes out as other bytes", ErrManifest, i, r.stripe)
		}
		r.shards[i] = data
	}
	return nil
}

// reckon gives the wanted shards of a stripe of so many leaves.
func (c *coder) reckon(shards [][]byte, leaves, width int, want []int) ([][]byte, error) {
	all, wanted := make([][]byte, len(shards)), make([]bool, len(shards))
	for _, i := range want {
		wanted[i] = true
	}
	if width == 0 {
		return all, nil
	}
	for i, data := range shards {
		if data != nil || i >= leaves && i < c.scheme.Need {
			all[i] = c.pad(data, width)
		}
	}
	if err := c.code.ReconstructSome(all, wanted); err != nil {
		return nil, err
	}
	return all, nil
}
