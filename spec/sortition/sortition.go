// Package sortition keeps the lottery of seats: the chain's seed, the verifiable random function (RFC 9381) that extends it and draws from it,
// the turn of the committee, the lot of observers, and the words that nodes sign for all of these.
// It promises that everything here is a pure function of its arguments, in whole numbers, the same on every machine and for every order of
// its inputs; what comes from outside is read strictly and within limits, and nothing panics on it.
// It leaves keeping state, heights and days to chain/committee and chain/registry, and collecting receipts and sending claims to seat.
package sortition

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
)

// Key is an ed25519 public key: of a node, of its votes, or of its verifiable random function.
type Key [32]byte

// Address is how accounts, and the engine, call who has an ed25519 key: the first 20 bytes of its SHA-256. A node's free messages come in this name.
func (k Key) Address() []byte {
	sum := sha256.Sum256(k[:])
	return sum[:20]
}

// Seed is the chain's randomness after a block. Nobody knows it before that block is proposed.
type Seed [32]byte

// Proof is a VRF proof, pi_string of RFC 9381, section 5.1.
type Proof [80]byte

// Beta is a VRF output, beta_string of RFC 9381, section 5.2.
type Beta [64]byte

// Output is the part of a VRF output that draws: its first 32 bytes, a big-endian number.
type Output [32]byte

// Rank is an output times the tickets of its node's network, a big-endian number: the lowest is the best.
type Rank [40]byte

// Threshold is the big-endian number below which a rank wins.
type Threshold [32]byte

// KeyOf takes a key from exactly its 32 bytes.
func KeyOf(b []byte) (k Key, err error) {
	err = fill("key", k[:], b)
	return k, err
}

// SeedOf takes a seed from exactly its 32 bytes.
func SeedOf(b []byte) (s Seed, err error) {
	err = fill("seed", s[:], b)
	return s, err
}

// ProofOf takes a proof from exactly its 80 bytes; whether it proves anything is for Verify to say.
func ProofOf(b []byte) (p Proof, err error) {
	err = fill("proof", p[:], b)
	return p, err
}

// RankOf takes a rank from exactly its 40 bytes.
func RankOf(b []byte) (r Rank, err error) {
	err = fill("rank", r[:], b)
	return r, err
}

// ThresholdOf takes a threshold from exactly its 32 bytes.
func ThresholdOf(b []byte) (t Threshold, err error) {
	err = fill("threshold", t[:], b)
	return t, err
}

func fill(name string, to, from []byte) error {
	if len(from) != len(to) {
		return fmt.Errorf("%s: %d bytes, want %d", name, len(from), len(to))
	}
	copy(to, from)
	return nil
}

// Every one of them is written as lower-case hexadecimal digits, and read back from these only.

func (k Key) String() string       { return hex.EncodeToString(k[:]) }
func (s Seed) String() string      { return hex.EncodeToString(s[:]) }
func (p Proof) String() string     { return hex.EncodeToString(p[:]) }
func (b Beta) String() string      { return hex.EncodeToString(b[:]) }
func (o Output) String() string    { return hex.EncodeToString(o[:]) }
func (r Rank) String() string      { return hex.EncodeToString(r[:]) }
func (t Threshold) String() string { return hex.EncodeToString(t[:]) }

// MarshalText writes the key as String does.
func (k Key) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, k[:]), nil }

// MarshalText writes the seed as String does.
func (s Seed) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, s[:]), nil }

// MarshalText writes the proof as String does.
func (p Proof) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, p[:]), nil }

// MarshalText writes the VRF output as String does.
func (b Beta) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, b[:]), nil }

// MarshalText writes the output as String does.
func (o Output) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, o[:]), nil }

// MarshalText writes the rank as String does.
func (r Rank) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, r[:]), nil }

// MarshalText writes the threshold as String does.
func (t Threshold) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, t[:]), nil }

// UnmarshalText reads what MarshalText wrote.
func (k *Key) UnmarshalText(text []byte) error { return read("key", k[:], text) }

// UnmarshalText reads what MarshalText wrote.
func (s *Seed) UnmarshalText(text []byte) error { return read("seed", s[:], text) }

// UnmarshalText reads what MarshalText wrote.
func (p *Proof) UnmarshalText(text []byte) error { return read("proof", p[:], text) }

// UnmarshalText reads what MarshalText wrote.
func (b *Beta) UnmarshalText(text []byte) error { return read("VRF output", b[:], text) }

// UnmarshalText reads what MarshalText wrote.
func (o *Output) UnmarshalText(text []byte) error { return read("output", o[:], text) }

// UnmarshalText reads what MarshalText wrote.
func (r *Rank) UnmarshalText(text []byte) error { return read("rank", r[:], text) }

// UnmarshalText reads what MarshalText wrote.
func (t *Threshold) UnmarshalText(text []byte) error { return read("threshold", t[:], text) }

// read fills to from digits; it leaves to alone when they are wrong. A value has one text only, so that texts can be compared.
func read(name string, to, text []byte) error {
	if len(text) != 2*len(to) {
		return fmt.Errorf("%s: %d characters, want %d hexadecimal digits", name, len(text), 2*len(to))
	}
	for _, c := range text {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return fmt.Errorf("%s: %w", name, errDigits)
		}
	}
	_, err := hex.Decode(to, text)
	return err
}

var errDigits = errors.New("want lower-case hexadecimal digits")
