package wasm

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/enginetest"
)

var starts = flag.Int("starts", 100, "sandboxes that the test for leaks opens and closes")

// traces are what sandboxes could leave on a machine.
type traces struct{ files, mounts, goroutines, memory int }

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
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return traces{len(files), bytes.Count(mounts, []byte(" "+dir)), runtime.NumGoroutine(), int(m.HeapAlloc)}
}

// TestNothingIsLeft opens and closes many sandboxes, each with a task that ends by itself and, every fourth time, one that is cancelled: no process, mount, file, folder,
// goroutine or memory is left.
func TestNothingIsLeft(t *testing.T) {
	e := newEngine(t)
	module := assemble(t, "testdata/trap.wat")
	p := engine.Program{Lease: t.Name(), Module: module, Limits: engine.Limits{Time: time.Minute, Memory: 16 << 20, Output: 1 << 20, Disk: 4 << 20}}
	b, err := os.ReadFile(module)
	if err != nil {
		t.Fatal(err)
	}
	p.Key = keyOf(b)
	dir := t.TempDir()
	once := func(n int) {
		p.Dir = filepath.Join(dir, fmt.Sprint(n))
		if err := os.Mkdir(p.Dir, 0o700); err != nil {
			t.Fatal(err)
		}
		s, err := e.Open(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		l, tasks := enginetest.NewLedger(), []engine.Task{indexed(1, "nothing")}
		tasks[0].Outputs = []string{"/out"}
		if n%4 == 0 {
			tasks = append(tasks, indexed(2, "loop"))
			l.OnDone = func(o engine.Outcome) {
				if o.ID == 1 {
					s.Cancel(2)
				}
			}
		}
		if err := s.Run(t.Context(), tasks, l); err != nil || l.Of[1].End != engine.Exited || len(tasks) > 1 && l.Of[2].End != engine.Cancelled {
			t.Fatalf("%v: %+v", err, l.Of)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if left, err := os.ReadDir(p.Dir); err != nil || len(left) > 0 {
			t.Fatalf("files are left: %v, %v", left, err)
		}
		if err := os.Remove(p.Dir); err != nil {
			t.Fatal(err)
		}
	}
	once(0) // what is kept once
	once(1)
	before, began := look(t, dir), time.Now()
	for n := range *starts {
		once(n)
	}
	took := time.Since(began)
	if left := enginetest.Children(t); len(left) > 0 {
		t.Errorf("children are left, dead or alive: %v", left)
	}
	after := look(t, dir)
	for until := time.Now().Add(10 * time.Second); after.goroutines > before.goroutines && time.Now().Before(until); after = look(t, dir) {
		runtime.Gosched()
	}
	if after.files > before.files || after.mounts != before.mounts || after.goroutines > before.goroutines || after.memory > before.memory+4<<20 {
		t.Errorf("before %+v, after %+v", before, after)
	}
	t.Logf("%d sandboxes opened and closed in %s: before %+v, after %+v", *starts, took.Round(time.Millisecond), before, after)
}
