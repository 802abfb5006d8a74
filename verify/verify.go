// Package verify keeps the rule by which results of equal tasks become a verdict: votes, a policy, when two results are the same, and what follows.
// It promises pure decisions: the order of votes does not matter, one liar among honest owners never wins where two copies are asked for, and every
// question ends within the policy's limit of executions.
// It leaves running the copies, choosing the machines for them and paying for them to the requester.
package verify

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"slices"
	"strings"
)

// Vote is what one execution of a task claims.
type Vote struct {
	Node   string   // that ran it
	Owner  string   // of the node; "" means that the node stands for itself
	Digest [32]byte // job.Result.Digest
	Failed bool     // the program did not end by itself with code 0

	Rest  [32]byte // digest of all but the standard output; only for Policy.Same
	Value []byte   // standard output, nil if it is not known here; likewise
	Class string   // of the hardware, "" where it does not matter; likewise: two classes are never compared
}

// Policy says how sure a result has to be.
type Policy struct {
	Copies int // equal votes of different owners that are asked for; below 1 counts as 1
	Limit  int // executions of one task at most; below Copies counts as Copies

	Same Comparator // of standard outputs that are not equal; nil: they differ
}

// alike reports whether two votes claim the same.
func (p Policy) alike(a, b Vote) bool {
	if a.Digest == b.Digest {
		return true
	}
	return p.Same != nil && a.Class == b.Class && a.Rest == b.Rest && a.Failed == b.Failed && a.Value != nil && b.Value != nil && p.Same(a.Value, b.Value)
}

// Verdict is what follows from the votes.
type Verdict struct {
	Accepted  *[32]byte // the digest that holds, nil as long as there is none
	Failed    bool      // the accepted digest is that of a failed execution
	Nodes     []string  // that voted for the accepted digest, sorted
	Odd       []string  // whose vote differs from the accepted digest, sorted
	More      int       // executions wanted besides these votes; those under way count towards it
	Undecided bool      // the limit is reached, or too near for any digest to win: no further execution would help
}

// group is all votes for one digest, and for those that are the same.
type group struct {
	digest [32]byte // of the vote that stands for the others
	failed bool
	owners int // different ones
	nodes  []string
}

// Judge decides from all votes on one task.
//
//  1. Votes are grouped by digest; the owners of a group count once each. Where a comparison finds different digests the same, which need not be
//     transitive, the digest that most owners agree with stands for all that are the same as it, the lower one between equals; the rest likewise.
//  2. As long as all votes agree, Copies owners suffice.
//  3. Once two digests differ, a digest needs at least Copies owners and more than half of all counted votes, which are two owners at least.
//  4. What is missing to that, for the leading digest, is More; past Limit executions there is no verdict.
func Judge(p Policy, votes []Vote) Verdict {
	p.Copies = max(p.Copies, 1)
	p.Limit = max(p.Limit, p.Copies)
	groups := p.grouped(votes)
	if len(groups) == 0 {
		return Verdict{More: p.Copies}
	}
	lead, total := groups[0], 0
	for _, g := range groups {
		total += g.owners
	}
	more := p.missing(lead.owners, total, len(groups) > 1)
	if more == 0 {
		return accepted(groups)
	}
	if len(votes)+more > p.Limit {
		return Verdict{Undecided: true}
	}
	return Verdict{More: more}
}

// missing is how many further owners have to vote for a digest that lead of total counted votes have, so that it is accepted.
func (p Policy) missing(lead, total int, differ bool) int {
	if !differ {
		return max(0, p.Copies-lead)
	}
	majority := total - 2*lead + 1 // the least m with 2(lead+m) > total+m; among differing votes a majority has two owners at least
	return max(0, p.Copies-lead, majority)
}

// grouped returns the groups, most owners first.
func (p Policy) grouped(votes []Vote) []group {
	if p.Same != nil {
		return p.stars(votes)
	}
	type cast struct {
		digest [32]byte
		owner  string
	}
	seen := make(map[cast]bool, len(votes))
	at := make(map[[32]byte]int, 2)
	var groups []group
	for _, v := range votes {
		i, ok := at[v.Digest]
		if !ok {
			i = len(groups)
			at[v.Digest] = i
			groups = append(groups, group{digest: v.Digest})
		}
		g := &groups[i]
		g.failed = g.failed || v.Failed
		g.nodes = append(g.nodes, v.Node)
		owner := cast{v.Digest, v.owner()}
		if !seen[owner] {
			seen[owner] = true
			g.owners++
		}
	}
	slices.SortFunc(groups, group.compare)
	return groups
}

