package store

import (
	"context"
	"fmt"

	"github.com/ipfs/boxo/blockservice"
	"github.com/ipfs/boxo/blockstore"
	"github.com/ipfs/boxo/ipld/merkledag"
	blockfmt "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
)

// FetchTo is Fetch, and Export or with over Replace, at once: what has come is written beside the target while the rest is on its way, and takes its place when all is here and durable. fetching says why
// not all came, writing why it is not at hostPath; one of them alone, if any. progress is told of the bytes that come, and of those that are written when nothing more comes.
func (s *Store) FetchTo(ctx context.Context, c cid.Cid, hostPath string, over bool, progress func(Progress)) (fetching, writing error) {
	release, err := s.gate.enter(ctx)
	if err != nil {
		return fmt.Errorf("fetch %s: %w", c, err), nil
	}
	defer release()
	outer := ctx
	ctx, cancel := context.WithCancel(outer)
	defer cancel()
	b := &awaited{Blockstore: s.service.Blockstore(), arrivals: &s.blocks.arrivals, over: make(chan struct{})}
	go func() { // waited for below
		defer close(b.over)
		_, b.err = s.bring(ctx, c, s.cfg.MaxFetch, progress, 0)
	}()
	service := blockservice.New(b, nil)
	e := s.exporting(service, merkledag.NewDAGService(service), over, 0)
	e.after = func(context.Context) error { <-b.over; return b.err }
	writing = e.export(ctx, c, hostPath, 0, func(p Progress) {
		select {
		case <-b.over:
			progress(p)
		default:
		}
	})
	select {
	case <-b.over:
	default: // it cannot be written: the rest is not wanted; or the fetch is about to end as well
		if cancel(); outer.Err() == nil {
			<-b.over
			return nil, writing
		}
		<-b.over
	}
	if b.err != nil {
		return b.err, nil
	}
	return nil, writing
}

// awaited reads blocks of a DAG that is being fetched: one that is not here yet is waited for until the fetch is over.
type awaited struct {
	blockstore.Blockstore
	arrivals *arrivals
	over     chan struct{}
	err      error // of the fetch; to be read when it is over
}

// Get gives a block, sooner or later.
func (b *awaited) Get(ctx context.Context, c cid.Cid) (blockfmt.Block, error) {
	block, err := b.Blockstore.Get(ctx, c)
	if !ipld.IsNotFound(err) {
		return block, err
	}
	here, done := b.arrivals.wait(c.Hash())
	defer done()
	block, err = b.Blockstore.Get(ctx, c) // it may have come before that
	if !ipld.IsNotFound(err) {
		return block, err
	}
	select {
	case <-here:
	case <-b.over:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return b.Blockstore.Get(ctx, c)
}
