package voucher

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"pgregory.net/rapid"
)

var (
	alice = secp256k1.PrivKeyFromBytes(bytes.Repeat([]byte{1}, 32))
	carol = secp256k1.PrivKeyFromBytes(bytes.Repeat([]byte{3}, 32))
)

func promise(amount uint64) Voucher {
	return Voucher{Chain: "hpips-test-1", Lease: ID{7}, Amount: amount, Usage: Usage{Tasks: 1, CPU: 5}}
}

func TestAPromiseIsItsPayersAlone(t *testing.T) {
	s, err := promise(12).Sign(alice.Serialize())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Check(alice.PubKey().SerializeCompressed()); err != nil {
		t.Error(err)
	}
	if err := s.Check(carol.PubKey().SerializeCompressed()); !errors.Is(err, ErrSignature) {
		t.Errorf("carol's key: %v", err)
	}
	for name, change := range map[string]func(*Signed){
		"amount": func(s *Signed) { s.Voucher.Amount++ },
		"chain":  func(s *Signed) { s.Voucher.Chain = "hpips-test-2" },
		"lease":  func(s *Signed) { s.Voucher.Lease[0]++ },
		"usage":  func(s *Signed) { s.Voucher.Usage.CPU++ },
		"short":  func(s *Signed) { s.Signature = s.Signature[:63] },
		"none":   func(s *Signed) { s.Signature = make([]byte, 64) },
		"other half": func(s *Signed) {
			var half secp256k1.ModNScalar
			half.SetByteSlice(s.Signature[32:])
			half.Negate()
			b := half.Bytes()
			s.Signature = append(bytes.Clone(s.Signature[:32]), b[:]...)
		},
	} {
		wrong := s
		wrong.Signature = bytes.Clone(s.Signature)
		change(&wrong)
		if err := wrong.Check(alice.PubKey().SerializeCompressed()); err == nil {
			t.Errorf("%s changed: taken", name)
		}
	}
}

func TestARedemptionIsItsNodesAlone(t *testing.T) {
	bob := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32))
	claims := []Claim{{Voucher: []byte{1}, Signature: []byte{2}}}
	signature := SignRedeem("hpips-test-1", claims, bob)
	if err := CheckRedeem("hpips-test-1", claims, bob.Public().(ed25519.PublicKey), signature); err != nil {
		t.Error(err)
	}
	if err := CheckRedeem("hpips-test-2", claims, bob.Public().(ed25519.PublicKey), signature); !errors.Is(err, ErrSignature) {
		t.Errorf("another chain: %v", err)
	}
	for name, c := range map[string]Claim{"the lease is let go": {Voucher: []byte{1}, Signature: []byte{2}, Last: true}, "it names a lease": {Voucher: []byte{1}, Signature: []byte{2}, Lease: []byte{3}}} {
		if err := CheckRedeem("hpips-test-1", []Claim{c}, bob.Public().(ed25519.PublicKey), signature); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	claims[0].Voucher[0]++
	if err := CheckRedeem("hpips-test-1", claims, bob.Public().(ed25519.PublicKey), signature); !errors.Is(err, ErrSignature) {
		t.Errorf("another root: %v", err)
	}
}

// Many small tasks cost what one large one does, and never a whole unit more or less than the exact sum.
func TestCostRoundsOnceOverAll(t *testing.T) {
	r := Rates{CPU: 3_600_000}
	if c, err := Cost(r, Usage{CPU: 1_000_000_000}); err != nil || c != 1000 {
		t.Errorf("a CPU-second at 3.6 HPIPS an hour: %d, %v", c, err)
	}
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.Uint64Range(0, 1<<50)
		r := Rates{part.Draw(t, "cpu"), part.Draw(t, "gpu"), part.Draw(t, "memory"), part.Draw(t, "disk"), part.Draw(t, "sent"), part.Draw(t, "work")}
		small := rapid.Uint64Range(0, 1<<40)
		u := Usage{1, small.Draw(t, "c"), small.Draw(t, "g"), small.Draw(t, "m"), small.Draw(t, "d"), small.Draw(t, "s"), small.Draw(t, "w")}
		one, err := Cost(r, u)
		if err != nil {
			return
		}
		two, err := Cost(r, u.Add(u))
		if err != nil {
			return
		}
		if two != 2*one && two != 2*one+1 {
			t.Fatalf("one costs %d, two cost %d", one, two)
		}
	})
	if _, err := Cost(Rates{CPU: ^uint64(0)}, Usage{CPU: ^uint64(0)}); err == nil {
		t.Error("an amount beyond 64 bits was given")
	}
}

