package requester

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/market"
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
const (
	maxFetching     = 64
	maxFetchingEach = 4 // of one provider
)

// leastSteal is the age below which no task is copied at the tail.
const leastSteal = time.Second

// dispatch gives every hire what it has credit for, but no more than its share of what is left, so that the last tasks spread evenly.
func (g *gathering) dispatch(ctx context.Context) {
	left, slots := len(g.board.out)+g.board.wanted(), 0
	for _, h := range g.hires {
		slots += h.slots
	}
	for _, h := range g.hires {
		if !h.ready || !h.up || h.link.full(g.room) {
			continue
		}
		share := (left*h.slots + slots - 1) / slots
		room := min(h.credit, max(share, 1)) - len(h.held) - h.fetching
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
		if room = min(room, h.affords()); room <= 0 {
			continue
		}
		for given := g.board.give(h, min(room, maxAssign), g.r.now(), steal); len(given) > 0; given = g.board.give(h, min(room, maxAssign), g.r.now(), 0) {
			g.assign(ctx, h, given)
			if room -= len(given); room <= 0 || h.link.full(g.room) {
				break
			}
		}
	}
}

// assign sends tasks to a hire, a bounded number in each message. Those that find its session full go back to the board.
func (g *gathering) assign(ctx context.Context, h *hire, given []uint64) {
	g.progress = g.r.now()
	if len(h.held) == len(given) {
		h.heard = g.progress
	}
	var tasks []job.Task
	bytes := 0
	flush := func() {
		if len(tasks) > 0 {
			g.send(h, lease.Message{Lease: h.id, Assign: &lease.Assign{Tasks: tasks}})
		}
		tasks, bytes = nil, 0
	}
	for n, i := range given {
		if bytes == 0 && h.link.full(g.room) {
			for _, rest := range slices.Backward(given[n:]) { // what comes back last goes out first
				g.board.back(rest, h)
			}
			break
		}
		t, err := g.task(ctx, i)
		if err != nil {
			g.r.log.Error("Task cannot be read from the journal", "job", g.e.id, "task", i, "err", err)
			g.board.back(i, h)
			continue
		}
		g.give(h, i, t)
		if tasks = append(tasks, t); t.Input != nil {
			bytes += len(t.Input.Inline)
		}
		if bytes > maxAssignBytes {
			flush()
		}
	}
	flush()
	if len(h.held) > 0 {
		g.running(ctx, h)
	}
	g.feed(ctx, h, given[0]+g.p.base)
}

func (g *gathering) task(ctx context.Context, i uint64) (job.Task, error) {
	if g.p.input == nil {
		return g.e.task(ctx, g.r.journal, i)
	}
	return g.p.input(ctx, i+g.p.base)
}

