package escrow

import (
	"context"
	"encoding/hex"
	"errors"

	"cosmossdk.io/collections"
	"cosmossdk.io/math"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"

	sdk "github.com/cosmos/cosmos-sdk/types"
	sdkerrors "github.com/cosmos/cosmos-sdk/types/errors"

	"github.com/hpips/hpips/proto/gen/escrowv1"
	"github.com/hpips/hpips/spec/voucher"
)

// Open takes deposits for leases, all of them or none. What is deposited counts as reserved before it is sent, so that the payer's holding is at
// no moment less than before.
func (k Keeper) Open(ctx context.Context, who string, deposits []escrowv1.Deposit) error {
	payer, from, err := k.canonical(who)
	if err != nil {
		return err
	}
	if k.others.Bank.BlockedAddr(from) { // nothing could be returned to it
		return ErrAddress.Wrapf("%s cannot be paid", payer)
	}
	p, err := k.Params(ctx)
	if err != nil {
		return err
	}
	if err := inBatch(len(deposits), p); err != nil {
		return err
	}
	var all sdk.Coins
	for _, d := range deposits {
		l, err := k.draft(ctx, p, payer, d)
		if err != nil {
			return err
		}
		id := l.Id
		if err := errors.Join(k.leases.Set(ctx, id, l), k.payers.Set(ctx, collections.Join(payer, id)), k.nodes.Set(ctx, collections.Join(l.Node, id)),
			k.ends.Set(ctx, collections.Join(uint64(l.Until), id)), k.takeIn(ctx, l, l.Deposit)); err != nil {
			return err
		}
		all = all.Add(sdk.NewCoin(l.Denom, l.Deposit))
		tell(ctx, "opened", l, l.Deposit)
	}
	return k.collect(ctx, from, all)
}

// draft checks one deposit and makes its lease.
func (k Keeper) draft(ctx context.Context, p escrowv1.Params, payer string, d escrowv1.Deposit) (none escrowv1.Lease, err error) {
	if len(d.Terms) != 32 || len(d.Node) != 32 {
		return none, ErrMalformed.Wrapf("terms of %d bytes, node of %d", len(d.Terms), len(d.Node))
	}
	lease := voucher.LeaseID(payer, [32]byte(d.Terms))
	id := lease[:]
	if len(d.VoucherKey) != voucher.KeySize {
		return none, ErrKey.Wrapf("%d bytes", len(d.VoucherKey))
	}
	if _, err := secp256k1.ParsePubKey(d.VoucherKey); err != nil {
		return none, ErrKey.Wrap(err.Error())
	}
	if err := k.admitted(ctx, d.Denom); err != nil {
		return none, err
	}
	if err := fits(d.Amount); err != nil || d.Amount.IsZero() || d.Denom == Denom && d.Amount.LT(math.NewIntFromUint64(p.LeastDeposit)) {
		return none, ErrAmount.Wrapf("deposit of %s%s", text(d.Amount), d.Denom)
	}
	if err := k.term(ctx, p, d.Until); err != nil {
		return none, err
	}
	used, err1 := k.leases.Has(ctx, id)
	gone, err2 := k.graves.Has(ctx, id)
	if err := errors.Join(err1, err2); err != nil {
		return none, err
	}
	if used || gone {
		return none, ErrUsed.Wrapf("%x", id)
	}
	owner, active, known, err := k.others.Nodes.Owner(ctx, d.Node)
	if err != nil {
		return none, err
	}
	if !known || !active {
		return none, ErrNode.Wrapf("%x", d.Node)
	}
	payee, _, err := k.canonical(owner)
	return escrowv1.Lease{
		Id: id, Payer: payer, VoucherKey: d.VoucherKey, Node: d.Node, Payee: payee, Denom: d.Denom,
		Deposit: d.Amount, Redeemed: math.ZeroInt(), Final: math.ZeroInt(), Fees: math.ZeroInt(), Jury: math.ZeroInt(), Forfeited: math.ZeroInt(),
		Phase: escrowv1.PHASE_OPEN, OpenedHeight: sdk.UnwrapSDKContext(ctx).BlockHeight(), Until: d.Until,
	}, err
}

