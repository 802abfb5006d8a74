package sortition

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"math"
	"slices"
	"testing"
)

// ticket is one key in the draw. Several may belong to one person, who is counted.
type ticket struct {
	node           Key
	person         int
	owner, network string
	draw           func(alpha []byte) Output
}

// hashed draws by a hash in place of the VRF: as unpredictable for the purpose of counting, and a hundred times as fast.
func hashed(node Key) func([]byte) Output {
	return func(alpha []byte) Output { return sha256.Sum256(append(node[:], alpha...)) }
}

// tickets gives n people one ticket each, all of different owners and networks.
func tickets(n int) (list []ticket) {
	for i := range n {
		name := fmt.Sprintf("person %d", i)
		list = append(list, ticket{key(name), i, name, name, hashed(key(name))})
	}
	return list
}

// play draws committees for a number of epochs. It counts, by person, the new draws, that is, how often one of their tickets came in that did
// not sit, and the epochs in which they sat; and it gives the mean number of claims.
func play(t *testing.T, all []ticket, people, epochs int, r Rules) (draws, seated []int, claimed float64) {
	t.Helper()
	draws, seated = make([]int, people), make([]int, people)
	behind := map[string]uint64{} // tickets of each network
	owner := map[Key]int{}
	for _, x := range all {
		behind[x.network]++
		owner[x.node] = x.person
	}
	seed := Genesis("lottery")
	limit := FirstThreshold(uint64(len(all)), r.Seats/3)
	var sitting []Member
	for epoch := range uint64(epochs) {
		var claims []Candidate
		for _, x := range all {
			if rank := x.draw(DrawAlpha("lottery", epoch, seed)).Rank(behind[x.network]); rank.Below(limit) {
				claims = append(claims, Candidate{x.node, x.owner, x.network, rank})
			}
		}
		leave, enter, _ := Turn(sitting, claims, max(1, Budget(uint32(len(sitting)))), r)
		for _, c := range enter {
			if !sits(sitting, c.Node) {
				draws[owner[c.Node]]++
			}
		}
		sitting = turned(sitting, leave, enter, epoch+1)
		for _, m := range sitting {
			seated[owner[m.Node]]++
		}
		limit = Retarget(limit, uint32(len(claims)), r.Seats/3)
		seed = seed.Extend(Beta{})
		claimed += float64(len(claims)) / float64(epochs)
	}
	if len(sitting) != int(r.Seats) {
		t.Fatalf("%d of %d seats are taken", len(sitting), r.Seats)
	}
	return draws, seated, claimed
}

// uniform is the chance that counts of a uniform law differ from their mean as much as these do: Pearson's chi-square test.
// New draws are a little more even than the law (who sits is not drawn), so that the test does not cry wolf.
func uniform(counts []int) float64 {
	sum := 0
	for _, n := range counts {
		sum += n
	}
	mean, x := float64(sum)/float64(len(counts)), 0.0
	for _, n := range counts {
		x += (float64(n) - mean) * (float64(n) - mean) / mean
	}
	return upper(x, len(counts)-1)
}

// upper is the upper tail of the chi-square distribution: Q(a+1, y) = Q(a, y) + y^a e^-y / Γ(a+1) (DLMF 8.8.6), from Q(1/2, y) = erfc(√y)
// or Q(1, y) = e^-y upwards, y = x/2.
func upper(x float64, degrees int) float64 {
	y, a, q := x/2, 1.0, math.Exp(-x/2)
	if degrees%2 == 1 {
		a, q = 0.5, math.Erfc(math.Sqrt(x/2))
	}
	for ; a < float64(degrees)/2; a++ {
		g, _ := math.Lgamma(a + 1)
		q += math.Exp(a*math.Log(y) - y - g)
	}
	return q
}

func TestUpperTail(t *testing.T) {
	for _, row := range []struct {
		x       float64
		degrees int
		want    float64
	}{{3.841459, 1, 0.05}, {5.991465, 2, 0.05}, {54.57223, 39, 0.05}, {72.05466, 39, 0.001}, {55.75848, 40, 0.05}} {
		if got := upper(row.x, row.degrees); math.Abs(got/row.want-1) > 1e-4 {
			t.Errorf("%+v: %g", row, got)
		}
	}
}

