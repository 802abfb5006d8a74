package process

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/enginetest"
	"github.com/hpips/hpips/engine/sandbox"
)

var window = flag.Duration("window", 3*time.Second, "for how long the processor share of a task is measured")

// within is how far a limit may be missed.
const within = 0.1

// guestBox opens a sandbox of the test's guest, whose processes a word tells.
func guestBox(t *testing.T, cfg Config, limits engine.Limits) (s engine.Sandbox, dir, word string) {
	t.Helper()
	p := program(t, helper(t, "guest"))
	p.Lease, p.Dir, p.Limits = t.Name(), t.TempDir(), limits
	s, err := newEngine(t, cfg).Open(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, p.Dir, token(t)
}

// modes are both ways in which limits are kept.
var modes = map[string]Config{"groups": {Processes: 64}, "watch-dog": {Processes: 64, NoGroups: true}}

// TestShareOfTheProcessor has a task with four busy threads keep to one processor, seen from outside. That it may have all of one is asked only where one was free.
func TestShareOfTheProcessor(t *testing.T) {
	for name, cfg := range modes {
		t.Run(name, func(t *testing.T) {
			s, _, word := guestBox(t, cfg, engine.Limits{Memory: 256 << 20})
			l, heard := begun()
			over := make(chan error, 1)
			go func() {
				over <- s.Run(t.Context(), []engine.Task{{ID: 1, Args: []string{"spin on all", word}, Stream: true}}, l)
			}()
			<-heard
			began, before, free := time.Now(), sandbox.Weigh(enginetest.Tokened(t, word)).CPU, idle(t)
			<-time.After(*window)
			took, used := time.Since(began), sandbox.Weigh(enginetest.Tokened(t, word)).CPU-before
			free = idle(t) - free
			s.Cancel(1)
			if err := <-over; err != nil {
				t.Error(err)
			}
			share := used.Seconds() / took.Seconds()
			t.Logf("%.3f of one processor over %s; %.2f s of all were free", share, took.Round(time.Millisecond), free.Seconds())
			if lacking := took - used; share > 1+within || lacking > took/10 && free > lacking {
				t.Errorf("it used %.3f of one processor over %s", share, took)
			}
		})
	}
}

// idle is for how long the machine's processors had nothing to do (proc(5), stat).
func idle(t *testing.T) time.Duration {
	t.Helper()
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseInt(strings.Fields(string(b))[4], 10, 64) // cpu user nice system idle
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(n) * time.Second / 100 // the kernel's unit for programs
}

// TestLimitOfMemory has a task get nine tenths of its memory, not a tenth more than all of it, and one that takes it without end have a tenth more at most, seen from
// outside. The watch-dog, which looks some fifty times a second, is looser: what a program takes between two looks, it has; there it is told and not held to.
func TestLimitOfMemory(t *testing.T) {
	const limit = 256 << 20
	for name, cfg := range modes {
		t.Run(name, func(t *testing.T) {
			s, _, word := guestBox(t, cfg, engine.Limits{Memory: limit, Time: enginetest.Patience(time.Minute)})
			held, l := newEngine(t, cfg).groups.Limits("memory"), enginetest.NewLedger()
			less, more := strconv.Itoa(limit*9/10>>20-8), strconv.Itoa(limit*11/10>>20) // a program of Go takes some itself
			most, stop := sampled(t, func() int64 { return sandbox.Weigh(enginetest.Tokened(t, word)).Memory })
			err := s.Run(t.Context(), []engine.Task{{ID: 1, Args: []string{"take", less, word}}, {ID: 2, Args: []string{"grow", word}}, {ID: 3, Args: []string{"take", more, word}}}, l)
			close(stop)
			peak := <-most
			if err != nil || l.Of[1].End != engine.Exited || l.Of[2].End != engine.MemoryFull {
				t.Errorf("%v, %s %s, %s", err, l.Of[1].End, l.Of[1].Message, l.Of[2].End)
			}
			t.Logf("%s of %s at most, seen from outside", engine.Bytes(peak), engine.Bytes(limit))
			if held && (peak > limit*11/10 || l.Of[3].End != engine.MemoryFull) || peak < limit*8/10 {
				t.Errorf("%s of %s, and a tenth more ended with %s", engine.Bytes(peak), engine.Bytes(limit), l.Of[3].End)
			}
		})
	}
}

// TestLimitOfDisk does the same for files. A single file is held to its limit by the kernel; many are counted by the watch-dog some fifty times a second.
func TestLimitOfDisk(t *testing.T) {
	const limit = 512 << 20
	for name, cfg := range modes {
		t.Run(name, func(t *testing.T) {
			s, dir, word := guestBox(t, cfg, engine.Limits{Memory: 1 << 30, Disk: limit, Time: enginetest.Patience(time.Minute)})
			for id, row := range []struct {
				act  []string
				full bool
			}{{[]string{"store", strconv.Itoa(limit * 9 / 10 >> 20)}, false}, {[]string{"store", strconv.Itoa(limit * 3 >> 20)}, true}, {[]string{"fill", "/out/x"}, true}} {
				peak := int64(0)
				for attempt := range 3 { // a machine that does much else may be late once
					l, task := enginetest.NewLedger(), uint64(10*attempt+id)
					most, stop := sampled(t, func() int64 { return taken(dir) })
					err := s.Run(t.Context(), []engine.Task{{ID: task, Args: append(row.act, word), Outputs: []string{"/out"}}}, l)
					close(stop)
					peak = <-most
					if o := l.Of[task]; err != nil || (o.End == engine.DiskFull) != row.full || !row.full && (o.End != engine.Exited || o.Exit != 0) {
						t.Errorf("%v: %v, %s %d %s", row.act, err, o.End, o.Exit, o.Message)
					}
					t.Logf("%v: %s of %s at most, seen from outside", row.act, engine.Bytes(peak), engine.Bytes(limit))
					s.Release(task)
					if peak <= limit*11/10 {
						break
					}
				}
				if peak > limit*11/10 {
					t.Errorf("%v: %s of %s", row.act, engine.Bytes(peak), engine.Bytes(limit))
				}
			}
		})
	}
}

// sampled gives the most of a number that is looked at again and again until stop is closed.
func sampled(t *testing.T, look func() int64) (most <-chan int64, stop chan struct{}) {
	t.Helper()
	told, stop := make(chan int64, 1), make(chan struct{})
	go func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		peak := int64(0)
		for {
			select {
			case <-stop:
				told <- peak
				return
			case <-tick.C:
				peak = max(peak, look())
			}
		}
	}()
	return told, stop
}

// taken is what files below a folder take on the disk.
func taken(dir string) (bytes int64) {
	_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, _ error) error { // what is gone meanwhile takes nothing
		var st unix.Stat_t
		if unix.Lstat(path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG {
			bytes += 512 * st.Blocks
		}
		return nil
	})
	return bytes
}
