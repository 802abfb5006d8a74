package requester

import (
	"slices"
	"time"

	"github.com/hpips/hpips/verify"
)

// board is where the tasks of one phase stand: waiting, out with providers, checked, done. It is pure: time comes in as an argument, and
// nothing is sent or stored here. A task costs one byte unless something is under way with it.
//
//  1. give hands out tasks: first copies that a check needs, then tasks that came back, then new ones, at the tail copies of slow ones.
//  2. arrived takes an execution off a provider's hands; vote counts its result once it is durable.
//  3. lost and broken bring tasks back.
type board struct {
	rules  rules
	state  []uint8
	next   uint64            // the first task that was never out
	again  []uint64          // tasks that came back
	checks map[uint64]*check // tasks that want more than one vote
	wrongs map[uint64]*wrong // tasks of which a checker has refused results
	out    map[uint64]*flight
	done   uint64
	kept   int // bytes of votes that are kept to be compared
}

// rules is what the board must know of the job.
type rules struct {
	policy verify.Policy
	rate   float64  // share of tasks that gets one more copy
	seed   [32]byte // of the choice which; providers must not know it
	judged bool     // a checker judges each result

	classed bool // copies of a task are made within one hardware class
	patient bool // a check is given up only after others were looked for
}

// The states of a task on the board.
const (
	waiting uint8 = iota
	busy          // out, or between votes
	done
)

// flight is a task that providers hold, or whose result is on its way into the journal.
type flight struct {
	since   time.Time
	holders []*hire
	coming  []string // owners whose results have arrived and are not durable yet
}

// check is a task that wants more than one vote.
type check struct {
	policy verify.Policy
	votes  []verify.Vote
	want   int // executions that are to be started besides votes, holders and results on their way
	owners int // who could be asked when the last vote came

	class string   // of the hardware that makes the copies, where that matters
	left  []string // classes in which there was nobody to make them
	ran   int      // executions there
}

// verdict is what a vote led to.
type verdict struct {
	decided   bool // the task is over
	accepted  bool // by this vote or an earlier one with the same digest
	digest    [32]byte
	checked   bool // more than one execution stands behind it
	odd       []string
	right     []string // nodes whose votes agree with the accepted one, where it is checked
	undecided bool
	weigh     bool // nothing yet: contents are to be compared first, which takes a while
}

func newBoard(count uint64, r rules) *board {
	return &board{rules: r, state: make([]uint8, count), checks: map[uint64]*check{}, wrongs: map[uint64]*wrong{}, out: map[uint64]*flight{}}
}

// restore marks a task as done in an earlier life.
func (b *board) restore(i uint64) {
	if i < uint64(len(b.state)) && b.state[i] != done {
		b.state[i] = done
		b.done++
	}
}

// finished reports whether every task is done.
func (b *board) finished() bool { return b.done == uint64(len(b.state)) }

// wanted is the number of tasks that could be given out now.
func (b *board) wanted() int {
	n := len(b.again)
	for _, c := range b.checks {
		n += c.want
	}
	return n + int(uint64(len(b.state))-b.next)
}

// maxChecks is how many tasks may be under check at once: where their second owner is slow or missing, new tasks wait for it.
const maxChecks = 1 << 13

// maxKept is how many bytes of results under check are kept in memory before new tasks wait.
const maxKept = 64 << 20

// give hands out up to n tasks to h at the time now. steal is the age from which a task that others hold may be copied; 0 is never.
func (b *board) give(h *hire, n int, now time.Time, steal time.Duration) []uint64 {
	var given []uint64
	take := func(i uint64) {
		b.hold(i, h, now)
		given = append(given, i)
	}
	for i, c := range b.checks {
		if len(given) >= n {
			return given
		}
		if c.want > 0 && !b.knows(i, h) {
			c.want--
			take(i)
		}
	}
	for k := len(b.again) - 1; k >= 0 && len(given) < n; k-- {
		i := b.again[k]
		if b.state[i] == waiting && (b.misled(i, h.owner) || b.deserted(i, h)) {
			continue
		}
		b.again = slices.Delete(b.again, k, k+1)
		if b.state[i] == waiting {
			take(i)
		}
	}
	for ; len(given) < n && b.next < uint64(len(b.state)) && len(b.checks) < maxChecks && b.kept < maxKept; b.next++ {
		if b.state[b.next] == waiting {
			take(b.next)
		}
	}
	if len(given) == 0 && steal > 0 {
		for _, i := range b.slowest(h, n, now.Add(-steal)) {
			take(i)
		}
	}
	return given
}

