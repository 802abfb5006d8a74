package market

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/sync/errgroup"

	"github.com/hpips/hpips/spec/canon"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
)

// BrokerConfig is how a broker buys.
type BrokerConfig struct {
	Timeout  time.Duration // per peer and question
	Parallel int           // questions at once
}

// DefaultBroker returns the configuration that suits most.
func DefaultBroker() BrokerConfig { return BrokerConfig{Timeout: 3 * time.Second, Parallel: 32} }

// Broker buys: it asks peers for quotes and opens leases with those it takes.
type Broker struct {
	log  *slog.Logger
	key  crypto.PrivKey
	now  func() time.Time
	peer Caller
	cfg  BrokerConfig
}

// NewBroker returns a broker that signs with the node's key and calls peers through caller.
func NewBroker(log *slog.Logger, key crypto.PrivKey, now func() time.Time, caller Caller, cfg BrokerConfig) *Broker {
	return &Broker{log: log, key: key, now: now, peer: caller, cfg: cfg}
}

// Answer is what one peer said to an order: a quote that was checked, or why there is none. A provider's own no is an ErrRefused.
type Answer struct {
	Peer  peer.ID
	Job   string // of the order
	Quote lease.Quote
	Err   error

	Resources job.Resources // of the order
	Score     float64       // of the peer, as History.Score; 0: it is a newcomer
}

// Offers asks peers what they sell now for a task of these resources, whatever it costs, the cheapest first; those that sell nothing say why, at
// the end. Peers that do not answer are left out.
func (b *Broker) Offers(ctx context.Context, order lease.Order, peers []peer.ID) []Offer {
	offers := []Offer{}
	for _, a := range b.Ask(ctx, order, Any, peers) {
		var no *Refusal
		switch q := a.Quote; {
		case a.Err == nil:
			offers = append(offers, Offer{Provider: q.Provider, Owner: q.Owner, Network: q.Network, Class: q.Class, Region: q.Region, Speed: q.Speed, GPUs: q.GPUs, Slots: q.Slots, Load: q.Load, Rates: q.Rates,
				Hour: Hourly(q.Rates, order.Resources), Until: q.Until})
		case errors.As(a.Err, &no):
			offers = append(offers, Offer{Provider: a.Peer.String(), Refusal: no.Reason})
		}
	}
	slices.SortFunc(offers, func(x, y Offer) int {
		return cmp.Or(cmp.Compare(min(y.Slots, 1), min(x.Slots, 1)), cmp.Compare(x.Hour, y.Hour), cmp.Compare(x.Rates.Sent, y.Rates.Sent), strings.Compare(x.Provider, y.Provider))
	})
	return offers
}

// Ask asks all peers at once for a quote and returns their answers in the order of peers. Order.Requester must be this node.
// What costs more than the ceiling is a refusal. It takes Timeout at most for each Parallel peers; the end of ctx leaves the rest with its error.
func (b *Broker) Ask(ctx context.Context, order lease.Order, ceiling Ceiling, peers []peer.ID) []Answer {
	answers := make([]Answer, len(peers))
	var g errgroup.Group
	g.SetLimit(max(1, b.cfg.Parallel))
	for i, p := range peers {
		g.Go(func() error {
			q, err := b.ask(ctx, order, ceiling, p)
			answers[i] = Answer{Peer: p, Job: order.Job, Resources: order.Resources, Quote: q, Err: err}
			return nil
		})
	}
	_ = g.Wait() // no question returns an error: each answer holds its own
	return answers
}

