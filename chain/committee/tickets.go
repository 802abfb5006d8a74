package committee

import (
	"context"
	"crypto/sha256"
	"errors"
	"math"

	"cosmossdk.io/collections"
	errorsmod "cosmossdk.io/errors"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/spec/sortition"
)

// A ticket's life: an application with its proofs becomes a ticket at once where new ones are not limited, or waits for the day's lot. The
// ticket has a place on the ring of observers, which it keeps while it is renewed. When it runs out, or its keys change, or its node signs
// two blocks, it goes; the ring and its owner remember it until no open slot and no open vote can ask for it.

// forever is the last slot of a ticket that is good.
const forever = math.MaxUint64

// rememberedDays is for how long the tickets of an owner can be counted as they were.
const rememberedDays = 15

// ticket is the node's ticket, or ErrTicket. It may have run out or have old keys: see goodTicket.
func (k Keeper) ticket(ctx context.Context, node []byte) (committeev1.Ticket, error) {
	point, err := k.holders.Get(ctx, node)
	if errors.Is(err, collections.ErrNotFound) {
		return committeev1.Ticket{}, ErrTicket
	}
	if err != nil {
		return committeev1.Ticket{}, err
	}
	return k.ring.Get(ctx, point)
}

// goodTicket is the node's ticket and what the registry says, or the refusal why it is not good.
func (k Keeper) goodTicket(ctx context.Context, id sortition.Key, day uint64) (committeev1.Ticket, Node, error) {
	t, err := k.ticket(ctx, id[:])
	if err != nil {
		return t, Node{}, err
	}
	n, err := k.activeNode(ctx, id)
	switch {
	case err != nil:
		return t, n, err
	case n.KeysHeight != t.KeysHeight:
		return t, n, ErrKeys
	case t.UntilDay < day:
		return t, n, errorsmod.Wrap(ErrTicket, "it ran out")
	}
	return t, n, nil
}

func (k Keeper) activeNode(ctx context.Context, id sortition.Key) (Node, error) {
	n, known, err := k.registry.Node(ctx, id)
	if err == nil && !(known && n.Active) {
		err = ErrNode
	}
	return n, err
}

// isRefusal tells a rule's refusal, which has a code of ours, from a fault of the store.
func isRefusal(err error) bool {
	var refusal *errorsmod.Error
	return errors.As(err, &refusal) && refusal.Codespace() == Name
}

// takeOut does what checkTicket allowed: it renews the node's ticket, or gives a new one, or lets it wait for the lot. It tells whether
// the ticket is good at once.
func (k Keeper) takeOut(ctx sdk.Context, params committeev1.Params, n Node, network string) (bool, error) {
	b, err := k.beacon.Get(ctx)
	if err != nil {
		return false, err
	}
	if err := k.withdraw(ctx, n.ID[:]); err != nil { // an application that ran out, or with other keys
		return false, err
	}
	until := b.Day + uint64(params.TicketDays)
	old, err := k.ticket(ctx, n.ID[:])
	switch {
	case err == nil && old.KeysHeight == n.KeysHeight && old.UntilDay >= b.Day:
		return true, k.renew(ctx, params, b, old, network)
	case err == nil:
		if err := k.remove(ctx, params, b, old); err != nil {
			return false, err
		}
	case !errors.Is(err, ErrTicket):
		return false, err
	}
	if network == "" {
		network = unseen(n.ID)
		if params.SeatsPerNetwork > 0 {
			network = unseenAll
		}
	}
	t := committeev1.Ticket{
		Node: n.ID[:], Owner: n.Owner, Network: network, ConsensusKey: n.Consensus[:], VrfKey: n.VRF[:],
		KeysHeight: n.KeysHeight, SinceHeight: ctx.BlockHeight(), UntilDay: until,
	}
	if limited(params) {
		if err := add(ctx, k.waiters, +1); err != nil {
			return false, err
		}
		return false, k.waiting.Set(ctx, t.Node, t)
	}
	return true, k.admit(ctx, b, t)
}

func limited(p committeev1.Params) bool { return p.NewTicketsPermille > 0 || p.NewTicketsMin > 0 }

// unseenAll is the network of all nodes that nobody could observe, where networks are limited: else a chain that stood still for a while, or
// keys as young as the slot, would give whoever has many nodes in one network a network for each.
const unseenAll = "unseen"

