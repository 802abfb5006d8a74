package sandbox

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/capture"
)

// task is one run of a program.
type task struct {
	Task
	s       *Sandbox
	life    Life
	chunks  chan chunk
	done    chan struct{} // closed when outcome and failed may be read
	outcome engine.Outcome
	failed  error

	out    capture.Output
	err    capture.Output
	budget budget
	pipes  sync.WaitGroup // that are being read
	lively sync.WaitGroup // watch-dog, standard input
	cpu    time.Duration  // the most that was seen
	memory int64

	// Under s.mu.
	over      bool // nothing of it runs
	settled   bool // and nothing more is to be heard
	killed    engine.End
	why       string
	beginning bool
	begun     bool
	started   time.Time
	before    time.Duration // for which the sandbox had been paused when it started
}

func (s *Sandbox) newTask(k *engine.Task) *task {
	t := &task{s: s, chunks: make(chan chunk), done: make(chan struct{})}
	t.Task = Task{Task: *k, Program: &s.prog, Dir: s.taskDir(k.ID)}
	t.Tmp, t.Shm = t.file("tmp"), t.file("shm")
	for n := range k.Outputs {
		t.Out = append(t.Out, t.file("out"+strconv.Itoa(n)))
	}
	t.life = s.maker.Make(t.Task)
	return t
}

func (t *task) file(name string) string { return t.Dir + string(os.PathSeparator) + name }

// run carries the task to its outcome.
func (t *task) run() {
	defer close(t.done)
	if err := t.furnish(); err != nil {
		t.outcome = ended(t.ID, engine.Broken, err.Error())
	} else {
		t.outcome = t.live()
	}
	switch t.outcome.End {
	case engine.Broken, engine.Cancelled, engine.TimedOut:
		t.outcome.Stdout, t.outcome.Stderr, t.outcome.Outputs = engine.Blob{}, engine.Blob{}, nil
		t.s.cleaning.Go(func() { t.s.Release(t.ID) })
	}
}

// furnish makes the task's folders and looks for what it is to be shown.
func (t *task) furnish() error {
	for _, m := range t.Mounts() {
		if err := t.s.maker.Admit(m.Guest); err != nil {
			return fmt.Errorf("mount %s: %w", m.Guest, err)
		}
		if _, err := os.Stat(m.Host); err != nil {
			return fmt.Errorf("mount %s: %w", m.Guest, cause(err))
		}
	}
	if err := t.present(); err != nil {
		return err
	}
	for _, guest := range t.Outputs {
		if err := t.s.maker.Admit(guest); err != nil {
			return fmt.Errorf("output %s: %w", guest, err)
		}
	}
	for _, dir := range t.Folders() {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("folder for the task: %w", cause(err))
		}
	}
	return nil
}