// feed sends the live standard input, if there is one, from its spool to a provider, as it grows, from the beginning.
func (g *gathering) feed(ctx context.Context, h *hire, task uint64) {
	if !g.p.work.Live || h.unfeed != nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	h.unfeed = func() { cancel(); <-ended }
	room := make(chan struct{}, 1)
	send := func(offset int64, data []byte, eof bool) error {
		for h.link.full(room) {
			select {
			case <-room:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return h.link.send(lease.Message{Lease: h.id, Stdin: &lease.Stdin{Task: task, Offset: offset, Data: data, EOF: eof}})
	}
	g.r.reading.Go(func() {
		defer close(ended)
		var err error
		if g.e.stdin == nil { // it could not be kept
			err = send(0, nil, true)
		} else {
			err = g.e.stdin.follow(ctx, g.gone, send)
		}
		if err != nil && ctx.Err() == nil {
			g.r.log.Warn("Standard input does not reach the provider", "job", g.e.id, "provider", h.node, "err", err)
		}
	})
}

// starve stops feeding a hire and waits for it.
func (h *hire) starve() {
	if h.unfeed != nil {
		h.unfeed()
		h.unfeed = nil
	}
}

// fetched is a result whose contents are here now, or are not to be had.
type fetched struct {
	*arrival
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

// fetch starts pulling the contents of waiting results, a bounded number at once, and few of one provider, so that none holds up the others.
func (g *gathering) fetch(ctx context.Context) {
	under := map[*hire]int{}
	for a := range g.fetching {
		under[a.hire]++
	}
	g.toFetch = slices.DeleteFunc(g.toFetch, func(a *arrival) bool {
		if len(g.fetching) >= maxFetching || under[a.hire] >= maxFetchingEach {
			return false
		}
		under[a.hire]++
		g.fetching[a] = struct{}{}
		g.r.reading.Go(func() {
			err := g.pull(ctx, a)
			if err == nil && g.compared() {
				a.value = g.recalled(ctx, a.result)
			}
			select {
			case g.fetched <- fetched{a, err}:
			case <-g.gone:
			case <-g.r.life.Done():
			}
		})
		return true
	})
}

// errLarge means that a content is larger than its task may make it, errClaim that it is smaller than its provider is paid for.
var (
	errLarge = errors.New("content is larger than the limits of its task")
	errClaim = errors.New("content is smaller than its result claims")
)

// pull brings everything a result consists of into the store of this node, no more than the limits allow and within the time of a task.
func (g *gathering) pull(ctx context.Context, a *arrival) error {
	ctx, cancel := context.WithTimeout(ctx, g.patience())
	defer cancel()
	left := int64(g.e.spec.Limits.Output)
	left += left / 64 // for the inner blocks of trees
	contents := []job.Content{a.result.Stdout}
	if len(a.result.Outputs) > 0 {
		left += int64(g.e.spec.Resources.Disk) + int64(g.e.spec.Resources.Disk)/64
	}
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
		n, err := g.r.bring(ctx, root, left+1<<20, a.hire.peer)
		if left -= n; err != nil {
			return err
		}
		switch size, err := g.r.deps.Store.Size(ctx, root); {
		case err != nil:
			return err
		case c.Size > 0 && uint64(c.Size) > size:
			return fmt.Errorf("content %s: %w: %d bytes of %d", root, errClaim, size, c.Size)
		}
	}
	return nil
}

// patience is how long a provider may need for anything: as long as a task may run and then wait.
func (g *gathering) patience() time.Duration {
	return time.Duration(g.e.spec.Limits.Time) + time.Duration(g.e.spec.Limits.Queue)
}

// bring pulls a whole content of at most limit bytes into the store of this node and returns how many came. It gives up after cfg.Fetch without progress.
func (r *Requester) bring(ctx context.Context, root cid.Cid, limit int64, from ...peer.ID) (int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	quiet := time.AfterFunc(r.cfg.Fetch, func() { cancel(context.DeadlineExceeded) })
	defer quiet.Stop()
	n, err := r.deps.Store.Fetch(ctx, root, func(p store.Progress) {
		quiet.Reset(r.cfg.Fetch)
		if p.Bytes > limit {
			cancel(errLarge)
		}
	}, from...)
	switch cause := context.Cause(ctx); {
	case n > limit || err != nil && errors.Is(cause, errLarge):
		return n, errLarge
	case err != nil && errors.Is(cause, context.DeadlineExceeded):
		return n, &job.Failure{Code: job.CodeNotFound, Message: fmt.Sprintf("content %s: nobody had it within %v", root, r.cfg.Fetch),
			Hint: "is the node that added it up and connected? see hpips node peers"}
	}
	return n, err
}

// keep takes in a result whose contents were pulled; one that could not be had is run again.
func (g *gathering) keep(ctx context.Context, f fetched) error {
	delete(g.fetching, f.arrival)
	f.hire.fetching--
	defer g.fetch(ctx)
	g.progress = g.r.now()
	if f.err == nil {
		g.check(ctx, *f.arrival)
		return nil
	}
	if ctx.Err() != nil {
		return nil
	}
	g.r.log.Warn("Result is not to be had", "job", g.e.id, "task", f.result.Index, "provider", f.hire.node, "err", f.err)
	f.result.End, f.result.Message = job.Broken, f.err.Error()
	f.hire.wasted(f.used)
	_, err := g.unfinished(ctx, *f.arrival)
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
		case len(h.held) > 0 && now.Sub(h.heard) > g.patience():
			g.turnAway(ctx, h, fmt.Sprintf("it has brought nothing for %v", g.patience()))
		case h.purse != nil && h.purse.crowded() && len(h.held) == 0 && now.Sub(h.heard) > g.r.cfg.Patience:
			g.turnAway(ctx, h, "it takes no vouchers: too many of its results have no place under a root")
		case !h.extend && now.After(h.renew) && h.lease.Terms.Until-now.UnixMilli() < g.r.cfg.Term.Milliseconds()/4:
			g.renew(ctx, h)
		}
	}
	if err := g.tendPurses(ctx, now); err != nil {
		return err
	}
	if stuck := g.board.barred(g.atWork()); len(stuck) > 0 && !g.seeking && g.sought.After(g.doubted) {
		g.board.forgive(stuck)
	}
	if g.p.rules.classed && !g.seeking && g.sought.After(g.progress) && g.board.rehome(g.classes()) {
		g.progress = now
	}
	sought := !g.p.rules.patient || g.sought.After(g.progress)
	if !g.seeking && sought && g.owners() < 2 && now.After(g.progress.Add(tick)) {
		for i, v := range g.board.relax() {
			if err := g.decided(ctx, i, v); err != nil {
				return err
			}
		}
	}
	if len(g.board.out) > 0 || len(g.pending) > 0 || len(g.fetching)+len(g.toFetch) > 0 || g.writing {
		return nil
	}
	asked, rejected := g.e.refusals()
	if waited := now.Sub(g.progress); waited > time.Duration(g.e.spec.Limits.Queue) || waited > hopeless && lasting(asked, rejected) {
		if i, votes := g.board.split(); votes > 0 {
			return g.noMajority(i, votes, fmt.Sprintf(", and nobody else ran it within %v", waited.Round(time.Second)))
		}
		return unplaceable(asked, rejected, waited)
	}
	return nil
}

