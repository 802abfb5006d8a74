package placement

// What an offer of disk weighs, in MiB.
const (
	Newcomer = 64 << 10 // at most, of a node that proved nothing yet: 64 GiB
	Growth   = 4        // for each MiB that it keeps and proves
	Most     = 1 << 20  // of any node: 1 TiB
)

// Weight is what a node weighs that offers so many MiB and proves that it keeps so many: what it offers, but no more than Newcomer and Growth times what it keeps, and no more than Most. An offer is a word that nobody can
// check while nothing is kept; so it is believed as far as the next pieces, and more with each that is proven. Who offers nothing weighs nothing.
func Weight(offered, kept uint64) uint64 {
	return min(offered, Newcomer+Growth*min(kept, Most), Most)
}

// Room is how many MiB of an offer are left, where so many are taken.
func Room(offered, taken uint64) uint64 { return offered - min(offered, taken) }
