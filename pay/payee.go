package pay

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/voucher"
)

// PayeeConfig is who is paid, and when it is redeemed.
type PayeeConfig struct {
	Path string             // of the book, a file of its own; of this node and chain alone
	Key  ed25519.PrivateKey // of the node

	Day   time.Duration // the chain's: at most one redemption of a lease in each
	First time.Duration // from a node's very first promise to its redemption
	Soon  time.Duration // from a lease's end to its redemption, so that leases that end together are redeemed together
	Watch time.Duration // between two looks at the leases on the chain, for such as their payers have closed
	Poll  time.Duration // between two looks for a deposit
	Worth uint64        // of HPIPS owed for one lease that is redeemed before its day is over; 0: no amount is
}

// DefaultPayee returns the times that suit a chain whose day is that long.
func DefaultPayee(day time.Duration) PayeeConfig {
	return PayeeConfig{Day: day, First: min(5*time.Minute, day/12), Soon: min(30*time.Second, day/12), Watch: min(time.Hour, day/24), Poll: min(time.Second, day/24)}
}

// Check refuses what cannot work.
func (c PayeeConfig) Check() error {
	if c.Path == "" || len(c.Key) != ed25519.PrivateKeySize {
		return errors.New("payee config: the book's path and the node's key must be set")
	}
	if c.Day <= 0 || c.Watch <= 0 || c.Poll <= 0 || c.First < 0 || c.Soon < 0 {
		return errors.New("payee config: day, watch and poll must be set, and no time be negative")
	}
	return nil
}

// Payee is paid for a node's work. It is safe side by side.
type Payee struct {
	log   *slog.Logger
	chain Chain
	cfg   PayeeConfig
	self  ed25519.PublicKey
	book  *book
	news  chan struct{} // something may be due

	// reached, in tests, ends this life at a named step.
	reached func(step string)

	mu   sync.Mutex // also: who writes the book has it
	tabs map[voucher.ID]*tab
	ever bool // something was redeemed in this life or an earlier one

	watched time.Time // of the chain, when all leases were looked at; of Serve alone
	pruned  time.Time // when leaves were last looked at that were kept long enough; of Serve alone
}

// tab is what a payee knows of one lease.
type tab struct {
	name    string // lease ID
	key     []byte // signs its vouchers
	denom   string
	until   time.Time
	deposit uint64
	funded  bool // the chain has, or had, its deposit
	here    bool // it was worked for in this life
	rates   *voucher.Rates

	done  voucher.Usage // what was done
	old   voucher.Usage // of it, by earlier lives of this process, until it is forgiven
	sheaf *sheaf        // of a lease whose payer wants a jury, once it was looked at

	forgiven uint64 // not promised, and not counted as unpaid

	last  voucher.Voucher // the highest; zero: none
	claim voucher.Claim   // it, ready to be redeemed
	since time.Time       // when the first promise came that is not redeemed
	ended time.Time       // zero: the lease goes on

	redeemed   uint64
	redeemedAt time.Time // of the chain
	closing    time.Time // on the chain, as last seen; zero: not
	gone       bool      // the chain has returned its deposit, or does not have it
	leaving    bool      // this node lets go of it: it takes no promise any more
	said       bool      // the chain has that word
	free       uint64    // on the chain, as last seen: what would return
	pending    bool      // on the chain, as last seen: something redeemed is not final
	again      time.Time // it rests until then: it brings less than it costs, or the chain refused it
}

// OpenPayee opens the book with what earlier lives have left in it. It looks at the chain when it is asked to and when Serve runs.
func OpenPayee(log *slog.Logger, chain Chain, cfg PayeeConfig) (*Payee, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	b, err := openBook(cfg.Path)
	if err != nil {
		return nil, err
	}
	p := &Payee{log: log, chain: chain, cfg: cfg, self: cfg.Key.Public().(ed25519.PublicKey), book: b, news: make(chan struct{}, 1), reached: func(string) {}}
	n := 0
	if p.tabs, err = b.tabs(); err == nil {
		n, err = b.redemptions()
	}
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	p.ever = n > 0
	return p, nil
}

// Close closes the book. Nothing else may be called after it.
func (p *Payee) Close() error { return p.book.Close() }

