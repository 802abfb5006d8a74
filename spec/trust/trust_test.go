package trust

import (
	"crypto/ed25519"
	"errors"
	"math"
	"math/big"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// exact is the formula in fractions.
func exact(r Rules, price, bond uint64) (rate *big.Rat, jurors int) {
	ratio := func(a, b uint64) *big.Rat {
		return new(big.Rat).SetFrac(new(big.Int).SetUint64(a), new(big.Int).SetUint64(b))
	}
	risk := ratio(r.Least, Whole)
	if price > 0 {
		sum := new(big.Int).Add(new(big.Int).SetUint64(price), new(big.Int).SetUint64(bond))
		if part := new(big.Rat).SetFrac(new(big.Int).SetUint64(price), sum); part.Cmp(risk) > 0 {
			risk = part
		}
	}
	one, f := big.NewRat(1, 1), ratio(r.Colluder, Whole)
	rate = new(big.Rat).Quo(risk, new(big.Rat).Sub(one, f))
	if rate.Cmp(big.NewRat(Whole-1, Whole)) <= 0 { // rounded up it is below 1
		return rate, 1
	}
	rate = new(big.Rat).Quo(risk, new(big.Rat).Sub(one, f.Mul(f, f)))
	if rate.Cmp(one) > 0 {
		rate = one
	}
	return rate, 2
}

func amount(t *rapid.T, name string) uint64 {
	return rapid.OneOf(rapid.Uint64(), rapid.Uint64Range(0, 1000), rapid.Uint64Range(0, 100_000_000)).Draw(t, name)
}

func TestTheRateIsTheFormulaRoundedUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		price, bond := amount(t, "price"), amount(t, "bond")
		got, jurors := Default().Rate(price, bond)
		want, m := exact(Default(), price, bond)
		low := new(big.Rat).Mul(want, big.NewRat(Whole, 1))
		if rate := new(big.Rat).SetInt64(int64(got)); jurors != m || rate.Cmp(low) < 0 || rate.Sub(rate, low).Cmp(big.NewRat(1, 1)) >= 0 {
			t.Fatalf("%d of a million by %d, want %s by %d", got, jurors, low.FloatString(3), m)
		}
	})
}

func TestKnownRates(t *testing.T) {
	for _, row := range []struct {
		price, bond, rate uint64
		jurors            int
	}{
		{1, 0, Whole, 2},   // a new node: all is checked
		{0, 0, 37_500, 1},  // free work risks nothing
		{1, 4, 250_000, 1}, // 0.2 ÷ 0.8
		{4, 1, 833_334, 2}, // 0.8 ÷ 0.96
		{24, 1, Whole, 2},  // 0.96 ÷ 0.96
		{1, 99, 37_500, 1}, // the least, 0.03 ÷ 0.8
		{1, 1 << 63, 37_500, 1},
		{math.MaxUint64, math.MaxUint64, 625_000, 1},
	} {
		if rate, jurors := Default().Rate(row.price, row.bond); rate != row.rate || jurors != row.jurors {
			t.Errorf("price %d, bond %d: %d by %d, want %d by %d", row.price, row.bond, rate, jurors, row.rate, row.jurors)
		}
	}
}

// Mallory is paid V for each result, and an honest one costs her V × (1 − margin). However large her bond is and however dear the task: with a margin
// of 8 % or more inventing results earns no more than working. Found out, she loses her pay and the fine; each juror is hers one time in five.
func TestCheatingNeverPaysBetterThanWorking(t *testing.T) {
	r := Default()
	rapid.Check(t, func(t *rapid.T) {
		price := rapid.Uint64Range(1000, 1<<40).Draw(t, "price")
		bond := rapid.OneOf(rapid.Uint64Range(0, 1<<46), rapid.Uint64Range(0, price)).Draw(t, "bond")
		rate, jurors := r.Rate(price, bond)
		hers := math.Pow(float64(r.Colluder)/Whole, float64(jurors))
		caught := float64(rate) / Whole * (1 - hers)
		gain := (1-caught)*float64(price) - caught*float64(r.Fine(price, bond))
		if honest := 0.08 * float64(price); gain > honest+1 {
			t.Fatalf("inventing earns %.0f, working %.0f", gain, honest)
		}
	})
}

