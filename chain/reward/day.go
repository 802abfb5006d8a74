package reward

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"cosmossdk.io/collections"
	"cosmossdk.io/math"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/rewardv1"
	"github.com/hpips/hpips/spec/sortition"
)

// A day's budget is this many parts of a thousand million of what the fund has left: half of it in four years.
const (
	budgetParts = 474_758
	budgetOf    = 1_000_000_000
)

// kappaWhole is the part of the levy that the fund gives back where enough circulates, in millionths.
const kappaWhole = 500_000

const million = 1_000_000

// endDay fixes the figures of a day in the first block of another.
//
//  1. Of the holders: what the day levied in HPIPS goes into their pot, and flows with what was left until the new day ends.
//  2. Of other assets: the exchange begins to sell what was levied.
//  3. Of the fund: what it may spend on the day, and by which prices. Close pays it.
//
// Days in which the chain stood still are none: nothing came in, and nothing is paid for them.
func (k Keeper) endDay(ctx context.Context, p rewardv1.Params, s rewardv1.Stream, n uint64, circulating math.Int) error {
	day, err := k.day(ctx, n)
	if err != nil {
		return fmt.Errorf("end day %d: %w", n, err)
	}
	if day.Levied.IsPositive() { // 1
		if err := k.Bank.SendCoinsFromModuleToModule(ctx, LevyAccount, StreamAccount, coins(denom, day.Levied)); err != nil {
			return fmt.Errorf("end day %d: levy: %w", n, err)
		}
	}
	at := sdk.UnwrapSDKContext(ctx)
	s.Brought = s.Brought.Add(day.Levied)
	s.Amount, s.Flowed, s.Next = s.Amount.Sub(s.Flowed).Add(s.Next).Add(day.Levied), math.ZeroInt(), math.ZeroInt()
	s.Start = at.BlockTime().Unix()
	if s.End, err = k.Committee.DayEnd(ctx); err != nil {
		return err
	}
	if err := k.sell(ctx, n); err != nil { // 2
		return fmt.Errorf("end day %d: %w", n, err)
	}
	day.Closed, day.Height = s.Start, at.BlockHeight()
	day.Streamed, day.Circulating = s.Amount, circulating
	day.Fund = k.balance(ctx, fundAccount) // 3
	day.Budget = day.Fund.MulRaw(budgetParts).QuoRaw(budgetOf)
	if n >= p.BonusDay {
		day.Kappa = kappa(circulating, math.NewIntFromUint64(p.WholeCirculating))
	}
	day.SeatPrice, day.ReceiptPrice, day.StoredPrice = p.SeatPrice, p.ReceiptPrice, p.StoredPrice
	day.DutyDue = due(day, rewardv1.Earner{Seats: day.Seats, Receipts: day.Receipts, Stored: day.Stored})
	tell(ctx, "hpips_day", "day", strconv.FormatUint(n, 10), "levied", day.Levied.String(), "streamed", day.Streamed.String(),
		"circulating", circulating.String(), "fund", day.Fund.String(), "budget", day.Budget.String(), "kappa", strconv.FormatUint(day.Kappa, 10),
		"duty_due", day.DutyDue.String())
	return errors.Join(k.stream.Set(ctx, s), k.days.Set(ctx, n, day), k.today.Set(ctx, k.Committee.Day(ctx)))
}

// sell hands to the exchange what a day levied in other assets, in the order of their names.
func (k Keeper) sell(ctx context.Context, n uint64) error {
	var list []sdk.Coin
	if err := k.assets.Walk(ctx, collections.NewPrefixedPairRange[uint64, string](n), func(key collections.Pair[uint64, string], s rewardv1.Sum) (bool, error) {
		if key.K2() != denom && s.Levied.IsPositive() {
			list = append(list, sdk.NewCoin(key.K2(), s.Levied))
		}
		return false, nil
	}); err != nil {
		return err
	}
	for _, c := range list {
		if err := k.Exchange.Sell(ctx, c.Denom, c.Amount); err != nil {
			return fmt.Errorf("sell %s: %w", c, err)
		}
	}
	return nil
}

