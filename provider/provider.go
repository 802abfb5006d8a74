// Package provider keeps the work that this machine does for others: leases held, tasks waiting and running, results on their way back.
// It promises that a lease's tasks run in sandboxes of their own and within its limits, that leases share the slots fairly, that every task it took
// is answered exactly once as long as the lease lives, and that no requester can fill the disk past its cap or hold slots without a session.
// It leaves the terms of leases to market, the running itself to the engines, content to store, and carrying messages to p2p.
package provider

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/market"
	"github.com/hpips/hpips/p2p"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/store"
)

// Config says what a provider gives and how patient it is.
type Config struct {
	Dir      string        // its own folder, emptied at start
	Slots    int           // tasks at once
	Memory   int64         // bytes that running tasks may take together
	Disk     int64         // bytes of inputs and results that it keeps at once
	Leases   int           // held at once
	Idle     int           // sandboxes that each slot keeps for leases it has worked for
	Stagers  int           // inputs that are fetched at once
	Patience time.Duration // with a lease whose session is down, or does not take results
	Grace    time.Duration // from a lease's signature to its beginning
	Stall    time.Duration // without progress, before content is given up
	Deposit  time.Duration // for the chain to have a lease's deposit
	Unpaid   time.Duration // with a requester that owes and does not pay
}

// Default returns the configuration for a folder: a slot and 1 GiB for each core.
func Default(dir string) Config {
	n := runtime.NumCPU()
	return Config{Dir: dir, Slots: n, Memory: max(int64(n)<<30, 4<<30), Disk: 20 << 30, Leases: 32, Idle: 2, Stagers: 4,
		Patience: 10 * time.Minute, Grace: time.Minute, Stall: 2 * time.Minute, Deposit: 30 * time.Second, Unpaid: 30 * time.Second}
}

// Check refuses what cannot work.
func (c Config) Check() error {
	switch {
	case c.Dir == "":
		return errors.New("provider config: dir is empty")
	case c.Slots < 1 || c.Memory < 1 || c.Disk < 1 || c.Leases < 1 || c.Stagers < 1 || c.Idle < 1:
		return fmt.Errorf("provider config: slots, memory, disk, leases, stagers and idle must be above 0: %+v", c)
	case c.Patience <= 0 || c.Grace <= 0 || c.Stall <= 0 || c.Deposit <= 0 || c.Unpaid <= 0:
		return fmt.Errorf("provider config: patience, grace, stall, deposit and unpaid must be above 0: %+v", c)
	}
	return nil
}

// Session is the provider's end of the message log with one requester; *p2p.Session is one.
type Session interface {
	Peer() peer.ID
	Send(ctx context.Context, msg []byte) error
	Receive(ctx context.Context) (p2p.Message, error)
	Ack(seq uint64)
	Unacked() int
	Close()
}

// Sessions brings the sessions that requesters open.
type Sessions interface {
	Accept(name string, fn func(Session))
}

// Over makes the sessions of a host fit.
func Over(s *p2p.Sessions) Sessions { return host{s} }

type host struct{ s *p2p.Sessions }

// Accept passes sessions on.
func (h host) Accept(name string, fn func(Session)) {
	h.s.Accept(name, func(s *p2p.Session) { fn(s) })
}

// Store is what a provider needs of the content store.
type Store interface {
	Resolve(ctx context.Context, ref string) (cid.Cid, error)
	Fetch(ctx context.Context, c cid.Cid, progress func(store.Progress), from ...peer.ID) (int64, error)
	Export(ctx context.Context, c cid.Cid, hostPath string, limit int64, progress func(store.Progress)) error
	AddPath(ctx context.Context, hostPath string, progress func(store.Progress)) (store.Entry, error)
	Dir(ctx context.Context, links []store.Link) (store.Entry, error)
	Reserve(ctx context.Context) (release func(), err error)
	Pin(ctx context.Context, c cid.Cid, name string) error
	Unpin(ctx context.Context, c cid.Cid) error
}

// Deps are the rooms that a provider works with.
type Deps struct {
	Self     peer.ID
	Sessions Sessions
	Store    Store
	Engines  map[string]engine.Engine
	Lacking  func() map[string]string // engines that are not here, as far as that is known: why; nil: all of Engines are
	// Barred says why a lease that a buyer has of an engine is ended, as the owner does not agree to it any more; "" where it is kept; nil: all are. It may take a second.
	Barred func(engine string, buyer peer.ID) string
	Payee  Payee // nil: no lease is paid for
	// Alone takes a graphics device for this node, which no other node of the machine has then until it is released; nil: there is no other.
	Alone func(device string) (release func(), ok bool)
	// Images is told of each container image that a lease begins to use, and by done that it does so no more; nil: nobody wants to know.
	Images func(root cid.Cid) (done func())
}

