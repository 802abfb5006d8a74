// Command hostile tries, as its first argument says, to do what no guest may. What it got away with it prints as "escaped: WHAT"; what it did for cover, as "done".
package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The words of the test: a file of the host, its process number, a port on its loopback, an abstract socket of its.
var canary, hostPID, port, socket = os.Getenv("CANARY"), os.Getenv("HOST_PID"), os.Getenv("PORT"), os.Getenv("SOCKET")

// own are paths that look like the host's and are the sandbox's own.
var own = strings.Fields(os.Getenv("OWN"))

func main() {
	act, known := acts[os.Args[1]]
	if !known {
		os.Exit(99)
	}
	act()
	fmt.Println("done")
}

// got tells of what must have failed and did not.
func got(what string, err error) {
	if err == nil {
		fmt.Println("escaped:", what)
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

func text(s string) uintptr {
	b, err := unix.BytePtrFromString(s)
	if err != nil {
		panic(err)
	}
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

func spin() {
	for n := 0; ; n++ {
		if n == -1 {
			fmt.Println(n)
		}
	}
}

// again starts this program once more.
func again(act string) error {
	c := exec.Command("/proc/self/exe", act, os.Args[2])
	c.Env = os.Environ()
	return c.Start()
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

func take(n int) []byte {
	b := make([]byte, n)
	for i := 0; i < n; i += 4096 {
		b[i] = 1
	}
	return b
}

var acts = map[string]func(){
	"spin":  spin,
	"sleep": func() { time.Sleep(time.Hour) },
	"fork bomb": func() {
		for {
			_ = again("fork bomb")
		}
	},
	"zombies": func() {
		for range 40 {
			if pid, _, e := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0); e == 0 && pid == 0 {
				unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
			}
		}
	},
	"memory bomb": func() {
		for kept := [][]byte{}; ; {
			kept = append(kept, take(1<<20))
		}
	},
	"memory bomb of many": func() {
		for range 16 {
			_ = again("half of the memory")
		}
		time.Sleep(time.Hour)
	},
	"half of the memory": func() { b := take(32 << 20); time.Sleep(time.Hour); fmt.Println(b[0]) },
	"memory in files of memory": func() {
		for {
			fd, err := unix.MemfdCreate("x", 0)
			if err != nil {
				os.Exit(1)
			}
			if _, err := unix.Write(fd, take(4<<20)); err != nil {
				os.Exit(1)
			}
		}
	},
	"memory that is shared": func() {
		for {
			id, err := unix.SysvShmGet(unix.IPC_PRIVATE, 8<<20, unix.IPC_CREAT|0o600)
			if err != nil {
				os.Exit(1)
			}
			b, err := unix.SysvShmAttach(id, 0, 0)
			if err != nil {
				os.Exit(1)
			}
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
		}
	},
	"fill the disk":   func() { fill("/out/x", 1<<20) },
	"fill /tmp":       func() { fill("/tmp/x", 1<<20) },
	"fill /dev/shm":   func() { fill("/dev/shm/x", 1<<20) },
	"fill the inodes": func() { fill("/out/x", 0) },
	"one large file":  func() { fill("/out/x", 64<<20) },
	"fill the root":   func() { got("a file in the root", os.WriteFile("/x", nil, 0o600)) },
	"fill the disk, hidden": func() {
		for {
			f, err := os.Create("/out/x")
			if err != nil {
				os.Exit(1)
			}
			if err := os.Remove("/out/x"); err != nil {
				os.Exit(1)
			}
			if _, err := f.Write(take(1 << 20)); err != nil {
				os.Exit(1)
			}
			defer f.Close()
		}
	},
	"fill a shut folder": func() {
		if os.Mkdir("/out/shut", 0o700) != nil || os.Chdir("/out/shut") != nil || os.Chmod("/out/shut", 0o300) != nil {
			os.Exit(2)
		}
		fill("x", 1<<20)
	},
	"a sparse file": func() { got("a file of a terabyte", os.Truncate(made("/out/x"), 1<<40)); os.Exit(1) },
	"endless output": func() {
		for b := make([]byte, 1<<20); ; {
			if _, err := os.Stdout.Write(b); err != nil {
				os.Exit(1)
			}
		}
	},
	"endless complaints": func() {
		for b := make([]byte, 1<<20); ; {
			if _, err := os.Stderr.Write(b); err != nil {
				os.Exit(1)
			}
		}
	},
	"ignore signals": func() { signal.Ignore(); spin() },
	"stay behind": func() {
		c := exec.Command("/proc/self/exe", "ignore signals", os.Args[2])
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		c.Stdout, c.Stderr = os.Stdout, os.Stderr // and keep the pipes open
		if c.Start() != nil {
			os.Exit(2)
		}
	},
	"stop itself": func() { _ = unix.Kill(os.Getpid(), unix.SIGSTOP); spin() },
	"links out": func() {
		for name, to := range map[string]string{"passwd": "/etc/passwd", "up": "../../../../../..", "canary": canary, "proc": "/proc/1/root"} {
			if os.Symlink(to, "/out/"+name) != nil {
				os.Exit(2)
			}
		}
		got("a hard link to a program", os.Link("/usr/bin/env", "/out/env"))
	},
	"strange files": func() {
		if unix.Mkfifo("/out/pipe", 0o600) != nil || os.Chmod(made("/out/suid"), os.ModeSetuid|0o755) != nil {
			os.Exit(2)
		}
		if l, err := net.Listen("unix", "/out/socket"); err == nil {
			l.(*net.UnixListener).SetUnlinkOnClose(false)
		}
	},
	"climb": func() {
		for _, base := range []string{"/out", "/in", "/tmp", "/hpips", "/usr", "/proc/self/cwd"} {
			got(base+" …", opens(base+strings.Repeat("/..", 32)+canary))
		}
		got("the canary", opens(canary))
	},
	"the host's files": func() {
		for _, p := range []string{"/root", "/home", "/etc/shadow", "/etc/hostname", "/etc/ssh", "/var", "/sys", "/boot", "/mnt", "/srv", "/opt", "/run/dbus", "/run/docker.sock", "/proc/kcore", "/proc/kmsg", "/proc/1/environ"} {
			if p != "/proc/1/environ" && !slices.Contains(own, p) {
				got(p, opens(p))
			}
		}
		got("more in /etc than was made up", but("/etc", "passwd", "group", "hosts", "ld.so.cache", "alternatives"))
		got("more in the root", but("/", "usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc", "proc", "dev", "tmp", "run", "hpips", "in", "out"))
	},
	"through /proc": func() {
		got("the root of the first process", opens("/proc/1/root"+canary))
		got("its folder", opens("/proc/1/cwd"+canary))
		got("its memory", writes("/proc/1/mem", "x"))
		list, _ := filepath.Glob("/proc/[0-9]*")
		if len(list) > 3 {
			fmt.Println("escaped: sees processes", list)
		}
		got("the host's process", opens("/proc/"+hostPID+"/environ"))
	},
	"the kernel's settings": func() {
		for _, p := range []string{"kernel/core_pattern", "kernel/modprobe", "vm/drop_caches", "kernel/sysrq", "fs/file-max", "kernel/hostname", "net/ipv4/ip_forward"} {
			got(p, writes("/proc/sys/"+p, "1"))
		}
		for _, p := range []string{"/proc/sysrq-trigger", "/proc/self/oom_score_adj", "/proc/self/uid_map", "/proc/self/coredump_filter", "/proc/irq/default_smp_affinity"} {
			if !slices.Contains(own, p) {
				got(p, writes(p, "0"))
			}
		}
	},
	"trace": func() {
		call("trace the first process", unix.SYS_PTRACE, unix.PTRACE_ATTACH, 1)
		call("seize it", unix.SYS_PTRACE, unix.PTRACE_SEIZE, 1)
		call("be traced", unix.SYS_PTRACE, unix.PTRACE_TRACEME)
		call("read another's memory", unix.SYS_PROCESS_VM_READV, 1)
		call("write another's memory", unix.SYS_PROCESS_VM_WRITEV, 1)
		call("take another's file", unix.SYS_PIDFD_GETFD, 0)
		call("compare processes", unix.SYS_KCMP, 1, 1)
	},
	"raw sockets": func() {
		for name, s := range map[string][3]int{
			"raw": {unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP}, "raw 6": {unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6}, "packet": {unix.AF_PACKET, unix.SOCK_RAW, 0},
			"vsock": {unix.AF_VSOCK, unix.SOCK_STREAM, 0}, "kernel crypto": {unix.AF_ALG, unix.SOCK_SEQPACKET, 0}, "audit": {unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT},
			"netfilter": {unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER}, "events": {unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_KOBJECT_UEVENT}, "xdp": {unix.AF_XDP, unix.SOCK_RAW, 0},
			"bluetooth": {unix.AF_BLUETOOTH, unix.SOCK_RAW, 0}, "can": {unix.AF_CAN, unix.SOCK_RAW, 1}, "rds": {unix.AF_RDS, unix.SOCK_SEQPACKET, 0}, "tipc": {unix.AF_TIPC, unix.SOCK_STREAM, 0},
		} {
			_, err := unix.Socket(s[0], s[1], s[2])
			got(name+" socket", err)
		}
	},
	"the host's loopback": func() {
		got("TCP", dial("tcp", "127.0.0.1:"+port))
		got("TCP 6", dial("tcp", "[::1]:"+port))
	},
	"the network": func() {
		for _, a := range []string{"10.0.0.1:80", "192.168.0.1:80", "169.254.169.254:80", "1.1.1.1:53", "[2606:4700::1111]:53", "224.0.0.251:5353"} {
			got("TCP to "+a, dial("tcp", a))
			got("UDP to "+a, dial("udp", a))
		}
		if list, err := net.Interfaces(); err == nil && (len(list) != 1 || list[0].Name != "lo") {
			fmt.Println("escaped: devices", list)
		}
		_, err := net.LookupHost("example.org")
		got("a name", err)
	},
	"the host's sockets": func() {
		got("an abstract one", dial("unix", "@"+socket))
		got("the system bus", dial("unix", "/run/dbus/system_bus_socket"))
	},
	"devices": func() {
		for name, dev := range map[string]uint64{"memory": unix.Mkdev(1, 1), "disk": unix.Mkdev(254, 0), "kmsg": unix.Mkdev(1, 11)} {
			if unix.Mknod("/out/"+name, unix.S_IFCHR|0o600, int(dev)) == nil || unix.Mknod("/out/b"+name, unix.S_IFBLK|0o600, int(dev)) == nil {
				fmt.Println("escaped: made a node for", name)
			}
		}
		got("more in /dev", but("/dev", "null", "zero", "full", "random", "urandom", "fd", "stdin", "stdout", "stderr", "shm"))
		got("a new one in /dev", os.WriteFile("/dev/x", nil, 0o600))
	},
	"be root": func() {
		got("setuid", unix.Setuid(0))
		got("setgid", unix.Setgid(0))
		got("setgroups", unix.Setgroups([]int{0}))
		got("chown", os.Chown(made("/out/x"), 0, 0))
		call("a capability", unix.SYS_CHROOT, text("/tmp"))
		for line := range strings.Lines(status()) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ":\t")
			want := map[string]string{"NoNewPrivs": "1", "Seccomp": "2", "CapInh": zero, "CapPrm": zero, "CapEff": zero, "CapBnd": zero, "CapAmb": zero, "Uid": "1000\t1000\t1000\t1000"}[name]
			if want != "" && value != want {
				fmt.Printf("escaped: %s is %s\n", name, value)
			}
		}
	},
	"mount": func() {
		call("mount", unix.SYS_MOUNT, text("none"), text("/tmp"), text("tmpfs"), 0, 0)
		call("remount", unix.SYS_MOUNT, 0, text("/usr"), 0, unix.MS_REMOUNT|unix.MS_BIND, 0)
		call("unmount", unix.SYS_UMOUNT2, text("/usr"), unix.MNT_DETACH)
		call("pivot", unix.SYS_PIVOT_ROOT, text("/tmp"), text("/tmp"))
		call("open_tree", unix.SYS_OPEN_TREE, 0, text("/"), 1)
		call("fsopen", unix.SYS_FSOPEN, text("tmpfs"), 0)
		call("move_mount", unix.SYS_MOVE_MOUNT, 0, 0, 0, 0, 0)
		call("mount_setattr", unix.SYS_MOUNT_SETATTR, 0, 0, 0, 0, 0)
		got("a file under /usr", os.WriteFile("/usr/x", nil, 0o600))
	},
	"namespaces": func() {
		for name, flag := range map[string]uintptr{"user": unix.CLONE_NEWUSER, "mount": unix.CLONE_NEWNS, "network": unix.CLONE_NEWNET, "pid": unix.CLONE_NEWPID} {
			call("unshare "+name, unix.SYS_UNSHARE, flag)
			call("clone "+name, unix.SYS_CLONE, flag|uintptr(unix.SIGCHLD))
		}
		call("clone3", unix.SYS_CLONE3, 0, 0)
		call("setns", unix.SYS_SETNS, 0, 0)
		call("personality", unix.SYS_PERSONALITY, 0x0400000)
	},
	"keys": func() {
		call("keyctl", unix.SYS_KEYCTL, 0, 0)
		call("add_key", unix.SYS_ADD_KEY)
		call("request_key", unix.SYS_REQUEST_KEY)
	},
	"bpf": func() { call("bpf", unix.SYS_BPF, 0, 0, 0); call("perf", unix.SYS_PERF_EVENT_OPEN, 0, 0, 0, 0, 0) },
	"io_uring": func() {
		call("setup", unix.SYS_IO_URING_SETUP, 8, 0)
		call("enter", unix.SYS_IO_URING_ENTER)
		call("register", unix.SYS_IO_URING_REGISTER)
	},
	"user faults": func() { call("userfaultfd", unix.SYS_USERFAULTFD, 0) },
	"modules": func() {
		call("init", unix.SYS_INIT_MODULE, 0, 0, 0)
		call("finit", unix.SYS_FINIT_MODULE, 0, 0, 0)
		call("delete", unix.SYS_DELETE_MODULE, 0, 0)
	},
	"another kernel": func() {
		call("kexec", unix.SYS_KEXEC_LOAD, 0, 0, 0, 0)
		call("reboot", unix.SYS_REBOOT, unix.LINUX_REBOOT_MAGIC1, unix.LINUX_REBOOT_MAGIC2, unix.LINUX_REBOOT_CMD_RESTART)
	},
	"the clock": func() {
		call("set", unix.SYS_SETTIMEOFDAY, 0, 0)
		call("clock", unix.SYS_CLOCK_SETTIME, 0, 0)
		call("adjust", unix.SYS_ADJTIMEX, 0)
	},
	"the machine": func() {
		call("name", unix.SYS_SETHOSTNAME, text("x"), 1)
		call("swap", unix.SYS_SWAPON, text("/out/x"), 0)
		call("log", unix.SYS_SYSLOG, 3, 0, 0)
		call("sync", unix.SYS_SYNC)
		call("accounts", unix.SYS_ACCT, 0)
	},
	"files by handle": func() {
		call("open", unix.SYS_OPEN_BY_HANDLE_AT, 0, 0, 0)
		call("name", unix.SYS_NAME_TO_HANDLE_AT, 0, 0, 0, 0, 0)
		call("watch", unix.SYS_FANOTIFY_INIT, 0, 0)
		call("quota", unix.SYS_QUOTACTL, 0, 0, 0, 0)
	},
	"other filters": func() { call("seccomp", unix.SYS_SECCOMP, 0, 0, 0) },
	"first in line": func() {
		call("affinity", unix.SYS_SCHED_SETAFFINITY, 0, 8, uintptr(unsafe.Pointer(&[8]byte{255})))
		call("real time", unix.SYS_SCHED_SETSCHEDULER, 0, 1, uintptr(unsafe.Pointer(&[4]byte{1})))
		call("disk", unix.SYS_IOPRIO_SET, 1, 0, 1<<13)
		got("priority", unix.Setpriority(unix.PRIO_PROCESS, 0, -20))
	},
	"more than its limits": func() {
		for what, n := range map[int]uint64{unix.RLIMIT_CORE: 1, unix.RLIMIT_FSIZE: 1 << 40, unix.RLIMIT_NOFILE: 1 << 20, unix.RLIMIT_MEMLOCK: 1 << 40} {
			got("limit "+strconv.Itoa(what), unix.Setrlimit(what, &unix.Rlimit{Cur: n, Max: n}))
		}
		open := 0
		for ; open < 10000; open++ {
			if _, err := os.Open("/dev/null"); err != nil {
				break
			}
		}
		if open >= 5000 {
			fmt.Println("escaped: opened", open)
		}
	},
	"type for the owner": func() {
		x := byte('x')
		for fd := range 3 {
			if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCSTI, uintptr(unsafe.Pointer(&x))); e != unix.EPERM && e != unix.ENOTTY { // or there is none
				fmt.Println("escaped: TIOCSTI", e)
			}
		}
		got("a terminal", opens("/dev/tty"))
	},
	"what it was given": func() {
		_ = writes("/proc/self/fd/0", "changed") // the host's file must not be
		got("a mount", writes("/in/canary", "changed"))
		got("a mount, anew", os.Remove("/in/canary"))
		got("itself", writes("/hpips/program", "changed"))
		got("itself, anew", os.Remove("/hpips/program"))
		got("its rights", os.Chmod("/in/canary", 0o777))
		for fd := 3; fd < 256; fd++ {
			if to, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd)); err == nil && !strings.HasPrefix(to, "anon_inode:") && !strings.HasPrefix(to, "/proc") && !strings.HasPrefix(to, "/sys/fs/cgroup/") { // which this program's runtime opens
				fmt.Println("escaped: an open file", to)
			}
		}
	},
	"the others": func() {
		pid, _ := strconv.Atoi(hostPID)
		got("signal the node", unix.Kill(pid, 0))
		_ = unix.Kill(1, unix.SIGKILL) // the first of the namespace does not hear
		_ = unix.Kill(-1, unix.SIGTERM)
	},
	"long names": func() {
		long := strings.Repeat("n", 255)
		if os.Chdir("/out") != nil {
			os.Exit(2)
		}
		for range 40 {
			if os.Mkdir(long, 0o700) != nil || os.Chdir(long) != nil {
				os.Exit(2)
			}
		}
	},
	"deep folders": func() {
		if os.Chdir("/out") != nil {
			os.Exit(2)
		}
		for range 3000 {
			if os.Mkdir("d", 0o700) != nil || os.Chdir("d") != nil {
				os.Exit(1)
			}
		}
	},
	"shut folders": func() {
		if os.MkdirAll("/out/a/b", 0o700) != nil || os.WriteFile("/out/a/b/x", nil, 0) != nil || os.Chmod("/out/a/b", 0) != nil || os.Chmod("/out/a", 0) != nil {
			os.Exit(2)
		}
	},
	"a core": func() {
		_ = unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
		_ = unix.Kill(os.Getpid(), unix.SIGKILL)
		spin()
	},
}

const zero = "0000000000000000"

func status() string {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		os.Exit(2)
	}
	return string(b)
}

// made makes an empty file.
func made(path string) string {
	if os.WriteFile(path, nil, 0o600) != nil {
		os.Exit(2)
	}
	return path
}

// but errs if a folder holds nothing but these.
func but(dir string, names ...string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		if !slices.Contains(names, e.Name()) && !slices.Contains(own, filepath.Join(dir, e.Name())) {
			fmt.Println("there is", e.Name())
			return nil
		}
	}
	return errors.New("no more")
}