// TopUp adds to deposits or moves ends of terms out, all of them or none. A lease whose end has come takes nothing more.
func (k Keeper) TopUp(ctx context.Context, who string, additions []escrowv1.Addition) error {
	payer, from, err := k.canonical(who)
	if err != nil {
		return err
	}
	p, err := k.Params(ctx)
	if err != nil {
		return err
	}
	if err := inBatch(len(additions), p); err != nil {
		return err
	}
	var all sdk.Coins
	for _, a := range additions {
		l, err := k.lease(ctx, a.Lease)
		if err != nil {
			return err
		}
		if l, err = k.added(ctx, p, payer, l, a); err != nil {
			return err
		}
		if a.Amount.IsPositive() {
			all = all.Add(sdk.NewCoin(l.Denom, a.Amount))
		}
		if err := errors.Join(k.leases.Set(ctx, l.Id, l), k.takeIn(ctx, l, a.Amount)); err != nil {
			return err
		}
		tell(ctx, "topped-up", l, a.Amount)
	}
	return k.collect(ctx, from, all)
}

// added is a lease with an addition. It moves its end.
func (k Keeper) added(ctx context.Context, p escrowv1.Params, payer string, l escrowv1.Lease, a escrowv1.Addition) (escrowv1.Lease, error) {
	switch now := sdk.UnwrapSDKContext(ctx).BlockTime().Unix(); {
	case l.Payer != payer:
		return l, ErrParty.Wrapf("top up %x", l.Id)
	case l.Phase != escrowv1.PHASE_OPEN || l.Until <= now:
		return l, ErrPhase.Wrapf("top up %x", l.Id)
	}
	if err := fits(a.Amount); err != nil {
		return l, err
	}
	if a.Denom != l.Denom {
		return l, ErrDenom.Wrapf("top up %x, which is in %s, in %.100q", l.Id, l.Denom, a.Denom)
	}
	later := a.Until > l.Until
	if !later && a.Amount.IsZero() {
		return l, ErrAmount.Wrapf("top up %x by nothing", l.Id)
	}
	if a.Amount.IsPositive() {
		if err := k.admitted(ctx, l.Denom); err != nil {
			return l, err
		}
	}
	l.Deposit = l.Deposit.Add(a.Amount)
	if err := fits(l.Deposit); err != nil || !later {
		return l, err
	}
	if err := k.term(ctx, p, a.Until); err != nil {
		return l, err
	}
	was := uint64(l.Until)
	l.Until = a.Until
	return l, errors.Join(k.ends.Remove(ctx, collections.Join(was, l.Id)), k.ends.Set(ctx, collections.Join(uint64(l.Until), l.Id)))
}

// Close ends leases early, by payer or payee, all of them or none. One that is closing, closed or gone already stays as it is: its node may have let go of it
// while this was under way.
func (k Keeper) Close(ctx context.Context, who string, leases [][]byte) error {
	party, _, err := k.canonical(who)
	if err != nil {
		return err
	}
	p, err := k.Params(ctx)
	if err != nil {
		return err
	}
	if err := inBatch(len(leases), p); err != nil {
		return err
	}
	for _, id := range leases {
		l, err := k.lease(ctx, id)
		if errors.Is(err, ErrUnknown) {
			if gone, err := k.graves.Has(ctx, id); err == nil && gone {
				continue
			}
		}
		if err != nil {
			return err
		}
		if party != l.Payer && party != l.Payee {
			return ErrParty.Wrapf("close %x", id)
		}
		if l.Phase != escrowv1.PHASE_OPEN {
			continue
		}
		if err := k.closing(ctx, l, "closing"); err != nil {
			return err
		}
	}
	return nil
}

// closing begins a lease's grace, from now and not from its end: while the chain stood still, nobody could redeem.
func (k Keeper) closing(ctx context.Context, l escrowv1.Lease, what string) error {
	l, err := k.shut(ctx, l)
	if err != nil {
		return err
	}
	tell(ctx, what, l, l.Deposit.Sub(l.Redeemed))
	return k.leases.Set(ctx, l.Id, l)
}

