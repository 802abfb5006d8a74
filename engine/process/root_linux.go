package process

import (
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/hpips/hpips/engine"
)

// roots are the folders beside /usr that programs need; where systems have merged them into /usr they are links.
var roots = []string{"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"}

// user is the number of the program's user and group in its sandbox.
const user = "1000"

// Made-up files of the sandbox's /etc: nobody of the host is named.
const (
	passwd = "hpips:x:1000:1000::/tmp:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n"
	group5 = "hpips:x:1000:\nnogroup:x:65534:\n" // group(5)
	hosts  = "127.0.0.1 localhost hpips\n::1 localhost\n"
)

// root gives the arguments that make what all sandboxes see: the host's programs and libraries, its linker's cache, a few devices without a machine behind them.
func root() []string {
	args := []string{"--ro-bind", "/usr", "/usr"}
	for _, dir := range roots {
		info, err := os.Lstat(dir)
		if err != nil {
			continue
		}
		if to, err := os.Readlink(dir); info.Mode()&os.ModeSymlink != 0 && err == nil {
			args = append(args, "--symlink", strings.TrimPrefix(to, "/"), dir)
		} else {
			args = append(args, "--ro-bind", dir, dir)
		}
	}
	for _, file := range []string{"/etc/ld.so.cache", "/etc/alternatives"} {
		args = append(args, "--ro-bind-try", file, file)
	}
	args = append(args, "--proc", "/proc", "--dir", "/dev")
	for _, dev := range []string{"null", "zero", "full", "random", "urandom"} {
		args = append(args, "--dev-bind", "/dev/"+dev, "/dev/"+dev)
	}
	for _, link := range [][2]string{{"/proc/self/fd", "/dev/fd"}, {"/proc/self/fd/0", "/dev/stdin"}, {"/proc/self/fd/1", "/dev/stdout"}, {"/proc/self/fd/2", "/dev/stderr"}} {
		args = append(args, "--symlink", link[0], link[1])
	}
	return args
}

// walls are the arguments that shut a sandbox: namespaces of its own for all there is, no capabilities, no terminal, dead with the node.
var walls = []string{
	"--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try", "--uid", user, "--gid", user,
	"--hostname", "hpips", "--cap-drop", "ALL", "--new-session", "--die-with-parent", "--clearenv",
}

// environment is what programs find set where their job sets nothing else.
var environment = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/tmp", "TMPDIR=/tmp", "USER=hpips", "LANG=C.UTF-8"}

// maxWords is how many words bwrap takes, with some to spare.
const maxWords = 8000

// extras are the files that bwrap is given by number, from 3 on.
type extras struct{ files []*os.File }

// pass gives the number that a file will have.
func (x *extras) pass(f *os.File) string {
	x.files = append(x.files, f)
	return fmt.Sprint(2 + len(x.files))
}

// content gives the number of a file with that content, which is nowhere on disk.
func (x *extras) content(data []byte) (string, error) {
	fd, err := unix.MemfdCreate("hpips", unix.MFD_CLOEXEC)
	if err != nil {
		return "", fmt.Errorf("memory for a sandbox: %w", err)
	}
	f := os.NewFile(uintptr(fd), "hpips")
	number := x.pass(f)
	if _, err = f.Write(data); err == nil {
		_, err = f.Seek(0, 0)
	}
	return number, err
}

// words are bwrap's arguments for a task: those that it reads from a file, where neither their number nor who looks at processes matters, and the command.
func (l *life) words(x *extras) (hidden, command []string, err error) {
	t := &l.task
	hidden = append(append(hidden, walls...), l.maker.eng.root...)
	for _, file := range [][2]string{{"/etc/passwd", passwd}, {"/etc/group", group5}, {"/etc/hosts", hosts}} {
		number, err := x.content([]byte(file[1]))
		if err != nil {
			return nil, nil, err
		}
		hidden = append(hidden, "--file", number, file[0])
	}
	hidden = append(hidden, "--bind", t.Tmp, "/tmp", "--bind", t.Shm, "/dev/shm", "--dir", "/run")
	if l.maker.program != "" {
		hidden = append(hidden, "--ro-bind", l.maker.program, l.maker.guest)
	}
	for _, m := range t.Mounts() {
		hidden = append(hidden, "--ro-bind", m.Host, m.Guest)
	}
	for n, guest := range t.Outputs {
		hidden = append(hidden, "--bind", t.Out[n], guest)
	}
	hidden = append(hidden, l.bindings()...)
	// What was made up above is nobody's to change: not the root, not the kernel's settings, which belong to the root user that a node may run as.
	hidden = append(hidden, "--remount-ro", "/proc", "--remount-ro", "/", "--chdir", "/tmp")
	for _, list := range [][]string{environment, l.proxies(), t.Program.Env, t.Env, engine.DeviceEnv(t.Devices)} {
		for _, kv := range list {
			name, value, _ := strings.Cut(kv, "=")
			hidden = append(hidden, "--setenv", name, value)
		}
	}
	number, err := x.content(l.maker.eng.filter)
	if err != nil {
		return nil, nil, err
	}
	hidden = append(hidden, "--seccomp", number)
	if len(hidden) > maxWords {
		return nil, nil, fmt.Errorf("its environment and files come to %d words for the sandbox, which takes %d: put variables into a file", len(hidden), maxWords)
	}
	command = append(append([]string{l.maker.guest}, t.Program.Args...), t.Args...)
	return hidden, command, nil
}

// joined writes words one after another, each with a zero byte at its end, as bwrap reads them.
func joined(words []string) ([]byte, error) {
	var b []byte
	for _, w := range words {
		c, err := syscall.ByteSliceFromString(w)
		if err != nil {
			return nil, fmt.Errorf("%q contains a zero byte", w)
		}
		b = append(b, c...)
	}
	return b, nil
}
