package enginetest

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/hpips/hpips/engine"
)

// Leak is a test of what many sandboxes leave behind.
type Leak struct {
	Engine  engine.Engine
	Program engine.Program // with its limits; lease and folder are the test's to set
	// Ends is a task that ends by itself, with 0, and Spins one that goes on for ever.
	Ends, Spins engine.Task
	// Starts is how many sandboxes are opened and closed, and Warm how many before that, for what is kept once.
	Starts, Warm int
	// Look counts what else the engine could leave, by name; nil counts nothing more.
	Look func(t *testing.T) map[string]int
	// Slack is how much more of a name there may be in the end.
	Slack map[string]int
	// Left says what else may not be there in the end; it is called before the last count. nil looks at nothing.
	Left func(t *testing.T)
}

// settle is how long what is on its way may take to be gone.
const settle = 10 * time.Second

// NothingIsLeft opens and closes sandboxes, each with a task that ends by itself and, every fourth time, one that is cancelled: no file, folder, mount, open file or goroutine is
// left, nor what the engine's own look counts.
func NothingIsLeft(t *testing.T, l Leak) {
	t.Helper()
	dir := t.TempDir()
	for n := range l.Warm {
		l.once(t, filepath.Join(dir, fmt.Sprint("warm", n)), n)
	}
	before, began := l.look(t, dir), time.Now()
	for n := range l.Starts {
		l.once(t, filepath.Join(dir, fmt.Sprint(n)), n)
	}
	took := time.Since(began)
	if l.Left != nil {
		l.Left(t)
	}
	after := l.look(t, dir)
	for until := time.Now().Add(settle); len(l.more(before, after)) > 0 && time.Now().Before(until); after = l.look(t, dir) {
		<-time.After(time.Millisecond)
	}
	if more := l.more(before, after); len(more) > 0 {
		t.Errorf("there are more %v: before %v, after %v", more, before, after)
	}
	t.Logf("%d sandboxes opened and closed in %s: before %v, after %v", l.Starts, took.Round(time.Millisecond), before, after)
}

// more names what there is more of than before, beyond the slack.
func (l Leak) more(before, after map[string]int) (names []string) {
	for name, n := range after {
		if n > before[name]+l.Slack[name] {
			names = append(names, name)
		}
	}
	return names
}

// look counts open files, mounts below a folder (others mount, too), goroutines, and what the engine's own look does.
func (l Leak) look(t *testing.T, dir string) map[string]int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]int{"files": len(files), "mounts": bytes.Count(mounts, []byte(" "+dir)), "goroutines": runtime.NumGoroutine()}
	if l.Look != nil {
		maps.Copy(all, l.Look(t))
	}
	return all
}

// once opens and closes the n-th sandbox.
func (l Leak) once(t *testing.T, dir string, n int) {
	t.Helper()
	p := l.Program
	p.Lease, p.Dir = filepath.Base(t.Name())+filepath.Base(dir), dir
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := l.Engine.Open(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	heard, tasks := NewLedger(), []engine.Task{l.Ends}
	tasks[0].ID = 1
	if n%4 == 0 {
		tasks = append(tasks, l.Spins)
		tasks[1].ID = 2
		heard.OnDone = func(o engine.Outcome) {
			if o.ID == 1 {
				s.Cancel(2)
			}
		}
	}
	if err := s.Run(t.Context(), tasks, heard); err != nil || heard.Of[1].End != engine.Exited || heard.Of[1].Exit != 0 || len(tasks) > 1 && heard.Of[2].End != engine.Cancelled {
		t.Fatalf("%v: %+v", err, heard.Of)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Fatalf("files are left: %v, %v", left, err)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
}
