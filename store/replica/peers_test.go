package replica

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/spec/erasure"
	"github.com/hpips/hpips/spec/proof"
	"github.com/hpips/hpips/store"
	"github.com/hpips/hpips/store/holder"
)

// node is a PC with a store that others reach.
type node struct {
	*store.Store
	host host.Host
}

// town are so many of them, who know one another's addresses.
func town(t *testing.T, n int) []node {
	t.Helper()
	nodes := make([]node, n)
	for i := range nodes {
		h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableRelay())
		must(t, err)
		t.Cleanup(func() { must(t, h.Close()) })
		s, err := store.Open(discard, t.TempDir(), h, store.Default())
		must(t, err)
		t.Cleanup(func() { must(t, s.Close()) })
		nodes[i] = node{s, h}
	}
	for _, a := range nodes {
		for _, b := range nodes {
			a.host.Peerstore().AddAddrs(b.host.ID(), b.host.Addrs(), time.Hour)
		}
	}
	return nodes
}

// Alice gives six holders their pieces, over a network, and is switched off. Bob reads the object as plain IPFS content while all are there, by any three when three are gone, and makes a lost piece again.
func TestHoldersPullPieces(t *testing.T) {
	ctx := t.Context()
	nodes := town(t, 10)
	alice, holders, bob, carol, dave := nodes[0], nodes[1:7], nodes[7], nodes[8], nodes[9]
	root := file(13<<20+5, 1)(t, alice.Store)
	made, err := Make(ctx, alice.Store, root, erasure.Scheme{Need: 3, Pieces: 6}, "pieces")
	must(t, err)
	other := proof.Piece{Size: made.Pieces[2].Piece.Size}
	if _, err := Hold(ctx, holders[2].Store, made.Manifest, 2, "a deal", &other, alice.host.ID()); !errors.Is(err, holder.ErrPiece) {
		t.Fatalf("another piece was recorded: %v", err)
	}
	if pins, err := holders[2].Pins(ctx); err != nil || len(pins) > 0 {
		t.Errorf("it is pinned: %v", err)
	}
	var ids []peer.ID
	for i, h := range holders {
		m, err := Load(ctx, h.Store, made.Manifest.CID(), alice.host.ID())
		must(t, err)
		k, err := Hold(ctx, h.Store, m, i, "a deal", &made.Pieces[i].Piece, alice.host.ID())
		must(t, err)
		whole(t, h.Store, made.Pieces[i].CID)
		answers(t, h.Store, k)
		_, err = h.GC(ctx)
		must(t, err)
		n, err := h.Stat(ctx)
		must(t, err)
		if want := int64(len(m.parts(i)) + 1); n.Blocks != want {
			t.Errorf("holder %d has %d blocks, want %d", i, n.Blocks, want)
		}
		ids = append(ids, h.host.ID())
	}
	if _, err := Hold(ctx, bob.Store, made.Manifest, 6, "a deal", nil, alice.host.ID()); err == nil || !strings.Contains(err.Error(), "0 to 5") {
		t.Errorf("a piece that is none: %v", err)
	}
	must(t, alice.host.Close())
	if _, err := bob.Fetch(ctx, root, nil, ids...); err != nil {
		t.Fatalf("as any other content: %v", err)
	}
	if got := bytesOf(t, bob.Store, root); !bytes.Equal(got, random(13<<20+5, 1)) {
		t.Errorf("%d other bytes", len(got))
	}
	for _, i := range []int{0, 2, 4} {
		must(t, holders[i].host.Close())
	}
	m, err := Load(ctx, carol.Store, made.Manifest.CID(), ids...)
	must(t, err)
	must(t, Recover(ctx, carol.Store, m, "back", Peers(carol.Store, ids)))
	whole(t, carol.Store, root)
	k, err := Repair(ctx, dave.Store, m, []int{2}, "a deal", Peers(dave.Store, ids))
	must(t, err)
	if k[0].Held != made.Pieces[2] {
		t.Errorf("piece 2 is %+v", k[0].Held)
	}
	ids[5] = ""
	var missing ErrMissing
	err = Recover(ctx, alone(t), m, "back", func(ctx context.Context, piece int, c cid.Cid) ([]byte, error) {
		return Peers(dave.Store, ids)(ctx, piece, c)
	})
	if !errors.As(err, &missing) || missing.Have != 2 || len(missing.Missing) != 4 {
		t.Errorf("four are gone: %v", err)
	}
}