// unseen is the network of a node that nobody could observe, where networks are not limited, and of a first node: its own.
func unseen(id sortition.Key) string { return "unseen/" + id.String()[:16] }

// admit puts a new ticket on the ring. It observes from the next slot on, so that the observers of an open slot stay who they are.
func (k Keeper) admit(ctx sdk.Context, b committeev1.Beacon, t committeev1.Ticket) error {
	point := sortition.Point(sortition.Key(t.Node), sortition.Seed(b.Seed))
	t.Point, t.SinceHeight, t.SinceSlot, t.UntilSlot = point[:], ctx.BlockHeight(), b.Slot+1, forever
	ctx.EventManager().EmitEvent(sdk.NewEvent("hpips_ticket", sdk.NewAttribute("node", sortition.Key(t.Node).String())))
	return k.place(ctx, t)
}

// place writes a ticket, its indexes and the running numbers.
func (k Keeper) place(ctx context.Context, t committeev1.Ticket) error {
	return errors.Join(
		k.ring.Set(ctx, t.Point, t),
		k.holders.Set(ctx, t.Node, t.Point),
		k.owners.Set(ctx, collections.Join(t.Owner, t.Point), 0),
		k.expiry.Set(ctx, collections.Join(t.UntilDay, t.Node)),
		k.countNetwork(ctx, t.Network, +1),
		add(ctx, k.tickets, +1),
	)
}

// renew gives a ticket more days. A network that it has moved to counts for draws at once; it observes from there from the next slot on, so that the
// observers of an open slot stay who they are.
func (k Keeper) renew(ctx context.Context, params committeev1.Params, b committeev1.Beacon, t committeev1.Ticket, network string) error {
	if err := k.expiry.Remove(ctx, collections.Join(t.UntilDay, t.Node)); err != nil {
		return err
	}
	if network != "" && network != t.Network {
		if err := errors.Join(k.countNetwork(ctx, t.Network, -1), k.countNetwork(ctx, network, +1), k.move(ctx, params, b, t)); err != nil {
			return err
		}
		t.Network = network
	}
	t.UntilDay = b.Day + uint64(params.TicketDays)
	return errors.Join(k.expiry.Set(ctx, collections.Join(t.UntilDay, t.Node)), k.ring.Set(ctx, t.Point, t))
}

// remove takes a ticket away. It observes to the end of the open slot. One that was taken out in this very block neither observes nor votes
// yet: nothing is remembered of it, for its node's next ticket may get the same place, which must not be buried with it.
func (k Keeper) remove(ctx sdk.Context, params committeev1.Params, b committeev1.Beacon, t committeev1.Ticket) error {
	if t.SinceHeight == ctx.BlockHeight() {
		return errors.Join(
			k.ring.Remove(ctx, t.Point), k.holders.Remove(ctx, t.Node), k.owners.Remove(ctx, collections.Join(t.Owner, t.Point)),
			k.expiry.Remove(ctx, collections.Join(t.UntilDay, t.Node)), k.countNetwork(ctx, t.Network, -1), add(ctx, k.tickets, -1),
		)
	}
	t.UntilSlot = b.Slot
	kept := max(uint64(params.WindowSlots)+2, rememberedDays*params.DaySeconds/params.SlotSeconds+1)
	return errors.Join(
		k.ring.Set(ctx, t.Point, t),
		k.holders.Remove(ctx, t.Node),
		k.owners.Set(ctx, collections.Join(t.Owner, t.Point), ctx.BlockHeight()),
		k.expiry.Remove(ctx, collections.Join(t.UntilDay, t.Node)),
		k.graves.Set(ctx, collections.Join(b.Slot+kept, t.Point)),
		k.countNetwork(ctx, t.Network, -1),
		add(ctx, k.tickets, -1),
	)
}

// Forget takes away a node's ticket, or its place among the applicants, because its keys changed or it takes no part any more.
// It does nothing for a node without.
func (k Keeper) Forget(c context.Context, id sortition.Key) error {
	ctx := sdk.UnwrapSDKContext(c)
	if err := k.withdraw(ctx, id[:]); err != nil {
		return err
	}
	t, err := k.ticket(ctx, id[:])
	if errors.Is(err, ErrTicket) {
		return nil
	}
	if err != nil {
		return err
	}
	params, err := k.Params(ctx)
	if err != nil {
		return err
	}
	b, err := k.beacon.Get(ctx)
	if err != nil {
		return err
	}
	return k.remove(ctx, params, b, t)
}

