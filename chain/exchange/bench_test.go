package exchange

import (
	"fmt"
	"testing"

	"cosmossdk.io/math"
	"pgregory.net/rapid"

	"github.com/hpips/hpips/proto/gen/exchangev1"
	"github.com/hpips/hpips/spec/auction"
	"github.com/hpips/hpips/spec/money"
)

// crowded is a town with n orders that rest on either side of the price, and with one that a batch can fill.
func crowded(b rapid.TB, n int) *town {
	s := open(b)
	p := DefaultParams()
	p.BatchBlocks, p.OrdersPerAccount = 1, 1000 // for alice and bob
	s.must(s.keeper.params.Set(s.ctx, p))
	const each = 100
	for i := range n {
		who := fmt.Sprint("person ", i/each)
		if i%each == 0 {
			s.issue(at(who), money.Denom, math.NewInt(each*hpips))
			s.issue(at(who), credit, math.NewInt(each*hpips))
		}
		side, step := sell, uint64(i/2%4000)*(half/5000)
		price := half + half/50 + step
		if i%2 == 0 {
			side, price = buy, half-half/50-step/10
		}
		m := &exchangev1.MsgPlace{Owner: text(at(who)), Denom: credit, Side: side, Price: auction.Round(price), Amount: math.NewInt(hpips)}
		if _, err := s.keeper.Place(s.ctx, m); err != nil {
			b.Fatal(err)
		}
		if i%1000 == 0 {
			s.commit()
		}
	}
	s.rich("alice", "bob")
	s.commit()
	s.ctx = s.ctx.WithBlockHeight(s.ctx.BlockHeight() + 2)
	return s
}

// BenchmarkBatch is what a batch costs beside orders that rest: one with nothing to trade, one of two orders, and a full one of fills_per_batch
// orders on each side.
func BenchmarkBatch(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		s := crowded(b, n)
		for _, trades := range []int64{0, 1, 500} {
			b.Run(fmt.Sprintf("resting %d/trades %d", n, trades), func(b *testing.B) {
				for b.Loop() {
					b.StopTimer()
					whole := s.ctx
					s.ctx, _ = whole.CacheContext()
					for range trades {
						for who, side := range map[string]exchangev1.Side{"alice": buy, "bob": sell} {
							if _, err := s.keeper.Place(s.ctx, &exchangev1.MsgPlace{Owner: text(at(who)), Denom: credit, Side: side, Price: half, Amount: math.NewInt(hpips)}); err != nil {
								b.Fatal(err)
							}
						}
					}
					s.ctx = s.ctx.WithBlockHeight(s.ctx.BlockHeight() + 2)
					b.StartTimer()
					s.step(1)
					b.StopTimer()
					s.ctx = whole
					b.StartTimer()
				}
			})
		}
	}
}
