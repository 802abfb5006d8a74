package machine

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Presence is whether somebody is at the PC.
type Presence string

// The presences. Where nobody can be (no screen, no session), a PC is headless.
const (
	InUse    Presence = "in-use"
	Away     Presence = "away"
	Headless Presence = "headless"
	Unknown  Presence = "unknown" // it was told once, and is not any more: taken as in use
)

// attended tells whether the PC is taken as in use.
func (p Presence) attended() bool { return p == InUse || p == Unknown }

// Idler tells how long nobody has touched a key or the mouse.
type Idler interface {
	// Idle returns ErrNoSession where there is nobody whom it could tell of.
	Idle(ctx context.Context) (time.Duration, error)
}

// errMute says that there is a session, and that nothing in it tells whether somebody is at it.
var errMute = errors.New("idle: a session is here that does not tell")

// ErrNoSession says that there is no screen or session at which somebody could be.
var ErrNoSession = errors.New("idle: no session of a person is here")

// AgentTerm is how long a report of a program in the owner's session holds.
const AgentTerm = 30 * time.Second

// The times for which a PC without a session is not asked again: the longer one where a change of its sessions would be seen, the shortest while one has just changed, since
// what a session runs in is not there all at once.
const (
	quiet     = 30 * time.Second
	unwatched = 2 * time.Second
	fresh     = 500 * time.Millisecond
	freshFor  = 10 * time.Second
)

// Watch knows whether somebody is at the PC: by a program in the owner's session, which reports, or by what this process can see itself.
type Watch struct {
	local   []Idler
	places  []string      // where a change is seen when somebody logs in
	changed chan struct{} // told of one

	mu       sync.Mutex
	followed bool      // changes are seen
	last     time.Time // one was
	agent    bool      // one reports
	reported time.Time
	idle     time.Duration
	seen     bool      // a local one told once
	rest     time.Time // no local one is asked before
}

// NewWatch asks what this system has. Nothing is opened before the first question.
func NewWatch() *Watch { return WatchAt(sessionPlaces, idlers()...) }

// WatchOf asks the given ones.
func WatchOf(local ...Idler) *Watch { return WatchAt(nil, local...) }

// WatchAt asks the given ones, also as soon as something changes in files or folders where the system notes its sessions.
func WatchAt(places []string, local ...Idler) *Watch {
	return &Watch{local: local, places: places, changed: make(chan struct{}, 1)}
}

// Follow waits for sessions to come and go until ctx ends, so that somebody who logs in is noticed at once. Where the system shows none it returns nil at once, and those who
// tell are asked more often instead.
func (w *Watch) Follow(ctx context.Context) error {
	defer w.follows(false)
	return follow(ctx, w.places, func() { w.follows(true) }, func() { w.change(time.Now()) })
}

// Changed is told when a session came or went.
func (w *Watch) Changed() <-chan struct{} { return w.changed }

func (w *Watch) follows(yes bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.followed, w.rest = yes, time.Time{}
}

func (w *Watch) change(now time.Time) {
	w.mu.Lock()
	w.last, w.rest = now, time.Time{}
	w.mu.Unlock()
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// resting is until when a PC without a session is not asked again. Needs w.mu.
func (w *Watch) resting(now time.Time) time.Time {
	switch {
	case now.Sub(w.last) < freshFor:
		return now.Add(fresh)
	case w.followed:
		return now.Add(quiet)
	}
	return now.Add(unwatched)
}

// Report takes in what a program in the owner's session says: for how long nobody has touched anything there.
func (w *Watch) Report(idle time.Duration, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.agent, w.reported, w.idle = true, now, idle
}

// Leave says that the owner's session is over.
func (w *Watch) Leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.agent = false
}

// Look says whether somebody is at the PC, and for how long nothing was touched where that is known. One who reports is believed; when no report comes
// any more, and when a session that could be seen cannot be any more, it is unknown.
func (w *Watch) Look(ctx context.Context, after time.Duration, now time.Time) (Presence, *time.Duration) {
	w.mu.Lock()
	agent, age, idle, rests := w.agent, now.Sub(w.reported), w.idle, now.Before(w.rest)
	w.mu.Unlock()
	switch {
	case agent && age > AgentTerm:
		return Unknown, nil
	case agent:
		return judge(idle+max(age, 0), after)
	case rests:
		return Headless, nil
	}
	idle, err := w.see(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err == nil:
		w.seen = true
		return judge(idle, after)
	case errors.Is(err, ErrNoSession):
		w.seen, w.rest = false, w.resting(now)
		return Headless, nil
	case w.seen, errors.Is(err, errMute):
		return Unknown, nil
	}
	w.rest = w.resting(now)
	return Headless, nil
}

func judge(idle, after time.Duration) (Presence, *time.Duration) {
	if idle < after {
		return InUse, &idle
	}
	return Away, &idle
}

// see asks all that can tell; the shortest time counts, since somebody may be at any of the screens.
func (w *Watch) see(ctx context.Context) (idle time.Duration, err error) {
	told := false
	for _, one := range w.local {
		d, no := one.Idle(ctx)
		switch {
		case no == nil && (!told || d < idle):
			idle, told = d, true
		case no != nil && !errors.Is(no, ErrNoSession):
			err = errors.Join(err, no)
		}
	}
	switch {
	case told:
		return idle, nil
	case err != nil:
		return 0, err
	}
	return 0, ErrNoSession
}
