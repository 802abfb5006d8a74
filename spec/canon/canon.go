// Package canon keeps the one binary form of every word that travels between machines: core deterministic CBOR (RFC 8949, section 4.2.1).
// It promises that a value has exactly one encoding, so that the bytes that are sent are the bytes that are hashed and signed, and that decoding
// is strict: unknown fields, duplicate keys, indefinite lengths, trailing bytes and anything past the caller's size limit are errors, never a panic.
// It leaves the words themselves to the other packages of spec.
package canon

import (
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
)

// ErrTooLarge is returned by Decode for bytes past the limit.
var ErrTooLarge = errors.New("canon: message is larger than its limit")

// codec is the pair of modes that all words share; it never changes after start.
var codec = newCodec()

type modes struct {
	enc cbor.EncMode
	dec cbor.DecMode
}

// newCodec panics only if the options below contradict one another, which no input can bring about.
func newCodec() modes {
	eo := cbor.CoreDetEncOptions()
	eo.Time = cbor.TimeUnix
	enc, err := eo.EncMode()
	if err != nil {
		panic("canon: " + err.Error())
	}
	dec, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		MaxNestedLevels:   16,
		MaxArrayElements:  1 << 20,
		MaxMapPairs:       1 << 16,
		UTF8:              cbor.UTF8RejectInvalid,
	}.DecMode()
	if err != nil {
		panic("canon: " + err.Error())
	}
	return modes{enc: enc, dec: dec}
}

// Encode returns the canonical bytes of v.
func Encode(v any) ([]byte, error) {
	b, err := codec.enc.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("canon encode %T: %w", v, err)
	}
	return b, nil
}

// MustEncode is Encode for words that consist of plain fields only and therefore always encode.
func MustEncode(v any) []byte {
	b, err := Encode(v)
	if err != nil {
		panic(err)
	}
	return b
}

// Decode fills v from exactly the bytes b, at most limit of them. Bytes that come from outside pass here and nowhere else.
func Decode(b []byte, limit int, v any) error {
	if len(b) > limit {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(b), limit)
	}
	if err := codec.dec.Unmarshal(b, v); err != nil {
		return fmt.Errorf("canon decode %T: %w", v, err)
	}
	return nil
}

// ID is the content address of canonical bytes: CIDv1, dag-cbor, sha2-256.
func ID(b []byte) cid.Cid {
	h, err := multihash.Sum(b, multihash.SHA2_256, -1)
	if err != nil {
		panic("canon: " + err.Error()) // sha2-256 is always registered
	}
	return cid.NewCidV1(cid.DagCBOR, h)
}
