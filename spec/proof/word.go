package proof

import (
	"cmp"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	holdPrefix    = "hpips/hold/v1\x00"
	keepPrefix    = "hpips/keep/v1\x00"
	witnessPrefix = "hpips/witness/v1\x00"
)

// MaxHold is how many segments, or parts, one word names.
const MaxHold = 64

// ErrHold is why something is no word of a holder.
var ErrHold = errors.New("no word of a holder")

// Hold is what a node says in an epoch of the chain: that it is there to keep pieces, and that it has these segments of the archive.
type Hold struct {
	Epoch    uint64
	Segments []uint64 // rising, MaxHold at most
}

// signed is the prefix, then chain, node, epoch, how many segments there are, and their numbers.
func (h Hold) signed(chain string, node [32]byte) ([]byte, error) {
	if len(chain) < 1 || len(chain) > MaxChainID || len(h.Segments) > MaxHold {
		return nil, fmt.Errorf("proof: %w: %d segments on a chain named with %d bytes", ErrHold, len(h.Segments), len(chain))
	}
	b := begun(holdPrefix, chain, node)
	b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, h.Epoch), uint64(len(h.Segments)))
	last := uint64(0)
	for _, n := range h.Segments {
		if n <= last {
			return nil, fmt.Errorf("proof: %w: segment %d after %d", ErrHold, n, last)
		}
		b, last = binary.BigEndian.AppendUint64(b, n), n
	}
	return b, nil
}

// Sign says it by a node's key.
func (h Hold) Sign(chain string, secret ed25519.PrivateKey) ([]byte, error) {
	return sign(secret, func(node [32]byte) ([]byte, error) { return h.signed(chain, node) })
}

// CheckSigned checks a node's signature: ErrHold means that there is nothing to sign, ErrSignature that it is not this node's.
func (h Hold) CheckSigned(chain string, node [32]byte, signature []byte) error {
	b, err := h.signed(chain, node)
	if err != nil {
		return err
	}
	return check(node, b, signature)
}

// Part is one of the parts in which an object of a user is kept: which deal it belongs to, and which of its parts it is, from 0.
type Part struct{ Deal, Number uint64 }

// Compare orders parts: by deal, then by number.
func (p Part) Compare(q Part) int {
	return cmp.Or(cmp.Compare(p.Deal, q.Deal), cmp.Compare(p.Number, q.Number))
}

// Keep is what a node says in an epoch about deals: that it has these parts; or, without parts, how much it offers for them, and whether it leaves: it takes nothing more, and keeps what it has until others do.
type Keep struct {
	Epoch  uint64
	Leaves bool
	Offer  uint64 // MiB, with those that it has; 0 with parts, and of who leaves
	Parts  []Part // rising, MaxHold at most
}

// signed is the prefix, then chain, node, epoch, 1 if it leaves or else 0, MiB offered, how many parts there are, and of each deal and number.
func (k Keep) signed(chain string, node [32]byte) ([]byte, error) {
	if len(chain) < 1 || len(chain) > MaxChainID || len(k.Parts) > MaxHold {
		return nil, fmt.Errorf("proof: %w: %d parts on a chain named with %d bytes", ErrHold, len(k.Parts), len(chain))
	}
	if k.Offer > 0 && (k.Leaves || len(k.Parts) > 0) {
		return nil, fmt.Errorf("proof: %w: an offer of %d MiB together with parts, or of who leaves", ErrHold, k.Offer)
	}
	leaves := uint64(0)
	if k.Leaves {
		leaves = 1
	}
	b := begun(keepPrefix, chain, node)
	for _, n := range []uint64{k.Epoch, leaves, k.Offer, uint64(len(k.Parts))} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	for i, p := range k.Parts {
		if p.Deal == 0 || i > 0 && k.Parts[i-1].Compare(p) >= 0 {
			return nil, fmt.Errorf("proof: %w: part %d of deal %d is out of order", ErrHold, p.Number, p.Deal)
		}
		b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, p.Deal), p.Number)
	}
	return b, nil
}

// Sign says it by a node's key.
func (k Keep) Sign(chain string, secret ed25519.PrivateKey) ([]byte, error) {
	return sign(secret, func(node [32]byte) ([]byte, error) { return k.signed(chain, node) })
}

// CheckSigned checks a node's signature: ErrHold means that there is nothing to sign, ErrSignature that it is not this node's.
func (k Keep) CheckSigned(chain string, node [32]byte, signature []byte) error {
	b, err := k.signed(chain, node)
	if err != nil {
		return err
	}
	return check(node, b, signature)
}

// witnessed is what an auditor signs who saw the answer to a challenge, and that it is right: the prefix, then chain, holder, day, seed.
func (c Challenge) witnessed(chain string) ([]byte, error) {
	if len(chain) < 1 || len(chain) > MaxChainID {
		return nil, fmt.Errorf("proof: %w: a chain named with %d bytes", ErrHold, len(chain))
	}
	b := binary.BigEndian.AppendUint64(begun(witnessPrefix, chain, c.Holder), c.Day)
	return append(b, c.Seed[:]...), nil
}

// Witness says by an auditor's key that it saw the answer to a challenge, and that it is right.
func (c Challenge) Witness(chain string, auditor ed25519.PrivateKey) ([]byte, error) {
	return sign(auditor, func([32]byte) ([]byte, error) { return c.witnessed(chain) })
}

// CheckWitness checks an auditor's signature.
func (c Challenge) CheckWitness(chain string, auditor [32]byte, signature []byte) error {
	b, err := c.witnessed(chain)
	if err != nil {
		return err
	}
	return check(auditor, b, signature)
}

// begun is how all that is signed begins: the prefix, the chain's ID with its length before it, a node. Whole numbers have 8 bytes, the highest first.
func begun(prefix, chain string, node [32]byte) []byte {
	b := binary.BigEndian.AppendUint64([]byte(prefix), uint64(len(chain)))
	return append(append(b, chain...), node[:]...)
}

func sign(secret ed25519.PrivateKey, of func(node [32]byte) ([]byte, error)) ([]byte, error) {
	if len(secret) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("proof: a secret key of %d bytes", len(secret))
	}
	b, err := of([32]byte(secret[ed25519.PrivateKeySize-32:]))
	if err != nil {
		return nil, err
	}
	return ed25519.Sign(secret, b), nil
}

func check(node [32]byte, signed, signature []byte) error {
	if !ed25519.Verify(node[:], signed, signature) {
		return fmt.Errorf("proof: %w", ErrSignature)
	}
	return nil
}
