package audit

import (
	"context"
	"errors"

	"cosmossdk.io/collections"
	"cosmossdk.io/math"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/auditv1"
	"github.com/hpips/hpips/spec/sortition"
	"github.com/hpips/hpips/spec/trust"
)

// openBlocks is how many blocks after its redemption an audit is opened: nobody knew the seed of that block.
const openBlocks = 2

// rules are spec/trust's, as the parameters say.
func rules(p auditv1.Params) trust.Rules {
	return trust.Rules{Least: p.Least, Colluder: p.Colluder, Penalty: p.Penalty}
}

// span is which results an audit is about.
func span(a auditv1.Audit) trust.Span {
	return trust.Span{TasksBefore: a.TasksBefore, Tasks: a.Tasks, WorkBefore: a.WorkBefore, Work: a.Work}
}

// draw is what the seed picked of an open audit.
func draw(a auditv1.Audit) trust.Draw {
	return trust.NewDraw([32]byte(a.Seed), [32]byte(a.Root), span(a), a.Rate)
}

// Redeemed takes note of a redemption whose payer signed a root: an audit of which all is set that is known before its seed.
func (k Keeper) Redeemed(ctx context.Context, a auditv1.Audit) error {
	at := collections.Join(a.Node, a.Sequence)
	return errors.Join(k.audits.Set(ctx, at, a), k.coming.Set(ctx, collections.Join(uint64(a.Height), at)), k.hold(ctx, a.Lease, true))
}

// Fate is what becomes of a redemption that could be final by its age.
type Fate int

// The fates of a redemption.
const (
	Passes Fate = iota // nobody looks at it, or all is well
	Waits              // it is looked at, or is going to be
	Lost               // its node was convicted
)

// Fate tells what becomes of a redemption that is old enough to be final.
func (k Keeper) Fate(ctx context.Context, node []byte, sequence uint64) (Fate, error) {
	c, convicted, err := found(k.convictions.Get(ctx, node))
	if err != nil {
		return Waits, err
	}
	if convicted && sequence <= c.Through {
		return Lost, nil
	}
	a, known, err := found(k.audits.Get(ctx, collections.Join(node, sequence)))
	if err != nil || known && !over(a) {
		return Waits, err
	}
	return Passes, nil
}

// over tells whether nobody looks at an audit any more.
func over(a auditv1.Audit) bool { return len(a.Seed) > 0 && a.Until == 0 && a.Disputes == 0 }

// Busy tells whether anything of a lease is looked at.
func (k Keeper) Busy(ctx context.Context, lease []byte) (bool, error) {
	return k.leases.Has(ctx, lease)
}

// Watched tells whether a node has an audit that is not over, or a dispute, or results that can still be disputed.
func (k Keeper) Watched(ctx context.Context, node sortition.Key) (bool, error) {
	convicted, err := k.convictions.Has(ctx, node[:])
	if err != nil || convicted {
		return convicted, err
	}
	it, err := k.audits.Iterate(ctx, collections.NewPrefixedPairRange[[]byte, uint64](node[:]))
	if err != nil {
		return false, err
	}
	defer it.Close()
	return it.Valid(), nil
}

// Settled takes an audit away whose redemption is final or lost. Final ones are remembered as far back as the rules say.
func (k Keeper) Settled(ctx context.Context, node []byte, sequence uint64, lost bool) error {
	at := collections.Join(node, sequence)
	a, known, err := found(k.audits.Get(ctx, at))
	if err != nil || !known {
		return err
	}
	if err := errors.Join(k.leaveRows(ctx, a), k.audits.Remove(ctx, at), k.hold(ctx, a.Lease, false)); err != nil {
		return err
	}
	if err := k.Bond.Touch(ctx, sortition.Key(node)); err != nil {
		return err
	}
	if lost {
		return k.forget(ctx, a)
	}
	a.Until = 0
	if err := k.recent.Set(ctx, at, a); err != nil {
		return err
	}
	return k.prune(ctx, node)
}

