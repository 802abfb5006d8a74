package money

import (
	"errors"
	"testing"

	"cosmossdk.io/math"
	"pgregory.net/rapid"

	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"

	"github.com/hpips/hpips/chain/bond"
	"github.com/hpips/hpips/chain/reward"
	"github.com/hpips/hpips/chain/supply"
	"github.com/hpips/hpips/proto/gen/rewardv1"
)

// books are what the test knows by itself.
type books struct {
	*town
	escrowed map[string]map[string]int64   // by person and denomination
	ordered  map[string]int64              // uhpips
	gross    map[string]int64              // by denomination: all that was split
	bonds    map[string]map[string]*pledge // by person and denomination
	leaves   map[string]int64              // when the bonds of who leaves are due, in Unix seconds
	fined    int64                         // uhpips, slashed to the fund
	burned   int64
	bought   int64 // uhpips, for levies
	levied   map[string]int64
	broken   bool
}

// pledge is a bond as the bookkeeper has it: what is held, what it was before a slash that is not made good, and what was paid by day.
type pledge struct {
	held, before int64
	paid         map[uint64]int64
}

// pays reckons what a payment adds to the bond: a quarter, as far as it lacks of ten days' pay.
func (p *pledge) pays(day uint64, denom string, paid int64) int64 {
	p.paid[day] += paid
	target := int64(0)
	for d, n := range p.paid {
		if d+10 > day {
			target += n
		}
	}
	if denom == uhpips {
		target = max(target, 10*hpips)
	}
	target = max(target, p.before)
	held := min(paid/4, max(target-p.held, 0))
	if p.held += held; p.held >= target {
		p.before = 0
	}
	return held
}

// twoABlock closes days slowly: of five providers it pays two in a block.
func twoABlock() rewardv1.Params {
	p := reward.Development()
	p.Batch = 2
	return p
}

var people = []string{"alice", "bob", "carol", "dave", "erin"}

func openBooks(t rapid.TB, kind storetypes.StoreType) *books {
	b := &books{town: settled(t, kind, inMemory, twoABlock(), map[string]int64{
		"alice": 3_000_000 * hpips, "bob": 2_000_000*hpips + 1, "carol": 7, "dave": 1_000_003 * hpips, "erin": 0,
	}, people...), escrowed: map[string]map[string]int64{}, ordered: map[string]int64{}, gross: map[string]int64{}, levied: map[string]int64{},
		bonds: map[string]map[string]*pledge{}, leaves: map[string]int64{}}
	rules := bond.Development() // bonds return after two days, so that a history sees it
	rules.ReturnSeconds = 2 * daySeconds
	state, err := bond.Genesis(rules)
	b.must(err)
	b.fill(bond.Name, state)
	for _, name := range people {
		b.escrowed[name], b.bonds[name] = map[string]int64{}, map[string]*pledge{}
		for _, denom := range []string{uhpips, junk, shells} {
			b.bonds[name][denom] = &pledge{paid: map[uint64]int64{}}
		}
	}
	return b
}

// TestWhateverHappensEveryUnitIsAccountedFor goes through random histories: of sends, deposits, work in three assets, orders, sales of
// levies, claims, bonds that are slashed, asked for and returned, burning, duty, halts of days, breaches that are repaired, and restarts wherever a close may be. -rapid.checks=100000 is the long
// run; the default is 100 histories.
func TestWhateverHappensEveryUnitIsAccountedFor(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		b := openBooks(r, storetypes.StoreTypeDB)
		b.prelude(r)
		r.Repeat(b.moves())
		// Whatever was under way, the days go on to their end.
		b.repair()
		for range 20 {
			b.goes(daySeconds / 2)
		}
		b.sound()
		closed, err := b.day(true, 0)
		for range 200 { // two providers a block: after a long breach there are many days to close
			if err != nil || closed.Day.Day+1 == b.Day(b.ctx) {
				break
			}
			b.block(1)
			closed, err = b.day(true, 0)
		}
		b.sound()
		if err != nil || closed.Day.Day+1 != b.Day(b.ctx) {
			r.Fatalf("day %d is the last that is done, this is day %d: %v", closed.Day.Day, b.Day(b.ctx), err)
		}
	})
}

