package store

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"math/rand/v2"
	"testing"

	blockfmt "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
)

// raw is a leaf of these bytes, which are not put anywhere.
func raw(t testing.TB, b []byte) Link {
	t.Helper()
	c, err := LeafCID(b)
	must(t, err)
	return Link{CID: c, Size: uint64(len(b)), Total: uint64(len(b))}
}

func single(name string, parts []Link) iter.Seq2[string, []Link] {
	return func(yield func(string, []Link) bool) { yield(name, parts) }
}

// A file is joined of leaves of any sizes, none among them, and read from anywhere.
func TestJoinedPartsAreAFile(t *testing.T) {
	s, ctx, dice := alone(t), t.Context(), rand.New(rand.NewPCG(1, 2))
	var parts []Link
	var whole []byte
	_, err := s.AddFiles(ctx, func(yield func(string, []byte) bool) {
		for i := range 2100 {
			b := random([]int{0, 1, 700, 3000}[i%4]+dice.IntN(9)*(i%4), uint64(i))
			parts, whole = append(parts, raw(t, b)), append(whole, b...)
			if !yield("", b) {
				return
			}
		}
	})
	must(t, err)
	links, err := s.Join(ctx, single("joined", parts))
	must(t, err)
	if len(links) != 1 || links[0].Name != "joined" || links[0].Size != uint64(len(whole)) {
		t.Fatalf("%+v for %d bytes", links, len(whole))
	}
	r, err := s.Open(ctx, links[0].CID)
	must(t, err)
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, whole) {
		t.Fatalf("%d other bytes: %v", len(got), err)
	}
	for range 200 {
		at := dice.IntN(len(whole))
		b := make([]byte, min(1+dice.IntN(9000), len(whole)-at))
		_, err := r.Seek(int64(at), io.SeekStart)
		must(t, err)
		if _, err := io.ReadFull(r, b); err != nil || !bytes.Equal(b, whole[at:at+len(b)]) {
			t.Fatalf("%d bytes from %d on are others: %v", len(b), at, err)
		}
	}
	node, err := s.AddBytes(ctx, random(3<<20, 9))
	must(t, err)
	for what, bad := range map[string][]Link{"no part": {}, "a node": {{CID: node.CID, Size: 5, Total: 5}}, "a large leaf": {{CID: parts[1].CID, Size: 2 << 20, Total: 2 << 20}}} {
		if _, err := s.Join(ctx, single("bad", bad)); err == nil {
			t.Errorf("%s was joined", what)
		}
	}
}

// Two pins have the same node, one by its own address and one, as a leaf of a joined file, by that of its bytes: what is below it stays, whichever is met first.
func TestANodeThatIsAlsoALeafKeepsWhatIsBelow(t *testing.T) {
	ctx, orders := t.Context(), map[bool]int{}
	for seed := uint64(0); len(orders) < 2; seed++ { // pins of one second are walked in the order of their addresses
		s := alone(t)
		file, err := s.AddBytes(ctx, random(1<<20+5, seed))
		must(t, err)
		bytesOf := cid.NewCidV1(cid.Raw, file.CID.Hash())
		size, err := s.BlockSize(ctx, bytesOf)
		must(t, err)
		leaf := Link{CID: bytesOf, Size: uint64(size), Total: uint64(size)}
		links, err := s.Join(ctx, single("", []Link{leaf, leaf}))
		must(t, err)
		orders[links[0].CID.KeyString() < file.CID.KeyString()]++
		must(t, s.Pin(ctx, links[0].CID, "joined"))
		must(t, s.Pin(ctx, file.CID, "file"))
		_, err = s.GC(ctx)
		must(t, err)
		if got, err := s.Check(ctx, nil); err != nil || len(got.Short) > 0 {
			t.Fatalf("%d pins lack something: %v", len(got.Short), err)
		}
	}
}

// Bob asks alice for three blocks: he gets the two that she has, and his disk has none of them.
func TestAskKeepsNothing(t *testing.T) {
	alice, bob := pair(t)
	ctx := t.Context()
	var wants []cid.Cid
	for i := range uint64(3) {
		b := random(70_000, i)
		if i != 1 {
			_, err := alice.AddBytes(ctx, b)
			must(t, err)
		}
		wants = append(wants, raw(t, b).CID)
	}
	var came []cid.Cid
	must(t, bob.Ask(ctx, alice.host.ID(), wants, func(b blockfmt.Block) error {
		came = append(came, b.Cid())
		return nil
	}))
	if len(came) != 2 || came[0] != wants[0] || came[1] != wants[2] {
		t.Errorf("%v came of %v", came, wants)
	}
	if n, err := bob.Stat(ctx); err != nil || n.Blocks != 0 {
		t.Errorf("bob has %d blocks: %v", n.Blocks, err)
	}
	stop := errors.New("enough")
	if err := bob.Ask(ctx, alice.host.ID(), wants, func(blockfmt.Block) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("who takes blocks ends it: %v", err)
	}
	if err := bob.Ask(ctx, alice.host.ID(), make([]cid.Cid, maxWants+1), nil); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too many: %v", err)
	}
	if err := alone(t).Ask(ctx, alice.host.ID(), wants, nil); err == nil {
		t.Error("an offline store asked")
	}
}
