package deal

import (
	"context"
	"errors"
	"strconv"

	"cosmossdk.io/collections"
	"cosmossdk.io/math"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/dealv1"
	"github.com/hpips/hpips/spec/placement"
	"github.com/hpips/hpips/spec/proof"
	"github.com/hpips/hpips/spec/sortition"
)

const (
	maxParts = 255                // of a deal: spec/erasure.MaxPieces
	maxPrice = 10_000 * 1_000_000 // uhpips for a MiB and a day
	newPart  = "new"
)

// pin makes a deal:
//
//  1. Object and manifest have addresses, and parts are possible.
//  2. The deposit is what all parts cost for all days, and comes from the payer.
//  3. All parts are open. The seed of the next block gives the deal its point.
func (k Keeper) pin(c context.Context, m *dealv1.MsgPin) (dealv1.Deal, error) {
	ctx := sdk.UnwrapSDKContext(c)
	payer, at, err := k.canonical(m.Payer)
	if err != nil {
		return dealv1.Deal{}, err
	}
	if err := shape(m); err != nil { // 1
		return dealv1.Deal{}, err
	}
	last, err := k.last.Get(ctx)
	if err != nil && !errors.Is(err, collections.ErrNotFound) {
		return dealv1.Deal{}, err
	}
	today := k.Days.Day(ctx)
	d := dealv1.Deal{
		Number: last + 1, Payer: payer, Object: m.Object, Manifest: m.Manifest, Need: m.Need, Parts: m.Parts, Pieces: m.Pieces, Price: m.Price,
		Made: today, Last: today, Height: ctx.BlockHeight(), Origin: m.Origin,
	}
	if d, err = k.deposit(ctx, d, at, m.Days); err != nil { // 2
		return d, err
	}
	for n := range uint64(d.Parts) { // 3
		key := collections.Join(d.Number, n)
		if err := errors.Join(k.parts.Set(ctx, key, dealv1.Part{Since: today, Opened: max(1, today), Why: newPart}), k.open.Set(ctx, key)); err != nil {
			return d, err
		}
	}
	tell(ctx, "hpips_deal", "deal", text(d.Number), "payer", payer, "parts", text(uint64(d.Parts)), "deposit", text(d.Deposit)+denom, "last", text(d.Last))
	return d, errors.Join(
		k.last.Set(ctx, d.Number), k.deals.Set(ctx, d.Number, d), k.ends.Set(ctx, collections.Join(d.Last, d.Number)), k.payers.Set(ctx, collections.Join(payer, d.Number)),
		k.objects.Set(ctx, collections.Join(d.Object, d.Number)), k.unplaced.Set(ctx, d.Number),
	)
}

// shape tells whether a deal could be good at all.
func shape(m *dealv1.MsgPin) error {
	pieces := int(m.Parts)
	if m.Need == 1 {
		pieces = 1
	}
	switch {
	case !proof.IsAddress(m.Object) || !proof.IsAddress(m.Manifest):
		return ErrMalformed.Wrap("object or manifest has no CIDv1 of SHA-256, raw or dag-pb")
	case m.Parts < 1 || m.Parts > maxParts || m.Need < 1 || m.Need > m.Parts || m.Need == m.Parts && m.Parts > 1:
		return ErrMalformed.Wrapf("any %d of %d parts", m.Need, m.Parts)
	case len(m.Pieces) != pieces:
		return ErrMalformed.Wrapf("%d pieces, %d are wanted", len(m.Pieces), pieces)
	case m.Price > maxPrice:
		return ErrMalformed.Wrapf("a price of %d for a MiB and a day, at most %d", m.Price, uint64(maxPrice))
	case len(m.Origin) != len(sortition.Key{}):
		return ErrMalformed.Wrapf("origin of %d bytes", len(m.Origin))
	}
	for _, p := range m.Pieces {
		if len(p.Root) != 32 || p.Length < 1 || p.Length > proof.MaxSize {
			return ErrMalformed.Wrapf("piece of %d bytes with a root of %d", p.Length, len(p.Root))
		}
	}
	return nil
}

