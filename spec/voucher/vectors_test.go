package voucher

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"

	"github.com/hpips/hpips/spec/canon"
	"github.com/hpips/hpips/spec/spectest"
)

// TestVectors holds what this package computes against testdata, so that another implementation can check itself. Secret keys are SHA-256 of a name.
func TestVectors(t *testing.T) {
	spectest.Vectors(t, map[string]func(*testing.T) any{"leases": leaseVectors, "vouchers": voucherVectors, "redemptions": redemptionVectors, "costs": costVectors, "refused": refusedVectors})
}

func secretOf(name string) []byte {
	sum := sha256.Sum256([]byte(name))
	return sum[:]
}

func words() []Voucher {
	return []Voucher{
		{Chain: "hpips-1"},
		{Chain: "hpips-1", Lease: sha256.Sum256([]byte("a lease")), Amount: 1, Usage: Usage{Tasks: 1, CPU: 1}},
		{Chain: "hpips-dev-7", Lease: sha256.Sum256([]byte("another")), Amount: 1_234_567, Usage: Usage{12, 34_567_000_000, 8_000_000_000, 1 << 40, 1 << 41, 1 << 30, 1 << 42}, Root: sha256.Sum256([]byte("a root"))},
		{Chain: "01234567890123456789012345678901234567890123456789", Lease: ID(bytes.Repeat([]byte{0xff}, 32)), Amount: 1<<64 - 1,
			Usage: Usage{1<<64 - 1, 1<<64 - 1, 1<<64 - 1, 1<<64 - 1, 1<<64 - 1, 1<<64 - 1, 1<<64 - 1}, Root: [32]byte(bytes.Repeat([]byte{0xff}, 32))},
	}
}

func leaseVectors(*testing.T) any {
	type vector struct {
		Payer string          `json:"payer"`
		Terms spectest.Octets `json:"terms"`
		ID    spectest.Octets `json:"id"`
	}
	var all []vector
	for _, payer := range []string{"", "hpips1alice", "hpips1bob"} {
		for _, terms := range [][32]byte{{}, sha256.Sum256([]byte("terms"))} {
			id := LeaseID(payer, terms)
			all = append(all, vector{payer, terms[:], id[:]})
		}
	}
	return all
}

func voucherVectors(t *testing.T) any {
	type vector struct {
		Chain     string          `json:"chain"`
		Lease     spectest.Octets `json:"lease"`
		Amount    uint64          `json:"amount,string"`
		Usage     Usage           `json:"usage"`
		Root      spectest.Octets `json:"root"`
		Key       spectest.Octets `json:"key"`
		Bytes     spectest.Octets `json:"bytes"`
		Digest    spectest.Octets `json:"digest"`
		Signature spectest.Octets `json:"signature"`
	}
	var all []vector
	key := secp256k1.PrivKeyFromBytes(secretOf("alice")).PubKey().SerializeCompressed()
	for _, v := range words() {
		b, err := v.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		back, err := Parse(b)
		if err != nil || back != v {
			t.Fatalf("%+v comes back as %+v, %v", v, back, err)
		}
		signed, err := v.Sign(secretOf("alice"))
		if err != nil {
			t.Fatal(err)
		}
		if err := signed.Check(key); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(append([]byte(voucherPrefix), b...))
		all = append(all, vector{v.Chain, v.Lease[:], v.Amount, v.Usage, v.Root[:], key, b, sum[:], signed.Signature})
	}
	if longest := len(all[len(all)-1].Bytes); longest > MaxVoucher {
		t.Fatalf("the longest voucher has %d bytes", longest)
	}
	return all
}

