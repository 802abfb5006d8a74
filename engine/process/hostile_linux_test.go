package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/enginetest"
)

// TestHostile lets mallory's programs do their worst, where control groups hold them and where a watch-dog does.
func TestHostile(t *testing.T) {
	for name, cfg := range map[string]Config{"groups": {}, "watch-dog": {NoGroups: true}} {
		t.Run(name, func(t *testing.T) {
			cfg.Processes = 64
			e, cases := newEngine(t, cfg), enginetest.Native()
			if testing.Short() { // as with the race detector, which finds nothing more in more of them
				cases = enginetest.Fewer(cases, 6)
			}
			enginetest.Hostile(t, enginetest.Hold{
				Engine:  e,
				Program: func(t *testing.T, _ enginetest.Case) engine.Program { return program(t, helper(t, "hostile")) },
				Running: enginetest.Tokened,
				Loose:   !e.groups.Limits("memory"), Boundless: !e.groups.Limits("pids") && os.Geteuid() == 0,
				Limits: engine.Limits{Time: enginetest.Patience(time.Second), Memory: 96 << 20, Output: 1 << 20, Disk: 8 << 20},
			}, cases)
			leftGroups(t, e)
		})
	}
}

// TestRootNeedsGroups has the engine refuse where a program could make processes without end.
func TestRootNeedsGroups(t *testing.T) {
	for _, row := range []struct {
		user    int
		cfg     Config
		bounded bool
		ok      bool
	}{{0, Config{}, true, true}, {0, Config{}, false, false}, {1000, Config{}, false, true}, {0, Config{NoGroups: true}, false, true}} {
		var missing *Missing
		err := boundless(row.user, row.cfg, row.bounded, "nobody may")
		if (err == nil) != row.ok || err != nil && !(errors.As(err, &missing) && strings.Contains(missing.What, "nobody may") && missing.Remedy != "") {
			t.Errorf("user %d, bounded %v: %v", row.user, row.bounded, err)
		}
	}
}

// leftGroups wants no control group of this process.
func leftGroups(t *testing.T, e *Engine) {
	t.Helper()
	if left, err := e.groups.Made(); err != nil || len(left) > 0 {
		t.Errorf("control groups are left: %v, %v", left, err)
	}
}

// token is a word by which the processes of a test are known.
func token(t *testing.T) string {
	return fmt.Sprintf("hostile-%s-%d-%d", filepath.Base(t.Name()), os.Getpid(), time.Now().UnixNano())
}

// begun is a ledger that tells when a task has said something.
func begun() (*enginetest.Ledger, <-chan struct{}) {
	l, heard := enginetest.NewLedger(), make(chan struct{})
	l.OnChunk = func(uint64, []byte) {
		select {
		case <-heard:
		default:
			close(heard)
		}
	}
	return l, heard
}

// TestLateWhileSuspended has mallory's programs stopped for longer than their time: that does not count, and they are ended within a second of the rest of it. Others
// of them are stopped, and their lease ends meanwhile: nothing of them is left within a second. A machine that is busy may be late once: it has a second try.
func TestLateWhileSuspended(t *testing.T) {
	for name, cfg := range map[string]Config{"groups": {}, "watch-dog": {NoGroups: true}} {
		for _, act := range []string{"spin", "ignore signals", "stop itself", "spin as many", "wait for a child that never ends"} {
			for _, closed := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/%v", name, act, closed), func(t *testing.T) {
					cfg.Processes = 64
					late := endsSuspended(t, cfg, act, closed)
					if late > enginetest.Patience(time.Second) {
						t.Logf("the first time after %s", late)
						late = endsSuspended(t, cfg, act, closed)
					}
					if late > enginetest.Patience(time.Second) {
						t.Errorf("ended after %s", late)
					}
				})
			}
		}
	}
}

// begins runs one of mallory's programs until it has said that it has begun. Where it takes longer than its time to say so, as on a virtual PC whose processors are made of software, it has twice as much.
func begins(t *testing.T, cfg Config, act, word string, limit time.Duration) (s engine.Sandbox, l *enginetest.Ledger, over <-chan error, has time.Duration) {
	t.Helper()
	p := program(t, helper(t, "hostile"))
	p.Lease, p.Dir, p.Limits = t.Name(), t.TempDir(), engine.Limits{Time: limit, Memory: 256 << 20}
	s, err := newEngine(t, cfg).Open(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	l, heard := begun()
	ends := make(chan error, 1)
	go func() { ends <- s.Run(t.Context(), []engine.Task{{ID: 1, Args: []string{act, word}, Stream: true}}, l) }()
	select {
	case <-heard:
		return s, l, ends, limit
	case err := <-ends:
		if limit > 10*time.Second {
			t.Fatalf("it ended before it began: %v, %+v", err, l.Of[1])
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return begins(t, cfg, act, word, 2*limit)
}

// endsSuspended tells how long after its lease was closed, or after its time was over, nothing was left of a program that had been stopped for longer than its time.
func endsSuspended(t *testing.T, cfg Config, act string, closed bool) time.Duration {
	t.Helper()
	word := token(t)
	s, l, over, limit := begins(t, cfg, act, word, enginetest.Patience(300*time.Millisecond))
	defer s.Close()
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-over:
		t.Fatalf("it ended while it was suspended: %v, %+v", err, l.Of[1])
	case <-time.After(2 * limit):
	}
	at, want := time.Now(), engine.Cancelled
	var err error
	if closed {
		err = s.Close()
	} else {
		at, want = at.Add(limit), engine.TimedOut
		err = s.Resume()
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := <-over; err != nil || l.Of[1].End != want {
		t.Errorf("%v, %+v, want %s", err, l.Of[1], want)
	}
	left := enginetest.Tokened(t, word)
	late := time.Since(at)
	if len(left) > 0 {
		t.Errorf("%d processes are left after %s", len(left), late)
	}
	return late
}
