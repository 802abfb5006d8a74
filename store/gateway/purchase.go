package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	blockfmt "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"

	"github.com/hpips/hpips/spec/canon"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/spec/voucher"
)

const (
	leaseTerm   = time.Hour        // of a lease for bytes; what is left of its deposit returns when it was closed
	lastWords   = 20 * time.Second // for the last voucher and the end of a lease
	blockWait   = 60 * time.Second // for one block
	maxSentence = 512
	freeTurns   = 8 // blocks on their way at once where nothing is paid
	maxTurns    = 64
	maxTries    = 8               // of a request to which the gateway says that it is busy
	longBusy    = 5 * time.Second // what is busy for longer is not waited for
)

// Wallet is the money of the node that buys; *pay.Payer is one.
type Wallet interface {
	Terms(q lease.Quote, deposit uint64) *lease.Pay
	Least(ctx context.Context) (uint64, error)
	Fund(ctx context.Context, leases []lease.Lease) error
	Promise(l lease.Lease, u voucher.Usage, root [32]byte) (voucher.Signed, error)
	Close(ctx context.Context, leases []lease.Lease) error
}

// Shop is somebody's gateway as this node buys from it.
type Shop struct {
	URL    string                            // without a path
	Buyer  string                            // peer ID of this node
	Sign   func(lease.Terms) ([]byte, error) // with this node's key
	Wallet Wallet                            // nil: nothing is bought
	Most   uint64                            // base units of HPIPS that the content may cost
}

// Bill is what a purchase came to.
type Bill struct {
	Bytes uint64 // that came and were right
	Paid  uint64 // base units of HPIPS that were promised
}

// Purchase brings the blocks of one content from a gateway, as an exchange.Fetcher. What has a price is paid for when it has come and is right: who sells
// risks its credit, and who buys nothing but the deposit's time.
type Purchase struct {
	shop  Shop
	http  *http.Client
	conns *http.Transport
	lease *lease.Lease // nil: it is free
	token string
	turns chan struct{} // one for each block under way or not paid for
	news  chan struct{} // something is to be paid
	over  chan struct{} // closed when nothing more comes
	payer sync.WaitGroup
	under sync.WaitGroup // blocks on their way

	mu      sync.Mutex
	got     uint64
	waiting int // blocks that came since the last voucher
	paid    uint64
	failed  error
}

// Check reports a URL that is none of a gateway.
func (s Shop) Check() error {
	u, err := url.Parse(s.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("gateway %.128q is not a URL such as https://cdn.example", s.URL), Hint: "write it without a path"}
	}
	return nil
}

