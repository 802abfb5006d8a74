package store

import (
	"cmp"
	"context"
	"fmt"

	"github.com/ipfs/go-cid"
)

// Each tells of every block under c, itself among them, once, with its bytes. It is an error if not all of them are on this disk; those that are have been told of. Leaves are not read.
func (s *Store) Each(ctx context.Context, c cid.Cid, tell func(c cid.Cid, size int)) error {
	var lacking error
	seen := cid.NewSet()
	for todo := []cid.Cid{c}; len(todo) > 0; {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if !seen.Visit(at) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if at.Prefix().Codec == cid.Raw {
			n, err := s.BlockSize(ctx, at)
			if lacking = cmp.Or(lacking, err); err == nil {
				tell(at, n)
			}
			continue
		}
		block, err := s.Block(ctx, at)
		if lacking = cmp.Or(lacking, err); err != nil {
			continue
		}
		below, err := linksOf(block)
		if err != nil {
			return fmt.Errorf("blocks of %s: %w", c, err)
		}
		tell(at, len(block.RawData()))
		for _, w := range below {
			todo = append(todo, w.cid)
		}
	}
	if lacking != nil {
		return fmt.Errorf("blocks of %s: %w", c, lacking)
	}
	return nil
}
