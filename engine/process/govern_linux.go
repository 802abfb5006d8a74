package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hpips/hpips/engine"
)

// govern puts the namespace's first process, and with it all that comes of it, under the task's limits. It waits for release.
func (t *task) govern(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("pidfd_open: %w", err)
	}
	t.s.mu.Lock()
	t.init, t.pidfd = pid, fd
	t.s.mu.Unlock()
	e, limits := t.s.eng, t.s.prog.Limits
	group, err := e.groups.make(bounds{memory: limits.Memory + overhead, processes: e.cfg.Processes, cpus: e.cfg.CPUs, nice: e.cfg.Nice})
	if err != nil {
		return err
	}
	t.s.mu.Lock()
	t.group = group
	t.s.mu.Unlock()
	if err := group.add(pid); err != nil {
		return err
	}
	if !e.groups.limits("cpu") {
		if err := t.pin(pid); err != nil {
			return err
		}
	}
	_ = unix.Setpriority(unix.PRIO_PROCESS, pid, e.cfg.Nice)                         // a courtesy, as is the next
	_ = os.WriteFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", []byte("1000"), 0) // when memory runs out, it goes first
	return t.restrict(pid)
}

// overhead is what bwrap's own process in the group takes, in bytes.
const overhead = 2 << 20

// restrict sets resource limits (setrlimit(2)). Those on memory and processes stand in where no group holds them: they are each process's own, so they are loose,
// and the watch-dog adds up.
func (t *task) restrict(pid int) error {
	e, limits := t.s.eng, t.s.prog.Limits
	set := map[int]uint64{
		unix.RLIMIT_CORE: 0, unix.RLIMIT_FSIZE: uint64(max(limits.Disk, 1)), unix.RLIMIT_NOFILE: 4096, unix.RLIMIT_MEMLOCK: 64 << 10,
		unix.RLIMIT_MSGQUEUE: 0, unix.RLIMIT_NICE: 0, unix.RLIMIT_RTPRIO: 0,
	}
	if !e.groups.limits("memory") {
		set[unix.RLIMIT_DATA] = uint64(4*limits.Memory) + 1<<30
	}
	if !e.groups.limits("pids") {
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
func (t *task) pin(pid int) error {
	var set unix.CPUSet
	n := runtime.NumCPU()
	for i := range min(t.s.eng.cfg.CPUs, n) {
		set.Set((int(t.ID) + i) % n)
	}
	if err := unix.SchedSetaffinity(pid, &set); err != nil {
		return fmt.Errorf("processors: %w", err)
	}
	return nil
}

// freeze stops all processes of the task where they are, or lets them go on. Needs s.mu, and a task that is released. Without a group each is stopped by a signal:
// who is stopped begets no more, so after some rounds all are.
func (t *task) freeze(on bool) error {
	if t.over || t.pidfd < 0 || t.group.freeze(on) {
		return nil
	}
	signal := unix.SIGCONT
	if on {
		signal = unix.SIGSTOP
	}
	seen, quiet := map[int]bool{}, 0
	for range 1000 {
		fresh := false
		for _, pid := range family(t.init) {
			if !seen[pid] {
				seen[pid], fresh = true, true
				if err := unix.Kill(pid, signal); err != nil && !errors.Is(err, unix.ESRCH) {
					return fmt.Errorf("pause: %w", err)
				}
			}
		}
		if quiet++; fresh {
			quiet = 0
		} else if quiet == rounds {
			return nil
		}
	}
	return errors.New("pause: it makes processes faster than they can be stopped")
}

// rounds is in how many a stop must find nobody new: a list of children is whole only if none of them comes or goes meanwhile (proc(5), children).
const rounds = 3

// family lists a process and all that come of it.
func family(pid int) []int {
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		base := "/proc/" + strconv.Itoa(all[i]) + "/task/"
		threads, err := os.ReadDir(base)
		if err != nil {
			continue // gone
		}
		for _, thread := range threads {
			b, err := os.ReadFile(base + thread.Name() + "/children")
			if err != nil {
				continue
			}
			for _, word := range strings.Fields(string(b)) {
				if child, err := strconv.Atoi(word); err == nil {
					all = append(all, child)
				}
			}
		}
	}
	return all
}

// watch is the watch-dog: it looks at time and files, and at memory and processes where no group does, until stop is closed.
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
		next := tick
		if left, running := t.left(); running {
			t.look()
			next = min(next, max(left, time.Millisecond))
		}
		timer.Reset(max(next, 10*time.Since(began)))
	}
}

