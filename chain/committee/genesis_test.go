package committee

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"

	"github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/spec/sortition"
)

// A block that has to carry no seed leaves the state as it is, to the last bit, and an idle chain alternates: heartbeat, quiet block.
func TestQuietBlocksWriteNothing(t *testing.T) {
	w, all := settled(t, 4, 2)
	params := w.params()
	params.EpochBlocks = 1000
	w.must(w.k.setParams(w.ctx(block{}), params))
	w.threshold(0xff)
	w.must(w.block(w.claim(all[4]))[0])
	all[3].stopped = true
	last := w.store.Commit().Hash
	for range 50 {
		w.blockAfter(30 * time.Second)
		hash := w.store.Commit().Hash
		b, err := w.k.beacon.Get(w.ctx(block{}))
		w.must(err)
		if carried := b.Height == w.height; carried == bytes.Equal(hash, last) {
			t.Fatalf("height %d: carried a seed: %v, state is the same: %v", w.height, carried, !carried)
		}
		if ctx := w.ctx(block{}); b.Height != w.height {
			updates, err := w.m.EndBlock(ctx)
			w.must(err)
			if again := w.store.Commit().Hash; len(updates) > 0 || !bytes.Equal(again, hash) {
				t.Fatalf("height %d: the end of a quiet block changed something", w.height)
			}
			// Not even what is due: somebody who asked to leave waits for the next seeded block.
			due, _ := ctx.CacheContext()
			s, err := w.k.seatOf(due, all[2].node[32:])
			w.must(err)
			s.Leaving = true
			w.must(w.k.seats.Set(due, s.Node, s))
			w.must(w.k.standBy(due, 1, []sortition.Candidate{{Node: all[5].id()}}))
			if updates, err = w.m.EndBlock(due); err != nil || len(updates) > 0 {
				t.Fatalf("height %d: a quiet block replaced a seat: %v, %v", w.height, updates, err)
			}
		}
		last = hash
	}
	b, err := w.k.beacon.Get(w.ctx(block{}))
	w.must(err)
	if b.Index != 27 || w.height != 52 {
		t.Errorf("%d of %d blocks carried a seed, want every second", b.Index, w.height)
	}
}

// A chain that stood still for thirty hours changes its day once, in the first block after.
func TestDayChangesOnceAfterHalt(t *testing.T) {
	all := people(4)
	w := found(t, storetypes.StoreTypeIAVL, hourly(), 4, all...)
	changes := 0
	count := func() {
		if w.change.Day {
			changes++
		}
	}
	for range 50 {
		before, err := w.k.beacon.Get(w.ctx(block{}))
		w.must(err)
		w.pass(1)
		count()
		if seed, err := w.k.slots.Get(w.ctx(block{}), w.slot()); err != nil || !bytes.Equal(seed, before.Seed) {
			t.Fatalf("the slot's seed is not the one at its beginning: %v", err)
		}
	}
	if changes != 0 || w.k.Day(w.ctx(block{})) != 0 {
		t.Fatalf("%d changes in the first hour", changes)
	}
	w.quiet(1, time.Second)
	w.blockAfter(30 * time.Hour)
	count()
	if changes != 1 || w.k.Day(w.ctx(block{})) != 30 {
		t.Fatalf("%d changes, day %d", changes, w.k.Day(w.ctx(block{})))
	}
	for range 5 {
		w.pass(1)
		count()
	}
	if changes != 1 {
		t.Errorf("the day changed %d times", changes)
	}
	for range 55 {
		w.pass(1)
		count()
	}
	if changes != 2 || w.k.Day(w.ctx(block{})) != 31 {
		t.Errorf("%d changes, day %d", changes, w.k.Day(w.ctx(block{})))
	}
}

