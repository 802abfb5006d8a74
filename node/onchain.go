package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/seat"
	"github.com/hpips/hpips/spec/sortition"
)

// onChain is the chain as a seat wants it: what the window shows, in the words of spec/sortition.
type onChain struct{ c *chaining }

var errNoChainNode = errors.New("the chain node does not run")

// absent marks, in a room's own word, the error of a question that has no answer because the chain node is away just now, as it is until its first block.
func absent(word, err error) error {
	if ledger.IsAway(err) {
		return fmt.Errorf("%w: %w", word, err)
	}
	return err
}

// Head asks for the newest block and what it says about a node.
func (o onChain) Head(ctx context.Context, node sortition.Key) (seat.Head, error) {
	life := o.c.running()
	if life == nil {
		return seat.Head{}, errNoChainNode
	}
	st, err := life.node.Status(ctx)
	if err != nil {
		return seat.Head{}, err
	}
	h := seat.Head{Chain: o.c.genesis.summary.ChainID, Height: st.Height, CatchingUp: st.CatchingUp || st.Height == 0}
	if h.CatchingUp {
		return h, nil
	}
	committee, err := life.ledger.Committee(ctx)
	if err != nil {
		return h, err
	}
	h.Day, h.Slot, h.Seats = committee.Day, committee.Slot, len(committee.Seats)
	if h.Epoch, err = epochOf(committee); err != nil {
		return h, err
	}
	rules, err := life.ledger.Rules(ctx)
	if err != nil {
		return h, err
	}
	h.Rules = seat.Rules{ClaimBlocks: int64(rules.ClaimBlocks), TicketDays: uint64(rules.TicketDays), Window: uint64(rules.WindowSlots),
		Slot: time.Duration(rules.SlotSeconds) * time.Second}
	h.Place, err = placeOf(ctx, life.ledger, node)
	return h, err
}

func epochOf(c ledger.Committee) (seat.Epoch, error) {
	e := seat.Epoch{Number: c.Epoch, Opened: c.Opened}
	if c.Opened == 0 {
		return e, nil
	}
	err := errors.Join(e.Draw.UnmarshalText([]byte(c.DrawSeed)), e.Threshold.UnmarshalText([]byte(c.Threshold)))
	if err != nil {
		return e, fmt.Errorf("epoch %d: %w", c.Epoch, err)
	}
	return e, nil
}

func placeOf(ctx context.Context, window *ledger.Ledger, node sortition.Key) (seat.Place, error) {
	var p seat.Place
	n, err := window.Node(ctx, node[:])
	if ledger.IsNotFound(err) {
		return p, nil
	}
	if err != nil {
		return p, err
	}
	t, err := window.Ticket(ctx, node[:])
	if err != nil {
		return p, err
	}
	p = seat.Place{Registered: n.Standing == "active", Owner: n.Owner, Waiting: t.Waiting, Neighbours: t.NetworkTickets, Claimed: t.Claimed, Seated: t.Seated, Reason: t.Reason}
	if t.Held {
		p.Ticket = &seat.Ticket{Since: t.Since, Until: t.UntilDay, Good: t.KeysHeight == n.KeysHeight}
	}
	return p, nil
}

// Observers asks who may testify for a node in a slot.
func (o onChain) Observers(ctx context.Context, node sortition.Key, slot uint64) (seat.Observers, error) {
	life := o.c.running()
	if life == nil {
		return seat.Observers{}, errNoChainNode
	}
	raw, needed, err := life.ledger.Observers(ctx, node[:], slot)
	if err != nil {
		return seat.Observers{}, err
	}
	all := seat.Observers{Needed: needed}
	for _, b := range raw {
		k, err := sortition.KeyOf(b)
		if err != nil {
			return seat.Observers{}, err
		}
		all.Nodes = append(all.Nodes, k)
	}
	return all, nil
}

// Picks asks for which slots a ticket needs testimony.
func (o onChain) Picks(ctx context.Context, node sortition.Key, slot uint64) (seat.Picks, error) {
	life := o.c.running()
	if life == nil {
		return seat.Picks{}, errNoChainNode
	}
	slots, needed, err := life.ledger.Picks(ctx, node[:], slot)
	return seat.Picks{Slots: slots, Needed: needed}, err
}

// Ticket hands an application in.
func (o onChain) Ticket(ctx context.Context, a seat.Application) error {
	return o.free(ctx, ledger.TakeTicket(a.Word.Node[:], a.Word.Slot, a.Receipts, a.Signature))
}

// Claim hands a claim in.
func (o onChain) Claim(ctx context.Context, c seat.Claim) error {
	return o.free(ctx, ledger.ClaimSeat(c.Node[:], c.Epoch, c.Proof[:]))
}

// StepDown hands a resignation in.
func (o onChain) StepDown(ctx context.Context, r seat.Resignation) error {
	return o.free(ctx, ledger.StepDown(r.Word.Node[:], r.Word.Epoch, r.Signature))
}

func (o onChain) free(ctx context.Context, m ledger.Message) error {
	life := o.c.running()
	if life == nil {
		return errNoChainNode
	}
	_, err := life.ledger.Free(ctx, m)
	return err
}

// Blocks tells of new blocks of whichever life runs.
func (o onChain) Blocks(context.Context) <-chan struct{} { return o.c.blocks }
