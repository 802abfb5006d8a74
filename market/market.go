// Package market keeps the trade between a requester and its providers: orders are asked around, quotes are ranked, leases are signed by both sides.
// It promises that a broker takes only quotes that answer its order within its ceiling, that a bidder countersigns only what it has quoted itself and is
// paid for in what it takes, and that a flood of orders costs bounded memory.
// It leaves finding peers and carrying bytes to p2p, the words to spec/lease, and what a node has to sell to its Capacity.
package market

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/hpips/hpips/spec/canon"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/money"
)

// The protocols of the market.
const (
	QuoteProtocol protocol.ID = "/hpips/quote/1" // lease.Order → lease.Quote
	LeaseProtocol protocol.ID = "/hpips/lease/1" // Proposal → lease.Lease
)

// MaxProposal is the largest proposal in bytes: a lease and the one before it.
const MaxProposal = 2*lease.MaxLease + 64

// Skew is how far the clocks of two machines may be apart before they cannot trade.
const Skew = 5 * time.Minute

// maxName bounds, in bytes, the names that an order or a quote may carry.
const maxName = 256

// Proposal asks a provider to countersign a lease. An extension brings the lease that it extends, which the provider has signed, so that a provider
// needs no memory of it.
type Proposal struct {
	Lease  lease.Lease  `cbor:"lease"`
	Before *lease.Lease `cbor:"before,omitempty"`
}

// Caller sends one request to a peer and brings its answer; a call to this node itself is answered by its own handlers.
type Caller interface {
	Call(ctx context.Context, to peer.ID, proto protocol.ID, req []byte) ([]byte, error)
}

// Answerer takes the requests of peers; requests past max bytes do not reach fn.
type Answerer interface {
	Handle(proto protocol.ID, max int, fn func(ctx context.Context, from peer.ID, req []byte) ([]byte, error))
}

// ErrRefused is wrapped by the error of an Answer whose provider makes no offer; the text says why, in the provider's words.
var ErrRefused = errors.New("refused")

// Refusal is a provider's no to an order.
type Refusal struct{ Reason string }

func (r *Refusal) Error() string { return r.Reason }

// Is makes errors.Is(err, ErrRefused) true.
func (r *Refusal) Is(target error) bool { return target == ErrRefused }

// checkOrder refuses orders that no honest requester writes. from is the peer that brought it.
func checkOrder(o lease.Order, from peer.ID) error {
	r := o.Resources
	switch {
	case o.Requester != from.String():
		return fmt.Errorf("order: requester is %q, not the asking peer %s", clip(o.Requester), from)
	case o.Job == "" || len(o.Job) > maxName || len(o.Engine) > maxName:
		return fmt.Errorf("order: job and engine need names of at most %d bytes", maxName)
	case o.Slots <= 0 || o.Slots > job.MaxTasks:
		return fmt.Errorf("order: %d slots are not possible", o.Slots)
	case r.CPU < 0 || r.Memory < 0 || r.Disk < 0:
		return errors.New("order: resources are negative")
	}
	if _, err := job.ParseReaches(o.Reach); err != nil {
		return fmt.Errorf("order: reach: %w", err)
	}
	return checkWish(r.GPU)
}

// maxSpeed is more than any processor does in a second.
const maxSpeed = 1e15

// checkQuote refuses quotes that do not answer order. from is the peer that gave it.
func checkQuote(q lease.Quote, order lease.Order, from peer.ID, ceiling Ceiling, now time.Time) error {
	price, over := ceiling.exceeded(q.Rates, order.Resources)
	switch {
	case q.Provider != from.String():
		return fmt.Errorf("quote: provider is %q, not the answering peer", clip(q.Provider))
	case q.Refusal != "":
		return &Refusal{Reason: clip(q.Refusal)}
	case q.Slots <= 0 || q.Slots > order.Slots:
		return fmt.Errorf("quote: %d slots of %d ordered are not possible", q.Slots, order.Slots)
	case q.Load < 0:
		return fmt.Errorf("quote: a load of %d is not possible", q.Load)
	case over && ceiling == 0:
		return &Refusal{Reason: "price: it works for pay only, and nothing may be paid"}
	case over:
		return &Refusal{Reason: fmt.Sprintf("price: asks %s HPIPS for an hour of a task, the ceiling is %s", money.Amount(price), money.Amount(ceiling))}
	case len(q.Owner) > maxName || len(q.Network) > maxName || len(q.Class) > maxName || len(q.Region) > maxName:
		return fmt.Errorf("quote: owner, network, class and region may have %d bytes", maxName)
	case q.Speed > maxSpeed:
		return fmt.Errorf("quote: %d operations a second are not possible", q.Speed)
	case q.Until <= now.Add(-Skew).UnixMilli():
		return errors.New("quote: has expired")
	}
	return checkDevices(q, order)
}

// Lasting reports whether a refusal's reason will hold tomorrow too: the provider runs no programs of that kind, lets them call no such place, or has no such device.
func Lasting(reason string) bool {
	kind, text, _ := strings.Cut(reason, ":")
	return strings.HasPrefix(kind, "engine ") || kind == "reach" || strings.HasPrefix(kind, "gpu ") || kind == "gpu" && strings.HasSuffix(text, "has none")
}

// clip shortens foreign text for an error.
func clip(s string) string {
	if len(s) > maxName {
		return s[:maxName] + "…"
	}
	return s
}

// decodeProposal reads a proposal strictly.
func decodeProposal(b []byte) (Proposal, error) {
	var p Proposal
	err := canon.Decode(b, MaxProposal, &p)
	return p, err
}
