package escrow

import (
	"context"
	"encoding/hex"
	"errors"

	"cosmossdk.io/math"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/escrowv1"
	"github.com/hpips/hpips/spec/voucher"
)

// free is what of a lease's deposit nobody has been promised on the chain: it returns, or pays jurors.
func free(l escrowv1.Lease) math.Int { return l.Deposit.Sub(l.Redeemed).Sub(l.Jury) }

// Free is what of a lease's deposit may pay jurors; nothing of a lease whose rest has returned.
func (k Keeper) Free(ctx context.Context, id voucher.ID) (math.Int, error) {
	l, known, err := k.Lease(ctx, id)
	if err != nil || !known || l.Phase == escrowv1.PHASE_CLOSED {
		return math.ZeroInt(), err
	}
	return free(l), nil
}

// Hire pays a juror's node and its owner out of what is free of a lease, as pay for work, and tells how much: less than was asked for where there is less. With ErrResting nothing was
// moved, and the same is to be asked again.
func (k Keeper) Hire(c context.Context, id voucher.ID, node []byte, owner string, amount math.Int) (math.Int, error) {
	ctx, none := sdk.UnwrapSDKContext(c), math.ZeroInt()
	l, known, err := k.Lease(ctx, id)
	if err != nil || !known || l.Phase == escrowv1.PHASE_CLOSED {
		return none, err
	}
	amount = math.MinInt(amount, free(l))
	if !amount.IsPositive() {
		return none, nil
	}
	if err := k.others.Pay.Split(ctx, Final{Lease: l.Id, Node: node, Payer: l.Payer, Payee: owner, Denom: l.Denom, Amount: amount}); err != nil {
		return none, err
	}
	l.Jury = l.Jury.Add(amount)
	if err := errors.Join(
		k.count(ctx, l.Denom, func(t *escrowv1.Totals) { t.Jury = t.Jury.Add(amount) }),
		add(ctx, k.escrowed, l.Payer, l.Denom, amount.Neg()), k.reserve(ctx, l.Payer, l.Denom, amount.Neg()), k.leases.Set(ctx, l.Id, l),
	); err != nil {
		return none, err
	}
	emit(ctx, "hpips_juror_paid", "lease", hex.EncodeToString(l.Id), "node", hex.EncodeToString(node), "payer", l.Payer, "payee", owner, "amount", amount.String()+l.Denom)
	return amount, nil
}

// Last is the sequence of the last redemption of all.
func (k Keeper) Last(ctx context.Context) (uint64, error) {
	n, _, err := found(k.last.Get(ctx))
	return n, err
}

// First is the first redemption of a node that waits to be final.
func (k Keeper) First(ctx context.Context, node []byte) (uint64, bool, error) {
	return k.head(ctx, node)
}

// fate asks the audits what becomes of a redemption.
func (k Keeper) fate(ctx context.Context, node []byte, sequence uint64) (Fate, error) {
	if k.others.Audit == nil {
		return Passes, nil
	}
	return k.others.Audit.Fate(ctx, node, sequence)
}

// audited tells whether anything of a lease is still looked at.
func (k Keeper) audited(ctx context.Context, l escrowv1.Lease) (bool, error) {
	if k.others.Audit == nil || l.Tasks == 0 {
		return false, nil
	}
	return k.others.Audit.Busy(ctx, l.Id)
}

// forfeit gives a redemption of a convicted node back to its payer, at once.
func (k Keeper) forfeit(ctx sdk.Context, r escrowv1.Redemption) error {
	l, err := k.lease(ctx, r.Lease)
	if err != nil {
		return err
	}
	if r.Amount.IsPositive() {
		_, payer, err := k.canonical(l.Payer)
		if err != nil {
			return err
		}
		if err := k.others.Bank.SendCoinsFromModuleToAccount(ctx, Name, payer, coins(l.Denom, r.Amount)); err != nil {
			return err
		}
		if err := errors.Join(
			k.count(ctx, l.Denom, func(t *escrowv1.Totals) { t.Returned = t.Returned.Add(r.Amount) }),
			add(ctx, k.escrowed, l.Payer, l.Denom, r.Amount.Neg()), add(ctx, k.waiting, l.Payee, l.Denom, r.Amount.Neg()),
			k.reserve(ctx, l.Payer, l.Denom, r.Amount.Neg()),
		); err != nil {
			return err
		}
	}
	if err := k.leaveRow(ctx, r, true); err != nil {
		return err
	}
	emit(ctx, "hpips_forfeited", "lease", hex.EncodeToString(l.Id), "node", hex.EncodeToString(l.Node), "sequence", number(r.Sequence), "payer", l.Payer,
		"payee", l.Payee, "amount", r.Amount.String()+l.Denom)
	l.Forfeited, l.Pending = l.Forfeited.Add(r.Amount), l.Pending-1
	return k.settled(ctx, l)
}
