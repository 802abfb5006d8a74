package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"golang.org/x/sys/unix"

	"github.com/hpips/hpips/engine/cgroup"
	"github.com/hpips/hpips/engine/sandbox"
)

// slow is how long the engine may take for one answer.
const slow = time.Minute

// life is one run of a program: a container. Engines are asked for what only they can do; killing, waiting and counting are done by the kernel where the container's first process
// can be seen, which is quicker and holds when an engine is busy or gone.
type life struct {
	maker *maker
	task  sandbox.Task
	name  string
	made  bool           // the container, perhaps
	tasks sync.WaitGroup // what is asked of the engine on the side, and the streams
	conn  client.HijackedResponse
	ended chan struct{} // closed when the outputs are at their end
	code  *int          // of a program that could not be started
	why   string
	said  start // of the standard error

	mu       sync.Mutex
	doomed   bool
	begun    bool
	over     bool
	frozen   bool
	halted   bool // by signals
	doubtful bool // whether the engine has stopped it besides
	pid      int  // of the container's first process, as it is seen here; 0 is not known
	pidfd    int  // -1 none
	parent   int  // process that holds it: conmon, or Docker's shim
	holder   int  // pidfd of that; -1 none
	orphan   bool // nothing holds it any more
	group    *cgroup.Group
	used     sandbox.Sample
}

func newLife(m *maker, t sandbox.Task, name string) *life {
	return &life{maker: m, task: t, name: name, pidfd: -1, holder: -1, ended: make(chan struct{})}
}

// errDoomed is for a life that was ended before it began.
var errDoomed = errors.New("it was ended before it began")

// Ready makes the container and takes hold of its streams.
func (l *life) Ready(in, out, errs *os.File) (err error) {
	defer func() {
		if err != nil {
			for _, f := range []*os.File{in, out, errs} {
				f.Close()
			}
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), slow)
	defer cancel()
	if err := l.create(ctx); err != nil {
		return err
	}
	if l.isDoomed() {
		return errDoomed
	}
	attached, err := l.api().ContainerAttach(ctx, l.name, client.ContainerAttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
	if err != nil {
		if _, why := l.api().ContainerStart(ctx, l.name, client.ContainerStartOptions{}); why != nil {
			err = why // Podman makes it ready for who attaches, and says only to who starts it why it cannot
		}
		return l.refused(err, in, out, errs)
	}
	l.conn = attached.HijackedResponse
	if l.maker.eng.podman {
		l.see(ctx) // it is there already, and waits
	}
	l.stream(in, out, errs)
	return nil
}

func (l *life) api() *client.Client { return l.maker.eng.api }

func (l *life) isDoomed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.doomed
}

// create makes the container. An image that somebody has removed meanwhile is loaded again, once.
func (l *life) create(ctx context.Context) error {
	request, err := l.request(imageName(l.maker.key))
	if err != nil {
		return err
	}
	l.made = true
	for again := false; ; again = true {
		_, err := l.api().ContainerCreate(ctx, request)
		if err == nil {
			return nil
		}
		if again || !errdefs.IsNotFound(err) {
			return fmt.Errorf("container: %w", err)
		}
		if err := l.maker.eng.shelf.again(ctx, l.maker.key, l.maker.image); err != nil {
			return err
		}
	}
}

// refused says whether it is the image that cannot be started, as an engine's own command line would tell by an exit code: then the life goes on to its end, without a program.
func (l *life) refused(err error, files ...*os.File) error {
	code := notStarted(err)
	if code == 0 {
		return fmt.Errorf("container: %w", err)
	}
	l.code, l.why = &code, "the program of the image cannot be started: "+say(err)
	for _, f := range files {
		f.Close()
	}
	return nil
}

// notStarted is the exit code of docker run and podman run for a program that is not in the image, 127, or that cannot be executed, 126; 0 for other errors.
func notStarted(err error) int {
	text := err.Error()
	for _, mark := range []string{"executable file not found", "no such file or directory: OCI runtime attempted", "no such file or directory: unknown", "attempted to invoke a command that was not found"} {
		if strings.Contains(text, mark) {
			return 127
		}
	}
	for _, mark := range []string{"exec format error", "exec: permission denied", ": permission denied: OCI permission denied"} {
		if strings.Contains(text, mark) && strings.Contains(text, "exec") && !strings.Contains(text, "rlimit") {
			return 126
		}
	}
	return 0
}

