package ledger

import (
	"context"
	"encoding/hex"
	"math"
	"math/big"
	"strconv"

	"github.com/hpips/hpips/proto/gen/rewardv1"
	"github.com/hpips/hpips/spec/money"
)

// The budget of a day and the shares of it, as economy.md has them.
var (
	budgetParts, budgetOf = big.NewInt(474_758), big.NewInt(1_000_000_000)
	kappaWhole            = big.NewInt(500_000) // millionths
	million               = big.NewInt(1_000_000)
)

// fund reckons bonus and duty of the day, and looks for the payments in the blocks after it.
func (s *settler) fund(ctx context.Context) error {
	rules, err := s.rules.day(s.day.Height)
	if err != nil {
		return err
	}
	f, err := s.fundRules(rules)
	if err != nil {
		return err
	}
	told, err := s.fundTold(ctx)
	if err != nil {
		return err
	}
	all, duties := new(big.Int), new(big.Int)
	for _, p := range s.day.Providers {
		bonus, duty := f.earns(p)
		if p.Bonus != bonus.String() || p.Duty != duty.String() {
			return differ("day %d: provider %s: bonus %s and duty %s, reckoned %s and %s", s.day.Day, p.Node, p.Bonus, p.Duty, bonus, duty)
		}
		if bonus.Sign()+duty.Sign() > 0 {
			got := told[hex.EncodeToString(p.Key)]
			owner, err := s.rules.owner(ctx, p.Key, got.height-1, math.MaxUint32) // what falls due comes before a block's transactions
			if err != nil {
				return err
			}
			if want := bonus.String() + money.Denom + " " + duty.String() + money.Denom + " " + owner; got.words != want {
				return differ("day %d: provider %s was paid %q by the fund, reckoned %q", s.day.Day, p.Node, got.words, want)
			}
			if !got.sent {
				return differ("day %d: what the fund owes provider %s did not go to %s", s.day.Day, p.Node, owner)
			}
			s.out.FundPayments++
		}
		all.Add(all, bonus)
		duties.Add(duties, duty)
	}
	if duties.String() != s.day.Duty || f.due.String() != s.day.dutyDue.String() {
		return differ("day %d: duty pay in all is %s of %s due, reckoned %s of %s", s.day.Day, s.day.Duty, s.day.dutyDue, duties, f.due)
	}
	if all.String() != s.day.Bonus {
		return differ("day %d: bonus in all is %s, reckoned %s", s.day.Day, s.day.Bonus, all)
	}
	if s.out.FundPayments != len(told) {
		return differ("day %d: the fund paid %d providers, reckoned %d", s.day.Day, len(told), s.out.FundPayments)
	}
	return nil
}

// fundRules are a day's figures from which each provider's share follows.
type fundRules struct {
	kappa, budget, levied, due *big.Int
	seat, receipt, stored      *big.Int
}

func (s *settler) fundRules(p rewardv1.Params) (fundRules, error) {
	f := fundRules{kappa: new(big.Int), levied: number(s.day.Levied), due: new(big.Int),
		seat: new(big.Int).SetUint64(p.SeatPrice), receipt: new(big.Int).SetUint64(p.ReceiptPrice), stored: new(big.Int).SetUint64(p.StoredPrice)}
	f.budget = new(big.Int).Mul(number(s.day.Fund), budgetParts)
	f.budget.Quo(f.budget, budgetOf)
	if f.budget.String() != s.day.Budget {
		return f, differ("day %d: the fund's budget is %s, reckoned %s of %s", s.day.Day, s.day.Budget, f.budget, s.day.Fund)
	}
	if s.day.Day >= p.BonusDay {
		whole := new(big.Int).SetUint64(p.WholeCirculating)
		f.kappa.Mul(least(number(s.day.Circulating), whole), kappaWhole).Quo(f.kappa, whole)
	}
	if got := s.day.kappa.BigInt(); got.Cmp(f.kappa) != 0 {
		return f, differ("day %d: kappa is %s millionths, reckoned %s", s.day.Day, got, f.kappa)
	}
	for _, e := range s.day.Providers {
		f.due.Add(f.due, f.units(e))
	}
	return f, nil
}

