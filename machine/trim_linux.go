package machine

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Trim gives back the memory that holds pages of this process's own program file, which the kernel reads again when one is used: what runs but once, at the
// start, is most of a large program. It returns how many bytes of addresses were given back. Pages that can be written, or ever were, stay.
func Trim() (int64, error) {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return 0, fmt.Errorf("program's own memory: %w", err)
	}
	maps, err := os.Open("/proc/self/smaps")
	if err != nil {
		return 0, fmt.Errorf("program's own memory: %w", err)
	}
	defer maps.Close()
	all, err := unwritten(maps, self)
	if err != nil {
		return 0, fmt.Errorf("program's own memory: %w", err)
	}
	var sum int64
	for _, a := range all {
		if _, _, no := unix.Syscall(unix.SYS_MADVISE, a.first, a.last-a.first, unix.MADV_DONTNEED); no != 0 {
			err = errors.Join(err, fmt.Errorf("program's own memory at %x: %w", a.first, no))
			continue
		}
		sum += int64(a.last - a.first)
	}
	return sum, err
}

// area is a range of addresses.
type area struct{ first, last uintptr }

// unwritten finds in proc(5) smaps the mappings of a file that this process may only read, and of which it has no page of its own: a linker may have written there before it was made read-only.
func unwritten(smaps io.Reader, file string) (all []area, err error) {
	lines := bufio.NewScanner(smaps)
	ours := false
	for lines.Scan() {
		line := lines.Text()
		name, rest, _ := strings.Cut(line, " ")
		field, is := strings.CutSuffix(name, ":")
		switch {
		case !is:
			var a area
			if a, ours = readable(line, file); ours {
				all = append(all, a)
			}
		case ours && (field == "Anonymous" || field == "Swap") && strings.TrimSpace(rest) != "0 kB":
			all, ours = all[:len(all)-1], false
		}
	}
	return all, lines.Err()
}

// readable reads the first line of a mapping: it tells the addresses if they hold a part of the file that is not to be written.
func readable(line, file string) (a area, yes bool) {
	f := strings.SplitN(line, " ", 6)
	if len(f) < 6 || strings.TrimLeft(f[5], " ") != file || !strings.HasPrefix(f[1], "r-") || !strings.HasSuffix(f[1], "p") {
		return a, false
	}
	from, to, _ := strings.Cut(f[0], "-")
	first, err1 := strconv.ParseUint(from, 16, 64)
	last, err2 := strconv.ParseUint(to, 16, 64)
	return area{uintptr(first), uintptr(last)}, err1 == nil && err2 == nil && first < last
}
