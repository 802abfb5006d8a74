package pay

import (
	"math/bits"
	"time"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/voucher"
)

// The sizes of a credit window, in work of all slots of the lease.
const (
	leastWindow = time.Second
	mostWindow  = 30 * time.Second
)

// patience is how long a requester lets anything be owed: a provider that has less credit to give than the requester reckons with, because it was
// restarted, is not kept waiting for longer.
const patience = time.Second

// Window says how much of a lease's work may go unpaid. It depends on what was paid and on the dearest task so far alone, so that both sides
// find it again after a restart:
//
//  1. At first it is one task, or one second of the slots' work if that is more. What a task costs is known once one has ended; until then it is
//     taken to cost as much as at its limits, or as 30 s of the slots' work if that is less.
//  2. It grows by what is paid: with each window paid it doubles, and nobody is ever given more credit than the first window and what they have paid.
//  3. It stays at 30 s of the slots' work, or at twice what the slots' tasks cost if that is more, so that long tasks fill the slots too.
//
// Unpaid finished work and started work, each started task taken at the dearest price of late, stay within it. A lease with nothing unpaid and nothing
// started may always start one task. The zero Window is of a lease that costs nothing.
type Window struct {
	rates   voucher.Rates
	res     job.Resources
	slots   uint64
	second  uint64        // what one second of all slots costs
	atLimit uint64        // what one task costs at its limits
	dear    voucher.Usage // the most of each kind that one task has used
	dearest uint64        // what that costs
	paid    uint64

	lately, before voucher.Usage // the most of each kind among the last results, fewer than some, and among as many before those
	ended          int           // results in lately
	many           uint64        // what so many tasks cost together that use so much each
}

// some is how many results are looked at for what a started task is reckoned at: the first one of a sandbox costs more than all others, and is not to hold
// up tiny ones for ever.
const some = 256

// together is how many tasks are priced at once, so that what costs less than a base unit is not taken for one.
const together = 1024

// NewWindow returns the window of a lease of which nothing is paid. limits are those of each of its tasks.
func NewWindow(t lease.Terms, limits job.Limits) Window {
	w := Window{rates: t.Quote.Rates, res: t.Order.Resources, slots: uint64(max(t.Quote.Slots, 1))}
	w.second = max(w.price(Full(w.res, leastWindow*time.Duration(min(w.slots, job.MaxTasks)))), 1)
	w.atLimit = w.price(Full(w.res, time.Duration(limits.Time)))
	if limits.Time <= 0 {
		w.atLimit = ^uint64(0)
	}
	return w
}

func (w *Window) price(u voucher.Usage) uint64 { return price(w.rates, u) }

// price is what a usage costs; what does not fit into 64 bits costs the largest number.
func price(r voucher.Rates, u voucher.Usage) uint64 {
	c, err := voucher.Cost(r, u)
	if err != nil {
		return ^uint64(0)
	}
	return c
}

// Size is how much may be unpaid, in base units of the lease's asset.
func (w *Window) Size() uint64 {
	if w.rates.Free() {
		return ^uint64(0)
	}
	first := max(w.Task(), w.second)
	most := max(product(w.second, uint64(mostWindow/leastWindow)), product(product(2, w.slots), w.Task()))
	return min(plus(first, w.paid), most)
}

// Task is what one task costs at most, as far as that is known.
func (w *Window) Task() uint64 {
	if w.dear.Tasks > 0 {
		return w.dearest
	}
	return min(w.atLimit, product(w.second, uint64(mostWindow/leastWindow)))
}

// Start tells whether another task may be started: unpaid is what finished work costs beyond what is paid, started counts tasks that run.
func (w *Window) Start(unpaid uint64, started int) bool {
	if unpaid == 0 && started == 0 {
		return true
	}
	size := w.Size()
	return unpaid <= size && w.Fits(size-unpaid) > started
}

// Fits is how many started tasks an amount is enough for.
func (w *Window) Fits(amount uint64) int {
	const most = 1 << 30
	if w.dear.Tasks == 0 {
		return int(min(amount/max(w.Task(), 1), most))
	}
	hi, lo := bits.Mul64(amount, together)
	if hi >= w.many {
		return most
	}
	n, _ := bits.Div64(hi, lo, w.many)
	return int(min(n, most))
}

// Keep tells how many of the started tasks may go on, the oldest first; running is the sum of the times for which they have been running. Tasks that take
// much longer than any before them would otherwise put as many windows at stake as there are slots; so it is one window, and the oldest task up to its
// limits. The oldest always goes on: only by its end can it be paid.
func (w *Window) Keep(unpaid uint64, started int, running time.Duration) int {
	if plus(unpaid, w.price(Full(w.res, running))) <= w.Size() {
		return started
	}
	return min(started, 1)
}

// Ended notes what a task used that has ended, see Used.
func (w *Window) Ended(u voucher.Usage) {
	if u.Tasks == 0 {
		return
	}
	if !w.dear.Covers(u) {
		w.dear = most(w.dear, u)
		w.dearest = w.price(w.dear)
	}
	turn := w.ended == some
	if turn {
		w.lately, w.before, w.ended = voucher.Usage{}, w.lately, 0
	}
	w.ended++
	if turn || !w.lately.Covers(u) {
		w.lately = most(w.lately, u)
		m := most(w.lately, w.before)
		w.many = max(1, w.price(voucher.Usage{Tasks: together, CPU: product(together, m.CPU), GPU: product(together, m.GPU), Memory: product(together, m.Memory),
			Disk: product(together, m.Disk), Sent: product(together, m.Sent), Work: product(together, m.Work)}))
	}
}

// most is the larger of each kind, of one task.
func most(u, v voucher.Usage) voucher.Usage {
	return voucher.Usage{Tasks: 1, CPU: max(u.CPU, v.CPU), GPU: max(u.GPU, v.GPU), Memory: max(u.Memory, v.Memory), Disk: max(u.Disk, v.Disk), Sent: max(u.Sent, v.Sent),
		Work: max(u.Work, v.Work)}
}

// Paid notes what is paid in all. It may be repeated; what is less than before changes nothing.
func (w *Window) Paid(amount uint64) { w.paid = max(w.paid, amount) }

// Due tells a requester to sign now: half a window is owed, or something has been owed for a second, or nothing is left to wait for.
func (w *Window) Due(owed uint64, waited time.Duration, idle bool) bool {
	return owed > 0 && (idle || waited >= patience || owed >= w.Size()/2)
}

// plus adds; what would not fit stays at the largest number.
func plus(a, b uint64) uint64 {
	s, carry := bits.Add64(a, b, 0)
	if carry != 0 {
		return ^uint64(0)
	}
	return s
}