// hold notes that h has task i: given now, or still held from an earlier life of either side.
func (b *board) hold(i uint64, h *hire, now time.Time) {
	if b.state[i] == waiting {
		b.state[i] = busy
		b.check(i)
		if c := b.checks[i]; c != nil && b.rules.classed {
			c.class = h.class
		}
	}
	f := b.out[i]
	if f == nil {
		f = &flight{}
		b.out[i] = f
	}
	if f.since.IsZero() {
		f.since = now
	}
	if !slices.Contains(f.holders, h) {
		f.holders = append(f.holders, h)
		h.held[i] = struct{}{}
	}
}

// claim lets h have task i on its own word: one that it was given in an earlier life of either side, and no more of them than it may have.
func (b *board) claim(i uint64, h *hire, now time.Time) {
	if _, held := h.held[i]; held || h.claims == 0 || i >= uint64(len(b.state)) || b.state[i] == done || b.votedBy(i, h.owner) || b.foreign(i, h) {
		return
	}
	h.claims--
	b.hold(i, h, now)
}

// second makes a task that is out ask for one more copy, whatever the lot says; false: it is checked already, or done.
func (b *board) second(i uint64) bool {
	if b.checks[i] != nil || b.state[i] == done {
		return false
	}
	p := b.rules.policy
	p.Copies = max(p.Copies, 2)
	b.checks[i] = &check{policy: p}
	return true
}

// check makes a task that the policy or the lot wants checked ask for more copies.
func (b *board) check(i uint64) {
	p := b.rules.policy
	if b.checks[i] != nil || p.Copies < 2 && !verify.Sampled(b.rules.seed, i, b.rules.rate) {
		return
	}
	p.Copies = max(p.Copies, 2)
	b.checks[i] = &check{policy: p, want: p.Copies - 1}
}

// knows reports whether h, or another node of its owner, holds task i or has voted on it, or was wrong about it.
func (b *board) knows(i uint64, h *hire) bool {
	if b.misled(i, h.owner) || b.foreign(i, h) || b.deserted(i, h) {
		return true
	}
	if f := b.out[i]; f != nil && (slices.Contains(f.coming, h.owner) || slices.ContainsFunc(f.holders, func(o *hire) bool { return o.owner == h.owner })) {
		return true
	}
	c := b.checks[i]
	return c != nil && slices.ContainsFunc(c.votes, func(v verify.Vote) bool { return v.Owner == h.owner })
}

// slowest lists up to n tasks that exactly one other provider has held since before the given time, the oldest first.
func (b *board) slowest(h *hire, n int, before time.Time) []uint64 {
	var old []uint64
	for i, f := range b.out {
		if len(f.holders) == 1 && len(f.coming) == 0 && f.holders[0] != h && f.since.Before(before) && !b.knows(i, h) {
			old = append(old, i)
		}
	}
	slices.SortFunc(old, func(x, y uint64) int {
		if d := b.out[x].since.Compare(b.out[y].since); d != 0 {
			return d
		}
		return int(x) - int(y)
	})
	return old[:min(n, len(old))]
}

// arrived takes task i off h: its result is on its way into the journal now. It reports whether the result is of use: h has the task, and
// no result of its owner counts yet.
func (b *board) arrived(i uint64, h *hire) bool {
	if _, held := h.held[i]; !held {
		return false
	}
	known := b.votedBy(i, h.owner)
	b.drop(i, h)
	if b.state[i] == done || known {
		return false
	}
	f := b.out[i]
	if f == nil {
		f = &flight{}
		b.out[i] = f
	}
	f.coming = append(f.coming, h.owner)
	return true
}