// hopeless is after how long a job is given up that none of those who are known can run, now or later.
const hopeless = 3 * time.Second

// lasting reports whether all who were asked said no for a reason that lasts.
func lasting(asked int, rejected []job.Rejection) bool {
	n := 0
	for _, r := range rejected {
		if market.Lasting(r.Reason) {
			n += r.Count
		}
	}
	return asked > 0 && n == asked
}

// vanished gives up on a provider: what it held is lost and run elsewhere.
func (g *gathering) vanished(ctx context.Context, h *hire) {
	held, rerun := g.board.lost(h)
	g.r.log.Info("Provider is lost", "job", g.e.id, "provider", h.node, "tasks", len(held))
	lost := max(len(held), h.down)
	g.tellLoss(ctx, h, "is lost", lost, rerun)
	g.e.lost(lost)
	g.missed(h, lost)
	g.e.rerun(rerun)
	g.drop(ctx, h)
}

// drop parts with a hire whose tasks are back on the board.
func (g *gathering) drop(ctx context.Context, h *hire) {
	g.hires = slices.DeleteFunc(g.hires, func(o *hire) bool { return o == h })
	if h.pulled > 0 {
		g.comes()
	}
	g.part(ctx, h)
}

// part ends a lease. A provider that is away hears of it when it is back.
func (g *gathering) part(ctx context.Context, h *hire) {
	h.starve()
	g.send(h, lease.Message{Lease: h.id, End: &lease.End{}})
	h.link.leave(h.id)
	if h.purse != nil {
		h.purse.left = true
		g.end(ctx, h.purse)
	}
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
		if err == nil && old.Terms.Pay != nil { // its deposit is to stand as long
			err = g.r.deps.Payer.TopUp(ctx, l, 0)
		}
		select {
		case g.longer <- extended{h, l, err}:
		case <-g.gone:
		case <-g.r.life.Done():
		}
	})
}

// extended takes in a longer lease, and tells the provider's other side of it.
func (g *gathering) extended(ctx context.Context, x extended) {
	if !slices.Contains(g.hires, x.hire) {
		return // it was dropped meanwhile
	}
	if x.hire.extend = false; x.err != nil {
		g.r.log.Info("Lease is not extended", "provider", x.hire.node, "err", x.err)
		x.hire.renew = g.r.now().Add(g.r.cfg.Patience)
		return // it is tried again until it runs out, which its provider tells
	}
	x.hire.lease = x.lease
	g.prolong(ctx, x.hire)
	if err := g.r.journal.addLease(ctx, g.e.id, g.p.number, x.lease, g.r.deps.Addrs(x.hire.peer)); err != nil {
		g.r.log.Warn("Lease is not in the journal", "lease", x.hire.id, "err", err)
	}
	g.send(x.hire, lease.Message{Lease: x.hire.id, Begin: &lease.Begin{Lease: x.lease, Work: g.p.work, Round: x.hire.round}})
}

// short is a peer ID for people.
func short(id string) string {
	if len(id) > 8 {
		return id[len(id)-8:]
	}
	return id
}
