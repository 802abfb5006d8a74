package market

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/spec/canon"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/spec/voucher"
)

// Capacity is what a node has to sell; the provider is one.
type Capacity interface {
	// Free tells what is there now for a buyer.
	Free(buyer peer.ID) Free
	// Hold takes a place for a lease that is about to be countersigned, or notes the later end of one that it holds. It may be repeated.
	// Its error is told to the buyer.
	Hold(l lease.Lease) error
}

// Free is what a node has at one moment.
type Free struct {
	Engines   []string
	Lacking   map[string]string // engine that is not here → why, in words that name a remedy
	Slots     int               // tasks at once
	Memory    int64             // bytes that tasks may take together
	Disk      int64             // bytes that tasks may write together
	GPUs      []Device          // that there are
	Leases    int               // held now
	MaxLeases int
	Worked    time.Duration // of all slots together since the start
	Refusal   string        // why nothing is taken now, such as "paused by its owner"; "" when something is
}

// BidderConfig is how a bidder sells.
type BidderConfig struct {
	Owner   string                     // who is paid, where Account does not tell
	Class   string                     // hardware class of this machine
	Network string                     // label of the network that the node is in
	Region  string                     // where the node is, in its owner's words; "" is not told
	Speed   func() uint64              // operations a second of one processor while all work, as it was measured; 0: nobody has; nil: likewise
	Rates   voucher.Rates              // prices, the lowest where they move; none: work is given away
	Pricing Pricing                    // how they move
	Chain   string                     // on which work is paid for, where Account does not tell; "" where nothing has a price
	Account func() Account             // who is paid now, and on which chain: both may come to be known while the node runs; nil: Owner and Chain
	Denoms  []string                   // assets that are taken in payment
	Ours    func(p peer.ID) bool       // whether a node belongs to the same owner, who pays nothing to itself; nil: none does
	Whom    func() List                // whom it works for, by peer ID and payer's account; nil: everybody
	Closed  func(engine string) string // why strangers get no work of an engine here; "" when they do; nil: of all
	Reach   []job.Reach                // places outside that tasks may call
	Term    time.Duration              // for which a quote holds
	Quotes  int                        // remembered at most
	PerPeer int                        // of these for one peer
}

// Account is who is paid for a node's work, and where.
type Account struct {
	Owner string
	Chain string // "": on none, so that work is given away
	Why   string // there is a chain and nobody who could be paid on it: why
}

// DefaultBidder returns the configuration that suits most.
func DefaultBidder() BidderConfig {
	return BidderConfig{Term: 30 * time.Second, Quotes: 4096, PerPeer: 64, Pricing: DefaultPricing(), Denoms: []string{money.Denom}}
}

// Bidder sells: it answers orders with quotes and countersigns leases.
type Bidder struct {
	log      *slog.Logger
	key      crypto.PrivKey
	self     peer.ID
	now      func() time.Time
	capacity Capacity
	cfg      BidderConfig
	made     book
	price    tariff
}

// NewBidder returns a bidder that signs with the node's key, which must hold its peer ID.
func NewBidder(log *slog.Logger, key crypto.PrivKey, now func() time.Time, capacity Capacity, cfg BidderConfig) (*Bidder, error) {
	self, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("bidder: %w", err)
	}
	if cfg.Account == nil {
		if !cfg.Rates.Free() && cfg.Chain == "" {
			return nil, errors.New("bidder: work has a price and there is no chain on which it could be paid")
		}
		cfg.Account = func() Account { return Account{Owner: cfg.Owner, Chain: cfg.Chain} }
	}
	return &Bidder{log: log, key: key, self: self, now: now, capacity: capacity, cfg: cfg, made: newBook(cfg.Quotes, cfg.PerPeer),
		price: tariff{rule: cfg.Pricing, floor: cfg.Rates}}, nil
}

// Answer registers the bidder for the protocols of the market.
func (b *Bidder) Answer(a Answerer) {
	a.Handle(QuoteProtocol, lease.MaxOrder, b.Quote)
	a.Handle(LeaseProtocol, MaxProposal, b.Countersign)
}

