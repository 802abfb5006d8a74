package pay

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/goleak"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/spec/voucher"
)

func leakless(m *testing.M) { goleak.VerifyTestMain(m) }

// one HPIPS, and the price of a CPU-second at the rates that everybody here asks.
const (
	hpips     = 1_000_000
	cpuSecond = 1000
)

// noRoot is what is signed where nobody wants a jury.
var noRoot [32]byte

var rates = voucher.Rates{CPU: 3600 * cpuSecond}

// person has a node, an owner's account and a spending key.
type person struct {
	name, account string
	node          ed25519.PrivateKey
	id            peer.ID
	secret        []byte
}

func named(t testing.TB, name string) person {
	t.Helper()
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, name)
	key, err := crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(seed))
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return person{name, "hpips1" + name, ed25519.NewKeyFromSeed(seed), id, secp256k1.PrivKeyFromBytes(seed).Serialize()}
}

func (p person) public() ed25519.PublicKey { return p.node.Public().(ed25519.PublicKey) }

// town is a chain with people who have money and nodes.
type town struct {
	t     testing.TB
	chain *ledger
	dir   string
	next  int
}

func newTown(t testing.TB, names ...string) *town {
	t.Helper()
	tn := &town{t: t, chain: newLedger(time.Now), dir: t.TempDir()}
	for _, n := range names {
		p := named(t, n)
		tn.chain.owners[string(p.public())] = p.account
		tn.chain.give(p.account, money.Denom, 1000*hpips)
	}
	return tn
}

// door is the chain as somebody's node sees it.
func (tn *town) door(name string) *door {
	p := named(tn.t, name)
	return &door{tn.chain, p.account, p.public()}
}

// payer opens somebody's payer, as after a restart.
func (tn *town) payer(name string) *Payer {
	tn.t.Helper()
	p := named(tn.t, name)
	payer, err := NewPayer(tn.door(name), PayerConfig{Account: p.account, Secret: p.secret})
	if err != nil {
		tn.t.Fatal(err)
	}
	return payer
}

// payee opens somebody's payee, as after a restart: its book stays in the town.
func (tn *town) payee(name string) *Payee {
	tn.t.Helper()
	cfg := DefaultPayee(24 * time.Hour)
	cfg.Path, cfg.Key = filepath.Join(tn.dir, name, "pay.db"), named(tn.t, name).node
	p, err := OpenPayee(slog.New(slog.DiscardHandler), tn.door(name), cfg)
	if err != nil {
		tn.t.Fatal(err)
	}
	return p
}

// slots of every lease here.
const slots = 4

// lease is what both sides have signed: a term of a day, four slots, tasks of one core.
func (tn *town) lease(payer *Payer, provider string, deposit uint64, change ...func(*lease.Terms)) lease.Lease {
	tn.t.Helper()
	tn.next++
	bob := named(tn.t, provider)
	now := tn.chain.now()
	t := lease.Terms{
		Order: lease.Order{Job: fmt.Sprint("job-", tn.next), Requester: named(tn.t, "alice").id.String(), Engine: "wasm", Slots: slots},
		Quote: lease.Quote{Provider: bob.id.String(), Owner: bob.account, Slots: slots, Rates: rates},
		From:  now.UnixMilli(), Until: now.Add(24 * time.Hour).UnixMilli(),
	}
	t.Pay = payer.Terms(t.Quote, deposit)
	for _, c := range change {
		c(&t)
	}
	return lease.Lease{Terms: t}
}

// hired is a lease whose deposit stands and which its provider has taken up.
func (tn *town) hired(payer *Payer, payee *Payee, provider string, deposit uint64) lease.Lease {
	tn.t.Helper()
	l := tn.lease(payer, provider, deposit)
	ctx := context.Background()
	if err := payer.Fund(ctx, []lease.Lease{l}); err != nil {
		tn.t.Fatal(err)
	}
	if got, err := payee.Funded(ctx, l); err != nil || got != deposit {
		tn.t.Fatalf("deposit %d: %v", got, err)
	}
	return l
}

// ran is what a task gave that took so long on one core.
func ran(index uint64, took time.Duration) job.Result {
	return job.Result{Index: index, End: job.Exited, Stdout: job.Content{Inline: []byte(fmt.Sprint(index))}, Usage: job.Usage{CPU: int64(took), Wall: int64(took)}}
}

// promise signs, and must not fail.
func promise(t testing.TB, p *Payer, l lease.Lease, u voucher.Usage) voucher.Signed {
	t.Helper()
	v, err := p.Promise(l, u, noRoot)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// take takes, and must not fail.
func take(t testing.TB, p *Payee, l lease.Lease, v voucher.Signed) {
	t.Helper()
	if got, err := p.Take(context.Background(), l, lease.Voucher{Signed: v}); err != nil || got != v.Voucher.Amount {
		t.Fatalf("took %d of %d: %v", got, v.Voucher.Amount, err)
	}
}
