package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/multiformats/go-multihash"
)

// ErrAway is why nothing is said about blocks: the folder that had them is not there, as of a disk that is not mounted. What is on it may be right.
var ErrAway = errors.New("the folder with the blocks is not there: is its disk mounted?")

// freshFor is how long a large block that was hashed, or written, is given away without being hashed again.
const freshFor = time.Minute

// Checked is what a check found.
type Checked struct {
	Blocks  int64 // that were read
	Bytes   int64
	Damaged int64 // of other bytes than their hash says, of another length, or in a file that is gone: they are gone now
	Short   []Pin // pins of which something is missing: Fetch brings it
}

// Check reads every block of this disk and takes out what is damaged or lost; then it looks what pins lack. Nothing that was found damaged is given away any more. It may run while the store is in use; rest, if not nil, is called
// now and then, to leave the disk to others. ErrAway means that the disk is gone and nothing was taken out.
func (s *Store) Check(ctx context.Context, rest func()) (c Checked, err error) {
	fail := func(err error) (Checked, error) {
		return c, fmt.Errorf("check %s: %w", s.dir, explain(err, s.dir))
	}
	if err := s.blocks.Flush(ctx); err != nil {
		return fail(err)
	}
	err = s.blocks.index.keys(ctx, func(page []multihash.Multihash) error {
		if err := s.checkPage(ctx, page, &c); err != nil {
			return err
		}
		if rest != nil {
			rest()
		}
		return ctx.Err()
	})
	if err != nil {
		return fail(err)
	}
	pins, err := s.Pins(ctx)
	if err != nil {
		return fail(err)
	}
	whole := make(map[cid.Cid]bool)
	for _, p := range pins {
		here, err := s.here(ctx, p.CID, whole)
		if err != nil {
			return fail(err)
		}
		if !here {
			c.Short = append(c.Short, p)
		}
	}
	return c, nil
}

// checkPage checks some blocks. Nothing is collected meanwhile: what a collection takes is not lost.
func (s *Store) checkPage(ctx context.Context, page []multihash.Multihash, c *Checked) error {
	release, err := s.gate.enter(ctx)
	if err != nil {
		return err
	}
	defer release()
	for _, h := range page {
		size, err := s.blocks.check(ctx, h)
		switch {
		case errors.Is(err, ErrNotFound): // collected, since the page was read
			continue
		case err != nil:
			return err
		case size < 0:
			c.Damaged++
		default:
			c.Bytes += size
		}
		c.Blocks++
	}
	return nil
}

// check reads one block from the disk, whatever was read before, and gives its size; −1: it was damaged or lost, and is taken out. A block that is not listed is ErrNotFound.
func (b *blocks) check(ctx context.Context, h multihash.Multihash) (int64, error) {
	_, big, err1 := b.index.place(ctx, h)
	small, err2 := b.index.smallSize(ctx, h)
	if err := errors.Join(err1, err2); err != nil {
		return 0, err
	}
	if !big && small < 0 {
		return 0, ErrNotFound
	}
	b.mu.Lock()
	delete(b.fresh, head(h))
	b.mu.Unlock()
	data, err := b.read(ctx, h)
	if err != nil {
		return 0, err
	}
	if data != nil {
		return int64(len(data)), nil
	}
	if big && b.away() {
		return 0, ErrAway
	}
	return -1, nil // it was dropped just now
}

// here tells whether all blocks below a root are on this disk. whole remembers what was found so.
func (s *Store) here(ctx context.Context, root cid.Cid, whole map[cid.Cid]bool) (bool, error) {
	seen := cid.NewSet()
	for todo := []cid.Cid{root}; len(todo) > 0; {
		c := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if whole[c] || !seen.Visit(c) {
			continue
		}
		if c.Prefix().Codec == cid.Raw {
			if has, err := s.blocks.Has(ctx, c); err != nil || !has {
				return false, err
			}
			continue
		}
		block, err := s.blocks.Get(ctx, c)
		if ipld.IsNotFound(err) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		below, err := linksOf(block)
		if err != nil {
			return false, err
		}
		for _, w := range below {
			todo = append(todo, w.cid)
		}
	}
	whole[root] = true
	return true, ctx.Err()
}