// left is how long the task may still run; it is ended when that is nothing. running is false while it is paused, and before it has started.
func (t *task) left() (left time.Duration, running bool) {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	limit := t.s.prog.Limits.Time
	switch {
	case !t.released || t.over || t.s.paused:
		return tick, false
	case limit <= 0:
		return tick, true
	}
	left = limit - (time.Since(t.started) - (t.s.heldFor() - t.before))
	if left <= 0 {
		t.kill(engine.TimedOut)
	}
	return left, true
}

// look ends the task for what it has too much of.
func (t *task) look() {
	limits := t.s.prog.Limits
	if !t.s.eng.groups.limits("pids") { // the kernel's limit for each user does not hold for root
		if n, most := len(family(t.init)), t.s.eng.cfg.Processes; n > most {
			t.s.mu.Lock()
			defer t.s.mu.Unlock()
			t.why = fmt.Sprintf("the program trapped: it has %d processes at once, and may have %d", n, most)
			t.kill(engine.Trapped)
			return
		}
	}
	files, err := measure(limits.Disk, t.folders()...)
	switch {
	case err != nil && !errors.Is(err, unix.ENOENT):
		t.s.eng.log.Debug("Files of a task cannot be measured", "task", t.ID, "err", err) // it is measured again at its end
	case files.bytes+t.hidden() > limits.Disk || files.deep:
		t.s.slay(t, engine.DiskFull)
	}
	if t.s.eng.groups.limits("memory") {
		return
	}
	now := weigh(family(t.init)[1:])
	t.s.mu.Lock()
	if !t.over { // its last word is the kernel's
		t.used.cpu, t.used.memory = max(t.used.cpu, now.cpu), max(t.used.memory, now.memory)
	}
	t.s.mu.Unlock()
	if now.memory > limits.Memory {
		t.s.slay(t, engine.MemoryFull)
	}
}

// hidden is what files weigh, in bytes, that the task's processes hold open and have deleted: no walk finds them.
func (t *task) hidden() (bytes int64) {
	var here unix.Stat_t
	if unix.Stat(t.dir, &here) != nil {
		return 0
	}
	seen := map[uint64]bool{}
	for _, pid := range family(t.init) {
		base := "/proc/" + strconv.Itoa(pid) + "/fd/"
		dir, err := os.Open(base)
		if err != nil {
			continue
		}
		names, _ := dir.Readdirnames(-1) // it may be gone
		dir.Close()
		for _, name := range names {
			var st unix.Stat_t
			if unix.Stat(base+name, &st) == nil && st.Nlink == 0 && st.Dev == here.Dev && st.Mode&unix.S_IFMT == unix.S_IFREG && !seen[st.Ino] {
				seen[st.Ino] = true
				bytes += 512 * st.Blocks
			}
		}
	}
	return bytes
}

// weigh adds up what processes take (proc(5), status and stat): memory of their own, also what of it is swapped out, and their part of what several share, files left out.
func weigh(pids []int) (u usage) {
	for _, pid := range pids {
		base := "/proc/" + strconv.Itoa(pid)
		if b, err := os.ReadFile(base + "/status"); err == nil {
			own, common := kibibytes(b, "RssAnon")+kibibytes(b, "VmSwap"), kibibytes(b, "RssShmem")
			if common > 0 {
				if b, err := os.ReadFile(base + "/smaps_rollup"); err == nil && bytes.Contains(b, []byte("\nPss_Shmem:")) {
					common = kibibytes(b, "Pss_Shmem")
				}
			}
			u.memory += 1024 * (own + common)
		}
		if b, err := os.ReadFile(base + "/stat"); err == nil {
			if _, rest, ok := strings.Cut(string(b), ") "); ok {
				for _, n := range strings.Fields(rest)[11:15] { // utime, stime, and those of children that were waited for
					ticks, err := strconv.ParseInt(n, 10, 64)
					if err == nil {
						u.cpu += time.Duration(ticks) * time.Second / hertz
					}
				}
			}
		}
	}
	return u
}

// kibibytes reads a line of a file such as status or smaps_rollup of a process; 0 if there is none.
func kibibytes(text []byte, name string) int64 {
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte(name+":")); ok {
			word, _, _ := strings.Cut(strings.TrimSpace(string(rest)), " ")
			n, err := strconv.ParseInt(word, 10, 64)
			if err != nil {
				return 0
			}
			return n
		}
	}
	return 0
}

// hertz is the kernel's unit of processor time for programs (sysconf(3), _SC_CLK_TCK), the same on all systems.
const hertz = 100
