package trade

import (
	"context"
	"encoding/hex"
	"errors"
	"sync"
	"time"

	"github.com/hpips/hpips/pay"
	"github.com/hpips/hpips/spec/voucher"
)

// till is a chain of leases in one process. It refuses what chain/escrow refuses of deposits and vouchers, at once.
type till struct {
	mu       sync.Mutex
	leases   map[voucher.ID]pay.Account
	opens    int
	closes   int
	redeemed uint64
}

func newTill() *till { return &till{leases: map[voucher.ID]pay.Account{}} }

func (c *till) ID() string { return "hpips-test-1" }

func (c *till) Now(context.Context) (pay.Head, error) {
	return pay.Head{Time: time.Now(), Height: 1}, nil
}

func (c *till) Rules(context.Context) (pay.Rules, error) {
	return pay.Rules{Least: 10_000, Batch: 64, Grace: time.Hour}, nil
}

func (c *till) Lease(_ context.Context, id voucher.ID) (pay.Account, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.leases[id]
	return a, ok, nil
}

func (c *till) Open(_ context.Context, deposits []pay.Deposit) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opens++
	for _, d := range deposits {
		id := voucher.LeaseID("alice", d.Terms)
		if d.Amount < 10_000 {
			return errors.New("the deposit is too small")
		}
		if _, known := c.leases[id]; known {
			return errors.New("the lease is open already")
		}
		c.leases[id] = pay.Account{Payer: "alice", Key: d.Key, Node: d.Node, Payee: owner(d.Node), Denom: d.Denom, Deposit: d.Amount, Phase: pay.Open, Until: d.Until}
	}
	return nil
}

// owner is who is paid for a node's work: here it has its node's name.
func owner(node []byte) string { return "owner-" + hex.EncodeToString(node) }

func (c *till) TopUp(_ context.Context, additions []pay.Addition) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, x := range additions {
		a := c.leases[x.Lease]
		if a.Phase != pay.Open {
			return errors.New("no such lease is open")
		}
		a.Deposit, a.Until = a.Deposit+x.Amount, max(a.Until, x.Until)
		c.leases[x.Lease] = a
	}
	return nil
}

func (c *till) Close(_ context.Context, leases []voucher.ID) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closes++
	for _, id := range leases {
		a := c.leases[id]
		if a.Phase != pay.Open {
			return errors.New("no such lease is open")
		}
		a.Phase, a.Closing = pay.Closing, time.Now().Unix()
		c.leases[id] = a
	}
	return nil
}

func (c *till) Redeem(_ context.Context, claims []voucher.Claim, signature []byte) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, x := range claims {
		v, err := voucher.Parse(x.Voucher)
		a := c.leases[v.Lease]
		if err == nil {
			err = voucher.CheckBytes(x.Voucher, x.Signature, a.Key)
		}
		if err == nil {
			err = voucher.CheckRedeem(c.ID(), claims, a.Node, signature)
		}
		if err != nil || v.Amount <= a.Redeemed || v.Amount > a.Deposit {
			return "", errors.Join(errors.New("voucher is not paid out"), err)
		}
		c.redeemed += v.Amount - a.Redeemed
		a.Redeemed = v.Amount
		c.leases[v.Lease] = a
	}
	return "tx", nil
}

// told is what it was told, and how many leases are open.
func (c *till) told() (opens, closes, open int, redeemed uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.leases {
		if a.Phase == pay.Open {
			open++
		}
	}
	return c.opens, c.closes, open, c.redeemed
}
