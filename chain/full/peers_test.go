package full

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/cometbft/cometbft/p2p"

	"github.com/hpips/hpips/chain/chaintest"
)

// Alice named bob. However many others her node meets, among them carol who tells a new address each time, it comes back to bob, to the newest
// of the others, and to carol where she was last.
func TestPeersThatAreMetDoNotReplaceThoseThatAreNamed(t *testing.T) {
	alice := chaintest.New("alice")
	c := home(t, alice, genesis(t, nil, alice))
	node := func(i int) string { return fmt.Sprintf("%040x@127.0.0.1:1", i) }
	c.Peers = []string{node(1)}
	n, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	dial := func(peer string) {
		t.Helper()
		if err := n.Dial(peer); err != nil {
			t.Fatal(err)
		}
	}
	dial(node(2))
	carol := ""
	for port := range 2 * keptPeers {
		carol = fmt.Sprintf("%040x@127.0.0.1:%d", 3, port+1)
		dial(carol)
	}
	if got := n.missed(); len(got) != 2 || got[0].String() != node(2) || got[1].String() != carol {
		t.Errorf("kept: %v, want %s and %s", got, node(2), carol)
	}
	for i := range keptPeers - 1 {
		dial(node(4 + i))
	}
	if got := n.missed(); len(got) != keptPeers || got[0].String() != carol || got[keptPeers-1].String() != node(keptPeers+2) {
		t.Errorf("kept: %v", got)
	}
	bob, err := p2p.NewNetAddressString(node(1))
	if err != nil {
		t.Fatal(err)
	}
	if !n.engine.node.Switch().IsPeerPersistent(bob) {
		t.Error("bob is forgotten")
	}
	if err := n.Dial("nowhere"); err == nil {
		t.Error("an address without a node ID is dialled")
	}
}

// Alice meets bob before her engine has started; she is connected to him all the same, at once and not at the next look.
func TestAPeerThatIsMetBeforeTheStartIsDialled(t *testing.T) {
	t.Parallel()
	alice, bob := chaintest.New("alice"), chaintest.New("bob")
	doc := genesis(t, nil, alice)
	b, _ := serve(t, home(t, bob, doc))
	a, err := New(home(t, alice, doc))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Dial(b.Address()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	began := time.Now()
	go func() { served <- a.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	until(t, "connection to bob", func() bool { return a.engine.node.Switch().Peers().Has(b.engine.node.NodeInfo().ID()) })
	if took := time.Since(began); took > comeBack {
		t.Errorf("connected after %v", took)
	}
}

// Bob's connection breaks: alice's node comes back to him within two tries, long before the engine looks for new peers by itself, every 30 s.
func TestAPeerThatIsLostIsComeBackTo(t *testing.T) {
	t.Parallel()
	alice, bob := chaintest.New("alice"), chaintest.New("bob")
	doc := genesis(t, nil, alice)
	a, _ := serve(t, home(t, alice, doc))
	b, _ := serve(t, home(t, bob, doc))
	until(t, "first block", func() bool { return height(a) >= 1 })
	if err := a.Dial(b.Address()); err != nil {
		t.Fatal(err)
	}
	sw, id := a.engine.node.Switch(), b.engine.node.NodeInfo().ID()
	until(t, "connection to bob", func() bool { return sw.Peers().Has(id) })
	for range 2 {
		sw.StopPeerGracefully(sw.Peers().Get(id))
		if len(a.missed()) != 1 {
			t.Fatal("bob is not missed")
		}
		lost := time.Now()
		until(t, "new connection to bob", func() bool { return sw.Peers().Has(id) })
		if took := time.Since(lost); took > 2*comeBack {
			t.Errorf("bob was away for %v", took)
		}
	}
}