// stream moves what the program reads and writes between the engine and its pipes.
func (l *life) stream(in, out, errs *os.File) {
	l.tasks.Go(func() {
		defer in.Close()
		_, _ = io.Copy(l.conn.Conn, in) // a program need not read its input
		_ = l.conn.CloseWrite()
	})
	l.tasks.Go(func() {
		defer close(l.ended)
		defer out.Close()
		defer errs.Close()
		_, _ = stdcopy.StdCopy(out, io.MultiWriter(errs, &l.said), l.conn.Reader) // a stream that breaks ends; whether the program had ended is asked for
	})
}

// Begin starts the program.
func (l *life) Begin() error {
	if l.code != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), slow)
	defer cancel()
	_, err := l.api().ContainerStart(ctx, l.name, client.ContainerStartOptions{})
	if err != nil && !l.isDoomed() {
		return l.refused(err)
	}
	l.mu.Lock()
	l.begun = err == nil
	seen := l.pid > 0
	l.mu.Unlock()
	if !seen {
		l.see(ctx)
	}
	if l.isDoomed() {
		l.Kill()
	}
	return nil
}

// see takes hold of the container's first process, where it is one of this machine as it is seen here.
func (l *life) see(ctx context.Context) {
	got, err := l.api().ContainerInspect(ctx, l.name, client.ContainerInspectOptions{})
	if err != nil || got.Container.State == nil || got.Container.State.Pid <= 0 {
		return
	}
	pid := got.Container.State.Pid
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	if !isOf(pid, got.Container.ID) || unix.PidfdSendSignal(fd, 0, nil, 0) != nil {
		unix.Close(fd) // it is another process, or one that is not ours to end
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pid, l.pidfd = pid, fd
	l.maker.eng.guard.watch(pid)
	if l.maker.eng.lax {
		l.restrict()
	}
	if fields, err := stat(pid); err == nil && fields[0] != "Z" {
		l.parent, _ = strconv.Atoi(fields[1])                               // the kernel writes numbers
		if l.orphan = l.parent <= 1 || l.parent == os.Getpid(); !l.orphan { // or what held it has ended already
			if l.holder, err = unix.PidfdOpen(l.parent, 0); err != nil {
				l.holder = -1
			}
		}
	}
	if l.group, err = cgroup.Of(pid); err != nil {
		l.maker.eng.log.Debug("A container's group cannot be read", "err", err)
	}
	l.group.Weigh(l.maker.eng.cfg.Nice)
	_ = unix.Setpriority(unix.PRIO_PROCESS, pid, l.maker.eng.cfg.Nice) // a courtesy
}

// isOf says whether a process is a container's first: its control group has the container's name, or where engines make none, what holds it has it among its arguments.
func isOf(pid int, id string) bool {
	if where, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cgroup")); err == nil && strings.Contains(string(where), id) {
		return true
	}
	fields, err := stat(pid)
	if err != nil {
		return false
	}
	line, err := os.ReadFile(filepath.Join("/proc", fields[1], "cmdline"))
	return err == nil && strings.Contains(string(line), id)
}

// Kill ends the container: the kernel ends all of its namespace with its first process. One that is frozen dies when it is not any more, as frozen groups of version 1 hear nothing.
func (l *life) Kill() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.doomed = true
	if l.over {
		return
	}
	if l.pidfd >= 0 {
		_ = unix.PidfdSendSignal(l.pidfd, unix.SIGKILL, nil, 0) // it may be gone
	}
	if l.frozen || l.doubtful {
		l.frozen, l.doubtful = false, false
		l.ask(l.thaw)
	}
	if l.pidfd < 0 && l.begun {
		l.ask(func(ctx context.Context) error {
			_, err := l.api().ContainerKill(ctx, l.name, client.ContainerKillOptions{Signal: "KILL"})
			return err
		})
	}
}

// thaws is how often an engine is asked to let go on what was killed while it was frozen, and thawing the pause before the second time, which doubles.
const (
	thaws   = 7
	thawing = 20 * time.Millisecond
)

