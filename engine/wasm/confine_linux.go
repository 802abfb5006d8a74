package wasm

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/elastic/go-seccomp-bpf"
	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"

	"github.com/hpips/hpips/engine/syscalls"
)

// confine gives up, for this process and for good, all that a child does not need. It goes on where the kernel lacks a layer, and says so.
func confine(r reach) []Check {
	closeInherited()
	niceDown(r.nice)
	checks := []Check{limit(r), dieWithParent(), noNewPrivs()}
	return append(checks, lock(r), filter())
}

// closeInherited closes files that came with the process: whoever started the node may have left some open. The Go runtime keeps its own.
func closeInherited() {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, e := range list {
		fd, err := strconv.Atoi(e.Name())
		to, gone := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || gone != nil || fd <= 2 || strings.HasPrefix(to, "anon_inode:") || strings.HasPrefix(to, "/sys/fs/cgroup/") {
			continue
		}
		unix.Close(fd)
	}
}

func verdict(name string, err error, good string) Check {
	if err != nil {
		return Check{Name: name, Detail: err.Error()}
	}
	return Check{Name: name, OK: true, Detail: good}
}

// limit sets the resource limits. A file past its size is an error to the writer, not a signal.
func limit(r reach) Check {
	signal.Ignore(unix.SIGXFSZ)
	set := func(what int, n uint64) error { return unix.Setrlimit(what, &unix.Rlimit{Cur: n, Max: n}) }
	err := errors.Join(set(unix.RLIMIT_CORE, 0), set(unix.RLIMIT_NOFILE, 1024), set(unix.RLIMIT_FSIZE, uint64(r.file)))
	if now, e := addresses(); e == nil {
		err = errors.Join(err, set(unix.RLIMIT_AS, now+uint64(r.memory)))
	} else {
		err = errors.Join(err, e)
	}
	if r.seconds > 0 {
		err = errors.Join(err, set(unix.RLIMIT_CPU, r.seconds))
	}
	return verdict("limits", err, "core, files, file size, addresses")
}

// addresses is what this process has mapped, in bytes. Go maps much that it never touches, and more with the race detector.
func addresses() (uint64, error) {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(b), " ")
	pages, err := strconv.ParseUint(first, 10, 64)
	return pages * uint64(os.Getpagesize()), err
}

// niceDown lowers the priority of the threads there are; later ones inherit it. Where the kernel weighs sessions first, and threads only against those of their own session,
// it lowers that of the child's session, too. The owner's own programs come first, and when memory runs out, the child goes before them.
func niceDown(nice int) {
	if nice > 0 {
		_ = os.WriteFile("/proc/self/autogroup", []byte(strconv.Itoa(nice)), 0) // a kernel without it has no such groups
	}
	if list, err := os.ReadDir("/proc/self/task"); err == nil && nice > 0 {
		for _, e := range list {
			if tid, err := strconv.Atoi(e.Name()); err == nil {
				_ = unix.Setpriority(unix.PRIO_PROCESS, tid, nice) // the thread may be gone
			}
		}
	}
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0) // a courtesy, no wall
}

// dieWithParent keeps the signal that the parent has set for its death. A thread that was begun since does not show it (prctl(2)), so this one, too, is given it: Go keeps its threads.
func dieWithParent() Check {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var sig int32
	err := errors.Join(unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0), prctlGet(unix.PR_GET_PDEATHSIG, &sig))
	if err == nil && sig != int32(unix.SIGKILL) {
		err = errors.New("the kernel keeps no signal")
	}
	return verdict("die-with-parent", err, "killed when the node ends")
}

func noNewPrivs() Check {
	err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	return verdict("no-new-privs", errors.Join(err, unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)), "set; other processes of this user may not look in")
}

// Landlock access: files are read and written, folders made and removed; links, pipes, sockets and devices are nobody's to make.
const (
	lockRead  landlock.AccessFSSet = ll.AccessFSReadFile | ll.AccessFSReadDir
	lockFile  landlock.AccessFSSet = ll.AccessFSReadFile
	lockWrite landlock.AccessFSSet = lockRead | ll.AccessFSWriteFile | ll.AccessFSTruncate | ll.AccessFSMakeReg | ll.AccessFSMakeDir |
		ll.AccessFSRemoveFile | ll.AccessFSRemoveDir
)

