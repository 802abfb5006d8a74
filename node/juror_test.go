package node

import (
	"crypto/ed25519"
	"errors"
	"math"
	"testing"

	"github.com/hpips/hpips/auditor"
	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/pay"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/money"
)

// A chain node that is not up yet, has no block yet or is behind tells of that itself: neither a juror nor a payee calls it a fault of its own.
func TestAChainNodeThatIsAwayIsNoFault(t *testing.T) {
	for _, row := range []struct {
		err  error
		away bool
	}{
		{nil, false},
		{&ledger.Refused{Codespace: "sdk", Code: 26, Log: "testchain is not ready; please wait for first block: invalid height"}, true},
		{&ledger.Refused{Codespace: "sdk", Code: 26, Log: "failed to load state at height 7"}, false},
		{&job.Failure{Code: job.CodeUnavailable, Message: "no chain node answers"}, true},
		{errors.New("a bad answer"), false},
	} {
		if err := absent(auditor.ErrAway, row.err); errors.Is(err, auditor.ErrAway) != row.away || !errors.Is(err, row.err) {
			t.Errorf("%v: %v", row.err, err)
		}
	}
	b, p := bar{c: &chaining{keys: ChainKeys{Node: make(ed25519.PrivateKey, ed25519.PrivateKeySize)}}}, &purse{window: func() *ledger.Ledger { return nil }}
	_, err1 := b.Standing(t.Context())
	_, err2 := b.Audits(t.Context())
	_, err3 := b.Disputes(t.Context())
	for i, err := range []error{err1, err2, err3} {
		if !errors.Is(err, auditor.ErrAway) {
			t.Errorf("question %d of a juror without a chain node: %v", i, err)
		}
	}
	if _, err := p.Now(t.Context()); !errors.Is(err, pay.ErrAway) {
		t.Errorf("a question of a payee without a chain node: %v", err)
	}
}

// What is run again costs its juror no more than a multiple of what is paid for it, whoever asks.
func TestWhatIsPaidForBoundsWhatIsRun(t *testing.T) {
	b := bar{least: 180_000}
	for _, row := range []struct {
		denom  string
		amount uint64
		want   uint64
	}{
		{money.Denom, 0, 0}, {money.Denom, 1, 20_000_000}, {money.Denom, 180_000, workUnit}, {money.Denom, math.MaxUint64, math.MaxInt64},
		{"ucredit", 1, 2_000_000_000_000}, {"ucredit", math.MaxUint64, 2_000_000_000_000},
	} {
		if got := b.budget(row.denom, row.amount); got != row.want {
			t.Errorf("%d%s: %d instructions, want %d", row.amount, row.denom, got, row.want)
		}
	}
}

// A loop of few instructions is paid by its time, in which it runs more of them than anything else: what was paid for it is enough for a juror with the same prices.
func TestATightLoopIsLookedAt(t *testing.T) {
	const hour = 3_600_000 // uhpips
	b := bar{least: leastFor(hour)}
	paid := uint64(100) // for a tenth of a second
	if got := b.budget(money.Denom, paid); got < 100_000_000*25 {
		t.Errorf("%d instructions are run for %d uhpips", got, paid)
	}
}
