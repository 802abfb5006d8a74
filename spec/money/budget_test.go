package money

import (
	"testing"

	"pgregory.net/rapid"
)

func TestABudgetOfFive(t *testing.T) {
	if got, want := Divide(5*Scale), (Budget{New: 2 * Scale, Running: 2 * Scale, Fees: Scale}); got != want {
		t.Errorf("5 HPIPS are %v, want %v", got, want)
	}
	if got := Divide(5 * Scale).FeesInPeriod(); got != Scale/2 {
		t.Errorf("%s for fees in a period", got)
	}
}

// The parts are never more than the whole, and next to all of it; the least budget is enough for what it is the least for, and one less is not.
func TestPartsOfABudget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		daily := Amount(rapid.Uint64Range(0, uint64(Total)).Draw(t, "daily"))
		b := Divide(daily)
		if sum := b.New + b.Running + b.Fees; sum > daily || sum+3 < daily || 2*b.FeesInPeriod() > b.Fees {
			t.Fatalf("%d is shared out as %+v", daily, b)
		}
		deposit := Amount(rapid.Uint64Range(0, 1_000_000).Draw(t, "deposit"))
		fees := Amount(rapid.Uint64Range(1, 1_000_000).Draw(t, "fees"))
		enough := func(daily Amount) bool { b := Divide(daily); return b.New >= deposit && b.FeesInPeriod() >= fees }
		if least := LeastBudget(deposit, fees); !enough(least) || enough(least-1) {
			t.Fatalf("deposit %d and fees %d need at least %d", deposit, fees, least)
		}
	})
}
