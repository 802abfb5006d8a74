package chain

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/node"
	"github.com/hpips/hpips/test/e2e/pc"
)

// Alice founds a chain, bob joins it. Each segment of its blocks is held by both. Alice's computer is off when carol's new home comes from what bob holds: she has the state that alice had, and follows the chain as soon as
// alice is back. What contradicts the block that dave trusts leaves nothing in his home.
func TestAHomeComesFromTheArchive(t *testing.T) {
	t.Parallel()
	program, err := pc.Program(filepath.Join("..", ".."), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	alice := pc.New(t, program, "alice", "--dev", "--nodes", "1", "--no-provider")
	first := filepath.Join(alice.Home, "dev", "node-1")
	err = node.Found(node.Founding{Ring: filepath.Join(alice.Home, "keys"), Homes: []string{first}, Seats: 1, EpochBlocks: 6, Heartbeat: time.Second, Day: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	alice.Launch(t)
	l := window(t, alice.Home)
	bob := pc.New(t, program, "bob", "--join", alice.Address(t), "--no-provider")
	bob.Up(t)
	window(t, bob.Home)
	bob.Must(t, "wallet", "new", "bob", "--keyring", "test")
	var last pc.Answer
	pc.Eventually(t, "bob is registered", func() bool {
		last = bob.Hpips(t, "chain", "register")
		return last.Code == 0
	}, func() string { return last.Stderr })
	var a struct {
		Copies   int
		Segments []struct {
			Number, Bytes uint64
			From, To      int64
			CID           string
			Holders, Held []string
		}
		Nodes []ledger.PieceHolder
	}
	pc.Eventually(t, "three segments are recorded, and held by both", func() bool {
		last = bob.Hpips(t, "chain", "archive", "-o", "json")
		return last.Code == 0 && json.Unmarshal([]byte(last.Stdout), &a) == nil && len(a.Segments) >= 3 && len(a.Segments[2].Holders) == 2 && len(a.Segments[2].Held) == 2
	}, func() string { return last.Stdout + last.Stderr })
	end := int64(0)
	for i, s := range a.Segments {
		if s.Number != uint64(i+1) || s.From != end+1 || s.To < s.From || s.Bytes == 0 || a.Copies != 51 {
			t.Fatalf("the archive is %+v", a)
		}
		end = s.To
	}
	end = a.Segments[2].To
	pc.Eventually(t, "bob has the third of them", func() bool {
		last = bob.Hpips(t, "ls", a.Segments[2].CID)
		return last.Code == 0
	}, func() string { return last.Stdout + last.Stderr })
	pc.Eventually(t, "alice and bob have proven two days", func() bool {
		last = bob.Hpips(t, "chain", "archive", "-o", "json")
		a.Nodes = nil
		return last.Code == 0 && json.Unmarshal([]byte(last.Stdout), &a) == nil && len(a.Nodes) == 2 &&
			!slices.ContainsFunc(a.Nodes, func(h ledger.PieceHolder) bool { return h.Standing != "holding" || h.Pieces < 3 || h.Proven < 2 })
	}, func() string { return last.Stdout + last.Stderr })
	var holders [2]string
	for i, h := range a.Nodes {
		holders[i] = h.Node
	}
	if nobody := alice.Hpips(t, "chain", "doubt", "nobody", "--from", "dev", "--yes"); nobody.Code != 125 {
		t.Errorf("a doubt about nobody: exit %d, %s", nobody.Code, nobody.Stderr)
	}
	alice.Must(t, "chain", "doubt", holders[0], "--from", "dev", "--yes")
	pc.Eventually(t, "who is doubted has shown the chain what it keeps", func() bool {
		last = bob.Hpips(t, "chain", "archive", "-o", "json")
		a.Nodes = nil
		if last.Code != 0 || json.Unmarshal([]byte(last.Stdout), &a) != nil {
			return false
		}
		i := slices.IndexFunc(a.Nodes, func(h ledger.PieceHolder) bool { return h.Node == holders[0] })
		return i >= 0 && a.Nodes[i].Doubted > 0 && a.Nodes[i].Proven >= a.Nodes[i].Doubted
	}, func() string { return last.Stdout + last.Stderr })
	var paid struct{ Providers []ledger.Earned }
	pc.Eventually(t, "a day is closed for which both were paid what they proved", func() bool {
		last = alice.Hpips(t, "chain", "day", "-o", "json")
		return last.Code == 0 && json.Unmarshal([]byte(last.Stdout), &paid) == nil && len(paid.Providers) == 2 &&
			!slices.ContainsFunc(paid.Providers, func(e ledger.Earned) bool {
				return e.Stored != 1 || !slices.Contains(holders[:], e.Node) || e.Duty == "0"
			})
	}, func() string { return last.Stdout + last.Stderr })
	if last = alice.Hpips(t, "chain", "settle-verify"); last.Code != 0 {
		t.Errorf("settle-verify: exit %d, %s%s", last.Code, last.Stdout, last.Stderr)
	}
	trusted, err1 := l.Block(t.Context(), 5)
	after, err2 := l.Block(t.Context(), end)
	genesis, err3 := os.ReadFile(filepath.Join(first, "chain", "genesis.json"))
	if err1 != nil || err2 != nil || err3 != nil {
		t.Fatal(err1, err2, err3)
	}
	file := filepath.Join(t.TempDir(), "genesis.json")
	if err := os.WriteFile(file, genesis, 0o600); err != nil {
		t.Fatal(err)
	}
	alice.Kill(t)

	rebuilds := func(name, trust string) (*pc.PC, pc.Answer) {
		p := pc.New(t, program, name, "--join", bob.Address(t), "--no-provider")
		p.Must(t, "chain", "join", file, "--trust", trust)
		return p, p.Hpips(t, "chain", "rebuild", "--from-ipfs", "--join", bob.Address(t), "--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns", "-o", "json")
	}
	carol, told := rebuilds("carol", "5:"+trusted.Hash)
	var r struct {
		Height   int64
		AppHash  string
		Segments int
	}
	if told.Code != 0 || json.Unmarshal([]byte(told.Stdout), &r) != nil || r.Segments < 3 || r.Height < end-1 {
		t.Fatalf("carol: exit %d, %s%s", told.Code, told.Stdout, told.Stderr)
	}
	if r.Height == end-1 && !strings.EqualFold(r.AppHash, after.AppHash) {
		t.Errorf("carol's state after block %d is %s, alice's was %s", r.Height, r.AppHash, after.AppHash)
	}
	dave, told := rebuilds("dave", "5:"+strings.Repeat("AB", 32))
	if told.Code != 125 || !strings.Contains(told.Stdout, "history is not the one you trust") || !strings.Contains(told.Stdout, `"hint"`) {
		t.Errorf("dave: exit %d, %s%s", told.Code, told.Stdout, told.Stderr)
	}
	if _, err := os.Stat(filepath.Join(dave.Home, "chain", "data")); !os.IsNotExist(err) {
		t.Errorf("dave has blocks: %v", err)
	}
	erin := pc.New(t, program, "erin", "--join", bob.Address(t), "--no-provider")
	erin.Must(t, "chain", "join", file, "--trust", "5:"+trusted.Hash)
	if killed := cutOff(t, erin, "chain", "rebuild", "--from-ipfs", "--join", bob.Address(t), "--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns"); !killed {
		t.Error("erin's rebuilding was over before it was killed")
	}
	told = erin.Hpips(t, "chain", "rebuild", "--from-ipfs", "--join", bob.Address(t), "--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns", "-o", "json")
	if told.Code != 0 || json.Unmarshal([]byte(told.Stdout), &r) != nil || r.Height < end-1 || r.Height == end-1 && !strings.EqualFold(r.AppHash, after.AppHash) {
		t.Errorf("erin after a kill: exit %d, %s%s", told.Code, told.Stdout, told.Stderr)
	}
	if told = carol.Hpips(t, "chain", "rebuild", "--from-ipfs"); told.Code != 125 || !strings.Contains(told.Stderr, "has blocks already") {
		t.Errorf("carol once more: exit %d, %s", told.Code, told.Stderr)
	}

	alice.Launch(t)
	carol.Launch(t)
	pc.Eventually(t, "carol is at the head, and it is new", func() bool {
		var st ledger.Status
		last = carol.Hpips(t, "chain", "status", "-o", "json")
		return last.Code == 0 && json.Unmarshal([]byte(last.Stdout), &st) == nil && !st.CatchingUp && st.Height > r.Height+4 && st.Oldest == 1
	}, func() string { return last.Stdout + last.Stderr })
	if now, err := window(t, carol.Home).Block(t.Context(), end); err != nil || now.AppHash != after.AppHash || now.Hash != after.Hash {
		t.Errorf("carol's block %d is %+v, alice's %+v: %v", end, now, after, err)
	}
}

// cutOff kills a command as soon as it has begun to rebuild the home; false: it came to its end before that.
func cutOff(t *testing.T, p *pc.PC, args ...string) bool {
	t.Helper()
	cmd := p.Command(t.Context(), args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for late := time.After(pc.Patience); ; {
		select {
		case <-tick.C:
		case err := <-ended:
			t.Logf("it ended: %v", err)
			return false
		case <-late:
			t.Fatal("it does not begin")
		}
		if _, err := os.Stat(filepath.Join(p.Home, "chain", "data")); err != nil {
			continue
		}
		_ = cmd.Process.Kill() // it may have ended just now
		return <-ended != nil
	}
}
