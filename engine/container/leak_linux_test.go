package container

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/enginetest"
	"github.com/hpips/hpips/engine/sandbox"
)

var starts = flag.Int("starts", 8, "containers that the test for leaks opens and closes")

// traces are what containers could leave on a machine.
type traces struct{ files, mounts, goroutines, groups, children int }

func look(t *testing.T) traces {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	groups := 0
	err = filepath.WalkDir("/sys/fs/cgroup", func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			groups++
		}
		return nil // what goes while it is looked at is gone
	})
	if err != nil {
		t.Fatal(err)
	}
	return traces{len(files), bytes.Count(mounts, []byte("\n")), runtime.NumGoroutine(), groups, len(sandbox.Family(os.Getpid(), sandbox.Everyone))}
}

// TestNothingIsLeft opens and closes many sandboxes, each with a task that ends by itself and, every fourth time, one that is cancelled: no container, process, mount, control
// group, file, folder or goroutine is left.
func TestNothingIsLeft(t *testing.T) {
	e, word := ours(t), token(t)
	p := program(t, "hostile")
	p.Limits = engine.Limits{Time: time.Minute, Memory: 96 << 20}
	dir := t.TempDir()
	_ = opened(t, e, p) // it is there, whatever comes
	before := look(t)
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
	if left := enginetest.Tokened(t, word); len(left) > 0 {
		t.Errorf("processes, and with them namespaces, are left: %v", left)
	}
	list, err := e.api.ContainerList(t.Context(), client.ContainerListOptions{All: true, Filters: make(client.Filters).Add("label", label+"="+e.self)})
	if err != nil || len(list.Items) > 0 {
		t.Errorf("containers are left: %v, %v", list.Items, err)
	}
	if err := e.api.Close(); err != nil { // connections that wait for the next question
		t.Error(err)
	}
	after := look(t)
	for until := time.Now().Add(sandbox.Patience); (after.goroutines > before.goroutines || after.mounts > before.mounts || after.groups > before.groups || after.children > before.children) && time.Now().Before(until); after = look(t) {
		runtime.Gosched()
	}
	if after.files > before.files+1 || after.mounts > before.mounts || after.goroutines > before.goroutines || after.groups > before.groups || after.children > before.children {
		t.Errorf("before %+v, after %+v", before, after)
	}
}

// BenchmarkStart measures what a container costs: how long it takes to have run what does nothing.
func BenchmarkStart(b *testing.B) {
	e := ours(b)
	p := program(b, "guest")
	p.Lease, p.Dir = b.Name(), b.TempDir()
	s, err := e.Open(b.Context(), p)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for id := uint64(1); b.Loop(); id++ {
		l := enginetest.NewLedger()
		if err := s.Run(b.Context(), []engine.Task{{ID: id, Args: []string{"exit", "0"}}}, l); err != nil || l.Of[id].Exit != 0 {
			b.Fatal(err, l.Of[id])
		}
		s.Release(id)
	}
}
