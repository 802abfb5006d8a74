package requester

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/hpips/hpips/pay"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/trust"
	"github.com/hpips/hpips/spec/voucher"
)

// The life of a purse:
//
//  1. terms and fund (deposit.go): a part of the job's budget is taken, the purse is in the journal, then its deposit is on the chain, then its lease begins.
//  2. usage: what each result is paid for is known when it comes, counts when it is durable, and is signed for in the same transaction when
//     half a window is owed or nothing is left to wait for (payments, sign); the voucher is sent after that (paid).
//  3. topUp (deposit.go): a deposit of which three quarters are used grows, as long as the budget lasts.
//  4. settle and end: all that is owed is signed for, the lease is over, the chain is told by closeLeases.

// usage is what a result is to be paid for. What it claims beyond what was possible is not, and comes with an error.
func (h *hire) usage(r job.Result, of job.Resources, age time.Duration, now time.Time) (voucher.Usage, error) {
	if h.purse == nil {
		return voucher.Usage{}, nil
	}
	p := h.purse
	elapsed := age
	if _, held := h.held[r.Index]; h.old || !held {
		elapsed = now.Sub(p.begun)
	}
	err := pay.Plausible(r, elapsed, of.CPU)
	if err != nil {
		r.Usage.Wall = min(r.Usage.Wall, int64(elapsed))
		r.Usage.CPU = min(r.Usage.CPU, int64(elapsed)*int64(max(of.CPU, 1)))
		if wrong := pay.Executed(r); wrong != nil { // work is not cut down: both sides would reckon another sum
			return voucher.Usage{}, wrong
		}
	}
	u := pay.Used(r, of)
	if err := pay.Within(p.claimed.Add(u), now.Sub(p.begun), h.slots, of); err != nil {
		return voucher.Usage{}, err
	}
	return u, err
}

// knew reports whether a result may come for task i: it is held, or was taken back a moment ago.
func (h *hire) knew(i uint64) bool {
	_, held := h.held[i]
	_, back := h.recalled[i]
	return held || back
}

// recall notes that a task was taken back: its result may be on its way, and is owed for then.
func (h *hire) recall(i uint64) {
	if h.purse == nil {
		return
	}
	if h.recalled == nil {
		h.recalled = map[uint64]struct{}{}
	}
	h.recalled[i] = struct{}{}
}

// coming notes a result that is on its way into the journal and is paid for there.
func (h *hire) coming(u voucher.Usage) {
	if h.purse != nil {
		h.purse.way++
		h.purse.claimed = h.purse.claimed.Add(u)
	}
}

// wasted notes a result that was on its way and is none: nothing is paid for it.
func (h *hire) wasted(voucher.Usage) {
	if h.purse != nil {
		h.purse.way--
	}
}

// owe notes what was done and does not come into the journal as a result.
func (h *hire) owe(u voucher.Usage, now time.Time) {
	if h.purse != nil && u.Tasks > 0 {
		h.purse.claimed = h.purse.claimed.Add(u)
		h.purse.add(u)
		h.purse.reckon(now)
	}
}

// affords is how many more tasks a hire may be given for what is deposited.
func (h *hire) affords() int {
	if h.purse == nil {
		return maxCredit
	}
	return h.purse.affords(len(h.held) + h.purse.way)
}

// payable reports whether a voucher is to be signed now.
func (g *gathering) payable() bool {
	if len(g.purses) == 0 {
		return false
	}
	now, last := g.r.now(), g.board.finished()
	return slices.ContainsFunc(g.purses, func(p *purse) bool { return p.due(now, last || p.left) })
}

// owes reports whether something can be signed for and is not.
func (g *gathering) owes() bool {
	now := g.r.now()
	return slices.ContainsFunc(g.purses, func(p *purse) bool { return p.owed() > 0 && !now.Before(p.hold) })
}

// payments is what the transaction of these entries says of the purses.
func (g *gathering) payments(entries []entry) []payment {
	if len(g.purses) == 0 {
		return nil
	}
	now := g.r.now()
	for i := range entries {
		if en := &entries[i]; en.hire != nil && en.hire.purse != nil && !en.promote {
			en.hire.purse.way--
			if en.used.Tasks > 0 {
				en.hire.purse.add(en.used)
				g.leaf(en.hire, &en.result, en.result.Index, en.used)
			}
		}
	}
	var all []payment
	for _, p := range g.purses {
		if p.touched {
			p.reckon(now)
		}
		sign := p.due(now, g.board.finished() || p.left)
		if sign || p.touched {
			p.signing, p.touched = sign, false
			all = append(all, p.payment(sign))
		}
	}
	return all
}

// payment is what the next transaction says of a purse.
func (p *purse) payment(sign bool) payment {
	x := payment{purse: p, lease: p.lease, id: p.hire.id, used: p.used, sign: sign}
	if p.tally != nil {
		x.draft = p.tally.Draft()
	}
	return x
}

