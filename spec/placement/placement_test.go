package placement

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func digest(s string) [32]byte { return sha256.Sum256([]byte(s)) }

// nodes are n of them, each with an owner and a network of its own and a weight.
func nodes(n int, weight func(i int) uint64) []Node {
	list := make([]Node, n)
	for i := range list {
		name := fmt.Sprintf("node %d", i)
		list[i] = Node{digest(name), NodePoint(digest("seed"), digest(name)), name, name, weight(i), weight(i)}
	}
	return list
}

func one(int) uint64 { return 1 }

func piece(i int) Point { return PiecePoint(digest("seed"), digest(fmt.Sprintf("piece %d", i))) }

func holders(t testing.TB, p Point, list []Node, r Rules) []Node {
	t.Helper()
	h, err := Holders(p, list, r)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func ids(list []Node) [][32]byte {
	var all [][32]byte
	for _, n := range list {
		all = append(all, n.ID)
	}
	return all
}

func TestTheLogarithmIsALogarithm(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	check := func(x uint64) {
		got, want := float64(log2(x))/(1<<logBits), math.Log2(float64(x))
		if math.Abs(got-want) > 1e-13 {
			t.Errorf("log2 %d = %.15f, want %.15f", x, got, want)
		}
	}
	for i := range 64 {
		x := uint64(1) << i
		if log2(x) != uint64(i)<<logBits {
			t.Errorf("log2 2^%d is %d", i, log2(x))
		}
		check(x + x/3)
		check(x | random.Uint64N(x))
	}
	if log2(math.MaxUint64) >= 64<<logBits {
		t.Error("what is below 2^64 has a logarithm below 64")
	}
	// Near 1 a float has no digits left for it: -log2(1-y) = y/ln 2 + …
	for _, below := range []uint64{1, 1000, 1 << 20, 1 << 34} {
		got, y := float64(64<<logBits-log2(-below))/(1<<logBits), float64(below)/(1<<32)/(1<<32)
		if want := -math.Log1p(-y) / math.Ln2; math.Abs(got-want) > 1.0/(1<<logBits)+want/(1<<20) {
			t.Errorf("2^64 - %d: %g, want %g", below, got, want)
		}
	}
}

// The same nodes in any order have the same holders, which are the first of the order that a sort by far ÷ weight gives.
func TestHoldersAreTheNearest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := nodes(rapid.IntRange(0, 80).Draw(t, "nodes"), func(i int) uint64 { return uint64(i % 7) })
		for i := range list {
			list[i].Owner = fmt.Sprint(rapid.IntRange(0, 40).Draw(t, "owner"))
			list[i].Network = fmt.Sprint(rapid.IntRange(0, 40).Draw(t, "network"))
		}
		r := Rules{rapid.IntRange(0, 60).Draw(t, "copies"), rapid.IntRange(0, 3).Draw(t, "per owner"), rapid.IntRange(0, 3).Draw(t, "per network"), rapid.Uint64Range(0, 4).Draw(t, "size")}
		p := piece(rapid.Int().Draw(t, "piece"))
		got, err := Holders(p, list, r)
		if err != nil {
			t.Fatal(err)
		}
		sorted := slices.SortedFunc(slices.Values(list), func(a, b Node) int {
			return cmp.Compare(float64(far(p, a.Point))/float64(a.Weight), float64(far(p, b.Point))/float64(b.Weight))
		})
		var want [][32]byte
		owners, networks := map[string]int{}, map[string]int{}
		for _, n := range sorted {
			if n.Weight > 0 && n.Room >= r.Size && len(want) < r.Copies && (r.PerOwner == 0 || owners[n.Owner] < r.PerOwner) && (r.PerNetwork == 0 || networks[n.Network] < r.PerNetwork) {
				owners[n.Owner]++
				networks[n.Network]++
				want = append(want, n.ID)
			}
		}
		if !slices.Equal(ids(got), want) {
			t.Fatalf("%d holders, want %d, or others", len(got), len(want))
		}
		rand.New(rand.NewPCG(3, 4)).Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		if again, err := Holders(p, list, r); err != nil || !slices.Equal(ids(again), want) {
			t.Fatalf("in another order others hold it: %v", err)
		}
	})
}

func TestAllHoldWhileThereAreFew(t *testing.T) {
	for _, n := range []int{0, 1, 40, 50, 51, 52, 80} {
		if got := len(holders(t, piece(1), nodes(n, one), Archive())); got != min(n, Copies) {
			t.Errorf("%d of %d nodes hold it", got, n)
		}
	}
	together := nodes(10, one)
	for i := range together {
		together[i].Network = "203.0.113.0/24"
	}
	if got := holders(t, piece(1), together, Archive()); len(got) != 1 {
		t.Errorf("%d of one network", len(got))
	}
	if got := holders(t, piece(1), together, Rules{Copies: 51}); len(got) != 10 {
		t.Errorf("%d of 10 where networks have no limit", len(got))
	}
}

