package money

// Budget is how the amount that a spending key may take from its owner's account within any day is shared out. The chain counts each part for itself, and
// together they are never more than the whole.
type Budget struct {
	New     Amount // deposits of new leases
	Running Amount // what is added to the deposits of running leases
	Fees    Amount // fees of its transactions
}

// Divide shares an amount out: two fifths, two fifths, and a fifth. What does not divide stays with the owner.
func Divide(daily Amount) Budget {
	return Budget{New: 2 * daily / 5, Running: 2 * daily / 5, Fees: daily / 5}
}

// FeesInPeriod is what may go for fees in one of the chain's periods of a day: half, because a day that begins within one period ends within the next.
func (b Budget) FeesInPeriod() Amount { return b.Fees / 2 }

// LeastBudget is the least amount whose parts are of use: a lease of the least deposit can be opened, and fees be paid in a period.
func LeastBudget(deposit, fees Amount) Amount {
	return max((5*deposit+1)/2, 10*fees)
}
