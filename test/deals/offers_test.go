package deals

import (
	"errors"
	"slices"
	"testing"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/chain/deal"
	"github.com/hpips/hpips/chain/storage"
	"github.com/hpips/hpips/proto/gen/storagev1"
	"github.com/hpips/hpips/spec/proof"
)

// Of many deals of one part each, who is first takes it: shares fit what nodes offer. Who offers nothing is asked for nothing, and gets nothing on a later day either.
func TestWhoOffersMoreIsDrawnMore(t *testing.T) {
	offers := []uint64{0, 1, 1, 2, 3, 4, 5} // GiB
	const deals = 320
	s := town7(t, 7)
	s.tomorrow()
	for i, n := range s.Nodes {
		s.must(s.offer(n, offers[i]<<10))
	}
	s.purse[node("zoe").Sender()] = 1_000_000
	got := make([]float64, len(offers))
	for range deals {
		s.pins("zoe", 1, 1, 1)
	}
	for i, n := range s.Nodes {
		for after := uint64(0); ; {
			list := s.offeredAfter(n, after)
			if len(list) == 0 {
				break
			}
			got[i] += float64(len(list))
			after = list[len(list)-1].Deal
		}
	}
	square := func(want func(i int) float64) (x float64) {
		for i := 1; i < len(offers); i++ {
			x += (got[i] - want(i)) * (got[i] - want(i)) / want(i)
		}
		return x
	}
	sum := 0.0
	for _, n := range got {
		sum += n
	}
	const most = 20.52 // of 5 degrees: p = 0.001
	fits := square(func(i int) float64 { return deals * float64(offers[i]) / 16 })
	t.Logf("drawn %v, chi-square %.1f", got, fits)
	if got[0] != 0 || sum != deals || fits > most {
		t.Errorf("%v of %d deals, chi-square %.1f of 5 degrees", got, deals, fits)
	}
	if alike := square(func(int) float64 { return deals / 6. }); alike < most {
		t.Errorf("equal shares fit as well: %.1f", alike)
	}
	s.tomorrow()
	if list := s.offered(s.Nodes[0]); len(list) > 0 {
		t.Errorf("who offers nothing may take %v on the next day", list)
	}
}

// Nobody gets more than it offered, on whatever day; and an offer is said once in an epoch, or an earlier word could be brought again.
func TestNobodyGetsMoreThanItOffers(t *testing.T) {
	s := town7(t, 7)
	s.tomorrow()
	alice := s.Nodes[0]
	for _, n := range s.Nodes[1:] {
		s.must(s.offer(n, 0))
	}
	s.must(s.offer(alice, 2))
	if err := s.offer(alice, 2); !errors.Is(err, storage.ErrTwice) {
		t.Errorf("the same: %v", err)
	}
	if err := s.offer(alice, 3); !errors.Is(err, storage.ErrTwice) {
		t.Errorf("another in one epoch: %v", err)
	}
	s.purse[node("zoe").Sender()] = 1_000_000
	var parts []proof.Part
	for range 3 { // parts of 684 and 685 KiB: 1 MiB each that begins, and three are in 2.01
		parts = append(parts, proof.Part{Deal: s.pins("zoe", 1, 1, 20)})
	}
	if err := s.take(s.Nodes[1], false, parts[0]); !errors.Is(err, storage.ErrOffer) {
		t.Errorf("who offers nothing takes a part: %v", err)
	}
	s.must(s.take(alice, false, parts[0]))
	s.must(s.take(alice, false, parts[1]))
	h := s.holder(alice)
	if used := (h.Leaves - h.Archived + 1023) / 1024; used > 2 {
		t.Fatalf("%d MiB of 2 are taken", used)
	}
	if s.offered(alice) != nil {
		t.Errorf("alice has %d KiB of 2 MiB and is offered %v", h.Leaves, s.offered(alice))
	}
	if err := s.take(alice, false, parts[2]); !errors.Is(err, storage.ErrOffer) {
		t.Errorf("beyond 2 MiB: %v", err)
	}
	s.tomorrow()
	s.proves()
	if err := s.take(alice, false, parts[2]); !errors.Is(err, storage.ErrOffer) {
		t.Errorf("beyond 2 MiB, on another day: %v", err)
	}
	s.must(s.offer(alice, 3))
	s.must(s.take(alice, false, parts[2]))
	if s.keepers(parts[2].Deal)[0] != alice {
		t.Errorf("kept by %v", s.keepers(parts[2].Deal))
	}
	s.solvent()
}

