package chain

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/test/e2e/pc"
)

// Bob's node is registered on alice's chain. He fears that somebody saw his keys and changes both; with the new ones he wins the second of two
// seats, so that every further block has a vote of the new key. While he sits he cannot change keys again, and he gives up the seat.
func TestBobChangesHisKeys(t *testing.T) {
	t.Parallel()
	program, alice := desk(t)
	l := window(t, alice.Home)
	bob := pc.New(t, program, "bob", "--join", alice.Address(t))
	bob.Up(t)
	window(t, bob.Home)
	var owner ledger.Account
	reads(t, bob.Must(t, "wallet", "new", "bob", "--keyring", "test", "-o", "json"), &owner)
	bob.Must(t, "wallet", "show", "bob")
	if a := bob.Hpips(t, "chain", "keys", "--yes"); a.Code != 125 {
		t.Errorf("keys of a node that is not registered: %+v", a)
	}
	paying(t, l, alice, owner.Address, 5*money.Scale)
	var last pc.Answer
	pc.Eventually(t, "bob is at the head and registers", func() bool {
		last = bob.Hpips(t, "chain", "register")
		return last.Code == 0
	}, func() string { return last.Stderr })
	before := only(t, l, owner.Address)

	var told struct{ Node, ConsensusKey, VRFKey string }
	reads(t, bob.Must(t, "chain", "keys", "--yes", "-o", "json"), &told)
	after := only(t, l, owner.Address)
	if told.Node != after.Node || told.ConsensusKey != after.Consensus || told.VRFKey != after.VRF || after.Consensus == before.Consensus || after.VRF == before.VRF {
		t.Fatalf("told %+v; the chain had %+v and has %+v", told, before, after)
	}
	if kept, err := os.ReadDir(filepath.Join(bob.Home, "keys", "old")); err != nil || len(kept) != 2 {
		t.Errorf("old keys that are kept: %v, %v", kept, err)
	}

	bob.Stop(t)
	bob.Up(t)
	seat := func() *ledger.Seat {
		paying(t, l, alice, owner.Address, 1)
		k, err := l.Committee(t.Context())
		if err != nil {
			return nil
		}
		if i := slices.IndexFunc(k.Seats, func(s ledger.Seat) bool { return s.Node == told.Node && !s.Leaving }); i >= 0 {
			return &k.Seats[i]
		}
		return nil
	}
	pc.Eventually(t, "bob has a seat", func() bool { return seat() != nil }, func() string { return bob.Log(20) })
	if s := seat(); !bytes.Equal(s.Consensus, after.ConsensusKey) || !bytes.Equal(s.VRF, after.VRFKey) {
		t.Errorf("bob sits with other keys: %+v", s)
	}
	for range 5 { // each needs both votes
		paying(t, l, alice, owner.Address, 1)
	}
	if a := bob.Hpips(t, "chain", "keys", "--yes"); a.Code != 125 || !bytes.Contains([]byte(a.Stderr), []byte("step-down")) {
		t.Errorf("a seat changes its keys: %+v", a)
	}
	bob.Must(t, "chain", "step-down")
	pc.Eventually(t, "bob leaves his seat", func() bool { return seat() == nil }, func() string { return bob.Log(20) })
}

// paying makes the owner of a desk pay somebody, which makes a block.
func paying(t *testing.T, l *ledger.Ledger, desk *pc.PC, to string, a money.Amount) {
	t.Helper()
	from := dev(t, desk.Home)
	m, err := ledger.Pay(from.Address(), to, a)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Send(t.Context(), from, m); err != nil {
		t.Fatal(err)
	}
}

// only is the one node of an owner.
func only(t *testing.T, l *ledger.Ledger, owner string) ledger.Node {
	t.Helper()
	all, err := l.Nodes(t.Context(), owner)
	if err != nil || len(all) != 1 {
		t.Fatalf("nodes of %s: %v, %v", owner, all, err)
	}
	return all[0]
}

// reads the last line of an answer of -o json.
func reads(t *testing.T, answer string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(answer), v); err != nil {
		t.Fatalf("%v: %s", err, answer)
	}
}
