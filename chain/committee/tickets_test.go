package committee

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"
	"time"

	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	"pgregory.net/rapid"

	"github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/spec/sortition"
)

// limitedWorld is a chain with n tickets that gives few new ones a day. It has blocks when the test makes them.
func limitedWorld(t reporter, tickets int, permille, least uint32) *world {
	params := Development()
	params.DaySeconds, params.SlotSeconds, params.TicketDays = 60, 1<<30, 5
	params.NewTicketsPermille, params.NewTicketsMin = permille, least
	w := found(t, storetypes.StoreTypeDB, params, 1, people(1)...)
	w.heartbeat()
	for i := range tickets - 1 {
		w.stranger(&person{name: fmt.Sprint(i)}, sortition.Key(sortition.Genesis(fmt.Sprint("stranger ", i))))
	}
	return w
}

// apply lets n nodes apply, without their proofs, and gives their keys.
func (w *world) applicants(name string, n int) (ids []sortition.Key) {
	w.t.Helper()
	ctx := w.ctx(block{})
	for i := range n {
		id := sortition.Key(sortition.Genesis(fmt.Sprint(name, i)))
		w.registry.nodes[id] = Node{ID: id, Owner: "owner of " + name, Active: true}
		good, err := w.k.takeOut(ctx, w.params(), w.registry.nodes[id], "")
		w.must(err)
		if good {
			w.t.Fatalf("a ticket without a lot")
		}
		ids = append(ids, id)
	}
	return ids
}

// nextDay makes the first block of the next day.
func (w *world) nextDay() {
	w.t.Helper()
	w.quiet(1, time.Second)
	w.blockAfter(time.Minute)
	if !w.change.Day {
		w.t.Fatalf("height %d: not a new day", w.height)
	}
}

func (w *world) holders(ids []sortition.Key) (won []sortition.Key) {
	for _, id := range ids {
		if has, err := w.k.holders.Has(w.ctx(block{}), id[:]); err != nil || has {
			w.must(err)
			won = append(won, id)
		}
	}
	return won
}

func (w *world) waitingNow() uint64 {
	n, err := w.k.waiters.Get(w.ctx(block{}))
	w.must(err)
	return n
}

// Ten a day while there are few tickets; three in a hundred where there are more. The lowest lots of the day win.
func TestDaysLot(t *testing.T) {
	for _, c := range []struct{ tickets, applicants, want int }{
		{1, 25, 10}, {50, 25, 10}, {1000, 45, 30}, {50, 4, 4},
	} {
		w := limitedWorld(t, c.tickets, 30, 10)
		ids := w.applicants("applicant", c.applicants)
		w.nextDay()
		b, err := w.k.beacon.Get(w.ctx(block{}))
		w.must(err)
		won := w.holders(ids)
		if len(won) != c.want || w.waitingNow() != uint64(c.applicants-c.want) {
			t.Fatalf("%d tickets: %d of %d applicants won, %d wait, want %d", c.tickets, len(won), c.applicants, w.waitingNow(), c.want)
		}
		lot := func(id sortition.Key) []byte {
			sum := sha256.Sum256(append(append([]byte("hpips/lot/v1\x00"), b.Seed...), id[:]...))
			return sum[:]
		}
		slices.SortFunc(ids, func(a, b sortition.Key) int { return bytes.Compare(lot(a), lot(b)) })
		for i, id := range ids {
			if slices.Contains(won, id) != (i < c.want) {
				t.Errorf("%d tickets: lot %d won: %v", c.tickets, i, i >= c.want)
			}
		}
		w.quiet(1, time.Second)
		w.block()
		if len(w.holders(ids)) != c.want {
			t.Error("the lot gave more on the same day")
		}
	}
}

