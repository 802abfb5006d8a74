package node

import (
	"math"
	"testing"

	"github.com/hpips/hpips/spec/money"
)

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
	b := bar{least: hour / fastest}
	paid := uint64(100) // for a tenth of a second
	if got := b.budget(money.Denom, paid); got < 100_000_000*25 {
		t.Errorf("%d instructions are run for %d uhpips", got, paid)
	}
}
