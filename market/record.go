package market

import (
	"maps"
	"math"
	"slices"
	"time"
)

// A newcomer is taken for one of whom ten results were verified and nine were right: the beta distribution that a score begins with.
const (
	priorRight = 9.0
	priorWrong = 1.0
)

// Newcomer is the score of a node of whose results none was verified.
const Newcomer = priorRight / (priorRight + priorWrong)

// How a record is reckoned and how it ages.
const (
	gravity  = 20                  // a wrong result weighs as much as so many right ones
	fading   = 0.999               // what is left of the evidence after one more verified result: some thousand of them count
	halfLife = 30 * 24 * time.Hour // in which half of the evidence goes by itself
)

// A node of which two results were wrong within lapse is not asked until rest after the second.
const (
	lapse = 7 * 24 * time.Hour
	rest  = 24 * time.Hour
)

// Tally is what was seen of a node since its record was written last.
type Tally struct {
	Right      uint64 // results that others, or a checker, found right
	Wrong      uint64 // results that were found wrong, where somebody else's was right
	Lost       uint64 // executions that broke, or ended with their provider
	Unverified uint64 // results that were taken as they came
}

// Record is what a node itself saw of a provider's node as one hardware class. Good and Bad are the verified results, faded; nothing else makes a score.
type Record struct {
	Right, Wrong, Lost, Unverified uint64

	Good, Bad float64
	At        time.Time    // to which they are reckoned
	Seen      time.Time    // when anything was written last
	Erred     [2]time.Time // the last wrong results, the newest first; zero: there was none
}

// After is the record with what was seen since, at the time now. Good becomes λⁿ·Good + right and Bad λⁿ·Bad + 20·wrong for n verified results (the beta reputation
// of Jøsang and Ismail 2002, with Storj's forgetting for each result), so that their order does not matter. A clock that went back does not make it younger.
func (r Record) After(t Tally, now time.Time) Record {
	r.Right, r.Wrong, r.Lost, r.Unverified = plus(r.Right, t.Right), plus(r.Wrong, t.Wrong), plus(r.Lost, t.Lost), plus(r.Unverified, t.Unverified)
	if now.After(r.Seen) {
		r.Seen = now
	}
	if t.Right == 0 && t.Wrong == 0 {
		return r
	}
	kept := math.Pow(fading, float64(t.Right)+float64(t.Wrong))
	good, bad := r.evidence(now)
	r.Good, r.Bad = kept*good+float64(t.Right), kept*bad+gravity*float64(t.Wrong)
	if now.After(r.At) {
		r.At = now
	}
	if t.Wrong > 0 {
		r.Erred[1] = r.Erred[0]
		if t.Wrong > 1 {
			r.Erred[1] = r.Seen
		}
		r.Erred[0] = r.Seen
	}
	return r
}

// plus is a + b, or the largest number of a journal.
func plus(a, b uint64) uint64 {
	if a > math.MaxInt64-min(b, math.MaxInt64) {
		return math.MaxInt64
	}
	return a + b
}

// evidence is Good and Bad as they are worth now. Numbers that no record has count as none.
func (r Record) evidence(now time.Time) (good, bad float64) {
	worth := math.Exp2(-float64(max(now.Sub(r.At), 0)) / float64(halfLife))
	sane := func(v float64) float64 {
		if v > 0 && !math.IsInf(v, 1) {
			return v * worth
		}
		return 0
	}
	return sane(r.Good), sane(r.Bad)
}

// History is a node's records by the hardware class that its quotes name.
type History map[string]Record

// Score is the share of right results that is expected of a node as this hardware class, above 0 and below 1; Newcomer where none was verified. What was wrong
// counts whatever class the node names, what was right as the class that was right: another name washes nobody.
func (h History) Score(class string, now time.Time) float64 {
	good, _ := h[class].evidence(now)
	bad := 0.0
	for _, name := range slices.Sorted(maps.Keys(h)) {
		_, b := h[name].evidence(now)
		bad += b
	}
	return (priorRight + good) / (priorRight + good + priorWrong + bad)
}

// Verified reports whether any result of the node was, so that its score says more than that it is a newcomer.
func (h History) Verified() bool {
	for _, r := range h {
		if r.Right > 0 || r.Wrong > 0 {
			return true
		}
	}
	return false
}

// doubt is how far below a newcomer's a score has to be to count against a node by itself: what is long past does not.
const doubt = 0.01

// Doubted reports whether the node did worse than a newcomer lately, as whatever class.
func (h History) Doubted(now time.Time) bool {
	for class := range h {
		if h.Score(class, now) < Newcomer-doubt {
			return true
		}
	}
	return false
}

// Rest is until when the node is not asked, because two of its results were wrong within a week; zero where nothing is against it.
func (h History) Rest(now time.Time) time.Time {
	var first, second time.Time // the newest of all classes
	for _, r := range h {
		for _, at := range r.Erred {
			switch {
			case at.After(first):
				first, second = at, first
			case at.After(second):
				second = at
			}
		}
	}
	until := first.Add(rest)
	if second.IsZero() || first.Sub(second) > lapse || !now.Before(until) {
		return time.Time{}
	}
	return until
}

// Seen is when anything was written last.
func (h History) Seen() (at time.Time) {
	for _, r := range h {
		if r.Seen.After(at) {
			at = r.Seen
		}
	}
	return at
}
