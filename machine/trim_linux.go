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
// start, is most of a large program. It returns how many bytes of addresses were given back. Pages that can be written stay.
func Trim() (int64, error) {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return 0, fmt.Errorf("program's own memory: %w", err)
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return 0, fmt.Errorf("program's own memory: %w", err)
	}
	defer maps.Close()
	return trim(maps, self)
}

func trim(maps io.Reader, self string) (sum int64, err error) {
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		first, last, ours := readable(lines.Text(), self)
		if !ours {
			continue
		}
		if _, _, no := unix.Syscall(unix.SYS_MADVISE, first, last-first, unix.MADV_DONTNEED); no != 0 {
			err = errors.Join(err, fmt.Errorf("program's own memory at %x: %w", first, no))
			continue
		}
		sum += int64(last - first)
	}
	return sum, errors.Join(err, lines.Err())
}

// readable reads a line of proc(5) maps: it tells the addresses if they hold a part of the file that is never written.
func readable(line, file string) (first, last uintptr, yes bool) {
	f := strings.SplitN(line, " ", 6)
	if len(f) < 6 || strings.TrimLeft(f[5], " ") != file || !strings.HasPrefix(f[1], "r-") || !strings.HasSuffix(f[1], "p") {
		return 0, 0, false
	}
	from, to, _ := strings.Cut(f[0], "-")
	a, err1 := strconv.ParseUint(from, 16, 64)
	b, err2 := strconv.ParseUint(to, 16, 64)
	return uintptr(a), uintptr(b), err1 == nil && err2 == nil && a < b
}
