// Command hostile tries, as its first argument says, to do what no guest may. What it got away with it prints as "escaped: WHAT"; what it did for cover, as "done".
package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The words of the test: a file of the host, its folder, the number of a process, a port on the loopback, an abstract socket.
var canary, house, hostPID, port, socket = os.Getenv("CANARY"), os.Getenv("HOUSE"), os.Getenv("HOST_PID"), os.Getenv("PORT"), os.Getenv("SOCKET")

// Exit codes, by which the test sees that an act is unknown, or could not be tried.
const (
	unknown = 99
	noStage = 98
)

var acts = map[string]func(){}

// add tells of further acts.
func add(more map[string]func()) { maps.Copy(acts, more) }

func main() {
	act, known := acts[os.Args[1]]
	if !known {
		os.Exit(unknown)
	}
	fmt.Println("begun")
	act()
	fmt.Println("done")
}

// got tells of what must have failed and did not.
func got(what string, err error) {
	if err == nil {
		fmt.Println("escaped:", what)
	}
}

// must ends the act where its stage cannot be set.
func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(noStage)
	}
}

// call makes a call that must be refused: with EPERM, or as if there were none.
func call(what string, number uintptr, args ...uintptr) {
	var a [6]uintptr
	copy(a[:], args)
	if _, _, e := unix.Syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5]); e != unix.EPERM && e != unix.ENOSYS {
		fmt.Println("escaped:", what, e)
	}
}

// refused is an act of one call that must be.
func refused(number uintptr, args ...uintptr) func() {
	return func() { call("the call", number, args...) }
}

// kept holds the texts that calls point to.
var kept [][]byte

func text(s string) uintptr {
	b, err := unix.BytePtrFromString(s)
	if err != nil {
		panic(err)
	}
	kept = append(kept, unsafe.Slice(b, len(s)+1))
	return uintptr(unsafe.Pointer(b))
}

func opens(path string) error {
	f, err := os.Open(path)
	if err == nil {
		f.Close()
	}
	return err
}

func writes(path, what string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(what)
	return err
}

// opening and writing are acts of one file that must be refused.
// own are paths that look like the host's and are the sandbox's own.
var own = strings.Fields(os.Getenv("OWN"))

func opening(paths ...string) func() {
	return func() {
		for _, p := range paths {
			if !slices.Contains(own, p) {
				got("open "+p, opens(p))
			}
		}
	}
}

func writing(paths ...string) func() {
	return func() {
		for _, p := range paths {
			got("write "+p, writes(p, "1"))
		}
	}
}

func spin() {
	for n := 0; ; n++ {
		if n == -1 {
			fmt.Println(n)
		}
	}
}

// again starts this program once more.
func again(act string, change ...func(*exec.Cmd)) error {
	c := exec.Command("/proc/self/exe", act, os.Args[2])
	c.Env = os.Environ()
	for _, f := range change {
		f(c)
	}
	return c.Start()
}

// apart gives a child a session of its own.
func apart(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

// loud gives it this one's outputs.
func loud(c *exec.Cmd) { c.Stdout, c.Stderr = os.Stdout, os.Stderr }

// fork makes a child by the bare call; it must end by a call, too.
func fork(flags uintptr) (pid int, child bool) {
	n, _, e := unix.RawSyscall6(unix.SYS_CLONE, flags|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	return int(n), e == 0 && n == 0
}

func dial(network, address string) error {
	c, err := net.DialTimeout(network, address, 300*time.Millisecond)
	if err == nil {
		_, err = c.Write([]byte("hello"))
		c.Close()
	}
	return err
}

func fill(name string, each int) {
	b := bytes.Repeat([]byte{1}, each)
	for n := 0; ; n++ {
		if err := os.WriteFile(fmt.Sprintf("%s-%d", name, n), b, 0o600); err != nil {
			os.Exit(1)
		}
	}
}

// endlessly does one thing after another until it fails.
func endlessly(do func(n int) error) func() {
	return func() {
		for n := 0; ; n++ {
			if do(n) != nil {
				os.Exit(1)
			}
		}
	}
}

func take(n int) []byte {
	b := make([]byte, n)
	touch(b)
	return b
}

func touch(b []byte) {
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
}

// made makes an empty file.
func made(path string) string {
	must(os.WriteFile(path, nil, 0o600))
	return path
}

// but errs if a folder holds nothing but these.
func but(dir string, names ...string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		if !slices.Contains(names, e.Name()) {
			fmt.Println("there is", e.Name())
			return nil
		}
	}
	return errors.New("no more")
}
