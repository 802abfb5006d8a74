package money

import (
	"math/big"
	"testing"

	"cosmossdk.io/math"
	"pgregory.net/rapid"

	sdk "github.com/cosmos/cosmos-sdk/types"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"

	"github.com/hpips/hpips/chain/bond"
	"github.com/hpips/hpips/chain/reward"
	"github.com/hpips/hpips/chain/supply"
)

// shares is an independent reckoning, in exact fractions of a uhpips: what flowed between two blocks belongs to those who held between them.
type shares struct {
	*town
	owed   map[string]*big.Rat // claimed, too
	flowed *big.Int            // whole uhpips, of all time
	flows  int64
	thin   *big.Rat // by how much what circulates changed at most between two flows: the factor
	last   math.Int
}

func reckon(s *town) *shares {
	r := &shares{town: s, owed: map[string]*big.Rat{}, flowed: new(big.Int), thin: big.NewRat(1, 1)}
	for _, name := range s.people {
		r.owed[name] = new(big.Rat)
	}
	return r
}

// flow makes the next block and reckons by itself what it must bring: of the stream as it was, what is due by now, in whole uhpips.
func (r *shares) flow(seconds int64) {
	before := r.stream()
	held, all := map[string]math.Int{}, math.ZeroInt()
	for _, name := range r.people {
		held[name] = r.supply.Holding(r.ctx, at(name))
		all = all.Add(held[name])
	}
	r.block(seconds)
	due := new(big.Int).Set(before.Amount.BigInt())
	if now := r.ctx.BlockTime().Unix(); now < before.End {
		due.Mul(due, big.NewInt(now-before.Start)).Quo(due, big.NewInt(before.End-before.Start))
	}
	part := new(big.Int).Sub(due, before.Flowed.BigInt())
	if part.Sign() == 0 || all.LT(math.NewInt(1_000_000*hpips)) {
		return
	}
	r.flowed.Add(r.flowed, part)
	r.flows++
	if !r.last.IsNil() {
		if f := new(big.Rat).SetFrac(r.last.BigInt(), all.BigInt()); f.Cmp(r.thin) > 0 {
			r.thin = f
		}
	}
	r.last = all
	for _, name := range r.people {
		share := new(big.Rat).SetFrac(held[name].BigInt(), all.BigInt())
		r.owed[name].Add(r.owed[name], share.Mul(share, new(big.Rat).SetInt(part)))
	}
}

// agree holds the keeper to the exact fractions. A flow is divided once, rounding down to 1e-18 uhpips a token and keeping the rest for the
// next: each flow is off by no more than one such step for what a token is owed, or by the factor by which the tokens became fewer in between.
func (r *shares) agree(claimed map[string]int64) {
	r.t.Helper()
	step := new(big.Rat).SetFrac64(r.flows, 1_000_000_000_000_000_000)
	step.Mul(step, r.thin)
	for _, name := range r.people {
		have := new(big.Rat).SetFrac(r.town.owed(name).BigInt(), big.NewInt(1_000_000_000_000_000_000))
		have.Add(have, new(big.Rat).SetInt64(claimed[name]))
		off := have.Sub(have, r.owed[name])
		if most := new(big.Rat).Mul(step, new(big.Rat).SetInt64(supply.Total().Int64())); off.Abs(off).Cmp(most) > 0 {
			r.t.Fatalf("%s is owed %s uhpips more or less than exactly; %s is the most", name, off.FloatString(24), most.FloatString(24))
		}
		if off.Cmp(big.NewRat(1, 1)) >= 0 {
			r.t.Fatalf("%s lost a whole uhpips to rounding", name)
		}
	}
}

// TestHoldersEarnExactlyForTheTimeTheyHold sends random amounts round at random times, with deposits, orders, burning and claims in between.
func TestHoldersEarnExactlyForTheTimeTheyHold(t *testing.T) {
	rapid.Check(t, func(q *rapid.T) {
		r := reckon(founded(q, reward.Development(), map[string]int64{"alice": 2_000_000 * hpips, "bob": 1, "carol": 400_000*hpips + 7, "dave": 0}, "alice", "bob", "carol", "dave"))
		claimed := map[string]int64{}
		person := rapid.SampledFrom(r.people)
		amount := rapid.OneOf(rapid.Int64Range(1, 9), rapid.Int64Range(1, 300_000*hpips))
		for range rapid.IntRange(1, 60).Draw(q, "moves") {
			who, n := person.Draw(q, "who"), amount.Draw(q, "n")
			switch rapid.IntRange(0, 6).Draw(q, "move") {
			case 0, 1:
				_ = r.send(who, person.Draw(q, "to"), uhpips, n)
			case 2:
				if r.keep(who, escrow, uhpips, n) == nil {
					r.must(r.final(who, person.Draw(q, "payee"), uhpips, n))
				}
			case 3:
				_ = r.keep(who, market, uhpips, n)
			case 4:
				_ = r.try(func(ctx sdk.Context) error { return r.supply.Burn(ctx, at(who), math.NewInt(n%1000+1)) })
			case 5:
				if whole := r.town.owed(who).QuoRaw(1_000_000_000_000_000_000).Int64(); r.claim(who) == nil {
					claimed[who] += whole
				}
			}
			r.flow(rapid.OneOf(rapid.Int64Range(1, 20), rapid.Int64Range(1, 3*daySeconds)).Draw(q, "seconds"))
			r.agree(claimed)
		}
	})
}

