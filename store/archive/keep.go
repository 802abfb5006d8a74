package archive

import (
	"context"
	"fmt"
	"io"

	"github.com/hpips/hpips/spec/proof"
	"github.com/hpips/hpips/store"
)

// adder is what Keep needs of a store.
type adder interface {
	Add(ctx context.Context, r io.Reader) (store.Entry, error)
}

// Keep makes a segment and brings it into the store, on its way and without a file in between. The outline is what its holder answers audits from. Whether it stays, is said by a pin.
func Keep(ctx context.Context, in adder, blocks Blocks, from int64, limits Limits) (Segment, proof.Outline, error) {
	out, to := io.Pipe()
	type made struct {
		segment Segment
		outline proof.Outline
		err     error
	}
	ended := make(chan made, 1)
	go func() {
		var m made
		m.segment, m.outline, m.err = makeOutlined(ctx, blocks, from, limits, to)
		ended <- m
		to.CloseWithError(m.err) // without an error this is the end
	}()
	e, err := in.Add(ctx, out)
	out.CloseWithError(err) // what was not taken ends here
	m := <-ended
	switch {
	case err != nil: // the maker's own error, where that was the cause
		return Segment{}, proof.Outline{}, err
	case m.err != nil:
		return Segment{}, proof.Outline{}, m.err
	case e.CID != m.segment.CID:
		return Segment{}, proof.Outline{}, fmt.Errorf("segment from block %d: the store calls it %s, and it is %s", from, e.CID, m.segment.CID)
	}
	return m.segment, m.outline, nil
}