// leaveRows takes an audit out of the rows of what only time brings about.
func (k Keeper) leaveRows(ctx context.Context, a auditv1.Audit) error {
	at := collections.Join(a.Node, a.Sequence)
	if len(a.Seed) == 0 {
		return k.coming.Remove(ctx, collections.Join(uint64(a.Height), at))
	}
	if a.Until == 0 {
		return nil
	}
	return k.lapses.Remove(ctx, collections.Join(uint64(a.Until), at))
}

// prune forgets the oldest of a node's recent redemptions while the others have results enough.
func (k Keeper) prune(ctx context.Context, node []byte) error {
	p, err := k.Params(ctx)
	if err != nil {
		return err
	}
	sum := uint64(0)
	var old []auditv1.Audit
	err = k.recent.Walk(ctx, collections.NewPrefixedPairRange[[]byte, uint64](node).Descending(), func(_ turn, a auditv1.Audit) (bool, error) {
		if sum >= p.RecentResults {
			old = append(old, a)
		}
		sum += min(a.Tasks, p.RecentResults)
		return false, nil
	})
	for _, a := range old {
		err = errors.Join(err, k.forget(ctx, a), k.recent.Remove(ctx, collections.Join(node, a.Sequence)))
	}
	return err
}

// Advance takes a block that carries a seed through everything that nobody sends a message for. It comes before the escrow's, and each chore does at most `batch` steps.
//
//  1. Audits of redemptions that are old enough are opened with this block's seed.
//  2. Those that nobody looked at for long enough are passed.
//  3. Disputes whose phase is over go on.
//  4. Convictions that are old enough are forgotten, with the node's recent results; jurors that were wrong long enough ago may be jurors again.
func (k Keeper) Advance(c context.Context) error {
	ctx := sdk.UnwrapSDKContext(c)
	p, err := k.Params(ctx)
	if err != nil {
		return err
	}
	for _, chore := range []func(sdk.Context, auditv1.Params) (bool, error){k.openNext, k.lapseNext, k.nextDispute, k.forgiveNext, k.pardonNext} {
		for range p.Batch {
			more, err := chore(ctx, p)
			if err != nil {
				return err
			}
			if !more {
				break
			}
		}
	}
	return nil
}

// openNext opens the next audit that is old enough.
func (k Keeper) openNext(ctx sdk.Context, p auditv1.Params) (bool, error) {
	row, there, err := firstOf(ctx, k.coming)
	if err != nil || !there || ctx.BlockHeight() < int64(row.K1())+openBlocks {
		return false, err
	}
	a, err1 := k.audits.Get(ctx, row.K2())
	seed, _, err2 := k.Committee.Seed(ctx)
	bond, err3 := k.Bond.Counts(ctx, sortition.Key(a.Node), a.Denom)
	if err := errors.Join(err1, err2, err3); err != nil {
		return false, err
	}
	price := (a.Amount + a.Tasks - 1) / max(a.Tasks, 1) // the mean of its results, rounded up
	rate, jurors := rules(p).Rate(price, clamp(bond))
	a.Seed, a.Rate, a.Jurors = seed[:], rate, uint32(jurors)
	if a.Amount > 0 {
		a.Draws = draw(a).Len()
	}
	a.Panels = trust.Panels(a.Draws)
	if err := k.coming.Remove(ctx, row); err != nil {
		return false, err
	}
	if a.Draws > 0 {
		a.Until = now(ctx) + int64(p.PassSeconds)
		if err := k.lapses.Set(ctx, collections.Join(uint64(a.Until), row.K2())); err != nil {
			return false, err
		}
		emit(ctx, "hpips_audit", "what", "opened", "node", digits(a.Node), "sequence", number(a.Sequence), "lease", digits(a.Lease), "payer", a.Payer, "seed", digits(a.Seed), "rate", number(a.Rate),
			"jurors", number(a.Jurors), "draws", number(a.Draws))
	}
	return true, k.audits.Set(ctx, row.K2(), a)
}

