package requester

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/market"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
)

// resting is why a node that was wrong twice lately is not asked.
const resting = "cooling off: two wrong results within a week"

// ofThisNode ends what this node's own lists say.
const ofThisNode = " of this node"

// ask asks a random sample of peers, of at most so many, for quotes, those that did worse than a newcomer only where there are too few others. Whom this node's
// list keeps out, or who rests, is not asked, or not taken, nor is who is not as the job's conditions want it; its answer says so.
func (r *Requester) ask(ctx context.Context, order lease.Order, ceiling market.Ceiling, peers []peer.ID, most int, where ...string) []market.Answer {
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
		if got[i].Err == nil {
			if kind, text := job.Misses(where, facts(q, got[i].Score)); kind != "" {
				got[i].Err = &market.Refusal{Reason: kind + ": " + text}
			}
		}
	}
	return append(got, answers...)
}

// facts are what a quote tells of a node, for the job's conditions. A newcomer's reputation is that with which offers of newcomers are ranked.
func facts(q lease.Quote, score float64) job.Facts {
	if score <= 0 {
		score = market.Newcomer
	}
	f := job.Facts{"node": {q.Provider}, "owner": {q.Owner}, "slots": {strconv.Itoa(q.Slots)}, "reputation": {strconv.FormatFloat(score, 'f', -1, 64)}}
	for name, word := range map[string]string{"network": q.Network, "region": q.Region, "class": q.Class} {
		if word != "" {
			f[name] = []string{word}
		}
	}
	if q.Speed > 0 {
		f["speed"] = []string{strconv.FormatFloat(float64(q.Speed)/1e9, 'f', -1, 64)}
	}
	if parts := strings.Split(q.Class, "-"); len(parts) > 1 { // machine.Class
		f["arch"], f["os"] = parts[:1], parts[1:2]
	}
	for _, d := range q.GPUs {
		f["gpu.vendor"] = append(f["gpu.vendor"], d.Vendor)
		f["gpu.model"] = append(f["gpu.model"], d.Model)
		f["gpu.memory"] = append(f["gpu.memory"], d.Memory.String())
	}
	return f
}
