package requester

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hpips/hpips/p2p"
	"github.com/hpips/hpips/pay"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/voucher"
)

// maxBreaks is how often a task may break its sandbox or its provider before the job gives up on it.
const maxBreaks = 6

// maxFaults is how many executions in a row a provider may leave without a result before its tasks go elsewhere.
const maxFaults = 3

// maxCredit is how many tasks this node is willing to have out with one provider.
const maxCredit = 1 << 14

// spurn is how long a provider that refused a job is not asked again.
const spurn = 30 * time.Second

// arrival is a result that came in, before it is durable.
type arrival struct {
	hire   *hire
	result job.Result // its index is the board's
	done   func()
	used   voucher.Usage // to be paid for

	checked bool   // a checker found it right
	value   []byte // standard output, as far as results are compared by it; nil: not
}

// take handles one delivery of a link.
func (g *gathering) take(ctx context.Context, d delivery) error {
	h := g.hire(d.lease)
	if h == nil {
		d.done()
		return nil
	}
	if d.event != p2p.EventNone {
		g.event(ctx, h, d.event)
		return nil
	}
	switch m := d.msg; {
	case m.Results != nil:
		return g.arrivals(ctx, h, m.Results.Results, d.done)
	case m.Held != nil:
		g.heldBy(ctx, h, m.Held)
	case m.Credit != nil:
		h.credit = clampCredit(m.Credit.Tasks)
	case m.Taken != nil:
		h.taken(m.Taken.Tasks)
	case m.Coming != nil:
		h.pulled = min(max(0, m.Coming.Bytes), maxPulled)
		g.comes()
	case m.Output != nil:
		if _, held := h.held[m.Output.Task-g.p.base]; held || !h.ready {
			g.e.streamed(*m.Output)
		}
	case m.Refused != nil:
		d.done()
		return g.refused(ctx, h, *m.Refused)
	}
	d.done()
	return nil
}

// maxPulled is more bytes than any image has: what a provider says is its word alone, and is added up with others'.
const maxPulled = 1 << 50

// comes tells how much of images has come to the nodes that are hired.
func (g *gathering) comes() {
	var all job.Coming
	for _, h := range g.hires {
		if h.pulled > 0 {
			all.Nodes++
			all.Bytes += h.pulled
		}
	}
	g.e.change(func(s *job.Status) {
		if s.Coming = nil; all.Nodes > 0 {
			s.Coming = &all
		}
	})
}

func (g *gathering) hire(id string) *hire {
	for _, h := range g.hires {
		if h.id == id {
			return h
		}
	}
	return nil
}

// clampCredit keeps a provider's wish within what this node is willing to have out with it.
func clampCredit(n int) int { return max(1, min(n, maxCredit)) }

func (g *gathering) event(ctx context.Context, h *hire, e p2p.Event) {
	now := g.r.now()
	switch e {
	case p2p.EventUp:
		h.up, h.since = true, now
	case p2p.EventDown:
		if h.up {
			h.down = len(h.held)
		}
		h.up, h.since = false, now
	case p2p.EventRestarted:
		held, rerun := g.board.lost(h)
		g.missed(h, len(held))
		h.old = true
		h.doubt()
		h.claims, h.since = len(held), now // what was on its way comes to the new process
		h.starve()
		g.e.lost(len(held))
		g.e.rerun(rerun)
		if len(held) > 0 {
			g.tellLoss(ctx, h, "began anew", len(held), rerun)
		}
		g.begin(h)
	}
}

// heldBy takes a provider's word for what it has, after either side began anew. While a lease goes on it is no news: its begin was repeated
// for a longer term, and what was assigned since is not in it.
// What an earlier life was told comes again if it was not acknowledged, and is no news either: results that came after it would look as if nobody had them.
func (g *gathering) heldBy(ctx context.Context, h *hire, held *lease.Held) {
	if held.Round != h.round {
		return
	}
	h.credit = clampCredit(held.Credit)
	h.taken(held.Taken)
	if h.ready {
		return
	}
	now := g.r.now()
	for _, i := range held.Tasks {
		g.board.claim(i-g.p.base, h, now)
	}
	h.ready, h.claims, h.heard, g.progress = true, 0, now, now
	g.remind(h)
	for i := range h.held {
		g.feed(ctx, h, i+g.p.base)
	}
}

