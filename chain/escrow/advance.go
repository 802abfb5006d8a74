package escrow

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"cosmossdk.io/collections"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/escrowv1"
)

// finalBlocks is how many blocks after its own a redemption may become final: the seed of that block draws its audits.
const finalBlocks = 2

// Advance takes a block that carries a seed through everything that nobody sends a message for. It happens before the block's messages, and each
// chore does at most `batch` steps; what is left is done in the next blocks. An error is the store's trouble only: a payment that is refused waits.
//
//  1. Redemptions become final, in the order in which they were redeemed.
//  2. Leases whose term has ended begin to close.
//  3. Leases whose grace is over give their rest back.
//  4. Leases that are long gone are forgotten.
func (k Keeper) Advance(c context.Context) error {
	ctx := sdk.UnwrapSDKContext(c)
	p, err := k.Params(ctx)
	if err != nil {
		return err
	}
	if err := k.settle(ctx, p); err != nil { // 1
		return fmt.Errorf("advance escrow: final pay: %w", err)
	}
	if err := k.expire(ctx, p); err != nil { // 2
		return fmt.Errorf("advance escrow: ends of terms: %w", err)
	}
	if err := k.giveBack(ctx, p); err != nil { // 3
		return fmt.Errorf("advance escrow: grace: %w", err)
	}
	if err := k.forget(ctx, p); err != nil { // 4
		return fmt.Errorf("advance escrow: graves: %w", err)
	}
	return nil
}

// settle goes through the heads of the nodes' rows by sequence. A head that may not be final yet is passed over, with all behind it; the next block goes
// on after the last one that was looked at, and begins anew when it has seen all, so that those who wait hold up nobody.
func (k Keeper) settle(ctx sdk.Context, p escrowv1.Params) error {
	was, _, err := found(k.cursor.Get(ctx))
	if err != nil {
		return err
	}
	at := was
	for range p.Batch {
		next, more, err := k.settleNext(ctx, at)
		if err != nil {
			return err
		}
		if at = next; !more {
			break
		}
	}
	if at == was {
		return nil
	}
	if at == 0 {
		return k.cursor.Remove(ctx)
	}
	return k.cursor.Set(ctx, at)
}

// settleNext deals with the first head from a sequence on, and tells where to go on.
func (k Keeper) settleNext(ctx sdk.Context, from uint64) (next uint64, more bool, err error) {
	sequence, node, there, err := k.nextHead(ctx, from)
	if err != nil || !there {
		return 0, false, err
	}
	r, err := k.pending.Get(ctx, collections.Join(node, sequence))
	if err != nil {
		return 0, false, err
	}
	if ctx.BlockHeight() < r.Height+finalBlocks { // nor are those after it
		return 0, false, nil
	}
	end := k.finish
	switch fate, err := k.fate(ctx, node, sequence); {
	case err != nil || fate == Waits:
		return sequence + 1, true, err
	case fate == Lost:
		end = k.forfeit
	}
	trial, write := ctx.CacheContext()
	switch err := end(trial, r); {
	case errors.Is(err, ErrResting):
		return sequence, false, nil
	case err != nil:
		emit(ctx, "hpips_pay_refused", "lease", hex.EncodeToString(r.Lease), "node", hex.EncodeToString(node), "sequence", number(sequence), "why", err.Error())
	default:
		write()
	}
	return sequence + 1, true, nil
}

// finish makes a redemption final.
func (k Keeper) finish(ctx sdk.Context, r escrowv1.Redemption) error {
	l, err := k.lease(ctx, r.Lease)
	if err != nil {
		return err
	}
	if r.Amount.IsPositive() {
		err := k.others.Pay.Split(ctx, Final{Lease: l.Id, Node: l.Node, Payer: l.Payer, Payee: l.Payee, Denom: l.Denom, Amount: r.Amount})
		if err != nil {
			return err
		}
		if err := errors.Join(
			k.count(ctx, l.Denom, func(t *escrowv1.Totals) { t.Final = t.Final.Add(r.Amount) }),
			add(ctx, k.escrowed, l.Payer, l.Denom, r.Amount.Neg()), add(ctx, k.waiting, l.Payee, l.Denom, r.Amount.Neg()),
			k.reserve(ctx, l.Payer, l.Denom, r.Amount.Neg()),
		); err != nil {
			return err
		}
	}
	if err := k.leaveRow(ctx, r, false); err != nil {
		return err
	}
	emit(ctx, "hpips_final", "lease", hex.EncodeToString(l.Id), "node", hex.EncodeToString(l.Node), "sequence", number(r.Sequence), "payer", l.Payer,
		"payee", l.Payee, "amount", r.Amount.String()+l.Denom)
	l.Final, l.Pending = l.Final.Add(r.Amount), l.Pending-1
	return k.settled(ctx, l)
}

// leaveRow takes a redemption that is over out of its node's row, and lets the next one of the node come forward.
func (k Keeper) leaveRow(ctx sdk.Context, r escrowv1.Redemption, lost bool) error {
	if err := errors.Join(k.pending.Remove(ctx, collections.Join(r.Node, r.Sequence)), k.heads.Remove(ctx, r.Sequence)); err != nil {
		return err
	}
	if k.others.Audit != nil && len(r.Root) > 0 {
		if err := k.others.Audit.Settled(ctx, r, lost); err != nil {
			return err
		}
	}
	next, there, err := k.head(ctx, r.Node)
	if err != nil || !there {
		return err
	}
	return k.heads.Set(ctx, next, r.Node)
}

