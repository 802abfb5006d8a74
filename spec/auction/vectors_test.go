package auction

import (
	"bytes"
	"encoding/json"
	"flag"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hpips/hpips/spec/sortition"
)

var rewrite = flag.Bool("rewrite", false, "write the test vectors anew")

// trial is a batch and how it comes out. Orders stand by limit and number; the offer, if there is one, is the first of fills where it trades.
type trial struct {
	What   string     `json:"what"`
	Buys   []Level    `json:"buys"`
	Sells  []Level    `json:"sells"`
	Offer  Offer      `json:"offer"`
	Price  uint64     `json:"price"`
	Traded uint64     `json:"traded"`
	Bought []uint64   `json:"bought"`
	Pays   []*big.Int `json:"pays"`
	Sold   []uint64   `json:"sold"`
	Gets   []*big.Int `json:"gets"`
}

const half = Scale / 2 // of an asset for one HPIPS

func trials() []trial {
	none := Offer{Amount: new(big.Int), Decimals: 6}
	sale := func(limit uint64, amount int64) Offer { return Offer{limit, big.NewInt(amount), 6} }
	return []trial{
		{What: "nobody", Offer: none},
		{What: "limits do not meet", Buys: []Level{{half, 5}}, Sells: []Level{{half + 1000000000, 5}}, Offer: none},
		{What: "equal", Buys: []Level{{half, 2_000_000}}, Sells: []Level{{half, 2_000_000}}, Offer: none},
		{What: "most traded", Buys: []Level{{half + 2000000000, 1_000_000}, {half, 3_000_000}}, Sells: []Level{{half - 1000000000, 2_000_000}, {half + 1000000000, 1_000_000}}, Offer: none},
		{What: "least left over", Buys: []Level{{half, 3_000_000}, {half - 1000000000, 4_000_000}}, Sells: []Level{{half - 2000000000, 2_000_000}}, Offer: none},
		{What: "lowest", Buys: []Level{{half, 2_000_000}}, Sells: []Level{{half - 1000000000, 2_000_000}}, Offer: none},
		{What: "in proportion, odd uhpips by number", Buys: []Level{{half, 1_000_000}}, Sells: []Level{{half, 1_000_000}, {half, 1_000_000}, {half, 1_000_000}}, Offer: none},
		{What: "the better limit first", Buys: []Level{{half, 3}}, Sells: []Level{{half - 1000000000, 2}, {half, 2}, {half, 2}}, Offer: none},
		{What: "the offer takes what it affords", Sells: []Level{{half, 9_000_000}}, Offer: sale(half+1000000000, 1_000_001)},
		{What: "the offer is too large", Sells: []Level{{half, 1_000_000}}, Offer: sale(half+1000000000, 1_000_001)},
		{What: "the offer stands first at its limit", Buys: []Level{{half, 2_000_000}}, Sells: []Level{{half, 3_000_001}}, Offer: sale(half, 1_000_000)},
		{What: "a rare asset", Buys: []Level{{7_777, 33_333_333}}, Sells: []Level{{7_776, 20_000_000}, {7_777, 10_000_000}, {7_777, 10_000_001}}, Offer: Offer{Amount: new(big.Int), Decimals: 8}},
	}
}

// run puts the results in.
func (v trial) run() trial {
	v.Price, v.Traded = Clear(levels(v.Buys), levels(v.Sells), v.Offer)
	if v.Traded == 0 {
		return v
	}
	buys, at := v.Buys, 0
	if n := v.Offer.At(v.Price); n > 0 {
		for at < len(buys) && buys[at].Price > v.Offer.Limit {
			at++
		}
		buys = slices.Insert(slices.Clone(buys), at, Level{v.Offer.Limit, n})
	}
	v.Bought, v.Sold = Fill(buys, v.Traded), Fill(v.Sells, v.Traded)
	v.Pays, v.Gets = Pays(v.Bought, v.Price, v.Offer.Decimals, true), Pays(v.Sold, v.Price, v.Offer.Decimals, false)
	return v
}

type lot struct {
	Seed  sortition.Seed `json:"seed"`
	Denom string         `json:"denom"`
	Ends  bool           `json:"ends"`
}

// TestVectors holds what this package computes against testdata, so that another implementation can check itself.
func TestVectors(t *testing.T) {
	var all struct {
		Lots    []lot   `json:"lots"`
		Batches []trial `json:"batches"`
	}
	for seed := sortition.Genesis("hpips-test-1"); len(all.Lots) < 20; seed = seed.Extend(sortition.Beta{}) {
		all.Lots = append(all.Lots, lot{seed, "ucredit", Ends(seed, "ucredit", 10)})
	}
	for _, v := range trials() {
		all.Batches = append(all.Batches, v.run())
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", " ")
	if err := enc.Encode(all); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "auctions.json")
	if *rewrite {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want = bytes.ReplaceAll(want, []byte("\r"), nil); !bytes.Equal(b.Bytes(), want) {
		t.Errorf("%s is not what is computed:\n%s", path, b.Bytes())
	}
}
