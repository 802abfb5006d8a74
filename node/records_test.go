package node

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"slices"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multihash"

	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/seat"
	"github.com/hpips/hpips/spec/proof"
)

// book is a chain's rows in a test.
type book struct {
	segments []cid.Cid // from number 1 on
	held     map[uint64][][32]byte
	kept     map[cid.Cid][][32]byte
	read     int // segments
	err      error
}

func (b *book) Segments(_ context.Context, from uint64) (list []ledger.Segment, err error) {
	for i, c := range b.segments {
		if number := uint64(i + 1); number >= from {
			list = append(list, ledger.Segment{Number: number, Entry: proof.Entry{Number: number, Address: c.Bytes()}})
		}
	}
	b.read += len(list)
	return list, b.err
}

func (b *book) Copies(_ context.Context, segment uint64, _ []byte) (ledger.Copies, error) {
	return ledger.Copies{Held: b.held[segment]}, b.err
}

func (b *book) Keepers(_ context.Context, object cid.Cid) ([][32]byte, error) {
	return b.kept[object], b.err
}

func TestTheChainTellsWhoKeepsWhat(t *testing.T) {
	address := func(codec uint64, text string) cid.Cid {
		sum, err := multihash.Sum([]byte(text), multihash.SHA2_256, -1)
		if err != nil {
			t.Fatal(err)
		}
		return cid.NewCidV1(codec, sum)
	}
	node := func(name string) (key [32]byte, id peer.ID) {
		seed := sha256.Sum256([]byte(name))
		copy(key[:], ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey))
		id, err := seat.PeerOf(key)
		if err != nil {
			t.Fatal(err)
		}
		return key, id
	}
	alice, aliceID := node("alice")
	bob, bobID := node("bob")
	film, first, second := address(cid.DagProtobuf, "film"), address(cid.DagProtobuf, "first"), address(cid.DagProtobuf, "second")
	b := &book{segments: []cid.Cid{first}, held: map[uint64][][32]byte{1: {alice}, 2: {bob}}, kept: map[cid.Cid][][32]byte{film: {bob, alice, bob}}}
	var r records
	says := func(what string, c cid.Cid, want ...peer.ID) {
		t.Helper()
		if got, err := r.of(t.Context(), b, c); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v, want %v", what, got, err, want)
		}
	}
	says("an object", film, bobID, aliceID)
	says("its address of version 0", cid.NewCidV0(film.Hash()), bobID, aliceID)
	says("a segment", first, aliceID)
	says("what is not recorded yet", second)
	b.segments = append(b.segments, second)
	says("recorded since", second, bobID)
	says("another content", address(cid.Raw, "another"))
	if b.read != 2 {
		t.Errorf("%d segments were read, for two", b.read)
	}
	b.err = errors.New("no chain")
	if _, err := r.of(t.Context(), b, film); !errors.Is(err, b.err) {
		t.Errorf("without a chain: %v", err)
	}
}
