// Package voucher keeps the words of paying for work: prices, what was used, the payer's growing promise, and the provider's demand for it.
// It promises that both sides and the chain reckon the same cost from the same numbers, that a promise has one binary form, and that whoever
// has it can prove it without the payer.
// It leaves deposits and payouts to chain/escrow, and when to promise and when to work on to pay.
package voucher

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"

	"github.com/hpips/hpips/spec/canon"
)

// The limits of what is read from outside, in bytes, and the sizes of keys and signatures.
const (
	MaxVoucher    = 512
	KeySize       = 33 // compressed secp256k1
	SignatureSize = 64 // r and s, s in the lower half
	MaxChain      = 50 // the longest chain ID that CometBFT takes
)

// What is signed begins with the name of its word, so that a signature for one is none for another.
const (
	voucherPrefix = "hpips/voucher/v1\x00"
	redeemPrefix  = "hpips/redeem/v1\x00"
	leasePrefix   = "hpips/escrow/v1\x00"
)

// The reasons to refuse.
var (
	ErrMalformed = errors.New("voucher is malformed")
	ErrSignature = errors.New("voucher's signature is wrong")
)

// ID names a lease on the chain, see LeaseID.
type ID [32]byte

// LeaseID is the ID of the lease that payer opens under terms with this SHA-256. Nobody else can open it: the same terms in another account's
// name are another lease.
func LeaseID(payer string, terms [32]byte) ID {
	return sha256.Sum256(append(append([]byte(leasePrefix), terms[:]...), payer...))
}

// Voucher promises a lease's provider everything that it earned under the lease so far. A later one contains all earlier ones, so the highest
// alone counts.
type Voucher struct {
	Chain  string `cbor:"chain"`
	Lease  ID     `cbor:"lease"`
	Amount uint64 `cbor:"amount"` // base units of the lease's asset, in all
	Usage  Usage  `cbor:"usage"`  // in all
	// Root is the Merkle root of the results that are paid for (spec/trust.Tree over leaves), Usage.Tasks of them; zero: the payer wants no jury.
	Root [32]byte `cbor:"root,omitzero"`
}

// Signed is a voucher with its payer's signature.
type Signed struct {
	Voucher   Voucher `cbor:"voucher"`
	Signature []byte  `cbor:"signature"`
}

// Bytes is the canonical form of v.
func (v Voucher) Bytes() ([]byte, error) {
	if err := v.check(); err != nil {
		return nil, err
	}
	return canon.Encode(v)
}

func (v Voucher) check() error {
	if v.Chain == "" || len(v.Chain) > MaxChain {
		return fmt.Errorf("%w: chain ID of %d bytes", ErrMalformed, len(v.Chain))
	}
	return nil
}

