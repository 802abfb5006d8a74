package sortition

import (
	"bytes"
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

func bytes32(t *rapid.T, name string) (b [32]byte) {
	if rapid.Bool().Draw(t, name+" has edges") { // long runs of ones and zeros, where carries go wrong
		n := rapid.IntRange(0, 32).Draw(t, name+" ones")
		copy(b[rapid.IntRange(0, 32-n).Draw(t, name+" at"):], bytes.Repeat([]byte{0xff}, n))
		return b
	}
	return [32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, name))
}

func value(b []byte) *big.Int { return new(big.Int).SetBytes(b) }

func TestRanksAreNumbers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := Output(bytes32(t, "a")), Output(bytes32(t, "b"))
		j, k := rapid.Uint64().Draw(t, "j"), rapid.Uint64().Draw(t, "k")
		threshold := Threshold(bytes32(t, "threshold"))
		product := func(o Output, k uint64) *big.Int {
			return new(big.Int).Mul(value(o[:]), new(big.Int).SetUint64(max(k, 1)))
		}
		ra, rb := a.Rank(j), b.Rank(k)
		if value(ra[:]).Cmp(product(a, j)) != 0 {
			t.Fatalf("%s × %d is not %s", a, j, ra)
		}
		if ra.Compare(rb) != product(a, j).Cmp(product(b, k)) {
			t.Fatalf("%s against %s", ra, rb)
		}
		if ra.Below(threshold) != (product(a, j).Cmp(value(threshold[:])) < 0) {
			t.Fatalf("%s below %s", ra, threshold)
		}
	})
}

func TestNoTicketsInANetworkAreNoFreePass(t *testing.T) {
	o := Output{31: 9}
	if o.Rank(0) != o.Rank(1) || o.Rank(0).Below(Threshold{31: 9}) {
		t.Error("k = 0 wins for nothing")
	}
}

func TestRetarget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		old := Threshold(bytes32(t, "threshold"))
		claims, free := rapid.Uint32().Draw(t, "claims"), rapid.Uint32().Draw(t, "free")
		next := Retarget(old, claims, free)
		was, is := value(old[:]), value(next[:])
		low, high := new(big.Int).Rsh(was, 1), new(big.Int).Lsh(was, 1)
		if one := big.NewInt(1); low.Cmp(one) < 0 {
			low = one
			if high.Cmp(one) < 0 {
				high = one
			}
		}
		if top := value(bytes.Repeat([]byte{0xff}, 32)); high.Cmp(top) > 0 {
			high = top
		}
		if is.Cmp(low) < 0 || is.Cmp(high) > 0 {
			t.Fatalf("%s moves to %s", old, next)
		}
		more := func(n uint32) uint32 { return n + min(rapid.Uint32().Draw(t, "more"), ^n) }
		above := func(other Threshold, by string) {
			if bytes.Compare(other[:], next[:]) < 0 {
				t.Fatalf("%s: %s moves to %s, and then to %s", by, old, next, other)
			}
		}
		above(Retarget(old, claims, more(free)), "more free seats")
		above(Retarget(Threshold(value(old[:]).Or(was, value(bytes.Repeat([]byte{0x0f}, 32))).FillBytes(make([]byte, 32))), claims, free), "a higher threshold")
		if fewer := Retarget(old, more(claims), free); bytes.Compare(fewer[:], next[:]) > 0 {
			t.Fatalf("more claims: %s moves to %s, and then to %s", old, next, fewer)
		}
	})
}

func TestRetargetAimsAtOneAndAHalfClaims(t *testing.T) {
	at := func(n uint64) Threshold { return threshold(new(big.Int).SetUint64(n)) }
	for _, row := range []struct {
		t            uint64
		claims, free uint32
		want         uint64
	}{
		{1000, 30, 20, 1000}, {1000, 25, 20, 1200}, {1000, 60, 20, 500}, {1000, 600, 20, 500}, {1000, 0, 20, 2000},
		{1000, 2, 1, 750}, {1000, 3, 0, 500}, {1000, 0, 0, 1500}, {1, 1000, 1, 1}, {0, 1, 1, 1},
	} {
		if got := Retarget(at(row.t), row.claims, row.free); row.t > 0 && got != at(row.want) {
			t.Errorf("%+v: %s", row, got)
		}
	}
	if Retarget(Threshold{}, 1, 1) == (Threshold{}) {
		t.Error("a threshold of nothing stays for ever")
	}
}

func TestFirstThreshold(t *testing.T) {
	top := Threshold(bytes.Repeat([]byte{0xff}, 32))
	for _, row := range []struct {
		tickets uint64
		free    uint32
		want    Threshold
	}{
		{0, 1, top}, {1, 1, top}, {3, 2, top}, {6, 1, Threshold{0: 0x40}}, {48, 32, top}, {96, 32, Threshold{0: 0x80}},
		{3 << 20, 1, Threshold{2: 0x08}},
	} {
		if got := FirstThreshold(row.tickets, row.free); got != row.want {
			t.Errorf("%d tickets, %d free: %s", row.tickets, row.free, got)
		}
	}
	if got := FirstThreshold(1<<63, 0); got == (Threshold{}) {
		t.Error("nobody can win")
	}
}

func TestBudget(t *testing.T) {
	for n, want := range map[uint32]uint32{0: 0, 1: 1, 2: 1, 3: 1, 5: 1, 6: 2, 7: 2, 101: 33, 301: 100, 1<<32 - 1: (1<<32 - 1) / 3} {
		if got := Budget(n); got != want {
			t.Errorf("%d seats: %d may change, want %d", n, got, want)
		}
	}
}

func TestFreeSeats(t *testing.T) {
	for _, c := range []struct {
		n, seats uint32
		draw     bool
		want     uint32
	}{
		{1, 1, true, 0}, {3, 3, true, 1}, {3, 4, true, 1}, {3, 4, false, 1}, {4, 4, false, 0}, {101, 101, true, 33}, {90, 101, false, 11}, {90, 101, true, 30}, {101, 31, false, 0}, {2, 4, true, 1},
	} {
		if got := (Rules{Seats: c.seats, Draw: c.draw}).Free(c.n); got != c.want {
			t.Errorf("%d of %d seats, draws %t: %d are free, want %d", c.n, c.seats, c.draw, got, c.want)
		}
	}
}