// arrivals takes results off the board and sends them on to be fetched or committed. done is called when the last of them is processed.
func (g *gathering) arrivals(ctx context.Context, h *hire, results []job.Result, done func()) error {
	left := 1
	one := func() {
		if left--; left == 0 {
			done()
		}
	}
	now := g.r.now()
	var lie error
	for _, result := range results {
		result.Index -= g.p.base
		if !h.ready {
			g.board.claim(result.Index, h, now)
		}
		age := g.board.age(result.Index, now)
		known := h.knew(result.Index)
		if err := result.Check(g.p.work.Limits, g.e.spec.Resources.Disk, g.p.work.Outputs); err != nil { // nothing that it claims counts
			result = job.Result{Index: result.Index, End: job.Broken, Message: err.Error()}
		}
		used, err := h.usage(result, g.p.work.Resources, age, now)
		if lie == nil && known {
			lie = err
		}
		if err := g.recollect(ctx, h, result.Index); err != nil {
			return err
		}
		if !g.board.arrived(result.Index, h) {
			if known { // it came too late to be of use
				h.doubt()
				delete(h.recalled, result.Index)
				used.Sent = min(used.Sent, pay.Used(unsent(result), g.p.work.Resources).Sent)
				g.owe(h, result, used, now)
			}
			continue
		}
		h.heard, g.progress = now, now
		g.running(ctx, h)
		left++
		a := arrival{hire: h, result: result, done: one, used: used}
		if again, err := g.unfinished(ctx, a); err != nil || again {
			one()
			if err != nil {
				return err
			}
			continue
		}
		h.coming(used)
		if g.compared() && result.Stdout.CID == "" {
			a.value = slices.Concat([]byte{}, result.Stdout.Inline)
		}
		g.smooth(max(0, min(time.Duration(result.Usage.Wall), age)))
		if needsFetch(result) {
			h.fetching++
			g.toFetch = append(g.toFetch, &a)
			continue
		}
		g.check(ctx, a)
	}
	g.fetch(ctx)
	one()
	if lie != nil && slices.Contains(g.hires, h) {
		g.turnAway(ctx, h, lie.Error())
	}
	return nil
}

// unsent is a result that comes too late to be of use: what lies with its provider is not pulled, so it was not sent, and is not paid for as if it were.
func unsent(r job.Result) job.Result {
	r.Outputs = nil
	if r.Stdout.CID != "" {
		r.Stdout = job.Content{}
	}
	return r
}

// unfinished deals with an execution that is no result: one that broke, was lost or stopped, or failed with retries left. Its task is run again,
// elsewhere if its provider brings no results at all.
func (g *gathering) unfinished(ctx context.Context, a arrival) (again bool, err error) {
	i, r, h := a.result.Index, a.result, a.hire
	switch {
	case r.End == job.Broken || r.End == job.Lost || r.End == job.Stopped:
		if g.breaks[i]++; g.breaks[i] > maxBreaks {
			g.e.ran(1)
			r.Index += g.p.base
			return true, g.e.failureOf(r)
		}
		h.faults++
		if r.End != job.Stopped { // that is its owner's right
			g.missed(h, 1)
		}
	case !r.Succeeded() && r.End != job.Refused && g.retries[i] < g.e.spec.Retries:
		g.retries[i]++
		h.doubt()
		g.owe(h, r, a.used, g.r.now()) // the program's fault, not its provider's
	default:
		return false, nil
	}
	g.e.ran(1)
	if g.board.back(i, h) {
		g.e.rerun(1)
	}
	if h.faults > maxFaults && slices.Contains(g.hires, h) {
		g.turnAway(ctx, h, "its executions break: "+r.Message)
	}
	return true, nil
}

// smooth follows the tasks' wall time.
func (g *gathering) smooth(wall time.Duration) {
	if g.mean == 0 {
		g.mean = wall
		return
	}
	g.mean += (wall - g.mean) / 16
}

// commit puts a result on its way into the journal.
func (g *gathering) commit(a arrival) {
	a.hire.faults = 0
	r := a.result
	r.Index += g.p.base
	vote := !a.checked && (g.board.checks[a.result.Index] != nil || !r.Succeeded() || g.heavy(r))
	g.pending = append(g.pending, entry{hire: a.hire, result: r, vote: vote, checked: a.checked, value: a.value, done: a.done, used: a.used})
}

