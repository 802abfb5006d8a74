package sortition

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"

	"github.com/hpips/hpips/spec/canon"
)

const aliceOwner = "hpips1qyqszqgpqyqszqgpqyqszqgpqyqszqgpenps6y"

// registration is that of alice's node.
func registration() Registration {
	_, node := person("alice")
	_, votes := person("alice's votes")
	_, vrf := person("alice's vrf")
	inventory := sha256.Sum256([]byte("inventory"))
	return Registration{Chain: "hpips-1", Node: node, Consensus: votes, VRF: vrf, Owner: aliceOwner, Capabilities: inventory[:], Height: 1000}
}

// receipt is bob's word for alice.
func receipt(t testing.TB) Receipt {
	_, alice := person("alice")
	secret, _ := person("bob")
	r, err := Receipt{Chain: "hpips-1", Node: alice, Slot: 480_000, Network: "203.0.113.0/24"}.Sign(secret)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func application(t testing.TB) Application {
	_, alice := person("alice")
	b, err := receipt(t).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return Application{Chain: "hpips-1", Node: alice, Slot: 480_007, Receipts: Digest([][]byte{b})}
}

func resignation() Resignation {
	_, alice := person("alice")
	return Resignation{Chain: "hpips-1", Node: alice, Epoch: 12}
}

func TestARegistrationIsSignedByAllItsKeys(t *testing.T) {
	r := registration()
	node, _ := person("alice")
	votes, _ := person("alice's votes")
	vrf, _ := person("alice's vrf")
	carol, _ := person("carol")
	sign := func(secret ed25519.PrivateKey) []byte {
		sig, err := r.Sign(secret)
		if err != nil {
			t.Fatal(err)
		}
		return sig
	}
	prove := func(secret ed25519.PrivateKey) Proof {
		p, err := r.Prove(secret)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if err := r.Check(sign(node), sign(votes), prove(vrf)); err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		node, votes []byte
		vrf         Proof
		want        error
	}{
		"carol for the node":      {sign(carol), sign(votes), prove(vrf), ErrSignature},
		"carol for the votes":     {sign(node), sign(carol), prove(vrf), ErrSignature},
		"carol for the VRF":       {sign(node), sign(votes), prove(carol), ErrProof},
		"the node for its votes":  {sign(node), sign(node), prove(vrf), ErrSignature},
		"no signature":            {nil, sign(votes), prove(vrf), ErrSignature},
		"half a signature":        {sign(node)[:32], sign(votes), prove(vrf), ErrSignature},
		"no proof":                {sign(node), sign(votes), Proof{}, ErrProof},
		"bytes without a prefix":  {ed25519.Sign(node, body(t, r)), sign(votes), prove(vrf), ErrSignature},
		"signatures interchanged": {sign(votes), sign(node), prove(vrf), ErrSignature},
	} {
		if err := r.Check(row.node, row.votes, row.vrf); !errors.Is(err, row.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	other := r
	other.Owner = "hpips1carol"
	if err := other.Check(sign(node), sign(votes), prove(vrf)); !errors.Is(err, ErrSignature) {
		t.Errorf("carol takes alice's node: %v", err)
	}
	for height, good := range map[int64]bool{999: false, 1000: true, 21_000: true, 21_001: false, -1: false, 1<<63 - 1: false} {
		if err := r.CheckHeight(height); (err == nil) != good {
			t.Errorf("at %d: %v", height, err)
		}
	}
}

func body(t *testing.T, w interface{ Bytes() ([]byte, error) }) []byte {
	b, err := w.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestReceipts(t *testing.T) {
	r := receipt(t)
	_, bob := person("bob")
	alice, _ := person("alice")
	if err := r.Check(); err != nil || r.Observer != bob {
		t.Fatalf("%s: %v", r.Observer, err)
	}
	for name, spoil := range map[string]func(*Receipt){
		"slot":      func(r *Receipt) { r.Slot++ },
		"network":   func(r *Receipt) { r.Network = "198.51.100.0/24" },
		"observer":  func(r *Receipt) { r.Observer = key("carol") },
		"chain":     func(r *Receipt) { r.Chain = "hpips-2" },
		"node":      func(r *Receipt) { r.Node = key("carol") },
		"signature": func(r *Receipt) { r.Signature = bytes.Clone(r.Signature); r.Signature[3] ^= 1 },
		"unsigned":  func(r *Receipt) { r.Signature = nil },
	} {
		bad := r
		if spoil(&bad); !errors.Is(bad.Check(), ErrSignature) {
			t.Errorf("%s: %v", name, bad.Check())
		}
	}
	if _, err := r.Sign(alice); !errors.Is(err, ErrMalformed) {
		t.Errorf("alice is her own observer: %v", err)
	}
	if _, err := r.Sign(alice[:31]); !errors.Is(err, ErrSecret) {
		t.Errorf("half a key: %v", err)
	}
}

func TestASignatureIsForOneWord(t *testing.T) {
	alice, _ := person("alice")
	a, r := application(t), resignation()
	forA, err := a.Sign(alice)
	if err != nil {
		t.Fatal(err)
	}
	forR, err := r.Sign(alice)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(a.Check(forA), r.Check(forR)); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"an application's": r.Check(forA), "a resignation's": a.Check(forR), "another epoch's": Resignation{Chain: r.Chain, Node: r.Node, Epoch: 13}.Check(forR),
		"of other receipts": Application{Chain: a.Chain, Node: a.Node, Slot: a.Slot}.Check(forA),
	} {
		if !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := r.Sign(nil); !errors.Is(err, ErrSecret) {
		t.Errorf("no key: %v", err)
	}
}

func TestDigest(t *testing.T) {
	lists := [][][]byte{nil, {{}}, {{1, 2}}, {{1}, {2}}, {{2}, {1}}, {{1, 2}, {}}}
	seen := map[[32]byte]int{}
	for i, list := range lists {
		if j, ok := seen[Digest(list)]; ok {
			t.Errorf("lists %d and %d are the same", i, j)
		}
		seen[Digest(list)] = i
	}
}

func TestWordsAreReadStrictly(t *testing.T) {
	good := body(t, registration())
	if r, err := ParseRegistration(good); err != nil || !bytes.Equal(body(t, r), good) {
		t.Fatalf("%+v, %v", r, err)
	}
	type loose struct { // a registration without the types that keep its sizes
		Chain        string `cbor:"chain"`
		Node         []byte `cbor:"node"`
		Consensus    []byte `cbor:"consensus"`
		VRF          []byte `cbor:"vrf"`
		Owner        string `cbor:"owner"`
		Capabilities []byte `cbor:"capabilities"`
		Height       int64  `cbor:"height"`
	}
	like := func(change func(*loose)) []byte {
		r := registration()
		l := loose{r.Chain, r.Node[:], r.Consensus[:], r.VRF[:], r.Owner, r.Capabilities, r.Height}
		change(&l)
		return canon.MustEncode(l)
	}
	if !bytes.Equal(like(func(*loose) {}), good) {
		t.Fatal("the loose form is another one")
	}
	for name, b := range map[string][]byte{
		"nothing":            nil,
		"cut":                good[:len(good)-1],
		"a byte more":        append(bytes.Clone(good), 0),
		"a list":             {0x80},
		"too large":          make([]byte, MaxRegistration+1),
		"a short key":        like(func(l *loose) { l.Node = l.Node[:31] }),
		"a long key":         like(func(l *loose) { l.Node = append(l.Node, 0) }),
		"no key":             like(func(l *loose) { l.Node = nil }),
		"one key for two":    like(func(l *loose) { l.VRF = l.Consensus }),
		"the node's votes":   like(func(l *loose) { l.Consensus = l.Node }),
		"the node's VRF":     like(func(l *loose) { l.VRF = l.Node }),
		"no chain":           like(func(l *loose) { l.Chain = "" }),
		"a long chain":       like(func(l *loose) { l.Chain = strings.Repeat("x", MaxChain+1) }),
		"a chain of two":     like(func(l *loose) { l.Chain = "a b" }),
		"no owner":           like(func(l *loose) { l.Owner = "" }),
		"a long owner":       like(func(l *loose) { l.Owner = strings.Repeat("x", MaxOwner+1) }),
		"half a digest":      like(func(l *loose) { l.Capabilities = l.Capabilities[:16] }),
		"an empty digest":    like(func(l *loose) { l.Capabilities = []byte{} }),
		"a height before 0":  like(func(l *loose) { l.Height = -1 }),
		"a number too long":  bytes.Replace(good, []byte("fheight\x19\x03\xe8"), []byte("fheight\x1a\x00\x00\x03\xe8"), 1),
		"keys out of order":  swapped(good),
		"a field of another": body(t, resignation()),
	} {
		if r, err := ParseRegistration(b); err == nil || r.Chain != "" {
			t.Errorf("%s: read as %+v, %v", name, r, err)
		}
	}
	for name, r := range map[string]Receipt{
		"a network of its own": with(receipt(t), func(r *Receipt) { r.Network = "home" }),
		"half a signature":     with(receipt(t), func(r *Receipt) { r.Signature = r.Signature[:32] }),
	} {
		if b, err := r.Bytes(); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %x, %v", name, b, err)
		}
	}
	if _, err := (Registration{}).Sign(nil); err == nil {
		t.Error("an empty registration is signed")
	}
	if _, err := (Registration{}).Prove(nil); !errors.Is(err, ErrMalformed) {
		t.Errorf("an empty registration is proven: %v", err)
	}
}

// swapped writes the same fields in another order: node before vrf.
func swapped(b []byte) []byte {
	vrf, node := b[1:1+4+34], b[1+4+34:1+4+34+5+34]
	return bytes.Join([][]byte{b[:1], node, vrf, b[1+4+34+5+34:]}, nil)
}

// survives checks that what is read is exactly what would be written, and that checking it never panics.
func survives[W interface{ Bytes() ([]byte, error) }](f *testing.F, first W, parse func([]byte) (W, error), check func(W)) {
	b, err := first.Bytes()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		w, err := parse(b)
		if err != nil {
			return
		}
		if again, err := w.Bytes(); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x comes back as %x, %v", b, again, err)
		}
		check(w)
	})
}

func FuzzRegistration(f *testing.F) {
	survives(f, registration(), ParseRegistration, func(r Registration) { _, _ = r.Check(make([]byte, 64), nil, Proof{}), r.CheckHeight(1) })
}

func FuzzReceipt(f *testing.F) {
	survives(f, receipt(f), ParseReceipt, func(r Receipt) { _ = r.Check() })
}

func FuzzApplication(f *testing.F) {
	survives(f, application(f), ParseApplication, func(a Application) { _ = a.Check(make([]byte, 64)) })
}

func FuzzResignation(f *testing.F) {
	survives(f, resignation(), ParseResignation, func(r Resignation) { _ = r.Check(nil) })
}
