package provider

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hpips/hpips/pay"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/voucher"
)

// dear is one uhpips for a microsecond of processor time, so that small differences show.
var dear = voucher.Rates{CPU: 3_600_000_000}

// till is a chain of leases in one process: what it is told is so at once.
type till struct {
	mu     sync.Mutex
	leases map[voucher.ID]pay.Account
	blind  bool // it does not see the newest deposits yet
	seen   map[voucher.ID]pay.Account
}

func newTill() *till { return &till{leases: map[voucher.ID]pay.Account{}} }

func (c *till) ID() string { return "hpips-test-1" }

func (c *till) Now(context.Context) (pay.Head, error) {
	return pay.Head{Time: time.Now(), Height: 1}, nil
}

func (c *till) Rules(context.Context) (pay.Rules, error) {
	return pay.Rules{Batch: 64, Grace: time.Hour}, nil
}

func (c *till) Lease(_ context.Context, id voucher.ID) (pay.Account, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	from := c.leases
	if c.blind {
		from = c.seen
	}
	a, ok := from[id]
	return a, ok, nil
}

func (c *till) Open(_ context.Context, deposits []pay.Deposit) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range deposits {
		c.leases[voucher.LeaseID("hpips1alice", d.Terms)] = pay.Account{Payer: "hpips1alice", Key: d.Key, Node: d.Node, Denom: d.Denom, Deposit: d.Amount, Phase: pay.Open, Until: d.Until}
	}
	return nil
}

func (c *till) TopUp(_ context.Context, additions []pay.Addition) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, x := range additions {
		a := c.leases[x.Lease]
		a.Deposit, a.Until = a.Deposit+x.Amount, max(a.Until, x.Until)
		c.leases[x.Lease] = a
	}
	return nil
}

func (c *till) Close(context.Context, []voucher.ID) error { return errors.New("nobody closes here") }

func (c *till) Redeem(context.Context, []voucher.Claim, []byte) (string, error) {
	return "", errors.New("nobody redeems here")
}

// close lets a lease's grace begin.
func (c *till) close(l lease.Lease) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.leases[l.Terms.Key()]
	a.Phase, a.Closing = pay.Closing, time.Now().Unix()
	c.leases[l.Terms.Key()] = a
}

// look makes the till show deposits as they are now, or as they were when it was made blind.
func (c *till) look(blind bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = map[voucher.ID]pay.Account{}
	for id, a := range c.leases {
		c.seen[id] = a
	}
	c.blind = blind
}

// earns makes a bob who is paid on a till; his book outlives his processes.
func earns(t testing.TB, c *till, change ...func(*Config)) *bob {
	t.Helper()
	b := &bob{t: t, me: named(t, "bob"), shelf: newShelf(), engine: newWorks(t), doors: &doors{}}
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, "bob")
	cfg := pay.DefaultPayee(24 * time.Hour)
	cfg.Path, cfg.Key = filepath.Join(t.TempDir(), "pay.db"), ed25519.NewKeyFromSeed(seed)
	payee, err := pay.OpenPayee(quiet(), c, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { payee.Close() })
	b.payee = payee
	own := Default(filepath.Join(t.TempDir(), "provider"))
	own.Slots, own.Memory, own.Disk = 1, 4<<30, 4<<30
	for _, f := range change {
		f(&own)
	}
	b.begin(own)
	return b
}

var secret = bytes.Repeat([]byte{7}, 32)

// patron is a client who pays, or does not.
type patron struct {
	*client
	till  *till
	payer *pay.Payer
	got   map[uint64]job.Result
	used  voucher.Usage
	tally *pay.Tally // where she wants a jury
	state func(job.Task) [32]byte
}

// patronises opens a session with bob for somebody with a purse.
func (b *bob) patronises(c *till, name string) *patron {
	b.t.Helper()
	payer, err := pay.NewPayer(c, pay.PayerConfig{Account: "hpips1alice", Secret: secret})
	if err != nil {
		b.t.Fatal(err)
	}
	return &patron{client: b.visits(name), till: c, payer: payer, got: map[uint64]job.Result{}}
}

// signsFor makes a paid lease, whose deposit is not on the chain yet.
func (a *patron) signsFor(slots int, deposit uint64, edit ...func(*lease.Terms)) {
	a.t.Helper()
	a.lease = a.signs(slots, func(t *lease.Terms) {
		t.Quote.Rates = dear
		t.Pay = a.payer.Terms(t.Quote, deposit)
		for _, f := range edit {
			f(t)
		}
	})
	a.id = a.lease.ID()
	if a.lease.Terms.Pay.Jury {
		a.tally = pay.NewTally(a.lease.Terms)
	}
}

// hires makes a paid lease, puts its deposit on the chain and begins it.
func (a *patron) hires(w lease.Work, slots int, deposit uint64, edit ...func(*lease.Terms)) *lease.Held {
	a.t.Helper()
	a.signsFor(slots, deposit, edit...)
	if err := a.payer.Fund(a.t.Context(), []lease.Lease{a.lease}); err != nil {
		a.t.Fatal(err)
	}
	return a.resumes(w)
}

// takes notes what bob says until he has said nothing for so long; it returns his refusal, if there is one.
func (a *patron) takes(quiet time.Duration) *lease.Refused {
	a.t.Helper()
	for {
		m, ok := a.hearsWithin(quiet)
		if !ok {
			return nil
		}
		if m.Refused != nil {
			return m.Refused
		}
		if m.Results == nil {
			continue
		}
		for _, r := range m.Results.Results {
			if _, twice := a.got[r.Index]; !twice {
				a.got[r.Index] = r
				a.counts(r)
			}
		}
	}
}

// hearsWithin waits for bob's next message for a time at most.
func (a *patron) hearsWithin(d time.Duration) (m lease.Message, ok bool) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	var b []byte
	a.wire.await(ctx, func() bool {
		if len(a.wire.out) > 0 {
			b, ok, a.wire.out = a.wire.out[0], true, a.wire.out[1:]
			a.wire.unread--
		}
		return ok
	})
	if !ok {
		return m, false
	}
	m, err := lease.DecodeMessage(b)
	if err != nil {
		a.t.Fatal(err)
	}
	return m, true
}

// pays signs for all that she has and sends it.
func (a *patron) pays() voucher.Signed {
	a.t.Helper()
	s, err := a.payer.Promise(a.lease, a.used, a.root())
	if err != nil && !errors.Is(err, pay.ErrDeposit) {
		a.t.Fatal(err)
	}
	a.says(lease.Message{Voucher: a.names(s)})
	return s
}

// worth is what the results that she has cost.
func (a *patron) worth() uint64 {
	a.t.Helper()
	c, err := voucher.Cost(dear, a.used)
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

// window is the credit that she has with bob now, reckoned from what she knows.
func (a *patron) window() uint64 {
	w := pay.NewWindow(a.lease.Terms, job.Limits{})
	for _, r := range a.got {
		w.Ended(pay.Used(r, a.lease.Terms.Order.Resources))
	}
	_, promised := a.bob.payee.Unpaid(a.lease)
	w.Paid(promised)
	return w.Size()
}
