package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/seat"
	"github.com/hpips/hpips/spec/proof"
	"github.com/hpips/hpips/store"
	"github.com/hpips/hpips/store/archive"
)

// archivist makes the segments of the chain's archive, says what it made where its node has a seat, and keeps those that its node holds and answers for.
//
//	made → said by seats → recorded → held by this node, or let go
//
// A segment's pin in the store is all that it remembers: what is lost is made or pulled again.
type archivist struct {
	log    *slog.Logger
	c      *chaining
	store  *store.Store
	holder *holder
	keeper *keeper // of parts of deals, which are answered for together with segments

	made    *proof.Entry // of the next number, as this node makes it
	epoch   uint64       // in which it was made, and, once it is said, said
	said    bool
	gauge   archive.Gauge
	pins    map[uint64]cid.Cid // what is pinned; nil until it was looked up
	settled uint64             // entries up to here were looked at in this epoch
	looked  uint64             // the epoch in which they were
	missed  time.Time          // until then no pull is tried again
}

// How long after a pull that failed the next one is, and how long at most between two looks.
const (
	pullAgain    = time.Minute
	archiveEvery = 30 * time.Second
)

func newArchivist(m *member) *archivist {
	log := m.log.With("room", "archive")
	return &archivist{log: log, c: m.chain, store: m.store, holder: newHolder(log, m.chain, m.store), keeper: m.keeper}
}