// Funded asks the chain until ctx ends whether the deposit of a lease stands: for this node and the lease's payer, key and asset, as large as agreed, and
// up to the end of its term. It returns what of it may be promised for work. ErrForeign tells at once that what stands there is something else; ErrUnfunded that
// until the end of ctx there was none, or not enough.
func (p *Payee) Funded(ctx context.Context, l lease.Lease) (deposit uint64, err error) {
	if l.Terms.Pay == nil || l.Terms.Pay.Chain != p.chain.ID() {
		return 0, fmt.Errorf("lease %s: %w", l.ID(), ErrUnpaid)
	}
	for wait := time.Duration(0); ; {
		a, err := p.stands(ctx, l.Terms)
		if err == nil {
			p.reached("funded: seen")
			if err = p.open(ctx, l, a); err != nil {
				return 0, err
			}
			return forWork(l, a.Deposit), nil
		}
		if !errors.Is(err, ErrUnfunded) && !passing(err) && ctx.Err() == nil {
			return 0, err
		}
		wait = longer(wait, p.cfg.Poll/32, p.cfg.Poll) // it is under way when a provider is asked to begin
		if pause(ctx, wait) != nil {
			return 0, fmt.Errorf("lease %s: %w", l.ID(), errors.Join(ErrUnfunded, err))
		}
	}
}

// stands looks once.
func (p *Payee) stands(ctx context.Context, t lease.Terms) (Account, error) {
	a, found, err := p.chain.Lease(ctx, t.Key())
	if err != nil {
		return Account{}, err
	}
	if !found {
		return Account{}, ErrUnfunded
	}
	if err := belongs(a, t); err != nil {
		return Account{}, err
	}
	switch {
	case !bytes.Equal(a.Node, p.self):
		return Account{}, fmt.Errorf("lease %s: %w: it is another node's", t.ID(), ErrForeign)
	case t.Quote.Owner != "" && a.Payee != t.Quote.Owner:
		return Account{}, fmt.Errorf("lease %s: %w: %s would be paid, not %s", t.ID(), ErrForeign, a.Payee, t.Quote.Owner)
	case a.Phase != Open:
		return Account{}, fmt.Errorf("lease %s: %w: it is closed", t.ID(), ErrForeign)
	case a.Deposit < t.Pay.Deposit:
		return Account{}, fmt.Errorf("%w: %d of %d", ErrUnfunded, a.Deposit, t.Pay.Deposit)
	case a.Until < end(t):
		return Account{}, fmt.Errorf("%w: it ends %d s before the term", ErrUnfunded, end(t)-a.Until)
	}
	return a, nil
}

// open keeps a lease as the chain has it.
func (p *Payee) open(ctx context.Context, l lease.Lease, a Account) error {
	id := l.Terms.Key()
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.tab(id, l.Terms)
	if t.leaving {
		return fmt.Errorf("lease %s: %w", l.ID(), ErrLetGo)
	}
	t.deposit, t.until, t.funded, t.here, t.closing, t.gone = a.Deposit, time.Unix(a.Until, 0), true, true, time.Time{}, false
	if err := p.book.add(ctx, id, t, l); err != nil {
		t.funded = false
		return err
	}
	p.reached("funded: kept")
	return nil
}

// Lease finds a lease, by its ID, whose deposit was seen in this life or an earlier one: a promise for it may come as long as it can be redeemed.
func (p *Payee) Lease(ctx context.Context, id string) (lease.Lease, bool) {
	l, found, err := p.book.lease(ctx, id)
	if err != nil {
		p.log.Warn("A lease cannot be looked up: promises for it are not taken", "lease", id, "err", err)
	}
	return l, found
}

// tab finds a lease, or makes one that is not funded. Needs p.mu.
func (p *Payee) tab(id voucher.ID, terms lease.Terms) *tab {
	t := p.tabs[id]
	if t == nil {
		t = &tab{name: terms.ID(), key: terms.Pay.Key, denom: terms.Pay.Denom, until: time.Unix(end(terms), 0), rates: &terms.Quote.Rates}
		p.tabs[id] = t
	}
	return t
}

