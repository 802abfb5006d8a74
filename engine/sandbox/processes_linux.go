package sandbox

import (
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
	seen := map[int]bool{}
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
		if !fresh {
			return nil
		}
	}
	return errors.New("pause: it makes processes faster than they can be stopped")
}

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

// Weigh adds up what processes take (proc(5), statm and stat). Pages that several share are counted for each.
func Weigh(pids []int) (s Sample) {
	for _, pid := range pids {
		base := "/proc/" + strconv.Itoa(pid)
		if b, err := os.ReadFile(base + "/statm"); err == nil {
			if f := strings.Fields(string(b)); len(f) > 2 {
				resident, err1 := strconv.ParseInt(f[1], 10, 64)
				shared, err2 := strconv.ParseInt(f[2], 10, 64)
				if err1 == nil && err2 == nil {
					s.Memory += (resident - shared) * int64(os.Getpagesize())
				}
			}
		}
		if b, err := os.ReadFile(base + "/stat"); err == nil {
			if _, rest, ok := strings.Cut(string(b), ") "); ok {
				for _, n := range strings.Fields(rest)[11:15] { // utime, stime, and those of children that were waited for
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

// hertz is the kernel's unit of processor time for programs (sysconf(3), _SC_CLK_TCK), the same on all systems.
const hertz = 100
