package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/chain/full"
	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/proof"
	"github.com/hpips/hpips/store/archive"
)

// listed is an entry of the archive's list as one node tells it to another. Nothing of it is believed: other segments have other blocks, and those are refused.
type listed struct {
	Number  uint64   `cbor:"n"`
	From    int64    `cbor:"f"`
	To      int64    `cbor:"t"`
	Address []byte   `cbor:"a"`
	Root    [32]byte `cbor:"r"`
	Size    uint64   `cbor:"s"`
}

func (l listed) entry() proof.Entry {
	return proof.Entry{Number: l.Number, From: l.From, To: l.To, Address: l.Address, Piece: proof.Piece{Root: l.Root, Size: l.Size}}
}

// list is what this node tells of the archive, from a number on.
func list(ctx context.Context, window *ledger.Ledger, from uint64) (all []listed, err error) {
	segments, err := window.Segments(ctx, from)
	for _, s := range segments[:min(len(segments), maxListed)] {
		e := s.Entry
		all = append(all, listed{e.Number, e.From, e.To, e.Address, e.Piece.Root, e.Piece.Size})
	}
	return all, err
}

// Rebuilding tells how far the rebuilding of a home is.
type Rebuilding struct {
	From     peer.ID // whose list it follows
	Segments int     // of the list
	Done     int     // of them, applied
	Height   int64   // last block that was read
}

// How long a rebuilding waits for somebody who knows the chain, for another one, and for one segment.
const (
	listWithin    = time.Minute
	otherWithin   = 5 * time.Second // once a list was wrong
	segmentWithin = 10 * time.Minute
)

// maxSegments bounds the list that somebody tells: forty years of segments of three hours.
const maxSegments = 1 << 17

// Rebuild makes the chain part of a home anew from the archive alone: the list comes from any node that was joined, segments by their addresses from whoever has them, and what is applied is what two thirds of each block's
// committee signed and agrees with the trust point. The node of the home must not run. A list that leads to other blocks is put aside, and another node's is tried.
func Rebuild(ctx context.Context, cfg Config, tell func(Rebuilding)) (_ full.Rebuilt, err error) {
	cfg.Provide = false
	if err := cfg.Check(); err != nil {
		return full.Rebuilt{}, err
	}
	h, err := openHome(cfg.Home)
	if err != nil {
		return full.Rebuilt{}, err
	}
	log, file, err := openLog(cfg.Home, cfg.LogLevel, cfg.LogFormat, cfg.Stderr)
	if err != nil {
		return full.Rebuilt{}, errors.Join(err, h.close())
	}
	m := &member{log: log, dir: cfg.Home, label: cfg.Label}
	defer func() { err = errors.Join(err, m.close(), file.Close(), h.close()) }()
	if err := m.identify(); err != nil {
		return full.Rebuilt{}, err
	}
	if err := m.join(cfg); err != nil {
		return full.Rebuilt{}, err
	}
	c, err := openChain(m, cfg, role{})
	if err != nil {
		return full.Rebuilt{}, err
	}
	ctx, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- m.host.Serve(ctx) }()
	defer func() {
		stop()
		<-served
	}()
	return c.rebuild(ctx, m, tell)
}

