package escrow

import (
	"encoding/hex"
	"errors"

	"cosmossdk.io/collections"
	"cosmossdk.io/math"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/escrowv1"
)

// bare checks a claim that redeems nothing: its node lets go of a lease. That is taken while nothing of the lease is pending and nobody looks at its results,
// for its fee comes out of what a jury would be paid from.
func (k Keeper) bare(ctx sdk.Context, p escrowv1.Params, node []byte, c escrowv1.Claim) (none claim, err error) {
	l, err := k.claimable(ctx, p, node, c.Lease)
	if err != nil {
		return none, err
	}
	needed, err := k.needed(ctx, l)
	if err == nil && needed {
		err = ErrHeld.Wrapf("%x", l.Id)
	}
	return claim{word: c, lease: l, amount: l.Redeemed, redeems: math.ZeroInt(), returns: free(l), fee: math.ZeroInt()}, err
}

// release lets go of the leases whose node has said so.
func (k Keeper) release(ctx sdk.Context, claims []claim) error {
	for _, c := range claims {
		if !c.word.Last {
			continue
		}
		if err := k.letGo(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// letGo closes a lease for good: no voucher of it is good any more. Its rest returns at once, or when nothing can need it any more.
func (k Keeper) letGo(ctx sdk.Context, c claim) (err error) {
	l, fee := c.lease, math.ZeroInt()
	if c.bare() {
		fee = c.fee
		l.Redeemed, l.Fees = l.Redeemed.Add(fee), l.Fees.Add(fee)
		if err := errors.Join(add(ctx, k.escrowed, l.Payer, l.Denom, fee.Neg()), k.reserve(ctx, l.Payer, l.Denom, fee.Neg())); err != nil {
			return err
		}
	}
	l.LetGo = true
	if l.Phase == escrowv1.PHASE_OPEN {
		if l, err = k.shut(ctx, l); err != nil {
			return err
		}
	}
	emit(ctx, "hpips_lease", "what", "let-go", "lease", hex.EncodeToString(l.Id), "node", hex.EncodeToString(l.Node), "payer", l.Payer, "payee", l.Payee,
		"amount", free(l).String()+l.Denom, "fee", fee.String()+Denom)
	return k.settled(ctx, l)
}

// needed tells whether the rest of a lease may have to pay jurors: while pay of it is not final, or somebody looks at its results.
func (k Keeper) needed(ctx sdk.Context, l escrowv1.Lease) (bool, error) {
	if l.Pending > 0 {
		return true, nil
	}
	return k.audited(ctx, l)
}

// settled keeps a lease after one of its redemptions is over. When its node has let go of it, and nothing can need the rest, that returns without the days of
// grace. A rest that is refused, or that a jury still needs which nobody tells the escrow of, returns after them.
func (k Keeper) settled(ctx sdk.Context, l escrowv1.Lease) error {
	if !l.LetGo || l.Phase != escrowv1.PHASE_CLOSING {
		return k.keep(ctx, l)
	}
	if needed, err := k.needed(ctx, l); err != nil || needed {
		return errors.Join(err, k.keep(ctx, l))
	}
	trial, write := ctx.CacheContext()
	if err := errors.Join(k.graces.Remove(trial, collections.Join(l.ClosingIndex, l.Id)), k.refund(trial, l)); err != nil {
		emit(ctx, "hpips_return_refused", "lease", hex.EncodeToString(l.Id), "payer", l.Payer, "why", err.Error())
		return k.keep(ctx, l)
	}
	write()
	return nil
}