// In the middle of an epoch the state is taken out, read in again, and both chains go on alike.
func TestExportImport(t *testing.T) {
	all := people(14)
	params := Development()
	params.Seats, params.NewTicketsMin, params.DaySeconds, params.EpochBlocks = 5, 2, 60, 60
	a := found(t, storetypes.StoreTypeIAVL, params, 5, all...)
	for _, p := range all[5:11] {
		a.ticketed(p, "network of "+p.name)
	}
	for range 3 {
		a.turn(all[:11])
	}
	a.heartbeat()
	a.threshold(0xff)
	a.must(a.block(a.claim(all[6]), a.claim(all[9]))[0])
	applicants := a.applicants("applicant", 5)
	a.must(a.k.Forget(a.ctx(block{}), all[7].id()))
	for _, p := range all {
		p.stopped = a.sits(p) // one of them
		if p.stopped {
			break
		}
	}
	a.evidence = []offender{{all[10], a.height}}
	for range 4 {
		a.heartbeat()
	}

	state := a.m.ExportGenesis(a.ctx(block{}), nil)
	b := bare(t, storetypes.StoreTypeIAVL, all...)
	*b.registry, *b.bank = *a.registry, *a.bank
	b.height, b.now = a.height, a.now
	b.begin(state)
	b.last, b.voters, b.next = a.last, a.voters, a.next
	if again := b.m.ExportGenesis(b.ctx(block{}), nil); !bytes.Equal(state, again) {
		t.Fatalf("read in and taken out again, the state differs: %s", difference(state, again))
	}
	for _, w := range []*world{a, b} {
		w.luck = rand.New(rand.NewPCG(3, 4))
		w.close()
		if len(w.added) == 0 {
			t.Error("nobody entered by the claims made before: the test shows less than it should")
		}
	}
	for round := range 6 {
		for _, w := range []*world{a, b} {
			w.turn(slices.Concat(all[:7], all[8:10]))
			w.nextDay()
		}
		x, y := a.m.ExportGenesis(a.ctx(block{}), nil), b.m.ExportGenesis(b.ctx(block{}), nil)
		if !bytes.Equal(x, y) || !slices.EqualFunc(a.next, b.next, bytes.Equal) {
			t.Fatalf("round %d: the chains differ: %s", round, difference(x, y))
		}
	}
	if len(a.holders(applicants)) == 0 {
		t.Error("no applicant won: the test shows less than it should")
	}
}

func difference(a, b []byte) string {
	x, y := strings.Split(string(a), "\n"), strings.Split(string(b), "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return x[i] + " / " + y[i]
		}
	}
	return "one is longer"
}

