package reward

import (
	"context"
	"errors"
	"fmt"

	"cosmossdk.io/math"

	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/rewardv1"
)

// unit is one uhpips in the fractions that the index and what is owed are kept in.
var unit = math.NewInt(1_000_000_000_000_000_000)

// Stream is how the holders' pot stands, as of the last block that carried a seed.
func (k Keeper) Stream(ctx context.Context) (rewardv1.Stream, error) {
	z := math.ZeroInt()
	s, err := or(rewardv1.Stream{Amount: z, Flowed: z, Next: z, Index: z, Rest: z, Brought: z, Claimed: z})(k.stream.Get(ctx))
	if err != nil {
		return s, fmt.Errorf("stream: %w", err)
	}
	return s, nil
}

// owed is all that the holders could ever claim now, in uhpips: what was brought and flowed, less what was claimed.
func owed(s rewardv1.Stream) math.Int {
	return s.Brought.Sub(s.Amount.Sub(s.Flowed)).Sub(s.Next).Sub(s.Claimed)
}

// flow moves what is due by now, in whole uhpips, into the index: each unit of what circulates is owed its share, and what the division
// leaves stays for the next time. While less than least circulates, what is due waits for the next day.
func flow(s rewardv1.Stream, now int64, circulating, least math.Int) rewardv1.Stream {
	due := s.Amount
	if s.Start < s.End && now < s.End {
		due = s.Amount.MulRaw(max(now-s.Start, 0)).QuoRaw(s.End - s.Start)
	}
	part := due.Sub(s.Flowed)
	if !part.IsPositive() {
		return s
	}
	s.Flowed = due
	if circulating.LT(least) || !circulating.IsPositive() {
		s.Next = s.Next.Add(part)
		return s
	}
	pool := part.Mul(unit).Add(s.Rest)
	s.Index, s.Rest = s.Index.Add(pool.Quo(circulating)), pool.Mod(circulating)
	return s
}

// Flow brings the stream up to the time of a block that carries a seed, and ends the day before when the block is the first of another. It
// comes after the committee's Advance and before anything that changes a holding: since the block before nobody's did.
func (k Keeper) Flow(ctx context.Context) error {
	p, err1 := k.Params(ctx)
	s, err2 := k.Stream(ctx)
	today, err3 := or(uint64(0))(k.today.Get(ctx))
	if err := errors.Join(err1, err2, err3); err != nil {
		return fmt.Errorf("flow: %w", err)
	}
	now, circulating := sdk.UnwrapSDKContext(ctx).BlockTime().Unix(), k.Supply.Circulating(ctx)
	before := s.Flowed
	s = flow(s, now, circulating, math.NewIntFromUint64(p.LeastCirculating))
	if k.Committee.Day(ctx) > today {
		return k.endDay(ctx, p, s, today, circulating)
	}
	if s.Flowed.Equal(before) {
		return nil
	}
	return k.stream.Set(ctx, s)
}

// settleGas is what settling one account costs, whether the index moved since its last time or not: who simulates a transfer must
// learn what it will cost in a later block.
const settleGas = 6000

// BeforeSend is one of the bank's send restrictions. It refuses nothing: before HPIPS change hands both sides get what they are owed so far.
func (k Keeper) BeforeSend(ctx context.Context, from, to sdk.AccAddress, amount sdk.Coins) (sdk.AccAddress, error) {
	if amount.AmountOf(denom).IsZero() {
		return to, nil
	}
	return to, errors.Join(k.BeforeHolding(ctx, from), k.BeforeHolding(ctx, to))
}

// BeforeHolding credits an account with what its holding earned so far, while the holding is still as it was.
func (k Keeper) BeforeHolding(ctx context.Context, who sdk.AccAddress) error {
	if k.Supply.Pooled(who) {
		return nil
	}
	at := sdk.UnwrapSDKContext(ctx)
	at.GasMeter().ConsumeGas(settleGas, "a share of the holders' stream")
	at = at.WithGasMeter(storetypes.NewInfiniteGasMeter())
	s, err := k.Stream(at)
	if err != nil {
		return err
	}
	h, moved, err := k.credited(at, s, who)
	if err != nil || !moved {
		return err
	}
	return k.holders.Set(at, who, h)
}

// credited is an account's record up to the index of now. The bool says whether that differs from what is stored.
func (k Keeper) credited(ctx context.Context, s rewardv1.Stream, who sdk.AccAddress) (rewardv1.Holder, bool, error) {
	h, err := or(rewardv1.Holder{Index: math.ZeroInt(), Owed: math.ZeroInt()})(k.holders.Get(ctx, who))
	if err != nil {
		return h, false, fmt.Errorf("holder: %w", err)
	}
	if h.Index.Equal(s.Index) {
		return h, false, nil
	}
	h.Owed = h.Owed.Add(k.Supply.Holding(ctx, who).Mul(s.Index.Sub(h.Index)))
	h.Index = s.Index
	return h, true, nil
}

// Owed is what an account could claim now, in 1e-18 uhpips.
func (k Keeper) Owed(ctx context.Context, who sdk.AccAddress) (math.Int, error) {
	if k.Supply.Pooled(who) {
		return math.ZeroInt(), nil
	}
	s, err := k.Stream(ctx)
	if err != nil {
		return math.Int{}, err
	}
	h, _, err := k.credited(ctx, s, who)
	return h.Owed, err
}

// Claim pays an account the whole uhpips that it is owed; the fraction stays.
func (k Keeper) Claim(ctx context.Context, who sdk.AccAddress) (math.Int, error) {
	if len(who) == 0 || k.Supply.Pooled(who) {
		return math.Int{}, ErrHolder.Wrap("a module's account is owed nothing")
	}
	if err := k.rests(ctx); err != nil {
		return math.Int{}, err
	}
	s, err := k.Stream(ctx)
	if err != nil {
		return math.Int{}, err
	}
	h, _, err := k.credited(ctx, s, who)
	if err != nil {
		return math.Int{}, err
	}
	amount := h.Owed.Quo(unit)
	if !amount.IsPositive() {
		return math.Int{}, ErrNothing
	}
	h.Owed = h.Owed.Mod(unit)
	s.Claimed = s.Claimed.Add(amount)
	if err := errors.Join(k.holders.Set(ctx, who, h), k.stream.Set(ctx, s)); err != nil {
		return math.Int{}, err
	}
	if err := k.Bank.SendCoinsFromModuleToAccount(ctx, StreamAccount, who, coins(denom, amount)); err != nil {
		return math.Int{}, fmt.Errorf("claim: %w", err)
	}
	return amount, nil
}
