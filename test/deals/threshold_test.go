package deals

import (
	"errors"
	"slices"
	"testing"

	"github.com/hpips/hpips/chain/deal"
	"github.com/hpips/hpips/proto/gen/dealv1"
	"github.com/hpips/hpips/spec/proof"
)

// lapse lets some nodes miss as many days as it takes until they are away; all others prove theirs, and say that they are there.
func (s *town) lapse(gone ...node) {
	s.t.Helper()
	for range 4 {
		s.tomorrow()
		s.proves(gone...)
	}
	for _, n := range s.Nodes {
		if s.holder(n).Away && !slices.Contains(gone, n) {
			s.must(s.hold(n))
		}
	}
}

func (s *town) parts(number uint64) (dealv1.Deal, []dealv1.Part) {
	r, err := s.deals.Queries().Deal(s.ctx, &dealv1.QueryDealRequest{Number: number})
	s.must(err)
	return r.Deal, r.Parts
}

// Any three of ten parts give it back: what is lost is made anew when fewer than seven are kept, and by whoever is first when no more than five are. Until then it waits for who had it.
func TestLostPartsWaitForTheThreshold(t *testing.T) {
	s := townOf(t, 7, "alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "kim", "leo")
	s.purse[node("zoe").Sender()] = 1_000_000
	number := s.pins("zoe", 3, 10, 200)
	part := func(n uint64) proof.Part { return proof.Part{Deal: number, Number: n} }
	s.taken()
	keepers := s.keepers(number)
	if slices.Contains(keepers, "") {
		t.Fatalf("kept by %v", keepers)
	}
	var spare []node
	for _, n := range s.Nodes {
		if !slices.Contains(keepers, n) {
			spare = append(spare, n)
		}
	}
	gone := keepers[:3]
	s.lapse(gone...)
	if d, parts := s.parts(number); d.Kept != 7 || len(parts[0].Node) > 0 || parts[0].Opened != 0 {
		t.Fatalf("%d are kept, and the first part is %+v", d.Kept, parts[0])
	}
	for _, n := range spare {
		if got := s.offered(n); len(got) > 0 {
			t.Errorf("%s is offered %v while seven are kept", n, got)
		}
	}
	if err := s.take(spare[0], false, part(0)); !errors.Is(err, deal.ErrWaits) {
		t.Errorf("a part that waits, taken by another: %v", err)
	}
	s.must(s.hold(gone[0])) // is back, and takes up what it had
	if err := s.take(gone[0], false, part(1)); !errors.Is(err, deal.ErrWaits) {
		t.Errorf("who is back takes another's: %v", err)
	}
	s.must(s.take(gone[0], false, part(0)))
	if d, _ := s.parts(number); d.Kept != 8 || s.keepers(number)[0] != gone[0] {
		t.Fatalf("%d are kept by %v", d.Kept, s.keepers(number))
	}
	s.solvent()

	s.lapse(keepers[1:5]...) // two more go: six are left, and four are to be made anew
	d, parts := s.parts(number)
	if d.Kept != 6 {
		t.Fatalf("%d are kept", d.Kept)
	}
	for n := range 10 {
		if lost := n >= 1 && n < 5; lost != (parts[n].Opened == s.Today) {
			t.Errorf("part %d on day %d: %+v", n, s.Today, parts[n])
		}
	}
	turns := map[uint64]node{}
	for _, n := range spare {
		for _, p := range s.offered(n) {
			turns[p.Number] = n
		}
	}
	if len(turns) != 2 || turns[1] == "" || turns[2] == "" {
		t.Fatalf("above the danger point parts are dealt out: %v", turns)
	}
	if err := s.take(turns[2], false, part(1)); !errors.Is(err, deal.ErrPlace) {
		t.Errorf("out of turn: %v", err)
	}
	s.lapse(keepers[1:6]...) // nobody took one, and another goes: five are left
	if d, _ := s.parts(number); d.Kept != 5 {
		t.Fatalf("%d are kept", d.Kept)
	}
	s.must(s.take(turns[2], false, part(5))) // lost today, and by turn another's
	s.taken(keepers[1:6]...)
	if d, _ := s.parts(number); d.Kept != 7 {
		t.Errorf("%d are kept", d.Kept)
	}
	s.must(s.hold(keepers[3]))
	s.must(s.take(keepers[3], false, part(3))) // its own
	before := s.earned(keepers[3])
	for range 2 {
		s.tomorrow()
		s.proves()
		s.solvent()
	}
	if got := s.earned(keepers[3]) - before; got != 2*price {
		t.Errorf("who took its part up again earned %d with it", got)
	}
}

// Of copies each is made anew at the first loss, by whose turn it is.
func TestALostCopyIsMadeAnewAtOnce(t *testing.T) {
	s := town7(t, 7)
	s.purse[node("zoe").Sender()] = 1_000_000
	number := s.pins("zoe", 1, 4, 200)
	s.taken()
	keepers := s.keepers(number)
	s.lapse(keepers[2])
	d, parts := s.parts(number)
	if d.Kept != 3 || parts[2].Opened != s.Today {
		t.Fatalf("%d are kept, the third copy is %+v", d.Kept, parts[2])
	}
	if err := s.take(keepers[0], false, proof.Part{Deal: number, Number: 2}); !errors.Is(err, deal.ErrPlace) {
		t.Errorf("who has one takes another: %v", err)
	}
	s.taken(keepers[2])
	if got := s.keepers(number); got[2] == "" || got[2] == keepers[2] {
		t.Errorf("kept by %v", got)
	}
	s.solvent()
}