// Open asks what a content costs and, where it has a price, opens a lease for it. Finish has to be called in any case where there is no error.
func (s Shop) Open(ctx context.Context, root cid.Cid) (*Purchase, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	s.URL = strings.TrimSuffix(s.URL, "/")
	conns := http.DefaultTransport.(*http.Transport).Clone() // it is one in every program of Go
	conns.MaxIdleConnsPerHost = maxTurns
	p := &Purchase{shop: s, over: make(chan struct{}), news: make(chan struct{}, 1), turns: make(chan struct{}, freeTurns), conns: conns,
		http: &http.Client{Transport: conns, Timeout: blockWait, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	if err := p.open(ctx, root); err != nil {
		conns.CloseIdleConnections()
		return nil, err
	}
	return p, nil
}

// open does what a price needs; the lease is there when it returns, if there is one.
func (p *Purchase) open(ctx context.Context, root cid.Cid) error {
	var o Offer
	switch sold, err := p.call(ctx, http.MethodGet, "offer/"+root.String(), nil, maxOffer, &o); {
	case err != nil:
		return err
	case !sold:
		return nil
	}
	deposit, err := p.shop.afford(ctx, o)
	if err != nil {
		return err
	}
	if err := p.order(ctx, o.Quote, deposit); err != nil {
		return err
	}
	p.turns = make(chan struct{}, max(1, min(o.Credit/edgeBlock, maxTurns)))
	p.payer.Go(func() { p.pays(context.WithoutCancel(ctx)) })
	return nil
}

// afford reckons what is to be deposited for a content: what it costs, or the least that the chain takes.
func (s Shop) afford(ctx context.Context, o Offer) (deposit uint64, err error) {
	if o.Quote.Rates.Sent == 0 || o.Quote.Rates != (voucher.Rates{Sent: o.Quote.Rates.Sent}) || o.Credit < edgeBlock {
		return 0, &job.Failure{Code: job.CodeUnavailable, Message: s.URL + " makes an offer that no gateway makes", Hint: "take another gateway"}
	}
	cost, err := voucher.Cost(o.Quote.Rates, voucher.Usage{Sent: o.Bytes})
	if err != nil || cost > s.Most {
		return 0, &job.Failure{Code: job.CodeFunds, Message: fmt.Sprintf("%s asks %s for this content, %s HPIPS for its %d bytes, and %s HPIPS are allowed", s.URL, perMiB(o.Quote.Rates.Sent), money.Amount(cost), o.Bytes, money.Amount(s.Most)),
			Hint: "allow it with --pay " + money.Amount(cost).String()}
	}
	if s.Wallet == nil {
		return 0, &job.Failure{Code: job.CodeFunds, Message: "this node follows no chain on which it could pay", Hint: "see hpips chain status"}
	}
	least, err := s.Wallet.Least(ctx)
	if err != nil {
		return 0, err
	}
	if deposit = max(cost+1, least); deposit > max(s.Most, cost+1) {
		return 0, &job.Failure{Code: job.CodeFunds, Message: fmt.Sprintf("the chain takes no deposit below %s HPIPS, and %s HPIPS are allowed", money.Amount(least), money.Amount(s.Most)),
			Hint: "allow it with --pay " + money.Amount(least).String() + ": what is not used returns"}
	}
	return deposit, nil
}

// order signs a lease, makes its deposit, and has the gateway take it.
func (p *Purchase) order(ctx context.Context, q lease.Quote, deposit uint64) error {
	pay := p.shop.Wallet.Terms(q, deposit)
	if pay == nil {
		return &job.Failure{Code: job.CodeFunds, Message: "nobody lets this node pay for the content, or the gateway is of the account that would", Hint: "see hpips wallet allow; what a node of your own serves, get from it without --gateway"}
	}
	now := time.Now()
	l := lease.Lease{Terms: lease.Terms{Order: contentOrder(p.shop.Buyer), Quote: q, From: now.UnixMilli(), Until: now.Add(leaseTerm).UnixMilli(), Pay: pay}}
	var err error
	if l.Requester, err = p.shop.Sign(l.Terms); err != nil {
		return err
	}
	p.lease = &l
	err = p.shop.Wallet.Fund(ctx, []lease.Lease{l})
	if err == nil {
		err = p.begin(ctx)
	}
	if err != nil { // a deposit may be there, also after an error of Fund
		return errors.Join(err, p.close(ctx))
	}
	return nil
}

// begin has the gateway take the lease.
func (p *Purchase) begin(ctx context.Context) error {
	var o Opened
	if _, err := p.call(ctx, http.MethodPost, "lease", *p.lease, maxOpened, &o); err != nil {
		return err
	}
	l := *p.lease
	l.Provider = o.Provider
	if err := l.Check(time.Now().UnixMilli()); err != nil {
		return &job.Failure{Code: job.CodeUnavailable, Message: p.shop.URL + ": " + err.Error(), Hint: "take another gateway"}
	}
	p.token = o.Token
	return nil
}

// GetBlock brings one block.
func (p *Purchase) GetBlock(ctx context.Context, c cid.Cid) (blockfmt.Block, error) {
	found, err := p.GetBlocks(ctx, []cid.Cid{c})
	if err != nil {
		return nil, err
	}
	if block, ok := <-found; ok {
		return block, nil
	}
	return nil, errors.Join(ctx.Err(), p.failure())
}

// GetBlocks brings several, so many at once as the gateway gives on credit. After an error nothing comes any more.
func (p *Purchase) GetBlocks(ctx context.Context, all []cid.Cid) (<-chan blockfmt.Block, error) {
	if err := p.failure(); err != nil {
		return nil, err
	}
	to := make(chan blockfmt.Block, len(all))
	p.under.Go(func() {
		defer close(to)
		var hands sync.WaitGroup
		defer hands.Wait()
		for _, c := range all {
			select {
			case p.turns <- struct{}{}:
			case <-ctx.Done():
				return
			}
			if p.failure() != nil {
				<-p.turns
				return
			}
			hands.Go(func() {
				block, err := p.fetch(ctx, c)
				if err != nil {
					if ctx.Err() == nil {
						p.fail(err)
					}
					<-p.turns
					return
				}
				p.owe(len(block.RawData()))
				to <- block
			})
		}
	})
	return to, nil
}

// fetch brings one block and checks its bytes.
func (p *Purchase) fetch(ctx context.Context, c cid.Cid) (blockfmt.Block, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.shop.URL+"/ipfs/"+c.String()+"?format=raw", nil)
	if err != nil {
		return nil, err
	}
	if p.token != "" {
		req.Header.Set(leaseHeader, p.token)
	}
	resp, err := p.ask(req)
	if err != nil {
		return nil, p.unreached(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, p.refused(resp)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, edgeBlock+1))
	if err != nil {
		return nil, p.unreached(err)
	}
	if sum, err := c.Prefix().Sum(data); err != nil || !sum.Equals(c) {
		return nil, &job.Failure{Code: job.CodeUnavailable, Message: fmt.Sprintf("%s sends other bytes for block %s: they are not paid for", p.shop.URL, c), Hint: "take another gateway"}
	}
	return blockfmt.NewBlockWithCid(data, c)
}

// owe notes what came; what is free makes room at once.
func (p *Purchase) owe(n int) {
	p.mu.Lock()
	p.got += uint64(n)
	p.waiting++
	p.mu.Unlock()
	if p.lease == nil {
		<-p.turns
		return
	}
	select {
	case p.news <- struct{}{}:
	default:
	}
}

// pays sends vouchers until nothing more comes: each is for all that came before it.
func (p *Purchase) pays(ctx context.Context) {
	for {
		select {
		case <-p.news:
			if err := p.promise(ctx); err != nil {
				p.fail(err)
			}
		case <-p.over:
			return
		}
	}
}

// promise signs and sends one voucher, and makes room for as many blocks as it pays for.
func (p *Purchase) promise(ctx context.Context) error {
	p.mu.Lock()
	used, n := p.got, p.waiting
	p.waiting = 0
	p.mu.Unlock()
	defer func() {
		for range n {
			<-p.turns
		}
	}()
	s, short := p.shop.Wallet.Promise(*p.lease, voucher.Usage{Sent: used}, [32]byte{})
	if len(s.Signature) == 0 {
		return short
	}
	p.mu.Lock()
	p.paid = max(p.paid, s.Voucher.Amount)
	p.mu.Unlock()
	_, err := p.call(ctx, http.MethodPost, "voucher", s, maxPaid, new(Promised))
	return errors.Join(short, err) // what the deposit does not cover was not in the offer: the rest of it is promised all the same
}

// Finish pays what is left, tells the gateway and the chain that no more comes, and gives the bill. Nothing may be asked for after it.
func (p *Purchase) Finish(ctx context.Context) (Bill, error) {
	p.under.Wait()
	close(p.over)
	p.payer.Wait()
	var err error
	if p.lease != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
		defer cancel()
		p.mu.Lock()
		open := p.waiting > 0
		p.mu.Unlock()
		if open {
			err = p.promise(ctx)
		}
		_, last := p.call(ctx, http.MethodPost, "end", nil, 0, nil)
		err = errors.Join(err, last, p.close(ctx))
	}
	p.conns.CloseIdleConnections()
	p.mu.Lock()
	defer p.mu.Unlock()
	return Bill{Bytes: p.got, Paid: p.paid}, err
}

