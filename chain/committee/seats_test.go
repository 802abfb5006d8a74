package committee

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"pgregory.net/rapid"

	"github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/spec/sortition"
)

// settled is a chain of n seats and some ticket holders who do not sit.
func settled(t *testing.T, seats, others int) (*world, []*person) {
	t.Helper()
	params := Development()
	params.Seats, params.DaySeconds = uint32(seats), 1<<30
	all := people(seats + others)
	w := found(t, storetypes.StoreTypeIAVL, params, seats, all...)
	for _, p := range all[seats:] {
		w.ticketed(p, "network of "+p.name)
	}
	w.heartbeat()
	return w, all
}

// stepDown is a person's resignation.
func (w *world) stepDown(p *person) *committeev1.MsgStepDown {
	id, epoch := p.id(), w.epoch().Number
	signature, err := sortition.Resignation{Chain: chainID, Node: id, Epoch: epoch}.Sign(p.node)
	w.must(err)
	return &committeev1.MsgStepDown{Sender: p.sender(w.t), Node: id[:], Epoch: epoch, Signature: signature}
}

// setSeats is a vote on the size of the committee.
func (w *world) setSeats(n uint32) {
	p := w.params()
	p.Seats = n
	_, err := msgs{w.k}.UpdateParams(w.ctx(block{}), &committeev1.MsgUpdateParams{Authority: "gov", Params: p})
	w.must(err)
}

// standIn makes these people the substitutes, in this order.
func (w *world) standIn(all ...*person) {
	var candidates []sortition.Candidate
	for i, p := range all {
		candidates = append(candidates, sortition.Candidate{Node: p.id(), Rank: sortition.Rank{byte(i)}})
	}
	w.must(w.k.standBy(w.ctx(block{}), 1, candidates))
}

// Whatever people do, the engine gets a set that it can live with: never empty, never above the seats, and in no epoch does more than a third
// change, but for those who signed twice.
func TestRandomHistories(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		params := Development()
		params.Seats = uint32(rapid.IntRange(1, 14).Draw(r, "seats"))
		params.DaySeconds = uint64(rapid.SampledFrom([]int{7, 60, 1 << 30}).Draw(r, "day"))
		params.AbsenceWindow = uint32(rapid.IntRange(3, 12).Draw(r, "window"))
		params.AbsenceMissed = params.AbsenceWindow/2 + 1
		params.FirstDrawDay = uint64(rapid.IntRange(0, 2).Draw(r, "first draw"))
		all := people(20)
		w := found(r, storetypes.StoreTypeDB, params, rapid.IntRange(1, int(params.Seats)).Draw(r, "seated"), all...)
		for _, p := range all {
			if !w.sits(p) {
				w.ticketed(p, "network of "+p.name)
			}
		}
		most := int(params.Seats)
		var epoch, size, changed, expelled = uint64(1), w.size(), 0, 0
		check := func() {
			// What the block that closed an epoch changed belongs to that epoch.
			changed += max(len(w.added), len(w.removed))
			if allowed := int(sortition.Budget(uint32(size))) + expelled; changed > allowed {
				r.Fatalf("height %d: %d changes among %d seats in epoch %d", w.height, changed, size, epoch)
			}
			if n := len(w.next); n != w.size() || n > most {
				r.Fatalf("height %d: the engine has %d, %d sit, at most %d may", w.height, n, w.size(), most)
			}
			if now := w.epoch().Number; now != epoch {
				epoch, size, changed, expelled = now, w.size(), 0, 0
			}
		}
		for range rapid.IntRange(5, 60).Draw(r, "steps") {
			p := all[rapid.IntRange(0, len(all)-1).Draw(r, "who")]
			if !w.mayStop(nil) { // the chain stands still until somebody comes back
				for _, p := range all {
					p.stopped = false
				}
			}
			switch rapid.IntRange(0, 9).Draw(r, "what") {
			case 0:
				p.stopped = p.stopped || w.mayStop(p)
				continue
			case 1:
				p.stopped = false
				continue
			case 2:
				w.evidence = []offender{{p, max(w.height-3, 1)}}
				if w.sits(p) {
					expelled++
				}
				w.block()
			case 3:
				if !w.sits(p) {
					continue
				}
				w.block(w.stepDown(p))
			case 4:
				n := uint32(rapid.IntRange(1, 14).Draw(r, "vote"))
				w.setSeats(n)
				most = max(most, int(n), w.size())
				continue
			case 5:
				w.quiet(int64(rapid.IntRange(1, 30).Draw(r, "quiet")), time.Second)
				continue
			default:
				if e := w.epoch(); e.Opened > 0 && w.height < e.Opened+10 {
					var claims []sdk.Msg
					for _, p := range all {
						if m := w.won(p, 1); m != nil && !p.stopped {
							claims = append(claims, m)
						}
					}
					w.block(claims...)
				} else {
					w.block()
				}
			}
			check()
		}
	})
}

