// Package trust keeps the rules by which results of strangers are believed: how often one is checked, which ones, what a jury's voices mean, and
// what a lie costs.
// It promises that everything here is a pure function of its arguments, in whole numbers rounded against whoever is checked, the same on every
// machine; what comes from outside is read strictly, and nothing panics on it.
// It leaves bonds and payouts to the chain, drawing jurors to spec/sortition, and running tasks again to those who do.
package trust

import (
	"math/big"
	"math/bits"
)

// Whole is certainty: rates are in millionths.
const Whole = 1_000_000

// Rules are the numbers behind rates and penalties.
type Rules struct {
	Least    uint64 // lowest part of results that is checked, before jurors that lie together are reckoned in; millionths
	Colluder uint64 // part of jurors that is taken to lie together; millionths, below Whole
	Penalty  uint64 // prices of a task that a convicted provider's bond pays at most
}

// Default are the rules of the public network and of development.
func Default() Rules { return Rules{Least: 30_000, Colluder: 200_000, Penalty: 35} }

// Rate is how often a result is checked and by how many jurors: p = min(1, max(Least, V ÷ (V + B)) ÷ (1 − f^m)), where V is the task's price, B the
// provider's bond in the same asset, f = Colluder, and m = 1, or 2 where the rate with one juror reaches 1. It is rounded up, in millionths.
// A provider without a bond, or one that leaves, has all its results checked.
//
// Whoever cheats once gains V less its cost and loses V and B with probability p × (1 − f^m) ≥ V ÷ (V + B): nothing is left to gain.
func (r Rules) Rate(price, bond uint64) (millionths uint64, jurors int) {
	above, below := big.NewInt(int64(r.Least)), big.NewInt(Whole) // the risk, as a fraction
	if price > 0 {
		v := new(big.Int).SetUint64(price)
		all := new(big.Int).Add(v, new(big.Int).SetUint64(bond))
		if new(big.Int).Mul(v, below).Cmp(new(big.Int).Mul(above, all)) > 0 {
			above, below = v, all
		}
	}
	if one := over(above, below, Whole-r.Colluder); one < Whole {
		return one, 1
	}
	return min(Whole, over(above, below, Whole-r.Colluder*r.Colluder/Whole)), 2
}

// over is above ÷ below ÷ honest, in millionths rounded up; honest is in millionths.
func over(above, below *big.Int, honest uint64) uint64 {
	n := new(big.Int).Mul(above, big.NewInt(Whole*Whole))
	q, rest := n.QuoRem(n, new(big.Int).Mul(below, new(big.Int).SetUint64(honest)), new(big.Int))
	if rest.Sign() > 0 {
		q.Add(q, big.NewInt(1))
	}
	return q.Uint64()
}

// Fine is what a convicted provider's bond pays for one result: min(B, Penalty × V).
func (r Rules) Fine(price, bond uint64) uint64 {
	hi, most := bits.Mul64(price, r.Penalty)
	if hi > 0 {
		return bond
	}
	return min(bond, most)
}

// JurorFine is what a wrong juror's bond pays, besides its fee: min(B, V).
func JurorFine(price, bond uint64) uint64 { return min(bond, price) }

// keptForJuries is how many parts of four of a deposit juries may cost: two jurors cost twice what they look at, and a whole jury twelve prices of one result.
const keptForJuries = 3

// ForWork is what of a deposit may be promised for work where juries are paid from it, too: a quarter. Neither side promises or takes more, so that what jurors get never was the provider's.
func ForWork(deposit uint64) uint64 { return deposit / (keptForJuries + 1) }

// Deposit is what has to be deposited so that so much may be promised for work.
func Deposit(work uint64) uint64 {
	if work > ^uint64(0)/(keptForJuries+1) {
		return ^uint64(0)
	}
	return work * (keptForJuries + 1)
}

// Jurors that a dispute may need in all: two at first, three fresh ones, seven more.
const fullJury = Fellows + Second + Third

// SetAside is what a lease keeps of its deposit for one full jury: 12 prices of its task, each juror one.
func SetAside(price uint64) uint64 { return Times(price, fullJury) }

// Times is n prices; what does not fit stays at the largest number.
func Times(price, n uint64) uint64 {
	hi, lo := bits.Mul64(price, n)
	if hi > 0 {
		return ^uint64(0)
	}
	return lo
}
