package machine

import (
	"io/fs"
	"os"

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

func memory() (total, available int64) { return here().memory() }
