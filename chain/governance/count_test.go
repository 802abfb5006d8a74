package governance

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"cosmossdk.io/collections"
	"cosmossdk.io/math"
	"pgregory.net/rapid"

	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	v1 "github.com/cosmos/cosmos-sdk/x/gov/types/v1"

	"github.com/hpips/hpips/proto/gen/governancev1"
)

// Alice votes on ten proposals, and on no eleventh until one of them has ended. She may always change her mind.
func TestAnAccountVotesOnSoManyAtOnce(t *testing.T) {
	s := founded(t, map[string]int64{"alice": 100, "proposer": 100}, map[string]int{"alice": 1})
	var ids []uint64
	for range mostBallots {
		ids = append(ids, s.open("proposer"))
	}
	s.block(30 * time.Second)
	late := s.open("proposer")
	for _, id := range ids {
		s.says(id, yes, "alice")
	}
	if err := s.vote("alice", late, yes); !errors.Is(err, ErrBallots) {
		t.Errorf("on one more: %v", err)
	}
	s.says(ids[3], no, "alice")
	s.block(31 * time.Second)
	for range mostBallots {
		s.block(time.Second)
	}
	s.says(late, yes, "alice")
}

// Two hundred voters with ten papers each lose something in one block, and nobody pays for gas: pay that becomes final, say. What that block counts is
// bounded, those after it do the rest, and a vote whose time is over meanwhile waits until its count is exact.
func TestABlockCountsSoMuch(t *testing.T) {
	const voters = 200
	holdings := map[string]int64{"proposer": 100, bystander: 1000}
	var names []string
	for i := range voters {
		names = append(names, fmt.Sprint("v", i))
		holdings[names[i]] = 10
	}
	s := founded(t, holdings, map[string]int{"v1": 1})
	root := s.ctx
	var keep func()
	s.ctx, keep = root.CacheContext() // faster than the store itself
	var ids []uint64
	for range mostBallots {
		ids = append(ids, s.open("proposer"))
		s.says(ids[len(ids)-1], yes, names...)
	}
	s.block(58 * time.Second)
	keep()
	s.ctx = root.WithBlockHeight(s.ctx.BlockHeight()).WithBlockTime(s.ctx.BlockTime())
	for _, name := range names {
		s.reserve(name, -1)
	}

	const paper, holder = settleGas, 15_000 // gas of a paper that is lowered, and of a holding that is written down
	waits := func() (n int) {
		if err := s.keeper.lows.Walk(s.ctx, nil, func([]byte, math.Int) (bool, error) { n++; return false, nil }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	lowered := func() (n int) {
		err := s.keeper.papers.Walk(s.ctx, nil, func(_ collections.Pair[uint64, []byte], p governancev1.Result) (bool, error) {
			if p.Holdings.All.Equal(hp(9).AmountOf(denom)) {
				n++
			}
			return false, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	blocks := 0
	for before := 0; blocks == 0 || waits() > 0; blocks++ {
		meter := storetypes.NewInfiniteGasMeter()
		ctx := s.ctx
		s.ctx = s.ctx.WithGasMeter(meter)
		s.block(100 * time.Millisecond)
		s.ctx = s.ctx.WithGasMeter(ctx.GasMeter())
		bound := uint64(paper * (steps + mostBallots))
		if blocks == 0 {
			bound += holder * voters
		}
		if now := lowered(); now-before > steps+mostBallots || meter.GasConsumed() > bound {
			t.Errorf("block %d lowers %d papers for %d gas, at most %d for %d are for one", blocks, now-before, meter.GasConsumed(), steps+mostBallots, bound)
		} else {
			before = now
		}
	}
	if want := voters * mostBallots / steps; blocks < want || blocks > want+2 {
		t.Errorf("%d blocks count it, want %d", blocks, want)
	}
	if n := lowered(); n != voters*mostBallots {
		t.Errorf("%d papers are lowered", n)
	}

	// Now all of it again as the votes end.
	for _, name := range names {
		s.reserve(name, -1)
	}
	s.block(2 * time.Second)
	open := s.voting()
	for s.voting() > 0 {
		meter := storetypes.NewInfiniteGasMeter()
		ctx := s.ctx
		s.ctx = s.ctx.WithGasMeter(meter)
		s.block(time.Second)
		s.ctx = s.ctx.WithGasMeter(ctx.GasMeter())
		if now := s.voting(); open-now > 1 || meter.GasConsumed() > 3*paper*(steps+mostBallots) { // it lowers, puts away, and counts for the next
			t.Fatalf("%d votes end in one block, for %d gas", open-now, meter.GasConsumed())
		} else {
			open = now
		}
	}
	for range voters * mostBallots / steps {
		s.block(time.Second)
	}
	for _, id := range ids {
		if got := house(s.tally(id).Result.Holdings, hpips); got[1] != 8*voters {
			t.Errorf("proposal %d ended with %v, want %d yes", id, got, 8*voters)
		}
	}
	if n, err := s.keeper.openBallots(s.ctx); n != 0 || err != nil || waits() != 0 || lowered() != 0 {
		t.Errorf("left: %d ballots, %d holdings, %v", n, waits(), err)
	}
}

// Random histories on a chain that counts a paper or two in a block, and is exported and begun anew in between: sums are never too low before the close,
// and what each vote ends with is each voter's lowest to the block in which it ended.
func TestTheLowestHoldingCountsHoweverLateItIsCounted(t *testing.T) {
	people := []string{"alice", "bob", "carol", "dave"}
	type paper struct {
		lowest int64
		yes    bool
	}
	rapid.Check(t, func(r *rapid.T) {
		s := slowly(r, rapid.IntRange(1, 3).Draw(r, "steps"), map[string]int64{"alice": 100, "bob": 70, "carol": 5, "proposer": 3}, map[string]int{"alice": 1, "dave": 2})
		ids := []uint64{s.open("proposer"), s.open("proposer"), s.open("proposer")}
		papers := map[uint64]map[string]*paper{}
		for _, id := range ids {
			papers[id] = map[string]*paper{}
		}
		who := rapid.SampledFrom(people)
		has := func(name string) int64 { return s.bank.GetBalance(s.ctx, at(name), denom).Amount.Int64() / hpips }
		sums := func(id uint64) (yes, no int64) {
			for _, name := range people {
				if p := papers[id][name]; p != nil && p.yes {
					yes += p.lowest
				} else if p != nil {
					no += p.lowest
				}
			}
			return yes, no
		}
		send := func(r *rapid.T) {
			_ = s.send(who.Draw(r, "from"), who.Draw(r, "to"), rapid.Int64Range(1, 100).Draw(r, "n"))
		}
		vote := func(r *rapid.T) {
			id, name, o := rapid.SampledFrom(ids).Draw(r, "id"), who.Draw(r, "who"), rapid.SampledFrom([]v1.VoteOption{yes, veto}).Draw(r, "option")
			if s.status(id) != v1.StatusVotingPeriod {
				return
			}
			s.says(id, o, name)
			p := papers[id][name]
			if p == nil {
				p = &paper{lowest: has(name)}
				papers[id][name] = p
			}
			p.lowest, p.yes = min(p.lowest, has(name)), o == yes
		}
		block := func(later time.Duration) {
			open := map[uint64]bool{}
			for _, id := range ids {
				open[id] = s.status(id) == v1.StatusVotingPeriod
			}
			s.block(later)
			for _, id := range ids {
				if !open[id] {
					continue
				}
				for _, p := range people {
					if mine := papers[id][p]; mine != nil {
						mine.lowest = min(mine.lowest, has(p))
					}
				}
				ayes, noes := sums(id)
				got := house(s.tally(id).Result.Holdings, hpips)
				if ended := s.status(id) != v1.StatusVotingPeriod; got[1] < ayes || got[2] < noes || ended && (got[1] != ayes || got[2] != noes) {
					r.Fatalf("proposal %d, ended %v: %v, want %d and %d", id, ended, got, ayes, noes)
				}
			}
		}
		r.Repeat(map[string]func(*rapid.T){
			"send":  send,
			"vote":  vote,
			"block": func(*rapid.T) { block(time.Millisecond) },
			"again": func(*rapid.T) { s.restart() },
		})
		block(time.Minute)
		for n := 0; s.voting() > 0; n++ {
			if n > 500 {
				r.Fatal("a vote does not end")
			}
			for range rapid.IntRange(0, 2).Draw(r, "more") {
				if rapid.Bool().Draw(r, "votes") {
					vote(r)
				} else {
					send(r)
				}
			}
			if rapid.Bool().Draw(r, "again") {
				s.restart()
			}
			block(time.Second)
		}
		for range 20 {
			s.block(time.Second)
		}
		for _, id := range ids {
			ayes, noes := sums(id)
			result := s.tally(id).Result
			if got := house(result.Holdings, hpips); got[1] != ayes || got[2] != noes {
				r.Fatalf("proposal %d in the end: %v, want %d and %d", id, got, ayes, noes)
			}
			if both := result.Tickets.Passes && result.Holdings.Passes; both != (s.status(id) == v1.StatusPassed) {
				r.Fatalf("%+v ended %s", result, s.status(id))
			}
		}
		if n, err := s.keeper.openBallots(s.ctx); n != 0 || err != nil {
			r.Fatalf("%d ballots are left, %v", n, err)
		}
	})
}

// restart writes the module's state out, forgets it, and reads it again.
func (s *town) restart() {
	s.t.Helper()
	out := s.export()
	k := s.keeper
	if err := errors.Join(k.open.Remove(s.ctx), k.ballots.Clear(s.ctx, nil), k.results.Clear(s.ctx, nil), k.papers.Clear(s.ctx, nil), k.voters.Clear(s.ctx, nil),
		k.touched.Clear(s.ctx, nil), k.lows.Clear(s.ctx, nil), k.ended.Clear(s.ctx, nil), k.closing.Remove(s.ctx)); err != nil {
		s.t.Fatal(err)
	}
	s.fill(out)
	if again := s.export(); again != out {
		s.t.Fatalf("out:\n%s\nback:\n%s", out, again)
	}
}

// Proposals whose time is over at once end one by one, in their order. One that is canceled in the middle of its count holds up nobody.
func TestVotesEndOneByOne(t *testing.T) {
	s := slowly(t, 1, map[string]int64{"alice": 100, "bob": 50, "dave": 20, "proposer": 5}, map[string]int{"alice": 1})
	var ids []uint64
	for range 3 {
		id := s.open("proposer")
		ids = append(ids, id)
		s.says(id, yes, "alice", "bob", "dave")
	}
	for _, name := range []string{"alice", "bob", "dave"} {
		if err := s.send(name, "eve", 1); err != nil {
			t.Fatal(err)
		}
	}
	s.block(time.Minute)
	counts, err := s.keeper.closing.Get(s.ctx)
	if err != nil || counts.K1() != ids[0] || s.voting() != 3 {
		t.Fatalf("%v is counted, %v; %d are open", counts, err, s.voting())
	}
	err = s.try(func(ctx sdk.Context) error {
		_, err := s.server.CancelProposal(ctx, v1.NewMsgCancelProposal(ids[0], at("proposer").String()))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var ended []uint64
	for range 60 {
		s.block(time.Second)
		for _, id := range ids[1:] {
			if p, err := s.gov.Proposals.Get(s.ctx, id); err == nil && p.Status != v1.StatusVotingPeriod && (len(ended) == 0 || ended[len(ended)-1] < id) {
				ended = append(ended, id)
			}
		}
	}
	if fmt.Sprint(ended) != fmt.Sprint(ids[1:]) {
		t.Errorf("ended %v, want %v", ended, ids[1:])
	}
	for _, id := range ids[1:] {
		if got := house(s.tally(id).Result.Holdings, hpips); got[1] != 167 {
			t.Errorf("proposal %d: %v", id, got)
		}
	}
	if n, err := s.keeper.openBallots(s.ctx); n != 0 || err != nil {
		t.Errorf("%d ballots are left, %v", n, err)
	}
}
