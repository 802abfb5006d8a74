package auction

import (
	"cmp"
	"fmt"
	"math/big"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/hpips/hpips/spec/sortition"
)

// limits are prices close enough to one another that books cross, and some far away.
var limits = rapid.Custom(func(r *rapid.T) uint64 {
	if rapid.IntRange(0, 9).Draw(r, "far") == 0 {
		return Round(rapid.Uint64Range(1, ^uint64(0)).Draw(r, "price"))
	}
	return Round(rapid.Uint64Range(480_000_000_000, 520_000_000_000).Draw(r, "price"))
})

var amounts = rapid.OneOf(rapid.Uint64Range(1, 20), rapid.Uint64Range(1_000_000, 50_000_000), rapid.Uint64Range(1, Most))

// side is a list of orders, the best limit first.
func side(r *rapid.T, name string, best func(a, b uint64) int) []Level {
	orders := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) Level { return Level{limits.Draw(r, "limit"), amounts.Draw(r, "amount")} }), 0, 12).Draw(r, name)
	slices.SortStableFunc(orders, func(a, b Level) int { return best(a.Price, b.Price) })
	return orders
}

func up(a, b uint64) int   { return cmp.Compare(a, b) }
func down(a, b uint64) int { return cmp.Compare(b, a) }

// levels sums the orders of each limit.
func levels(orders []Level) (all []Level) {
	for _, o := range orders {
		if n := len(all); n > 0 && all[n-1].Price == o.Price {
			all[n-1].Amount += o.Amount
		} else {
			all = append(all, o)
		}
	}
	return all
}

func offered(r *rapid.T) Offer {
	o := Offer{Decimals: uint32(rapid.IntRange(0, MostDecimals).Draw(r, "decimals")), Amount: new(big.Int)}
	if rapid.Bool().Draw(r, "sale") {
		o.Limit = limits.Draw(r, "sale limit")
		o.Amount.SetUint64(rapid.Uint64().Draw(r, "sale amount"))
	}
	return o
}

// oracle tries every limit, adding up all orders anew for each with unbounded numbers.
func oracle(buys, sells []Level, o Offer) (price, traded uint64) {
	var bestTrade, bestLeft *big.Int
	tried := append(slices.Clone(buys), sells...)
	tried = append(tried, Level{Price: o.Limit})
	for _, c := range tried {
		wanted, supply := new(big.Int), new(big.Int)
		for _, b := range buys {
			if b.Price >= c.Price {
				wanted.Add(wanted, new(big.Int).SetUint64(b.Amount))
			}
		}
		for _, s := range sells {
			if s.Price <= c.Price {
				supply.Add(supply, new(big.Int).SetUint64(s.Amount))
			}
		}
		if c.Price <= o.Limit && c.Price > 0 { // the most that the offer pays for without overspending, found by trying
			lo, hi := uint64(0), Most
			for lo < hi {
				mid := lo + (hi-lo+1)/2
				if _, cost := Value(mid, c.Price, o.Decimals); cost.Cmp(o.Amount) <= 0 {
					lo = mid
				} else {
					hi = mid - 1
				}
			}
			wanted.Add(wanted, new(big.Int).SetUint64(lo))
		}
		trade, left := wanted, new(big.Int).Sub(wanted, supply)
		if supply.Cmp(wanted) < 0 {
			trade = supply
		}
		left.Abs(left)
		if trade.Sign() == 0 {
			continue
		}
		d := 1
		if bestTrade != nil {
			if d = trade.Cmp(bestTrade); d == 0 {
				if d = bestLeft.Cmp(left); d == 0 {
					d = cmp.Compare(price, c.Price)
				}
			}
		}
		if d > 0 {
			price, bestTrade, bestLeft, traded = c.Price, trade, left, trade.Uint64()
		}
	}
	return price, traded
}

func TestThePriceIsTheOneThatTryingAllFinds(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		buys, sells, o := side(r, "buys", down), side(r, "sells", up), offered(r)
		price, traded := Clear(levels(buys), levels(sells), o)
		if p, n := oracle(buys, sells, o); p != price || n != traded {
			r.Fatalf("%d traded at %d, the oracle says %d at %d", traded, price, n, p)
		}
	})
}

func TestASharedBatchKeepsEveryUnitAndEveryLimit(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		buys, sells, o := side(r, "buys", down), side(r, "sells", up), offered(r)
		price, traded := Clear(levels(buys), levels(sells), o)
		if traded == 0 {
			return
		}
		at := 0
		if n := o.At(price); n > 0 { // the offer goes before the orders at its limit
			for at < len(buys) && buys[at].Price > o.Limit {
				at++
			}
			buys = slices.Insert(buys, at, Level{o.Limit, n})
		}
		paid := pay(r, buys, price, traded, o.Decimals, true)
		got := pay(r, sells, price, traded, o.Decimals, false)
		dust := paid.Sub(paid, got)
		if dust.Sign() < 0 || dust.Cmp(big.NewInt(1)) > 0 {
			r.Fatalf("buyers pay %s more than sellers get", dust)
		}
	})
}

