package requester

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/store"
)

// The sizes of one Assign message.
const (
	maxAssign      = 1024      // tasks
	maxAssignBytes = 512 << 10 // of inline inputs, after which the message is sent
)

// maxFetching is how many results' contents are pulled at once.
const maxFetching = 8

// leastSteal is the age below which no task is copied at the tail.
const leastSteal = time.Second

// dispatch gives every hire what it has credit for, but no more than its share of what is left, so that the last tasks spread evenly.
func (g *gathering) dispatch(ctx context.Context) {
	left, slots := len(g.board.out)+g.board.wanted(), 0
	for _, h := range g.hires {
		slots += h.slots
	}
	for _, h := range g.hires {
		if !h.ready || !h.up {
			continue
		}
		share := (left*h.slots + slots - 1) / slots
		room := min(h.credit, max(share, 1)) - len(h.held)
		if g.e.spec.Parallel > 0 {
			room = min(room, g.e.spec.Parallel-len(g.board.out))
		}
		if room <= 0 || (room < h.credit/8 && len(h.held) > h.slots) {
			continue
		}
		steal := time.Duration(0)
		if len(h.held) < h.slots && g.board.wanted() == 0 {
			steal = max(leastSteal, 3*g.mean)
			room = h.slots - len(h.held)
		}
		if given := g.board.give(h, room, g.r.now(), steal); len(given) > 0 {
			g.assign(ctx, h, given)
		}
	}
}

// assign sends tasks to a hire, a bounded number in each message.
func (g *gathering) assign(ctx context.Context, h *hire, given []uint64) {
	g.progress = g.r.now()
	var tasks []job.Task
	bytes := 0
	flush := func() {
		if len(tasks) > 0 {
			g.send(ctx, h, lease.Message{Lease: h.id, Assign: &lease.Assign{Tasks: tasks}})
		}
		tasks, bytes = nil, 0
	}
	for _, i := range given {
		t, err := g.task(ctx, i)
		if err != nil {
			g.r.log.Error("Task cannot be read from the journal", "job", g.e.id, "task", i, "err", err)
			g.board.back(i, h)
			continue
		}
		if tasks = append(tasks, t); t.Input != nil {
			bytes += len(t.Input.Inline)
		}
		if len(tasks) == maxAssign || bytes > maxAssignBytes {
			flush()
		}
	}
	flush()
	if g.p.work.Live && !h.fed {
		h.fed = true
		g.feed(ctx, h, given[0]+g.p.base)
	}
}

func (g *gathering) task(ctx context.Context, i uint64) (job.Task, error) {
	if g.p.input == nil {
		return g.e.task(ctx, g.r.journal, i)
	}
	return g.p.input(ctx, i+g.p.base)
}

// feed sends the live standard input from its spool to a provider, as it grows, from the beginning.
func (g *gathering) feed(ctx context.Context, h *hire, task uint64) {
	g.r.reading.Go(func() {
		err := g.e.stdin.follow(ctx, g.gone, func(offset int64, data []byte, eof bool) error {
			return h.link.send(ctx, lease.Message{Lease: h.id, Stdin: &lease.Stdin{Task: task, Offset: offset, Data: data, EOF: eof}})
		})
		if err != nil && ctx.Err() == nil {
			g.r.log.Warn("Standard input does not reach the provider", "job", g.e.id, "provider", h.node, "err", err)
		}
	})
}

// fetched is a result whose contents are here now, or are not to be had.
type fetched struct {
	arrival
	err error
}

// needsFetch reports whether a result has contents that are only with the provider yet.
func needsFetch(r job.Result) bool {
	if r.Stdout.CID != "" {
		return true
	}
	for _, c := range r.Outputs {
		if c.CID != "" {
			return true
		}
	}
	return false
}

// fetch starts pulling the contents of waiting results, a bounded number at once.
func (g *gathering) fetch(ctx context.Context) {
	for g.fetching < maxFetching && len(g.toFetch) > 0 {
		a := g.toFetch[0]
		g.toFetch = g.toFetch[1:]
		g.fetching++
		g.r.reading.Go(func() {
			err := g.r.pull(ctx, a)
			select {
			case g.fetched <- fetched{a, err}:
			case <-g.gone:
			}
		})
	}
}

// pull brings everything a result consists of into the store of this node.
func (r *Requester) pull(ctx context.Context, a arrival) error {
	contents := []job.Content{a.result.Stdout}
	for _, c := range a.result.Outputs {
		contents = append(contents, c)
	}
	for _, c := range contents {
		if c.CID == "" {
			continue
		}
		root, err := cid.Decode(c.CID)
		if err != nil {
			return fmt.Errorf("content %q: %w", c.CID, err)
		}
		if err := r.bring(ctx, root, a.hire.peer); err != nil {
			return err
		}
	}
	return nil
}

