// Package auction keeps the pure rules by which a batch of orders for HPIPS trades at one price: price, shares, rounding, and when a batch ends.
// It promises that equal books give equal results whatever the order in which they were written, that nobody trades past a limit or for more than
// was offered, and that what buyers pay and what sellers get differ by one base unit at most. It leaves books, holds and money to chain/exchange.
package auction

import (
	"crypto/sha256"
	"encoding/binary"
	"math/big"
	"math/bits"
	"slices"

	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/spec/sortition"
)

// A price counts 1/Scale of a whole asset, 10^decimals base units, for one HPIPS. Limits have Digits significant digits at most, so that a
// book has few prices; an asset has MostDecimals at most.
const (
	Scale        = 1_000_000_000_000
	Digits       = 4
	MostDecimals = 18
)

// Most is the largest amount of one order, in uhpips: all there is.
const Most = uint64(money.Total)

// lotUse begins what is hashed to find whether a batch ends.
const lotUse = "hpips/batch/v1\x00"

// Ends tells whether the block with this seed ends a batch of an asset: one in blocks does, 0 counts as 1. Assets have lots of their own.
func Ends(seed sortition.Seed, denom string, blocks uint64) bool {
	text := binary.BigEndian.AppendUint64([]byte(lotUse), uint64(len(denom)))
	sum := sha256.Sum256(append(append(text, denom...), seed[:]...))
	return binary.BigEndian.Uint64(sum[:])%max(blocks, 1) == 0
}

// Round cuts a price to its first four digits.
func Round(price uint64) uint64 {
	unit := uint64(1)
	for price/unit >= 10_000 {
		unit *= 10
	}
	return price - price%unit
}

// perUnit is how many uhpips × prices × 10^decimals one base unit is.
var perUnit = new(big.Int).Exp(big.NewInt(10), big.NewInt(MostDecimals), nil)

func whole(decimals uint32) *big.Int {
	return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(decimals)), nil)
}

// Value is what an amount of uhpips comes to at a price, in base units of the asset, rounded down and rounded up.
func Value(amount, price uint64, decimals uint32) (down, up *big.Int) {
	v := new(big.Int).Mul(new(big.Int).SetUint64(amount), new(big.Int).SetUint64(price))
	down, rest := v.QuoRem(v.Mul(v, whole(decimals)), perUnit, new(big.Int))
	up = new(big.Int).Set(down)
	if rest.Sign() != 0 {
		up.Add(up, big.NewInt(1))
	}
	return down, up
}

// Affords is the most uhpips whose value, rounded up, is no more than held, and Most if that is less. The price is not 0.
func Affords(held *big.Int, price uint64, decimals uint32) uint64 {
	v := new(big.Int).Mul(new(big.Int).SetUint64(price), whole(decimals))
	v.Quo(new(big.Int).Mul(held, perUnit), v)
	if !v.IsUint64() {
		return Most
	}
	return min(v.Uint64(), Most)
}

// Level is all that is wanted, or for sale, at one limit: Amount uhpips, more than 0.
type Level struct {
	Price  uint64 `json:"price"`
	Amount uint64 `json:"amount"`
}

// Offer is an order for as many uhpips as Amount base units of the asset buy at the batch's price, which is Limit at most. Limit 0: no order.
type Offer struct {
	Limit    uint64   `json:"limit"`
	Amount   *big.Int `json:"amount"`
	Decimals uint32   `json:"decimals"`
}

// At is how much an offer buys at a price, in uhpips.
func (o Offer) At(price uint64) uint64 {
	if price > o.Limit || price == 0 {
		return 0
	}
	return Affords(o.Amount, price, o.Decimals)
}

// Clear finds the price of a batch and how many uhpips change hands at it; 0, 0 if nothing does. Buys come with the highest limit first, sells
// with the lowest; limits of a side differ. Only limits of orders, the offer's among them, can be the price:
//
//  1. that at which most is traded;
//  2. of these, that at which least is left over: the difference between what is wanted and what is for sale;
//  3. of these, the lowest.
//
// Sums past 2^64 − 1 count as that.
func Clear(buys, sells []Level, o Offer) (price, traded uint64) {
	wanted := make([]uint64, len(buys)+1) // wanted[i]: by the i highest limits
	candidates := make([]uint64, 0, len(buys)+len(sells)+1)
	for i, l := range buys {
		wanted[i+1] = sum(wanted[i], l.Amount)
		candidates = append(candidates, l.Price)
	}
	for _, l := range sells {
		candidates = append(candidates, l.Price)
	}
	if o.Limit > 0 {
		candidates = append(candidates, o.Limit)
	}
	slices.Sort(candidates)
	left, supply, b, s := uint64(0), uint64(0), len(buys), 0
	for _, p := range slices.Compact(candidates) {
		for ; s < len(sells) && sells[s].Price <= p; s++ {
			supply = sum(supply, sells[s].Amount)
		}
		for b > 0 && buys[b-1].Price < p {
			b--
		}
		if supply == 0 {
			continue
		}
		demand := sum(wanted[b], o.At(p))
		t, l := min(demand, supply), max(demand, supply)-min(demand, supply)
		if t > traded || t == traded && t > 0 && l < left {
			price, traded, left = p, t, l
		}
	}
	return price, traded
}

func sum(a, b uint64) uint64 {
	s, carry := bits.Add64(a, b, 0)
	if carry != 0 {
		return ^uint64(0)
	}
	return s
}

// Fill shares total among the orders of one side, of which Price and Amount are given: who has the better limit comes first; those at the limit
// at which it ends get floor(amount × rest ÷ sum), and what is left over then goes to them in single uhpips in their order. Orders come with the
// best limit first and by number within a limit; their sum is total at least and below 2^64.
func Fill(orders []Level, total uint64) []uint64 {
	fills := make([]uint64, len(orders))
	for i := 0; i < len(orders) && total > 0; {
		end, level := i, uint64(0)
		for ; end < len(orders) && orders[end].Price == orders[i].Price; end++ {
			level += orders[end].Amount
		}
		share(fills[i:end], orders[i:end], level, min(total, level))
		total -= min(total, level)
		i = end
	}
	return fills
}

// share divides part of level, the sum of the orders.
func share(fills []uint64, orders []Level, level, part uint64) {
	rest := part
	for i, o := range orders {
		fills[i] = o.Amount
		if part < level {
			hi, lo := bits.Mul64(o.Amount, part)
			fills[i], _ = bits.Div64(hi, lo, level) // below Amount, as part is below level
		}
		rest -= fills[i]
	}
	for i := 0; rest > 0; i++ { // each quotient lost less than one: rest is below the number of orders
		fills[i]++
		rest--
	}
}

// Pays divides the value of what one side traded among its orders, in base units of the asset: each gets the difference between the
// value of the fills up to it and of those before it. The side that pays rounds up, the other down, so that all pay one unit more at most than all
// get, and no order pays more than its own value rounded up.
func Pays(fills []uint64, price uint64, decimals uint32, up bool) []*big.Int {
	pays, so, before := make([]*big.Int, len(fills)), uint64(0), new(big.Int)
	for i, f := range fills {
		so += f
		value, above := Value(so, price, decimals)
		if up {
			value = above
		}
		pays[i], before = new(big.Int).Sub(value, before), value
	}
	return pays
}
