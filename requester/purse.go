package requester

import (
	"context"
	"sync"
	"time"

	"github.com/hpips/hpips/market"
	"github.com/hpips/hpips/pay"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/trust"
	"github.com/hpips/hpips/spec/voucher"
)

// Payer pays for leases; *pay.Payer is one. Fund, TopUp and Close return when the chain has what they do, and may be repeated.
type Payer interface {
	// Terms says how a lease of this quote is paid for; nil: it is not.
	Terms(q lease.Quote, deposit uint64) *lease.Pay
	// Least is the smallest deposit that the chain takes.
	Least(ctx context.Context) (uint64, error)
	// Fund makes the deposits of leases in one transaction. A lack of money is a *job.Failure with CodeFunds.
	Fund(ctx context.Context, leases []lease.Lease) error
	// Promise signs what was used under a lease, never for less than before, and the root of its leaves where the terms want a jury. With pay.ErrDeposit the
	// voucher is good for the whole deposit.
	Promise(l lease.Lease, u voucher.Usage, root [32]byte) (voucher.Signed, error)
	// Restore tells what was signed in an earlier life.
	Restore(l lease.Lease, s voucher.Signed) error
	// TopUp adds to a deposit, and moves its end to that of the lease's terms.
	TopUp(ctx context.Context, l lease.Lease, more uint64) error
	// Close ends leases in one transaction.
	Close(ctx context.Context, leases []lease.Lease) error
}

// purse is what a paid lease costs: used counts results that are durable or in the transaction under way, promised what is signed and durable. It
// belongs to the gathering's loop and outlives its hire, so that what was on its way then is paid too.
type purse struct {
	lease    lease.Lease
	hire     *hire
	window   pay.Window
	used     voucher.Usage
	cost     uint64 // of used
	promised uint64
	deposit  uint64
	owing    time.Time     // since when something is owed
	signing  bool          // a voucher is in the transaction under way
	claimed  voucher.Usage // used, and what is on its way there
	begun    time.Time     // when its first task can have been sent
	way      int           // results on their way into used
	touched  bool          // used has grown since it was written
	hold     time.Time     // the deposit did not cover what was to be signed; not to be tried again before
	left     bool          // its hire is gone
	ended    bool          // nothing more comes
	last     *voucher.Signed
	tally    *pay.Tally          // its leaves; nil: nobody wants a jury
	given    map[uint64][32]byte // with a tally: the statements of tasks that lie in the journal and of which its hire may still bring a result
	topping  bool                // a top-up is under way
	dry      time.Time           // nothing could be added to the deposit; not to be tried again before
	broken   bool                // nothing can be signed for it any more
}

func newPurse(l lease.Lease, limits job.Limits) *purse {
	p := &purse{lease: l, window: pay.NewWindow(l.Terms, limits), deposit: l.Terms.Pay.Deposit, begun: time.UnixMilli(l.Terms.From)}
	if l.Terms.Pay.Jury {
		p.tally, p.given = pay.NewTally(l.Terms), map[uint64][32]byte{}
	}
	return p
}

// add counts what one result used; reckon follows, once for many.
func (p *purse) add(u voucher.Usage) {
	p.window.Ended(u)
	p.touched = true
	p.used = p.used.Add(u)
}

// reckon takes in what was added.
func (p *purse) reckon(now time.Time) {
	if c, err := voucher.Cost(p.lease.Terms.Quote.Rates, p.used); err == nil {
		p.cost = c
	} else {
		p.cost = job.Unlimited
	}
	if p.owing.IsZero() && p.owed() > 0 {
		p.owing = now
	}
}

// worth is what of the deposit is for work; the rest pays juries.
func (p *purse) worth() uint64 {
	if p.tally != nil {
		return trust.ForWork(p.deposit)
	}
	return p.deposit
}

// owed is what can be signed for and is not.
func (p *purse) owed() uint64 {
	if most := min(p.cost, p.worth()); most > p.promised && !p.broken {
		return most - p.promised
	}
	return 0
}

// due reports whether it is time to sign. last tells that no more results come.
func (p *purse) due(now time.Time, last bool) bool {
	if p.signing || p.ended || p.owed() == 0 || now.Before(p.hold) {
		return false
	}
	return last || p.window.Due(p.owed(), now.Sub(p.owing), len(p.hire.held)+p.hire.fetching == 0)
}

// signed notes a voucher that is durable.
func (p *purse) signed(s voucher.Signed, now time.Time) {
	p.last, p.promised = &s, max(p.promised, s.Voucher.Amount)
	p.window.Paid(p.promised)
	p.owing = time.Time{}
	if p.owed() > 0 { // of results that came meanwhile
		p.owing = now
	}
}

// crowded tells that its provider has taken no voucher for more results than one message can name with what it still holds.
func (p *purse) crowded() bool { return p.tally != nil && p.tally.Open() >= pay.MostOpen }

// affords is how many tasks the deposit still covers, besides those that are held, each at the dearest so far: the provider starts no others.
func (p *purse) affords(held int) int {
	switch {
	case p.crowded():
		return 0
	case p.cost >= p.worth():
		return 0
	case p.used.Tasks == 0:
		return maxCredit
	}
	return min(maxCredit, int(min((p.worth()-p.cost)/max(p.window.Task(), 1), 2*maxCredit))-held)
}

// thin reports whether three quarters of the deposit are used, or what is left does not cover another task.
func (p *purse) thin() bool { return p.cost >= p.worth()-p.worth()/4 || p.affords(0) < 1 }

// ask is a deposit to be made for a lease.
type ask struct {
	quote lease.Quote
	of    job.Resources
	limit job.Limits
	tasks uint64        // the lease's share of what is left
	mean  time.Duration // of a task; 0 is not known
	ahead time.Duration // for which a deposit is made at most
}

// deposit is what a lease is expected to need: for its share of the tasks as long as they are known to take and half as much again, or for the time
// ahead if that is less; never more than its tasks can cost at their limits.
func (a ask) deposit() uint64 {
	slots, rates := max(a.quote.Slots, 1), a.quote.Rates
	ahead := a.ahead
	if a.mean > 0 {
		need := float64(a.tasks) * float64(a.mean) / float64(slots) * 1.5
		ahead = time.Duration(min(float64(ahead), max(need, float64(time.Second))))
	}
	want := market.Price(rates, a.of, ahead*time.Duration(min(slots, job.MaxTasks)), 0)
	each := market.Price(rates, a.of, time.Duration(a.limit.Time), uint64(a.limit.Output)+uint64(a.of.Disk))
	if most := float64(each) * float64(a.tasks); most < float64(want) {
		want = uint64(most)
	}
	return max(want, 1)
}

// budget is what a job may cost in all. Taken is promised by leases that have ended, and deposited for those that go on: whatever happens, no
// more than that is ever paid.
type budget struct {
	mu    sync.Mutex
	limit uint64
	taken uint64
}

// take reserves up to n and returns how much.
func (b *budget) take(n uint64) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	n = min(n, b.limit-b.taken)
	b.taken += n
	return n
}

// back returns what was reserved and is not needed.
func (b *budget) back(n uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.taken -= min(n, b.taken)
}

// spent is what is promised by leases that have ended, and deposited for the others.
func (b *budget) spent() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.taken
}

func (b *budget) left() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.limit - b.taken
}
