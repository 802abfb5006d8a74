package machine

import (
	"bytes"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// process is a running program.
type process struct {
	pid, parent int
	name        string
	used        time.Duration // of processors, by itself and by those of its children that have ended and been waited for
}

// ticks are the units of times in /proc (proc(5): USER_HZ, 100 on all systems that Go runs on).
const ticks = 100

// procProcesses lists what proc(5) shows.
func (s sources) procProcesses() ([]process, error) {
	dirs, err := fs.ReadDir(s.proc, ".")
	if err != nil {
		return nil, fmt.Errorf("processes: %w", err)
	}
	var all []process
	for _, d := range dirs {
		pid, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		text, err := read(s.proc, d.Name()+"/stat")
		if err != nil {
			continue // it has ended
		}
		if p, ok := parseStat(pid, text); ok {
			all = append(all, p)
		}
	}
	return all, nil
}

// parseStat reads /proc/PID/stat: pid (name) state ppid …, with utime, stime, cutime and cstime as fields 14 to 17. A name may hold anything, also brackets.
func parseStat(pid int, text []byte) (p process, ok bool) {
	from, to := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if from < 0 || to < from {
		return p, false
	}
	rest := strings.Fields(string(text[to+1:]))
	if len(rest) < 15 {
		return p, false
	}
	p.pid, p.name = pid, string(text[from+1:to])
	var err error
	if p.parent, err = strconv.Atoi(rest[1]); err != nil {
		return p, false
	}
	for _, field := range rest[11:15] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil || n < 0 {
			return p, false
		}
		p.used += time.Duration(n) * time.Second / ticks
	}
	return p, true
}

// Kin are what belongs to this program besides what it has started itself.
type Kin struct {
	Pids  func() []int                  // processes whose parents are others, such as those of containers; nil: there are none
	Moved func() (sent, received int64) // bytes over the network so far; nil: not known
}

// roots are the processes below which all is this program's.
func (k Kin) roots(self int) []int {
	if k.Pids == nil {
		return []int{self}
	}
	return append([]int{self}, k.Pids()...)
}

// spent is how much of the processors each root and all below it have used.
type spent map[int]time.Duration

// since is how much was used between two looks. A root that has ended since has used nothing more, one that has begun since all that it has.
func (s spent) since(before spent) (sum time.Duration) {
	for root, used := range s {
		sum += max(0, used-before[root])
	}
	return sum
}

// kindred tells roots with all below them from all others. A root below one that is named before is part of that.
func kindred(all []process, roots []int) (used spent, ours, others []process) {
	children, at := map[int][]process{}, map[int]process{}
	for _, p := range all {
		children[p.parent], at[p.pid] = append(children[p.parent], p), p
	}
	used = spent{}
	is := map[int]bool{}
	for _, root := range roots {
		first, there := at[root]
		if !there || is[root] {
			continue
		}
		is[root] = true
		for queue := []process{first}; len(queue) > 0; queue = queue[1:] {
			p := queue[0]
			used[root] += p.used
			ours = append(ours, p)
			for _, child := range children[p.pid] {
				if !is[child.pid] {
					is[child.pid] = true
					queue = append(queue, child)
				}
			}
		}
	}
	for _, p := range all {
		if !is[p.pid] {
			others = append(others, p)
		}
	}
	return used, ours, others
}

// load is what all processors together have done since the start of the system.
type load struct{ busy, all time.Duration }

// procLoad reads the first line of /proc/stat: user nice system idle iowait irq softirq steal. Time that a host took from this machine is not busy here.
func (s sources) procLoad() (l load, err error) {
	text, err := read(s.proc, "stat")
	if err != nil {
		return l, fmt.Errorf("processors: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(line)
	if len(fields) < 8 || fields[0] != "cpu" {
		return l, fmt.Errorf("processors: %q is no line of /proc/stat", line)
	}
	for i, field := range fields[1:min(len(fields), 9)] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil || n < 0 {
			return l, fmt.Errorf("processors: %q is no line of /proc/stat", line)
		}
		t := time.Duration(n) * time.Second / ticks
		l.all += t
		if i != 3 && i != 4 && i != 7 {
			l.busy += t
		}
	}
	return l, nil
}
