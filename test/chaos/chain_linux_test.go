package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	rpchttp "github.com/cometbft/cometbft/rpc/client/http"
	"github.com/cosmos/gogoproto/proto"

	"github.com/hpips/hpips/chain"
	"github.com/hpips/hpips/chain/audit"
	"github.com/hpips/hpips/chain/reward"
	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/node"
	"github.com/hpips/hpips/proto/gen/auditv1"
	"github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/seat"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/spec/sortition"
	"github.com/hpips/hpips/test/e2e/pc"
)

const villageChain = "hpips-village-1"

// plan is a village to be built.
type plan struct {
	names  []string
	seats  int  // the first so many sit at the beginning; 0: all
	payers int  // accounts with money of their own
	lines  bool // each PC has a network of its own, with a line to the others that can be cut
	age    time.Duration
	tune   func(*committeev1.Params)
	levy   uint64 // base units that a node's work must have brought before a ticket of it is renewed
	trade  trade
	jury   *auditv1.Params // how results are audited; nil: as on a development network
}

// trade is who works for whom in a village; the zero one is that nobody does.
type trade struct {
	known int           // the first so many are registered, with a seat or without
	sells []string      // who offers a slot
	buys  string        // whose node the first payer allows to pay
	keeps string        // who keeps all blocks
	day   time.Duration // of the chain
	price string        // in HPIPS for an hour; "": as usual
	apart bool          // each PC has an owner of its own, and the buyer's is the first payer
}

// village is several PCs that follow one chain.
type village struct {
	t       *testing.T
	rng     *rand.Rand
	folk    []*citizen
	owner   *ledger.Secret // of all nodes
	payers  []*ledger.Secret
	genesis []byte
	wire    *wire
	trade   trade
}

// citizen is one PC of the village.
type citizen struct {
	*pc.PC
	t       *testing.T
	keys    node.ChainKeys
	program string // a script that starts the binary, in the network of the PC
	ns      *space // nil: that of the test
	at      string // multiaddr of the PC
	join    []string

	mu     sync.Mutex
	rpc    *rpchttp.HTTP
	window *ledger.Ledger
}

// newVillage makes the homes, and a genesis that names the first as seats; nobody runs yet.
func newVillage(t *testing.T, p plan) *village {
	t.Helper()
	v := &village{t: t, rng: rand.New(rand.NewPCG(*seed, uint64(len(t.Name())))), owner: account(t, "owner"), trade: p.trade}
	if p.lines {
		v.wire = newWire(t)
	}
	if p.seats == 0 {
		p.seats = len(p.names)
	}
	for _, name := range p.names {
		v.settle(name)
	}
	g := chain.Genesis{Network: chain.Dev, ChainID: villageChain, Time: time.Now().UTC().Add(-p.age), Heartbeat: 2 * time.Second, EpochBlocks: 1000, Tune: p.tune, Day: p.trade.day}
	g.Grants = append(g.Grants, chain.Grant{Address: v.owner.Address(), Amount: 1000 * money.Scale, From: "community", Label: "owner"})
	for i := range p.payers {
		a := account(t, fmt.Sprintf("payer %d", i))
		v.payers = append(v.payers, a)
		g.Grants = append(g.Grants, chain.Grant{Address: a.Address(), Amount: 1000 * money.Scale, From: "community", Label: fmt.Sprintf("payer %d", i)})
	}
	for _, c := range v.folk[:p.seats] {
		g.Seats = append(g.Seats, v.enrol(c, 0))
	}
	v.trades(&g)
	doc, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	if p.levy > 0 {
		rules := reward.Development()
		rules.TicketLevy = p.levy
		text, err := reward.Genesis(rules)
		doc.AppState = ruled(t, doc.AppState, reward.Name, text, err)
	}
	if p.jury != nil {
		text, err := audit.Genesis(*p.jury)
		doc.AppState = ruled(t, doc.AppState, audit.Name, text, err)
	}
	if v.genesis, err = chain.GenesisBytes(doc); err != nil {
		t.Fatal(err)
	}
	for _, c := range v.folk {
		c.write("chain/genesis.json", string(v.genesis))
	}
	return v
}

