package exchange

import (
	"errors"
	"testing"

	"cosmossdk.io/math"

	"github.com/hpips/hpips/spec/money"
)

const hour = 3600

func TestALevyIsSoldInTwentyFourParts(t *testing.T) {
	s := open(t)
	s.rich("hanna")
	s.place("hanna", sell, half, 10_000*hpips)
	s.settle()
	s.levied(credit, math.NewInt(240*hpips+7)) // 10.000001 credits an hour
	for i := range int64(24) {
		s.step(1)
		sale, offered := s.sale(credit), min((i+1)*(10*hpips+1), 240*hpips+7)
		s.want("waiting", sale.Waiting, 240*hpips+7-offered)
		s.want("on offer and sold", sale.Offered.Add(sale.Sold), offered)
		s.step(hour - 1)
		s.sound()
	}
	if sale := s.sale(credit); sale.Sold.LT(math.NewInt(200*hpips)) || !sale.Bought.Equal(s.converted) {
		t.Errorf("hanna buys at the first price, and the sale is %+v", sale)
	}
	s.want("what hanna got", s.has("hanna", credit).AddRaw(-much), s.sale(credit).Sold.Int64())
	s.want("what the holders get", s.pot(levy, money.Denom), s.converted.Int64())
}

func TestTheSaleAsksMoreThanItsLastFillAndGivesWay(t *testing.T) {
	s := open(t)
	s.rich("hanna")
	s.place("hanna", sell, half, 1000*hpips)
	s.settle()
	s.levied(credit, math.NewInt(24*10*hpips))
	s.step(1)
	s.step(1)
	sale := s.sale(credit)
	s.want("sold at the first price", sale.Sold, 10*hpips)
	if want := uint64(half) * 100 / 102; sale.Price != want {
		t.Fatalf("the price is %d, want %d", sale.Price, want)
	}
	price, sold := sale.Price, sale.Sold
	for i, falls := range []bool{false, true, true} { // the next part comes on offer, and stands an hour before it gives way
		s.step(hour)
		if sale = s.sale(credit); falls && sale.Price != (price*100+98)/99 && !sale.Sold.GT(sold) || !falls && sale.Price != price {
			t.Errorf("hour %d: from %d to %d", i, price, sale.Price)
		}
		price = sale.Price
	}
	s.step(1)
	if sale = s.sale(credit); !sale.Sold.GT(sold) || !sale.Offered.LT(math.NewInt(hpips)) {
		t.Errorf("1.02 × 0.99 × 0.99 is no more than hanna pays: %+v", sale)
	}
	s.sound()
}

func TestAShareOfAFillMovesThePriceByThatShare(t *testing.T) {
	s := open(t)
	s.rich("carol")
	s.levied(credit, math.NewInt(24*100*hpips))
	s.step(1)
	before := s.sale(credit).Price
	for range 20 { // carol buys for an HPIPS of 200, again and again, to keep the price up
		s.place("carol", sell, half/2, hpips)
		s.settle()
	}
	sale := s.sale(credit)
	// 20 fills of a 200th each: a tenth of the two per cent, and a little less as each counts from the one before.
	if moved := (before - sale.Price) * 1_000_000 / before; moved == 0 || moved > 2_100 {
		t.Errorf("from %d to %d: %d millionths", before, sale.Price, moved)
	}
	since := sale.Since
	s.step(hour)
	if after := s.sale(credit); after.Price <= sale.Price || after.Since == since {
		t.Errorf("small fills hold the price up: %d, then %d", sale.Price, after.Price)
	}
	s.sound()
}

func TestAPricePaidFarAboveOthersDoesNotCarryTheSaleAway(t *testing.T) {
	s := open(t)
	s.rich("carol")
	s.levied(credit, math.NewInt(24*100*hpips))
	s.step(1)
	before := s.sale(credit).Price
	s.place("carol", sell, 1000, hpips) // a whole HPIPS for next to nothing
	s.settle()
	if sale := s.sale(credit); sale.Price < before-before/100 {
		t.Errorf("a 200th of the offer took the price from %d to %d", before, sale.Price)
	}
	s.sound()
}

func TestAHaltCostsTheSaleOneStep(t *testing.T) {
	s := open(t)
	s.levied(credit, math.NewInt(24*10*hpips))
	s.step(1)
	before := s.sale(credit)
	s.step(30 * hour)
	after := s.sale(credit)
	if want := (before.Price*100 + 98) / 99; after.Price != want {
		t.Errorf("from %d to %d, want %d", before.Price, after.Price, want)
	}
	s.want("what waits after a day", after.Waiting, 0)
	s.want("what is on offer", after.Offered, 240*hpips)
}

func TestWhatIsNotWorthAnOrderWaits(t *testing.T) {
	s := open(t)
	s.rich("hanna")
	s.levied(credit, math.NewInt(1000)) // 0.002 HPIPS
	price := s.sale(credit).Price
	for range 100 {
		s.step(hour)
	}
	if s.sale(credit).Price != price {
		t.Error("the price of nothing gave way")
	}
	s.place("hanna", sell, half, 1000*hpips)
	s.settle()
	s.want("sold", s.sale(credit).Sold, 0)
	s.levied(credit, math.NewInt(24*10*hpips))
	s.step(1)
	s.want("sold", s.sale(credit).Sold, 10*hpips+1000)
	s.sound()
}

func TestOnlyLeviesOfAdmittedAssetsAreSold(t *testing.T) {
	s := open(t)
	for name, row := range map[string]struct {
		denom string
		n     math.Int
		want  error
	}{
		"unknown": {"ugold", math.OneInt(), ErrDenom}, "HPIPS": {money.Denom, math.OneInt(), ErrDenom},
		"nothing": {credit, math.ZeroInt(), ErrAmount}, "less": {credit, math.NewInt(-1), ErrAmount}, "none": {credit, math.Int{}, ErrAmount},
	} {
		if err := s.keeper.Sell(s.ctx, row.denom, row.n); !errors.Is(err, row.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.keeper.Sell(s.ctx, credit, math.OneInt()); err == nil {
		t.Error("what the levy does not have was sold")
	}
}

func TestAPriceThatNobodyPaysGoesToItsEnd(t *testing.T) {
	s := open(t)
	s.levied(ore, math.NewIntWithDecimal(1, 18))
	s.step(1)
	price := s.sale(ore).Price
	for range 3000 {
		s.step(hour)
		next := s.sale(ore).Price
		if next < price || next == price && price != ^uint64(0) && s.sale(ore).Since == s.ctx.BlockTime().Unix() {
			t.Fatalf("from %d to %d", price, next)
		}
		price = next
	}
	if offered := s.sale(ore).Offered; !offered.Equal(math.NewIntWithDecimal(1, 18)) {
		t.Errorf("%s are on offer", offered)
	}
	s.sound()
}
