package swarm

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/metrics"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"

	"github.com/hpips/hpips/spec/placement"
	"github.com/hpips/hpips/spec/proof"
	"github.com/hpips/hpips/store"
	"github.com/hpips/hpips/store/archive"
	"github.com/hpips/hpips/store/holder"
)

// keeper is a node that may hold segments: a store and a host of its own, as in a process of its own.
type keeper struct {
	placement.Node
	secret ed25519.PrivateKey
	host   host.Host
	store  *store.Store
	bytes  *metrics.BandwidthCounter
	gone   bool
}

func openKeeper(t *testing.T, name string) *keeper {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Error(err) // it may be called beside the test's goroutine
			runtime.Goexit()
		}
	}
	seed := sha256.Sum256([]byte(name))
	k := &keeper{secret: ed25519.NewKeyFromSeed(seed[:]), bytes: metrics.NewBandwidthCounter()}
	k.ID = [32]byte(k.secret[32:])
	k.Point, k.Owner, k.Weight = placement.NodePoint([32]byte{1}, k.ID), name, 1
	key, err := crypto.UnmarshalEd25519PrivateKey(k.secret)
	must(err)
	k.host, err = libp2p.New(libp2p.Identity(key), libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableRelay(), libp2p.BandwidthReporter(k.bytes))
	must(err)
	k.store, err = store.Open(slog.New(slog.DiscardHandler), t.TempDir(), k.host, store.Default())
	must(err)
	return k
}

// openKeepers opens n nodes, all at once, and closes them when the test ends.
func openKeepers(t *testing.T, n int) []*keeper {
	t.Helper()
	all := make([]*keeper, n)
	var wait sync.WaitGroup
	for i := range all {
		wait.Go(func() { all[i] = openKeeper(t, fmt.Sprint("node ", i)) })
	}
	wait.Wait()
	if t.Failed() {
		t.FailNow()
	}
	t.Cleanup(func() { leave(all) })
	return all
}

func leave(all []*keeper) {
	var wait sync.WaitGroup
	for _, k := range all {
		wait.Go(k.leave)
	}
	wait.Wait()
}

// leave switches a node off.
func (k *keeper) leave() {
	if !k.gone {
		k.gone = true
		_ = k.store.Close()
		_ = k.host.Close()
	}
}

func (k *keeper) knows(others ...*keeper) {
	for _, o := range others {
		k.host.Peerstore().AddAddrs(o.host.ID(), o.host.Addrs(), peerstore.PermanentAddrTTL)
	}
}

// blocksOf are those of a chain that nobody would guess.
type chainOf [][]byte

func (c chainOf) Height() int64 { return int64(len(c)) }

func (c chainOf) Block(height int64) ([]byte, error) { return c[height-1], nil }

func guessless(n, size int) (c chainOf) {
	for i := range n {
		var b []byte
		for k := uint64(0); len(b) < size; k++ {
			h := sha256.Sum256(binary.BigEndian.AppendUint64(fmt.Append(nil, i), k))
			b = append(b, h[:]...)
		}
		c = append(c, b)
	}
	return c
}

// town is a source and those who may hold.
type town struct {
	t      *testing.T
	source *keeper
	folk   []*keeper
	entry  proof.Entry
	point  placement.Point
}

// holders are those of the segment, among who is there.
func (w *town) holders() (all []*keeper) {
	var nodes []placement.Node
	byID := map[[32]byte]*keeper{}
	for _, k := range w.folk {
		if !k.gone {
			nodes = append(nodes, k.Node)
			byID[k.ID] = k
		}
	}
	rules := placement.Archive()
	rules.PerNetwork = 0
	list, err := placement.Holders(w.point, nodes, rules)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, n := range list {
		all = append(all, byID[n.ID])
	}
	return all
}

// pull has every holder that lacks the segment pull it, and gives how long that took. What a holder had is not asked for again.
func (w *town) pull(holders []*keeper, tree bool, sources ...*keeper) time.Duration {
	w.t.Helper()
	var line, first []peer.ID
	for _, k := range holders {
		line = append(line, k.host.ID())
	}
	for _, k := range sources {
		first = append(first, k.host.ID())
	}
	for _, k := range holders {
		k.knows(append(slices.Clone(holders), sources...)...)
	}
	began := time.Now()
	var all sync.WaitGroup
	for i, k := range holders {
		all.Go(func() {
			who, self := line, i
			if !tree {
				who, self = []peer.ID{k.host.ID()}, 0
			}
			if err := archive.Pull(w.t.Context(), k.store, w.entry, who, first, self, time.Minute); err != nil {
				w.t.Errorf("holder %d: %v", i, err)
			}
		})
	}
	all.Wait()
	return time.Since(began)
}

