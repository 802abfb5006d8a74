package node

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/chain"
	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/spec/money"
)

// follows waits until a node's chain is as wanted.
func (r *running) follows(t *testing.T, what string, wanted func(client.ChainStatus) bool) client.ChainStatus {
	t.Helper()
	var last client.ChainStatus
	eventually(t, what, func() bool {
		st, err := r.api.Status(t.Context())
		if err != nil || st.Chain == nil {
			return false
		}
		last = *st.Chain
		return wanted(last)
	})
	return last
}

func window(t *testing.T, home string) *ledger.Ledger {
	t.Helper()
	name := filepath.Join(home, ChainAddressFile)
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(name); err != nil || runtime.GOOS != "windows" && fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi, err)
	}
	l, err := ledger.Open(strings.TrimSpace(string(text)), ledger.Default())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestADevelopmentNetworkHasItsChain(t *testing.T) {
	cfg := quiet(t)
	cfg.Chain, cfg.ChainNode.Seats = true, 2
	began := time.Now()
	h, err := Dev(t.Context(), cfg, 3)
	dev := start(t, h, err)
	first := dev.follows(t, "a block with two seats", func(c client.ChainStatus) bool { return c.Height > 0 && c.Seats == 2 })
	t.Logf("the first block was seen after %v", time.Since(began))
	if !first.Seated || first.ID != devChain || first.RPC == "" {
		t.Errorf("%+v", first)
	}
	if dev.members[2].chain != nil {
		t.Error("the third of two seats runs a chain node")
	}
	ring, err := ledger.OpenKeys(filepath.Join(cfg.Home, "keys"), ledger.StoreTest, nil)
	if err != nil {
		t.Fatal(err)
	}
	owner, err := ring.Signer(devOwner)
	if err != nil {
		t.Fatal(err)
	}
	l := window(t, cfg.Home)
	b, err := l.Balance(t.Context(), owner.Address())
	if err != nil || b.Balance != devGrant {
		t.Errorf("the owner holds %v, %v", b, err)
	}
	pay, err := ledger.Pay(owner.Address(), dev.members[0].chain.spend.Address(), money.Scale)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Send(t.Context(), owner, pay); err != nil {
		t.Fatalf("a payment: %v", err)
	}
	if err := dev.stop(); err != nil && !strings.Contains(err.Error(), "canceled") {
		t.Errorf("stop: %v", err)
	}
	if _, err := os.Stat(filepath.Join(cfg.Home, ChainAddressFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the address of a chain node that is gone is still there: %v", err)
	}
	h, err = Dev(t.Context(), cfg, 3)
	again := start(t, h, err)
	second := again.follows(t, "the chain goes on", func(c client.ChainStatus) bool { return c.Height > first.Height })
	if second.Genesis != first.Genesis {
		t.Error("a second start founds a second chain")
	}
	_ = again.stop()
	text, err := os.ReadFile(filepath.Join(cfg.Home, "logs", "hpips.log"))
	if err != nil || !strings.Contains(string(text), "Node is up") {
		t.Fatalf("%v: %s", err, text)
	}
	for line := range strings.Lines(string(text)) { // until the first block nobody can ask, which is no fault
		if strings.Contains(line, "level=WARN") && (strings.Contains(line, "Audits cannot") || strings.Contains(line, "Pay cannot")) {
			t.Error(line)
		}
	}
}

// Alice has a chain. Bob joins her, follows it, registers with her help, and draws in time.
func TestBobJoinsAlicesChain(t *testing.T) {
	alices, bobs := quiet(t), quiet(t)
	alices.Chain, bobs.Chain = true, true
	ring := filepath.Join(alices.Home, "keys")
	if err := Found(Founding{Ring: ring, Homes: []string{alices.Home}, Seats: 1, Heartbeat: time.Second, EpochBlocks: 4}); err != nil {
		t.Fatal(err)
	}
	h, err := New(t.Context(), alices)
	alice := start(t, h, err)
	alice.follows(t, "a block", func(c client.ChainStatus) bool { return c.Height > 0 && c.Seated })

	carols := quiet(t)
	carols.Chain, carols.Join, carols.ChainNode.Genesis = true, alice.Addresses(), strings.Repeat("00", 32)
	h, err = New(t.Context(), carols)
	carol := start(t, h, err)

	bobs.Join = alice.Addresses()
	h, err = New(t.Context(), bobs)
	bob := start(t, h, err)
	got := bob.follows(t, "bob is at the head", func(c client.ChainStatus) bool { return c.Height > 1 && !c.CatchingUp })
	if got.Seated || got.Peers == 0 {
		t.Errorf("%+v", got)
	}

	owners, err := ledger.OpenKeys(ring, ledger.StoreTest, nil)
	if err != nil {
		t.Fatal(err)
	}
	owner, err := owners.Signer(devOwner)
	if err != nil {
		t.Fatal(err)
	}
	e, err := bob.api.Registration(t.Context(), owner.Address())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bob.api.Register(t.Context(), e); err == nil {
		t.Error("a registration without its owner is carried")
	}
	if e.OwnerKey, e.Owner, err = ledger.SignWord(owner, e.Signed); err != nil {
		t.Fatal(err)
	}
	told, err := bob.api.Register(t.Context(), e)
	if err != nil || told.Tx == "" {
		t.Fatalf("%+v, %v", told, err)
	}
	bob.follows(t, "bob has a seat", func(c client.ChainStatus) bool { return c.Seated && c.Seats == 2 })
	l := window(t, bobs.Home)
	nodes, err := l.Nodes(t.Context(), owner.Address())
	if err != nil || len(nodes) != 2 || !slices.ContainsFunc(nodes, func(n ledger.Node) bool { return n.Node == bob.ID() }) {
		t.Errorf("%+v, %v", nodes, err)
	}
	if err := bob.api.StepDown(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "bob leaves", func() bool {
		c, err := l.Committee(t.Context())
		return err == nil && len(c.Seats) == 1 || len(c.Seats) == 2 && slices.ContainsFunc(c.Seats, func(s ledger.Seat) bool { return s.Leaving })
	})

	if st, err := carol.api.Status(t.Context()); err != nil || st.Chain != nil {
		t.Errorf("carol wants another chain and follows %+v, %v", st.Chain, err)
	}
	if _, err := carol.api.Registration(t.Context(), owner.Address()); err == nil || !strings.Contains(err.Error(), "no chain") {
		t.Errorf("a node without a chain registers: %v", err)
	}
}

// Between alice's look at the usual ports and her use of them somebody takes one.
func TestAPortThatIsTakenMeanwhileIsReplaced(t *testing.T) {
	cfg := quiet(t)
	cfg.Chain = true
	if err := Found(Founding{Ring: filepath.Join(cfg.Home, "keys"), Homes: []string{cfg.Home}, Seats: 1}); err != nil {
		t.Fatal(err)
	}
	if l, err := net.Listen("tcp", "127.0.0.1:26657"); err == nil { // else somebody has it already
		defer l.Close()
	}
	h, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	h.first().chain.free = func(string) bool { return true }
	alice := start(t, h, nil)
	st := alice.follows(t, "a block", func(c client.ChainStatus) bool { return c.Height > 0 })
	if st.RPC == "" || strings.HasSuffix(st.RPC, ":26657") {
		t.Errorf("RPC at %q", st.RPC)
	}
}

func TestTheGenesisIsTheOneThatIsAskedFor(t *testing.T) {
	cfg := quiet(t)
	cfg.Chain = true
	if err := Found(Founding{Ring: filepath.Join(cfg.Home, "keys"), Homes: []string{cfg.Home}, Seats: 1}); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(cfg.Home, chainDir, genesisFile)
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	g, err := readGenesis(text)
	if err != nil {
		t.Fatal(err)
	}
	damaged := filepath.Join(t.TempDir(), "damaged.json")
	if err := os.WriteFile(damaged, []byte(strings.Replace(string(text), `"dev"`, `"public"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ asked, says string }{
		{strings.Repeat("00", 32), "asked for is"},
		{damaged, "--genesis"},
		{filepath.Join(cfg.Home, "none.json"), "--genesis"},
		{g.summary.Hash, ""},
		{name, ""},
		{"", ""}, // what was asked for holds on
	} {
		cfg.ChainNode.Genesis = row.asked
		h, err := New(t.Context(), cfg)
		if row.says == "" {
			if err != nil || h.first().chain.wanted != g.summary.Hash {
				t.Errorf("%q: %v", row.asked, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%q: %v", row.asked, err)
		}
		if h != nil {
			if err := h.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// Bob runs a release that knows a block of alice's chain, and was told another by alice. Carol's chain is another one.
func TestTheNewestBlockThatIsKnownIsTrusted(t *testing.T) {
	alices, carols, hash := strings.Repeat("a1", 32), strings.Repeat("ca", 32), strings.Repeat("0F", 32)
	for _, row := range []struct{ built, told, want string }{
		{"", "", ""},
		{alices + ":70:" + hash, "", "70:" + hash},
		{carols + ":70:" + hash, "", ""},
		{alices + ":70:" + hash, "71:" + hash, "71:" + hash},
		{alices + ":70:" + hash, "69:" + hash, "70:" + hash},
		{carols + ":70:" + hash, "69:" + hash, "69:" + hash},
		{alices + ":70", "", "wrong"},
	} {
		c := &chaining{dir: t.TempDir(), genesis: &genesis{summary: chain.Summary{Hash: alices}}}
		c.cfg.ChainNode.Checkpoint = row.built
		if err := os.MkdirAll(c.path(), 0o700); err != nil {
			t.Fatal(err)
		}
		if row.told != "" {
			if err := os.WriteFile(c.path(trustFile), []byte(row.told+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got, err := c.trust()
		if text := fmt.Sprint(got); row.want == "wrong" && err == nil || row.want == "" && (err != nil || got != nil) ||
			row.want != "" && row.want != "wrong" && (err != nil || text != row.want) {
			t.Errorf("%+v: %s, %v", row, text, err)
		}
	}
}