// trades registers the sellers without a seat, and lets the first payer's money be spent by the buyer's node.
func (v *village) trades(g *chain.Genesis) {
	v.t.Helper()
	for _, c := range v.folk[len(g.Seats):max(len(g.Seats), v.trade.known)] {
		g.Nodes = append(g.Nodes, v.enrol(c, 0))
	}
	for _, c := range v.folk {
		if c.Name != v.trade.buys {
			continue
		}
		spend, err := node.LoadSpendKey(c.Home)
		if err != nil {
			v.t.Fatal(err)
		}
		if err := node.NamePayer(c.Home, v.payers[0].Address()); err != nil {
			v.t.Fatal(err)
		}
		g.Allowances = append(g.Allowances, chain.Allowance{Owner: v.payers[0].Address(), Spender: spend.Address(), Daily: 1000 * money.Scale})
		g.Grants = append(g.Grants, chain.Grant{Address: spend.Address(), Amount: money.Scale, From: "community", Label: "spending key"})
	}
}

// ruled gives a module of a genesis other parameters.
func ruled(t *testing.T, state json.RawMessage, module string, text json.RawMessage, err error) json.RawMessage {
	t.Helper()
	var modules map[string]json.RawMessage
	err1 := json.Unmarshal(state, &modules)
	modules[module] = text
	state, err2 := json.Marshal(modules)
	if err := errors.Join(err, err1, err2); err != nil {
		t.Fatal(err)
	}
	return state
}

