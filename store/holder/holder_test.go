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
	row, err := Row(held)
	must(t, err)
	for day := range uint64(30) {
		c := proof.Challenge{Seed: seed, Holder: [32]byte(secret[32:]), Day: day}
		a, err := Answer(ctx, s, "hpips-1", c, held, outlines, secret)
		must(t, err)
		must(t, a.Check("hpips-1", c, row))
	}
	c := proof.Challenge{Seed: seed, Holder: [32]byte(secret[32:])}
	if _, err := Answer(ctx, s, "hpips-1", c, held, outlines[:2], secret); err == nil || !strings.Contains(err.Error(), "2 outlines of 3") {
		t.Errorf("an outline is lost: %v", err)
	}
	swapped := []Held{{held[2].CID, held[0].Piece}, held[1], held[2]}
	if _, err := Outline(ctx, s, swapped[0]); !errors.Is(err, ErrPiece) {
		t.Errorf("another piece was recorded: %v", err)
	}
	if _, err := Answer(ctx, s, "hpips-1", c, swapped, outlines, secret); !errors.Is(err, proof.ErrChanged) || !strings.Contains(err.Error(), "piece 1 of 3") {
		t.Errorf("the file is another: %v", err)
	}
}
