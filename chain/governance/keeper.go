// Package governance counts the votes of x/gov in two houses: tickets as they were when voting opened, and holdings, each voter's
// lowest from the vote to the close. It promises that a proposal passes if and only if both houses pass it, that no HPIPS and no
// ticket counts twice, that a ballot is summed as it goes, so that counting costs what changed, and that no deposit is burned.
// It leaves proposals, deposits and carrying them out to x/gov, holdings to chain/supply and tickets to chain/committee.
package governance

import (
	"context"
	"errors"
	"fmt"

	"cosmossdk.io/collections"
	"cosmossdk.io/core/address"
	"cosmossdk.io/core/store"
	"cosmossdk.io/math"

	"github.com/cosmos/cosmos-sdk/codec"
	sdk "github.com/cosmos/cosmos-sdk/types"
	govkeeper "github.com/cosmos/cosmos-sdk/x/gov/keeper"
	v1 "github.com/cosmos/cosmos-sdk/x/gov/types/v1"

	"github.com/hpips/hpips/proto/gen/governancev1"
)

// Name is the module's and its store's. The SDK's stores refuse a name that begins with another's, and gov is one.
const Name = "houses"

const denom = "uhpips"

// Prefixes of the store. They are consensus: never renumber them.
var (
	openPrefix    = collections.NewPrefix(1)
	ballotsPrefix = collections.NewPrefix(2)
	resultsPrefix = collections.NewPrefix(3)
	papersPrefix  = collections.NewPrefix(4)
	votersPrefix  = collections.NewPrefix(5)
	touchedPrefix = collections.NewPrefix(6)
)

// Supply tells what an account holds and what all hold, in uhpips.
type Supply interface {
	Holding(ctx context.Context, who sdk.AccAddress) math.Int
	Circulating(ctx context.Context) math.Int
}

// Tickets tells how many tickets there are, and how many of them that were taken out before a height belong to nodes of an owner.
type Tickets interface {
	Tickets(ctx context.Context) uint64
	TicketsOf(ctx context.Context, owner string, before int64) uint64
}

// Keeper holds the ballots. x/gov is built with its Tally, so it comes to know x/gov only where that calls, or in Hooks and Module.
type Keeper struct {
	schema  collections.Schema
	open    collections.Item[uint64]                                               // ballots that are open
	ballots collections.Map[uint64, governancev1.Ballot]                           // these, by proposal
	results collections.Map[uint64, governancev1.Result]                           // sums while open, without All and Passes; then the end
	papers  collections.Map[collections.Pair[uint64, []byte], governancev1.Result] // by proposal and voter: how one voter counts
	voters  collections.KeySet[collections.Pair[[]byte, uint64]]                   // the same keys, by voter
	touched collections.KeySet[[]byte]                                             // voters whose holding may have fallen since the last count
	supply  Supply
	tickets Tickets
	codec   address.Codec
}

// NewKeeper needs the supply, the tickets and how addresses are written.
func NewKeeper(cdc codec.Codec, service store.KVStoreService, supply Supply, tickets Tickets, addresses address.Codec) Keeper {
	b := collections.NewSchemaBuilder(service)
	result := codec.CollValue[governancev1.Result](cdc)
	k := Keeper{
		open:    collections.NewItem(b, openPrefix, "open", collections.Uint64Value),
		ballots: collections.NewMap(b, ballotsPrefix, "ballots", collections.Uint64Key, codec.CollValue[governancev1.Ballot](cdc)),
		results: collections.NewMap(b, resultsPrefix, "results", collections.Uint64Key, result),
		papers:  collections.NewMap(b, papersPrefix, "papers", collections.PairKeyCodec(collections.Uint64Key, collections.BytesKey), result),
		voters:  collections.NewKeySet(b, votersPrefix, "voters", collections.PairKeyCodec(collections.BytesKey, collections.Uint64Key)),
		touched: collections.NewKeySet(b, touchedPrefix, "touched", collections.BytesKey),
		supply:  supply, tickets: tickets, codec: addresses,
	}
	var err error
	if k.schema, err = b.Build(); err != nil {
		panic(err)
	}
	return k
}

