package seat

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/hpips/hpips/spec/sortition"
)

func dos(v view) (all []what) {
	for _, s := range next(v) {
		all = append(all, s.What)
	}
	return all
}

func TestWhatIsDue(t *testing.T) {
	lucky, unlucky := sortition.Output{}, sortition.Output{0xff}
	at := func(change func(*view)) view {
		v := view{Output: lucky, Head: Head{Height: 105, Day: 10, Slot: 500, Rules: Rules{ClaimBlocks: 15, TicketDays: 8, Window: 168},
			Epoch: Epoch{Number: 7, Opened: 101, Threshold: sortition.Threshold{0x10}},
			Place: Place{Registered: true, Neighbours: 1, Ticket: &Ticket{Since: 90, Until: 15, Good: true}}}}
		change(&v)
		return v
	}
	for name, row := range map[string]struct {
		change func(*view)
		want   []what
	}{
		"a lucky draw":                 {func(*view) {}, []what{claim, forget}},
		"a crowded network":            {func(v *view) { v.Output, v.Place.Neighbours = sortition.Output{0x04}, 5 }, []what{forget}},
		"the same, less crowded":       {func(v *view) { v.Output, v.Place.Neighbours = sortition.Output{0x04}, 3 }, []what{claim, forget}},
		"an unlucky draw":              {func(v *view) { v.Output = unlucky }, []what{forget}},
		"claimed already":              {func(v *view) { v.Place.Claimed = true }, []what{forget}},
		"handed in just now":           {func(v *view) { v.Tried.claim = 102 }, []what{forget}},
		"handed in, and lost":          {func(v *view) { v.Tried.claim = 101 }, []what{claim, forget}},
		"the last block for claims":    {func(v *view) { v.Height = 114 }, []what{claim, forget}},
		"too late":                     {func(v *view) { v.Height = 115 }, []what{forget}},
		"the epoch is not open":        {func(v *view) { v.Epoch.Opened = 0 }, []what{forget}},
		"a ticket as old as the seed":  {func(v *view) { v.Place.Ticket.Since = 101 }, []what{forget}},
		"a ticket for other keys":      {func(v *view) { v.Place.Ticket.Good = false }, []what{apply, forget}},
		"no ticket":                    {func(v *view) { v.Place.Ticket = nil }, []what{apply, forget}},
		"no ticket, and a reason":      {func(v *view) { v.Place.Ticket, v.Place.Reason = nil, "keys are too young" }, []what{forget}},
		"waiting for the lot":          {func(v *view) { v.Place.Ticket, v.Place.Waiting = nil, true }, []what{forget}},
		"a day before the last":        {func(v *view) { v.Output, v.Day = unlucky, 14 }, []what{forget}},
		"the ticket's last day":        {func(v *view) { v.Output, v.Day = unlucky, 15 }, []what{apply, forget}},
		"asked for already":            {func(v *view) { v.Place.Ticket, v.Tried.apply = nil, 105 }, []what{forget}},
		"testimony was lacking":        {func(v *view) { v.Place.Ticket, v.Tried.lacking = nil, 500 }, []what{forget}},
		"a slot later":                 {func(v *view) { v.Place.Ticket, v.Tried.lacking = nil, 499 }, []what{apply, forget}},
		"the owner wants it to rest":   {func(v *view) { v.Resting = 8 }, []what{forget}},
		"it has rested":                {func(v *view) { v.Resting = 7 }, []what{claim, forget}},
		"an observer is silent":        {func(v *view) { v.Output, v.Missing, v.Ask = unlucky, []sortition.Key{{1}}, true }, []what{ask, forget}},
		"it was asked a moment ago":    {func(v *view) { v.Output, v.Missing = unlucky, []sortition.Key{{1}} }, []what{forget}},
		"catching up":                  {func(v *view) { v.CatchingUp = true }, nil},
		"not registered":               {func(v *view) { v.Place.Registered = false }, nil},
		"an hour after the beginning":  {func(v *view) { v.Output, v.Slot = unlucky, 2 }, nil},
		"the window has just been met": {func(v *view) { v.Output, v.Slot = unlucky, 169 }, nil},
	} {
		if got := dos(at(row.change)); !slices.Equal(got, row.want) {
			t.Errorf("%s: %v, want %v", name, got, row.want)
		}
	}
}

// Testimony that a ticket can be asked about is never forgotten: the window is what the chain picks from.
func TestTheWindowIsKept(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := view{Head: Head{Place: Place{Registered: true}}}
		v.Slot, v.Rules.Window = rapid.Uint64().Draw(t, "slot"), rapid.Uint64Range(1, 1000).Draw(t, "window")
		for _, s := range next(v) {
			if s.What == forget && s.Before > v.Slot-v.Rules.Window {
				t.Fatalf("slot %d, window %d: slots before %d are forgotten", v.Slot, v.Rules.Window, s.Before)
			}
		}
	})
}

func TestNoMoreTestimonyIsSentThanIsNeeded(t *testing.T) {
	a, b, c := sortition.Key{1}, sortition.Key{2}, sortition.Key{3}
	say := func(who ...sortition.Key) map[sortition.Key]kept {
		all := map[sortition.Key]kept{}
		for _, k := range who {
			all[k] = kept{network: "local", bytes: k[:1]}
		}
		return all
	}
	torn := say(a, b, c)
	torn[b] = kept{network: "192.0.2.0/24", bytes: b[:1]}
	three := Observers{Nodes: []sortition.Key{a, b, c}, Needed: 2}
	for name, row := range map[string]struct {
		slots    []heardSlot
		needed   uint32
		receipts int
		missing  int
	}{
		"all testify":                 {[]heardSlot{{three, say(a, b, c)}, {three, say(a, b, c)}}, 1, 2, 0},
		"just enough":                 {[]heardSlot{{three, say(a)}, {three, say(b, c)}}, 1, 2, 0},
		"two say the same":            {[]heardSlot{{three, torn}}, 1, 2, 0},
		"two say different things":    {[]heardSlot{{Observers{Nodes: []sortition.Key{a, b}, Needed: 2}, torn}}, 1, 0, 1},
		"a stranger does not count":   {[]heardSlot{{Observers{Nodes: []sortition.Key{a, b}, Needed: 2}, say(a, c)}}, 1, 0, 1},
		"one slot of two":             {[]heardSlot{{three, say(a, b)}, {three, nil}}, 2, 2, 1},
		"nobody could have testified": {[]heardSlot{{Observers{}, nil}}, 1, 0, 0},
		"nothing is asked":            {nil, 0, 0, 0},
	} {
		got, missing := gather(row.slots, row.needed)
		if len(got) != row.receipts || missing != row.missing {
			t.Errorf("%s: %d receipts, %d missing", name, len(got), missing)
		}
	}
}

func FuzzQuestion(f *testing.F) {
	f.Add([]byte{0xa2})
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = parseQuestion(b)
		_, _ = sound(b)
	})
}
