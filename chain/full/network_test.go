package full

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cmttypes "github.com/cometbft/cometbft/types"
	"github.com/cosmos/gogoproto/proto"

	"github.com/hpips/hpips/chain"
	"github.com/hpips/hpips/chain/chaintest"
	committeev1 "github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/spec/sortition"
)

func quick(heartbeat, epoch uint64) func(*chain.Genesis) {
	return func(g *chain.Genesis) {
		g.Tune = func(p *committeev1.Params) {
			p.HeartbeatSeconds, p.EpochBlocks, p.ClaimBlocks = heartbeat, epoch, epoch*3/4
		}
	}
}

func ask(t *testing.T, n *Node, path string, question, answer proto.Message) error {
	t.Helper()
	data, err := proto.Marshal(question)
	if err != nil {
		t.Fatal(err)
	}
	res, err := n.Client().ABCIQuery(t.Context(), path, data)
	if err != nil {
		return err
	}
	if res.Response.Code != 0 {
		return errors.New(res.Response.Log)
	}
	return proto.Unmarshal(res.Response.Value, answer)
}

func seats(t *testing.T, n *Node) (res committeev1.QueryCommitteeResponse) {
	t.Helper()
	if err := ask(t, n, "/hpips.committee.v1.Query/Committee", &committeev1.QueryCommitteeRequest{}, &res); err != nil {
		t.Fatal(err)
	}
	return res
}

// hash is the state's hash after a block, as the next block's header tells it.
func hash(t *testing.T, n *Node, height int64) []byte {
	t.Helper()
	next := height + 1
	b, err := n.Client().Block(t.Context(), &next)
	if err != nil {
		t.Fatalf("block %d: %v", next, err)
	}
	return b.Block.AppHash
}

