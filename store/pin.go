package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/multiformats/go-multihash"
)

// Pin is a root that the collection of garbage spares, with all below it.
type Pin struct {
	CID   cid.Cid
	Name  string
	Since time.Time
}

// Pin brings what is missing of the DAG under c, makes it durable and holds it. Pinning
// again renames. One upload is one pin: each costs two syncs of the disk.
func (s *Store) Pin(ctx context.Context, c cid.Cid, name string) error {
	release, err := s.gate.enter(ctx)
	if err != nil {
		return fmt.Errorf("pin %s: %w", c, err)
	}
	defer release()
	if !s.whole.has(c) {
		if _, err := s.pull(ctx, c, s.cfg.MaxFetch, nil, 0, nil); err != nil {
			return err
		}
	}
	if err := s.blocks.Flush(ctx); err != nil {
		return fmt.Errorf("pin %s: %w", c, err)
	}
	if err := s.blocks.index.pin(ctx, c, name, time.Now().Unix()); err != nil {
		return fmt.Errorf("pin %s: %w", c, explain(err, s.dir))
	}
	return nil
}

// Unpin lets go of c; its blocks stay until GC. A root that is not pinned is ErrNotFound.
func (s *Store) Unpin(ctx context.Context, c cid.Cid) error {
	was, err := s.blocks.index.unpin(ctx, c)
	if err != nil {
		return fmt.Errorf("unpin %s: %w", c, explain(err, s.dir))
	}
	if !was {
		return fmt.Errorf("unpin %s: pin %w", c, ErrNotFound)
	}
	return nil
}

// Pins lists all pins, oldest first.
func (s *Store) Pins(ctx context.Context) ([]Pin, error) {
	rows, err := s.blocks.index.db.QueryContext(ctx, "SELECT cid, name, since FROM pins ORDER BY since, cid")
	if err != nil {
		return nil, fmt.Errorf("pins: %w", err)
	}
	defer rows.Close()
	var pins []Pin
	for rows.Next() {
		var raw []byte
		var since int64
		var p Pin
		if err := rows.Scan(&raw, &p.Name, &since); err != nil {
			return nil, fmt.Errorf("pins: %w", err)
		}
		if p.CID, err = cid.Cast(raw); err != nil {
			return nil, fmt.Errorf("pins: %w", err)
		}
		p.Since = time.Unix(since, 0)
		pins = append(pins, p)
	}
	return pins, rows.Err()
}

// Reserve keeps GC away until release is called: hold it from an Add to its Pin, and while
// unpinned content is in use. Reserves may be nested and shared; release may be called again.
func (s *Store) Reserve(ctx context.Context) (release func(), err error) { return s.gate.enter(ctx) }

// Collected counts what GC removed.
type Collected struct {
	Blocks int64
	Bytes  int64
}

// GC removes every block that no pin reaches. It waits until no reserve is held, and what
// needs one waits for it; an end of ctx while waiting changes nothing.
func (s *Store) GC(ctx context.Context) (Collected, error) {
	c, err := s.collect(ctx)
	if err == nil {
		err = s.blocks.compact(ctx) // others may go on meanwhile
	}
	if err != nil {
		return c, fmt.Errorf("collect garbage: %w", err)
	}
	return c, s.blocks.index.shrink(ctx)
}

// Discard removes the blocks under roots that no pin reaches, and none of keep does either; it waits as GC does. What of them is not here is nothing to remove.
func (s *Store) Discard(ctx context.Context, roots, keep []cid.Cid) (Collected, error) {
	c, err := s.discard(ctx, roots, keep)
	if err == nil {
		err = s.blocks.compact(ctx)
	}
	if err != nil {
		return c, fmt.Errorf("discard: %w", err)
	}
	return c, s.blocks.index.shrink(ctx)
}

func (s *Store) discard(ctx context.Context, roots, keep []cid.Cid) (c Collected, err error) {
	open, err := s.gate.close(ctx)
	if err != nil {
		return c, fmt.Errorf("the store is in use: %w", err)
	}
	defer open()
	blocks, bytes := s.blocks.totals()
	live, err := s.reachable(ctx, keep...)
	if err != nil {
		return c, err
	}
	if err := s.blocks.Flush(ctx); err != nil {
		return c, err
	}
	var dead []multihash.Multihash
	err = s.below(ctx, roots, false, func(c cid.Cid, here bool) {
		if here && !live[keyOf(c.Hash())] {
			dead = append(dead, c.Hash())
		}
	})
	if err == nil && len(dead) > 0 {
		err = s.blocks.remove(ctx, dead...)
	}
	n, size := s.blocks.totals()
	return Collected{Blocks: blocks - n, Bytes: bytes - size}, err
}