var committee = Rules{Seats: 12, PerOwner: 1, PerNetwork: 1, Draw: true}

func TestEveryTicketIsDrawnAlike(t *testing.T) {
	counts, _, claims := play(t, tickets(40), 40, 2000, committee)
	if p := uniform(counts); p < 1e-4 {
		t.Errorf("p = %g: %v", p, counts)
	}
	if claims < 4 || claims > 9 { // aimed at: six, for four free seats
		t.Errorf("%.1f claims an epoch", claims)
	}
}

func TestADoubledTicketIsFound(t *testing.T) {
	all := tickets(40)
	all = append(all, ticket{key("mallory"), 0, "mallory", "mallory", hashed(key("mallory"))})
	counts, _, _ := play(t, all, 40, 2000, committee)
	if p := uniform(counts); p > 1e-6 {
		t.Errorf("p = %g: %v", p, counts)
	}
}

func TestEveryKeyIsDrawnAlikeByRealProofs(t *testing.T) {
	all := tickets(20)
	for i := range all {
		secret, public := person(all[i].owner)
		all[i].node = public
		all[i].draw = func(alpha []byte) Output { return proven(t, secret, public, alpha) }
	}
	counts, _, _ := play(t, all, 20, 100, Rules{Seats: 6, PerOwner: 1, PerNetwork: 1, Draw: true})
	if p := uniform(counts); p < 1e-4 {
		t.Errorf("p = %g: %v", p, counts)
	}
}

// proven draws as a node and its judges do.
func proven(t *testing.T, secret ed25519.PrivateKey, public Key, alpha []byte) Output {
	proof, err := Prove(secret, alpha)
	if err != nil {
		t.Fatal(err)
	}
	beta, err := Verify(public, alpha, proof)
	if err != nil {
		t.Fatal(err)
	}
	return beta.Output()
}

// crowd is thirty people alone, and ten who share a network and are counted as the 31st.
func crowd() []ticket {
	all := tickets(30)
	for i := range 10 {
		name := fmt.Sprintf("neighbour %d", i)
		all = append(all, ticket{key(name), 30, name, "shared", hashed(key(name))})
	}
	return all
}

func TestTenBehindOneLineWinAsOneAlone(t *testing.T) {
	if _, seated, _ := play(t, crowd(), 31, 3000, committee); shareOfTheLast(seated) < 0.85 || shareOfTheLast(seated) > 1.1 {
		t.Errorf("ten of one network sit %.2f times as long as one alone: %v", shareOfTheLast(seated), seated)
	}
	scattered := crowd()
	for i := range scattered {
		scattered[i].network = scattered[i].owner
	}
	if _, seated, _ := play(t, scattered, 31, 300, committee); shareOfTheLast(seated) < 8 {
		t.Errorf("the control fails: ten of ten networks sit %.2f times as long as one alone", shareOfTheLast(seated))
	}
}

func shareOfTheLast(counts []int) float64 {
	sum, last := 0, len(counts)-1
	for _, n := range counts[:last] {
		sum += n
	}
	return float64(counts[last]*last) / float64(sum)
}

func TestGrindingKeysGainsNothing(t *testing.T) {
	known := Genesis("known to mallory")
	rank := func(k Key) Rank { return hashed(k)(DrawAlpha("lottery", 0, known)).Rank(1) }
	keys := make([]Key, 1000)
	for i := range keys {
		keys[i] = key(fmt.Sprintf("key %d", i))
	}
	best := slices.MinFunc(keys, func(a, b Key) int { return rank(a).Compare(rank(b)) })
	all := tickets(40)
	for _, x := range all {
		if rank(x.node).Compare(rank(best)) <= 0 {
			t.Fatal("the control fails: under a seed that is known, the best of a thousand keys must win")
		}
	}
	all[0].node, all[0].draw = best, hashed(best)
	counts, _, _ := play(t, all, 40, 2000, committee)
	if p := uniform(counts); p < 1e-4 {
		t.Errorf("p = %g: %v", p, counts)
	}
}
