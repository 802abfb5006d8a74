package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/seat"
	"github.com/hpips/hpips/spec/proof"
	"github.com/hpips/hpips/store"
	"github.com/hpips/hpips/store/replica"
)

// keeper keeps parts of deals on its node's disk, as many as the owner offers room for, and says so; and holds the parts of its own user's deals until others have them.
//
//	offered by the chain → brought here from the maker, or made again from other parts → said → answered for each day (holder) → let go when the chain has it no more
//
// A part's pin in the store is all that it remembers.
type keeper struct {
	log   *slog.Logger
	c     *chaining
	store *store.Store
	terms Keeping

	mu    sync.Mutex
	pins  map[proof.Part]cid.Cid // what is here; nil until it was looked up
	sizes map[proof.Part]uint64

	said   map[proof.Part]uint64 // epoch in which the chain was told of a part
	stated uint64                // epoch in which it was told what the node offers, or that it leaves
	tries  tries                 // of parts that did not come
	made   map[cid.Cid]time.Time // since when parts of the user's own are known to lie here
}

const (
	keepEvery      = 5 * time.Second  // from half of it on, by lot: who always looked at the end of an epoch would always be too late with its word
	manifestWithin = time.Minute      // a manifest comes
	partWithin     = 30 * time.Second // a part comes, and a second for each MiB more, but for
	partAtMost     = 5 * time.Minute  // what came stays, and the next try goes on from there: nobody holds up the others
	dealWithin     = time.Hour        // so long parts that were made here stay at least: their deal may be still to come
	manyParts      = 16               // tried at one look
)

func newKeeper(m *member, cfg Config) *keeper {
	return &keeper{log: m.log.With("room", "deals"), c: m.chain, store: m.store, terms: cfg.Keep, sizes: map[proof.Part]uint64{}, said: map[proof.Part]uint64{}, tries: newTries(time.Now), made: map[cid.Cid]time.Time{}}
}

// find tells by which address a part is pinned.
func (k *keeper) find(p proof.Part) (cid.Cid, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c, ok := k.pins[p]
	return c, ok
}

// lost forgets a part whose bytes are not what they were: it is brought here again.
func (k *keeper) lost(p proof.Part) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.pins, p)
}

// Serve follows the chain until ctx ends.
func (k *keeper) Serve(ctx context.Context) error {
	tick := time.NewTicker(archiveEvery)
	defer tick.Stop()
	for {
		if life := k.c.running(); life != nil {
			if err := k.look(ctx, life); err != nil && ctx.Err() == nil {
				k.log.Debug("Deals wait", "err", err)
			}
		}
		rest := time.NewTimer(keepEvery/2 + rand.N(keepEvery/2))
		select {
		case <-ctx.Done():
		case <-rest.C:
		}
		rest.Stop()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		case <-k.c.dealt:
		}
	}
}

// look does what is due at the chain's head.
func (k *keeper) look(ctx context.Context, life *chainLife) error {
	h, ok := k.c.seat.Head()
	if !ok || h.CatchingUp {
		return nil
	}
	if err := k.remember(ctx); err != nil {
		return err
	}
	handed := k.hand(ctx, life)
	if !h.Place.Registered {
		return handed
	}
	node := public(k.c.keys.Node)
	kept, err := life.ledger.KeptParts(ctx, node[:])
	if err != nil {
		return errors.Join(handed, err)
	}
	task, err := life.ledger.Task(ctx, [32]byte(node))
	if err != nil {
		return errors.Join(handed, err)
	}
	for p, size := range kept {
		k.sizes[p] = size
	}
	if task.Holder.Standing == "away" { // the archivist says that it is there; what it had it may take up again then
		return handed
	}
	bond, err := life.ledger.Bond(ctx, node[:])
	if err != nil {
		return errors.Join(handed, err)
	}
	goes := k.terms.Size == 0 || bond.Leaves // a bond is not returned while its node keeps parts
	gone := k.drop(ctx, life, kept, h.Epoch.Number, goes || task.Holder.Leaving)
	if err := k.state(ctx, life, h.Epoch.Number, task.Holder, goes, len(kept) > 0); err != nil {
		return errors.Join(handed, gone, err)
	}
	again := k.again(ctx, life, kept)
	if goes || task.Holder.Leaving {
		return errors.Join(handed, gone, again)
	}
	return errors.Join(handed, gone, again, k.take(ctx, life, h.Epoch.Number))
}

