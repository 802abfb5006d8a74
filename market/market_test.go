package market

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"go.uber.org/goleak"

	"github.com/hpips/hpips/spec/canon"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/voucher"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// person is somebody with a node: a key and the peer ID that holds it.
type person struct {
	key crypto.PrivKey
	id  peer.ID
}

// named makes the same person of the same name.
func named(t testing.TB, name string) person {
	t.Helper()
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, name)
	key, err := crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(seed))
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return person{key, id}
}

type answer func(ctx context.Context, from peer.ID, req []byte) ([]byte, error)

// wire carries calls between people in one process: what p2p does with streams.
type wire struct {
	peers map[peer.ID]map[protocol.ID]answer
}

func newWire() *wire { return &wire{peers: map[peer.ID]map[protocol.ID]answer{}} }

// end is the wire as one person sees it.
type end struct {
	w  *wire
	me peer.ID
}

func (e end) Handle(proto protocol.ID, limit int, fn func(ctx context.Context, from peer.ID, req []byte) ([]byte, error)) {
	if e.w.peers[e.me] == nil {
		e.w.peers[e.me] = map[protocol.ID]answer{}
	}
	e.w.peers[e.me][proto] = func(ctx context.Context, from peer.ID, req []byte) ([]byte, error) {
		if len(req) > limit {
			return nil, errors.New("request too large")
		}
		return fn(ctx, from, req)
	}
}

func (e end) Call(ctx context.Context, to peer.ID, proto protocol.ID, req []byte) ([]byte, error) {
	fn := e.w.peers[to][proto]
	if fn == nil {
		return nil, errors.New("nobody answers")
	}
	return fn(ctx, e.me, req)
}

// shop is a capacity that sells what it says.
type shop struct {
	mu   sync.Mutex
	free Free
	held map[string]lease.Lease
}

func newShop() *shop {
	return &shop{held: map[string]lease.Lease{}, free: Free{
		Engines: []string{"wasm"}, Slots: 4, Memory: 8 << 30, Disk: 100 << 30, MaxLeases: 32,
	}}
}

func (s *shop) Free(peer.ID) Free {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.free
	f.Leases += len(s.held)
	return f
}

func (s *shop) Hold(l lease.Lease) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.free.Refusal != "" {
		return errors.New(s.free.Refusal)
	}
	s.held[l.ID()] = l
	return nil
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// opens a shop for a person on the wire.
func (w *wire) sells(t testing.TB, p person, cfg BidderConfig) (*Bidder, *shop) {
	t.Helper()
	s := newShop()
	cfg.Owner = "owner of " + p.id.ShortString()
	b, err := NewBidder(quiet(), p.key, time.Now, s, cfg)
	if err != nil {
		t.Fatal(err)
	}
	b.Answer(end{w, p.id})
	return b, s
}

func (w *wire) buys(p person) *Broker {
	return NewBroker(quiet(), p.key, time.Now, end{w, p.id}, DefaultBroker())
}

func orderOf(p person, slots int) lease.Order {
	return lease.Order{Job: "job-1", Requester: p.id.String(), Engine: "wasm", Slots: slots,
		Resources: job.Resources{CPU: 1, Memory: 512 << 20, Disk: 1 << 30}}
}

