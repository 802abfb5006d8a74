package enginetest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hpips/hpips/engine"
)

// Case is one thing that a hostile program does. Whatever it is, after each it must be true that
//
//   - it ended in one of its ways, within a second of what ended it;
//   - no process of it is left, and no file once it is released;
//   - nothing of the host was read, which a secret shows, and nothing written, which a picture of its files shows;
//   - nothing of the host was reached by TCP, UDP or a local socket;
//   - what it left as its outputs is files and folders alone, of no more than its limit, without rights beyond the usual ones;
//   - a case that goes on until it is stopped gives the owner the machine back: stopped where it is, its processes take less than 1 % of a processor
//     a second later at most; ended while it is stopped, they are gone a second later at most.
type Case struct {
	Class string       // what it is after
	Act   string       // the word by which the program knows it
	Ends  []engine.End // how it may end; nil: it exits with 0 and says "done", for all that it tried was refused
	Loose []engine.End // the same where no control group counts; nil: as Ends
	Bound bool         // it is tried only where the kernel bounds the number of processes
}

// Refused is the end of a program that Open does not take.
const Refused engine.End = "refused"

// lasts tells whether the case goes on until something stops it.
func (c Case) lasts() bool {
	return slices.ContainsFunc(c.Ends, func(e engine.End) bool {
		return e == engine.TimedOut || e == engine.MemoryFull || e == engine.DiskFull || e == engine.OutputFull
	})
}

// Hold is an engine that hostile programs are let loose in.
type Hold struct {
	Engine engine.Engine
	// Program gives the program of a case. Lease, Dir, Limits, Env and Mounts are the suite's to set.
	Program func(t *testing.T, c Case) engine.Program
	// Running lists the processes of the engine's sandboxes, by number on the host; token stands among the arguments of every task.
	Running func(t *testing.T, token string) []int
	// Resident says that a sandbox has a process of its own between tasks.
	Resident bool
	// Loose says that no control group counts.
	Loose bool
	// Boundless says that not even the kernel's limit for each user bounds processes: the test runs as root, and no control group counts.
	Boundless bool
	// Own are paths of the sandbox that look like the host's and are not.
	Own []string
	// Limits of each task.
	Limits engine.Limits
}

// Marks of the suite's programs: exit codes for an act that they do not know, and for one whose stage they could not set.
const (
	unknownAct = 99
	noStage    = 98
)

// second is how soon the owner must have the machine back, and tries in how many attempts at one case: a machine that does much else may be late once.
const (
	second = time.Second
	tries  = 3
)

// Fewer gives each so many-th case.
func Fewer(all []Case, nth int) (some []Case) {
	for n, c := range all {
		if n%nth == 0 {
			some = append(some, c)
		}
	}
	return some
}