// state says, once in an epoch, how much the node offers, or that it leaves, where the chain thinks something else. Who goes and keeps nothing offers nothing.
func (k *keeper) state(ctx context.Context, life *chainLife, epoch uint64, now ledger.PieceHolder, goes, keeps bool) error {
	word := proof.Keep{Epoch: epoch, Leaves: goes && (keeps || now.Leaving)}
	if !goes {
		word.Offer = k.terms.mib()
	}
	if k.stated == epoch || word.Leaves == now.Leaving && (word.Leaves || word.Offer == now.Offer) {
		return nil
	}
	if err := k.say(ctx, life, word); err != nil {
		return err
	}
	k.stated = epoch
	return nil
}

// remember reads what is pinned, once.
func (k *keeper) remember(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pins != nil {
		return nil
	}
	pins, err := k.store.Pins(ctx)
	if err != nil {
		return err
	}
	found := map[proof.Part]cid.Cid{}
	for _, p := range pins {
		var part proof.Part
		if text, ours := strings.CutPrefix(p.Name, k.c.genesis.summary.ChainID+" deal "); ours {
			if n, err := fmt.Sscanf(text, "%d/%d", &part.Deal, &part.Number); err == nil && n == 2 {
				found[part] = p.CID
			}
		}
	}
	k.pins = found
	return nil
}

// pin is what the pin of a part is called.
func (k *keeper) pin(p proof.Part) string {
	return fmt.Sprintf("%s deal %d/%d", k.c.genesis.summary.ChainID, p.Deal, p.Number)
}

// drop lets parts go that the chain does not list in this node's row: their deals are over, or others have them. What nobody has since this node was away it takes up again, a few at a time: nobody has to make it anew.
func (k *keeper) drop(ctx context.Context, life *chainLife, kept map[proof.Part]uint64, epoch uint64, goes bool) (err error) {
	k.mu.Lock()
	var unlisted []proof.Part
	for p := range k.pins {
		if _, listed := kept[p]; !listed && k.said[p] != epoch && !k.tries.rests(p) {
			unlisted = append(unlisted, p)
		}
	}
	k.mu.Unlock()
	slices.SortFunc(unlisted, proof.Part.Compare)
	node := public(k.c.keys.Node)
	for _, p := range unlisted[:min(len(unlisted), manyParts)] {
		delete(k.said, p)
		ours, wrong := life.ledger.LastKept(ctx, p, node[:])
		if wrong != nil && !ledger.IsNotFound(wrong) {
			return errors.Join(err, wrong)
		}
		if ours && !goes {
			err = errors.Join(err, k.reclaim(ctx, life, p, epoch))
		} else {
			err = errors.Join(err, k.release(ctx, p))
		}
	}
	return err
}

// reclaim says that the node has a part again that it kept before it was away. Where the chain says no it waits longer each time, and holds it until another has it, or the deal is over. A word of an epoch that has gone by meanwhile says nothing
// about the part: it is said again at the next look.
func (k *keeper) reclaim(ctx context.Context, life *chainLife, p proof.Part, epoch uint64) error {
	if err := k.say(ctx, life, proof.Keep{Epoch: epoch, Parts: []proof.Part{p}}); err != nil {
		if h, ok := k.c.seat.Head(); !ok || h.Epoch.Number == epoch {
			k.tries.failed(p)
		}
		return err
	}
	k.said[p] = epoch
	return nil
}