// owner is who counts once for a vote.
func (v Vote) owner() string {
	if v.Owner == "" {
		return "node " + v.Node
	}
	return "owner " + v.Owner
}

// compare orders votes by digest; of equal ones that whose content is known first.
func (v Vote) compare(o Vote) int {
	no := func(yes bool) int {
		if yes {
			return 0
		}
		return 1
	}
	return cmp.Or(bytes.Compare(v.Digest[:], o.Digest[:]), no(v.Value != nil)-no(o.Value != nil), no(!v.Failed)-no(!o.Failed),
		strings.Compare(v.Node, o.Node), strings.Compare(v.Owner, o.Owner))
}

// compare puts the group with more owners first, and the lower digest between equals.
func (g group) compare(o group) int {
	if g.owners != o.owners {
		return o.owners - g.owners
	}
	return bytes.Compare(g.digest[:], o.digest[:])
}

// stars groups votes around the digest that most owners agree with, then what is left around the next one, until nothing is. Each pair of digests is
// compared once.
func (p Policy) stars(votes []Vote) []group {
	var claims [][]Vote // votes of one digest
	for _, v := range slices.SortedFunc(slices.Values(votes), Vote.compare) {
		if n := len(claims); n > 0 && claims[n-1][0].Digest == v.Digest {
			claims[n-1] = append(claims[n-1], v)
		} else {
			claims = append(claims, []Vote{v})
		}
	}
	near := make([][]bool, len(claims))
	left := make([]int, len(claims))
	for i := range claims {
		left[i], near[i] = i, make([]bool, len(claims))
		near[i][i] = true
		for j := range i {
			near[i][j] = p.alike(claims[i][0], claims[j][0])
			near[j][i] = near[i][j]
		}
	}
	var groups []group
	for len(left) > 0 {
		centre, best := left[0], star(claims, near[left[0]], left, left[0])
		for _, i := range left[1:] {
			if g := star(claims, near[i], left, i); g.compare(best) < 0 {
				centre, best = i, g
			}
		}
		groups = append(groups, best)
		left = slices.DeleteFunc(left, func(j int) bool { return near[centre][j] })
	}
	slices.SortFunc(groups, group.compare)
	return groups
}

// star is the group around one claim: all claims left that are near it.
func star(claims [][]Vote, near []bool, left []int, centre int) group {
	g := group{digest: claims[centre][0].Digest, failed: claims[centre][0].Failed}
	owners := map[string]bool{}
	for _, j := range left {
		if !near[j] {
			continue
		}
		for _, v := range claims[j] {
			g.nodes = append(g.nodes, v.Node)
			owners[v.owner()] = true
		}
	}
	g.owners = len(owners)
	return g
}

// accepted is the verdict for the first group against the others.
func accepted(groups []group) Verdict {
	v := Verdict{Accepted: &groups[0].digest, Failed: groups[0].failed, Nodes: sorted(groups[0].nodes)}
	for _, g := range groups[1:] {
		v.Odd = append(v.Odd, g.nodes...)
	}
	v.Odd = sorted(v.Odd)
	return v
}

func sorted(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

// Sampled chooses whether the task with this index is checked by one more copy, for a share of rate (0 … 1) of all indices. The choice is the
// same on every call. Whoever knows seed knows the choice, so it must not be a seed that providers are told.
func Sampled(seed [32]byte, index uint64, rate float64) bool {
	if !(rate > 0) {
		return false
	}
	if rate >= 1 {
		return true
	}
	var in [48]byte
	copy(in[:], "verify/1")
	copy(in[8:], seed[:])
	binary.BigEndian.PutUint64(in[40:], index)
	h := sha256.Sum256(in[:])
	return float64(binary.BigEndian.Uint64(h[:])>>11) < rate*math.Exp2(53)
}
