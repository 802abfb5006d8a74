package trade

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multiaddr"

	"github.com/hpips/hpips/pay"
	"github.com/hpips/hpips/spec/canon"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/voucher"
	"github.com/hpips/hpips/store"
	"github.com/hpips/hpips/store/gateway"
)

const (
	pinsToken = "a-token-of-the-tests"
	rate      = 1024 * 500 // uhpips for a GiB: 500 for a MiB
	credit    = 4 << 20
)

// books is a payee as a gateway sees it.
type books struct {
	*pay.Payee
	owner string
	chain *till
}

func (b books) Account() (owner, chain, why string) { return b.owner, b.chain.ID(), "" }

func (b books) Take(ctx context.Context, l lease.Lease, s voucher.Signed) (uint64, error) {
	return b.Payee.Take(ctx, l, lease.Voucher{Signed: s})
}

// counter is bob's gateway, which sells.
type counter struct {
	*home
	payee *pay.Payee
	url   string
}

// opens a gateway that sells and is paid on c.
func (h *home) opens(t *testing.T, c *till) *counter {
	t.Helper()
	cfg := pay.PayeeConfig{Path: filepath.Join(t.TempDir(), "pay.db"), Key: h.key, Day: 2 * time.Second, Soon: 50 * time.Millisecond, Watch: 20 * time.Millisecond, Poll: 20 * time.Millisecond}
	payee, err := pay.OpenPayee(quiet(), c, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = payee.Close() })
	serve(t, payee.Serve)
	prices := gateway.NewPrices()
	settings := gateway.DefaultPins(filepath.Join(t.TempDir(), "pins.db"), pinsToken)
	settings.Prices = prices
	pins, err := gateway.OpenPins(quiet(), h.store, h.host.Addrs, settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pins.Close() })
	serve(t, pins.Serve)
	at := gateway.Default()
	at.Address = "127.0.0.1:0"
	raw, err := h.priv.GetPublic().Raw()
	if err != nil {
		t.Fatal(err)
	}
	g, err := gateway.New(quiet(), h.store, gateway.Parts{Pins: pins, Sale: &gateway.Sale{Prices: prices, Till: books{payee, owner(raw), c}, Provider: h.id.String(), Sign: h.sign, Credit: credit}}, at)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, g.Serve)
	return &counter{h, payee, g.URL()}
}

func (h *home) sign(t lease.Terms) ([]byte, error) { return t.Sign(h.priv) }

