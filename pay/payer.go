package pay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/spec/trust"
	"github.com/hpips/hpips/spec/voucher"
)

// PayerConfig is who pays, and by which key.
type PayerConfig struct {
	Account string // of the node's owner, whose deposits they are
	Secret  []byte // the node's spending key: a secp256k1 scalar, 32 bytes
	Denom   string // asset; "": uhpips
}

// The times between two looks at the chain while something is awaited.
const (
	leastWait = 200 * time.Millisecond
	mostWait  = 5 * time.Second
)

// Payer pays for a node's jobs with its spending key and its owner's deposit. It is safe side by side.
type Payer struct {
	chain Chain
	cfg   PayerConfig
	key   []byte // compressed public key of cfg.Secret

	mu     sync.Mutex
	purses map[voucher.ID]*purse
}

// purse is what a payer remembers of a lease. top is held through a top-up; the rest needs Payer.mu.
type purse struct {
	top     sync.Mutex
	deposit uint64
	until   int64 // Unix seconds
	last    *voucher.Signed
}

// NewPayer returns a payer on a chain. With a nil chain nothing is ever paid.
func NewPayer(chain Chain, cfg PayerConfig) (*Payer, error) {
	p := &Payer{chain: chain, cfg: cfg, purses: map[voucher.ID]*purse{}}
	if chain == nil {
		return p, nil
	}
	var k secp256k1.ModNScalar
	if len(cfg.Secret) != 32 || k.SetByteSlice(cfg.Secret) || k.IsZero() || cfg.Account == "" {
		return nil, errors.New("payer: needs an account and a secp256k1 key of 32 bytes")
	}
	if p.cfg.Denom == "" {
		p.cfg.Denom = money.Denom
	}
	p.key = secp256k1.NewPrivateKey(&k).PubKey().SerializeCompressed()
	return p, nil
}

// Terms says how a lease of this quote is paid: by a deposit, in base units. nil means that nothing is paid: there is no chain, the work is free, or
// the provider's owner is the payer.
func (p *Payer) Terms(q lease.Quote, deposit uint64) *lease.Pay {
	if p.chain == nil || q.Rates.Free() || q.Owner == p.cfg.Account {
		return nil
	}
	return &lease.Pay{Chain: p.chain.ID(), Payer: p.cfg.Account, Key: slices.Clone(p.key), Denom: p.cfg.Denom, Deposit: deposit}
}

// Least is the smallest deposit that the chain takes, in base units of what this payer pays in.
func (p *Payer) Least(ctx context.Context) (uint64, error) {
	if p.chain == nil || p.cfg.Denom != money.Denom {
		return 1, nil
	}
	rules, err := p.chain.Rules(ctx)
	return max(rules.Least, 1), err
}

// own refuses a lease that this payer does not pay for.
func (p *Payer) own(l lease.Lease) error {
	switch pay := l.Terms.Pay; {
	case pay == nil || p.chain == nil:
		return fmt.Errorf("lease %s: %w", l.ID(), ErrUnpaid)
	case pay.Chain != p.chain.ID() || pay.Payer != p.cfg.Account || !slices.Equal(pay.Key, p.key):
		return fmt.Errorf("lease %s: %w: it is paid on %q by %s with another key", l.ID(), ErrForeign, pay.Chain, pay.Payer)
	}
	return nil
}

// purse returns what is remembered of a lease. Needs p.mu.
func (p *Payer) purse(l lease.Lease) *purse {
	id := l.Terms.Key()
	b := p.purses[id]
	if b == nil {
		b = &purse{deposit: l.Terms.Pay.Deposit}
		p.purses[id] = b
	}
	b.until = max(b.until, end(l.Terms))
	return b
}

// end is the end of a term as the chain counts it: whole Unix seconds, not before the term's own.
func end(t lease.Terms) int64 { return (t.Until + 999) / 1000 }

// Fund opens the deposits of leases in one transaction, or as few as the chain's limit allows, and returns when the chain has them. It may be
// repeated: what is there is not opened again. Leases that are not paid for are passed over. A *job.Failure with CodeFunds tells that there is not
// enough, and what to do.
func (p *Payer) Fund(ctx context.Context, leases []lease.Lease) error {
	var paid []lease.Lease
	for _, l := range leases {
		if l.Terms.Pay == nil {
			continue
		}
		if err := p.own(l); err != nil {
			return err
		}
		paid = append(paid, l)
	}
	return p.bring(ctx, "open deposits", paid, p.unfunded, func(ctx context.Context, some []lease.Lease) error {
		deposits := make([]Deposit, len(some))
		for i, l := range some {
			node, err := nodeKey(l.Terms.Quote.Provider)
			if err != nil {
				return err
			}
			pay := l.Terms.Pay
			deposits[i] = Deposit{Terms: l.Terms.Digest(), Node: node, Key: pay.Key, Denom: pay.Denom, Amount: pay.Deposit, Until: end(l.Terms)}
		}
		return p.chain.Open(ctx, deposits)
	})
}

