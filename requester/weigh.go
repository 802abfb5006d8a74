package requester

import (
	"context"
	"io"
	"slices"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/trust"
	"github.com/hpips/hpips/verify"
)

// compared reports whether results of this phase are compared by more than their digests.
func (g *gathering) compared() bool { return g.p.rules.policy.Same != nil }

// ballot is a result as a vote. value is its standard output where results are compared by it.
func (g *gathering) ballot(node, owner, class string, r job.Result, value []byte) verify.Vote {
	v := verify.Vote{Node: node, Owner: owner, Failed: !r.Succeeded(), Digest: r.Digest()}
	if g.p.rules.classed {
		v.Class = class
	}
	if g.compared() {
		rest := r
		rest.Stdout = job.Content{}
		v.Rest, v.Value = rest.Digest(), value
	}
	return v
}

// recalled is the standard output of a result whose contents are in the store of this node; nil if it is too large to be compared, or gone.
func (g *gathering) recalled(ctx context.Context, r job.Result) []byte {
	switch {
	case !g.compared() || r.Stdout.Size > verify.MaxCompared:
		return nil
	case r.Stdout.CID == "":
		return slices.Concat([]byte{}, r.Stdout.Inline)
	}
	root, err := cid.Decode(r.Stdout.CID)
	if err != nil {
		return nil
	}
	f, err := g.r.deps.Store.Open(ctx, root)
	if err != nil {
		return nil
	}
	defer f.Close()
	value, err := io.ReadAll(io.LimitReader(f, verify.MaxCompared+1))
	if err != nil || len(value) > verify.MaxCompared {
		return nil
	}
	return value
}

// weighed is what follows from so many votes on a task.
type weighed struct {
	task   uint64
	votes  int
	before int // executions in classes that were left
	ruling verify.Verdict
}

// weigh has the votes on a task compared beside the loop, for that may take a while; a bounded number of tasks at once.
func (g *gathering) weigh(ctx context.Context, i uint64) {
	g.toWeigh = append(g.toWeigh, i)
	g.balance(ctx)
}

func (g *gathering) balance(ctx context.Context) {
	for len(g.toWeigh) > 0 && g.weighing < seats() {
		i := g.toWeigh[0]
		g.toWeigh = g.toWeigh[1:]
		c := g.board.checks[i]
		if c == nil {
			continue
		}
		g.weighing++
		policy, votes, before := g.board.policy(c, c.owners), slices.Clone(c.votes), c.ran
		g.r.reading.Go(func() {
			w := weighed{i, len(votes), before, verify.Judge(policy, votes)}
			select {
			case g.weighed <- w:
			case <-ctx.Done():
			}
		})
	}
}

// outweighed takes in a verdict by comparison.
func (g *gathering) outweighed(ctx context.Context, w weighed) error {
	g.weighing--
	g.progress = g.r.now()
	g.balance(ctx)
	ruled := g.board.weighed(w)
	if !ruled.decided {
		return nil
	}
	g.recall(w.task)
	return g.decided(ctx, w.task, ruled)
}

// blamed lists whose records a verdict goes into as wrong: all that were odd, where the program is one that gives the same everywhere; of a native one, which may differ by
// itself, those that were odd oftener than by chance.
func (g *gathering) blamed(v verdict) []string {
	if !g.p.rules.classed {
		return v.odd
	}
	return g.chance.Beyond(v.right, v.odd)
}

// heavy tells whether a result took so much work that jurors might not be done in time if it were disputed: where a jury is asked, a second owner runs it.
func (g *gathering) heavy(r job.Result) bool {
	return g.juried && r.Succeeded() && r.Usage.Work > trust.Disputable && time.Duration(r.Usage.CPU) > trust.DisputableSeconds*time.Second
}

// second asks for another copy of a task whose result is heavy, if there is another owner, and says so once.
func (g *gathering) second(ctx context.Context, i uint64, owners int) {
	if owners < 2 || !g.board.second(i) {
		return
	}
	const line = "it has tasks that may take too long for a dispute, more than 440 × 10⁹ instructions and 440 s of processor time: a second owner runs them, too"
	if !g.told[line] {
		g.told[line] = true
		g.r.note(ctx, g.e, line)
	}
}

// classes counts the owners at work by hardware class.
func (g *gathering) classes() map[string]int {
	seen := map[[2]string]bool{}
	count := map[string]int{}
	for _, h := range g.hires {
		if key := [2]string{h.class, h.owner}; h.ready && h.up && !seen[key] {
			seen[key] = true
			count[h.class]++
		}
	}
	return count
}