// 2,500 nodes apply at once. Each block deals with a bounded share of them; whoever applies after the day's seed is known waits for the next
// day; in the end the lowest lots have won, as if it had been done at once.
func TestLotOfManyGoesInShares(t *testing.T) {
	w := limitedWorld(t, 2, 30, 10)
	ids := w.applicants("applicant", 2500)
	w.nextDay()
	b, err := w.k.beacon.Get(w.ctx(block{}))
	w.must(err)
	late := w.applicants("late", 200)
	shares := 1
	for ; len(w.holders(ids)) == 0; shares++ {
		if shares > 10 {
			t.Fatal("nobody won")
		}
		w.quiet(1, time.Second)
		w.block()
	}
	if shares != 3 {
		t.Errorf("it took %d blocks, want 3", shares)
	}
	drawn := 0
	w.must(w.k.lots.Walk(w.ctx(block{}), nil, func(datedKey) (bool, error) { drawn++; return false, nil }))
	if len(w.holders(late)) > 0 || drawn != 2490 {
		t.Errorf("%d lots are left, want 2490: who applied when the seed was known has none", drawn)
	}
	lot := func(id sortition.Key) []byte {
		sum := sha256.Sum256(append(append([]byte("hpips/lot/v1\x00"), b.Seed...), id[:]...))
		return sum[:]
	}
	won := w.holders(ids)
	slices.SortFunc(ids, func(a, b sortition.Key) int { return bytes.Compare(lot(a), lot(b)) })
	for _, id := range ids[:10] {
		if !slices.Contains(won, id) {
			t.Errorf("%s has one of the ten lowest lots and lost", id)
		}
	}
	if len(won) != 10 || w.waitingNow() != 2690 {
		t.Errorf("%d won, %d wait", len(won), w.waitingNow())
	}
	w.nextDay()
	for range 5 {
		w.quiet(1, time.Second)
		w.block()
	}
	if n := len(w.holders(ids)) + len(w.holders(late)); n != 20 {
		t.Errorf("after two days %d won, want 20", n)
	}
	left := 0
	w.must(w.k.lots.Walk(w.ctx(block{}), nil, func(at datedKey) (bool, error) {
		if left++; at.K1() != 2 {
			t.Errorf("a lot of day %d is left", at.K1())
		}
		return left > 3000, nil
	}))
}

// Who waits may not apply again, unless its keys changed; who was barred meanwhile, or waited until its proofs were too old, is dropped.
func TestWaiting(t *testing.T) {
	w := limitedWorld(t, 1, 0, 1)
	ids := w.applicants("applicant", 40)
	params := w.params()
	mayApply := func(id sortition.Key) error {
		b, err := w.k.beacon.Get(w.ctx(block{}))
		w.must(err)
		_, err = w.k.mayApply(w.ctx(block{}).WithBlockTime(w.now.Add(time.Hour)), params, b, id)
		return err
	}
	wants(t, "second application", mayApply(ids[0]), ErrWaiting)
	n := w.registry.nodes[ids[0]]
	n.KeysHeight = 77
	w.registry.nodes[ids[0]] = n
	wants(t, "application with new keys", mayApply(ids[0]), nil)
	w.must(w.registry.Bar(w.ctx(block{}), ids[1]))
	for day := range 8 {
		w.nextDay()
		switch won := len(w.holders(ids[:2])); {
		case won > 0:
			t.Fatal("who changed keys or was barred won")
		case day == 0 && w.waitingNow() != 37:
			t.Errorf("%d wait after the first day, want 37", w.waitingNow())
		}
	}
	if w.waitingNow() != 0 {
		t.Errorf("%d wait whose proofs are too old", w.waitingNow())
	}
	// A vote lifts the limit: all who wait get their tickets.
	ids = w.applicants("another", 30)
	params.NewTicketsMin = 0
	w.must(w.k.setParams(w.ctx(block{}), params))
	w.nextDay()
	if len(w.holders(ids)) != 30 {
		t.Errorf("%d of 30 got a ticket", len(w.holders(ids)))
	}
}