// thaw has the engine let the container go on, so that it hears that it was killed. One that refuses is asked again, as long as the container's first process is there: a group of
// version 1 that stays frozen would keep it for ever.
func (l *life) thaw(ctx context.Context) (err error) {
	for n, wait := 0, thawing; n < thaws; n, wait = n+1, 2*wait {
		_, e := l.api().ContainerUnpause(ctx, l.name, client.ContainerUnpauseOptions{})
		switch {
		case e == nil || errdefs.IsNotFound(e) || l.dies(wait):
			return nil
		case ctx.Err() != nil:
			return e
		}
		err = e
	}
	return fmt.Errorf("after %d times: %w", thaws, err)
}

// dies says whether the container's first process ends within a time. One that cannot be seen is not known to.
func (l *life) dies(within time.Duration) bool {
	l.mu.Lock()
	fd := l.pidfd
	l.mu.Unlock()
	if fd < 0 {
		time.Sleep(within)
		return false
	}
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(within/time.Millisecond))
	return err == nil && n > 0
}

// ask asks the engine for something on the side, which may be in vain.
func (l *life) ask(what func(ctx context.Context) error) {
	l.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), slow)
		defer cancel()
		if err := what(ctx); err != nil {
			l.maker.eng.log.Debug("The engine refuses", "container", l.name, "err", err)
		}
	})
}

// Wait waits until the container has ended.
func (l *life) Wait() sandbox.Death {
	if l.code != nil {
		l.finish(0)
		return sandbox.Death{Begun: true, Exit: l.code, Why: l.why}
	}
	l.mu.Lock()
	fd, holder, begun := l.pidfd, l.holder, l.begun
	l.mu.Unlock()
	d := sandbox.Death{Begun: begun}
	patience := sandbox.Patience
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	switch {
	case fd >= 0:
		if !gone(fd, holder) {
			d.Why = unheld
			_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) // it may be gone
			sandbox.Gone(fd)
		}
		l.count(&d)
	case begun:
		w := l.api().ContainerWait(ctx, l.name, client.ContainerWaitOptions{Condition: container.WaitConditionNotRunning})
		select {
		case <-w.Result:
		case err := <-w.Error:
			d.Why = say(err)
		}
	}
	l.mu.Lock()
	l.over = true
	doomed := l.doomed
	if l.pid > 0 {
		l.maker.eng.guard.forget(l.pid)
	}
	l.mu.Unlock()
	switch {
	case !begun:
		patience = 0
	case doomed:
		patience = sandbox.Patience / 400 // why it ended is known, and who ended it waits
	case d.Why == "":
		l.inspect(ctx, &d)
	}
	if l.orphan && d.Exit != nil && *d.Exit == 128+int(unix.SIGKILL) && !d.Starved {
		d.Exit, d.Why = nil, unheld // an engine ends what nothing holds any more, and takes that for its end
	}
	l.finish(patience)
	if code, why := l.said.unstarted(); code > 0 && d.Exit != nil && (*d.Exit == 1 || *d.Exit == code) && l.maker.eng.init {
		d.Exit, d.Why = &code, why
	}
	return d
}

// start is the beginning of a text.
type start []byte

// Write keeps it.
func (s *start) Write(p []byte) (int, error) {
	*s = append(*s, p[:min(len(p), 256-len(*s))]...)
	return len(p), nil
}

// unstarted is the exit code of docker run for a program that the container's first process, catatonit or tini, could not start, which that says.
func (s start) unstarted() (code int, why string) {
	line, _, _ := strings.Cut(string(s), "\n")
	for _, first := range []struct{ name, before string }{{"ERROR (catatonit:", "failed to exec pid1: "}, {"[FATAL tini (", " failed: "}} {
		_, what, ok := strings.Cut(line, first.before)
		switch {
		case !ok || !strings.HasPrefix(line, first.name):
			continue
		case strings.HasPrefix(what, "No such file"):
			code = 127
		default:
			code = 126
		}
		return code, "the program of the image cannot be started: " + what
	}
	return 0, ""
}

// unheld is why nobody knows how a container ended.
const unheld = "what held its container is gone"

// gone waits for the end of a process or of its holder, which tells how it ended, and says whether the process has ended.
func gone(fd, holder int) bool {
	wait := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(holder), Events: unix.POLLIN}} // below 0 is not looked at
	for {
		n, err := unix.Poll(wait, -1)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil || n > 0:
			return err != nil || wait[0].Revents != 0
		}
	}
}

// count reads what the container used. Its processes are gone, its group stays until the engine has noticed.
func (l *life) count(d *sandbox.Death) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sample()
	d.CPU, d.Memory = l.used.CPU, l.used.Memory
	d.Starved = l.group.Starved()
}