// A segment goes from one source to 51 of 80 nodes, down their tree. 20 of them are switched off, and 20 more: as many as there can be have it after each. Every holder answers for it, and nobody for another.
func TestASegmentOutlivesItsHolders(t *testing.T) {
	const nodes = 80
	size := 2 << 20
	if *soak {
		size = 64 << 20
	}
	all := openKeepers(t, nodes+1)
	w := &town{t: t, source: all[0], folk: all[1:]}
	made, outline, err := archive.Keep(t.Context(), w.source.store, guessless(8, size/8), 1, archive.Limits{Bytes: archive.MaxBytes, Blocks: 8})
	if err != nil {
		t.Fatal(err)
	}
	w.entry = proof.Entry{Number: 1, From: made.From, To: made.To, Address: made.CID.Bytes(), Piece: made.Piece}
	w.point = placement.PiecePoint([32]byte{2}, made.Piece.ID())

	first := w.holders()
	if len(first) != placement.Copies {
		t.Fatalf("%d holders", len(first))
	}
	took := w.pull(first, true, w.source)
	if sent := w.source.bytes.GetBandwidthTotals().TotalOut; sent > 3*int64(w.entry.Piece.Size) {
		t.Errorf("the source sent %d bytes for a segment of %d", sent, w.entry.Piece.Size)
	}
	for i, k := range first {
		if got := k.bytes.GetBandwidthTotals().TotalIn; float64(got) > 1.05*float64(w.entry.Piece.Size) {
			t.Errorf("holder %d took %d bytes for a segment of %d", i, got, w.entry.Piece.Size)
		}
	}
	t.Logf("51 holders have %d MiB in %v; the source sent %.2f times as much", size>>20, took, float64(w.source.bytes.GetBandwidthTotals().TotalOut)/float64(w.entry.Piece.Size))
	w.source.leave()
	w.answers(first, outline)

	for _, left := range []int{60, 40} {
		leave(first[:20])
		now := w.holders()
		if want := min(left, placement.Copies); len(now) != want {
			t.Fatalf("%d nodes are left, and %d of them hold, want %d", left, len(now), want)
		}
		took := w.pull(now, true)
		if took > time.Minute {
			t.Errorf("%d copies again after %v", len(now), took)
		}
		for i, k := range now {
			if has, err := k.store.Has(t.Context(), made.CID); !has || err != nil {
				t.Errorf("holder %d of %d: has %v, %v", i, len(now), has, err)
			}
		}
		t.Logf("%d nodes are left: %d copies after %v", left, len(now), took)
		first = now
	}
	w.answers(first, outline)
}

// answers has each holder answer for the segment, and compares with what others could show.
func (w *town) answers(holders []*keeper, outline proof.Outline) {
	t, chain := w.t, "hpips-1"
	t.Helper()
	row, err := proof.NewPieces([]proof.Piece{w.entry.Piece})
	if err != nil {
		t.Fatal(err)
	}
	c, err := cid.Cast(w.entry.Address)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(k *keeper, day uint64) proof.Challenge {
		return proof.Challenge{Seed: [32]byte{byte(day)}, Holder: k.ID, Day: day}
	}
	var before proof.Answer
	for i, k := range holders {
		own, err := archive.Outline(t.Context(), k.store, w.entry)
		if err != nil || !bytes.Equal(own.Bytes(), outline.Bytes()) {
			t.Fatalf("holder %d: another outline, %v", i, err)
		}
		answer := func(day uint64) proof.Answer {
			var wanted []holder.Wanted
			for _, at := range ask(k, day).Places(row) {
				wanted = append(wanted, holder.Wanted{Held: holder.Held{CID: c, Piece: w.entry.Piece}, Leaf: at.Leaf})
			}
			a, err := holder.Answer(t.Context(), k.store, chain, ask(k, day), wanted, k.secret)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		a, stale := answer(7), answer(6)
		if err := a.Check(chain, ask(k, 7), row); err != nil {
			t.Errorf("holder %d: %v", i, err)
		}
		tampered := a
		tampered.Proofs = slices.Clone(a.Proofs)
		tampered.Proofs[0].Leaf = append([]byte{a.Proofs[0].Leaf[0] ^ 1}, a.Proofs[0].Leaf[1:]...)
		tampered, _ = tampered.Sign(k.secret)
		stale.Day = 7
		stale, _ = stale.Sign(k.secret)
		foreign := before
		foreign, _ = foreign.Sign(k.secret) // what the neighbour showed, under one's own name
		for what, bad := range map[string]proof.Answer{"tampered": tampered, "stale": stale, "foreign": foreign} {
			if what == "foreign" && i == 0 {
				continue
			}
			if err := bad.Check(chain, ask(k, 7), row); !errors.Is(err, proof.ErrWrong) {
				t.Errorf("holder %d: a %s answer: %v", i, what, err)
			}
		}
		before = a
	}
}

// The tree takes no longer than a source that sends to each.
func TestSoakTheTreeIsAsQuickAsTheStar(t *testing.T) {
	if !*soak {
		t.Skip("runs with -soak")
	}
	const size, rounds = 32 << 20, 5
	var ratios []float64
	for range rounds {
		times := map[bool]time.Duration{}
		for _, tree := range []bool{true, false} {
			t.Run(fmt.Sprint("tree ", tree), func(t *testing.T) {
				all := openKeepers(t, placement.Copies+1)
				w := &town{t: t, source: all[0], folk: all[1:]}
				made, _, err := archive.Keep(t.Context(), w.source.store, guessless(8, size/8), 1, archive.Limits{Bytes: archive.MaxBytes, Blocks: 8})
				if err != nil {
					t.Fatal(err)
				}
				w.entry = proof.Entry{Number: 1, From: made.From, To: made.To, Address: made.CID.Bytes(), Piece: made.Piece}
				w.point = placement.PiecePoint([32]byte{2}, made.Piece.ID())
				times[tree] = w.pull(w.holders(), tree, w.source)
				t.Logf("%v; the source sent %.1f times the segment", times[tree], float64(w.source.bytes.GetBandwidthTotals().TotalOut)/float64(w.entry.Piece.Size))
			})
		}
		ratios = append(ratios, times[true].Seconds()/times[false].Seconds())
	}
	slices.Sort(ratios)
	if t.Logf("tree to star: %.2f", ratios); ratios[rounds/2] > 1.1 {
		t.Errorf("the tree takes %.2f times as long as the star", ratios[rounds/2])
	}
}
