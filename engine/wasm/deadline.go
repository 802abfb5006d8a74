package wasm

import (
	"time"

	"github.com/hpips/hpips/engine"
)

// due is when the child's first task has had its time; zero is never. A dropped task that the child runs nevertheless has had it soon.
func (b *batch) due() time.Time {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	if len(b.sent) == 0 || b.doomed >= 0 || !b.heldAt.IsZero() {
		return time.Time{}
	}
	head := b.sent[0]
	switch limit := b.s.prog.Limits.Time; {
	case b.ended[head]:
		return b.since.Add(b.held + lostDrop)
	case limit > 0:
		return b.since.Add(b.held + limit)
	}
	return time.Time{}
}

func (b *batch) arm(timer *time.Timer) {
	if due := b.due(); !due.IsZero() {
		timer.Reset(max(0, time.Until(due)))
		return
	}
	timer.Stop()
}

// overdue kills the child if its first task has had its time. What the child has said meanwhile is heard before.
func (b *batch) overdue(p *process) {
	for range cap(p.reports) {
		select {
		case r, ok := <-p.reports:
			if !ok {
				return // serve sees it next
			}
			b.hear(p, r)
			continue
		default:
		}
		break
	}
	if due := b.due(); !due.IsZero() && !time.Now().Before(due) {
		end := engine.TimedOut
		if b.isEnded(b.sent[0]) {
			end = engine.Cancelled
		}
		b.doom(p, end)
	}
}

// bury settles what a dead child leaves: the outcome of the task it died of, and the others to be run again by the next child.
func (b *batch) bury(p *process) {
	<-p.gone
	killed, by, why := b.doomed, b.doomedBy, b.lied
	b.doomed, b.lied = -1, ""
	if why == "" {
		why = p.why()
	}
	b.s.mu.Lock()
	closed := b.s.closed
	if b.s.child == p {
		b.s.child = nil
	}
	b.s.mu.Unlock()
	sent := b.sent
	b.sent, b.bytes = nil, 0
	if len(sent) == 0 {
		return
	}
	for _, i := range sent {
		b.s.discard(b.tasks[i].ID)
	}
	head := sent[0]
	switch {
	case b.isEnded(head):
	case killed == head:
		b.settle(head, by, "")
	case killed >= 0: // it ended in the last moment; the child was killed for nothing
	case closed:
		b.settle(head, engine.Cancelled, "")
	case p.starved():
		b.settle(head, engine.MemoryFull, "the program took more than the "+engine.Bytes(reserve)+" that a sandbox has beyond its memory: tables or calls grow without end")
	default:
		b.settle(head, engine.Broken, "the sandbox died: "+why)
		b.s.eng.log.Warn("a sandbox died", "task", b.tasks[head].ID, "why", why)
	}
	b.next = sent[0] // from there on, what has not ended is run again
}

// settle gives the outcome of a task that was killed.
func (b *batch) settle(i int, end engine.End, message string) {
	if message == "" {
		message = b.s.prog.Limits.Excess(end)
	}
	if end == engine.Cancelled {
		message = "cancelled"
	}
	o := broken(b.tasks[i].ID, message)
	o.End, o.Usage.Wall = end, time.Since(b.since)
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	b.end(i, o)
}

// breakAll gives what is left the outcome of a machine that cannot run it.
func (b *batch) breakAll(why error) { b.endAll(engine.Broken, why.Error()) }

func (b *batch) cancelAll() { b.endAll(engine.Cancelled, "cancelled before it started") }

func (b *batch) endAll(end engine.End, why string) {
	b.s.mu.Lock()
	for i, t := range b.tasks {
		if !b.ended[i] {
			o := broken(t.ID, why)
			o.End = end
			b.end(i, o)
		}
	}
	b.s.mu.Unlock()
	b.deliver()
}
