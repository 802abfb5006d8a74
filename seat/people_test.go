package seat

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/hpips/hpips/spec/sortition"
)

// town is an honest small chain and an honest small network: slots pass with the clock, everybody observes everybody, free messages stand in the
// next block.
type town struct {
	mu       sync.Mutex
	began    time.Time
	rules    Rules
	height   int64
	epoch    Epoch
	people   map[sortition.Key]*person
	blocks   []chan struct{}
	broken   error         // of the chain, for all
	behind   sortition.Key // is catching up
	blind    bool          // no seed was recorded: nobody observes
	claims   []Claim
	tickets  []Application
	resigned []Resignation
	lost     bool // free messages do not reach a block
	needed   uint32
}

// person is one node.
type person struct {
	town   *town
	name   string
	key    ed25519.PrivateKey
	vrf    ed25519.PrivateKey
	self   sortition.Key
	place  Place
	at     []netip.Addr // where others see it
	answer func(ctx context.Context, from peer.ID, req []byte) ([]byte, error)
	asked  int
	away   bool
	seat   *Seat
	stop   func()
}

const slotTime = 20 * time.Second

func newTown(names ...string) *town {
	t := &town{began: time.Now(), people: map[sortition.Key]*person{}, height: 10, needed: 1,
		rules: Rules{ClaimBlocks: 15, TicketDays: 30, Window: 3, Slot: slotTime},
		epoch: Epoch{Number: 3, Opened: 9, Draw: sortition.Genesis("town"), Threshold: every(0xff)}}
	for _, n := range names {
		t.person(n)
	}
	return t
}

func every(b byte) (t sortition.Threshold) {
	for i := range t {
		t[i] = b
	}
	return t
}

func secret(words ...string) ed25519.PrivateKey {
	h := sha256.New()
	for _, w := range words {
		h.Write([]byte(w))
	}
	return ed25519.NewKeyFromSeed(h.Sum(nil))
}

func (t *town) person(name string) *person {
	p := &person{town: t, name: name, key: secret(name), vrf: secret(name, "vrf"), at: []netip.Addr{netip.MustParseAddr("203.0.113.7")},
		place: Place{Registered: true, Neighbours: 1}}
	p.self = sortition.Key(p.key.Public().(ed25519.PublicKey))
	t.people[p.self] = p
	return p
}

func (t *town) named(name string) *person {
	for _, p := range t.people {
		if p.name == name {
			return p
		}
	}
	panic(name)
}

// open gives a person a seat on a folder; run lets it serve until stop.
func (p *person) open(t *testing.T, dir string) {
	t.Helper()
	var err error
	if p.seat, err = New(slog.New(slog.DiscardHandler), p.town, p, Config{Dir: dir, Key: p.key, VRF: p.vrf}); err != nil {
		t.Fatal(err)
	}
}

func (p *person) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = p.seat.Serve(ctx) }()
	p.stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(p.stop)
}

// block makes one block; what was handed in stands in it.
func (t *town) block() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.height++
	for _, c := range t.blocks {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

func (t *town) slot() uint64 { return 1000 + uint64(time.Since(t.began)/slotTime) }

// The chain, as a seat sees it.

func (t *town) Head(_ context.Context, node sortition.Key) (Head, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.broken != nil {
		return Head{}, t.broken
	}
	return Head{Chain: "town", Height: t.height, CatchingUp: node == t.behind, Day: uint64(time.Since(t.began) / time.Minute), Slot: t.slot(),
		Epoch: t.epoch, Rules: t.rules, Place: t.people[node].place}, nil
}

func (t *town) Observers(_ context.Context, node sortition.Key, _ uint64) (Observers, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var o Observers
	if t.blind {
		return o, nil
	}
	for k, p := range t.people {
		if k != node && p.name != "carol" { // carol is nobody's observer
			o.Nodes = append(o.Nodes, k)
		}
	}
	slices.SortFunc(o.Nodes, func(a, b sortition.Key) int { return slices.Compare(a[:], b[:]) })
	o.Needed = min(t.needed, uint32(len(o.Nodes)))
	return o, nil
}

func (t *town) Picks(_ context.Context, _ sortition.Key, slot uint64) (Picks, error) {
	return Picks{Slots: []uint64{slot - 1}, Needed: 1}, nil
}

func (t *town) Ticket(_ context.Context, a Application) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tickets = append(t.tickets, a)
	if !t.lost {
		t.people[a.Word.Node].place.Ticket = &Ticket{Since: t.height + 1, Until: uint64(time.Since(t.began)/time.Minute) + t.rules.TicketDays, Good: true}
	}
	return nil
}

func (t *town) Claim(_ context.Context, c Claim) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.claims = append(t.claims, c)
	if !t.lost {
		t.people[c.Node].place.Claimed = true
	}
	return nil
}

func (t *town) StepDown(_ context.Context, r Resignation) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.resigned = append(t.resigned, r)
	return nil
}

func (t *town) Blocks(context.Context) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := make(chan struct{}, 1)
	t.blocks = append(t.blocks, c)
	return c
}

// The network, as a seat sees it.

var errAway = errors.New("nobody answers")

func (p *person) Call(ctx context.Context, to peer.ID, proto protocol.ID, req []byte) ([]byte, error) {
	k, err := KeyOf(to)
	if err != nil {
		return nil, err
	}
	me, err := PeerOf(p.self)
	if err != nil {
		return nil, err
	}
	p.town.mu.Lock()
	other := p.town.people[k]
	var answer func(context.Context, peer.ID, []byte) ([]byte, error)
	if other != nil && !other.away && proto == Protocol {
		answer = other.answer
		other.asked++
	}
	p.town.mu.Unlock()
	if answer == nil {
		return nil, errAway
	}
	return answer(ctx, me, req)
}

func (p *person) Handle(_ protocol.ID, _ int, fn func(context.Context, peer.ID, []byte) ([]byte, error)) error {
	p.town.mu.Lock()
	defer p.town.mu.Unlock()
	p.answer = fn
	return nil
}

func (p *person) Seen(other peer.ID) []netip.Addr {
	k, err := KeyOf(other)
	if err != nil {
		return nil
	}
	p.town.mu.Lock()
	defer p.town.mu.Unlock()
	return p.town.people[k].at
}
