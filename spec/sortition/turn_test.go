package sortition

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// key names a node in a test.
func key(name string) (k Key) {
	copy(k[:], name)
	return k
}

// member is a node with an owner and a network of its own.
func member(name string, since uint64) Member {
	return Member{Node: key(name), Owner: name, Network: name, SinceEpoch: since}
}

func claim(name string, rank byte) Candidate {
	return Candidate{Node: key(name), Owner: name, Network: name, Rank: Rank{39: rank}}
}

func names(nodes any) (list []string) {
	name := func(k Key) string { return string(k[:slices.Index(k[:], 0)]) }
	switch nodes := nodes.(type) {
	case []Key:
		for _, k := range nodes {
			list = append(list, name(k))
		}
	case []Candidate:
		for _, c := range nodes {
			list = append(list, name(c.Node))
		}
	}
	return list
}

// with changes one member or claim of a story.
func with[T any](x T, change func(*T)) T {
	change(&x)
	return x
}

func TestTurn(t *testing.T) {
	one := Rules{Seats: 6, PerOwner: 1, PerNetwork: 1, Draw: true}
	seats := func(n uint32) Rules { return Rules{Seats: n, PerOwner: 1, PerNetwork: 1, Draw: true} }
	six := []Member{member("alice", 1), member("bob", 2), member("carol", 3), member("dave", 4), member("erin", 5), member("frank", 6)}
	for name, row := range map[string]struct {
		sitting                   []Member
		claims                    []Candidate
		budget                    uint32
		rules                     Rules
		leave, enter, substitutes []string
	}{
		"the lowest replace those who sat longest": {
			six, []Candidate{claim("zoe", 3), claim("yann", 1), claim("xena", 2)}, 2, one,
			[]string{"alice", "bob"}, []string{"yann", "xena"}, []string{"zoe"},
		},
		"with one claim the second oldest stays on": {six, []Candidate{claim("zoe", 3)}, 2, one, []string{"alice"}, []string{"zoe"}, nil},
		"without claims all stay on":                {six, nil, 2, one, nil, nil, nil},
		"half of the budget is used up":             {six, []Candidate{claim("zoe", 3), claim("yann", 1)}, 1, one, []string{"alice"}, []string{"yann"}, []string{"zoe"}},
		"without a budget nothing changes":          {six, []Candidate{claim("zoe", 3)}, 0, one, nil, nil, []string{"zoe"}},
		"guardians are exempt": {
			[]Member{with(member("alice", 1), func(m *Member) { m.Guardian = true }), member("bob", 2), member("carol", 3)},
			[]Candidate{claim("zoe", 1)}, 1, seats(3), []string{"bob"}, []string{"zoe"}, nil,
		},
		"who asked to goes first, and does not come back by a claim": {
			append(slices.Clone(six[:5]), with(six[5], func(m *Member) { m.Leaving = true })),
			[]Candidate{claim("frank", 1), claim("zoe", 2)}, 2, one, []string{"frank"}, []string{"zoe"}, nil,
		},
		"a young seat's claim is not needed": {six, []Candidate{claim("frank", 1)}, 2, one, nil, nil, nil},
		"an old seat stays by its claim":     {six, []Candidate{claim("alice", 1), claim("zoe", 2)}, 2, one, []string{"bob"}, []string{"alice", "zoe"}, nil},
		"an old seat's claim does not win": {
			six, []Candidate{claim("bob", 3), claim("zoe", 1), claim("yann", 2)}, 2, one, []string{"alice", "bob"}, []string{"zoe", "yann"}, []string{"bob"},
		},
		"one seat grows to two": {six[:1], []Candidate{claim("zoe", 2), claim("yann", 1)}, 1, seats(4), nil, []string{"yann"}, []string{"zoe"}},
		"one or two seats are never replaced": {
			six[:2], []Candidate{claim("zoe", 2)}, 1, seats(2), nil, nil, []string{"zoe"},
		},
		"growing comes first": {six[:3], []Candidate{claim("zoe", 2), claim("yann", 1)}, 1, seats(4), nil, []string{"yann"}, []string{"zoe"}},
		"before the draws a committee only grows": {
			six[:5], []Candidate{claim("zoe", 2), claim("yann", 1)}, 2, Rules{Seats: 6}, nil, []string{"yann"}, []string{"zoe"},
		},
		"a vote made it smaller": {six, []Candidate{claim("zoe", 2)}, 2, seats(3), []string{"alice", "bob"}, nil, []string{"zoe"}},
		"a vote made it smaller by one": {
			six, []Candidate{claim("alice", 1), claim("zoe", 2)}, 2, seats(5), []string{"alice", "bob"}, []string{"zoe"}, []string{"alice"},
		},
		"a vote leaves one seat of two": {six[:2], nil, 1, seats(1), []string{"alice"}, nil, nil},
		"the last seat stays":           {six[:1], nil, 1, seats(0), nil, nil, nil},
		"one seat for an owner": {
			six, []Candidate{with(claim("zoe", 1), func(c *Candidate) { c.Owner = "frank" }), claim("yann", 2)}, 2, one, []string{"alice"}, []string{"yann"}, []string{"zoe"},
		},
		"one seat for a network": {
			six[:5], []Candidate{claim("zoe", 1), with(claim("yann", 2), func(c *Candidate) { c.Network = "zoe" })}, 2, one, nil, []string{"zoe"}, []string{"yann"},
		},
		"an owner's old seat makes room for the new one": {
			six, []Candidate{with(claim("zoe", 1), func(c *Candidate) { c.Owner = "alice" })}, 2, one, []string{"alice"}, []string{"zoe"}, nil,
		},
		"who stayed on counts again": {
			six, []Candidate{with(claim("zoe", 1), func(c *Candidate) { c.Owner, c.Network = "alice", "bob" })}, 2, one, nil, nil, []string{"zoe"},
		},
		"of one epoch, the lower height leaves": {
			append([]Member{with(member("bob", 1), func(m *Member) { m.SinceHeight = 1 })}, with(member("alice", 1), func(m *Member) { m.SinceHeight = 2 }), six[2]),
			[]Candidate{claim("zoe", 1)}, 1, seats(3), []string{"bob"}, []string{"zoe"}, nil,
		},
		"the young do not leave": {
			six, []Candidate{with(claim("zoe", 1), func(c *Candidate) { c.Network = "dave" })}, 2, one, nil, nil, []string{"zoe"},
		},
		"two claims of one node are one": {six, []Candidate{claim("zoe", 1), claim("zoe", 2)}, 2, one, []string{"alice"}, []string{"zoe"}, nil},
	} {
		leave, enter, substitutes := Turn(row.sitting, row.claims, row.budget, row.rules)
		if !slices.Equal(names(leave), row.leave) || !slices.Equal(names(enter), row.enter) || !slices.Equal(names(substitutes), row.substitutes) {
			t.Errorf("%s: %v leave, %v enter, %v stand by", name, names(leave), names(enter), names(substitutes))
		}
	}
}