func TestFines(t *testing.T) {
	r := Default()
	for _, row := range []struct{ price, bond, fine, juror, aside uint64 }{
		{10, 1000, 350, 10, 120}, {10, 100, 100, 10, 120}, {10, 7, 7, 7, 120}, {0, 7, 0, 0, 0},
		{math.MaxUint64, 5, 5, 5, math.MaxUint64}, {math.MaxUint64 / 35, math.MaxUint64, math.MaxUint64 / 35 * 35, math.MaxUint64 / 35, math.MaxUint64 / 35 * 12},
	} {
		if f, j, a := r.Fine(row.price, row.bond), JurorFine(row.price, row.bond), SetAside(row.price); f != row.fine || j != row.juror || a != row.aside {
			t.Errorf("%+v: fine %d, a juror's %d, set aside %d", row, f, j, a)
		}
	}
}

// leaves of a lease, as many as works, the first of which stands after `before` others that took as much work each.
func leaves(before uint64, works []uint64) (all []Leaf, span Span) {
	span = Span{TasksBefore: before, WorkBefore: before * 1000, Tasks: uint64(len(works))}
	for _, w := range works {
		all = append(all, Leaf{Work: w, Before: span.WorkBefore + span.Work})
		span.Work += w
	}
	return all, span
}

// Of many leaves as many are drawn as the rate says, each in proportion to its work, and another seed or root draws others.
func TestWhoIsDrawn(t *testing.T) {
	const n = 100_000
	works := make([]uint64, n)
	for i := range works {
		works[i] = 1000 + 9000*uint64(i%2)
	}
	all, span := leaves(7, works)
	drawn := func(seed, root byte, rate uint64) (hit []uint64) {
		d := NewDraw([32]byte{seed}, [32]byte{root}, span, rate)
		at := 0
		for i := range d.Len() {
			for !d.Hits(i, span.TasksBefore+uint64(at), all[at]) {
				at++
			}
			hit = append(hit, uint64(at))
		}
		return hit
	}
	for _, rate := range []uint64{0, 1000, 37_500, 500_000, Whole} {
		got := drawn(1, 2, rate)
		if want := n * rate / Whole; uint64(len(got)) < want || uint64(len(got)) > want+1+want/100 {
			t.Errorf("%d of %d are drawn at a rate of %d, want %d", len(got), n, rate, want)
		}
		if rate == 37_500 {
			dear := 0
			for _, i := range got {
				dear += int(i % 2)
			}
			if share := float64(dear) / float64(len(got)); math.Abs(share-10.0/11) > 0.02 {
				t.Errorf("%.3f of the draws fall on those that take ten eleventh of the work", share)
			}
		}
	}
	one := drawn(1, 2, 37_500)
	if slices.Equal(one, drawn(2, 2, 37_500)) || slices.Equal(one, drawn(1, 1, 37_500)) {
		t.Error("seed or root does not matter")
	}
}

// Each draw falls on exactly one leaf, whatever their work is; at the full rate each leaf is drawn, also one without work.
func TestADrawFallsOnOneLeaf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		works := rapid.SliceOfN(rapid.OneOf(rapid.Uint64Range(0, 3), rapid.Uint64Range(0, 1<<40)), 0, 50).Draw(t, "works")
		all, span := leaves(rapid.Uint64Range(0, 9).Draw(t, "before"), works)
		rate := rapid.OneOf(rapid.Uint64Range(0, Whole+5), rapid.Just(uint64(Whole))).Draw(t, "rate")
		d := NewDraw([32]byte{byte(rapid.Uint64Range(0, 255).Draw(t, "seed"))}, [32]byte{}, span, rate)
		hit := map[int]bool{}
		for i := range d.Len() {
			on := 0
			for k, l := range all {
				if d.Hits(i, span.TasksBefore+uint64(k), l) {
					on++
					hit[k] = true
				}
			}
			if on != 1 {
				t.Fatalf("draw %d falls on %d leaves", i, on)
			}
		}
		if rate >= Whole && len(hit) != len(all) {
			t.Fatalf("%d of %d leaves are drawn at the full rate", len(hit), len(all))
		}
		if rate == 0 && d.Len() != 0 {
			t.Fatal("drawn at no rate")
		}
	})
}