// Provider works for others.
type Provider struct {
	log     *slog.Logger
	self    peer.ID
	store   Store
	engines map[string]engine.Engine
	lacking func() map[string]string
	barred  func(engine string, buyer peer.ID) string
	payee   Payee
	alone   func(device string) (release func(), ok bool)
	images  func(root cid.Cid) (done func())
	cfg     Config
	born    time.Time
	life    context.Context // of Serve; ends with it
	end     context.CancelFunc

	arrivals chan Session
	over     chan struct{}  // closed when Serve ends
	pausing  sync.Mutex     // one change of what stands still, or start of a batch, at a time
	changed  chan struct{}  // what is allowed has changed
	doing    sync.WaitGroup // links, preparations, burials

	mu        sync.Mutex
	work      *sync.Cond // a task is ready, the mode changed, or it is over
	stage     *sync.Cond // a task wants staging, or it is over
	closing   bool
	allowed   Allowance
	suspended time.Time          // since when nothing may run; zero: something may
	halt      context.Context    // ends when nothing may run any more
	halted    context.CancelFunc // ends it
	round     rota
	tenants   map[string]*tenant
	leased    map[string]*tenant // by graphics device
	turns     []*tenant          // those that have begun, in the order in which they are served
	turn      int                // whose turn it is
	stageTurn int                // whose turn it is to be staged for
	idle      int                // slots without work
	links     map[*link]struct{}
	departed  graves
	promises  map[string]promise // vouchers that could not be taken yet
	trying    bool               // to take them
	busy      int                // batches
	foreign   int                // of these for others than this node
	worked    time.Duration      // of all slots, less the time since born of each that is busy
	boxes     map[*box]struct{}  // running ones
	ids       uint64             // of engine tasks
	folders   uint64             // of leases
	memory    int64              // bytes of running tasks
	disk      int64              // bytes staged and kept
	incoming  int64              // bytes of content on its way, which disk counts when it is here
	passed    int                // how often the one whose turn it is was passed over for want of memory
	ended     map[job.End]uint64
}

// New makes a provider. It takes sessions and runs tasks only while Serve runs.
func New(log *slog.Logger, deps Deps, cfg Config) (*Provider, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	p := &Provider{log: log, self: deps.Self, store: deps.Store, engines: deps.Engines, lacking: deps.Lacking, barred: deps.Barred, payee: deps.Payee, cfg: cfg, born: time.Now(), promises: map[string]promise{},
		arrivals: make(chan Session), over: make(chan struct{}), tenants: map[string]*tenant{}, leased: map[string]*tenant{}, alone: deps.Alone, images: deps.Images, links: map[*link]struct{}{},
		boxes: map[*box]struct{}{}, ended: map[job.End]uint64{}, changed: make(chan struct{}, 1), allowed: Everything()}
	if p.alone == nil {
		p.alone = func(string) (func(), bool) { return func() {}, true }
	}
	p.work, p.stage = sync.NewCond(&p.mu), sync.NewCond(&p.mu)
	p.life, p.end = context.WithCancel(context.Background())
	p.halt, p.halted = context.WithCancel(p.life)
	deps.Sessions.Accept(lease.Session, func(s Session) {
		select {
		case p.arrivals <- s:
		case <-p.over:
		}
	})
	return p, nil
}

// String names the service.
func (p *Provider) String() string { return "provider" }

// Serve works until ctx ends, once. The story of a task:
//
//  1. A session brings Begin: the lease is checked, its program and shared inputs are staged (take.go, stage.go).
//  2. Assign brings tasks; those with inputs by address are staged, then they are ready.
//  3. A slot takes a batch of the lease whose turn it is and runs it in a sandbox of that lease (worker.go).
//  4. Outcomes become results, which go back over the session (collect.go, link.go).
//  5. End, the end of the term, or a requester that stays away ends the lease: what it runs is stopped, what it kept is deleted (tend.go).
func (p *Provider) Serve(ctx context.Context) error {
	if err := p.clear(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, p.close)
	defer stop()
	defer p.end()
	var slots sync.WaitGroup
	for range p.cfg.Slots {
		w := &worker{p: p}
		slots.Go(func() { w.serve(ctx) })
	}
	for range p.cfg.Stagers {
		slots.Go(p.stageAhead)
	}
	slots.Go(func() { p.govern(ctx) })
	p.attend(ctx)
	p.close()
	p.end()
	slots.Wait()
	p.departAll()
	p.doing.Wait()
	return nil
}