// release lets one part go.
func (k *keeper) release(ctx context.Context, p proof.Part) error {
	c, _ := k.find(p)
	k.lost(p)
	k.mu.Lock()
	shared := false // by another deal about the same object
	for _, other := range k.pins {
		shared = shared || other == c
	}
	k.mu.Unlock()
	if shared {
		return nil
	}
	if err := k.store.Unpin(ctx, c); !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return nil
}

// again brings back what this node is to keep and has not.
func (k *keeper) again(ctx context.Context, life *chainLife, kept map[proof.Part]uint64) (err error) {
	for p := range kept {
		if _, here := k.find(p); here || k.tries.rests(p) {
			continue
		}
		if wrong := k.bring(ctx, life, p, true); wrong != nil {
			k.tries.failed(p)
			err = errors.Join(err, wrong)
			continue
		}
		k.tries.done(p)
	}
	return err
}

// take brings parts here that this node may take and wants, and tells the chain.
func (k *keeper) take(ctx context.Context, life *chainLife, epoch uint64) (err error) {
	node := public(k.c.keys.Node)
	offers, err := life.ledger.Offers(ctx, node[:], 0)
	if err != nil {
		return err
	}
	have := proof.Keep{Epoch: epoch}
	tried := 0
	for _, p := range offers.Parts {
		if k.said[p] == epoch || k.tries.rests(p) || tried == manyParts {
			continue
		}
		tried++
		if wrong := k.bring(ctx, life, p, false); wrong != nil {
			k.tries.failed(p)
			err = errors.Join(err, wrong)
			continue
		}
		k.tries.done(p)
		have.Parts = append(have.Parts, p)
	}
	for _, p := range have.Parts { // one word each: that another was faster with one does not spoil the rest
		if wrong := k.say(ctx, life, proof.Keep{Epoch: epoch, Parts: []proof.Part{p}}); wrong != nil {
			err = errors.Join(err, wrong)
			continue
		}
		k.said[p] = epoch
	}
	return err
}

func (k *keeper) say(ctx context.Context, life *chainLife, word proof.Keep) error {
	signature, err := word.Sign(k.c.genesis.summary.ChainID, k.c.keys.Node)
	if err != nil {
		return err
	}
	node := public(k.c.keys.Node)
	_, err = life.ledger.Free(ctx, ledger.SayKeep(node[:], word, signature))
	return err
}

// errUnwanted is why a part is not taken that could be.
var errUnwanted = errors.New("the owner of this node does not want it")

// bring has a part on this disk: a new one from who made the deal, one that was lost from other parts.
func (k *keeper) bring(ctx context.Context, life *chainLife, p proof.Part, due bool) error {
	if _, here := k.find(p); here {
		return nil
	}
	d, parts, err := life.ledger.Deal(ctx, p.Deal)
	if err != nil {
		return err
	}
	piece := d.Pieces[p.Number]
	if !due && (d.Price < k.terms.perMiB() || k.used()+piece.Size > uint64(k.terms.Size)) {
		return fmt.Errorf("part %d of deal %d: %w", p.Number, p.Deal, errUnwanted)
	}
	release, err := k.store.Reserve(ctx)
	if err != nil {
		return err
	}
	defer release()
	of, all := k.sources(d, parts)
	m, err := k.manifest(ctx, d, all)
	if err != nil {
		return err
	}
	if got := m.Size(int(p.Number)); got != piece.Size { //nolint:gosec // below 255
		return fmt.Errorf("part %d of deal %d: the deal says %d bytes, its manifest %d", p.Number, p.Deal, piece.Size, got)
	}
	within := min(partWithin+time.Duration(piece.Size>>20)*time.Second, partAtMost)
	first, err := k.pull(ctx, within, m, p, piece, all)
	if err != nil && d.Kept >= d.Need {
		first, err = k.repair(ctx, within, m, p, piece, of)
	}
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pins[p], k.sizes[p] = first, piece.Size
	k.log.Info("A part of a deal is here", "deal", p.Deal, "part", p.Number, "bytes", piece.Size)
	return nil
}

