package store

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs/boxo/bitswap/message"
	"github.com/ipfs/boxo/bitswap/network"
	"github.com/ipfs/boxo/bitswap/network/bsnet"
	blockfmt "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/multiformats/go-multiaddr"

	"github.com/hpips/hpips/store/storetest"
)

// Alice adds a folder, bob fetches it; a second fetch asks for nothing.
func TestFetch(t *testing.T) {
	ctx := t.Context()
	alice, bob := pair(t)
	dir := t.TempDir()
	manyFiles(t, filepath.Join(dir, "many"), 300, 4<<10)
	plant(t, dir, map[string]string{"big": string(random(9<<20, 1)), "a/b/c": "c", "a/link": "->b/c"})
	e, err := alice.AddPath(ctx, dir, nil)
	must(t, err)

	tree, err := bob.Tree(ctx, e.CID) // directories only travel
	must(t, err)
	if len(tree) != 302 {
		t.Errorf("%d files in the tree", len(tree))
	}
	var last Progress
	n, err := bob.Fetch(ctx, e.CID, func(p Progress) { last = p }, alice.host.ID())
	must(t, err)
	if n < 10<<20 || n > int64(e.Total) || last.Bytes != n {
		t.Errorf("fetched %d of %d bytes, progress %+v", n, e.Total, last)
	}
	if n, err := bob.Fetch(ctx, e.CID, nil); n != 0 || err != nil {
		t.Errorf("second fetch brought %d bytes: %v", n, err)
	}
	bob.whole.forget()
	if n, err := bob.Fetch(ctx, e.CID, nil); n != 0 || err != nil {
		t.Errorf("third fetch, by walking, brought %d bytes: %v", n, err)
	}
	must(t, bob.Pin(ctx, e.CID, "mine"))
	out := filepath.Join(t.TempDir(), "out")
	must(t, bob.Export(ctx, e.CID, out, 0, nil))
	same(t, snapshot(t, out), snapshot(t, dir))
}

// An empty file is a block without bytes, which bitswap does not carry: bob gets a folder with one all the same, reads one that he has not fetched, and has it when he checks.
func TestFetchEmpty(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	alice, bob := pair(t)
	dir := t.TempDir()
	plant(t, dir, map[string]string{"empty": "", "full": "of it"})
	e, err := alice.AddPath(ctx, dir, nil)
	must(t, err)
	_, err = bob.Fetch(ctx, e.CID, nil)
	must(t, err)
	must(t, bob.Pin(ctx, e.CID, "mine"))
	out := filepath.Join(t.TempDir(), "out")
	must(t, bob.Export(ctx, e.CID, out, 0, nil))
	same(t, snapshot(t, out), snapshot(t, dir))
	left, err := bob.Check(ctx, nil)
	must(t, err)
	if left.Damaged > 0 || len(left.Short) > 0 {
		t.Errorf("the check finds %+v", left)
	}
	carol := openStore(t, t.TempDir(), newHost(t))
	c, err := carol.Resolve(ctx, e.CID.String())
	must(t, err)
	must(t, carol.host.Connect(ctx, peer.AddrInfo{ID: alice.host.ID(), Addrs: alice.host.Addrs()}))
	empty, err := carol.Resolve(ctx, c.String()+"/empty")
	must(t, err)
	r, err := carol.Open(ctx, empty)
	must(t, err)
	if text, err := io.ReadAll(r); err != nil || len(text) > 0 {
		t.Errorf("an empty file holds %q, %v", text, err)
	}
}

// Bob knows only that alice has it, not yet connected; and reads without fetching first.
func TestFetchConnects(t *testing.T) {
	ctx := t.Context()
	a, b := newHost(t), newHost(t)
	alice, bob := openStore(t, t.TempDir(), a), openStore(t, t.TempDir(), b)
	data := random(3<<20, 1)
	e, err := alice.AddBytes(ctx, data)
	must(t, err)
	b.Peerstore().AddAddrs(a.ID(), a.Addrs(), peerstore.PermanentAddrTTL)
	if _, err := bob.Fetch(ctx, e.CID, nil, a.ID(), b.ID()); err != nil {
		t.Fatal(err)
	}
	other, err := alice.AddBytes(ctx, append(data, 1))
	must(t, err)
	r, err := bob.Open(ctx, other.CID)
	must(t, err)
	got, err := io.ReadAll(r)
	must(t, err)
	must(t, r.Close())
	if !bytes.Equal(got, append(data, 1)) {
		t.Error("read over the network differs")
	}
}

