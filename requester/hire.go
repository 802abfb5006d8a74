package requester

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/market"
	"github.com/hpips/hpips/p2p"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
)

// Market finds providers and makes leases with them; *market.Broker is one.
type Market interface {
	Ask(ctx context.Context, order lease.Order, ceiling market.Ceiling, peers []peer.ID) []market.Answer
	Open(ctx context.Context, p peer.ID, order lease.Order, quote lease.Quote, pay *lease.Pay, term time.Duration) (lease.Lease, error)
	Extend(ctx context.Context, l lease.Lease, until time.Time) (lease.Lease, error)
}

// hire is a provider at work for one phase of a job: a lease and what is known of it. It belongs to the gathering's loop.
type hire struct {
	lease    lease.Lease
	id       string // of the lease
	node     string // peer ID
	peer     peer.ID
	owner    string
	class    string // of its hardware
	slots    int
	link     *link
	held     map[uint64]struct{} // tasks that it has
	credit   int                 // tasks that it wants to have at most
	ready    bool                // it has answered Begin
	round    uint64              // of that Begin
	up       bool                // the session is up
	since    time.Time           // of the last change of up
	down     int                 // how many tasks it had when it went down last
	heard    time.Time           // when it last gave a result, or began to have tasks
	claims   int                 // tasks that it may have without having been given them in this life, until it is ready
	fetching int                 // its results whose contents, or whose check, are waited for
	faults   int                 // executions in a row that were no result
	wrong    int                 // results that a checker has refused
	pulled   int64               // bytes of an image that have come to it, while that is on its way
	unfeed   func()              // stops feeding it the live standard input; nil if it is not fed
	extend   bool                // an extension is under way
	renew    time.Time           // not to be extended before
	purse    *purse              // nil: its work is free
	old      bool                // what it holds may have been given to it in an earlier life of either side
	recalled map[uint64]struct{} // of a paid hire: tasks that were taken back; a result may be on its way
}

func newHire(l lease.Lease, p peer.ID, link *link, now time.Time) *hire {
	q := l.Terms.Quote
	owner := q.Owner
	if owner == "" {
		owner = q.Provider
	}
	return &hire{lease: l, id: l.ID(), node: q.Provider, peer: p, owner: owner, class: q.Class, slots: q.Slots, link: link,
		held: map[uint64]struct{}{}, since: now}
}

// hunt is what one round of asking providers looks for.
type hunt struct {
	phase   int
	engine  string
	busy    []peer.ID // not to be asked
	slots   int
	tasks   int // that are left for them
	ceiling market.Ceiling
	least   uint64        // a smaller deposit is of no use
	floor   uint64        // a smaller deposit is not taken by the chain
	mean    time.Duration // of a task; 0 is not known
	ahead   time.Duration // for which deposits are made
}

// search is what one round of asking providers brought.
type search struct {
	hires    []*hire
	asked    int
	rejected []job.Rejection
	scarce   *job.Failure // there is not enough money for the deposits
	floor    uint64       // the chain's least deposit, as far as it was asked for
}

// sample bounds how many providers are asked in one round: the power of many choices does not grow past a few dozen.
const sample = 64

