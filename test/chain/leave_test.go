package chain

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/test/e2e/pc"
)

// parted is a deal as files stat tells it.
type parted struct {
	ledger.Deal
	Holders []ledger.DealPart
}

// stat asks alice about the only deal that there is.
func stat(t *testing.T, alice *pc.PC) (d parted, said string, ok bool) {
	t.Helper()
	a := alice.Hpips(t, "files", "stat", "1", "-o", "json")
	var told struct{ Deals []parted }
	if a.Code != 0 || json.Unmarshal([]byte(a.Stdout), &told) != nil || len(told.Deals) != 1 {
		return d, a.Stdout + a.Stderr, false
	}
	return told.Deals[0], a.Stdout, true
}

// keeperOf finds a keeper whose PC may be away without the chain standing still, and its part.
func keeperOf(t *testing.T, alice *pc.PC, others map[string]*pc.PC, d parted) (part int) {
	t.Helper()
	part = -1
	var last pc.Answer
	pc.Eventually(t, "one of them may go without the chain standing still", func() bool {
		var committee struct{ Seats []struct{ Node string } }
		last = alice.Hpips(t, "chain", "committee", "-o", "json")
		if last.Code != 0 || json.Unmarshal([]byte(last.Stdout), &committee) != nil {
			return false
		}
		part = slices.IndexFunc(d.Holders, func(p ledger.DealPart) bool {
			sits := slices.ContainsFunc(committee.Seats, func(s struct{ Node string }) bool { return s.Node == p.Node })
			return others[p.Node] != nil && (!sits || len(committee.Seats) >= 4)
		})
		return part >= 0
	}, func() string { return last.Stdout + last.Stderr })
	return part
}

// The owner of a node that keeps a part asks for its bond: the node goes by itself. The fourth PC takes the part over while it is kept still, so that at no moment one is missing, and alice sees how it goes. Then the node is stopped, and nobody misses
// it. Its pay came until the end.
func TestWhoLeavesHandsItsPartOver(t *testing.T) {
	alice, others, l := block(t, 15*time.Second)
	content, file := film(t, 11)
	id := strings.TrimSpace(alice.Must(t, "put", "-q", file))
	alice.Must(t, "pin", id, "--rs", "2/3", "--for", "100d", "--from", "dev", "--yes")
	var d parted
	said := ""
	pc.Eventually(t, "three keep it, and each has proven a day", func() (ok bool) {
		d, said, ok = stat(t, alice)
		return ok && d.State == "kept" && !slices.ContainsFunc(d.Holders, func(p ledger.DealPart) bool { return p.Proven == 0 })
	}, func() string { return said })
	part := keeperOf(t, alice, others, d)
	who := d.Holders[part].Node
	goes := others[who]
	account := strings.TrimSpace(goes.Must(t, "wallet", "show", "-q", goes.Name))
	alice.Must(t, "wallet", "send", "--yes", account, "1") // for the fee
	var last pc.Answer
	pc.Eventually(t, "it has earned a bond, and asks for it", func() bool {
		last = goes.Hpips(t, "share", "leave", "--yes")
		return last.Code == 0
	}, func() string { return last.Stderr })

	leaving, proven := false, d.Holders[part].Proven
	pc.Eventually(t, "another has the part", func() bool {
		now, text, ok := stat(t, alice)
		if said = text; !ok {
			return false
		}
		if now.Kept != 3 {
			t.Fatalf("%d of 3 parts are kept while one is handed over: %s", now.Kept, text)
		}
		h := now.Holders[part]
		if h.Node == who {
			leaving = leaving || h.State == "leaving"
			proven = max(proven, h.Proven)
			return false
		}
		d = now
		return now.State == "kept"
	}, func() string { return said })
	if slices.ContainsFunc(d.Holders, func(p ledger.DealPart) bool { return p.Node == who }) {
		t.Errorf("who left keeps a part: %s", said)
	}
	var status struct {
		Bond ledger.Bond
	}
	reads(t, goes.Must(t, "share", "status", "-o", "json"), &status)
	if !status.Bond.Leaves {
		t.Errorf("its owner is told %+v", status.Bond)
	}
	pc.Eventually(t, "its row is empty, and its bond waits for nothing of it", func() bool {
		key, err := ledger.NodeKey(who)
		if err != nil {
			t.Fatal(err)
		}
		kept, err := l.KeptParts(t.Context(), key)
		return err == nil && len(kept) == 0
	}, func() string { return goes.Log(20) })
	goes.Kill(t)
	for n, p := range others {
		if n != who {
			same(t, p, id, content)
		}
	}
	if d, said, ok := stat(t, alice); !ok || d.Kept != 3 {
		t.Errorf("after it has gone: %s", said)
	}
	if proven < d.Made {
		t.Errorf("it proved no day: %d", proven)
	}
	t.Logf("alice saw it leaving: %v", leaving) // where the fourth is quick, it is handed over between two looks
}

// same has a PC read an object.
func same(t *testing.T, p *pc.PC, id string, content []byte) {
	t.Helper()
	to := filepath.Join(t.TempDir(), "film")
	p.Must(t, "get", id, "-O", to)
	if got, err := os.ReadFile(to); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%s reads %d bytes: %v", p.Name, len(got), err)
	}
}

// Four keep a part each, and there is nobody else. One is away for so long that its part is nobody's; when it is back it takes that up again, from its own disk, and proves it.
func TestWhoComesBackTakesItsPartUpAgain(t *testing.T) {
	alice, others, l := block(t, 15*time.Second)
	_, file := film(t, 12)
	id := strings.TrimSpace(alice.Must(t, "put", "-q", file))
	alice.Must(t, "pin", id, "--rs", "2/4", "--for", "100d", "--from", "dev", "--yes")
	var d parted
	said := ""
	pc.Eventually(t, "all four keep it, and each has proven a day", func() (ok bool) {
		d, said, ok = stat(t, alice)
		return ok && d.State == "kept" && !slices.ContainsFunc(d.Holders, func(p ledger.DealPart) bool { return p.Proven == 0 })
	}, func() string { return said })
	part := keeperOf(t, alice, others, d)
	who := d.Holders[part].Node
	key, err := ledger.NodeKey(who)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // and once more
		others[who].Kill(t)
		pc.Eventually(t, "its part is nobody's", func() (ok bool) {
			d, said, ok = stat(t, alice)
			return ok && d.Holders[part].Node == "" && d.Kept == 3
		}, func() string { return said })
		others[who].Up(t)
		pc.Eventually(t, "it has its part again", func() (ok bool) {
			d, said, ok = stat(t, alice)
			return ok && d.Holders[part].Node == who && d.State == "kept"
		}, func() string { return said + others[who].Log(30) })
		back := d.Holders[part].Since
		pc.Eventually(t, "it proves it", func() (ok bool) {
			d, said, ok = stat(t, alice)
			return ok && d.Holders[part].Node == who && d.Holders[part].Proven > back
		}, func() string { return said + others[who].Log(30) })
	}
	if kept, err := l.KeptParts(t.Context(), key); err != nil || len(kept) != 1 {
		t.Errorf("its row has %v: %v", kept, err)
	}
}