// pay fills one side, checks each order's share, and gives the sum of what the side pays or gets.
func pay(r *rapid.T, orders []Level, price, traded uint64, decimals uint32, buys bool) *big.Int {
	fills := Fill(orders, traded)
	pays := Pays(fills, price, decimals, buys)
	sum, total := new(big.Int), uint64(0)
	for i, f := range fills {
		total += f
		sum.Add(sum, pays[i])
		low, high := Value(f, price, decimals)
		switch {
		case f > orders[i].Amount:
			r.Fatalf("order %d trades %d of %d", i, f, orders[i].Amount)
		case f > 0 && (buys && orders[i].Price < price || !buys && orders[i].Price > price):
			r.Fatalf("order %d of limit %d trades at %d", i, orders[i].Price, price)
		case i > 0 && f > 0 && fills[i-1] < orders[i-1].Amount && orders[i-1].Price != orders[i].Price:
			r.Fatalf("order %d trades before the better one is filled", i)
		case pays[i].Cmp(low) < 0 || pays[i].Cmp(high) > 0:
			r.Fatalf("order %d pays %s for what is worth %s", i, pays[i], low)
		}
		for j := range i { // within a limit: in proportion, to the unit
			if orders[j].Price != orders[i].Price {
				continue
			}
			a := new(big.Int).Mul(new(big.Int).SetUint64(fills[j]), new(big.Int).SetUint64(orders[i].Amount))
			b := new(big.Int).Mul(new(big.Int).SetUint64(f), new(big.Int).SetUint64(orders[j].Amount))
			most := new(big.Int).SetUint64(orders[i].Amount + orders[j].Amount)
			if a.Sub(a, b).CmpAbs(most) > 0 {
				r.Fatalf("orders %d and %d share %d and %d", j, i, fills[j], f)
			}
		}
	}
	if total != traded {
		r.Fatalf("%d traded of %d", total, traded)
	}
	return sum
}

func TestWhatIsHeldIsEnoughForWhatItAffords(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		held := new(big.Int).SetUint64(rapid.Uint64().Draw(r, "held"))
		price, decimals := rapid.Uint64Min(1).Draw(r, "price"), uint32(rapid.IntRange(0, MostDecimals).Draw(r, "decimals"))
		n := Affords(held, price, decimals)
		if _, cost := Value(n, price, decimals); cost.Cmp(held) > 0 {
			r.Fatalf("%d cost %s of %s", n, cost, held)
		}
		if _, more := Value(n+1, price, decimals); n < Most && more.Cmp(held) <= 0 {
			r.Fatalf("one more than %d costs %s of %s", n, more, held)
		}
	})
}

func TestPricesAreCutToFourDigits(t *testing.T) {
	for _, row := range [][2]uint64{{0, 0}, {1, 1}, {9999, 9999}, {10_001, 10_000}, {123_456, 123_400}, {^uint64(0), 18_440_000_000_000_000_000}} {
		if got := Round(row[0]); got != row[1] {
			t.Errorf("%d is cut to %d, want %d", row[0], got, row[1])
		}
	}
}

func TestOneBlockInTenEndsABatch(t *testing.T) {
	seed, ends, both := sortition.Genesis("hpips-test-1"), 0, 0
	for range 10_000 {
		seed = seed.Extend(sortition.Beta{})
		a, b := Ends(seed, "ucredit", 10), Ends(seed, "uother", 10)
		if a {
			ends++
		}
		if a && b {
			both++
		}
		if !Ends(seed, "ucredit", 1) || !Ends(seed, "ucredit", 0) {
			t.Fatal("one in one is each")
		}
	}
	// Six standard deviations, 30 and 10, about 1,000 and 100.
	if ends < 820 || ends > 1180 || both < 40 || both > 160 {
		t.Error(fmt.Sprint(ends, " of 10,000 blocks end a batch of one asset, ", both, " of both"))
	}
}

func BenchmarkClear(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			buys, sells := make([]Level, n/2), make([]Level, n/2)
			for i := range n / 2 {
				buys[i] = Level{uint64(1_000_000_000 + n - i), 7_000_000}
				sells[i] = Level{uint64(1_000_000_000 + i), 7_000_000}
			}
			for b.Loop() {
				Clear(buys, sells, Offer{})
			}
		})
	}
}
