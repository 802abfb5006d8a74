package market

import (
	"fmt"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/voucher"
)

var monday = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

// lived is the record of somebody who worked for a while.
func lived(t *rapid.T) (Record, time.Time) {
	var r Record
	now := monday
	for range rapid.IntRange(0, 20).Draw(t, "batches") {
		now = now.Add(time.Duration(rapid.Int64Range(0, int64(60*24*time.Hour)).Draw(t, "pause")))
		r = r.After(Tally{Right: rapid.Uint64Range(0, 300).Draw(t, "right"), Wrong: rapid.Uint64Range(0, 3).Draw(t, "wrong"),
			Lost: rapid.Uint64Range(0, 9).Draw(t, "lost"), Unverified: rapid.Uint64Range(0, 1000).Draw(t, "unverified")}, now)
	}
	return r, now
}

func score(r Record, now time.Time) float64 { return History{"": r}.Score("", now) }

func TestAWrongResultCostsMoreThanManyRightOnesBring(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, now := lived(t)
		before := score(r, now)
		right := score(r.After(Tally{Right: 1}, now), now)
		if right <= before && before < 0.99 {
			t.Fatalf("a right result takes the score from %v to %v", before, right)
		}
		many := rapid.Uint64Range(0, 50).Draw(t, "many")
		if mixed := score(r.After(Tally{Right: many, Wrong: 1}, now), now); before > 0.8 && mixed >= before {
			t.Fatalf("%d right results and a wrong one take the score from %v to %v", many, before, mixed)
		}
	})
}

func TestTheOrderInABatchDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, now := lived(t)
		right, wrong := rapid.Uint64Range(0, 40).Draw(t, "right"), rapid.Uint64Range(1, 4).Draw(t, "wrong")
		at := score(r.After(Tally{Right: right, Wrong: wrong}, now), now)
		first := score(r.After(Tally{Right: right}, now).After(Tally{Wrong: wrong}, now), now)
		last := score(r.After(Tally{Wrong: wrong}, now).After(Tally{Right: right}, now), now)
		if math.Abs(first-at) > 0.02 || math.Abs(last-at) > 0.02 {
			t.Fatalf("together %v, the right ones first %v, last %v", at, first, last)
		}
	})
}

// TestAScoreIsAlwaysOne feeds records what no journal of ours holds.
func TestAScoreIsAlwaysOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := Record{Good: rapid.Float64().Draw(t, "good"), Bad: rapid.SampledFrom([]float64{0, -1, math.NaN(), math.Inf(1), math.MaxFloat64, 20}).Draw(t, "bad"),
			At: monday.Add(time.Duration(rapid.Int64().Draw(t, "at")))}
		now := monday.Add(time.Duration(rapid.Int64().Draw(t, "now")))
		r = r.After(Tally{Right: rapid.Uint64().Draw(t, "right"), Wrong: rapid.Uint64().Draw(t, "wrong")}, now)
		if s := score(r, now); !(s >= 0 && s <= 1) {
			t.Fatalf("the score of %+v is %v", r, s)
		}
	})
}

func TestAScoreFades(t *testing.T) {
	if s := score(Record{}, monday); s != Newcomer {
		t.Errorf("a newcomer has %v", s)
	}
	liar := Record{}.After(Tally{Wrong: 1}, monday)
	if s := score(liar, monday); s > 0.4 {
		t.Errorf("after one lie the score is %v", s)
	}
	month, years := score(liar, monday.Add(halfLife)), score(liar, monday.Add(24*halfLife))
	if month < 0.44 || month > 0.46 || Newcomer-years > 0.001 {
		t.Errorf("a month later %v (9/20), years later %v", month, years)
	}
	if back := score(liar, monday.Add(-halfLife)); back != score(liar, monday) {
		t.Errorf("a clock that goes back makes it %v", back)
	}
	idle := liar.After(Tally{Lost: 3, Unverified: 1000}, monday)
	if score(idle, monday) != score(liar, monday) || idle.Lost != 3 || idle.Unverified != 1000 {
		t.Errorf("work that nobody verified makes it %v: %+v", score(idle, monday), idle)
	}
}

