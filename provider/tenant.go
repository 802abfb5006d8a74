package provider

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/execution"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
)

// tenant is a lease that is held here, with its tasks. Its fields need Provider.mu, but for those that stay as they are from Begin on.
type tenant struct {
	id      string
	dir     string
	lease   lease.Lease
	peer    peer.ID // its requester
	slots   int     // it may use at once
	link    *link
	since   time.Time    // of the reservation, for one that has not begun
	away    time.Time    // since when its requester is away; zero while it is there
	devices []*equipment // graphics devices that it has
	unused  time.Time    // since when it has devices and no task; zero: it has one, or no device
	large   bool         // its tasks take more memory than is left for them
	stopped time.Time    // since when it stands still because its owner wants one of them, or the memory, back; zero: it does not
	lost    bool         // its requester has restarted and has not begun it again

	// from Begin on
	begun     bool
	work      lease.Work
	key       string // canonical bytes of work
	program   engine.Program
	stdin     string // host path of the standard input of all tasks
	engine    engine.Engine
	statement func(job.Task) [32]byte // digest of a task's statement; nil: nobody wants a jury
	ctx       context.Context         // the tenant's life
	cancel    context.CancelFunc
	doing     sync.WaitGroup // preparation, staging, batches

	prepared bool      // the program is here
	coming   int64     // bytes of it that have come, while it is on its way
	told     time.Time // when its requester was told of that last
	watched  bool      // it was told at all
	opened   bool      // a sandbox was opened once: the program is compiled
	opening  bool
	over     bool // ended; nothing more of it is told

	tasks      map[uint64]*task // waiting, running, or answered by a message that is not sent
	raw        []*task          // want staging
	ready      []*task
	ahead      int   // staged and not answered
	aheadBytes int64 // of all inputs of tasks on disk
	kept       int64 // bytes on disk until the lease ends
	held       int64 // bytes of inline inputs
	running    int   // batches
	mean       time.Duration
	weight     int64  // mean bytes of an inline input
	credit     int    // last told
	round      uint64 // of the last Begin
	spools     map[uint64]*spool
	boxes      []*box
	bill       *bill    // nil: its work is free
	shifts     []*shift // of a paid lease
}

// state is where a task of a tenant stands.
type state uint8

const (
	waiting   state = iota // ready, or about to be staged
	staging                // its input is on its way
	running                // in a batch
	answering              // its result waits to be sent
	sent                   // its result is given to the session: the requester may know it already
)

// task is one that the tenant assigned.
type task struct {
	job.Task
	state     state
	id        uint64 // in the sandbox that it was last given to
	input     string // host path of its input
	bytes     int64  // of it
	box       *box   // that runs it
	cancelled bool   // by the requester
	returned  bool   // taken back from its batch, to be run in another
	again     *job.Task
	charged   bool               // see bill.started
	stop      context.CancelFunc // of its staging
}

// The bounds of what one tenant may make this node hold for it.
const (
	maxTasks  = 8192
	maxInline = 64 << 20 // bytes
	maxCredit = 4096
)

// newTenant reserves a place. Needs p.mu.
func (p *Provider) newTenant(l lease.Lease) *tenant {
	p.folders++
	id := l.ID()
	requester, err := peer.Decode(l.Terms.Order.Requester)
	if err != nil {
		p.log.Error("Signed lease has no requester", "lease", id, "err", err) // its signature could not have been checked
	}
	return &tenant{id: id, peer: requester, dir: filepath.Join(p.cfg.Dir, "leases", fmt.Sprintf("%d-%s", p.folders, id[len(id)-8:])), lease: l,
		slots: min(l.Terms.Quote.Slots, p.cfg.Slots), since: time.Now()}
}

// extend takes over a later end of the same lease.
func (t *tenant) extend(l lease.Lease) {
	if l.Terms.Serial >= t.lease.Terms.Serial {
		t.lease = l
	}
}

// begin fills in what Begin says; ctx is the provider's life. Needs p.mu.
func (t *tenant) begin(ctx context.Context, w lease.Work, key string, e engine.Engine) {
	t.begun, t.work, t.key, t.engine = true, w, key, e
	t.ctx, t.cancel = context.WithCancel(ctx)
	t.tasks, t.spools = map[uint64]*task{}, map[uint64]*spool{}
	t.program = execution.Program(w)
	t.program.Lease, t.program.Inputs = t.id, filepath.Join(t.dir, "in")
}

// enqueue takes in a task that is not held. Needs p.mu.
func (t *tenant) enqueue(j job.Task) {
	k := &task{Task: j}
	t.tasks[j.Index] = k
	if j.Input != nil {
		n := int64(len(j.Input.Inline))
		t.held += n
		t.weight += (n - t.weight) / 8
		if j.Input.CID != "" {
			t.raw = append(t.raw, k)
			return
		}
	}
	t.ready = append(t.ready, k)
}

// drop forgets a task. Needs p.mu.
func (t *tenant) drop(k *task) {
	t.clear(k)
	if t.tasks[k.Index] == k {
		delete(t.tasks, k.Index)
	}
	if k.Input != nil {
		t.held -= int64(len(k.Input.Inline))
	}
}

// indexes lists the tasks that are held. Needs p.mu.
func (t *tenant) indexes() []uint64 { return slices.Sorted(maps.Keys(t.tasks)) }

// wish is how many tasks the tenant should keep here.
func (t *tenant) wish() int {
	n := credit(t.slots, t.mean)
	if t.weight > 0 {
		n = min(n, max(2*t.slots, int(maxInline/2/t.weight)))
	}
	if b := t.bill; b != nil { // who may start few keeps few from others
		n = min(n, max(2, 2*(b.started+b.room())))
	}
	return n
}

// credit is how many tasks one lease keeps waiting and running: 0.2 s of work, at least two for each slot.
func credit(slots int, mean time.Duration) int {
	each := 2
	if mean > 0 {
		each = max(2, int(min(maxCredit, (reserve+mean-1)/mean)))
	}
	return min(slots*each, maxCredit)
}

// changed reports whether a credit differs from the one last told by more than a quarter.
func changed(told, now int) bool {
	d := now - told
	return 4*max(d, -d) > told
}

// The times that tasks are cut into, see batch.
const (
	reserve  = 200 * time.Millisecond // of work that is kept waiting here for each slot
	stretch  = 75 * time.Millisecond  // of work that a slot takes at once
	longest  = 300 * time.Millisecond // after which a batch gives back what it has not started
	maxBatch = 1024
)

// batch is how many of the ready tasks a slot takes: about a stretch of work, and not more than its share.
func batch(mean time.Duration, ready, slots int) int {
	if mean <= 0 {
		return 1
	}
	n := int(max(1, min(maxBatch, stretch/mean)))
	return min(n, (ready+slots-1)/slots)
}

// learn takes in how long each of n tasks took.
func (t *tenant) learn(took time.Duration, n int) {
	if n == 0 {
		return
	}
	each := max(took/time.Duration(n), time.Microsecond)
	if t.mean == 0 {
		t.mean = each
		return
	}
	t.mean += (each - t.mean) / 4
}
