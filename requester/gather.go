package requester

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/verify"
)

// gathering carries one phase of a job: one loop that owns the board and all hires. Everything slow (asking, fetching, committing,
// extending) runs beside it and comes back through a channel.
//
//  1. Take up what the journal has: done tasks, votes, leases.
//  2. Find providers; give each as many tasks as it has credit for and as its share of the slots is.
//  3. Take results: fetch large contents, commit in groups, and only then count them and acknowledge.
//  4. Bring back what providers lost; at the tail, copy what is slow.
//  5. Until every task is done: then end the leases.
type gathering struct {
	r     *Requester
	e     *errand
	p     phase
	board *board

	hires      []*hire
	inbox      chan delivery
	room       chan struct{} // a session that was full has room again
	gone       chan struct{} // closed when the phase is over; not at the end of the process, when what comes is for the next life
	searches   chan search
	seeking    bool
	asking     time.Time // when the round under way began
	nextSeek   time.Time
	fetched    chan fetched
	fetching   map[*arrival]struct{}
	toFetch    []*arrival
	bench      *bench // nil: no checker judges the results of this phase
	toCheck    []*arrival
	judging    int // judges at work
	judged     chan []finding
	toWeigh    []uint64 // tasks whose votes are to be compared
	weighing   int
	weighed    chan weighed
	juried     bool          // jurors may look at what is paid for
	chance     verify.Chance // who was odd where copies of a native program differed
	doubted    time.Time     // when a checker last refused a result
	sought     time.Time     // when the last round of asking began that has ended
	pending    []entry
	tallies    tallies // executions that came to nothing, for the records of their nodes
	commits    chan batch
	results    chan committed
	writing    bool
	pause      *time.Timer // since the last transaction began, see due
	rested     bool        // the pause is over
	longer     chan extended
	floor      uint64   // the chain's least deposit, 0 before it was asked for
	purses     []*purse // of all paid leases of the phase
	topped     chan topped
	ahead      time.Duration // for which deposits are made
	scarce     *job.Failure  // why there is no more money
	retries    map[uint64]int
	breaks     map[uint64]int
	spurned    map[peer.ID]time.Time   // providers that refused, and until when they are not asked
	told       map[string]bool         // what the job's history says of them
	accused    map[string]bool         // owners that say the program is at fault
	accusation error                   // what they say
	mean       time.Duration           // of the tasks' wall time, smoothed
	progress   time.Time               // when something last went forward
	statement  func(job.Task) [32]byte // digest of a task's statement; made when it is first asked for
}

// batch is what one transaction of the journal takes.
type batch struct {
	entries  []entry
	payments []payment
	tallies  tallies // besides what the entries say
}

// committed is what became of a batch.
type committed struct {
	batch
	err error
}

// executions counts those that ended with a result: an entry that promotes one repeats it.
func (c committed) executions() (n int) {
	for _, en := range c.entries {
		if !en.promote {
			n++
		}
	}
	return n
}

// extended is what became of extending a hire's lease.
type extended struct {
	hire  *hire
	lease lease.Lease
	err   error
}

// tick is how often a gathering looks after hires that are down, slow tasks and the queue limit.
const tick = 250 * time.Millisecond

// backlog is how many results may wait for the journal before the gathering stops reading, so that providers wait instead of memory filling.
const backlog = 1 << 15

// The pause between two transactions, in which results gather to share one with its sync, and how many do not wait for its end.
const (
	pause    = 100 * time.Millisecond
	pauseMax = 512
)

// gather carries a phase until each of its tasks has a result in the journal.
func (r *Requester) gather(ctx context.Context, e *errand, p phase) error {
	g := &gathering{r: r, e: e, p: p, board: newBoard(p.count, p.rules), inbox: make(chan delivery), room: make(chan struct{}, 1),
		gone: make(chan struct{}), searches: make(chan search), fetched: make(chan fetched), commits: make(chan batch, 1), results: make(chan committed, 1),
		longer: make(chan extended, 16), topped: make(chan topped), ahead: r.cfg.Ahead, fetching: map[*arrival]struct{}{}, retries: map[uint64]int{}, breaks: map[uint64]int{}, spurned: map[peer.ID]time.Time{}, told: map[string]bool{},
		accused: map[string]bool{}, progress: r.now(), pause: time.NewTimer(0), tallies: tallies{}}
	defer g.pause.Stop()
	g.juried = r.jury(e)
	if g.compared() {
		g.weighed = make(chan weighed)
	}
	if p.rules.judged {
		g.bench, g.judged = g.newBench(), make(chan []finding)
	}
	err := g.keepWork(ctx)
	if err == nil {
		err = g.restore(ctx)
	}
	e.resumed()
	if err != nil || g.board.finished() && len(g.pending) == 0 && len(g.hires) == 0 {
		return err
	}
	beside, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); g.write(beside) }()
	err = g.loop(beside)
	if ctx.Err() == nil || context.Cause(ctx) == errCancelled { // else the process ends: everything stays as it is
		close(g.gone)
		defer g.dismiss(context.WithoutCancel(ctx))
	}
	stop()
	<-done
	if g.bench != nil {
		if failed := g.bench.close(); failed != nil {
			r.log.Warn("Files of a checker stay", "job", e.id, "err", failed)
		}
	}
	return err
}