// mayStop tells whether the chain goes on without a person, and those who stopped already.
func (w *world) mayStop(p *person) bool {
	for _, set := range [][][]byte{w.voters, w.next} {
		up := 0
		for _, address := range set {
			if who := w.byVote[string(address)]; !who.stopped && who != p {
				up++
			}
		}
		if 3*up <= 2*len(set) {
			return false
		}
	}
	return true
}

// Dave's PC is off. After thirty of sixty blocks the first substitute has his seat, and the engine hears of it.
func TestAbsentSeatIsReplaced(t *testing.T) {
	w, all := settled(t, 7, 3)
	dave, erin, frank := all[3], all[7], all[8]
	w.standIn(erin, frank)
	params := w.params()
	params.EpochBlocks, params.ClaimBlocks = 100_000, 99_999 // nothing turns meanwhile
	w.must(w.k.setParams(w.ctx(block{}), params))

	dave.stopped = true
	missed := 0
	for w.sits(dave) {
		w.heartbeat()
		if missed++; missed > 30 {
			t.Fatal("dave still sits")
		}
	}
	if missed != 30 {
		t.Errorf("dave was replaced after %d missed commits, want 30", missed)
	}
	if !w.sits(erin) || w.sits(frank) || w.size() != 7 {
		t.Error("erin stood by first and should sit now")
	}
	// Erin counts from the first commit that she could sign.
	erin.stopped = true
	for range 29 {
		w.heartbeat()
	}
	if !w.sits(erin) {
		t.Error("erin was replaced before she missed thirty commits")
	}
	for range 2 {
		w.heartbeat()
	}
	if w.sits(erin) || !w.sits(frank) {
		t.Error("frank should sit for erin")
	}
}

// Mallory's PC is on, but signs for no block: that is as good as being off.
func TestVotesForNothingAreAbsence(t *testing.T) {
	w, all := settled(t, 7, 1)
	params := w.params()
	params.EpochBlocks, params.ClaimBlocks = 100_000, 99_999
	w.must(w.k.setParams(w.ctx(block{}), params))
	w.standIn(all[7])
	all[3].nays = true
	for range 30 {
		w.heartbeat()
	}
	if w.sits(all[3]) || !w.sits(all[7]) {
		t.Error("who never signs for a block still sits")
	}
}

// Oscar retired his node, and Niaj changed his keys. Both leave first, though others sat longer.
func TestWhoTakesNoPartLeavesFirst(t *testing.T) {
	w, all := settled(t, 9, 12)
	for range 2 {
		var claims []sdk.Msg
		w.threshold(0xff)
		for _, p := range all {
			if !w.sits(p) {
				claims = append(claims, w.claim(p))
			}
		}
		w.block(claims...)
		w.close()
		w.heartbeat()
	}
	var newest []*person
	for _, p := range all {
		if s, err := w.k.seatOf(w.ctx(block{}), p.node[32:]); err == nil && s.SinceEpoch == 3 {
			newest = append(newest, p)
		}
	}
	if len(newest) != 3 {
		t.Fatalf("%d entered last: this test wants three", len(newest))
	}
	oscar, niaj := w.registry.nodes[newest[0].id()], w.registry.nodes[newest[1].id()]
	oscar.Active, niaj.VRF = false, public(newPerson("other keys").vrf)
	w.registry.nodes[oscar.ID], w.registry.nodes[niaj.ID] = oscar, niaj
	w.threshold(0xff)
	var claims []sdk.Msg
	for _, p := range all {
		if !w.sits(p) {
			claims = append(claims, w.claim(p))
		}
	}
	w.block(claims...)
	w.close()
	if w.sits(newest[0]) || w.sits(newest[1]) || !w.sits(newest[2]) {
		t.Error("who takes no part any more should leave before those who sat longest")
	}
}

// A seat that misses every second block is as good as absent; one that misses a third is not.
func TestHalfAbsent(t *testing.T) {
	for every, stays := range map[int]bool{2: false, 3: true} { // a table: its order does not matter
		w, all := settled(t, 4, 1)
		params := w.params()
		params.EpochBlocks, params.ClaimBlocks = 100_000, 99_999
		w.must(w.k.setParams(w.ctx(block{}), params))
		w.standIn(all[4])
		for i := range 150 {
			all[2].stopped = i%every == 0
			w.heartbeat()
		}
		if w.sits(all[2]) != stays {
			t.Errorf("misses one of %d: sits %v, want %v", every, !stays, stays)
		}
	}
}

