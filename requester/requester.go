// Package requester carries jobs from submission to settlement: it plans, leases, dispatches, gathers, verifies and settles, and keeps a journal of it.
// It promises that a killed process takes up every unfinished job where the journal left it: no task that counted is lost or counted twice.
// It leaves running tasks to providers, finding and leasing them to market, moving bytes to p2p and store, and the rules of checking to verify.
package requester

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/market"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/trust"
)

// Config says how patient a requester is.
type Config struct {
	Dir      string        // holds the journal and the spools of streams
	Term     time.Duration // of one lease, before it is extended
	Patience time.Duration // with a provider whose session is down, before its tasks are given to others
	Seek     time.Duration // between two rounds of asking providers
	Hour     uint64        // the most that an hour of one task may cost where its job does not say, in base units
	Ahead    time.Duration // for which a lease's first deposit is made at most
	Chain    time.Duration // for the chain to take a deposit
	Fetch    time.Duration // without progress, before the content of a result is given up
	Jury     bool          // paid work is open to jurors: its vouchers have roots
	Court    time.Duration // between two looks at audits
	Silence  time.Duration // of a juror, before its place is given to another
	Canaries float64       // share of panels of which this node runs a draw again itself, 0 … 1
}

// Default returns the configuration for a home folder.
func Default(dir string) Config {
	return Config{Dir: dir, Term: time.Hour, Patience: 5 * time.Second, Seek: 2 * time.Second, Fetch: time.Minute,
		Hour: 10 * market.DefaultRates.CPU, Ahead: 5 * time.Minute, Chain: 30 * time.Second, Court: 3 * time.Second, Silence: 10 * time.Minute, Canaries: 0.02}
}

// Check refuses what cannot work.
func (c Config) Check() error {
	if c.Dir == "" || c.Term < time.Second || c.Patience <= 0 || c.Seek <= 0 || c.Fetch <= 0 || c.Ahead <= 0 || c.Chain <= 0 || c.Court <= 0 || c.Silence <= 0 || !(c.Canaries >= 0 && c.Canaries <= 1) {
		return fmt.Errorf("requester config: dir, term, patience, seek, fetch, ahead, chain, court and silence must be set, and canaries be a share: %+v", c)
	}
	return nil
}

// Deps are the rooms that a requester works with.
type Deps struct {
	Self   peer.ID
	Peers  func() []peer.ID               // who could be a provider now
	Dial   func(peer.ID) Session          // opens the one session with a provider, or returns it
	Addrs  func(peer.ID) []string         // where a provider was last seen
	Learn  func(p peer.ID, addr []string) // addresses from an earlier life
	Market Market
	Store  Store
	Engine Engine // runs checkers; nil: jobs with one are refused
	Payer  Payer  // nil: only work that is given away is taken

	Whom    func() market.List // who may work for this node: nodes, owners and networks; nil: everybody
	Court   Court              // nil: nobody audits what is paid for
	Examine Examine            // nil: no juror is looked after
}

// Requester carries jobs.
type Requester struct {
	log     *slog.Logger
	cfg     Config
	deps    Deps
	journal *journal
	now     func() time.Time

	life    context.Context // of Serve; ends with it
	end     context.CancelFunc
	reading sync.WaitGroup // links and watches

	mu      sync.Mutex
	links   map[peer.ID]*link
	heard   chan struct{}            // a panel has spoken
	panels  map[trust.Matter]*panel  // of audits that are open
	asking  map[question]int         // on their way to the chain
	sworn   map[[32]byte]lease.Lease // whose payer wants a jury, by what the chain calls them
	secret  [32]byte                 // picks whom this node looks after
	errands map[string]*errand
	begin   chan *errand
	closing chan struct{} // leases have ended that the chain is to be told of
	resumed chan struct{} // closed when every job of an earlier life has its leases again: only then links are read
}

// New opens the journal in cfg.Dir. Nothing is carried before Serve.
func New(log *slog.Logger, deps Deps, cfg Config) (*Requester, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	j, err := openJournal(cfg.Dir)
	if err != nil {
		return nil, err
	}
	r := &Requester{log: log, cfg: cfg, deps: deps, journal: j, now: time.Now,
		heard: make(chan struct{}, 1), panels: map[trust.Matter]*panel{}, asking: map[question]int{}, sworn: map[[32]byte]lease.Lease{}, links: map[peer.ID]*link{}, errands: map[string]*errand{}, begin: make(chan *errand), closing: make(chan struct{}, 1), resumed: make(chan struct{})}
	if _, err := rand.Read(r.secret[:]); err != nil {
		return nil, fmt.Errorf("requester: %w", err)
	}
	r.life, r.end = context.WithCancel(context.Background())
	return r, nil
}

// Close ends every watch and closes the journal. Sessions stay open, so that providers hold on to unfinished jobs. Serve must have returned.
func (r *Requester) Close() error {
	r.end()
	r.reading.Wait()
	r.mu.Lock()
	for _, e := range r.errands {
		e.closeSpools()
	}
	r.mu.Unlock()
	return r.journal.Close()
}

// String names the service.
func (r *Requester) String() string { return "requester" }