func TestAliceLeasesFromBob(t *testing.T) {
	w, alice, bob := newWire(), named(t, "alice"), named(t, "bob")
	terms := DefaultBidder()
	terms.Class = "arm64-linux"
	_, shop := w.sells(t, bob, terms)
	broker, order := w.buys(alice), orderOf(alice, 100)

	answers := broker.Ask(t.Context(), order, 0, []peer.ID{bob.id})
	if answers[0].Err != nil || answers[0].Quote.Slots != 4 || answers[0].Quote.Class != "arm64-linux" {
		t.Fatalf("bob's quote: %+v", answers[0])
	}
	if len(shop.held) != 0 {
		t.Fatal("a quote reserved something")
	}
	l, err := broker.Open(t.Context(), bob.id, order, answers[0].Quote, nil, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Check(time.Now().UnixMilli()); err != nil {
		t.Fatalf("both signatures: %v", err)
	}
	if _, ok := shop.held[l.ID()]; !ok {
		t.Fatal("bob holds no place for the lease")
	}

	// Bob's node restarts and remembers nothing: its own signature is enough for an extension, twice.
	_, shop = w.sells(t, bob, DefaultBidder())
	for serial := uint64(1); serial <= 2; serial++ {
		id := l.ID()
		if l, err = broker.Extend(t.Context(), l, time.Now().Add(2*time.Hour)); err != nil {
			t.Fatal(err)
		}
		if l.ID() != id || l.Terms.Serial != serial || shop.held[id].Terms.Serial != serial {
			t.Fatalf("extension %d: lease %s of %s, serial %d", serial, l.ID(), id, l.Terms.Serial)
		}
	}
}

func TestChoose(t *testing.T) {
	offer := func(name string, price uint64, load, slots int) Answer {
		return Answer{Peer: peer.ID(name), Job: "job-1", Resources: job.Resources{CPU: 1}, Quote: lease.Quote{Rates: voucher.Rates{CPU: price}, Load: load, Slots: slots}}
	}
	no := Answer{Peer: "carol", Err: &Refusal{Reason: "no"}}
	rows := []struct {
		name    string
		answers []Answer
		slots   int
		want    string
	}{
		{"nobody offers", []Answer{no}, 4, ""},
		{"the cheaper one", []Answer{offer("bob", 2, 0, 4), offer("dave", 1, 9, 4), no}, 4, "dave"},
		{"the idler one at equal prices", []Answer{offer("bob", 1, 3, 4), offer("dave", 1, 2, 4)}, 4, "dave"},
		{"as many as it needs", []Answer{offer("bob", 1, 0, 4), offer("dave", 2, 0, 4), offer("erin", 3, 0, 4)}, 5, "bob dave"},
		{"all, if that is not enough", []Answer{offer("bob", 1, 0, 4), offer("dave", 2, 0, 4)}, 100, "bob dave"},
		{"none is wanted", []Answer{offer("bob", 1, 0, 4)}, 0, ""},
	}
	for _, r := range rows {
		var got []string
		for _, a := range Choose(r.answers, r.slots) {
			got = append(got, string(a.Peer))
		}
		if strings.Join(got, " ") != r.want {
			t.Errorf("%s: %v, want %s", r.name, got, r.want)
		}
	}
}

func TestChooseIsFair(t *testing.T) {
	first := map[peer.ID]int{}
	for j := range 3000 {
		var answers []Answer
		for _, p := range []peer.ID{"bob", "dave", "erin"} {
			answers = append(answers, Answer{Peer: p, Job: fmt.Sprint("job-", j), Quote: lease.Quote{Slots: 1}})
		}
		once := Choose(answers, 1)[0].Peer
		rand.Shuffle(len(answers), func(i, k int) { answers[i], answers[k] = answers[k], answers[i] })
		if again := Choose(answers, 1)[0].Peer; again != once {
			t.Fatalf("job %d: the order of answers changed the choice from %s to %s", j, once, again)
		}
		first[once]++
	}
	for p, n := range first {
		if n < 850 || n > 1150 {
			t.Errorf("%s was first %d times of 3000", p, n)
		}
	}
}

func TestRefusalsSayWhy(t *testing.T) {
	rows := []struct {
		want  string
		free  func(*Free)
		order func(*lease.Order)
	}{
		{"memory: wants 2GiB, has 1GiB free", func(f *Free) { f.Memory = 1 << 30 }, func(o *lease.Order) { o.Resources.Memory = 2 << 30 }},
		{"memory: wants 16GiB, has 11GiB free", func(f *Free) { f.Memory = 11<<30 + 12345 }, func(o *lease.Order) { o.Resources.Memory = 16 << 30 }},
		{"disk: wants 1GiB, has 0 free", func(f *Free) { f.Disk = 0 }, nil},
		{"engine container: not here", nil, func(o *lease.Order) { o.Engine = "container" }},
		{"owner: paused by its owner", func(f *Free) { f.Refusal = "paused by its owner" }, nil},
		{"leases: 32 of 32 taken", func(f *Free) { f.Leases = 32 }, nil},
		{"engine wasm: its programs use no GPU", nil, func(o *lease.Order) { o.Resources.GPU.Count = 1 }},
		{"gpu: wants 1, has none", func(f *Free) { f.Engines = []string{"native"} }, func(o *lease.Order) { o.Engine, o.Resources.GPU.Count = "native", 1 }},
		{"cpu: wants 8 cores, has 4", nil, func(o *lease.Order) { o.Resources.CPU = 8 }},
		{"slots: none is offered", func(f *Free) { f.Slots = 0 }, nil},
	}
	for _, r := range rows {
		w, alice, bob := newWire(), named(t, "alice"), named(t, "bob")
		_, shop := w.sells(t, bob, DefaultBidder())
		order := orderOf(alice, 4)
		if r.free != nil {
			r.free(&shop.free)
		}
		if r.order != nil {
			r.order(&order)
		}
		a := w.buys(alice).Ask(t.Context(), order, 0, []peer.ID{bob.id})[0]
		if a.Err == nil || a.Err.Error() != r.want || !errors.Is(a.Err, ErrRefused) {
			t.Errorf("got %v, want %q", a.Err, r.want)
		}
	}
}

func TestMemoryBoundsTheSlots(t *testing.T) {
	alice := named(t, "alice")
	order := orderOf(alice, 100)
	order.Resources.Memory = 3 << 30
	if slots, _, refusal := offer(order, newShop().free, false); slots != 2 || refusal != "" {
		t.Fatalf("8 GiB hold %d tasks of 3 GiB, %q", slots, refusal)
	}
}

func TestCarolsQuotesAreNotTaken(t *testing.T) {
	alice, bob, carol := named(t, "alice"), named(t, "bob"), named(t, "carol")
	honest := lease.Quote{Provider: carol.id.String(), Slots: 4, Until: time.Now().Add(time.Minute).UnixMilli()}
	rows := map[string]func(q *lease.Quote){
		"another's name":          func(q *lease.Quote) { q.Provider = bob.id.String() },
		"more slots than ordered": func(q *lease.Quote) { q.Slots = 5 },
		"negative slots":          func(q *lease.Quote) { q.Slots = -1 },
		"negative load":           func(q *lease.Quote) { q.Load = -1 },
		"too dear":                func(q *lease.Quote) { q.Rates.CPU = 1 },
		"long expired":            func(q *lease.Quote) { q.Until = time.Now().Add(-Skew - time.Second).UnixMilli() },
		"endless class":           func(q *lease.Quote) { q.Class = strings.Repeat("x", maxName+1) },
		"endless owner":           func(q *lease.Quote) { q.Owner = strings.Repeat("x", maxName+1) },
	}
	ask := func(reply []byte) error {
		w := newWire()
		end{w, carol.id}.Handle(QuoteProtocol, lease.MaxOrder, func(context.Context, peer.ID, []byte) ([]byte, error) { return reply, nil })
		return w.buys(alice).Ask(t.Context(), orderOf(alice, 4), 0, []peer.ID{carol.id})[0].Err
	}
	if err := ask(canon.MustEncode(honest)); err != nil {
		t.Fatalf("her honest quote: %v", err)
	}
	for name, lie := range rows {
		q := honest
		lie(&q)
		if err := ask(canon.MustEncode(q)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	for name, reply := range map[string][]byte{"garbage": {0xff, 0x00}, "nothing": {}, "too much": make([]byte, lease.MaxOrder+1)} {
		if err := ask(reply); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestSilentPeersCostOneTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, alice, bob := newWire(), named(t, "alice"), named(t, "bob")
		w.sells(t, bob, DefaultBidder())
		peers := []peer.ID{bob.id, named(t, "nobody").id}
		for i := range 30 {
			p := named(t, fmt.Sprint("silent-", i))
			peers = append(peers, p.id)
			end{w, p.id}.Handle(QuoteProtocol, lease.MaxOrder, func(ctx context.Context, _ peer.ID, _ []byte) ([]byte, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			})
		}
		start := time.Now()
		answers := w.buys(alice).Ask(t.Context(), orderOf(alice, 4), 0, peers)
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("asking 32 peers, 30 of them silent, took %v", took)
		}
		for i, a := range answers {
			if a.Peer != peers[i] || (a.Err == nil) != (i == 0) {
				t.Errorf("answer %d: %+v", i, a)
			}
		}
	})
}

// TestWhatBobDoesNotSign lists what a provider refuses to countersign.
func TestWhatBobDoesNotSign(t *testing.T) {
	alice, bob, carol := named(t, "alice"), named(t, "bob"), named(t, "carol")
	rows := []struct {
		name string
		want string
		edit func(t *lease.Terms)
		from person // who brings it
		key  person // who signs it
	}{
		{name: "the honest terms", from: alice, key: alice},
		{name: "more slots than quoted", want: "its quote is not one of this node", from: alice, key: alice, edit: func(t *lease.Terms) { t.Quote.Slots++; t.Order.Slots = 100 }},
		{name: "a lower price", want: "its quote is not one of this node", from: alice, key: alice, edit: func(t *lease.Terms) { t.Quote.Rates.CPU = 1 }},
		{name: "another job", want: "its quote is not one of this node", from: alice, key: alice, edit: func(t *lease.Terms) { t.Order.Job = "job-2" }},
		{name: "more memory", want: "its quote is not one of this node", from: alice, key: alice, edit: func(t *lease.Terms) { t.Order.Resources.Memory *= 2 }},
		{name: "a quote of carol", want: "not of this node", from: alice, key: alice, edit: func(t *lease.Terms) { t.Quote.Provider = carol.id.String() }},
		{name: "carol brings alice's lease", want: "not the asking peer", from: carol, key: alice},
		{name: "carol signs for alice", want: "signature is wrong", from: alice, key: carol},
		{name: "a term without end", want: "runs for more than", from: alice, key: alice, edit: func(t *lease.Terms) { t.Until = t.From + 48*time.Hour.Milliseconds() }},
		{name: "an expired one", want: "expired", from: alice, key: alice, edit: func(t *lease.Terms) { t.From -= 60000; t.Until = t.From + 1 }},
		{name: "the end before the beginning", want: "not possible", from: alice, key: alice, edit: func(t *lease.Terms) { t.Until = t.From - 1 }},
		{name: "one that begins tomorrow", want: "clocks", from: alice, key: alice, edit: func(t *lease.Terms) { t.From += 24 * time.Hour.Milliseconds(); t.Until = t.From + 1000 }},
		{name: "nobody who pays", want: "nobody pays", from: alice, key: alice, edit: func(t *lease.Terms) { t.Pay = nil }},
		{name: "pay on another chain", want: "this node is paid on", from: alice, key: alice, edit: func(t *lease.Terms) { t.Pay.Chain = "hpips-2" }},
		{name: "pay in what nobody takes", want: "this node takes uhpips", from: alice, key: alice, edit: func(t *lease.Terms) { t.Pay.Denom = "ujunk" }},
		{name: "pay without a deposit", want: "nothing is deposited", from: alice, key: alice, edit: func(t *lease.Terms) { t.Pay.Deposit = 0 }},
		{name: "an extension of nothing", want: "the lease before it", from: alice, key: alice, edit: func(t *lease.Terms) { t.Serial = 1 }},
	}
	for _, r := range rows {
		w := newWire()
		cfg := DefaultBidder()
		cfg.Rates.CPU, cfg.Chain = 5, "hpips-1"
		b, shop := w.sells(t, bob, cfg)
		terms := quoted(t, b, alice)
		if r.edit != nil {
			r.edit(&terms)
		}
		_, err := b.Countersign(t.Context(), r.from.id, proposal(t, terms, r.key, nil))
		if r.want == "" && err != nil || r.want != "" && (err == nil || !strings.Contains(err.Error(), r.want)) {
			t.Errorf("%s: %v, want %q", r.name, err, r.want)
		}
		if held := len(shop.held); (held == 1) != (r.want == "") {
			t.Errorf("%s: %d places are held", r.name, held)
		}
	}
}

// quoted asks b for a quote as p and returns honest terms of it.
func quoted(t testing.TB, b *Bidder, p person) lease.Terms {
	t.Helper()
	order := orderOf(p, 4)
	reply, err := b.Quote(t.Context(), p.id, canon.MustEncode(order))
	if err != nil {
		t.Fatal(err)
	}
	var q lease.Quote
	if err := canon.Decode(reply, lease.MaxOrder, &q); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	terms := lease.Terms{Order: order, Quote: q, From: now.UnixMilli(), Until: now.Add(time.Hour).UnixMilli()}
	if !q.Rates.Free() {
		terms.Pay = payBy(p)
	}
	return terms
}

func proposal(t testing.TB, terms lease.Terms, by person, before *lease.Lease) []byte {
	t.Helper()
	sig, err := terms.Sign(by.key)
	if err != nil {
		t.Fatal(err)
	}
	return canon.MustEncode(Proposal{Lease: lease.Lease{Terms: terms, Requester: sig}, Before: before})
}

func TestOneQuoteMakesOneLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, alice, bob := newWire(), named(t, "alice"), named(t, "bob")
		b, shop := w.sells(t, bob, DefaultBidder())
		terms := quoted(t, b, alice)
		first, err := b.Countersign(t.Context(), alice.id, proposal(t, terms, alice, nil))
		if err != nil {
			t.Fatal(err)
		}
		// The answer was lost, alice asks again with the same terms.
		again, err := b.Countersign(t.Context(), alice.id, proposal(t, terms, alice, nil))
		if err != nil || !bytes.Equal(first, again) || len(shop.held) != 1 {
			t.Fatalf("again: %v, %d leases held", err, len(shop.held))
		}
		other := terms
		other.From--
		if _, err := b.Countersign(t.Context(), alice.id, proposal(t, other, alice, nil)); err == nil {
			t.Fatal("a second lease was made of one quote")
		}
		late := quoted(t, b, alice)
		time.Sleep(31 * time.Second) // virtual: past the term of a quote
		if _, err := b.Countersign(t.Context(), alice.id, proposal(t, late, alice, nil)); err == nil || !strings.Contains(err.Error(), "expired") {
			t.Fatalf("a late lease: %v", err)
		}
	})
}