// sample takes the numbers of the container's group. Needs l.mu.
func (l *life) sample() {
	if cpu, ok := l.group.CPU(); ok {
		l.used.CPU = max(l.used.CPU, cpu)
	}
	if memory, ok := l.group.Memory(); ok {
		l.used.Memory = max(l.used.Memory, memory)
	}
}

// inspect asks how the container ended, which the engine may take a moment to know.
func (l *life) inspect(ctx context.Context, d *sandbox.Death) {
	ctx, cancel := context.WithTimeout(ctx, sandbox.Patience)
	defer cancel()
	for wait := 2 * time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		got, err := l.api().ContainerInspect(ctx, l.name, client.ContainerInspectOptions{})
		if errdefs.IsNotFound(err) {
			d.Why = "the engine has its container no more"
			return
		} else if err != nil && !(strings.Contains(err.Error(), "no such process") && ctx.Err() == nil) { // which Podman says of one that ends while it looks
			d.Why = "the engine does not tell how its container ended: " + say(err)
			return
		}
		switch s := got.Container.State; {
		case err != nil || s == nil || s.Running || s.Paused || s.Status == container.StateCreated || s.Status == container.StateRunning:
		default:
			d.Exit, d.Starved = &s.ExitCode, d.Starved || s.OOMKilled
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// finish lets go of the streams. What a program wrote is there soon once the container has ended; an engine that does not say so is not waited for.
func (l *life) finish(patience time.Duration) {
	if l.conn.Conn == nil {
		return
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-l.ended:
	case <-late.C:
	}
	l.conn.Close()
	<-l.ended
}

// Freeze has the engine stop the container's processes, or does so itself by signals where it cannot.
func (l *life) Freeze(on bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over || l.doomed || l.code != nil || on == (l.frozen || l.halted) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), sandbox.Patience)
	defer cancel()
	var err error
	switch {
	case l.halted:
		l.halted = false
		if l.doubtful {
			l.doubtful = false
			_, _ = l.api().ContainerUnpause(ctx, l.name, client.ContainerUnpauseOptions{}) // it may not be paused
		}
		return sandbox.Halt(l.pid, false)
	case on:
		_, err = l.api().ContainerPause(ctx, l.name, client.ContainerPauseOptions{})
	default:
		_, err = l.api().ContainerUnpause(ctx, l.name, client.ContainerUnpauseOptions{})
	}
	if err == nil {
		l.frozen = on
		return nil
	}
	if on && l.pidfd >= 0 {
		l.halted, l.doubtful = true, true // the engine may do yet what it did not answer for
		return sandbox.Halt(l.pid, true)
	}
	return fmt.Errorf("pause: %w", err)
}

// Look tells what files the container has that no walk finds, and notes what it has used. Where its group holds no limits, it is weighed and counted here.
func (l *life) Look() sandbox.Sample {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pid == 0 || l.over {
		return sandbox.Sample{}
	}
	l.sample()
	e := l.maker.eng
	all := sandbox.Family(l.pid, e.cfg.Processes+1)
	var s sandbox.Sample
	if !e.limited {
		if len(all) > e.cfg.Processes+1 {
			s.Excess = fmt.Sprintf("it made more than the %d processes that a task may have at once", e.cfg.Processes)
			return s
		}
		s = sandbox.Weigh(all)
	}
	s.Hidden = sandbox.Hidden(all, l.task.Dir)
	return s
}

// Clean removes the container.
func (l *life) Clean() error {
	l.tasks.Wait()
	if !l.made {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), slow)
	defer cancel()
	err := l.maker.eng.remove(ctx, l.name)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.holder >= 0 && isChild(l.parent) {
		sandbox.Gone(l.holder)
	}
	orphans()
	for _, fd := range []int{l.pidfd, l.holder} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	l.pidfd, l.holder = -1, -1
	return err
}

// remove removes a container. An engine may refuse for the moment in which the container ends by itself.
func (e *Engine) remove(ctx context.Context, name string) error {
	until := time.Now().Add(sandbox.Patience)
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		_, err := e.api.ContainerRemove(ctx, name, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		if err == nil || errdefs.IsNotFound(err) {
			return nil
		}
		if time.Now().After(until) || ctx.Err() != nil {
			return fmt.Errorf("container %s: %w", name, err)
		}
		time.Sleep(wait)
	}
}