// lapseNext passes the next audit that had no jury for long enough. One with a dispute ends with that.
func (k Keeper) lapseNext(ctx sdk.Context, _ auditv1.Params) (bool, error) {
	row, there, err := firstOf(ctx, k.lapses)
	if err != nil || !there || int64(row.K1()) > now(ctx) {
		return false, err
	}
	a, err := k.audits.Get(ctx, row.K2())
	if err != nil {
		return false, err
	}
	return true, k.end(ctx, a, "passed")
}

// end tells that nobody looks at an audit any more.
func (k Keeper) end(ctx context.Context, a auditv1.Audit, what string) error {
	if err := k.leaveRows(ctx, a); err != nil {
		return err
	}
	a.Until = 0
	emit(ctx, "hpips_audit", "what", what, "node", digits(a.Node), "sequence", number(a.Sequence), "lease", digits(a.Lease), "attested", number(a.Attested), "panels", number(a.Panels))
	return k.audits.Set(ctx, collections.Join(a.Node, a.Sequence), a)
}

// forgiveNext forgets the next conviction that is old enough.
func (k Keeper) forgiveNext(ctx sdk.Context, _ auditv1.Params) (bool, error) {
	row, there, err := firstOf(ctx, k.forgives)
	if err != nil || !there || int64(row.K1()) > now(ctx) {
		return false, err
	}
	c, err := k.convictions.Get(ctx, row.K2())
	if err != nil {
		return false, err
	}
	lost := collections.NewPrefixedPairRange[[]byte, uint64](row.K2()).EndInclusive(c.Through)
	if first, waits, err := k.Escrow.First(ctx, row.K2()); err != nil || waits && first <= c.Through { // some are not back with their payers: payouts rest, or there are many
		c.Until = now(ctx) + waitLonger
		return err == nil, errors.Join(err, k.forgives.Remove(ctx, row), k.forgives.Set(ctx, collections.Join(uint64(c.Until), row.K2())), k.convictions.Set(ctx, row.K2(), c))
	}
	var old []auditv1.Audit
	err = k.recent.Walk(ctx, lost, func(_ turn, a auditv1.Audit) (bool, error) {
		old = append(old, a)
		return false, nil
	})
	for _, a := range old {
		err = errors.Join(err, k.forget(ctx, a))
	}
	if err != nil {
		return false, err
	}
	return true, errors.Join(k.forgives.Remove(ctx, row), k.convictions.Remove(ctx, row.K2()), k.recent.Clear(ctx, lost), k.Bond.Touch(ctx, sortition.Key(row.K2())))
}

// pardonNext lets the next juror be one again that was barred for long enough.
func (k Keeper) pardonNext(ctx sdk.Context, _ auditv1.Params) (bool, error) {
	row, there, err := firstOf(ctx, k.pardons)
	if err != nil || !there || int64(row.K1()) > now(ctx) {
		return false, err
	}
	return true, errors.Join(k.pardons.Remove(ctx, row), k.barred.Remove(ctx, row.K2()))
}

// waitLonger is for how many seconds, or blocks, a chore that cannot be done now is put off.
const waitLonger = 60

// firstOf is the earliest entry of a row.
func firstOf[R any](ctx context.Context, row collections.KeySet[R]) (first R, there bool, err error) {
	it, err := row.Iterate(ctx, nil)
	if err != nil {
		return first, false, err
	}
	defer it.Close()
	if !it.Valid() {
		return first, false, nil
	}
	first, err = it.Key()
	return first, err == nil, err
}

// clamp is an amount that fits into 64 bits.
func clamp(n math.Int) uint64 {
	if !n.IsUint64() {
		return ^uint64(0)
	}
	return n.Uint64()
}