// restore brings the board to where the journal left it.
func (g *gathering) restore(ctx context.Context) error {
	j, id, from := g.r.journal, g.e.id, g.p.base
	if err := j.done(ctx, id, from, from+g.p.count, func(i uint64) { g.board.restore(i - from) }); err != nil {
		return err
	}
	promote := map[uint64]verdict{}
	if err := j.votes(ctx, id, from, from+g.p.count, func(node, owner, class string, r job.Result) {
		i := r.Index - from
		if g.bench != nil && r.Succeeded() {
			if g.board.state[i] != done {
				g.board.mislead(i, owner)
			}
			return
		}
		if ruled := g.board.revote(i, g.ballot(node, owner, class, r, g.recalled(ctx, r))); ruled.decided {
			promote[i] = ruled
		}
	}); err != nil {
		return err
	}
	for i, v := range promote {
		if err := g.decided(ctx, i, v); err != nil {
			return err
		}
	}
	old, err := j.leases(ctx, id, g.p.number)
	if err != nil {
		return err
	}
	purses, err := j.purses(ctx, id)
	if err != nil {
		return err
	}
	for _, k := range old { // no error from here on: what a link brings before its lease is engaged would be lost
		if p, err := peer.Decode(k.Lease.Terms.Quote.Provider); err == nil && k.Lease.Terms.Until > g.r.now().UnixMilli() {
			purse, err := g.refill(ctx, k.Lease, purses)
			if err != nil {
				g.r.log.Error("Paid lease of an earlier life is given up", "job", id, "lease", k.Lease.ID(), "err", err)
				continue
			}
			g.r.deps.Learn(p, k.Addrs)
			h := newHire(k.Lease, p, g.r.link(p), g.r.now())
			h.claims, h.old = maxCredit, true
			if h.purse = purse; purse != nil {
				purse.hire = h
			}
			g.engage(h)
		}
	}
	g.refund(ctx)
	g.tellResumed(ctx)
	return nil
}

func (g *gathering) loop(ctx context.Context) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for !g.board.finished() || g.writing || len(g.pending) > 0 || g.judging+len(g.toCheck) > 0 || g.owes() {
		g.seek(ctx)
		g.flush()
		inbox := g.inbox
		if len(g.pending)+len(g.toFetch) > backlog || len(g.toCheck) > maxQueue {
			inbox = nil
		}
		var err error
		select {
		case <-g.room:
		case d := <-inbox:
			err = g.take(ctx, d)
		case c := <-g.results:
			err = g.count(ctx, c)
		case f := <-g.fetched:
			err = g.keep(ctx, f)
		case w := <-g.weighed:
			err = g.outweighed(ctx, w)
		case all := <-g.judged:
			err = g.found(ctx, all)
		case s := <-g.searches:
			err = g.hired(ctx, s)
		case x := <-g.longer:
			g.extended(ctx, x)
		case x := <-g.topped:
			g.toppedUp(ctx, x)
		case <-g.pause.C:
			g.rested = true
		case <-ticker.C:
			err = g.tend(ctx)
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		g.dispatch(ctx)
	}
	return nil
}

// write is the journal's side of the loop: one transaction at a time, as many entries in it as came meanwhile.
func (g *gathering) write(ctx context.Context) {
	for {
		select {
		case b := <-g.commits:
			g.r.sign(b.payments)
			err := g.r.journal.commit(context.WithoutCancel(ctx), g.e.id, b, g.e.snapshot())
			g.results <- committed{b, err}
		case <-ctx.Done():
			return
		}
	}
}

// flush hands what is pending to the writer, if it is free and it is time.
func (g *gathering) flush() {
	if g.writing {
		return
	}
	ready := len(g.pending) > 0 && g.due()
	if !ready && !g.payable() {
		return
	}
	var b batch
	if ready {
		b.entries, g.pending, g.rested = g.pending, nil, false
		g.pause.Reset(pause)
	}
	b.payments = g.payments(b.entries)
	b.tallies, g.tallies = g.tallies, tallies{}
	g.commits <- b // there is room: nothing is being written
	g.writing = true
}

