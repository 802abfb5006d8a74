package sortition

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// person gives a key that is the same in every run.
func person(name string) (ed25519.PrivateKey, Key) {
	secret := sha256.Sum256([]byte(name))
	private := ed25519.NewKeyFromSeed(secret[:])
	return private, Key(private.Public().(ed25519.PublicKey))
}

func TestVectorsOfTheRFC(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "rfc9381.json"))
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct {
		Name, Secret, Alpha string
		Public              Key
		Proof               Proof
		Beta                Beta
	}
	if err := json.Unmarshal(text, &rows); err != nil {
		t.Fatal(err)
	}
	if len(rows) != 3 {
		t.Fatalf("%d vectors, the RFC has three", len(rows))
	}
	for _, row := range rows {
		seed, err := hex.DecodeString(row.Secret)
		if err != nil {
			t.Fatal(err)
		}
		alpha, err := hex.DecodeString(row.Alpha)
		if err != nil {
			t.Fatal(err)
		}
		secret := ed25519.NewKeyFromSeed(seed)
		if Key(secret.Public().(ed25519.PublicKey)) != row.Public {
			t.Errorf("%s: the keys do not belong together", row.Name)
		}
		if proof, err := Prove(secret, alpha); err != nil || proof != row.Proof {
			t.Errorf("%s: proof %s, %v", row.Name, proof, err)
		}
		if beta, err := Verify(row.Public, alpha, row.Proof); err != nil || beta != row.Beta {
			t.Errorf("%s: beta %s, %v", row.Name, beta, err)
		}
		if beta, err := row.Proof.Beta(); err != nil || beta != row.Beta {
			t.Errorf("%s: unchecked beta %s, %v", row.Name, beta, err)
		}
	}
}

func TestCarolCannotProveForAlice(t *testing.T) {
	aliceSecret, alice := person("alice")
	carolSecret, carol := person("carol")
	alpha := DrawAlpha("hpips-1", 7, Genesis("hpips-1"))
	proof, err := Prove(aliceSecret, alpha)
	if err != nil {
		t.Fatal(err)
	}
	beta, err := Verify(alice, alpha, proof)
	if err != nil {
		t.Fatal(err)
	}
	if got := beta.Output(); !bytes.Equal(got[:], beta[:32]) {
		t.Errorf("output %s of %s", got, beta)
	}
	forged, err := Prove(carolSecret, alpha)
	if err != nil {
		t.Fatal(err)
	}
	spoil := func(at int) Proof { p := proof; p[at] ^= 1; return p }
	high := proof // s + q proves the same equation; the RFC allows the lowest s only
	for i, carry := 0, 0; i < 32; i++ {
		carry += int(proof[48+i]) + int(order[i])
		high[48+i] = byte(carry)
		carry >>= 8
	}
	for name, row := range map[string]struct {
		public Key
		alpha  []byte
		proof  Proof
	}{
		"carol's proof":     {alice, alpha, forged},
		"carol's key":       {carol, alpha, proof},
		"another epoch":     {alice, DrawAlpha("hpips-1", 8, Genesis("hpips-1")), proof},
		"another chain":     {alice, DrawAlpha("hpips-2", 7, Genesis("hpips-1")), proof},
		"another use":       {alice, SeedAlpha("hpips-1", 7, Genesis("hpips-1")), proof},
		"gamma":             {alice, alpha, spoil(0)},
		"c":                 {alice, alpha, spoil(32)},
		"s":                 {alice, alpha, spoil(48)},
		"s past its range":  {alice, alpha, high},
		"no proof":          {alice, alpha, Proof{}},
		"the neutral point": {Key{1}, alpha, Proof{0: 1}},
		"a key of order 4":  {Key{}, alpha, proof},
		"no point":          {Key{2}, alpha, proof},
		"not canonical":     {Key(bytes.Repeat([]byte{0xff}, 32)), alpha, proof},
	} {
		if _, err := Verify(row.public, row.alpha, row.proof); !errors.Is(err, ErrProof) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, secret := range []ed25519.PrivateKey{nil, aliceSecret[:32]} {
		if _, err := Prove(secret, alpha); !errors.Is(err, ErrSecret) || strings.Contains(err.Error(), hex.EncodeToString(aliceSecret[:4])) {
			t.Errorf("secret of %d bytes: %v", len(secret), err)
		}
	}
	if _, err := Proof(bytes.Repeat([]byte{0xff}, 80)).Beta(); !errors.Is(err, ErrProof) {
		t.Errorf("output of nonsense: %v", err)
	}
}

// order is that of edwards25519's base point, the lowest byte first.
var order, _ = hex.DecodeString("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")

func TestTexts(t *testing.T) {
	_, alice := person("alice")
	text, err := json.Marshal(map[Key]Seed{alice: Genesis("hpips-1")})
	if err != nil {
		t.Fatal(err)
	}
	var back map[Key]Seed
	if err := json.Unmarshal(text, &back); err != nil || back[alice] != Genesis("hpips-1") {
		t.Fatalf("%s: %v, %v", text, back, err)
	}
	good := alice.String()
	for _, bad := range []string{"", good[1:], good + "0", strings.ToUpper(good), "g" + good[1:], " " + good[1:]} {
		k := alice
		if err := k.UnmarshalText([]byte(bad)); err == nil || k != alice {
			t.Errorf("%q is read as %s, %v", bad, k, err)
		}
	}
	for name, err := range map[string]error{
		"key": second(KeyOf(make([]byte, 31))), "seed": second(SeedOf(make([]byte, 33))), "proof": second(ProofOf(nil)),
		"rank": second(RankOf(make([]byte, 32))), "threshold": second(ThresholdOf(make([]byte, 40))),
	} {
		if err == nil || !strings.HasPrefix(err.Error(), name) {
			t.Errorf("%s of the wrong size: %v", name, err)
		}
	}
	if k, err := KeyOf(alice[:]); err != nil || k != alice {
		t.Errorf("key of its bytes: %s, %v", k, err)
	}
}

func second[T any](_ T, err error) error { return err }

func FuzzVerify(f *testing.F) {
	secret, public := person("alice")
	proof, err := Prove(secret, []byte("alpha"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(public[:], []byte("alpha"), proof[:])
	f.Fuzz(func(t *testing.T, k, alpha, p []byte) {
		key, err1 := KeyOf(k)
		proof, err2 := ProofOf(p)
		if err1 != nil || err2 != nil {
			return
		}
		beta, err := Verify(key, alpha, proof)
		if unchecked, e := proof.Beta(); err == nil && (e != nil || unchecked != beta) {
			t.Fatalf("a proof has two outputs: %s, %s, %v", beta, unchecked, e)
		}
	})
}

func FuzzText(f *testing.F) {
	f.Add([]byte(Genesis("hpips-1").String()))
	f.Fuzz(func(t *testing.T, text []byte) {
		var s Seed
		var r Rank
		var p Proof
		if s.UnmarshalText(text) == nil && s.String() != string(text) || r.UnmarshalText(text) == nil && r.String() != string(text) ||
			p.UnmarshalText(text) == nil && p.String() != string(text) {
			t.Fatalf("%q is not what it is read as", text)
		}
	})
}
