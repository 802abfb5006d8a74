package provider

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/execution"
	"github.com/hpips/hpips/spec/canon"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
)

// take does what one message of a requester says. Its error means bytes that no requester sends.
func (p *Provider) take(ctx context.Context, l *link, data []byte) error {
	m, err := lease.DecodeMessage(data)
	if err != nil {
		return err
	}
	switch {
	case m.Begin != nil:
		p.begin(ctx, l, m.Lease, *m.Begin)
	case m.Assign != nil:
		p.assign(l, m.Lease, m.Assign.Tasks)
	case m.Cancel != nil:
		p.cancel(l, m.Lease, m.Cancel.Tasks)
	case m.Stdin != nil:
		p.feed(l, m.Lease, *m.Stdin)
	case m.Voucher != nil:
		p.voucher(ctx, l, m.Lease, *m.Voucher)
	case m.End != nil:
		p.mu.Lock()
		if t := p.tenantOf(l, m.Lease); t != nil {
			p.depart(t, "")
		}
		p.mu.Unlock()
	default:
		return errors.New("a provider's word came from a requester")
	}
	return nil
}

// tenantOf is the tenant that l speaks for. Needs p.mu.
func (p *Provider) tenantOf(l *link, id string) *tenant {
	if t := p.tenants[id]; t != nil && t.begun && t.link == l {
		return t
	}
	return nil
}

// begin starts work under a lease, or goes on with it, and answers with what is held.
func (p *Provider) begin(ctx context.Context, l *link, id string, b lease.Begin) {
	if err := p.checkLease(l, id, b.Lease); err != nil {
		l.refuse(id, lease.Refused{Reason: err.Error(), Hint: "make a new lease"})
		return
	}
	if err := p.checkWork(b); err != nil {
		l.refuse(id, lease.Refused{Reason: err.Error()})
		return
	}
	if no := p.refusesTo(b.Lease.Terms.Order.Engine, l.session.Peer()); no != "" {
		l.refuse(id, lease.Refused{Reason: no, Hint: "its tasks go on elsewhere"})
		return
	}
	if err := execution.Check(b.Work); err != nil {
		l.refuse(id, lease.Refused{Reason: err.Error(), Hint: "correct the job", Program: true})
		return
	}
	var statement func(job.Task) [32]byte
	if pay := b.Lease.Terms.Pay; pay != nil && pay.Jury {
		var err error
		if statement, err = b.Work.Digests(); err != nil {
			l.refuse(id, lease.Refused{Reason: "work: its payer wants a jury: " + err.Error(), Hint: "give it another standard input, or ask for no jury"})
			return
		}
	}
	key := string(canon.MustEncode(b.Work))
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.tenants[id]
	switch {
	case t == nil:
		if err := p.vacancy(b.Lease); err != nil {
			l.refuse(id, lease.Refused{Reason: err.Error(), Hint: "ask again later"})
			return
		}
		t = p.newTenant(b.Lease)
		if err := p.equip(t); err != nil {
			l.refuse(id, lease.Refused{Reason: err.Error(), Hint: "make a new lease"})
			return
		}
		p.tenants[id] = t
		fallthrough
	case !t.begun:
		t.begin(ctx, b.Work, key, p.engines[b.Lease.Terms.Order.Engine])
		if b.Lease.Terms.Pay != nil {
			t.bill = newBill(b.Lease, b.Work.Limits)
			t.statement = statement
			t.extend(b.Lease)
		}
		p.turns = append(p.turns, t)
		t.doing.Add(1)
		p.doing.Go(func() {
			defer t.doing.Done()
			if p.await(t) {
				p.prepare(t)
			}
		})
	case t.key != key:
		l.refuse(id, lease.Refused{Reason: "the lease has begun with other work", Hint: "make a new lease"})
		return
	}
	t.round = b.Round
	t.extend(b.Lease)
	t.link, t.away, t.lost = l, time.Time{}, false
	if t.bill == nil || t.bill.funded {
		l.tell(note{lease: id, what: heldNote})
	}
}

// checkLease requires a lease that both sides have signed, that has not expired, and that is this requester's with this provider.
func (p *Provider) checkLease(l *link, id string, s lease.Lease) error {
	now := time.Now().UnixMilli()
	switch {
	case s.Terms.Order.Requester != l.session.Peer().String():
		return errors.New("lease: it is of another requester")
	case s.Terms.Quote.Provider != p.self.String():
		return errors.New("lease: it is with another provider")
	case s.ID() != id:
		return errors.New("lease: it has another name")
	case s.Terms.Pay != nil && p.payee == nil:
		return errNoPayee
	}
	return s.Check(now)
}

