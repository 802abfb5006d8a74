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

// ErrNoSession says that there is no screen or session at which somebody could be.
var ErrNoSession = errors.New("idle: no session of a person is here")

// AgentTerm is how long a report of a program in the owner's session holds.
const AgentTerm = 30 * time.Second

// quiet is how long a PC without a session is not asked again.
const quiet = 30 * time.Second

// Watch knows whether somebody is at the PC: by a program in the owner's session, which reports, or by what this process can see itself.
type Watch struct {
	local []Idler

	mu       sync.Mutex
	agent    bool // one reports
	reported time.Time
	idle     time.Duration
	seen     bool      // a local one told once
	rest     time.Time // no local one is asked before
}

// NewWatch asks what this system has. Nothing is opened before the first question.
func NewWatch() *Watch { return &Watch{local: idlers()} }

// WatchOf asks the given ones.
func WatchOf(local ...Idler) *Watch { return &Watch{local: local} }

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
		w.seen, w.rest = false, now.Add(quiet)
		return Headless, nil
	case w.seen:
		return Unknown, nil
	}
	w.rest = now.Add(quiet)
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
