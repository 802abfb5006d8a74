package archive

import (
	"context"
	"fmt"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/spec/placement"
	"github.com/hpips/hpips/spec/proof"
	"github.com/hpips/hpips/store"
	"github.com/hpips/hpips/store/holder"
)

// Fan is to how many others each holder passes a segment on.
const Fan = placement.MinFan

// Patience is how long a holder waits for a block of the one above it in the tree before it asks the others as well.
const Patience = time.Minute

// fetchWithin bounds a pull from all others: a segment of 512 MiB at 1 MiB/s.
const fetchWithin = 10 * time.Minute

// ErrPiece is why a file is not held although it has the address that was recorded.
var ErrPiece = holder.ErrPiece

// Opener is what Outline and Answer need of a store.
type Opener = holder.Opener

// Fetcher is what Pull needs of a store.
type Fetcher interface {
	FetchWithin(ctx context.Context, c cid.Cid, most int64, progress func(store.Progress), from ...peer.ID) (int64, error)
	FetchBehind(ctx context.Context, c cid.Cid, most int64, wait time.Duration, from peer.ID) (int64, error)
}

// Pull brings a segment's file from its other holders down their tree (spec/placement.Parents): self is this node's place in their order, 0 is the first; sources had the file first. It waits for the holder above, which may
// not have it yet, for patience, and then asks all of them.
func Pull(ctx context.Context, into Fetcher, e proof.Entry, holders, sources []peer.ID, self int, patience time.Duration) error {
	c, err := address(e)
	if err != nil {
		return err
	}
	if self < 0 || self >= len(holders) {
		return fmt.Errorf("segment %d: place %d of %d holders", e.Number, self, len(holders))
	}
	var line []peer.ID
	for i := range placement.Parents(self, Fan) {
		if i == placement.Source {
			line = append(line, sources...)
		} else {
			line = append(line, holders[i])
		}
	}
	most := 2*int64(e.Piece.Size) + 1<<20 // with the nodes above its leaves
	if len(line) > 0 {
		within, cancel := context.WithTimeout(ctx, fetchWithin) // one who drips is no better than one who stalls
		_, err = into.FetchBehind(within, c, most, patience, line[0])
		cancel()
		if err == nil {
			return nil
		}
	}
	if ctx.Err() == nil {
		line = append(line, holders[self+1:]...) // nobody waits for these, but one of them may have it
		within, cancel := context.WithTimeout(ctx, fetchWithin)
		defer cancel()
		_, err = into.FetchWithin(within, c, most, nil, line...)
	}
	if err != nil {
		return fmt.Errorf("segment %d: %w", e.Number, err)
	}
	return nil
}

// Outline reads a segment's file and gives what its holder answers audits from. ErrPiece means that nobody can: what is recorded is not of this file.
func Outline(ctx context.Context, in Opener, e proof.Entry) (proof.Outline, error) {
	h, err := held(e)
	if err != nil {
		return proof.Outline{}, err
	}
	o, err := holder.Outline(ctx, in, h)
	if err != nil {
		return proof.Outline{}, fmt.Errorf("segment %d: %w", e.Number, err)
	}
	return o, nil
}

func held(e proof.Entry) (holder.Held, error) {
	c, err := address(e)
	return holder.Held{CID: c, Piece: e.Piece}, err
}

func address(e proof.Entry) (cid.Cid, error) {
	c, err := cid.Cast(e.Address)
	if err != nil {
		return cid.Undef, fmt.Errorf("segment %d: %w", e.Number, err)
	}
	return c, nil
}