// close has the chain end the lease, so that what is left of the deposit returns after the grace, if the gateway does not let go of it before; it would when the lease expires, too.
func (p *Purchase) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	return p.shop.Wallet.Close(ctx, []lease.Lease{*p.lease})
}

func (p *Purchase) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed == nil {
		p.failed = err
	}
}

func (p *Purchase) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed
}

// call speaks to the counter of the gateway; false: it answered that there is nothing to say.
func (p *Purchase) call(ctx context.Context, method, what string, say any, most int, answer any) (bool, error) {
	var body io.Reader
	if say != nil {
		text, err := canon.Encode(say)
		if err != nil {
			return false, err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, p.shop.URL+payPath+what, body)
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", payType)
	if p.token != "" {
		req.Header.Set(leaseHeader, p.token)
	}
	resp, err := p.ask(req)
	if err != nil {
		return false, p.unreached(err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNoContent:
		return false, nil
	case resp.StatusCode == http.StatusNotFound && strings.HasPrefix(what, "offer/"):
		return false, nil // a gateway that sells nothing
	case resp.StatusCode != http.StatusOK:
		return false, p.refused(resp)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, int64(most)+1))
	if err == nil {
		err = canon.Decode(text, most, answer)
	}
	if err != nil {
		return false, p.unreached(err)
	}
	return true, nil
}

// ask sends a request, again where the gateway says that it is busy for a moment.
func (p *Purchase) ask(req *http.Request) (*http.Response, error) {
	for tries := 1; ; tries++ {
		resp, err := p.http.Do(req)
		if err != nil || tries == maxTries {
			return resp, err
		}
		wait, busy := busyFor(resp)
		if !busy {
			return resp, nil
		}
		_ = resp.Body.Close() // nothing is read of it
		select {
		case <-req.Context().Done():
			return nil, req.Context().Err()
		case <-time.After(wait):
		}
		if req.GetBody != nil {
			if req.Body, err = req.GetBody(); err != nil {
				return nil, err
			}
		}
	}
}

// busyFor is how long a gateway asks to wait before the next try.
func busyFor(resp *http.Response) (time.Duration, bool) {
	if resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusServiceUnavailable {
		return 0, false
	}
	seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	wait := time.Duration(seconds) * time.Second
	return wait, err == nil && seconds >= 0 && seconds <= int(longBusy/time.Second)
}

// refused gives a gateway's sentence.
func (p *Purchase) refused(resp *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxSentence)) // what can be read of it
	sentence := strings.TrimSpace(strings.ToValidUTF8(string(slices.DeleteFunc(text, func(b byte) bool { return b < ' ' })), "?"))
	f := &job.Failure{Code: job.CodeUnavailable, Message: fmt.Sprintf("%s: %s: %s", p.shop.URL, resp.Status, sentence), Hint: "take another gateway, or try again: what has come is not asked for again"}
	switch resp.StatusCode {
	case http.StatusPaymentRequired:
		f.Code = job.CodeFunds
	case http.StatusNotFound:
		f.Code = job.CodeNotFound
	}
	return f
}

func (p *Purchase) unreached(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return &job.Failure{Code: job.CodeUnavailable, Message: p.shop.URL + ": " + err.Error(), Hint: "see whether the gateway is up; what has come is not asked for again"}
}
