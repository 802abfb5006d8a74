package full

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cometbft/cometbft/p2p"

	"github.com/hpips/hpips/chain/chaintest"
)

// Alice named bob. However many others her node meets, among them carol who tells a new address each time, it comes back to bob.
func TestPeersThatAreMetDoNotReplaceThoseThatAreNamed(t *testing.T) {
	alice := chaintest.New("alice")
	c := home(t, alice, genesis(t, nil, alice))
	bob := strings.Repeat("b0", 20) + "@127.0.0.1:1"
	c.Peers = []string{bob}
	n, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	kept := func(peer string) bool {
		at, err := p2p.NewNetAddressString(peer)
		if err != nil {
			t.Fatal(err)
		}
		return n.engine.node.Switch().IsPeerPersistent(at)
	}
	first := strings.Repeat("a0", 20) + "@127.0.0.1:2"
	last := first
	if err := n.Dial(first); err != nil {
		t.Fatal(err)
	}
	for port := range keptPeers {
		if last = fmt.Sprintf("%s@127.0.0.1:%d", strings.Repeat("ca", 20), port+3); port > 0 && !kept(first) {
			t.Fatalf("the first one is forgotten after %d more", port)
		}
		if err := n.Dial(last); err != nil {
			t.Fatal(err)
		}
	}
	if !kept(bob) || !kept(last) || kept(first) {
		t.Errorf("kept: bob %v, the newest %v, the oldest %v", kept(bob), kept(last), kept(first))
	}
}
