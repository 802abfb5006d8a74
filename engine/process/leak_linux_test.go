package process

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/enginetest"
	"github.com/hpips/hpips/engine/sandbox"
)

var starts = flag.Int("starts", 40, "sandboxes that the test for leaks opens and closes")

// traces are what sandboxes could leave on a machine.
type traces struct{ files, mounts, goroutines int }

// look counts the mounts of this machine that are below a folder: others mount, too.
func look(t *testing.T, dir string) traces {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return traces{len(files), bytes.Count(mounts, []byte(" "+dir)), runtime.NumGoroutine()}
}

// TestNothingIsLeft opens and closes many sandboxes, each with a task that ends by itself and, every fourth time, one that is cancelled: no process, mount, control
// group, namespace, file, folder or goroutine is left.
func TestNothingIsLeft(t *testing.T) {
	e, word := newEngine(t, Config{}), token(t)
	p := program(t, helper(t, "hostile"))
	p.Limits = engine.Limits{Time: time.Minute, Memory: 96 << 20}
	dir := t.TempDir()
	before, began := look(t, dir), time.Now()
	for n := range *starts {
		p.Lease, p.Dir = fmt.Sprint(t.Name(), n), filepath.Join(dir, fmt.Sprint(n))
		if err := os.Mkdir(p.Dir, 0o700); err != nil {
			t.Fatal(err)
		}
		s, err := e.Open(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		l := enginetest.NewLedger()
		tasks := []engine.Task{{ID: 1, Args: []string{"zombies", word}, Outputs: []string{"/out"}}}
		if n%4 == 0 {
			tasks = append(tasks, engine.Task{ID: 2, Args: []string{"spin", word}})
			l.OnDone = func(o engine.Outcome) {
				if o.ID == 1 {
					s.Cancel(2)
				}
			}
		}
		if err := s.Run(t.Context(), tasks, l); err != nil || l.Of[1].Exit != 0 || len(tasks) > 1 && l.Of[2].End != engine.Cancelled {
			t.Fatalf("%v: %+v", err, l.Of)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if left, err := os.ReadDir(p.Dir); err != nil || len(left) > 0 {
			t.Fatalf("files are left: %v, %v", left, err)
		}
	}
	took := time.Since(began)
	if left := enginetest.Tokened(t, word); len(left) > 0 {
		t.Errorf("processes, and with them namespaces, are left: %v", left)
	}
	if all := sandbox.Family(os.Getpid(), sandbox.Everyone); len(all) > 1 {
		t.Errorf("children are left, dead or alive: %v", all[1:])
	}
	leftGroups(t, e)
	after := look(t, dir)
	for until := time.Now().Add(sandbox.Patience); after.goroutines > before.goroutines && time.Now().Before(until); after = look(t, dir) {
		runtime.Gosched()
	}
	if after.files > before.files+1 || after.mounts != before.mounts || after.goroutines > before.goroutines {
		t.Errorf("before %+v, after %+v", before, after)
	}
	t.Logf("%d sandboxes opened and closed in %s: before %+v, after %+v", *starts, took.Round(time.Millisecond), before, after)
}

// BenchmarkStart measures what a sandbox costs: how long it takes to have run what does nothing.
func BenchmarkStart(b *testing.B) {
	e := newEngine(b, Config{})
	p := program(b, helper(b, "guest"))
	p.Lease, p.Dir = b.Name(), b.TempDir()
	s, err := e.Open(b.Context(), p)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	var took []time.Duration
	for id := uint64(1); b.Loop(); id++ {
		l := enginetest.NewLedger()
		began := time.Now()
		if err := s.Run(b.Context(), []engine.Task{{ID: id, Args: []string{"exit", "0"}}}, l); err != nil || l.Of[id].Exit != 0 {
			b.Fatal(err, l.Of[id])
		}
		took = append(took, time.Since(began))
		s.Release(id)
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2])/1e6, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100])/1e6, "p99-ms")
}
