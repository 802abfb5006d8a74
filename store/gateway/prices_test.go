package gateway

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/hpips/hpips/store"
)

// below are the blocks under a root, itself among them.
func below(t testing.TB, s *store.Store, root cid.Cid) (all []cid.Cid) {
	t.Helper()
	must(t, s.Each(t.Context(), root, func(c cid.Cid, _ int) { all = append(all, c) }))
	return all
}

// costs fails the test where a block does not cost so much.
func costs(t testing.TB, p *Prices, rate uint64, all ...cid.Cid) {
	t.Helper()
	for _, c := range all {
		if got := p.Of(c); got != rate {
			t.Errorf("block %s costs %d, want %d", c, got, rate)
		}
	}
}

// What alice publishes at bob's gateway has her price as long as he holds it for her: each block of it, also after he begins anew, and before he serves anything. Of two prices the lower one is asked.
func TestPricesStand(t *testing.T) {
	alice, bob, origins := homes(t)
	film, other := add(t, alice, random(3<<20, 1)), add(t, alice, random(1<<20, 2))
	file := filepath.Join(t.TempDir(), "pins.db")
	open := func() (*Prices, string, func()) {
		prices := NewPrices()
		p := openPins(t, bob, file, func(c *PinsConfig) { c.Prices = prices })
		stop := work(p)
		return prices, serve(t, bob, Parts{Pins: p}, nil), func() { stop(); must(t, p.Close()) }
	}
	prices, url, end := open()
	sold := func(rate string) string {
		s := request(t, url+"/pins", Pin{CID: film.String(), Origins: origins, Meta: map[string]string{PriceMeta: rate}})
		await(t, url, s.Request, Pinned)
		return s.Request
	}
	dear := sold("2000")
	all := below(t, bob, film)
	if len(all) != 4 {
		t.Fatalf("%d blocks", len(all))
	}
	costs(t, prices, 2000, all...)
	costs(t, prices, 2000, cid.NewCidV1(cid.Raw, film.Hash())) // by whatever name
	free := request(t, url+"/pins", Pin{CID: other.String(), Origins: origins})
	await(t, url, free.Request, Pinned)
	costs(t, prices, 0, below(t, bob, other)...)
	cheap := sold("1000")
	costs(t, prices, 1000, all...)
	if got := prices.bytes(film); got < 3<<20 || got > 3<<20+4096 {
		t.Errorf("%d bytes are sold", got)
	}
	end()

	alone := NewPrices() // where the service does not run any more
	must(t, Recall(quiet(), bob, file, alone))
	must(t, Recall(quiet(), bob, filepath.Join(t.TempDir(), "none.db"), alone))
	costs(t, alone, 1000, all...)
	prices, url, end = open()
	defer func() { end() }()
	costs(t, prices, 1000, all...)
	if a := call(t, http.MethodDelete, url+"/pins/"+cheap, nil); a.code != http.StatusAccepted {
		t.Fatalf("removed: %d %s", a.code, a.body)
	}
	costs(t, prices, 2000, all...)
	if a := call(t, http.MethodDelete, url+"/pins/"+dear, nil); a.code != http.StatusAccepted {
		t.Fatalf("removed: %d %s", a.code, a.body)
	}
	costs(t, prices, 0, all...)
	var none *Prices
	costs(t, none, 0, all...)
}

// A price that is none is refused, and each where nobody could be paid.
func TestPricesAreChecked(t *testing.T) {
	s := blocks(t, t.TempDir())
	film := add(t, s, []byte("a film"))
	sells := pinning(t, s, func(c *PinsConfig) { c.Prices = NewPrices() })
	for _, rate := range []string{"", "0", "-1", "1.5", "07", "1125899906842625", "18446744073709551616", "free"} {
		a := call(t, http.MethodPost, sells+"/pins", Pin{CID: film.String(), Meta: map[string]string{PriceMeta: rate}})
		if a.code != http.StatusBadRequest || !strings.Contains(string(a.body), "no price") {
			t.Errorf("price %q: %d %s", rate, a.code, a.body)
		}
	}
	gives := pinning(t, s, nil)
	if a := call(t, http.MethodPost, gives+"/pins", Pin{CID: film.String(), Meta: map[string]string{PriceMeta: "10"}}); a.code != http.StatusBadRequest || !strings.Contains(string(a.body), "no price here") {
		t.Errorf("a price where none is taken: %d %s", a.code, a.body)
	}
	for _, sale := range []*Sale{{}, {Prices: NewPrices(), Credit: DefaultCredit}} {
		if _, err := New(quiet(), s, Parts{Sale: sale}, Default()); err == nil {
			t.Errorf("a sale without what it needs: %+v", sale)
		}
	}
}
