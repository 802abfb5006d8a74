package lease

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/spec/canon"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/voucher"
)

var rewrite = flag.Bool("rewrite", false, "write the test vectors anew")

func person(t testing.TB, name string) (crypto.PrivKey, string) {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(bytes.NewReader(bytes.Repeat([]byte(name), 32)[:32]))
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return key, id.String()
}

const noon = 1_800_000_000_000

// signed is a lease of alice's with bob.
func signed(t testing.TB) Lease {
	t.Helper()
	aliceKey, alice := person(t, "alice")
	bobKey, bob := person(t, "bob")
	l := Lease{Terms: Terms{
		Order: Order{Job: "1f", Requester: alice, Engine: "wasm", Resources: job.Resources{CPU: 1, Memory: 64 << 20}, Slots: 4},
		Quote: Quote{Provider: bob, Owner: "bob", Network: "lab", Slots: 2, Until: noon + 1000},
		From:  noon, Until: noon + time.Hour.Milliseconds(),
	}}
	var err error
	if l.Requester, err = l.Terms.Sign(aliceKey); err != nil {
		t.Fatal(err)
	}
	if l.Provider, err = l.Terms.Sign(bobKey); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestBothSignaturesCount(t *testing.T) {
	l := signed(t)
	if err := l.Check(noon); err != nil {
		t.Fatal(err)
	}
	carolKey, _ := person(t, "carol")
	rows := map[string]struct {
		spoil func(*Lease)
		want  error
	}{
		"more slots":      {func(l *Lease) { l.Terms.Quote.Slots = 4 }, ErrSignature},
		"longer":          {func(l *Lease) { l.Terms.Until++ }, ErrSignature},
		"carol signs":     {func(l *Lease) { l.Provider, _ = l.Terms.Sign(carolKey) }, ErrSignature},
		"swapped":         {func(l *Lease) { l.Provider, l.Requester = l.Requester, l.Provider }, ErrSignature},
		"one alone":       {func(l *Lease) { l.Provider = nil }, ErrSignature},
		"no slots":        {func(l *Lease) { l.Terms.Quote.Slots = 0 }, nil},
		"over the order":  {func(l *Lease) { l.Terms.Quote.Slots = 5 }, nil},
		"too long a term": {func(l *Lease) { l.Terms.Until = l.Terms.From + MaxTerm.Milliseconds() + 1 }, nil},
		"backwards":       {func(l *Lease) { l.Terms.Until = l.Terms.From }, nil},
		"nobody":          {func(l *Lease) { l.Terms.Order.Requester = "nobody" }, nil},
	}
	for name, row := range rows {
		bad := l
		row.spoil(&bad)
		if err := bad.Check(noon); err == nil || row.want != nil && !errors.Is(err, row.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := l.Check(l.Terms.Until); !errors.Is(err, ErrExpired) {
		t.Errorf("at its end: %v", err)
	}
}

// paid is a lease of alice's with bob that costs something; edit changes its terms before both sign.
func paid(t testing.TB, edit func(*Terms)) Lease {
	t.Helper()
	aliceKey, _ := person(t, "alice")
	bobKey, _ := person(t, "bob")
	l := signed(t)
	l.Terms.Quote.Rates = voucher.Rates{CPU: 3_600_000}
	l.Terms.Pay = &Pay{Chain: "hpips-1", Payer: "hpips1alice", Key: append([]byte{2}, make([]byte, 32)...), Denom: "uhpips", Deposit: 5}
	edit(&l.Terms)
	for sig, key := range map[*[]byte]crypto.PrivKey{&l.Requester: aliceKey, &l.Provider: bobKey} {
		var err error
		if *sig, err = l.Terms.Sign(key); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func TestWhatHasAPriceIsPaidFor(t *testing.T) {
	if err := paid(t, func(*Terms) {}).Check(noon); err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(*Terms){
		"nobody pays":         func(t *Terms) { t.Pay = nil },
		"nothing is paid for": func(t *Terms) { t.Quote.Rates = voucher.Rates{} },
		"on no chain":         func(t *Terms) { t.Pay.Chain = "" },
		"on a chain without end": func(t *Terms) {
			t.Pay.Chain = string(bytes.Repeat([]byte("x"), voucher.MaxChain+1))
		},
		"by nobody":           func(t *Terms) { t.Pay.Payer = "" },
		"in nothing":          func(t *Terms) { t.Pay.Denom = "" },
		"a short key":         func(t *Terms) { t.Pay.Key = t.Pay.Key[:32] },
		"an uncompressed key": func(t *Terms) { t.Pay.Key[0] = 4 },
		"no deposit":          func(t *Terms) { t.Pay.Deposit = 0 },
	} {
		if err := paid(t, edit).Check(noon); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestTheChainKnowsALeaseByItsPayerAndTheHashInItsID(t *testing.T) {
	l := paid(t, func(*Terms) {})
	id, err := cid.Decode(l.ID())
	if err != nil {
		t.Fatal(err)
	}
	key := l.Terms.Key()
	if hash := id.Hash(); voucher.LeaseID("hpips1alice", [32]byte(hash[2:])) != key || l.Terms.Digest() != [32]byte(hash[2:]) {
		t.Fatalf("ID %s, key %x", l.ID(), key)
	}
	longer := l.Terms
	longer.Serial, longer.Until = 1, longer.Until+1000
	if longer.Key() != key {
		t.Error("an extension changes what the chain calls it")
	}
	dearer := *l.Terms.Pay
	dearer.Deposit++
	longer.Pay = &dearer
	if longer.Key() == key {
		t.Error("another deposit has the same key")
	}
	dearer = *l.Terms.Pay
	dearer.Payer = "hpips1mallory"
	if longer.Key() == key {
		t.Error("another payer has the same key")
	}
}

func TestAnExtensionKeepsTheID(t *testing.T) {
	l := signed(t)
	longer := l.Terms
	longer.Serial, longer.Until = 1, longer.Until+1000
	if l.ID() != longer.ID() {
		t.Fatal("an extension changes the ID")
	}
	longer.Quote.Slots = 1
	if l.ID() == longer.ID() {
		t.Fatal("other terms have the same ID")
	}
}

// messages are one of each kind.
func messages(t testing.TB) map[string]Message {
	l := signed(t)
	id := l.ID()
	return map[string]Message{
		"begin":   {Lease: id, Begin: &Begin{Lease: l, Work: Work{Module: "bafy", Args: []string{"-x"}, Env: map[string]string{"A": "1"}, Count: 2, Outputs: []string{"/out"}}, Round: 9}},
		"paid":    {Lease: id, Begin: &Begin{Lease: paid(t, func(*Terms) {}), Work: Work{Module: "bafy", Count: 1}}},
		"assign":  {Lease: id, Assign: &Assign{Tasks: []job.Task{{Index: 1}, {Index: 2, Path: "/in/x", Input: &job.Content{Inline: []byte("hi"), Size: 2}}}}},
		"cancel":  {Lease: id, Cancel: &Cancel{Tasks: []uint64{1}}},
		"stdin":   {Lease: id, Stdin: &Stdin{Task: 1, Offset: 3, Data: []byte("in"), EOF: true}},
		"end":     {Lease: id, End: &End{}},
		"voucher": {Lease: id, Voucher: &Voucher{Signed: voucher.Signed{Voucher: voucher.Voucher{Chain: "hpips-1", Lease: voucher.ID{1}, Amount: 5}, Signature: []byte{1, 2}}}},
		"named": {Lease: id, Voucher: &Voucher{Signed: voucher.Signed{Voucher: voucher.Voucher{Chain: "hpips-1", Lease: voucher.ID{1}, Amount: 5, Usage: voucher.Usage{Tasks: 7}, Root: [32]byte{8}},
			Signature: []byte{1, 2}}, From: 4, Tasks: NameTasks([]uint64{6, 7, 5}), Answers: []byte("six-----seven---five----")}},
		"taken":   {Lease: id, Taken: &Taken{Tasks: 7}},
		"jury":    {Lease: id, Begin: &Begin{Lease: paid(t, func(t *Terms) { t.Pay.Jury = true }), Work: Work{Module: "bafy", Count: 1}}},
		"found":   {Lease: id, Held: &Held{Credit: 4, Round: 9, Taken: 7}},
		"held":    {Lease: id, Held: &Held{Tasks: []uint64{1, 2}, Credit: 4, Round: 9}},
		"credit":  {Lease: id, Credit: &Credit{Tasks: 8}},
		"coming":  {Lease: id, Coming: &Coming{Bytes: 3 << 20}},
		"results": {Lease: id, Results: &Results{Results: []job.Result{{Index: 1, End: job.Exited, Stdout: job.Content{Inline: []byte("1"), Size: 1}}}}},
		"output":  {Lease: id, Output: &Output{Task: 1, FD: 2, Offset: 5, Data: []byte("err")}},
		"refused": {Lease: id, Refused: &Refused{Reason: "full", Hint: "wait"}},
	}
}

// TestVectors holds the bytes of every message against testdata/messages.json, so that another implementation can check itself.
func TestVectors(t *testing.T) {
	path := filepath.Join("testdata", "messages.json")
	got := map[string]string{}
	for name, m := range messages(t) {
		b, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got[name] = hex.EncodeToString(b)
		back, err := DecodeMessage(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if again, _ := back.Encode(); !bytes.Equal(again, b) {
			t.Errorf("%s does not survive", name)
		}
	}
	if *rewrite {
		b, err := json.MarshalIndent(got, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%s is %s, the vector says %s", name, got[name], want[name])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d kinds, %d vectors", len(got), len(want))
	}
}

func TestMessagesHaveOnePart(t *testing.T) {
	for name, m := range map[string]Message{"none": {Lease: "x"}, "two": {Lease: "x", End: &End{}, Credit: &Credit{}}, "no lease": {End: &End{}}} {
		if _, err := DecodeMessage(canon.MustEncode(m)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for name, v := range map[string]Voucher{"tasks": {Tasks: []byte{2}}, "a place": {From: 1}, "answers": {Answers: make([]byte, 8)}} {
		if _, err := DecodeMessage(canon.MustEncode(Message{Lease: "x", Voucher: &v})); !errors.Is(err, ErrNames) {
			t.Errorf("%s under no root: %v", name, err)
		}
	}
	if _, err := DecodeMessage(make([]byte, MaxMessage+1)); !errors.Is(err, canon.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
}

func FuzzMessage(f *testing.F) {
	for _, m := range messages(f) {
		f.Add(canon.MustEncode(m))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := DecodeMessage(b)
		if err != nil {
			return
		}
		again, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := DecodeMessage(again); err != nil {
			t.Fatalf("%x: %v", again, err)
		}
		if m.Begin != nil {
			_ = m.Begin.Lease.Check(noon) // must not panic on any terms
		}
	})
}
