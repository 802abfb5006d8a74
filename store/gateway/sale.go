package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	boxo "github.com/ipfs/boxo/gateway"
	"github.com/ipfs/go-cid"

	"github.com/hpips/hpips/spec/canon"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/spec/voucher"
)

// The words between a gateway and who buys its bytes: canonical CBOR (spec/canon), docs/rfc/0005-paid-content.md.
const (
	payPath     = "/pay/1/"
	priceHeader = "Hpips-Price" // of a 402: uhpips for a GiB
	leaseHeader = "Hpips-Lease" // the token of a lease that pays for the request
	payType     = "application/cbor"

	contentJob  = "content" // Order.Job and Order.Engine of a lease for bytes: no engine has this name
	maxOffer    = 4 << 10
	maxOpened   = 1 << 10
	maxPaid     = 256
	glance      = 200 * time.Millisecond // at the chain, for a deposit that is there: a stranger is in nobody's way for longer
	depositWait = 20 * time.Second       // for a deposit to be seen here
)

// Offer says what a content costs here, and who is to be paid.
type Offer struct {
	Quote  lease.Quote `cbor:"quote"`  // its rates have a price for sent bytes alone
	Bytes  uint64      `cbor:"bytes"`  // of all blocks under the root
	Credit uint64      `cbor:"credit"` // bytes that may be unpaid at any time
}

// Opened answers for a lease that is paid.
type Opened struct {
	Provider []byte `cbor:"provider"` // the gateway's signature of the terms
	Token    string `cbor:"token"`    // for leaseHeader
}

// Promised answers for a voucher.
type Promised struct {
	Amount uint64 `cbor:"amount"` // in all, as the gateway has it
}

// Till is the money of the node that serves.
type Till interface {
	// Account is who is paid for what this node serves, and on which chain; why says that nobody can be, now.
	Account() (owner, chain, why string)
	// Funded waits until the chain has the deposit of a lease.
	Funded(ctx context.Context, l lease.Lease) (deposit uint64, err error)
	// Served counts bytes that are about to be sent.
	Served(l lease.Lease, bytes uint64)
	// Unpaid is what was served beyond what is promised, and what is promised.
	Unpaid(l lease.Lease) (unpaid, promised uint64)
	// Take takes a promise and gives what is promised in all.
	Take(ctx context.Context, l lease.Lease, s voucher.Signed) (uint64, error)
	// Closed tells that no more can be promised; Ended, that no more is served.
	Closed(l lease.Lease) bool
	Ended(ctx context.Context, l lease.Lease)
}

// Sale is what a gateway needs to be paid.
type Sale struct {
	Prices   *Prices
	Till     Till
	Provider string                            // peer ID of this node
	Sign     func(lease.Terms) ([]byte, error) // with this node's key
	Credit   uint64                            // bytes that one lease may owe, 2 MiB at least
}

// DefaultCredit is what a lease may owe, in bytes: enough for four blocks under way and their vouchers.
const DefaultCredit = 8 << 20

// counter sells: it keeps the leases that are open.
type counter struct {
	Sale
	queue    queue
	accounts accounts
}

func newCounter(s Sale) (*counter, error) {
	if s.Prices == nil || s.Till == nil || s.Sign == nil || s.Credit < edgeBlock {
		return nil, fmt.Errorf("gateway: a sale needs prices, a till, a key, and a credit of %d bytes at least", edgeBlock)
	}
	return &counter{Sale: s, queue: queue{waiting: map[netip.Addr]int{}}, accounts: accounts{leases: map[string]*account{}, tokens: map[string]*account{}}}, nil
}

// saleError is what a buyer is told.
type saleError struct {
	status   int
	sentence string
	soon     bool // it helps to try again in a moment
}

func (e *saleError) Error() string { return e.sentence }

func unpaid(format string, args ...any) error {
	return &saleError{status: http.StatusPaymentRequired, sentence: fmt.Sprintf(format, args...)}
}

func (e *saleError) refuse(w http.ResponseWriter) {
	if e.soon {
		w.Header().Set("Retry-After", "1")
	}
	refuse(w, e.status, e.sentence)
}

// ServeHTTP serves /pay/1/: offer/CID, lease, voucher, end.
func (c *counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	what, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, payPath), "/")
	method, does := http.MethodPost, map[string]func(*http.Request) (any, error){"lease": c.begin, "voucher": c.take, "end": c.end}[what]
	if what == "offer" {
		method, does = http.MethodGet, func(r *http.Request) (any, error) { return c.offer(r.Context(), rest) }
	}
	switch {
	case does == nil || rest != "" && what != "offer":
		refuse(w, http.StatusNotFound, "there is nothing at this address")
		return
	case r.Method != method:
		notAllowed(w, r, method)
		return
	}
	answer, err := does(r)
	var told *saleError
	switch {
	case errors.As(err, &told):
		told.refuse(w)
	case err != nil:
		refuse(w, http.StatusBadRequest, err.Error())
	case answer == nil:
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header().Set("Content-Type", payType)
		_, _ = w.Write(canon.MustEncode(answer)) // nobody is left to tell
	}
}

