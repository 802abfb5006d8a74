package exchange

import (
	"errors"
	"testing"

	"cosmossdk.io/math"
	"pgregory.net/rapid"

	sdkerrors "github.com/cosmos/cosmos-sdk/types/errors"

	"github.com/hpips/hpips/proto/gen/exchangev1"
	"github.com/hpips/hpips/spec/auction"
)

// allowed is how the exchange may refuse what these people do.
func allowed(err error) bool {
	for _, want := range []error{ErrMany, ErrUnknown, ErrOwner, ErrBroken, ErrLeast, ErrAmount, sdkerrors.ErrInsufficientFunds} {
		if errors.Is(err, want) {
			return true
		}
	}
	return err == nil
}

// TestWhateverHappensEveryUnitIsAccounted lets people trade at random, levies come in, blocks go by, the supply break and the chain start again from
// its export. After each step all coins are somewhere, and what the exchange has is what its orders and sales hold.
func TestWhateverHappensEveryUnitIsAccounted(t *testing.T) {
	people := rapid.SampledFrom([]string{"alice", "bob", "carol"})
	assets := rapid.SampledFrom([]string{credit, ore})
	sides := rapid.SampledFrom([]exchangev1.Side{buy, sell})
	prices := rapid.Custom(func(r *rapid.T) uint64 {
		return auction.Round(rapid.OneOf(rapid.Uint64Range(half-half/50, half+half/50), rapid.Uint64Range(half/100-half/5000, half/100+half/5000), rapid.Uint64Range(1, 2*half)).Draw(r, "price"))
	})
	rapid.Check(t, func(r *rapid.T) {
		s := open(r)
		p := DefaultParams()
		p.BatchBlocks, p.FillsPerBatch, p.OrdersPerAccount = uint64(rapid.IntRange(1, 3).Draw(r, "blocks")), uint32(rapid.IntRange(1, 6).Draw(r, "fills")), 8
		s.must(s.keeper.params.Set(s.ctx, p))
		s.rich("alice", "bob", "carol")
		place := func(r *rapid.T) {
			n := math.NewInt(rapid.OneOf(rapid.Int64Range(1*hpips, 3*hpips), rapid.Int64Range(-1, 3_000_000*hpips)).Draw(r, "n"))
			who, denom, price := people.Draw(r, "who"), assets.Draw(r, "asset"), prices.Draw(r, "price")
			before := s.reserve(who)
			if _, err := s.order(who, denom, sides.Draw(r, "side"), price, n); !allowed(err) {
				r.Fatalf("place: %v", err)
			} else if err != nil {
				s.reserved[at(who).String()] = before // a transaction that fails is undone
			}
		}
		r.Repeat(map[string]func(*rapid.T){
			"":            func(*rapid.T) { s.sound() },
			"place":       place,
			"place more":  place,
			"place again": place,
			"cancel": func(r *rapid.T) {
				orders := s.all()
				if len(orders) == 0 {
					return
				}
				o := rapid.SampledFrom(orders).Draw(r, "order")
				if err := s.cancel(people.Draw(r, "who"), o.Id); !allowed(err) {
					r.Fatalf("cancel: %v", err)
				}
			},
			"levy": func(r *rapid.T) {
				s.levied(assets.Draw(r, "asset"), math.NewInt(rapid.OneOf(rapid.Int64Range(1, 100), rapid.Int64Range(1, 1000*hpips)).Draw(r, "n")))
			},
			"block": func(r *rapid.T) {
				s.step(rapid.OneOf(rapid.Int64Range(0, 5), rapid.Int64Range(0, 2*hour)).Draw(r, "seconds"))
			},
			"day": func(r *rapid.T) {
				for range 24 {
					s.step(hour)
				}
			},
			"break": func(r *rapid.T) {
				s.broken = rapid.SampledFrom([]string{"", "", "the sum is wrong"}).Draw(r, "why")
			},
			"restart": func(*rapid.T) { s.restart() },
		})
		s.broken = ""
		for _, o := range s.all() { // in the end everybody takes back what is left
			s.must(s.keeper.Cancel(s.ctx, o.Owner, o.Id))
		}
		s.sound()
	})
}

func (s *town) reserve(who string) math.Int {
	if n, ok := s.reserved[at(who).String()]; ok {
		return n
	}
	return math.ZeroInt()
}

// TestABatchOfTheBookIsThatOfItsOrders holds the book, with its sums and its young orders, against a batch reckoned from a plain list of orders.
func TestABatchOfTheBookIsThatOfItsOrders(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := open(r)
		s.rich("alice", "bob", "carol", "dave")
		names := []string{"alice", "bob", "carol", "dave"}
		n := rapid.IntRange(2, 60).Draw(r, "orders")
		blocks := rapid.SliceOfN(rapid.Bool(), n, n).Draw(r, "next block")
		p := DefaultParams()
		p.BatchBlocks = 1 << 16 // while orders come in, no batch ends
		s.must(s.keeper.params.Set(s.ctx, p))
		for i := range n {
			side := rapid.SampledFrom([]exchangev1.Side{buy, sell}).Draw(r, "side")
			price := auction.Round(rapid.Uint64Range(half-half/100, half+half/100).Draw(r, "price"))
			s.place(names[i%4], side, price, rapid.Int64Range(hpips, 20*hpips).Draw(r, "n"))
			if blocks[i] {
				s.ctx = s.ctx.WithBlockHeight(s.ctx.BlockHeight() + 1)
			}
		}
		p.BatchBlocks = 1
		s.must(s.keeper.params.Set(s.ctx, p))
		var old []exchangev1.Order
		for _, o := range s.all() {
			if o.Height < s.ctx.BlockHeight() { // the batch ends in the next block
				old = append(old, o)
			}
		}
		price, traded := tried(old)
		s.step(1)
		a, err := s.keeper.asset(s.ctx, credit)
		s.must(err)
		if traded == 0 && a.Batches == 0 {
			return
		}
		past, err := queries{s.keeper}.Batches(s.ctx, &exchangev1.QueryBatchesRequest{Denom: credit})
		s.must(err)
		if len(past.Batches) != 1 || past.Batches[0].Price != price || !past.Batches[0].Traded.Equal(math.NewIntFromUint64(traded)) {
			r.Fatalf("%+v, want %d at %d", past.Batches, traded, price)
		}
		s.sound()
	})
}

// tried finds the price of a list of orders by trying the limit of each.
func tried(orders []exchangev1.Order) (price, traded uint64) {
	var left uint64
	for _, c := range orders {
		var wanted, supply uint64
		for _, o := range orders {
			switch {
			case o.Side == buy && o.Price >= c.Price:
				wanted += o.Left.Uint64()
			case o.Side == sell && o.Price <= c.Price:
				supply += o.Left.Uint64()
			}
		}
		t, l := min(wanted, supply), max(wanted, supply)-min(wanted, supply)
		better := t > traded || t == traded && (l < left || l == left && c.Price < price)
		if t > 0 && better {
			price, traded, left = c.Price, t, l
		}
	}
	return price, traded
}