// The same on the store that the chain has, a few times.
func TestEveryUnitIsAccountedForOnTheChainsStore(t *testing.T) {
	checks := 0
	rapid.Check(t, func(r *rapid.T) {
		if checks++; checks > 10 {
			return
		}
		b := openBooks(r, storetypes.StoreTypeIAVL)
		b.prelude(r)
		r.Repeat(b.moves())
	})
}

// prelude is a day or two of work in all assets, so that there is something to stream, to sell and to pay for.
func (b *books) prelude(r *rapid.T) {
	n := rapid.Int64Range(1, 100_000*hpips)
	for range rapid.IntRange(1, 2).Draw(r, "days") {
		for _, denom := range []string{uhpips, junk, shells} {
			for _, to := range people[1:] {
				amount := n.Draw(r, "pay")
				if b.keep("alice", escrow, denom, min(amount, 100*hpips)) == nil {
					b.escrowed["alice"][denom] += min(amount, 100*hpips)
					b.pays(r, "alice", to, denom, min(amount, 100*hpips))
				}
			}
		}
		b.must(b.reward.Duty(b.ctx, nodeOf("dave"), 3, 1))
		b.goes(daySeconds)
	}
}

func (b *books) moves() map[string]func(*rapid.T) {
	person := rapid.SampledFrom(people)
	asset := rapid.SampledFrom([]string{uhpips, uhpips, junk, shells})
	much := rapid.OneOf(rapid.Int64Range(1, 50), rapid.Int64Range(1, 400_000*hpips))
	return map[string]func(*rapid.T){
		"": func(*rapid.T) { b.sound() },
		"block": func(r *rapid.T) {
			b.goes(rapid.OneOf(rapid.Int64Range(1, 40), rapid.Int64Range(1, daySeconds), rapid.Int64Range(daySeconds, 9*daySeconds)).Draw(r, "seconds"))
		},
		"send": func(r *rapid.T) {
			_ = b.send(person.Draw(r, "from"), person.Draw(r, "to"), asset.Draw(r, "asset"), much.Draw(r, "n"))
		},
		"deposit": func(r *rapid.T) {
			who, denom, n := person.Draw(r, "who"), asset.Draw(r, "asset"), much.Draw(r, "n")
			if b.keep(who, escrow, denom, n) == nil {
				b.escrowed[who][denom] += n
			}
		},
		"return": func(r *rapid.T) {
			who, denom, n := person.Draw(r, "who"), asset.Draw(r, "asset"), much.Draw(r, "n")
			if n = min(n, b.escrowed[who][denom]); n > 0 {
				b.must(b.keepBack(who, escrow, denom, n))
				b.escrowed[who][denom] -= n
			}
		},
		"final": func(r *rapid.T) {
			who, to, denom, n := person.Draw(r, "payer"), person.Draw(r, "payee"), asset.Draw(r, "asset"), much.Draw(r, "n")
			if n = min(n, b.escrowed[who][denom]); n > 0 {
				b.pays(r, who, to, denom, n)
			}
		},
		"order": func(r *rapid.T) {
			who, n := person.Draw(r, "who"), much.Draw(r, "n")
			if b.keep(who, market, uhpips, n) == nil {
				b.ordered[who] += n
			}
		},
		"cancel": func(r *rapid.T) {
			who, n := person.Draw(r, "who"), much.Draw(r, "n")
			if n = min(n, b.ordered[who]); n > 0 {
				b.must(b.keepBack(who, market, uhpips, n))
				b.ordered[who] -= n
			}
		},
		"fill": func(r *rapid.T) {
			who, denom, price := person.Draw(r, "who"), rapid.SampledFrom([]string{junk, shells}).Draw(r, "asset"), much.Draw(r, "price")
			n := min(much.Draw(r, "n"), b.sold.AmountOf(denom).Int64())
			if n == 0 || b.keep(who, market, uhpips, price) != nil {
				return
			}
			b.must(b.buys(who, denom, n, price))
			b.bought, b.levied[denom] = b.bought+price, b.levied[denom]-n
		},
		"claim": func(r *rapid.T) {
			who := person.Draw(r, "who")
			err := b.claim(who)
			if b.broken != errors.Is(err, reward.ErrRests) {
				r.Fatalf("claim while broken is %v: %v", b.broken, err)
			}
		},
		"burn": func(r *rapid.T) {
			who, n := person.Draw(r, "who"), rapid.Int64Range(1, 1000).Draw(r, "n")
			if b.try(func(ctx sdk.Context) error { return b.supply.Burn(ctx, at(who), math.NewInt(n)) }) == nil {
				b.burned += n
			}
		},
		"duty": func(r *rapid.T) {
			n := rapid.Uint64Range(0, 1_000_000)
			b.must(b.reward.Duty(b.ctx, nodeOf(person.Draw(r, "who")), n.Draw(r, "seats"), n.Draw(r, "receipts")))
		},
		"slash": func(r *rapid.T) {
			who, denom, n := person.Draw(r, "who"), asset.Draw(r, "asset"), much.Draw(r, "n")
			p, back := b.bonds[who][denom], rapid.Int64Range(0, n).Draw(r, "refund")
			want := min(p.held, n)
			taken := math.ZeroInt()
			err := b.try(func(ctx sdk.Context) (err error) {
				taken, err = b.bond.Slash(ctx, nodeOf(who), denom, math.NewInt(n), bond.Refund{To: at("alice"), Amount: math.NewInt(back)})
				return err
			})
			if b.broken != errors.Is(err, bond.ErrRests) {
				r.Fatalf("slash while broken is %v: %v", b.broken, err)
			}
			if b.broken || want == 0 {
				return
			}
			if b.must(err); taken.Int64() != want {
				r.Fatalf("%s slashed of %d, %d asked for", taken, p.held, n)
			}
			p.before, p.held = max(p.before, p.held), p.held-want
			if denom == uhpips {
				b.fined += want - min(back, want)
			}
		},
		"leave": func(r *rapid.T) {
			who, due := person.Draw(r, "who"), int64(0)
			if b.try(func(ctx sdk.Context) (err error) {
				due, err = b.bond.Leave(ctx, at(who).String(), nodeOf(who))
				return err
			}) == nil {
				b.leaves[who] = due
			}
		},
		"stay": func(r *rapid.T) {
			who := person.Draw(r, "who")
			if b.try(func(ctx sdk.Context) error { return b.bond.Stay(ctx, at(who).String(), nodeOf(who)) }) == nil {
				delete(b.leaves, who)
			}
		},
		"stranger's duty": func(*rapid.T) { b.must(b.reward.Duty(b.ctx, nodeOf("of nobody"), 1000, 1000)) },
		"breach": func(*rapid.T) {
			if !b.broken {
				b.must(b.bank.Supply.Set(b.ctx, uhpips, b.bank.GetSupply(b.ctx, uhpips).Amount.AddRaw(1)))
				b.must(b.supply.CheckInvariants(b.ctx))
				b.must(b.bank.Supply.Set(b.ctx, uhpips, b.bank.GetSupply(b.ctx, uhpips).Amount.SubRaw(1)))
				b.broken = true
			}
		},
		"repair":  func(*rapid.T) { b.repair() },
		"restart": func(*rapid.T) { b.restart() },
	}
}

