package sortition

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/hpips/hpips/spec/canon"
)

// The limits of what is read from outside, in bytes.
const (
	MaxRegistration = 512
	MaxReceipt      = 512
	MaxApplication  = 256
	MaxResignation  = 256
	MaxChain        = 50 // the longest chain ID that CometBFT takes
	MaxOwner        = 90 // the longest bech32 string, BIP-173
)

// RegistrationBlocks is how long a registration may be brought in after the height that it names.
const RegistrationBlocks = 20_000

// What is signed begins with the name of its word, so that a signature for one is none for another.
const (
	registrationPrefix = "hpips/registration/v1\n"
	receiptPrefix      = "hpips/receipt/v1\n"
	applicationPrefix  = "hpips/application/v1\n"
	resignationPrefix  = "hpips/resignation/v1\n"
)

// ErrMalformed is returned for words whose bytes are canonical CBOR but whose fields are not possible.
var ErrMalformed = errors.New("word is malformed")

// Registration binds a node's keys to the account of its owner. All four keys sign it, that of the VRF by a proof.
type Registration struct {
	Chain        string `cbor:"chain"`
	Node         Key    `cbor:"node"`
	Consensus    Key    `cbor:"consensus"`
	VRF          Key    `cbor:"vrf"`
	Owner        string `cbor:"owner"`                  // bech32 account
	Capabilities []byte `cbor:"capabilities,omitempty"` // SHA-256 of the node's inventory, or nothing
	Height       int64  `cbor:"height"`                 // known to its maker; good for RegistrationBlocks after it
}

// Receipt is an observer's word that it reached a node in a slot, and from which network the node answered.
type Receipt struct {
	Chain     string `cbor:"chain"`
	Node      Key    `cbor:"node"`
	Slot      uint64 `cbor:"slot"`
	Network   string `cbor:"network"` // as Network gives it
	Observer  Key    `cbor:"observer"`
	Signature []byte `cbor:"signature,omitempty"` // by the observer
}

// Application asks for a ticket.
type Application struct {
	Chain    string   `cbor:"chain"`
	Node     Key      `cbor:"node"`
	Slot     uint64   `cbor:"slot"`     // whose seed picks the slots that the receipts are for
	Receipts [32]byte `cbor:"receipts"` // Digest of the receipts that go with it
}

// Resignation gives up a seat.
type Resignation struct {
	Chain string `cbor:"chain"`
	Node  Key    `cbor:"node"`
	Epoch uint64 `cbor:"epoch"` // in which it is given up
}

// Digest is what an application says of its receipts, each in canonical bytes, in the order in which they are sent.
func Digest(receipts [][]byte) [32]byte {
	b := number([]byte("hpips/receipts/v1\x00"), uint64(len(receipts)))
	for _, r := range receipts {
		b = append(number(b, uint64(len(r))), r...)
	}
	return sha256.Sum256(b)
}

// Bytes gives the registration's canonical bytes, or says why it is none.
func (r Registration) Bytes() ([]byte, error) { return write(r, "registration", MaxRegistration) }

// Bytes gives the receipt's canonical bytes, or says why it is none.
func (r Receipt) Bytes() ([]byte, error) { return write(r, "receipt", MaxReceipt) }

// Bytes gives the application's canonical bytes, or says why it is none.
func (a Application) Bytes() ([]byte, error) { return write(a, "application", MaxApplication) }

// Bytes gives the resignation's canonical bytes, or says why it is none.
func (r Resignation) Bytes() ([]byte, error) { return write(r, "resignation", MaxResignation) }

// ParseRegistration reads a registration from exactly its canonical bytes. It checks no signature.
func ParseRegistration(b []byte) (Registration, error) {
	return parse[Registration](b, "registration", MaxRegistration)
}

// ParseReceipt reads a receipt from exactly its canonical bytes. It does not check its signature.
func ParseReceipt(b []byte) (Receipt, error) { return parse[Receipt](b, "receipt", MaxReceipt) }

// ParseApplication reads an application from exactly its canonical bytes.
func ParseApplication(b []byte) (Application, error) {
	return parse[Application](b, "application", MaxApplication)
}

// ParseResignation reads a resignation from exactly its canonical bytes.
func ParseResignation(b []byte) (Resignation, error) {
	return parse[Resignation](b, "resignation", MaxResignation)
}

// Signed gives the bytes that the node, the consensus key and the owner sign, and that the VRF key proves.
func (r Registration) Signed() ([]byte, error) { return signed(registrationPrefix, r.Bytes) }

// Signed gives the bytes that the observer signs.
func (r Receipt) Signed() ([]byte, error) {
	r.Signature = nil
	return signed(receiptPrefix, r.Bytes)
}

// Signed gives the bytes that the node signs.
func (a Application) Signed() ([]byte, error) { return signed(applicationPrefix, a.Bytes) }

// Signed gives the bytes that the node signs.
func (r Resignation) Signed() ([]byte, error) { return signed(resignationPrefix, r.Bytes) }

// Sign signs with the node's key or with the consensus key.
func (r Registration) Sign(secret ed25519.PrivateKey) ([]byte, error) { return sign(secret, r.Signed) }

