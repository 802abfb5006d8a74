package chain

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/node"
	"github.com/hpips/hpips/test/e2e/pc"
)

// block is a neighbourhood: alice, whose node has the seat of a chain with such days, and three others, by their nodes, all of whom may keep parts of deals.
func block(t *testing.T, day time.Duration) (alice *pc.PC, others map[string]*pc.PC, l *ledger.Ledger) {
	t.Helper()
	program, err := pc.Program(filepath.Join("..", ".."), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	alice = pc.New(t, program, "alice", "--dev", "--nodes", "1", "--no-provider")
	first := filepath.Join(alice.Home, "dev", "node-1")
	if err := node.Found(node.Founding{Ring: filepath.Join(alice.Home, "keys"), Homes: []string{first}, Seats: 1, EpochBlocks: 6, Heartbeat: time.Second, Day: day}); err != nil {
		t.Fatal(err)
	}
	alice.Launch(t)
	l = window(t, alice.Home)
	var last pc.Answer
	others = map[string]*pc.PC{}
	for _, name := range []string{"bob", "carol", "dave"} {
		p := pc.New(t, program, name, "--join", alice.Address(t), "--no-provider")
		p.Up(t)
		window(t, p.Home)
		p.Must(t, "wallet", "new", name, "--keyring", "test")
		pc.Eventually(t, name+" is registered", func() bool {
			last = p.Hpips(t, "chain", "register")
			return last.Code == 0
		}, func() string { return last.Stderr })
		others[p.Address(t)[strings.LastIndex(p.Address(t), "/")+1:]] = p
	}
	pc.Eventually(t, "all four are there, and offer room", func() bool {
		o, err := l.Offers(t.Context(), nil, 0)
		return err == nil && o.Eligible == 4
	}, func() string { return "" })
	return alice, others, l
}

// film is a file of 2.5 MiB, three leaves: its bytes and where it lies.
func film(t *testing.T, seed uint64) (content []byte, path string) {
	t.Helper()
	content = make([]byte, 5<<19+77)
	dice := rand.New(rand.NewPCG(seed, 2))
	for i := range content {
		content[i] = byte(dice.Uint32())
	}
	path = filepath.Join(t.TempDir(), "film")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return content, path
}

// Alice pays for a file: any two of three parts give it back, and three of four PCs keep one each. They are paid for each day on which they prove it. One of them is killed; the fourth makes its part anew from the others. A deal
// that alice ends gives back what it did not use.
func TestOthersKeepAlicesFile(t *testing.T) {
	alice, others, l := block(t, 15*time.Second)
	var last pc.Answer
	content, file := film(t, 1)
	id := strings.TrimSpace(alice.Must(t, "put", "-q", file))
	for what, row := range map[string]struct {
		args []string
		says string
	}{
		"more holders than there are": {[]string{"pin", id, "--copies", "5", "--from", "dev", "--yes"}, "4 could be found"},
		"a code of which none may go": {[]string{"pin", id, "--rs", "3/3", "--from", "dev", "--yes"}, "--rs"},
		"both":                        {[]string{"pin", id, "--rs", "2/3", "--copies", "2", "--from", "dev", "--yes"}, "exclude"},
		"no days":                     {[]string{"pin", id, "--for", "0d", "--from", "dev", "--yes"}, "--for"},
		"unasked":                     {[]string{"pin", id, "--from", "dev"}, "--yes"},
		"no such deal":                {[]string{"files", "stat", "99"}, "no deal"},
		"nothing about it":            {[]string{"files", "stat", id}, "no deal"},
		"no deal to end":              {[]string{"unpin", "99", "--from", "dev", "--yes"}, "no deal"},
	} {
		if a := alice.Hpips(t, row.args...); a.Code != 125 && a.Code != 126 && a.Code != 127 && a.Code != 1 || !strings.Contains(a.Stderr+a.Stdout, row.says) {
			t.Errorf("%s: exit %d, %s%s", what, a.Code, a.Stdout, a.Stderr)
		}
	}

	var made struct {
		Deal, MiB, Price uint64
		Deposit          json.RawMessage
	}
	reads(t, alice.Must(t, "pin", id, "--rs", "2/3", "--for", "100d", "--from", "dev", "--yes", "-o", "json"), &made)
	if made.Deal != 1 || made.MiB == 0 || made.Price != 1000 {
		t.Fatalf("the deal is %+v", made)
	}
	var told struct {
		Deals []struct {
			ledger.Deal
			Holders []ledger.DealPart
		}
	}
	stat := func() bool {
		last = alice.Hpips(t, "files", "stat", id, "-o", "json")
		told.Deals = nil
		return last.Code == 0 && json.Unmarshal([]byte(last.Stdout), &told) == nil && len(told.Deals) == 1
	}
	said := func() string { return last.Stdout + last.Stderr }
	pc.Eventually(t, "three keep it, and each has proven a day", func() bool {
		return stat() && told.Deals[0].State == "kept" && !slices.ContainsFunc(told.Deals[0].Holders, func(p ledger.DealPart) bool { return p.Proven == 0 })
	}, said)
	keepers := map[string]bool{}
	for _, p := range told.Deals[0].Holders {
		keepers[p.Node] = true
	}
	if len(keepers) != 3 {
		t.Fatalf("kept by %v", keepers)
	}
	var day struct {
		Day       uint64
		Providers []ledger.Earned
	}
	pc.Eventually(t, "a day is closed on which all three were paid for it", func() bool {
		last = alice.Hpips(t, "chain", "day", "-o", "json")
		return last.Code == 0 && json.Unmarshal([]byte(last.Stdout), &day) == nil && len(slices.DeleteFunc(slices.Clone(day.Providers), func(e ledger.Earned) bool { return len(e.Assets) == 0 })) == 3
	}, said)
	if last = alice.Hpips(t, "chain", "settle-verify", "--day", strconv.FormatUint(day.Day, 10)); last.Code != 0 {
		t.Errorf("settle-verify: exit %d, %s%s", last.Code, last.Stdout, last.Stderr)
	}

	lost := -1
	pc.Eventually(t, "one of them may go without the chain standing still", func() bool {
		var committee struct{ Seats []struct{ Node string } }
		last = alice.Hpips(t, "chain", "committee", "-o", "json")
		if last.Code != 0 || json.Unmarshal([]byte(last.Stdout), &committee) != nil {
			return false
		}
		lost = slices.IndexFunc(told.Deals[0].Holders, func(p ledger.DealPart) bool {
			sits := slices.ContainsFunc(committee.Seats, func(s struct{ Node string }) bool { return s.Node == p.Node })
			return others[p.Node] != nil && (!sits || len(committee.Seats) >= 4) // of three, two are no more than two thirds
		})
		return lost >= 0
	}, said)
	who := told.Deals[0].Holders[lost].Node
	others[who].Kill(t)
	fourth := ""
	for n := range others {
		if !keepers[n] {
			fourth = n
		}
	}
	pc.Eventually(t, "its part is another's", func() bool {
		return stat() && told.Deals[0].Holders[lost].Node != who && told.Deals[0].State == "kept"
	}, said)
	if got := told.Deals[0].Holders[lost].Node; fourth != "" && got != fourth {
		t.Errorf("part %d is kept by %s, not by %s", lost, got, fourth)
	}
	for n, p := range others {
		if n == who {
			continue
		}
		to := filepath.Join(t.TempDir(), "film")
		p.Must(t, "get", id, "-O", to)
		if got, err := os.ReadFile(to); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s reads %d bytes: %v", n, len(got), err)
		}
		break
	}
	alice.Must(t, "files", "extend", "1", "--for", "2d", "--from", "dev", "--yes")
	alice.Must(t, "unpin", "1", "--from", "dev", "--yes")
	balance, err := l.Balance(t.Context(), dev(t, alice.Home).Address())
	if err != nil {
		t.Fatal(err)
	}
	var list struct{ Deals []ledger.Deal }
	pc.Eventually(t, "the deal is over, and its rest is back", func() bool {
		last = alice.Hpips(t, "files", "ls", "-o", "json")
		now, err := l.Balance(t.Context(), dev(t, alice.Home).Address())
		return err == nil && last.Code == 0 && json.Unmarshal([]byte(last.Stdout), &list) == nil && len(list.Deals) == 0 && now.Balance > balance.Balance
	}, said)
}

