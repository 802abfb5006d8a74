package node

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/pay"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/spec/voucher"
	"github.com/hpips/hpips/store"
	"github.com/hpips/hpips/store/gateway"
)

// selling is the till as the gateway sees it. Without one nobody can be paid.
type selling struct{ *till }

// Account is who is paid for what this node serves.
func (s selling) Account() (owner, chain, why string) {
	if s.till == nil {
		return "", "", "it takes part in no chain"
	}
	a := s.account("")()
	if a.Chain == "" {
		return "", "", "it does not follow the chain yet"
	}
	return a.Owner, a.Chain, a.Why
}

// book is the payee; an error where there is none yet.
func (s selling) book() (*pay.Payee, error) {
	if s.till == nil {
		return nil, errNoBook
	}
	if p := paid(s).get(); p != nil {
		return p, nil
	}
	return nil, errNoBook
}

// Funded waits for the deposit of a lease.
func (s selling) Funded(ctx context.Context, l lease.Lease) (uint64, error) {
	p, err := s.book()
	if err != nil {
		return 0, err
	}
	return p.Funded(ctx, l)
}

// Served counts bytes.
func (s selling) Served(l lease.Lease, bytes uint64) {
	if p, err := s.book(); err == nil {
		p.Served(l, bytes)
	}
}

// Unpaid is what was served and not promised.
func (s selling) Unpaid(l lease.Lease) (unpaid, promised uint64) {
	p, err := s.book()
	if err != nil {
		return 0, 0
	}
	return p.Unpaid(l)
}

// Take takes a promise.
func (s selling) Take(ctx context.Context, l lease.Lease, v voucher.Signed) (uint64, error) {
	p, err := s.book()
	if err != nil {
		return 0, err
	}
	return p.Take(ctx, l, lease.Voucher{Signed: v})
}

// Closed tells whether the chain has closed a lease.
func (s selling) Closed(l lease.Lease) bool {
	p, err := s.book()
	return err != nil || p.Closed(l)
}

// Ended tells that a lease is over.
func (s selling) Ended(ctx context.Context, l lease.Lease) {
	if p, err := s.book(); err == nil {
		p.Ended(ctx, l)
	}
}

// sale is what the member's gateway needs to be paid.
func (m *member) sale() *gateway.Sale {
	return &gateway.Sale{Prices: m.prices, Till: selling{m.till}, Provider: m.host.ID().String(), Sign: m.sign, Credit: gateway.DefaultCredit}
}

func (m *member) sign(t lease.Terms) ([]byte, error) { return t.Sign(m.key) }

// withheld reports whether a peer is to buy a block from the gateway: all but the nodes of this one's owner.
func (m *member) withheld(p peer.ID, c cid.Cid) bool {
	return m.recalling.Load() || m.prices.Of(c) > 0 && !m.till.ours(p)
}

// buy brings a content from a gateway into the store, and pays for it what it asks, to.Pay at most. It returns what was paid.
func (c *content) buy(wait *wait, address string, to client.Export, progress func(client.Progress)) (cid.Cid, money.Amount, error) {
	root, err := cid.Decode(strings.TrimPrefix(strings.TrimPrefix(address, "ipfs://"), "/ipfs/"))
	if err != nil {
		return root, 0, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("%.128q is no content address", address), Hint: "from a gateway comes what a CID without a path leads to"}
	}
	shop := gateway.Shop{URL: to.Gateway, Buyer: c.m.host.ID().String(), Sign: c.m.sign, Most: uint64(to.Pay)}
	if c.m.till != nil {
		shop.Wallet = paying{c.m.till}
	}
	release, err := c.m.store.Reserve(wait.ctx)
	if err != nil {
		return root, 0, err
	}
	defer release()
	purchase, err := shop.Open(wait.ctx, root)
	if err != nil {
		return root, 0, noNews(wait, to.Gateway, err)
	}
	wait.touch()
	_, fetching := c.m.store.FetchVia(wait.ctx, root, purchase, func(p store.Progress) { wait.touch(); progress(told(p)) })
	bill, err := purchase.Finish(wait.ctx)
	if fetching != nil {
		return root, money.Amount(bill.Paid), noNews(wait, to.Gateway, fetching)
	}
	if err != nil { // all is here: what the gateway or the chain was not told costs nobody but the gateway
		c.m.log.Warn("A purchase is not brought to its end: what is left of its deposit returns when its term is over", "gateway", to.Gateway, "cid", root, "err", err)
	}
	return root, money.Amount(bill.Paid), nil
}

// noNews tells a gateway that sends nothing from other errors.
func noNews(w *wait, url string, err error) error {
	if !errors.Is(context.Cause(w.ctx), errIdle) {
		return failure(err)
	}
	return &job.Failure{Code: job.CodeUnavailable, Message: fmt.Sprintf("%s: nothing comes from it, or the chain takes no deposit, within %v", url, w.idle), Hint: "what has come is not asked for again; --timeout waits longer"}
}