// kappa is 0.5 × min(1, circulating ÷ whole), in millionths: with less in circulation insiders hold more of it, and would get the levy back.
func kappa(circulating, whole math.Int) uint64 {
	if !circulating.IsPositive() {
		return 0
	}
	return math.MinInt(circulating, whole).MulRaw(kappaWhole).Quo(whole).Uint64()
}

// due is what a provider's units of duty are worth at a day's prices, before the cut.
func due(day rewardv1.Day, e rewardv1.Earner) math.Int {
	price := func(n, each uint64) math.Int { return math.NewIntFromUint64(n).Mul(math.NewIntFromUint64(each)) }
	return price(e.Seats, day.SeatPrice).Add(price(e.Receipts, day.ReceiptPrice)).Add(price(e.Stored, day.StoredPrice))
}

// earn is what the fund pays one provider of a day: as bonus min(κ × l, 0.6 E × l / Σl), l being levied on its work; for duty what is due, or its
// share of 0.4 E where all together are due more.
func earn(day rewardv1.Day, levied math.Int, e rewardv1.Earner) (bonus, duty math.Int) {
	bonus = math.ZeroInt()
	if day.Levied.IsPositive() {
		bonus = math.MinInt(levied.Mul(math.NewIntFromUint64(day.Kappa)).QuoRaw(million), day.Budget.MulRaw(6).Mul(levied).Quo(day.Levied.MulRaw(10)))
	}
	duty = due(day, e)
	if most := day.Budget.MulRaw(4).QuoRaw(10); day.DutyDue.GT(most) {
		duty = duty.Mul(most).Quo(day.DutyDue)
	}
	return bonus, duty
}

// Close pays what the fund owes for days that have ended, one day after the other, no more than a batch of providers in a block, and goes on
// where it stopped in the next block that carries a seed. With nothing left to pay it forgets what providers did long ago. It rests
// while an invariant is broken.
func (k Keeper) Close(ctx context.Context) error {
	if err := k.rests(ctx); errors.Is(err, ErrRests) {
		return nil
	} else if err != nil {
		return fmt.Errorf("close: %w", err)
	}
	p, err := k.Params(ctx)
	if err != nil {
		return err
	}
	for left := int(p.Batch); left > 0; {
		c, err := or(rewardv1.Closing{})(k.closing.Get(ctx))
		if err != nil {
			return fmt.Errorf("close: %w", err)
		}
		day, found, err := k.nextDay(ctx, c.Day)
		if err != nil {
			return fmt.Errorf("close: %w", err)
		}
		if !found || day.Closed == 0 {
			return k.forget(ctx, left)
		}
		done, err := k.closeDay(ctx, day, c, left)
		if err != nil {
			return fmt.Errorf("close day %d: %w", day.Day, err)
		}
		left -= max(done, 1)
	}
	return nil
}

// nextDay is the first day from n on that was.
func (k Keeper) nextDay(ctx context.Context, n uint64) (day rewardv1.Day, found bool, err error) {
	err = k.days.Walk(ctx, new(collections.Range[uint64]).StartInclusive(n), func(_ uint64, d rewardv1.Day) (bool, error) {
		day, found = d, true
		return true, nil
	})
	return day, found, err
}

type earning struct {
	node []byte
	rewardv1.Earner
}

