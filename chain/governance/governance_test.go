package governance

import (
	"errors"
	"strings"
	"testing"
	"time"

	"cosmossdk.io/core/appmodule"
	"cosmossdk.io/math"
	"pgregory.net/rapid"

	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/x/authz"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"
	govkeeper "github.com/cosmos/cosmos-sdk/x/gov/keeper"
	govtypes "github.com/cosmos/cosmos-sdk/x/gov/types"
	v1 "github.com/cosmos/cosmos-sdk/x/gov/types/v1"
	upgradetypes "github.com/cosmos/cosmos-sdk/x/upgrade/types"

	"github.com/hpips/hpips/proto/gen/governancev1"
	"github.com/hpips/hpips/proto/gen/supplyv1"
)

const (
	yes     = v1.OptionYes
	no      = v1.OptionNo
	veto    = v1.OptionNoWithVeto
	abstain = v1.OptionAbstain
)

func release(to string) sdk.Msg {
	return &supplyv1.MsgRelease{Authority: authority, From: "community", To: at(to).String(), Amount: math.NewInt(hpips)}
}

// house is a count in whole tickets or HPIPS.
func house(h governancev1.House, unit int64) [4]int64 {
	return [4]int64{h.All.QuoRaw(unit).Int64(), h.Yes.QuoRaw(unit).Int64(), h.No.QuoRaw(unit).Int64(), h.Abstain.QuoRaw(unit).Int64()}
}

func TestAProposalNeedsBothHouses(t *testing.T) {
	// alice has the tickets, bob has the HPIPS, carol has a little of both.
	for name, row := range map[string]struct {
		alice, bob v1.VoteOption
		want       v1.ProposalStatus
	}{
		"both":          {yes, yes, v1.StatusPassed},
		"tickets alone": {yes, no, v1.StatusRejected},
		"money alone":   {no, yes, v1.StatusRejected},
		"veto":          {yes, veto, v1.StatusRejected},
		"abstains":      {yes, abstain, v1.StatusPassed}, // carol's yes remains, and more than a tenth was there
		"nobody":        {no, no, v1.StatusRejected},
	} {
		s := founded(t, map[string]int64{"alice": 10, "bob": 1000, "carol": 20}, map[string]int{"alice": 10, "carol": 1})
		id := s.open("carol")
		s.says(id, yes, "carol")
		s.says(id, row.alice, "alice")
		s.says(id, row.bob, "bob")
		s.close()
		if got := s.status(id); got != row.want {
			t.Errorf("%s: %s, %+v", name, got, s.tally(id))
		}
	}
}

func TestTheHousesAreCounted(t *testing.T) {
	s := founded(t, map[string]int64{"alice": 100, "bob": 30, bystander: 1000}, map[string]int{"alice": 3, "bob": 1, bystander: 4})
	id := s.open("alice")
	s.says(id, yes, "alice")
	s.says(id, veto, "bob")
	r := s.tally(id)
	if got := house(r.Result.Tickets, 1); got != [4]int64{8, 3, 1, 0} || !r.Open || !r.Result.Tickets.Passes {
		t.Errorf("tickets: %v", got)
	}
	// One HPIPS of alice's is x/gov's while it lies there as a deposit.
	if got := house(r.Result.Holdings, hpips); got != [4]int64{1129, 99, 30, 0} || !r.Result.Holdings.Passes {
		t.Errorf("holdings: %v", got)
	}
	shown, err := govkeeper.NewQueryServer(s.gov).TallyResult(s.ctx, &v1.QueryTallyResultRequest{ProposalId: id})
	if err != nil || shown.Tally.YesCount != "99000000" || shown.Tally.NoCount != "30000000" || shown.Tally.NoWithVetoCount != "0" {
		t.Errorf("x/gov shows %+v, %v", shown, err)
	}
}

