package pay

import (
	"context"
	"time"

	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/spec/voucher"
)

// A payee lets go of a lease when nothing more can come of it: its payer has what is left back at once, and whoever stole the payer's key can promise nothing of
// it any more. The word goes with the last voucher's redemption. Where none is worth its fee, it goes alone, and its fee comes out of what returns: in HPIPS only.
// No pay depends on it. As long as anything that was done is not promised, a payee says nothing, and has the days of grace for it.

// over tells whether nothing more can come of a lease: it has ended here, or was not worked for in this life and closes on the chain, and all that was
// done is promised, what earlier lives did included.
func (t *tab) over() bool {
	ended := !t.ended.IsZero() || !t.here && !t.closing.IsZero()
	return t.leaving || ended && t.rates != nil && price(*t.rates, t.done) <= t.last.Amount
}

// wants tells whether the chain is to be told something of a lease: that it is redeemed, or let go.
func (t *tab) wants() bool {
	return !t.said && (t.owed() > 0 || t.over() && t.denom == money.Denom)
}

// givenUp tells whether what a lease is owed is less than asking for it costs, and was let go with it.
func (t *tab) givenUp(fee uint64) bool {
	return t.leaving && t.denom == money.Denom && t.owed() <= fee
}

// bare tells whether nothing is redeemed by a demand: a lease is let go.
func (d demand) bare() bool { return len(d.claim.Voucher) == 0 }

// demand is what the chain is to be told of a lease; false: nothing now. Without a voucher a lease is let go only when nothing of it is pending, and something returns.
func (t *tab) demand(id voucher.ID, fee uint64) (demand, bool) {
	d := demand{redemption{id, t.name, t.denom, t.last.Amount, t.owed()}, t.claim}
	d.claim.Last = t.over()
	if d.claim.Last && t.denom == money.Denom && d.amount <= fee {
		d.amount, d.claim = 0, voucher.Claim{Last: true, Lease: id[:]}
		return d, !t.pending && t.free > fee
	}
	return d, d.amount > 0
}

// demands are those of leases. What is let go is written down, synced, before anything is signed: a word that did not reach the chain now may reach it
// later, and a promise that was taken meanwhile would be lost.
func (p *Payee) demands(ctx context.Context, ids []voucher.ID, r Rules) ([]demand, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []demand
	var leaving []voucher.ID
	for _, id := range ids {
		t := p.tabs[id]
		if t == nil {
			continue
		}
		d, some := t.demand(id, r.Fee)
		if !some {
			t.again = time.Now().Add(p.cfg.Watch)
			continue
		}
		if list = append(list, d); d.claim.Last && !t.leaving {
			t.leaving, leaving = true, append(leaving, id)
		}
	}
	if len(leaving) == 0 {
		return list, nil
	}
	if err := p.book.leaves(ctx, leaving); err != nil {
		for _, id := range leaving {
			p.tabs[id].leaving = false
		}
		return nil, err
	}
	p.reached("redeem: left")
	return list, nil
}