// Nobody stands by. Absent seats leave one after the other, but never so many that fewer than two thirds are left, nor more than the epoch's
// third.
func TestAbsentSeatsWithoutSubstitutes(t *testing.T) {
	w, all := settled(t, 9, 0)
	params := w.params()
	params.EpochBlocks, params.ClaimBlocks = 100_000, 99_999
	w.must(w.k.setParams(w.ctx(block{}), params))
	for _, p := range all[:2] {
		p.stopped = true
	}
	for range 40 {
		w.heartbeat()
	}
	if w.size() != 7 {
		t.Fatalf("%d seats, want 7", w.size())
	}
	for _, p := range all[2:4] { // two of the seven that are left
		p.stopped = true
	}
	for range 80 {
		w.heartbeat()
	}
	if w.size() != 6 {
		t.Errorf("%d seats, want two thirds of nine", w.size())
	}
}

// Grace closes her laptop: one message, and the seat is her substitute's two blocks later. Twice is refused.
func TestStepDown(t *testing.T) {
	w, all := settled(t, 4, 2)
	grace, heidi, ivan := all[1], all[4], all[5]
	w.standIn(heidi, ivan)
	m, again := w.stepDown(grace), w.stepDown(all[2])
	outcome := w.block(m, m)
	wants(t, "resignation", outcome[0], nil)
	wants(t, "second resignation", outcome[1], ErrTwice)
	if w.sits(grace) || !w.sits(heidi) {
		t.Fatal("heidi should sit for grace")
	}
	if !slices.ContainsFunc(w.voters, func(a []byte) bool { return bytes.Equal(a, grace.votes()) }) {
		t.Error("grace's vote counts for two blocks more")
	}
	if _, found, _ := w.k.SeatKey(w.ctx(block{}), grace.votes()); !found {
		t.Error("grace may still propose the next block")
	}
	w.quiet(1, time.Second)
	// The budget of a committee of four is one change: the next has to wait for the next epoch, and leaves first then.
	wants(t, "another's resignation", w.block(again)[0], nil)
	if !w.sits(all[2]) {
		t.Error("more than a third of the committee changed in one epoch")
	}
	if _, found, _ := w.k.SeatKey(w.ctx(block{}), grace.votes()); found {
		t.Error("grace's key is known after her last block")
	}
	w.standIn(ivan)
	w.close()
	if w.sits(all[2]) {
		w.standIn(ivan)
		w.heartbeat()
	}
	if w.sits(all[2]) {
		t.Error("who asked to leave still sits in the next epoch")
	}
	wants(t, "resignation of one who does not sit", w.block(w.stepDown(grace))[0], ErrSeat)
	bad := w.stepDown(all[0])
	bad.Signature[3] ^= 1
	late := w.stepDown(all[0])
	late.Epoch--
	outcome = w.block(bad, late)
	wants(t, "forged resignation", outcome[0], ErrSignature)
	wants(t, "resignation of another epoch", outcome[1], ErrEpoch)
}

// Trudy signs two blocks: recorded once, no ticket, no standing, no bond, no seat, whatever the budget is.
func TestDoubleSigner(t *testing.T) {
	w, all := settled(t, 7, 2)
	trudy, peggy := all[2], all[7]
	w.standIn(trudy, peggy)
	w.evidence = []offender{{trudy, w.height}, {trudy, w.height}}
	at := w.height
	w.block()
	if w.sits(trudy) || !w.sits(peggy) {
		t.Error("peggy should sit for trudy")
	}
	id := trudy.id()
	if _, err := w.k.ticket(w.ctx(block{}), id[:]); err == nil {
		t.Error("trudy holds a ticket")
	}
	if w.registry.nodes[id].Active || len(w.bank.forfeited) != 1 {
		t.Errorf("standing %v, bond forfeited %d times", w.registry.nodes[id].Active, len(w.bank.forfeited))
	}
	n := 0
	w.must(w.k.offences.Walk(w.ctx(block{}), nil, func(_ offenceKey, o committeev1.Offence) (bool, error) {
		n++
		if !bytes.Equal(o.Node, id[:]) || o.Height != at {
			t.Errorf("offence of %x at %d", o.Node, o.Height)
		}
		return false, nil
	}))
	if n != 1 {
		t.Errorf("%d offences, want 1", n)
	}
	wants(t, "trudy's claim", w.block(w.claim(trudy))[0], ErrTicket)
}

