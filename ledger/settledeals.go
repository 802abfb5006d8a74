package ledger

import (
	"strconv"

	"github.com/hpips/hpips/spec/money"
)

// isRent tells whether a payment is a deal's, and no lease's.
func isRent(e Event) bool {
	return e.Type == "hpips_paid" && e.Attributes["payer"] == module("deal")
}

// rents compares what holders of deals were paid in a block, in their proofs' transactions or where a day was closed: it is what they are told to have earned and were not paid yet, nine tenths of it are the payee's, the coins moved.
func (s *settler) rents(w written) error {
	if err := s.rent(w.height, w.falls); err != nil {
		return err
	}
	for _, one := range w.said {
		if err := s.rent(w.height, one.told); err != nil {
			return err
		}
	}
	return nil
}

func (s *settler) rent(height int64, all []Event) error {
	moved := movedFrom("deal", all)
	var kept map[string]string
	for _, e := range all {
		told := e.Attributes
		switch {
		case e.Type == "hpips_held":
			kept = told
		case e.Type == "hpips_proven":
			earned, ok := units(told["earned"], money.Denom)
			if !ok {
				return differ("block %d: a holder's proof is told as %v", height, told)
			}
			s.earned[told["node"]] += earned
		case isRent(e):
			if err := s.rented(height, told, kept, moved); err != nil {
				return err
			}
			kept = nil
		}
	}
	return nil
}

// rented compares one payment.
func (s *settler) rented(height int64, told, kept map[string]string, moved map[string]int) error {
	node := told["node"]
	amount, ok := units(told["amount"], money.Denom)
	if !ok || amount == 0 {
		return differ("block %d: a deal pays node %s %q", height, node, told["amount"])
	}
	if !s.rentSeen {
		s.rentSeen = true
		s.unknown("what a day of each part of a deal is worth, and whose nodes its holders are")
	}
	due, known := s.earned[node], s.rentPaid[node]
	if amount < due || known && amount > due { // of days before there may be more, once
		return differ("block %d: deals pay node %s %d, it earned %d", height, node, amount, due)
	}
	s.earned[node], s.rentPaid[node] = 0, true
	paid := amount - (amount+9)/10
	for what, want := range map[string]string{"paid": coin(paid, money.Denom), "levied": coin(amount-paid, money.Denom)} {
		if told[what] != want {
			return differ("block %d: deals pay node %s %d: %s is %s, reckoned %s", height, node, amount, what, told[what], want)
		}
	}
	held, err := s.held(height, turn{}, told, kept, Lease{Denom: money.Denom, Payee: told["payee"]}, paid)
	if err != nil {
		return err
	}
	for _, part := range []struct {
		to     string
		amount uint64
	}{{told["payee"], paid - held}, {module("bond"), held}, {module("levy"), amount - paid}} {
		key := part.to + " " + coin(part.amount, money.Denom)
		if part.amount == 0 {
			continue
		}
		if moved[key] == 0 {
			return differ("block %d: deals pay node %s %d: %s did not go to %s", height, node, amount, strconv.FormatUint(part.amount, 10), part.to)
		}
		moved[key]--
	}
	s.out.Payments++
	s.sum(money.Denom).add(amount, paid, held)
	s.sum(node+" "+money.Denom).add(amount, paid, held)
	return nil
}
