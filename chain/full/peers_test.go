package full

import (
	"fmt"
	"testing"

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
