package requester

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/market"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/spec/trust"
)

// ceiling is the most that an hour of one of a job's tasks may cost.
func (r *Requester) ceiling(s job.Spec) market.Ceiling {
	whole, hour := s.Limits.Ceilings()
	switch {
	case r.deps.Payer == nil || whole == 0:
		return 0
	case hour != job.Unlimited:
		return market.Ceiling(hour)
	}
	return market.Ceiling(r.cfg.Hour)
}

// reckon finds what is left of a job's budget after earlier lives.
func (r *Requester) reckon(ctx context.Context, e *errand) error {
	e.budget.limit, _ = e.spec.Limits.Ceilings()
	purses, err := r.journal.purses(ctx, e.id)
	for _, p := range purses {
		if p.State == purseOpen {
			e.budget.take(p.Deposit)
		} else {
			e.budget.take(p.promised())
		}
	}
	return err
}

// errDear is a provider that the rest of the budget does not reach for.
var errDear = &market.Refusal{Reason: "price: too little is left of the job's ceiling"}

// errOwn is a provider that asks for pay and is paid nothing, such as one of the payer's own.
var errOwn = &market.Refusal{Reason: "price: it asks for pay, and this node pays nothing to it"}

// terms says how a lease of a quote is paid for. Its deposit is taken from the budget.
func (r *Requester) terms(e *errand, w hunt, q lease.Quote) (*lease.Pay, error) {
	if q.Rates.Free() {
		return nil, nil
	}
	if r.deps.Payer == nil {
		return nil, errDear
	}
	share := (w.tasks*q.Slots + w.slots - 1) / max(w.slots, 1)
	want := ask{quote: q, of: e.spec.Resources.For(w.engine), limit: e.spec.Limits, tasks: uint64(max(share, 1)), mean: w.mean, ahead: w.ahead}.deposit()
	jury := r.jury(e)
	if jury {
		want = trust.Deposit(want)
	}
	got := e.budget.take(max(want, w.least, w.floor))
	switch {
	case got < w.least || got == 0:
		e.budget.back(got)
		return nil, errDear
	case got < w.floor:
		e.budget.back(got)
		return nil, &market.Refusal{Reason: fmt.Sprintf("price: a deposit is %s HPIPS at least, and %s are left of the job's ceiling", money.Amount(w.floor), money.Amount(got))}
	}
	p := r.deps.Payer.Terms(q, got)
	if p == nil {
		e.budget.back(got)
		return nil, errOwn
	}
	p.Jury = jury
	return p, nil
}

// jury tells whether what is paid of a job is open to jurors. What came live nobody can run again, and about a program that is not deterministic they can tell nothing.
func (r *Requester) jury(e *errand) bool {
	return r.cfg.Jury && e.spec.Verify.Mode == job.Jury && !e.live && !r.chancy(r.life, e)
}

func deposited(p *lease.Pay) uint64 {
	if p == nil {
		return 0
	}
	return p.Deposit
}

// fund makes the deposits of a round's leases in one transaction. Where that fails, those leases are given up.
func (r *Requester) fund(ctx context.Context, e *errand, phase int, s *search, reasons map[string]int) {
	var paid []*hire
	var leases []lease.Lease
	for _, h := range s.hires {
		if h.purse != nil {
			paid, leases = append(paid, h), append(leases, h.lease)
		}
	}
	if len(paid) == 0 {
		return
	}
	err := r.journal.addPurses(ctx, e.id, phase, leases, r.now())
	if err == nil {
		patient, cancel := context.WithTimeout(ctx, r.cfg.Chain)
		defer cancel()
		err = r.deps.Payer.Fund(patient, leases)
	}
	if err == nil {
		return
	}
	var f *job.Failure
	if errors.As(err, &f) && f.Code == job.CodeFunds {
		s.scarce = f
	}
	reasons["deposit: "+err.Error()] += len(paid)
	if ctx.Err() == nil {
		r.log.Warn("Deposits cannot be made", "job", e.id, "leases", len(paid), "err", err)
	}
	s.hires = slices.DeleteFunc(s.hires, func(h *hire) bool { return h.purse != nil })
	r.release(ctx, e, phase, paid)
}

