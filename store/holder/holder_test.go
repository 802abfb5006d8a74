package holder

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/hpips/hpips/spec/proof"
	"github.com/hpips/hpips/store"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Bob holds three files of several leaves, of one and of none, and answers for all of them together; with an outline that is not of the file he finds that out before anybody else does.
func TestAHolderAnswersForAllThatItHolds(t *testing.T) {
	ctx := t.Context()
	s, err := store.Open(slog.New(slog.DiscardHandler), t.TempDir(), nil, store.Default())
	must(t, err)
	defer s.Close()
	var held []Held
	var outlines []proof.Outline
	for i, size := range []int{2<<20 + 700, 0, 99} {
		b := make([]byte, size)
		for at := range b {
			b[at] = byte(at/1000 + i)
		}
		e, err := s.AddBytes(ctx, b)
		must(t, err)
		var sum proof.Builder
		_, err = sum.Write(b)
		must(t, err)
		h := Held{e.CID, sum.Piece()}
		o, err := Outline(ctx, s, h)
		must(t, err)
		held, outlines = append(held, h), append(outlines, o)
	}
	seed := sha256.Sum256([]byte("bob"))
	secret := ed25519.NewKeyFromSeed(seed[:])
	var pieces []proof.Piece
	for _, h := range held {
		pieces = append(pieces, h.Piece)
	}
	row, err := proof.NewPieces(pieces)
	must(t, err)
	ask := func(day uint64) (c proof.Challenge, wanted []Wanted) {
		c = proof.Challenge{Seed: seed, Holder: [32]byte(secret[32:]), Day: day}
		for i, at := range c.Places(row) {
			w := Wanted{Held: held[at.Piece], Leaf: at.Leaf}
			if (uint64(i)+day)%2 == 0 {
				w.Outline = &outlines[at.Piece]
			}
			wanted = append(wanted, w)
		}
		return c, wanted
	}
	for day := range uint64(10) {
		c, wanted := ask(day)
		a, err := Answer(ctx, s, "hpips-1", c, wanted, secret)
		must(t, err)
		must(t, a.Check("hpips-1", c, row))
	}
	c, wanted := ask(0)
	other := Held{held[2].CID, held[0].Piece}
	if _, err := Outline(ctx, s, other); !errors.Is(err, ErrPiece) {
		t.Errorf("another piece was recorded: %v", err)
	}
	for _, row := range []struct {
		outline *proof.Outline
		want    error
	}{{&outlines[0], proof.ErrChanged}, {nil, ErrPiece}, {&outlines[2], proof.ErrOutline}} {
		wanted[3] = Wanted{other, wanted[3].Leaf, row.outline}
		if _, err := Answer(ctx, s, "hpips-1", c, wanted, secret); !errors.Is(err, row.want) || !strings.Contains(err.Error(), other.CID.String()) {
			t.Errorf("the file is another: %v, want %v", err, row.want)
		}
	}
}