// due reports whether what is pending has waited long enough for company: the pause is over, there is enough, or no more is to come.
func (g *gathering) due() bool {
	return g.rested || len(g.pending) >= min(pauseMax, len(g.board.out))
}

// seek starts a round of asking providers if there is work for more of them.
func (g *gathering) seek(ctx context.Context) {
	now := g.r.now()
	if g.seeking || now.Before(g.nextSeek) {
		return
	}
	slots, busy := 0, make([]peer.ID, 0, len(g.hires))
	for _, h := range g.hires {
		slots += h.slots
		busy = append(busy, h.peer)
	}
	want := g.limit(g.board.wanted()) - slots
	if g.board.lonely(g.owners()) || len(g.board.wrongs) > 0 && len(g.board.barred(g.atWork())) > 0 {
		want = max(want, 1)
	}
	if want <= 0 {
		return
	}
	for p, until := range g.spurned {
		if now.Before(until) {
			busy = append(busy, p)
		}
	}
	g.seeking, g.asking, g.nextSeek = true, now, now.Add(g.r.cfg.Seek)
	if len(g.hires) == 0 {
		g.nextSeek = now.Add(g.r.cfg.Seek / 4)
	}
	hunt := g.hunt(busy, want)
	g.r.reading.Go(func() {
		s := g.r.seek(ctx, g.e, hunt)
		select {
		case g.searches <- s:
		case <-g.gone:
			g.r.release(ctx, g.e, g.p.number, s.hires)
		case <-g.r.life.Done():
		}
	})
}

// limit is how many of n tasks may be out at once.
func (g *gathering) limit(n int) int {
	if g.e.spec.Parallel > 0 {
		return min(n, g.e.spec.Parallel)
	}
	return n
}

// owners counts the different owners at work.
func (g *gathering) owners() int { return len(g.atWork()) }

// atWork is the owners at work.
func (g *gathering) atWork() map[string]bool {
	seen := map[string]bool{}
	for _, h := range g.hires {
		if h.ready && h.up {
			seen[h.owner] = true
		}
	}
	return seen
}

// hired takes in what a round of asking brought. Where one owner says that the program is at fault and nobody else is to be had, it is believed.
func (g *gathering) hired(ctx context.Context, s search) error {
	g.seeking, g.sought = false, g.asking
	g.e.found(s, len(g.hires))
	g.funded(s)
	for _, h := range s.hires {
		// Not even the end of this life comes between a lease and its row: what is done under it must be found again.
		if err := g.r.journal.addLease(context.WithoutCancel(ctx), g.e.id, g.p.number, h.lease, g.r.deps.Addrs(h.peer)); err != nil {
			g.r.log.Warn("Lease is not in the journal: a restart would not take it up", "lease", h.id, "err", err)
		}
		g.engage(h)
		if _, before := g.spurned[h.peer]; !before {
			g.progress = g.r.now()
		}
		g.r.log.Debug("Provider hired", "job", g.e.id, "provider", h.node, "slots", h.slots)
	}
	if len(s.hires) > 0 {
		g.e.enter(job.Leased)
		g.tellLeases(ctx, s.hires)
	}
	if len(g.hires) == 0 && g.accusation != nil {
		return g.accusation
	}
	return nil
}

// engage begins a lease with its provider.
func (g *gathering) engage(h *hire) {
	h.up = h.link.join(h.id, lane{to: g.inbox, gone: g.gone})
	g.hires = append(g.hires, h)
	if h.purse != nil {
		g.purses = append(g.purses, h.purse)
	}
	g.begin(h)
}

func (g *gathering) begin(h *hire) {
	h.ready, h.round = false, rand.Uint64()
	g.send(h, lease.Message{Lease: h.id, Begin: &lease.Begin{Lease: h.lease, Work: g.p.work, Round: h.round}})
}

// send queues a message to a provider. It fails only when the session is closed for good, and then the link says that the provider is down.
func (g *gathering) send(h *hire, m lease.Message) {
	if err := h.link.send(m); err != nil {
		g.r.log.Warn("Message is not sent", "provider", h.node, "err", err)
	}
}

// dismiss ends all leases of the phase.
func (g *gathering) dismiss(ctx context.Context) {
	g.settle(ctx)
	for _, h := range g.hires {
		if !h.up {
			g.e.lost(h.down)
			g.missed(h, h.down)
			if h.down > 0 {
				g.tellLoss(ctx, h, "is away as the leases end", h.down, 0)
			}
		}
		g.part(ctx, h)
	}
	g.closePurses(ctx)
	g.note(ctx)
}
