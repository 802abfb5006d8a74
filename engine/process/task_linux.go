package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/spec/job"
)

// task is one run of a program: bwrap, which stays outside, the first process of the namespace that it makes, and the program below that.
type task struct {
	engine.Task
	s       *sandbox
	dir     string // on the host: outputs, the program's /tmp and /dev/shm, its standard output
	chunks  chan chunk
	deaf    chan struct{} // closed when nobody hears chunks any more
	done    chan struct{} // closed when outcome and failed may be read
	outcome engine.Outcome
	failed  error

	cmd    *exec.Cmd
	gate   *os.File // a byte for it lets the program start
	hinge  *os.File // where that byte is as long as bwrap has not taken it
	status *os.File // what bwrap tells
	out    capture
	err    capture
	budget budget
	pipes  sync.WaitGroup // that are being read
	exit   *int           // told by bwrap

	used    usage          // as the group counts, or, where none does, the watch-dog
	starved bool           // the kernel has killed for want of memory
	lively  sync.WaitGroup // watch-dog, standard input

	// Under s.mu.
	over     bool
	killed   engine.End
	why      string
	init     int // process number of the namespace's first process
	pidfd    int // of it; -1 none
	group    *group
	released bool
	overdue  bool // bwrap will be killed if nothing comes of it
	started  time.Time
	before   time.Duration // for which the sandbox had been paused when it started
}

// usage is what a task's processes took, as far as the watch-dog saw it.
type usage struct {
	cpu    time.Duration
	memory int64
}

func (t *task) file(name string) string { return filepath.Join(t.dir, name) }

// folder is where an output lies.
func (t *task) folder(n int) string { return t.file("out" + strconv.Itoa(n)) }
func (t *task) tmp() string         { return t.file("tmp") }
func (t *task) shm() string         { return t.file("shm") }

// folders are those that the program may write.
func (t *task) folders() []string {
	dirs := []string{t.tmp(), t.shm()}
	for n := range t.Outputs {
		dirs = append(dirs, t.folder(n))
	}
	return dirs
}

// run carries the task to its outcome. bwrap dies with the thread that started it (prctl(2), PR_SET_PDEATHSIG), so this one is kept to the end; it has given up rights for it, so
// it ends with the task.
func (t *task) run() {
	runtime.LockOSThread()
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
	for _, m := range append(append([]engine.Mount(nil), t.s.prog.Mounts...), t.Mounts...) {
		if !job.Free(m.Guest) {
			return fmt.Errorf("mount %s: %w", m.Guest, errReserved)
		}
		if _, err := os.Stat(m.Host); err != nil {
			return fmt.Errorf("mount %s: %w", m.Guest, cause(err))
		}
	}
	if err := t.present(); err != nil {
		return err
	}
	for _, guest := range t.Outputs {
		if !job.Free(guest) {
			return fmt.Errorf("output %s: %w", guest, errReserved)
		}
	}
	for _, dir := range t.folders() {
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

// live starts bwrap, lets the program go when its limits stand, and waits until nothing is left of either.
func (t *task) live() engine.Outcome {
	stdin, err := t.input()
	if err != nil {
		return ended(t.ID, engine.Broken, "standard input: "+cause(err).Error())
	}
	if err := t.start(stdin); err != nil {
		t.failed = fmt.Errorf("sandbox: %w", err)
		return ended(t.ID, engine.Broken, t.failed.Error())
	}
	told := t.listen()
	child, ok := <-told
	if ok {
		if err := t.govern(child); err != nil {
			t.s.mu.Lock()
			t.why = "its limits cannot be set: " + err.Error()
			t.kill(engine.Broken)
			t.s.mu.Unlock()
		}
		t.release()
	}
	stop := make(chan struct{})
	t.lively.Go(func() { t.watch(stop) })
	waited := t.cmd.Wait()
	t.bury()
	t.gate.Close()
	close(stop)
	for range told { // its last word
	}
	t.lively.Wait()
	t.pipes.Wait()
	close(t.deaf)
	return t.verdict(waited)
}

// input opens the standard input: the end that the program reads.
func (t *task) input() (*os.File, error) {
	if t.Stdin == "" {
		return os.Open(os.DevNull)
	}
	from, err := os.Open(t.Stdin)
	if err != nil {
		return nil, err
	}
	if info, err := from.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(errors.New("it is no file"), from.Close())
	}
	// The program could open what it has as /proc/self/fd/0 anew, for writing: it gets a pipe.
	r, w, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, from.Close())
	}
	t.lively.Go(func() { t.feed(from, w) })
	return r, nil
}

// start starts bwrap, which waits for release before it starts the program.
func (t *task) start(stdin *os.File) (err error) {
	var mine, theirs []*os.File
	defer func() {
		stdin.Close()
		for _, f := range theirs {
			f.Close()
		}
		if err != nil {
			for _, f := range mine {
				f.Close()
			}
		}
	}()
	pipe := func() (r, w *os.File) {
		var e error
		if r, w, e = os.Pipe(); e != nil {
			err = errors.Join(err, e)
			return nil, nil
		}
		return r, w
	}
	outR, outW := pipe()
	errR, errW := pipe()
	statusR, statusW := pipe()
	gateR, gateW := pipe()
	mine, theirs = []*os.File{outR, errR, statusR, gateW, gateR}, []*os.File{outW, errW, statusW}
	if err != nil {
		return err
	}
	// bwrap takes the end of a pipe for a byte, and the pipe would end with this process: what it waits at is both ends at once, and never ends.
	wait, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", gateR.Fd()), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	theirs = append(theirs, wait)
	x := &extras{}
	hidden, command, err := t.words(x)
	defer func() {
		for _, f := range x.files {
			if f != statusW && f != wait {
				f.Close()
			}
		}
	}()
	if err != nil {
		return err
	}
	hidden = append(hidden, "--json-status-fd", x.pass(statusW), "--block-fd", x.pass(wait))
	all, err := joined(hidden)
	if err != nil {
		return err
	}
	number, err := x.content(all)
	if err != nil {
		return err
	}
	cmd := exec.Command(t.s.eng.bwrap, append([]string{"--args", number, "--"}, command...)...)
	cmd.Env, cmd.Dir = []string{"LC_ALL=C"}, "/"
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = stdin, outW, errW, x.files
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if t.s.eng.scopes {
		if err := scope(); err != nil {
			return err
		}
	}
	if err := t.begin(cmd); err != nil {
		return err
	}
	t.status, t.gate, t.hinge = statusR, gateW, gateR
	t.capture(outR, errR)
	return nil
}

