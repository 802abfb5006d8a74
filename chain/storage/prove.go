package storage

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"cosmossdk.io/collections"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/storagev1"
	"github.com/hpips/hpips/spec/proof"
	"github.com/hpips/hpips/spec/sortition"
)

// task is what a holder is asked today. ErrDay: nothing, or it has answered.
func (k Keeper) task(ctx context.Context, node sortition.Key) (storagev1.Holder, storagev1.Asked, proof.Challenge, error) {
	h, _, err1 := k.Holder(ctx, node)
	a, err2 := k.today(ctx)
	if err := errors.Join(err1, err2); err != nil {
		return h, a, proof.Challenge{}, err
	}
	if len(a.Seed) == 0 || !owes(h, a.Day) {
		return h, a, proof.Challenge{}, ErrDay
	}
	return h, a, proof.Challenge{Seed: [32]byte(a.Seed), Holder: node, Day: a.Day}, nil
}

// leaves are what a challenge asks of a holder, and the pieces that they are of.
func (k Keeper) leaves(ctx context.Context, h storagev1.Holder, c proof.Challenge) (list []proof.Leaf, of []storagev1.Held, err error) {
	for _, point := range c.Points(length(h, c.Day)) {
		piece, place, err := k.at(ctx, h, point)
		if err != nil {
			return nil, nil, err
		}
		list, of = append(list, proof.Leaf{Of: pieceOf(piece), Place: place}), append(of, piece)
	}
	return list, of, nil
}

// done counts a day that a holder proved: duty for what it keeps of the archive, pay for parts of deals.
func (k Keeper) done(ctx sdk.Context, h storagev1.Holder, day uint64, how string) error {
	node, mib := sortition.Key(h.Node), mibOf(archived(h, day))
	h.Proven, h.Missed = day, 0
	h.Served++
	h.Due += rate(h, day)
	tell(ctx, "hpips_proven", "node", node.String(), "day", strconv.FormatUint(day, 10), "mib", strconv.FormatUint(mib, 10), "earned", strconv.FormatUint(rate(h, day), 10)+"uhpips", "how", how)
	if err := k.proven(ctx, h, day); err != nil {
		return wrap("proven days", node, err)
	}
	h = k.reward(ctx, h)
	if mib == 0 {
		return k.keep(ctx, h)
	}
	return errors.Join(k.keep(ctx, h), k.Duty.Stored(ctx, node, mib))
}

// proven counts a day for parts that came on it or later: they are not paid for it.
func (k Keeper) proven(ctx context.Context, h storagev1.Holder, day uint64) error {
	var later []collections.Pair[[]byte, uint64]
	if err := k.served.Walk(ctx, collections.NewPrefixedPairRange[[]byte, uint64](h.Node).StartInclusive(day), func(key collections.Pair[[]byte, uint64], _ uint64) (bool, error) {
		later = append(later, key)
		return false, nil
	}); err != nil {
		return err
	}
	for _, key := range later {
		if err := k.served.Set(ctx, key, h.Served); err != nil {
			return err
		}
	}
	return nil
}

// reward pays what is due to a holder. What cannot be paid now stays due.
func (k Keeper) reward(ctx sdk.Context, h storagev1.Holder) storagev1.Holder {
	if h.Due == 0 {
		return h
	}
	trial, write := ctx.CacheContext()
	if err := k.Deals.Reward(trial, sortition.Key(h.Node), h.Due); err != nil {
		tell(ctx, "hpips_reward_refused", "node", sortition.Key(h.Node).String(), "amount", strconv.FormatUint(h.Due, 10)+"uhpips", "why", err.Error())
		return h
	}
	write()
	h.Due = 0
	return h
}

