package requester

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/hpips/hpips/market"
)

// The bounds of what is remembered of others: nodes, and hardware classes of one node. Beyond them the nodes that were seen longest ago are forgotten, some at a
// time, and further classes are one.
const (
	maxKnown   = 10_000
	someKnown  = maxKnown / 100
	maxClasses = 16
)

// hardware is a node as one hardware class.
type hardware struct{ node, class string }

// tallies is what was seen of nodes and is not in their records yet.
type tallies map[hardware]market.Tally

// add counts n of what one names.
func (t tallies) add(h hardware, what func(*market.Tally) *uint64, n int) {
	one := t[h]
	*what(&one) += uint64(max(n, 0))
	t[h] = one
}

func right(t *market.Tally) *uint64      { return &t.Right }
func wronged(t *market.Tally) *uint64    { return &t.Wrong }
func missing(t *market.Tally) *uint64    { return &t.Lost }
func unverified(t *market.Tally) *uint64 { return &t.Unverified }

// standings are the records of the journal, in memory. A history in it is never changed, only replaced.
type standings struct {
	mu sync.Mutex
	of map[string]market.History // by peer ID
}

func (s *standings) get(node string) market.History {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of[node]
}

func (s *standings) all() map[string]market.History {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.of)
}

// put takes in what is durable.
func (s *standings) put(changed map[string]market.History, gone []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.Copy(s.of, changed)
	for _, node := range gone {
		delete(s.of, node)
	}
}

// oldest lists the nodes to forget before so many more come.
func (s *standings) oldest(more, most int) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	over := len(s.of) + more - most
	if over <= 0 {
		return nil
	}
	nodes := slices.Collect(maps.Keys(s.of))
	slices.SortFunc(nodes, func(a, b string) int {
		return cmp.Or(s.of[a].Seen().Compare(s.of[b].Seen()), cmp.Compare(a, b))
	})
	return nodes[:min(len(nodes), over+someKnown)]
}

// after is histories with what was seen since.
func (s *standings) after(seen tallies, now time.Time) map[string]market.History {
	changed := map[string]market.History{}
	for h, tally := range seen {
		history := changed[h.node]
		if history == nil {
			if history = maps.Clone(s.get(h.node)); history == nil {
				history = market.History{}
			}
			changed[h.node] = history
		}
		if _, known := history[h.class]; !known && len(history) >= maxClasses {
			h.class = ""
		}
		history[h.class] = history[h.class].After(tally, now)
	}
	return changed
}

// remember writes what the transaction has seen into the records.
func (w *commitment) remember(known *standings, now time.Time) (changed map[string]market.History, gone []string, err error) {
	if len(w.seen) == 0 {
		return nil, nil, nil
	}
	changed = known.after(w.seen, now)
	strangers := 0
	for node, history := range changed {
		if known.get(node) == nil {
			strangers++
		}
		id, err := w.node(node)
		if err != nil {
			return nil, nil, err
		}
		for class, r := range history {
			if _, err := w.tx.ExecContext(w.ctx, `INSERT OR REPLACE INTO record VALUES (?,?,?,?,?,?,?,?,?,?,?,?)`, id, class, stored(r.Right), stored(r.Wrong), stored(r.Lost), stored(r.Unverified),
				r.Good, r.Bad, nanos(r.At), nanos(r.Seen), nanos(r.Erred[0]), nanos(r.Erred[1])); err != nil {
				return nil, nil, err
			}
		}
	}
	for _, node := range known.oldest(strangers, maxKnown) {
		if _, again := changed[node]; again {
			continue
		}
		if _, err := w.tx.ExecContext(w.ctx, dropRecord, node); err != nil {
			return nil, nil, err
		}
		gone = append(gone, node)
	}
	return changed, gone, nil
}

const dropRecord = `DELETE FROM record WHERE node = (SELECT id FROM node WHERE peer = ?)`

func stored(n uint64) int64 { return int64(min(n, math.MaxInt64)) }

// nanos is a time as the journal has it; 0 is none.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func fromNanos(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}

// recall reads the records of earlier lives.
func (j *journal) recall() error {
	rows, err := j.r.Query(`SELECT node.peer, record.class, rights, wrongs, lost, unverified, good, bad, at, seen, erred, before FROM record JOIN node ON node.id = record.node`)
	if err != nil {
		return j.wrap("read records", err)
	}
	defer rows.Close()
	j.known.of = map[string]market.History{}
	for rows.Next() {
		var node, class string
		var r market.Record
		var at, seen, erred, before int64
		if err := rows.Scan(&node, &class, &r.Right, &r.Wrong, &r.Lost, &r.Unverified, &r.Good, &r.Bad, &at, &seen, &erred, &before); err != nil {
			return j.wrap("read records", err)
		}
		r.At, r.Seen, r.Erred = fromNanos(at), fromNanos(seen), [2]time.Time{fromNanos(erred), fromNanos(before)}
		if j.known.of[node] == nil {
			j.known.of[node] = market.History{}
		}
		j.known.of[node][class] = r
	}
	return j.wrap("read records", rows.Err())
}

// forgetNode drops the record of a node, and reports whether there was one.
func (j *journal) forgetNode(ctx context.Context, node string) (bool, error) {
	j.committing.Lock()
	defer j.committing.Unlock()
	if j.known.get(node) == nil {
		return false, nil
	}
	if _, err := j.w.ExecContext(ctx, dropRecord, node); err != nil {
		return false, j.wrap("forget a node", err)
	}
	j.known.put(nil, []string{node})
	return true, nil
}

// Histories is what this node saw of others, by peer ID. The histories are not to be changed.
func (r *Requester) Histories() map[string]market.History { return r.journal.known.all() }

// ForgetNode drops what this node saw of another one, which is a newcomer from now on, and reports whether it was known.
func (r *Requester) ForgetNode(ctx context.Context, node string) (bool, error) {
	return r.journal.forgetNode(ctx, node)
}

// missed notes executions of a hire that came to nothing.
func (g *gathering) missed(h *hire, n int) {
	if n > 0 {
		g.tallies.add(hardware{h.node, h.class}, missing, n)
	}
}

// note writes down what was seen since the last transaction, when a phase ends.
func (g *gathering) note(ctx context.Context) {
	if len(g.tallies) == 0 {
		return
	}
	if err := g.r.journal.commit(ctx, g.e.id, batch{tallies: g.tallies}, g.e.snapshot()); err != nil {
		g.r.log.Warn("What was seen of providers is not written down", "job", g.e.id, "err", err)
	}
	g.tallies = tallies{}
}
