package pay

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/spec/voucher"
)

// ledger is a chain that keeps chain/escrow's rules and makes a block every five seconds. It stands still between two calls.
type ledger struct {
	id    string
	rules Rules
	least uint64 // deposit
	now   func() time.Time

	mu      sync.Mutex
	genesis time.Time
	leases  map[voucher.ID]*deposited
	graves  map[voucher.ID]bool
	owners  map[string]string            // node key → owner
	balance map[string]map[string]uint64 // account → asset
	paid    map[string]map[string]uint64 // payee → asset, final
	budget  map[string]uint64            // account → what its key may still deposit; none: all
	sums    map[string]*totals           // by asset
	txs     []tx

	// Faults by rule: lost says that a transaction comes nowhere, dumb that its block holds it and the answer does not come, down that nothing is reached.
	lost, dumb func(op string) bool
	down       bool
}

type tx struct {
	op     string
	at     time.Time
	leases []voucher.ID
}

// totals are sums of one asset; letGo is the part of the fees that payers bear, whose leases were let go of unused.
type totals struct{ deposited, returned, final, fees, letGo uint64 }

type deposited struct {
	Account
	opened  int64
	pending []pending
}

type pending struct {
	amount uint64
	height int64
}

// What the ledger refuses, in the words of chain/escrow.
var (
	errUsed      = errors.New("lease was opened before")
	errNode      = errors.New("node is not registered")
	errAmount    = errors.New("amount is not possible")
	errNoLease   = errors.New("lease is not known")
	errParty     = errors.New("lease is somebody else's")
	errPhase     = errors.New("lease is not open")
	errChain     = errors.New("voucher is for another chain")
	errTwice     = errors.New("lease comes twice in one message")
	errOld       = errors.New("voucher promises no more than was redeemed")
	errOver      = errors.New("voucher promises more than the deposit")
	errFee       = errors.New("less HPIPS is redeemed than the fee")
	errSignature = errors.New("signature is wrong")
	errGrace     = errors.New("lease's grace is over")
	errBatch     = errors.New("a message holds none, or too many")
	errLetGo     = errors.New("lease's node has let go of it")
	errHeld      = errors.New("pay of the lease is not final, or somebody looks at it")
)

const blockTime = 5 * time.Second

func newLedger(now func() time.Time) *ledger {
	never := func(string) bool { return false }
	return &ledger{id: "hpips-test-1", rules: Rules{Fee: 200, Least: 10_000, Batch: 200, Grace: 3 * 24 * time.Hour}, least: 10_000, now: now, genesis: now(),
		leases: map[voucher.ID]*deposited{}, graves: map[voucher.ID]bool{}, owners: map[string]string{}, balance: map[string]map[string]uint64{},
		paid: map[string]map[string]uint64{}, budget: map[string]uint64{}, sums: map[string]*totals{}, lost: never, dumb: never}
}

func (c *ledger) give(account, denom string, amount uint64) {
	if c.balance[account] == nil {
		c.balance[account] = map[string]uint64{}
	}
	c.balance[account][denom] += amount
}

func (c *ledger) height() int64 { return int64(c.now().Sub(c.genesis) / blockTime) }

// blockTime of the newest block.
func (c *ledger) head() time.Time { return c.genesis.Add(time.Duration(c.height()) * blockTime) }

// sum returns the totals of an asset.
func (c *ledger) sum(denom string) *totals {
	if c.sums[denom] == nil {
		c.sums[denom] = &totals{}
	}
	return c.sums[denom]
}

// advance does what blocks do by themselves: final pay, ends of terms, ends of graces.
func (c *ledger) advance() {
	for id, l := range c.leases {
		for len(l.pending) > 0 && c.height() >= l.pending[0].height+2 {
			n := l.pending[0].amount
			l.pending, l.Final = l.pending[1:], l.Final+n
			c.sum(l.Denom).final += n
			if c.paid[l.Payee] == nil {
				c.paid[l.Payee] = map[string]uint64{}
			}
			c.paid[l.Payee][l.Denom] += n
		}
		if l.Phase == Open && l.Until <= c.head().Unix() {
			l.Phase, l.Closing = Closing, l.Until // in the block that came then
		}
		if l.Phase == Closing && (c.over(l) || l.LetGo && len(l.pending) == 0) {
			l.Phase = Closed
			c.sum(l.Denom).returned += l.Deposit - l.Redeemed
			c.give(l.Payer, l.Denom, l.Deposit-l.Redeemed)
		}
		if l.Phase == Closed && len(l.pending) == 0 {
			delete(c.leases, id)
			c.graves[id] = true
		}
	}
}

func (c *ledger) over(l *deposited) bool {
	return c.head().Sub(time.Unix(l.Closing, 0)) >= c.rules.Grace
}