// offer tells the price of a content. 204: it is free, if it is here.
func (c *counter) offer(ctx context.Context, text string) (any, error) {
	root, err := cid.Decode(text)
	if err != nil {
		return nil, fmt.Errorf("%q is no content address", text)
	}
	rate := c.Prices.Of(root)
	if rate == 0 {
		return nil, nil
	}
	owner, _, why := c.Till.Account()
	if why != "" {
		return nil, cannotBePaid(why)
	}
	bytes := c.Prices.bytes(root)
	if bytes == 0 {
		return nil, unpaid("this block has a price, and no content that is sold here begins with it: ask for the address that was published; or the content is still on its way here")
	}
	until := time.Now().Add(time.Minute)
	return Offer{Quote: c.quote(owner, rate, until.UnixMilli()), Bytes: bytes, Credit: c.Credit}, ctx.Err()
}

func cannotBePaid(why string) error {
	return &saleError{status: http.StatusServiceUnavailable, sentence: "this content has a price, and this gateway cannot be paid now: " + why}
}

func (c *counter) quote(owner string, rate uint64, until int64) lease.Quote {
	return lease.Quote{Provider: c.Provider, Owner: owner, Slots: 1, Rates: voucher.Rates{Sent: rate}, Until: until}
}

// contentOrder is the order of every lease for bytes: with nothing in it that could be used as one for work.
func contentOrder(requester string) lease.Order {
	return lease.Order{Job: contentJob, Requester: requester, Engine: contentJob, Slots: 1}
}

// begin opens a lease when its deposit is there. It may be repeated, also after a new beginning of this node: what is owed stays owed.
func (c *counter) begin(r *http.Request) (any, error) {
	var l lease.Lease
	if err := readCBOR(r, lease.MaxLease, &l); err != nil {
		return nil, err
	}
	if err := c.check(l); err != nil {
		return nil, unpaid("this lease is not taken: %v", err)
	}
	deposit, err := c.funded(r, l)
	if err != nil {
		return nil, err
	}
	signature, err := c.Sign(l.Terms)
	if err != nil {
		return nil, err
	}
	token, err := c.accounts.open(l, deposit)
	return Opened{Provider: signature, Token: token}, err
}

// funded looks for the deposit of a lease. Who has made it is never in a queue; who has not waits in it.
func (c *counter) funded(r *http.Request, l lease.Lease) (deposit uint64, err error) {
	within := func(d time.Duration) {
		ctx, cancel := context.WithTimeout(r.Context(), d)
		defer cancel()
		deposit, err = c.Till.Funded(ctx, l)
	}
	if within(glance); err == nil {
		return deposit, nil
	}
	leave, ok := c.queue.enter(clientOf(r.RemoteAddr))
	if !ok {
		return 0, &saleError{status: http.StatusServiceUnavailable, sentence: "this gateway waits for too many deposits: try again in a moment", soon: true}
	}
	defer leave()
	if within(depositWait); err != nil {
		return 0, unpaid("this lease is not taken: %v", err)
	}
	return deposit, nil
}

// check refuses a lease that is not one for bytes of this node, in HPIPS.
func (c *counter) check(l lease.Lease) error {
	if err := l.CheckRequester(time.Now().UnixMilli()); err != nil {
		return err
	}
	owner, chain, why := c.Till.Account()
	t := l.Terms
	want := c.quote(owner, t.Quote.Rates.Sent, t.Quote.Until)
	switch {
	case why != "":
		return errors.New(why)
	case t.Pay == nil:
		return errors.New("it pays nothing")
	case !bytes.Equal(canon.MustEncode(t.Order), canon.MustEncode(contentOrder(t.Order.Requester))):
		return errors.New("its order is not one for content")
	case !bytes.Equal(canon.MustEncode(t.Quote), canon.MustEncode(want)) || t.Quote.Rates.Sent > mostRate:
		return errors.New("its quote is not one of this gateway")
	case t.Pay.Chain != chain || t.Pay.Denom != money.Denom || t.Pay.Jury:
		return fmt.Errorf("it pays in %s on %q, and not in %s on %q", t.Pay.Denom, t.Pay.Chain, money.Denom, chain)
	}
	return nil
}

// take takes a voucher.
func (c *counter) take(r *http.Request) (any, error) {
	a, err := c.accounts.of(r.Header.Get(leaseHeader))
	if err != nil {
		return nil, err
	}
	var s voucher.Signed
	if err := readCBOR(r, 2*voucher.MaxVoucher, &s); err != nil {
		return nil, err
	}
	amount, err := c.Till.Take(r.Context(), a.lease, s)
	if err != nil {
		return nil, unpaid("this voucher is not taken: %v", err)
	}
	return Promised{amount}, nil
}

// end closes an account: what it is owed is redeemed soon.
func (c *counter) end(r *http.Request) (any, error) {
	a, err := c.accounts.of(r.Header.Get(leaseHeader))
	if err != nil {
		return nil, err
	}
	c.accounts.end(a)
	c.Till.Ended(r.Context(), a.lease)
	return nil, nil
}

