package governance

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"cosmossdk.io/collections"
	sdkmath "cosmossdk.io/math"

	sdk "github.com/cosmos/cosmos-sdk/types"
	govkeeper "github.com/cosmos/cosmos-sdk/x/gov/keeper"
	v1 "github.com/cosmos/cosmos-sdk/x/gov/types/v1"

	"github.com/hpips/hpips/proto/gen/governancev1"
)

// BeginBlock lets x/gov tell at the end of this block how one vote ended whose time is over: the one whose papers are all counted. The others wait, and
// are voted on until then, so that neither a block's work nor the exactness of a count depends on how many votes end at once.
//
//  1. Of those whose time is over, the one that was begun before, else the first.
//  2. Its papers are lowered to what their voters have held since, `steps` of them in this block.
//  3. If some are left it waits for the next block, and the others behind it do in any case.
func (k Keeper) BeginBlock(c context.Context, gov *govkeeper.Keeper) error {
	ctx := sdk.UnwrapSDKContext(c)
	if n, err := k.openBallots(ctx); err != nil || n == 0 {
		return err
	}
	due, err := over(ctx, gov)
	if err != nil || len(due) == 0 {
		return err
	}
	at, err := k.closing.Get(ctx) // 1
	if err != nil && !errors.Is(err, collections.ErrNotFound) {
		return fmt.Errorf("governance: %w", err)
	}
	next := 0
	for i, p := range due {
		if err == nil && p.Id == at.K1() {
			next = i
		}
	}
	if err != nil || due[next].Id != at.K1() { // the first, or what was begun has been canceled
		at = collections.Join(due[next].Id, []byte{})
	}
	last, done, err := k.walk(ctx, gov, at.K1(), at.K2(), k.steps) // 2
	if err != nil {
		return fmt.Errorf("governance: count the votes on proposal %d: %w", at.K1(), err)
	}
	if err := k.closing.Set(ctx, collections.Join(at.K1(), last)); err != nil {
		return fmt.Errorf("governance: %w", err)
	}
	wait := time.Duration(0) // 3
	for i, p := range due {
		until := ctx.BlockTime().Add(1)
		switch {
		case i == next && done:
			continue
		case i != next:
			wait += time.Second
			until = ctx.BlockTime().Add(wait)
		}
		if err := postpone(ctx, gov, p, until); err != nil {
			return fmt.Errorf("governance: let proposal %d wait: %w", p.Id, err)
		}
	}
	return nil
}

// over lists the proposals whose time to vote is over, in the order in which x/gov ends them. One that x/gov cannot read is left to it.
func over(ctx sdk.Context, gov *govkeeper.Keeper) (due []v1.Proposal, err error) {
	it, err := gov.ActiveProposalsQueue.Iterate(ctx, collections.NewPrefixUntilPairRange[time.Time, uint64](ctx.BlockTime()))
	if err != nil {
		return nil, fmt.Errorf("governance: votes that end: %w", err)
	}
	rows, err := it.Values()
	if err != nil {
		return nil, fmt.Errorf("governance: votes that end: %w", err)
	}
	for _, id := range rows {
		p, err := gov.Proposals.Get(ctx, id)
		if errors.Is(err, collections.ErrEncoding) {
			continue
		} else if err != nil {
			return nil, fmt.Errorf("governance: proposal %d: %w", id, err)
		}
		due = append(due, p)
	}
	return due, nil
}

// postpone moves the end of a vote.
func postpone(ctx context.Context, gov *govkeeper.Keeper, p v1.Proposal, until time.Time) error {
	before := *p.VotingEndTime
	p.VotingEndTime = &until
	return errors.Join(gov.ActiveProposalsQueue.Remove(ctx, collections.Join(before, p.Id)), gov.Proposals.Set(ctx, p.Id, p),
		gov.ActiveProposalsQueue.Set(ctx, collections.Join(until, p.Id), p.Id))
}

