package store

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	blockfmt "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/spec/canon"
)

func TestDirectBringsWhatAliceHas(t *testing.T) {
	alice, bob := pair(t)
	ctx := context.Background()
	small, err := alice.AddBytes(ctx, []byte("small"))
	must(t, err)
	big, err := alice.AddBytes(ctx, random(900_000, 1))
	must(t, err)
	absent := blockfmt.NewBlock([]byte("nobody has it")).Cid()
	got := map[cid.Cid]int{}
	err = bob.askDirect(ctx, alice.host.ID(), []cid.Cid{small.CID, absent, big.CID}, 0, func(b blockfmt.Block) error {
		got[b.Cid()] = len(b.RawData())
		return nil
	})
	must(t, err)
	if len(got) != 2 || got[small.CID] != 5 || got[big.CID] != 900_000 {
		t.Fatalf("got %v", got)
	}
}

// TestFetchAsksDirectly has the exchange of alice closed: what bob gets then came on the direct way.
func TestFetchAsksDirectly(t *testing.T) {
	alice, bob := pair(t)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	dir := t.TempDir()
	manyFiles(t, dir, 200, 4000)
	e, err := alice.AddPath(ctx, dir, nil)
	must(t, err)
	must(t, alice.swap.Close())
	n, err := bob.Fetch(ctx, e.CID, nil, alice.host.ID())
	must(t, err)
	if n < 200*4000 {
		t.Fatalf("brought %d bytes", n)
	}
	if tree, err := bob.Tree(ctx, e.CID); err != nil || len(tree) != 200 {
		t.Fatalf("%d files, %v", len(tree), err)
	}
}

// Bob asks alice for what she gets only now, and carol asks bob: it comes to all of them as it comes, and nobody is asked but whom each names.
func TestFetchBehind(t *testing.T) {
	alice, bob := pair(t)
	h := newHost(t)
	carol := openStore(t, t.TempDir(), h)
	must(t, h.Connect(t.Context(), peer.AddrInfo{ID: bob.host.ID(), Addrs: bob.host.Addrs()}))
	for _, s := range []*Store{alice, bob, carol} {
		must(t, s.swap.Close())
	}
	data := random(5<<20+5, 9)
	source := openStore(t, t.TempDir(), nil)
	e, err := source.AddBytes(t.Context(), data)
	must(t, err)
	ended := make(chan error, 2)
	go func() {
		_, err := carol.FetchBehind(t.Context(), e.CID, 0, time.Minute, bob.host.ID())
		ended <- err
	}()
	go func() {
		_, err := bob.FetchBehind(t.Context(), e.CID, 0, time.Minute, alice.host.ID())
		ended <- err
	}()
	_, err = alice.AddBytes(t.Context(), data)
	must(t, err)
	for range 2 {
		must(t, <-ended)
	}
	for _, s := range []*Store{bob, carol} {
		r, err := s.Open(t.Context(), e.CID)
		must(t, err)
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes came: %v", len(got), err)
		}
	}
	if n := len(bob.blocks.arrivals.waiting); n != 0 {
		t.Errorf("%d blocks are waited for", n)
	}
}

func TestFetchBehindEnds(t *testing.T) {
	alice, bob := pair(t)
	absent := blockfmt.NewBlock([]byte("nobody has it")).Cid()
	for wait := range 2 { // 0 is by the exchange, until ctx ends
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		_, err := bob.FetchBehind(ctx, absent, 0, time.Duration(wait)*time.Second, alice.host.ID())
		if !errors.Is(err, ErrNotFound) || wait > 0 && ctx.Err() != nil {
			t.Errorf("within %d s: %v", wait, err)
		}
		cancel()
	}
	err := bob.askDirect(t.Context(), alice.host.ID(), []cid.Cid{absent}, (maxWait+1)*time.Second, func(blockfmt.Block) error { return nil })
	if err == nil {
		t.Error("an answer may be put off for ever")
	}
	if n := len(alice.blocks.arrivals.waiting); n != 0 {
		t.Errorf("%d blocks are waited for", n)
	}
}

func TestFetchPastOneWhoLiesDirectly(t *testing.T) {
	alice, bob := pair(t)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	e, err := alice.AddBytes(ctx, random(5000, 2))
	must(t, err)
	alice.host.SetStreamHandler(directProtocol, func(s network.Stream) {
		defer s.Close()
		_, _ = s.Write(append(binary.AppendUvarint(nil, 4), "lie"...)) // bob notices by the hash
	})
	if _, err := bob.Fetch(ctx, e.CID, nil, alice.host.ID()); err != nil {
		t.Fatalf("the exchange was not asked after the lie: %v", err)
	}
}

