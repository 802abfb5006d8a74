package provider

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/spec/lease"
)

// refusesTo says why the owner does not agree to an engine's work for a buyer; "" where it is done. This node's own always is.
func (p *Provider) refusesTo(engine string, buyer peer.ID) string {
	if p.barred == nil || buyer == p.self {
		return ""
	}
	if no := p.barred(engine, buyer); no != "" {
		return "engine " + engine + ": " + no
	}
	return ""
}

// unwelcome says of leases why their owner does not agree to them any more. That may take its time, so nothing waits for it.
func (p *Provider) unwelcome() map[*tenant]string {
	p.mu.Lock()
	all := make(map[*tenant]string, len(p.tenants))
	for _, t := range p.tenants {
		all[t] = t.lease.Terms.Order.Engine
	}
	p.mu.Unlock()
	for t, engine := range all {
		if all[t] = p.refusesTo(engine, t.peer); all[t] == "" {
			delete(all, t)
		}
	}
	return all
}

// tend looks after what only time brings about: leases that run out, reservations that nobody begins, requesters that stay away or take nothing.
func (p *Provider) tend(now time.Time) {
	unwelcome := p.unwelcome()
	p.mu.Lock()
	links := make([]*link, 0, len(p.links))
	for l := range p.links {
		links = append(links, l)
	}
	busy := map[*link]bool{}
	for _, t := range p.tenants {
		busy[t.link] = true
		switch {
		case t.lease.Terms.Until <= now.UnixMilli():
			p.turnOut(t, lease.Refused{Reason: "lease has expired", Hint: "make a new lease"})
		case unwelcome[t] != "":
			p.turnOut(t, lease.Refused{Reason: unwelcome[t], Hint: "its tasks go on elsewhere"})
		case !t.begun:
			if now.Sub(t.since) > p.cfg.Grace {
				p.depart(t, "lease was not begun in time")
			}
		case !t.away.IsZero() && now.Sub(t.away) > p.cfg.Patience:
			p.depart(t, "its requester was away for too long")
		case t.link.stuck(now) > p.cfg.Patience:
			p.depart(t, "its requester took no results for too long")
		case t.wastes(now):
			p.turnOut(t, lease.Refused{Reason: fmt.Sprintf("gpu: no task has used its devices for %v", unusedFor), Hint: "make a new lease"})
		case p.tooLong(t, now) != "":
			p.turnOut(t, lease.Refused{Reason: "suspended for too long: " + p.tooLong(t, now), Hint: "its tasks go on elsewhere"})
		case t.bill != nil:
			p.tendBill(t, now)
		}
	}
	p.tryAgain()
	var idle []*link
	for _, l := range links {
		if !busy[l] && !l.down.IsZero() && now.Sub(l.down) > 2*p.cfg.Patience { // its requester closes it earlier, if there is one
			idle = append(idle, l)
		}
	}
	p.mu.Unlock()
	for _, l := range links {
		l.settle()
	}
	for _, l := range idle {
		l.session.Close()
	}
}

// stuck is how long the writer has been waiting for the session.
func (l *link) stuck(now time.Time) time.Duration {
	if since := l.since.Load(); since > 0 {
		return now.Sub(time.UnixMilli(since))
	}
	return 0
}

// present notes that a session is up.
func (p *Provider) present(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.down = time.Time{}
	for _, t := range p.tenants {
		if t.link == l && !t.lost {
			t.away = time.Time{}
		}
	}
}

// absent notes that a session is down, or that its requester has restarted and has to begin its leases again.
func (p *Provider) absent(l *link, restarted bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if !restarted && l.down.IsZero() {
		l.down = now
	}
	for _, t := range p.tenants {
		if t.link != l {
			continue
		}
		t.lost = t.lost || restarted
		if t.away.IsZero() {
			t.away = now
		}
	}
}

// gone notes that a session is closed. Results that it did not deliver are lost: their tasks may be assigned again. The requester has Grace to begin
// its leases over another session.
func (p *Provider) gone(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
	for _, t := range p.tenants {
		if t.link != l {
			continue
		}
		for _, k := range t.tasks {
			if k.state == answering || k.state == sent {
				t.drop(k)
			}
		}
		t.lost, t.away = true, time.Now().Add(p.cfg.Grace-p.cfg.Patience)
	}
}

// uncongested lets slots look again at tenants that were behind a long queue.
func (p *Provider) uncongested() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.work.Broadcast()
}

// turnOut ends a lease from this side and says why. Needs p.mu.
func (p *Provider) turnOut(t *tenant, r lease.Refused) {
	if t.link != nil {
		t.link.refuse(t.id, r)
	}
	p.depart(t, r.Reason)
}

// depart ends a lease: what runs is stopped, what it kept is deleted once nothing uses it. A reason is told to a requester that still assigns.
// Needs p.mu.
func (p *Provider) depart(t *tenant, why string) {
	if p.tenants[t.id] != t {
		return
	}
	delete(p.tenants, t.id)
	if why != "" {
		p.departed.add(t.id, why)
		p.log.Info("Lease ended before its requester ended it", "lease", t.id, "reason", why)
	}
	t.over = true
	if !t.begun {
		p.unequip(t)
		return
	}
	if i := slices.Index(p.turns, t); i >= 0 {
		p.turns = slices.Delete(p.turns, i, i+1)
		if p.turn > i {
			p.turn--
		}
	}
	t.cancel()
	t.raw, t.ready = nil, nil
	p.doing.Go(func() { p.bury(t) })
}

// bury removes what is left of a lease once nothing works for it any more.
func (p *Provider) bury(t *tenant) {
	t.doing.Wait()
	p.mu.Lock()
	boxes, closing := t.boxes, p.closing
	p.disk -= t.kept
	for _, k := range t.tasks {
		p.disk -= k.bytes
		k.bytes = 0
	}
	for _, s := range t.spools {
		s.close()
	}
	p.mu.Unlock()
	for _, b := range boxes {
		b.close(p.log)
	}
	p.mu.Lock()
	p.unequip(t)
	p.mu.Unlock()
	if t.bill != nil && !closing { // else it may go on in the next life
		p.payee.Ended(context.WithoutCancel(p.life), t.lease)
	}
	if err := os.RemoveAll(t.dir); err != nil {
		p.log.Warn("Folder of an ended lease stays", "dir", t.dir, "err", err)
	}
}

// departAll ends what is left when the provider stops. The slots have ended already.
func (p *Provider) departAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.tenants {
		p.depart(t, "")
	}
}

// letGo frees content that was kept for a requester.
func (p *Provider) letGo(k keep) {
	if !k.root.Defined() {
		return
	}
	// The provider may be stopping, and the pin should go all the same.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := p.store.Unpin(ctx, k.root); err != nil {
		p.log.Warn("Result stays pinned", "root", k.root, "err", err)
	}
	p.mu.Lock()
	p.disk -= k.bytes
	p.mu.Unlock()
}

// graves remembers why the last leases ended that this side ended.
type graves struct {
	reasons map[string]string
	order   []string
}

const maxGraves = 256

func (g *graves) add(id, why string) {
	if g.reasons == nil {
		g.reasons = map[string]string{}
	}
	if len(g.order) == maxGraves {
		delete(g.reasons, g.order[0])
		g.order = g.order[1:]
	}
	g.reasons[id] = why
	g.order = append(g.order, id)
}

func (g *graves) why(id string) string { return g.reasons[id] }