// check is the escrow's invariant: every unit is deposited, returned, paid or a fee.
func (c *ledger) check(t testing.TB) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance()
	for denom, s := range c.sums {
		held := uint64(0)
		for _, l := range c.leases {
			if l.Denom != denom {
				continue
			}
			if l.Phase != Closed {
				held += l.Deposit - l.Redeemed
			}
			for _, p := range l.pending {
				held += p.amount
			}
		}
		if s.deposited != s.returned+s.final+s.fees+held {
			t.Errorf("%s: deposited %d, but returned %d, final %d, fees %d and held %d", denom, s.deposited, s.returned, s.final, s.fees, held)
		}
	}
}

// final is what an account was paid for good, and count how many transactions of a kind there were.
func (c *ledger) final(account string) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance()
	return c.paid[account][money.Denom]
}

// change lets a test change the ledger while others use it.
func (c *ledger) change(what func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	what()
}

// fees is what redemptions cost those who redeem, in all.
func (c *ledger) fees() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sum(money.Denom).fees - c.sum(money.Denom).letGo
}

// wealth is what an account has now.
func (c *ledger) wealth(account string) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance()
	return c.balance[account][money.Denom]
}

func (c *ledger) count(op string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.txs {
		if t.op == op {
			n++
		}
	}
	return n
}

// door is the ledger as one node sees it: it acts by its owner's account and signs with its node key.
type door struct {
	*ledger
	account string
	node    ed25519.PublicKey
}

func (d *door) ID() string { return d.id }

func (d *door) reach() error {
	if d.down {
		return fmt.Errorf("%w: %w", ErrAway, &job.Failure{Code: job.CodeUnavailable, Message: "it cannot be reached"})
	}
	return nil
}

func (d *door) Now(context.Context) (Head, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return Head{d.head(), d.height()}, d.reach()
}

func (d *door) Rules(context.Context) (Rules, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rules, d.reach()
}

func (d *door) Lease(_ context.Context, id voucher.ID) (Account, bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.advance()
	l := d.leases[id]
	if err := d.reach(); err != nil || l == nil {
		return Account{}, false, err
	}
	a := l.Account
	a.Free, a.Pending = l.Deposit-l.Redeemed, len(l.pending) > 0
	return a, true, nil
}

// transact applies all of a transaction or, when do fails, nothing.
func (d *door) transact(op string, ids []voucher.ID, do func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.advance()
	switch {
	case d.reach() != nil:
		return d.reach()
	case d.lost(op):
		return ErrUnknown
	case len(ids) == 0 || len(ids) > d.rules.Batch:
		return errBatch
	}
	before := d.save()
	if err := do(); err != nil {
		d.restore(before)
		return err
	}
	d.txs = append(d.txs, tx{op, d.head(), ids})
	if d.dumb(op) {
		return ErrUnknown
	}
	return nil
}

type saved struct {
	leases map[voucher.ID]deposited
	sums   map[string]totals
	money  map[string]map[string]uint64
	budget map[string]uint64
}

func (c *ledger) save() saved {
	s := saved{map[voucher.ID]deposited{}, map[string]totals{}, map[string]map[string]uint64{}, map[string]uint64{}}
	for id, l := range c.leases {
		one := *l
		one.pending = slices.Clone(l.pending)
		s.leases[id] = one
	}
	for d, t := range c.sums {
		s.sums[d] = *t
	}
	for a, b := range c.balance {
		s.money[a] = map[string]uint64{}
		for d, n := range b {
			s.money[a][d] = n
		}
	}
	for a, n := range c.budget {
		s.budget[a] = n
	}
	return s
}

func (c *ledger) restore(s saved) {
	c.leases, c.sums, c.balance, c.budget = map[voucher.ID]*deposited{}, map[string]*totals{}, s.money, s.budget
	for id, l := range s.leases {
		c.leases[id] = &l
	}
	for d, t := range s.sums {
		c.sums[d] = &t
	}
}

// take moves money from the account into the escrow, within the key's budget.
func (d *door) take(denom string, amount uint64) error {
	if left, limited := d.budget[d.account]; limited {
		if amount > left {
			return fmt.Errorf("more than the spending key's budget: %w", ErrBudget)
		}
		d.budget[d.account] = left - amount
	}
	if d.balance[d.account][denom] < amount {
		return fmt.Errorf("payer has not that much to spend: %w", ErrFunds)
	}
	d.balance[d.account][denom] -= amount
	d.sum(denom).deposited += amount
	return nil
}

