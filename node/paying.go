package node

import (
	"context"

	"github.com/hpips/hpips/pay"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/voucher"
)

// errNoPayer tells that nobody lets this node pay.
var errNoPayer = &job.Failure{Code: job.CodeFunds, Message: "no account lets this node pay for jobs",
	Hint: "hpips wallet new makes one; hpips wallet allow 5/day lets this node spend so much of it; hpips up --price 0 on the other PCs gives work away"}

// paying is the till as a requester sees it. A new lease is paid for by the account that allows it now; one that has begun, by its own.
type paying struct{ *till }

// by is what pays for leases of an account; "": of the one that allows it now.
func (t paying) by(account string) (*pay.Payer, error) {
	g := t.chain.known()
	t.mu.Lock()
	defer t.mu.Unlock()
	if account == "" {
		account = t.pays
	}
	if account == "" || g == nil {
		return nil, errNoPayer
	}
	return t.payer(g, account)
}

// of is what pays for a lease.
func (t paying) of(l lease.Lease) (*pay.Payer, error) {
	if l.Terms.Pay == nil {
		return t.by("")
	}
	return t.by(l.Terms.Pay.Payer)
}

// each does something for leases, for those of one account at a time, until it fails.
func (t paying) each(leases []lease.Lease, do func(*pay.Payer, []lease.Lease) error) error {
	var accounts []string
	mine := map[string][]lease.Lease{}
	for _, l := range leases {
		if l.Terms.Pay == nil {
			continue
		}
		who := l.Terms.Pay.Payer
		if mine[who] == nil {
			accounts = append(accounts, who)
		}
		mine[who] = append(mine[who], l)
	}
	for _, who := range accounts {
		p, err := t.by(who)
		if err == nil {
			err = do(p, mine[who])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Terms says how a lease of this quote is paid for.
func (t paying) Terms(q lease.Quote, deposit uint64) *lease.Pay {
	p, err := t.by("")
	if err != nil {
		return nil
	}
	return p.Terms(q, deposit)
}

// Least is the smallest deposit that the chain takes.
func (t paying) Least(ctx context.Context) (uint64, error) {
	p, err := t.by("")
	if err != nil {
		return 0, err
	}
	return p.Least(ctx)
}

// Fund makes deposits.
func (t paying) Fund(ctx context.Context, leases []lease.Lease) error {
	return t.each(leases, func(p *pay.Payer, some []lease.Lease) error { return p.Fund(ctx, some) })
}

// Promise signs what was used.
func (t paying) Promise(l lease.Lease, u voucher.Usage, root [32]byte) (voucher.Signed, error) {
	p, err := t.of(l)
	if err != nil {
		return voucher.Signed{}, err
	}
	return p.Promise(l, u, root)
}

// Restore tells what was signed in an earlier life.
func (t paying) Restore(l lease.Lease, s voucher.Signed) error {
	p, err := t.of(l)
	if err != nil {
		return err
	}
	return p.Restore(l, s)
}

// TopUp adds to a deposit.
func (t paying) TopUp(ctx context.Context, l lease.Lease, more uint64) error {
	p, err := t.of(l)
	if err != nil {
		return err
	}
	return p.TopUp(ctx, l, more)
}

// Close ends leases.
func (t paying) Close(ctx context.Context, leases []lease.Lease) error {
	return t.each(leases, func(p *pay.Payer, some []lease.Lease) error { return p.Close(ctx, some) })
}
