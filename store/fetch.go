package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	blockfmt "github.com/ipfs/go-block-format"

	"github.com/ipfs/boxo/exchange"
	"github.com/ipfs/boxo/verifcid"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/libp2p/go-libp2p/core/peer"
)

// What one pull asks for at a time. The bytes cover 50 ms at 300 MiB/s twice over; the
// count bounds memory when links lie about sizes.
const (
	batchWants = 16
	maxBatches = 16
	pullBytes  = 32 << 20
	leastClaim = 16 << 10 // bytes that a want counts at least
	dialTime   = 10 * time.Second
	stallTime  = 15 * time.Second // longer than patience, which comes first
)

// Fetch brings the whole DAG under c to this disk, asking only for blocks that are missing,
// makes it durable, and returns the bytes of blocks that came from peers. The peers named
// in from are connected to first when they are not. When ctx ends by its deadline the
// error is ErrNotFound and tells how many peers were asked. It may be called again and
// goes on where it stopped.
func (s *Store) Fetch(ctx context.Context, c cid.Cid, progress func(Progress), from ...peer.ID) (int64, error) {
	return s.FetchWithin(ctx, c, s.cfg.MaxFetch, progress, from...)
}

// FetchBehind is FetchWithin from one peer that may be getting the content itself just now: what it does not have yet it sends as it comes, while each batch of blocks is there within wait, 60 s at most. Else the
// error is ErrNotFound, and what came stays until GC. Nobody else is asked.
func (s *Store) FetchBehind(ctx context.Context, c cid.Cid, most int64, wait time.Duration, from peer.ID) (int64, error) {
	return s.fetch(ctx, c, most, nil, min(wait, maxWait*time.Second), from)
}

// FetchWithin is Fetch of a DAG of most bytes of blocks, those already here too; 0 is no limit. More is ErrTooLarge; what came stays until GC.
func (s *Store) FetchWithin(ctx context.Context, c cid.Cid, most int64, progress func(Progress), from ...peer.ID) (int64, error) {
	return s.fetch(ctx, c, most, progress, 0, from...)
}

// FetchVia is Fetch from something else than peers: by gives blocks, or fails and goes on failing, also when asked for nothing. Nobody else is asked. The hashes of what it gives are checked.
func (s *Store) FetchVia(ctx context.Context, c cid.Cid, by exchange.Fetcher, progress func(Progress)) (int64, error) {
	release, err := s.gate.enter(ctx)
	if err != nil {
		return 0, fmt.Errorf("fetch %s: %w", c, err)
	}
	defer release()
	if s.whole.has(c) {
		return 0, nil
	}
	mark := s.blocks.mark()
	n, err := s.follow(ctx, c, &pull{by: by, meter: newMeter(progress, 0), most: s.cfg.MaxFetch})
	return n, errors.Join(err, s.blocks.flushSince(ctx, mark))
}

func (s *Store) fetch(ctx context.Context, c cid.Cid, most int64, progress func(Progress), wait time.Duration, from ...peer.ID) (int64, error) {
	release, err := s.gate.enter(ctx)
	if err != nil {
		return 0, fmt.Errorf("fetch %s: %w", c, err)
	}
	defer release()
	return s.bring(ctx, c, most, progress, wait, from...)
}

// bring is fetch of somebody who has passed the gate.
func (s *Store) bring(ctx context.Context, c cid.Cid, most int64, progress func(Progress), wait time.Duration, from ...peer.ID) (int64, error) {
	if s.whole.has(c) {
		return 0, nil
	}
	s.connect(ctx, from)
	mark := s.blocks.mark()
	n, err := s.pull(ctx, c, most, progress, wait, from)
	if flushErr := s.blocks.flushSince(ctx, mark); err == nil && flushErr != nil {
		return n, fmt.Errorf("fetch %s: %w", c, flushErr)
	}
	return n, err
}

// connect dials the peers that are not connected, all at once; bitswap asks every
// connected peer. A peer that cannot be reached is only logged: another may have it.
func (s *Store) connect(ctx context.Context, from []peer.ID) {
	if s.host == nil || len(from) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	_ = inParallel(8, from, func(p peer.ID) error {
		if p == s.host.ID() {
			return nil
		}
		if err := s.host.Connect(ctx, s.host.Peerstore().PeerInfo(p)); err != nil {
			s.log.Debug("peer with content not reached", "peer", p, "error", err)
		}
		return nil
	})
}

