package provider

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/execution"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/store"
)

// The size of one Results message.
const (
	maxResults     = 512
	maxResultBytes = 1 << 20
)

// inline writes the inputs that came inside messages, for the tasks of one shift.
func (p *Provider) inline(s *shift) {
	for _, k := range s.tasks {
		if k.Input == nil || k.Input.CID != "" || k.input != "" {
			continue
		}
		p.mu.Lock()
		p.ids++
		host := filepath.Join(s.t.program.Inputs, fmt.Sprint(p.ids))
		p.mu.Unlock()
		if err := os.WriteFile(host, k.Input.Inline, 0o600); err != nil {
			p.answer(s.t, []*task{k}, []job.Result{{Index: k.Index, End: job.Broken, Message: fmt.Sprintf("input of task %d: %v", k.Index, err)}}, keep{})
			continue
		}
		p.mu.Lock()
		k.input, k.bytes = host, int64(len(k.Input.Inline))
		p.disk += k.bytes
		s.t.aheadBytes += k.bytes
		p.mu.Unlock()
	}
}

// sink takes what the sandbox tells of one shift. A slow session slows streaming tasks down; other batches it ends early.
type sink struct {
	p *Provider
	s *shift
}

// Done turns outcomes into results and sends them.
func (k *sink) Done(outcomes []engine.Outcome) {
	p, t := k.p, k.s.t
	answered, told := p.closeOut(k.s, outcomes)
	release := p.reserve(t, told)
	defer release()
	var results []job.Result
	var links []store.Link
	first, bytes := 0, 0
	flush := func(to int) {
		if to > first {
			p.answer(t, answered[first:to], results, p.pin(t, links))
		}
		first, bytes, results, links = to, 0, nil, nil
	}
	for i := range told {
		r, kept := p.result(t, answered[i], &told[i])
		results, links = append(results, r), append(links, kept...)
		if bytes += len(r.Stdout.Inline) + len(r.Stderr) + 128; len(results) == maxResults || bytes > maxResultBytes {
			flush(i + 1)
		}
	}
	flush(len(told))
	for i := range outcomes {
		if o := &outcomes[i]; o.Stdout.Path != "" || o.Stderr.Path != "" || len(o.Outputs) > 0 {
			k.s.box.sandbox.Release(o.ID)
		}
	}
	p.mu.Lock()
	l := t.link
	p.mu.Unlock()
	if l.queued.Load() >= jammed {
		p.giveBack(k.s, 1)
	}
}

// reserve keeps content in the store from being collected between its adding and its pin, where outcomes have any.
func (p *Provider) reserve(t *tenant, outcomes []engine.Outcome) (release func()) {
	for i := range outcomes {
		if outcomes[i].Stdout.Path == "" && len(outcomes[i].Outputs) == 0 {
			continue
		}
		release, err := p.store.Reserve(t.ctx)
		if err != nil {
			break // the lease ends
		}
		return release
	}
	return func() {}
}

// closeOut notes which tasks of a shift have ended and returns those that are to be answered, with their outcomes.
func (p *Provider) closeOut(s *shift, outcomes []engine.Outcome) (answered []*task, told []engine.Outcome) {
	t := s.t
	var paths []string
	answered, told = make([]*task, 0, len(outcomes)), make([]engine.Outcome, 0, len(outcomes))
	now := time.Now()
	p.mu.Lock()
	s.last = now
	for _, o := range outcomes {
		i := o.ID - s.base
		if i >= uint64(len(s.tasks)) {
			continue
		}
		k := s.tasks[i]
		k.box = nil
		if o.End != engine.Cancelled {
			s.ended++
		}
		switch {
		case t.over || k.cancelled:
			t.drop(k)
		case o.End == engine.Cancelled && k.returned:
			k.state, k.returned = waiting, false
			t.clear(k)
			t.ready = append(t.ready, k)
			p.work.Signal()
			continue // its input stays
		case o.End == engine.Cancelled: // the provider stops
			t.drop(k)
		default:
			k.state = answering
			answered, told = append(answered, k), append(told, o)
		}
		if path := p.unstage(t, k); path != "" {
			paths = append(paths, path)
		}
	}
	p.mu.Unlock()
	p.remove(paths...)
	return answered, told
}

// Output passes on a piece of a streaming task.
func (k *sink) Output(id uint64, fd int, offset int64, data []byte) {
	t := k.s.t
	i := id - k.s.base
	if i >= uint64(len(k.s.tasks)) {
		return
	}
	m := lease.Message{Lease: t.id, Output: &lease.Output{Task: k.s.tasks[i].Index, FD: fd, Offset: offset, Data: data}}
	k.p.send(t, m, parcel{}, true)
}

// send queues a message for the requester of t, see link.put. It reports whether the message was queued.
func (p *Provider) send(t *tenant, m lease.Message, with parcel, patient bool) bool {
	b, err := m.Encode()
	if err != nil {
		p.log.Error("Message cannot be written", "lease", t.id, "err", err)
		return false
	}
	p.mu.Lock()
	l := t.link
	p.mu.Unlock()
	with.msg, with.t = b, t
	return l.put(t.ctx, with, patient) == nil
}

