package replica

import (
	"context"
	"fmt"
	"slices"

	"github.com/hpips/hpips/store"
)

// Recover brings an object back to this disk, with the addresses that it had, and pins its root under a name. While all holders of its leaves are there it asks nobody for parity. Of the blocks that are here already none is asked
// for, so that it goes on where it stopped. Where holders are gone it takes any others; ErrMissing tells how many are too few.
func Recover(ctx context.Context, s *store.Store, m Manifest, name string, from Source) error {
	if err := m.recover(ctx, s, name, from); err != nil {
		return fmt.Errorf("recover %s: %w", m.Root, err)
	}
	return nil
}

func (m *Manifest) recover(ctx context.Context, s *store.Store, name string, from Source) error {
	g, err := newGatherer(s, m, from, nil)
	if err != nil {
		return err
	}
	release, err := s.Reserve(ctx)
	if err != nil {
		return err
	}
	defer release()
	if err := g.nodes(ctx); err != nil {
		return err
	}
	if err := g.stripes(ctx, all(m.Scheme.Need)); err != nil {
		return err
	}
	return s.Pin(ctx, m.Root, name)
}

// Repair makes lost pieces again from any others, on this disk: only their blocks are put, and what was put before it was interrupted is not made again. It pins each under a name when it is whole, and then gives what its holder
// answers audits from, in the order of lost. Nobody is asked for a lost piece.
func Repair(ctx context.Context, s *store.Store, m Manifest, lost []int, name string, from Source) ([]Kept, error) {
	kept, err := m.repair(ctx, s, lost, name, from)
	if err != nil {
		return nil, fmt.Errorf("repair pieces %v of %s: %w", lost, m.Root, err)
	}
	return kept, nil
}

func (m *Manifest) repair(ctx context.Context, s *store.Store, lost []int, name string, from Source) ([]Kept, error) {
	for i, piece := range lost {
		if err := m.has(piece); err != nil {
			return nil, err
		}
		if slices.Contains(lost[:i], piece) {
			return nil, fmt.Errorf("piece %d is named twice", piece)
		}
	}
	g, err := newGatherer(s, m, from, lost)
	if err != nil {
		return nil, err
	}
	release, err := s.Reserve(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	if err := g.nodes(ctx); err != nil {
		return nil, err
	}
	if err := g.stripes(ctx, lost); err != nil {
		return nil, err
	}
	if err := m.put(ctx, s); err != nil {
		return nil, err
	}
	links, err := s.Join(ctx, m.files(lost...))
	if err != nil {
		return nil, err
	}
	var kept []Kept
	for i, l := range links {
		k, err := m.keep(ctx, s, lost[i], l.CID, name, nil)
		if err != nil {
			return nil, err
		}
		kept = append(kept, k)
	}
	return kept, nil
}

// nodes brings the object's nodes, and looks whether the manifest is true to them.
func (g *gatherer) nodes(ctx context.Context) error {
	err := adding(ctx, g.s, func(put func([]byte) bool) error {
		for _, b := range g.m.nodes {
			data, err := g.node(ctx, b)
			if err != nil {
				return err
			}
			if !put(data) {
				return nil
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return g.m.holds(ctx, g.s)
}

// stripes brings the blocks that the wanted pieces have of all stripes.
func (g *gatherer) stripes(ctx context.Context, want []int) error {
	return adding(ctx, g.s, func(put func([]byte) bool) error {
		for at := range g.m.stripes() {
			var lacking []int
			for _, i := range want {
				b, ok := g.m.shard(at, i)
				if !ok {
					continue
				}
				here, err := g.s.Has(ctx, b.cid())
				if err != nil {
					return err
				}
				if !here {
					lacking = append(lacking, i)
				}
			}
			if len(lacking) == 0 {
				continue
			}
			shards, err := g.stripe(ctx, at, lacking)
			if err != nil {
				return err
			}
			for _, i := range lacking {
				if !put(shards[i]) {
					return nil
				}
			}
		}
		return nil
	})
}

// adding puts blocks as they come and makes them durable together.
func adding(ctx context.Context, s *store.Store, each func(put func([]byte) bool) error) error {
	var failed error
	_, err := s.AddFiles(ctx, func(yield func(string, []byte) bool) {
		failed = each(func(data []byte) bool { return yield("", data) })
	})
	if failed != nil {
		return failed
	}
	return err
}
