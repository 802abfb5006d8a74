// Package holder keeps what whoever holds pieces does with them, whatever they are pieces of: it outlines each when it came in, and answers the daily challenge about all of them together.
// It promises that a piece is outlined only if it is what was recorded, and that an answer is signed only if it shows that piece; with the outline at hand it reads one span of 1 MiB for each of its five places.
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

// Wanted is a leaf of a piece that is asked for. Where the outline is not at hand, nil, the piece is read whole for it.
type Wanted struct {
	Held
	Leaf    uint64
	Outline *proof.Outline
}

// Answer answers what a holder is asked on a day, in the order of the challenge. ErrPiece and proof.ErrChanged mean that the disk gives other bytes than those that came: nothing is signed.
func Answer(ctx context.Context, in Opener, chain string, c proof.Challenge, wanted []Wanted, secret ed25519.PrivateKey) (proof.Answer, error) {
	a := proof.Answer{Chain: chain, Day: c.Day}
	read := map[Held]*proof.Outline{}
	for _, w := range wanted {
		if w.Outline == nil {
			if read[w.Held] == nil {
				o, err := Outline(ctx, in, w.Held)
				if err != nil {
					return proof.Answer{}, err
				}
				read[w.Held] = &o
			}
			w.Outline = read[w.Held]
		}
		shown, err := prove(ctx, in, w)
		if err != nil {
			return proof.Answer{}, err
		}
		a.Proofs = append(a.Proofs, shown)
	}
	return a.Sign(secret)
}

func prove(ctx context.Context, in Opener, w Wanted) (proof.Proof, error) {
	if w.Outline.Piece() != w.Piece {
		return proof.Proof{}, fmt.Errorf("answer for %s: %w", w.CID, proof.ErrOutline)
	}
	r, err := in.Open(ctx, w.CID)
	if err != nil {
		return proof.Proof{}, err
	}
	defer r.Close()
	p, err := w.Outline.Prove(readerAt{r}, w.Leaf)
	if err != nil {
		return proof.Proof{}, fmt.Errorf("answer for %s: %w", w.CID, err)
	}
	return p, nil
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