// begin starts the command, unless the task was ended meanwhile.
func (t *task) begin(cmd *exec.Cmd) error {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", Package, err)
	}
	t.cmd, t.s.current = cmd, t
	if t.s.closed || t.s.cancelled[t.ID] {
		t.kill(engine.Cancelled)
	}
	return nil
}

// capture reads what the program writes.
func (t *task) capture(out, errs *os.File) {
	t.budget.left = t.s.prog.Limits.Output
	var stream func(chunk) bool
	if t.Stream {
		stream = func(c chunk) bool {
			select {
			case t.chunks <- c:
				return true
			case <-t.deaf:
				return false
			}
		}
	}
	t.out, t.err = capture{fd: 1, path: t.file("stdout")}, capture{fd: 2}
	for c, from := range map[*capture]*os.File{&t.out: out, &t.err: errs} {
		t.pipes.Go(func() {
			defer from.Close()
			full := func() { t.s.slay(t, engine.OutputFull) }
			if err := c.follow(from, &t.budget, stream, full); err != nil {
				t.s.mu.Lock()
				defer t.s.mu.Unlock()
				t.why = "output cannot be kept: " + cause(err).Error()
				t.kill(engine.Broken)
			}
		})
	}
}

// listen reads what bwrap tells: the number of the namespace's first process, then how the program ended. The channel is closed when it has told all.
func (t *task) listen() <-chan int {
	told := make(chan int, 1)
	go func() {
		defer close(told)
		defer t.status.Close()
		for dec := json.NewDecoder(io.LimitReader(t.status, 64<<10)); ; {
			var s struct {
				Child int  `json:"child-pid"`
				Exit  *int `json:"exit-code"`
			}
			if dec.Decode(&s) != nil {
				return
			}
			if s.Child > 0 {
				select {
				case told <- s.Child:
				default:
				}
			}
			if s.Exit != nil {
				t.exit = s.Exit
			}
		}
	}()
	return told
}

// kill ends the task for a reason; only the first counts. Needs s.mu. The namespace's first process dies with bwrap only once it has let the program go: until it is known, which
// is soon, nothing is killed, for it would stay. release kills it then.
func (t *task) kill(end engine.End) {
	if t.killed == "" {
		t.killed = end
	}
	switch {
	case t.over:
	case t.pidfd >= 0: // with it goes all of its namespace
		_ = unix.PidfdSendSignal(t.pidfd, unix.SIGKILL, nil, 0) // it may be gone
	case t.cmd != nil && !t.overdue:
		t.overdue = true
		time.AfterFunc(patient, func() { _ = t.cmd.Process.Kill() }) // it has long ended
	}
}

// release lets the program start: its limits stand.
func (t *task) release() {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	if t.killed != "" {
		t.kill(t.killed)
		return
	}
	t.started, t.before, t.released = time.Now(), t.s.heldFor(), true
	if t.s.paused {
		if err := t.freeze(true); err != nil {
			t.why = err.Error()
			t.kill(engine.Broken)
			return
		}
	}
	_, _ = t.gate.Write([]byte{1}) // bwrap may be gone
}

// bury waits until no process of the task is left, and takes its group away. bwrap has ended.
func (t *task) bury() {
	t.s.mu.Lock()
	fd := t.pidfd
	t.s.mu.Unlock()
	if fd >= 0 {
		_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) // it may be gone
		gone := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		for until := time.Now().Add(patient); time.Now().Before(until); {
			if n, err := unix.Poll(gone, int(patient/time.Millisecond)); n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
				break
			}
		}
		unix.Close(fd)
	}
	t.s.mu.Lock()
	t.pidfd, t.over, t.s.current = -1, true, nil
	t.s.cond.Broadcast()
	group := t.group
	t.s.mu.Unlock()
	if fd >= 0 {
		t.reap()
	}
	if cpu, ok := group.cpu(); ok {
		t.used.cpu = cpu
	}
	if memory, ok := group.memory(); ok {
		t.used.memory = memory
	}
	t.starved = group.starved()
	t.s.cleaning.Go(func() { // the kernel takes its time
		if err := group.remove(); err != nil {
			t.s.eng.log.Warn("A control group is left", "task", t.ID, "err", err)
		}
	})
}

// reap takes the namespace's first process from the list of processes, and with it what it and all that came of it used. Its parent, bwrap, has not waited for it; this
// process has made itself the parent of whom such ones leave (New).
func (t *task) reap() {
	var used unix.Rusage
	for {
		_, err := unix.Wait4(t.init, nil, 0, &used)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err == nil {
			t.used.cpu = time.Duration(used.Utime.Nano() + used.Stime.Nano())
		}
		return
	}
}