// Victor signed two blocks, and left before anybody showed it. He loses his ticket all the same; a voter whom nobody registered is passed over.
func TestDoubleSignerWhoLeft(t *testing.T) {
	w, all := settled(t, 4, 2)
	victor := all[0]
	w.standIn(all[4])
	signed := w.height
	w.must(w.block(w.stepDown(victor))[0])
	for range 5 {
		w.turn(all)
	}
	if w.sits(victor) {
		w.must(w.k.unseat(w.ctx(block{}), victor.id(), "for the test"))
	}
	size := w.size()
	w.evidence = []offender{{victor, signed}, {newPerson("stranger"), 3}}
	w.block()
	id := victor.id()
	if _, err := w.k.ticket(w.ctx(block{}), id[:]); err == nil || w.registry.nodes[id].Active {
		t.Error("victor keeps his ticket or his standing")
	}
	if has, _ := w.k.offences.Has(w.ctx(block{}), offenceAt(id, signed)); !has || w.size() != size {
		t.Error("the offence is not recorded, or cost another's seat")
	}
}

// The last seat signs twice: it must stay, or the chain would end, and leaves when somebody else sits.
func TestLastSeatStays(t *testing.T) {
	w, all := settled(t, 1, 1)
	params := w.params()
	params.Seats = 3
	w.must(w.k.setParams(w.ctx(block{}), params))
	w.evidence = []offender{{all[0], w.height}}
	w.block()
	if !w.sits(all[0]) {
		t.Fatal("nobody sits")
	}
	for range 3 {
		w.turn(all[1:])
	}
	if !w.sits(all[1]) || w.size() != 2 {
		t.Errorf("%d sit", w.size())
	}
}

// Nobody claims: the committee sits on, all of it, for as long as that goes. The threshold rises meanwhile, until everybody wins.
func TestHoldOver(t *testing.T) {
	w, all := settled(t, 7, 5)
	before, first := slices.Clone(w.next), w.epoch().Threshold
	for range 10 {
		w.turn(nil)
	}
	if !slices.EqualFunc(before, w.next, bytes.Equal) {
		t.Error("the committee changed though nobody claimed")
	}
	if bytes.Compare(w.epoch().Threshold, first) <= 0 {
		t.Error("the threshold did not rise")
	}
	w.heartbeat()
	for _, p := range all {
		if w.won(p, 1) == nil {
			t.Errorf("%s does not win even now", p.name)
		}
	}
	if entered := w.turn(all); len(entered) != 2 {
		t.Errorf("%d entered, want a third of seven", len(entered))
	}
}

// Those who sat longest leave first, the lowest ranks take their seats, the others stand by in the order of their ranks.
func TestTurn(t *testing.T) {
	w, all := settled(t, 6, 8)
	w.threshold(0xff)
	var msgs []sdk.Msg
	claims := all[6:]
	for _, p := range claims {
		msgs = append(msgs, w.claim(p))
	}
	for _, err := range w.block(msgs...) {
		w.must(err)
	}
	rank := func(p *person) sortition.Rank {
		beta, err := sortition.Proof(w.claim(p).Proof).Beta()
		w.must(err)
		return beta.Output().Rank(1)
	}
	slices.SortFunc(claims, func(a, b *person) int { return rank(a).Compare(rank(b)) })
	w.close()
	for i, p := range claims {
		if w.sits(p) != (i < 2) {
			t.Errorf("claim %d sits: %v", i, w.sits(p))
		}
	}
	by, _, err := w.k.standingBy(w.ctx(block{}), 0)
	w.must(err)
	for i, s := range by {
		if s.Node != claims[2+i].id() {
			t.Errorf("substitute %d is %s", i, s.Node)
		}
	}
	if len(by) != 6 {
		t.Errorf("%d substitutes, want 6", len(by))
	}
	res, err := queries{w.k, ""}.Committee(w.ctx(block{}), nil)
	w.must(err)
	if len(res.Seats) != 6 || len(res.Substitutes) != 6 || len(res.Before) != 1 || len(res.Before[0].Nodes) != 6 || res.Tickets != 14 {
		t.Errorf("query: %d seats, %d substitutes, %d committees before, %d tickets", len(res.Seats), len(res.Substitutes), len(res.Before), res.Tickets)
	}
}

// A vote makes the committee larger, then smaller: a third in an epoch, no faster.
func TestSizeByVote(t *testing.T) {
	w, all := settled(t, 3, 12)
	w.setSeats(9)
	var sizes []int
	for range 8 {
		w.threshold(0xff)
		w.turn(all)
		sizes = append(sizes, w.size())
		w.heartbeat()
	}
	if got := fmt.Sprint(sizes); got != "[4 5 6 8 9 9 9 9]" {
		t.Errorf("sizes while growing: %s", got)
	}
	w.setSeats(4)
	sizes = nil
	for range 5 {
		w.turn(all)
		sizes = append(sizes, w.size())
	}
	if got := fmt.Sprint(sizes); got != "[6 4 4 4 4]" {
		t.Errorf("sizes while shrinking: %s", got)
	}
}