func (s *Store) collect(ctx context.Context) (c Collected, err error) {
	open, err := s.gate.close(ctx)
	if err != nil {
		return c, fmt.Errorf("the store is in use: %w", err)
	}
	defer open()
	blocks, bytes := s.blocks.totals()
	live, err := s.reachable(ctx)
	if err != nil {
		return c, err
	}
	err = s.blocks.Flush(ctx)
	if errors.Is(err, ErrFull) { // what waits has no pin, and whoever brought it was told: its room is what the rest needs
		s.blocks.abandon()
		err = nil
	}
	if err != nil {
		return c, err
	}
	err = s.blocks.index.keys(ctx, func(page []multihash.Multihash) error {
		var dead []multihash.Multihash
		for _, h := range page {
			if !live[keyOf(h)] {
				dead = append(dead, h)
			}
		}
		if len(dead) == 0 {
			return nil
		}
		return s.blocks.remove(ctx, dead...)
	})
	n, size := s.blocks.totals()
	return Collected{Blocks: blocks - n, Bytes: bytes - size}, err
}

// keyOf shortens a multihash to a map key: itself when it is short, else its sha2-256.
func keyOf(h multihash.Multihash) [sha256.Size]byte {
	if len(h) == 34 && h[0] == multihash.SHA2_256 {
		return [sha256.Size]byte(h[2:])
	}
	return sha256.Sum256(h)
}

// reachable marks the blocks under all pins and under more roots, asking no peer.
func (s *Store) reachable(ctx context.Context, more ...cid.Cid) (map[[sha256.Size]byte]bool, error) {
	pins, err := s.Pins(ctx)
	if err != nil {
		return nil, err
	}
	live, pinned := make(map[[sha256.Size]byte]bool), make([]cid.Cid, 0, len(pins))
	for _, p := range pins {
		pinned = append(pinned, p.CID)
	}
	err = s.below(ctx, pinned, true, func(c cid.Cid, here bool) {
		if live[keyOf(c.Hash())] = true; !here {
			s.log.Warn("a pinned block is missing", "cid", c)
		}
	})
	if err != nil {
		return nil, err
	}
	return live, s.below(ctx, more, false, func(c cid.Cid, _ bool) { live[keyOf(c.Hash())] = true })
}

// below tells of each block under roots, asking no peer, and of a node whether it is here: leaves are not looked for. One that several lead to may be told of several times. Bytes that
// are no node lead no further, or where it is strict are an error: what somebody else has made may be anything.
func (s *Store) below(ctx context.Context, roots []cid.Cid, strict bool, met func(c cid.Cid, here bool)) error {
	walked, todo := make(map[[sha256.Size]byte]bool), slices.Clone(roots)
	for len(todo) > 0 {
		c := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if c.Prefix().Codec == cid.Raw {
			met(c, true)
			continue
		}
		if walked[keyOf(c.Hash())] { // a node may be met by its bytes' address before its own
			continue
		}
		walked[keyOf(c.Hash())] = true
		block, err := s.blocks.Get(ctx, c)
		if ipld.IsNotFound(err) {
			met(c, false)
			continue
		}
		if err != nil {
			return err
		}
		met(c, true)
		links, err := linksOf(block)
		if err != nil && strict {
			return err
		}
		for _, w := range links {
			todo = append(todo, w.cid)
		}
	}
	return ctx.Err()
}

// gate lets many in, or one collector alone.
type gate struct {
	mu         sync.Mutex
	inside     int
	collecting bool
	changed    chan struct{} // closed and replaced at each change that somebody may wait for
}

// turn wakes those who wait; mu is held.
func (g *gate) turn() {
	close(g.changed)
	g.changed = make(chan struct{})
}

// wait takes mu and returns holding it once ok() holds.
func (g *gate) wait(ctx context.Context, ok func() bool) error {
	g.mu.Lock()
	for !ok() {
		changed := g.changed
		g.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
		g.mu.Lock()
	}
	return nil
}

func (g *gate) enter(ctx context.Context) (leave func(), err error) {
	if err := g.wait(ctx, func() bool { return !g.collecting }); err != nil {
		return nil, err
	}
	g.inside++
	g.mu.Unlock()
	var once sync.Once
	return func() {
		once.Do(func() {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.inside--
			g.turn()
		})
	}, nil
}

func (g *gate) close(ctx context.Context) (open func(), err error) {
	if err := g.wait(ctx, func() bool { return !g.collecting && g.inside == 0 }); err != nil {
		return nil, err
	}
	g.collecting = true
	g.mu.Unlock()
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.collecting = false
		g.turn()
	}, nil
}
