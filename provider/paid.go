package provider

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hpips/hpips/pay"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/voucher"
)

// The life of a bill:
//
//  1. await: a paid lease begins once its deposit is on the chain.
//  2. room: a slot starts no task of it that would be more than the credit window unpaid (bill.go).
//  3. did: results are counted, then sent; voucher: promises for them are taken, and the window grows.
//  4. tendBill: who does not pay for a while is turned out. bury: the payee is told of the end.

// await waits until the deposit of a lease is on the chain; false: the lease has ended.
func (p *Provider) await(t *tenant) bool {
	if t.bill == nil {
		return true
	}
	if err := p.lookUp(t); err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		if !t.over && !p.closing {
			p.turnOut(t, lease.Refused{Reason: "deposit: " + err.Error(), Hint: "make a new lease when the chain has its deposit"})
		}
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.over {
		return false
	}
	t.link.tell(note{lease: t.id, what: heldNote})
	return true
}

// lookUp asks the chain for the deposit of a lease as it is now.
func (p *Provider) lookUp(t *tenant) error {
	p.mu.Lock()
	l := t.lease
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.ctx, p.cfg.Deposit)
	defer cancel()
	deposit, err := p.payee.Funded(ctx, l)
	p.mu.Lock()
	b := t.bill
	b.asking, b.asked = false, time.Now()
	if err == nil {
		b.deposit, b.funded, b.until = deposit, true, max(b.until, l.Terms.Until)
	}
	p.mu.Unlock()
	if err == nil {
		p.refresh(t)
	}
	return err
}

// refresh takes over what the payee reckons.
func (p *Provider) refresh(t *tenant) {
	b := t.bill
	b.fresh.Lock()
	defer b.fresh.Unlock()
	p.mu.Lock()
	l := t.lease
	p.mu.Unlock()
	unpaid, promised := p.payee.Unpaid(l)
	closed := p.payee.Closed(l)
	p.mu.Lock()
	defer p.mu.Unlock()
	b.unpaid, b.promised, b.closed = unpaid, promised, closed
	b.deposit = max(b.deposit, promised) // it was added to, else the payee had not taken the promise
	b.window.Paid(promised)
	if t.over {
		return
	}
	if now := t.wish(); t.credit > 0 && changed(t.credit, now) {
		t.link.tell(note{lease: t.id, what: creditNote})
	}
	p.work.Broadcast()
}

// did counts results of tasks that are about to be sent.
func (p *Provider) did(t *tenant, tasks []*task, results []job.Result) {
	p.mu.Lock()
	l := t.lease
	for i := range results {
		if u := pay.Used(results[i], l.Terms.Order.Resources); u.Tasks > 0 {
			t.bill.window.Ended(u)
			t.bill.known = true
		}
	}
	t.bill.over = false
	p.mu.Unlock()
	var statements [][32]byte
	if t.statement != nil {
		statements = make([][32]byte, len(tasks))
		for i, k := range tasks {
			statements[i] = t.statement(k.Task)
		}
	}
	p.payee.Did(l, results, statements...)
	p.refresh(t)
}

// lost takes back results that were counted and could not be sent.
func (p *Provider) lost(m parcel) {
	if m.t == nil || m.t.bill == nil || len(m.results) == 0 {
		return
	}
	p.mu.Lock()
	l := m.t.lease
	p.mu.Unlock()
	p.payee.Lost(l, m.results)
	p.refresh(m.t)
}

// promise is a voucher that could not be taken yet.
type promise struct {
	lease lease.Lease
	said  lease.Voucher
	since time.Time
}

func (v promise) amount() uint64 { return v.said.Voucher.Amount }

// takeFor is how long a voucher is tried that the chain does not cover yet.
const takeFor = 10 * time.Minute

// maxPromises is how many vouchers wait to be tried again.
const maxPromises = 256

// voucher takes a promise of a requester's, also for a lease that has ended here, or in an earlier life.
func (p *Provider) voucher(ctx context.Context, l *link, id string, v lease.Voucher) {
	if p.payee == nil {
		return
	}
	p.mu.Lock()
	t := p.tenantOf(l, id)
	var s lease.Lease
	var ok bool
	if t != nil {
		s, ok = t.lease, t.bill != nil
	}
	p.mu.Unlock()
	if t == nil {
		s, ok = p.payee.Lease(ctx, id)
	}
	if !ok || s.Terms.Order.Requester != l.session.Peer().String() {
		return
	}
	p.accept(ctx, promise{lease: s, said: v, since: time.Now()})
}