// However much work a payer signs for, no more is drawn than the rate says.
func TestADrawOfEndlessWork(t *testing.T) {
	for _, span := range []Span{{Tasks: 1, Work: 1 << 63}, {Tasks: 3, Work: math.MaxUint64}, {TasksBefore: 1 << 62, Tasks: 2, WorkBefore: 1 << 62, Work: 1 << 63}} {
		if n := NewDraw([32]byte{1}, [32]byte{2}, span, 37_500).Len(); n > 1 {
			t.Errorf("%d are drawn of %d", n, span.Tasks)
		}
	}
}

// One of a lone redemption is drawn as often as the rate says.
func TestASmallSpanIsDrawnNowAndThen(t *testing.T) {
	_, span := leaves(0, []uint64{10, 20})
	const n = 100_000
	drawn := 0
	for i := range n {
		drawn += int(NewDraw([32]byte{byte(i), byte(i >> 8), byte(i >> 16)}, [32]byte{}, span, 37_500).Len())
	}
	if want := 2 * 0.0375 * n; math.Abs(float64(drawn)-want) > 5*math.Sqrt(want) {
		t.Errorf("%d draws, want %.0f", drawn, want)
	}
}

func TestPricesOfLeaves(t *testing.T) {
	for _, row := range []struct{ work, paid, all, want uint64 }{
		{10, 100, 100, 10}, {10, 101, 100, 11}, {0, 100, 100, 0}, {0, 100, 0, 100}, {100, 7, 100, 7}, {200, 7, 100, 7},
		{1, math.MaxUint64, math.MaxUint64, 1}, {math.MaxUint64 - 1, math.MaxUint64, math.MaxUint64, math.MaxUint64 - 1},
	} {
		if got := (Leaf{Work: row.work}).Price(row.paid, row.all); got != row.want {
			t.Errorf("%+v: %d", row, got)
		}
	}
}

// Everything that is sealed matters, and so does the salt.
func TestASealHidesAndBinds(t *testing.T) {
	base := Leaf{Digest{1}, Digest{2}, 3, 4}
	seen := map[[32]byte]bool{base.Seal(Salt([32]byte{9}, 0)): true}
	for _, other := range []Leaf{{Digest{7}, Digest{2}, 3, 4}, {Digest{1}, Digest{7}, 3, 4}, {Digest{1}, Digest{2}, 7, 4}, {Digest{1}, Digest{2}, 3, 7}} {
		seen[other.Seal(Salt([32]byte{9}, 0))] = true
	}
	seen[base.Seal(Salt([32]byte{9}, 1))], seen[base.Seal(Salt([32]byte{8}, 0))] = true, true
	if len(seen) != 7 {
		t.Errorf("%d of 7 seals differ", len(seen))
	}
	if (Leaf{Result: Digest{2}, Work: 3}).Answer() == (Leaf{Result: Digest{2}, Work: 4}).Answer() {
		t.Error("another work gives the same answer")
	}
}

// Alice calls as many jurors as she may need; with few tickets all may come.
func TestHowManyMayBeJurors(t *testing.T) {
	if Threshold(12, Called(2)) != [32]byte(slices.Repeat([]byte{0xff}, 32)) {
		t.Error("of as many tickets as are called, some may not come")
	}
	got := Threshold(1<<20, 1<<10)
	if want := [32]byte{0, 0x40}; got != want {
		t.Errorf("%x, want %x", got, want)
	}
	for draws, want := range map[uint64]uint64{0: 0, 1: 1, 64: 1, 65: 2, math.MaxUint64: 1 << 58} {
		if got := Panels(draws); got != want {
			t.Errorf("%d panels for %d draws, want %d", got, draws, want)
		}
	}
}

