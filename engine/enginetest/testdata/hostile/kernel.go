package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// epoch is a time that no file of the host has.
var epoch = time.Unix(1, 0)

const zero = "0000000000000000"

// node makes device nodes, which must be refused.
func node(major, minor uint32) func() {
	return func() {
		dev := int(unix.Mkdev(major, minor))
		for _, dir := range []string{"/out/", "/tmp/", "/dev/shm/"} {
			got("a character device", unix.Mknod(dir+"c", unix.S_IFCHR|0o600, dev))
			got("a block device", unix.Mknod(dir+"b", unix.S_IFBLK|0o600, dev))
		}
	}
}

func limit(what int, n uint64) func() {
	return func() { got("a higher limit", unix.Setrlimit(what, &unix.Rlimit{Cur: n, Max: n})) }
}

func init() {
	add(map[string]func(){
		"nodes of memory": node(1, 1), "nodes of the disk": node(254, 0), "nodes of the log": node(1, 11), "a node of null": node(1, 3),
		"more in /dev": func() {
			got("more", but("/dev", "null", "zero", "full", "random", "urandom", "fd", "stdin", "stdout", "stderr", "shm"))
		},
		"a new one in /dev":        func() { got("a new one", os.WriteFile("/dev/x", nil, 0o600)) },
		"terminals":                opening("/dev/tty", "/dev/ptmx", "/dev/pts/ptmx", "/dev/console", "/dev/tty1"),
		"virtual machines":         opening("/dev/kvm", "/dev/vhost-net", "/dev/vhost-vsock"),
		"file systems by programs": opening("/dev/fuse", "/dev/cuse"), "tunnels": opening("/dev/net/tun"), "loops": opening("/dev/loop-control", "/dev/loop0", "/dev/sda", "/dev/vda", "/dev/nvme0n1", "/dev/mapper/control"),
		"video": opening("/dev/dri/card0", "/dev/dri/renderD128", "/dev/nvidiactl", "/dev/nvidia0", "/dev/fb0", "/dev/video0", "/dev/input/event0", "/dev/snd/controlC0"),

		"setuid": func() { got("setuid", unix.Setuid(0)) }, "setgid": func() { got("setgid", unix.Setgid(0)) }, "setgroups as root": func() { got("setgroups", unix.Setgroups([]int{0})) },
		"setresuid": func() { got("setresuid", unix.Setresuid(0, 0, 0)); got("setresgid", unix.Setresgid(0, 0, 0)) },
		"chown":     func() { got("chown", os.Chown(made("/out/x"), 0, 0)) },
		"capset": func() {
			head, all := [2]uint32{unix.LINUX_CAPABILITY_VERSION_3, 0}, [6]uint32{^uint32(0), ^uint32(0), 0, ^uint32(0), ^uint32(0), 0}
			_, _, e := unix.Syscall(unix.SYS_CAPSET, pointer(&head), pointer(&all), 0)
			if e == 0 {
				fmt.Println("escaped: all capabilities")
			}
		},
		"ambient capabilities": func() {
			got("ambient", unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, unix.CAP_SYS_ADMIN, 0, 0))
		},
		"new privileges": func() { got("undone", unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0)) },
		"secure bits":    func() { got("set", unix.Prctl(unix.PR_SET_SECUREBITS, 1, 0, 0, 0)) },
		"capabilities in files": func() {
			got("in a file", unix.Setxattr(made("/out/x"), "security.capability", []byte("\x01\x00\x00\x02\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 0))
		},
		"programs of root": func() {
			list, err := filepath.Glob("/usr/bin/*")
			must(err)
			for _, name := range list {
				info, err := os.Stat(name)
				if err != nil || info.Mode()&os.ModeSetuid == 0 {
					continue
				}
				c := exec.Command(name, "--version") // whatever it is, it must not be root
				if c.Start() != nil {
					continue
				}
				if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.Process.Pid)); err == nil && strings.Contains(string(b), "Uid:\t1000\t0") {
					fmt.Println("escaped:", name, "is root")
				}
				_ = c.Process.Kill()
				_ = c.Wait()
			}
		},
		"its state": func() {
			b, err := os.ReadFile("/proc/self/status")
			must(err)
			for line := range strings.Lines(string(b)) {
				name, value, _ := strings.Cut(strings.TrimSpace(line), ":\t")
				want := map[string]string{"NoNewPrivs": "1", "Seccomp": "2", "CapInh": zero, "CapPrm": zero, "CapEff": zero, "CapBnd": zero, "CapAmb": zero, "Uid": "1000\t1000\t1000\t1000"}[name]
				if want != "" && value != want {
					fmt.Printf("escaped: %s is %s\n", name, value)
				}
			}
		},

		"mount": refused(unix.SYS_MOUNT, text("none"), text("/tmp"), text("tmpfs"), 0, 0), "bind": refused(unix.SYS_MOUNT, text("/usr"), text("/tmp"), 0, unix.MS_BIND, 0),
		"remount": refused(unix.SYS_MOUNT, 0, text("/usr"), 0, unix.MS_REMOUNT|unix.MS_BIND, 0), "unmount": refused(unix.SYS_UMOUNT2, text("/usr"), unix.MNT_DETACH),
		"pivot_root": refused(unix.SYS_PIVOT_ROOT, text("/tmp"), text("/tmp")), "chroot": refused(unix.SYS_CHROOT, text("/tmp")), "open_tree": refused(unix.SYS_OPEN_TREE, 0, text("/"), 1),
		"fsopen": refused(unix.SYS_FSOPEN, text("tmpfs"), 0), "fsmount": refused(unix.SYS_FSMOUNT, 0, 0, 0), "fspick": refused(unix.SYS_FSPICK, 0, text("/"), 0), "fsconfig": refused(unix.SYS_FSCONFIG, 0, 0, 0, 0, 0),
		"move_mount": refused(unix.SYS_MOVE_MOUNT, 0, 0, 0, 0, 0), "mount_setattr": refused(unix.SYS_MOUNT_SETATTR, 0, 0, 0, 0, 0),
		"statmount": func() { call("statmount", 457, 0, 0, 0, 0); call("listmount", 458, 0, 0, 0, 0) },
		"a file under /usr": func() {
			got("a file", os.WriteFile("/usr/x", nil, 0o600))
			got("another", os.WriteFile("/usr/lib/x", nil, 0o600))
		},
		"clone3": refused(unix.SYS_CLONE3, 0, 0), "setns": refused(unix.SYS_SETNS, 0, 0),
		"user by a program": func() {
			got("unshare", exec.Command("/usr/bin/unshare", "-Ur", "true").Run())
			got("bwrap", exec.Command("/usr/bin/bwrap", "--ro-bind", "/", "/", "true").Run())
		},

		"ptrace attach": refused(unix.SYS_PTRACE, unix.PTRACE_ATTACH, 1), "ptrace seize": refused(unix.SYS_PTRACE, unix.PTRACE_SEIZE, 1), "ptrace traceme": refused(unix.SYS_PTRACE, unix.PTRACE_TRACEME),
		"process_vm_readv": refused(unix.SYS_PROCESS_VM_READV, 1), "process_vm_writev": refused(unix.SYS_PROCESS_VM_WRITEV, 1), "kcmp": refused(unix.SYS_KCMP, 1, 1),
		"pidfd_getfd": refused(unix.SYS_PIDFD_GETFD, 0), "process_madvise": func() {
			call("advise", unix.SYS_PROCESS_MADVISE, 0, 0, 0, 0, 0)
			call("release", unix.SYS_PROCESS_MRELEASE, 0, 0)
		},
		"bpf map": refused(unix.SYS_BPF, 0, 0, 0), "bpf program": refused(unix.SYS_BPF, 5, 0, 0), "perf_event_open": refused(unix.SYS_PERF_EVENT_OPEN, 0, 0, 0, 0, 0),
		"io_uring_setup": refused(unix.SYS_IO_URING_SETUP, 8, 0), "io_uring_enter": refused(unix.SYS_IO_URING_ENTER), "io_uring_register": refused(unix.SYS_IO_URING_REGISTER),
		"userfaultfd": func() { call("call", unix.SYS_USERFAULTFD, 0); opening("/dev/userfaultfd")() }, "seccomp": refused(unix.SYS_SECCOMP, 0, 0, 0),
		"memfd_secret": refused(447, 0), "personality": refused(unix.SYS_PERSONALITY, 0x0400000), "x32": refused(0x40000000 + unix.SYS_GETPID),
		"calls without a name": func() { call("600", 600); call("1000", 1000); call("5000", 5000) },
		"keyctl":               refused(unix.SYS_KEYCTL, 0, 0), "add_key": refused(unix.SYS_ADD_KEY), "request_key": refused(unix.SYS_REQUEST_KEY),
		"init_module": refused(unix.SYS_INIT_MODULE, 0, 0, 0), "finit_module": refused(unix.SYS_FINIT_MODULE, 0, 0, 0), "delete_module": refused(unix.SYS_DELETE_MODULE, 0, 0),
		"kexec_load": refused(unix.SYS_KEXEC_LOAD, 0, 0, 0, 0), "kexec_file_load": refused(unix.SYS_KEXEC_FILE_LOAD, 0, 0, 0, 0, 0),
		"reboot":       refused(unix.SYS_REBOOT, unix.LINUX_REBOOT_MAGIC1, unix.LINUX_REBOOT_MAGIC2, unix.LINUX_REBOOT_CMD_RESTART),
		"settimeofday": refused(unix.SYS_SETTIMEOFDAY, 0, 0), "clock_settime": refused(unix.SYS_CLOCK_SETTIME, 0, 0), "adjtimex": refused(unix.SYS_ADJTIMEX, 0), "clock_adjtime": refused(unix.SYS_CLOCK_ADJTIME, 0, 0),
		"sethostname": refused(unix.SYS_SETHOSTNAME, text("x"), 1), "setdomainname": refused(unix.SYS_SETDOMAINNAME, text("x"), 1), "swapon": refused(unix.SYS_SWAPON, text("/out/x"), 0),
		"swapoff": refused(unix.SYS_SWAPOFF, text("/out/x")), "syslog": refused(unix.SYS_SYSLOG, 3, 0, 0), "acct": refused(unix.SYS_ACCT, 0), "sync": refused(unix.SYS_SYNC), "syncfs": refused(unix.SYS_SYNCFS, 0),
		"quotactl": func() {
			call("quotactl", unix.SYS_QUOTACTL, 0, 0, 0, 0)
			call("quotactl_fd", unix.SYS_QUOTACTL_FD, 0, 0, 0, 0)
		}, "vhangup": refused(unix.SYS_VHANGUP),
		"migrate_pages": refused(unix.SYS_MIGRATE_PAGES, 1, 0, 0, 0), "move_pages": refused(unix.SYS_MOVE_PAGES, 1, 0, 0, 0, 0, 0),
		"type for the owner": func() {
			x := byte('x')
			for fd := range uintptr(3) {
				for _, how := range []uintptr{unix.TIOCSTI, unix.TIOCLINUX, unix.TIOCSTI | 1<<32} {
					if _, _, e := unix.Syscall(unix.SYS_IOCTL, fd, how, pointer(&x)); e != unix.EPERM {
						fmt.Println("escaped:", how, e)
					}
				}
			}
		},
		"the owner's terminal": func() {
			opening("/dev/tty")()
			for fd := range 3 {
				_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
				got("a terminal", err)
			}
		},
		"larger cores": limit(unix.RLIMIT_CORE, 1), "larger files": limit(unix.RLIMIT_FSIZE, 1<<40), "more files": limit(unix.RLIMIT_NOFILE, 1<<20), "more locked memory": limit(unix.RLIMIT_MEMLOCK, 1<<40),
		"limits of the node": func() {
			pid, err := strconv.Atoi(hostPID)
			must(err)
			got("its limits", unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &unix.Rlimit{}))
		},
		"more open files than allowed": func() {
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
	})
	for name, flag := range map[string]uintptr{"user": unix.CLONE_NEWUSER, "mount": unix.CLONE_NEWNS, "network": unix.CLONE_NEWNET, "pid": unix.CLONE_NEWPID, "ipc": unix.CLONE_NEWIPC, "uts": unix.CLONE_NEWUTS, "cgroup": unix.CLONE_NEWCGROUP} {
		acts["unshare "+name] = refused(unix.SYS_UNSHARE, flag)
		acts["clone "+name] = refused(unix.SYS_CLONE, flag|uintptr(unix.SIGCHLD))
	}
}