// Where each node has an owner and a network of its own, one that leaves is replaced by one, one that comes replaces one at most, and the others keep their order.
func TestLittleMoves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := nodes(rapid.IntRange(52, 120).Draw(t, "nodes"), func(i int) uint64 { return uint64(1 + i%5) })
		p := piece(rapid.Int().Draw(t, "piece"))
		gone := rapid.IntRange(0, len(list)-1).Draw(t, "who leaves")
		all, err := Holders(p, list, Archive())
		if err != nil {
			t.Fatal(err)
		}
		rest, err := Holders(p, slices.Delete(slices.Clone(list), gone, gone+1), Archive())
		if err != nil {
			t.Fatal(err)
		}
		before, after := ids(all), ids(rest)
		if at := slices.Index(before, list[gone].ID); at >= 0 {
			before, after = slices.Delete(before, at, at+1), after[:len(after)-1]
		}
		if !slices.Equal(before, after) {
			t.Fatal("more moved than the one that left")
		}
		list[gone].Weight++ // whoever grows takes only more
		more, err := Holders(p, list, Archive())
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(ids(all), list[gone].ID) && !slices.Contains(ids(more), list[gone].ID) {
			t.Fatal("who offers more lost a piece")
		}
	})
}

// With shared owners and networks one that leaves may let another of its group in, which keeps out a third: few do.
func TestLittleMovesInGroups(t *testing.T) {
	list := nodes(400, one)
	for i := range list {
		list[i].Owner, list[i].Network = fmt.Sprint(i/3), fmt.Sprint((i*7)%150)
	}
	moved, left := 0, 0
	for i := range 60 {
		before := ids(holders(t, piece(i), list, Archive()))
		for gone := range list {
			if !slices.Contains(before, list[gone].ID) {
				continue
			}
			left++
			after := ids(holders(t, piece(i), slices.Delete(slices.Clone(list), gone, gone+1), Archive()))
			for _, id := range after {
				if !slices.Contains(before, id) {
					moved++
				}
			}
		}
	}
	mean := float64(moved) / float64(left)
	t.Logf("%d left, %d came: %.3f for one", left, moved, mean)
	if mean > 1.2 || mean < 1 {
		t.Errorf("%.3f new holders for one that left", mean)
	}
}

// drawn counts who is first for so many pieces.
func drawn(t *testing.T, list []Node, pieces int) []int {
	t.Helper()
	first := map[[32]byte]int{}
	for i := range pieces {
		first[holders(t, piece(i), list, Rules{Copies: 1, Size: 1})[0].ID]++
	}
	counts := make([]int, len(list))
	for i, n := range list {
		counts[i] = first[n.ID]
	}
	return counts
}

// square is Pearson's chi-square of counts against shares in proportion to what is offered.
func square(counts []int, offered func(i int) uint64) (x float64) {
	all, sum := 0, 0.0
	for i, n := range counts {
		all, sum = all+n, sum+float64(offered(i))
	}
	for i, n := range counts {
		want := float64(all) * float64(offered(i)) / sum
		x += (float64(n) - want) * (float64(n) - want) / want
	}
	return x
}

// Over many pieces each node holds the share of what it offers: first places exactly, as a draw does. Equal weights, for the same offers, do not pass.
func TestSharesFitOffers(t *testing.T) {
	const most = 72.05 // of 39 degrees: p = 0.001
	offer := func(i int) uint64 { return uint64(1+i%4*3) << 10 }
	weigh := func(i int) uint64 { return Weight(offer(i), 0) }
	x := square(drawn(t, nodes(40, weigh), 40_000), offer)
	t.Logf("chi-square %.1f", x)
	if x > most {
		t.Errorf("chi-square %.1f of 39 degrees", x)
	}
	if x := square(drawn(t, nodes(40, one), 10_000), offer); x < most {
		t.Errorf("equal weights pass: chi-square %.1f", x)
	}
}

// What nobody can check buys little: mallory, who proved nothing and offers the most that can be written, is drawn as often as bob, who offers 64 GiB; and once both prove what they keep, as who offers 1 TiB.
func TestAnOfferBeyondWhatIsProvenBuysNothing(t *testing.T) {
	for what, row := range map[string]struct{ honest, kept uint64 }{"nothing is proven": {Newcomer, 0}, "a TiB is proven": {Most, Most}} {
		offer := func(i int) uint64 {
			if i == 0 {
				return math.MaxUint64
			}
			return row.honest
		}
		weigh := func(i int) uint64 { return Weight(offer(i), row.kept) }
		alike := func(int) uint64 { return 1 }
		if x := square(drawn(t, nodes(10, weigh), 10_000), alike); x > 27.88 { // of 9 degrees: p = 0.001
			t.Errorf("%s: chi-square %.1f against equal shares", what, x)
		}
		believed := nodes(10, func(i int) uint64 { return min(offer(i), MaxWeight) })
		if got := drawn(t, believed, 1000)[0]; got < 990 {
			t.Errorf("%s: who is believed gets %d of 1000 pieces", what, got)
		}
	}
}