func TestAfterTheEndTheResultStaysAndThePapersGo(t *testing.T) {
	s := founded(t, map[string]int64{"alice": 100, "bob": 30}, map[string]int{"alice": 3, "bob": 1})
	id := s.open("alice")
	s.says(id, yes, "alice")
	s.says(id, no, "bob")
	s.close()
	r := s.tally(id)
	if r.Open || !r.Result.Tickets.Passes || !r.Result.Holdings.Passes || s.status(id) != v1.StatusPassed {
		t.Errorf("ended as %+v", r)
	}
	if err := s.send("alice", "bob", 50); err != nil {
		t.Fatal(err)
	}
	s.block(time.Second)
	if after := s.tally(id); after.Result.Holdings.Yes.String() != r.Result.Holdings.Yes.String() {
		t.Errorf("a send after the end changed it: %+v", after)
	}
	for _, table := range []string{"ballots", "papers", "voters", "touched"} {
		if !strings.Contains(s.export(), `"`+table+`": []`) {
			t.Errorf("%s are left: %s", table, s.export())
		}
	}
	if _, err := (queries{s.keeper, s.gov}).Tally(s.ctx, &governancev1.QueryTallyRequest{Proposal: 99}); !errors.Is(err, ErrUnknown) {
		t.Errorf("of no proposal: %v", err)
	}
}

func TestATenthVotesInEachHouse(t *testing.T) {
	for name, row := range map[string]struct {
		holdings int64 // bob's, beside alice's 110: one is her deposit
		tickets  int   // beside alice's 1
		want     v1.ProposalStatus
	}{
		"just a tenth of both": {981, 9, v1.StatusPassed}, // 109 of 1,090
		"a few HPIPS less":     {982, 9, v1.StatusRejected},
		"a ticket less":        {981, 10, v1.StatusRejected},
	} {
		s := founded(t, map[string]int64{"alice": 110, "bob": row.holdings}, map[string]int{"alice": 1, "bob": row.tickets})
		id := s.open("alice")
		s.says(id, yes, "alice")
		s.close()
		if got := s.status(id); got != row.want {
			t.Errorf("%s: %s, %+v", name, got, s.tally(id))
		}
	}
}

func TestReleasesAndUpgradesNeedTwoThirds(t *testing.T) {
	for name, row := range map[string]struct {
		bob, carol int64 // yes and no, in HPIPS
		tickets    [2]int
		message    bool
		want       v1.ProposalStatus
	}{
		"two thirds":            {200, 100, [2]int{2, 1}, true, v1.StatusPassed},
		"money short":           {199, 100, [2]int{2, 1}, true, v1.StatusRejected},
		"tickets short":         {200, 100, [2]int{19, 10}, true, v1.StatusRejected},
		"text needs a majority": {101, 100, [2]int{11, 10}, false, v1.StatusPassed},
		"a tie is none":         {100, 100, [2]int{2, 1}, false, v1.StatusRejected},
	} {
		s := founded(t, map[string]int64{"alice": 1, "bob": row.bob, "carol": row.carol}, map[string]int{"bob": row.tickets[0], "carol": row.tickets[1]})
		var messages []sdk.Msg
		if row.message {
			messages = append(messages, release("bob"))
		}
		id := s.open("alice", messages...)
		s.says(id, yes, "bob")
		s.says(id, no, "carol")
		s.close()
		if got := s.status(id); got != row.want {
			t.Errorf("%s: %s, %+v", name, got, s.tally(id))
		}
		if (len(s.released) > 0) != (row.message && row.want == v1.StatusPassed) {
			t.Errorf("%s: released %v", name, s.released)
		}
	}
	for _, m := range []sdk.Msg{&upgradetypes.MsgSoftwareUpgrade{}, &upgradetypes.MsgCancelUpgrade{}, &supplyv1.MsgRelease{}} {
		p, err := v1.NewProposal([]sdk.Msg{m}, 1, time.Time{}, time.Time{}, "", "", "", at("alice"), false)
		if err != nil || !twoThirds(p) {
			t.Errorf("%s: no two thirds, %v", sdk.MsgTypeURL(m), err)
		}
	}
}

