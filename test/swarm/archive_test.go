package swarm

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/chain/chaintest"
	"github.com/hpips/hpips/chain/full"
	"github.com/hpips/hpips/store"
	"github.com/hpips/hpips/store/archive"
)

// Alice's chain goes into segments, which bob, who follows it, makes as well and carol pulls by their addresses from alice's store. Alice switches her chain off. Carol's new home comes from what her
// store holds and one block that she knows to be right, and has the state that alice had.
func TestAHomeComesFromTheArchiveAlone(t *testing.T) {
	g, err := chaintest.Genesis("hpips-archive-1", chaintest.New("alice"))
	if err != nil {
		t.Fatal(err)
	}
	g.Heartbeat = time.Second
	doc, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	chainOf := func(p chaintest.Person, peers ...string) full.Config {
		return full.Config{Home: filepath.Join(t.TempDir(), p.Name), Doc: doc, Listen: "127.0.0.1:0", Dev: true, Peers: peers, Log: slog.New(slog.DiscardHandler)}
	}
	seat := chainOf(chaintest.New("alice"))
	seat.Consensus, seat.VRF = chaintest.New("alice").Consensus, chaintest.New("alice").VRF
	a, endAlice := serveChain(t, seat)
	b, endBob := serveChain(t, chainOf(chaintest.New("bob"), a.Address()))
	defer endBob()

	const segments, blocksEach = 3, 3
	limits := archive.Limits{Bytes: 64 << 20, Blocks: blocksEach}
	await(t, "three segments and a block more", func() bool { return b.Blocks().Height() > segments*blocksEach })
	alices, atAlice := storeOf(t)
	carols, atCarol := storeOf(t)
	var list []cid.Cid
	for from := int64(1); len(list) < segments; {
		kept, outline, err := archive.Keep(t.Context(), alices, a.Blocks(), from, limits)
		if err != nil {
			t.Fatal(err)
		}
		bobs, err := archive.Make(t.Context(), b.Blocks(), from, limits, new(bytes.Buffer))
		if err != nil || bobs != kept || outline.Piece() != bobs.Piece {
			t.Fatalf("bob makes %+v of what is %+v to alice: %v", bobs, kept, err)
		}
		list, from = append(list, kept.CID), kept.To+1
	}
	last := int64(segments*blocksEach) - 1 // the commit of the very last block is in no segment yet
	next, at := last+1, last
	head, err := a.Client().Block(t.Context(), &next)
	if err != nil {
		t.Fatal(err)
	}
	known, err := a.Client().Block(t.Context(), &at)
	if err != nil {
		t.Fatal(err)
	}
	if err := endAlice(); err != nil {
		t.Fatal(err)
	}

	if err := atCarol.Connect(t.Context(), peer.AddrInfo{ID: atAlice.ID(), Addrs: atAlice.Addrs()}); err != nil {
		t.Fatal(err)
	}
	c := chainOf(chaintest.New("carol"))
	c.Trust = &full.Trust{Height: last, Hash: known.BlockID.Hash}
	got, err := full.Rebuild(t.Context(), c, func(yield func([]byte, error) bool) {
		for _, address := range list {
			if err := pulled(t.Context(), carols, address, yield); err != nil {
				if !errors.Is(err, errEnough) {
					yield(nil, err)
				}
				return
			}
		}
	})
	if err != nil || got.Height != last || !bytes.Equal(got.AppHash, head.Block.AppHash) {
		t.Fatalf("rebuilt to %d with %X, alice had %X: %v", got.Height, got.AppHash, head.Block.AppHash, err)
	}
}

var errEnough = errors.New("who takes blocks has enough")

// pulled gives the blocks of one segment, which is fetched.
func pulled(ctx context.Context, s *store.Store, address cid.Cid, yield func([]byte, error) bool) error {
	if _, err := s.Fetch(ctx, address, nil); err != nil {
		return err
	}
	r, err := s.Open(ctx, address)
	if err != nil {
		return err
	}
	defer r.Close()
	read, err := archive.Read(r, func(_ int64, block []byte) error {
		if !yield(block, nil) {
			return errEnough
		}
		return nil
	})
	if err == nil && read.CID != address {
		err = errors.New("another segment was read than was asked for")
	}
	return err
}

// serveChain runs a chain node until the test ends, or it is ended.
func serveChain(t *testing.T, c full.Config) (*full.Node, func() error) {
	t.Helper()
	if c.Consensus == nil {
		_, c.Consensus, _ = ed25519.GenerateKey(nil)
	}
	n, err := full.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Serve(ctx) }()
	once := false
	end := func() error {
		cancel()
		if once {
			return nil
		}
		once = true
		return <-ended
	}
	t.Cleanup(func() { _ = end() })
	return n, end
}

// storeOf opens a store with a host of its own on loopback.
func storeOf(t *testing.T) (*store.Store, host.Host) {
	t.Helper()
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableRelay())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	s, err := store.Open(slog.New(slog.DiscardHandler), t.TempDir(), h, store.Default())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, h
}

func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	limit := time.After(2 * time.Minute)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-limit:
			t.Fatalf("waited for %s in vain", what)
		case <-tick.C:
		}
	}
}