// withdraw takes an applicant out of the lot.
func (k Keeper) withdraw(ctx context.Context, node []byte) error {
	waits, err := k.waiting.Has(ctx, node)
	if err != nil || !waits {
		return err
	}
	return errors.Join(k.waiting.Remove(ctx, node), add(ctx, k.waiters, -1))
}

// inNetwork counts the tickets of a network.
func (k Keeper) inNetwork(ctx context.Context, network string) (uint64, error) {
	n, err := k.networks.Get(ctx, network)
	if errors.Is(err, collections.ErrNotFound) {
		return 0, nil
	}
	return n, err
}

func (k Keeper) countNetwork(ctx context.Context, network string, by int64) error {
	n, err := k.inNetwork(ctx, network)
	if err != nil {
		return err
	}
	if n = moved(n, by); n == 0 {
		return k.networks.Remove(ctx, network)
	}
	return k.networks.Set(ctx, network, n)
}

// firsts are the first entries of a dated set with a date below the bound, at most limit of them.
func firsts(ctx context.Context, set collections.KeySet[collections.Pair[uint64, []byte]], bound uint64, limit int) (all []collections.Pair[uint64, []byte], err error) {
	err = set.Walk(ctx, nil, func(at collections.Pair[uint64, []byte]) (bool, error) {
		if at.K1() >= bound || len(all) >= limit {
			return true, nil
		}
		all = append(all, at)
		return false, nil
	})
	return all, err
}

// expire removes tickets that ran out before today.
func (k Keeper) expire(ctx sdk.Context, params committeev1.Params, b committeev1.Beacon, limit int) (int, error) {
	due, err := firsts(ctx, k.expiry, b.Day, limit)
	if err != nil {
		return 0, err
	}
	for _, at := range due {
		t, err := k.ticket(ctx, at.K2())
		if err != nil {
			return 0, err
		}
		if err := k.remove(ctx, params, b, t); err != nil {
			return 0, err
		}
	}
	return len(due), nil
}

// bury forgets tickets that nobody can ask for any more.
func (k Keeper) bury(ctx sdk.Context, _ committeev1.Params, b committeev1.Beacon, limit int) (int, error) {
	due, err := firsts(ctx, k.graves, b.Slot, limit)
	if err != nil {
		return 0, err
	}
	for _, at := range due {
		t, err := k.ring.Get(ctx, at.K2())
		if err != nil {
			return 0, err
		}
		if err := errors.Join(
			k.graves.Remove(ctx, at), k.ring.Remove(ctx, t.Point), k.moves.Clear(ctx, collections.NewPrefixedPairRange[[]byte, uint64](t.Point)),
			k.owners.Remove(ctx, collections.Join(t.Owner, t.Point)),
		); err != nil {
			return 0, err
		}
	}
	return len(due), nil
}

// openLot begins the day's lot among those who applied before this block. What a lot of an earlier day did not get to is left undone.
func (k Keeper) openLot(ctx sdk.Context, params committeev1.Params, b committeev1.Beacon) error {
	if waiters, err := k.waiters.Get(ctx); err != nil && !errors.Is(err, collections.ErrNotFound) {
		return err
	} else if waiters == 0 {
		return nil
	}
	quota := max(k.Tickets(ctx)*uint64(params.NewTicketsPermille)/1000, uint64(params.NewTicketsMin))
	if !limited(params) {
		quota = forever // a vote lifted the limit while they waited
	}
	return errors.Join(
		k.lotSeed.Set(ctx, b.Seed), k.lotHeight.Set(ctx, ctx.BlockHeight()), k.lotCursor.Remove(ctx), k.lotQuota.Set(ctx, quota),
	)
}

