package ledger

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	sdkmath "cosmossdk.io/math"
	rpcclient "github.com/cometbft/cometbft/rpc/client"
	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	"github.com/cosmos/gogoproto/proto"

	"github.com/hpips/hpips/chain/chaintest"
	"github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/proto/gen/registryv1"
	"github.com/hpips/hpips/proto/gen/supplyv1"
	"github.com/hpips/hpips/spec/sortition"
)

// annals is a chain of four seats, of which three are taken at the beginning, in epochs of eight blocks, that needs no receipts for a ticket.
type annals struct {
	*chaintest.Chronicle
	t      testing.TB
	people map[string]chaintest.Person
	holds  []string // who has a ticket, or asked for one
	sent   map[string]uint64
}

var villagers = []string{"alice", "bob", "carol", "dan", "erin", "frank", "gina", "hugo"}

func newAnnals(t testing.TB) *annals {
	t.Helper()
	return annalsOf(t, func(map[string]any) {})
}

// annalsOf begins with a genesis whose part about seats is changed.
func annalsOf(t testing.TB, change func(seats map[string]any)) *annals {
	t.Helper()
	a := &annals{t: t, people: map[string]chaintest.Person{}, sent: map[string]uint64{}}
	var all, first []chaintest.Person
	for _, name := range villagers {
		a.people[name] = chaintest.New(name)
		all = append(all, a.people[name])
	}
	first, a.holds = all[:3], slices.Clone(villagers[:3])
	g, err := chaintest.Genesis("annals-1", first...)
	if err != nil {
		t.Fatal(err)
	}
	g.Time = time.Unix(1_800_000_000, 0).UTC() // the seeds are the same in every run
	for _, p := range all[3:] {
		n, err := p.Registration("annals-1", 0)
		if err != nil {
			t.Fatal(err)
		}
		g.Nodes = append(g.Nodes, n)
	}
	g.Tune = func(p *committeev1.Params) {
		p.EpochBlocks, p.ClaimBlocks, p.PickedSlots, p.NeededSlots, p.AbsenceWindow, p.AbsenceMissed = 8, 6, 0, 0, 6, 4
	}
	doc, err := g.Build()
	a.must(err)
	var state map[string]any
	a.must(json.Unmarshal(doc.AppState, &state))
	change(state["committee"].(map[string]any))
	doc.AppState, err = json.Marshal(state)
	a.must(err)
	a.Chronicle, err = chaintest.NewChronicle(doc, append(all, renewed())...)
	a.must(err)
	a.must(a.Write(nil, nil))
	return a
}

func (a *annals) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

// write goes on to a height. Who has no ticket takes one out in block 11; whoever may and wins claims as soon as the epoch is open.
func (a *annals) write(to int64, forge chaintest.Forge, also ...[]byte) {
	a.t.Helper()
	for a.Height() < to {
		txs := also
		if also = nil; a.Height() == 10 {
			for _, name := range villagers[3:7] { // hugo never has one
				tx, err := a.Apply(a.people[name])
				a.must(err)
				txs, a.holds = append(txs, tx), append(a.holds, name)
			}
		}
		state, err := a.Committee()
		a.must(err)
		if e := state.Epoch; e.Opened > 0 && a.Height() == e.Opened {
			for _, name := range a.holds {
				txs = append(txs, a.claims(state, name)...)
			}
		}
		a.must(a.Write(nil, forge, txs...))
		forge = nil
	}
}

// claims is a person's claim, if the draw gives it a seat and its ticket is old enough.
func (a *annals) claims(state committeev1.QueryCommitteeResponse, name string) [][]byte {
	place, err := a.Ticket(a.people[name])
	a.must(err)
	if place.Ticket == nil || place.Ticket.SinceHeight >= state.Epoch.Opened {
		return nil
	}
	tx, rank, err := a.Draw(a.people[name])
	a.must(err)
	if !rank.Below(sortition.Threshold(state.Epoch.Threshold)) {
		return nil
	}
	return [][]byte{tx}
}

// sends is a transaction of somebody's account.
func (a *annals) sends(name string, m chaintest.Message) []byte {
	a.t.Helper()
	const modules = 14 // their accounts come first
	e := chaintest.Envelope{ChainID: "annals-1", Account: modules + uint64(slices.Index(villagers, name)), Sequence: a.sent[name]}
	tx, err := chaintest.Sign(a.App.Codec(), a.people[name], e, m)
	a.must(err)
	a.sent[name]++
	return tx
}

func (a *annals) burn(name string, amount int64) []byte {
	a.t.Helper()
	return a.sends(name, &supplyv1.MsgBurn{Holder: a.people[name].Address(), Amount: sdkmath.NewInt(amount)})
}

// renewed is frank with other keys for votes and draws.
func renewed() chaintest.Person {
	p, other := chaintest.New("frank"), chaintest.New("frank again")
	p.Consensus, p.VRF = other.Consensus, other.VRF
	return p
}