// TestGuardiansKeepMoreThanAThird lets committees of three to twelve grow while claims come in and some seats are lost, guardians among them.
func TestGuardiansKeepMoreThanAThird(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var sitting []Member
		n := rapid.IntRange(3, 12).Draw(t, "seats")
		for i := range n {
			sitting = append(sitting, with(member(fmt.Sprint("first ", i), 0), func(m *Member) { m.Guardian = i < n/3+1 }))
		}
		share := func() (guardians int, most bool) {
			for _, m := range sitting {
				if m.Guardian {
					guardians++
				}
			}
			return guardians, 3*guardians > len(sitting)
		}
		for epoch := uint64(1); epoch < 12; epoch++ {
			r := Rules{Seats: rapid.SampledFrom([]uint32{uint32(n), 31, 101, 301}).Draw(t, "a vote"), Draw: rapid.Bool().Draw(t, "draw")}
			if lost := rapid.IntRange(0, 3*len(sitting)).Draw(t, "lost"); lost < len(sitting) && len(sitting) > 1 {
				sitting = slices.Delete(sitting, lost, lost+1)
			}
			var claims []Candidate
			for i := range rapid.IntRange(0, 9).Draw(t, "claims") {
				claims = append(claims, claim(fmt.Sprint("epoch ", epoch, " claim ", i), byte(i)))
			}
			size := len(sitting)
			guardians, most := share()
			leave, enter, _ := Turn(sitting, claims, Budget(uint32(size)), r.Guarded(sitting))
			sitting = turned(sitting, leave, enter, epoch)
			after, still := share()
			switch {
			case after != guardians:
				t.Fatalf("%d guardians are %d", guardians, after)
			case most && !still:
				t.Fatalf("%d guardians have %d seats beside them, and had %d", guardians, len(sitting)-guardians, size-guardians)
			case guardians > 1 && !still && len(sitting) >= size:
				t.Fatalf("%d guardians of %d are no more than a third, and it does not shrink", guardians, size)
			case guardians == 1 && len(sitting) < min(size, 4) && r.Seats > 4:
				t.Fatalf("for a lone guardian's sake %d seats are %d", size, len(sitting))
			}
		}
	})
}