// draw goes on with the day's lot:
//
//  1. Lots of earlier days are forgotten.
//  2. Each applicant gets a lot from the day's seed, in the order of nodes.
//  3. When all have one, the lowest become tickets until the quota is used up.
func (k Keeper) draw(ctx sdk.Context, _ committeev1.Params, b committeev1.Beacon, limit int) (int, error) {
	stale, err := firsts(ctx, k.lots, b.Day, limit) // 1
	if err != nil {
		return 0, err
	}
	for _, at := range stale {
		if err := k.lots.Remove(ctx, at); err != nil {
			return 0, err
		}
	}
	quota, err := k.lotQuota.Get(ctx)
	if errors.Is(err, collections.ErrNotFound) {
		return len(stale), nil
	}
	if err != nil {
		return 0, err
	}
	given, err := k.giveLots(ctx, b, limit-len(stale)) // 2
	if err != nil {
		return 0, err
	}
	if open, err := k.lotSeed.Has(ctx); err != nil || open {
		return limit, err
	}
	lowest, err := firsts(ctx, k.lots, b.Day+1, int(min(quota, uint64(max(limit-len(stale)-given, 0))))) // 3
	if err != nil {
		return 0, err
	}
	for _, at := range lowest {
		if err := k.win(ctx, b, at); err != nil {
			return 0, err
		}
	}
	if quota -= uint64(len(lowest)); quota == 0 || len(lowest) == 0 && limit > len(stale)+given {
		return len(stale) + given + len(lowest), k.lotQuota.Remove(ctx)
	}
	return len(stale) + given + len(lowest), k.lotQuota.Set(ctx, quota)
}

// giveLots draws lots for at most limit applicants after the cursor. Applications that ran out, or whose keys changed, are dropped.
func (k Keeper) giveLots(ctx sdk.Context, b committeev1.Beacon, limit int) (int, error) {
	seed, err := k.lotSeed.Get(ctx)
	if errors.Is(err, collections.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	height, err := k.lotHeight.Get(ctx)
	if err != nil {
		return 0, err
	}
	after := new(collections.Range[[]byte])
	if cursor, err := k.lotCursor.Get(ctx); err == nil {
		after = after.StartExclusive(cursor)
	} else if !errors.Is(err, collections.ErrNotFound) {
		return 0, err
	}
	var applicants []committeev1.Ticket
	if err := k.waiting.Walk(ctx, after, func(_ []byte, t committeev1.Ticket) (bool, error) {
		if len(applicants) >= limit {
			return true, nil
		}
		applicants = append(applicants, t)
		return false, nil
	}); err != nil {
		return 0, err
	}
	for _, t := range applicants {
		if err := k.giveLot(ctx, b, seed, height, t); err != nil {
			return 0, err
		}
	}
	if len(applicants) == limit {
		if limit == 0 {
			return 0, nil
		}
		return limit, k.lotCursor.Set(ctx, applicants[limit-1].Node)
	}
	return len(applicants), errors.Join(k.lotSeed.Remove(ctx), k.lotCursor.Remove(ctx))
}

func (k Keeper) giveLot(ctx context.Context, b committeev1.Beacon, seed []byte, height int64, t committeev1.Ticket) error {
	n, err := k.activeNode(ctx, sortition.Key(t.Node))
	if err != nil && !isRefusal(err) {
		return err
	}
	if err != nil || n.KeysHeight != t.KeysHeight || t.UntilDay < b.Day {
		return k.withdraw(ctx, t.Node)
	}
	if t.SinceHeight >= height {
		return nil
	}
	lot := sha256.Sum256(append(append([]byte("hpips/lot/v1\x00"), seed...), t.Node...))
	return k.lots.Set(ctx, collections.Join(b.Day, append(lot[:], t.Node...)))
}

// win turns a lot into a ticket. In the blocks between, its applicant may have gone.
func (k Keeper) win(ctx sdk.Context, b committeev1.Beacon, at collections.Pair[uint64, []byte]) error {
	if err := k.lots.Remove(ctx, at); err != nil {
		return err
	}
	node := at.K2()[sha256.Size:]
	t, err := k.waiting.Get(ctx, node)
	if errors.Is(err, collections.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := k.withdraw(ctx, node); err != nil {
		return err
	}
	switch n, err := k.activeNode(ctx, sortition.Key(node)); {
	case err != nil && !isRefusal(err):
		return err
	case err != nil || n.KeysHeight != t.KeysHeight:
		return nil
	}
	return k.admit(ctx, b, t)
}
