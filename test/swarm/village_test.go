//go:build lies

package swarm

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	rpchttp "github.com/cometbft/cometbft/rpc/client/http"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/chain"
	"github.com/hpips/hpips/chain/audit"
	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/node"
	"github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/test/e2e/receipts"
)

// villager is a node of a village: its owner's name, and what it is told to lie.
type villager struct {
	name, lies string
	owner      string // "": its name
	fellows    []*villager
	home       string
	house      *node.House
	secret     *ledger.Secret
	id         string
}

// village is alice, who asks and pays, and nodes that work for her, look at one another's work and hold a seat each, all in this process. They are built with the tag `lies`: each does what
// its home says.
type village struct {
	t      *testing.T
	folk   []*villager // alice is the last
	alice  *villager
	api    *client.Client
	rpc    *rpchttp.HTTP
	window *ledger.Ledger
	read   *receipts.Docket // what blocks told so far
	day    time.Duration    // of the chain
	cheap  string           // programs, by content address: of three million instructions, and of a hundred and seventy
	dear   string
}

const (
	villageChain = "hpips-village-1"
	granted      = 500_000 * money.Scale
)

// raise makes a village and waits until all sell and alice may pay. day is the chain's: how long a jury has.
func raise(ctx context.Context, t *testing.T, day time.Duration, folk ...*villager) *village {
	t.Helper()
	v := &village{t: t, alice: &villager{name: "alice"}, day: day}
	v.folk = append(folk, v.alice)
	dir := t.TempDir()
	g := chain.Genesis{Network: chain.Dev, ChainID: villageChain, Time: time.Now().UTC(), Heartbeat: 2 * time.Second, EpochBlocks: 1000, Day: day,
		Tune: func(p *committeev1.Params) { p.Seats, p.AbsenceMissed = uint32(len(folk)), p.AbsenceWindow }}
	for _, p := range v.folk {
		p.home = filepath.Join(dir, p.name)
		if p.owner == "" {
			p.owner = p.name
		}
		v.enrol(&g, p)
	}
	doc, err := g.Build()
	v.must(err)
	doc.AppState = v.judge(doc.AppState)
	text, err := chain.GenesisBytes(doc)
	v.must(err)
	for _, p := range v.folk {
		v.write(p, "chain/genesis.json", string(text))
	}
	for _, p := range v.folk {
		var keys string
		for _, f := range p.fellows {
			key, err := ledger.NodeKey(f.id)
			v.must(err)
			keys += hex.EncodeToString(key) + "\n"
		}
		v.write(p, "fellows", keys)
	}
	v.must(node.NamePayer(v.alice.home, v.alice.secret.Address()))
	v.open(ctx)
	return v
}

// A round of a dispute is longer than on other development networks, in blocks of about a second: a dozen nodes share the processors of one machine, and a juror that is late is none.
const committing, revealing = 30, 20

// judge gives a chain its rules for juries: those of its day, and rounds that are long enough.
func (v *village) judge(state json.RawMessage) json.RawMessage {
	v.t.Helper()
	rules, day := audit.Development(), uint64(v.day/time.Second)
	rules.PassSeconds, rules.RecentSeconds, rules.BarSeconds, rules.CommitBlocks, rules.RevealBlocks = day, 3*day, 14*day, committing, revealing
	text, err := audit.Genesis(rules)
	v.must(err)
	var modules map[string]json.RawMessage
	v.must(json.Unmarshal(state, &modules))
	modules[audit.Name] = text
	state, err = json.Marshal(modules)
	v.must(err)
	return state
}

// enrol makes somebody's keys, a seat for whoever works, and alice's right to pay.
func (v *village) enrol(g *chain.Genesis, p *villager) {
	v.t.Helper()
	raw := [32]byte{1}
	copy(raw[1:], p.owner)
	var err error
	p.secret, err = ledger.KeySigner(raw[:])
	v.must(err)
	keys, err := node.LoadChainKeys(p.home)
	v.must(err)
	p.id = ledger.NodeText(keys.Node[32:])
	v.write(p, "hasty", "")
	if p.lies != "" {
		v.write(p, "lies", p.lies)
	}
	e, err := keys.Enrol(villageChain, p.secret.Address(), 0)
	v.must(err)
	n := chain.GenesisNode{Registration: e.Word, NodeSignature: e.Node, ConsensusSignature: e.Consensus, VRFProof: e.VRF}
	n.OwnerKey, n.OwnerSignature, err = ledger.SignWord(p.secret, e.Signed)
	v.must(err)
	if p != v.alice {
		g.Seats = append(g.Seats, n)
		return
	}
	spend, err := node.LoadSpendKey(p.home)
	v.must(err)
	g.Nodes = append(g.Nodes, n)
	g.Allowances = append(g.Allowances, chain.Allowance{Owner: p.secret.Address(), Spender: spend.Address(), Daily: granted})
	g.Grants = append(g.Grants, chain.Grant{Address: p.secret.Address(), Amount: granted, From: "community", Label: p.name},
		chain.Grant{Address: spend.Address(), Amount: money.Scale, From: "community", Label: "spending key"})
}