// accept takes a promise, or keeps it to try again when the chain may be ahead of this node.
func (p *Provider) accept(ctx context.Context, v promise) {
	id := v.lease.ID()
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Deposit)
	defer cancel()
	_, err := p.payee.Take(ctx, v.lease, v.said)
	p.mu.Lock()
	t := p.tenants[id]
	if err == nil || never(err) || time.Since(v.since) > takeFor {
		if kept, ok := p.promises[id]; ok && kept.amount() <= v.amount() {
			delete(p.promises, id)
		}
	} else if kept, ok := p.promises[id]; (!ok || kept.amount() < v.amount()) && (ok || len(p.promises) < maxPromises) {
		p.promises[id] = v
	}
	p.mu.Unlock()
	if err != nil {
		p.log.Warn("Voucher is not taken", "lease", id, "amount", v.amount(), "err", err)
		return
	}
	if t == nil || t.bill == nil {
		return
	}
	p.refresh(t)
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.statement != nil && !t.over {
		t.link.tell(note{lease: id, what: takenNote})
	}
}

// never tells whether a voucher is refused for good.
func never(err error) bool {
	for _, e := range []error{pay.ErrVoucher, pay.ErrLess, pay.ErrUsage, pay.ErrRoot, pay.ErrUnpaid, pay.ErrLetGo, voucher.ErrSignature, voucher.ErrMalformed} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// tryAgain takes the promises that could not be taken. Needs p.mu.
func (p *Provider) tryAgain() {
	if p.trying || len(p.promises) == 0 {
		return
	}
	p.trying = true
	all := make([]promise, 0, len(p.promises))
	for _, v := range p.promises {
		all = append(all, v)
	}
	p.doing.Go(func() {
		for _, v := range all {
			p.accept(p.life, v)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.trying = false
	})
}

// tendBill looks after what only time brings about for a paid lease. Needs p.mu.
func (p *Provider) tendBill(t *tenant, now time.Time) {
	b := t.bill
	if !b.funded {
		return
	}
	if b.closed {
		p.turnOut(t, lease.Refused{Reason: "deposit: the lease is closed on the chain", Hint: "make a new lease"})
		return
	}
	b.lapsed = b.until <= now.UnixMilli()
	p.hold(t, now)
	if t.lease.Terms.Until > b.until { // extended: its deposit is to stand as long
		p.ask(t, now)
	}
	if len(t.ready) == 0 || t.running > 0 || b.room() > 0 || p.standsStill(t) || !t.away.IsZero() {
		b.since = time.Time{}
		return
	}
	if b.short() {
		p.ask(t, now)
	}
	switch {
	case b.since.IsZero():
		b.since = now
	case now.Sub(b.since) <= p.cfg.Unpaid:
	case b.lapsed:
		p.turnOut(t, lease.Refused{Reason: "deposit: the lease was extended, and its deposit on the chain was not", Hint: "move the deposit's end out (hpips does it by itself), or make a new lease"})
	case b.short():
		p.turnOut(t, lease.Refused{Reason: fmt.Sprintf("pay: the deposit of %d covers no further task: %d are promised and %d owed", b.deposit, b.promised, b.unpaid), Hint: "add to the deposit, or make a new lease"})
	default:
		p.turnOut(t, lease.Refused{Reason: fmt.Sprintf("pay: %d are owed for finished work, and for %v nothing came", b.unpaid, p.cfg.Unpaid), Hint: "pay for what was done"})
	}
}

// ask looks for more of a deposit, or for a later end of it. That there is none shows in the room. Needs p.mu.
func (p *Provider) ask(t *tenant, now time.Time) {
	b := t.bill
	if b.asking || now.Sub(b.asked) < time.Second {
		return
	}
	b.asking = true
	t.doing.Add(1)
	p.doing.Go(func() {
		defer t.doing.Done()
		_ = p.lookUp(t)
	})
}

// hold stops what puts more at stake than the window: tasks that run a good deal longer than any before them. The oldest goes on in any case, and
// does not count: only by its end can it be paid.
func (p *Provider) hold(t *tenant, now time.Time) {
	if len(t.shifts) < 2 {
		return
	}
	slices.SortStableFunc(t.shifts, func(x, y *shift) int { return x.last.Compare(y.last) })
	var running time.Duration
	for _, s := range t.shifts[1:] {
		running += s.ran(now)
	}
	if t.bill.window.Keep(t.bill.unpaid, len(t.shifts), running-running/5) == len(t.shifts) {
		return
	}
	t.bill.over = true
	for _, s := range slices.Clone(t.shifts[1:]) {
		t.doing.Add(1)
		p.doing.Go(func() {
			defer t.doing.Done()
			p.giveBack(s, 0)
		})
	}
}
