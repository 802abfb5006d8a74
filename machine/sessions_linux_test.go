package machine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// door is where one may log in; it counts who asks.
type door struct{ in, asked atomic.Int64 }

func (d *door) Idle(context.Context) (time.Duration, error) {
	d.asked.Add(1)
	if d.in.Load() == 0 {
		return 0, ErrNoSession
	}
	return 0, nil
}

// Nobody is at Bob's PC, which is asked seldom. He logs in: that is noticed when the system notes it, and not half a minute later.
func TestALoginIsNoticedAtOnce(t *testing.T) {
	for name, write := range map[string]func(dir string) error{
		"a file of a session": func(dir string) error { return os.WriteFile(filepath.Join(dir, "c2"), nil, 0o600) },
		"a user's folder":     func(dir string) error { return os.Mkdir(filepath.Join(dir, "1000"), 0o700) },
		"a file in its place": func(dir string) error {
			return errors.Join(os.WriteFile(dir+".tmp", nil, 0o600), os.Rename(dir+".tmp", filepath.Join(dir, "c3")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "sessions")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			bob := &door{}
			w := WatchAt([]string{filepath.Join(dir, "none"), dir}, bob)
			watching := make(chan struct{})
			ctx, cancel := context.WithCancel(t.Context())
			over := make(chan error, 1)
			go func() {
				over <- follow(ctx, w.places, func() { w.follows(true); close(watching) }, func() { w.change(time.Now()) })
			}()
			<-watching
			if who, _ := w.Look(t.Context(), time.Minute, time.Now()); who != Headless {
				t.Fatalf("nobody is there: %s", who)
			}
			for range 100 {
				if who, _ := w.Look(t.Context(), time.Minute, time.Now()); who != Headless {
					t.Fatalf("nobody is there: %s", who)
				}
			}
			if n := bob.asked.Load(); n != 1 {
				t.Errorf("it was asked %d times", n)
			}
			bob.in.Store(1)
			began := time.Now()
			if err := write(dir); err != nil {
				t.Fatal(err)
			}
			select {
			case <-w.Changed():
			case <-time.After(10 * time.Second):
				t.Fatal("nobody notices that bob logs in")
			}
			if who, idle := w.Look(t.Context(), time.Minute, time.Now()); who != InUse || idle == nil {
				t.Errorf("bob is there: %s", who)
			}
			t.Logf("noticed after %v", time.Since(began))
			cancel()
			if err := <-over; !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
		})
	}
}

// What a session runs in comes a little later than its name: for a while after a change it is asked again and again. Where no change can be seen, it is asked every two seconds.
func TestHowOftenAPCWithoutASessionIsAsked(t *testing.T) {
	bob := &door{}
	w := WatchAt(nil, bob)
	asks := func(from, to time.Time) int64 {
		before := bob.asked.Load()
		for at := from; at.Before(to); at = at.Add(100 * time.Millisecond) {
			w.Look(t.Context(), time.Minute, at)
		}
		return bob.asked.Load() - before
	}
	if n := asks(noon, noon.Add(time.Minute)); n != 30 {
		t.Errorf("asked %d times in a minute where no change is seen", n)
	}
	w.follows(true)
	if n := asks(noon.Add(time.Minute), noon.Add(2*time.Minute)); n != 2 {
		t.Errorf("asked %d times in a minute where changes are seen", n)
	}
	w.change(noon.Add(2 * time.Minute))
	if n := asks(noon.Add(2*time.Minute), noon.Add(2*time.Minute+freshFor)); n != 20 {
		t.Errorf("asked %d times in the ten seconds after a change", n)
	}
	if err := WatchAt([]string{filepath.Join(t.TempDir(), "none")}, bob).Follow(t.Context()); err != nil { // where there is nothing to follow
		t.Errorf("%v", err)
	}
}