// Mallory edits the genesis. Each is refused; none gets as far as a block.
func TestGenesisRefused(t *testing.T) {
	all := people(3)
	w := bare(t, storetypes.StoreTypeIAVL, all...)
	node := func(i int) GenesisNode { return w.genesisNode(i, all[i]) }
	for name, nodes := range map[string][]GenesisNode{
		"nobody":          nil,
		"one node twice":  {node(0), node(0)},
		"more than seats": {node(0), node(1), node(2), {}, {}},
		"a consensus key twice": {node(0), func() GenesisNode {
			n := node(1)
			n.Consensus = node(0).Consensus
			return n
		}()},
	} {
		state, err := Genesis(Development(), chainID, began, nodes)
		if err == nil {
			fresh := bare(t, storetypes.StoreTypeIAVL)
			_, err = fresh.m.initGenesis(fresh.ctx(block{}), state)
		}
		if err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	impossible := Development()
	impossible.AbsenceWindow = 65
	_, err := Genesis(impossible, chainID, began, []GenesisNode{node(0)})
	wants(t, "parameters", err, ErrParams)

	good, err := Genesis(Development(), chainID, began, []GenesisNode{node(0), node(1)})
	w.must(err)
	for name, edit := range map[string]func(m map[string]any){
		"no beacon":   func(m map[string]any) { m["beacon"] = []any{} },
		"no epoch":    func(m map[string]any) { delete(m, "epoch") },
		"no seat":     func(m map[string]any) { m["seats"] = []any{} },
		"a count":     func(m map[string]any) { value(m, "tickets", func(e map[string]any) { e["value"] = "3" }) },
		"a short key": func(m map[string]any) { field(m, "seats", "vrf_key", "AAAA") },
		"a short point": func(m map[string]any) {
			field(m, "ring", "point", "AAAA")
		},
		"another's seat": func(m map[string]any) { field(m, "seats", "node", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=") },
		"a short seed":   func(m map[string]any) { field(m, "beacon", "seed", "AAAA") },
	} {
		var m map[string]any
		w.must(json.Unmarshal(good, &m))
		edit(m)
		bad, err := json.Marshal(m)
		w.must(err)
		fresh := bare(t, storetypes.StoreTypeIAVL)
		if _, err := fresh.m.initGenesis(fresh.ctx(block{}), bad); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := w.m.initGenesis(w.ctx(block{}), w.m.DefaultGenesis(nil)); err == nil {
		t.Error("a chain without seats began")
	}
	if err := w.m.ValidateGenesis(nil, nil, json.RawMessage(`{"seats": [{"key": "zz"}]}`)); err == nil {
		t.Error("a key that is none was taken")
	}
	if err := w.m.ValidateGenesis(nil, nil, json.RawMessage(`{}`)); err != nil {
		t.Errorf("absent fields are empty ones: %v", err)
	}
}

func value(m map[string]any, collection string, change func(entry map[string]any)) {
	change(m[collection].([]any)[0].(map[string]any))
}

func field(m map[string]any, collection, name string, to any) {
	value(m, collection, func(e map[string]any) { e["value"].(map[string]any)[name] = to })
}

// Only a vote changes parameters, only to possible ones, and never the length of days and slots.
func TestParams(t *testing.T) {
	for name, p := range map[string]committeev1.Params{"public": Public(), "development": Development()} {
		if err := Check(p); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	w, _ := settled(t, 4, 0)
	set := func(who string, change func(p *committeev1.Params)) error {
		p := w.params()
		change(&p)
		ctx, _ := w.ctx(block{}).CacheContext()
		_, err := msgs{w.k}.UpdateParams(ctx, &committeev1.MsgUpdateParams{Authority: who, Params: p})
		return err
	}
	wants(t, "a vote", set("gov", func(p *committeev1.Params) { p.Seats = 7 }), nil)
	wants(t, "somebody", set("hpips1somebody", func(p *committeev1.Params) { p.Seats = 7 }), ErrAuthority)
	for name, change := range map[string]func(p *committeev1.Params){
		"no seats":              func(p *committeev1.Params) { p.Seats = 0 },
		"a million seats":       func(p *committeev1.Params) { p.Seats = 1_000_000 },
		"no epoch":              func(p *committeev1.Params) { p.EpochBlocks = 0 },
		"claims after the end":  func(p *committeev1.Params) { p.ClaimBlocks = p.EpochBlocks },
		"other days":            func(p *committeev1.Params) { p.DaySeconds++ },
		"other slots":           func(p *committeev1.Params) { p.SlotSeconds++ },
		"days of nothing":       func(p *committeev1.Params) { p.DaySeconds = 0 },
		"slots of nothing":      func(p *committeev1.Params) { p.SlotSeconds = 0 },
		"a window of 65":        func(p *committeev1.Params) { p.AbsenceWindow = 65 },
		"no window":             func(p *committeev1.Params) { p.AbsenceWindow = 0 },
		"more than the window":  func(p *committeev1.Params) { p.AbsenceMissed = p.AbsenceWindow + 1 },
		"more than is picked":   func(p *committeev1.Params) { p.NeededSlots = p.PickedSlots + 1 },
		"more than who observe": func(p *committeev1.Params) { p.Signatures = p.Observers + 1 },
		"a negative height":     func(p *committeev1.Params) { p.GuardianHeight = -1 },
		"nothing":               func(p *committeev1.Params) { *p = committeev1.Params{} },
	} {
		wants(t, name, set("gov", change), ErrParams)
	}
	empty := bare(t, storetypes.StoreTypeIAVL)
	if p, err := empty.k.Params(empty.ctx(block{})); err != nil || p != Public() {
		t.Errorf("parameters that were never set: %v, %v", p, err)
	}
}

// A proposer who does not sit, or whose proof is another's, for another height, or garbage, extends nothing.
func TestSeedRefused(t *testing.T) {
	w, all := settled(t, 4, 1)
	w.quiet(2, time.Second)
	ctx := w.ctx(block{}).WithBlockHeight(w.height + 1)
	alpha, err := w.k.Alpha(ctx)
	w.must(err)
	prove := func(p *person, alpha []byte) sortition.Proof {
		proof, err := sortition.Prove(p.vrf, alpha)
		w.must(err)
		return proof
	}
	_, err = w.k.CheckSeed(ctx, all[0].votes(), prove(all[0], alpha))
	wants(t, "a seat", err, nil)
	_, err = w.k.CheckSeed(ctx, all[4].votes(), prove(all[4], alpha))
	wants(t, "who does not sit", err, ErrSeed)
	_, err = w.k.CheckSeed(ctx, all[0].votes(), prove(all[1], alpha))
	wants(t, "another's proof", err, ErrSeed)
	_, err = w.k.CheckSeed(ctx.WithBlockHeight(w.height+2), all[0].votes(), prove(all[0], alpha))
	wants(t, "another height's", err, ErrSeed)
	_, err = w.k.CheckSeed(ctx.WithChainID("other-1"), all[0].votes(), prove(all[0], alpha))
	wants(t, "another chain's", err, ErrSeed)
	_, err = w.k.CheckSeed(ctx, nil, sortition.Proof{})
	wants(t, "nothing", err, ErrSeed)
}

// All questions about a node and the lists answer, and refuse keys that are none.
func TestQueries(t *testing.T) {
	w, all := settled(t, 4, 3)
	q, ctx := queries{w.k, "some work"}, w.ctx(block{})
	ticket, err := q.Ticket(ctx, &committeev1.QueryTicketRequest{Node: all[0].node[32:]})
	w.must(err)
	if !ticket.Seated || ticket.Claimed || ticket.Ticket == nil || ticket.NetworkTickets != 1 || ticket.Asks != "some work" || !strings.Contains(ticket.Reason, ErrEarly.Error()) {
		t.Errorf("ticket: %v", ticket)
	}
	tickets, err := q.Tickets(ctx, &committeev1.QueryTicketsRequest{})
	w.must(err)
	if len(tickets.Tickets) != 7 {
		t.Errorf("%d tickets", len(tickets.Tickets))
	}
	w.evidence = []offender{{all[6], w.height}}
	w.block()
	offences, err := q.Offences(w.ctx(block{}), &committeev1.QueryOffencesRequest{})
	w.must(err)
	if len(offences.Offences) != 1 {
		t.Errorf("%d offences", len(offences.Offences))
	}
	slot := w.slot()
	picks, err := q.Picks(ctx, &committeev1.QueryPicksRequest{Node: all[0].node[32:], Slot: slot})
	w.must(err)
	observers, err := q.Observers(ctx, &committeev1.QueryObserversRequest{Node: all[0].node[32:], Slot: slot})
	w.must(err)
	if len(picks.Slots) != 0 || picks.Needed != 0 || len(observers.Observers) > 8 {
		t.Errorf("picks %v, observers %v", picks, observers)
	}
	if _, err := q.Picks(ctx, &committeev1.QueryPicksRequest{Node: all[0].node[32:], Slot: slot + 9}); err == nil {
		t.Error("picks of a slot to come")
	}
	for _, node := range [][]byte{nil, {1}, make([]byte, 33)} {
		_, a := q.Ticket(ctx, &committeev1.QueryTicketRequest{Node: node})
		_, b := q.Picks(ctx, &committeev1.QueryPicksRequest{Node: node})
		_, c := q.Observers(ctx, &committeev1.QueryObserversRequest{Node: node})
		if a == nil || b == nil || c == nil {
			t.Errorf("a key of %d bytes was taken", len(node))
		}
	}
	if p, err := q.Params(ctx, nil); err != nil || p.Params.Seats != 4 {
		t.Errorf("params %v, %v", p, err)
	}
}