// Quote answers one order. Nothing is reserved by it. A refusal is an answer, not an error.
func (b *Bidder) Quote(_ context.Context, from peer.ID, req []byte) ([]byte, error) {
	var order lease.Order
	if err := canon.Decode(req, lease.MaxOrder, &order); err != nil {
		return nil, err
	}
	if err := checkOrder(order, from); err != nil {
		return nil, err
	}
	seller := b.cfg.Account()
	q := lease.Quote{Provider: b.self.String(), Owner: seller.Owner, Network: b.cfg.Network, Class: b.cfg.Class, Region: b.cfg.Region}
	if b.cfg.Speed != nil {
		q.Speed = b.cfg.Speed()
	}
	free, now := b.capacity.Free(from), b.now()
	stranger := seller.Chain != "" && !b.ours(from)
	if stranger {
		q.Rates = b.price.rates(now, free.Slots, free.Worked)
	}
	q.Slots, q.GPUs, q.Refusal = offer(order, free, stranger)
	if q.Refusal == "" && !q.Rates.Free() && seller.Why != "" {
		q.Refusal = seller.Why
	}
	if q.Refusal == "" {
		q.Refusal = b.closed(order, from)
	}
	if no := b.reaches(order); q.Refusal == "" && no != "" {
		q.Slots, q.Refusal = 0, no
	}
	if no := b.refuses(Party{Node: from.String()}, from); no != "" {
		q.Refusal = no
	}
	if q.Refusal != "" {
		q.Slots, q.GPUs = 0, nil
	} else {
		q.Load, q.Until = free.Leases, now.Add(b.cfg.Term).UnixMilli()
		b.made.add(from, quoteKey(order, q), now, q.Until)
	}
	return canon.Encode(q)
}

// ours reports whether a peer is this node or another of its owner's.
func (b *Bidder) ours(p peer.ID) bool { return p == b.self || b.cfg.Ours != nil && b.cfg.Ours(p) }

// closed says why a stranger gets no work of an order's engine here; "" where it does.
func (b *Bidder) closed(o lease.Order, from peer.ID) string {
	if b.cfg.Closed == nil {
		return ""
	}
	if no := b.cfg.Closed(o.Engine); no != "" && !b.ours(from) {
		return fmt.Sprintf("engine %s: %s", clip(o.Engine), no)
	}
	return ""
}

// reaches says which place that an order's tasks want to call they may not call from here.
func (b *Bidder) reaches(o lease.Order) string {
	asked, err := job.ParseReaches(o.Reach)
	if err != nil {
		return err.Error() // it was checked before
	}
	for _, r := range asked {
		if !r.Within(b.cfg.Reach) {
			return fmt.Sprintf("reach: its owner lets no task call %s", clip(r.String()))
		}
	}
	return ""
}

// refuses says why this node does not work for a requester; its owner's other nodes need no permission.
func (b *Bidder) refuses(p Party, from peer.ID) string {
	if b.cfg.Whom == nil {
		return ""
	}
	if no := b.cfg.Whom().For(b.ours(from)).Refuses(p); no != "" {
		return "requester: " + no + " of this provider"
	}
	return ""
}

// offer is the decision on an order: how many slots, with which devices, or why none.
func offer(o lease.Order, f Free, stranger bool) (slots int, gpus []lease.Device, refusal string) {
	if refusal = refuse(o, f); refusal != "" {
		return 0, nil, refusal
	}
	r := o.Resources
	slots = min(o.Slots, f.Slots/max(1, r.CPU))
	if r.Memory > 0 {
		slots = int(min(int64(slots), f.Memory/int64(r.Memory)))
	}
	if r.Disk > 0 {
		slots = int(min(int64(slots), f.Disk/int64(r.Disk)))
	}
	if n := r.GPU.Count; n > 0 {
		gpus, refusal = devices(o, f.GPUs, slots, stranger)
		slots = len(gpus) / n
	}
	return slots, gpus, refusal
}

// refuse says what a node lacks for an order besides devices; "" is nothing.
func refuse(o lease.Order, f Free) string {
	r := o.Resources
	switch {
	case f.Refusal != "":
		return "owner: " + f.Refusal
	case !slices.Contains(f.Engines, o.Engine) && f.Lacking[o.Engine] != "":
		return fmt.Sprintf("engine %s: %s", clip(o.Engine), f.Lacking[o.Engine])
	case !slices.Contains(f.Engines, o.Engine):
		return fmt.Sprintf("engine %s: not here", clip(o.Engine))
	case f.Slots <= 0:
		return "slots: none is offered"
	case r.GPU.Count > 0 && !job.TakesGPU(o.Engine):
		return fmt.Sprintf("engine %s: its programs use no GPU", clip(o.Engine))
	case r.CPU > f.Slots:
		return fmt.Sprintf("cpu: wants %d cores, has %d", r.CPU, f.Slots)
	case int64(r.Memory) > f.Memory:
		return fmt.Sprintf("memory: wants %s, has %s free", r.Memory, readable(f.Memory))
	case int64(r.Disk) > f.Disk:
		return fmt.Sprintf("disk: wants %s, has %s free", r.Disk, readable(f.Disk))
	case f.Leases >= f.MaxLeases:
		return fmt.Sprintf("leases: %d of %d taken", f.Leases, f.MaxLeases)
	}
	return ""
}