// sign makes the vouchers of payments that want one.
func (r *Requester) sign(payments []payment) {
	for i := range payments {
		p := &payments[i]
		root := p.reckon()
		if !p.sign {
			continue
		}
		s, err := r.deps.Payer.Promise(p.lease, p.used, root)
		if p.err = err; s.Signature != nil {
			p.signed = &s
		}
	}
}

// paid takes in payments that are durable: their vouchers go out.
func (g *gathering) paid(ctx context.Context, payments []payment) {
	now := g.r.now()
	for _, x := range payments {
		p := x.purse
		if x.sign {
			p.signing = false
		}
		if x.draft != nil {
			p.tally.Kept(x.draft)
		}
		switch {
		case errors.Is(x.err, pay.ErrDeposit):
			p.hold = now.Add(time.Second)
			if !p.topping && x.signed != nil { // the deposit is less than the journal has it
				least := x.signed.Voucher.Amount
				if p.tally != nil {
					least = trust.Deposit(least)
				}
				g.e.budget.back(p.deposit - min(p.deposit, least))
				p.deposit = min(p.deposit, least)
			}
		case x.err != nil:
			p.broken = true
			g.r.log.Error("Nothing more can be signed under a lease", "job", g.e.id, "lease", p.hire.id, "err", x.err)
		}
		if x.signed != nil && x.signed.Voucher.Amount > p.promised {
			p.signed(*x.signed, now)
			g.send(p.hire, lease.Message{Lease: p.hire.id, Voucher: p.voucher()})
		}
		if p.left {
			g.end(ctx, p)
		}
	}
}

// remind sends the last voucher of a lease again: who began it anew may not have it.
func (g *gathering) remind(h *hire) {
	if h.purse != nil && h.purse.last != nil {
		g.send(h, lease.Message{Lease: h.id, Voucher: h.purse.voucher()})
	}
}

// refill is the purse of a lease of an earlier life; nil where nothing is paid.
func (g *gathering) refill(ctx context.Context, l lease.Lease, purses []pursed) (*purse, error) {
	if l.Terms.Pay == nil {
		return nil, nil
	}
	i := slices.IndexFunc(purses, func(p pursed) bool { return p.Lease.ID() == l.ID() })
	if i < 0 || g.r.deps.Payer == nil {
		return nil, errors.New("this node cannot pay now")
	}
	k, p := purses[i], newPurse(l, g.e.spec.Limits)
	p.deposit, p.used, p.claimed, p.last, p.promised = k.Deposit, k.Used, k.Used, k.Voucher, k.promised()
	p.window.Paid(p.promised)
	p.owing = g.r.now()
	var err error
	p.cost, err = voucher.Cost(l.Terms.Quote.Rates, p.used)
	if err == nil && k.Voucher != nil {
		err = g.r.deps.Payer.Restore(l, *k.Voucher)
	}
	if err == nil && p.tally != nil {
		p.tally, err = g.r.journal.tally(ctx, l)
	}
	return p, err
}

// end ends a purse whose hire is gone, once all that was on its way is signed for. What is left of its deposit is the budget's again.
func (g *gathering) end(ctx context.Context, p *purse) {
	if p.ended || p.way > 0 || p.signing || p.touched || p.topping || p.owed() > 0 {
		return
	}
	p.ended = true
	g.e.budget.back(p.deposit - min(p.deposit, p.promised))
	if err := g.r.journal.endPurses(ctx, g.e.id, g.p.number, p.hire.id, g.r.now()); err != nil {
		g.r.log.Warn("The end of a paid lease is not in the journal", "lease", p.hire.id, "err", err)
	}
}

// settle signs for all that is owed when a phase ends in any way.
func (g *gathering) settle(ctx context.Context) {
	if len(g.purses) == 0 {
		return
	}
	select {
	case c := <-g.results: // written when the loop had ended already
		if c.err == nil {
			g.paid(ctx, c.payments)
		}
	default:
	}
	var all []payment
	for _, p := range g.purses {
		if p.signing = false; p.owed() > 0 || p.touched {
			all = append(all, p.payment(p.owed() > 0))
		}
	}
	if len(all) == 0 {
		return
	}
	g.r.sign(all)
	if err := g.r.journal.commit(ctx, g.e.id, batch{payments: all}, g.e.snapshot()); err != nil {
		g.r.log.Error("What is owed cannot be written down, so it is not promised", "job", g.e.id, "err", err)
		return
	}
	g.paid(ctx, all)
}

// closePurses ends all purses of the phase.
func (g *gathering) closePurses(ctx context.Context) {
	if len(g.purses) == 0 {
		return
	}
	for _, p := range g.purses {
		if !p.ended {
			p.ended = true
			g.e.budget.back(p.deposit - min(p.deposit, p.promised))
		}
	}
	if err := g.r.journal.endPurses(ctx, g.e.id, g.p.number, "", g.r.now()); err != nil {
		g.r.log.Warn("The end of paid leases is not in the journal", "job", g.e.id, "err", err)
	}
	g.r.toClose()
}
