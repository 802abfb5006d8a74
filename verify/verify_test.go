package verify

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// votes reads "alice:A bob:B!" as people and what they claim; each is the owner of one node, "!" marks a failed execution.
func votes(claims ...string) []Vote {
	var vs []Vote
	for _, c := range claims {
		var name string
		var what byte
		i := slices.Index([]byte(c), ':')
		name, what = c[:i], c[i+1]
		vs = append(vs, Vote{Node: name + "-pc", Owner: name, Digest: [32]byte{what}, Failed: c[len(c)-1] == '!'})
	}
	return vs
}

func TestJudge(t *testing.T) {
	A := &[32]byte{'A'}
	rows := []struct {
		name   string
		policy Policy
		votes  []Vote
		want   Verdict
	}{
		{"nobody has voted", Policy{Copies: 2, Limit: 7}, nil, Verdict{More: 2}},
		{"one copy suffices", Policy{Copies: 1, Limit: 7}, votes("bob:A"), Verdict{Accepted: A, Nodes: []string{"bob-pc"}}},
		{"a policy of nothing asks for one", Policy{}, votes("bob:A"), Verdict{Accepted: A, Nodes: []string{"bob-pc"}}},
		{"one of two is here", Policy{Copies: 2, Limit: 7}, votes("bob:A"), Verdict{More: 1}},
		{"bob and dave agree", Policy{Copies: 2, Limit: 7}, votes("bob:A", "dave:A"), Verdict{Accepted: A, Nodes: []string{"bob-pc", "dave-pc"}}},
		{"carol lies: a third is asked", Policy{Copies: 2, Limit: 7}, votes("bob:A", "carol:X"), Verdict{More: 1}},
		{"the third settles it", Policy{Copies: 2, Limit: 7}, votes("bob:A", "carol:X", "dave:A"),
			Verdict{Accepted: A, Nodes: []string{"bob-pc", "dave-pc"}, Odd: []string{"carol-pc"}}},
		{"three claims, three votes", Policy{Copies: 2, Limit: 7}, votes("bob:A", "carol:X", "eve:Y"), Verdict{More: 2}},
		{"two against two", Policy{Copies: 2, Limit: 7}, votes("bob:A", "carol:X", "eve:X", "dave:A"), Verdict{More: 1}},
		{"a spot check differs at one copy", Policy{Copies: 1, Limit: 7}, votes("bob:A", "carol:X"), Verdict{More: 1}},
		{"the limit leaves no way out", Policy{Copies: 2, Limit: 3}, votes("bob:A", "carol:X", "eve:Y"), Verdict{Undecided: true}},
		{"no verdict is possible any more", Policy{Copies: 2, Limit: 4}, votes("bob:A", "carol:X", "eve:Y"), Verdict{Undecided: true}},
		{"both agree that it fails", Policy{Copies: 2, Limit: 7}, votes("bob:A!", "dave:A!"), Verdict{Accepted: A, Failed: true, Nodes: []string{"bob-pc", "dave-pc"}}},
	}
	for _, r := range rows {
		if got := Judge(r.policy, r.votes); !reflect.DeepEqual(got, r.want) {
			t.Errorf("%s: got %+v, want %+v", r.name, got, r.want)
		}
	}
}

func TestCarolCannotAgreeWithHerself(t *testing.T) {
	lie := [32]byte{'X'}
	twoPCs := []Vote{{Node: "carol-1", Owner: "carol", Digest: lie}, {Node: "carol-2", Owner: "carol", Digest: lie}}
	if v := Judge(Policy{Copies: 2, Limit: 7}, twoPCs); v.Accepted != nil || v.More != 1 {
		t.Fatalf("two nodes of one owner: %+v", v)
	}
	again := []Vote{{Node: "carol-1", Digest: lie}, {Node: "carol-1", Digest: lie}}
	if v := Judge(Policy{Copies: 2, Limit: 7}, again); v.Accepted != nil {
		t.Fatalf("one node twice: %+v", v)
	}
}

func TestOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Policy{Copies: rapid.IntRange(0, 5).Draw(t, "copies"), Limit: rapid.IntRange(0, 12).Draw(t, "limit")}
		vs := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Vote {
			return Vote{
				Node:   rapid.SampledFrom([]string{"n1", "n2", "n3", "n4", "n5"}).Draw(t, "node"),
				Owner:  rapid.SampledFrom([]string{"", "alice", "bob", "carol"}).Draw(t, "owner"),
				Digest: [32]byte{rapid.SampledFrom([]byte("ABC")).Draw(t, "digest")},
				Failed: rapid.Bool().Draw(t, "failed"),
			}
		}), 0, 12).Draw(t, "votes")
		want := Judge(p, slices.Clone(vs))
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "shuffle"), 0))
		rng.Shuffle(len(vs), func(i, j int) { vs[i], vs[j] = vs[j], vs[i] })
		if got := Judge(p, vs); !reflect.DeepEqual(got, want) {
			t.Fatalf("shuffled: %+v, before: %+v", got, want)
		}
	})
}

// TestOneLiarNeverWins plays the requester: it runs as many copies as each verdict asks for, carol among the providers, until the end.
func TestOneLiarNeverWins(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Policy{Copies: rapid.IntRange(2, 5).Draw(t, "copies"), Limit: rapid.IntRange(2, 15).Draw(t, "limit")}
		carol := rapid.IntRange(0, 14).Draw(t, "carol's turn")
		truth, lie := [32]byte{'T'}, [32]byte{'L'}
		var vs []Vote
		v := Judge(p, vs)
		for v.More > 0 {
			for range v.More {
				claim := truth
				if len(vs) == carol {
					claim = lie
				}
				vs = append(vs, Vote{Node: fmt.Sprint("pc", len(vs)), Owner: fmt.Sprint("owner", len(vs)), Digest: claim})
			}
			if limit := max(p.Limit, p.Copies); len(vs) > limit {
				t.Fatalf("%d executions, the limit is %d", len(vs), limit)
			}
			v = Judge(p, vs)
		}
		switch {
		case v.Undecided:
			if p.Limit > p.Copies && carol < len(vs) {
				t.Fatalf("one liar among %d, limit %d: no verdict", len(vs), p.Limit)
			}
		case v.Accepted == nil:
			t.Fatalf("neither asked, nor decided, nor gave up: %+v", v)
		case *v.Accepted != truth:
			t.Fatalf("the lie was accepted after %d votes", len(vs))
		case carol < len(vs) && (len(v.Odd) != 1 || v.Odd[0] != fmt.Sprint("pc", carol)):
			t.Fatalf("carol was not named: %v", v.Odd)
		}
	})
}

// TestEveryQuestionEnds lets anybody claim anything.
func TestEveryQuestionEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Policy{Copies: rapid.IntRange(-1, 6).Draw(t, "copies"), Limit: rapid.IntRange(-1, 12).Draw(t, "limit")}
		var vs []Vote
		for rounds := 0; ; rounds++ {
			v := Judge(p, vs)
			if v.More == 0 {
				if (v.Accepted != nil) == v.Undecided {
					t.Fatalf("neither or both: %+v", v)
				}
				return
			}
			if rounds > 40 || len(vs)+v.More > max(p.Limit, p.Copies, 1) {
				t.Fatalf("round %d: %d votes and %d more, policy %+v", rounds, len(vs), v.More, p)
			}
			for range v.More {
				vs = append(vs, Vote{
					Node: fmt.Sprint("pc", len(vs)), Owner: fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "owner")),
					Digest: [32]byte{rapid.Byte().Draw(t, "claim") % 3},
				})
			}
		}
	})
}

func TestSampled(t *testing.T) {
	seed := [32]byte{1, 2, 3}
	for _, rate := range []float64{0, 0.05, 0.5, 1} {
		n := 0
		for i := range uint64(20000) {
			if Sampled(seed, i, rate) != Sampled(seed, i, rate) {
				t.Fatal("the choice changes")
			}
			if Sampled(seed, i, rate) {
				n++
			}
		}
		if share := float64(n) / 20000; share < rate-0.01 || share > rate+0.01 {
			t.Errorf("rate %v: %v were chosen", rate, share)
		}
	}
	other := 0
	for i := range uint64(1000) {
		if Sampled(seed, i, 0.5) != Sampled([32]byte{9}, i, 0.5) {
			other++
		}
	}
	if other < 400 {
		t.Errorf("another seed chooses nearly the same: %d of 1000 differ", other)
	}
}

func BenchmarkJudge(b *testing.B) {
	vs := votes("bob:A", "dave:A")
	for b.Loop() {
		Judge(Policy{Copies: 2, Limit: 7}, vs)
	}
}