func TestGuarded(t *testing.T) {
	for _, row := range []struct{ seats, guardians, sitting, want int }{
		{101, 0, 3, 101}, {101, 34, 101, 101}, {301, 34, 101, 101}, {101, 33, 101, 98}, {101, 2, 3, 5}, {4, 2, 3, 4}, {101, 1, 1, 2}, {101, 1, 2, 2}, {101, 1, 5, 4}, {3, 1, 5, 3},
	} {
		sitting := make([]Member, row.sitting)
		for i := range row.guardians {
			sitting[i].Guardian = true
		}
		if got := (Rules{Seats: uint32(row.seats)}).Guarded(sitting); int(got.Seats) != row.want {
			t.Errorf("%d guardians of %d: %d seats of %d, want %d", row.guardians, row.sitting, got.Seats, row.seats, row.want)
		}
	}
}

func TestReplace(t *testing.T) {
	rules := Rules{Seats: 6, PerOwner: 1, PerNetwork: 1, Draw: true}
	six := []Member{member("alice", 1), member("bob", 2), member("carol", 3), member("dave", 4), member("erin", 5), member("frank", 6)}
	bobs := with(claim("yann", 1), func(c *Candidate) { c.Owner = "bob" })
	for name, row := range map[string]struct {
		sitting      []Member
		gone         string
		subs         []Candidate
		size, budget uint32
		enter        string
		leave        bool
		rest         []string
	}{
		"the first substitute":             {six, "carol", []Candidate{claim("zoe", 2), claim("yann", 1)}, 6, 1, "yann", true, []string{"zoe"}},
		"the first that fits":              {six, "carol", []Candidate{bobs, claim("zoe", 2)}, 6, 1, "zoe", true, []string{"yann"}},
		"the owner's own":                  {six, "bob", []Candidate{bobs, claim("zoe", 2)}, 6, 1, "yann", true, []string{"zoe"}},
		"no budget":                        {six, "carol", []Candidate{claim("zoe", 2)}, 6, 0, "", false, []string{"zoe"}},
		"nobody stands by":                 {six, "carol", nil, 6, 1, "", true, nil},
		"down to two thirds":               {six[:5], "carol", nil, 6, 1, "", true, nil},
		"never below":                      {six[:4], "carol", nil, 6, 1, "", false, nil},
		"never below, but for another one": {six[:4], "carol", []Candidate{claim("zoe", 2)}, 6, 1, "zoe", true, nil},
		"the last seat":                    {six[:1], "alice", nil, 1, 1, "", false, nil},
		"the last seat, for another one":   {six[:1], "alice", []Candidate{claim("zoe", 2)}, 1, 1, "zoe", true, nil},
		"who does not sit":                 {six, "mallory", []Candidate{claim("zoe", 2)}, 6, 1, "", false, []string{"zoe"}},
		"not for itself":                   {six, "carol", []Candidate{claim("carol", 1)}, 6, 1, "", true, nil},
		"nor for one who sits":             {six, "carol", []Candidate{claim("dave", 1)}, 6, 1, "", true, nil},
	} {
		enter, leave, rest := Replace(row.sitting, key(row.gone), row.subs, row.size, row.budget, rules)
		if got := entered(enter); got != row.enter || leave != row.leave || !slices.Equal(names(rest), row.rest) {
			t.Errorf("%s: %q enters, leaves %v, %v stand by", name, got, leave, names(rest))
		}
	}
	if enter, leave, _ := Expel(six[:2], key("alice"), nil, rules); enter != nil || !leave {
		t.Error("a double signer stays because few are left")
	}
	if enter, leave, _ := Expel(six[:1], key("alice"), nil, rules); enter != nil || leave {
		t.Error("nobody is left")
	}
	if enter, leave, _ := Expel(six[:1], key("alice"), []Candidate{claim("zoe", 1)}, rules); entered(enter) != "zoe" || !leave {
		t.Error("the last one, a double signer, stays though zoe stands by")
	}
}

func entered(c *Candidate) string {
	if c == nil {
		return ""
	}
	return names([]Candidate{*c})[0]
}

