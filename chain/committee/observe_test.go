package committee

import (
	"fmt"
	"slices"
	"testing"

	"cosmossdk.io/collections"

	"github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/spec/sortition"
)

// Mallory has twenty tickets behind one line, beside ten neighbours with a line each. Where networks are limited one of the twenty observes in a slot at
// most; on a private network, where they are not, any may.
func TestANetworkObservesOnce(t *testing.T) {
	all := append(people(10), newPerson("alice"))
	params := hourly()
	params.SeatsPerNetwork = 1
	w := hours(t, params, 10, all, 61)
	alice := all[10]
	const line = "203.0.113.0/24"
	mallorys := map[sortition.Key]bool{}
	for i := range 20 {
		mallory := newPerson(fmt.Sprint("mallory ", i))
		w.register(mallory)
		w.ticketed(mallory, line)
		mallorys[mallory.id()] = true
	}
	look := func() (most, least int) {
		least = 1 << 30
		for range 15 {
			w.pass(1)
			now, needed, err := w.k.Observers(w.ctx(block{}), alice.id(), w.slot())
			w.must(err)
			n := 0
			for _, o := range now {
				if mallorys[o] {
					n++
				}
			}
			if want := sortition.Needed(6, 4, uint32(len(now))); needed != want {
				t.Errorf("of %d observers %d are needed, want %d", len(now), needed, want)
			}
			most, least = max(most, n), min(least, len(now))
		}
		return most, least
	}
	if n, least := look(); n != 1 || least < 4 { // some of the places looked at are in vain
		t.Errorf("%d of mallory's nodes observe in one slot, and %d in all", n, least)
	}
	params.SeatsPerNetwork = 0
	w.must(w.k.setParams(w.ctx(block{}), params))
	if n, _ := look(); n < 2 {
		t.Errorf("%d of mallory's nodes observe in one slot where networks are not limited", n)
	}
}

// All are in one network, and networks are limited: one of them observes, and its word is enough. So a few PCs in one house keep their tickets.
func TestFewNetworksGiveFewObservers(t *testing.T) {
	all := append(people(3), newPerson("alice"))
	w := hours(t, hourly(), 3, all, 61)
	params := w.params()
	params.SeatsPerNetwork = 1
	w.must(w.k.setParams(w.ctx(block{}), params))
	var tickets []committeev1.Ticket
	w.must(w.k.ring.Walk(w.ctx(block{}), nil, func(_ []byte, t committeev1.Ticket) (bool, error) {
		tickets = append(tickets, t)
		return false, nil
	}))
	for _, t := range tickets {
		t.Network = sortition.Local
		w.must(w.k.ring.Set(w.ctx(block{}), t.Point, t))
	}
	alice := all[3]
	observers, needed, err := w.k.Observers(w.ctx(block{}), alice.id(), w.slot())
	if err != nil || len(observers) != 1 || needed != 1 {
		t.Fatalf("%d observers, %d needed, %v", len(observers), needed, err)
	}
	wants(t, "application", w.block(w.application(alice, w.slot(), w.receipts(alice, w.slot(), nil)))[0], nil)
}

// Mallory renews a ticket and has moved with it, into bob's network. Who observes in the open slot and in those before stays who it was; in the next one
// the two are in one network. What no slot can be asked for any more is forgotten.
func TestAMoveCountsFromTheNextSlotOn(t *testing.T) {
	all := append(people(6), newPerson("alice"))
	params := hourly()
	params.SeatsPerNetwork = 1
	w := hours(t, params, 6, all, 61)
	alice, bob, mallory := all[6], all[0], all[1]
	at := func(p *person) committeev1.Ticket {
		ticket, err := w.k.ticket(w.ctx(block{}), p.node[32:])
		w.must(err)
		return ticket
	}
	drawn := func() (lists [][]sortition.Key) {
		for slot := w.slot() - uint64(params.WindowSlots) + 1; slot <= w.slot(); slot++ {
			observers, _, err := w.k.Observers(w.ctx(block{}), alice.id(), slot)
			w.must(err)
			lists = append(lists, observers)
		}
		return lists
	}
	moves := func() (n int) {
		w.must(w.k.moves.Walk(w.ctx(block{}), nil, func(collections.Pair[[]byte, uint64], string) (bool, error) { n++; return false, nil }))
		return n
	}
	renew := func(network string) {
		b, err := w.k.beacon.Get(w.ctx(block{}))
		w.must(err)
		w.must(w.k.renew(w.ctx(block{}), params, b, at(mallory), network))
	}
	before := drawn()
	together := slices.ContainsFunc(before, func(l []sortition.Key) bool { return slices.Contains(l, bob.id()) && slices.Contains(l, mallory.id()) })
	renew(at(bob).Network)
	renew("192.0.2.0/24") // twice in a slot, which the rules of renewing do not allow
	renew(at(bob).Network)
	if !together || !slices.EqualFunc(before, drawn(), slices.Equal) {
		t.Errorf("the two observed in one slot: %v; the observers of slots that have begun changed", together)
	}
	for range 20 {
		w.pass(1)
		observers, _, err := w.k.Observers(w.ctx(block{}), alice.id(), w.slot())
		w.must(err)
		if slices.Contains(observers, bob.id()) && slices.Contains(observers, mallory.id()) {
			t.Error("two of one network observe")
		}
	}
	if moves() != 1 {
		t.Errorf("%d moves are noted, want 1", moves())
	}
	w.pass(5)
	renew("192.0.2.0/24")
	if moves() != 1 {
		t.Errorf("%d moves are noted, want the last one", moves())
	}
}
