package committee

import (
	"fmt"
	"testing"
	"time"

	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
)

// Guardians are ordinary seats which the draw passes over, until there were enough tickets for enough days running.
func TestGuardians(t *testing.T) {
	all := people(12)
	params := Development()
	params.Seats, params.GuardianTickets, params.GuardianDays = 6, 12, 3
	w := bare(t, storetypes.StoreTypeIAVL, all...)
	var nodes []GenesisNode
	for i, p := range all[:6] {
		n := w.genesisNode(i, p)
		n.Guardian = i < 3
		nodes = append(nodes, n)
	}
	state, err := Genesis(params, chainID, began, nodes)
	w.must(err)
	w.begin(state)
	for _, p := range all[6:11] {
		w.ticketed(p, "network of "+p.name)
	}
	for range 12 {
		w.turn(all[:11])
	}
	for _, p := range all[:3] {
		if !w.sits(p) {
			t.Fatalf("the draw sent a guardian away: %s", p.name)
		}
	}
	if e := w.epoch(); e.GuardiansEnded || e.GuardedDays != 0 {
		t.Fatalf("guardians end at eleven tickets: %v", e)
	}
	w.ticketed(all[11], "network of "+all[11].name)
	for day := uint32(1); day <= 3; day++ {
		if w.epoch().GuardiansEnded {
			t.Fatalf("guardians ended on day %d", day)
		}
		w.quiet(1, time.Second)
		w.blockAfter(time.Minute)
	}
	if !w.epoch().GuardiansEnded {
		t.Fatal("guardians did not end after three days")
	}
	for range 12 {
		w.turn(all)
	}
	for _, p := range all[:3] {
		if s, err := w.k.seatOf(w.ctx(block{}), p.node[32:]); err == nil && s.SinceEpoch == 0 {
			t.Errorf("%s sits as if it were a guardian still", p.name)
		}
	}
}

// A committee that begins with three seats, two of them guardians', grows to five, whatever the parameters, and a vote changes nothing about that: so guardians
// stay more than a third. When their time is over it grows on.
func TestGuardiansAreNotOutgrown(t *testing.T) {
	all := people(14)
	params := Development()
	params.Seats, params.GuardianTickets, params.GuardianDays = 9, 0, 0
	w := bare(t, storetypes.StoreTypeIAVL, all...)
	var nodes []GenesisNode
	for i, p := range all[:3] {
		n := w.genesisNode(i, p)
		n.Guardian = i < 2
		nodes = append(nodes, n)
	}
	state, err := Genesis(params, chainID, began, nodes)
	w.must(err)
	w.begin(state)
	for _, p := range all[3:] {
		w.ticketed(p, "network of "+p.name)
	}
	grow := func(epochs int) string {
		var sizes []int
		for range epochs {
			w.threshold(0xff)
			w.turn(all)
			sizes = append(sizes, w.size())
		}
		return fmt.Sprint(sizes)
	}
	if got := grow(5); got != "[4 5 5 5 5]" {
		t.Errorf("sizes with two guardians: %s", got)
	}
	w.setSeats(12)
	if got := grow(3); got != "[5 5 5]" {
		t.Errorf("sizes after a vote: %s", got)
	}
	if !w.sits(all[0]) || !w.sits(all[1]) || w.epoch().GuardiansEnded {
		t.Fatal("the guardians are gone")
	}
	now := w.params()
	now.GuardianHeight = w.height
	w.must(w.k.params.Set(w.ctx(block{}), now))
	if got := grow(5); got != "[6 8 10 12 12]" || !w.epoch().GuardiansEnded {
		t.Errorf("sizes without guardians: %s", got)
	}
}

// Guardians end at a height, if one is set, with the first epoch that closes from there on.
func TestGuardiansEndAtHeight(t *testing.T) {
	all := people(8)
	params := Development()
	params.Seats, params.GuardianHeight = 6, 50
	w := bare(t, storetypes.StoreTypeIAVL, all...)
	var nodes []GenesisNode
	for i, p := range all[:6] {
		n := w.genesisNode(i, p)
		n.Guardian = i < 3
		nodes = append(nodes, n)
	}
	state, err := Genesis(params, chainID, began, nodes)
	w.must(err)
	w.begin(state)
	for range 4 {
		w.turn(nil)
		guards := 0
		seats, err := w.k.sitting(w.ctx(block{}))
		w.must(err)
		for _, s := range seats {
			if s.Guardian {
				guards++
			}
		}
		if over := w.height >= 50; w.epoch().GuardiansEnded != over || guards == 0 != over {
			t.Errorf("height %d: %d guardians", w.height, guards)
		}
	}
}