// history draws a committee and claims from few nodes, owners and networks, so that limits and ties come about often.
func history(t *rapid.T) (sitting []Member, claims []Candidate, r Rules) {
	label := func(kind string, most int) string { return fmt.Sprint(kind, rapid.IntRange(1, most).Draw(t, kind)) }
	sitting = rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) Member {
		return Member{
			Node: Key{byte(rapid.IntRange(1, 30).Draw(t, "node"))}, Owner: label("o", 8), Network: label("n", 8),
			SinceEpoch: rapid.Uint64Range(0, 4).Draw(t, "epoch"), SinceHeight: rapid.Int64Range(0, 3).Draw(t, "height"),
			Guardian: rapid.IntRange(0, 5).Draw(t, "guardian") == 0, Leaving: rapid.IntRange(0, 5).Draw(t, "leaving") == 0,
		}
	}), 1, 20, func(m Member) Key { return m.Node }).Draw(t, "sitting")
	claims = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Candidate {
		return Candidate{Node: Key{byte(rapid.IntRange(1, 40).Draw(t, "node"))}, Owner: label("o", 8), Network: label("n", 8), Rank: Rank{39: byte(rapid.IntRange(0, 9).Draw(t, "rank"))}}
	}), 0, 25).Draw(t, "claims")
	r = Rules{
		Seats: rapid.Uint32Range(1, 24).Draw(t, "seats"), PerOwner: rapid.Uint32Range(0, 2).Draw(t, "per owner"),
		PerNetwork: rapid.Uint32Range(0, 2).Draw(t, "per network"), Draw: rapid.IntRange(0, 3).Draw(t, "draw") > 0,
	}
	return sitting, claims, r
}

// turned applies a turn; a member that sits anew keeps its place and gets a new beginning.
func turned(sitting []Member, leave []Key, enter []Candidate, epoch uint64) []Member {
	next := slices.DeleteFunc(slices.Clone(sitting), func(m Member) bool {
		return slices.Contains(leave, m.Node) || slices.ContainsFunc(enter, func(c Candidate) bool { return c.Node == m.Node })
	})
	for _, c := range enter {
		next = append(next, Member{Node: c.Node, Owner: c.Owner, Network: c.Network, SinceEpoch: epoch})
	}
	return next
}

func sits(sitting []Member, node Key) bool {
	return slices.ContainsFunc(sitting, func(m Member) bool { return m.Node == node })
}

func TestTurnKeepsItsPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sitting, claims, r := history(t)
		budget := rapid.Uint32Range(0, Budget(uint32(len(sitting)))).Draw(t, "budget")
		leave, enter, substitutes := Turn(sitting, claims, budget, r)
		next := turned(sitting, leave, enter, 9)
		before, after, seats := len(sitting), len(next), int(r.Seats)

		if max(len(leave), len(enter)) > int(budget) {
			t.Fatalf("%d leave, %d enter on a budget of %d", len(leave), len(enter), budget)
		}
		switch {
		case after > max(before, seats):
			t.Fatalf("%d of %d seats grow to %d", before, seats, after)
		case after < min(before, seats):
			t.Fatalf("%d of %d seats shrink to %d", before, seats, after)
		}
		if !r.Draw && len(enter) > 0 && len(leave) > 0 {
			t.Fatal("seats are replaced though draws are off")
		}
		if replaced := min(len(leave), len(enter)); replaced > before/3 {
			t.Fatalf("%d of %d seats are replaced", replaced, before)
		}
		for _, m := range sitting {
			if m.Guardian && (slices.Contains(leave, m.Node) || slices.ContainsFunc(enter, func(c Candidate) bool { return c.Node == m.Node })) {
				t.Fatalf("guardian %s is touched", m.Node)
			}
			if m.Leaving && slices.ContainsFunc(enter, func(c Candidate) bool { return c.Node == m.Node }) {
				t.Fatalf("%s asked to leave and sits anew", m.Node)
			}
		}
		seen := map[Key]bool{}
		for _, m := range next {
			if seen[m.Node] {
				t.Fatalf("%s sits twice", m.Node)
			}
			seen[m.Node] = true
		}
		for _, c := range enter {
			if !slices.Contains(claims, c) {
				t.Fatalf("%s never claimed", c.Node)
			}
			within(t, next, c, r)
		}
		for i, c := range substitutes {
			if seen[c.Node] || !slices.Contains(claims, c) || i > 0 && byRank(substitutes[i-1], c) > 0 {
				t.Fatalf("%s stands by", c.Node)
			}
			seen[c.Node] = true
		}
		oldest := leaving(sitting)
		for i, k := range leave {
			if !slices.ContainsFunc(oldest[:min(int(budget), len(oldest))], func(m Member) bool { return m.Node == k }) {
				t.Fatalf("%s leaves before its time", k)
			}
			if !sits(sitting, k) || slices.Index(leave, k) != i || sits(next, k) {
				t.Fatalf("%s leaves", k)
			}
		}
	})
}