func TestWhoHasNoKeySignsNothing(t *testing.T) {
	for name, secret := range map[string][]byte{"none": nil, "31 bytes": make([]byte, 31), "zero": make([]byte, 32), "beyond the curve": bytes.Repeat([]byte{0xff}, 32)} {
		if _, err := promise(1).Sign(secret); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
	if _, err := (Voucher{}).Sign(alice.Serialize()); !errors.Is(err, ErrMalformed) {
		t.Errorf("a promise on no chain: %v", err)
	}
}

// What does not fit is what nobody can pay for.
func TestUsageNeverWrapsAround(t *testing.T) {
	most := Usage{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}
	rapid.Check(t, func(t *rapid.T) {
		any := rapid.Uint64()
		u := Usage{any.Draw(t, "t"), any.Draw(t, "c"), any.Draw(t, "g"), any.Draw(t, "m"), any.Draw(t, "d"), any.Draw(t, "s"), any.Draw(t, "w")}
		if sum := u.Add(most); sum != most || !sum.Covers(u) || !u.Add(u).Covers(u) {
			t.Fatalf("%+v and all there is come to %+v", u, sum)
		}
		if u != most && u.Covers(most) {
			t.Fatalf("%+v covers everything", u)
		}
	})
}

// Bytes that are read are the only bytes of what they say.
func FuzzParse(f *testing.F) {
	for _, v := range words() {
		b, err := v.Bytes()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := Parse(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		again, err := v.Bytes()
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("read and written again: %x, %v", again, err)
		}
	})
}

// No signature but alice's is taken for her voucher, and no key but hers.
func FuzzSignature(f *testing.F) {
	b, err := promise(12).Bytes()
	if err != nil {
		f.Fatal(err)
	}
	s, err := promise(12).Sign(alice.Serialize())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b, s.Signature, alice.PubKey().SerializeCompressed())
	f.Add(b, make([]byte, 64), carol.PubKey().SerializeCompressed())
	f.Add([]byte{}, []byte{1}, carol.PubKey().SerializeUncompressed())
	f.Fuzz(func(t *testing.T, word, signature, key []byte) {
		err := CheckBytes(word, signature, key)
		if err == nil && (!bytes.Equal(word, b) || !bytes.Equal(signature, s.Signature) || !bytes.Equal(key, alice.PubKey().SerializeCompressed())) {
			t.Fatalf("taken: %x of %x over %x", signature, key, word)
		}
		if err != nil && !errors.Is(err, ErrSignature) {
			t.Fatal(err)
		}
	})
}

// No signature but bob's is taken for his redemption.
func FuzzRedemption(f *testing.F) {
	bob := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32))
	f.Add("hpips-test-1", []byte{1}, []byte{2}, false, []byte{}, []byte(bob.Public().(ed25519.PublicKey)), SignRedeem("hpips-test-1", []Claim{{Voucher: []byte{1}, Signature: []byte{2}}}, bob))
	f.Add("", []byte{}, []byte{}, true, []byte{}, []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, chain string, word, signature []byte, last bool, lease, node, signed []byte) {
		err := CheckRedeem(chain, []Claim{{Voucher: word, Signature: signature, Last: last, Lease: lease}}, node, signed)
		if err == nil && (last || len(lease) > 0 || chain != "hpips-test-1" || string(word) != "\x01" || string(signature) != "\x02" || !bytes.Equal(node, bob.Public().(ed25519.PublicKey))) {
			t.Fatalf("taken: %q %x %x of %x", chain, word, signature, node)
		}
		if err != nil && !errors.Is(err, ErrSignature) {
			t.Fatal(err)
		}
	})
}
