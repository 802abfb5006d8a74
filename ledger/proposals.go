package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	sdkmath "cosmossdk.io/math"
	sdk "github.com/cosmos/cosmos-sdk/types"
	sdkquery "github.com/cosmos/cosmos-sdk/types/query"
	"github.com/cosmos/cosmos-sdk/x/feegrant"
	govv1 "github.com/cosmos/cosmos-sdk/x/gov/types/v1"
	"github.com/cosmos/gogoproto/proto"

	"github.com/hpips/hpips/proto/gen/auditv1"
	"github.com/hpips/hpips/proto/gen/bondv1"
	"github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/proto/gen/dealv1"
	"github.com/hpips/hpips/proto/gen/escrowv1"
	"github.com/hpips/hpips/proto/gen/governancev1"
	"github.com/hpips/hpips/proto/gen/registryv1"
	"github.com/hpips/hpips/proto/gen/rewardv1"
	"github.com/hpips/hpips/proto/gen/storagev1"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/money"
)

// Proposal is something put to the vote.
type Proposal struct {
	ID          uint64            `json:"id"`
	Title       string            `json:"title"`
	Summary     string            `json:"summary"`
	Proposer    string            `json:"proposer"`
	Status      string            `json:"status"` // deposit, voting, passed, rejected or failed
	Deposit     money.Amount      `json:"deposit"`
	Submitted   *time.Time        `json:"submitted"`
	VotingEnds  *time.Time        `json:"votingEnds"`
	Kinds       []string          `json:"kinds"`
	Messages    []json.RawMessage `json:"messages"`
	Failed      string            `json:"failed,omitempty"`
	Tally       *Tally            `json:"tally,omitempty"`
	DepositEnds *time.Time        `json:"depositEnds,omitempty"`
}

// Tally is the count of both houses; a proposal needs both.
type Tally struct {
	Open     bool                `json:"open"`
	Tickets  House[uint64]       `json:"tickets"`
	Holdings House[money.Amount] `json:"holdings"`
}

// House is the count of one house: tickets as whole numbers, holdings in HPIPS.
type House[T any] struct {
	All     T    `json:"all"`
	Yes     T    `json:"yes"`
	No      T    `json:"no"`
	Abstain T    `json:"abstain"`
	Passes  bool `json:"passes"`
}

func house[T any](h governancev1.House, as func(sdkmath.Int) T) House[T] {
	return House[T]{as(h.All), as(h.Yes), as(h.No), as(h.Abstain), h.Passes}
}

var states = map[govv1.ProposalStatus]string{govv1.StatusDepositPeriod: "deposit", govv1.StatusVotingPeriod: "voting", govv1.StatusPassed: "passed",
	govv1.StatusRejected: "rejected", govv1.StatusFailed: "failed"}

// Proposals lists all proposals, the newest first.
func (l *Ledger) Proposals(ctx context.Context) ([]Proposal, error) {
	all := []Proposal{}
	for page := []byte(nil); ; {
		r, err := govv1.NewQueryClient(l.now()).Proposals(ctx, &govv1.QueryProposalsRequest{Pagination: &sdkquery.PageRequest{Key: page, Limit: 200}})
		if err != nil {
			return nil, err
		}
		for _, p := range r.Proposals {
			all = append(all, l.proposal(p))
		}
		if r.Pagination == nil || len(r.Pagination.NextKey) == 0 {
			slices.Reverse(all)
			return all, nil
		}
		page = r.Pagination.NextKey
	}
}

// Proposal asks for one proposal and its tally.
func (l *Ledger) Proposal(ctx context.Context, id uint64) (Proposal, error) {
	r, err := govv1.NewQueryClient(l.now()).Proposal(ctx, &govv1.QueryProposalRequest{ProposalId: id})
	var no *Refused
	if errors.As(err, &no) {
		return Proposal{}, &job.Failure{Code: job.CodeNotFound, Message: fmt.Sprintf("there is no proposal %d", id), Hint: "see hpips gov ls"}
	}
	if err != nil {
		return Proposal{}, err
	}
	p := l.proposal(r.Proposal)
	if r.Proposal.Status == govv1.StatusDepositPeriod {
		return p, nil
	}
	t, err := l.Tally(ctx, id)
	if err != nil && !errors.As(err, &no) {
		return Proposal{}, err
	}
	if err == nil {
		p.Tally = &t
	}
	return p, nil
}

// Tally counts both houses on a proposal: as they stand while voting goes on, as they ended afterwards.
func (l *Ledger) Tally(ctx context.Context, id uint64) (Tally, error) {
	r, err := governancev1.NewQueryClient(l.now()).Tally(ctx, &governancev1.QueryTallyRequest{Proposal: id})
	if err != nil {
		return Tally{}, err
	}
	whole := func(i sdkmath.Int) uint64 {
		if i.IsNil() || !i.IsUint64() {
			return 0
		}
		return i.Uint64()
	}
	return Tally{r.Open, house(r.Result.Tickets, whole), house(r.Result.Holdings, amount)}, nil
}