func TestAWeightGrowsWithWhatIsProven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		offered, kept := rapid.Uint64().Draw(t, "offered"), rapid.Uint64().Draw(t, "kept")
		w := Weight(offered, kept)
		if w > offered || w > Most || w > 0 != (offered > 0) || Weight(offered, kept+min(1, math.MaxUint64-kept)) < w || kept < offered && w < min(kept, Most) {
			t.Fatalf("%d MiB offered and %d kept weigh %d", offered, kept, w)
		}
		if r := Room(offered, kept); r > offered || r > 0 && r+kept != offered {
			t.Fatalf("of %d MiB, %d taken, %d are left", offered, kept, r)
		}
	})
}

// bob, who cuts his disk into ten nodes, holds what he would with one: no more, in one place or in 51.
func TestNobodyGainsByManyNames(t *testing.T) {
	whole := nodes(60, func(i int) uint64 { return 100 })
	cut := slices.Clone(whole[1:])
	for i := range 10 {
		name := fmt.Sprintf("bob %d", i)
		cut = append(cut, Node{digest(name), NodePoint(digest("seed"), digest(name)), whole[0].Owner, name, 10, 10})
	}
	held := func(list []Node, r Rules) (n int) {
		for i := range 4000 {
			for _, h := range holders(t, piece(i), list, r) {
				if h.Owner == whole[0].Owner {
					n++
				}
			}
		}
		return n
	}
	r := Rules{Copies: 10, PerOwner: 1, PerNetwork: 1}
	one, ten := held(whole, r), held(cut, r)
	t.Logf("of 4000 pieces in 10 copies on 60 nodes: %d with one name, %d with ten", one, ten)
	if math.Abs(float64(ten-one)) > 4*math.Sqrt(2*float64(one)) {
		t.Errorf("%d pieces with one name, %d with ten", one, ten)
	}
}

func TestWhatCannotBeIsRefused(t *testing.T) {
	twice := append(nodes(3, one), nodes(1, one)...)
	if got := holders(t, piece(1), twice, Rules{Copies: 51}); len(got) != 3 {
		t.Errorf("a node that comes twice is one: %d holders", len(got))
	}
	if _, err := Holders(piece(1), nodes(1, func(int) uint64 { return MaxWeight + 1 }), Archive()); err == nil {
		t.Error("a weight beyond the limit")
	}
	if _, err := Holders(piece(1), make([]Node, MaxNodes+1), Archive()); err == nil {
		t.Error("nodes beyond the limit")
	}
}

// FuzzHolders: whatever nodes there are, holders are nodes, each once and within the limits, and as many as can be where there are no limits.
func FuzzHolders(f *testing.F) {
	f.Add([]byte("0123456789abcdefghijklmnop"), uint8(3), uint8(1), uint8(1))
	f.Add([]byte{}, uint8(0), uint8(0), uint8(0))
	f.Fuzz(func(t *testing.T, b []byte, copies, perOwner, perNetwork uint8) {
		var list []Node
		weighty := 0
		for i := 0; len(b) >= 10 && i < 200; i, b = i+1, b[10:] {
			w := binary.BigEndian.Uint64(b) % (MaxWeight + 1)
			list = append(list, Node{ID: digest(fmt.Sprint(i)), Point: digest(string(b[:10])), Owner: string(b[8:9]), Network: string(b[9:10]), Weight: w})
			weighty += int(min(w, 1))
		}
		r := Rules{Copies: int(copies), PerOwner: int(perOwner), PerNetwork: int(perNetwork)}
		got, err := Holders(digest("piece"), list, r)
		if err != nil {
			t.Fatal(err)
		}
		seen, owners, networks := map[[32]byte]bool{}, map[string]int{}, map[string]int{}
		for _, n := range got {
			owners[n.Owner]++
			networks[n.Network]++
			if seen[n.ID] || n.Weight == 0 || r.PerOwner > 0 && owners[n.Owner] > r.PerOwner || r.PerNetwork > 0 && networks[n.Network] > r.PerNetwork {
				t.Fatalf("%x must not hold it", n.ID)
			}
			seen[n.ID] = true
		}
		if free := r.PerOwner == 0 && r.PerNetwork == 0; len(got) > r.Copies || free && len(got) != min(r.Copies, weighty) {
			t.Fatalf("%d holders of %d nodes, %+v", len(got), weighty, r)
		}
	})
}

func BenchmarkHolders(b *testing.B) {
	for _, n := range []int{60, 1000, 10_000, 100_000, 1_000_000} {
		list := nodes(n, one)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				holders(b, piece(1), list, Archive())
			}
		})
	}
}
