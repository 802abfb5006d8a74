package proof

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"testing"
)

func secretOf(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// entries are one of a file of one leaf, and one of a file of many.
func entries() []Entry {
	digest := sha256.Sum256([]byte("file"))
	address := func(codec byte) []byte { return append([]byte{1, codec, 0x12, 0x20}, digest[:]...) }
	root := sha256.Sum256([]byte("root"))
	return []Entry{{1, 1, 20, address(0x55), Piece{root, 16_692}}, {77, 50_000, 54_095, address(0x70), Piece{root, 64 << 20}}}
}

// What bob says of an entry is his word about this entry on this chain, and nothing else.
func TestAnEntryIsOnesWord(t *testing.T) {
	const chain = "hpips-1"
	bob, carol := secretOf("bob"), secretOf("carol")
	e := entries()[0]
	signature, err := e.Sign(chain, 7, bob)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.CheckSigned(chain, 7, [32]byte(bob[32:]), signature); err != nil {
		t.Errorf("bob's own: %v", err)
	}
	for what, change := range map[string]func(*Entry){
		"number": func(e *Entry) { e.Number++ }, "from": func(e *Entry) { e.From++ }, "to": func(e *Entry) { e.To++ }, "address": func(e *Entry) { e.Address[35] ^= 1 },
		"codec": func(e *Entry) { e.Address[1] = 0x70 }, "root": func(e *Entry) { e.Piece.Root[0] ^= 1 }, "size": func(e *Entry) { e.Piece.Size++ },
	} {
		other := e
		other.Address = slices.Clone(e.Address)
		change(&other)
		if err := other.CheckSigned(chain, 7, [32]byte(bob[32:]), signature); !errors.Is(err, ErrSignature) || other.Same(e) {
			t.Errorf("another %s: %v", what, err)
		}
	}
	for what, err := range map[string]error{
		"another epoch": e.CheckSigned(chain, 8, [32]byte(bob[32:]), signature), "another chain": e.CheckSigned("hpips-2", 7, [32]byte(bob[32:]), signature), "carol": e.CheckSigned(chain, 7, [32]byte(carol[32:]), signature), "no signature": e.CheckSigned(chain, 7, [32]byte(bob[32:]), nil),
	} {
		if !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, id := range []string{"", strings.Repeat("x", MaxChainID+1)} {
		if _, err := e.Sign(id, 7, bob); !errors.Is(err, ErrEntry) {
			t.Errorf("chain of %d bytes: %v", len(id), err)
		}
	}
	if _, err := e.Sign(chain, 7, bob[:31]); err == nil {
		t.Error("half a key signs")
	}
}