// Serve takes up the unfinished jobs of the journal, then carries those that are submitted, until ctx ends. Jobs that are under way then
// stay in the journal as they are.
func (r *Requester) Serve(ctx context.Context) error {
	var carrying sync.WaitGroup
	defer carrying.Wait()
	open, err := r.journal.jobs(ctx, true)
	if err != nil && ctx.Err() == nil {
		return err
	}
	var resuming sync.WaitGroup
	for _, rec := range open {
		if r.live(rec.ID) != nil {
			continue // submitted a moment ago: it comes through begin
		}
		e, err := r.enlist(rec)
		if err != nil {
			r.log.Error("Stream of a job cannot be kept", "job", rec.ID, "err", err)
		}
		if e.stdin != nil {
			e.stdin.end() // whoever fed it was attached to the process that is gone
		}
		resuming.Add(1)
		e.resumed = sync.OnceFunc(resuming.Done)
		carrying.Go(func() {
			defer e.resumed()
			r.run(ctx, e)
		})
	}
	carrying.Go(func() {
		resuming.Wait()
		if ctx.Err() == nil { // else some job may not have come to its leases, and what a link brings is for the next life
			close(r.resumed)
		}
	})
	carrying.Go(func() { r.closeLeases(ctx) })
	carrying.Go(func() { r.attend(ctx) })
	carrying.Go(func() { r.recheck(ctx) })
	sweep := time.NewTicker(time.Minute)
	defer sweep.Stop()
	for {
		select {
		case e := <-r.begin:
			carrying.Go(func() { r.run(ctx, e) })
		case <-sweep.C:
			r.sweep()
		case <-ctx.Done():
			r.end() // links stop first: what they bring from now on is for the next life
			return nil
		}
	}
}

// sweep closes links that no job has used since the last sweep, unless the last words on them, vouchers, wait for who is away, and deletes old streams of jobs that are over; their output is in the store.
func (r *Requester) sweep() {
	r.mu.Lock()
	for p, l := range r.links {
		switch now := r.now(); {
		case !l.idle():
			l.unused = time.Time{}
		case l.unused.IsZero():
			l.unused = now
		case l.session.Unacked() == 0 || now.Sub(l.unused) > remindFor:
			l.session.Close()
			delete(r.links, p)
		}
	}
	r.mu.Unlock()
	streams := filepath.Join(r.cfg.Dir, "streams")
	entries, err := os.ReadDir(streams)
	if err != nil {
		return // there is none yet
	}
	for _, entry := range entries {
		id, _, _ := strings.Cut(entry.Name(), ".")
		info, err := entry.Info()
		if err == nil && r.live(id) == nil && r.now().Sub(info.ModTime()) > keepStreams {
			if err := os.Remove(filepath.Join(streams, entry.Name())); err != nil {
				r.log.Warn("Old stream stays", "err", err)
			}
		}
	}
}

// keepStreams is how long the streams of a job that is over stay as they came.
const keepStreams = time.Hour

// run carries a job and writes down how it ended.
func (r *Requester) run(ctx context.Context, e *errand) {
	defer close(e.ended)
	carry, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	e.arm(cancel)
	err := r.carry(carry, e)
	if ctx.Err() != nil && err != nil && !errors.Is(context.Cause(carry), errCancelled) {
		return // the process ends, the job does not
	}
	if errors.Is(context.Cause(carry), errCancelled) {
		err = errCancelled
	}
	r.conclude(context.WithoutCancel(ctx), e, err)
}

// carry is the story of a job. Each line is passed once; after a restart those that the journal has seen pass quickly.
func (r *Requester) carry(ctx context.Context, e *errand) error {
	if failure := e.snapshot().Error; failure != nil {
		return failure // decided in an earlier life, which ended before it could say so
	}
	count, err := r.plan(ctx, e) // pending → planned
	if err != nil {
		return err
	}
	if err := r.reckon(ctx, e); err != nil {
		return err
	}
	if err := r.recount(ctx, e); err != nil {
		return err
	}
	if err := r.gather(ctx, e, e.parts(count)); err != nil { // planned → leased → running → verifying
		return err
	}
	if e.spec.Reduce == nil {
		return r.deliver(ctx, e, count)
	}
	whole, err := r.partsDir(ctx, e, count, true)
	if err != nil {
		return err
	}
	if err := r.gather(ctx, e, e.reduce(count, whole)); err != nil {
		return err
	}
	return r.deliverReduced(ctx, e) // → settled
}

// conclude gives a job its final state.
func (r *Requester) conclude(ctx context.Context, e *errand, err error) {
	final, text := job.Settled, "settled"
	var failure *job.Failure
	switch {
	case err == nil:
		if code := e.snapshot().ExitCode; code != 0 { // what a Batch's program says is its result, and still worth a word
			failure = e.failureOf(job.Result{End: job.Exited, Exit: code})
		}
	case errors.Is(err, errCancelled):
		final, text = job.Cancelled, "cancelled by its owner"
		failure = &job.Failure{Code: job.CodeCancelled, Message: "job " + e.id + " was cancelled", Hint: "start it again: hpips job rerun " + e.id}
	case errors.As(err, &failure):
		final, text = job.Failed, failure.Message
	default:
		final, text = job.Failed, err.Error()
		failure = &job.Failure{Code: job.CodeInternal, Message: err.Error(), Hint: "see hpips node logs"}
	}
	e.change(func(s *job.Status) {
		s.State, s.Error, s.Seconds = final, failure, r.now().Sub(s.Created).Seconds()
		s.Executions = max(s.Executions, s.Tasks.Done+s.Tasks.Lost) // a kill may have taken the count of the last ones
		if failure != nil && s.ExitCode == 0 {
			s.ExitCode = failure.ExitCode(0)
		}
	})
	e.closeSpools()
	if err := r.journal.saveStatus(ctx, e.snapshot()); err != nil {
		r.log.Error("Cannot write down how the job ended", "job", e.id, "err", err)
		return // its owner is told from memory; the next life takes it up again
	}
	r.note(ctx, e, text)
	r.forget(e)
}
