package escrow

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"slices"

	"cosmossdk.io/collections"
	"cosmossdk.io/math"

	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"

	"github.com/hpips/hpips/proto/gen/escrowv1"
	"github.com/hpips/hpips/spec/sortition"
	"github.com/hpips/hpips/spec/voucher"
)

// What a redemption costs in gas, at once and for each claim. Its sender has no account and buys none: this bounds what a block does.
const (
	redeemGas = 50_000
	claimGas  = 100_000
)

// RedeemGas is what a redemption of so many claims consumes, whatever it finds.
func RedeemGas(claims int) uint64 { return redeemGas + claimGas*uint64(claims) }

// CheckRedeem checks a redemption for the ante handler. On its way into the mempool it is checked in full and done on the state that is checked
// against, so that a second copy, or an older voucher, is refused. In a block only its shape is checked, because the message server, which comes next,
// checks it in full in any case. When it is checked again after a block, its signatures were seen already, and keys of leases never change.
func (k Keeper) CheckRedeem(c context.Context, m *escrowv1.MsgRedeem) error {
	ctx := sdk.UnwrapSDKContext(c)
	switch mode := ctx.ExecMode(); mode {
	case sdk.ExecModeCheck, sdk.ExecModeReCheck:
		return k.redeem(ctx, m, mode == sdk.ExecModeCheck)
	}
	return k.shape(m)
}

// Redeem takes what vouchers promise out of their deposits: pay that waits to be final, less the fee.
func (k Keeper) Redeem(ctx context.Context, m *escrowv1.MsgRedeem) error {
	return k.redeem(sdk.UnwrapSDKContext(ctx), m, true)
}

// redeem does a redemption whole.
//
//  1. Shape, and the gas of it.
//  2. Each claim against its lease: what is redeemed now is what the voucher promises above what was redeemed before.
//  3. The fee, out of what is redeemed in HPIPS, or returns in it.
//  4. Signatures: the node's, and each voucher's. They cost most, so they come last.
//  5. Each claim becomes pending, or its lease is let go; the fee is paid.
func (k Keeper) redeem(metered sdk.Context, m *escrowv1.MsgRedeem, signatures bool) error {
	if err := k.shape(m); err != nil { // 1
		return err
	}
	metered.GasMeter().ConsumeGas(RedeemGas(len(m.Claims)), "claims of a redemption")
	ctx := metered.WithGasMeter(storetypes.NewInfiniteGasMeter()) // from here the rules bound the work
	p, err := k.Params(ctx)
	if err != nil {
		return err
	}
	if err := inBatch(len(m.Claims), p); err != nil {
		return err
	}
	claims := make([]claim, len(m.Claims))
	seen := map[string]bool{}    // for looking up only
	for i, c := range m.Claims { // 2
		if claims[i], err = k.claim(ctx, p, m.Node, c); err != nil {
			return err
		}
		if id := string(claims[i].lease.Id); seen[id] {
			return ErrTwice.Wrapf("%x", id)
		}
		seen[string(claims[i].lease.Id)] = true
	}
	fee, err := charge(claims, p.RedeemFee) // 3
	if err != nil {
		return err
	}
	if signatures { // 4
		if err := signed(ctx.ChainID(), m, claims); err != nil {
			return err
		}
	}
	if err := errors.Join(k.wait(ctx, m.Node, claims), k.release(ctx, claims)); err != nil { // 5
		return err
	}
	if fee.IsZero() {
		return nil
	}
	return errors.Join(
		k.count(ctx, Denom, func(t *escrowv1.Totals) { t.Fees = t.Fees.Add(fee) }),
		k.others.Bank.SendCoinsFromModuleToModule(ctx, Name, authtypes.FeeCollectorName, coins(Denom, fee)),
	)
}

