package store

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	blockfmt "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/network"

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
	err = bob.askDirect(ctx, alice.host.ID(), []cid.Cid{small.CID, absent, big.CID}, func(b blockfmt.Block) error {
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
				_ = s.answerOne(bufio.NewWriter(io.Discard), w)
				if c, err := cid.Cast(w); err == nil && !c.Defined() {
					t.Fatal("an undefined address was accepted")
				}
			}
		}
	})
}