// closeDay pays the next few providers of a day and tells how many.
func (k Keeper) closeDay(ctx context.Context, day rewardv1.Day, c rewardv1.Closing, few int) (int, error) {
	span := collections.NewPrefixedPairRange[uint64, []byte](day.Day)
	if c.Day == day.Day && len(c.Cursor) > 0 {
		span = span.StartExclusive(c.Cursor)
	}
	var list []earning
	if err := k.earners.Walk(ctx, span, func(key collections.Pair[uint64, []byte], e rewardv1.Earner) (bool, error) {
		list = append(list, earning{key.K2(), e})
		return len(list) == few, nil
	}); err != nil {
		return 0, err
	}
	for _, e := range list {
		bonus, duty, err := k.pay(ctx, day, e)
		if err != nil {
			return 0, fmt.Errorf("node %x: %w", e.node, err)
		}
		day.Bonus, day.Duty = day.Bonus.Add(bonus), day.Duty.Add(duty)
	}
	if len(list) == few {
		next := rewardv1.Closing{Day: day.Day, Cursor: list[few-1].node}
		return few, errors.Join(k.days.Set(ctx, day.Day, day), k.closing.Set(ctx, next))
	}
	day.Done = true
	tell(ctx, "hpips_day_done", "day", strconv.FormatUint(day.Day, 10), "bonus", day.Bonus.String(), "duty", day.Duty.String())
	return len(list), errors.Join(k.days.Set(ctx, day.Day, day), k.closing.Set(ctx, rewardv1.Closing{Day: day.Day + 1}))
}

// pay pays one provider's bonus and duty to its owner of now. What is nobody's stays with the fund.
func (k Keeper) pay(ctx context.Context, day rewardv1.Day, e earning) (bonus, duty math.Int, err error) {
	nothing := math.ZeroInt()
	node := sortition.Key(e.node)
	work, err := or(none())(k.works.Get(ctx, collections.Join3(day.Day, e.node, denom)))
	if err != nil {
		return nothing, nothing, err
	}
	bonus, duty = earn(day, work.Levied, e.Earner)
	sum := bonus.Add(duty)
	if !sum.IsPositive() {
		return nothing, nothing, nil
	}
	owner, err := k.Registry.Owner(ctx, node)
	if err != nil || owner == "" {
		return nothing, nothing, err
	}
	who, err := k.addresses.StringToBytes(owner)
	if err != nil {
		return nothing, nothing, err
	}
	if err := k.Bank.SendCoinsFromModuleToAccount(ctx, fundAccount, who, coins(denom, sum)); err != nil {
		return nothing, nothing, err
	}
	e.Bonus, e.Duty = bonus, duty
	tell(ctx, "hpips_bonus", "day", strconv.FormatUint(day.Day, 10), "node", node.String(), "owner", owner,
		"bonus", bonus.String()+denom, "duty", duty.String()+denom)
	return bonus, duty, k.earners.Set(ctx, collections.Join(day.Day, e.node), e.Earner)
}

// forget removes a few of the records of providers that are older than kept days.
func (k Keeper) forget(ctx context.Context, few int) error {
	today := k.Committee.Day(ctx)
	if today <= kept {
		return nil
	}
	last := today - kept - 1
	var earners []collections.Pair[uint64, []byte]
	var works []collections.Triple[uint64, []byte, string]
	err1 := k.earners.Walk(ctx, collections.NewPrefixUntilPairRange[uint64, []byte](last), func(key collections.Pair[uint64, []byte], _ rewardv1.Earner) (bool, error) {
		earners = append(earners, key)
		return len(earners) == few, nil
	})
	err2 := k.works.Walk(ctx, collections.NewPrefixUntilTripleRange[uint64, []byte, string](last),
		func(key collections.Triple[uint64, []byte, string], _ rewardv1.Sum) (bool, error) {
			works = append(works, key)
			return len(works) == few, nil
		})
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("forget: %w", err)
	}
	for _, key := range earners {
		if err := k.earners.Remove(ctx, key); err != nil {
			return fmt.Errorf("forget: %w", err)
		}
	}
	for _, key := range works {
		if err := k.works.Remove(ctx, key); err != nil {
			return fmt.Errorf("forget: %w", err)
		}
	}
	return nil
}
