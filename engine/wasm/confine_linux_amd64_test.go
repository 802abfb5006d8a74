package wasm

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// breakout is a child whose program has taken it over and calls the kernel as it likes. It prints what succeeded.
func breakout() int {
	confine(reach{memory: reserve, file: 1 << 20})
	parent, own := os.Getppid(), os.Args[2]
	call := func(n, a, b, c uintptr) error {
		if _, _, e := unix.RawSyscall(n, a, b, c); e != 0 {
			return e
		}
		return nil
	}
	name, err := unix.BytePtrFromString(own)
	if err != nil {
		return 2
	}
	path := uintptr(unsafe.Pointer(name))
	for _, a := range []struct {
		what string
		err  error
	}{
		{"signal the parent", call(unix.SYS_KILL, uintptr(parent), 0, 0)},
		{"signal everyone", call(unix.SYS_KILL, ^uintptr(0), 0, 0)},
		{"signal the parent's thread", call(unix.SYS_TGKILL, uintptr(parent), uintptr(parent), 0)},
		{"queue a signal for the parent", call(unix.SYS_RT_SIGQUEUEINFO, uintptr(parent), 0, path)},
		{"have files signal the parent", call(unix.SYS_FCNTL, 0, unix.F_SETOWN, uintptr(parent))},
		{"have files signal the parent, told in 64 bits", call(unix.SYS_FCNTL, 0, 1<<32|unix.F_SETOWN, uintptr(parent))},
		{"change the parent's priority", call(unix.SYS_SETPRIORITY, unix.PRIO_PROCESS, uintptr(parent), 19)},
		{"let anyone read a file", call(unix.SYS_CHMOD, path, 0o777, 0)},
		{"truncate a file by its name", call(unix.SYS_TRUNCATE, path, 0, 0)},
		{"watch a file", call(unix.SYS_INOTIFY_INIT1, 0, 0, 0)},
		{"leave its process group", call(unix.SYS_SETSID, 0, 0, 0)},
		{"call the kernel by numbers it does not know yet", call(999, 0, 0, 0)},
	} {
		if a.err == nil || a.err == unix.ENOSYS {
			fmt.Println(a.what, a.err)
		}
	}
	for _, flags := range []uintptr{uintptr(unix.SIGCHLD), unix.SYS_KILL, unix.SYS_FCNTL} { // flags that are numbers of calls
		if pid, _, e := unix.RawSyscall(unix.SYS_CLONE, flags, 0, 0); e == 0 {
			if pid == 0 {
				unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
			}
			fmt.Println("make a process", flags)
		}
	}
	fmt.Println("tried")
	if fd := socket32(); fd >= 0 {
		fmt.Println("open a socket by a call of 32 bits:", fd)
	}
	return 0
}

// socket32 asks for a socket as a 32-bit program does. Where the kernel has no such calls, the process ends here.
func socket32() int32 {
	page, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return -1
	}
	copy(page, []byte{
		0xb8, 0x67, 0x01, 0, 0, // mov eax, 359: socket
		0xbb, 2, 0, 0, 0, // mov ebx, AF_INET
		0xb9, 1, 0, 0, 0, // mov ecx, SOCK_STREAM
		0x31, 0xd2, // xor edx, edx
		0xcd, 0x80, // int 0x80
		0x89, 0x05, 0xe7, 0, 0, 0, // mov [page+256], eax
		0xc3, // ret
	})
	code := &page[0]
	entry := unsafe.Pointer(&code)
	(*(*func())(unsafe.Pointer(&entry)))()
	return *(*int32)(unsafe.Pointer(&page[256]))
}

// TestBreakout lets mallory's code take over a child whole: what seccomp alone stops has to fail, whatever Landlock can do here.
func TestBreakout(t *testing.T) {
	own := t.TempDir() + "/key"
	if err := os.WriteFile(own, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "wasm-breakout", own)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.Output()
	done, after, tried := strings.Cut(string(out), "tried\n")
	if !tried {
		t.Fatalf("it did not come to its end: %v, %q", err, out)
	}
	for line := range strings.Lines(done + after) {
		t.Errorf("a program that took over the child could %s", line)
	}
	if b, err := os.ReadFile(own); err != nil || string(b) != "secret" {
		t.Errorf("the file is now %q, %v", b, err)
	}
}