func TestExtensionNeedsTheLeaseBefore(t *testing.T) {
	w, alice, bob, carol := newWire(), named(t, "alice"), named(t, "bob"), named(t, "carol")
	b, _ := w.sells(t, bob, DefaultBidder())
	terms := quoted(t, b, alice)
	reply, err := b.Countersign(t.Context(), alice.id, proposal(t, terms, alice, nil))
	if err != nil {
		t.Fatal(err)
	}
	var l lease.Lease
	if err := canon.Decode(reply, lease.MaxLease, &l); err != nil {
		t.Fatal(err)
	}
	next := terms
	next.Serial, next.Until = 1, terms.Until+1000
	unsigned, forged := l, l
	unsigned.Provider = nil
	forged.Provider, _ = l.Terms.Sign(carol.key)
	skipped := next
	skipped.Serial = 2
	cheaper := next
	cheaper.Quote.Slots = 1
	rows := []struct {
		name   string
		terms  lease.Terms
		before *lease.Lease
		ok     bool
	}{
		{"the honest one", next, &l, true},
		{"again", next, &l, true},
		{"without the lease before", next, nil, false},
		{"one that bob never signed", next, &unsigned, false},
		{"one that carol signed", next, &forged, false},
		{"a serial left out", skipped, &l, false},
		{"other terms", cheaper, &l, false},
	}
	for _, r := range rows {
		if _, err := b.Countersign(t.Context(), alice.id, proposal(t, r.terms, alice, r.before)); (err == nil) != r.ok {
			t.Errorf("%s: %v", r.name, err)
		}
	}
}