// vouch takes what auditors signed: enough of those who were drawn say that the answer is right, and nobody asked to see it.
func (k Keeper) vouch(ctx sdk.Context, m *storagev1.MsgVouch) error {
	if err := k.shape(m); err != nil {
		return err
	}
	h, a, c, err := k.task(ctx, sortition.Key(m.Node))
	switch {
	case err != nil:
		return err
	case m.Day != a.Day || h.Proven == a.Day:
		return ErrDay.Wrapf("day %d", m.Day)
	case h.Doubted >= a.Day:
		return ErrDoubted
	}
	auditors, needed, err := k.Committee.Observers(ctx, c.Holder, a.Slot)
	if err != nil {
		return err
	}
	if needed == 0 || len(m.Witnesses) < int(needed) {
		return ErrWitness.Wrapf("%d of %d, %d are needed", len(m.Witnesses), len(auditors), needed)
	}
	var last []byte
	for _, w := range m.Witnesses {
		auditor := sortition.Key(w.Auditor)
		if slices.Compare(w.Auditor, last) <= 0 || !slices.Contains(auditors, auditor) {
			return ErrWitness.Wrap(auditor.String())
		}
		if err := c.CheckWitness(ctx.ChainID(), auditor, w.Signature); err != nil {
			return ErrSignature.Wrap(err.Error())
		}
		last = w.Auditor
	}
	return k.done(ctx, h, a.Day, "auditors")
}

// prove takes the answer itself.
func (k Keeper) prove(ctx sdk.Context, m *storagev1.MsgProve) error {
	answer, err := k.answer(m.Sender, m.Answer)
	if err != nil {
		return err
	}
	h, a, err := k.look(ctx, answer)
	switch {
	case errors.Is(err, proof.ErrWrong):
		return ErrWrong.Wrap(err.Error())
	case err != nil:
		return err
	case h.Proven == a.Day:
		return ErrDay.Wrapf("day %d is proven", a.Day)
	}
	return k.done(ctx, h, a.Day, "chain")
}

// accuse takes a wrong answer that its holder signed: the holder pays for it, and holds nothing any more.
func (k Keeper) accuse(ctx sdk.Context, m *storagev1.MsgAccuse) error {
	answer, err := k.answer(m.Sender, m.Answer)
	if err != nil {
		return err
	}
	h, _, err := k.look(ctx, answer)
	switch {
	case err == nil:
		return ErrRight
	case !errors.Is(err, proof.ErrWrong):
		return err
	}
	p, err := k.Params(ctx)
	if err != nil {
		return err
	}
	if err := k.Bond.Fine(ctx, answer.Holder, p.Penalty); err != nil {
		return err
	}
	return k.leave(ctx, h, "gave a wrong answer")
}

// answer reads one, and whether the message comes in its holder's name.
func (k Keeper) answer(sender string, b []byte) (proof.Answer, error) {
	a, err := proof.ParseAnswer(b)
	if err != nil {
		return a, ErrMalformed.Wrap(err.Error())
	}
	return a, k.sent(sender, a.Holder)
}

// look checks an answer against what is asked today; an answer that shows other bytes is proof.ErrWrong.
func (k Keeper) look(ctx sdk.Context, answer proof.Answer) (storagev1.Holder, storagev1.Asked, error) {
	h, a, c, err := k.task(ctx, answer.Holder)
	if err != nil {
		return h, a, err
	}
	leaves, _, err := k.leaves(ctx, h, c)
	if err != nil {
		return h, a, err
	}
	err = answer.CheckLeaves(ctx.ChainID(), c, leaves)
	switch {
	case errors.Is(err, proof.ErrOther):
		err = ErrDay.Wrap(err.Error())
	case errors.Is(err, proof.ErrSignature):
		err = ErrSignature.Wrap(err.Error())
	}
	return h, a, err
}

// doubt makes a holder bring its answers itself to the end of the next day: this one may be over before it hears of that.
func (k Keeper) doubt(ctx context.Context, node sortition.Key) (uint64, error) {
	h, known, err := k.Holder(ctx, node)
	if err != nil {
		return 0, err
	}
	if !known || h.Away {
		return 0, ErrNode.Wrap("it keeps nothing")
	}
	day := k.Committee.Day(ctx) + 1
	if h.Doubted == day {
		return 0, ErrTwice.Wrapf("day %d", day)
	}
	h.Doubted = day
	tell(ctx, "hpips_doubted", "node", node.String(), "day", strconv.FormatUint(day, 10))
	return day, k.keep(ctx, h)
}
