package p2p

import (
	"sync"

	"github.com/fxamacker/cbor/v2"
)

// modes are the two halves of deterministic CBOR: what is written is the core deterministic encoding, what is read
// must be free of duplicate keys, unknown fields, indefinite lengths and tags, and small in depth and count.
var modes = sync.OnceValues(func() (cbor.EncMode, cbor.DecMode) {
	enc, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		panic(err) // the options are constants
	}
	dec, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		MaxNestedLevels:   8,
		MaxArrayElements:  1024,
		MaxMapPairs:       64,
	}.DecMode()
	if err != nil {
		panic(err)
	}
	return enc, dec
})

func encode(v any) ([]byte, error) {
	enc, _ := modes()
	return enc.Marshal(v)
}

// decode reads exactly one value; bytes after it are an error. The caller has limited len(b).
func decode(b []byte, v any) error {
	_, dec := modes()
	return dec.Unmarshal(b, v)
}