func (k *keeper) used() (sum uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for p := range k.pins {
		sum += k.sizes[p]
	}
	return sum
}

// sources are the keepers of a deal's parts, by part, and all whom its blocks may be asked of, the maker first.
func (k *keeper) sources(d ledger.Deal, parts []ledger.DealPart) (of, all []peer.ID) {
	if id, err := seat.PeerOf(d.Origin); err == nil {
		all = append(all, id)
	}
	of = make([]peer.ID, d.Parts)
	for _, p := range parts {
		if id, err := seat.PeerOf(p.Key); err == nil && p.Node != "" {
			of[p.Number], all = id, append(all, id)
		}
	}
	self := k.c.host.ID()
	return of, slices.DeleteFunc(all, func(id peer.ID) bool { return id == self })
}

func (k *keeper) manifest(ctx context.Context, d ledger.Deal, from []peer.ID) (replica.Manifest, error) {
	ctx, cancel := context.WithTimeout(ctx, manifestWithin)
	defer cancel()
	m, err := replica.Load(ctx, k.store, d.List, from...)
	if err == nil && (m.Root != d.Root || m.Scheme != d.Scheme) {
		err = fmt.Errorf("deal %d: its manifest is that of %v of %s", d.Number, m.Scheme, m.Root)
	}
	return m, err
}

func (k *keeper) pull(ctx context.Context, within time.Duration, m replica.Manifest, p proof.Part, piece proof.Piece, from []peer.ID) (cid.Cid, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	kept, err := replica.Hold(ctx, k.store, m, int(p.Number), k.pin(p), &piece, from...) //nolint:gosec // below 255
	return kept.CID, err
}

func (k *keeper) repair(ctx context.Context, within time.Duration, m replica.Manifest, p proof.Part, piece proof.Piece, of []peer.ID) (cid.Cid, error) {
	ctx, cancel := context.WithTimeout(ctx, min(within*time.Duration(1+m.Scheme.Need), 2*partAtMost))
	defer cancel()
	kept, err := replica.Repair(ctx, k.store, m, []int{int(p.Number)}, k.pin(p), replica.Peers(k.store, of)) //nolint:gosec // below 255
	if err != nil {
		return cid.Undef, err
	}
	if kept[0].Piece != piece {
		return cid.Undef, errors.Join(fmt.Errorf("part %d of deal %d: the deal lists another piece than its manifest gives", p.Number, p.Deal), k.store.Unpin(ctx, kept[0].CID))
	}
	return kept[0].CID, nil
}

// madePrefix begins the names of pins of parts that were made here, for a deal about the object whose address follows.
const madePrefix = "parts of "

// hand lets go of parts that were made here, after a while, once no part of a deal about their object is new.
func (k *keeper) hand(ctx context.Context, life *chainLife) error {
	pins, err := k.store.Pins(ctx)
	if err != nil {
		return err
	}
	for _, p := range pins {
		text, ours := strings.CutPrefix(p.Name, madePrefix)
		root, wrong := cid.Decode(text)
		if !ours || wrong != nil {
			continue
		}
		since, known := k.made[p.CID]
		if !known {
			since = time.Now()
			k.made[p.CID] = since
		}
		deals, err := life.ledger.DealsAbout(ctx, root)
		if err != nil {
			return err
		}
		wanted := time.Since(since) < dealWithin
		for _, d := range deals {
			_, parts, err := life.ledger.Deal(ctx, d.Number)
			if err != nil && !ledger.IsNotFound(err) {
				return err
			}
			wanted = wanted || slices.ContainsFunc(parts, func(p ledger.DealPart) bool { return p.Why == "new" })
		}
		if !wanted {
			delete(k.made, p.CID)
			if err := k.store.Unpin(ctx, p.CID); err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
		}
	}
	return nil
}
