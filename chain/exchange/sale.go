package exchange

import (
	"math/big"

	"cosmossdk.io/math"

	"github.com/hpips/hpips/proto/gen/exchangev1"
	"github.com/hpips/hpips/spec/auction"
)

// The standing sale of an asset's levies, as steps from one state to the next. now is in Unix seconds.
//
//  1. A levy joins what waits, of which from then on an equal part comes on offer at each part's time, the first at once.
//  2. What is on offer takes part in every batch, once it is worth the least order. Its limit is its price.
//  3. A batch that sells all of it sets its price to that at which it sold, with the premium. One that sells a share of it moves its price by
//     that share of the way: otherwise an order of 1 HPIPS an hour would keep it from ever falling to where others buy.
//  4. Once for each part's time in which no batch sold all, its price gives way by the fall; in batches only, so that a halt costs nobody.
//
// As a price is what it pays for one HPIPS, a premium makes it less and a fall makes it more.

func newSale(denom string, price uint64) exchangev1.Sale {
	zero := math.ZeroInt()
	return exchangev1.Sale{Denom: denom, Waiting: zero, Offered: zero, Part: zero, Price: price, Sold: zero, Bought: zero}
}

// join takes a levy in.
func join(s exchangev1.Sale, p exchangev1.Params, amount math.Int, now int64) exchangev1.Sale {
	if !s.Waiting.IsPositive() {
		s.NextPart = now
	}
	s.Waiting = s.Waiting.Add(amount)
	s.Part = s.Waiting.AddRaw(int64(p.SaleParts) - 1).QuoRaw(int64(p.SaleParts))
	return s
}

// due moves the parts whose time has come. False: none has.
func due(s exchangev1.Sale, p exchangev1.Params, decimals uint32, now int64) (exchangev1.Sale, bool) {
	if !s.Waiting.IsPositive() || now < s.NextPart {
		return s, false
	}
	before, seconds := onOffer(s, p, decimals), int64(p.PartSeconds)
	parts := 1 + (now-s.NextPart)/seconds
	moved := math.MinInt(s.Part.MulRaw(parts), s.Waiting)
	s.Waiting, s.Offered, s.NextPart = s.Waiting.Sub(moved), s.Offered.Add(moved), s.NextPart+parts*seconds
	if !before && onOffer(s, p, decimals) {
		s.Since = now
	}
	return s, true
}

// offer is how a sale stands in a batch; nothing as long as what it has is not worth the least order.
func offer(s exchangev1.Sale, p exchangev1.Params, decimals uint32) auction.Offer {
	if !onOffer(s, p, decimals) {
		return auction.Offer{Amount: new(big.Int), Decimals: decimals}
	}
	return auction.Offer{Limit: auction.Round(s.Price), Amount: s.Offered.BigInt(), Decimals: decimals}
}

func onOffer(s exchangev1.Sale, p exchangev1.Params, decimals uint32) bool {
	return auction.Affords(s.Offered.BigInt(), auction.Round(s.Price), decimals) >= p.LeastOrder
}

// filled is the sale after it paid for bought uhpips at a price.
func filled(s exchangev1.Sale, p exchangev1.Params, paid math.Int, bought, price uint64) exchangev1.Sale {
	set := math.NewIntFromUint64(price).MulRaw(million).QuoRaw(million + int64(p.SalePremium))
	moved := math.NewIntFromUint64(s.Price).Mul(s.Offered.Sub(paid)).Add(set.Mul(paid)).Quo(s.Offered)
	s.Price = max(moved.Uint64(), 1)
	s.Offered, s.Sold, s.Bought = s.Offered.Sub(paid), s.Sold.Add(paid), s.Bought.Add(math.NewIntFromUint64(bought))
	return s
}

// unfilled lets the price give way if it is time.
func unfilled(s exchangev1.Sale, p exchangev1.Params, now int64) exchangev1.Sale {
	if now-s.Since < int64(p.PartSeconds) {
		return s
	}
	whole := math.NewInt(million - int64(p.SaleFall))
	next := math.NewIntFromUint64(s.Price).MulRaw(million).Add(whole).SubRaw(1).Quo(whole) // rounded up, so that it moves
	s.Since, s.Price = now, ^uint64(0)
	if next.IsUint64() {
		s.Price = next.Uint64()
	}
	return s
}