// Tickets run out a thousand a block. One that ran out does not count meanwhile, though it is not swept yet.
func TestExpiryGoesInShares(t *testing.T) {
	params := Development()
	params.TicketDays, params.SlotSeconds = 1, 1<<30
	all := people(1)
	w := found(t, storetypes.StoreTypeDB, params, 1, all...)
	w.heartbeat()
	ctx := w.ctx(block{})
	b, err := w.k.beacon.Get(ctx)
	w.must(err)
	for i := range 2500 {
		id := sortition.Key(sortition.Genesis(fmt.Sprint("stranger ", i)))
		w.must(w.k.admit(ctx, b, committeev1.Ticket{Node: id[:], Owner: "one", Network: "n", ConsensusKey: id[:], VrfKey: id[:], UntilDay: 1}))
	}
	w.nextDay()
	if n := w.k.Tickets(w.ctx(block{})); n != 2501 {
		t.Fatalf("%d tickets on the last day", n)
	}
	opened := w.height
	w.nextDay()
	wants(t, "a ticket that ran out", refusal(w.k.goodTicket(w.ctx(block{}), all[0].id(), w.k.Day(w.ctx(block{})))), ErrTicket)
	for _, want := range []uint64{1501, 501, 0, 0} {
		if n := w.k.Tickets(w.ctx(block{})); n != want {
			t.Errorf("%d tickets, want %d", n, want)
		}
		w.quiet(1, time.Second)
		w.block()
	}
	if n := w.k.TicketsOf(w.ctx(block{}), "one", opened); n != 2500 {
		t.Errorf("a vote opened before that counts %d", n)
	}
	if n := w.k.TicketsOf(w.ctx(block{}), "one", w.height); n != 0 {
		t.Errorf("a vote opened now counts %d", n)
	}
}

// The chain stood still, so that nobody could observe carol's five nodes. Where networks are limited they share one, and weigh as one.
func TestTheUnseenShareANetwork(t *testing.T) {
	for limit, want := range map[uint32]uint64{0: 1, 1: 5} {
		w := limitedWorld(t, 1, 0, 0)
		params := w.params()
		params.SeatsPerNetwork = limit
		ctx := w.ctx(block{})
		for i := range 5 {
			id := sortition.Key(sortition.Genesis(fmt.Sprint("carol ", i)))
			w.registry.nodes[id] = Node{ID: id, Owner: "carol", Active: true}
			_, err := w.k.takeOut(ctx, params, w.registry.nodes[id], "")
			w.must(err)
			ticket, err := w.k.ticket(ctx, id[:])
			w.must(err)
			if n, err := w.k.inNetwork(ctx, ticket.Network); err != nil || i == 4 && n != want {
				t.Errorf("limit %d: %d tickets in the network of the last one, want %d: %v", limit, n, want, err)
			}
		}
	}
}

// Where keys need no age, a node may change them and take out a ticket twice in one block. Both have the same place on the ring: when the first
// one's time to be forgotten comes, the second one stays.
func TestTwoTicketsOfOneBlock(t *testing.T) {
	w := limitedWorld(t, 1, 0, 0)
	ctx := w.ctx(block{})
	id := sortition.Key(sortition.Genesis("hasty"))
	for keys := range int64(2) {
		w.registry.nodes[id] = Node{ID: id, Owner: "owner", Active: true, KeysHeight: keys}
		_, err := w.k.takeOut(ctx, w.params(), w.registry.nodes[id], "")
		w.must(err)
	}
	b, err := w.k.beacon.Get(ctx)
	w.must(err)
	b.Slot += 1000
	if _, err := w.k.bury(ctx, w.params(), b, 10); err != nil {
		t.Fatal(err)
	}
	wants(t, "the ticket", refusal(w.k.goodTicket(ctx, id, b.Day)), nil)
}

func refusal(_ committeev1.Ticket, _ Node, err error) error { return err }

