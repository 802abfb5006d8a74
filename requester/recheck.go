package requester

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/pay"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/trust"
)

// What a node did before it was convicted is looked at again by the one who paid for it (docs/rfc/0002-trust.md, recent results):
//
//  1. convicted notes the conviction, once, with the last results of the node that nobody has checked, and tells each job of theirs.
//  2. review runs them again on this node, the last first; what cannot be run now comes again later.
//  3. Wrong ones are disputed where their pay is final, so that the bond gives it back. The chain takes some at once: the others wait for their turn.
//  4. When the conviction is forgotten, what is left lapses.

// mostRechecked is how many results of a convicted node that nobody has checked are run again, the last ones: the chain keeps no more of them.
const mostRechecked = 200

// The times of looking at results of convicted nodes.
const (
	recheckEvery = time.Minute // between two looks whether a provider was convicted
	mostTries    = 10          // to run one result again; after each the wait is twice as long
)

// recheck looks at what convicted nodes were paid for before, until ctx ends.
func (r *Requester) recheck(ctx context.Context) {
	if r.deps.Court == nil || r.deps.Examine == nil {
		return
	}
	tick := time.NewTicker(min(recheckEvery, 10*r.cfg.Court))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if err := r.recheckAll(ctx); err != nil && ctx.Err() == nil {
			r.log.Debug("Results of convicted nodes are not all looked at just now", "err", err)
		}
	}
}