// shape is all that a redemption shows without looking into the state.
func (k Keeper) shape(m *escrowv1.MsgRedeem) error {
	if m == nil || len(m.Node) != ed25519.PublicKeySize || len(m.Signature) != ed25519.SignatureSize {
		return ErrMalformed.Wrap("redemption: node or signature")
	}
	if n := len(m.Claims); n < 1 || n > MaxBatch {
		return ErrBatch.Wrapf("%d claims", n)
	}
	want, err := k.codec.BytesToString(sortition.Key(m.Node).Address())
	if err != nil {
		return ErrAddress.Wrap(err.Error())
	}
	if m.Sender != want {
		return ErrSender
	}
	for _, c := range m.Claims {
		redeems := len(c.Voucher) > 0 && len(c.Voucher) <= voucher.MaxVoucher && len(c.Signature) == voucher.SignatureSize && len(c.Lease) == 0
		if bare := c.Last && len(c.Voucher) == 0 && len(c.Signature) == 0 && len(c.Lease) == len(voucher.ID{}); !redeems && !bare {
			return ErrMalformed.Wrapf("claim: voucher of %d bytes, signature of %d, lease of %d", len(c.Voucher), len(c.Signature), len(c.Lease))
		}
	}
	return nil
}

// claim is one voucher beside its lease, or a lease that is let go without one.
type claim struct {
	word    escrowv1.Claim
	promise voucher.Voucher
	lease   escrowv1.Lease
	amount  math.Int // in all
	redeems math.Int // of it now, fee included
	returns math.Int // without a voucher: what may pay its fee, and returns
	fee     math.Int
}

// bare tells whether nothing is redeemed by a claim.
func (c claim) bare() bool { return len(c.word.Voucher) == 0 }

// claim checks all of one claim but the signature.
func (k Keeper) claim(ctx sdk.Context, p escrowv1.Params, node []byte, c escrowv1.Claim) (none claim, err error) {
	if len(c.Voucher) == 0 {
		return k.bare(ctx, p, node, c)
	}
	v, err := voucher.Parse(c.Voucher)
	if err != nil {
		return none, ErrMalformed.Wrap(err.Error())
	}
	if v.Chain != ctx.ChainID() {
		return none, ErrChain.Wrapf("%q", v.Chain)
	}
	l, err := k.claimable(ctx, p, node, v.Lease[:])
	if err != nil {
		return none, err
	}
	amount := math.NewIntFromUint64(v.Amount)
	switch {
	case amount.GT(l.Deposit.Sub(l.Jury)):
		return none, ErrDeposit.Wrapf("%s of %s for %x", amount, l.Deposit.Sub(l.Jury), l.Id)
	case amount.LTE(l.Redeemed):
		return none, ErrOld.Wrapf("%s after %s for %x", amount, l.Redeemed, l.Id)
	case v.Usage.Tasks < l.Tasks || v.Usage.Work < l.Work:
		return none, ErrOld.Wrapf("%d results of %d instructions after %d of %d for %x", v.Usage.Tasks, v.Usage.Work, l.Tasks, l.Work, l.Id)
	}
	return claim{word: c, promise: v, lease: l, amount: amount, redeems: amount.Sub(l.Redeemed), returns: math.ZeroInt(), fee: math.ZeroInt()}, nil
}

// claimable finds a lease of a node's that takes claims now.
func (k Keeper) claimable(ctx context.Context, p escrowv1.Params, node, id []byte) (escrowv1.Lease, error) {
	l, err := k.lease(ctx, id)
	if err != nil {
		return l, err
	}
	if string(l.Node) != string(node) {
		return l, ErrParty.Wrapf("redeem %x by %x", l.Id, node)
	}
	return l, k.redeemable(ctx, p, l)
}

// redeemable tells whether a lease takes vouchers now: while it is open, and until its grace is over, also where its rest has not returned yet; and not after
// its node has let go of it.
func (k Keeper) redeemable(ctx context.Context, p escrowv1.Params, l escrowv1.Lease) error {
	if l.LetGo {
		return ErrLetGo.Wrapf("%x", l.Id)
	}
	switch l.Phase {
	case escrowv1.PHASE_OPEN:
		return nil
	case escrowv1.PHASE_CLOSING:
		over, err := k.graceOver(ctx, p, l)
		if err == nil && over {
			err = ErrGrace.Wrapf("%x", l.Id)
		}
		return err
	}
	return ErrGrace.Wrapf("%x", l.Id)
}

