package committee

import (
	"fmt"
	"math"
	"reflect"
	"testing"

	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/spec/sortition"
)

// lottery lets everybody's draws run for many epochs and counts how often each node took a seat anew.
func lottery(t *testing.T, epochs int, all []*person) map[sortition.Key]int {
	t.Helper()
	params := Development()
	params.Seats, params.DaySeconds = 13, 1<<30
	w := found(t, storetypes.StoreTypeDB, params, 13, all...)
	for _, p := range all[13:] {
		w.ticketed(p, "network of "+p.name)
	}
	for range 10 { // until nobody sits who was named in the genesis, and the threshold has settled
		w.turn(all)
	}
	draws := map[sortition.Key]int{}
	byVote := map[sortition.Key]sortition.Key{}
	for _, p := range all {
		byVote[public(p.consensus)] = p.id()
	}
	for range epochs {
		for _, vote := range w.turn(all) {
			draws[byVote[vote]]++
		}
	}
	return draws
}

// uniform is the probability that equal chances give counts as uneven as these (chi-square, by Wilson and Hilferty's cube root).
// A node that sits is not drawn again, which makes counts a little more even than independent draws would be.
func uniform(counts []int) float64 {
	sum := 0
	for _, n := range counts {
		sum += n
	}
	mean, square := float64(sum)/float64(len(counts)), 0.0
	for _, n := range counts {
		square += (float64(n) - mean) * (float64(n) - mean) / mean
	}
	free := float64(len(counts) - 1)
	z := (math.Cbrt(square/free) - (1 - 2/(9*free))) / math.Sqrt(2/(9*free))
	return math.Erfc(z/math.Sqrt2) / 2
}

// Forty nodes with one ticket each are drawn equally often. The control: if two of them were Mallory's, who pretends to hold one ticket,
// the same test would find her out.
func TestDrawsAreUniform(t *testing.T) {
	t.Parallel()
	all := people(40)
	draws := lottery(t, 2000, all)
	var counts []int
	for _, p := range all {
		counts = append(counts, draws[p.id()])
	}
	p := uniform(counts)
	t.Logf("p = %.3g, draws: %v", p, counts)
	if !(p > 1e-4) {
		t.Errorf("draws are not uniform: p = %.3g, %v", p, counts)
	}
	mallory := append([]int{counts[0] + counts[1]}, counts[2:]...)
	if p := uniform(mallory); !(p < 1e-6) {
		t.Errorf("a doubled ticket was not found: p = %.3g, %v", p, mallory)
	}
}

// The committee asks of a node's means only whether they suffice: nothing that it is told by others holds an amount. That they change no draw on a whole chain is
// TestMeansChangeNothing in chain.
func TestTheCommitteeIsToldNoAmounts(t *testing.T) {
	for _, asked := range []reflect.Type{reflect.TypeFor[Registry](), reflect.TypeFor[Credit]()} {
		for i := range asked.NumMethod() {
			m := asked.Method(i).Type
			for o := range m.NumOut() {
				switch out := m.Out(o); out {
				case reflect.TypeFor[Node](), reflect.TypeFor[bool](), reflect.TypeFor[error]():
				default:
					t.Errorf("%s.%s tells the committee a %s: no amount may come in", asked, asked.Method(i).Name, out)
				}
			}
		}
	}
}

// Eve looks at the draw that is open and makes keys until one would win it by far. The ticket is younger than the draw, so that it counts
// for later ones only, of which she knows nothing; changed keys cost her the ticket.
func TestGrindingKeysGainsNothing(t *testing.T) {
	all := people(20)
	params := Development()
	params.Seats, params.DaySeconds = 7, 1<<30
	w := found(t, storetypes.StoreTypeDB, params, 7, all...)
	for _, p := range all[7:] {
		w.ticketed(p, "network of "+p.name)
	}
	w.heartbeat()
	ground := func(round int) *person {
		e := w.epoch()
		var eve *person
		best := sortition.Output{255}
		for i := range 60 {
			p := newPerson(fmt.Sprintf("eve-%d-%d", round, i))
			proof, err := sortition.Prove(p.vrf, sortition.DrawAlpha(chainID, e.Number, sortition.Seed(e.DrawSeed)))
			w.must(err)
			beta, err := proof.Beta()
			w.must(err)
			if o := beta.Output(); o.Rank(1).Compare(best.Rank(1)) < 0 {
				eve, best = p, o
			}
		}
		return eve
	}
	wins, rounds := 0, 25
	for round := range rounds {
		eve := ground(round)
		w.register(eve)
		w.ticketed(eve, fmt.Sprint("network of eve ", round))
		if m := w.won(eve, 1); m == nil {
			t.Fatal("sixty keys, none of which wins: the test grinds too little")
		} else {
			wants(t, "claim in the draw that was ground for", w.block(m)[0], ErrYoung)
		}
		w.turn(all)
		w.heartbeat()
		if w.won(eve, 1) != nil {
			wins++
		}
		w.must(w.k.Forget(w.ctx(block{}), eve.id()))
	}
	t.Logf("%d wins in %d epochs", wins, rounds)
	if wins > 12 { // 1.5 claims for each of two free seats, among 21 tickets: one in seven
		t.Errorf("eve won %d of %d draws with ground keys", wins, rounds)
	}

	w.turn(all)
	w.heartbeat()
	mallory := all[8]
	for w.won(mallory, 1) == nil {
		w.turn(all)
		w.heartbeat()
	}
	m := w.won(mallory, 1)
	n := w.registry.nodes[mallory.id()]
	n.VRF, n.KeysHeight = public(newPerson("another").vrf), w.height
	w.registry.nodes[mallory.id()] = n
	wants(t, "claim after a change of keys", w.block(m)[0], ErrKeys)
}