// shut moves a lease into the row of those whose grace has begun. It is not written.
func (k Keeper) shut(ctx context.Context, l escrowv1.Lease) (escrowv1.Lease, error) {
	index, err := k.others.Clock.Index(ctx)
	if err != nil {
		return l, err
	}
	l.Phase, l.ClosingTime, l.ClosingIndex = escrowv1.PHASE_CLOSING, sdk.UnwrapSDKContext(ctx).BlockTime().Unix(), index
	return l, errors.Join(k.ends.Remove(ctx, collections.Join(uint64(l.Until), l.Id)), k.graces.Set(ctx, collections.Join(index, l.Id)))
}

// graceOver tells whether a closing lease takes no vouchers any more.
func (k Keeper) graceOver(ctx context.Context, p escrowv1.Params, l escrowv1.Lease) (bool, error) {
	index, err := k.others.Clock.Index(ctx)
	now := sdk.UnwrapSDKContext(ctx).BlockTime().Unix()
	return index >= l.ClosingIndex+p.GraceBlocks && now >= l.ClosingTime+int64(p.GraceSeconds), err
}

// takeIn counts what is about to come in for a lease.
func (k Keeper) takeIn(ctx context.Context, l escrowv1.Lease, amount math.Int) error {
	return errors.Join(
		k.count(ctx, l.Denom, func(t *escrowv1.Totals) { t.Deposited = t.Deposited.Add(amount) }),
		add(ctx, k.escrowed, l.Payer, l.Denom, amount),
		k.reserve(ctx, l.Payer, l.Denom, amount),
	)
}

// collect brings in what was counted.
func (k Keeper) collect(ctx context.Context, from sdk.AccAddress, all sdk.Coins) error {
	if all.Empty() {
		return nil
	}
	err := k.others.Bank.SendCoinsFromAccountToModule(ctx, from, Name, all)
	if errors.Is(err, sdkerrors.ErrInsufficientFunds) {
		return ErrFunds.Wrap(err.Error())
	}
	return err
}

func (k Keeper) admitted(ctx context.Context, denom string) error {
	if denom == Denom {
		return nil
	}
	if err := sdk.ValidateDenom(denom); err != nil {
		return ErrDenom.Wrapf("%.100q", denom)
	}
	yes, err := k.others.Assets.Admitted(ctx, denom)
	if err == nil && !yes {
		err = ErrDenom.Wrap(denom)
	}
	return err
}

func (k Keeper) term(ctx context.Context, p escrowv1.Params, until int64) error {
	now := sdk.UnwrapSDKContext(ctx).BlockTime().Unix()
	if until <= now || until > now+int64(p.LongestSeconds) {
		return ErrUntil.Wrapf("until %d, at %d", until, now)
	}
	return nil
}

// fits refuses what no voucher can say.
func fits(amount math.Int) error {
	if amount.IsNil() || amount.IsNegative() || amount.BigIntMut().BitLen() > 64 {
		return ErrAmount.Wrap(text(amount))
	}
	return nil
}

// text writes any amount, also one that was left out.
func text(amount math.Int) string {
	if amount.IsNil() {
		return "nothing"
	}
	return amount.String()
}

func inBatch(n int, p escrowv1.Params) error {
	if n < 1 || n > int(p.Batch) {
		return ErrBatch.Wrapf("%d, at most %d", n, p.Batch)
	}
	return nil
}

func tell(ctx context.Context, what string, l escrowv1.Lease, amount math.Int) {
	emit(ctx, "hpips_lease", "what", what, "lease", hex.EncodeToString(l.Id), "node", hex.EncodeToString(l.Node), "payer", l.Payer, "payee", l.Payee,
		"amount", amount.String()+l.Denom)
}

func emit(ctx context.Context, name string, pairs ...string) {
	e := sdk.NewEvent(name)
	for i := 0; i+1 < len(pairs); i += 2 {
		e = e.AppendAttributes(sdk.NewAttribute(pairs[i], pairs[i+1]))
	}
	sdk.UnwrapSDKContext(ctx).EventManager().EmitEvent(e)
}