func TestAnotherClassWashesNobody(t *testing.T) {
	carol := History{"old": Record{}.After(Tally{Wrong: 2}, monday), "new": Record{}.After(Tally{Right: 5}, monday)}
	if s := carol.Score("newest", monday); s >= Newcomer/2 {
		t.Errorf("with another name carol has %v", s)
	}
	if carol.Rest(monday).IsZero() {
		t.Error("carol is asked again at once")
	}
	if carol.Score("new", monday) <= carol.Score("newest", monday) {
		t.Error("what was right in a class does not count there")
	}
}

func TestWhoWasWrongTwiceRests(t *testing.T) {
	day := 24 * time.Hour
	for name, row := range map[string]struct {
		wrong []time.Duration
		now   time.Duration
		want  bool
	}{
		"never":                     {nil, 0, false},
		"once":                      {[]time.Duration{0}, time.Hour, false},
		"twice within a week":       {[]time.Duration{0, 6 * day}, 6*day + time.Hour, true},
		"twice, a day ago":          {[]time.Duration{0, 6 * day}, 7 * day, false},
		"twice, in different weeks": {[]time.Duration{0, 8 * day}, 8 * day, false},
		"long ago, then once":       {[]time.Duration{0, 1, 30 * day}, 30 * day, false},
		"twice at once":             {[]time.Duration{0, 0}, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			var r Record
			for _, at := range row.wrong {
				r = r.After(Tally{Wrong: 1}, monday.Add(at))
			}
			now := monday.Add(row.now)
			if until := (History{"": r}).Rest(now); until.IsZero() == row.want || row.want && until.Sub(r.Erred[0]) != rest {
				t.Errorf("rests until %v", until)
			}
		})
	}
	if until := (History{"": Record{}.After(Tally{Wrong: 2}, monday)}).Rest(monday); until.IsZero() {
		t.Error("two wrong results of one batch are two")
	}
}

// ranking is the names of those whom Choose takes of these offers, best first.
func ranking(t *testing.T, job string, offers []offerOf) (names []string) {
	var answers []Answer
	name := map[string]string{}
	for _, o := range offers {
		p := named(t, o.name)
		name[p.id.String()] = o.name
		answers = append(answers, Answer{Peer: p.id, Job: job, Resources: orderOf(p, 1).Resources, Score: o.score,
			Quote: lease.Quote{Provider: p.id.String(), Slots: 1, Rates: voucher.Rates{CPU: o.price}}})
	}
	for _, a := range Choose(answers, len(offers)) {
		names = append(names, name[a.Quote.Provider])
	}
	return names
}

type offerOf struct {
	name  string
	price uint64
	score float64
}

func TestPriceAndScoreRankTogether(t *testing.T) {
	usual, curious := "", "" // jobs of both kinds
	for i := 0; usual == "" || curious == ""; i++ {
		job := fmt.Sprint("job", i)
		if ranking(t, job, []offerOf{{"dan", 100, 0}, {"bob", 101, 0.9999}})[0] == "dan" {
			curious = job
		} else {
			usual = job
		}
	}
	for name, row := range map[string]struct {
		job  string
		of   []offerOf
		want string
	}{
		"a liar is dearer than his price":      {usual, []offerOf{{"carol", 50, 0.3}, {"bob", 100, 0.99}}, "[bob carol]"},
		"a cheap newcomer gets work":           {usual, []offerOf{{"dan", 80, 0}, {"bob", 100, 0.999}}, "[dan bob]"},
		"one as dear as bob waits":             {usual, []offerOf{{"dan", 100, 0}, {"bob", 100, 0.999}}, "[bob dan]"},
		"now and then he is tried":             {curious, []offerOf{{"dan", 100, 0}, {"bob", 100, 0.999}}, "[dan bob]"},
		"but not for more":                     {curious, []offerOf{{"dan", 101, 0}, {"bob", 100, 0.9999}}, "[bob dan]"},
		"of what is free, a liar's comes last": {usual, []offerOf{{"carol", 0, 0.3}, {"dan", 0, 0}}, "[dan carol]"},
	} {
		if got := fmt.Sprint(ranking(t, row.job, row.of)); got != row.want {
			t.Errorf("%s: %s, want %s", name, got, row.want)
		}
	}
	tried := 0
	for i := range 4000 {
		if ranking(t, fmt.Sprint(i), []offerOf{{"dan", 100, 0}, {"bob", 100, 0.999}})[0] == "dan" {
			tried++
		}
	}
	if tried < 4000/explore/2 || tried > 4000/explore*2 {
		t.Errorf("a newcomer came first in %d of 4000 orders", tried)
	}
}