// publishes has the gateway hold what carol has, at a price.
func (h *home) publishes(t *testing.T, at *counter, rate uint64, data []byte) cid.Cid {
	t.Helper()
	e, err := h.store.AddBytes(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	var origins []multiaddr.Multiaddr
	for _, text := range h.host.Addrs() {
		origins = append(origins, multiaddr.StringCast(text))
	}
	edge := gateway.Edge{URL: at.url, Token: pinsToken}
	if err := edge.Hold(t.Context(), e.CID, "film", rate, origins); err != nil {
		t.Fatal(err)
	}
	if err := edge.Serves(t.Context(), e.CID, rate); err != nil {
		t.Fatal(err)
	}
	return e.CID
}

// purse is alice's money.
func purse(t *testing.T, c *till, seed byte) *pay.Payer {
	t.Helper()
	p, err := pay.NewPayer(c, pay.PayerConfig{Account: "alice", Secret: bytes.Repeat([]byte{seed}, 32)})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (h *home) shop(at *counter, wallet gateway.Wallet, most uint64) gateway.Shop {
	return gateway.Shop{URL: at.url, Buyer: h.id.String(), Sign: h.sign, Wallet: wallet, Most: most}
}

// reader is somebody without a gateway, who is connected to nobody.
func reader(t *testing.T) *home { return moveIn(t, "alice") }

// Carol publishes a film at bob's gateway, for 500 uhpips a MiB. Alice buys it: it comes whole, and bob is paid for exactly what came. What is free stays so.
func TestContentIsBought(t *testing.T) {
	c := newTill()
	bob, carol, alice := moveIn(t, "bob"), moveIn(t, "carol"), reader(t)
	shop := bob.opens(t, c)
	film := carol.publishes(t, shop, rate, noise(20<<20, 1))
	gift := carol.publishes(t, shop, 0, noise(3<<20, 2))

	buying, err := alice.shop(shop, purse(t, c, 7), 100_000).Open(t.Context(), film)
	if err != nil {
		t.Fatal(err)
	}
	_, err = alice.store.FetchVia(t.Context(), film, buying, nil)
	bill, wrong := buying.Finish(t.Context())
	if err != nil || wrong != nil {
		t.Fatal(err, wrong)
	}
	var all uint64
	if err := alice.store.Each(t.Context(), film, func(_ cid.Cid, size int) { all += uint64(size) }); err != nil {
		t.Fatal(err)
	}
	cost, err := voucher.Cost(voucher.Rates{Sent: rate}, voucher.Usage{Sent: all})
	if err != nil || bill.Bytes != all || bill.Paid != cost || cost < 10_000 {
		t.Errorf("the bill is %+v, and %d bytes cost %d (%v)", bill, all, cost, err)
	}
	eventually(t, "bob is paid", func() bool {
		_, closes, open, redeemed := c.told()
		return redeemed == cost && open == 0 && closes == 1
	})

	opens, _, _, _ := c.told()
	free, err := alice.shop(shop, nil, 0).Open(t.Context(), gift)
	if err != nil {
		t.Fatal(err)
	}
	_, err = alice.store.FetchVia(t.Context(), gift, free, nil)
	if bill, wrong := free.Finish(t.Context()); err != nil || wrong != nil || bill.Paid != 0 || bill.Bytes < 3<<20 {
		t.Errorf("what is free: %+v, %v, %v", bill, err, wrong)
	}
	if n, _, _, _ := c.told(); n != opens {
		t.Errorf("%d deposits were made for what is free", n-opens)
	}
	if got := get(t, shop.url+"/ipfs/"+gift.String()); got.code != http.StatusOK || len(got.body) != 3<<20 {
		t.Errorf("the gift as a file: %d, %d bytes", got.code, len(got.body))
	}
}

// Who does not pay is given nothing: not the root, not a leaf, not as a file, as a CAR or through a folder, and not by the exchange of blocks.
func TestContentWithoutPay(t *testing.T) {
	c := newTill()
	bob, carol, alice := moveIn(t, "bob"), moveIn(t, "carol"), reader(t)
	shop := bob.opens(t, c)
	film := carol.publishes(t, shop, rate, noise(3<<20, 3))
	var leaf cid.Cid
	if err := bob.store.Each(t.Context(), film, func(c cid.Cid, _ int) { leaf = c }); err != nil {
		t.Fatal(err)
	}
	folder := bob.folder(t, "film", film)
	for _, path := range []string{film.String() + "?format=raw", leaf.String() + "?format=raw", film.String(), film.String() + "?format=car", leaf.String(), folder.String() + "/film?format=raw"} {
		got := get(t, shop.url+"/ipfs/"+path)
		if got.code != http.StatusPaymentRequired || len(got.body) > 512 || !strings.Contains(string(got.body), "price") && !strings.Contains(string(got.body), "0.0005 HPIPS/MiB") {
			t.Errorf("%s: %d, %.200q", path, got.code, got.body)
		}
	}
	for _, path := range []string{folder.String() + "/film", folder.String() + "?format=car"} { // what of them is free comes
		if got := get(t, shop.url+"/ipfs/"+path); len(got.body) > 64<<10 {
			t.Errorf("%s: %d, %d bytes", path, got.code, len(got.body))
		}
	}
	_, err := alice.shop(shop, purse(t, c, 7), 1499).Open(t.Context(), film)
	var f *job.Failure
	if !errors.As(err, &f) || f.Code != job.CodeFunds || !strings.Contains(f.Message, "0.0005 HPIPS/MiB") || !strings.Contains(f.Hint, "--pay 0.0015") {
		t.Errorf("more than is allowed: %v", err)
	}
	if opens, _, _, _ := c.told(); opens != 0 {
		t.Error("a deposit was made for it")
	}
}

// Mallory takes what she gets on credit and does not pay. Vouchers that are forged, stale, foreign or too little help her to nothing.
func TestWhoDoesNotPay(t *testing.T) {
	c := newTill()
	bob, carol, mallory := moveIn(t, "bob"), moveIn(t, "carol"), moveIn(t, "mallory")
	shop := bob.opens(t, c)
	film := carol.publishes(t, shop, rate, noise(12<<20, 4))
	var leaves []cid.Cid
	if err := bob.store.Each(t.Context(), film, func(c cid.Cid, size int) {
		if size == 1<<20 {
			leaves = append(leaves, c)
		}
	}); err != nil || len(leaves) != 12 {
		t.Fatalf("%d leaves, %v", len(leaves), err)
	}
	wallet := purse(t, c, 9)
	l, token := mallory.leases(t, c, shop, wallet, rate, 10_000)
	taken := 0
	for _, leaf := range leaves {
		got := get(t, shop.url+"/ipfs/"+leaf.String()+"?format=raw", "Hpips-Lease", token)
		if got.code == http.StatusPaymentRequired {
			if !strings.Contains(string(got.body), "send a voucher first") {
				t.Errorf("refused: %s", got.body)
			}
			break
		}
		if got.code != http.StatusOK || len(got.body) != 1<<20 || got.Get("Cache-Control") != "private, no-store" {
			t.Fatalf("%d, %d bytes, %v", got.code, len(got.body), got.Header)
		}
		taken++
	}
	if taken != credit>>20 {
		t.Fatalf("mallory was given %d MiB on a credit of %d", taken, credit>>20)
	}
	next := func() int {
		return get(t, shop.url+"/ipfs/"+leaves[taken].String()+"?format=raw", "Hpips-Lease", token).code
	}
	// The same lease again has another token, and owes what it owed.
	again := shop.begins(t, l)
	if code := get(t, shop.url+"/ipfs/"+leaves[taken].String()+"?format=raw", "Hpips-Lease", again).code; code != http.StatusPaymentRequired || again == token {
		t.Errorf("the same lease begun again: %d", code)
	}
	if got := post(t, shop.url+"/pay/1/end", nil, token); got.code != http.StatusPaymentRequired {
		t.Errorf("the token of before: %d %s", got.code, got.body)
	}
	token = again
	sign := func(v voucher.Voucher, secret byte) voucher.Signed {
		s, err := v.Sign(bytes.Repeat([]byte{secret}, 32))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	v := voucher.Voucher{Chain: c.ID(), Lease: l.Terms.Key(), Amount: 500, Usage: voucher.Usage{Sent: 1 << 20}}
	other, elsewhere, dear, ahead := v, v, v, v
	other.Lease[0] ^= 1
	elsewhere.Chain = "hpips-other-1"
	dear.Amount = 501
	ahead.Amount, ahead.Usage.Sent = 5*500, 5<<20
	rooted := v
	rooted.Root[0] = 1
	for what, s := range map[string]voucher.Signed{"forged": sign(v, 8), "of another lease": sign(other, 9), "of another chain": sign(elsewhere, 9), "of more than its bytes": sign(dear, 9), "of bytes that were not sent": sign(ahead, 9), "for a jury": sign(rooted, 9)} {
		if got := post(t, shop.url+"/pay/1/voucher", s, token); got.code != http.StatusPaymentRequired || !strings.Contains(string(got.body), "not taken") {
			t.Errorf("a voucher %s: %d %s", what, got.code, got.body)
		}
	}
	if got := post(t, shop.url+"/pay/1/voucher", sign(v, 9), "another token"); got.code != http.StatusPaymentRequired {
		t.Errorf("without a lease: %d %s", got.code, got.body)
	}
	if code := next(); code != http.StatusPaymentRequired {
		t.Errorf("after vouchers that are none: %d", code)
	}
	// She pays for one MiB of four: one more comes, no second.
	if got := post(t, shop.url+"/pay/1/voucher", sign(v, 9), token); got.code != http.StatusOK {
		t.Fatalf("a good voucher: %d %s", got.code, got.body)
	}
	if code := next(); code != http.StatusOK {
		t.Errorf("after a good voucher: %d", code)
	}
	if code := next(); code != http.StatusPaymentRequired {
		t.Errorf("short: one voucher opens two blocks: %d", code)
	}
	stale := v
	stale.Amount, stale.Usage.Sent = 400, 900_000
	if got := post(t, shop.url+"/pay/1/voucher", sign(stale, 9), token); got.code != http.StatusPaymentRequired || !strings.Contains(string(got.body), "less than was promised") {
		t.Errorf("stale: %d %s", got.code, got.body)
	}
	if got := post(t, shop.url+"/pay/1/end", nil, token); got.code != http.StatusNoContent {
		t.Errorf("the end: %d %s", got.code, got.body)
	}
	if code := next(); code != http.StatusPaymentRequired {
		t.Errorf("after the end: %d", code)
	}
	if got := post(t, shop.url+"/pay/1/lease", l, ""); got.code != http.StatusPaymentRequired || !strings.Contains(string(got.body), "open another one") {
		t.Errorf("begun after its end: %d %s", got.code, got.body)
	}
	eventually(t, "what she promised is redeemed", func() bool { _, _, _, redeemed := c.told(); return redeemed == 500 })
}

// A lease is for the gateway that it names, in its words and at its price: nothing else is taken for one, and no lease for bytes is one for work.
func TestLeasesThatBuyNothing(t *testing.T) {
	c := newTill()
	bob, carol, mallory := moveIn(t, "bob"), moveIn(t, "carol"), moveIn(t, "mallory")
	shop := bob.opens(t, c)
	film := carol.publishes(t, shop, rate, noise(2<<20, 5))
	wallet := purse(t, c, 9)
	for what, change := range map[string]func(*lease.Terms){
		"another's quote":      func(l *lease.Terms) { l.Quote.Provider = carol.id.String() },
		"another owner":        func(l *lease.Terms) { l.Quote.Owner = "mallory" },
		"work for nothing":     func(l *lease.Terms) { l.Order.Engine = "wasm" },
		"memory":               func(l *lease.Terms) { l.Order.Resources.Memory = 1 << 30 },
		"another chain":        func(l *lease.Terms) { l.Pay.Chain = "hpips-other-1" },
		"another asset":        func(l *lease.Terms) { l.Pay.Denom = "ibc/1" },
		"a jury":               func(l *lease.Terms) { l.Pay.Jury = true },
		"no price":             func(l *lease.Terms) { l.Quote.Rates = voucher.Rates{}; l.Pay = nil },
		"a price of processor": func(l *lease.Terms) { l.Quote.Rates.CPU = 1 },
		"the past":             func(l *lease.Terms) { l.From, l.Until = 1, 2 },
	} {
		l := mallory.terms(t, shop, wallet, rate, 10_000)
		change(&l.Terms)
		var err error
		if l.Requester, err = mallory.sign(l.Terms); err != nil {
			t.Fatal(err)
		}
		if got := post(t, shop.url+"/pay/1/lease", l, ""); got.code != http.StatusPaymentRequired || !strings.Contains(string(got.body), "not taken") {
			t.Errorf("a lease with %s: %d %s", what, got.code, got.body)
		}
	}
	if got := post(t, shop.url+"/pay/1/lease", "no lease", ""); got.code != http.StatusBadRequest {
		t.Errorf("no lease: %d %s", got.code, got.body)
	}
	// One for less than the film costs opens nothing.
	_, token := mallory.leases(t, c, shop, wallet, rate-1, 10_000)
	got := get(t, shop.url+"/ipfs/"+film.String()+"?format=raw", "Hpips-Lease", token)
	if got.code != http.StatusPaymentRequired || !strings.Contains(string(got.body), "the lease pays") {
		t.Errorf("a lower price: %d %s", got.code, got.body)
	}
}

// terms is a lease as mallory would sign it.
func (h *home) terms(t *testing.T, at *counter, wallet *pay.Payer, rate, deposit uint64) lease.Lease {
	t.Helper()
	raw, err := at.priv.GetPublic().Raw()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	q := lease.Quote{Provider: at.id.String(), Owner: owner(raw), Slots: 1, Rates: voucher.Rates{Sent: rate}, Until: now.Add(time.Minute).UnixMilli()}
	return lease.Lease{Terms: lease.Terms{Order: lease.Order{Job: "content", Requester: h.id.String(), Engine: "content", Slots: 1}, Quote: q, From: now.UnixMilli(), Until: now.Add(time.Hour).UnixMilli(), Pay: wallet.Terms(q, deposit)}}
}

// leases makes a deposit and has the gateway take the lease.
func (h *home) leases(t *testing.T, c *till, at *counter, wallet *pay.Payer, rate, deposit uint64) (lease.Lease, string) {
	t.Helper()
	l := h.terms(t, at, wallet, rate, deposit)
	var err error
	if l.Requester, err = h.sign(l.Terms); err == nil {
		err = wallet.Fund(t.Context(), []lease.Lease{l})
	}
	if err != nil {
		t.Fatal(err)
	}
	return l, at.begins(t, l)
}

// begins has the gateway take a lease.
func (at *counter) begins(t *testing.T, l lease.Lease) (token string) {
	t.Helper()
	got := post(t, at.url+"/pay/1/lease", l, "")
	var o gateway.Opened
	if err := canon.Decode(got.body, 1<<10, &o); err != nil || got.code != http.StatusOK {
		t.Fatalf("the lease is not taken: %d %s, %v", got.code, got.body, err)
	}
	if l.Provider = o.Provider; l.Check(time.Now().UnixMilli()) != nil {
		t.Fatal("the gateway did not sign")
	}
	return o.Token
}

// Mallory has no money, and asks forty times at once that her deposit be waited for. It is for some of them, the others are sent away, and who has made a deposit is in no queue.
func TestWhoHasNoDeposit(t *testing.T) {
	c := newTill()
	bob, mallory := moveIn(t, "bob"), moveIn(t, "mallory")
	shop := bob.opens(t, c)
	wallet := purse(t, c, 9)
	ctx, cancel := context.WithCancel(t.Context())
	sent := make(chan int, 40)
	var under sync.WaitGroup
	defer under.Wait()
	defer cancel()
	for i := range cap(sent) {
		l := mallory.terms(t, shop, wallet, rate+uint64(i), 10_000)
		var err error
		if l.Requester, err = mallory.sign(l.Terms); err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, shop.url+"/pay/1/lease", bytes.NewReader(canon.MustEncode(l)))
		if err != nil {
			t.Fatal(err)
		}
		req.Close = true
		under.Go(func() {
			resp, err := http.DefaultClient.Do(req)
			if err != nil { // the test is over
				return
			}
			defer resp.Body.Close()
			if resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") != "1" {
				t.Error("it is not said when to try again")
			}
			sent <- resp.StatusCode
		})
	}
	for range cap(sent) - 16 {
		if code := <-sent; code != http.StatusServiceUnavailable {
			t.Fatalf("one who was to be sent away: %d", code)
		}
	}
	if _, token := mallory.leases(t, c, shop, wallet, rate, 10_000); token == "" {
		t.Error("no token for who has made a deposit")
	}
	if opens, _, _, _ := c.told(); opens != 1 {
		t.Errorf("%d deposits", opens)
	}
}

// folder is one of bob's own with an entry.
func (h *home) folder(t *testing.T, name string, c cid.Cid) cid.Cid {
	t.Helper()
	e, err := h.store.Dir(t.Context(), []store.Link{{Name: name, CID: c}})
	if err != nil {
		t.Fatal(err)
	}
	return e.CID
}

// noise is so many bytes that are the same in each run.
func noise(n int, seed byte) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b) // never fails
	return b
}

type reply struct {
	code int
	http.Header
	body []byte
}

func get(t *testing.T, url string, header ...string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return answered(t, req)
}

func post(t *testing.T, url string, v any, token string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(canon.MustEncode(v)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Hpips-Lease", token)
	return answered(t, req)
}

func answered(t *testing.T, req *http.Request) reply {
	t.Helper()
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if errors.Is(err, io.EOF) { // it was cut off before anything came
		return reply{}
	}
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil { // it was cut off
		t.Logf("%d bytes of %s, then %v", len(body), req.URL, err)
	}
	return reply{resp.StatusCode, resp.Header, body}
}