// reserve takes n bytes at rate from what a lease may still owe.
func (c *counter) reserve(a *account, rate, n uint64) error {
	rates := a.lease.Terms.Quote.Rates
	if rates.Sent < rate {
		return unpaid("this content costs %s, and the lease pays %s", perMiB(rate), perMiB(rates.Sent))
	}
	if a.lease.Terms.Until <= time.Now().UnixMilli() || c.Till.Closed(a.lease) {
		return unpaid("the lease is over: open another one")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	owed, promised := c.Till.Unpaid(a.lease)
	more, err := voucher.Cost(rates, voucher.Usage{Sent: a.reserved + n})
	most, wrong := voucher.Cost(rates, voucher.Usage{Sent: c.Credit})
	if err != nil || wrong != nil {
		return unpaid("this cannot be paid: %v", errors.Join(err, wrong))
	}
	switch {
	case owed+more > most+1: // the price of a piece may be less than one base unit
		return unpaid("%s HPIPS are owed and %s more would be: this gateway gives %d bytes on credit, send a voucher first", money.Amount(owed), money.Amount(more), c.Credit)
	case owed+more+promised > a.deposit+1:
		return unpaid("the deposit of %s HPIPS is used up", money.Amount(a.deposit))
	}
	a.reserved += n
	return nil
}

// release gives a reservation back; sent tells that its bytes go out, which counts them.
func (c *counter) release(a *account, n uint64, sent bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reserved -= n
	if sent {
		c.Till.Served(a.lease, n)
	}
}

func perMiB(rate uint64) string {
	return fmt.Sprintf("%s HPIPS/MiB", strconv.FormatFloat(float64(rate)/1024/money.Scale, 'f', -1, 64))
}

// errPriced is the answer for a block with a price that is reached in another way than by its own address.
var errPriced = boxo.NewErrorStatusCode(errors.New("this content has a price here: ask for it by its own address"), http.StatusPaymentRequired)

type paidKey struct{}

// paidFor tells whether the request has paid for a block.
func paidFor(ctx context.Context, c cid.Cid) bool {
	paid, ok := ctx.Value(paidKey{}).(cid.Cid)
	return ok && paid.Equals(c)
}

// sell answers for a block with a price: who has none of the gateway's credit left is told what it costs.
func (d *desk) sell(w http.ResponseWriter, r *http.Request, c cid.Cid, rate uint64) {
	w.Header().Set(priceHeader, strconv.FormatUint(rate, 10))
	a, size, err := d.admit(r, c, rate)
	if err != nil {
		var told *saleError
		if !errors.As(err, &told) {
			told = &saleError{status: http.StatusNotFound, sentence: err.Error()}
		}
		told.refuse(w)
		return
	}
	m := &metered{ResponseWriter: w, begun: func(sent bool) { d.sale.release(a, size, sent) }}
	defer m.end()
	r = r.WithContext(context.WithValue(r.Context(), paidKey{}, c))
	for _, name := range []string{"If-None-Match", "If-Modified-Since", "Range", "If-Range"} { // it is counted whole, so it is given whole
		r.Header.Del(name)
	}
	d.content.ServeHTTP(m, r)
}

// admit finds who pays for a block and reserves its bytes.
func (d *desk) admit(r *http.Request, c cid.Cid, rate uint64) (*account, uint64, error) {
	if _, _, why := d.sale.Till.Account(); why != "" {
		return nil, 0, cannotBePaid(why)
	}
	if r.Header.Get(leaseHeader) == "" {
		return nil, 0, unpaid("this content costs %s here: hpips get %s --gateway URL --pay MAX buys it", perMiB(rate), c)
	}
	_, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/ipfs/"), "/")
	if r.Method != http.MethodGet || path != "" || r.URL.Query().Get("format") != "raw" {
		return nil, 0, unpaid("content with a price is given block by block: GET /ipfs/CID?format=raw")
	}
	a, err := d.sale.accounts.of(r.Header.Get(leaseHeader))
	if err != nil {
		return nil, 0, err
	}
	size, err := d.shelf.GetSize(r.Context(), c)
	if err != nil {
		return nil, 0, err
	}
	return a, uint64(size), d.sale.reserve(a, rate, uint64(size))
}

// metered tells when the first byte of an answer goes out, or that none did.
type metered struct {
	http.ResponseWriter
	begun func(sent bool)
	told  bool
	good  bool // it has the block
}

// WriteHeader begins an answer. What was paid for is nobody else's: it is not kept on the way.
func (m *metered) WriteHeader(status int) {
	m.good = status == http.StatusOK
	m.Header().Set("Cache-Control", "private, no-store")
	m.ResponseWriter.WriteHeader(status)
}

// Write writes.
func (m *metered) Write(b []byte) (int, error) {
	if m.good && !m.told {
		m.told = true
		m.begun(true)
	}
	return m.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (m *metered) Unwrap() http.ResponseWriter { return m.ResponseWriter }

func (m *metered) end() {
	if !m.told {
		m.begun(false)
	}
}

// readCBOR reads a request's body strictly.
func readCBOR(r *http.Request, most int, v any) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, int64(most)+1))
	if err != nil {
		return err
	}
	return canon.Decode(body, most, v)
}