// within checks that an entering claim is within the limits of the committee that it enters.
func within(t *rapid.T, next []Member, c Candidate, r Rules) {
	owner, network := uint32(0), uint32(0)
	for _, m := range next {
		if m.Owner == c.Owner {
			owner++
		}
		if m.Network == c.Network {
			network++
		}
	}
	if r.PerOwner > 0 && owner > r.PerOwner || r.PerNetwork > 0 && network > r.PerNetwork {
		t.Fatalf("%s enters: %d seats of its owner, %d of its network", c.Node, owner, network)
	}
}

func TestTheOrderOfInputsDoesNotCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sitting, claims, r := history(t)
		budget := rapid.Uint32Range(0, 8).Draw(t, "budget")
		gone := rapid.SampledFrom(sitting).Draw(t, "gone").Node
		type result struct {
			leave              []Key
			enter, substitutes []Candidate
			sub                *Candidate
			left               bool
			rest               []Candidate
		}
		all := func(sitting []Member, claims []Candidate) (x result) {
			x.leave, x.enter, x.substitutes = Turn(sitting, claims, budget, r)
			x.sub, x.left, x.rest = Replace(sitting, gone, claims, uint32(len(sitting)), budget, r)
			return x
		}
		a, b := slices.Clone(sitting), slices.Clone(claims)
		one := all(sitting, claims)
		if !slices.Equal(a, sitting) || !slices.Equal(b, claims) {
			t.Fatal("the inputs were changed")
		}
		if other := all(rapid.Permutation(sitting).Draw(t, "other sitting"), rapid.Permutation(claims).Draw(t, "other claims")); !reflect.DeepEqual(one, other) {
			t.Fatalf("%+v\n%+v", one, other)
		}
	})
}

// TestTheBestEnter compares Turn with the rule in one sentence, where no limits and no votes complicate it.
func TestTheBestEnter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sitting, claims, _ := history(t)
		for i := range sitting {
			sitting[i].Guardian, sitting[i].Leaving = false, false
		}
		var others []Candidate
		for _, c := range slices.SortedFunc(slices.Values(claims), byRank) {
			if !sits(sitting, c.Node) && !slices.ContainsFunc(others, func(o Candidate) bool { return o.Node == c.Node }) {
				others = append(others, c)
			}
		}
		n := uint32(len(sitting))
		leave, enter, substitutes := Turn(sitting, others, Budget(n), Rules{Seats: n, Draw: true})
		k := min(len(others), len(sitting)/3)
		if !slices.Equal(enter, others[:k]) || !slices.Equal(substitutes, others[k:]) {
			t.Fatalf("of %v enter %v, %v stand by", others, enter, substitutes)
		}
		old := leaving(sitting)
		for i, k := range leave {
			if old[i].Node != k {
				t.Fatalf("%s leaves before %s", k, old[i].Node)
			}
		}
		if len(leave) != k {
			t.Fatalf("%d leave for %d", len(leave), k)
		}
	})
}

// TestEpochs goes through whole histories: absent seats and turns spend one budget.
func TestEpochs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sitting, _, _ := history(t)
		for epoch := uint64(10); epoch < 18; epoch++ {
			_, claims, r := history(t)
			opened, size := slices.Clone(sitting), uint32(len(sitting))
			budget := Budget(size)
			subs := slices.DeleteFunc(slices.Clone(claims), func(c Candidate) bool { return sits(sitting, c.Node) })
			for range rapid.IntRange(0, 6).Draw(t, "absent") {
				gone := rapid.SampledFrom(sitting).Draw(t, "gone").Node
				enter, leave, rest := Replace(sitting, gone, subs, size, budget, r)
				if enter != nil && !leave {
					t.Fatal("one enters and none leaves")
				}
				if subs = rest; !leave {
					continue
				}
				budget--
				var in []Candidate
				if enter != nil {
					in = append(in, *enter)
				}
				if sitting = turned(sitting, []Key{gone}, in, epoch); enter != nil {
					within(t, sitting, *enter, r)
				} else if 3*len(sitting) < 2*int(size) {
					t.Fatalf("%d of %d seats are left", len(sitting), size)
				}
			}
			leave, enter, _ := Turn(sitting, claims, budget, r)
			sitting = turned(sitting, leave, enter, epoch+1)
			kept := 0
			for _, m := range opened {
				if sits(sitting, m.Node) {
					kept++
				}
			}
			if gone := int(size) - kept; gone > int(Budget(size)) || len(sitting) == 0 || len(sitting)-kept > int(Budget(size)) {
				t.Fatalf("%d of %d seats are new, %d gone", len(sitting)-kept, size, gone)
			}
		}
	})
}