// votedBy reports whether a result of this owner for task i has arrived or counts already.
func (b *board) votedBy(i uint64, owner string) bool {
	if f := b.out[i]; f != nil && slices.Contains(f.coming, owner) {
		return true
	}
	c := b.checks[i]
	return c != nil && slices.ContainsFunc(c.votes, func(v verify.Vote) bool { return v.Owner == owner })
}

// drop takes task i off h without a result.
func (b *board) drop(i uint64, h *hire) {
	delete(h.held, i)
	if f := b.out[i]; f != nil {
		f.holders = slices.DeleteFunc(f.holders, func(o *hire) bool { return o == h })
		b.sweep(i, f)
	}
}

// landed takes a result of an owner off those on their way.
func (b *board) landed(i uint64, owner string) {
	f := b.out[i]
	if f == nil {
		return
	}
	if k := slices.Index(f.coming, owner); k >= 0 {
		f.coming = slices.Delete(f.coming, k, k+1)
	}
	b.sweep(i, f)
}

func (b *board) sweep(i uint64, f *flight) {
	if len(f.holders)+len(f.coming) == 0 {
		delete(b.out, i)
	}
}

// others lists who besides h holds task i: their copies are to be cancelled once it is decided.
func (b *board) others(i uint64, h *hire) []*hire {
	f := b.out[i]
	if f == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(f.holders), func(o *hire) bool { return o == h })
}

// vote counts a durable result of task i. owners is how many different owners could be asked now: a check that one owner alone
// would have to make is given up where the policy asked for one copy, and a failure is believed only from two owners where there are two.
func (b *board) vote(i uint64, v verify.Vote, owners int) verdict {
	b.landed(i, v.Owner)
	if b.state[i] == done {
		return verdict{}
	}
	c := b.checks[i]
	if c == nil {
		if !v.Failed || owners < 2 || b.rules.policy.Limit < 2 {
			return b.close(i, verdict{decided: true, accepted: true, digest: v.Digest})
		}
		p := b.rules.policy
		p.Copies = 2
		c = &check{policy: p, class: v.Class}
		b.checks[i] = c
	}
	b.cast(c, v)
	if b.rules.patient {
		owners = max(owners, 2)
	}
	if c.owners = owners; c.policy.Same != nil && len(c.votes) > 1 {
		return verdict{weigh: true}
	}
	return b.judge(i, c, owners)
}

// cast adds a vote.
func (b *board) cast(c *check, v verify.Vote) {
	c.votes = append(c.votes, v)
	b.kept += len(v.Value)
}

// weighed takes in what follows from some votes on a task; it is of no use where more have come, or they were given up.
func (b *board) weighed(w weighed) verdict {
	c := b.checks[w.task]
	if c == nil || len(c.votes) != w.votes || c.ran != w.before {
		return verdict{}
	}
	return b.rule(w.task, c, w.ruling)
}

// count closes task i, whose result the journal counts already: it came before anybody doubted the task.
func (b *board) count(i uint64, owner string) verdict {
	b.landed(i, owner)
	if b.state[i] == done {
		return verdict{}
	}
	return b.close(i, verdict{decided: true, accepted: true})
}

// age is how long task i is out.
func (b *board) age(i uint64, now time.Time) time.Duration {
	if f := b.out[i]; f != nil {
		return now.Sub(f.since)
	}
	return 0
}

func (b *board) judge(i uint64, c *check, owners int) verdict {
	return b.rule(i, c, verify.Judge(b.policy(c, owners), c.votes))
}

// policy is that by which the votes on a task are judged.
func (b *board) policy(c *check, owners int) verify.Policy {
	p := c.policy
	if owners < 2 && b.rules.policy.Copies < 2 && len(c.votes) == 1 {
		p.Copies = 1
	}
	p.Limit -= c.ran
	return p
}

