package requester

import (
	"context"
	"slices"
	"strings"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
)

// lost counts executions that ended with their provider.
func (e *errand) lost(n int) {
	if n > 0 {
		e.change(func(s *job.Status) { s.Tasks.Lost += n; s.Executions += n })
	}
}

// rerun counts tasks that are started again.
func (e *errand) rerun(n int) {
	if n > 0 {
		e.change(func(s *job.Status) { s.Tasks.Rerun += n })
	}
}

// ran counts executions that ended, with or without a result that counts.
func (e *errand) ran(n int) { e.change(func(s *job.Status) { s.Executions += n }) }

// counted adds tasks that are done for good: how many each node is credited with.
func (e *errand) counted(taken map[string]int) {
	e.change(func(s *job.Status) {
		for node, n := range taken {
			i := slices.IndexFunc(s.Nodes, func(sh job.Share) bool { return sh.Node == node })
			if i < 0 {
				i = len(s.Nodes)
				s.Nodes = append(slices.Clone(s.Nodes), job.Share{Node: node})
			}
			s.Nodes[i].Tasks += n
			s.Tasks.Done += n
		}
		shares(s)
	})
}

// recount takes the tasks done from the journal, which after a kill knows of more than the last status.
func (r *Requester) recount(ctx context.Context, e *errand) error {
	taken, err := r.journal.shares(ctx, e.id)
	if err != nil {
		return err
	}
	verified, err := r.journal.verified(ctx, e.id)
	if err != nil {
		return err
	}
	e.change(func(s *job.Status) { s.Tasks.Done, s.Verified, s.Nodes = 0, verified, []job.Share{} })
	e.counted(taken)
	// Executions that ended between the last status and a kill are not in it; every task done, and every one lost, had its own.
	e.change(func(s *job.Status) { s.Executions = max(s.Executions, s.Tasks.Done+s.Tasks.Lost) })
	return nil
}

// shares works out each node's part of the tasks done, the largest first.
func shares(s *job.Status) {
	for i := range s.Nodes {
		s.Nodes[i].Share = float64(s.Nodes[i].Tasks) / float64(max(1, s.Tasks.Done))
	}
	slices.SortFunc(s.Nodes, func(a, b job.Share) int {
		if a.Tasks != b.Tasks {
			return b.Tasks - a.Tasks
		}
		return strings.Compare(a.Node, b.Node)
	})
}

// ruled counts a task that was checked, by several votes or by the checker, and who was odd in it.
func (e *errand) ruled(v verdict) {
	if !v.checked && len(v.odd) == 0 {
		return
	}
	e.change(func(s *job.Status) {
		if v.checked {
			s.Verified++
		}
		for _, node := range v.odd {
			if !slices.Contains(s.Odd, node) {
				s.Odd = append(slices.Clone(s.Odd), node)
			}
		}
	})
}

// found notes what the last round of asking brought, for job why. A round that found nobody to ask, since all are at work or have given
// the job back, leaves what they said. So many were at work already, and were not asked again.
func (e *errand) found(s search, working int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s.asked == 0 && len(e.rejected) > 0 {
		return
	}
	e.asked, e.rejected, e.working = s.asked, s.rejected, working
}

// turnedDown notes a provider that gave the job back.
func (e *errand) turnedDown(reason string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, r := range e.rejected {
		if r.Reason == reason {
			e.rejected[i].Count++
			return
		}
	}
	e.rejected = append(e.rejected, job.Rejection{Reason: reason, Count: 1})
}

// known is how many nodes were at work or asked in the last round of asking.
func (e *errand) known() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.asked + e.working
}

func (e *errand) refusals() (asked int, rejected []job.Rejection) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.asked, slices.Clone(e.rejected)
}

// streamed spools a piece of a Batch's output. A second execution repeats what the first said; only what is new is kept, as long as
// it is within the job's limit.
func (e *errand) streamed(o lease.Output) {
	if s := map[int]*spool{1: e.out, 2: e.err}[o.FD]; s != nil && o.Offset >= 0 && o.Offset <= int64(e.spec.Limits.Output)-int64(len(o.Data)) {
		s.write(o.Offset, o.Data)
	}
}