// openBallots counts them, at the price of one read.
func (k Keeper) openBallots(ctx context.Context) (uint64, error) {
	n, err := k.open.Get(ctx)
	if errors.Is(err, collections.ErrNotFound) {
		return 0, nil
	}
	return n, err
}

// begin opens the ballot on a proposal. All that exists at this height votes, what comes later does not.
func (k Keeper) begin(ctx context.Context, proposal uint64) error {
	n, err := k.openBallots(ctx)
	if err != nil {
		return err
	}
	b := governancev1.Ballot{Proposal: proposal, Opened: sdk.UnwrapSDKContext(ctx).BlockHeight(), Tickets: k.tickets.Tickets(ctx)}
	return errors.Join(k.open.Set(ctx, n+1), k.ballots.Set(ctx, proposal, b), k.results.Set(ctx, proposal, nothing(proposal)))
}

// vote takes a voter's paper in, or changes it. The tickets and the lowest holding of the first one stay: to vote again gains nothing.
func (k Keeper) vote(ctx context.Context, gov *govkeeper.Keeper, proposal uint64, voter sdk.AccAddress) error {
	b, err := k.ballots.Get(ctx, proposal)
	if errors.Is(err, collections.ErrNotFound) {
		return ErrUnknown.Wrapf("vote on proposal %d", proposal)
	} else if err != nil {
		return err
	}
	vote, err := gov.Votes.Get(ctx, collections.Join(proposal, voter))
	if err != nil {
		return err
	}
	holding := k.supply.Holding(ctx, voter)
	before, err := k.papers.Get(ctx, collections.Join(proposal, []byte(voter)))
	if errors.Is(err, collections.ErrNotFound) {
		owner, err := k.codec.BytesToString(voter)
		if err != nil {
			return err
		}
		before = nothing(proposal)
		before.Tickets.All = math.NewIntFromUint64(k.tickets.TicketsOf(ctx, owner, b.Opened))
		before.Holdings.All = holding
		if err := k.voters.Set(ctx, collections.Join([]byte(voter), proposal)); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	return k.count(ctx, before, voter, math.MinInt(before.Holdings.All, holding), vote.Options)
}

// count puts a voter's paper with this holding and these options in the place of the one before, in the sums too.
func (k Keeper) count(ctx context.Context, before governancev1.Result, voter []byte, holding math.Int, options v1.WeightedVoteOptions) error {
	sums, err := k.results.Get(ctx, before.Proposal)
	if err != nil {
		return fmt.Errorf("sums of proposal %d: %w", before.Proposal, err)
	}
	after := governancev1.Result{Proposal: before.Proposal, Tickets: share(before.Tickets.All, options), Holdings: share(holding, options)}
	replace(&sums.Tickets, before.Tickets, after.Tickets)
	replace(&sums.Holdings, before.Holdings, after.Holdings)
	return errors.Join(k.papers.Set(ctx, collections.Join(before.Proposal, voter), after), k.results.Set(ctx, before.Proposal, sums))
}

// settleGas is what counting one paper anew costs. Who changes the holding pays it: the count itself happens at the end of the block, where
// nobody else could be charged, and one who votes on many proposals would make every block long with small sends.
const settleGas = 20_000

// BeforeSend is the bank's last send restriction. It refuses nothing: while a vote is open it notes senders who voted.
func (k Keeper) BeforeSend(ctx context.Context, from, to sdk.AccAddress, amount sdk.Coins) (sdk.AccAddress, error) {
	if amount.AmountOf(denom).IsZero() {
		return to, nil
	}
	return to, k.BeforeHolding(ctx, from)
}

// BeforeHolding notes an account whose holding may be about to fall, with or without a send, as when pay becomes final. It refuses nothing:
// if the account votes, its papers are counted anew from what it holds at the end of the block.
func (k Keeper) BeforeHolding(ctx context.Context, who sdk.AccAddress) error {
	if n, err := k.openBallots(ctx); err != nil || n == 0 {
		return err
	}
	voted, err := k.ballotsOf(ctx, who)
	if err != nil || len(voted) == 0 {
		return err
	}
	sdk.UnwrapSDKContext(ctx).GasMeter().ConsumeGas(settleGas*uint64(len(voted)), "papers to count anew")
	return k.touched.Set(ctx, who)
}

// ballotsOf lists the proposals on which an account votes.
func (k Keeper) ballotsOf(ctx context.Context, voter []byte) ([]uint64, error) {
	var list []uint64
	err := k.voters.Walk(ctx, collections.NewPrefixedPairRange[[]byte, uint64](voter), func(key collections.Pair[[]byte, uint64]) (bool, error) {
		list = append(list, key.K2())
		return false, nil
	})
	return list, err
}

// settle lowers the papers of all whose holding may have fallen to what they hold now, if that is less.
func (k Keeper) settle(ctx context.Context, gov *govkeeper.Keeper) error {
	var fallen [][]byte
	err := k.touched.Walk(ctx, nil, func(voter []byte) (bool, error) {
		fallen = append(fallen, voter)
		return false, nil
	})
	if err != nil {
		return err
	}
	for _, voter := range fallen {
		holding := k.supply.Holding(ctx, voter)
		list, err := k.ballotsOf(ctx, voter)
		if err != nil {
			return err
		}
		for _, proposal := range list {
			if err := k.lower(ctx, gov, proposal, voter, holding); err != nil {
				return err
			}
		}
		if err := k.touched.Remove(ctx, voter); err != nil {
			return err
		}
	}
	return nil
}

func (k Keeper) lower(ctx context.Context, gov *govkeeper.Keeper, proposal uint64, voter []byte, holding math.Int) error {
	before, err := k.papers.Get(ctx, collections.Join(proposal, voter))
	if err != nil || holding.GTE(before.Holdings.All) {
		return err
	}
	vote, err := gov.Votes.Get(ctx, collections.Join(proposal, sdk.AccAddress(voter)))
	if errors.Is(err, collections.ErrNotFound) {
		return nil // the ballot has ended or was canceled in this block
	} else if err != nil {
		return err
	}
	return k.count(ctx, before, voter, holding, vote.Options)
}

// EndBlock counts anew those whose holding may have fallen, and puts away the ballots of proposals that x/gov closed or that were canceled.
// It runs after x/gov's; without an open ballot it reads one number and writes nothing.
func (k Keeper) EndBlock(ctx context.Context, gov *govkeeper.Keeper) error {
	n, err := k.openBallots(ctx)
	if err != nil || n == 0 {
		return err
	}
	if err := k.settle(ctx, gov); err != nil {
		return fmt.Errorf("governance: count anew: %w", err)
	}
	var ended []uint64
	err = k.ballots.Walk(ctx, nil, func(proposal uint64, _ governancev1.Ballot) (bool, error) {
		votes, err := gov.VotingPeriodProposals.Has(ctx, proposal)
		if !votes {
			ended = append(ended, proposal)
		}
		return false, err
	})
	if err != nil {
		return fmt.Errorf("governance: look for ended votes: %w", err)
	}
	for i, proposal := range ended {
		if err := errors.Join(k.end(ctx, gov, proposal), k.open.Set(ctx, n-uint64(i)-1)); err != nil {
			return fmt.Errorf("governance: end vote on proposal %d: %w", proposal, err)
		}
	}
	return nil
}

// end puts a ballot's papers away. Of a canceled proposal nothing stays.
func (k Keeper) end(ctx context.Context, gov *govkeeper.Keeper, proposal uint64) error {
	var voters [][]byte
	papers := collections.NewPrefixedPairRange[uint64, []byte](proposal)
	err := k.papers.Walk(ctx, papers, func(key collections.Pair[uint64, []byte], _ governancev1.Result) (bool, error) {
		voters = append(voters, key.K2())
		return false, nil
	})
	if err != nil {
		return err
	}
	for _, voter := range voters {
		err := errors.Join(k.papers.Remove(ctx, collections.Join(proposal, voter)), k.voters.Remove(ctx, collections.Join(voter, proposal)))
		if err != nil {
			return err
		}
	}
	if there, err := gov.Proposals.Has(ctx, proposal); err != nil {
		return err
	} else if !there {
		if err := k.results.Remove(ctx, proposal); err != nil {
			return err
		}
	}
	return k.ballots.Remove(ctx, proposal)
}
