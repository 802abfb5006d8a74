package bond

import (
	"testing"
	"time"

	"cosmossdk.io/math"
	"pgregory.net/rapid"

	sdk "github.com/cosmos/cosmos-sdk/types"
)

// books are what a bookkeeper beside the chain writes down.
type books struct {
	*town
	paid, slashed map[string]map[string]int64 // by person and asset
	quiet         map[string]time.Time        // since when somebody who leaves has nothing to answer for
}

// Whatever happens, in whatever order, with restarts in between: no more than a quarter is held, and never above the target; what was held is
// there, returned or slashed; what supply has reserved is what is there; and who left and was quiet for 14 days has all that was not slashed.
func TestWhateverHappensEveryUnitIsAccountedFor(t *testing.T) {
	done := map[string]int{}
	rapid.Check(t, func(r *rapid.T) {
		b := &books{town: founded(r), paid: map[string]map[string]int64{}, slashed: map[string]map[string]int64{}, quiet: map[string]time.Time{}}
		p := Public()
		p.Batch = 2
		b.must(b.keeper.params.Set(b.ctx, p))
		for _, name := range people {
			b.paid[name], b.slashed[name] = map[string]int64{}, map[string]int64{}
		}
		person, asset := rapid.SampledFrom(people[1:]), rapid.SampledFrom([]string{Denom, Denom, silver})
		much := rapid.OneOf(rapid.Int64Range(1, 50), rapid.Int64Range(1, 300*hpips))
		r.Repeat(map[string]func(*rapid.T){
			"": func(r *rapid.T) { b.check(r) },
			"pay": func(r *rapid.T) {
				who, denom, n := person.Draw(r, "who"), asset.Draw(r, "asset"), much.Draw(r, "n")
				before, known := b.bond(who, denom), b.target(who, denom, n)
				held := b.pays(who, denom, n)
				b.paid[who][denom] += n
				if lacks := max(known-before.Held.Int64(), 0); held != min(n/4, lacks) {
					r.Fatalf("%d of %d are held where %d lack", held, n, lacks)
				}
				done["held"] += int(min(held, 1))
			},
			"slash": func(r *rapid.T) {
				who, denom, n := person.Draw(r, "who"), asset.Draw(r, "asset"), much.Draw(r, "n")
				if b.breach != "" {
					return
				}
				had, alice, fund := b.bond(who, denom).Held.Int64(), b.has(at("alice"), denom), b.pot(fundAccount, denom)
				back := rapid.Int64Range(0, 2*n).Draw(r, "refund")
				taken := b.slash(who, denom, n, Refund{at("alice"), math.NewInt(back)})
				if taken != min(had, n) || b.has(at("alice"), denom)-alice != min(back, taken) || b.pot(fundAccount, denom)-fund != taken-min(back, taken) {
					r.Fatalf("%d of %d taken for %d", taken, had, n)
				}
				b.slashed[who][denom] += taken
				done["slashed"] += int(min(taken, 1))
			},
			"forfeit": func(r *rapid.T) {
				who := person.Draw(r, "who")
				if rapid.IntRange(0, 7).Draw(r, "seldom") == 7 {
					b.slashed[who][Denom] += b.bond(who, Denom).Held.Int64()
					b.must(b.keeper.Forfeit(b.ctx, nodeOf(who)))
				}
			},
			"leave": func(r *rapid.T) {
				who := person.Draw(r, "who")
				if b.leave(who) == nil {
					b.quiet[who] = b.ctx.BlockTime()
					done["left"]++
				}
			},
			"stay": func(r *rapid.T) {
				who := person.Draw(r, "who")
				if b.stay(who) == nil {
					delete(b.quiet, who)
				}
			},
			"lease": func(r *rapid.T) { b.busy[nodeOf(person.Draw(r, "who"))] = "lease" },
			"end": func(r *rapid.T) {
				who := person.Draw(r, "who")
				if b.busy[nodeOf(who)] == "" {
					return
				}
				delete(b.busy, nodeOf(who))
				b.must(b.keeper.Touch(b.ctx, nodeOf(who)))
				if _, leaves := b.quiet[who]; leaves {
					b.quiet[who] = b.ctx.BlockTime()
				}
			},
			"block": func(r *rapid.T) {
				hours := rapid.OneOf(rapid.IntRange(0, 20*24), rapid.IntRange(14*24, 20*24))
				b.goes(r, time.Duration(hours.Draw(r, "hours"))*time.Hour, done)
			},
			"breach":  func(r *rapid.T) { b.breach = rapid.SampledFrom([]string{"", "", "", "broken"}).Draw(r, "breach") },
			"restart": func(*rapid.T) { b.restart() },
		})
	})
	for _, what := range []string{"held", "slashed", "left", "returned"} {
		if done[what] == 0 {
			t.Errorf("nothing was ever %s", what)
		}
	}
	t.Log(done)
}

// target is what a bond grows to with a payment, by the bookkeeper's own reckoning.
func (b *books) target(who, denom string, more int64) int64 {
	sum := more
	for _, p := range b.pay {
		if p.node == nodeOf(who) && p.denom == denom && p.day+10 > b.day() {
			sum += p.amount
		}
	}
	if denom == Denom {
		sum = max(sum, 10*hpips)
	}
	return max(sum, b.bond(who, denom).Before.Int64())
}

// goes lets time pass. Bonds return to those who were quiet for long enough, and to nobody else.
func (b *books) goes(r *rapid.T, later time.Duration, done map[string]int) {
	before := map[string]sdk.Coins{}
	for _, who := range people[1:] {
		for _, denom := range []string{Denom, silver} {
			before[who] = before[who].Add(sdk.NewCoin(denom, b.bond(who, denom).Held))
		}
	}
	b.block(later)
	for range len(people) / 2 {
		b.block(0) // the others of a batch
	}
	for _, who := range people[1:] {
		since, leaves := b.quiet[who]
		due := leaves && b.breach == "" && b.busy[nodeOf(who)] == "" && !b.ctx.BlockTime().Before(since.Add(14*24*time.Hour))
		gone := b.told(who).Leaving == nil && leaves
		if gone && !due {
			r.Fatalf("%s is quiet since %s, and the bond returned at %s", who, since, b.ctx.BlockTime())
		}
		// Who was busy when the time had come is looked at again later, or when that ends.
		if due && !gone && b.told(who).Leaving.Due <= b.ctx.BlockTime().Unix() {
			r.Fatalf("%s is quiet since %s, and the bond did not return by %s", who, since, b.ctx.BlockTime())
		}
		if gone {
			done["returned"] += len(before[who])
			delete(b.quiet, who)
		}
	}
}

func (b *books) check(r *rapid.T) {
	b.sound()
	for _, who := range people[1:] {
		for _, denom := range []string{Denom, silver} {
			held := b.bond(who, denom).Held.Int64()
			if have, want := b.has(at(who), denom)+held, b.paid[who][denom]-b.slashed[who][denom]; have != want {
				r.Fatalf("%s has %d%s and a bond of %d, was paid %d, slashed %d", who, have-held, denom, held, b.paid[who][denom], b.slashed[who][denom])
			}
			t, err := b.keeper.Totals(b.ctx, denom)
			b.must(err)
			if t.Held.IsNegative() || t.Held.LT(t.Returned.Add(t.Slashed)) {
				r.Fatalf("totals %+v", t)
			}
		}
	}
}
