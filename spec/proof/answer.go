package proof

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/hpips/hpips/spec/canon"
)

// The limits of what is read from outside, in bytes.
const (
	MaxProof  = LeafSize + 32*MaxPath + 32
	MaxAnswer = Asked*MaxProof + 256
	maxChain  = 50 // the longest chain ID that CometBFT takes
)

const answerPrefix = "hpips/possession/v1\n" // before what is signed

// Answer shows what a holder was asked for on a day. The holder's node key signs it: without that, the answer for a piece of a few leaves would do for everybody.
type Answer struct {
	Chain     string
	Holder    [32]byte // its node key, ed25519
	Day       uint64
	Proofs    []Proof // of the places of the challenge, in order
	Signature []byte  // by the holder
}

// What else a check of an answer may find.
var (
	ErrMalformed = errors.New("word is malformed")
	ErrOther     = errors.New("the answer is for another challenge")
	ErrSignature = errors.New("signature does not match")
)

// shown and answered are how proofs and answers are written.
type shown struct {
	Leaf []byte `cbor:"leaf"`
	Path []byte `cbor:"path"` // one digest after the other
}

type answered struct {
	Chain     string   `cbor:"chain"`
	Holder    [32]byte `cbor:"holder"`
	Day       uint64   `cbor:"day"`
	Proofs    []shown  `cbor:"proofs"`
	Signature []byte   `cbor:"signature,omitempty"`
}

// Bytes gives the proof's canonical bytes, MaxProof at most, or ErrMalformed.
func (p Proof) Bytes() ([]byte, error) {
	w := p.written()
	if !w.possible() {
		return nil, fmt.Errorf("proof: %w", ErrMalformed)
	}
	return canon.Encode(w)
}

// ParseProof reads a proof from exactly its canonical bytes. It checks nothing else.
func ParseProof(b []byte) (Proof, error) {
	var w shown
	if err := canon.Decode(b, MaxProof, &w); err != nil {
		return Proof{}, fmt.Errorf("proof: %w", err)
	}
	if !w.possible() || !bytes.Equal(canon.MustEncode(w), b) {
		return Proof{}, fmt.Errorf("proof: %w", ErrMalformed)
	}
	return w.read(), nil
}

func (p Proof) written() shown {
	path := make([]byte, 0, 32*len(p.Path))
	for _, h := range p.Path {
		path = append(path, h[:]...)
	}
	return shown{p.Leaf, path}
}

func (w shown) read() Proof {
	p := Proof{Leaf: w.Leaf}
	for b := w.Path; len(b) > 0; b = b[32:] {
		p.Path = append(p.Path, [32]byte(b))
	}
	return p
}

func (w shown) possible() bool {
	return len(w.Leaf) > 0 && len(w.Leaf) <= LeafSize && len(w.Path)%32 == 0 && len(w.Path) <= 32*MaxPath
}

// Bytes gives the answer's canonical bytes, MaxAnswer at most, or ErrMalformed.
func (a Answer) Bytes() ([]byte, error) {
	w := answered{a.Chain, a.Holder, a.Day, nil, a.Signature}
	for _, p := range a.Proofs {
		w.Proofs = append(w.Proofs, p.written())
	}
	if !w.possible() {
		return nil, fmt.Errorf("answer: %w", ErrMalformed)
	}
	return canon.Encode(w)
}

// ParseAnswer reads an answer from exactly its canonical bytes. It checks nothing else.
func ParseAnswer(b []byte) (Answer, error) {
	var w answered
	if err := canon.Decode(b, MaxAnswer, &w); err != nil {
		return Answer{}, fmt.Errorf("answer: %w", err)
	}
	if !w.possible() || !bytes.Equal(canon.MustEncode(w), b) {
		return Answer{}, fmt.Errorf("answer: %w", ErrMalformed)
	}
	a := Answer{w.Chain, w.Holder, w.Day, make([]Proof, len(w.Proofs)), w.Signature}
	for i, s := range w.Proofs {
		a.Proofs[i] = s.read()
	}
	return a, nil
}

func (w answered) possible() bool {
	for _, p := range w.Proofs {
		if !p.possible() {
			return false
		}
	}
	for _, c := range []byte(w.Chain) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return w.Chain != "" && len(w.Chain) <= maxChain && len(w.Proofs) == Asked && (len(w.Signature) == 0 || len(w.Signature) == ed25519.SignatureSize)
}

// Signed gives the bytes that the holder signs.
func (a Answer) Signed() ([]byte, error) {
	a.Signature = nil
	b, err := a.Bytes()
	if err != nil {
		return nil, err
	}
	return append([]byte(answerPrefix), b...), nil
}

// Sign gives the answer with its holder's key and signature.
func (a Answer) Sign(secret ed25519.PrivateKey) (Answer, error) {
	if len(secret) != ed25519.PrivateKeySize {
		return Answer{}, errors.New("answer: the secret key is none of ed25519")
	}
	a.Holder = [32]byte(secret.Public().(ed25519.PublicKey))
	b, err := a.Signed()
	if err != nil {
		return Answer{}, err
	}
	a.Signature = ed25519.Sign(secret, b)
	return a, nil
}

// Check tells whether the answer shows, on that chain, all that a challenge asks of these pieces. ErrOther: it is for another chain, holder or day; ErrSignature: the
// holder did not give it; ErrWrong: what it shows is not there. A holder without a leaf is asked for nothing, and has no answer.
func (a Answer) Check(chain string, c Challenge, of Pieces) error {
	var leaves []Leaf
	for _, at := range c.Places(of) {
		leaves = append(leaves, Leaf{of.list[at.Piece], at.Leaf})
	}
	return a.CheckLeaves(chain, c, leaves)
}

// Leaf is one that is asked for.
type Leaf struct {
	Of    Piece
	Place uint64
}

// CheckLeaves is Check for who knows which leaves the challenge asks for, in the order of its points.
func (a Answer) CheckLeaves(chain string, c Challenge, leaves []Leaf) error {
	if a.Chain != chain || a.Holder != c.Holder || a.Day != c.Day {
		return fmt.Errorf("answer: %w", ErrOther)
	}
	b, err := a.Signed()
	if err != nil {
		return err
	}
	if !ed25519.Verify(a.Holder[:], b, a.Signature) {
		return fmt.Errorf("answer: %w", ErrSignature)
	}
	if len(leaves) != len(a.Proofs) {
		return fmt.Errorf("answer: %w: %d proofs for %d leaves", ErrOther, len(a.Proofs), len(leaves))
	}
	for i, l := range leaves {
		if err := a.Proofs[i].Check(l.Of, l.Place); err != nil {
			return fmt.Errorf("answer: place %d: %w", i, err)
		}
	}
	return nil
}