// Carol, who has nothing, buys just before an instant and sells just after it, at any instant: of a second, of a day's change, of the block in
// which a large levy comes in. She has what her money earned between the two, which is nothing where no block lies between them.
func TestBuyingForAnInstantGainsNothing(t *testing.T) {
	s := founded(t, reward.Development(), map[string]int64{"alice": 3_000_000 * hpips, "bob": 2_000_000 * hpips, "carol": 0}, "alice", "bob", "carol")
	s.job("alice", "bob", uhpips, 900_000*hpips)
	borrow := func() { s.must(s.send("alice", "carol", uhpips, 1_000_000*hpips)) }
	giveBack := func() { s.must(s.send("carol", "alice", uhpips, 1_000_000*hpips)) }
	for i, seconds := range []int64{1, 500, 498, 1, 1, 999, 1, 7, 5 * daySeconds, 1} {
		s.branch(func() { // within a block, after what it streams
			s.block(seconds)
			borrow()
			giveBack()
			if n := s.owed("carol"); !n.IsZero() {
				t.Errorf("%d: within a block: %s", i, n)
			}
		})
		s.branch(func() { // while pay becomes final, before the close
			s.block(seconds, borrow, func() { s.job("alice", "bob", uhpips, 500_000*hpips) }, giveBack)
			s.block(5 * daySeconds)
			if n := s.owed("carol"); !n.IsZero() {
				t.Errorf("%d: while a levy came in: %s", i, n)
			}
		})
		s.branch(func() { // from the block before to this one: exactly this time's share
			borrow()
			index, rest := s.stream().Index, s.stream().Rest
			s.block(seconds)
			giveBack()
			want := s.stream().Index.Sub(index).Mul(math.NewInt(1_000_000 * hpips))
			if n := s.owed("carol"); !n.Equal(want) || rest.IsNegative() {
				t.Errorf("%d: over a block: %s, want %s", i, n, want)
			}
			s.block(5 * daySeconds)
			if n := s.owed("carol"); !n.Equal(want) {
				t.Errorf("%d: and went on: %s, want %s", i, n, want)
			}
		})
		s.block(seconds)
	}
	if s.stream().Index.IsZero() {
		t.Error("nothing flowed")
	}
}

// Attack 24: dust sent to a victim in each block rounds nothing away.
func TestDustTakesNothingAway(t *testing.T) {
	s := founded(t, reward.Development(), map[string]int64{"alice": 100 * hpips, "bob": 100 * hpips, "carol": 9_000_000 * hpips}, "alice", "bob", "carol")
	s.job("carol", "carol", uhpips, 10_000*hpips)
	s.block(daySeconds)
	for range 400 {
		s.must(s.send("carol", "alice", uhpips, 1))
		s.must(s.send("alice", "carol", uhpips, 1))
		s.block(2)
	}
	if alice, bob := s.owed("alice"), s.owed("bob"); !alice.Equal(bob) || alice.IsZero() {
		t.Errorf("alice, dusted, is owed %s, bob %s", alice, bob)
	}
}

// Attack 2: what lies in escrow and in orders earns and is in what circulates, both or neither.
func TestWhatIsReservedEarnsLikeAnyOther(t *testing.T) {
	s := founded(t, reward.Development(), map[string]int64{"alice": 1_000_000 * hpips, "bob": 1_000_000 * hpips, "carol": 2_000_000 * hpips}, "alice", "bob", "carol")
	s.job("carol", "carol", uhpips, 110_000*hpips)
	s.must(s.keep("alice", escrow, uhpips, 600_000*hpips))
	s.must(s.keep("alice", market, uhpips, 400_000*hpips))
	s.block(daySeconds)
	s.block(daySeconds)
	if alice, bob := s.owed("alice"), s.owed("bob"); !alice.Equal(bob) || alice.IsZero() {
		t.Errorf("alice, who has all in escrow and orders, is owed %s, bob %s", alice, bob)
	}
	sum := s.stream().Rest
	for _, name := range s.people {
		sum = sum.Add(s.owed(name))
	}
	if pot := s.vault(reward.StreamAccount, uhpips); !sum.Equal(pot.MulRaw(1_000_000_000_000_000_000)) {
		t.Errorf("owed %s, in the pot %s", sum, pot)
	}
}