// checkWork requires work that the lease is about and that this node can do.
func (p *Provider) checkWork(b lease.Begin) error {
	w, order := b.Work, b.Lease.Terms.Order
	output := engine.Limits{Output: int64(w.Limits.Output)}.OrDefault().Output
	p.mu.Lock()
	disk := p.diskLimit()
	p.mu.Unlock()
	switch {
	case p.engines[order.Engine] == nil:
		return fmt.Errorf("engine %q is not here", order.Engine)
	case w.Resources.Memory > order.Resources.Memory || w.Resources.Disk > order.Resources.Disk || w.Resources.CPU > order.Resources.CPU ||
		w.Resources.Memory < 0 || w.Resources.Disk < 0 || w.Resources.GPU != order.Resources.GPU:
		return errors.New("work: it wants more than the lease gives")
	case !slices.Equal(w.Reach, order.Reach):
		return errors.New("reach: the work wants to call other places than the lease names")
	case engine.Limits{Memory: int64(w.Resources.Memory)}.OrDefault().Memory > p.cfg.Memory:
		return fmt.Errorf("memory: wants %s, has %s", w.Resources.Memory, engine.Bytes(p.cfg.Memory))
	case w.Limits.Time < 0 || w.Limits.Output < 0 || w.Limits.Work < 0:
		return errors.New("work: a limit is negative")
	case output > disk/int64(p.cfg.Slots):
		return fmt.Errorf("disk: an output of %s is more than this node keeps", engine.Bytes(output))
	}
	return nil
}

// assign takes in tasks; those that are held are passed over.
func (p *Provider) assign(l *link, id string, tasks []job.Task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.tenantOf(l, id)
	if t == nil {
		if why := p.departed.why(id); why != "" {
			l.refuse(id, lease.Refused{Reason: why, Hint: "make a new lease"})
		}
		return // or Begin is still to come, and Held will tell that these are not here
	}
	for _, j := range tasks {
		if err := execution.CheckTask(j); err != nil {
			p.turnOut(t, lease.Refused{Reason: fmt.Sprintf("task %d: %v", j.Index, err), Program: true})
			return
		}
		if k := t.tasks[j.Index]; k != nil {
			if k.state == sent {
				k.again = &j // it was answered, and the requester wants it once more
			}
			continue
		}
		if len(t.tasks) >= maxTasks || t.held > maxInline {
			p.turnOut(t, lease.Refused{Reason: fmt.Sprintf("more tasks than the %d that were asked for", t.credit), Hint: "keep to the credit"})
			return
		}
		t.enqueue(j)
	}
	p.wake(t)
}

// wake calls those that have something to do for t. Needs p.mu.
func (p *Provider) wake(t *tenant) {
	if len(t.raw) > 0 {
		p.stage.Broadcast()
	}
	if len(t.ready) > 0 {
		p.work.Broadcast()
	}
}

// cancel takes tasks back. Those that wait are forgotten, those that run are stopped.
func (p *Provider) cancel(l *link, id string, indexes []uint64) {
	var victims []*task
	var paths []string
	p.mu.Lock()
	if t := p.tenantOf(l, id); t != nil {
		gone := map[*task]bool{}
		for _, i := range indexes {
			k := t.tasks[i]
			switch {
			case k == nil:
			case k.state == waiting:
				gone[k] = true
				t.drop(k)
				paths = append(paths, p.unstage(t, k))
			case k.state == staging:
				k.cancelled = true
				k.stop()
			case k.state == running:
				k.cancelled = true
				if k.box != nil {
					victims = append(victims, &task{box: k.box, id: k.id})
				}
			case k.state == sent:
				k.again = nil
			}
		}
		if isGone := func(k *task) bool { return gone[k] }; len(gone) > 0 {
			t.raw, t.ready = slices.DeleteFunc(t.raw, isGone), slices.DeleteFunc(t.ready, isGone)
		}
	}
	p.mu.Unlock()
	for _, v := range victims {
		v.box.sandbox.Cancel(v.id)
	}
	p.remove(paths...)
}
