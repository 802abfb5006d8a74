package chain_test

import (
	"slices"
	"testing"
	"time"

	"github.com/hpips/hpips/chain"
	"github.com/hpips/hpips/chain/chaintest"
	"github.com/hpips/hpips/chain/committee"
	committeev1 "github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/spec/sortition"
)

// pool is the chain of some people who know each other. Time passes when the test says so.
type pool struct {
	*desk
	people []chaintest.Person
}

// A pool begins with its founder's seat, by the parameters of all pools but shorter epochs. The founder brings three PCs in. Bob's and carol's are on, as whoever was to
// observe them says: each takes out a ticket, draws and sits, no more than one in an epoch. Nobody saw dave's: without a ticket he draws in vain.
func TestAPoolGrowsByDraw(t *testing.T) {
	g := genesis(t, "alice")
	g.Network, g.EpochBlocks, g.Time = chain.Pool, 20, time.Unix(1_800_000_000, 0)
	doc, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	p := &pool{desk: deskOn(t, doc)}
	p.people = []chaintest.Person{p.alice, chaintest.New("bob"), chaintest.New("carol"), chaintest.New("dave")}
	bob, carol, dave := p.people[1], p.people[2], p.people[3]
	p.block()
	for i, who := range p.people[1:] {
		m, err := who.Register(testChain, p.height, p.alice)
		if err != nil {
			t.Fatal(err)
		}
		p.must(uint64(i), m)
	}
	p.refuses("a ticket for keys of this epoch", p.application(bob), committee.ErrKeyAge.ABCICode())
	for p.committee().Epoch.Number < 2 {
		p.block()
	}
	for range 12 {
		p.time = p.time.Add(time.Hour)
		p.block()
		p.block()
	}
	p.refuses("a ticket for a PC that nobody saw", p.applies(dave, nil), committee.ErrOffline.ABCICode())
	for _, who := range []chaintest.Person{bob, carol} {
		if r := p.block(p.application(who))[0]; r.Code != 0 {
			t.Fatalf("%s has no ticket: %s", who.Name, r.Log)
		}
	}
	if now := p.committee(); len(now.Seats) != 1 || now.Tickets != 3 {
		t.Fatalf("%d seats, %d tickets before the first draw that others take part in", len(now.Seats), now.Tickets)
	}

	p.closes() // the draw that is open was made before their tickets were there
	lost := 0
	for epochs := 0; len(p.committee().Seats) < 3; epochs++ {
		if epochs > 40 {
			t.Fatalf("%d seats after %d epochs", len(p.committee().Seats), epochs)
		}
		before := len(p.committee().Seats)
		lost += p.epoch(bob, carol)
		if now := len(p.committee().Seats); now < before || now > before+1 {
			t.Errorf("%d seats after an epoch that began with %d", now, before)
		}
	}
	for _, who := range p.people {
		if sits := p.sits(who); sits != (who.Name != "dave") {
			t.Errorf("%s sits: %v", who.Name, sits)
		}
	}
	if lost == 0 {
		t.Error("every draw won: a seat was there for the asking")
	}
	p.open()
	p.refuses("a draw without a ticket", p.claim(dave), committee.ErrTicket.ABCICode())
}

// epoch lets people draw whose turn it is, and passes. It gives how many of their draws did not win.
func (p *pool) epoch(draw ...chaintest.Person) (lost int) {
	p.t.Helper()
	p.open()
	for _, who := range draw {
		if p.sits(who) {
			continue
		}
		switch r := p.block(p.claim(who))[0]; {
		case r.Codespace == committee.Name && r.Code == committee.ErrThreshold.ABCICode():
			lost++
		case r.Code != 0:
			p.t.Fatalf("%s claims: %s", who.Name, r.Log)
		}
	}
	p.closes()
	return lost
}

// closes passes blocks until the next epoch.
func (p *pool) closes() {
	p.t.Helper()
	for number := p.committee().Epoch.Number; p.committee().Epoch.Number == number; {
		p.block()
	}
}

// open passes blocks until the epoch has its seed.
func (p *pool) open() {
	p.t.Helper()
	for p.committee().Epoch.Opened == 0 {
		p.block()
	}
}

func (p *pool) sits(who chaintest.Person) bool {
	id := who.ID()
	return slices.ContainsFunc(p.committee().Seats, func(s committeev1.Seat) bool { return string(s.Node) == string(id[:]) })
}

func (p *pool) claim(who chaintest.Person) []byte {
	p.t.Helper()
	now, id := p.committee(), who.ID()
	proof, err := sortition.Prove(who.VRF, sortition.DrawAlpha(testChain, now.Epoch.Number, sortition.Seed(now.Epoch.DrawSeed)))
	if err != nil {
		p.t.Fatal(err)
	}
	return p.free(&committeev1.MsgClaim{Sender: chaintest.Sender(who), Node: id[:], Epoch: now.Epoch.Number, Proof: proof[:]})
}

// application asks for a ticket with the word of everybody who was to observe, in each slot that was picked.
func (p *pool) application(who chaintest.Person) []byte {
	p.t.Helper()
	id := who.ID()
	var picks committeev1.QueryPicksResponse
	p.ask("/hpips.committee.v1.Query/Picks", &committeev1.QueryPicksRequest{Node: id[:], Slot: p.committee().Beacon.Slot}, &picks)
	var receipts [][]byte
	for _, slot := range picks.Slots {
		var by committeev1.QueryObserversResponse
		p.ask("/hpips.committee.v1.Query/Observers", &committeev1.QueryObserversRequest{Node: id[:], Slot: slot}, &by)
		for _, o := range by.Observers {
			receipts = append(receipts, p.receipt(who, slot, o))
		}
	}
	return p.applies(who, receipts)
}

// receipt is an observer's word that it saw a person's PC on their own line.
func (p *pool) receipt(of chaintest.Person, slot uint64, observer []byte) []byte {
	p.t.Helper()
	at := slices.IndexFunc(p.people, func(o chaintest.Person) bool { id := o.ID(); return string(id[:]) == string(observer) })
	r, err := sortition.Receipt{Chain: testChain, Node: of.ID(), Slot: slot, Network: sortition.Local}.Sign(p.people[at].Node)
	if err != nil {
		p.t.Fatal(err)
	}
	text, err := r.Bytes()
	if err != nil {
		p.t.Fatal(err)
	}
	return text
}

func (p *pool) applies(who chaintest.Person, receipts [][]byte) []byte {
	p.t.Helper()
	id, slot := who.ID(), p.committee().Beacon.Slot
	signature, err := sortition.Application{Chain: testChain, Node: id, Slot: slot, Receipts: sortition.Digest(receipts)}.Sign(who.Node)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.free(&committeev1.MsgTicket{Sender: chaintest.Sender(who), Node: id[:], Slot: slot, Receipts: receipts, Signature: signature})
}

func (p *pool) free(m chaintest.Message) []byte {
	p.t.Helper()
	tx, err := chain.FreeTx(p.app.Codec(), m)
	if err != nil {
		p.t.Fatal(err)
	}
	return tx
}

func (p *pool) refuses(what string, tx []byte, code uint32) {
	p.t.Helper()
	if r := p.block(tx)[0]; r.Codespace != committee.Name || r.Code != code {
		p.t.Errorf("%s: %s/%d %s, want %d", what, r.Codespace, r.Code, r.Log, code)
	}
}
