package ledger

import (
	"crypto/ed25519"
	"testing"

	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/spec/voucher"
)

// Of each redemption bob sees what was promised, the fee, what is his and what is levied; and what each resource cost, where the rates are those by which the
// voucher was reckoned.
func TestWhatARedemptionCameTo(t *testing.T) {
	f, l := newFair(t, "bob")
	f.balances[fairAddress("alice")] = 3_000_000
	f.next(f.opens("one", "alice", "bob", money.Denom))
	f.next(f.redeems("alice", "bob", 100_015, "one"))
	f.next(f.redeems("alice", "bob", 7000, "one"))
	all, err := l.redemptions(t.Context(), fairNode("bob").Public().(ed25519.PublicKey), 100_000)
	if err != nil || len(all) != 2 {
		t.Fatalf("%+v, %v", all, err)
	}
	for i, want := range [][4]string{{"7000", "200", "6120", "680"}, {"100015", "200", "89833", "9982"}} {
		if r := all[i]; r.Amount != want[0] || r.Fee != want[1] || r.Paid != want[2] || r.Levied != want[3] || r.Costs != nil {
			t.Errorf("%+v, want %v", r, want)
		}
	}

	rates := voucher.Rates{CPU: 3_600_000, Memory: 3_600}
	hour := voucher.Usage{CPU: 3_600_000_000_000, Memory: 3600 << 30}
	twice := hour.Add(hour)
	e := Earnings{Redemptions: []Redemption{{Usage: hour, whole: voucher.Voucher{Amount: 7_207_200, Usage: twice}}, {Usage: hour, whole: voucher.Voucher{Amount: 7_207_201, Usage: twice}}}}
	e.Explain(voucher.Rates{}, voucher.Rates{CPU: 1}, rates)
	if c := e.Redemptions[0].Costs; c == nil || *c != (Costs{Rates: rates, CPU: 3_600_000, Memory: 3_600}) {
		t.Errorf("%+v", c)
	}
	if c := e.Redemptions[1].Costs; c != nil {
		t.Errorf("a voucher by other rates: %+v", c)
	}
}
