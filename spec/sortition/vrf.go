package sortition

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	voi "github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519/extra/ecvrf"
)

// The verifiable random function is ECVRF-EDWARDS25519-SHA512-ELL2 of RFC 9381, section 5.5: for a key and an input it has one output
// that only the key's owner can compute, and a proof by which anybody can check it. The owner cannot choose among outputs.

// The reasons for which a signature, or a proof, is not taken as one.
var (
	ErrProof     = errors.New("proof is wrong")
	ErrSignature = errors.New("signature is wrong")
	ErrSecret    = errors.New("secret key has the wrong length")
)

// Prove computes the proof for alpha (ECVRF_prove, RFC 9381, section 5.1). The same key and alpha always give the same bytes.
func Prove(secret ed25519.PrivateKey, alpha []byte) (p Proof, err error) {
	if len(secret) != ed25519.PrivateKeySize {
		return p, fmt.Errorf("prove: %w", ErrSecret)
	}
	return ProofOf(ecvrf.Prove(voi.PrivateKey(secret), alpha))
}

// Verify checks a proof and gives the output that it proves (ECVRF_verify with key validation, RFC 9381, sections 5.3 and 5.4.5).
// A key of small order, or one that is not written canonically, proves nothing.
func Verify(public Key, alpha []byte, proof Proof) (b Beta, err error) {
	good, beta := ecvrf.Verify(voi.PublicKey(public[:]), proof[:], alpha)
	if !good {
		return b, fmt.Errorf("verify: %w", ErrProof)
	}
	copy(b[:], beta)
	return b, nil
}

// Beta gives the output of a proof without checking it (ECVRF_proof_to_hash, RFC 9381, section 5.2): for proofs of one's own, and for
// those that a block holds which was checked before.
func (p Proof) Beta() (b Beta, err error) {
	beta, err := ecvrf.ProofToHash(p[:])
	if err != nil {
		return b, fmt.Errorf("output of a proof: %w", ErrProof)
	}
	copy(b[:], beta)
	return b, nil
}

// Output is the part of the VRF output that draws.
func (b Beta) Output() Output { return Output(b[:len(Output{})]) }
