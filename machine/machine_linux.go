package machine

import (
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func everything() fs.FS { return os.DirFS("/") }

func accessible(path string) error { return unix.Access(path, unix.R_OK|unix.W_OK) }

func kernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// cpuModel reads /proc/cpuinfo (proc(5)); ARM kernels give no model name there.
func cpuModel() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	return field(text, "model name")
}

// processor reads /proc/cpuinfo.
func processor() []string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return nil
	}
	return kinds(text)
}

// memory reads /proc/meminfo (proc(5)), whose figures are in KiB.
func memory() (total, available int64) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, 0
	}
	return kib(field(text, "MemTotal")), kib(field(text, "MemAvailable"))
}

func kib(s string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(s, "kB")), 10, 64)
	if err != nil || n < 0 || n > 1<<52 {
		return 0
	}
	return n << 10
}