// What is held of bob's pay earns as if he had it in his hand, and so it is with what returns to him.
func TestABondEarnsLikeAnyOther(t *testing.T) {
	s := founded(t, reward.Development(), map[string]int64{"alice": 3_000_000 * hpips, "bob": 0, "carol": 0}, "alice", "bob", "carol")
	s.job("alice", "bob", uhpips, 1_000_000*hpips)
	s.must(s.send("alice", "carol", uhpips, 900_000*hpips))
	if bob := s.bank.GetBalance(s.ctx, at("bob"), uhpips).Amount; !bob.Equal(math.NewInt(675_000*hpips)) || !s.supply.Holding(s.ctx, at("bob")).Equal(math.NewInt(900_000*hpips)) {
		t.Errorf("bob has %s and holds %s", bob, s.supply.Holding(s.ctx, at("bob")))
	}
	alike := func(when string) {
		t.Helper()
		if bob, carol := s.owed("bob"), s.owed("carol"); !bob.Equal(carol) || bob.IsZero() {
			t.Errorf("%s: bob is owed %s, carol %s", when, bob, carol)
		}
	}
	s.block(daySeconds)
	s.block(daySeconds)
	alike("with a bond")
	_, err := s.bond.Leave(s.ctx, at("bob").String(), nodeOf("bob"))
	s.must(err)
	s.job("alice", "alice", uhpips, 100_000*hpips)
	s.block(14 * daySeconds)
	if bob := s.bank.GetBalance(s.ctx, at("bob"), uhpips).Amount; !bob.Equal(math.NewInt(900_000 * hpips)) {
		t.Errorf("bob has %s when the bond has returned", bob)
	}
	s.block(daySeconds)
	alike("when it has returned")
}

func TestGenesisAccountsAndModulesEarnNothing(t *testing.T) {
	s := founded(t, reward.Development(), map[string]int64{"alice": 2_000_000 * hpips}, "alice")
	for range 3 {
		s.job("alice", "alice", uhpips, 1000*hpips)
		s.block(daySeconds)
	}
	if s.owed("alice").IsZero() {
		t.Error("alice earns nothing")
	}
	for _, name := range []string{
		supply.Investors, supply.Founders, supply.Operations, supply.Community, supply.Fund, supply.Name, "gov", escrow, market,
		reward.LevyAccount, reward.StreamAccount, bond.Name, authtypes.FeeCollectorName,
	} {
		who := authtypes.NewModuleAddress(name)
		if n, err := s.reward.Owed(s.ctx, who); err != nil || !n.IsZero() {
			t.Errorf("%s is owed %s, %v", name, n, err)
		}
		if _, err := s.reward.Claim(s.ctx, who); err == nil {
			t.Errorf("%s claimed", name)
		}
	}
}

// Attack 25: a first holder does not take a whole day. What came in while little circulated flows when enough does.
func TestTheStreamWaitsWhileLittleCirculates(t *testing.T) {
	s := founded(t, reward.Public(), map[string]int64{"alice": 1_000_000*hpips - 1}, "alice")
	s.job("alice", "alice", uhpips, 1000*hpips)
	s.block(daySeconds)
	s.block(daySeconds / 2)
	if n := s.owed("alice"); !n.IsZero() || !s.stream().Next.Equal(math.NewInt(50*hpips)) {
		t.Errorf("owed %s, %+v", n, s.stream())
	}
	s.must(s.bank.SendCoinsFromModuleToAccount(s.ctx, supply.Community, at("alice"), coin(uhpips, 1000*hpips)))
	s.block(daySeconds / 4)
	if n := s.owed("alice").QuoRaw(1_000_000_000_000_000_000); !n.Equal(math.NewInt(25*hpips-1)) && !n.Equal(math.NewInt(25*hpips)) {
		t.Errorf("owed %s in the quarter of the day in which enough circulated", n)
	}
	s.block(daySeconds / 4)
	s.block(daySeconds)
	if n := s.owed("alice").QuoRaw(1_000_000_000_000_000_000); n.LT(math.NewInt(100*hpips - 1)) {
		t.Errorf("owed %s of 100 HPIPS in the end", n)
	}
}