// release gives up leases that have not begun.
func (r *Requester) release(ctx context.Context, e *errand, phase int, hires []*hire) {
	for _, h := range hires {
		if err := h.link.send(lease.Message{Lease: h.id, End: &lease.End{}}); err != nil {
			r.log.Debug("Message is not sent", "provider", h.node, "err", err)
		}
		if h.purse == nil {
			continue
		}
		e.budget.back(h.purse.deposit)
		if err := r.journal.endPurses(context.WithoutCancel(ctx), e.id, phase, h.id, r.now()); err != nil {
			r.log.Warn("The end of a paid lease is not in the journal", "lease", h.id, "err", err)
		}
	}
	r.toClose()
}

// hunt is what to look for in the next round.
func (g *gathering) hunt(busy []peer.ID, slots int) hunt {
	w := hunt{busy: busy, slots: slots, phase: g.p.number, engine: g.p.engine, tasks: g.board.wanted(), mean: g.mean, ahead: g.ahead, least: g.taskCost(), ceiling: g.r.ceiling(g.e.spec)}
	if g.broke() {
		w.ceiling = 0
	}
	return w
}

// taskCost is what one task costs, as far as that is known; at least 1.
func (g *gathering) taskCost() uint64 {
	most := uint64(1)
	for _, p := range g.purses {
		if p.used.Tasks > 0 {
			most = max(most, p.window.Task())
		}
	}
	return most
}

// broke reports whether no further deposit of use can be made.
func (g *gathering) broke() bool {
	return g.scarce != nil || g.e.budget.left() < max(g.taskCost(), g.floor)
}

// leastAhead is the time for which a deposit is still worth making.
const leastAhead = time.Second

// funded learns from a round whether there is enough money: if not, the next deposits are smaller, until they are of no use.
func (g *gathering) funded(s search) {
	g.floor = max(g.floor, s.floor)
	switch {
	case s.scarce == nil:
	case g.ahead > leastAhead:
		g.ahead = max(g.ahead/4, leastAhead)
	default:
		g.scarce = s.scarce
	}
}

// topped is what became of adding to a deposit; more is 0 where it was only looked up.
type topped struct {
	purse *purse
	more  uint64
	err   error
}

// tendPurses adds to deposits that run out. A job that nobody can be paid for any more fails.
func (g *gathering) tendPurses(ctx context.Context, now time.Time) error {
	poor := len(g.hires) > 0
	for _, h := range g.hires {
		p := h.purse
		if p == nil {
			poor = false
			continue
		}
		if p.thin() && !p.topping && !now.Before(p.dry) && g.board.wanted()+len(h.held) > 0 {
			g.topUp(ctx, p, now)
		}
		idle := len(h.held) == 0 || now.Sub(h.heard) > 2*g.r.cfg.Seek // what its deposit does not cover its provider does not start
		poor = poor && !p.topping && p.affords(0) < 1 && idle && p.way == 0 && h.fetching == 0
	}
	if g.seeking || g.board.finished() || len(g.pending) > 0 || g.writing || now.Sub(g.progress) < 2*g.r.cfg.Seek {
		return nil
	}
	if g.broke() && (poor || len(g.hires) == 0) {
		return g.noMoney()
	}
	return nil
}

// noMoney says why a job ends for want of money.
func (g *gathering) noMoney() error {
	spent := g.e.budget.spent()
	for _, p := range g.purses {
		if !p.ended {
			spent -= min(spent, p.deposit-min(p.deposit, p.promised))
		}
	}
	s := g.e.snapshot()
	state := fmt.Sprintf("%s HPIPS were spent on %d of %s", money.Amount(spent), s.Tasks.Done, job.Several(s.Tasks.Total, "task"))
	if g.scarce != nil {
		return &job.Failure{Code: job.CodeFunds, Message: g.scarce.Message + "; " + state, Hint: g.scarce.Hint}
	}
	if g.e.budget.limit < g.floor {
		return &job.Failure{Code: job.CodeFunds, Message: fmt.Sprintf("the job's ceiling of %s is less than the smallest deposit that the chain takes, %s HPIPS", g.e.spec.Limits.Price, money.Amount(g.floor)),
			Hint: "give it a higher one: --price (limits.price); what a job does not use returns"}
	}
	return &job.Failure{Code: job.CodeFunds, Message: fmt.Sprintf("the job's ceiling of %s is used up: %s", g.e.spec.Limits.Price, state),
		Hint: "give it a higher one: --price (limits.price); what it costs so far: hpips job cost " + g.e.id}
}

