package process

import (
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/hpips/hpips/engine/cgroup"
	"github.com/hpips/hpips/engine/sandbox"
)

// govern puts the namespace's first process, and with it all that comes of it, under the task's limits. It waits for Begin.
func (l *life) govern(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("pidfd_open: %w", err)
	}
	l.mu.Lock()
	l.init, l.pidfd = pid, fd
	l.mu.Unlock()
	e, limits := l.maker.eng, l.task.Program.Limits
	if l.group, err = e.groups.Make(cgroup.Bounds{Memory: limits.Memory + overhead, Processes: e.cfg.Processes, CPUs: e.cfg.CPUs, Nice: e.cfg.Nice}); err != nil {
		return err
	}
	if err := l.group.Add(pid); err != nil {
		return err
	}
	if !e.groups.Limits("cpu") {
		if err := l.pin(pid); err != nil {
			return err
		}
	}
	_ = unix.Setpriority(unix.PRIO_PROCESS, pid, e.cfg.Nice)                         // a courtesy, as is the next
	_ = os.WriteFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", []byte("1000"), 0) // when memory runs out, it goes first
	return l.restrict(pid)
}

// overhead is what bwrap's own process in the group takes, in bytes.
const overhead = 2 << 20

// restrict sets resource limits (setrlimit(2)). Those on memory and processes stand in where no group holds them: they are each process's own, so they are loose,
// and the watch-dog adds up.
func (l *life) restrict(pid int) error {
	e, limits := l.maker.eng, l.task.Program.Limits
	set := map[int]uint64{
		unix.RLIMIT_CORE: 0, unix.RLIMIT_FSIZE: uint64(max(limits.Disk, 1)), unix.RLIMIT_NOFILE: 4096, unix.RLIMIT_MEMLOCK: 64 << 10,
		unix.RLIMIT_MSGQUEUE: 0, unix.RLIMIT_NICE: 0, unix.RLIMIT_RTPRIO: 0,
	}
	if !e.groups.Limits("memory") {
		set[unix.RLIMIT_DATA] = uint64(4*limits.Memory) + 1<<30
	}
	if !e.groups.Limits("pids") {
		set[unix.RLIMIT_NPROC] = uint64(e.cfg.Processes)
	}
	for what, n := range set {
		if err := unix.Prlimit(pid, what, &unix.Rlimit{Cur: n, Max: n}, nil); err != nil {
			return fmt.Errorf("resource limit %d: %w", what, err)
		}
	}
	return nil
}

// pin keeps a task to as many processors as it may use, where no group holds its share: tasks take turns at which.
func (l *life) pin(pid int) error {
	var set unix.CPUSet
	n := runtime.NumCPU()
	for i := range min(l.maker.eng.cfg.CPUs, n) {
		set.Set((int(l.task.ID) + i) % n)
	}
	if err := unix.SchedSetaffinity(pid, &set); err != nil {
		return fmt.Errorf("processors: %w", err)
	}
	return nil
}

// Freeze stops all processes of the task where they are, or lets them go on: by its group, or each by a signal where there is none.
func (l *life) Freeze(on bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over || l.pidfd < 0 || l.group.Freeze(on) {
		return nil
	}
	return sandbox.Halt(l.init, on)
}

// Look tells what files the task has that no walk finds, and weighs its processes where no group does.
func (l *life) Look() sandbox.Sample {
	l.mu.Lock()
	init := l.init
	l.mu.Unlock()
	if init == 0 {
		return sandbox.Sample{}
	}
	e := l.maker.eng
	all := sandbox.Family(init, e.cfg.Processes+1)
	var s sandbox.Sample
	if len(all) > e.cfg.Processes+1 && !e.groups.Limits("pids") { // the kernel does not count those of a node that runs as root
		s.Excess = fmt.Sprintf("it made more than the %d processes that a task may have at once", e.cfg.Processes)
		return s
	}
	if !e.groups.Limits("memory") {
		s = sandbox.Weigh(all[1:])
	}
	s.Hidden = sandbox.Hidden(all, l.task.Dir)
	return s
}