func (d *door) Open(_ context.Context, deposits []Deposit) error {
	var ids []voucher.ID
	for _, one := range deposits {
		ids = append(ids, voucher.LeaseID(d.account, one.Terms))
	}
	return d.transact("open", ids, func() error {
		for i, one := range deposits {
			owner := d.owners[string(one.Node)]
			switch {
			case d.leases[ids[i]] != nil || d.graves[ids[i]]:
				return errUsed
			case owner == "":
				return errNode
			case one.Amount < d.least || one.Until <= d.head().Unix():
				return errAmount
			}
			if err := d.take(one.Denom, one.Amount); err != nil {
				return err
			}
			d.leases[ids[i]] = &deposited{Account: Account{Payer: d.account, Key: one.Key, Node: one.Node, Payee: owner, Denom: one.Denom,
				Deposit: one.Amount, Phase: Open, Until: one.Until}, opened: d.height()}
		}
		return nil
	})
}

func (d *door) TopUp(_ context.Context, additions []Addition) error {
	var ids []voucher.ID
	for _, one := range additions {
		ids = append(ids, one.Lease)
	}
	return d.transact("top up", ids, func() error {
		for _, one := range additions {
			l := d.leases[one.Lease]
			switch {
			case l == nil:
				return errNoLease
			case l.Payer != d.account || one.Denom != l.Denom:
				return errParty
			case l.Phase != Open:
				return errPhase
			case one.Amount == 0 && one.Until <= l.Until:
				return errAmount
			}
			if err := d.take(l.Denom, one.Amount); err != nil {
				return err
			}
			l.Deposit += one.Amount
			l.Until = max(l.Until, one.Until)
		}
		return nil
	})
}

func (d *door) Close(_ context.Context, leases []voucher.ID) error {
	return d.transact("close", leases, func() error {
		for _, id := range leases {
			l := d.leases[id]
			switch {
			case l == nil:
				return errNoLease
			case l.Payer != d.account && l.Payee != d.account:
				return errParty
			case l.Phase == Open:
				l.Phase, l.Closing = Closing, d.head().Unix()
			}
		}
		return nil
	})
}

// leaseOf is the lease of a claim.
func leaseOf(c voucher.Claim) (voucher.ID, error) {
	if len(c.Voucher) == 0 && c.Last && len(c.Lease) == len(voucher.ID{}) {
		return voucher.ID(c.Lease), nil
	}
	v, err := voucher.Parse(c.Voucher)
	return v.Lease, err
}

func (d *door) Redeem(_ context.Context, claims []voucher.Claim, signature []byte) (string, error) {
	var ids []voucher.ID
	for _, c := range claims {
		id, err := leaseOf(c)
		if err != nil {
			return "", err
		}
		ids = append(ids, id)
	}
	err := d.transact("redeem", ids, func() error { return d.redeem(claims, signature) })
	return fmt.Sprintf("TX%d", d.count("redeem")), err
}

func (d *door) redeem(claims []voucher.Claim, signature []byte) error {
	seen, left := map[voucher.ID]bool{}, d.rules.Fee*uint64(len(claims))
	claims, signed := slices.Clone(claims), claims
	slices.SortStableFunc(claims, func(a, b voucher.Claim) int { return min(len(a.Voucher), 1) - min(len(b.Voucher), 1) }) // those without one pay for themselves
	for _, c := range claims {
		id, _ := leaseOf(c)
		l := d.leases[id]
		switch {
		case l == nil:
			return errNoLease
		case string(l.Node) != string(d.node):
			return errParty
		case l.LetGo:
			return errLetGo
		case l.Phase == Closed || l.Phase == Closing && d.over(l):
			return errGrace
		case seen[id]:
			return errTwice
		}
		if seen[id] = true; c.Last {
			l.LetGo = true
			if l.Phase == Open {
				l.Phase, l.Closing = Closing, d.head().Unix()
			}
		}
		if len(c.Voucher) == 0 {
			switch {
			case len(l.pending) > 0:
				return errHeld
			case l.Denom != money.Denom || l.Deposit-l.Redeemed < d.rules.Fee:
				return errFee
			}
			left -= d.rules.Fee
			l.Redeemed += d.rules.Fee
			d.sum(l.Denom).fees += d.rules.Fee
			d.sum(l.Denom).letGo += d.rules.Fee
			continue
		}
		v, err := voucher.Parse(c.Voucher)
		if err != nil {
			return err
		}
		switch {
		case v.Chain != d.id:
			return errChain
		case v.Amount > l.Deposit:
			return errOver
		case v.Amount <= l.Redeemed:
			return errOld
		case voucher.CheckBytes(c.Voucher, c.Signature, l.Key) != nil:
			return errSignature
		}
		gain, fee := v.Amount-l.Redeemed, uint64(0)
		if l.Denom == money.Denom {
			fee = min(left, gain)
			left -= fee
			d.sum(l.Denom).fees += fee
		}
		l.Redeemed = v.Amount
		l.pending = append(l.pending, pending{gain - fee, d.height()})
	}
	if left > 0 {
		return errFee
	}
	if voucher.CheckRedeem(d.id, signed, d.node, signature) != nil {
		return errSignature
	}
	return nil
}