// answer sends the results of tasks. What cannot be sent because the session is gone is forgotten: the requester assigns it again.
func (p *Provider) answer(t *tenant, tasks []*task, results []job.Result, kept keep) {
	var paths []string
	p.mu.Lock()
	for i, k := range tasks {
		k.state = answering
		p.ended[results[i].End]++
		if path := p.unstage(t, k); path != "" {
			paths = append(paths, path)
		}
	}
	p.mu.Unlock()
	p.remove(paths...)
	m := lease.Message{Lease: t.id, Results: &lease.Results{Results: results}}
	if p.send(t, m, parcel{tasks: tasks, results: results, keep: kept}, false) {
		return
	}
	p.letGo(kept)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range tasks {
		t.drop(k)
	}
}

// handOver notes that a message is about to be given to the session: from now on its requester may know the results.
func (p *Provider) handOver(m parcel) {
	if len(m.tasks) == 0 {
		return
	}
	if m.t.bill != nil {
		p.did(m.t, m.tasks, m.results)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range m.tasks {
		k.state = sent
		m.t.clear(k)
	}
	if m.t.bill != nil {
		p.work.Broadcast()
	}
}

// answered forgets tasks whose results the session has; those that the requester has assigned once more begin anew.
func (p *Provider) answered(m parcel) {
	if len(m.tasks) == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range m.tasks {
		m.t.drop(k)
		if k.again != nil && !m.t.over && m.t.tasks[k.Index] == nil {
			m.t.enqueue(*k.again)
		}
	}
	if !m.t.over {
		p.wake(m.t)
	}
}

// compose writes a note as things stand now; nil if there is nothing to tell any more.
func (p *Provider) compose(n note) []byte {
	m := lease.Message{Lease: n.lease}
	taken := p.taken(n)
	p.mu.Lock()
	t := p.tenants[n.lease]
	switch {
	case n.what == refusedNote:
		m.Refused = &n.refusal
	case t == nil || !t.begun:
	case n.what == heldNote:
		t.credit = t.wish()
		m.Held = &lease.Held{Tasks: t.indexes(), Credit: t.credit, Round: t.round, Taken: taken}
	case n.what == creditNote:
		t.credit = t.wish()
		m.Credit = &lease.Credit{Tasks: t.credit}
	case n.what == takenNote:
		m.Taken = &lease.Taken{Tasks: taken}
	case n.what == comingNote:
		m.Coming = &lease.Coming{Bytes: t.coming}
	}
	p.mu.Unlock()
	if m.Refused == nil && m.Held == nil && m.Credit == nil && m.Taken == nil && m.Coming == nil {
		return nil
	}
	b, err := m.Encode()
	if err != nil {
		p.log.Error("Message cannot be written", "lease", n.lease, "err", err)
	}
	return b
}

// taken is what a note says of the results that have their places under a root.
func (p *Provider) taken(n note) uint64 {
	if n.what != heldNote && n.what != takenNote {
		return 0
	}
	p.mu.Lock()
	t := p.tenants[n.lease]
	known := t != nil && t.statement != nil
	var l lease.Lease
	if known {
		l = t.lease
	}
	p.mu.Unlock()
	if !known {
		return 0
	}
	return p.payee.Taken(p.life, l)
}

// result is what a requester is told of an outcome. Large contents go to the store: what has to be kept of them is returned besides.
func (p *Provider) result(t *tenant, k *task, o *engine.Outcome) (job.Result, []store.Link) {
	var links []store.Link
	keepAs := func(path string) (job.Content, error) {
		if err := p.roomy(o); err != nil {
			return job.Content{}, err
		}
		e, err := p.store.AddPath(t.ctx, path, nil)
		if err != nil {
			return job.Content{}, err
		}
		l := e.Link()
		l.Name = fmt.Sprintf("%s-%d-%d", t.id, k.id, len(links))
		links = append(links, l)
		return job.Content{CID: e.CID.String(), Size: int64(e.Size)}, nil
	}
	r, err := execution.Result(k.Index, o, keepAs)
	if err != nil {
		return job.Result{Index: k.Index, End: job.Broken, Message: fmt.Sprintf("result of task %d cannot be kept on this node: %v", k.Index, err), Usage: r.Usage}, nil
	}
	return r, links
}

// roomy errs when this node's disk for tasks has no room for the contents of an outcome.
func (p *Provider) roomy(o *engine.Outcome) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.diskLimit()-p.disk <= o.Stdout.Size {
		return errFull
	}
	return nil
}

// pin holds contents until the message that names them is processed, under a root of their own: what is pinned by others stays theirs.
func (p *Provider) pin(t *tenant, links []store.Link) keep {
	if len(links) == 0 {
		return keep{}
	}
	var bytes int64
	for _, l := range links {
		bytes += int64(l.Size)
	}
	root, err := p.store.Dir(t.ctx, links)
	if err == nil {
		err = p.store.Pin(t.ctx, root.CID, "results of lease "+t.id)
	}
	if err != nil {
		if t.ctx.Err() == nil {
			p.log.Warn("Results are not pinned", "lease", t.id, "err", err)
		}
		return keep{}
	}
	p.mu.Lock()
	p.disk += bytes
	p.mu.Unlock()
	return keep{root.CID, bytes}
}
