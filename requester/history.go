package requester

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hpips/hpips/spec/job"
)

// The history of a job, which hpips job why prints: what happened to it as a whole, and to its leases. What became of single executions is told by
// hpips job logs. A provider that comes and goes with the same words again and again has one line, so that a long job's history stays readable.

// note writes one line of a job's history.
func (r *Requester) note(ctx context.Context, e *errand, text string) {
	ev := job.Event{Time: r.now(), State: e.snapshot().State, Text: text}
	if err := r.journal.addEvent(context.WithoutCancel(ctx), e.id, ev); err != nil {
		r.log.Warn("History line is not in the journal", "job", e.id, "text", text, "err", err)
	}
}

// tellLeases says with whom leases were made. Who was turned away before, and is tried again, is no news.
func (g *gathering) tellLeases(ctx context.Context, hires []*hire) {
	var who []string
	slots := 0
	for _, h := range hires {
		if _, before := g.spurned[h.peer]; !before {
			who, slots = append(who, short(h.node)), slots+h.slots
		}
	}
	if len(who) > 0 {
		slices.Sort(who)
		g.r.note(ctx, g.e, fmt.Sprintf("leased from %s with %s: %s", job.Several(len(who), "provider"), job.Several(slots, "slot"), some(who)))
	}
}

// tellResumed says that a new life of this node goes on with what the last one left.
func (g *gathering) tellResumed(ctx context.Context) {
	if len(g.hires) > 0 {
		g.e.enter(job.Running)
		g.r.note(ctx, g.e, fmt.Sprintf("goes on after a restart of this node with %s: %d of %s done", job.Several(len(g.hires), "lease"), g.e.snapshot().Tasks.Done,
			job.Several(g.e.snapshot().Tasks.Total, "task")))
	}
}

// running says, once, that the job's first tasks are with a provider.
func (g *gathering) running(ctx context.Context, h *hire) {
	if g.e.enter(job.Running) {
		g.r.note(ctx, g.e, "runs: the first tasks are with provider "+short(h.node))
	}
}

// tellLoss says that executions ended with their provider, and how many of their tasks nobody else has.
func (g *gathering) tellLoss(ctx context.Context, h *hire, how string, lost, rerun int) {
	text := fmt.Sprintf("provider %s %s: %s lost", short(h.node), how, job.Several(lost, "execution"))
	if rerun > 0 {
		text += fmt.Sprintf(", %s run again", job.Several(rerun, "task"))
	}
	g.r.note(ctx, g.e, text)
}

// tellTurned says why a provider does not go on, the first time that it is for this reason.
func (g *gathering) tellTurned(ctx context.Context, h *hire, reason string, rerun int) {
	const most = 200 // a provider's words
	if len(reason) > most {
		reason = strings.ToValidUTF8(reason[:most], "") + "…"
	}
	line := fmt.Sprintf("provider %s does not go on: %s", short(h.node), reason)
	if g.told[line] {
		return
	}
	g.told[line] = true
	if rerun > 0 {
		line += fmt.Sprintf("; %s run again", job.Several(rerun, "task"))
	}
	g.r.note(ctx, g.e, line)
}

// tellOdd says that a node's result was not the accepted one, once for each node.
func (g *gathering) tellOdd(ctx context.Context, index uint64, v verdict) {
	before := g.e.snapshot().Odd
	for _, node := range v.odd {
		if !slices.Contains(before, node) {
			g.r.note(ctx, g.e, fmt.Sprintf("the result of %s from provider %s is not the one that others agree on", describe(index, g.e.spec.Kind), short(node)))
		}
	}
}

// some lists the first few of many.
func some(all []string) string {
	const most = 8
	if len(all) > most {
		return strings.Join(all[:most], ", ") + fmt.Sprintf(" and %d more", len(all)-most)
	}
	return strings.Join(all, ", ")
}
