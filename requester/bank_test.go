package requester

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"

	"github.com/hpips/hpips/pay"
	"github.com/hpips/hpips/spec/voucher"
)

// bank is a chain of leases in one process: what it is told is so at once, unless it is slow, and it counts every transaction. Payers on it are
// real ones.
type bank struct {
	mu      sync.Mutex
	leases  map[voucher.ID]pay.Account
	balance uint64        // of alice
	slow    time.Duration // that each transaction takes
	down    bool          // nobody is there
	opens   int           // transactions
	topUps  int
	closes  int
	payees  map[string]string // of nodes
}

var secret = bytes.Repeat([]byte{7}, 32)

func newBank(balance uint64) *bank {
	return &bank{leases: map[voucher.ID]pay.Account{}, balance: balance}
}

// open makes a payer as a new process has it.
func (b *bank) open(t testing.TB) *pay.Payer {
	t.Helper()
	p, err := pay.NewPayer(b, pay.PayerConfig{Account: "hpips1alice", Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (b *bank) ID() string { return "hpips-test-1" }

func (b *bank) Now(context.Context) (pay.Head, error) {
	return pay.Head{Time: time.Now(), Height: 1}, nil
}

// leastDeposit is that of the public network.
const leastDeposit = 10_000

func (b *bank) Rules(context.Context) (pay.Rules, error) {
	return pay.Rules{Least: leastDeposit, Batch: 64, Grace: time.Hour}, nil
}

func (b *bank) Lease(_ context.Context, id voucher.ID) (pay.Account, bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a, ok := b.leases[id]
	if b.down {
		return a, false, pay.ErrUnknown
	}
	return a, ok, nil
}

// transact does one thing in a block of its own.
func (b *bank) transact(ctx context.Context, count *int, do func() error) error {
	b.mu.Lock()
	slow := b.slow
	b.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-ctx.Done():
		return pay.ErrUnknown
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down {
		return pay.ErrUnknown
	}
	*count++
	return do()
}

func (b *bank) Open(ctx context.Context, deposits []pay.Deposit) error {
	return b.transact(ctx, &b.opens, func() error {
		sum := uint64(0)
		for _, d := range deposits {
			if d.Amount < leastDeposit {
				return errors.New("the deposit is too small")
			}
			sum += d.Amount
		}
		if sum > b.balance {
			return pay.ErrFunds
		}
		b.balance -= sum
		for _, d := range deposits {
			b.leases[voucher.LeaseID("hpips1alice", d.Terms)] = pay.Account{Payer: "hpips1alice", Key: d.Key, Node: d.Node, Denom: d.Denom, Deposit: d.Amount, Phase: pay.Open, Until: d.Until,
				Payee: b.payees[string(d.Node)]}
		}
		return nil
	})
}

func (b *bank) TopUp(ctx context.Context, additions []pay.Addition) error {
	return b.transact(ctx, &b.topUps, func() error {
		for _, x := range additions {
			a, ok := b.leases[x.Lease]
			switch {
			case !ok || a.Phase != pay.Open:
				return errors.New("no such lease is open")
			case x.Amount > b.balance:
				return pay.ErrFunds
			}
			b.balance -= x.Amount
			a.Deposit, a.Until = a.Deposit+x.Amount, max(a.Until, x.Until)
			b.leases[x.Lease] = a
		}
		return nil
	})
}

func (b *bank) Close(ctx context.Context, leases []voucher.ID) error {
	return b.transact(ctx, &b.closes, func() error {
		for _, id := range leases {
			a, ok := b.leases[id]
			if !ok || a.Phase != pay.Open {
				return errors.New("no such lease is open")
			}
			a.Phase = pay.Closing
			b.leases[id] = a
		}
		return nil
	})
}

func (b *bank) Redeem(context.Context, []voucher.Claim, []byte) (string, error) {
	return "", errors.New("nobody redeems here")
}

// count tells how many transactions there were of each kind, and how many leases are still open.
func (b *bank) count() (opens, topUps, closes, open int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range b.leases {
		if a.Phase == pay.Open {
			open++
		}
	}
	return b.opens, b.topUps, b.closes, open
}

// deposited is what stands for a lease.
func (b *bank) deposited(id voucher.ID) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.leases[id].Deposit
}

// earned checks every voucher that a worker got, in the order in which they came: signed for its lease, never less, never conflicting, within the
// deposit and for no more than it did. It returns what they promise in all, and what its work cost.
func (b *bank) earned(t testing.TB, w *worker) (promised, worth uint64) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	key := secp256k1.PrivKeyFromBytes(secret).PubKey().SerializeCompressed()
	for id, vouchers := range w.paid {
		var last voucher.Signed
		for _, s := range vouchers {
			v := s.Voucher
			cost, err := voucher.Cost(w.rates, v.Usage)
			switch {
			case err != nil || v.Amount > cost:
				t.Errorf("%s: %d is promised for work of %d, %v", w.name, v.Amount, cost, err)
			case s.Check(key) != nil || v.Chain != b.ID():
				t.Errorf("%s: %+v is not alice's word", w.name, s)
			case v.Amount < last.Voucher.Amount || !v.Usage.Covers(last.Voucher.Usage):
				t.Errorf("%s: %+v after %+v", w.name, v, last.Voucher)
			case v.Amount == last.Voucher.Amount && !slices.Equal(s.Signature, last.Signature):
				t.Errorf("%s: two vouchers for %d", w.name, v.Amount)
			case v.Amount > b.deposited(v.Lease):
				t.Errorf("%s: %d is promised of a deposit of %d", w.name, v.Amount, b.deposited(v.Lease))
			case !w.did[id].Covers(v.Usage):
				t.Errorf("%s: is paid for %+v and did %+v", w.name, v.Usage, w.did[id])
			}
			last = s
		}
		promised += last.Voucher.Amount
	}
	for _, u := range w.did {
		cost, err := voucher.Cost(w.rates, u)
		if err != nil {
			t.Fatal(err)
		}
		worth += cost
	}
	return promised, worth
}