// pays makes escrowed pay final, or while an invariant is broken sees that nothing moved.
func (b *books) pays(r *rapid.T, who, to, denom string, n int64) {
	err := b.final(who, to, denom, n)
	if b.broken {
		if !errors.Is(err, reward.ErrRests) {
			r.Fatalf("split while broken: %v", err)
		}
		return
	}
	b.must(err)
	b.escrowed[who][denom] -= n
	b.gross[denom] += n
	b.levied[denom] += (n + 9) / 10
	had, paid := b.bonds[to][denom].held, n-(n+9)/10
	b.bonds[to][denom].pays(b.Day(b.ctx), denom, paid)
	if got, err := b.bond.Bond(b.ctx, nodeOf(to), denom); err != nil || got.Held.Int64() != b.bonds[to][denom].held {
		r.Fatalf("%s had a bond of %d%s and was paid %d: %+v, want %+v, %v", to, had, denom, paid, got, b.bonds[to][denom], err)
	}
}

// goes lets time pass: the bonds of those who left long ago return.
func (b *books) goes(seconds int64) {
	b.t.Helper()
	b.block(seconds)
	for _, who := range people {
		if due, leaves := b.leaves[who]; leaves && due <= b.ctx.BlockTime().Unix() && !b.broken {
			for _, denom := range []string{uhpips, junk, shells} {
				b.bonds[who][denom].held = 0
			}
			delete(b.leaves, who)
		}
	}
}

