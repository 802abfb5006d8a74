package requester

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/trust"
)

// mostRechecked is how many results of one redemption of a convicted node are run again: the chain keeps no more of them.
const mostRechecked = 200

// recheckEvery is how often it is asked whether a provider was convicted.
const recheckEvery = time.Minute

// recheck looks at what convicted nodes were paid for before, until ctx ends: this node runs it again itself, and disputes what was wrong. The chain refunds it from what is left of the bond.
func (r *Requester) recheck(ctx context.Context) {
	if r.deps.Court == nil || r.deps.Examine == nil {
		return
	}
	tick := time.NewTicker(min(recheckEvery, 10*r.cfg.Court))
	defer tick.Stop()
	done := map[trust.Matter]bool{}
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if err := r.recheckAll(ctx, done); err != nil && ctx.Err() == nil {
			r.log.Debug("Results of convicted nodes are not looked at just now", "err", err)
		}
	}
}

// recheckAll goes once through the providers of this node's leases; done are the redemptions that were looked at.
func (r *Requester) recheckAll(ctx context.Context, done map[trust.Matter]bool) error {
	nodes, err := r.sworeTo(ctx)
	if err != nil {
		return err
	}
	for node, by := range nodes {
		recent, until, err := r.deps.Court.Recent(ctx, node)
		if err != nil {
			return err
		}
		if until.IsZero() {
			continue
		}
		if err := r.journal.convicted(ctx, by, until); err != nil {
			return err
		}
		for _, h := range recent {
			if done[h.Matter] {
				continue
			}
			if err := r.recheckOne(ctx, h); err != nil {
				return err
			}
			done[h.Matter] = true
		}
	}
	return nil
}

// sworeTo are the providers whom this node has leases with that juries look at, by their keys.
func (r *Requester) sworeTo(ctx context.Context) (map[[32]byte]hardware, error) {
	if _, _, err := r.known(ctx, [32]byte{}); err != nil && !errors.Is(err, errNoHearing) { // reads them all
		return nil, err
	}
	nodes := map[[32]byte]hardware{}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.sworn {
		p, err := peer.Decode(l.Terms.Quote.Provider)
		if err != nil {
			continue
		}
		if key, err := nodeKey(p); err == nil {
			nodes[key] = hardware{l.Terms.Quote.Provider, l.Terms.Quote.Class}
		}
	}
	return nodes, nil
}

// conviction is how many wrong results a conviction counts as: enough for the node to rest.
const conviction = 2

// convicted counts a conviction that ends at a time in the record of a node, once.
func (j *journal) convicted(ctx context.Context, by hardware, until time.Time) error {
	var known bool
	err := j.r.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM conviction WHERE node = ? AND until = ?)`, by.node, nanos(until)).Scan(&known)
	if err != nil || known {
		return j.wrap("find convictions", err)
	}
	return j.transact(ctx, "", func(w *commitment) error {
		w.seen.add(by, wronged, conviction)
		_, err := w.tx.ExecContext(ctx, `INSERT INTO conviction VALUES (?, ?)`, by.node, nanos(until))
		return err
	})
}

// recheckOne runs the results of one redemption again, but those that a jury has looked at, and disputes the wrong ones.
func (r *Requester) recheckOne(ctx context.Context, h Hearing) error {
	id, _, err := r.known(ctx, h.Lease)
	if errors.Is(err, errNoHearing) {
		return nil // another payer's
	}
	if err != nil {
		return err
	}
	_, jobID, _, err := r.journal.sworn(ctx, id)
	if err != nil {
		return err
	}
	wrong := 0
	for place := h.Span.TasksBefore; place < min(h.size(), h.Span.TasksBefore+mostRechecked); place++ {
		shown, err := r.Leaf(ctx, id, place, h.size())
		if err != nil {
			return err
		}
		if looked, err := r.journal.wasChecked(ctx, jobID, shown.Index); err != nil || looked {
			if err != nil {
				return err
			}
			continue
		}
		s, err := r.Statement(ctx, id, shown.Index)
		if err != nil {
			return err
		}
		answer, _, err := r.deps.Examine(ctx, s, nil)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil || answer == shown.Leaf.Answer() {
			continue // what this node cannot run, it cannot doubt
		}
		wrong++
		if err := r.deps.Court.Dispute(ctx, Question{Hearing: h, Place: place, Shown: shown}); err != nil {
			r.log.Warn("A wrong result cannot be disputed", "job", jobID, "task", shown.Index, "err", err)
		}
	}
	if wrong > 0 {
		text := fmt.Sprintf("%d results of a node that was convicted since were wrong: what is left of its bond is asked for; run the job again (hpips job rerun %s)", wrong, jobID)
		r.log.Warn("Results of a job were wrong", "job", jobID, "results", wrong)
		return r.journal.addEvent(ctx, jobID, job.Event{Time: r.now(), State: job.Settled, Text: text})
	}
	return nil
}

// wasChecked tells whether the result of a task was checked.
func (j *journal) wasChecked(ctx context.Context, id string, index uint64) (yes bool, err error) {
	err = j.r.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM checked WHERE job = ? AND idx = ?)`, id, int64(index)).Scan(&yes)
	return yes, j.wrap("find what was checked", err)
}