func (c *chaining) rebuild(ctx context.Context, m *member, tell func(Rebuilding)) (full.Rebuilt, error) {
	nobody := &job.Failure{Code: job.CodeUnavailable, Message: "nobody who can be reached knows this chain's archive", Hint: "name a node of the chain: hpips chain rebuild --from-ipfs --join MULTIADDR"}
	if err := full.Abandon(c.path()); err != nil {
		return full.Rebuilt{}, err
	}
	if !c.fresh() {
		return full.Rebuilt{}, fmt.Errorf("%s: %w", c.path(), full.ErrHasBlocks)
	}
	early, cancel := context.WithTimeout(ctx, listWithin)
	defer cancel()
	if !c.await(early) {
		return full.Rebuilt{}, errors.Join(ctx.Err(), nobody)
	}
	late := time.NewTimer(listWithin)
	defer late.Stop()
	settings, err := c.settings()
	if err != nil {
		return full.Rebuilt{}, err
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	tried := map[peer.ID]bool{}
	var failed error
	for {
		for _, from := range c.others() {
			if tried[from] {
				continue
			}
			entries, err := c.entries(ctx, from)
			if err != nil || len(entries) == 0 {
				c.log.Debug("A node gives no list of the archive", "peer", from, "err", err)
				continue
			}
			tried[from] = true
			got, err := c.follows(ctx, m, settings, from, entries, tell)
			if err == nil || ctx.Err() != nil || errors.Is(err, full.ErrHasBlocks) {
				return got, err
			}
			failed = fmt.Errorf("by the list of %s: %w", from, err)
			c.log.Warn("A list of the archive leads nowhere", "peer", from, "err", err)
			late.Reset(otherWithin)
		}
		select {
		case <-ctx.Done():
			return full.Rebuilt{}, ctx.Err()
		case <-late.C:
			if failed != nil {
				return full.Rebuilt{}, failed
			}
			return full.Rebuilt{}, nobody
		case <-tick.C:
		}
	}
}

// entries asks one node for the whole list.
func (c *chaining) entries(ctx context.Context, from peer.ID) (all []proof.Entry, err error) {
	for next := int64(1); ; {
		a, err := askChain(ctx, c.host, from, chainAsk{What: askArchive, From: uint64(len(all)) + 1})
		if err != nil || len(a.Segments) == 0 {
			return all, err
		}
		if len(all)+len(a.Segments) > maxSegments {
			return nil, fmt.Errorf("a list of more than %d segments", maxSegments)
		}
		for _, l := range a.Segments {
			e := l.entry()
			if err := e.Check(); err != nil {
				return nil, err
			}
			if e.Number != uint64(len(all))+1 || e.From != next {
				return nil, fmt.Errorf("segment %d from block %d in the place of %d from block %d", e.Number, e.From, len(all)+1, next)
			}
			all, next = append(all, e), e.To+1
		}
	}
}

// follows rebuilds the home by one list. While one segment is applied the next one comes.
func (c *chaining) follows(ctx context.Context, m *member, settings full.Config, from peer.ID, entries []proof.Entry, tell func(Rebuilding)) (full.Rebuilt, error) {
	ctx, stop := context.WithCancel(ctx)
	var fetching sync.WaitGroup
	defer fetching.Wait() // the store is closed after this
	defer stop()
	come := make([]chan error, len(entries))
	for i := range come {
		come[i] = make(chan error, 1)
	}
	fetch := func(i int) {
		if i < len(entries) {
			fetching.Go(func() { come[i] <- c.fetchSegment(ctx, m, entries[i]) })
		}
	}
	fetch(0)
	at := Rebuilding{From: from, Segments: len(entries)}
	return full.Rebuild(ctx, settings, func(yield func([]byte, error) bool) {
		for i, e := range entries {
			tell(at)
			err := <-come[i]
			fetch(i + 1)
			if err == nil {
				err = m.blocksOf(ctx, e, func(height int64, block []byte) bool {
					at.Height = height
					return yield(block, nil)
				})
			}
			if errors.Is(err, errEnough) {
				return
			}
			if err != nil {
				yield(nil, fmt.Errorf("segment %d: %w", e.Number, err))
				return
			}
			at.Done++
		}
		tell(at)
	})
}

func (c *chaining) fetchSegment(ctx context.Context, m *member, e proof.Entry) error {
	address, err := cid.Cast(e.Address)
	if err != nil {
		return err
	}
	if e.Piece.Size > archive.MaxBytes+2*archive.MaxBlock {
		return fmt.Errorf("%d bytes are more than a segment has", e.Piece.Size)
	}
	ctx, cancel := context.WithTimeout(ctx, segmentWithin)
	defer cancel()
	_, err = m.store.FetchWithin(ctx, address, 2*int64(e.Piece.Size)+1<<20, nil, c.others()...)
	return err
}

// errEnough ends the reading of a segment whose blocks are not wanted any more.
var errEnough = errors.New("who takes blocks has enough")

// blocksOf gives the blocks of a segment that is in the store.
func (m *member) blocksOf(ctx context.Context, e proof.Entry, take func(int64, []byte) bool) error {
	address, err := cid.Cast(e.Address)
	if err != nil {
		return err
	}
	r, err := m.store.Open(ctx, address)
	if err != nil {
		return err
	}
	defer r.Close()
	read, err := archive.Read(io.Reader(r), func(height int64, block []byte) error {
		if !take(height, block) {
			return errEnough
		}
		return nil
	})
	if err == nil && (read.CID != address || read.From != e.From || read.To != e.To) {
		err = fmt.Errorf("%w: it has blocks %d to %d, listed are %d to %d", archive.ErrNotOurs, read.From, read.To, e.From, e.To)
	}
	return err
}