func redemptionVectors(t *testing.T) any {
	type one struct {
		Voucher   spectest.Octets `json:"voucher,omitempty"`
		Signature spectest.Octets `json:"signature,omitempty"`
		Last      bool            `json:"last,omitempty"`
		Lease     spectest.Octets `json:"lease,omitempty"`
	}
	type vector struct {
		Chain     string          `json:"chain"`
		Claims    []one           `json:"claims"`
		Node      spectest.Octets `json:"node"`
		Signed    spectest.Octets `json:"signed"`
		Signature spectest.Octets `json:"signature"`
	}
	bob := ed25519.NewKeyFromSeed(secretOf("bob"))
	var all []vector
	var claims []Claim
	v := vector{Chain: "hpips-1", Node: spectest.Octets(bob.Public().(ed25519.PublicKey))}
	add := func(c Claim) {
		claims, v.Claims = append(claims, c), append(v.Claims, one{c.Voucher, c.Signature, c.Last, c.Lease})
		v.Signed, v.Signature = RedeemBytes(v.Chain, claims), SignRedeem(v.Chain, claims, bob)
		if err := CheckRedeem(v.Chain, claims, ed25519.PublicKey(v.Node), v.Signature); err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	for i, w := range words()[1:] {
		w.Chain = v.Chain
		b, err := w.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		s, err := w.Sign(secretOf("alice"))
		if err != nil {
			t.Fatal(err)
		}
		add(Claim{Voucher: b, Signature: s.Signature, Last: i == 2})
	}
	let := sha256.Sum256([]byte("a lease that was let go"))
	add(Claim{Last: true, Lease: let[:]})
	return all
}

func costVectors(t *testing.T) any {
	type vector struct {
		Rates Rates  `json:"rates"`
		Usage Usage  `json:"usage"`
		Cost  uint64 `json:"cost,string"`
	}
	var all []vector
	for _, v := range []vector{
		{},
		{Rates: Rates{CPU: 3_600_000}, Usage: Usage{Tasks: 1, CPU: 1_000_000_000}},
		{Rates: Rates{CPU: 3_600_000}, Usage: Usage{Tasks: 1, CPU: 999_999}},
		{Rates: Rates{CPU: 3_600_000}, Usage: Usage{Tasks: 1, CPU: 1_000_000}},
		{Rates: Rates{CPU: 1, GPU: 1, Memory: 1, Disk: 1, Sent: 1}, Usage: Usage{1, hourNanos / 2, hourNanos / 4, gib * hourSeconds / 8, gib * hourSeconds / 16, gib / 16, 1}},
		{Rates: Rates{CPU: 3_600_000, GPU: 50_000_000, Memory: 100_000, Disk: 2_000, Sent: 30_000}, Usage: Usage{7, 123_456_789_012, 4_000_000_000, 1 << 42, 1 << 44, 123_456_789, 1 << 40}},
		{Rates: Rates{CPU: 1<<64 - 1}, Usage: Usage{CPU: hourNanos}},
		{Rates: Rates{Work: 1_800_000}, Usage: Usage{Tasks: 3, CPU: 2_000_000_000, Work: 1_999_999}},
		{Rates: Rates{Work: 1_800_000}, Usage: Usage{Tasks: 3, CPU: 2_000_000_000, Work: 2_000_000}},
		{Rates: Rates{CPU: 1, Sent: 1, Work: 1}, Usage: Usage{Tasks: 2, CPU: hourNanos / 2, Sent: gib / 4, Work: WorkHour / 4}},
	} {
		var err error
		if v.Cost, err = Cost(v.Rates, v.Usage); err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	return all
}

// refusedVectors are bytes that are no voucher although they look like one.
func refusedVectors(t *testing.T) any {
	type vector struct {
		Why   string          `json:"why"`
		Bytes spectest.Octets `json:"bytes"`
	}
	good, err := words()[1].Bytes()
	if err != nil {
		t.Fatal(err)
	}
	type zeros struct {
		Chain  string         `cbor:"chain"`
		Lease  ID             `cbor:"lease"`
		Amount uint64         `cbor:"amount"`
		Usage  map[string]any `cbor:"usage"`
	}
	short := struct {
		Chain  string `cbor:"chain"`
		Lease  []byte `cbor:"lease"`
		Amount uint64 `cbor:"amount"`
		Usage  Usage  `cbor:"usage"`
	}{"hpips-1", make([]byte, 31), 1, Usage{}}
	long := short
	long.Lease = make([]byte, 33)
	negative := struct {
		Chain  string `cbor:"chain"`
		Lease  ID     `cbor:"lease"`
		Amount int64  `cbor:"amount"`
		Usage  Usage  `cbor:"usage"`
	}{"hpips-1", ID{}, -1, Usage{}}
	all := []vector{
		{"nothing", spectest.Octets{}},
		{"a byte after its end", append(bytes.Clone(good), 0)},
		{"its last byte is lacking", good[:len(good)-1]},
		{"no chain", canon.MustEncode(zeros{"", ID{}, 1, map[string]any{}})},
		{"a chain of 51 bytes", canon.MustEncode(zeros{string(bytes.Repeat([]byte{'c'}, 51)), ID{}, 1, map[string]any{}})},
		{"a part of the usage is written although it is 0", canon.MustEncode(zeros{"hpips-1", ID{}, 1, map[string]any{"cpu": 0}})},
		{"an unknown field", canon.MustEncode(zeros{"hpips-1", ID{}, 1, map[string]any{"love": 1}})},
		{"a root of nothing but zeros", canon.MustEncode(struct {
			Voucher
			Root [32]byte `cbor:"root"`
		}{Voucher: words()[1]})},
		{"no usage", canon.MustEncode(map[string]any{"chain": "hpips-1", "lease": make([]byte, 32), "amount": 1})},
		{"a lease of 31 bytes", canon.MustEncode(short)},
		{"a lease of 33 bytes", canon.MustEncode(long)},
		{"less than nothing", canon.MustEncode(negative)},
		{"a number longer than it needs to be", bytes.Replace(good, []byte("famount\x01"), []byte("famount\x18\x01"), 1)},
		{"513 bytes", make([]byte, MaxVoucher+1)},
	}
	for _, v := range all {
		if _, err := Parse(v.Bytes); !errors.Is(err, ErrMalformed) || bytes.Equal(v.Bytes, good) {
			t.Errorf("%s: %v", v.Why, err)
		}
	}
	return all
}