func (l *Ledger) proposal(p *govv1.Proposal) Proposal {
	out := Proposal{ID: p.Id, Title: p.Title, Summary: p.Summary, Proposer: p.Proposer, Status: states[p.Status], Submitted: p.SubmitTime,
		VotingEnds: p.VotingEndTime, Failed: p.FailedReason, Kinds: []string{}, Messages: []json.RawMessage{},
		Deposit: amount(sdk.Coins(p.TotalDeposit).AmountOf(money.Denom))}
	if p.Status == govv1.StatusDepositPeriod {
		out.DepositEnds = p.DepositEndTime
	}
	for _, m := range p.Messages {
		out.Kinds = append(out.Kinds, m.TypeUrl)
		var inner sdk.Msg
		if l.words.registry.UnpackAny(m, &inner) == nil {
			if text, err := l.words.words(inner); err == nil {
				out.Messages = append(out.Messages, text)
			}
		}
	}
	return out
}

// Deposit gives the least deposit that puts a proposal to the vote at once.
func (l *Ledger) Deposit(ctx context.Context) (money.Amount, error) {
	r, err := govv1.NewQueryClient(l.now()).Params(ctx, &govv1.QueryParamsRequest{})
	if err != nil || r.Params == nil {
		return 0, err
	}
	return amount(sdk.Coins(r.Params.MinDeposit).AmountOf(money.Denom)), nil
}

// Params gives the parameters of the modules that a vote can change, as JSON with the names that ChangeParams takes.
func (l *Ledger) Params(ctx context.Context) (map[string]json.RawMessage, error) {
	committee, err := committeev1.NewQueryClient(l.now()).Params(ctx, &committeev1.QueryParamsRequest{})
	if err != nil {
		return nil, err
	}
	registry, err := registryv1.NewQueryClient(l.now()).Params(ctx, &registryv1.QueryParamsRequest{})
	if err != nil {
		return nil, err
	}
	gov, err := govv1.NewQueryClient(l.now()).Params(ctx, &govv1.QueryParamsRequest{})
	if err != nil {
		return nil, err
	}
	escrow, err := escrowv1.NewQueryClient(l.now()).Params(ctx, &escrowv1.QueryParamsRequest{})
	if err != nil {
		return nil, err
	}
	reward, err := rewardv1.NewQueryClient(l.now()).Params(ctx, &rewardv1.QueryParamsRequest{})
	if err != nil {
		return nil, err
	}
	bond, err := bondv1.NewQueryClient(l.now()).Params(ctx, &bondv1.QueryParamsRequest{})
	if err != nil {
		return nil, err
	}
	audit, err := auditv1.NewQueryClient(l.now()).Params(ctx, &auditv1.QueryParamsRequest{})
	if err != nil {
		return nil, err
	}
	storage, err := storagev1.NewQueryClient(l.now()).Params(ctx, &storagev1.QueryParamsRequest{})
	if err != nil {
		return nil, err
	}
	deal, err := dealv1.NewQueryClient(l.now()).Params(ctx, &dealv1.QueryParamsRequest{})
	if err != nil {
		return nil, err
	}
	all := map[string]json.RawMessage{}
	for name, p := range map[string]proto.Message{
		"committee": &committee.Params, "registry": &registry.Params, "escrow": &escrow.Params, "reward": &reward.Params, "bond": &bond.Params, "audit": &audit.Params, "storage": &storage.Params,
		"deal": &deal.Params, "gov": gov.Params,
	} {
		if all[name], err = l.words.codec.MarshalJSON(p); err != nil {
			return nil, fmt.Errorf("parameters of %s: %w", name, err)
		}
	}
	return all, nil
}

// voted are the modules whose parameters ChangeParams can change, in the order of its messages.
var voted = []string{"committee", "registry", "escrow", "reward", "bond", "audit", "storage", "deal"}

// ChangeParams makes the messages that change parameters, given as MODULE.KEY and its new value. All others stay as they are now.
func (l *Ledger) ChangeParams(ctx context.Context, changes map[string]string) ([]Message, error) {
	now, err := l.Params(ctx)
	if err != nil {
		return nil, err
	}
	sorted := map[string]map[string]json.RawMessage{}
	for where, value := range changes {
		module, key, _ := strings.Cut(where, ".")
		if !slices.Contains(voted, module) {
			return nil, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("%q is no parameter", where), Hint: "name it as MODULE.KEY, such as committee.seats; see hpips gov params"}
		}
		if sorted[module] == nil {
			var present map[string]json.RawMessage
			if err := json.Unmarshal(now[module], &present); err != nil {
				return nil, fmt.Errorf("parameters of %s: %w", module, err)
			}
			sorted[module] = present
		}
		old, ok := sorted[module][key]
		if !ok {
			return nil, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("%s has no parameter %q", module, key), Hint: "see hpips gov params"}
		}
		if sorted[module][key], err = likewise(old, value); err != nil {
			return nil, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("%s: %q is not such a value as the present %s", where, value, old), Hint: "see hpips gov params"}
		}
	}
	var all []Message
	for _, module := range voted {
		if sorted[module] == nil {
			continue
		}
		text, err := json.Marshal(sorted[module])
		if err != nil {
			return nil, err
		}
		m, err := l.update(module, text)
		if err != nil {
			return nil, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("parameters of %s: %v", module, err), Hint: "see hpips gov params"}
		}
		all = append(all, m)
	}
	return all, nil
}