func TestVotesCountWhatIsHeldUntilTheClose(t *testing.T) {
	for name, row := range map[string]struct {
		story func(*testing.T, *town, uint64)
		want  int64 // yes in HPIPS; alice has 100, bob 0, lender 500, and alice's vote stands
	}{
		"held": {func(*testing.T, *town, uint64) {}, 100},
		"voted, sent, voted again by bob": {func(t *testing.T, s *town, id uint64) {
			if err := s.send("alice", "bob", 100); err != nil {
				t.Fatal(err)
			}
			s.says(id, yes, "bob")
		}, 100},
		"the same over three blocks": {func(t *testing.T, s *town, id uint64) {
			s.block(time.Second)
			if err := s.send("alice", "bob", 100); err != nil {
				t.Fatal(err)
			}
			s.block(time.Second)
			s.says(id, yes, "bob")
		}, 100},
		"round and back in one block": {func(t *testing.T, s *town, id uint64) {
			if err := s.send("alice", "bob", 100); err != nil {
				t.Fatal(err)
			}
			s.says(id, yes, "bob")
			if err := s.send("bob", "alice", 100); err != nil {
				t.Fatal(err)
			}
		}, 100},
		"sent to two at once, who vote": {func(t *testing.T, s *town, id uint64) {
			outputs := []banktypes.Output{banktypes.NewOutput(at("bob"), hp(50)), banktypes.NewOutput(at("carol"), hp(50))}
			err := s.try(func(ctx sdk.Context) error {
				return s.bank.InputOutputCoins(ctx, banktypes.NewInput(at("alice"), hp(100)), outputs)
			})
			if err != nil {
				t.Fatal(err)
			}
			s.says(id, yes, "bob", "carol")
		}, 100},
		"sent away and got back": {func(t *testing.T, s *town, _ uint64) {
			if err := s.send("alice", "bob", 70); err != nil {
				t.Fatal(err)
			}
			s.block(time.Second)
			if err := s.send("bob", "alice", 70); err != nil {
				t.Fatal(err)
			}
		}, 30},
		"borrowed at the close": {func(t *testing.T, s *town, _ uint64) {
			if err := s.send("lender", "alice", 500); err != nil {
				t.Fatal(err)
			}
		}, 100},
		"borrowed, and voted again": {func(t *testing.T, s *town, id uint64) {
			if err := s.send("lender", "alice", 500); err != nil {
				t.Fatal(err)
			}
			s.says(id, yes, "alice")
		}, 100},
		"borrowed from one who voted": {func(t *testing.T, s *town, id uint64) {
			s.says(id, no, "lender")
			if err := s.send("lender", "bob", 500); err != nil {
				t.Fatal(err)
			}
			s.says(id, no, "bob")
		}, 100},
	} {
		s := founded(t, map[string]int64{"alice": 100, "lender": 500, "carol": 0, "proposer": 1}, map[string]int{"alice": 1})
		id := s.open("proposer")
		s.says(id, yes, "alice")
		row.story(t, s, id)
		s.block(time.Second)
		if got := house(s.tally(id).Result.Holdings, hpips); got[1] != row.want || got[2] > 500 {
			t.Errorf("%s: %v, want %d yes", name, got, row.want)
		}
		s.close()
		if got := house(s.tally(id).Result.Holdings, hpips); got[1] != row.want {
			t.Errorf("%s, closed: %v, want %d yes", name, got, row.want)
		}
	}
}

