package governance

import (
	"context"
	"slices"
	"strings"
	"time"

	"cosmossdk.io/math"

	cmttypes "github.com/cometbft/cometbft/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	consensustypes "github.com/cosmos/cosmos-sdk/x/consensus/types"
	govkeeper "github.com/cosmos/cosmos-sdk/x/gov/keeper"
	v1 "github.com/cosmos/cosmos-sdk/x/gov/types/v1"
)

// strict are the messages for which each house must say yes by two thirds.
var strict = []string{
	"/hpips.supply.v1.MsgRelease",
	"/cosmos.upgrade.v1beta1.MsgSoftwareUpgrade",
	"/cosmos.upgrade.v1beta1.MsgCancelUpgrade",
}

// twoThirds tells whether a proposal needs them: for one of the messages above, or because it is decided in a hurry.
func twoThirds(p v1.Proposal) bool {
	for _, m := range p.Messages {
		if slices.Contains(strict, m.TypeUrl) {
			return true
		}
	}
	return p.Expedited
}

// checkMessages lets pass what a vote may decide: parameters, releases and upgrades. Whatever else x/gov's account could sign is
// refused: it would spend others' deposits, or hide a message or the right to send it from the houses (authz does both).
func checkMessages(p v1.Proposal) error {
	messages, err := p.GetMsgs()
	if err != nil {
		return ErrMessage.Wrap(err.Error())
	}
	for _, m := range messages {
		url := sdk.MsgTypeURL(m)
		if !strings.HasSuffix(url, ".MsgUpdateParams") && !slices.Contains(strict, url) {
			return ErrMessage.Wrap(url)
		}
		if u, ok := m.(*v1.MsgUpdateParams); ok && burns(u.Params) {
			return ErrBurns.Wrap(url)
		}
		if u, ok := m.(*consensustypes.MsgUpdateParams); ok && !livable(u) {
			return ErrEngine.Wrap(url)
		}
	}
	return nil
}

// livable tells whether the chain can live with these parameters of the engine, which by themselves could end it:
//
//   - an authority named here would rule the SDK's modules in the place of the votes, upgrades included;
//   - the application signs no vote extensions, and seats have Ed25519 keys: the engine would stop;
//   - a block must hold the last commit, evidence and transactions, and be no more than a PC can do in its time;
//   - a double signature is proven for as long as a newcomer trusts a former committee.
func livable(u *consensustypes.MsgUpdateParams) bool {
	if u.Block == nil || u.Evidence == nil || u.Validator == nil {
		return false
	}
	within := func(n, low, high int64) bool { return low <= n && n <= high }
	return (u.Auth == nil || u.Auth.Authority == "") && (u.Abci == nil || u.Abci.VoteExtensionsEnableHeight == 0) &&
		slices.Equal(u.Validator.PubKeyTypes, []string{cmttypes.ABCIPubKeyTypeEd25519}) &&
		within(u.Block.MaxBytes, 512<<10, 16<<20) && within(u.Block.MaxGas, 10_000_000, 1_000_000_000) &&
		within(u.Evidence.MaxBytes, 10_000, 200_000) && u.Evidence.MaxAgeDuration >= 14*24*time.Hour
}

// burns tells whether x/gov would destroy, or keep, any part of a deposit under these parameters.
func burns(p v1.Params) bool {
	ratio, err := math.LegacyNewDecFromStr(p.ProposalCancelRatio)
	return err != nil || !ratio.IsZero() || p.BurnVoteQuorum || p.BurnVoteVeto || p.BurnProposalDepositPrevote
}

// Hooks is what x/gov calls. Not all events have one: what is canceled is found at the end of the block.
type Hooks struct {
	keeper Keeper
	gov    *govkeeper.Keeper
}

// NewHooks ties the keeper to the x/gov that was built with its Tally.
func NewHooks(k Keeper, gov *govkeeper.Keeper) Hooks { return Hooks{k, gov} }

// AfterProposalSubmission refuses proposals with messages that no vote may send.
func (h Hooks) AfterProposalSubmission(ctx context.Context, proposal uint64, _ sdk.AccAddress) error {
	p, err := h.gov.Proposals.Get(ctx, proposal)
	if err != nil {
		return err
	}
	return checkMessages(p)
}

// AfterProposalDeposit opens the ballot: x/gov starts the voting in the deposit that makes it enough.
func (h Hooks) AfterProposalDeposit(ctx context.Context, proposal uint64, _ sdk.AccAddress) error {
	if votes, err := h.gov.VotingPeriodProposals.Has(ctx, proposal); err != nil || !votes {
		return err
	}
	if open, err := h.keeper.ballots.Has(ctx, proposal); err != nil || open {
		return err
	}
	return h.keeper.begin(ctx, proposal)
}

// AfterProposalVote takes the paper in.
func (h Hooks) AfterProposalVote(ctx context.Context, proposal uint64, voter sdk.AccAddress) error {
	return h.keeper.vote(ctx, h.gov, proposal, voter)
}

// AfterProposalFailedMinDeposit has nothing to do: there is no ballot yet.
func (Hooks) AfterProposalFailedMinDeposit(context.Context, uint64) error { return nil }

// AfterProposalVotingPeriodEnded leaves it to EndBlock, whose errors x/gov does not swallow.
func (Hooks) AfterProposalVotingPeriodEnded(context.Context, uint64) error { return nil }

// GovGenesis is x/gov's part of a new chain's genesis: deposits in uhpips that always return, and a voting period of seven days,
// on a development network of one. day is how long one lasts.
func GovGenesis(dev bool, day time.Duration) *v1.GenesisState {
	hpips := func(n int64) []sdk.Coin { return sdk.NewCoins(sdk.NewInt64Coin(denom, n*1_000_000)) }
	deposit, expedited, voting, hurry := hpips(100), hpips(500), 7*day, 2*day
	if dev {
		deposit, expedited, voting, hurry = hpips(1), hpips(5), day, day/2
	}
	p := v1.NewParams(deposit, expedited, voting, voting, hurry,
		"0.0", "0.5", "0.667", "1.0", "0.1", "0.0", "", false, false, false, "0.01")
	return v1.NewGenesisState(v1.DefaultStartingProposalID, p)
}
