package ledger

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/cometbft/cometbft/rpc/core"

	"github.com/hpips/hpips/spec/job"
)

// A node that was just started takes no transactions for a moment: that is no refusal, and goes away by itself.
func TestANodeThatCatchesUpIsAway(t *testing.T) {
	var f *job.Failure
	l := &Ledger{place: "this process"}
	if err := l.unreachable(context.Background(), core.ErrEndpointClosedCatchingUp); !errors.As(err, &f) || f.Code != job.CodeUnavailable {
		t.Errorf("%v", err)
	}
	if err := l.unreachable(context.Background(), errors.New("no")); errors.As(err, &f) && f.Code == job.CodeUnavailable && strings.Contains(err.Error(), "head") {
		t.Errorf("%v", err)
	}
}

// What a refusal says first is why, not what was refused.
func TestARefusalSaysWhy(t *testing.T) {
	long := strings.Repeat(`deposits:<lease:"\001: x" amount:"300000" until:1795715782 > `, 20)
	for text, want := range map[string]string{
		"failed to execute message; message index: 0: node is not there":                                                                  "node is not there",
		`failed to execute message; message payer:"hpips1alice" ` + long + ": until 7, at 8: end of the term":                             "until 7, at 8: end of the term",
		`failed to execute message; message index: 0: failed to execute message; message payer:"hpips1alice" ` + long + `: gone`:          "gone",
		`failed to execute message; message index: 0: failed to execute message; message sender:"hpips1alice" leases:"\\001\\310" : gone`: "gone",
		"rpc error: code = Unknown desc = plain": "plain",
	} {
		if got := (&Refused{Log: text}).reason(); got != want {
			t.Errorf("%.80s: %q, want %q", text, got, want)
		}
	}
}

// A refusal that a simulation or a block finds is told in what the person typed, with the exit code that fits.
func TestARefusalIsInTheUnitsOfPeople(t *testing.T) {
	for _, c := range []struct {
		what Refused
		code job.Code
		want string
	}{
		{Refused{"undefined", 1, "failed to execute message; message index: 0: place: spendable balance 2000000uhpips is smaller than 90500000uhpips: insufficient funds [x/send.go:324]"},
			job.CodeFunds, "not enough HPIPS: 2.000000 are there, 90.500000 are wanted"},
		{Refused{"undefined", 1, "place: spendable balance 1ucredit is smaller than 45ucredit: insufficient funds"}, job.CodeFunds, "not enough ucredit: 1 are there, 45 are wanted"},
		{Refused{"exchange", 10, "failed to execute message; message index: 0: 500000uhpips, the least is 1000000: order is too small"}, job.CodeUsage,
			"the order is too small: it is for 0.500000 HPIPS, the least is 1.000000"},
		{Refused{"exchange", 9, "0uhpips: amount is not possible"}, job.CodeUsage, "no amount"},
		{Refused{"exchange", 8, "5: want more"}, job.CodeUsage, "limit is not possible"},
		{Refused{"exchange", 11, "100: account has as many"}, job.CodeUsage, "as many open orders as it may: 100"},
		{Refused{"exchange", 12, "failed to execute message; message index: 0: 5: no such open order"}, job.CodeNotFound, "there is no open order 5"},
		{Refused{"exchange", 13, "5: order is somebody else's"}, job.CodeUsage, "order 5 is somebody else's"},
		{Refused{"reward", 7, "nothing whole is owed yet"}, job.CodeUnavailable, "there is nothing to claim yet"},
	} {
		var f *job.Failure
		if !errors.As(&c.what, &f) || f.Code != c.code || !strings.Contains(f.Message, c.want) || f.Hint == "" {
			t.Errorf("%s: %+v", c.what.Log, f)
		}
	}
	credit := Asset{Denom: "ucredit", Name: "CREDIT", Decimals: 6}
	err := credit.Words(&Refused{"undefined", 1, "place: spendable balance 1500000ucredit is smaller than 45000000ucredit: insufficient funds"})
	if f := (*job.Failure)(nil); !errors.As(err, &f) || f.Code != job.CodeFunds || f.Message != "not enough CREDIT: 1.500000 are there, 45.000000 are wanted" {
		t.Errorf("%v", err)
	}
	for _, text := range []string{"0.123456", "0", "x", "", "-1", "1e3"} {
		if n, err := credit.Parse(text); err == nil {
			t.Errorf("%q is a price of %d", text, n)
		}
	}
}
