package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hpips/hpips/spec/canon"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/voucher"
)

// nobodyPays is a till that no deposit reaches.
type nobodyPays struct{}

func (nobodyPays) Account() (owner, chain, why string) { return "bob", "hpips-test-1", "" }
func (nobodyPays) Funded(context.Context, lease.Lease) (uint64, error) {
	return 0, errors.New("there is no deposit")
}
func (nobodyPays) Served(lease.Lease, uint64)                   {}
func (nobodyPays) Unpaid(lease.Lease) (unpaid, promised uint64) { return 0, 0 }
func (nobodyPays) Closed(lease.Lease) bool                      { return false }
func (nobodyPays) Ended(context.Context, lease.Lease)           {}
func (nobodyPays) Take(context.Context, lease.Lease, voucher.Signed) (uint64, error) {
	return 0, errors.New("there is no lease")
}

// A gateway that fetches for others does not fetch from peers what it has a price for, and gives it away in no file that it puts together.
func TestWhatIsSoldIsNotFetched(t *testing.T) {
	alice, bob := pair(t)
	film, other := add(t, alice, random(3<<20, 1)), add(t, alice, random(3<<20, 2))
	prices := NewPrices()
	for _, c := range below(t, alice, film) {
		if c != film {
			prices.announce(c.String(), c, 5)
		}
	}
	sale := &Sale{Prices: prices, Till: nobodyPays{}, Credit: DefaultCredit, Sign: func(lease.Terms) ([]byte, error) { return nil, nil }}
	url := serve(t, bob, Parts{Sale: sale}, func(c *Config) { c.Fetch, c.Quiet = true, time.Second })
	whole := func(path string) int {
		resp, err := http.Get(url + "/ipfs/" + path)
		if errors.Is(err, io.EOF) { // it is cut off before anything came
			return 0
		}
		must(t, err)
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body) // it may be cut off
		return len(body)
	}
	if n := whole(other.String()); n != 3<<20 {
		t.Errorf("%d bytes of what is free", n)
	}
	for _, path := range []string{film.String(), film.String() + "?format=car"} {
		if n := whole(path); n > 64<<10 {
			t.Errorf("%s: %d bytes", path, n)
		}
	}
}

// Somebody else's gateway may say what it likes: nothing is deposited for an offer that is none, nothing is followed elsewhere, and other bytes are not taken.
func TestPurchaseFromWhoLies(t *testing.T) {
	film := contentOf("film")
	sent := voucher.Rates{Sent: 10}
	for what, c := range map[string]struct {
		answer http.HandlerFunc
		says   string
	}{
		"a price of processor": {tells(Offer{Quote: lease.Quote{Rates: voucher.Rates{Sent: 1, CPU: 1}}, Bytes: 4, Credit: DefaultCredit}), "no gateway makes"},
		"no price":             {tells(Offer{Bytes: 4, Credit: DefaultCredit}), "no gateway makes"},
		"no credit":            {tells(Offer{Quote: lease.Quote{Rates: sent}, Bytes: 4, Credit: 1}), "no gateway makes"},
		"too dear":             {tells(Offer{Quote: lease.Quote{Rates: sent}, Bytes: 1 << 62, Credit: DefaultCredit}), "are allowed"},
		"more than there is":   {tells(Offer{Quote: lease.Quote{Rates: voucher.Rates{Sent: 1 << 63}}, Bytes: 1 << 63, Credit: DefaultCredit}), "are allowed"},
		"no money here":        {tells(Offer{Quote: lease.Quote{Rates: sent}, Bytes: 1 << 30, Credit: DefaultCredit}), "follows no chain"},
		"noise":                {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("\xa1noise")) }, "gateway is up"},
		"somewhere else": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		}, "302"},
		"a long sentence": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "no\x1b[2J"+strings.Repeat("o", 1<<20), http.StatusPaymentRequired)
		}, "no[2Joo"},
	} {
		t.Run(what, func(t *testing.T) {
			mallory := httptest.NewServer(c.answer)
			defer mallory.Close()
			_, err := Shop{URL: mallory.URL, Most: 1000}.Open(t.Context(), film)
			var f *job.Failure
			if !errors.As(err, &f) || !strings.Contains(f.Message+f.Hint, c.says) || len(f.Message) > 1024 {
				t.Errorf("%.2000v", err)
			}
		})
	}
	mallory := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, payPath) {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte("another film"))
	}))
	defer mallory.Close()
	p, err := Shop{URL: mallory.URL}.Open(t.Context(), film)
	must(t, err)
	_, err = blocks(t, t.TempDir()).FetchVia(t.Context(), film, p, nil)
	if bill, _ := p.Finish(t.Context()); err == nil || !strings.Contains(err.Error(), "sends other bytes") || bill != (Bill{}) {
		t.Errorf("%v, %+v", err, bill)
	}
	for _, url := range []string{"", "cdn.example", "ftp://cdn.example", "https://cdn.example/ipfs/", "https://a:b@cdn.example", "https://cdn.example?x=1"} {
		if _, err := (Shop{URL: url}).Open(t.Context(), film); err == nil || !strings.Contains(err.Error(), "not a URL") {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func tells(o Offer) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(canon.MustEncode(o)) }
}

// A gateway that is busy for a moment is asked again, one that is closed is not.
func TestPurchaseWaitsItsTurn(t *testing.T) {
	bob := blocks(t, t.TempDir())
	film := add(t, bob, []byte("film"))
	var asked atomic.Int64
	wait, at := "0", serve(t, bob, Parts{}, nil)
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1)%3 != 0 {
			w.Header().Set("Retry-After", wait)
			refuse(w, http.StatusTooManyRequests, "busy")
			return
		}
		resp, err := http.Get(at + r.URL.RequestURI())
		if err != nil {
			refuse(w, http.StatusBadGateway, err.Error())
			return
		}
		defer resp.Body.Close()
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body) // nobody is left to tell
	}))
	defer busy.Close()
	p, err := Shop{URL: busy.URL}.Open(t.Context(), film)
	must(t, err)
	n, err := blocks(t, t.TempDir()).FetchVia(t.Context(), film, p, nil)
	if bill, wrong := p.Finish(t.Context()); err != nil || wrong != nil || n != 4 || bill.Bytes != 4 || asked.Load() != 6 {
		t.Errorf("%d bytes, %v, %v, %+v after %d requests", n, err, wrong, bill, asked.Load())
	}
	wait = "3600"
	if _, err := (Shop{URL: busy.URL}).Open(t.Context(), film); err == nil || asked.Load() != 7 {
		t.Errorf("closed: %v after %d requests", err, asked.Load())
	}
}