// deposit pays for so many more days of a deal.
func (k Keeper) deposit(ctx context.Context, d dealv1.Deal, from sdk.AccAddress, days uint64) (dealv1.Deal, error) {
	p, err := k.Params(ctx)
	if err != nil {
		return d, err
	}
	if ahead := d.Last - min(d.Last, k.Days.Day(ctx)); days < 1 || days > p.LongestDays || ahead+days > p.LongestDays {
		return d, ErrDays.Wrapf("%d, with %d that are paid: at most %d ahead", days, ahead, p.LongestDays)
	}
	_, all := rates(d)
	sum := all.Mul(math.NewIntFromUint64(days))
	if !sum.IsUint64() || sum.Uint64() > 1<<62-d.Deposit {
		return d, ErrDeposit.Wrapf("%s%s", sum, denom)
	}
	d.Deposit, d.Last = d.Deposit+sum.Uint64(), d.Last+days
	if sum.IsZero() {
		return d, nil
	}
	return d, errors.Join(k.Bank.SendCoinsFromAccountToModule(ctx, from, Name, coins(sum.Uint64())), k.count(ctx, func(t *dealv1.Totals) { t.Deposited += sum.Uint64() }))
}

// extend pays for more days.
func (k Keeper) extend(ctx context.Context, m *dealv1.MsgExtend) (dealv1.Deal, error) {
	d, at, err := k.own(ctx, m.Payer, m.Deal)
	if err != nil {
		return d, err
	}
	before := d.Last
	if d, err = k.deposit(ctx, d, at, m.Days); err != nil {
		return d, err
	}
	return d, k.move(ctx, d, before)
}

// unpin ends a deal with this day.
func (k Keeper) unpin(ctx context.Context, m *dealv1.MsgUnpin) error {
	d, _, err := k.own(ctx, m.Payer, m.Deal)
	if err != nil {
		return err
	}
	before := d.Last
	d.Last = min(d.Last, k.Days.Day(ctx))
	if d.Last == before {
		return ErrOver.Wrapf("deal %d ends with day %d", d.Number, d.Last)
	}
	return k.move(ctx, d, before)
}

// move writes a deal that ends on another day than before.
func (k Keeper) move(ctx context.Context, d dealv1.Deal, before uint64) error {
	tell(ctx, "hpips_deal", "deal", text(d.Number), "payer", d.Payer, "deposit", text(d.Deposit)+denom, "last", text(d.Last))
	return errors.Join(k.ends.Remove(ctx, collections.Join(before, d.Number)), k.ends.Set(ctx, collections.Join(d.Last, d.Number)), k.deals.Set(ctx, d.Number, d))
}

// own is a deal of its payer's that has not ended.
func (k Keeper) own(ctx context.Context, payer string, number uint64) (dealv1.Deal, sdk.AccAddress, error) {
	who, at, err := k.canonical(payer)
	if err != nil {
		return dealv1.Deal{}, nil, err
	}
	d, err := k.Deal(ctx, number)
	switch {
	case err != nil:
		return d, nil, err
	case d.Payer != who:
		return d, nil, ErrPayer.Wrapf("deal %d", number)
	case d.Over || d.Last < k.Days.Day(ctx):
		return d, nil, ErrOver.Wrapf("deal %d", number)
	}
	return d, at, nil
}

// Advance gives points to deals that were made in earlier blocks, by the seed of this one.
func (k Keeper) Advance(c context.Context, seed sortition.Seed) error {
	ctx := sdk.UnwrapSDKContext(c)
	var due []uint64
	if err := k.unplaced.Walk(ctx, nil, func(number uint64) (bool, error) {
		due = append(due, number)
		return false, nil
	}); err != nil {
		return err
	}
	for _, number := range due {
		d, err := k.Deal(ctx, number)
		if err != nil {
			return err
		}
		if d.Height >= ctx.BlockHeight() {
			continue
		}
		point := placement.PiecePoint(seed, pieceOf(d, 0).ID())
		d.Point = point[:]
		if err := errors.Join(k.deals.Set(ctx, number, d), k.unplaced.Remove(ctx, number)); err != nil {
			return err
		}
	}
	return nil
}

// canonical is the one way to write an address, and the address.
func (k Keeper) canonical(who string) (string, sdk.AccAddress, error) {
	b, err := k.addresses.StringToBytes(who)
	if err != nil {
		return "", nil, ErrMalformed.Wrapf("payer %.100q: %v", who, err)
	}
	written, err := k.addresses.BytesToString(b)
	if err != nil {
		return "", nil, ErrMalformed.Wrap(err.Error())
	}
	return written, b, nil
}

func text(n uint64) string { return strconv.FormatUint(n, 10) }
