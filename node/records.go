package node

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/seat"
)

// records are the chain's rows as the gateway's guide reads them: who holds a segment of the archive, and who keeps parts of an object.
type records struct {
	mu       sync.Mutex
	segments map[string]uint64 // numbers by the hash of their address
	last     uint64            // up to this one they are known
}

// rows are what the chain says of them.
type rows interface {
	Segments(ctx context.Context, from uint64) ([]ledger.Segment, error)
	Copies(ctx context.Context, segment uint64, node []byte) (ledger.Copies, error)
	Keepers(ctx context.Context, object cid.Cid) ([][32]byte, error)
}

// of gives who keeps a content, whoever has its own blocks first, each once. Nobody is no error.
func (r *records) of(ctx context.Context, chain rows, c cid.Cid) ([]peer.ID, error) {
	if c.Version() == 0 {
		c = cid.NewCidV1(c.Type(), c.Hash())
	}
	keys, err := chain.Keepers(ctx, c)
	if err != nil {
		return nil, err
	}
	number, known, err := r.segment(ctx, chain, c)
	if err != nil {
		return nil, err
	}
	if known {
		copies, err := chain.Copies(ctx, number, nil)
		if err != nil && !ledger.IsNotFound(err) { // it has no place yet
			return nil, err
		}
		keys = append(keys, copies.Held...)
	}
	var list []peer.ID
	var wrong error
	for _, key := range keys {
		id, err := seat.PeerOf(key)
		if wrong = errors.Join(wrong, err); err == nil && !slices.Contains(list, id) {
			list = append(list, id)
		}
	}
	return list, wrong
}

// segment finds the number of the segment with an address. What was recorded since the last question is read first.
func (r *records) segment(ctx context.Context, chain rows, c cid.Cid) (number uint64, known bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if number, known = r.segments[string(c.Hash())]; known {
		return number, true, nil
	}
	list, err := chain.Segments(ctx, r.last+1)
	if err != nil {
		return 0, false, err
	}
	if r.segments == nil {
		r.segments = map[string]uint64{}
	}
	for _, s := range list {
		if at, err := cid.Cast(s.Entry.Address); err == nil {
			r.segments[string(at.Hash())] = s.Number
		}
		r.last = s.Number
	}
	number, known = r.segments[string(c.Hash())]
	return number, known, nil
}
