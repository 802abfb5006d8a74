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

// Alice pays for a file: any two of three parts give it back, and three of four PCs keep one each. They are paid for each day on which they prove it. One of them is killed; the fourth makes its part anew from the others. A deal
// that alice ends gives back what it did not use.
func TestOthersKeepAlicesFile(t *testing.T) {
	program, err := pc.Program(filepath.Join("..", ".."), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	alice := pc.New(t, program, "alice", "--dev", "--nodes", "1", "--no-provider")
	first := filepath.Join(alice.Home, "dev", "node-1")
	err = node.Found(node.Founding{Ring: filepath.Join(alice.Home, "keys"), Homes: []string{first}, Seats: 1, EpochBlocks: 6, Heartbeat: time.Second, Day: 15 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	alice.Launch(t)
	l := window(t, alice.Home)
	var last pc.Answer
	others := map[string]*pc.PC{} // by node
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
	pc.Eventually(t, "all four are there", func() bool {
		o, err := l.Offers(t.Context(), nil, 0)
		return err == nil && o.Eligible == 4
	}, func() string { return "" })

	content := make([]byte, 5<<19+77)
	dice := rand.New(rand.NewPCG(1, 2))
	for i := range content {
		content[i] = byte(dice.Uint32())
	}
	file := filepath.Join(t.TempDir(), "film")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
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

	lost := slices.IndexFunc(told.Deals[0].Holders, func(p ledger.DealPart) bool { return others[p.Node] != nil })
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
	var balance ledger.Balance
	alice.Must(t, "unpin", "1", "--from", "dev", "--yes")
	if balance, err = l.Balance(t.Context(), dev(t, alice.Home).Address()); err != nil {
		t.Fatal(err)
	}
	var list struct{ Deals []ledger.Deal }
	pc.Eventually(t, "the deal is over, and its rest is back", func() bool {
		last = alice.Hpips(t, "files", "ls", "-o", "json")
		now, err := l.Balance(t.Context(), dev(t, alice.Home).Address())
		return err == nil && last.Code == 0 && json.Unmarshal([]byte(last.Stdout), &list) == nil && len(list.Deals) == 0 && now.Balance > balance.Balance
	}, said)
}