// readable rounds bytes down to the largest unit that leaves a number above 9, so that reasons read well and equal ones count together.
func readable(n int64) string {
	for _, unit := range []int64{1 << 30, 1 << 20, 1 << 10} {
		if n >= 10*unit || (n >= unit && n%unit == 0) {
			return job.Size(n / unit * unit).String()
		}
	}
	return job.Size(max(n, 0)).String()
}

// Countersign answers one proposal with the lease that bears both signatures. A new lease must be of a quote that this bidder made to that peer and
// that still holds; one quote makes one lease. An extension must bring the lease before it. It may be repeated with the same proposal.
func (b *Bidder) Countersign(_ context.Context, from peer.ID, req []byte) ([]byte, error) {
	p, err := decodeProposal(req)
	if err != nil {
		return nil, err
	}
	l, now := p.Lease, b.now()
	if err := b.checkTerms(l, from, now); err != nil {
		return nil, err
	}
	if l.Terms.Serial == 0 {
		err = b.made.take(from, quoteKey(l.Terms.Order, l.Terms.Quote), l.ID(), now)
	} else {
		err = checkExtension(p, now)
	}
	if err != nil {
		return nil, err
	}
	if l.Provider, err = l.Terms.Sign(b.key); err != nil {
		return nil, err
	}
	if err := b.capacity.Hold(l); err != nil {
		return nil, err
	}
	return canon.Encode(l)
}

// checkTerms holds for new leases and for extensions.
func (b *Bidder) checkTerms(l lease.Lease, from peer.ID, now time.Time) error {
	t := l.Terms
	if err := checkOrder(t.Order, from); err != nil {
		return err
	}
	switch {
	case t.Quote.Provider != b.self.String():
		return fmt.Errorf("lease: the quote is of %q, not of this node", clip(t.Quote.Provider))
	case t.From > now.Add(Skew).UnixMilli() || (t.Serial == 0 && t.From < now.Add(-Skew).UnixMilli()):
		return fmt.Errorf("lease: it begins at another time than now: the clocks are more than %v apart", Skew)
	case t.Until > now.Add(lease.MaxTerm+Skew).UnixMilli():
		return fmt.Errorf("lease: it runs for more than %v from now", lease.MaxTerm)
	}
	buyer := Party{Node: from.String(), Whole: true}
	if t.Pay != nil {
		buyer.Account = t.Pay.Payer
	}
	if no := b.refuses(buyer, from); no != "" {
		return &Refusal{Reason: no}
	}
	if no := b.closed(t.Order, from); no != "" { // its owner may have taken back what held when it was quoted
		return &Refusal{Reason: no}
	}
	if p, chain := t.Pay, b.cfg.Account().Chain; p != nil && p.Chain != chain {
		return fmt.Errorf("lease: it is paid for on chain %q, this node is paid on %q", clip(p.Chain), chain)
	} else if p != nil && !slices.Contains(b.cfg.Denoms, p.Denom) {
		return fmt.Errorf("lease: it is paid for in %q, this node takes %s", clip(p.Denom), strings.Join(b.cfg.Denoms, ", "))
	}
	return l.CheckRequester(now.UnixMilli())
}

// checkExtension requires the lease before, signed by both and not expired.
func checkExtension(p Proposal, now time.Time) error {
	if p.Before == nil {
		return errors.New("lease: an extension brings the lease before it")
	}
	if err := p.Before.Check(now.UnixMilli()); err != nil {
		return fmt.Errorf("extension: %w", err)
	}
	if p.Before.ID() != p.Lease.ID() || p.Before.Terms.Serial+1 != p.Lease.Terms.Serial {
		return errors.New("extension: it is not of the lease before it")
	}
	return nil
}