// account is the secret of a name.
func account(t *testing.T, name string) *ledger.Secret {
	t.Helper()
	raw := [32]byte{1}
	copy(raw[1:], name)
	s, err := ledger.KeySigner(raw[:])
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// settle gives the village one more PC, which joins two of those before it.
func (v *village) settle(name string) *citizen {
	v.t.Helper()
	c := &citizen{t: v.t, program: filepath.Join(v.t.TempDir(), name+".sh")}
	flags := []string{"--slots", "1"}
	if !slices.Contains(v.trade.sells, name) {
		flags = append(flags, "--no-provider")
	}
	if v.trade.price != "" {
		flags = append(flags, "--price", v.trade.price)
	}
	if v.trade.keeps == name {
		flags = append(flags, "--archive")
	}
	c.PC = pc.New(v.t, c.program, name, flags...)
	host, port := "127.0.0.1", vacant(v.t)
	if v.wire != nil {
		c.ns = v.wire.plug()
		host, port = c.ns.ip, "4711"
	}
	c.at = fmt.Sprintf("/ip4/%s/tcp/%s", host, port)
	c.runs(built.hpips)
	var err error
	if c.keys, err = node.LoadChainKeys(c.Home); err != nil {
		v.t.Fatal(err)
	}
	if c.ns == nil { // many chain nodes share this loopback
		c.write(node.ConfigFile, fmt.Sprintf("version = 1\n[chain]\nlisten = \"127.0.0.1:%s\"\nrpc = \"127.0.0.1:%s\"\ngrpc = \"127.0.0.1:0\"\nrest = \"127.0.0.1:0\"\n", vacant(v.t), vacant(v.t)))
	}
	for _, to := range v.folk {
		c.join = append(c.join, to.address())
	}
	c.join = c.join[:min(2, len(c.join))]
	v.folk = append(v.folk, c)
	return c
}

// ownerOf is whose a PC is.
func (v *village) ownerOf(c *citizen) *ledger.Secret {
	switch {
	case !v.trade.apart:
		return v.owner
	case c.Name == v.trade.buys:
		return v.payers[0]
	}
	return account(v.t, "owner of "+c.Name)
}

// enrol registers a PC for its owner.
func (v *village) enrol(c *citizen, height int64) chain.GenesisNode {
	v.t.Helper()
	owner := v.ownerOf(c)
	e, err := c.keys.Enrol(villageChain, owner.Address(), height)
	if err != nil {
		v.t.Fatal(err)
	}
	n := chain.GenesisNode{Registration: e.Word, NodeSignature: e.Node, ConsensusSignature: e.Consensus, VRFProof: e.VRF}
	if n.OwnerKey, n.OwnerSignature, err = ledger.SignWord(owner, e.Signed); err != nil {
		v.t.Fatal(err)
	}
	return n
}

// given are the ports that PCs of this process have.
var given sync.Map

// vacant is a free port below those that the system gives to whoever asks for any: it stays free until its PC is started, and between its lives.
func vacant(t *testing.T) string {
	t.Helper()
	for range 1000 {
		port := fmt.Sprint(20_000 + rand.IntN(12_000))
		if _, taken := given.LoadOrStore(port, true); taken {
			continue
		}
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return ""
}

// runs says which binary the PC runs in its next life.
func (c *citizen) runs(binary string) {
	c.t.Helper()
	enter := ""
	if c.ns != nil {
		enter = c.ns.enter() + " "
	}
	text := fmt.Sprintf("#!/bin/sh\nexec %s'%s' \"$@\"\n", enter, binary)
	if err := os.WriteFile(c.program, []byte(text), 0o700); err != nil {
		c.t.Fatal(err)
	}
}

func (c *citizen) write(name, text string) {
	c.t.Helper()
	name = filepath.Join(c.Home, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// address is what others join the PC by.
func (c *citizen) address() string {
	id, err := seat.PeerOf(sortition.Key(c.node()))
	if err != nil {
		c.t.Fatal(err)
	}
	return c.at + "/p2p/" + id.String()
}

func (c *citizen) node() []byte { return c.keys.Node[32:] }

// start begins a life of the PC and waits for nothing.
func (c *citizen) start() {
	c.t.Helper()
	_ = os.Remove(filepath.Join(c.Home, node.ChainAddressFile)) // of a life that was killed
	c.mu.Lock()
	c.rpc, c.window = nil, nil
	c.mu.Unlock()
	flags := []string{"--listen", c.at}
	for _, a := range c.join {
		flags = append(flags, "--join", a)
	}
	c.Launch(c.t, flags...)
}

// look is the window to the chain through this PC's node; an error where it does not answer yet.
func (c *citizen) look() (*rpchttp.HTTP, *ledger.Ledger, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.window != nil {
		return c.rpc, c.window, nil
	}
	text, err := os.ReadFile(filepath.Join(c.Home, node.ChainAddressFile))
	if err != nil {
		return nil, nil, err
	}
	dial := (&net.Dialer{}).DialContext
	if c.ns != nil {
		dial = c.ns.dial
	}
	web := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 4}}
	rpc, err := rpchttp.NewWithClient(strings.TrimSpace(string(text)), "/websocket", web)
	if err != nil {
		return nil, nil, err
	}
	window, err := ledger.New(rpc, ledger.Config{Patience: pc.Patience})
	if err != nil {
		return nil, nil, err
	}
	c.rpc, c.window = rpc, window
	return rpc, window, nil
}

// height is that of the PC's last block; 0 while it does not answer.
func (c *citizen) height() int64 {
	rpc, _, err := c.look()
	if err != nil {
		return 0
	}
	ctx, stop := context.WithTimeout(context.Background(), 5*time.Second)
	defer stop()
	st, err := rpc.Status(ctx)
	if err != nil {
		return 0
	}
	return st.SyncInfo.LatestBlockHeight
}

// through asks the chain through the PC's node, which must answer.
func (c *citizen) through() (*rpchttp.HTTP, *ledger.Ledger) {
	c.t.Helper()
	rpc, window, err := c.look()
	if err != nil {
		c.t.Fatal(err)
	}
	return rpc, window
}

// ask puts a question to a module.
func (c *citizen) ask(path string, question, answer proto.Message) error {
	rpc, _, err := c.look()
	if err != nil {
		return err
	}
	data, err := proto.Marshal(question)
	if err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(context.Background(), 5*time.Second)
	defer stop()
	got, err := rpc.ABCIQuery(ctx, path, data)
	if err != nil {
		return err
	}
	if got.Response.Code != 0 {
		return fmt.Errorf("%s: %s", path, got.Response.Log)
	}
	return proto.Unmarshal(got.Response.Value, answer)
}

// start begins a life of all PCs. A test that fails tells how each of them was.
func (v *village) start() {
	v.t.Helper()
	v.t.Cleanup(func() {
		if v.t.Failed() {
			v.t.Log(v.state())
		}
	})
	for _, c := range v.folk {
		c.start()
	}
}

// until waits until done.
func (v *village) until(what string, done func() bool) {
	v.t.Helper()
	pc.Eventually(v.t, what, done, func() string { return "" })
}

// state is where each PC is in the chain, and what it said last.
func (v *village) state() string {
	var all strings.Builder
	for _, c := range v.folk {
		fmt.Fprintf(&all, "%s at %d\n%s\n", c.Name, c.height(), c.Log(12))
	}
	return all.String()
}

// goesOn waits until these PCs have so many blocks more than the first of them has now.
func (v *village) goesOn(blocks int64, who ...*citizen) {
	v.t.Helper()
	want := blocks
	for _, c := range who {
		want = max(want, c.height()+blocks)
	}
	v.until(fmt.Sprintf("%s come to block %d", names(who), want), func() bool {
		return !slices.ContainsFunc(who, func(c *citizen) bool { return c.height() < want })
	})
}

func names(who []*citizen) string {
	var all []string
	for _, c := range who {
		all = append(all, c.Name)
	}
	return strings.Join(all, ", ")
}

// stands finds that no block is made for a time, after what was under way has come to its end.
func (v *village) stands(calm time.Duration, who ...*citizen) {
	v.t.Helper()
	top := func() (h int64) {
		for _, c := range who {
			h = max(h, c.height())
		}
		return h
	}
	last, since := top(), time.Now()
	v.until("the chain stands still", func() bool {
		if h := top(); h != last {
			last, since = h, time.Now()
		}
		return time.Since(since) > calm
	})
}

// agree finds that all have the same blocks, and with them the same state, from some height on to the highest that all have. It gives that.
func (v *village) agree(from int64, who ...*citizen) int64 {
	v.t.Helper()
	last := int64(1 << 62)
	for _, c := range who {
		last = min(last, c.height())
	}
	if last < 2 {
		v.t.Fatalf("%s have no common block", names(who))
	}
	if at, all := v.fork(max(from, 1), last, who...); at != 0 {
		v.t.Fatalf("a fork at block %d: %v", at, all)
	}
	return last
}

// fork finds the first height at which not all have the same block: its hash names all that is in it, and the state before it. 0: there is none.
func (v *village) fork(from, to int64, who ...*citizen) (int64, map[string]string) {
	v.t.Helper()
	for at := from; at <= to; at++ {
		all, different := map[string]string{}, map[string]bool{}
		for _, c := range who {
			rpc, _ := c.through()
			ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
			h, err := rpc.Header(ctx, &at)
			stop()
			if err != nil || h.Header == nil {
				v.t.Fatalf("block %d of %s: %v", at, c.Name, err)
			}
			hash := h.Header.Hash().String()
			all[c.Name], different[hash] = hash, true
		}
		if len(different) > 1 {
			return at, all
		}
	}
	return 0, nil
}

// pay sends a little from a payer through a PC, and waits for its block.
func (v *village) pay(ctx context.Context, through *citizen, payer *ledger.Secret, to string) (ledger.Receipt, error) {
	_, window, err := through.look()
	if err != nil {
		return ledger.Receipt{}, err
	}
	m, err := ledger.Pay(payer.Address(), to, 1)
	if err != nil {
		return ledger.Receipt{}, err
	}
	return window.Send(ctx, payer, m)
}

// liar is the binary whose signer does wrong when its home has a file "equivocate".
var liar = sync.OnceValues(func() (string, error) {
	if name := os.Getenv("HPIPS_LIAR"); name != "" {
		return filepath.Abs(name)
	}
	out := filepath.Join(filepath.Dir(built.guest), "hpips-liar")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-tags", "equivocate", "-o", out, "./cmd/hpips")
	cmd.Dir, cmd.Env = filepath.Join("..", ".."), append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build a liar: %w\n%s", err, text)
	}
	return out, nil
})

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