func (b *Broker) ask(ctx context.Context, order lease.Order, ceiling Ceiling, p peer.ID) (lease.Quote, error) {
	req, err := canon.Encode(order)
	if err != nil {
		return lease.Quote{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Timeout)
	defer cancel()
	reply, err := b.peer.Call(ctx, p, QuoteProtocol, req)
	if err != nil {
		return lease.Quote{}, fmt.Errorf("quote from %s: %w", p, err)
	}
	var q lease.Quote
	if err := canon.Decode(reply, lease.MaxOrder, &q); err != nil {
		return lease.Quote{}, fmt.Errorf("quote from %s: %w", p, err)
	}
	if err := checkQuote(q, order, p, ceiling, b.now()); err != nil {
		return lease.Quote{}, err
	}
	return q, nil
}

// explore is in how many orders newcomers once are ranked as if all that they bring were right, so that they can prove it.
const explore = 8

// Choose returns the offers to take for so many slots, best first: by the expected price of a right result, which is the price of what was ordered divided by the
// provider's score. Equals go by whether they did worse than a newcomer, by the price of what is sent, by load, then by a hash of job and peer, so that many
// requesters spread over equal providers. Words of job.Preferences go before all that, the first first. It takes as many as it needs to reach slots, or all.
func Choose(answers []Answer, slots int, prefer ...string) []Answer {
	var offers []ranked
	for _, a := range answers {
		if a.Err != nil || a.Quote.Slots <= 0 {
			continue
		}
		o := ranked{Answer: a, hour: Hourly(a.Quote.Rates, a.Resources), luck: sha256.Sum256([]byte(a.Job + "\x00" + string(a.Peer)))}
		score := a.Score
		switch {
		case score > 0 && score < Newcomer-doubt:
			o.doubted = 1
		case score <= 0 && sha256.Sum256([]byte(a.Job))[0]%explore == 0:
			score = 1
		case score <= 0:
			score = Newcomer
		}
		o.score, o.expected = score, float64(o.hour)/score
		offers = append(offers, o)
	}
	slices.SortFunc(offers, func(x, y ranked) int {
		p, q := x.Quote, y.Quote
		for _, word := range prefer {
			if c := x.preferred(word, y); c != 0 {
				return c
			}
		}
		return cmp.Or(cmp.Compare(x.expected, y.expected), cmp.Compare(x.doubted, y.doubted), cmp.Compare(x.hour, y.hour), cmp.Compare(p.Rates.Sent, q.Rates.Sent),
			cmp.Compare(p.Load, q.Load), slices.Compare(x.luck[:], y.luck[:]))
	})
	var taken []Answer
	for _, o := range offers {
		if slots <= 0 {
			break
		}
		slots -= o.Quote.Slots
		taken = append(taken, o.Answer)
	}
	return taken
}

// ranked is an offer with what it is ordered by.
type ranked struct {
	Answer
	score    float64
	expected float64
	hour     uint64
	doubted  int
	luck     [32]byte
}

// preferred compares two offers by a word of job.Preferences.
func (x ranked) preferred(word string, y ranked) int {
	switch word {
	case "price":
		return cmp.Compare(x.hour, y.hour)
	case "reputation":
		return cmp.Compare(y.score, x.score)
	case "load":
		return cmp.Compare(x.Quote.Load, y.Quote.Load)
	case "slots":
		return cmp.Compare(y.Quote.Slots, x.Quote.Slots)
	case "speed": // those that nobody has measured come last
		return cmp.Compare(y.Quote.Speed, x.Quote.Speed)
	case "gpu.memory":
		return cmp.Compare(y.smallest(), x.smallest())
	}
	return 0
}

// smallest is the memory of the smallest device that is offered.
func (x ranked) smallest() (least job.Size) {
	for i, d := range x.Quote.GPUs {
		if i == 0 || d.Memory < least {
			least = d.Memory
		}
	}
	return least
}

// Open makes a lease of a quote: it signs the terms, sends them to the provider and checks its signature. pay says how it is paid for; nil where the
// quote is free. An error leaves nothing behind here; the provider frees a lease that nobody begins.
func (b *Broker) Open(ctx context.Context, p peer.ID, order lease.Order, quote lease.Quote, pay *lease.Pay, term time.Duration) (lease.Lease, error) {
	now := b.now()
	terms := lease.Terms{Order: order, Quote: quote, From: now.UnixMilli(), Until: now.Add(min(term, lease.MaxTerm)).UnixMilli(), Pay: pay}
	l, err := b.propose(ctx, p, terms, nil)
	if err != nil {
		return lease.Lease{}, fmt.Errorf("open lease with %s: %w", p, err)
	}
	b.log.Debug("lease opened", "lease", l.ID(), "provider", p, "slots", quote.Slots)
	return l, nil
}

// Extend asks the provider to let l run until a later time; it keeps its ID. It may be repeated. On an error l holds as before.
func (b *Broker) Extend(ctx context.Context, l lease.Lease, until time.Time) (lease.Lease, error) {
	p, err := peer.Decode(l.Terms.Quote.Provider)
	if err != nil {
		return lease.Lease{}, fmt.Errorf("extend lease %s: %w", l.ID(), err)
	}
	terms := l.Terms
	terms.Serial++
	terms.Until = until.UnixMilli()
	longer, err := b.propose(ctx, p, terms, &l)
	if err != nil {
		return lease.Lease{}, fmt.Errorf("extend lease %s: %w", l.ID(), err)
	}
	return longer, nil
}

// propose signs terms and brings back the provider's signature below the same terms.
func (b *Broker) propose(ctx context.Context, p peer.ID, terms lease.Terms, before *lease.Lease) (lease.Lease, error) {
	sig, err := terms.Sign(b.key)
	if err != nil {
		return lease.Lease{}, err
	}
	req, err := canon.Encode(Proposal{Lease: lease.Lease{Terms: terms, Requester: sig}, Before: before})
	if err != nil {
		return lease.Lease{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Timeout)
	defer cancel()
	reply, err := b.peer.Call(ctx, p, LeaseProtocol, req)
	if err != nil {
		return lease.Lease{}, err
	}
	var l lease.Lease
	if err := canon.Decode(reply, lease.MaxLease, &l); err != nil {
		return lease.Lease{}, err
	}
	if !reflect.DeepEqual(l.Terms, terms) {
		return lease.Lease{}, fmt.Errorf("countersigned lease: the provider changed the terms")
	}
	if err := l.Check(b.now().UnixMilli()); err != nil {
		return lease.Lease{}, fmt.Errorf("countersigned %w", err)
	}
	return l, nil
}
