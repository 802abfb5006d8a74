package wasm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

func prctlGet(option int, out *int32) error {
	_, _, e := unix.RawSyscall6(unix.SYS_PRCTL, uintptr(option), uintptr(unsafe.Pointer(out)), 0, 0, 0, 0)
	if e != 0 {
		return e
	}
	return nil
}

// probe tries, in a confined child, what a program that broke out of WASM would try first; each must fail.
func probe() []Check {
	attempts := []struct {
		name string
		try  func() error
	}{
		{"open a socket", func() error { return shut(unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)) }},
		{"open a local socket", func() error { return shut(unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)) }},
		{"start a program", func() error { return syscall.Exec("/bin/true", []string{"true"}, nil) }},
		{"read /etc/passwd", func() error { _, err := os.ReadFile("/etc/passwd"); return err }},
		{"list /", func() error { _, err := os.ReadDir("/"); return err }},
		{"write outside", func() error { return os.WriteFile("/hpips-probe", nil, 0o600) }},
		{"make a user namespace", func() error { return unix.Unshare(unix.CLONE_NEWUSER) }},
		{"trace the parent", func() error { return unix.PtraceAttach(os.Getppid()) }},
		{"signal the parent", func() error { return unix.Kill(os.Getppid(), unix.SIGCONT) }},
		{"make a link", func() error { return os.Symlink("/etc", "l") }},
	}
	var out []Check
	for _, a := range attempts {
		err := a.try()
		c := Check{Name: "cannot " + a.name, OK: errors.Is(err, fs.ErrPermission), Detail: fmt.Sprint(err)}
		if err == nil {
			c.Detail = "it could"
		}
		out = append(out, c)
	}
	return out
}

func shut(fd int, err error) error {
	if err == nil {
		unix.Close(fd)
	}
	return err
}