// charge takes the fee for all claims from those in HPIPS: from each its own, as far as it redeems or returns that much, and what is then lacking from the
// first that redeem more.
func charge(claims []claim, each uint64) (math.Int, error) {
	fee := math.NewIntFromUint64(each).MulRaw(int64(len(claims)))
	left := fee
	take := func(c *claim, most math.Int) {
		if part := math.MinInt(left, most); c.lease.Denom == Denom && part.IsPositive() {
			c.fee, left = c.fee.Add(part), left.Sub(part)
		}
	}
	for i := range claims {
		take(&claims[i], math.MinInt(math.NewIntFromUint64(each), claims[i].redeems.Add(claims[i].returns)))
	}
	for i := range claims {
		take(&claims[i], claims[i].redeems.Sub(claims[i].fee))
	}
	if left.IsPositive() {
		return fee, ErrFee.Wrapf("%s of %s%s are lacking", left, fee, Denom)
	}
	return fee, nil
}

// signed checks the node's signature over all, and that of each voucher.
func signed(chain string, m *escrowv1.MsgRedeem, claims []claim) error {
	words := make([]voucher.Claim, len(m.Claims))
	for i, c := range m.Claims {
		words[i] = voucher.Claim{Voucher: c.Voucher, Signature: c.Signature, Last: c.Last, Lease: c.Lease}
	}
	if err := voucher.CheckRedeem(chain, words, m.Node, m.Signature); err != nil {
		return ErrSignature.Wrap(err.Error())
	}
	for _, c := range claims {
		if c.bare() {
			continue
		}
		if err := voucher.CheckBytes(c.word.Voucher, c.word.Signature, c.lease.VoucherKey); err != nil {
			return ErrSignature.Wrap(err.Error())
		}
	}
	return nil
}

// wait puts claims with vouchers into their node's row of what is to be final.
func (k Keeper) wait(ctx sdk.Context, node []byte, claims []claim) error {
	if !slices.ContainsFunc(claims, func(c claim) bool { return !c.bare() }) {
		return nil
	}
	last, _, err := found(k.last.Get(ctx))
	if err != nil {
		return err
	}
	if _, there, err := k.head(ctx, node); err != nil {
		return err
	} else if !there {
		if err := k.heads.Set(ctx, last+1, node); err != nil {
			return err
		}
	}
	for i, c := range claims {
		if c.bare() {
			continue
		}
		last++
		l, net := c.lease, c.redeems.Sub(c.fee)
		used := c.promise.Usage
		r := escrowv1.Redemption{Lease: l.Id, Node: node, Sequence: last, Amount: net, Height: ctx.BlockHeight(), Time: ctx.BlockTime(),
			TasksBefore: l.Tasks, Tasks: used.Tasks - l.Tasks, WorkBefore: l.Work, Work: used.Work - l.Work}
		if c.promise.Root != [32]byte{} {
			r.Root = c.promise.Root[:]
		}
		l.Redeemed, l.Fees, l.Pending, l.Tasks, l.Work = c.amount, l.Fees.Add(c.fee), l.Pending+1, used.Tasks, used.Work
		if err := errors.Join(k.leases.Set(ctx, l.Id, l), k.pending.Set(ctx, collections.Join(node, last), r), add(ctx, k.waiting, l.Payee, l.Denom, net),
			add(ctx, k.escrowed, l.Payer, l.Denom, c.fee.Neg()), k.reserve(ctx, l.Payer, l.Denom, c.fee.Neg())); err != nil {
			return err
		}
		if k.others.Audit != nil && len(r.Root) > 0 && r.Tasks > 0 {
			if err := k.others.Audit.Redeemed(ctx, r, l); err != nil {
				return err
			}
		}
		emit(ctx, "hpips_redemption", "lease", hex.EncodeToString(l.Id), "node", hex.EncodeToString(node), "sequence", number(last), "payer", l.Payer,
			"payee", l.Payee, "amount", net.String()+l.Denom, "fee", c.fee.String()+Denom)
		claims[i].lease = l
	}
	return k.last.Set(ctx, last)
}

// head is the earliest redemption of a node that is not final.
func (k Keeper) head(ctx context.Context, node []byte) (uint64, bool, error) {
	it, err := k.pending.Iterate(ctx, collections.NewPrefixedPairRange[[]byte, uint64](node))
	if err != nil {
		return 0, false, err
	}
	defer it.Close()
	if !it.Valid() {
		return 0, false, nil
	}
	key, err := it.Key()
	return key.K2(), err == nil, err
}