func TestNobodyHasIt(t *testing.T) {
	alice, bob := pair(t)
	e, err := alone(t).AddBytes(t.Context(), random(100, 9)) // in a third store
	must(t, err)
	dir := forged(t, alice, &ipld.Link{Name: "gone", Cid: e.CID, Size: 100})
	for name, ask := range map[string]func(ctx context.Context) error{
		"fetch":   func(ctx context.Context) error { _, err := bob.Fetch(ctx, e.CID, nil); return err },
		"below":   func(ctx context.Context) error { _, err := bob.Fetch(ctx, dir, nil); return err },
		"pin":     func(ctx context.Context) error { return bob.Pin(ctx, e.CID, "x") },
		"open":    func(ctx context.Context) error { _, err := bob.Open(ctx, e.CID); return err },
		"tree":    func(ctx context.Context) error { _, err := bob.Tree(ctx, e.CID); return err },
		"list":    func(ctx context.Context) error { _, err := bob.List(ctx, e.CID.String()); return err },
		"resolve": func(ctx context.Context) error { _, err := bob.Resolve(ctx, e.CID.String()+"/a"); return err },
		"export": func(ctx context.Context) error {
			return bob.Export(ctx, e.CID, filepath.Join(t.TempDir(), "x"), 0, nil)
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		err := ask(ctx)
		cancel()
		named := e.CID.String()
		if name == "below" {
			named = dir.String()
		}
		if !errors.Is(err, ErrNotFound) || !errors.Is(err, context.DeadlineExceeded) ||
			!strings.Contains(err.Error(), named) || !strings.Contains(err.Error(), "asked 1 peers") {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := bob.Fetch(ctx, e.CID, nil); !errors.Is(err, context.Canceled) || errors.Is(err, ErrNotFound) {
		t.Errorf("a cancelled fetch: %v", err)
	}
	if _, err := alone(t).Fetch(t.Context(), e.CID, nil); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "asked 0 peers") {
		t.Errorf("offline: %v", err)
	}
}

// Bob's disk fills while he fetches: the fetch ends with that error instead of waiting.
func TestFetchToFullDisk(t *testing.T) {
	alice, bob := pair(t)
	e, err := alice.AddBytes(t.Context(), random(8<<20, 1))
	must(t, err)
	mend := bob.blocks.fill()
	if _, err := bob.Fetch(t.Context(), e.CID, nil); !errors.Is(err, ErrFull) {
		t.Errorf("full disk: %v", err)
	}
	mend()
	if _, err := bob.Fetch(t.Context(), e.CID, nil); err != nil {
		t.Errorf("after room was made: %v", err)
	}
}

func TestFetchLimit(t *testing.T) {
	alice, bob := pair(t)
	bob.cfg.MaxFetch = 4 << 20
	e, err := alice.AddBytes(t.Context(), random(40<<20, 1))
	must(t, err)
	if _, err := bob.Fetch(t.Context(), e.CID, nil); !errors.Is(err, ErrTooLarge) {
		t.Errorf("past the limit: %v", err)
	}
}

// A block that went bad on bob's disk comes again from alice.
func TestDamagedBlockIsFetchedAgain(t *testing.T) {
	ctx := t.Context()
	alice, bob := pair(t)
	e, err := alice.AddBytes(ctx, random(1<<20, 1))
	must(t, err)
	_, err = bob.Fetch(ctx, e.CID, nil)
	must(t, err)
	at, _, err := bob.blocks.place(ctx, e.CID.Hash())
	must(t, err)
	bob.blocks.scribble(t, at, at.Size/2, 1)
	bob.blocks.mu.Lock()
	clear(bob.blocks.fresh) // as after a restart
	bob.blocks.mu.Unlock()
	r, err := bob.Open(ctx, e.CID)
	must(t, err)
	got, err := io.ReadAll(r)
	must(t, err)
	must(t, r.Close())
	if !bytes.Equal(got, random(1<<20, 1)) {
		t.Error("damaged bytes were given away")
	}
}

// liar is carol's node: it promises every block and sends none.
type liar struct{ network.BitSwapNetwork }

func (l liar) ReceiveMessage(ctx context.Context, from peer.ID, m message.BitSwapMessage) {
	reply := message.New(false)
	for _, e := range m.Wantlist() {
		if !e.Cancel {
			reply.AddHave(e.Cid)
		}
	}
	if !reply.Empty() {
		_ = l.SendMessage(ctx, from, reply) // to a peer that may have gone
	}
}
func (l liar) ReceiveError(error)       {}
func (l liar) PeerConnected(peer.ID)    {}
func (l liar) PeerDisconnected(peer.ID) {}

func TestFetchPastLiar(t *testing.T) {
	ctx := t.Context()
	a, b, c := newHost(t), newHost(t), newHost(t)
	carol := bsnet.NewFromIpfsHost(c)
	carol.Start(liar{carol})
	defer carol.Stop()
	alice, bob := openStore(t, t.TempDir(), a), openStore(t, t.TempDir(), b)
	bob.stall = 200 * time.Millisecond
	must(t, b.Connect(ctx, peer.AddrInfo{ID: c.ID(), Addrs: c.Addrs()}))
	e, err := alice.AddBytes(ctx, random(5<<20, 1))
	must(t, err)
	none, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if _, err := bob.Fetch(none, e.CID, nil); !errors.Is(err, ErrNotFound) { // carol alone
		t.Errorf("from carol alone: %v", err)
	}
	must(t, b.Connect(ctx, peer.AddrInfo{ID: a.ID(), Addrs: a.Addrs()}))
	_, err = bob.Fetch(ctx, e.CID, nil)
	must(t, err)
}

// With 50 ms of delay between two stores a fetch runs at 40 MiB/s or more. The race detector
// makes all of it several times slower, by the load of the machine: under it the bytes have to
// arrive, and etc/test.sh runs this test once more without it.
func TestFetchOverDelay(t *testing.T) {
	const size = 96 << 20
	floor := 40.0
	if raceDetector {
		floor = 0.1
	}
	a, b := newHost(t), newHost(t)
	alice, bob := openStore(t, t.TempDir(), a), openStore(t, t.TempDir(), b)
	e, err := alice.AddBytes(t.Context(), random(size, 1))
	must(t, err)
	far := storetest.Line{Delay: 25 * time.Millisecond}.Before(t, a.Addrs()[0])
	must(t, b.Connect(t.Context(), peer.AddrInfo{ID: a.ID(), Addrs: []multiaddr.Multiaddr{far}}))
	best := 0.0
	for try := 0; try < 3 && best < floor; try++ { // the machine is shared: the best of three
		start := time.Now()
		_, err = bob.Fetch(t.Context(), e.CID, nil)
		must(t, err)
		best = max(best, float64(size>>20)/time.Since(start).Seconds())
		_, err = bob.GC(t.Context())
		must(t, err)
	}
	t.Logf("%.1f MiB/s at a round trip of 50 ms", best)
	if best < floor {
		t.Errorf("%.1f MiB/s, want at least %v", best, floor)
	}
}

// shop gives blocks of a store, and those that it spoils with one bit flipped.
type shop struct {
	*Store
	spoils map[cid.Cid]bool
	given  atomic.Int64
}

func (s *shop) GetBlock(ctx context.Context, c cid.Cid) (blockfmt.Block, error) {
	block, err := s.Block(ctx, c)
	if err == nil && s.spoils[c] {
		data := bytes.Clone(block.RawData())
		data[0] ^= 1
		return blockfmt.NewBlockWithCid(data, c)
	}
	s.given.Add(1)
	return block, err
}

func (s *shop) GetBlocks(ctx context.Context, all []cid.Cid) (<-chan blockfmt.Block, error) {
	to := make(chan blockfmt.Block, len(all))
	defer close(to)
	for _, c := range all {
		block, err := s.GetBlock(ctx, c)
		if err != nil {
			return nil, err
		}
		to <- block
	}
	return to, nil
}

// What comes from somewhere else than from peers is checked like what they send, and asked for once.
func TestFetchVia(t *testing.T) {
	from, to := &shop{Store: alone(t), spoils: map[cid.Cid]bool{}}, alone(t)
	e, err := from.AddBytes(t.Context(), random(5<<20, 4))
	must(t, err)
	blocks := 0
	var leaf cid.Cid
	must(t, from.Each(t.Context(), e.CID, func(c cid.Cid, _ int) {
		blocks++
		if c != e.CID {
			leaf = c
		}
	}))
	if blocks != 6 {
		t.Fatalf("a file of five leaves has %d blocks", blocks)
	}
	from.spoils[leaf] = true
	if _, err := to.FetchVia(t.Context(), e.CID, from, nil); err == nil || !strings.Contains(err.Error(), "other bytes") {
		t.Errorf("with a spoilt block: %v", err)
	}
	clear(from.spoils)
	if _, err := to.FetchVia(t.Context(), e.CID, from, nil); err != nil {
		t.Error(err)
	}
	if n, err := to.FetchVia(t.Context(), e.CID, from, nil); n != 0 || err != nil {
		t.Errorf("again: %d bytes, %v", n, err)
	}
	if size, err := to.Size(t.Context(), e.CID); size != 5<<20 || err != nil {
		t.Errorf("%d bytes are here: %v", size, err)
	}
	if n := from.given.Load(); n < 6 || n > 11 {
		t.Errorf("%d blocks were asked for", n)
	}
	if err := to.Each(t.Context(), leaf, func(cid.Cid, int) {}); err != nil {
		t.Error(err)
	}
	must(t, to.blocks.DeleteBlock(t.Context(), leaf))
	told := 0
	if err := to.Each(t.Context(), e.CID, func(cid.Cid, int) { told++ }); !ipld.IsNotFound(err) || told != 5 {
		t.Errorf("a leaf is lost: %d blocks are told of, %v", told, err)
	}
	if _, err := alone(t).FetchVia(t.Context(), e.CID, &shop{Store: alone(t)}, nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("from a shop that has nothing: %v", err)
	}
}
