package node

import (
	"maps"
	"time"

	"github.com/hpips/hpips/spec/proof"
)

// Between two tries of a part.
const (
	keepAgain   = time.Minute // after it did not come once
	keepAtLast  = time.Hour   // at most, after twice as long each time
	keepForgets = 1000        // parts from which those are forgotten that rest no more
)

// tries are parts of deals that did not come: each rests twice as long after each try, from a minute to an hour, so that what stalls costs less and less.
type tries struct {
	now func() time.Time
	all map[proof.Part]try
}

type try struct {
	until time.Time
	pause time.Duration
}

func newTries(now func() time.Time) tries { return tries{now, map[proof.Part]try{}} }

// rests tells whether a part is not to be tried yet.
func (t tries) rests(p proof.Part) bool { return t.now().Before(t.all[p].until) }

// failed lets a part rest.
func (t tries) failed(p proof.Part) {
	now := t.now()
	if len(t.all) >= keepForgets {
		maps.DeleteFunc(t.all, func(_ proof.Part, old try) bool { return now.After(old.until.Add(keepAtLast)) })
	}
	pause := min(max(keepAgain, 2*t.all[p].pause), keepAtLast)
	t.all[p] = try{now.Add(pause), pause}
}

// done forgets what a part failed.
func (t tries) done(p proof.Part) { delete(t.all, p) }