// recheckAll goes once through the providers of this node's leases. What fails for one does not hold up the others.
func (r *Requester) recheckAll(ctx context.Context) error {
	nodes, err := r.sworeTo(ctx)
	if err != nil {
		return err
	}
	var failed error
	for node, of := range nodes {
		recent, until, err := r.deps.Court.Recent(ctx, node)
		switch {
		case err != nil:
		case until.IsZero():
			err = r.lapse(ctx, of.node)
		default:
			if err = r.convicted(ctx, of, until); err == nil {
				err = r.review(ctx, of.node, recent)
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		failed = errors.Join(failed, err)
	}
	return failed
}

// swore is a provider with whom this node has leases that juries look at.
type swore struct {
	hardware
	leases []lease.Lease
}

// sworeTo are those providers, by their keys.
func (r *Requester) sworeTo(ctx context.Context) (map[[32]byte]swore, error) {
	if _, _, err := r.known(ctx, [32]byte{}); err != nil && !errors.Is(err, errNoHearing) { // reads them all
		return nil, err
	}
	nodes := map[[32]byte]swore{}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.sworn {
		p, err := peer.Decode(l.Terms.Quote.Provider)
		if err != nil {
			continue
		}
		if key, err := nodeKey(p); err == nil {
			nodes[key] = swore{hardware{l.Terms.Quote.Provider, l.Terms.Quote.Class}, append(nodes[key].leases, l)}
		}
	}
	return nodes, nil
}

// conviction is how many wrong results a conviction counts as: enough for the node to rest.
const conviction = 2

// convicted notes a conviction that ends at a time, once: in the record of the node, in the results that are doubtful by it, and in the history of each of their jobs.
func (r *Requester) convicted(ctx context.Context, of swore, until time.Time) error {
	known, err := r.journal.wasConvicted(ctx, of.node, until)
	if err != nil || known {
		return err
	}
	slices.SortFunc(of.leases, func(a, b lease.Lease) int { return int(b.Terms.From - a.Terms.From) })
	var open []review
	told := map[string]string{} // by job
	for _, l := range of.leases {
		_, id, _, err := r.journal.sworn(ctx, l.ID())
		if err == nil {
			open, err = r.journal.unchecked(ctx, l.ID(), id, open)
		}
		if err != nil {
			return err
		}
		tasks, err := r.journal.taken(ctx, id, of.node)
		if err != nil {
			return err
		}
		if told[id] == "" && len(tasks) > 0 {
			told[id] = fmt.Sprintf("provider %s was convicted of a wrong result: what is not final of its pay comes back; nobody has checked what it gave for %s, which are doubtful, and are run again on this node",
				short(of.node), listed(tasks))
		}
	}
	return r.journal.condemn(ctx, of.hardware, until, open, told, r.now())
}

// review runs doubtful results of a convicted node again, and disputes wrong ones; recent are its redemptions whose pay is final.
func (r *Requester) review(ctx context.Context, node string, recent []Hearing) error {
	open, err := r.journal.reviews(ctx, node, reviewOpen, r.now())
	if err != nil {
		return err
	}
	var some []review // of one job
	var failed error
	for i, v := range open {
		if v, failed = r.reviewOne(ctx, v); failed != nil {
			break // this node cannot look just now
		}
		if some = append(some, v); len(some) < reviewedAtOnce && i+1 < len(open) {
			continue
		}
		if failed = r.journal.reviewed(ctx, some...); failed != nil {
			break
		}
		some = nil
	}
	kept := context.WithoutCancel(ctx)
	return errors.Join(failed, r.journal.reviewed(kept, some...), r.tellWrong(kept, node), r.reclaim(ctx, node, recent))
}

// reviewedAtOnce is how many results are looked at before that is written down.
const reviewedAtOnce = 16

// reviewOne runs one result again.
func (r *Requester) reviewOne(ctx context.Context, v review) (review, error) {
	shown, err := r.Leaf(ctx, v.lease, v.place, v.place+1)
	if errors.Is(err, pay.ErrLeaf) {
		v.state = reviewNone // it is not kept any more
		return v, nil
	}
	var s lease.Statement
	if err == nil {
		s, err = r.Statement(ctx, v.lease, shown.Index)
	}
	var answer trust.Digest
	if err == nil {
		if r.byChance(ctx, s.Work.Module) {
			v.state = reviewNone
			return v, nil
		}
		answer, _, err = r.deps.Examine(ctx, s, nil)
	}
	switch v.tries++; {
	case ctx.Err() != nil:
		return v, ctx.Err()
	case err != nil && v.tries < mostTries:
		v.at = r.now().Add(recheckEvery << v.tries)
	case err != nil:
		v.state = reviewNone // what this node cannot run, it cannot doubt
	case answer == shown.Leaf.Answer():
		v.state = reviewRight
	default:
		v.state = reviewWrong
	}
	return v, nil
}

// tellWrong tells each job which results of a convicted node were found wrong since it was told last.
func (r *Requester) tellWrong(ctx context.Context, node string) error {
	wrong, err := r.journal.untold(ctx, node)
	for id, tasks := range wrong {
		r.log.Warn("Results of a job were wrong", "job", id, "results", len(tasks))
		text := fmt.Sprintf("%s of provider %s, which was convicted, found wrong: %s; what was paid for that comes back, if it was final from what is left of its bond; run the job again (hpips job rerun %s)",
			job.Several(len(tasks), "result"), short(node), listed(tasks), id)
		err = errors.Join(err, r.journal.tell(ctx, id, node, text, r.now()))
	}
	return err
}

// mostRefused is how many refusals of the chain are enough for one look.
const mostRefused = 2

// reclaim asks the chain about wrong results whose pay is final. Those that it does not take now wait behind the others.
func (r *Requester) reclaim(ctx context.Context, node string, recent []Hearing) (failed error) {
	wrong, err := r.journal.reviews(ctx, node, reviewWrong, r.now())
	if err != nil {
		return err
	}
	refused := 0
	for _, v := range wrong {
		l, _, _, err := r.journal.sworn(ctx, v.lease)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(recent, func(h Hearing) bool {
			return h.Lease == l.Terms.Key() && v.place >= h.Span.TasksBefore && v.place < h.size()
		})
		if i < 0 {
			continue // its pay is not final and comes back by itself, or it is longer ago than the chain remembers
		}
		shown, err := r.Leaf(ctx, v.lease, v.place, recent[i].size())
		if err == nil {
			err = r.dispute(ctx, v.lease, Question{Hearing: recent[i], Place: v.place, Shown: shown})
		}
		if v.state = reviewAsked; err != nil {
			failed = errors.Join(failed, fmt.Errorf("wrong result of task %d of job %s: %w", v.index, v.job, err))
			v.state, v.at, refused = reviewWrong, r.now(), refused+1
		}
		if err := r.journal.reviewed(context.WithoutCancel(ctx), v); err != nil || refused == mostRefused {
			return errors.Join(failed, err)
		}
	}
	return failed
}

// lapse ends what was left to do about a node whose conviction is forgotten.
func (r *Requester) lapse(ctx context.Context, node string) error {
	for from, to := range map[reviewState]reviewState{reviewOpen: reviewNone, reviewWrong: reviewLapsed} {
		left, err := r.journal.reviews(ctx, node, from, time.Unix(1<<40, 0))
		for i := range left {
			left[i].state = to
		}
		if err = errors.Join(err, r.journal.reviewed(ctx, left...)); err != nil {
			return err
		}
	}
	return nil
}
