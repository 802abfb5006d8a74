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
		"failed to execute message; message index: 0: node is not there":                                      "node is not there",
		`failed to execute message; message payer:"hpips1alice" ` + long + ": until 7, at 8: end of the term": "until 7, at 8: end of the term",
		"rpc error: code = Unknown desc = plain":                                                              "plain",
	} {
		if got := (&Refused{Log: text}).reason(); got != want {
			t.Errorf("%.80s: %q, want %q", text, got, want)
		}
	}
}