// attend takes in sessions and looks after what only time brings about, until ctx ends.
func (p *Provider) attend(ctx context.Context) {
	defer close(p.over)
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case s := <-p.arrivals:
			l := p.join(s)
			p.doing.Go(func() { l.serve(ctx) })
			p.doing.Go(func() { l.write(ctx) })
		case now := <-ticker.C:
			p.tend(now)
		case <-ctx.Done():
			return
		}
	}
}

// clear empties the folder: no lease of an earlier life has anything there that is still wanted.
func (p *Provider) clear() error {
	if err := os.RemoveAll(p.cfg.Dir); err != nil {
		return fmt.Errorf("provider: clear %s: %w", p.cfg.Dir, err)
	}
	if err := os.MkdirAll(filepath.Join(p.cfg.Dir, "leases"), 0o700); err != nil {
		return fmt.Errorf("provider: make %s: %w (is the home folder writable?)", p.cfg.Dir, err)
	}
	return nil
}

// close wakes all that wait, for the last time.
func (p *Provider) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closing = true
	p.work.Broadcast()
	p.stage.Broadcast()
}

// Free tells the market what there is for a buyer; it makes a Provider a market.Capacity.
func (p *Provider) Free(buyer peer.ID) market.Free {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := market.Free{Slots: p.cfg.Slots, Memory: p.cfg.Memory, Disk: max(0, p.diskLimit()-p.disk),
		Leases: len(p.tenants), MaxLeases: p.cfg.Leases,
		Worked: p.worked + time.Duration(p.busy)*time.Since(p.born)}
	f.GPUs = p.devices(buyer)
	f.Engines = slices.Sorted(maps.Keys(p.engines))
	if p.lacking != nil {
		f.Lacking = p.lacking()
		f.Engines = slices.DeleteFunc(f.Engines, func(name string) bool { return f.Lacking[name] != "" })
	}
	if buyer != p.self {
		f.Slots, f.Memory, f.Refusal = p.shared(), p.memoryLimit(), p.allowed.refusal()
	}
	return f
}

// Hold keeps a place for a lease until it begins, for Grace at most, or notes the later end of one that is here.
func (p *Provider) Hold(l lease.Lease) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	id := l.ID()
	if t := p.tenants[id]; t != nil {
		t.extend(l)
		return nil
	}
	if err := p.vacancy(l); err != nil {
		return err
	}
	if l.Terms.Pay != nil && p.payee == nil {
		return errNoPayee
	}
	if n := p.promisedTo(l.Terms.Order.Requester); n >= p.reservable() {
		return fmt.Errorf("leases: %d of yours wait here for their beginning or their deposit, and no more are kept free", n)
	}
	t := p.newTenant(l)
	if err := p.equip(t); err != nil {
		return err
	}
	p.tenants[id] = t
	return nil
}

// reservable is how many places one requester may keep without work or a deposit: a quarter, so that none keeps all from others.
func (p *Provider) reservable() int { return max(2, p.cfg.Leases/4) }

// promisedTo counts a requester's places whose leases have not begun, or have no deposit yet. Needs p.mu.
func (p *Provider) promisedTo(requester string) (n int) {
	for _, t := range p.tenants {
		if t.lease.Terms.Order.Requester == requester && (!t.begun || t.bill != nil && !t.bill.funded) {
			n++
		}
	}
	return n
}

// errNoPayee refuses a lease that is paid for where nobody could take the money.
var errNoPayee = errors.New("lease: this node follows no chain on which it could be paid")

// vacancy refuses a further lease when there is no place for it. Needs p.mu.
func (p *Provider) vacancy(l lease.Lease) error {
	with := l.Terms.Order.Engine
	switch no := p.allowed.refusal(); {
	case p.closing:
		return errors.New("this node is stopping")
	case no != "" && l.Terms.Order.Requester != p.self.String():
		return errors.New("owner: " + no)
	case p.lacking != nil && p.lacking()[with] != "":
		return fmt.Errorf("engine %s: %s", with, p.lacking()[with])
	case len(p.tenants) >= p.cfg.Leases:
		return fmt.Errorf("leases: %d of %d taken", len(p.tenants), p.cfg.Leases)
	}
	return nil
}
