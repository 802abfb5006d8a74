package requester

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/market"
	"github.com/hpips/hpips/spec/lease"
)

// resting is why a node that was wrong twice lately is not asked.
const resting = "cooling off: two wrong results within a week"

// ofThisNode ends what this node's own lists say.
const ofThisNode = " of this node"

// ask asks a random sample of peers, of at most so many, for quotes, those that did worse than a newcomer only where there are too few others. Whom this node's
// list keeps out, or who rests, is not asked, or not taken; its answer says so.
func (r *Requester) ask(ctx context.Context, order lease.Order, ceiling market.Ceiling, peers []peer.ID, most int) []market.Answer {
	var list market.List
	if r.deps.Whom != nil {
		list = r.deps.Whom()
	}
	now := r.now()
	kept := func(p peer.ID, party market.Party) error {
		if no := list.For(p == r.deps.Self).Refuses(party); no != "" {
			return &market.Refusal{Reason: "provider: " + no + ofThisNode}
		}
		return nil
	}
	var asked []peer.ID
	var answers []market.Answer
	doubted := map[peer.ID]int{}
	for _, p := range peers {
		history := r.journal.known.get(p.String())
		err := kept(p, market.Party{Node: p.String()})
		if err == nil && p != r.deps.Self && !history.Rest(now).IsZero() {
			err = &market.Refusal{Reason: resting}
		}
		if err != nil {
			answers = append(answers, market.Answer{Peer: p, Job: order.Job, Resources: order.Resources, Err: err})
			continue
		}
		if asked = append(asked, p); history.Doubted(now) {
			doubted[p] = 1
		}
	}
	rand.Shuffle(len(asked), func(i, j int) { asked[i], asked[j] = asked[j], asked[i] })
	slices.SortStableFunc(asked, func(a, b peer.ID) int { return cmp.Compare(doubted[a], doubted[b]) })
	got := r.deps.Market.Ask(ctx, order, ceiling, asked[:min(len(asked), most)])
	for i, a := range got {
		if a.Err != nil {
			continue
		}
		q := a.Quote
		got[i].Err = kept(a.Peer, market.Party{Node: q.Provider, Account: q.Owner, Network: q.Network, Whole: true})
		if history := r.journal.known.get(q.Provider); history.Verified() {
			got[i].Score = history.Score(q.Class, now)
		}
	}
	return append(got, answers...)
}