// pull is one walk over a DAG in the order in which its files are read: a stack of wants, of which a window is on the wire.
type pull struct {
	s       *Store
	from    []peer.ID        // who is known to have it, or to get it: asked before the exchange
	wait    time.Duration    // for which they may put an answer off
	session context.Context  // of the fetcher; ended and replaced after a stall
	end     func()           // ends it
	fetcher exchange.Fetcher // nil when offline
	by      exchange.Fetcher // in the place of peers; nil: they are asked
	meter   *meter
	came    atomic.Int64 // blocks that came from peers
	seen    *cid.Set
	todo    []want
	flying  int // batches on the wire
	bytes   uint64
	total   int64 // bytes of blocks seen, those already here too
	most    int64 // that total may be; 0 is no limit
	landed  chan landing
}

// landing is a batch that came back.
type landing struct {
	claim  uint64
	below  []want
	bytes  int64
	absent []want // wanted in a session that was ended for a stall
	err    error
}

func (s *Store) pull(ctx context.Context, root cid.Cid, most int64, progress func(Progress), wait time.Duration, from []peer.ID) (int64, error) {
	return s.follow(ctx, root, &pull{meter: newMeter(progress, 0), from: from, wait: wait, most: most})
}

// follow brings what is missing under root.
func (s *Store) follow(ctx context.Context, root cid.Cid, p *pull) (int64, error) {
	p.s, p.seen, p.landed, p.todo = s, cid.NewSet(), make(chan landing, maxBatches), []want{{cid: root}}
	mark := s.whole.mark()
	p.begin(ctx)
	err := p.run(ctx)
	p.end()
	for ; p.flying > 0; p.flying-- {
		<-p.landed
	}
	n := p.meter.done()
	if err != nil {
		if cause := ctx.Err(); cause != nil {
			err = cause
		}
		return n, s.missing("fetch", root, err)
	}
	s.whole.note(root, mark)
	return n, nil
}

// begin opens a session of the exchange.
func (p *pull) begin(ctx context.Context) {
	p.session, p.end = context.WithCancel(ctx)
	switch {
	case p.by != nil:
		p.fetcher = p.by
	case p.s.swap != nil:
		p.fetcher = p.s.swap.NewSession(p.session)
	}
}

// run keeps the window full until nothing is left. When no block at all comes for a while
// it ends the session and says what is missing in a fresh one: a peer may have promised
// and not sent, and a session of boxo can forget wants (boxo issue 1064).
func (p *pull) run(ctx context.Context) error {
	watch := time.NewTicker(p.s.stall + p.wait)
	defer watch.Stop()
	if p.by != nil { // it has its own times, and what is broken off may have cost something
		watch.Stop()
	}
	var before int64
	for {
		if err := p.launch(ctx); err != nil {
			return err
		}
		if p.flying == 0 {
			return nil
		}
		select {
		case l := <-p.landed:
			p.flying--
			if err := p.land(ctx, l); err != nil {
				return err
			}
		case <-watch.C:
			if now := p.came.Load(); now > before {
				before = now
				continue
			}
			p.s.log.Debug("fetch stalls, asking anew", "batches", p.flying)
			p.end()
			for p.flying > 0 {
				l := <-p.landed
				p.flying--
				if err := p.land(ctx, l); err != nil {
					return err
				}
			}
			p.from = nil // they had their turn, and a silent one would be waited for each time
			p.begin(ctx)
		}
	}
}