func TestAliceAlone(t *testing.T) {
	t.Parallel()
	alice, bob := chaintest.New("alice"), chaintest.New("bob")
	c := home(t, alice, genesis(t, quick(2, 20), alice))
	c.RPC, c.GRPC, c.REST = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	n, stop := serve(t, c)
	until(t, "first block", func() bool { return height(n) >= 2 })

	send, err := chaintest.Sign(n.App().Codec(), alice, chaintest.Envelope{ChainID: testChain, Account: 14}, chaintest.Send(alice, bob, 5))
	if err != nil {
		t.Fatal(err)
	}
	done, err := n.Client().BroadcastTxCommit(t.Context(), send)
	if err != nil || done.CheckTx.Code != 0 || done.TxResult.Code != 0 {
		t.Fatalf("transfer: %v %+v", err, done)
	}
	signature, err := sortition.Resignation{Chain: testChain, Node: alice.ID(), Epoch: seats(t, n).Epoch.Number}.Sign(alice.Node)
	if err != nil {
		t.Fatal(err)
	}
	id := alice.ID()
	free, err := chain.FreeTx(n.App().Codec(), &committeev1.MsgStepDown{
		Sender: chaintest.Sender(alice), Node: id[:], Epoch: seats(t, n).Epoch.Number, Signature: signature,
	})
	if err != nil {
		t.Fatal(err)
	}
	done, err = n.Client().BroadcastTxCommit(t.Context(), free)
	if err != nil || done.CheckTx.Code != 0 || done.TxResult.Code != 0 {
		t.Fatalf("step down: %v %+v", err, done)
	}

	rpc, grpc, rest := n.Addresses()
	for _, address := range []string{rpc, grpc, rest} {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
	}
	asksByGRPC(t, n, grpc, bob, 5)
	for _, path := range []string{"/cosmos/bank/v1beta1/balances/" + bob.Address(), "/hpips/supply/v1/supply", "/cosmos/base/tendermint/v1beta1/node_info"} {
		res, err := http.Get("http://" + rest + path)
		if err != nil {
			t.Fatal(err)
		}
		var body bytes.Buffer
		_, _ = body.ReadFrom(res.Body)
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK || res.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %d %v %s", path, res.StatusCode, res.Header, body.String())
		}
	}

	idles(t, n, 2*time.Second, 16)

	last := height(n)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	// Again, in the same process and on the same files.
	again, stop := serve(t, c)
	until(t, "blocks after the restart", func() bool { return height(again) > last+1 })
	if len(hash(t, again, last)) == 0 {
		t.Error("no state of the last block before the restart")
	}
	if s, err := again.Status(t.Context()); err != nil || !s.Seated || s.Down != "" || s.CatchingUp {
		t.Errorf("status %+v, %v", s, err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

// idles wants at most two blocks a heartbeat, wherever it begins: by the blocks' own times each is a heartbeat behind the last but one.
func idles(t *testing.T, n *Node, heartbeat time.Duration, blocks int64) {
	t.Helper()
	first := height(n) + 1
	until(t, "heartbeats", func() bool { return height(n) >= first+blocks })
	var times []time.Time
	for h := first; h <= first+blocks; h++ {
		b, err := n.Client().Block(t.Context(), &h)
		if err != nil {
			t.Fatalf("block %d: %v", h, err)
		}
		times = append(times, b.Block.Time)
		if i := len(times) - 1; i >= 2 && times[i].Sub(times[i-2]) < heartbeat {
			t.Errorf("blocks %d to %d within %v of idling, with heartbeats of %v", h-2, h, times[i].Sub(times[i-2]), heartbeat)
		}
	}
	if took := times[blocks].Sub(times[0]); heartbeat*time.Duration(blocks) > 2*took {
		t.Errorf("%d blocks in %v of idling, with heartbeats of %v", blocks, took, heartbeat)
	}
}

// village is people's nodes, each knowing all others.
type village struct {
	t      *testing.T
	people []chaintest.Person
	nodes  []*Node
	stops  []func() error
	doc    *cmttypes.GenesisDoc
}

func newVillage(t *testing.T, change func(*chain.Genesis), names ...string) *village {
	v := &village{t: t}
	for _, name := range names {
		v.people = append(v.people, chaintest.New(name))
	}
	v.doc = genesis(t, change, v.people...)
	var addresses []string
	for _, p := range v.people {
		c := home(t, p, v.doc)
		c.Peers, c.SnapshotEvery = addresses, 10
		c.RPC = "127.0.0.1:0"
		n, stop := serve(t, c)
		v.nodes, v.stops = append(v.nodes, n), append(v.stops, stop)
		addresses = append(addresses, n.Address())
	}
	return v
}

func (v *village) reach(h int64) {
	v.t.Helper()
	for i, n := range v.nodes {
		until(v.t, fmt.Sprintf("%s at height %d (is at %d)", v.people[i].Name, h, height(n)), func() bool { return height(n) >= h })
	}
}

// claim draws for a person in the epoch that is open, and claims when the draw wins.
func (v *village) claim(p chaintest.Person, n *Node) {
	c := seats(v.t, n)
	if c.Epoch.Opened == 0 || len(c.Epoch.DrawSeed) == 0 {
		return
	}
	proof, err := sortition.Prove(p.VRF, sortition.DrawAlpha(testChain, c.Epoch.Number, sortition.Seed(c.Epoch.DrawSeed)))
	if err != nil {
		v.t.Fatal(err)
	}
	id := p.ID()
	tx, err := chain.FreeTx(n.App().Codec(), &committeev1.MsgClaim{Sender: chaintest.Sender(p), Node: id[:], Epoch: c.Epoch.Number, Proof: proof[:]})
	if err != nil {
		v.t.Fatal(err)
	}
	_, _ = n.Client().BroadcastTxSync(v.t.Context(), tx) // many draws lose; the chain says so
}

func TestFourAgreeOverFiveEpochs(t *testing.T) {
	t.Parallel()
	v := newVillage(t, quick(1, 6), "alice", "bob", "carol", "dave")
	v.reach(3)
	claimed := 0
	for epoch := uint64(0); ; {
		now := seats(t, v.nodes[0])
		if now.Epoch.Number >= 6 {
			break
		}
		if now.Epoch.Number != epoch {
			epoch = now.Epoch.Number
		}
		for i, p := range v.people {
			v.claim(p, v.nodes[i])
		}
		claimed += int(now.Epoch.Claims)
		h := height(v.nodes[0])
		until(t, "next block", func() bool { return height(v.nodes[0]) > h })
	}
	last := height(v.nodes[0])
	v.reach(last + 1)
	if claimed == 0 {
		t.Error("nobody claimed a seat")
	}
	for h := int64(1); h <= last-1; h += 5 {
		want := hash(t, v.nodes[0], h)
		for i, n := range v.nodes[1:] {
			if got := hash(t, n, h); !bytes.Equal(got, want) {
				t.Errorf("height %d: %s has %X, alice %X", h, v.people[i+1].Name, got, want)
			}
		}
	}
	v.joiners(last)
}

// joiners come late: erin takes a snapshot, frank replays, mallory's trust point is of another chain.
func (v *village) joiners(last int64) {
	t := v.t
	trusted := last - 5
	block, err := v.nodes[0].Client().Block(t.Context(), &trusted)
	if err != nil {
		t.Fatal(err)
	}
	right := &Trust{Height: trusted, Hash: block.BlockID.Hash}
	rpc0, _, _ := v.nodes[0].Addresses()
	rpc1, _, _ := v.nodes[1].Addresses()

	frank := home(t, chaintest.New("frank"), v.doc)
	frank.Consensus, frank.VRF, frank.Peers, frank.Trust = nil, nil, []string{v.nodes[0].Address()}, right
	replayed, _ := serve(t, frank)

	erin := home(t, chaintest.New("erin"), v.doc)
	erin.Consensus, erin.VRF, erin.Peers, erin.Trust = nil, nil, []string{v.nodes[0].Address(), v.nodes[1].Address()}, right
	erin.StateSyncServers = []string{"http://" + rpc0, "http://" + rpc1}
	synced, _ := serve(t, erin)

	mallory := home(t, chaintest.New("mallory"), v.doc)
	mallory.Consensus, mallory.VRF, mallory.Peers = nil, nil, []string{v.nodes[0].Address()}
	mallory.Trust = &Trust{Height: 3, Hash: make([]byte, 32)}
	misled, err := New(mallory)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	if err := misled.Serve(ctx); !errors.Is(err, ErrForged) {
		t.Errorf("a history against the trust point: %v", err)
	}
	if h := misled.App().LastBlockHeight(); h >= 3 {
		t.Errorf("it was applied up to %d", h)
	}
	for _, n := range []*Node{replayed, synced} {
		until(t, "joiner at the head", func() bool { return height(n) >= last+1 })
		h := last
		until(t, "joiner's block", func() bool { return n.engine.node.BlockStore().Height() > h })
		if !bytes.Equal(hash(t, n, h), hash(t, v.nodes[0], h)) {
			t.Error("a joiner has another state")
		}
	}
	if base := synced.engine.node.BlockStore().Base(); base <= 1 {
		t.Errorf("the snapshot's node holds blocks from %d: it replayed", base)
	}
	if _, err := synced.Blocks().Block(1); !errors.Is(err, ErrPruned) {
		t.Errorf("a block of before the snapshot: %v", err)
	}
}

func TestAnOldChainWantsATrustPoint(t *testing.T) {
	t.Parallel()
	alice, bob := chaintest.New("alice"), chaintest.New("bob")
	old := func(g *chain.Genesis) { g.Time = time.Now().Add(-15 * 24 * time.Hour) }
	_, err := New(home(t, bob, genesis(t, old, alice, bob)))
	if !errors.Is(err, ErrNoTrust) || !strings.Contains(err.Error(), "--trust") {
		t.Errorf("an old chain without a trust point: %v", err)
	}
	c := home(t, alice, genesis(t, old, alice))
	n, err := New(c)
	if err != nil {
		t.Fatalf("alice's own: %v", err)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	if _, err := ParseTrust("7:" + strings.Repeat("ab", 32)); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "7", "0:" + strings.Repeat("ab", 32), "7:ab", "x:" + strings.Repeat("ab", 32)} {
		if _, err := ParseTrust(bad); err == nil {
			t.Errorf("%q is taken as a trust point", bad)
		}
	}
}

// Bob follows alice's chain and is away for longer than he can take its former seats' word.
func TestWhoWasAwayForLongWantsATrustPoint(t *testing.T) {
	t.Parallel()
	alice, bob := chaintest.New("alice"), chaintest.New("bob")
	doc := genesis(t, quick(1, 20), alice)
	alices, bobs := home(t, alice, doc), home(t, bob, doc)
	a, endAlice := serve(t, alices)
	bobs.Peers = []string{a.Address()}
	b, endBob := serve(t, bobs)
	until(t, "blocks", func() bool { return height(b) >= 3 })
	if err := endBob(); err != nil {
		t.Fatal(err)
	}
	last := b.engine.node.BlockStore().Height()
	until(t, "blocks without bob", func() bool { return a.engine.node.BlockStore().Height() > last+1 })
	at := func(height int64) *Trust {
		return &Trust{height, a.engine.node.BlockStore().LoadBlockMeta(height).BlockID.Hash}
	}
	old, own, newer := at(last-1), at(last), at(last+1)
	if err := endAlice(); err != nil {
		t.Fatal(err)
	}
	forged := &Trust{last, bytes.Repeat([]byte{7}, 32)}
	for _, row := range []struct {
		what  string
		c     Config
		trust *Trust
		dev   bool
		want  error
	}{
		{"bob trusts nothing", bobs, nil, false, ErrNoTrust},
		{"bob trusts a block of before he left", bobs, old, false, ErrNoTrust},
		{"bob has blocks that contradict", bobs, forged, true, ErrForged},
		{"bob names a newer block", bobs, newer, false, nil},
		{"bob says that the chain stood still", bobs, own, false, nil},
		{"bob's network lies on one desk", bobs, nil, true, nil},
		{"alice is alone", alices, nil, false, nil},
	} {
		c := row.c
		c.TrustPeriod, c.Trust, c.Dev = time.Nanosecond, row.trust, row.dev
		n, err := New(c)
		if !errors.Is(err, row.want) {
			t.Errorf("%s: %v", row.what, err)
		}
		if row.what == "bob trusts nothing" && (err == nil || !strings.Contains(err.Error(), own.String())) {
			t.Errorf("bob is not told which block is his newest, %s: %v", own, err)
		}
		if n != nil {
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestACopiedHomeIsSilent(t *testing.T) {
	t.Parallel()
	alice := chaintest.New("alice")
	c := home(t, alice, genesis(t, quick(1, 20), alice))
	n, stop := serve(t, c)
	until(t, "blocks", func() bool { return height(n) >= 3 })
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	copied := c
	copied.Home = filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(copied.Home, os.DirFS(c.Home)); err != nil {
		t.Fatal(err)
	}
	copied.Wait = 3 * time.Second
	n, err := New(copied)
	if err != nil {
		t.Fatal(err)
	}
	if n.signer.down() == "" {
		t.Error("a copied home signs at once")
	}
	before := n.App().LastBlockHeight()
	err = n.Serve(t.Context())
	if !errors.Is(err, ErrSignAgain) {
		t.Fatalf("a seat that the chain waits for: %v", err)
	}
	if h := n.App().LastBlockHeight(); h != before {
		t.Errorf("%d blocks were made while the seat was silent", h-before)
	}
	n, _ = serve(t, copied)
	until(t, "blocks of the copy, which is the only one now", func() bool { return height(n) > before+1 })
}