func TestAliceChecksTheCountersignature(t *testing.T) {
	alice, bob, carol := named(t, "alice"), named(t, "bob"), named(t, "carol")
	rows := map[string]func(l *lease.Lease){
		"no signature":      func(*lease.Lease) {},
		"carol's signature": func(l *lease.Lease) { l.Provider, _ = l.Terms.Sign(carol.key) },
		"other terms":       func(l *lease.Lease) { l.Terms.Quote.Rates.CPU = 9; l.Provider, _ = l.Terms.Sign(bob.key) },
	}
	for name, lie := range rows {
		w := newWire()
		w.sells(t, bob, DefaultBidder())
		end{w, bob.id}.Handle(LeaseProtocol, MaxProposal, func(_ context.Context, _ peer.ID, req []byte) ([]byte, error) {
			p, err := decodeProposal(req)
			if err != nil {
				return nil, err
			}
			lie(&p.Lease)
			return canon.Encode(p.Lease)
		})
		broker, order := w.buys(alice), orderOf(alice, 4)
		q := broker.Ask(t.Context(), order, 0, []peer.ID{bob.id})[0].Quote
		if _, err := broker.Open(t.Context(), bob.id, order, q, nil, time.Hour); err == nil {
			t.Errorf("%s: taken as a lease", name)
		}
	}
}