// Whatever comes and goes, the running numbers are what counting everything gives, and every index agrees with the tickets.
func TestIndexesAgree(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		params := Development()
		params.DaySeconds, params.SlotSeconds, params.TicketDays = 60, 20, 3
		params.NewTicketsMin = uint32(rapid.IntRange(0, 3).Draw(r, "limit"))
		w := found(r, storetypes.StoreTypeDB, params, 1, people(1)...)
		w.heartbeat()
		var ids []sortition.Key
		for i := range 12 {
			id := sortition.Key(sortition.Genesis(fmt.Sprint("node ", i)))
			w.registry.nodes[id] = Node{ID: id, Owner: fmt.Sprint("owner ", i%4), Active: true}
			ids = append(ids, id)
		}
		for range rapid.IntRange(1, 60).Draw(r, "steps") {
			id := rapid.SampledFrom(ids).Draw(r, "who")
			ctx := w.ctx(block{})
			switch rapid.IntRange(0, 5).Draw(r, "what") {
			case 0, 1:
				network := rapid.SampledFrom([]string{"", "a", "b"}).Draw(r, "network")
				if has, _ := w.k.waiting.Has(ctx, id[:]); !has {
					_, err := w.k.takeOut(ctx, params, w.registry.nodes[id], network)
					w.must(err)
				}
			case 2:
				w.must(w.k.Forget(ctx, id))
			case 3:
				n := w.registry.nodes[id]
				n.KeysHeight++
				w.registry.nodes[id] = n
			case 4:
				w.nextDay()
			case 5:
				w.quiet(1, time.Second)
				w.blockAfter(25 * time.Second)
			}
			w.must(w.k.checkState(w.ctx(block{})))
			w.checkIndexes(r)
		}
	})
}

func (w *world) checkIndexes(r *rapid.T) {
	ctx := w.ctx(block{})
	networks := map[string]uint64{}
	total := uint64(0)
	w.must(w.k.ring.Walk(ctx, nil, func(point []byte, t committeev1.Ticket) (bool, error) {
		gone, err := w.k.owners.Get(ctx, ownerKey(t.Owner, point))
		w.must(err)
		if good := t.UntilSlot == forever; good != (gone == 0) {
			r.Fatalf("ticket %x: good %v, gone at %d", point, good, gone)
		} else if good {
			networks[t.Network]++
			total++
			if has, _ := w.k.expiry.Has(ctx, datedAt(t.UntilDay, t.Node)); !has {
				r.Fatalf("ticket %x never runs out", point)
			}
		}
		return false, nil
	}))
	if n := w.k.Tickets(ctx); n != total {
		r.Fatalf("%d tickets are counted, %d are there", n, total)
	}
	w.must(w.k.networks.Walk(ctx, nil, func(network string, n uint64) (bool, error) {
		if n != networks[network] {
			r.Fatalf("network %q: %d are counted, %d are there", network, n, networks[network])
		}
		total -= n
		return false, nil
	}))
	if total != 0 {
		r.Fatalf("%d tickets are in no network", total)
	}
	w.must(w.k.graves.Walk(ctx, nil, func(at datedKey) (bool, error) {
		t, err := w.k.ring.Get(ctx, at.K2())
		w.must(err)
		if t.UntilSlot == forever {
			r.Fatalf("ticket %x is good and has a grave", at.K2())
		}
		return false, nil
	}))
	expire, waiting := uint64(0), uint64(0)
	w.must(w.k.expiry.Walk(ctx, nil, func(datedKey) (bool, error) { expire++; return false, nil }))
	w.must(w.k.waiting.Walk(ctx, nil, func([]byte, committeev1.Ticket) (bool, error) { waiting++; return false, nil }))
	if n, _ := w.k.waiters.Get(ctx); n != waiting || expire != w.k.Tickets(ctx) {
		r.Fatalf("%d wait, %d are counted; %d run out of %d tickets", waiting, n, expire, w.k.Tickets(ctx))
	}
}