func TestDirectRefusesLies(t *testing.T) {
	c := blockfmt.NewBlock([]byte("truth")).Cid()
	rows := map[string][]byte{
		"other bytes": append(binary.AppendUvarint(nil, 4), "lie"...),
		"too large":   binary.AppendUvarint(nil, maxBlockSize+2),
		"cut short":   append(binary.AppendUvarint(nil, 6), "tru"...),
		"nothing":     {},
	}
	for name, b := range rows {
		if block, err := readDirect(bufio.NewReader(bytes.NewReader(b)), c); err == nil {
			t.Errorf("%s: accepted as %v", name, block)
		}
	}
}

// FuzzDirectQuestion answers whatever mallory asks from a real store.
func FuzzDirectQuestion(f *testing.F) {
	s, err := Open(slog.New(slog.DiscardHandler), f.TempDir(), nil, Default())
	must(f, err)
	f.Cleanup(func() { must(f, s.Close()) })
	kept, err := s.AddBytes(f.Context(), []byte("kept"))
	must(f, err)
	f.Add(canon.MustEncode(question{Want: [][]byte{kept.CID.Bytes()}}))
	f.Add(canon.MustEncode(question{Want: [][]byte{blockfmt.NewBlock([]byte("x")).Cid().Bytes()}}))
	f.Add([]byte(strings.Repeat("\x81", 40)))
	f.Fuzz(func(t *testing.T, b []byte) {
		var q question
		if canon.Decode(b, maxQuestion, &q) == nil {
			for _, w := range q.Want {
				late := time.NewTimer(0)
				_ = s.answerOne(bufio.NewWriter(io.Discard), "", w, late)
				late.Stop()
				if c, err := cid.Cast(w); err == nil && !c.Defined() {
					t.Fatal("an undefined address was accepted")
				}
			}
		}
	})
}

// A store that gives nothing to a peer gives it nothing on either way.
func TestWhoIsGivenNothing(t *testing.T) {
	a, b := newHost(t), newHost(t)
	var open atomic.Bool
	cfg := Default()
	cfg.Gives = func(p peer.ID) bool { return open.Load() || p != b.ID() }
	alice, err := Open(slog.New(slog.DiscardHandler), t.TempDir(), a, cfg)
	must(t, err)
	t.Cleanup(func() { must(t, alice.Close()) })
	bob := openStore(t, t.TempDir(), b)
	must(t, a.Connect(t.Context(), peer.AddrInfo{ID: b.ID(), Addrs: b.Addrs()}))
	e, err := alice.AddBytes(t.Context(), random(900_000, 1))
	must(t, err)
	if err := bob.askDirect(t.Context(), alice.host.ID(), []cid.Cid{e.CID}, 0, func(blockfmt.Block) error { return nil }); err == nil {
		t.Error("bob is given a block on the direct way")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if n, err := bob.Fetch(ctx, e.CID, nil, alice.host.ID()); err == nil {
		t.Errorf("bob is given %d bytes by the exchange", n)
	}
	open.Store(true)
	again, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	if n, err := bob.Fetch(again, e.CID, nil, alice.host.ID()); err != nil || n < 900_000 {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// One block that alice withholds from bob comes neither way; all others do.
func TestABlockIsWithheld(t *testing.T) {
	a, b := newHost(t), newHost(t)
	sold, free := blockfmt.NewBlock(random(70_000, 2)), random(70_000, 3)
	held := cid.NewCidV1(cid.Raw, sold.Cid().Hash())
	cfg := Default()
	cfg.Withheld = func(p peer.ID, c cid.Cid) bool { return p == b.ID() && c.Equals(held) }
	alice, err := Open(slog.New(slog.DiscardHandler), t.TempDir(), a, cfg)
	must(t, err)
	t.Cleanup(func() { must(t, alice.Close()) })
	bob := openStore(t, t.TempDir(), b)
	must(t, a.Connect(t.Context(), peer.AddrInfo{ID: b.ID(), Addrs: b.Addrs()}))
	kept, err := alice.AddBytes(t.Context(), sold.RawData())
	must(t, err)
	if !kept.CID.Equals(held) {
		t.Fatalf("%s is not %s", kept.CID, held)
	}
	other, err := alice.AddBytes(t.Context(), free)
	must(t, err)
	var got []cid.Cid
	must(t, bob.askDirect(t.Context(), a.ID(), []cid.Cid{held, other.CID}, 0, func(block blockfmt.Block) error { got = append(got, block.Cid()); return nil }))
	if len(got) != 1 || !got[0].Equals(other.CID) {
		t.Errorf("on the direct way bob is given %v", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if n, err := bob.Fetch(ctx, held, nil); err == nil {
		t.Errorf("bob is given %d bytes by the exchange", n)
	}
	if _, err := bob.Fetch(t.Context(), other.CID, nil); err != nil {
		t.Error(err)
	}
}