// Alice votes with 100 HPIPS, 60 of which lie in escrow. 30 of them become final: nothing is sent from her, and she votes with 70. What
// comes back to her, or goes from her balance into escrow, changes nothing.
func TestAHoldingFallsWithoutASend(t *testing.T) {
	s := founded(t, map[string]int64{"alice": 40, "bob": 500, "proposer": 1}, map[string]int{"alice": 1})
	s.reserve("alice", 60)
	id := s.open("proposer")
	s.says(id, yes, "alice")
	for _, row := range []struct {
		story func()
		want  int64
	}{
		{func() {}, 100},
		{func() { s.reserve("alice", -30) }, 70},
		{func() { s.reserve("alice", 30) }, 70},
		{func() { s.reserve("bob", 30); s.reserve("bob", -30) }, 70},
		{func() {
			if err := s.send("alice", "bob", 20); err != nil { // a deposit
				t.Fatal(err)
			}
			s.reserve("alice", 20)
		}, 70},
		{func() { s.reserve("alice", -80) }, 20},
	} {
		row.story()
		s.block(time.Second)
		if got := house(s.tally(id).Result.Holdings, hpips); got[1] != row.want {
			t.Errorf("alice votes with %d, want %d", got[1], row.want)
		}
	}
	if !strings.Contains(s.export(), `"touched": []`) {
		t.Errorf("somebody is still to be counted: %s", s.export())
	}
}

func TestASendInTheClosingBlockCounts(t *testing.T) {
	s := founded(t, map[string]int64{"alice": 100, "proposer": 1, bystander: 10}, map[string]int{"alice": 1})
	id := s.open("proposer")
	s.says(id, yes, "alice")
	s.block(time.Minute)
	if err := s.send("alice", bystander, 95); err != nil {
		t.Fatal(err)
	}
	s.block(time.Second)
	if got := house(s.tally(id).Result.Holdings, hpips); got[1] != 5 || s.status(id) == v1.StatusVotingPeriod {
		t.Errorf("%v", got)
	}
}

func TestTicketsCountAsAtTheOpening(t *testing.T) {
	s := founded(t, map[string]int64{"alice": 100, "bob": 100, "proposer": 1}, map[string]int{"alice": 2})
	id := s.open("proposer")
	s.tickets[at("bob").String()] = []int64{s.ctx.BlockHeight(), s.ctx.BlockHeight() + 1}
	s.block(time.Second)
	s.says(id, no, "bob")
	s.says(id, yes, "alice")
	if got := house(s.tally(id).Result.Tickets, 1); got != [4]int64{2, 2, 0, 0} {
		t.Errorf("%v", got)
	}
	// A vote again after the tickets have gone keeps them: they were there at the opening.
	s.tickets[at("alice").String()] = nil
	s.says(id, no, "alice")
	if got := house(s.tally(id).Result.Tickets, 1); got != [4]int64{2, 0, 2, 0} {
		t.Errorf("after another vote: %v", got)
	}
}

func TestVotesMayBeSplit(t *testing.T) {
	s := founded(t, map[string]int64{"alice": 100, "proposer": 1}, map[string]int{"alice": 1})
	id := s.open("proposer")
	part := func(o v1.VoteOption, w string) *v1.WeightedVoteOption {
		return v1.NewWeightedVoteOption(o, math.LegacyMustNewDecFromStr(w))
	}
	if err := s.split("alice", id, part(no, "0.3"), part(yes, "0.6"), part(abstain, "0.1")); err != nil {
		t.Fatal(err)
	}
	r := s.tally(id).Result
	if got := house(r.Holdings, hpips); got != [4]int64{100, 60, 30, 10} {
		t.Errorf("holdings %v", got)
	}
	if got := house(r.Tickets, 1); got != [4]int64{1, 1, 0, 0} {
		t.Errorf("one ticket is split: %v", got)
	}
	if err := s.send("alice", "bob", 50); err != nil {
		t.Fatal(err)
	}
	s.block(time.Second)
	if got := house(s.tally(id).Result.Holdings, hpips); got != [4]int64{100, 30, 15, 5} {
		t.Errorf("after a send %v", got)
	}
}

