package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Everyone is for Family to list all.
const Everyone = 1 << 22 // as many as a kernel can have (proc(5), pid_max)

// Family lists a process and those that come of it, until there are more than most: some make others faster than they can be listed.
func Family(pid, most int) []int {
	all := []int{pid}
	for i := 0; i < len(all) && len(all) <= most; i++ {
		all = append(all, Children(all[i])...)
	}
	return all
}

// Children lists the children of a process.
func Children(pid int) (all []int) {
	base := "/proc/" + strconv.Itoa(pid) + "/task/"
	threads, err := os.ReadDir(base)
	if err != nil {
		return nil // gone
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
	return all
}

// Halt stops a process and all that come of it by signals, or lets them go on. Who is stopped begets no more, so after some rounds all are.
func Halt(pid int, on bool) error {
	signal := unix.SIGCONT
	if on {
		signal = unix.SIGSTOP
	}
	seen, quiet := map[int]bool{}, 0
	for range 1000 {
		fresh := false
		for _, pid := range Family(pid, Everyone) {
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

// Gone waits until the process of a pidfd has ended, up to Patience.
func Gone(fd int) {
	over := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for until := time.Now().Add(Patience); time.Now().Before(until); {
		if n, err := unix.Poll(over, int(Patience/time.Millisecond)); n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// Hidden is what files weigh, in bytes, that processes hold open and have deleted on the file system of dir: no walk finds them.
func Hidden(pids []int, dir string) (bytes int64) {
	var here unix.Stat_t
	if unix.Stat(dir, &here) != nil {
		return 0
	}
	seen := map[uint64]bool{}
	for _, pid := range pids {
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

// Weigh adds up what processes take (proc(5), status and stat): memory of their own, also what of it is swapped out, and their part of what several share, files left out.
func Weigh(pids []int) (s Sample) {
	for _, pid := range pids {
		base := "/proc/" + strconv.Itoa(pid)
		if b, err := os.ReadFile(base + "/status"); err == nil {
			own, common := kibibytes(b, "RssAnon")+kibibytes(b, "VmSwap"), kibibytes(b, "RssShmem")
			if common > 0 {
				if b, err := os.ReadFile(base + "/smaps_rollup"); err == nil && bytes.Contains(b, []byte("\nPss_Shmem:")) {
					common = kibibytes(b, "Pss_Shmem")
				}
			}
			s.Memory += 1024 * (own + common)
		}
		if b, err := os.ReadFile(base + "/stat"); err == nil {
			if i := bytes.LastIndex(b, []byte(") ")); i >= 0 { // names of processes may hold such, too
				for _, n := range strings.Fields(string(b[i+2:]))[11:15] { // utime, stime, and those of children that were waited for
					ticks, err := strconv.ParseInt(n, 10, 64)
					if err == nil {
						s.CPU += time.Duration(ticks) * time.Second / hertz
					}
				}
			}
		}
	}
	return s
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
