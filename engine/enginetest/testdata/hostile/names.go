package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// climb goes up from a folder and down again to the canary.
func climb(bases ...string) func() {
	return func() {
		for _, base := range bases {
			got(base+" …", opens(base+strings.Repeat("/..", 32)+canary))
			got(base+" … for writing", writes(base+strings.Repeat("/..", 32)+canary, "changed"))
		}
	}
}

// swap changes a folder for a link and back while it is being looked at, and does something beside that.
func swap(to string, beside func()) {
	must(os.MkdirAll("/out/a/b/c", 0o700))
	must(os.Symlink(to, "/out/link"))
	go func() {
		for {
			beside()
		}
	}()
	for {
		_ = unix.Renameat2(unix.AT_FDCWD, "/out/a", unix.AT_FDCWD, "/out/link", unix.RENAME_EXCHANGE)
	}
}

// firsts is a file of the first process's folder in /proc.
func firsts(name string) string { return "/proc/1/" + name }

func init() {
	add(map[string]func(){
		"climb from /out":       climb("/out"),
		"climb from /in":        climb("/in", "/in/deep"),
		"climb from /tmp":       climb("/tmp", "/dev/shm"),
		"climb from /usr":       climb("/usr", "/usr/lib", "/hpips"),
		"climb from its folder": climb("/proc/self/cwd", "/proc/self/root", "/proc/self/exe/..", "."),
		"the canary": func() {
			got("the canary", opens(canary))
			got("its folder", opens(house))
			got("its rights", os.Chmod(canary, 0o777))
			got("its name", os.Rename(canary, canary+"2"))
			got("the canary, gone", os.Remove(canary))
		},
		"links of its inputs": func() {
			for _, name := range []string{"outside", "house/canary", "up/../" + canary, "root" + canary, "self" + canary, "root/root" + canary, "loop", "nowhere"} {
				got("/in/"+name, opens("/in/"+name))
				got("/in/"+name+" for writing", writes("/in/"+name, "changed"))
			}
		},
		"links out": func() {
			for name, to := range map[string]string{"passwd": "/etc/passwd", "up": "../../../../../..", "canary": canary, "house": house, "proc": firsts("root")} {
				must(os.Symlink(to, "/out/"+name))
			}
			got("the canary", opens("/out/canary"))
			got("the canary, by its folder", opens("/out/house/canary"))
		},
		"links out of links": func() {
			must(os.MkdirAll("/out/d", 0o700))
			must(os.Symlink("d", "/out/e"))
			must(os.Symlink("../../../.."+canary, "/out/d/f"))
			must(os.Symlink("e/f", "/out/g"))
			got("the canary", opens("/out/g"))
		},
		"hard links": func() {
			for _, from := range []string{"/usr/bin/env", "/in/data", "/hpips/program", "/etc/passwd", canary, "/dev/null", "/proc/self/status"} {
				got("a hard link to "+from, os.Link(from, "/out/link"))
			}
		},
		"hard links to what is open": func() {
			for _, from := range []string{"/in/data", "/hpips/program", "/etc/passwd"} {
				fd, err := unix.Open(from, unix.O_RDONLY, 0)
				must(err)
				got("a link to an open "+from, unix.Linkat(fd, "", unix.AT_FDCWD, "/out/x", unix.AT_EMPTY_PATH))
				got("a link to an open "+from+" by its number", unix.Linkat(unix.AT_FDCWD, fmt.Sprint("/proc/self/fd/", fd), unix.AT_FDCWD, "/out/x", unix.AT_SYMLINK_FOLLOW))
			}
		},
		"move the output away": func() {
			got("move /out", os.Rename("/out", "/tmp/out"))
			got("move /tmp", os.Rename("/tmp", "/out/tmp"))
			got("remove /out", unix.Rmdir("/out"))
			got("remove /tmp", unix.Rmdir("/tmp"))
		},
		"move an input": func() {
			got("move /in", os.Rename("/in", "/tmp/in"))
			got("move a file of it", os.Rename("/in/data", "/out/data"))
			got("put something there", os.Rename(made("/out/x"), "/in/x"))
		},
		"out of a shut room": func() { // the way out of chroot, which needs it
			fd, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY, 0)
			must(err)
			call("chroot", unix.SYS_CHROOT, text("/tmp"))
			must(unix.Fchdir(fd))
			for range 64 {
				must(os.Chdir(".."))
			}
			got("the canary", opens("."+canary))
		},
		"files by handle":  refused(unix.SYS_OPEN_BY_HANDLE_AT, 0, 0, 0),
		"name of a handle": refused(unix.SYS_NAME_TO_HANDLE_AT, 0, 0, 0, 0, 0),
		"watch all": func() {
			call("init", unix.SYS_FANOTIFY_INIT, 0, 0)
			call("mark", unix.SYS_FANOTIFY_MARK, 0, 0, 0, 0, 0)
		},
		"change names while it is watched": func() { swap(canary, func() { _ = os.Chmod("/out/a/b", 0) }) },
		"change folders while they are watched": func() {
			swap(house, func() { _ = os.Chmod("/out/a", 0); _ = os.Chmod("/out/link", 0) })
		},

		"its input":          writing("/in/data", "/in/deep/data"),
		"an input, anew":     func() { got("gone", os.Remove("/in/data")); got("new", os.WriteFile("/in/new", nil, 0o600)) },
		"its program":        func() { writing("/hpips/program")(); got("gone", os.Remove("/hpips/program")) },
		"its rights":         func() { got("rights", os.Chmod("/in/data", 0o777)); got("times", os.Chtimes("/in/data", epoch, epoch)) },
		"its standard input": func() { _ = writes("/proc/self/fd/0", "changed") }, // the host's file must not be
		"open files": func() {
			for fd := 3; fd < 256; fd++ {
				if to, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd)); err == nil && !strings.HasPrefix(to, "anon_inode:") && !strings.HasPrefix(to, "/proc") {
					fmt.Println("escaped: an open file", to)
				}
			}
		},

		"/root": opening("/root"), "/home": opening("/home"), "/var": opening("/var"), "/sys": opening("/sys"), "/boot": opening("/boot"),
		"/etc": func() {
			opening("/etc/shadow", "/etc/hostname", "/etc/ssh", "/etc/machine-id")()
			got("more in /etc than was made up", but("/etc", "passwd", "group", "hosts", "ld.so.cache", "alternatives"))
		},
		"/run": func() { got("something in /run", but("/run")) },
		"the root": func() {
			got("more in the root", but("/", "usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc", "proc", "dev", "tmp", "run", "hpips", "in", "out"))
		},
		"other systems": opening("/mnt", "/media", "/srv", "/opt", "/lost+found", "/.dockerenv"),

		"root of the first process":   opening(firsts("root" + canary)),
		"folder of the first process": opening(firsts("cwd"+canary), firsts("cwd/home")),
		"memory of the first process": writing(firsts("mem")),
		"files of the first process": func() {
			list, _ := filepath.Glob(firsts("fd/*"))
			for _, name := range list {
				if to, err := os.Readlink(name); err == nil && strings.HasPrefix(to, "/") && to != "/dev/null" && !strings.HasPrefix(to, "/proc") && !strings.HasPrefix(to, "/memfd:") {
					fmt.Println("escaped: the first process has", to)
				}
			}
		},
		"maps of the first process": func() {
			list, _ := filepath.Glob(firsts("map_files/*"))
			for _, name := range list {
				got(name, writes(name, "x"))
			}
		},
		"what the first process was started with": func() {
			b, err := os.ReadFile(firsts("environ"))
			if err == nil && strings.Contains(strings.ReplaceAll(string(b), "LC_ALL=C", ""), "=") {
				fmt.Println("escaped: the first process has", string(b))
			}
		},
		"its own root": opening("/proc/self/root"+canary, "/proc/self/root"+"/../.."+canary, "/proc/thread-self/root"+canary),
		"other processes": func() {
			list, _ := filepath.Glob("/proc/[0-9]*")
			if len(list) > 3 {
				fmt.Println("escaped: sees processes", list)
			}
		},
		"the host's process":  opening("/proc/"+hostPID+"/environ", "/proc/"+hostPID+"/root", "/proc/"+hostPID+"/fd"),
		"the kernel's memory": opening("/proc/kcore", "/dev/mem", "/dev/kmem", "/dev/port"),
		"the kernel's log":    func() { opening("/dev/kmsg")(); got("read", readable("/proc/kmsg")) },
		"the host's sockets by name": func() {
			got("its socket", holds("/proc/net/unix", socket))
			n, err := strconv.Atoi(port)
			must(err)
			got("its port", holds("/proc/net/tcp", fmt.Sprintf(":%04X", n)))
			got("its port", holds("/proc/self/net/udp", fmt.Sprintf(":%04X", n)))
		},

		"core_pattern": writing("/proc/sys/kernel/core_pattern"), "modprobe": writing("/proc/sys/kernel/modprobe"), "drop_caches": writing("/proc/sys/vm/drop_caches"),
		"sysrq": writing("/proc/sys/kernel/sysrq"), "hostname": writing("/proc/sys/kernel/hostname"), "forwarding": writing("/proc/sys/net/ipv4/ip_forward"),
		"overcommit": writing("/proc/sys/vm/overcommit_memory", "/proc/sys/fs/file-max"), "sysrq-trigger": writing("/proc/sysrq-trigger"), "uid_map": writing("/proc/self/uid_map"),
		"gid_map": writing("/proc/self/gid_map"), "setgroups": writing("/proc/self/setgroups"), "irq": writing("/proc/irq/default_smp_affinity"),
		"timerslack": writing("/proc/1/timerslack_ns"), "a core's filter": writing("/proc/self/coredump_filter"),
	})
}

// readable errs if nothing can be read from a file.
func readable(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	b := make([]byte, 1)
	if n, err := unix.Read(fd, b); err != nil || n == 0 {
		return errors.New("nothing")
	}
	return nil
}

// holds errs if a file does not hold a word.
func holds(path, word string) error {
	b, err := os.ReadFile(path)
	if err == nil && !strings.Contains(string(b), word) {
		err = errors.New("no such word")
	}
	return err
}

// pointer gives the address of a number.
func pointer[T any](v *T) uintptr { return uintptr(unsafe.Pointer(v)) }
