// Package verify keeps the rule by which results of equal tasks become a verdict: votes, a policy, and what follows from them.
// It promises pure decisions: the order of votes does not matter, one liar among honest owners never wins where two copies are asked for, and every
// question ends within the policy's limit of executions.
// It leaves running the copies, choosing the machines for them and paying for them to the requester.
package verify

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"slices"
)

// Vote is what one execution of a task claims.
type Vote struct {
	Node   string   // that ran it
	Owner  string   // of the node; "" means that the node stands for itself
	Digest [32]byte // job.Result.Digest
	Failed bool     // the program did not end by itself with code 0
}

// Policy says how sure a result has to be.
type Policy struct {
	Copies int // equal votes of different owners that are asked for; below 1 counts as 1
	Limit  int // executions of one task at most; below Copies counts as Copies
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

// group is all votes for one digest.
type group struct {
	digest [32]byte
	failed bool
	owners int // different ones
	nodes  []string
}

// Judge decides from all votes on one task.
//
//  1. Votes are grouped by digest; the owners of a group count once each.
//  2. As long as all votes agree, Copies owners suffice.
//  3. Once two digests differ, a digest needs at least Copies owners and more than half of all counted votes, which are two owners at least.
//  4. What is missing to that, for the leading digest, is More; past Limit executions there is no verdict.
func Judge(p Policy, votes []Vote) Verdict {
	p.Copies = max(p.Copies, 1)
	p.Limit = max(p.Limit, p.Copies)
	groups := grouped(votes)
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
func grouped(votes []Vote) []group {
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
		owner := cast{v.Digest, "owner " + v.Owner}
		if v.Owner == "" {
			owner.owner = "node " + v.Node
		}
		if !seen[owner] {
			seen[owner] = true
			g.owners++
		}
	}
	slices.SortFunc(groups, func(a, b group) int {
		if a.owners != b.owners {
			return b.owners - a.owners
		}
		return bytes.Compare(a.digest[:], b.digest[:])
	})
	return groups
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