// Did counts results that are about to be sent, and returns all that was done under the lease so far. It is to be called once for each result before that is
// sent: a promise for work that this payee does not know of is refused. statements are the digests of the results' tasks (spec/lease.Statement) where the terms
// want a jury; others need none. A lease that is not paid for has done nothing.
func (p *Payee) Did(l lease.Lease, results []job.Result, statements ...[32]byte) voucher.Usage {
	if l.Terms.Pay == nil {
		return voucher.Usage{}
	}
	id := l.Terms.Key()
	var sum voucher.Usage
	var deeds []Deed
	if l.Terms.Pay.Jury {
		deeds = make([]Deed, 0, len(results))
	}
	for i := range results {
		u := Used(results[i], l.Terms.Order.Resources)
		if sum = sum.Add(u); u.Tasks > 0 && l.Terms.Pay.Jury && i < len(statements) {
			deeds = append(deeds, Deed{results[i].Index, statements[i], results[i].Digest(), u.Work})
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.tab(id, l.Terms)
	t.done, t.here = t.done.Add(sum), true
	p.reached("did: counted")
	if sum.Tasks > 0 {
		if err := p.count(id, t, l.Terms, deeds); err != nil {
			p.log.Warn("Finished work is not written down: if this node stops now, it may not be paid for it", "lease", t.name, "err", err)
		}
	}
	p.reached("did: kept")
	return t.done
}

// Served counts bytes that are about to be sent under a lease for content, which has no results. It is to be called before their last one is sent: a promise for bytes
// that this payee does not know of is refused.
func (p *Payee) Served(l lease.Lease, bytes uint64) {
	if l.Terms.Pay == nil {
		return
	}
	id := l.Terms.Key()
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.tab(id, l.Terms)
	t.done, t.here = t.done.Add(voucher.Usage{Sent: bytes}), true
	if err := p.count(id, t, l.Terms, nil); err != nil {
		p.log.Warn("Served bytes are not written down: if this node stops now, it may not be paid for them", "lease", t.name, "err", err)
	}
}

// count writes down what was done. Needs p.mu.
func (p *Payee) count(id voucher.ID, t *tab, terms lease.Terms, deeds []Deed) error {
	switch {
	case len(deeds) > 0:
		s, err := p.sheafOf(context.Background(), id, t, terms)
		if err != nil {
			return err
		}
		row := int64(0)
		if t.funded {
			row, err = p.book.did(id, t.done, deeds)
		}
		s.put(row, deeds)
		return errors.Join(err, p.book.forget(s))
	case t.funded:
		return p.book.counted(id, t.done)
	}
	return nil
}

// Lost tells that results which were counted could not be sent, and are going to be done anew: nobody pays for them, and Unpaid does not count them. It is
// for what this node knows never left it; nothing that a requester says is a reason to call it.
func (p *Payee) Lost(l lease.Lease, results []job.Result) {
	if l.Terms.Pay == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.tab(l.Terms.Key(), l.Terms)
	var lost voucher.Usage
	for i := range results {
		lost = lost.Add(Used(results[i], l.Terms.Order.Resources))
	}
	t.forgiven = plus(t.forgiven, price(l.Terms.Quote.Rates, lost))
}

// Unpaid tells what the work under a lease costs beyond what is promised, and what is promised: the numbers of its Window. What earlier lives of this process
// left unpaid is not counted: it may never have reached the requester.
func (p *Payee) Unpaid(l lease.Lease) (unpaid, promised uint64) {
	if l.Terms.Pay == nil {
		return 0, 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.tab(l.Terms.Key(), l.Terms)
	left := t.left(l.Terms.Quote.Rates)
	return left - min(left, t.forgiven), t.last.Amount
}

// left is what was done and is not promised. The first time in a life, it forgives what earlier ones left.
func (t *tab) left(rates voucher.Rates) uint64 {
	beyond := func(u voucher.Usage) uint64 {
		c := price(rates, u)
		return c - min(c, t.last.Amount)
	}
	t.forgiven = plus(t.forgiven, beyond(t.old))
	t.old = voucher.Usage{}
	return beyond(t.done)
}

// Take takes a promise and returns the amount that is promised in all. It refuses one that is not signed by the lease's key for this chain and lease
// (ErrVoucher, voucher.ErrSignature), promises less than an earlier one (ErrLess), is for more than was done (ErrUsage), exceeds the deposit (ErrDeposit) or comes
// after this node has let go of the lease (ErrLetGo).
// Where the terms want a jury its root must be that of the results as it names them, and elsewhere it must have none (ErrRoot).
// The same promise again changes nothing. What it takes is synced to the disk before it returns.
func (p *Payee) Take(ctx context.Context, l lease.Lease, v lease.Voucher) (amount uint64, err error) {
	if l.Terms.Pay == nil {
		return 0, fmt.Errorf("lease %s: %w", l.ID(), ErrUnpaid)
	}
	id := l.Terms.Key()
	if v.Voucher.Lease != id || v.Voucher.Chain != l.Terms.Pay.Chain || v.Voucher.Chain != p.chain.ID() {
		return 0, fmt.Errorf("lease %s: %w", l.ID(), ErrVoucher)
	}
	word, err := v.Voucher.Bytes()
	if err == nil {
		err = voucher.CheckBytes(word, v.Signature, l.Terms.Pay.Key)
	}
	if err != nil {
		return 0, fmt.Errorf("lease %s: %w", l.ID(), err)
	}
	if err := p.covered(ctx, l, v.Voucher.Amount); err != nil {
		return 0, fmt.Errorf("lease %s: %w", l.ID(), err)
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.tabs[id]
	if t == nil {
		return 0, fmt.Errorf("lease %s: %w", l.ID(), ErrUnfunded)
	}
	if err := t.fits(v.Voucher, l.Terms.Quote.Rates); err != nil {
		return t.last.Amount, fmt.Errorf("lease %s: %w", l.ID(), err)
	}
	p.reached("take: checked")
	if v.Voucher.Amount == t.last.Amount {
		return t.last.Amount, nil
	}
	if t.leaving {
		return t.last.Amount, fmt.Errorf("lease %s: %w", l.ID(), ErrLetGo)
	}
	settled, err := p.settle(ctx, id, t, l.Terms, v)
	if err != nil {
		return t.last.Amount, fmt.Errorf("lease %s: %w", l.ID(), err)
	}
	claim := voucher.Claim{Voucher: word, Signature: bytes.Clone(v.Signature)}
	since := t.since
	if t.last.Amount == t.redeemed {
		since = time.Now()
	}
	if err := p.book.promised(ctx, id, claim, since, settled); err != nil {
		settled.undo()
		return t.last.Amount, err
	}
	p.reached("take: written")
	settled.done()
	t.left(l.Terms.Quote.Rates)
	t.last, t.claim, t.since = v.Voucher, claim, since
	t.forgiven = min(t.forgiven, t.left(l.Terms.Quote.Rates)) // what is paid after all is not forgiven as well
	p.reached("take: kept")
	p.wake()
	return t.last.Amount, nil
}

// fits refuses a promise that does not follow from what was done and promised before.
func (t *tab) fits(v voucher.Voucher, rates voucher.Rates) error {
	cost, err := voucher.Cost(rates, v.Usage)
	switch {
	case v.Amount < t.last.Amount:
		return fmt.Errorf("%w: %d after %d", ErrLess, v.Amount, t.last.Amount)
	case v.Amount == t.last.Amount:
		return nil
	case !v.Usage.Covers(t.last.Usage):
		return fmt.Errorf("%w: usage %+v after %+v", ErrLess, v.Usage, t.last.Usage)
	case !t.done.Covers(v.Usage):
		return fmt.Errorf("%w: %+v of %+v", ErrUsage, v.Usage, t.done)
	case err != nil || v.Amount > cost:
		return fmt.Errorf("%w: %d is promised for work of %d", ErrUsage, v.Amount, cost)
	}
	return nil
}

// covered makes sure that a lease's deposit covers an amount; it asks the chain when that is more than the deposit was when last seen.
func (p *Payee) covered(ctx context.Context, l lease.Lease, amount uint64) error {
	id := l.Terms.Key()
	p.mu.Lock()
	t := p.tabs[id]
	known := t != nil && t.funded && !t.gone
	enough := known && amount <= forWork(l, t.deposit)
	p.mu.Unlock()
	switch {
	case !known:
		return ErrUnfunded
	case enough:
		return nil
	}
	a, found, err := p.chain.Lease(ctx, id)
	if err != nil {
		return err
	}
	if !found || amount > forWork(l, a.Deposit) {
		return fmt.Errorf("%w: %d of %d", ErrDeposit, forWork(l, a.Deposit), amount)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	t.deposit, t.until = a.Deposit, time.Unix(a.Until, 0)
	return p.book.deposited(ctx, id, t)
}

// Closed tells whether a lease was seen closing on the chain, or gone, or was let go: no further work for it is safe. Serve looks at all leases from time to time.
func (p *Payee) Closed(l lease.Lease) bool {
	if l.Terms.Pay == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.tabs[l.Terms.Key()]
	return t != nil && (t.gone || t.leaving || !t.closing.IsZero())
}

// Ended tells that a lease is over: what it is owed is redeemed soon, and if nothing is unpaid then it is let go. It may be repeated.
func (p *Payee) Ended(ctx context.Context, l lease.Lease) {
	if l.Terms.Pay == nil {
		return
	}
	id := l.Terms.Key()
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.tabs[id]
	switch {
	case t == nil || !t.ended.IsZero():
		return
	case !t.funded:
		delete(p.tabs, id)
		return
	}
	t.ended = time.Now()
	if err := p.book.ended(ctx, id, t.ended); err != nil {
		p.log.Warn("The end of a lease is not written down: it is redeemed when its day is over", "lease", t.name, "err", err)
	}
	p.reached("ended: kept")
	p.wake()
}

// wake lets Serve look whether something is due.
func (p *Payee) wake() {
	select {
	case p.news <- struct{}{}:
	default:
	}
}