// EndBlock writes down what those hold whose holding may have fallen, lowers papers and puts away those of ballots that have ended, some of each. It runs
// after x/gov's; without an open ballot it reads one number and writes nothing.
func (k Keeper) EndBlock(ctx context.Context, gov *govkeeper.Keeper) error {
	n, err := k.openBallots(ctx)
	if err != nil || n == 0 {
		return err
	}
	if err := k.note(ctx, gov); err != nil {
		return fmt.Errorf("governance: write holdings down: %w", err)
	}
	if err := k.settle(ctx, gov); err != nil {
		return fmt.Errorf("governance: count anew: %w", err)
	}
	if err := k.putAway(ctx, gov, n); err != nil {
		return fmt.Errorf("governance: put ended votes away: %w", err)
	}
	return nil
}

// note writes down what all hold whose holding may have fallen in this block, which nobody can know any more later. It costs one account's share of what
// touched it. Papers on the proposal that is told of next are lowered at once, since its count may have passed them.
func (k Keeper) note(ctx context.Context, gov *govkeeper.Keeper) error {
	var fallen [][]byte
	err := k.touched.Walk(ctx, nil, func(voter []byte) (bool, error) {
		fallen = append(fallen, voter)
		return false, nil
	})
	if err != nil || len(fallen) == 0 {
		return err
	}
	at, err := k.closing.Get(ctx)
	closes := err == nil
	if err != nil && !errors.Is(err, collections.ErrNotFound) {
		return err
	}
	for _, voter := range fallen {
		holding := k.supply.Holding(ctx, voter)
		low, err := k.lows.Get(ctx, voter)
		if errors.Is(err, collections.ErrNotFound) || err == nil && holding.LT(low) {
			err = k.lows.Set(ctx, voter, holding)
		}
		if err == nil && closes {
			err = k.lower(ctx, gov, at.K1(), voter, holding)
		}
		if err := errors.Join(err, k.touched.Remove(ctx, voter)); err != nil {
			return err
		}
	}
	return nil
}

// settle lowers the papers of those who were written down, about `steps` of them; the rest waits for the next block.
func (k Keeper) settle(ctx context.Context, gov *govkeeper.Keeper) error {
	var waiting [][]byte
	err := k.lows.Walk(ctx, nil, func(voter []byte, _ sdkmath.Int) (bool, error) {
		waiting = append(waiting, voter)
		return len(waiting) >= k.steps, nil
	})
	if err != nil {
		return err
	}
	left := k.steps
	for _, voter := range waiting {
		if left <= 0 {
			break
		}
		list, err := k.ballotsOf(ctx, voter)
		if err != nil {
			return err
		}
		if err := k.flush(ctx, gov, voter); err != nil {
			return err
		}
		left -= max(len(list), 1)
	}
	return nil
}