// bring pulls a whole content into the store of this node. It gives up after cfg.Fetch without progress.
func (r *Requester) bring(ctx context.Context, root cid.Cid, from ...peer.ID) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	quiet := time.AfterFunc(r.cfg.Fetch, func() { cancel(context.DeadlineExceeded) })
	defer quiet.Stop()
	_, err := r.deps.Store.Fetch(ctx, root, func(store.Progress) { quiet.Reset(r.cfg.Fetch) }, from...)
	if err != nil && errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return &job.Failure{Code: job.CodeNotFound, Message: fmt.Sprintf("content %s: nobody had it within %v", root, r.cfg.Fetch),
			Hint: "is the node that added it up and connected? see hpips node peers"}
	}
	return err
}

// keep takes in a result whose contents were pulled; one that could not be had is run again.
func (g *gathering) keep(ctx context.Context, f fetched) error {
	g.fetching--
	defer g.fetch(ctx)
	g.progress = g.r.now()
	if f.err == nil {
		g.commit(f.arrival)
		return nil
	}
	if errors.Is(f.err, context.Canceled) {
		return nil
	}
	g.r.log.Warn("Result is not to be had", "job", g.e.id, "task", f.result.Index, "provider", f.hire.node, "err", f.err)
	f.result.End, f.result.Message = job.Broken, f.err.Error()
	_, err := g.unfinished(f.arrival)
	f.done()
	return err
}

// tend looks after what only time brings about: providers that stay away, leases that run out, checks that nobody can make, a queue that does not move.
func (g *gathering) tend(ctx context.Context) error {
	now := g.r.now()
	for _, h := range slices.Clone(g.hires) {
		switch {
		case !h.up && now.Sub(h.since) > g.r.cfg.Patience:
			g.vanished(ctx, h)
		case !h.ready && now.Sub(h.since) > g.r.cfg.Fetch+g.r.cfg.Patience:
			g.vanished(ctx, h)
		case !h.extend && h.lease.Terms.Until-now.UnixMilli() < g.r.cfg.Term.Milliseconds()/4:
			g.renew(ctx, h)
		}
	}
	if !g.seeking && g.owners() < 2 && now.After(g.progress.Add(tick)) {
		for i, v := range g.board.relax() {
			if err := g.decided(ctx, i, v); err != nil {
				return err
			}
		}
	}
	if len(g.board.out) > 0 || len(g.pending) > 0 || g.fetching > 0 || g.writing {
		return nil
	}
	if waited := now.Sub(g.progress); waited > time.Duration(g.e.spec.Limits.Queue) {
		asked, rejected := g.e.refusals()
		return unplaceable(asked, rejected, waited)
	}
	return nil
}

// vanished gives up on a provider: what it held is lost and run elsewhere.
func (g *gathering) vanished(ctx context.Context, h *hire) {
	held, rerun := g.board.lost(h)
	g.r.log.Info("Provider is lost", "job", g.e.id, "provider", h.node, "tasks", len(held))
	g.r.note(ctx, g.e, fmt.Sprintf("provider %s is lost with %d tasks; they are run elsewhere", short(h.node), max(len(held), h.down)))
	g.e.lost(max(len(held), h.down))
	g.e.rerun(rerun)
	g.drop(ctx, h)
}

// drop parts with a hire whose tasks are back on the board.
func (g *gathering) drop(ctx context.Context, h *hire) {
	h.link.leave(h.id)
	g.hires = slices.DeleteFunc(g.hires, func(o *hire) bool { return o == h })
	if err := g.r.journal.dropLease(ctx, h.id); err != nil {
		g.r.log.Warn("Lease stays in the journal", "lease", h.id, "err", err)
	}
}

// renew asks the provider for a longer term.
func (g *gathering) renew(ctx context.Context, h *hire) {
	h.extend = true
	until := g.r.now().Add(g.r.cfg.Term)
	old := h.lease
	g.r.reading.Go(func() {
		l, err := g.r.deps.Market.Extend(ctx, old, until)
		select {
		case g.longer <- extended{h, l, err}:
		case <-g.gone:
		}
	})
}

// extended takes in a longer lease, and tells the provider's other side of it.
func (g *gathering) extended(ctx context.Context, x extended) {
	if x.err != nil {
		g.r.log.Info("Lease is not extended", "provider", x.hire.node, "err", x.err)
		return // it runs out, and the provider is lost then
	}
	x.hire.lease, x.hire.extend = x.lease, false
	if err := g.r.journal.addLease(ctx, g.e.id, g.p.number, x.lease, g.r.deps.Addrs(x.hire.peer)); err != nil {
		g.r.log.Warn("Lease is not in the journal", "lease", x.hire.id, "err", err)
	}
	g.send(ctx, x.hire, lease.Message{Lease: x.hire.id, Begin: &lease.Begin{Lease: x.lease, Work: g.p.work}})
}

// short is a peer ID for people.
func short(id string) string {
	if len(id) > 8 {
		return id[len(id)-8:]
	}
	return id
}
