package node

import (
	"log/slog"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/chain"
	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/pay"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/voucher"
)

// Alice let her node pay from one account, and lets it pay from another one now. New leases are paid for by that; one that has begun stays with the
// first, also in the node's next life, which knows the second alone.
func TestALeaseStaysWithTheAccountThatPaysForIt(t *testing.T) {
	home := t.TempDir()
	key, err := LoadChainKeys(home)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := spendSecret(home)
	if err != nil {
		t.Fatal(err)
	}
	spend, err := ledger.KeySigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	life := func(account string) paying {
		till := &till{log: slog.New(slog.NewTextHandler(t.Output(), nil)), dir: t.TempDir(), spend: spend, secret: secret, key: key.Node,
			chain:  &chaining{genesis: &genesis{summary: chain.Summary{ChainID: "hpips-test-1", Day: time.Hour}}},
			opened: make(chan struct{}), payers: map[string]*pay.Payer{}, others: map[peer.ID]known{}}
		till.mu.Lock()
		defer till.mu.Unlock()
		if err := till.open(account); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := till.close(); err != nil {
				t.Error(err)
			}
		})
		return paying{till}
	}
	quote := lease.Quote{Provider: "bob", Owner: "bob's", Rates: voucher.Rates{CPU: 3600}}
	leased := func(p paying, serial uint64) lease.Lease {
		return lease.Lease{Terms: lease.Terms{Quote: quote, Serial: serial, Until: 1, Pay: p.Terms(quote, 1000)}}
	}
	promised := func(p paying, l lease.Lease, seconds uint64) voucher.Signed {
		t.Helper()
		v, err := p.Promise(l, voucher.Usage{Tasks: 1, CPU: seconds * 1e9}, [32]byte{})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}

	p := life("first")
	old := leased(p, 0)
	if old.Terms.Pay == nil || old.Terms.Pay.Payer != "first" {
		t.Fatalf("the first lease is paid for by %+v", old.Terms.Pay)
	}
	v := promised(p, old, 100)
	p.mu.Lock()
	err = p.open("second")
	p.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	if l := leased(p, 1); l.Terms.Pay == nil || l.Terms.Pay.Payer != "second" {
		t.Errorf("the lease after the change is paid for by %+v", l.Terms.Pay)
	}
	if again := promised(p, old, 200); again.Voucher.Amount <= v.Voucher.Amount {
		t.Errorf("more work is promised %d after %d", again.Voucher.Amount, v.Voucher.Amount)
	} else {
		v = again
	}

	p = life("second")
	if err := p.Restore(old, v); err != nil {
		t.Fatalf("the first lease in the next life: %v", err)
	}
	if less := promised(p, old, 1); less.Voucher.Amount != v.Voucher.Amount {
		t.Errorf("%d was promised, %d is", v.Voucher.Amount, less.Voucher.Amount)
	}
	if none := life(""); none.Terms(quote, 1) != nil {
		t.Error("nobody allows a node to pay, and it would")
	}
}
