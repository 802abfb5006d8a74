package provider

import (
	"context"
	"sync"
	"time"

	"github.com/hpips/hpips/pay"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/voucher"
)

// Payee is paid for leases; *pay.Payee is one.
type Payee interface {
	// Funded waits until the chain has the deposit of a lease, for as long as ctx lasts, and returns how much of it may be promised for work.
	Funded(ctx context.Context, l lease.Lease) (deposit uint64, err error)
	// Lease finds a lease whose deposit was seen, in this life or an earlier one, as long as promises for it can be redeemed.
	Lease(ctx context.Context, id string) (lease.Lease, bool)
	// Take takes a promise, and returns what is promised in all. Taken is how many results have their places under the root of one that was taken.
	Take(ctx context.Context, l lease.Lease, v lease.Voucher) (amount uint64, err error)
	Taken(ctx context.Context, l lease.Lease) uint64
	// Did counts results that are about to be sent, and returns what was done in all; with the digests of their statements where the payer wants a jury. Lost takes
	// back those that could not be sent.
	Did(l lease.Lease, results []job.Result, statements ...[32]byte) voucher.Usage
	Lost(l lease.Lease, results []job.Result)
	// Unpaid is what the work done costs beyond what is promised, and what is promised.
	Unpaid(l lease.Lease) (unpaid, promised uint64)
	// Closed tells whether the chain's lease was seen closing, or gone.
	Closed(l lease.Lease) bool
	// Ended tells that a lease is over here.
	Ended(ctx context.Context, l lease.Lease)
}

// bill is what a paid lease owes. Its fields need Provider.mu.
type bill struct {
	fresh sync.Mutex // held from reading the payee's numbers until they are here; before Provider.mu

	window   pay.Window
	unpaid   uint64
	promised uint64
	deposit  uint64
	funded   bool  // the chain has the deposit
	until    int64 // of the term for which it was seen there, Unix milliseconds
	lapsed   bool  // that term has ended; the lease was extended, and its deposit was not
	closed   bool  // the payer, or the end of its term, has closed the lease on the chain
	known    bool  // a task has ended, so that it is known what one costs
	started  int   // tasks in batches, and those whose results are not on their way yet
	over     bool  // tasks take so much longer than any before them that no further one starts until one has ended

	asking bool      // the chain is being asked for the deposit
	asked  time.Time // when it was asked last
	since  time.Time // since when tasks wait for pay; zero: they do not
}

func newBill(l lease.Lease, limits job.Limits) *bill {
	return &bill{window: pay.NewWindow(l.Terms, limits)}
}

// room is how many further tasks may be started: what is unpaid and what is started, each task at the dearest of late, stays within the credit window
// and within the deposit. Where nothing is at stake, one may be.
func (b *bill) room() int {
	if !b.funded || b.lapsed || b.closed {
		return 0
	}
	task, size := max(b.window.Task(), 1), b.window.Size()
	if b.known {
		size = min(size, b.deposit-min(b.deposit, b.promised)) // what is unpaid has to fit into the rest
	}
	n := b.window.Fits(size-min(size, b.unpaid)) - b.started
	switch {
	case b.over:
		n = 0
	case n < 1 && b.unpaid == 0 && b.started == 0 && (!b.known || task <= size):
		n = 1
	}
	return max(n, 0)
}

// short reports whether it is the deposit that leaves no room.
func (b *bill) short() bool {
	return b.funded && b.known && !b.over && b.deposit-min(b.deposit, b.promised) < b.unpaid+b.window.Task()
}

// charge notes that a task is started.
func (t *tenant) charge(k *task) {
	if t.bill != nil && !k.charged {
		k.charged = true
		t.bill.started++
	}
}

// clear notes that a task is at nobody's risk any more: its result is on its way, or it has none.
func (t *tenant) clear(k *task) {
	if k.charged {
		k.charged = false
		t.bill.started--
	}
}