func TestDepositsNeverBurn(t *testing.T) {
	total := func(s *town) string { return s.bank.GetSupply(s.ctx, denom).String() }
	kept := func(s *town) string { return s.bank.GetBalance(s.ctx, at("carol"), denom).String() }
	for name, story := range map[string]func(*testing.T, *town){
		"canceled before the vote": func(t *testing.T, s *town) {
			id, err := s.submit("carol", sdk.NewCoins(sdk.NewInt64Coin(denom, hpips/2)), false)
			if err != nil {
				t.Fatal(err)
			}
			cancel(t, s, id)
		},
		"canceled while votes are cast": func(t *testing.T, s *town) {
			id := s.open("carol")
			s.says(id, no, "alice")
			cancel(t, s, id)
			if err := s.send("alice", "bob", 1); err != nil {
				t.Fatal(err)
			}
			s.block(time.Second)
			if !strings.Contains(s.export(), `"papers": []`) || !strings.Contains(s.export(), `"results": []`) {
				t.Errorf("left: %s", s.export())
			}
		},
		"vetoed":           func(_ *testing.T, s *town) { s.says(s.open("carol"), veto, "alice") },
		"not voted on":     func(_ *testing.T, s *town) { s.open("carol") },
		"passed":           func(_ *testing.T, s *town) { s.says(s.open("carol"), yes, "alice") },
		"never enough":     func(t *testing.T, s *town) { s.submitted(t, hpips/2) },
		"hurried and lost": func(t *testing.T, s *town) { s.hurried(t) },
	} {
		s := founded(t, map[string]int64{"alice": 100, "carol": 20}, map[string]int{"alice": 1})
		supply, had := total(s), kept(s)
		story(t, s)
		s.close()
		s.close()
		if total(s) != supply || kept(s) != had {
			t.Errorf("%s: supply %s of %s, carol has %s of %s", name, total(s), supply, kept(s), had)
		}
	}
}

