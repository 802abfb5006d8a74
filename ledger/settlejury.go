package ledger

import (
	"context"

	sdkquery "github.com/cosmos/cosmos-sdk/types/query"

	"github.com/hpips/hpips/proto/gen/auditv1"
)

// What juries found is the chain's word here: whether a redemption was looked at in its time, and which jurors were right. What is reckoned of them: that no pay
// is overdue that no jury held up, that what jurors got is shared out as any pay is, and that what a convicted node lost went back to its payers.
const juriesKnow = "what juries found: whose pay they held up and for how long, whose pay went back, and which jurors were paid for it"

// looked notes once that juries had a say in the day.
func (s *settler) looked() {
	if !s.juries {
		s.juries = true
		s.unknown(juriesKnow)
	}
}

// juror takes what a juror was paid out of a lease into the sums, after it was compared with how any pay is shared out.
func (s *settler) juror(height int64, told, moves map[string]string, moved map[string]int) error {
	if told == nil || told["lease"] != moves["lease"] || told["node"] != moves["node"] || told["payee"] != moves["payee"] || told["amount"] != moves["amount"] {
		return differ("block %d: a juror of lease %s got %s, and %v is paid", height, moves["lease"], moves["amount"], told)
	}
	denom := denomOf(told["amount"])
	amount, ok1 := units(told["amount"], denom)
	paid, ok2 := units(told["paid"], denom)
	held, ok3 := units(told["held"], denom)
	if !ok1 || !ok2 || !ok3 || paid != amount/10*9+amount%10*9/10 || held > paid || told["levied"] != coin(amount-paid, denom) {
		return differ("block %d: the pay of a juror of lease %s is shared out as %v", height, moves["lease"], told)
	}
	for _, part := range []struct {
		to     string
		amount uint64
	}{{told["payee"], paid - held}, {module("bond"), held}, {module("levy"), amount - paid}} {
		if key := part.to + " " + coin(part.amount, denom); part.amount > 0 {
			if moved[key] == 0 {
				return differ("block %d: a juror of lease %s: %s did not go to %s", height, moves["lease"], coin(part.amount, denom), part.to)
			}
			moved[key]--
		}
	}
	s.looked()
	s.out.Payments++
	s.sum(denom).add(amount, paid, held)
	s.sum(told["node"]+" "+denom).add(amount, paid, held)
	delete(s.bonds, told["node"]+" "+denom)
	return nil
}

// saidJurors compares what jurors were paid by transactions.
func (s *settler) saidJurors(w written) error {
	for _, one := range w.said {
		moved := fromEscrow(one.told)
		var told map[string]string
		for _, e := range one.told {
			switch e.Type {
			case "hpips_paid":
				if !isRent(e) {
					told = e.Attributes
				}
			case juryPaid:
				if err := s.juror(w.height, told, e.Attributes, moved); err != nil {
					return err
				}
				told = nil
			}
		}
	}
	return nil
}

// forfeited takes a redemption out of its node's turns that went back to its payer.
func (s *settler) forfeited(ctx context.Context, height int64, lost map[string]string, moved map[string]int) error {
	s.looked()
	denom := denomOf(lost["amount"])
	amount, ok := units(lost["amount"], denom)
	if !ok {
		return differ("block %d: lease %s lost %q", height, lost["lease"], lost["amount"])
	}
	if amount == 0 {
		return nil
	}
	if err := s.redeemed(ctx, lost["node"], height); err != nil {
		return err
	}
	t, err := s.next(lost["node"], height, lost["lease"], lost["sequence"])
	if err != nil {
		return err
	}
	if key := lost["payer"] + " " + lost["amount"]; t.amount != amount || moved[key] == 0 {
		return differ("block %d: of redemption %s of lease %s %s went back to %s, reckoned %d", height, lost["sequence"], lost["lease"], lost["amount"], lost["payer"], t.amount)
	}
	moved[lost["payer"]+" "+lost["amount"]]--
	return nil
}

// fromEscrow counts the coins that left the escrow, by receiver and amount.
func fromEscrow(all []Event) map[string]int { return movedFrom("escrow", all) }

func movedFrom(name string, all []Event) map[string]int {
	moved, from := map[string]int{}, module(name)
	for _, e := range all {
		if e.Type == "transfer" && e.Attributes["sender"] == from {
			moved[e.Attributes["recipient"]+" "+e.Attributes["amount"]]++
		}
	}
	return moved
}

// denomOf is what an amount is in.
func denomOf(amount string) string {
	i := 0
	for i < len(amount) && amount[i] >= '0' && amount[i] <= '9' {
		i++
	}
	return amount[i:]
}

// lookedAt is the height of the first redemption that a jury still held up after a block; 0: there was none. known is false where the chain has forgotten.
func (s *settler) lookedAt(ctx context.Context, height int64) (first int64, known bool, err error) {
	if height < 1 {
		return 0, true, nil
	}
	for page := (&sdkquery.PageRequest{Limit: 1000}); ; {
		r, err := auditv1.NewQueryClient(query{s.l, height}).Audits(ctx, &auditv1.QueryAuditsRequest{Pagination: page})
		if isRefused(err) {
			return 0, false, nil
		}
		if err != nil {
			return 0, false, err
		}
		for _, a := range r.Audits {
			if first == 0 || a.Height < first {
				first = a.Height
			}
		}
		if page.Key = r.Pagination.GetNextKey(); len(page.Key) == 0 {
			return first, true, nil
		}
	}
}