// Hostile lets the cases loose, one after the other, and holds what must be true after each.
func Hostile(t *testing.T, hold Hold, cases []Case) {
	h := newHost(t)
	h.hold, h.boxes, h.env = hold, map[string]engine.Sandbox{}, append(h.env, "OWN="+strings.Join(hold.Own, " "))
	classes := map[string]int{}
	for _, c := range cases {
		classes[c.Class]++
		t.Run(c.Class+"/"+c.Act, func(t *testing.T) { h.face(t, c) })
	}
	for _, s := range h.boxes {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	h.none(t)
	t.Logf("%d cases in %d classes; the owner had the machine back within %s at most", len(cases), len(classes), h.slowest.Round(time.Millisecond))
}

// face lets one case loose: to its end, and, if it lasts, once more until the owner comes.
func (h *host) face(t *testing.T, c Case) {
	if c.Bound && h.hold.Boundless {
		t.Skip("as root and without control groups nothing but a watch-dog bounds processes; engines refuse to run like that")
	}
	s, p, refused := h.open(t, c)
	if refused {
		return
	}
	if t.Failed() {
		return
	}
	h.toItsEnd(t, c, s, p)
	if !c.lasts() || t.Failed() {
		return
	}
	took := h.ownerComes(t, c, s)
	for n := 1; n < tries && took > Patience(second); n++ {
		took = min(took, h.ownerComes(t, c, s))
	}
	h.slowest = max(h.slowest, took)
	if took > Patience(second) {
		t.Errorf("the owner had the machine back after %s", took)
	}
}

// open gives the sandbox of the case's program, which all cases of that program share.
func (h *host) open(t *testing.T, c Case) (s engine.Sandbox, p engine.Program, refused bool) {
	t.Helper()
	p = h.hold.Program(t, c)
	p.Lease, p.Env, p.Limits = h.token+" "+p.Key, h.env, h.hold.Limits
	p.Mounts, p.Inputs = []engine.Mount{{Guest: "/in", Host: h.garden}}, h.garden
	p.Dir = filepath.Join(h.work, p.Key)
	if s = h.boxes[p.Key]; s != nil {
		return s, p, false
	}
	if err := os.MkdirAll(p.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	s, err := h.hold.Engine.Open(t.Context(), p)
	if took := time.Since(began); took > Patience(2*time.Minute) {
		t.Errorf("it was opened, or refused, after %s", took)
	}
	var bad *engine.ProgramError
	switch may := slices.Contains(c.Ends, Refused); {
	case err != nil && may && errors.As(err, &bad):
		h.untouched(t)
		return nil, p, true
	case err != nil:
		t.Fatal(err)
	case may && len(c.Ends) == 1:
		t.Error("it was opened")
	}
	h.boxes[p.Key] = s
	return s, p, false
}

func (h *host) task(c Case) engine.Task {
	h.last++
	return engine.Task{ID: h.last, Args: []string{c.Act, h.token}, Stdin: filepath.Join(h.garden, "data"), Outputs: []string{"/out"}, Stream: true}
}

// toItsEnd has a case end in its own way.
func (h *host) toItsEnd(t *testing.T, c Case, s engine.Sandbox, p engine.Program) {
	t.Helper()
	task, l := h.task(c), NewLedger()
	var begun time.Time
	l.OnChunk = func(uint64, []byte) {
		if begun.IsZero() {
			begun = time.Now()
		}
	}
	called := time.Now()
	if err := s.Run(t.Context(), []engine.Task{task}, l); err != nil {
		t.Fatal(err)
	}
	took := time.Since(called)
	if !begun.IsZero() {
		took = time.Since(begun)
	}
	o := l.Of[task.ID]
	said := string(l.Streams[fmt.Sprintf("%d/1", task.ID)]) + string(l.Streams[fmt.Sprintf("%d/2", task.ID)])
	ends := c.Ends
	if h.hold.Loose && c.Loose != nil {
		ends = c.Loose
	}
	switch {
	case o.End == engine.Exited && (o.Exit == unknownAct || o.Exit == noStage):
		t.Errorf("it could not be tried: exit %d, %s", o.Exit, brief(said))
	case ends == nil && (o.End != engine.Exited || o.Exit != 0 || !strings.Contains(said, "done")):
		t.Errorf("it ended with %s %d %q, %s", o.End, o.Exit, o.Message, brief(said))
	case ends != nil && !slices.Contains(ends, o.End):
		t.Errorf("it ended with %s %d %q after %s, want %v; %s", o.End, o.Exit, o.Message, took, ends, brief(said))
	}
	if strings.Contains(said, "escaped") || strings.Contains(said, h.secret) {
		t.Errorf("it did: %s", brief(said))
	}
	if most := p.Limits.Time + Patience(5*second); took > most {
		t.Errorf("it ended after %s: %q", took, o.Message)
	}
	h.idle(t)
	h.plain(t, o, p)
	h.untouched(t)
	s.Release(task.ID)
	if _, err := os.Lstat(filepath.Join(p.Dir, "tasks", fmt.Sprint(task.ID))); err == nil {
		t.Error("its files are still there")
	}
}

// brief cuts what a program said.
func brief(said string) string {
	if len(said) > 300 {
		said = said[:150] + " … " + said[len(said)-150:]
	}
	return fmt.Sprintf("%q", said)
}

// ownerComes stops a case in the midst of it, looks at what its processes do then, and ends it. It gives how long the owner waited at most.
func (h *host) ownerComes(t *testing.T, c Case, s engine.Sandbox) time.Duration {
	t.Helper()
	task, l := h.task(c), NewLedger()
	begun, over := make(chan struct{}), make(chan error, 1)
	told := false
	l.OnChunk = func(uint64, []byte) {
		if !told {
			told = true
			close(begun)
		}
	}
	go func() { over <- s.Run(t.Context(), []engine.Task{task}, l) }()
	select {
	case <-begun:
		select { // so that it is in the midst of it
		case <-time.After(100 * time.Millisecond):
		case err := <-over:
			over <- err
		}
	case err := <-over:
		over <- err
	}
	came := time.Now()
	if err := s.Pause(); err != nil {
		t.Fatalf("pause: %v", err)
	}
	still := h.still(t).Sub(came)
	gone := time.Now()
	s.Cancel(task.ID)
	if err := <-over; err != nil {
		t.Fatal(err)
	}
	ended := time.Since(gone)
	h.idle(t)
	h.untouched(t)
	s.Release(task.ID)
	if err := s.Resume(); err != nil {
		t.Fatalf("resume: %v", err)
	}
	return max(still, ended)
}