func (f fundRules) units(e Earned) *big.Int {
	seats := new(big.Int).Mul(new(big.Int).SetUint64(e.Seats), f.seat)
	seats.Add(seats, new(big.Int).Mul(new(big.Int).SetUint64(e.Receipts), f.receipt))
	return seats.Add(seats, new(big.Int).Mul(new(big.Int).SetUint64(e.Stored), f.stored))
}

// earns is min(κ l, 0.6 E l ÷ Σl), and the units' price, cut where all come to more than 0.4 E.
func (f fundRules) earns(e Earned) (bonus, duty *big.Int) {
	bonus, l := new(big.Int), new(big.Int)
	for _, a := range e.Assets {
		if a.Denom == money.Denom {
			l = number(a.Levied)
		}
	}
	if f.levied.Sign() > 0 {
		most := new(big.Int).Mul(f.budget, big.NewInt(6))
		most.Mul(most, l).Quo(most, new(big.Int).Mul(f.levied, big.NewInt(10)))
		bonus.Mul(f.kappa, l).Quo(bonus, million)
		bonus = least(bonus, most)
	}
	duty = f.units(e)
	most := new(big.Int).Mul(f.budget, big.NewInt(4))
	most.Quo(most, big.NewInt(10))
	if f.due.Cmp(most) > 0 {
		duty.Mul(duty, most).Quo(duty, f.due)
	}
	return bonus, duty
}

// fundPayment is what a block says that the fund paid a provider.
type fundPayment struct {
	height int64
	words  string // bonus, duty, owner
	sent   bool   // the coins went to the owner
}

// fundTold collects the fund's payments for the day, by node: they stand in the blocks from its close on until all are done.
func (s *settler) fundTold(ctx context.Context) (map[string]fundPayment, error) {
	told := map[string]fundPayment{}
	head, err := s.l.head(ctx)
	if err != nil {
		return nil, err
	}
	want := strconv.FormatUint(s.day.Day, 10)
	for h := s.day.Height; h <= head; h++ {
		r, err := s.l.rpc.BlockResults(ctx, &h)
		if err != nil {
			return nil, s.l.missing(ctx, h, err)
		}
		all := events(r.FinalizeBlockEvents)
		for _, e := range all {
			a := e.Attributes
			switch {
			case a["day"] != want:
			case e.Type == "hpips_day_done":
				return told, nil
			case e.Type == "hpips_bonus":
				if _, twice := told[a["node"]]; twice {
					return nil, differ("block %d: the fund pays node %s twice for day %d", h, a["node"], s.day.Day)
				}
				sum := uhpips(a["bonus"])
				told[a["node"]] = fundPayment{h, a["bonus"] + " " + a["duty"] + " " + a["owner"], paidOut(all, a["owner"], sum.Add(sum, uhpips(a["duty"])))}
			}
		}
	}
	return told, nil
}

// paidOut takes a transfer of the fund's from a block's events: two payments alike need two.
func paidOut(all []Event, to string, sum *big.Int) bool {
	for i, e := range all {
		a := e.Attributes
		if e.Type == "transfer" && a["sender"] == module("fund") && a["recipient"] == to && a["amount"] == sum.String()+money.Denom {
			all[i].Type = ""
			return true
		}
	}
	return false
}

func number(text string) *big.Int {
	n, ok := new(big.Int).SetString(text, 10)
	if !ok {
		return new(big.Int)
	}
	return n
}

func least(a, b *big.Int) *big.Int {
	if a.Cmp(b) < 0 {
		return new(big.Int).Set(a)
	}
	return new(big.Int).Set(b)
}