// Prove proves with the VRF key.
func (r Registration) Prove(secret ed25519.PrivateKey) (Proof, error) {
	b, err := r.Signed()
	if err != nil {
		return Proof{}, err
	}
	return Prove(secret, b)
}

// Sign gives the receipt with its observer's key and signature.
func (r Receipt) Sign(secret ed25519.PrivateKey) (Receipt, error) {
	if len(secret) != ed25519.PrivateKeySize {
		return Receipt{}, fmt.Errorf("sign: %w", ErrSecret)
	}
	r.Observer = Key(secret[ed25519.PrivateKeySize-len(Key{}):])
	sig, err := sign(secret, r.Signed)
	if err != nil {
		return Receipt{}, err
	}
	r.Signature = sig
	return r, nil
}

// Sign signs with the node's key.
func (a Application) Sign(secret ed25519.PrivateKey) ([]byte, error) { return sign(secret, a.Signed) }

// Sign signs with the node's key.
func (r Resignation) Sign(secret ed25519.PrivateKey) ([]byte, error) { return sign(secret, r.Signed) }

// Check checks the three signatures that need nothing but the registration: of the node, of the consensus key, and the proof of the VRF
// key. The owner's is checked over Signed by whoever knows accounts.
func (r Registration) Check(node, consensus []byte, vrf Proof) error {
	b, err := r.Signed()
	if err != nil {
		return err
	}
	if err := verify(r.Node, b, node); err != nil {
		return fmt.Errorf("registration: node key: %w", err)
	}
	if err := verify(r.Consensus, b, consensus); err != nil {
		return fmt.Errorf("registration: consensus key: %w", err)
	}
	if _, err := Verify(r.VRF, b, vrf); err != nil {
		return fmt.Errorf("registration: VRF key: %w", err)
	}
	return nil
}

// CheckHeight tells whether the registration may be brought in at a height.
func (r Registration) CheckHeight(height int64) error {
	if height < r.Height || height-r.Height > RegistrationBlocks {
		return fmt.Errorf("registration: made for the %d blocks after %d, not for %d", RegistrationBlocks, r.Height, height)
	}
	return nil
}

// Check checks the observer's signature. Whether that node was to observe is not known here.
func (r Receipt) Check() error { return check("receipt", r.Observer, r.Signed, r.Signature) }

// Check checks the node's signature.
func (a Application) Check(signature []byte) error {
	return check("application", a.Node, a.Signed, signature)
}

// Check checks the node's signature.
func (r Resignation) Check(signature []byte) error {
	return check("resignation", r.Node, r.Signed, signature)
}

// word is what has a canonical form; possible tells whether its fields are.
type word interface{ possible() bool }

func (r Registration) possible() bool {
	return chain(r.Chain) && r.Height >= 0 && plain(r.Owner, MaxOwner) && (len(r.Capabilities) == 0 || len(r.Capabilities) == sha256.Size) &&
		r.Node != r.Consensus && r.Consensus != r.VRF && r.VRF != r.Node
}

func (r Receipt) possible() bool {
	return chain(r.Chain) && network(r.Network) && r.Observer != r.Node && (len(r.Signature) == 0 || len(r.Signature) == ed25519.SignatureSize)
}

func (a Application) possible() bool { return chain(a.Chain) }

func (r Resignation) possible() bool { return chain(r.Chain) }

func chain(s string) bool { return plain(s, MaxChain) }

// plain tells whether s is between 1 and most visible ASCII characters.
func plain(s string, most int) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return s != "" && len(s) <= most
}

func write(w word, name string, limit int) ([]byte, error) {
	if !w.possible() {
		return nil, fmt.Errorf("%s: %w", name, ErrMalformed)
	}
	b, err := canon.Encode(w)
	if err == nil && len(b) > limit {
		err = canon.ErrTooLarge
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}

// parse reads a word and writes it again: only the bytes that come out the same were its canonical ones.
func parse[W word](b []byte, name string, limit int) (W, error) {
	var w, none W
	if err := canon.Decode(b, limit, &w); err != nil {
		return none, fmt.Errorf("%s: %w", name, err)
	}
	again, err := write(w, name, limit)
	if err != nil {
		return none, err
	}
	if !bytes.Equal(again, b) {
		return none, fmt.Errorf("%s: %w: its encoding is not the canonical one", name, ErrMalformed)
	}
	return w, nil
}

func signed(prefix string, body func() ([]byte, error)) ([]byte, error) {
	b, err := body()
	if err != nil {
		return nil, err
	}
	return append([]byte(prefix), b...), nil
}

func sign(secret ed25519.PrivateKey, body func() ([]byte, error)) ([]byte, error) {
	if len(secret) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("sign: %w", ErrSecret)
	}
	b, err := body()
	if err != nil {
		return nil, err
	}
	return ed25519.Sign(secret, b), nil
}

func check(name string, by Key, body func() ([]byte, error), signature []byte) error {
	b, err := body()
	if err != nil {
		return err
	}
	if err := verify(by, b, signature); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func verify(by Key, message, signature []byte) error {
	if !ed25519.Verify(by[:], message, signature) {
		return ErrSignature
	}
	return nil
}
