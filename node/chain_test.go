package node

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
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
	"github.com/hpips/hpips/chain/full"
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

// A genesis file that the owner names says which block to trust; one that a peer gives does not. A newer block that the owner named stays.
func TestAGenesisFileSaysWhatToTrust(t *testing.T) {
	home := t.TempDir()
	if err := Found(Founding{Ring: filepath.Join(home, "keys"), Homes: []string{home}, Seats: 1}); err != nil {
		t.Fatal(err)
	}
	plain, err := os.ReadFile(filepath.Join(home, chainDir, genesisFile))
	if err != nil {
		t.Fatal(err)
	}
	point := full.Trust{Height: 9, Hash: bytes.Repeat([]byte{9}, 32)}
	text, err := full.WithTrust(plain, point)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "genesis.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	fresh := func() *chaining {
		c := &chaining{dir: t.TempDir(), log: slog.New(slog.DiscardHandler)}
		if err := os.MkdirAll(c.path(), 0o700); err != nil {
			t.Fatal(err)
		}
		return c
	}
	trusts := func(c *chaining, want string) {
		t.Helper()
		if got, err := c.trust(); err != nil || got == nil && want != "" || got != nil && got.String() != want {
			t.Errorf("trusts %v, %v; want %q", got, err, want)
		}
	}
	named, given, hand, later := fresh(), fresh(), fresh(), fresh()
	if err := named.pin(file); err != nil { // hpips up --genesis FILE
		t.Fatal(err)
	}
	kept, err := os.ReadFile(named.path(genesisFile))
	if err != nil || string(kept) != string(plain) {
		t.Errorf("the genesis is another one with a trust point beside it: %v", err)
	}
	if named.genesis, err = named.check(kept); err != nil || named.genesis.summary.Hash != named.wanted {
		t.Fatalf("%v", err)
	}
	trusts(named, point.String())
	if err := given.adopt(text); err != nil { // from a peer
		t.Fatal(err)
	}
	trusts(given, "")
	if hand.genesis, err = hand.check(text); err != nil { // put into the home
		t.Fatal(err)
	}
	trusts(hand, point.String())
	if err := os.WriteFile(later.path(trustFile), []byte("12:"+strings.Repeat("0C", 32)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := later.pin(file); err != nil {
		t.Fatal(err)
	}
	later.genesis = named.genesis
	trusts(later, "12:"+strings.Repeat("0C", 32))
	if err := fresh().pin(spoiled(t, text)); err == nil || !strings.Contains(err.Error(), "HEIGHT:HASH") {
		t.Errorf("a trust point that is none: %v", err)
	}
}

// spoiled is a genesis file whose trust point is none.
func spoiled(t *testing.T, text []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "spoiled.json")
	if err := os.WriteFile(name, bytes.Replace(text, []byte(`"trust": "9:`), []byte(`"trust": "x:`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// Bob runs a release that knows a block of alice's chain, and was told another by alice. Carol's chain is another one.
func TestTheNewestBlockThatIsKnownIsTrusted(t *testing.T) {
	alices, carols, hash := strings.Repeat("a1", 32), strings.Repeat("ca", 32), strings.Repeat("0F", 32)
	in := func(height int64) *full.Trust {
		return &full.Trust{Height: height, Hash: bytes.Repeat([]byte{0x0f}, 32)}
	}
	for _, row := range []struct {
		built, told string
		genesis     *full.Trust
		want        string
	}{
		{"", "", nil, ""},
		{alices + ":70:" + hash, "", nil, "70:" + hash},
		{carols + ":70:" + hash, "", nil, ""},
		{alices + ":70:" + hash, "71:" + hash, nil, "71:" + hash},
		{alices + ":70:" + hash, "69:" + hash, nil, "70:" + hash},
		{carols + ":70:" + hash, "69:" + hash, nil, "69:" + hash},
		{alices + ":70", "", nil, "wrong"},
		{"", "", in(5), "5:" + hash},
		{alices + ":70:" + hash, "69:" + hash, in(71), "71:" + hash},
		{alices + ":70:" + hash, "69:" + hash, in(68), "70:" + hash},
		{"", "69:" + hash, in(68), "69:" + hash},
	} {
		c := &chaining{dir: t.TempDir(), genesis: &genesis{summary: chain.Summary{Hash: alices}, trust: row.genesis}}
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
