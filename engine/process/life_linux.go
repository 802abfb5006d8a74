package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hpips/hpips/engine/cgroup"
	"github.com/hpips/hpips/engine/sandbox"
)

// life is one run of a program: bwrap, which stays outside, the first process of the namespace that it makes, and the program below that.
type life struct {
	maker  *maker
	task   sandbox.Task
	cmd    *exec.Cmd
	gate   *os.File   // a byte for it lets the program start
	hinge  *os.File   // where that byte is as long as bwrap has not taken it
	told   <-chan int // the first process's number; closed when bwrap has told all
	exit   *int       // told by bwrap
	opened bool       // the gate
	group  *cgroup.Group
	way    *way // out; nil: there is none

	mu      sync.Mutex
	started bool // bwrap is
	init    int  // process number of the namespace's first process
	pidfd   int  // of it; -1 none
	over    bool
	overdue bool // bwrap will be killed if nothing comes of it
}

// Ready starts bwrap and puts the first process of its namespace under the task's limits. bwrap dies with the thread that started it (prctl(2), PR_SET_PDEATHSIG), so this one is
// kept to the end; it has given up rights for it, so it ends with the task.
func (l *life) Ready(in, out, errs *os.File) error {
	runtime.LockOSThread()
	if err := l.start(in, out, errs); err != nil {
		return err
	}
	if child, ok := <-l.told; ok {
		if err := l.govern(child); err != nil {
			l.Kill()
			l.Wait()
			return fmt.Errorf("its limits cannot be set: %w", err)
		}
		if err := l.open(child); err != nil {
			l.Kill()
			l.Wait()
			return err
		}
	}
	return nil
}

// start starts bwrap, which waits for Begin before it starts the program.
func (l *life) start(in, out, errs *os.File) (err error) {
	var mine []*os.File
	theirs := []*os.File{in, out, errs}
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
		if err != nil {
			for _, f := range mine {
				f.Close()
			}
		}
	}()
	statusR, statusW, err := os.Pipe()
	if err != nil {
		return err
	}
	mine, theirs = append(mine, statusR), append(theirs, statusW)
	gateR, gateW, err := os.Pipe()
	if err != nil {
		return err
	}
	mine = append(mine, gateR, gateW)
	// bwrap takes the end of a pipe for a byte, and the pipe would end with this process: what it waits at is both ends at once, and never ends.
	wait, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", gateR.Fd()), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	theirs = append(theirs, wait)
	x := &extras{}
	defer func() {
		for _, f := range x.files {
			if f != statusW && f != wait {
				f.Close()
			}
		}
	}()
	cmd, err := l.command(x, statusW, wait)
	if err != nil {
		return err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, errs
	if l.maker.eng.scopes {
		if err := scope(); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", Package, err)
	}
	l.cmd, l.gate, l.hinge, l.started = cmd, gateW, gateR, true
	l.listen(statusR)
	return nil
}

// command is bwrap's. It tells to status and waits at wait.
func (l *life) command(x *extras, status, wait *os.File) (*exec.Cmd, error) {
	hidden, command, err := l.words(x)
	if err != nil {
		return nil, err
	}
	hidden = append(hidden, "--json-status-fd", x.pass(status), "--block-fd", x.pass(wait))
	all, err := joined(hidden)
	if err != nil {
		return nil, err
	}
	number, err := x.content(all)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(l.maker.eng.bwrap, append([]string{"--args", number, "--"}, command...)...)
	cmd.Env, cmd.Dir, cmd.ExtraFiles = []string{"LC_ALL=C"}, "/", x.files
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd, nil
}

// listen reads what bwrap tells: the number of the namespace's first process, then how the program ended.
func (l *life) listen(status *os.File) {
	told := make(chan int, 1)
	l.told = told
	go func() {
		defer close(told)
		defer status.Close()
		for dec := json.NewDecoder(io.LimitReader(status, 64<<10)); ; {
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
				l.exit = s.Exit
			}
		}
	}()
}

// Begin lets the program start: its limits stand.
func (l *life) Begin() error {
	if l.init > 0 {
		l.opened = true
		_, _ = l.gate.Write([]byte{1}) // bwrap may be gone
	}
	return nil
}

// Kill ends the program. The namespace's first process dies with bwrap only once it has let the program go: until it is known, which is soon, nothing is killed, for it
// would stay. Who killed before kills again then.
func (l *life) Kill() {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.over:
	case l.pidfd >= 0: // with it goes all of its namespace
		_ = unix.PidfdSendSignal(l.pidfd, unix.SIGKILL, nil, 0) // it may be gone
	case l.started && !l.overdue:
		l.overdue = true
		time.AfterFunc(sandbox.Patience, func() { _ = l.cmd.Process.Kill() }) // it has long ended
	}
}

// Wait waits until nothing is left of bwrap and of its namespace.
func (l *life) Wait() sandbox.Death {
	waited := l.cmd.Wait()
	d := l.bury()
	l.gate.Close()
	for range l.told { // its last word
	}
	d.Exit, d.Begun, d.Why = l.exit, l.hinged(), ""
	if d.Exit == nil {
		d.Why = "it ended by itself"
		if waited != nil {
			d.Why = waited.Error()
		}
	}
	return d
}

// hinged says whether bwrap took the byte that lets the program start: the sandbox stood then.
func (l *life) hinged() bool {
	defer l.hinge.Close()
	n, _ := l.hinge.Read(make([]byte, 1)) // its other end is shut
	return n == 0 && l.opened
}

// bury waits until no process of the task is left, and tells what they used. bwrap has ended.
func (l *life) bury() (d sandbox.Death) {
	l.mu.Lock()
	fd := l.pidfd
	l.mu.Unlock()
	if fd >= 0 {
		_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) // it may be gone
		sandbox.Gone(fd)
	}
	l.mu.Lock()
	l.pidfd, l.over = -1, true
	l.mu.Unlock()
	if fd >= 0 {
		unix.Close(fd)
		d.CPU = l.reap()
	}
	if cpu, ok := l.group.CPU(); ok {
		d.CPU = cpu
	}
	d.Memory, _ = l.group.Memory()
	d.Starved = l.group.Starved()
	return d
}

// reap takes the namespace's first process from the list of processes, and with it what it and all that came of it used. Its parent, bwrap, has not waited for it; this
// process has made itself the parent of whom such ones leave (New).
func (l *life) reap() time.Duration {
	var used unix.Rusage
	for {
		_, err := unix.Wait4(l.init, nil, 0, &used)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0
		}
		return time.Duration(used.Utime.Nano() + used.Stime.Nano())
	}
}

// Clean takes the control group away. The kernel takes its time.
func (l *life) Clean() error { return errors.Join(l.way.close(), l.group.Remove()) }