// Parse reads a voucher strictly: bytes that are not its canonical form are refused.
func Parse(b []byte) (Voucher, error) {
	var v Voucher
	if err := canon.Decode(b, MaxVoucher, &v); err != nil {
		return Voucher{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	again, err := v.Bytes()
	if err == nil && string(again) != string(b) {
		err = fmt.Errorf("%w: not in canonical form", ErrMalformed)
	}
	if err != nil {
		return Voucher{}, err
	}
	return v, nil
}

// Sign makes the payer's promise. secret is a secp256k1 scalar, 32 bytes. The signature is deterministic (RFC 6979).
func (v Voucher) Sign(secret []byte) (Signed, error) {
	b, err := v.Bytes()
	if err != nil {
		return Signed{}, err
	}
	signature, err := SignWord(voucherPrefix, b, secret)
	return Signed{v, signature}, err
}

// SignWord signs SHA-256(prefix ‖ b) as vouchers are signed. The prefix is the word's own, and ends with 0x00.
func SignWord(prefix string, b, secret []byte) ([]byte, error) {
	var scalar secp256k1.ModNScalar
	if len(secret) != 32 || scalar.SetByteSlice(secret) || scalar.IsZero() {
		return nil, errors.New("sign as a lease's payer: no secret key of 32 bytes")
	}
	sum := sha256.Sum256(append([]byte(prefix), b...))
	compact := ecdsa.SignCompact(secp256k1.NewPrivateKey(&scalar), sum[:], true)
	return compact[1:], nil // without the recovery code
}

// Check tells whether key, compressed, signed the voucher.
func (s Signed) Check(key []byte) error {
	b, err := s.Voucher.Bytes()
	if err != nil {
		return err
	}
	return CheckBytes(b, s.Signature, key)
}

// Use is what a payer signs with its voucher key besides vouchers: each use has a prefix of its own.
type Use string

// The uses of messages to the chain (chain/audit).
const (
	Attestation Use = "hpips/attestation/v1\x00"
	Question    Use = "hpips/dispute/v1\x00"
)

// SignMessage signs a message of a chain: message is all of it but the signature.
func SignMessage(use Use, chain string, message, secret []byte) ([]byte, error) {
	return SignWord(string(use), about(chain, message), secret)
}

// CheckMessage tells whether key signed a message as SignMessage does.
func CheckMessage(use Use, chain string, message, signature, key []byte) error {
	return CheckWord(string(use), about(chain, message), signature, key)
}

// about is a message by its digest, with its chain.
func about(chain string, message []byte) []byte {
	sum := sha256.Sum256(message)
	return append(append(binary.BigEndian.AppendUint64(nil, uint64(len(chain))), chain...), sum[:]...)
}

// CheckBytes tells whether key signed a voucher of which these are the canonical bytes.
func CheckBytes(b, signature, key []byte) error { return CheckWord(voucherPrefix, b, signature, key) }

// CheckWord tells whether key signed a word as SignWord does. A signature whose s lies in the upper half is
// refused: nobody but the payer can make two of one.
func CheckWord(prefix string, b, signature, key []byte) error {
	public, err := secp256k1.ParsePubKey(key)
	if err != nil || len(key) != KeySize {
		return fmt.Errorf("%w: no compressed secp256k1 key", ErrSignature)
	}
	if len(signature) != SignatureSize {
		return fmt.Errorf("%w: %d bytes, want %d", ErrSignature, len(signature), SignatureSize)
	}
	var r, s secp256k1.ModNScalar
	if r.SetByteSlice(signature[:32]) || s.SetByteSlice(signature[32:]) || r.IsZero() || s.IsZero() || s.IsOverHalfOrder() {
		return fmt.Errorf("%w: r or s out of range", ErrSignature)
	}
	sum := sha256.Sum256(append([]byte(prefix), b...))
	if !ecdsa.NewSignature(&r, &s).Verify(sum[:], public) {
		return ErrSignature
	}
	return nil
}

// Claim is one voucher that a provider redeems, or a lease that it lets go of without one.
type Claim struct {
	Voucher   []byte `cbor:"voucher,omitempty"` // canonical bytes; empty: nothing is redeemed
	Signature []byte `cbor:"signature,omitempty"`
	Last      bool   `cbor:"last,omitempty"`  // the provider lets go of the lease: no other voucher of it is good any more
	Lease     []byte `cbor:"lease,omitempty"` // of a claim without a voucher: the lease's ID
}

// RedeemBytes is what the provider's node key signs: all claims of one redemption, with the chain they are for.
func RedeemBytes(chain string, claims []Claim) []byte {
	return append([]byte(redeemPrefix), canon.MustEncode(struct {
		Chain  string  `cbor:"chain"`
		Claims []Claim `cbor:"claims"`
	}{chain, claims})...)
}

// SignRedeem signs claims with the node's key.
func SignRedeem(chain string, claims []Claim, key ed25519.PrivateKey) []byte {
	return ed25519.Sign(key, RedeemBytes(chain, claims))
}

// CheckRedeem tells whether the node key signed these claims.
func CheckRedeem(chain string, claims []Claim, node ed25519.PublicKey, signature []byte) error {
	if len(node) != ed25519.PublicKeySize || !ed25519.Verify(node, RedeemBytes(chain, claims), signature) {
		return fmt.Errorf("redemption: %w", ErrSignature)
	}
	return nil
}