// land takes in what a batch brought.
func (p *pull) land(ctx context.Context, l landing) error {
	p.bytes -= l.claim
	if l.err != nil {
		return l.err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, w := range l.absent {
		p.seen.Remove(w.cid)
	}
	p.later(l.below)
	p.todo = append(p.todo, l.absent...)
	p.total += l.bytes
	if p.most > 0 && p.total > p.most {
		return fmt.Errorf("%w: more than %d bytes", ErrTooLarge, p.most)
	}
	return nil
}

// later lays the links of a block onto the stack, the first on top.
func (p *pull) later(below []want) {
	slices.Reverse(below)
	p.todo = append(p.todo, below...)
}

// launch fills the window with batches of missing blocks.
func (p *pull) launch(ctx context.Context) error {
	for p.flying < maxBatches && p.bytes < pullBytes && len(p.todo) > 0 {
		batch, claim, err := p.missing(ctx)
		if err != nil {
			return err
		}
		if len(batch) == 0 {
			continue
		}
		if p.fetcher == nil {
			return ipld.ErrNotFound{Cid: batch[0].cid}
		}
		p.flying++
		p.bytes += claim
		session, fetcher := p.session, p.fetcher
		go func() { // waited for by pull, which counts flying down
			l := p.get(session, fetcher, batch)
			l.claim = claim
			p.landed <- l
		}()
	}
	return nil
}

// missing pops wants until a batch of blocks that are not here is full; blocks that are
// here are walked on the way.
func (p *pull) missing(ctx context.Context) (batch []want, claim uint64, err error) {
	for len(batch) < batchWants && claim < pullBytes/4 && len(p.todo) > 0 {
		w := p.todo[len(p.todo)-1]
		p.todo = p.todo[:len(p.todo)-1]
		if !p.seen.Visit(w.cid) {
			continue
		}
		if err := verifcid.ValidateCid(verifcid.DefaultAllowlist, w.cid); err != nil {
			return nil, 0, fmt.Errorf("block %s: %w", w.cid, err)
		}
		here, err := p.local(ctx, w.cid)
		if err != nil {
			return nil, 0, err
		}
		if !here {
			batch = append(batch, w)
			claim += min(max(w.size, leastClaim), chunkSize)
		}
	}
	return batch, claim, ctx.Err()
}

func (p *pull) local(ctx context.Context, c cid.Cid) (bool, error) {
	if isNothing(c) {
		return true, p.s.keepNothing(ctx, c)
	}
	bs := p.s.service.Blockstore()
	if c.Prefix().Codec == cid.Raw {
		size, err := bs.GetSize(ctx, c)
		if ipld.IsNotFound(err) {
			return false, nil
		}
		p.total += int64(size)
		return err == nil, err
	}
	block, err := bs.Get(ctx, c)
	if ipld.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	below, err := linksOf(block)
	p.later(below)
	p.total += int64(len(block.RawData()))
	return true, err
}

// get asks for a batch, puts what comes, and gathers the links and what did not come.
func (p *pull) get(session context.Context, fetcher exchange.Fetcher, batch []want) (l landing) {
	waiting := make(map[cid.Cid]want, len(batch))
	keys := make([]cid.Cid, 0, len(batch))
	for _, w := range batch {
		waiting[w.cid] = w
		keys = append(keys, w.cid)
	}
	if err := p.direct(session, keys, waiting, &l); err != nil {
		return landing{err: err}
	}
	if len(waiting) == 0 {
		return l
	}
	if p.wait > 0 {
		return landing{err: fmt.Errorf("%w: %d blocks did not come from %v within %v", ErrNotFound, len(waiting), p.from, p.wait)}
	}
	keys = keys[:0]
	for c := range waiting {
		keys = append(keys, c)
	}
	found, err := fetcher.GetBlocks(session, keys)
	if err != nil && session.Err() == nil {
		return landing{err: err}
	}
	if err == nil {
		for block := range found {
			if p.by != nil && !matches(block.Cid().Hash(), block.RawData()) {
				return landing{err: fmt.Errorf("block %s: other bytes came", block.Cid())}
			}
			below, err := p.take(session, block)
			if err != nil {
				return landing{err: err}
			}
			delete(waiting, block.Cid())
			l.below = append(l.below, below...)
			l.bytes += int64(len(block.RawData()))
		}
	}
	if len(waiting) == len(keys) && session.Err() == nil { // or run would ask for ever
		return landing{err: cmp.Or(p.failure(session), errors.New("the exchange is closed"))}
	}
	for _, w := range waiting {
		l.absent = append(l.absent, w)
	}
	return l
}

// failure is why what stands in the place of peers gives nothing any more.
func (p *pull) failure(session context.Context) error {
	if p.by == nil {
		return nil
	}
	_, err := p.by.GetBlocks(session, nil)
	return err
}

// direct asks the peers that are known to have the content, one after the other, and takes what comes off waiting. A peer that does not
// answer is no error: the exchange is asked for what is left.
func (p *pull) direct(session context.Context, keys []cid.Cid, waiting map[cid.Cid]want, l *landing) error {
	var failed error
	for _, from := range p.from {
		if len(waiting) == 0 || session.Err() != nil || from == p.s.host.ID() {
			break
		}
		err := p.s.askDirect(session, from, slices.DeleteFunc(slices.Clone(keys), func(c cid.Cid) bool { _, wanted := waiting[c]; return !wanted }), p.wait,
			func(block blockfmt.Block) error {
				below, err := p.take(session, block)
				if err != nil {
					failed = err
					return err
				}
				delete(waiting, block.Cid())
				l.below = append(l.below, below...)
				l.bytes += int64(len(block.RawData()))
				return nil
			})
		if failed != nil {
			return failed
		}
		if err != nil {
			p.s.log.Debug("Peer does not answer for its blocks", "peer", from, "err", err)
		}
	}
	return nil
}

// take stores a block, whose hash bitswap has checked, offers it to peers that wait, and
// gives its links.
func (p *pull) take(session context.Context, block blockfmt.Block) ([]want, error) {
	below, err := linksOf(block)
	if err != nil {
		return nil, err
	}
	if err := p.s.blocks.Put(context.WithoutCancel(session), block); err != nil {
		return nil, err
	}
	p.came.Add(1)
	p.meter.add(1, int64(len(block.RawData())), "")
	if p.s.swap == nil {
		return below, nil
	}
	return below, p.s.swap.NotifyNewBlocks(context.WithoutCancel(session), block)
}