// expire closes the leases whose term has ended.
func (k Keeper) expire(ctx sdk.Context, p escrowv1.Params) error {
	now := uint64(max(ctx.BlockTime().Unix(), 0))
	for range p.Batch {
		until, id, there, err := first(ctx, k.ends)
		if err != nil || !there || until > now {
			return err
		}
		l, err := k.lease(ctx, id)
		if err != nil {
			return err
		}
		if err := k.closing(ctx, l, "expired"); err != nil {
			return err
		}
	}
	return nil
}

// giveBack returns what was not redeemed. Seeds and times at which leases began to close rise together, so those whose grace is over come first.
func (k Keeper) giveBack(ctx sdk.Context, p escrowv1.Params) error {
	for range p.Batch {
		index, id, there, err := first(ctx, k.graces)
		if err != nil || !there {
			return err
		}
		l, err := k.lease(ctx, id)
		if err != nil {
			return err
		}
		if over, err := k.graceOver(ctx, p, l); err != nil || !over {
			return err
		}
		if asked, err := k.audited(ctx, l); err != nil {
			return err
		} else if asked { // its rest pays jurors
			if err := errors.Join(k.graces.Remove(ctx, collections.Join(index, id)), k.closing(ctx, l, "closing")); err != nil {
				return err
			}
			continue
		}
		if err := k.graces.Remove(ctx, collections.Join(index, id)); err != nil {
			return err
		}
		trial, write := ctx.CacheContext()
		if err := k.refund(trial, l); err == nil {
			write()
			continue
		} else if err := k.closingAgain(ctx, l, err); err != nil {
			return err
		}
	}
	return nil
}

// refund ends a lease but for what waits to be final.
func (k Keeper) refund(ctx sdk.Context, l escrowv1.Lease) error {
	rest := free(l)
	if rest.IsPositive() {
		_, payer, err := k.canonical(l.Payer)
		if err != nil {
			return err
		}
		if err := k.others.Bank.SendCoinsFromModuleToAccount(ctx, Name, payer, coins(l.Denom, rest)); err != nil {
			return err
		}
		if err := errors.Join(
			k.count(ctx, l.Denom, func(t *escrowv1.Totals) { t.Returned = t.Returned.Add(rest) }),
			add(ctx, k.escrowed, l.Payer, l.Denom, rest.Neg()), k.reserve(ctx, l.Payer, l.Denom, rest.Neg()),
		); err != nil {
			return err
		}
	}
	l.Phase = escrowv1.PHASE_CLOSED
	tell(ctx, "closed", l, rest)
	return k.keep(ctx, l)
}

// closingAgain lets a lease whose rest was refused by its payer's account go to the end of the row: one more grace, and it is tried again.
func (k Keeper) closingAgain(ctx sdk.Context, l escrowv1.Lease, why error) error {
	emit(ctx, "hpips_return_refused", "lease", hex.EncodeToString(l.Id), "payer", l.Payer, "why", why.Error())
	return k.closing(ctx, l, "closing")
}

// keep writes a lease, or buries it when nothing of it is left. A grave keeps the ID from being opened again.
func (k Keeper) keep(ctx sdk.Context, l escrowv1.Lease) error {
	if l.Phase != escrowv1.PHASE_CLOSED || l.Pending > 0 {
		return k.leases.Set(ctx, l.Id, l)
	}
	p, err := k.Params(ctx)
	if err != nil {
		return err
	}
	if k.others.Bond != nil {
		if err := k.others.Bond.Touch(ctx, l.Node); err != nil {
			return err
		}
	}
	until := uint64(max(l.Until, ctx.BlockTime().Unix(), 0)) + p.LongestSeconds
	return errors.Join(k.leases.Remove(ctx, l.Id), k.payers.Remove(ctx, collections.Join(l.Payer, l.Id)), k.nodes.Remove(ctx, collections.Join(l.Node, l.Id)),
		k.graves.Set(ctx, l.Id), k.fading.Set(ctx, collections.Join(until, l.Id)))
}

// forget opens the graves that are old enough.
func (k Keeper) forget(ctx sdk.Context, p escrowv1.Params) error {
	now := uint64(max(ctx.BlockTime().Unix(), 0))
	for range p.Batch {
		when, id, there, err := first(ctx, k.fading)
		if err != nil || !there || when > now {
			return err
		}
		if err := errors.Join(k.fading.Remove(ctx, collections.Join(when, id)), k.graves.Remove(ctx, id)); err != nil {
			return err
		}
	}
	return nil
}

func (k Keeper) nextHead(ctx context.Context, from uint64) (uint64, []byte, bool, error) {
	it, err := k.heads.Iterate(ctx, new(collections.Range[uint64]).StartInclusive(from))
	if err != nil {
		return 0, nil, false, err
	}
	defer it.Close()
	if !it.Valid() {
		return 0, nil, false, nil
	}
	kv, err := it.KeyValue()
	return kv.Key, kv.Value, err == nil, err
}

// first is the earliest entry of a row.
func first(ctx context.Context, row collections.KeySet[byTime]) (uint64, []byte, bool, error) {
	it, err := row.Iterate(ctx, nil)
	if err != nil {
		return 0, nil, false, err
	}
	defer it.Close()
	if !it.Valid() {
		return 0, nil, false, nil
	}
	key, err := it.Key()
	return key.K1(), key.K2(), err == nil, err
}

func number(n uint64) string { return strconv.FormatUint(n, 10) }