// count counts results that are durable now.
func (g *gathering) count(ctx context.Context, c committed) error {
	g.writing = false
	if c.err != nil {
		return c.err
	}
	g.paid(ctx, c.payments)
	owners := g.owners()
	taken := map[string]int{}
	g.e.ran(c.executions()) // all of them, also those beside the one that fails the job
	for _, en := range c.entries {
		if en.promote {
			continue
		}
		i := en.result.Index - g.p.base
		if en.wrong {
			if err := g.wronged(ctx, en); err != nil {
				g.e.counted(taken)
				return err
			}
			en.done()
			continue
		}
		odd := g.board.doubters(i)
		var ruled verdict
		if en.vote {
			if g.heavy(en.result) {
				g.second(ctx, i, owners)
			}
			ruled = g.board.vote(i, g.ballot(en.hire.node, en.hire.owner, en.hire.class, en.result, en.value), owners)
		} else {
			ruled = g.board.count(i, en.hire.owner)
		}
		if ruled.weigh {
			g.weigh(ctx, i)
		}
		if ruled.decided {
			g.recall(i)
			if !en.vote {
				taken[en.hire.node]++
				if en.checked {
					g.e.ruled(verdict{checked: true, odd: odd})
				}
			} else if err := g.decided(ctx, i, ruled); err != nil {
				g.e.counted(taken)
				return err
			}
		}
		en.done()
	}
	g.e.counted(taken)
	return nil
}

// decided ends a task that had votes: its result is promoted, and a failed one fails the job.
func (g *gathering) decided(ctx context.Context, i uint64, v verdict) error {
	index := i + g.p.base
	if v.undecided {
		return g.noMajority(i, g.p.rules.policy.Limit, "")
	}
	g.tellOdd(ctx, index, v)
	g.e.ruled(v)
	promote := entry{promote: true, checked: v.checked, digest: v.digest, result: job.Result{Index: index}, right: v.right, odd: g.blamed(v)}
	node, accepted, err := g.r.journal.vote(ctx, g.e.id, index, v.digest)
	if err != nil {
		return err
	}
	g.e.counted(map[string]int{node: 1})
	if !accepted.Succeeded() {
		g.r.show(ctx, g.e, accepted)
		failure := g.e.failureOf(accepted)
		itsResult := g.e.spec.Kind == job.Batch && accepted.End == job.Exited // the exit code
		g.e.change(func(s *job.Status) {                                      // before the journal has the result, so that they are there together
			if s.ExitCode = failure.ExitCode(accepted.Exit); !itsResult {
				s.Error = failure
			}
		})
		if err := g.r.journal.commit(ctx, g.e.id, batch{entries: []entry{promote}}, g.e.snapshot()); err != nil || itsResult {
			return err
		}
		return failure
	}
	g.pending = append(g.pending, promote)
	return nil
}

// noMajority says that task i was executed so often, and that no result has most of the votes.
func (g *gathering) noMajority(i uint64, executions int, further string) error {
	return &job.Failure{Code: job.CodeVerification, Message: fmt.Sprintf("%s: %d executions gave no majority%s", describe(i+g.p.base, g.e.spec.Kind), executions, further),
		Hint: "is the program deterministic? hpips job logs " + g.e.id + " shows each execution"}
}

// recall cancels the copies of a decided task that others still have.
func (g *gathering) recall(i uint64) {
	for _, h := range g.board.others(i, nil) {
		g.board.drop(i, h)
		h.recall(i)
		if h.up {
			g.send(h, lease.Message{Lease: h.id, Cancel: &lease.Cancel{Tasks: []uint64{i + g.p.base}}})
		}
	}
}

// refused ends a lease that its provider will not work on. That the program is at fault is believed from two owners, or where there is one only.
func (g *gathering) refused(ctx context.Context, h *hire, no lease.Refused) error {
	if no.Program {
		g.accused[h.owner] = true
		if g.accusation = (&job.Failure{Code: job.CodeProgram, Message: no.Reason, Hint: no.Hint}); len(g.accused) > 1 {
			return g.accusation
		}
	}
	g.turnAway(ctx, h, no.Reason)
	return nil
}

// turnAway ends a lease that leads to nothing; its provider is not asked for a while.
func (g *gathering) turnAway(ctx context.Context, h *hire, reason string) {
	g.r.log.Info("Provider does not go on with a job", "job", g.e.id, "provider", h.node, "reason", reason)
	g.e.turnedDown(reason)
	g.spurned[h.peer] = g.r.now().Add(spurn)
	_, rerun := g.board.lost(h)
	g.e.rerun(rerun)
	g.tellTurned(ctx, h, reason, rerun)
	g.drop(ctx, h)
}