// renew is a transaction that gives frank's node its new keys.
func (a *annals) renew() []byte {
	a.t.Helper()
	p := renewed()
	n, err := p.Registration("annals-1", a.Height())
	a.must(err)
	a.people["frank"] = p
	return a.sends("frank", &registryv1.MsgChangeKeys{Carrier: p.Address(), Registration: n.Registration, NodeSignature: n.NodeSignature, ConsensusSignature: n.ConsensusSignature,
		VrfProof: n.VRFProof, OwnerKey: n.OwnerKey, OwnerSignature: n.OwnerSignature})
}

// retire is a transaction that ends a node.
func (a *annals) retire(name string) []byte {
	a.t.Helper()
	id := a.people[name].ID()
	return a.sends(name, &registryv1.MsgRetire{Owner: a.people[name].Address(), Node: id[:]})
}

func (a *annals) verify(rpc rpcclient.Client, from, to int64) Verified {
	a.t.Helper()
	l, err := New(rpc, Default())
	a.must(err)
	v, err := l.Verify(context.Background(), from, to, nil)
	a.must(err)
	return v
}

func (a *annals) right(from, to int64) Verified {
	a.t.Helper()
	v := a.verify(a, from, to)
	if !v.OK {
		a.t.Fatalf("blocks %d to %d: %v", from, to, v.Wrong)
	}
	return v
}

// wrongAt wants a height named, and a reason with these words.
func (a *annals) wrongAt(rpc rpcclient.Client, from, height int64, words string) {
	a.t.Helper()
	v := a.verify(rpc, from, 0)
	if v.OK || v.Wrong.Height != height || !strings.Contains(v.Wrong.What, words) {
		a.t.Errorf("from block %d: found %v; want block %d, %s", from, v.Wrong, height, words)
	}
}

// eventful is a long story by the rules: tickets, draws, absence, a seat that steps down, one that signs twice, a node that gets new keys, one that retires, and
// burned HPIPS.
func eventful(t testing.TB) *annals {
	a := newAnnals(t)
	a.write(14, nil, a.burn("alice", 3))
	a.write(40, nil, a.burn("bob", 4))
	idle := a.sitting()[0]
	a.Away(a.people[idle], true)
	a.write(56, nil)
	a.Away(a.people[idle], false)
	a.gone(idle)
	a.opened(a.Height())
	a.write(a.Height()+1, nil)
	quits := a.sitting()[1]
	resign, err := a.Resign(a.people[quits])
	a.must(err)
	a.write(a.Height()+1, nil, resign)
	a.write(a.Height()+3, nil)
	a.gone(quits)
	a.write(72, nil)
	liar := a.sitting()[0]
	twice, err := a.Twice(a.people[liar])
	a.must(err)
	a.holds = slices.DeleteFunc(a.holds, func(n string) bool { return n == liar })
	a.must(a.Write(twice, nil))
	a.write(80, nil)
	a.gone(liar)
	a.write(81, nil, a.renew())
	a.write(100, nil)
	again, err := a.Apply(a.people["frank"])
	a.must(err)
	a.write(101, nil, again)
	leaves := a.sitting()[0]
	a.holds = slices.DeleteFunc(a.holds, func(n string) bool { return n == leaves })
	a.write(110, nil, a.retire(leaves))
	a.write(160, nil)
	a.gone(leaves)
	return a
}

// gone wants somebody to have no seat.
func (a *annals) gone(name string) {
	a.t.Helper()
	if a.Sits(a.people[name]) {
		a.t.Fatalf("%s still sits in block %d", name, a.Height())
	}
}

// sitting names who has a seat.
func (a *annals) sitting() (all []string) {
	for _, name := range villagers {
		if a.Sits(a.people[name]) {
			all = append(all, name)
		}
	}
	return all
}

// opened goes on to the block that opens an epoch, the next one from a height on.
func (a *annals) opened(from int64) {
	a.t.Helper()
	for {
		state, err := a.Committee()
		a.must(err)
		if a.Height() >= from && state.Epoch.Opened == a.Height() {
			return
		}
		a.write(a.Height()+1, nil)
	}
}

// closing goes on to the block before the one that closes an epoch, if that has a transaction.
func (a *annals) closing(from int64) {
	a.t.Helper()
	for {
		state, err := a.Committee()
		a.must(err)
		if a.Height() >= from && state.Epoch.Opened > 0 && a.Height()+1-state.Epoch.Opened == 7 {
			return
		}
		a.write(a.Height()+1, nil)
	}
}

type stores = func(name string) storetypes.KVStore

// items are what a store has under a prefix.
func items(s storetypes.KVStore, prefix byte) (all []item) {
	it := s.Iterator([]byte{prefix}, []byte{prefix + 1})
	defer it.Close()
	for ; it.Valid(); it.Next() {
		all = append(all, item{it.Key(), it.Value()})
	}
	return all
}