// A word of which several parts fit, but not all, is refused whole.
func TestPartsOfOneWordCountTogether(t *testing.T) {
	s := town7(t, 7)
	s.tomorrow()
	alice := s.Nodes[0]
	for _, n := range s.Nodes {
		s.must(s.offer(n, 1))
	}
	s.purse[node("zoe").Sender()] = 1_000_000
	one, two := proof.Part{Deal: s.pins("zoe", 1, 1, 20)}, proof.Part{Deal: s.pins("zoe", 1, 1, 20)}
	s.tomorrow()
	if err := s.take(alice, false, one, two); !errors.Is(err, deal.ErrPlace) {
		t.Errorf("two parts of 685 KiB for 1 MiB: %v", err)
	}
	if slices.Contains(s.keepers(one.Deal), alice) {
		t.Error("the first is taken all the same")
	}
	s.must(s.take(alice, false, one))
}

// An owner's part counts also when its node offers nothing any more: another node of the owner gets none of the deal.
func TestWhoStopsOfferingStillCounts(t *testing.T) {
	s := townOf(t, 7, "alice", "alice/2", "bob")
	s.tomorrow()
	s.purse[node("zoe").Sender()] = 1_000_000
	d := s.pins("zoe", 1, 2, 20)
	s.taken()
	keepers := s.keepers(d)
	bobs := slices.Index(keepers, "bob")
	if bobs < 0 || keepers[1-bobs] == "" {
		t.Fatalf("kept by %v", keepers)
	}
	first, second := keepers[1-bobs], node("alice/2")
	if first == second {
		second = "alice"
	}
	s.tomorrow()
	s.must(s.offer(first, 0))
	s.proves("bob")
	s.lapse("bob")
	if got := s.keepers(d); got[bobs] != "" || got[1-bobs] != first {
		t.Fatalf("kept by %v", got)
	}
	if err := s.take(second, false, proof.Part{Deal: d, Number: uint64(bobs)}); !errors.Is(err, deal.ErrPlace) {
		t.Errorf("a second node of one owner takes the other copy: %v", err)
	}
	s.Retired[first] = true // its pieces are others' from tomorrow on
	s.tomorrow()
	s.taken(first, "bob")
	if got := s.keepers(d); !slices.Contains(got, second) {
		t.Errorf("and when the first is gone: %v", got)
	}
}

// A word that is no good is refused at the price of a look at who says it. Where only the order of all nodes shows that a part is another's, they are read once for a block on the way into the mempool, however many such words come.
func TestAWordThatIsNoGoodCostsLittle(t *testing.T) {
	s := town7(t, 7)
	s.purse[node("zoe").Sender()] = 1_000_000
	taken := proof.Part{Deal: s.pins("zoe", 1, 1, 20)}
	s.taken()
	open := proof.Part{Deal: s.pins("zoe", 1, 1, 20)}
	other := s.Nodes[slices.IndexFunc(s.Nodes, func(n node) bool { return s.keepers(taken.Deal)[0] != n && len(s.offered(n)) == 0 })]
	mempool := s.ctx.WithExecMode(sdk.ExecModeCheck)
	looks := func(m *storagev1.MsgKeep, want error) int {
		before := s.Looked
		if err := s.rows.CheckFree(mempool, m); !errors.Is(err, want) {
			t.Fatalf("%v, want %v", err, want)
		}
		return s.Looked - before
	}
	for range 3 {
		if n := looks(s.keeps(other, false, taken), deal.ErrTaken); n != 1 {
			t.Errorf("a part that another has: %d nodes are looked at", n)
		}
	}
	before := s.Looked
	if err := s.take(other, false, taken); !errors.Is(err, deal.ErrTaken) || s.Looked != before+1 {
		t.Errorf("the same in a block: %v, %d nodes are looked at", err, s.Looked-before)
	}
	if n := looks(s.keeps(other, false, open), deal.ErrPlace); n != 1+len(s.Nodes) {
		t.Errorf("the first in a block: %d nodes are looked at", n)
	}
	for range 3 {
		if n := looks(s.keeps(other, false, open), deal.ErrPlace); n != 1 {
			t.Errorf("a further one: %d nodes are looked at", n)
		}
	}
	s.blocks(1)
	mempool = s.ctx.WithExecMode(sdk.ExecModeCheck)
	if n := looks(s.keeps(other, false, open), deal.ErrPlace); n != 1+len(s.Nodes) {
		t.Errorf("the first after a block: %d nodes are looked at", n)
	}
}