func (b *books) repair() {
	b.t.Helper()
	b.must(b.supply.Repair(b.ctx))
	b.broken = false
}

func (b *books) day(last bool, n uint64) (*rewardv1.QueryDayResponse, error) {
	return b.ask().Day(b.ctx, &rewardv1.QueryDayRequest{Day: n, LastClosed: last})
}

// sound checks what always holds.
func (b *books) sound() {
	b.t.Helper()
	if why, err := b.supply.Broken(b.ctx); err != nil || (why != "") != b.broken {
		b.t.Fatalf("broken: %q, %v", why, err)
	}
	if what, err := b.reward.Unsound(b.ctx); err != nil || what != "" {
		b.t.Fatalf("unsound: %s, %v", what, err)
	}
	b.must(b.bond.Recount(b.ctx))
	b.balances()
	b.holders()
	b.fundAndDays()
}

// balances: nothing is lost, nothing is made, in any asset; each pot has what the books say.
func (b *books) balances() {
	b.t.Helper()
	all := sdk.Coins{}
	b.bank.IterateAllBalances(b.ctx, func(_ sdk.AccAddress, c sdk.Coin) bool { all = all.Add(c); return false })
	want := sdk.NewCoins(sdk.NewCoin(uhpips, supply.Total().SubRaw(b.burned)),
		sdk.NewInt64Coin(junk, int64(len(people))*1_000_000*hpips), sdk.NewInt64Coin(shells, int64(len(people))*1000*hpips))
	if !all.Equal(want) {
		b.t.Fatalf("all balances are %s, not %s", all, want)
	}
	held, reserved := math.ZeroInt(), int64(0)
	for _, name := range people {
		held = held.Add(b.supply.Holding(b.ctx, at(name)))
		own := b.escrowed[name][uhpips] + b.ordered[name] + b.bonds[name][uhpips].held
		reserved += own
		if got := b.supply.ReservedFor(b.ctx, at(name)); !got.Equal(math.NewInt(own)) {
			b.t.Fatalf("%s reserved for %s, want %d", got, name, own)
		}
	}
	if c := b.supply.Circulating(b.ctx); !c.Equal(held) || !b.supply.Reserved(b.ctx).Equal(math.NewInt(reserved)) {
		b.t.Fatalf("%s circulates of which %s reserved; people hold %s of which %d", c, b.supply.Reserved(b.ctx), held, reserved)
	}
	for _, denom := range []string{uhpips, junk, shells} {
		sum, err := b.reward.Total(b.ctx, denom)
		b.must(err)
		kept := int64(0)
		for _, name := range people {
			kept += b.bonds[name][denom].held
		}
		if have := b.vault(bond.Name, denom); have.Int64() != kept || sum.Held.LT(have) || sum.Held.MulRaw(4).GT(sum.Paid) {
			b.t.Fatalf("bonds hold %s%s, by the books %d; the sums are %+v", have, denom, kept, sum)
		}
		if !sum.Gross.Equal(math.NewInt(b.gross[denom])) || !sum.Gross.Equal(sum.Paid.Add(sum.Levied)) {
			b.t.Fatalf("%d%s final, %+v", b.gross[denom], denom, sum)
		}
		if offered := b.sold.AmountOf(denom); denom == uhpips && !offered.IsZero() || offered.GT(b.vault(reward.LevyAccount, denom)) {
			b.t.Fatalf("on offer is %s%s of %s", offered, denom, b.vault(reward.LevyAccount, denom))
		}
		if left := b.vault(reward.LevyAccount, denom); denom != uhpips && !left.Equal(math.NewInt(b.levied[denom])) {
			b.t.Fatalf("levy account: %s%s, by the books %d", left, denom, b.levied[denom])
		}
	}
}