func (v *village) must(err error) {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
}

func (v *village) write(p *villager, name, text string) {
	v.t.Helper()
	name = filepath.Join(p.home, name)
	v.must(os.MkdirAll(filepath.Dir(name), 0o700))
	v.must(os.WriteFile(name, []byte(text), 0o600))
}

// open starts all nodes; they are closed with the test.
func (v *village) open(ctx context.Context) {
	v.t.Helper()
	serving, end := context.WithCancel(ctx)
	var ended []chan error
	v.t.Cleanup(func() {
		end()
		for _, e := range ended {
			<-e
		}
		for _, p := range v.folk {
			if p.house != nil {
				_ = p.house.Close() // its files go with it
			}
		}
	})
	var join []string
	for _, p := range v.folk {
		cfg := node.Default(p.home)
		cfg.API, cfg.Listen, cfg.MDNS, cfg.Label, cfg.Join, cfg.Slots = "127.0.0.1:0", []string{"/ip4/127.0.0.1/tcp/0"}, false, p.name, join, 1
		cfg.ChainNode = node.ChainNode{Listen: "127.0.0.1:0", RPC: "127.0.0.1:0", GRPC: "127.0.0.1:0", REST: "127.0.0.1:0"}
		cfg.Prices.Rates.CPU *= 1000        // so that a redemption's fee is little of it
		cfg.Disk, cfg.Memory = 2<<30, 2<<30 // however full the machine is
		if cfg.Provide = p != v.alice; !cfg.Provide {
			cfg.ChainNode.Archive = true
		}
		var err error
		p.house, err = node.New(ctx, cfg)
		v.must(err)
		if len(join) < 2 {
			join = append(join, p.house.Addresses()...)
		}
		e := make(chan error, 1)
		ended = append(ended, e)
		go func() { e <- p.house.Serve(serving, func() {}) }()
	}
	v.until(ctx, "alice's API answers", func() bool {
		var err error
		v.api, err = client.Open(v.alice.home)
		return err == nil
	})
	v.t.Cleanup(v.api.Close)
	v.until(ctx, "all sell, and alice may pay", func() bool {
		offers, err := v.api.Offers(ctx, job.Resources{CPU: 1, Memory: 64 << 20, Disk: 64 << 20})
		return err == nil && len(offers) == len(v.folk)-1 && v.look() == nil && v.file(v.alice, "chain/payer")
	})
	for _, program := range []struct {
		to    *string
		turns int
	}{{&v.cheap, 400_000}, {&v.dear, 25_000_000}} {
		e, err := v.api.PutBytes(ctx, strings.NewReader(string(spin(program.turns))))
		v.must(err)
		*program.to = e.CID
	}
}

func (v *village) file(p *villager, name string) bool {
	_, err := os.Stat(filepath.Join(p.home, name))
	return err == nil
}

// look opens the window to the chain.
func (v *village) look() error {
	if v.window != nil {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(v.alice.home, node.ChainAddressFile))
	if err != nil {
		return err
	}
	if v.rpc, err = rpchttp.New(strings.TrimSpace(string(text)), "/websocket"); err != nil {
		return err
	}
	v.window, err = ledger.New(v.rpc, ledger.Default())
	return err
}

// until waits until done.
func (v *village) until(ctx context.Context, what string, done func() bool) {
	v.t.Helper()
	v.within(ctx, time.Duration(counted(5, 90))*time.Minute, what, done)
}

// adjourns waits until done, which may take as long as what no jury comes for is open: a day.
func (v *village) adjourns(ctx context.Context, what string, done func() bool) {
	v.t.Helper()
	v.within(ctx, v.day+time.Duration(counted(5, 90))*time.Minute, what, done)
}

func (v *village) within(ctx context.Context, limit time.Duration, what string, done func() bool) {
	v.t.Helper()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	began := time.Now()
	ctx, stop := context.WithTimeout(ctx, limit)
	defer stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			v.tell()
			v.t.Fatalf("after %v this has not come: %s", time.Since(began).Round(time.Second), what)
		}
	}
}

// tell logs what is known of a village that does not come to an end.
func (v *village) tell() {
	v.t.Helper()
	for _, p := range v.folk {
		text, err := node.LogEnd(p.home, 1_000)
		if err != nil {
			continue
		}
		lines := slices.DeleteFunc(strings.Split(string(text), "\n"), func(line string) bool { return strings.Contains(line, `"room":"chain"`) })
		v.t.Logf("%s, %s:\n%s", p.name, p.id, strings.Join(lines[max(0, len(lines)-40):], "\n"))
	}
	if v.rpc == nil {
		return
	}
	d := v.docket(context.Background())
	v.t.Logf("%+v", d)
	for id, trial := range d.Disputes {
		v.t.Logf("dispute %s: %+v", id, *trial)
	}
}