// flush lowers all papers of a voter who was written down.
func (k Keeper) flush(ctx context.Context, gov *govkeeper.Keeper, voter []byte) error {
	low, err := k.lows.Get(ctx, voter)
	if errors.Is(err, collections.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	list, err := k.ballotsOf(ctx, voter)
	if err != nil {
		return err
	}
	for _, proposal := range list {
		if err := k.lower(ctx, gov, proposal, voter, low); err != nil {
			return err
		}
	}
	return k.lows.Remove(ctx, voter)
}

// walk lowers the papers on one proposal to what was written down of their voters, from the one after a voter on, and looks at no more than so many. It
// tells after whom to go on, and whether that was all.
func (k Keeper) walk(ctx context.Context, gov *govkeeper.Keeper, proposal uint64, after []byte, most int) ([]byte, bool, error) {
	waits := false
	if err := k.lows.Walk(ctx, nil, func([]byte, sdkmath.Int) (bool, error) { waits = true; return true, nil }); err != nil || !waits {
		return after, err == nil, err
	}
	papers := collections.NewPrefixedPairRange[uint64, []byte](proposal)
	if len(after) > 0 {
		papers = papers.StartExclusive(after)
	}
	var voters [][]byte
	err := k.papers.Walk(ctx, papers, func(key collections.Pair[uint64, []byte], _ governancev1.Result) (bool, error) {
		voters = append(voters, key.K2())
		return len(voters) >= most, nil
	})
	if err != nil {
		return after, false, err
	}
	for _, voter := range voters {
		low, err := k.lows.Get(ctx, voter)
		if errors.Is(err, collections.ErrNotFound) {
			continue
		} else if err != nil {
			return after, false, err
		}
		if err := k.lower(ctx, gov, proposal, voter, low); err != nil {
			return after, false, err
		}
	}
	if len(voters) < most {
		return after, true, nil
	}
	return voters[len(voters)-1], false, nil
}

// lower lowers one paper to a holding, if there is one that counts more, and its vote has not ended.
func (k Keeper) lower(ctx context.Context, gov *govkeeper.Keeper, proposal uint64, voter []byte, holding sdkmath.Int) error {
	before, err := k.papers.Get(ctx, collections.Join(proposal, voter))
	if errors.Is(err, collections.ErrNotFound) {
		return nil
	} else if err != nil || holding.GTE(before.Holdings.All) {
		return err
	}
	if ended, err := k.ended.Has(ctx, proposal); err != nil || ended {
		return err
	}
	vote, err := gov.Votes.Get(ctx, collections.Join(proposal, sdk.AccAddress(voter)))
	if errors.Is(err, collections.ErrNotFound) {
		return nil // it was canceled in this block
	} else if err != nil {
		return err
	}
	return k.count(ctx, before, voter, holding, vote.Options)
}

// complete counts all that a vote still waits for, so that its sums are exact: in a block that is what happened in it, since BeginBlock has seen to the
// rest. A question that x/gov asks for itself may come at any time, and is written nowhere.
func (k Keeper) complete(ctx context.Context, gov *govkeeper.Keeper, proposal uint64) error {
	at, err := k.closing.Get(ctx)
	if err != nil && !errors.Is(err, collections.ErrNotFound) {
		return err
	}
	if err == nil && at.K1() == proposal {
		return errors.Join(k.note(ctx, gov), k.closing.Remove(ctx))
	}
	if err := k.note(ctx, gov); err != nil {
		return err
	}
	_, _, err = k.walk(ctx, gov, proposal, nil, math.MaxInt)
	return err
}

// putAway puts away the papers of ballots that x/gov closed or that were canceled, `steps` of them, with the votes that they were made from. n is how many
// ballots there are.
func (k Keeper) putAway(ctx context.Context, gov *govkeeper.Keeper, n uint64) error {
	var ended []uint64
	err := k.ballots.Walk(ctx, nil, func(proposal uint64, _ governancev1.Ballot) (bool, error) {
		votes, err := gov.VotingPeriodProposals.Has(ctx, proposal)
		if !votes {
			ended = append(ended, proposal)
		}
		return false, err
	})
	if err != nil {
		return err
	}
	left := k.steps
	for _, proposal := range ended {
		var voters [][]byte
		err := k.papers.Walk(ctx, collections.NewPrefixedPairRange[uint64, []byte](proposal), func(key collections.Pair[uint64, []byte], _ governancev1.Result) (bool, error) {
			if left == len(voters) {
				return true, nil
			}
			voters = append(voters, key.K2())
			return false, nil
		})
		if err != nil {
			return err
		}
		for _, voter := range voters {
			if err := errors.Join(k.papers.Remove(ctx, collections.Join(proposal, voter)), k.voters.Remove(ctx, collections.Join(voter, proposal)),
				gov.Votes.Remove(ctx, collections.Join(proposal, sdk.AccAddress(voter)))); err != nil {
				return err
			}
		}
		if left -= len(voters); left == 0 {
			return k.ended.Set(ctx, proposal)
		}
		if err := k.end(ctx, gov, proposal); err != nil {
			return err
		}
		n--
		if err := k.open.Set(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// end puts a ballot away that has no papers any more. Of a canceled proposal nothing stays.
func (k Keeper) end(ctx context.Context, gov *govkeeper.Keeper, proposal uint64) error {
	if there, err := gov.Proposals.Has(ctx, proposal); err != nil {
		return err
	} else if !there {
		if err := k.results.Remove(ctx, proposal); err != nil {
			return err
		}
	}
	return errors.Join(k.ballots.Remove(ctx, proposal), k.ended.Remove(ctx, proposal))
}