// topUp doubles a deposit, or adds what the lease's share of the rest is thought to need if that is less, within the budget.
func (g *gathering) topUp(ctx context.Context, p *purse, now time.Time) {
	want := p.deposit
	if p.used.Tasks > 0 {
		slots := 0
		for _, h := range g.hires {
			slots += h.slots
		}
		share := len(p.hire.held) + (g.board.wanted()*p.hire.slots+slots-1)/max(slots, 1)
		want = uint64(min(float64(want), 1.5*float64(share)*float64(p.window.Task())*float64(p.deposit/max(p.worth(), 1))))
	}
	more := g.e.budget.take(max(want, g.taskCost()*(p.deposit/max(p.worth(), 1))))
	if more == 0 {
		p.dry = now.Add(g.r.cfg.Seek)
		return
	}
	if err := g.r.journal.setDeposit(ctx, p.hire.id, p.lease, p.deposit+more); err != nil {
		g.r.log.Warn("Deposit is not in the journal", "lease", p.hire.id, "err", err)
	}
	p.topping = true
	l := p.lease
	g.beside(func() topped {
		patient, cancel := context.WithTimeout(ctx, g.r.cfg.Chain)
		defer cancel()
		return topped{p, more, g.r.deps.Payer.TopUp(patient, l, more)}
	})
}

// beside does something with deposits while the loop goes on.
func (g *gathering) beside(do func() topped) {
	g.r.reading.Go(func() {
		x := do()
		select {
		case g.topped <- x:
		case <-g.gone:
		case <-g.r.life.Done():
		}
	})
}

// toppedUp takes in a larger deposit.
func (g *gathering) toppedUp(ctx context.Context, x topped) {
	p, now := x.purse, g.r.now()
	p.topping = false
	if x.err == nil {
		p.deposit, p.hold = p.deposit+x.more, time.Time{}
		if p.owed() > 0 && p.owing.IsZero() {
			p.owing = now
		}
		return
	}
	g.r.log.Warn("Nothing can be added to a deposit", "job", g.e.id, "lease", p.hire.id, "err", x.err)
	var f *job.Failure
	if errors.As(x.err, &f) && f.Code == job.CodeFunds {
		g.scarce = f
	}
	g.e.budget.back(x.more)
	p.dry = now.Add(5 * g.r.cfg.Seek)
	if err := g.r.journal.setDeposit(ctx, p.hire.id, p.lease, p.deposit); err != nil {
		g.r.log.Warn("Deposit is not in the journal", "lease", p.hire.id, "err", err)
	}
}

// refund makes sure of the deposits of earlier lives: one that was under way when the last life ended may have grown, or not.
func (g *gathering) refund(ctx context.Context) {
	if len(g.purses) == 0 {
		return
	}
	var leases []lease.Lease
	for _, p := range g.purses {
		p.topping = true
		leases = append(leases, p.lease)
	}
	first := slices.Clone(g.purses)
	g.beside(func() topped {
		err := g.r.deps.Payer.Fund(ctx, leases)
		for _, p := range first[1:] {
			select {
			case g.topped <- topped{purse: p, err: err}:
			case <-g.gone:
			case <-g.r.life.Done():
			}
		}
		return topped{purse: first[0], err: err}
	})
}

// prolong takes over a longer term.
func (g *gathering) prolong(ctx context.Context, h *hire) {
	if h.purse == nil {
		return
	}
	h.purse.lease = h.lease
	if err := g.r.journal.setDeposit(ctx, h.id, h.lease, h.purse.deposit); err != nil {
		g.r.log.Warn("Longer lease is not in the journal", "lease", h.id, "err", err)
	}
}
