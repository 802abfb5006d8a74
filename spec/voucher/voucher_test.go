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
	claims := []Claim{{Voucher: []byte{1}, Signature: []byte{2}, Root: [32]byte{3}}}
	signature := SignRedeem("hpips-test-1", claims, bob)
	if err := CheckRedeem("hpips-test-1", claims, bob.Public().(ed25519.PublicKey), signature); err != nil {
		t.Error(err)
	}
	if err := CheckRedeem("hpips-test-2", claims, bob.Public().(ed25519.PublicKey), signature); !errors.Is(err, ErrSignature) {
		t.Errorf("another chain: %v", err)
	}
	claims[0].Root[0]++
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
		r := Rates{part.Draw(t, "cpu"), part.Draw(t, "gpu"), part.Draw(t, "memory"), part.Draw(t, "disk"), part.Draw(t, "sent")}
		small := rapid.Uint64Range(0, 1<<40)
		u := Usage{1, small.Draw(t, "c"), small.Draw(t, "g"), small.Draw(t, "m"), small.Draw(t, "d"), small.Draw(t, "s")}
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

func FuzzParse(f *testing.F) {
	b, err := promise(12).Bytes()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := Parse(b)
		if err != nil {
			return
		}
		again, err := v.Bytes()
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("read and written again: %x, %v", again, err)
		}
	})
}