// cause is an error without the host's path in it.
func cause(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// live has the life made ready, lets it begin when its limits stand, and waits until nothing is left of it.
func (t *task) live() engine.Outcome {
	stdout, stderr, err := t.capture()
	if err != nil {
		return ended(t.ID, engine.Broken, "output: "+cause(err).Error())
	}
	stdin, err := t.input()
	if err != nil {
		stdout.Close()
		stderr.Close()
		t.pipes.Wait()
		return ended(t.ID, engine.Broken, "standard input: "+cause(err).Error())
	}
	t.enter()
	if err := t.life.Ready(stdin, stdout, stderr); err != nil {
		return t.unready(err)
	}
	stop := make(chan struct{})
	t.lively.Go(func() { t.watch(stop) })
	t.lively.Go(func() { t.clock(stop) })
	failed := t.begin()
	death := t.life.Wait()
	t.leave()
	close(stop)
	t.settle()
	o := t.verdict(death)
	if failed != nil && t.killed == "" {
		t.failed = fmt.Errorf("sandbox: %w", failed)
		o.End, o.Exit, o.Message = engine.Broken, -1, t.failed.Error()
	}
	return o
}

// enter makes it the task that runs, unless it was ended meanwhile.
func (t *task) enter() {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	t.s.current = t
	if t.s.closed || t.s.cancelled[t.ID] {
		t.kill(engine.Cancelled, "cancelled")
	}
}

// leave is the end of enter. Nothing of the program runs.
func (t *task) leave() {
	t.s.mu.Lock()
	t.over, t.s.current = true, nil
	t.s.cond.Broadcast()
	t.s.mu.Unlock()
	t.s.cleaning.Go(func() {
		if err := t.life.Clean(); err != nil {
			t.s.log.Warn("Something of a task is left", "task", t.ID, "err", err)
		}
	})
}

// settle waits until all that looks after the task has ended. Why it was ended does not change any more.
func (t *task) settle() {
	t.lively.Wait()
	t.pipes.Wait()
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	t.settled = true
}

// unready is the end of a task for which no sandbox could be made.
func (t *task) unready(err error) engine.Outcome {
	t.leave()
	t.settle()
	for _, c := range []*capture.Output{&t.out, &t.err} {
		_, _, e := c.Close()
		err = errors.Join(err, e)
	}
	if t.killed == engine.Cancelled {
		return ended(t.ID, engine.Cancelled, "cancelled before it started")
	}
	t.failed = fmt.Errorf("sandbox: %w", err)
	return ended(t.ID, engine.Broken, t.failed.Error())
}

// begin lets the program begin, once the sandbox is not paused, and unless the task was ended.
func (t *task) begin() error {
	s := t.s
	s.mu.Lock()
	for s.paused && t.killed == "" {
		s.cond.Wait()
	}
	if t.killed != "" {
		defer s.mu.Unlock()
		t.life.Kill()
		return nil
	}
	t.beginning = true
	s.mu.Unlock()
	err := t.life.Begin()
	s.mu.Lock()
	defer s.mu.Unlock()
	t.beginning, t.begun = false, err == nil
	t.started, t.before = time.Now(), s.heldFor()
	s.cond.Broadcast()
	switch {
	case err != nil || t.killed != "":
		t.life.Kill()
	case s.paused:
		if err := t.life.Freeze(true); err != nil {
			t.kill(engine.Broken, err.Error())
		}
	}
	return err
}

// kill ends the task for a reason, which people are told; only the first counts. Needs s.mu.
func (t *task) kill(end engine.End, why string) {
	if t.killed == "" && !t.settled {
		t.killed, t.why = end, why
	}
	t.s.cond.Broadcast()
	if !t.over {
		t.life.Kill()
	}
}

// watch is the watch-dog: it looks at files and what the life tells until stop is closed, and takes a tenth of a processor for it at most.
func (t *task) watch(stop <-chan struct{}) {
	timer := time.NewTimer(tick)
	defer timer.Stop()
	for {
		select {
		case <-stop:
			return
		case <-timer.C:
		}
		began := time.Now()
		if _, running := t.left(); running {
			t.look()
		}
		timer.Reset(max(tick, 10*time.Since(began)))
	}
}

// clock ends the task when its time is over. It looks at nothing else, so nothing that the task does makes it late.
func (t *task) clock(stop <-chan struct{}) {
	timer := time.NewTimer(tick)
	defer timer.Stop()
	for {
		select {
		case <-stop:
			return
		case <-timer.C:
		}
		left, _ := t.left()
		timer.Reset(min(tick, max(left, time.Millisecond)))
	}
}

// left is how long the task may still run; it is ended when that is nothing. running is false while it is paused, and before it has started.
func (t *task) left() (left time.Duration, running bool) {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	limit := t.s.prog.Limits.Time
	switch {
	case !t.begun || t.over || t.s.paused:
		return tick, false
	case limit <= 0:
		return tick, true
	}
	left = limit - (time.Since(t.started) - (t.s.heldFor() - t.before))
	if left <= 0 {
		t.kill(engine.TimedOut, t.s.prog.Limits.Excess(engine.TimedOut))
	}
	return left, true
}

// look ends the task for what it has too much of.
func (t *task) look() {
	limits := t.s.prog.Limits
	now := t.life.Look()
	if now.Excess != "" {
		t.s.slay(t, engine.Trapped, "the program trapped: "+now.Excess)
		return
	}
	files, err := measure(limits.Disk, t.Folders()...)
	switch {
	case err != nil && !errors.Is(err, unix.ENOENT):
		t.s.log.Debug("Files of a task cannot be measured", "task", t.ID, "err", err) // it is measured again at its end
	case files.bytes+now.Hidden > limits.Disk || files.deep:
		t.s.slay(t, engine.DiskFull, limits.Excess(engine.DiskFull))
	}
	t.cpu, t.memory = max(t.cpu, now.CPU), max(t.memory, now.Memory)
	if now.Memory > limits.Memory {
		t.s.slay(t, engine.MemoryFull, limits.Excess(engine.MemoryFull))
	}
}

// lasted is how long the program ran, pauses left out.
func (t *task) lasted() time.Duration {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	if !t.begun {
		return 0
	}
	return time.Since(t.started) - (t.s.heldFor() - t.before)
}