func (b *board) rule(i uint64, c *check, ruling verify.Verdict) verdict {
	switch {
	case ruling.Accepted != nil:
		return b.close(i, verdict{decided: true, accepted: true, digest: *ruling.Accepted, checked: len(c.votes) > 1, odd: ruling.Odd, right: c.right(ruling)})
	case ruling.Undecided:
		return b.close(i, verdict{decided: true, undecided: true})
	}
	under := 0
	if f := b.out[i]; f != nil {
		under = len(f.holders) + len(f.coming)
	}
	c.want = max(0, ruling.More-under)
	return verdict{}
}

// right lists the nodes whose votes agree with what is accepted.
func (c *check) right(ruling verify.Verdict) (nodes []string) {
	for _, v := range c.votes {
		if !slices.Contains(ruling.Odd, v.Node) {
			nodes = append(nodes, v.Node)
		}
	}
	return nodes
}

// revote brings back a vote of an earlier life.
func (b *board) revote(i uint64, v verify.Vote) verdict {
	if i >= uint64(len(b.state)) || b.state[i] == done {
		return verdict{}
	}
	if b.checks[i] == nil {
		p := b.rules.policy
		p.Copies, p.Limit = max(2, p.Copies), max(2, p.Limit)
		b.checks[i] = &check{policy: p, class: v.Class}
	}
	c := b.checks[i]
	b.state[i] = busy
	if b.rules.classed && c.class != v.Class { // of a class in which nobody made a copy
		c.ran++
		return verdict{}
	}
	b.cast(c, v)
	return b.judge(i, c, 2)
}

// lonely reports whether a check waits for an owner that is not at work yet.
func (b *board) lonely(owners int) bool {
	for i, c := range b.checks {
		if c.want > 0 && (len(c.votes) >= owners || b.rules.classed && b.out[i] == nil) {
			return true
		}
	}
	return false
}

// relax decides the checks that no second owner can make, when there is one owner only. It returns the tasks that are decided by it.
func (b *board) relax() map[uint64]verdict {
	decided := map[uint64]verdict{}
	for i, c := range b.checks {
		if len(c.votes) > 0 && b.out[i] == nil && (c.policy.Same == nil || len(c.votes) == 1) { // more are compared beside the loop
			if v := b.judge(i, c, 1); v.decided {
				decided[i] = v
			}
		}
	}
	return decided
}

// split finds a task whose votes are as many as its policy wants and differ, so that one more is wanted, and how many votes there are; the lowest such task, and 0
// where there is none.
func (b *board) split() (task uint64, votes int) {
	for i, c := range b.checks {
		if n := len(c.votes); n > 1 && n >= c.policy.Copies && (votes == 0 || i < task) {
			task, votes = i, n
		}
	}
	return task, votes
}

func (b *board) close(i uint64, v verdict) verdict {
	b.state[i] = done
	b.done++
	if c := b.checks[i]; c != nil {
		b.drain(c)
	}
	delete(b.checks, i)
	delete(b.wrongs, i)
	return v
}

// back brings task i, which no result will come for from h, back to be given again. It reports whether it has to be run again.
func (b *board) back(i uint64, h *hire) bool {
	b.landed(i, h.owner)
	b.drop(i, h)
	if b.state[i] == done || b.out[i] != nil && b.checks[i] == nil {
		return false
	}
	if c := b.checks[i]; c != nil {
		if len(c.votes) > 0 || b.out[i] != nil {
			c.want++
			return true
		}
		c.want = max(0, c.policy.Copies-1)
	}
	b.state[i] = waiting
	b.again = append(b.again, i)
	return true
}

// lost brings back everything that h holds. It returns the tasks that it held and how many of them have to be run again.
func (b *board) lost(h *hire) (held []uint64, rerun int) {
	for i := range h.held {
		held = append(held, i)
	}
	slices.Sort(held)
	for _, i := range slices.Backward(held) { // again is a stack: the lowest index goes out first
		if b.back(i, h) {
			rerun++
		}
	}
	return held, rerun
}
