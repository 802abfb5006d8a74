// Package holder keeps what whoever holds pieces does with them, whatever they are pieces of: it outlines each when it came in, and answers the daily challenge about all of them together.
// It promises that a piece is outlined only if it is what was recorded, and that an answer reads one span of 1 MiB for each of its five places and needs no more memory than that.
// It leaves challenge and answer themselves to spec/proof, and what a piece is of to the rooms that make them: store/archive and store/replica.
package holder

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"

	"github.com/ipfs/go-cid"

	"github.com/hpips/hpips/spec/proof"
	"github.com/hpips/hpips/store"
)

// Held is a piece that this node has in its store: a file, and what was recorded of its bytes.
type Held struct {
	CID   cid.Cid
	Piece proof.Piece
}

// ErrPiece is why a file is not held although it has the address that was recorded: its audit root or its length is another.
var ErrPiece = errors.New("the recorded audit root or length is not that of the file")

// Opener is what is needed of a store.
type Opener interface {
	Open(ctx context.Context, c cid.Cid) (store.Reader, error)
}

// Read reads a file and gives what its holder answers audits from; the outline says which piece it is.
func Read(ctx context.Context, in Opener, c cid.Cid) (proof.Outline, error) {
	r, err := in.Open(ctx, c)
	if err != nil {
		return proof.Outline{}, err
	}
	defer r.Close()
	o := proof.NewOutliner()
	if _, err := io.Copy(o, r); err != nil {
		return proof.Outline{}, fmt.Errorf("outline %s: %w", c, err)
	}
	return o.Outline(), nil
}

// Outline is Read of a piece that was recorded. ErrPiece means that nobody can answer for it: what is recorded is not of this file.
func Outline(ctx context.Context, in Opener, h Held) (proof.Outline, error) {
	o, err := Read(ctx, in, h.CID)
	if err != nil {
		return proof.Outline{}, err
	}
	if o.Piece() != h.Piece {
		return proof.Outline{}, fmt.Errorf("outline %s: %w", h.CID, ErrPiece)
	}
	return o, nil
}

// Answer answers what a holder is asked on a day about all that it holds, in the order of their records. outlines are theirs.
func Answer(ctx context.Context, in Opener, chain string, c proof.Challenge, held []Held, outlines []proof.Outline, secret ed25519.PrivateKey) (proof.Answer, error) {
	if len(outlines) != len(held) {
		return proof.Answer{}, fmt.Errorf("answer: %d outlines of %d pieces", len(outlines), len(held))
	}
	row, err := Row(held)
	if err != nil {
		return proof.Answer{}, err
	}
	a := proof.Answer{Chain: chain, Day: c.Day}
	for _, at := range c.Places(row) {
		shown, err := prove(ctx, in, held[at.Piece].CID, outlines[at.Piece], at.Leaf)
		if err != nil {
			return proof.Answer{}, fmt.Errorf("answer: piece %d of %d: %w", at.Piece+1, len(held), err)
		}
		a.Proofs = append(a.Proofs, shown)
	}
	return a.Sign(secret)
}

// Row are the pieces, in the order in which they come.
func Row(held []Held) (proof.Pieces, error) {
	pieces := make([]proof.Piece, len(held))
	for i, h := range held {
		pieces[i] = h.Piece
	}
	return proof.NewPieces(pieces)
}

func prove(ctx context.Context, in Opener, c cid.Cid, o proof.Outline, leaf uint64) (proof.Proof, error) {
	r, err := in.Open(ctx, c)
	if err != nil {
		return proof.Proof{}, err
	}
	defer r.Close()
	return o.Prove(readerAt{r}, leaf)
}

// readerAt reads at a place, one after the other.
type readerAt struct{ from io.ReadSeeker }

func (r readerAt) ReadAt(b []byte, at int64) (int, error) {
	if _, err := r.from.Seek(at, io.SeekStart); err != nil {
		return 0, err
	}
	n, err := io.ReadFull(r.from, b)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF // as an io.ReaderAt says it
	}
	return n, err
}