func cancel(t *testing.T, s *town, id uint64) {
	err := s.try(func(ctx sdk.Context) error {
		_, err := s.server.CancelProposal(ctx, v1.NewMsgCancelProposal(id, at("carol").String()))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (s *town) submitted(t *testing.T, n int64) {
	if _, err := s.submit("carol", sdk.NewCoins(sdk.NewInt64Coin(denom, n)), false); err != nil {
		t.Fatal(err)
	}
}

func (s *town) hurried(t *testing.T) uint64 {
	id, err := s.propose("carol", true)
	if err != nil {
		t.Fatal(err)
	}
	s.says(id, no, "alice")
	return id
}

func TestAHurriedProposalNeedsTwoThirdsOrTheWholeTime(t *testing.T) {
	s := founded(t, map[string]int64{"alice": 60, "bob": 40, "carol": 5}, map[string]int{"alice": 6, "bob": 4})
	id, err := s.propose("carol", true)
	if err != nil {
		t.Fatal(err)
	}
	s.says(id, yes, "alice")
	s.says(id, no, "bob")
	s.block(31 * time.Second)
	s.block(time.Second)
	if got := s.status(id); got != v1.StatusVotingPeriod || !s.tally(id).Open {
		t.Fatalf("after half the time: %s", got)
	}
	// The votes stand, and what happens to the holdings still counts.
	if err := s.send("bob", "carol", 30); err != nil {
		t.Fatal(err)
	}
	s.close()
	if got := house(s.tally(id).Result.Holdings, hpips); s.status(id) != v1.StatusPassed || got[1] != 60 || got[2] != 10 {
		t.Errorf("in the end: %s, %v", s.status(id), got)
	}
}

func TestProposalsHoldOnlyWhatAVoteMayDecide(t *testing.T) {
	params := GovGenesis(true, time.Minute).Params
	with := func(change func(*v1.Params)) sdk.Msg {
		p := *params
		change(&p)
		return &v1.MsgUpdateParams{Authority: authority, Params: p}
	}
	grant, err := authz.NewMsgGrant(sdk.MustAccAddressFromBech32(authority), at("carol"), authz.NewGenericAuthorization("/hpips.supply.v1.MsgRelease"), nil)
	if err != nil {
		t.Fatal(err)
	}
	exec := authz.NewMsgExec(sdk.MustAccAddressFromBech32(authority), []sdk.Msg{release("carol")})
	s := founded(t, map[string]int64{"alice": 100}, map[string]int{"alice": 1})
	for name, row := range map[string]struct {
		message sdk.Msg
		want    error
	}{
		"others' deposits":       {banktypes.NewMsgSend(sdk.MustAccAddressFromBech32(authority), at("carol"), hp(1)), ErrMessage},
		"a release for carol":    {&supplyv1.MsgRelease{Authority: at("carol").String()}, govtypes.ErrInvalidSigner},
		"a right to release":     {grant, govtypes.ErrUnroutableProposalMsg},
		"a release in a cover":   {&exec, govtypes.ErrUnroutableProposalMsg},
		"veto burns":             {with(func(p *v1.Params) { p.BurnVoteVeto = true }), ErrBurns},
		"quorum burns":           {with(func(p *v1.Params) { p.BurnVoteQuorum = true }), ErrBurns},
		"lateness burns":         {with(func(p *v1.Params) { p.BurnProposalDepositPrevote = true }), ErrBurns},
		"canceling costs":        {with(func(p *v1.Params) { p.ProposalCancelRatio = "0.5" }), ErrBurns},
		"a ratio that is none":   {with(func(p *v1.Params) { p.ProposalCancelRatio = "" }), ErrBurns},
		"another voting period":  {with(func(p *v1.Params) { p.MinDepositRatio = "0.02" }), nil},
		"a release by the house": {release("bob"), nil},
	} {
		if _, err := s.propose("alice", false, row.message); !errors.Is(err, row.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, m := range []sdk.Msg{grant, &exec} { // as if x/authz were mounted
		p, err := v1.NewProposal([]sdk.Msg{m}, 1, time.Time{}, time.Time{}, "", "", "", at("alice"), false)
		if err != nil || !errors.Is(checkMessages(p), ErrMessage) {
			t.Errorf("%s passes: %v", sdk.MsgTypeURL(m), err)
		}
	}
}

// Whatever x/gov's own parameters say, the two houses decide.
func TestXGovsParametersDecideNothing(t *testing.T) {
	for _, threshold := range []string{"0.1", "0.999"} {
		s := founded(t, map[string]int64{"alice": 90, "bob": 40, "proposer": 8}, map[string]int{"alice": 1})
		p := *GovGenesis(true, time.Minute).Params
		p.Threshold, p.ExpeditedThreshold, p.VetoThreshold, p.Quorum = threshold, "1.0", "0.01", "1.0"
		if err := errors.Join(p.ValidateBasic(), s.gov.Params.Set(s.ctx, p)); err != nil {
			t.Fatal(err)
		}
		good, bad := s.open("proposer"), s.open("proposer")
		hurried, err := s.propose("proposer", true)
		if err != nil {
			t.Fatal(err)
		}
		s.says(hurried, yes, "alice")
		s.says(hurried, veto, "bob")
		s.says(good, yes, "alice")
		s.says(good, veto, "bob")
		s.says(bad, yes, "bob")
		s.close()
		if s.status(good) != v1.StatusPassed || s.status(bad) != v1.StatusRejected || s.status(hurried) != v1.StatusPassed {
			t.Errorf("threshold %s: %s, %s, hurried %s", threshold, s.status(good), s.status(bad), s.status(hurried))
		}
	}
}

func TestWithoutAVoteNothingIsWritten(t *testing.T) {
	s := founded(t, map[string]int64{"alice": 100}, nil)
	before := s.export()
	if err := s.send("alice", "bob", 1); err != nil {
		t.Fatal(err)
	}
	s.block(time.Second)
	if after := s.export(); after != before {
		t.Errorf("%s", after)
	}
}

func TestTheGenesisOfXGovIsValid(t *testing.T) {
	for _, dev := range []bool{true, false} {
		g := GovGenesis(dev, 24*time.Hour)
		if err := v1.ValidateGenesis(g); err != nil || burns(*g.Params) {
			t.Errorf("dev %v: %v", dev, err)
		}
		if want := map[bool]int64{true: 1, false: 100}[dev]; !sdk.Coins(g.Params.MinDeposit).Equal(hp(want)) {
			t.Errorf("dev %v: deposit %s", dev, g.Params.MinDeposit)
		}
	}
	if p := GovGenesis(false, 24*time.Hour).Params; *p.VotingPeriod != 7*24*time.Hour {
		t.Errorf("a vote takes %v", p.VotingPeriod)
	}
}

func TestGenesisGoesOutAndInDuringAVote(t *testing.T) {
	var _ appmodule.HasGenesis = Module{}
	var _ appmodule.HasEndBlocker = Module{}
	s := founded(t, map[string]int64{"alice": 100, "bob": 30}, map[string]int{"alice": 3})
	id := s.open("alice")
	s.says(id, yes, "alice", "bob")
	s.block(time.Second)
	if err := s.send("bob", "alice", 10); err != nil { // not counted yet
		t.Fatal(err)
	}
	out := s.export()
	again := bare(t, steps)
	again.fill(out)
	if back := again.export(); back != out {
		t.Errorf("out:\n%s\nback:\n%s", out, back)
	}
	if n, err := again.keeper.openBallots(again.ctx); n != 1 || err != nil {
		t.Errorf("%d open, %v", n, err)
	}
}

// Random histories against a model that is told of each vote and looks at each balance at the end of each block.
func TestTheLowestHoldingCountsWhateverHappens(t *testing.T) {
	people := []string{"alice", "bob", "carol", "dave"}
	type paper struct {
		lowest int64
		yes    bool
	}
	rapid.Check(t, func(r *rapid.T) {
		s := founded(r, map[string]int64{"alice": 100, "bob": 70, "carol": 5, "proposer": 2}, map[string]int{"alice": 1, "dave": 2})
		ids := []uint64{s.open("proposer"), s.open("proposer")}
		papers := map[uint64]map[string]*paper{ids[0]: {}, ids[1]: {}}
		who := rapid.SampledFrom(people)
		has := func(name string) int64 { return s.bank.GetBalance(s.ctx, at(name), denom).Amount.Int64() / hpips }
		r.Repeat(map[string]func(*rapid.T){
			"send": func(r *rapid.T) {
				_ = s.send(who.Draw(r, "from"), who.Draw(r, "to"), rapid.Int64Range(1, 100).Draw(r, "n"))
			},
			"vote": func(r *rapid.T) {
				id, name, o := rapid.SampledFrom(ids).Draw(r, "id"), who.Draw(r, "who"), rapid.SampledFrom([]v1.VoteOption{yes, veto}).Draw(r, "option")
				s.says(id, o, name)
				p := papers[id][name]
				if p == nil {
					p = &paper{lowest: has(name)}
					papers[id][name] = p
				}
				p.lowest, p.yes = min(p.lowest, has(name)), o == yes
			},
			"block": func(r *rapid.T) {
				s.block(time.Millisecond)
				for _, id := range ids {
					var sums [2]int64
					for name, p := range papers[id] {
						if p.lowest = min(p.lowest, has(name)); p.yes {
							sums[0] += p.lowest
						} else {
							sums[1] += p.lowest
						}
					}
					got := house(s.tally(id).Result.Holdings, hpips)
					if got[1] != sums[0] || got[2] != sums[1] || got[1]+got[2] > got[0] {
						r.Fatalf("proposal %d: %v, want %v", id, got, sums)
					}
				}
			},
		})
		s.close()
		for _, id := range ids {
			result := s.tally(id).Result
			if both := result.Tickets.Passes && result.Holdings.Passes; both != (s.status(id) == v1.StatusPassed) {
				r.Fatalf("%+v ended %s", result, s.status(id))
			}
		}
	})
}