// Serve follows the chain until ctx ends.
func (a *archivist) Serve(ctx context.Context) error {
	tick := time.NewTicker(archiveEvery)
	defer tick.Stop()
	for {
		for more := true; more && ctx.Err() == nil; { // a pull may take long, and the next segment does not wait for all of them
			life := a.c.running()
			if life == nil {
				break
			}
			var err error
			if more, err = a.look(ctx, life); err != nil && ctx.Err() == nil {
				a.log.Debug("The archive waits", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		case <-a.c.sealed:
		}
	}
}

// look does what is due at the chain's head; more tells that there is more to do at once.
func (a *archivist) look(ctx context.Context, life *chainLife) (more bool, err error) {
	h, ok := a.c.seat.Head()
	if !ok || h.CatchingUp {
		return false, nil
	}
	if a.pins == nil {
		if err := errors.Join(a.remember(ctx), a.keeper.remember(ctx)); err != nil {
			return false, err
		}
	}
	next, err := life.ledger.NextSegment(ctx)
	if err != nil {
		return false, err
	}
	if h.Epoch.Number != a.looked {
		a.looked, a.settled = h.Epoch.Number, 0 // others registered, or left: who holds what may be another
	}
	made := a.make(ctx, life, next, h.Epoch.Number)
	said := a.say(ctx, life, next, h.Epoch.Number, h.Place.Seated)
	if !h.Place.Registered { // it holds nothing for others
		more, err = a.keep(ctx, life, next.Number, ledger.PieceHolder{Standing: "away"})
		return more, errors.Join(made, said, err)
	}
	task, err := life.ledger.Task(ctx, [32]byte(public(a.c.keys.Node)))
	if err != nil {
		return false, errors.Join(made, said, err)
	}
	joined := a.holder.join(ctx, life, task, h.Epoch.Number)
	answered := a.holder.answer(ctx, life, task, a.find)
	var gone lost
	switch { // what is lost is made or pulled again before it is answered for; its pin in the store stays: the disk may be away, and come back
	case errors.As(answered, &gone) && gone.of.Segment == 0:
		a.log.Warn("A part of a deal is not what it was", "deal", gone.of.Part.Deal, "part", gone.of.Part.Number, "err", gone.err)
		a.keeper.lost(gone.of.Part)
		answered = nil
	case errors.As(answered, &gone):
		a.log.Warn("A segment of the archive is not what it was", "number", gone.of.Segment, "err", gone.err)
		delete(a.pins, gone.of.Segment)
		a.settled, answered = min(a.settled, gone.of.Segment-1), nil
	}
	more, err = a.keep(ctx, life, next.Number, task.Holder)
	return more, errors.Join(made, said, joined, answered, err)
}

// find tells by which address a piece of the node's row is pinned.
func (a *archivist) find(k ledger.Kept) (cid.Cid, bool) {
	if k.Segment == 0 {
		return a.keeper.find(k.Part)
	}
	c, ok := a.pins[k.Segment]
	return c, ok
}

// remember reads what is pinned.
func (a *archivist) remember(ctx context.Context) error {
	pins, err := a.store.Pins(ctx)
	if err != nil {
		return err
	}
	a.pins = map[uint64]cid.Cid{}
	for _, p := range pins {
		text, ours := strings.CutPrefix(p.Name, a.pin(""))
		if n, err := strconv.ParseUint(text, 10, 64); ours && err == nil {
			a.pins[n] = p.CID
		}
	}
	return nil
}

// pin is what the pin of a segment is called.
func (a *archivist) pin(number string) string {
	return a.c.genesis.summary.ChainID + " segment " + number
}

// make makes the next segment once its blocks are there. What was made in an earlier epoch and is not recorded is made again: the chain's limits may have changed, or the disk may have given something else.
func (a *archivist) make(ctx context.Context, life *chainLife, next ledger.NextSegment, epoch uint64) error {
	if a.made != nil && a.made.Number == next.Number && a.epoch == epoch {
		return nil
	}
	rules, err := life.ledger.Rules(ctx)
	if err != nil {
		return err
	}
	limits := archive.Default(rules.EpochBlocks)
	if whole, err := a.gauge.Whole(life.node.Blocks(), next.From, limits); err != nil || !whole {
		return err
	}
	e, err := a.cut(ctx, life, next.Number, next.From, limits)
	if err != nil {
		return err
	}
	a.made, a.epoch, a.said = &e, epoch, false
	a.log.Debug("A segment is made", "number", e.Number, "from", e.From, "to", e.To)
	return nil
}

// cut makes a segment of this node's blocks and pins it.
func (a *archivist) cut(ctx context.Context, life *chainLife, number uint64, from int64, limits archive.Limits) (proof.Entry, error) {
	release, err := a.store.Reserve(ctx)
	if err != nil {
		return proof.Entry{}, err
	}
	defer release()
	s, _, err := archive.Keep(ctx, a.store, life.node.Blocks(), from, limits)
	if err != nil {
		return proof.Entry{}, fmt.Errorf("segment %d: %w", number, err)
	}
	return proof.Entry{Number: number, From: s.From, To: s.To, Address: s.CID.Bytes(), Piece: s.Piece}, a.hold(ctx, number, s.CID)
}

// hold pins a segment, and lets go of what else went by its number.
func (a *archivist) hold(ctx context.Context, number uint64, c cid.Cid) error {
	if have, ok := a.pins[number]; ok && have != c {
		if err := a.drop(ctx, number); err != nil {
			return err
		}
	}
	if err := a.store.Pin(ctx, c, a.pin(strconv.FormatUint(number, 10))); err != nil {
		return err
	}
	a.pins[number] = c
	return nil
}

func (a *archivist) drop(ctx context.Context, number uint64) error {
	if err := a.store.Unpin(ctx, a.pins[number]); err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	delete(a.pins, number)
	return nil
}

// say tells the chain what was made, if this node has a seat and has not told it.
func (a *archivist) say(ctx context.Context, life *chainLife, next ledger.NextSegment, epoch uint64, seated bool) error {
	if a.made == nil || a.made.Number != next.Number || a.said || !seated {
		return nil
	}
	node := public(a.c.keys.Node)
	for _, w := range next.Said {
		if string(w.Node) == string(node[:]) && (w.Epoch == epoch || w.Entry.Same(*a.made)) {
			a.said = true
			return nil
		}
	}
	signature, err := a.made.Sign(a.c.genesis.summary.ChainID, epoch, a.c.keys.Node)
	if err != nil {
		return err
	}
	if _, err := life.ledger.Free(ctx, ledger.SaySegment(node[:], epoch, *a.made, signature)); err != nil {
		return err
	}
	a.said = true
	return nil
}

// keep goes through what is recorded: what this node holds is made or pulled, and the chain is told; what it does not hold is let go. It comes back with more after each segment that it brought in.
func (a *archivist) keep(ctx context.Context, life *chainLife, next uint64, self ledger.PieceHolder) (more bool, err error) {
	if a.settled+1 >= next || time.Now().Before(a.missed) || self.Standing == "away" && !a.c.cfg.ChainNode.Archive { // who is away says first that it is there, and keeps what it has until then
		return false, nil
	}
	list, err := life.ledger.Segments(ctx, a.settled+1)
	if err != nil {
		return false, err
	}
	var have []uint64 // that the chain is to be told of
	for _, s := range list {
		if s.Point == nil {
			break // the next block places it
		}
		had := len(a.pins)
		tell, err := a.one(ctx, life, s, self)
		if err != nil {
			a.missed = time.Now().Add(pullAgain)
			return false, errors.Join(err, a.tell(ctx, life, have))
		}
		a.settled = s.Number
		if tell {
			have = append(have, s.Number)
		}
		if more = len(a.pins) > had; more || len(have) == proof.MaxHold {
			return true, a.tell(ctx, life, have)
		}
	}
	return false, a.tell(ctx, life, have)
}

// tell says that the node has segments.
func (a *archivist) tell(ctx context.Context, life *chainLife, have []uint64) error {
	have = slices.DeleteFunc(have, func(n uint64) bool { return a.holder.said[n] })
	if len(have) == 0 {
		return nil
	}
	err := a.holder.hand(ctx, life, have...)
	if err != nil {
		a.settled = min(a.settled, have[0]-1)
	}
	return err
}

// one does what is due for one recorded segment; tell: this node has it, and may say so.
func (a *archivist) one(ctx context.Context, life *chainLife, s ledger.Segment, self ledger.PieceHolder) (tell bool, err error) {
	key := public(a.c.keys.Node)
	copies, err := life.ledger.Copies(ctx, s.Number, key[:])
	if err != nil {
		return false, err
	}
	want, err := cid.Cast(s.Entry.Address)
	if err != nil {
		return false, err
	}
	have, pinned := a.pins[s.Number]
	if pinned && have != want {
		a.log.Warn("The archive's record of a segment is not what this node's blocks give", "number", s.Number, "recorded", want, "made", have)
	}
	held := slices.Contains(copies.Held, [32]byte(key))
	switch {
	case !held && !copies.May && !a.c.cfg.ChainNode.Archive:
		if pinned && !self.Thinned { // what it held until today is asked for until tomorrow
			return false, a.drop(ctx, s.Number)
		}
		return false, nil
	case pinned && have == want:
		return copies.May, nil
	}
	if s.From >= life.node.Blocks().Base() {
		exactly := archive.Limits{Bytes: archive.MaxBytes, Blocks: int(s.To - s.From + 1)}
		if e, err := a.cut(ctx, life, s.Number, s.From, exactly); err == nil && e.Same(s.Entry) {
			return copies.May, nil
		} else if err == nil {
			a.log.Warn("The archive's record of a segment is not what this node's blocks give", "number", s.Number, "recorded", want)
		}
	}
	line := copies.Line
	if !held && !slices.Contains(line, [32]byte(key)) { // it fills the place of who did not say so
		line = copies.Held
	}
	return copies.May, a.pull(ctx, s, want, line, slices.Index(line, [32]byte(key)))
}

// pull brings a segment from the other holders, and looks whether it is what was recorded.
func (a *archivist) pull(ctx context.Context, s ledger.Segment, c cid.Cid, holders [][32]byte, mine int) error {
	line := make([]peer.ID, 0, len(holders))
	for _, key := range holders {
		p, err := seat.PeerOf(key)
		if err != nil {
			return err
		}
		line = append(line, p)
	}
	if mine < 0 { // this node keeps everything
		line, mine = append(line, a.c.host.ID()), len(line)
	}
	release, err := a.store.Reserve(ctx)
	if err != nil {
		return err
	}
	defer release()
	if err := archive.Pull(ctx, a.store, s.Entry, line, a.c.others(), mine, archive.Patience); err != nil {
		return err
	}
	if _, err := archive.Outline(ctx, a.store, s.Entry); err != nil {
		return err
	}
	a.log.Info("A segment of the archive is held", "number", s.Number, "from", s.From, "to", s.To, "cid", c)
	return a.hold(ctx, s.Number, c)
}