// edit changes a message in a store.
func edit[M proto.Message](a *annals, s storetypes.KVStore, key []byte, m M, change func(M)) {
	a.must(proto.Unmarshal(s.Get(key), m))
	change(m)
	text, err := proto.Marshal(m)
	a.must(err)
	s.Set(key, text)
}

// mint adds to the supply.
func (a *annals) mint(s storetypes.KVStore, by int64) {
	key := append([]byte{0}, "uhpips"...)
	n := sdkmath.ZeroInt()
	a.must(n.Unmarshal(s.Get(key)))
	text, err := n.AddRaw(by).Marshal()
	a.must(err)
	s.Set(key, text)
}

// replace gives one's seat to another.
func (a *annals) replace(s storetypes.KVStore, gone []byte, p chaintest.Person) {
	id := p.ID()
	seat := committeev1.Seat{Node: id[:], Owner: p.Address(), Network: "10.0.0.0/24", ConsensusKey: p.Consensus[32:], VrfKey: p.VRF[32:], SinceEpoch: 1, SinceHeight: a.Height() + 1}
	text, err := proto.Marshal(&seat)
	a.must(err)
	s.Delete(append([]byte{4}, gone...))
	s.Set(append([]byte{4}, id[:]...), text)
}

// person finds who has a node.
func (a *annals) person(node []byte) chaintest.Person {
	for _, p := range a.people {
		if id := p.ID(); bytes.Equal(id[:], node) {
			return p
		}
	}
	a.t.Fatalf("node %x is nobody's", node)
	return chaintest.Person{}
}

// usurp has the committee turn otherwise than the draw says, as soon as somebody entered and somebody else stands by: pick says whose seat the
// substitute gets. The engine is told one block later.
func (a *annals) usurp(pick func(entered, stayed []committeev1.Seat) committeev1.Seat) {
	a.t.Helper()
	for done := false; !done; {
		if a.closing(40); a.Height() > 1000 {
			a.t.Fatal("in no epoch somebody entered and somebody stood by")
		}
		a.write(a.Height()+1, func(store stores) {
			s := store("committee")
			subs := items(s, 9)
			var entered, stayed []committeev1.Seat
			for _, i := range items(s, 4) {
				var seat committeev1.Seat
				a.must(proto.Unmarshal(i.value, &seat))
				if seat.SinceHeight == a.Height()+1 {
					entered = append(entered, seat)
				} else {
					stayed = append(stayed, seat)
				}
			}
			if len(entered) == 0 || len(stayed) == 0 || len(subs) == 0 {
				return
			}
			var sub committeev1.Claim
			a.must(proto.Unmarshal(subs[0].value, &sub))
			a.replace(s, pick(entered, stayed).Node, a.person(sub.Node))
			done = true
		}, a.burn("alice", 1))
	}
	a.write(a.Height()+1, nil, a.burn("alice", 1))
}

// guarded begins with guardians in two of three seats, until the first epoch that closes at block 48 or later.
func guarded(t *testing.T) *annals {
	t.Helper()
	return annalsOf(t, func(seats map[string]any) {
		value := func(name string, i int) map[string]any {
			return seats[name].([]any)[i].(map[string]any)["value"].(map[string]any)
		}
		value("params", 0)["guardian_height"] = "48"
		value("epoch", 0)["guardians_ended"] = false
		for i := range 2 {
			value("seats", i)["guardian"] = true
		}
	})
}

// newPublicAnnals has days of eight blocks, in which two new tickets are given by lot, no draw before the fourth, and guardians in two of three seats until there were
// six tickets for six days.
func newPublicAnnals(t *testing.T) *annals {
	t.Helper()
	return annalsOf(t, func(seats map[string]any) {
		value := func(name string, i int) map[string]any {
			return seats[name].([]any)[i].(map[string]any)["value"].(map[string]any)
		}
		maps.Copy(value("params", 0), map[string]any{"seats": 7, "seats_per_owner": 1, "day_seconds": "8", "first_draw_day": "4", "new_tickets_permille": 30, "new_tickets_min": 2,
			"guardian_tickets": "6", "guardian_days": 6, "guardian_height": "10000000"})
		delete(value("params", 0), "key_age_epochs")
		value("epoch", 0)["guardians_ended"] = false
		for i := range 2 {
			value("seats", i)["guardian"] = true
		}
	})
}

// busy goes on to a height with a transaction in each block: so an epoch closes with the first block of each day.
func (a *annals) busy(to int64) {
	a.t.Helper()
	for a.Height() < to {
		a.write(a.Height()+1, nil, a.burn("alice", 1))
	}
}

// claimed tells whether somebody claimed a seat in the epoch that is open.
func (a *annals) claimed(name string) bool {
	place, err := a.Ticket(a.people[name])
	a.must(err)
	return place.Claimed
}

// guardians are the nodes of those who sit as one.
func (a *annals) guardians() (all [][]byte) {
	a.t.Helper()
	state, err := a.Committee()
	a.must(err)
	for _, s := range state.Seats {
		if s.Guardian {
			all = append(all, s.Node)
		}
	}
	return all
}
