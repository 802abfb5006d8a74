// Package governance counts the votes of x/gov in two houses: tickets as they were when voting opened, and holdings, each voter's
// lowest from the vote to the close. It promises that a proposal passes if and only if both houses pass it, that no HPIPS and no
// ticket counts twice, that what a block counts is bounded, however many vote and on however much, and that no deposit is burned.
// It leaves proposals, deposits and carrying them out to x/gov, holdings to chain/supply and tickets to chain/committee.
package governance

import (
	"context"
	"errors"
	"fmt"

	"cosmossdk.io/collections"
	collcodec "cosmossdk.io/collections/codec"
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
	lowsPrefix    = collections.NewPrefix(7)
	endedPrefix   = collections.NewPrefix(8)
	closingPrefix = collections.NewPrefix(9)
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
	touched collections.KeySet[[]byte]                                             // voters whose holding may have fallen in this block
	lows    collections.Map[[]byte, math.Int]                                      // voters whose papers wait to be lowered: the least held at the end of a block since they were counted
	ended   collections.KeySet[uint64]                                             // ballots whose papers are being put away
	closing collections.Item[collections.Pair[uint64, []byte]]                     // proposal that is told of next, and the last voter on it who was counted for that
	steps   int                                                                    // papers that a block lowers, and puts away, at most
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
		lows:    collections.NewMap(b, lowsPrefix, "lows", collections.BytesKey, sdk.IntValue),
		ended:   collections.NewKeySet(b, endedPrefix, "ended", collections.Uint64Key),
		closing: collections.NewItem(b, closingPrefix, "closing", collcodec.KeyToValueCodec(collections.PairKeyCodec(collections.Uint64Key, collections.BytesKey))),
		steps:   steps,
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

// vote takes a voter's paper in, or changes it. The tickets and the lowest holding of the first one stay: to vote again gains nothing. What the voter's
// holding fell to before is counted first, on the papers that were there then.
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
	if err := k.flush(ctx, gov, voter); err != nil {
		return err
	}
	holding := k.supply.Holding(ctx, voter)
	before, err := k.papers.Get(ctx, collections.Join(proposal, []byte(voter)))
	if errors.Is(err, collections.ErrNotFound) {
		if list, err := k.ballotsOf(ctx, voter); err != nil {
			return err
		} else if len(list) >= mostBallots {
			return ErrBallots.Wrapf("%d of them", len(list))
		}
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

// settleGas is what counting one paper anew costs. Who changes the holding pays it: the count itself happens at the end of a block, where nobody could be
// charged. Where nobody pays for gas, as for what becomes final, is redeemed or traded, steps and mostBallots are the bound.
const settleGas = 20_000

// mostBallots is on how many open proposals an account may vote at once.
const mostBallots = 10

// steps is how many papers a block lowers at most, and how many it puts away.
const steps = 500

// BeforeSend is the bank's last send restriction. It refuses nothing: while a vote is open it notes senders who voted.
func (k Keeper) BeforeSend(ctx context.Context, from, to sdk.AccAddress, amount sdk.Coins) (sdk.AccAddress, error) {
	if amount.AmountOf(denom).IsZero() {
		return to, nil
	}
	return to, k.BeforeHolding(ctx, from)
}

// BeforeHolding notes an account whose holding may be about to fall, with or without a send, as when pay becomes final. It refuses nothing:
// if the account votes, what it holds at the end of the block is written down, and its papers are lowered to that then or in a later block.
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
