package seat

import (
	"slices"
	"time"

	"github.com/hpips/hpips/spec/sortition"
)

// what a seat can do.
type what uint8

const (
	claim what = iota + 1
	apply
	ask
	forget
)

// step is one thing that is due.
type step struct {
	What   what
	From   []sortition.Key // to ask
	Before uint64          // slots to forget
}

// view is all that a decision is made from.
type view struct {
	Head
	Output  sortition.Output // of this node's draw in this epoch
	Missing []sortition.Key  // observers of this slot that have not testified
	Ask     bool             // they may be asked again
	Tried   tried
	Resting uint64 // no claim in epochs below this
}

// tried tells at which heights things were handed in last; 0: never.
type tried struct {
	claim, apply int64
	lacking      uint64 // the slot in which there was not enough testimony for a ticket: there is no more before the next one
}

// again is how many blocks a free message may take to show before it is handed in again.
const again = 4

// next decides what is due:
//  1. nothing before the node is registered and at the head;
//  2. a winning draw is claimed, once, while claims count: it is first, since it cannot wait;
//  3. a ticket is taken out, or renewed when an eighth of its days is left;
//  4. observers that are silent are asked;
//  5. testimony that no ticket can ask about any more is forgotten.
func next(v view) []step {
	if v.CatchingUp || !v.Place.Registered {
		return nil
	}
	var all []step
	if v.wins() && fresh(v.Tried.claim, v.Height) {
		all = append(all, step{What: claim})
	}
	if v.due() && fresh(v.Tried.apply, v.Height) && v.Tried.lacking != v.Slot {
		all = append(all, step{What: apply})
	}
	if v.Ask && len(v.Missing) > 0 {
		all = append(all, step{What: ask, From: v.Missing})
	}
	if keep := v.Rules.Window + 1; v.Slot > keep {
		all = append(all, step{What: forget, Before: v.Slot - keep})
	}
	return all
}

func fresh(at, height int64) bool { return at == 0 || height >= at+again }

// wins tells whether the node has a seat to claim in the next block.
func (v view) wins() bool {
	t, e := v.Place.Ticket, v.Epoch
	switch {
	case t == nil || !t.Good || v.Place.Claimed || e.Number < v.Resting:
		return false
	case e.Opened == 0 || t.Since >= e.Opened: // the draw is for tickets that are older than its seed
		return false
	case v.Height+1 >= e.Opened+v.Rules.ClaimBlocks:
		return false
	}
	return v.Output.Rank(max(v.Place.Neighbours, 1)).Below(e.Threshold)
}

// due tells whether it is time to take out a ticket.
func (v view) due() bool {
	p := v.Place
	if p.Waiting || p.Reason != "" {
		return false
	}
	return p.Ticket == nil || !p.Ticket.Good || v.Day+max(v.Rules.TicketDays/8, 1) > p.Ticket.Until
}

// draw is this node's lot in one epoch.
type draw struct {
	seed   sortition.Seed
	proof  sortition.Proof
	output sortition.Output
}

// watch is who testifies for this node in the present slot.
type watch struct {
	chain     string
	slot      uint64
	observers Observers
	again     time.Time // when the silent ones are asked again
	rounds    int
}

func (w *watch) missing(kept *receipts, slot uint64) []sortition.Key {
	if w.slot != slot {
		return nil
	}
	have := kept.of(w.chain, slot)
	return slices.DeleteFunc(slices.Clone(w.observers.Nodes), func(o sortition.Key) bool { return have[o].bytes != nil })
}

func (w *watch) lacks(kept *receipts, slot uint64) bool { return len(w.missing(kept, slot)) > 0 }