// seek asks a random sample of the peers that are not busy for slots (ask.go), opens leases with the best, and makes the deposits of all that are paid in one
// transaction.
func (r *Requester) seek(ctx context.Context, e *errand, w hunt) search {
	peers := slices.DeleteFunc(r.deps.Peers(), func(p peer.ID) bool { return slices.Contains(w.busy, p) })
	order := lease.Order{Job: e.id, Requester: r.deps.Self.String(), Engine: w.engine, Resources: e.spec.Resources.For(w.engine), Slots: w.slots, Reach: e.spec.Reach}
	answers := r.ask(ctx, order, w.ceiling, peers, sample, e.spec.Conditions(w.engine)...)
	s := search{asked: len(answers)}
	reasons := map[string]int{}
	if r.deps.Payer != nil && w.ceiling > 0 {
		var err error
		if s.floor, err = r.deps.Payer.Least(ctx); err != nil {
			r.log.Debug("The least deposit is not known", "err", err) // that the chain cannot be asked shows when the deposits are made
		}
		w.floor = s.floor
	}
	for _, a := range answers {
		if a.Err != nil {
			reasons[reason(a.Err)]++
		}
	}
	var mu sync.Mutex
	var wait sync.WaitGroup
	for _, a := range market.Choose(answers, w.slots, e.spec.Prefer...) {
		pay, err := r.terms(e, w, a.Quote)
		if err != nil {
			reasons[reason(err)]++
			continue
		}
		wait.Go(func() {
			l, err := r.deps.Market.Open(ctx, a.Peer, order, a.Quote, pay, r.cfg.Term)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				e.budget.back(deposited(pay))
				reasons[reason(err)]++
				return
			}
			h := newHire(l, a.Peer, r.link(a.Peer), r.now())
			if pay != nil {
				h.purse = newPurse(l, e.spec.Limits)
				h.purse.hire = h
			}
			s.hires = append(s.hires, h)
		})
	}
	wait.Wait()
	r.fund(ctx, e, w.phase, &s, reasons)
	for text, n := range reasons {
		s.rejected = append(s.rejected, job.Rejection{Reason: text, Count: n})
	}
	slices.SortFunc(s.rejected, func(a, b job.Rejection) int { return strings.Compare(a.Reason, b.Reason) })
	return s
}

// reason is why a provider did not come in, in few enough words to be counted.
func reason(err error) string {
	var no *market.Refusal
	var said *p2p.RemoteError
	switch {
	case errors.As(err, &no):
		return no.Reason
	case errors.As(err, &said):
		return said.Text
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.Is(err, lease.ErrSignature), errors.Is(err, lease.ErrExpired):
		return err.Error()
	}
	return "not reachable"
}

// unplaceable says why no provider works on the job.
func unplaceable(asked int, rejected []job.Rejection, waited time.Duration) *job.Failure {
	f := &job.Failure{Code: job.CodeUnplaceable, Hint: "see hpips node peers; hpips job why tells the reasons; more time: limits.queue"}
	if asked == 0 {
		f.Message = fmt.Sprintf("no provider is known to this node after %v", waited.Round(time.Second))
		f.Hint = "join a network that has providers: hpips up --join MULTIADDR"
		return f
	}
	var texts []string
	for _, r := range told(rejected) {
		switch {
		case r.Reason == resting:
			f.Hint += "; hpips market forget ID --record lets one that cools off begin anew"
		case strings.HasSuffix(r.Reason, ofThisNode) && !strings.Contains(f.Hint, "lists"):
			f.Hint += "; hpips market lists shows whom this node keeps out"
		}
		texts = append(texts, fmt.Sprintf("%d× %s", r.Count, r.Reason))
	}
	if len(texts) == 0 {
		texts = []string{"too few of them for this verify policy"}
	}
	f.Message = fmt.Sprintf("none of %s took the job for %v: %s", job.Several(asked, "provider"), waited.Round(time.Second), strings.Join(texts, "; "))
	return f
}

// tellable is how many reasons are told each by itself; more are told by what they are about.
const tellable = 6

// told are rejections as one sentence holds them.
func told(rejected []job.Rejection) []job.Rejection {
	if len(rejected) <= tellable {
		return rejected
	}
	var short []job.Rejection
	for _, k := range job.CountKinds(rejected) {
		short = append(short, job.Rejection{Reason: k.Kind, Count: k.Count})
	}
	return short
}

// Deals reports whether a provider works, or lately worked, for a job of this node.
func (r *Requester) Deals(p peer.ID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	l, ok := r.links[p]
	return ok && !l.over()
}

// link returns the link with a peer, made when it is first needed.
func (r *Requester) link(p peer.ID) *link {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l, ok := r.links[p]; ok && !l.over() {
		l.unused = time.Time{}
		return l
	}
	l := newLink(r.log, p, r.deps.Dial(p))
	r.links[p] = l
	r.reading.Go(func() { l.serve(r.life, r.resumed) })
	r.reading.Go(func() { l.write(r.life) })
	return l
}