// holders: what all are owed, with its fractions and what divisions left, is what flowed and was not claimed, to the last 1e-18 uhpips.
func (b *books) holders() {
	b.t.Helper()
	s := b.stream()
	owed := s.Rest
	for _, name := range people {
		owed = owed.Add(b.owed(name))
	}
	ahead := s.Amount.Sub(s.Flowed).Add(s.Next)
	flowed := s.Brought.Sub(ahead).Sub(s.Claimed)
	if !owed.Equal(flowed.MulRaw(1_000_000_000_000_000_000)) {
		b.t.Fatalf("owed %s×1e-18, flowed and not claimed %s", owed, flowed)
	}
	pot, vault := b.vault(reward.StreamAccount, uhpips), b.vault(reward.LevyAccount, uhpips)
	if !pot.Equal(s.Brought.Sub(s.Claimed)) || !pot.Add(vault).Add(s.Claimed).Equal(math.NewInt(b.levied[uhpips]+b.bought)) {
		b.t.Fatalf("pot %s, vault %s, levied %d, bought %d, %+v", pot, vault, b.levied[uhpips], b.bought, s)
	}
	for _, name := range []string{supply.Fund, supply.Community, escrow, market, reward.LevyAccount, reward.StreamAccount, bond.Name} {
		if n, err := b.reward.Owed(b.ctx, authtypes.NewModuleAddress(name)); err != nil || !n.IsZero() {
			b.t.Fatalf("%s is owed %s, %v", name, n, err)
		}
	}
}

// fundAndDays: what the fund paid is what its days say, no day pays more than its budget, and days add up to the totals.
func (b *books) fundAndDays() {
	b.t.Helper()
	spent, gross := math.ZeroInt(), map[string]math.Int{}
	for n := uint64(0); n <= b.Day(b.ctx); n++ {
		d, err := b.day(false, n)
		b.must(err)
		spent = spent.Add(d.Day.Bonus).Add(d.Day.Duty)
		if d.Day.Bonus.MulRaw(10).GT(d.Day.Budget.MulRaw(6)) || d.Day.Duty.MulRaw(10).GT(d.Day.Budget.MulRaw(4)) || d.Day.Bonus.MulRaw(2).GT(d.Day.Levied) {
			b.t.Fatalf("day %d: %+v", n, d.Day)
		}
		b.providers(d)
		for _, a := range d.Assets {
			if gross[a.Denom].IsNil() {
				gross[a.Denom] = math.ZeroInt()
			}
			gross[a.Denom] = gross[a.Denom].Add(a.Sum.Gross)
		}
	}
	for denom, sum := range gross {
		if !sum.Equal(math.NewInt(b.gross[denom])) {
			b.t.Fatalf("days have %s%s, final is %d", sum, denom, b.gross[denom])
		}
	}
	if left := b.vault(supply.Fund, uhpips); !left.Add(spent).Equal(math.NewInt(50_000_000*hpips + b.fined)) {
		b.t.Fatalf("the fund has %s, spent %s and got %d of bonds", left, spent, b.fined)
	}
}

func (b *books) providers(d *rewardv1.QueryDayResponse) {
	b.t.Helper()
	r, err := b.ask().Providers(b.ctx, &rewardv1.QueryProvidersRequest{Day: d.Day.Day})
	b.must(err)
	bonus, duty, sums := math.ZeroInt(), math.ZeroInt(), map[string]rewardv1.Sum{}
	for _, p := range r.Providers {
		bonus, duty = bonus.Add(p.Earner.Bonus), duty.Add(p.Earner.Duty)
		for _, a := range p.Assets {
			s, known := sums[a.Denom]
			if !known {
				s = rewardv1.Sum{Gross: math.ZeroInt(), Paid: math.ZeroInt(), Levied: math.ZeroInt(), Held: math.ZeroInt()}
			}
			sums[a.Denom] = rewardv1.Sum{Gross: s.Gross.Add(a.Sum.Gross), Paid: s.Paid.Add(a.Sum.Paid), Levied: s.Levied.Add(a.Sum.Levied), Held: s.Held.Add(a.Sum.Held)}
		}
	}
	if !bonus.Equal(d.Day.Bonus) || !duty.Equal(d.Day.Duty) {
		b.t.Fatalf("day %d: providers got %s and %s: %+v", d.Day.Day, bonus, duty, d.Day)
	}
	for _, a := range d.Assets {
		if s := sums[a.Denom]; !s.Gross.Equal(a.Sum.Gross) || !s.Paid.Equal(a.Sum.Paid) || !s.Levied.Equal(a.Sum.Levied) || !s.Held.Equal(a.Sum.Held) {
			b.t.Fatalf("day %d, %s: providers' sums %+v, the day's %+v", d.Day.Day, a.Denom, s, a.Sum)
		}
	}
}