// rules open what the child may reach. Moving a file from folder to folder takes a right that the first version does not know, and asking
// for it there would leave everything open.
func rules(r reach, version int) []landlock.Rule {
	var out []landlock.Rule
	for _, p := range r.read {
		info, err := os.Stat(p)
		if err != nil {
			continue // a task that needs it will say so
		}
		access := lockFile
		if info.IsDir() {
			access = lockRead
		}
		out = append(out, landlock.PathAccess(access, p))
	}
	if r.write != "" {
		access := lockWrite
		if version >= 2 {
			access |= ll.AccessFSRefer
		}
		out = append(out, landlock.PathAccess(access, r.write))
	}
	return out
}

func lock(r reach) Check {
	version, err := ll.LandlockGetABIVersion()
	if err != nil || version < 1 {
		return Check{Name: "landlock", Detail: "the kernel has none: programs are held by WASM, seccomp and a process of their own; use Linux 5.13 or newer with Landlock on"}
	}
	err = landlock.V7.BestEffort().Restrict(rules(r, version)...)
	return verdict("landlock", err, fmt.Sprintf("ABI %d: %s", version, locked(version)))
}

// locked is what a version of Landlock keeps a child from (landlock(7)); what it leaves, the filter of system calls does.
func locked(version int) string {
	switch {
	case version >= 6:
		return "files, network, signals"
	case version >= 4:
		return "files, network"
	}
	return "files"
}

// denied are the calls, beyond those that no sandbox has a use for, that neither a WASM program nor the Go runtime under it needs: the network, other processes,
// other programs, links and devices, and what Landlock does not see: the rights, times and attributes of any file of this user, the priority of any process of this
// user, and memory and queues that other programs share.
var denied = strings.Fields(`
socket socketpair connect bind listen accept accept4 sendto sendmsg sendmmsg recvfrom recvmsg recvmmsg execve execveat fork vfork pidfd_open
pidfd_send_signal inotify_init inotify_init1 inotify_add_watch truncate symlink symlinkat link linkat mknod mknodat chown fchown lchown fchownat chmod
fchmod fchmodat fchmodat2 utime utimes futimesat utimensat file_setattr setxattr lsetxattr fsetxattr setxattrat removexattr lremovexattr fremovexattr
removexattrat setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid setgroups capset setsid setpgid setpriority memfd_create shmget
shmat shmdt shmctl msgget msgsnd msgrcv msgctl semget semop semtimedop semctl mq_open mq_unlink vmsplice tee splice tkill rt_sigqueueinfo
rt_tgsigqueueinfo prctl setrlimit prlimit64 ioctl`)

// guarded are the calls that are allowed with some arguments only: a clone makes threads and no processes, a signal stays in this process,
// and no file is made to send signals to others.
func guarded() []seccomp.NameWithConditions {
	self := syscalls.When(0, seccomp.Equal, uint64(os.Getpid()))
	return []seccomp.NameWithConditions{
		{Name: "clone", Conditions: seccomp.ArgumentConditions{syscalls.When(0, seccomp.BitsSet, unix.CLONE_THREAD), syscalls.When(0, seccomp.BitsNotSet, syscalls.Namespaces)}},
		{Name: "kill", Conditions: seccomp.ArgumentConditions{self}},
		{Name: "tgkill", Conditions: seccomp.ArgumentConditions{self}},
		{Name: "fcntl", Conditions: seccomp.ArgumentConditions{
			syscalls.When(1, seccomp.LessOrEqual, 1<<16), // the kernel looks at the lower half alone
			syscalls.When(1, seccomp.NotEqual, unix.F_SETOWN), syscalls.When(1, seccomp.NotEqual, unix.F_SETOWN_EX), syscalls.When(1, seccomp.NotEqual, unix.F_SETSIG),
			syscalls.When(1, seccomp.NotEqual, unix.F_SETLEASE), syscalls.When(1, seccomp.NotEqual, unix.F_NOTIFY),
		}},
	}
}

// filter installs the seccomp filter in all threads.
func filter() Check {
	f, denied, err := syscalls.Allow(append(slices.Clone(syscalls.Doors), denied...), guarded())
	if err == nil {
		err = f.Install()
	}
	return verdict("seccomp", err, fmt.Sprintf("%d system calls denied, and those not known", denied))
}