// likewise writes a value in the JSON form of the one that it replaces.
func likewise(old json.RawMessage, value string) (json.RawMessage, error) {
	if strings.HasPrefix(string(old), `"`) {
		return json.Marshal(value)
	}
	if !json.Valid([]byte(value)) {
		return nil, errors.New("not JSON")
	}
	return json.RawMessage(value), nil
}

func (l *Ledger) update(module string, params []byte) (Message, error) {
	switch module {
	case "registry":
		m := &registryv1.MsgUpdateParams{Authority: Authority()}
		return m, l.words.codec.UnmarshalJSON(params, &m.Params)
	case "escrow":
		m := &escrowv1.MsgUpdateParams{Authority: Authority()}
		return m, l.words.codec.UnmarshalJSON(params, &m.Params)
	case "reward":
		m := &rewardv1.MsgUpdateParams{Authority: Authority()}
		return m, l.words.codec.UnmarshalJSON(params, &m.Params)
	case "bond":
		m := &bondv1.MsgUpdateParams{Authority: Authority()}
		return m, l.words.codec.UnmarshalJSON(params, &m.Params)
	case "audit":
		m := &auditv1.MsgUpdateParams{Authority: Authority()}
		return m, l.words.codec.UnmarshalJSON(params, &m.Params)
	case "deal":
		m := &dealv1.MsgUpdateParams{Authority: Authority()}
		return m, l.words.codec.UnmarshalJSON(params, &m.Params)
	case "storage":
		m := &storagev1.MsgUpdateParams{Authority: Authority()}
		return m, l.words.codec.UnmarshalJSON(params, &m.Params)
	}
	m := &committeev1.MsgUpdateParams{Authority: Authority()}
	return m, l.words.codec.UnmarshalJSON(params, &m.Params)
}

// Messages reads messages as a file for a proposal holds them: a JSON list, each with its "@type". An authority may be left out.
func (l *Ledger) Messages(text []byte) ([]Message, error) {
	var list []map[string]json.RawMessage
	if err := json.Unmarshal(text, &list); err == nil {
		for _, one := range list {
			for _, name := range []string{"UpdateParams", "Release", "SoftwareUpgrade", "CancelUpgrade"} {
				if one["authority"] == nil && strings.HasSuffix(string(one["@type"]), `.Msg`+name+`"`) {
					one["authority"], _ = json.Marshal(Authority())
				}
			}
		}
		if text, err = json.Marshal(list); err != nil {
			return nil, err
		}
	}
	all, err := l.words.read(text)
	if err != nil {
		return nil, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("the messages: %v", err), Hint: `a file is a JSON list such as [{"@type": "/hpips.supply.v1.MsgRelease", …}]`}
	}
	return all, nil
}

// Allowance tells what a spending key may still take from its owner's account for fees in this period of a day, and whether it may at all.
func (l *Ledger) Allowance(ctx context.Context, owner, spender string) (left money.Amount, there bool, err error) {
	r, err := feegrant.NewQueryClient(l.now()).Allowance(ctx, &feegrant.QueryAllowanceRequest{Granter: owner, Grantee: spender})
	var no *Refused
	if errors.As(err, &no) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	var given feegrant.FeeAllowanceI
	if err := l.words.registry.UnpackAny(r.Allowance.Allowance, &given); err != nil {
		return 0, true, fmt.Errorf("allowance: %w", err)
	}
	limit, ok := given.(*feegrant.AllowedMsgAllowance)
	if !ok {
		return 0, true, nil
	}
	inner, err := limit.GetAllowance()
	if periodic, ok := inner.(*feegrant.PeriodicAllowance); ok && err == nil {
		left = amount(periodic.PeriodCanSpend.AmountOf(money.Denom))
	}
	return left, true, nil
}

// Proposal is the number of the proposal that a transaction put to the vote, 0 if it put none.
func (r Receipt) Proposal() uint64 {
	for _, e := range r.Events {
		if id, err := strconv.ParseUint(e.Attributes["proposal_id"], 10, 64); e.Type == "submit_proposal" && err == nil {
			return id
		}
	}
	return 0
}