// Ten tickets in one network win about as often together as one that is alone in its own.
func TestNetworkOfTenWinsLikeOne(t *testing.T) {
	all := people(33)
	params := Development()
	params.Seats, params.DaySeconds, params.EpochBlocks, params.ClaimBlocks = 7, 1<<30, 100, 99
	w := found(t, storetypes.StoreTypeDB, params, 7, all...)
	for _, p := range all[7:23] {
		w.ticketed(p, "network of "+p.name)
	}
	crowd := all[23:]
	for _, p := range crowd {
		w.ticketed(p, "203.0.113.0/24")
	}
	together, alone := 0, 0
	for range 100 {
		w.heartbeat()
		for _, p := range crowd {
			if m := w.won(p, 10); m != nil {
				together++
				w.must(w.block(m)[0])
			} else if m := w.won(p, 1); m != nil {
				wants(t, "a claim that would win alone", w.block(m)[0], ErrThreshold)
			}
		}
		for _, p := range all[:23] {
			if m := w.won(p, 1); m != nil {
				alone++
				w.must(w.block(m)[0])
			}
		}
		w.close()
	}
	t.Logf("the network of ten: %d wins; one alone: %.1f", together, float64(alone)/23)
	if mean := float64(alone) / 23; float64(together) > mean+4*math.Sqrt(mean)+1 {
		t.Errorf("ten in one network won %d times, one alone %.1f times", together, mean)
	}
}

// crowded is a chain with many tickets in an open epoch, and eight claims for it: the retarget keeps them few on a real chain.
func crowded(t reporter, kind storetypes.StoreType, tickets int) (*world, []*person) {
	params := Development()
	params.Seats, params.DaySeconds = 13, 1<<30
	all := people(40)
	w := found(t, kind, params, 13, all...)
	for _, p := range all[13:] {
		w.ticketed(p, "network of "+p.name)
	}
	for i := range tickets - len(all) {
		w.stranger(&person{name: fmt.Sprint(i)}, sortition.Key(sortition.Genesis(fmt.Sprint("stranger ", i))))
	}
	w.heartbeat()
	return w, all
}

func (w *world) eightClaims(all []*person) (claims []sdk.Msg) {
	w.threshold(0xff)
	for _, p := range all {
		if m := w.won(p, 1); m != nil && len(claims) < 8 {
			claims = append(claims, m)
		}
	}
	return claims
}

// An epoch of eight claims makes the store work as much with 20,000 tickets as with 200, as gas counts it: reads, writes, steps, bytes.
func TestDrawCostsClaimsNotTickets(t *testing.T) {
	var gas []uint64
	for _, tickets := range []int{200, 20_000} {
		w, all := crowded(t, storetypes.StoreTypeDB, tickets)
		before := w.gas
		for range 3 {
			for _, m := range w.eightClaims(all) {
				ctx := w.ctx(block{}).WithBlockHeight(w.height + 1)
				w.must(w.k.applyClaim(ctx, m.(*committeev1.MsgClaim)))
				w.gas += ctx.GasMeter().GasConsumed()
			}
			w.close()
			w.heartbeat()
		}
		gas = append(gas, w.gas-before)
	}
	if a, b := float64(gas[0]), float64(gas[1]); math.Abs(a-b) > 0.02*a {
		t.Errorf("the store's work: %d with 200 tickets, %d with 20,000", gas[0], gas[1])
	}
	t.Logf("gas: %d", gas)
}

// A draw costs as much with 100,000 tickets as with 1,000: it looks at the claims alone.
func BenchmarkDraw(b *testing.B) {
	for _, tickets := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("tickets=%d", tickets), func(b *testing.B) {
			w, all := crowded(b, storetypes.StoreTypeIAVL, tickets)
			before := w.gas
			b.ResetTimer()
			for range b.N {
				b.StopTimer()
				w.store.Commit()
				claims := w.eightClaims(all)
				b.StartTimer()
				for _, err := range w.block(claims...) {
					w.must(err)
				}
				w.close()
				w.heartbeat()
			}
			b.ReportMetric(float64(w.gas-before)/float64(b.N), "gas/op")
		})
	}
}

// stranger gives a ticket to a node of which nothing is known but its key.
func (w *world) stranger(p *person, id sortition.Key) {
	ctx := w.ctx(block{})
	b, err := w.k.beacon.Get(ctx)
	w.must(err)
	w.must(w.k.admit(ctx, b, committeev1.Ticket{
		Node: id[:], Owner: "owner-" + p.name, Network: "network of stranger " + p.name,
		ConsensusKey: id[:], VrfKey: id[:], UntilDay: 1 << 40,
	}))
}

// threshold lets every draw win that is below first·2^248.
func (w *world) threshold(first byte) {
	e := w.epoch()
	e.Threshold = append([]byte{first}, make([]byte, 31)...)
	w.must(w.k.epoch.Set(w.ctx(block{}), e))
}
