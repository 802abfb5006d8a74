package node

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/ledger"
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
	order := lease.Order{Job: "offers", Requester: m.host.ID().String(), Engine: job.EngineWASM, Resources: of, Slots: 1024}
	if of.GPU.Count > 0 {
		order.Engine = job.EngineNative
	}
	all := []client.Offer{}
	known, now := m.requester.Histories(), time.Now()
	for _, o := range m.broker.Offers(ctx, order, peers[:min(len(peers), offered)]) {
		p, err := peer.Decode(o.Provider)
		ours := err == nil && (p == m.host.ID() || m.till.ours(p))
		history := known[o.Provider]
		offer := client.Offer{Ours: ours, Provider: o.Provider, Owner: o.Owner, Network: o.Network, Class: o.Class, Region: o.Region, Speed: o.Speed, GPUs: o.GPUs, Slots: o.Slots, Load: o.Load, Rates: o.Rates, Hour: o.Hour, Refusal: o.Refusal,
			Score: history.Score(o.Class, now), Rests: restOf(history, now)}
		if r, seen := history[o.Class]; seen {
			one := recordOf(history, o.Class, r, now)
			offer.Record = &one
		}
		all = append(all, offer)
	}
	return all, nil
}

// restOf is until when a node is not asked; nil: it is.
func restOf(h market.History, now time.Time) *time.Time {
	until := h.Rest(now)
	if until.IsZero() {
		return nil
	}
	until = until.UTC()
	return &until
}

func recordOf(h market.History, class string, r market.Record, now time.Time) client.Record {
	return client.Record{Class: class, Right: r.Right, Wrong: r.Wrong, Lost: r.Lost, Unverified: r.Unverified, Score: h.Score(class, now), Seen: r.Seen.UTC()}
}

// standingsOf tells histories in the words of the API, the best first.
func standingsOf(known map[string]market.History, now time.Time) []client.Standing {
	all := []client.Standing{}
	for node, h := range known {
		s := client.Standing{Node: node, Score: 1, Verified: h.Verified(), Rests: restOf(h, now)}
		for _, class := range slices.Sorted(maps.Keys(h)) {
			r := recordOf(h, class, h[class], now)
			s.Score, s.Records = min(s.Score, r.Score), append(s.Records, r)
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b client.Standing) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), strings.Compare(a.Node, b.Node))
	})
	return all
}

// Market tells what is sold around now, and what this node knows of who sells.
func (h *House) Market(ctx context.Context) (client.Market, error) {
	offers, err := h.Offers(ctx, job.Spec{}.Filled().Resources)
	if err != nil {
		return client.Market{}, err
	}
	m := client.Market{Offers: offers, Standings: standingsOf(h.first().requester.Histories(), time.Now())}
	if till := h.first().till; till != nil {
		if w := till.window(); w != nil {
			m.Convicted, err = convicted(ctx, w, offers)
		}
	}
	if err != nil {
		h.log.Warn("Whom the chain convicted is not known", "err", err)
	}
	return m, nil
}

// lookFor is how long the chain may take to tell whom it convicted.
const lookFor = 3 * time.Second

// convicted lists the nodes among those who offer that the chain convicted.
func convicted(ctx context.Context, w *ledger.Ledger, offers []client.Offer) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, lookFor)
	defer cancel()
	all := []string{}
	for _, o := range offers {
		key, err := ledger.NodeKey(o.Provider)
		if err != nil {
			continue // of another kind than nodes of the chain have
		}
		n, err := w.Node(ctx, key)
		if ledger.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		b, err := w.Bond(ctx, key)
		if err != nil {
			return nil, err
		}
		if guilty(n, b) {
			all = append(all, o.Provider)
		}
	}
	return all, nil
}

// guilty reports whether the chain barred a node, or cut its bond, which is not whole again.
func guilty(n ledger.Node, b ledger.Bond) bool {
	return n.Standing == "barred" || slices.ContainsFunc(b.Assets, func(a ledger.Bonded) bool { return a.Slashed })
}

// ForgetNode drops what this node saw of another one, which is a newcomer to it from now on.
func (h *House) ForgetNode(ctx context.Context, node string) error {
	known, err := h.first().requester.ForgetNode(ctx, node)
	if err == nil && !known {
		return &job.Failure{Code: job.CodeNotFound, Message: "nothing is known of node " + shorten(node), Hint: "hpips market report -o json lists the nodes that have a record"}
	}
	return err
}

// shorten keeps a foreign word within a line.
func shorten(word string) string {
	if len(word) > 64 {
		return word[:64] + "…"
	}
	return word
}