// Each juror's points are its own, one in each power of 16, and the one that counts is the last that its execution came past: it is known only at the end which
// that is, and there is always one.
func TestPointsOfState(t *testing.T) {
	beta := make([]byte, 64)
	all := Points(beta, Digest{})
	if len(all) != 17 || all[0] != 0 {
		t.Fatalf("points %d", all)
	}
	for i, low := 1, uint64(1); i < len(all); i, low = i+1, low*16 {
		if all[i] < low || all[i] > low+15*low-1 {
			t.Errorf("point %d is %d, not in %d to %d", i, all[i], low, low+15*low-1)
		}
	}
	if p := Points(beta, Digest{1}); slices.Equal(p[3:], all[3:]) {
		t.Error("another statement has the same points")
	}
	if beta[63] = 1; slices.Equal(Points(beta, Digest{})[3:], all[3:]) {
		t.Error("another juror has the same points")
	}
	rapid.Check(t, func(t *rapid.T) {
		beta := rapid.SliceOfN(rapid.Byte(), 64, 64).Draw(t, "beta")
		all, work := Points(beta, Digest{}), rapid.OneOf(rapid.Uint64(), rapid.Uint64Range(0, 300)).Draw(t, "work")
		p := Point(beta, Digest{}, work)
		if !slices.IsSorted(all) || p > 0 && p >= work || work > 256 && p < work/256 {
			t.Errorf("of %d instructions the state at %d counts", work, p)
		}
		for _, other := range all {
			if other < work && other > p {
				t.Errorf("of %d instructions the state at %d counts, not that at %d", work, p, other)
			}
		}
	})
	for _, work := range []uint64{0, 7, 1 << 40} { // somebody else's
		if Pick([]uint64{77}, work) != 77 {
			t.Errorf("of one point another counts where the work is %d", work)
		}
	}
}

// Bob's voice is for one matter and by him alone.
func TestVoicesAreSigned(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	bob := [32]byte(key.Public().(ed25519.PublicKey))
	m := Matter{Chain: "c", Node: [32]byte{1}, Sequence: 2, Place: 3, Round: 1, Seed: [32]byte{4}}
	voice := Sum([]Say{{Digest{1}, Digest{2}}, {Digest{3}, Digest{4}}})
	if voice == Sum([]Say{{Digest{3}, Digest{4}}, {Digest{1}, Digest{2}}}) {
		t.Error("the order of draws does not matter")
	}
	word := Commitment(voice, bob, [32]byte{6})
	signed := m.SignVoice(word, 5, key)
	if err := m.CheckVoice(bob, word, 5, signed); err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string]Matter{
		"chain": {"d", m.Node, 2, 3, 1, m.Seed}, "node": {"c", [32]byte{9}, 2, 3, 1, m.Seed}, "sequence": {"c", m.Node, 9, 3, 1, m.Seed},
		"place": {"c", m.Node, 2, 9, 1, m.Seed}, "round": {"c", m.Node, 2, 3, 2, m.Seed}, "seed": {"c", m.Node, 2, 3, 1, [32]byte{9}},
	} {
		if other.CheckVoice(bob, word, 5, signed) == nil {
			t.Errorf("another %s: taken", name)
		}
	}
	if m.CheckVoice([32]byte{1}, word, 5, signed) == nil || m.CheckVoice(bob, [32]byte{1}, 5, signed) == nil || m.CheckVoice(bob, word, 6, signed) == nil || m.CheckVoice(bob, word, 5, nil) == nil {
		t.Error("another's voice is taken")
	}
}

