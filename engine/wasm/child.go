package wasm

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"

	"github.com/hpips/hpips/engine"
)

// Child is the whole life of a child process: it reads its setup from standard input, gives up its rights, loads or compiles one
// module, and runs tasks until standard input closes. It returns the process's exit code. The hidden sub-command that
// Config.Command names calls it and nothing else.
func Child() int {
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(reserve / 4)
	code, err := newCoder()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	c := &child{coder: code, in: orders(), out: newOutbox(code, os.Stdout), inlets: map[uint64]*inlet{}, drop: map[uint64]bool{}}
	c.cond = sync.NewCond(&c.mu)
	if err := c.serve(); err != nil {
		if !errors.Is(err, errFault) {
			fmt.Fprintln(os.Stderr, err)
		}
		return 1
	}
	return 0
}

// child is the process's state: what was ordered and what is said back.
type child struct {
	coder   *coder
	in      io.Reader
	out     *outbox
	watched bool // states may be asked for

	mu     sync.Mutex
	cond   *sync.Cond
	queue  []taskOrder
	inlets map[uint64]*inlet // of tasks whose input grows
	drop   map[uint64]bool
}

func (c *child) serve() error {
	var first order
	if err := c.coder.read(c.in, maxOrder, &first); err != nil {
		return err
	}
	set := first.Setup
	if set == nil {
		return errors.New("first order has no setup")
	}
	checks := confine(set.reach())
	switch set.Mode {
	case modeProbe:
		checks = append(checks, jit(), Check{Name: "memory reserve", OK: true, Detail: engine.Bytes(reserve) + " beyond a program's own limit"})
		return c.out.send(report{Ready: &ready{Checks: append(checks, probe()...)}})
	case modeCompile:
		debug.SetGCPercent(100)
		info, f := compile(set)
		if f != nil {
			return errors.Join(errFault, c.out.send(report{Fault: f}))
		}
		return c.out.send(report{Ready: &ready{Checks: checks, Module: info}})
	case modeRun:
		c.watched = set.Watched
		return c.work(set, checks)
	}
	return fmt.Errorf("unknown mode %q", set.Mode)
}

// reach is what a child of this setup may touch.
func (s *setup) reach() reach {
	r := reach{read: s.Read, nice: s.Nice, memory: reserve}
	if info, err := os.Stat(s.Module); err == nil {
		r.memory += perModule * info.Size()
	}
	switch s.Mode {
	case modeCompile:
		r.write, r.memory, r.file, r.seconds = s.Cache, 4<<30, 1<<30, 600
	case modeRun:
		r.write, r.memory, r.file = s.Dir, r.memory+s.Limits.Memory, max(s.Limits.Output, s.Limits.Disk)+pageSize
	}
	return r
}

// jit says whether programs are compiled to machine code here.
func jit() Check {
	name := runtime.GOOS + "/" + runtime.GOARCH
	switch runtime.GOARCH {
	case "amd64", "arm64":
		return Check{Name: "compiler", OK: true, Detail: engineVersion + " for " + name}
	}
	return Check{Name: "compiler", Detail: "no compiler for " + name + ": programs are interpreted, about a hundred times slower"}
}

// work runs tasks until the node closes the pipe.
func (c *child) work(set *setup, checks []Check) error {
	runtime.LockOSThread() // so that the thread's processor time is the task's
	r, err := newRunner(set, c.out)
	if err != nil {
		return errors.Join(errFault, c.out.send(report{Fault: &fault{Message: clip(err.Error())}}))
	}
	if err := c.out.send(report{Ready: &ready{Checks: checks}}); err != nil {
		return err
	}
	go c.hear()
	gc := newSweeper()
	for {
		t, in, dropped := c.next()
		var o *outcome
		if dropped {
			o = &outcome{ID: t.ID, End: engine.Cancelled, Exit: -1}
		} else {
			c.out.start()
			o = r.run(&t, in)
		}
		if err := c.out.done(o, c.forget(t.ID)); err != nil {
			return err
		}
		gc.between()
	}
}

// hear takes orders until the pipe closes, and then ends the process: nothing it does is of use to anyone any more.
func (c *child) hear() {
	for {
		var o order
		err := c.coder.read(c.in, maxOrder, &o)
		switch {
		case err == io.EOF:
			os.Exit(0)
		case err != nil:
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		for _, t := range o.Tasks {
			if err := wellPointed(t.Points, c.watched); err != nil {
				fmt.Fprintln(os.Stderr, "task", t.ID, err)
				os.Exit(1)
			}
		}
		c.take(o)
	}
}

func (c *child) take(o order) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range o.Tasks {
		if t.Open {
			c.inlets[t.ID] = newInlet()
		}
	}
	c.queue = append(c.queue, o.Tasks...)
	for _, f := range o.Feeds {
		if in := c.inlets[f.ID]; in != nil {
			in.feed(f.Size, f.EOF)
		}
	}
	for _, id := range o.Drop {
		c.drop[id] = true
	}
	c.cond.Broadcast()
}

// next waits for a task, and says whether it was dropped meanwhile.
func (c *child) next() (t taskOrder, in *inlet, dropped bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.queue) == 0 {
		c.cond.Wait()
	}
	t, c.queue = c.queue[0], c.queue[1:]
	return t, c.inlets[t.ID], c.drop[t.ID]
}

// forget ends what is kept for a task, and says whether no other is waiting.
func (c *child) forget(id uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.inlets, id)
	delete(c.drop, id)
	return len(c.queue) == 0
}

// sweeper collects garbage between tasks only: compiled code has no safe points, so that a collection begun while a program computes
// would stop every other goroutine until it ends.
type sweeper struct {
	samples []metrics.Sample
	tasks   int
}

const (
	sweepEvery = 32       // tasks between two looks at the heap
	sweepAt    = 24 << 20 // bytes of garbage worth a collection
)

func newSweeper() *sweeper {
	return &sweeper{samples: []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}}
}

func (s *sweeper) between() {
	if s.tasks++; s.tasks < sweepEvery {
		return
	}
	s.tasks = 0
	metrics.Read(s.samples)
	if s.samples[0].Value.Uint64() > sweepAt {
		runtime.GC()
	}
}
