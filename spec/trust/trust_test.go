package trust

import (
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

// As many are drawn as the rate says, and another seed or root draws others.
func TestWhoIsDrawn(t *testing.T) {
	const n = 200_000
	drawn := func(seed, root byte, rate uint64) (all []uint64) {
		for i := range uint64(n) {
			if Drawn([32]byte{seed}, [32]byte{root}, i, rate) {
				all = append(all, i)
			}
		}
		return all
	}
	for _, rate := range []uint64{0, 1000, 37_500, 500_000, Whole} {
		got := float64(len(drawn(1, 2, rate)))
		want := n * float64(rate) / Whole
		if off := math.Abs(got - want); off > 5*math.Sqrt(want*(1-float64(rate)/Whole))+1e-9 {
			t.Errorf("%.0f of %d are drawn at a rate of %d, want %.0f", got, n, rate, want)
		}
	}
	one := drawn(1, 2, 37_500)
	if slices.Equal(one, drawn(2, 2, 37_500)) || slices.Equal(one, drawn(1, 1, 37_500)) {
		t.Error("seed or root does not matter")
	}
	if more := drawn(1, 2, 50_000); slices.ContainsFunc(one, func(i uint64) bool { _, in := slices.BinarySearch(more, i); return !in }) {
		t.Error("a higher rate leaves out what a lower one draws")
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