func TestVerdicts(t *testing.T) {
	a, b, c := Digest{1}, Digest{2}, Digest{3}
	for name, row := range map[string]struct {
		rounds [][]Digest
		want   Verdict
		bad    bool
	}{
		"one agrees":              {[][]Digest{{a}}, Verdict{Agreed, a}, false},
		"two agree":               {[][]Digest{{a, a}}, Verdict{Agreed, a}, false},
		"one differs":             {[][]Digest{{b}}, Verdict{Outcome: Escalate}, false},
		"two agree on another":    {[][]Digest{{b, b}}, Verdict{Outcome: Escalate}, false},
		"one of two differs":      {[][]Digest{{a, b}}, Verdict{Outcome: Escalate}, false},
		"three for the provider":  {[][]Digest{{b, b}, {a, a, a}}, Verdict{Agreed, a}, false},
		"three against":           {[][]Digest{{b}, {b, b, b}}, Verdict{Agreed, b}, false},
		"two of three":            {[][]Digest{{b}, {b, b, a}}, Verdict{Outcome: Escalate}, false},
		"four of seven":           {[][]Digest{{b}, {b, b, a}, {a, b, c, a, b, a, a}}, Verdict{Agreed, a}, false},
		"three of seven":          {[][]Digest{{b}, {b, b, a}, {a, b, c, a, b, a, c}}, Verdict{Outcome: Undecided}, false},
		"no round":                {nil, Verdict{}, true},
		"an empty one":            {[][]Digest{{}}, Verdict{}, true},
		"three at first":          {[][]Digest{{a, a, a}}, Verdict{}, true},
		"a second of two":         {[][]Digest{{b}, {b, b}}, Verdict{}, true},
		"a third of six":          {[][]Digest{{b}, {a, b, b}, {b, b, b, b, b, b}}, Verdict{}, true},
		"more after a decision":   {[][]Digest{{a}, {b, b, b}}, Verdict{}, true},
		"more after the second's": {[][]Digest{{b}, {b, b, b}, {a, a, a, a, a, a, a}}, Verdict{}, true},
		"four rounds":             {[][]Digest{{b}, {a, b, b}, {a, b, c, a, b, a, c}, {a}}, Verdict{}, true},
	} {
		got, err := Judge(a, row.rounds...)
		if got != row.want || (err != nil) != row.bad || err != nil && !errors.Is(err, ErrRound) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if got := Wrong(a, []Digest{a, b, a, c}); !slices.Equal(got, []int{1, 3}) {
		t.Errorf("wrong are %v", got)
	}
}

// The order in which voices came in changes nothing.
func TestAVerdictDoesNotDependOnOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		voices := rapid.SliceOfN(rapid.SampledFrom([]Digest{{1}, {2}, {3}}), Third, Third).Draw(t, "voices")
		other := rapid.Permutation(voices).Draw(t, "order")
		split := [][]Digest{{{2}}, {{1}, {2}, {2}}}
		x, err1 := Judge(Digest{1}, append(slices.Clone(split), voices)...)
		y, err2 := Judge(Digest{1}, append(slices.Clone(split), other)...)
		if x != y || err1 != nil || err2 != nil {
			t.Fatalf("%+v, %v; %+v, %v", x, err1, y, err2)
		}
	})
}

func TestACommitmentBindsAllOfIt(t *testing.T) {
	v := Voice{Result: Digest{1}, State: [32]byte{2}}
	first := Commitment(v, [32]byte{3}, [32]byte{4})
	for name, other := range map[string][32]byte{
		"result": Commitment(Voice{Digest{9}, v.State}, [32]byte{3}, [32]byte{4}), "state": Commitment(Voice{v.Result, [32]byte{9}}, [32]byte{3}, [32]byte{4}),
		"node": Commitment(v, [32]byte{9}, [32]byte{4}), "salt": Commitment(v, [32]byte{3}, [32]byte{9}),
	} {
		if other == first {
			t.Errorf("another %s has the same commitment", name)
		}
	}
}
