package governance

import (
	"context"
	"errors"
	"fmt"

	"cosmossdk.io/collections"
	"cosmossdk.io/math"

	govkeeper "github.com/cosmos/cosmos-sdk/x/gov/keeper"
	v1 "github.com/cosmos/cosmos-sdk/x/gov/types/v1"

	"github.com/hpips/hpips/proto/gen/governancev1"
)

func empty() governancev1.House {
	z := math.ZeroInt()
	return governancev1.House{All: z, Yes: z, No: z, Abstain: z}
}

func nothing(proposal uint64) governancev1.Result {
	return governancev1.Result{Proposal: proposal, Tickets: empty(), Holdings: empty()}
}

// share splits what a voter has among the options, by their weights. Nothing is lost: what rounding down leaves goes to the
// heaviest option, of equals to the one named first, so that a single ticket is never split. A veto is a no.
func share(all math.Int, options v1.WeightedVoteOptions) governancev1.House {
	h := empty()
	h.All = all
	rest, heaviest := all, math.LegacyZeroDec()
	to := &h.Abstain
	for _, o := range options {
		weight, err := math.LegacyNewDecFromStr(o.Weight)
		if err != nil {
			continue // x/gov takes no such vote
		}
		at := &h.No
		switch o.Option {
		case v1.OptionYes:
			at = &h.Yes
		case v1.OptionAbstain:
			at = &h.Abstain
		}
		part := weight.MulInt(all).TruncateInt()
		*at, rest = at.Add(part), rest.Sub(part)
		if weight.GT(heaviest) {
			to, heaviest = at, weight
		}
	}
	*to = to.Add(rest)
	return h
}

func replace(sum *governancev1.House, before, after governancev1.House) {
	sum.Yes = sum.Yes.Sub(before.Yes).Add(after.Yes)
	sum.No = sum.No.Sub(before.No).Add(after.No)
	sum.Abstain = sum.Abstain.Sub(before.Abstain).Add(after.Abstain)
}

// passes is the rule of each house: a tenth of all votes, and more yes than no, or at least two thirds where so much is asked.
func passes(h governancev1.House, twoThirds bool) bool {
	voted := h.Yes.Add(h.No).Add(h.Abstain)
	if voted.MulRaw(10).LT(h.All) || !h.Yes.GT(h.No) {
		return false
	}
	return !twoThirds || h.Yes.MulRaw(3).GTE(h.Yes.Add(h.No).MulRaw(2))
}

// result counts both houses of an open ballot as they stand.
func (k Keeper) result(ctx context.Context, p v1.Proposal) (governancev1.Result, error) {
	b, err := k.ballots.Get(ctx, p.Id)
	if errors.Is(err, collections.ErrNotFound) {
		return nothing(p.Id), nil
	} else if err != nil {
		return governancev1.Result{}, err
	}
	r, err := k.results.Get(ctx, p.Id)
	if err != nil {
		return governancev1.Result{}, err
	}
	strict := twoThirds(p)
	r.Tickets.All = math.NewIntFromUint64(b.Tickets)
	r.Holdings.All = k.supply.Circulating(ctx)
	r.Tickets.Passes, r.Holdings.Passes = passes(r.Tickets, strict), passes(r.Holdings, strict)
	return r, nil
}

// Tally is x/gov's tally function. x/gov goes on to apply a threshold of its own to one set of numbers, so these are chosen to make
// it agree with the two houses whatever its parameters are: the house of holdings is what it shows; when both houses pass, it is told
// that nobody but the yes voted, and twice as hard; otherwise that there is no voting power, which fails without burning.
// An expedited proposal that fails is voted on further, so its votes count on; those of a vote that has ended are put away in the blocks that follow.
func (k Keeper) Tally(ctx context.Context, gov govkeeper.Keeper, p v1.Proposal) (math.LegacyDec, math.Int, map[v1.VoteOption]math.LegacyDec, error) {
	fail := func(err error) (math.LegacyDec, math.Int, map[v1.VoteOption]math.LegacyDec, error) {
		return math.LegacyDec{}, math.Int{}, nil, fmt.Errorf("governance: tally proposal %d: %w", p.Id, err)
	}
	if err := k.complete(ctx, &gov, p.Id); err != nil {
		return fail(err)
	}
	r, err := k.result(ctx, p)
	if err != nil {
		return fail(err)
	}
	good := r.Tickets.Passes && r.Holdings.Passes
	if good || !p.Expedited {
		if err := errors.Join(k.results.Set(ctx, p.Id, r), k.ended.Set(ctx, p.Id)); err != nil {
			return fail(err)
		}
	}
	yes, abstain := math.LegacyNewDecFromInt(r.Holdings.Yes), math.LegacyNewDecFromInt(r.Holdings.Abstain)
	shown := map[v1.VoteOption]math.LegacyDec{
		v1.OptionYes: yes, v1.OptionAbstain: abstain, v1.OptionNo: math.LegacyNewDecFromInt(r.Holdings.No), v1.OptionNoWithVeto: math.LegacyZeroDec(),
	}
	if !good {
		return math.LegacyZeroDec(), math.ZeroInt(), shown, nil
	}
	return yes.QuoInt64(2).Add(abstain), math.OneInt(), shown, nil
}