// docket is what all blocks tell.
func (v *village) docket(ctx context.Context) *receipts.Docket {
	v.t.Helper()
	st, err := v.rpc.Status(ctx)
	v.must(err)
	last := st.SyncInfo.LatestBlockHeight - 1 // the newest one may not be carried out yet
	if v.read == nil {
		v.read, err = receipts.ReadDocket(ctx, v.rpc, 1, last)
	} else {
		err = v.read.ReadTo(ctx, v.rpc, last)
	}
	v.must(err)
	return v.read
}

// wants has a job done and returns its end.
func (v *village) wants(ctx context.Context, program string, tasks int, mode job.Mode) job.Status {
	v.t.Helper()
	began := time.Now()
	verify := job.Verify{Mode: mode}
	if mode == job.Jury {
		verify.Rate = 1e-9 // what alice finds by copies of her own, no jury has to
	}
	st := carry(ctx, v.t, v.api, job.Spec{Kind: job.Map, Run: job.Run{WASM: program}, Over: &job.Over{Count: tasks}, Verify: verify, Limits: job.Limits{Hour: "4000 HPIPS"}})
	if st.State != job.Settled || st.Tasks.Done != tasks {
		v.t.Fatalf("%+v, error %+v", st, st.Error)
	}
	v.t.Logf("%d tasks in %.1f s on %d nodes", tasks, time.Since(began).Seconds(), len(st.Nodes))
	return st
}

// mostJobs is how many jobs everybody has a part in one of, also where a busy PC comes late.
const mostJobs = 24

// shared has jobs done until everybody had a part in one but who was convicted and is not asked any more, and gives the last.
func (v *village) shared(ctx context.Context, program string, tasks int, mode job.Mode) (st job.Status) {
	v.t.Helper()
	idle := map[string]bool{}
	for _, p := range v.folk[:len(v.folk)-1] {
		idle[p.id] = true
	}
	for n := 0; len(idle) > 0; n++ {
		if n == mostJobs {
			v.t.Fatalf("after %d jobs these had no part in any: %v", n, idle)
		}
		st = v.wants(ctx, program, tasks, mode)
		for _, s := range st.Nodes {
			delete(idle, s.Node)
		}
		for id := range v.docket(ctx).Convicted {
			delete(idle, id)
		}
	}
	return st
}

// wrong counts the results of a job that are not what the program says.
func (v *village) wrong(ctx context.Context, st job.Status) (n int) {
	v.t.Helper()
	for i := range st.Tasks.Total {
		r, err := v.api.Read(ctx, fmt.Sprintf("%s/%d", st.Result, i), wait)
		v.must(err)
		text, err := io.ReadAll(r)
		r.Close()
		v.must(err)
		if string(text) != "yes\n" {
			n++
		}
	}
	return n
}

// rests waits until nothing is looked at or disputed any more, and all pay of these is final or went back, and reads the blocks.
func (v *village) rests(ctx context.Context, paid ...*villager) (d *receipts.Docket) {
	v.t.Helper()
	v.adjourns(ctx, "no audit is open and all are paid", func() bool {
		audits, err1 := v.window.Audits(ctx)
		disputes, err2 := v.window.Disputes(ctx)
		if err1 != nil || err2 != nil || len(audits)+len(disputes) > 0 {
			return false
		}
		d = v.docket(ctx) // the newest block, which may hold a verdict, is read with the next one
		_, ended := d.Longest()
		return ended && d.Pending == 0 && !slices.ContainsFunc(paid, func(p *villager) bool { return d.Paid[p.id] == 0 })
	})
	return d
}

// spin is a program that turns so often, seven instructions each, and then says "yes\n".
func spin(turns int) []byte {
	body := "\x01\x01\x7f" + // one local: i32
		"\x03\x40\x20\x00\x41\x01\x6a\x22\x00\x41" + signed(turns) + "\x49\x0d\x00\x0b" + // loop: one more, until turns
		"\x41\x01\x41\x00\x41\x01\x41\x14\x10\x00\x1a\x0b" // fd_write(1, 0, 1, 20)
	code := "\x01" + string(rune(len(body))) + body
	head, tail, _ := strings.Cut(string(answer), "\x0a\x0f")
	_, data, _ := strings.Cut(tail, "\x1a\x0b")
	return []byte(head + "\x0a" + string(rune(len(code))) + code + data)
}

// signed is a number above 0 in signed LEB128.
func signed(n int) string {
	var out []byte
	for n >= 0x40 {
		out = append(out, byte(n&0x7f)|0x80)
		n >>= 7
	}
	return string(append(out, byte(n)))
}