// Bob's films are with others in parts, any two of three, and bob's PC burns. Alice, who has neither, reads one from what is left when a third of its holders is gone; of the other one holder is left, and she is told how many are missing. A day
// is long here: nobody makes lost parts anew.
func TestAnObjectComesBackFromItsParts(t *testing.T) {
	alice, others, l := block(t, time.Hour)
	home := ""
	for id, p := range others {
		if p.Name == "bob" {
			home = id
		}
	}
	bob := others[home]
	account := strings.TrimSpace(bob.Must(t, "wallet", "show", "-q", "bob"))
	alice.Must(t, "wallet", "send", "--yes", account, "10")
	bytesOf, ids, holders := [2][]byte{}, [2]string{}, [2][]string{}
	for i := range ids {
		content, path := film(t, uint64(7+i))
		bytesOf[i], ids[i] = content, strings.TrimSpace(bob.Must(t, "put", "-q", path))
		bob.Must(t, "pin", ids[i], "--rs", "2/3", "--for", "30d", "--from", "bob", "--yes")
		pc.Eventually(t, "three keep film "+strconv.Itoa(i), func() bool {
			_, parts, err := l.Deal(t.Context(), uint64(i+1))
			holders[i] = nil
			for _, p := range parts {
				if p.Node != "" {
					holders[i] = append(holders[i], p.Node)
				}
			}
			return err == nil && len(holders[i]) == 3
		}, func() string { return strings.Join(holders[i], ", ") })
	}
	dead := map[string]bool{}
	kill := func(id string) {
		if others[id] != nil && !dead[id] {
			others[id].Kill(t)
			dead[id] = true
		}
	}
	left := func(film int) (n int) {
		for _, id := range holders[film] {
			if !dead[id] {
				n++
			}
		}
		return n
	}
	kill(home)
	for _, id := range holders[0] {
		if left(0) == 3 {
			kill(id)
		}
	}
	to := filepath.Join(t.TempDir(), "film")
	alice.Must(t, "get", ids[0], "--timeout", "5s", "-O", to)
	if got, err := os.ReadFile(to); err != nil || !bytes.Equal(got, bytesOf[0]) || left(0) != 2 {
		t.Errorf("from %d of three parts alice reads %d bytes: %v", left(0), len(got), err)
	}
	for _, id := range holders[1] {
		if left(1) > 1 {
			kill(id)
		}
	}
	a := alice.Hpips(t, "get", ids[1], "--timeout", "5s", "-O", filepath.Join(t.TempDir(), "other"))
	if a.Code == 0 || left(1) != 1 || !strings.Contains(a.Stderr, "2 of 3 pieces are missing") || !strings.Contains(a.Stderr, "1 are there, 2 are needed: 1 more of their holders have to come back") || !strings.Contains(a.Stderr, "hpips files stat") {
		t.Errorf("of one part: exit %d, %s", a.Code, a.Stderr)
	}
	if a := alice.Hpips(t, "files", "stat", ids[1]); a.Code != 0 || !strings.Contains(a.Stdout, "3 of 3 kept; what is lost is made anew at once") {
		t.Errorf("what is said of it before a day is over: exit %d, %s%s", a.Code, a.Stdout, a.Stderr)
	}
}
