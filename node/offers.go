package node

import (
	"context"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/market"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
)

// offered is how many nodes are asked what they sell.
const offered = 64

// Offers asks the nodes around what a task of these resources costs now, the cheapest first.
func (h *House) Offers(ctx context.Context, of job.Resources) ([]client.Offer, error) {
	m := h.first()
	peers := m.host.Candidates(market.QuoteProtocol)
	order := lease.Order{Job: "offers", Requester: m.host.ID().String(), Engine: "wasm", Resources: of, Slots: 1024}
	all := []client.Offer{}
	for _, o := range m.broker.Offers(ctx, order, peers[:min(len(peers), offered)]) {
		p, err := peer.Decode(o.Provider)
		ours := err == nil && (p == m.host.ID() || m.till != nil && m.till.ours(p))
		all = append(all, client.Offer{Ours: ours, Provider: o.Provider, Owner: o.Owner, Network: o.Network, Slots: o.Slots, Load: o.Load, Rates: o.Rates, Hour: o.Hour, Refusal: o.Refusal})
	}
	return all, nil
}