// bring does something for leases until the chain has it for all of them: left tells whether a lease still needs it. An outcome that is not known
// is looked up before anything is sent again.
func (p *Payer) bring(ctx context.Context, what string, leases []lease.Lease, left func(context.Context, lease.Lease) (bool, error), do func(context.Context, []lease.Lease) error) error {
	for wait := time.Duration(0); ; {
		err := p.once(ctx, &leases, left, do)
		switch {
		case err == nil && len(leases) == 0:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("%s: %w", what, errors.Join(ctx.Err(), err))
		case err != nil && !passing(err):
			return fmt.Errorf("%s: %w", what, scarce(err))
		}
		wait = longer(wait, leastWait, mostWait)
		if err := pause(ctx, wait); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
}

// once drops the leases that the chain is done with, sends for the others, and drops those that it is done with then.
func (p *Payer) once(ctx context.Context, leases *[]lease.Lease, left func(context.Context, lease.Lease) (bool, error), do func(context.Context, []lease.Lease) error) error {
	sift := func() error {
		var rest []lease.Lease
		for _, l := range *leases {
			open, err := left(ctx, l)
			if err != nil {
				return err
			}
			if open {
				rest = append(rest, l)
			}
		}
		*leases = rest
		return nil
	}
	if err := sift(); err != nil || len(*leases) == 0 {
		return err
	}
	rules, err := p.chain.Rules(ctx)
	if err != nil {
		return err
	}
	for some := range slices.Chunk(*leases, max(rules.Batch, 1)) {
		if err := do(ctx, some); err != nil {
			return err
		}
	}
	return sift()
}

// unfunded asks the chain whether a lease still needs its deposit.
func (p *Payer) unfunded(ctx context.Context, l lease.Lease) (bool, error) {
	a, found, err := p.chain.Lease(ctx, l.Terms.Key())
	if err != nil || !found {
		return err == nil, err
	}
	if err := belongs(a, l.Terms); err != nil {
		return false, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.purse(l).deposit = a.Deposit
	return false, nil
}

// belongs refuses a deposit that is not that of these terms.
func belongs(a Account, t lease.Terms) error {
	node, err := nodeKey(t.Quote.Provider)
	if err != nil {
		return err
	}
	pay := t.Pay
	if a.Payer != pay.Payer || a.Denom != pay.Denom || !slices.Equal(a.Key, pay.Key) || !slices.Equal(a.Node, node) {
		return fmt.Errorf("lease %s: %w: payer %s, asset %s", t.ID(), ErrForeign, a.Payer, a.Denom)
	}
	return nil
}

// nodeKey is the ed25519 key in a peer ID.
func nodeKey(id string) ([]byte, error) {
	p, err := peer.Decode(id)
	if err != nil {
		return nil, fmt.Errorf("peer %q: %w", id, err)
	}
	key, err := p.ExtractPublicKey()
	if err != nil {
		return nil, fmt.Errorf("peer %q holds no key: %w", id, err)
	}
	return key.Raw()
}

// scarce puts a lack of money into words for people.
func scarce(err error) error {
	switch {
	case errors.Is(err, ErrBudget):
		return &job.Failure{Code: job.CodeFunds, Message: "the node's budget of the day does not cover the deposits and their fees", Hint: "allow it more, such as 20 HPIPS a day: hpips wallet allow 20/day; or give the job a lower ceiling: --price"}
	case errors.Is(err, ErrFunds):
		return &job.Failure{Code: job.CodeFunds, Message: "there is not enough HPIPS for the deposits", Hint: "see hpips wallet balances: earn some by sharing (hpips share), or give the job a lower ceiling: --price"}
	}
	return err
}

// Restore tells the payer what was signed for a lease in an earlier life, as the requester's journal has it. It may be repeated.
func (p *Payer) Restore(l lease.Lease, s voucher.Signed) error {
	if err := p.own(l); err != nil {
		return err
	}
	if s.Voucher.Chain != l.Terms.Pay.Chain || s.Voucher.Lease != l.Terms.Key() {
		return fmt.Errorf("lease %s: restore: %w", l.ID(), ErrVoucher)
	}
	if err := s.Check(p.key); err != nil {
		return fmt.Errorf("lease %s: restore: %w", l.ID(), err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.purse(l)
	least := s.Voucher.Amount
	if l.Terms.Pay.Jury {
		least = trust.Deposit(least)
	}
	b.deposit = max(b.deposit, least)
	if b.last == nil || s.Voucher.Amount > b.last.Voucher.Amount {
		b.last = &s
	}
	return nil
}

// Promise signs what u costs; u is all that was used under the lease and counts. What is signed never shrinks: asked for less than before, or for the
// same amount, it gives the earlier voucher again, byte for byte: of one amount there is one root. A voucher is to be in the requester's journal before it
// is sent. root is that of all leaves that u pays for (Roll.Root) where the lease's terms want a jury, else nothing but zeros.
//
// With ErrDeposit the deposit does not cover u: TopUp, then ask again. The voucher that comes with this error promises the whole deposit, for a requester
// that cannot add to it.
func (p *Payer) Promise(l lease.Lease, u voucher.Usage, root [32]byte) (voucher.Signed, error) {
	if err := p.own(l); err != nil {
		return voucher.Signed{}, err
	}
	if l.Terms.Pay.Jury == (root == [32]byte{}) {
		return voucher.Signed{}, fmt.Errorf("lease %s: %w: a root is signed where its terms want a jury, and only there", l.ID(), ErrRoot)
	}
	cost, err := voucher.Cost(l.Terms.Quote.Rates, u)
	if err != nil {
		return voucher.Signed{}, fmt.Errorf("lease %s: %w", l.ID(), err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.purse(l)
	most := forWork(l, b.deposit)
	amount := min(cost, most)
	var short error
	if cost > most {
		short = fmt.Errorf("lease %s: %w: %d of %d", l.ID(), ErrDeposit, most, cost)
	}
	if b.last != nil && amount <= b.last.Voucher.Amount {
		return *b.last, short
	}
	if b.last != nil && !u.Covers(b.last.Voucher.Usage) {
		return voucher.Signed{}, fmt.Errorf("lease %s: %w: %+v after %+v", l.ID(), ErrLess, u, b.last.Voucher.Usage)
	}
	s, err := voucher.Voucher{Chain: l.Terms.Pay.Chain, Lease: l.Terms.Key(), Amount: amount, Usage: u, Root: root}.Sign(p.cfg.Secret)
	if err != nil {
		return voucher.Signed{}, fmt.Errorf("lease %s: %w", l.ID(), err)
	}
	b.last = &s
	return s, short
}

// TopUp adds to a lease's deposit and moves its end to that of the lease's terms, and returns when the chain has both. more may be 0 for an extension
// alone. It may be repeated after an error: what an attempt with an unknown outcome has added is not added again.
func (p *Payer) TopUp(ctx context.Context, l lease.Lease, more uint64) error {
	if err := p.own(l); err != nil {
		return err
	}
	p.mu.Lock()
	b := p.purse(l)
	p.mu.Unlock()
	b.top.Lock()
	defer b.top.Unlock()
	p.mu.Lock()
	goal := plus(b.deposit, more)
	p.mu.Unlock()

	var lacks Addition
	left := func(ctx context.Context, l lease.Lease) (bool, error) {
		a, found, err := p.chain.Lease(ctx, l.Terms.Key())
		switch {
		case err != nil:
			return false, err
		case !found || a.Phase != Open:
			return false, fmt.Errorf("lease %s: %w: it is closed", l.ID(), ErrUnfunded)
		}
		if err := belongs(a, l.Terms); err != nil {
			return false, err
		}
		lacks = Addition{Lease: l.Terms.Key(), Denom: a.Denom, Amount: goal - min(goal, a.Deposit), Until: max(end(l.Terms), a.Until)}
		if lacks.Amount > 0 || lacks.Until > a.Until {
			return true, nil
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		b.deposit = a.Deposit
		return false, nil
	}
	return p.bring(ctx, "add to a deposit", []lease.Lease{l}, left, func(ctx context.Context, _ []lease.Lease) error {
		return p.chain.TopUp(ctx, []Addition{lacks})
	})
}

// Close ends leases, so that what is left of their deposits returns after the grace: many leases in one transaction. It may be repeated; leases that
// are closed, expired, unknown to the chain or not paid for are passed over.
func (p *Payer) Close(ctx context.Context, leases []lease.Lease) error {
	var paid []lease.Lease
	for _, l := range leases {
		if p.own(l) == nil {
			paid = append(paid, l)
		}
	}
	err := p.bring(ctx, "close leases", paid, func(ctx context.Context, l lease.Lease) (bool, error) {
		a, found, err := p.chain.Lease(ctx, l.Terms.Key())
		return err == nil && found && a.Phase == Open && a.Payer == p.cfg.Account, err
	}, func(ctx context.Context, some []lease.Lease) error {
		ids := make([]voucher.ID, len(some))
		for i, l := range some {
			ids[i] = l.Terms.Key()
		}
		return p.chain.Close(ctx, ids)
	})
	if err == nil && len(paid) > 0 {
		p.forget(ctx)
	}
	return err
}

// forget drops what is remembered of leases that are long over: nobody can sign for them any more.
func (p *Payer) forget(ctx context.Context) {
	head, err := p.chain.Now(ctx)
	if err != nil {
		return // next time
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, b := range p.purses {
		if head.Time.Unix() > b.until+int64(lease.MaxTerm/time.Second) {
			delete(p.purses, id)
		}
	}
}
