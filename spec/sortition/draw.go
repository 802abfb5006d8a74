package sortition

import (
	"bytes"
	"encoding/binary"
	"math/big"
	"math/bits"
)

// Rank is the output times k, the number of tickets in the node's network: ten nodes behind one line win about as often together as one
// alone would. k below 1 counts as 1.
func (o Output) Rank(k uint64) (r Rank) {
	k = max(k, 1)
	var carry uint64
	for at := len(o) - 8; at >= 0; at -= 8 {
		high, low := bits.Mul64(binary.BigEndian.Uint64(o[at:]), k)
		low, over := bits.Add64(low, carry, 0)
		binary.BigEndian.PutUint64(r[at+8:], low)
		carry = high + over // cannot overflow: a product of two words and a word more stay below two words
	}
	binary.BigEndian.PutUint64(r[:], carry)
	return r
}

// Compare orders ranks as numbers: it is negative where r is the better one.
func (r Rank) Compare(other Rank) int { return bytes.Compare(r[:], other[:]) }

// Below tells whether the rank wins against t.
func (r Rank) Below(t Threshold) bool {
	const more = len(Rank{}) - len(Threshold{})
	return binary.BigEndian.Uint64(r[:more]) == 0 && bytes.Compare(r[more:], t[:]) < 0
}

// Retarget moves the threshold after a draw, so that the next one brings about 1.5 claims a free seat: t × 1.5·free / claims, at most
// twofold either way, at least 1 and at most the range. No claims count as one. No free seat counts as one too: substitutes are wanted
// all the same, and a threshold left to shrink would need hundreds of epochs to come back when the committee grows.
func Retarget(t Threshold, claims, free uint32) Threshold {
	old := new(big.Int).SetBytes(t[:])
	aim := new(big.Int).Mul(old, big.NewInt(3*int64(max(free, 1))))
	aim.Quo(aim, big.NewInt(2*int64(max(claims, 1))))
	if low := new(big.Int).Rsh(old, 1); aim.Cmp(low) < 0 {
		aim = low
	}
	if high := new(big.Int).Lsh(old, 1); aim.Cmp(high) > 0 {
		aim = high
	}
	return threshold(aim)
}

// FirstThreshold aims the first draw at 1.5 claims a free seat, if every ticket were alone in its network.
func FirstThreshold(tickets uint64, free uint32) Threshold {
	aim := new(big.Int).Lsh(big.NewInt(3*int64(max(free, 1))), 8*uint(len(Threshold{})))
	half := new(big.Int).SetUint64(max(tickets, 1))
	return threshold(aim.Quo(aim, half.Lsh(half, 1)))
}

// threshold writes n, brought into the range from 1 to 2^256 - 1.
func threshold(n *big.Int) (t Threshold) {
	switch {
	case n.Sign() <= 0:
		t[len(t)-1] = 1
	case n.BitLen() > 8*len(t):
		copy(t[:], bytes.Repeat([]byte{0xff}, len(t)))
	default:
		n.FillBytes(t[:])
	}
	return t
}

// Budget is how many of n seats may change in an epoch: a third, so that a light client that trusts a third of a committee can follow
// from one epoch to the next, but one at least, so that small committees can grow.
func Budget(n uint32) uint32 {
	if n == 0 {
		return 0
	}
	return max(1, n/3)
}

// Free is how many seats of a committee of n the next turn may fill: those that it may grow by and, where draws are on, the third that sat longest,
// within the budget of an epoch.
func (r Rules) Free(n uint32) uint32 {
	seats := r.Seats - min(r.Seats, n)
	if r.Draw {
		seats += n / 3
	}
	return min(seats, Budget(n))
}