// TestFloodIsBounded lets carol ask for 100,000 quotes; alice's quote must outlive that, and memory must not grow with it.
func TestFloodIsBounded(t *testing.T) {
	w, alice, bob, carol := newWire(), named(t, "alice"), named(t, "bob"), named(t, "carol")
	b, _ := w.sells(t, bob, DefaultBidder())
	terms := quoted(t, b, alice)
	order := orderOf(carol, 4)
	for i := range 100_000 {
		order.Job = fmt.Sprint("job-", i)
		if i%50 != 0 { // most of them without the cost of decoding, as if quoted
			b.made.add(carol.id, [32]byte{byte(i), byte(i >> 8), byte(i >> 16), 1}, time.Now(), terms.Quote.Until)
			continue
		}
		if _, err := b.Quote(t.Context(), carol.id, canon.MustEncode(order)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(b.made.quotes); n != b.cfg.PerPeer+1 || b.made.order.Len() != n || len(b.made.peers) != 2 {
		t.Fatalf("%d quotes are remembered of %d peers", n, len(b.made.peers))
	}
	if _, err := b.Countersign(t.Context(), alice.id, proposal(t, terms, alice, nil)); err != nil {
		t.Fatalf("alice's quote is gone: %v", err)
	}
}

func TestBookForgetsTheOldestOfAll(t *testing.T) {
	k := newBook(3, 2)
	now := time.Now()
	for i, p := range []peer.ID{"a", "b", "c", "d"} {
		k.add(p, [32]byte{byte(i)}, now, now.Add(time.Minute).UnixMilli())
	}
	if err := k.take("a", [32]byte{0}, "l", now); err == nil || len(k.quotes) != 3 {
		t.Fatalf("the oldest is still there: %v, %d", err, len(k.quotes))
	}
	if err := k.take("b", [32]byte{3}, "l", now); err == nil {
		t.Fatal("b took d's quote")
	}
	k.add("e", [32]byte{9}, now.Add(2*time.Minute), now.Add(3*time.Minute).UnixMilli())
	if len(k.quotes) != 1 || len(k.peers) != 1 {
		t.Fatalf("expired quotes stay: %d of %d peers", len(k.quotes), len(k.peers))
	}
}

func FuzzBidder(f *testing.F) {
	alice, bob := named(f, "alice"), named(f, "bob")
	w := newWire()
	b, _ := w.sells(f, bob, DefaultBidder())
	f.Add(canon.MustEncode(orderOf(alice, 4)))
	f.Add(proposal(f, quoted(f, b, alice), alice, nil))
	f.Add([]byte{0xa0})
	f.Fuzz(func(t *testing.T, req []byte) {
		if reply, err := b.Quote(t.Context(), alice.id, req); err == nil {
			var q lease.Quote
			if err := canon.Decode(reply, lease.MaxOrder, &q); err != nil {
				t.Fatalf("own quote does not decode: %v", err)
			}
		}
		if reply, err := b.Countersign(t.Context(), alice.id, req); err == nil {
			var l lease.Lease
			if err := canon.Decode(reply, lease.MaxLease, &l); err != nil || l.Check(time.Now().UnixMilli()) != nil {
				t.Fatalf("countersigned what does not check: %v", err)
			}
		}
	})
}

func FuzzBrokerAnswers(f *testing.F) {
	alice, carol := named(f, "alice"), named(f, "carol")
	f.Add(canon.MustEncode(lease.Quote{Provider: carol.id.String(), Slots: 1, Until: 1 << 60}))
	f.Fuzz(func(t *testing.T, reply []byte) {
		w := newWire()
		for _, proto := range []protocol.ID{QuoteProtocol, LeaseProtocol} {
			end{w, carol.id}.Handle(proto, MaxProposal, func(context.Context, peer.ID, []byte) ([]byte, error) { return reply, nil })
		}
		broker, order := w.buys(alice), orderOf(alice, 4)
		a := broker.Ask(t.Context(), order, 0, []peer.ID{carol.id})[0]
		if a.Err == nil && (a.Quote.Slots < 1 || a.Quote.Slots > 4 || a.Quote.Rates.CPU > 0) {
			t.Fatalf("took %+v", a.Quote)
		}
		if _, err := broker.Open(t.Context(), carol.id, order, a.Quote, nil, time.Hour); err == nil {
			t.Fatal("took bytes without a signature for a lease")
		}
	})
}
