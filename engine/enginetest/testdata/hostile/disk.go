package main

import (
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func init() {
	add(map[string]func(){
		"fill the disk":     func() { fill("/out/x", 1<<20) },
		"fill /tmp":         func() { fill("/tmp/x", 1<<20) },
		"fill /dev/shm":     func() { fill("/dev/shm/x", 1<<20) },
		"one large file":    func() { fill("/out/x", 64<<20) },
		"fill the inodes":   func() { fill("/out/x", 0) },
		"fill the root":     func() { got("a file in the root", os.WriteFile("/x", nil, 0o600)) },
		"fill /run":         func() { got("a file in /run", os.WriteFile("/run/x", nil, 0o600)) },
		"fill /dev":         func() { got("a file in /dev", os.WriteFile("/dev/y", nil, 0o600)) },
		"many sparse files": endlessly(func(n int) error { return os.Truncate(made(fmt.Sprint("/out/", n)), 4<<20) }),
		"fill the disk, hidden": func() {
			for {
				f, err := os.Create("/out/x")
				must(err)
				must(os.Remove("/out/x"))
				if _, err := f.Write(take(1 << 20)); err != nil {
					os.Exit(1)
				}
				defer f.Close()
			}
		},
		"nameless files": endlessly(func(int) error {
			fd, err := unix.Open("/out", unix.O_TMPFILE|unix.O_WRONLY, 0o600)
			if err == nil {
				_, err = unix.Write(fd, take(1<<20))
			}
			return err
		}),
		"fill a shut folder": func() {
			must(os.Mkdir("/out/shut", 0o700))
			must(os.Chdir("/out/shut"))
			must(os.Chmod("/out/shut", 0o300))
			fill("x", 1<<20)
		},
		"folders without end": endlessly(func(n int) error { return os.Mkdir(fmt.Sprint("/out/", n), 0o700) }),
		"links without end":   endlessly(func(n int) error { return os.Symlink("x", fmt.Sprint("/out/", n)) }),
		"pipes without end":   endlessly(func(n int) error { return unix.Mkfifo(fmt.Sprint("/out/", n), 0o600) }),
		"names for one file": func() {
			f := made("/out/x")
			endlessly(func(n int) error { return os.Link(f, fmt.Sprint("/out/", n)) })()
		},
		"a sparse file": func() { got("a file of a terabyte", os.Truncate(made("/out/x"), 1<<40)); os.Exit(1) },
		"room for a terabyte": func() {
			f, err := os.Create("/out/x")
			must(err)
			got("room for a terabyte", unix.Fallocate(int(f.Fd()), 0, 0, 1<<40))
			os.Exit(1)
		},
		"attributes": func() {
			x := made("/out/x")
			_ = unix.Setxattr(x, "user.x", make([]byte, 4000), 0) // where the file system has room for it, it counts little
			got("an attribute of the system", unix.Setxattr(x, "trusted.x", []byte("x"), 0))
			got("an attribute of security", unix.Setxattr(x, "security.x", []byte("x"), 0))
		},
		"a file that stays": func() {
			f, err := os.Create("/out/x")
			must(err)
			for _, flag := range []int{0x10, 0x20} { // FS_IMMUTABLE_FL, FS_APPEND_FL
				got("a file that nobody can remove", unix.IoctlSetPointerInt(int(f.Fd()), 0x40086602, flag)) // FS_IOC_SETFLAGS
			}
		},
		"deep folders": func() {
			must(os.Chdir("/out"))
			for range 3000 {
				if os.Mkdir("d", 0o700) != nil || os.Chdir("d") != nil {
					os.Exit(1)
				}
			}
		},
		"long names": func() {
			long := strings.Repeat("n", 255)
			must(os.Chdir("/out"))
			for range 40 {
				must(os.Mkdir(long, 0o700))
				must(os.Chdir(long))
			}
		},
		"shut folders": func() {
			must(os.MkdirAll("/out/a/b", 0o700))
			must(os.WriteFile("/out/a/b/x", nil, 0))
			must(os.Chmod("/out/a/b", 0))
			must(os.Chmod("/out/a", 0))
		},
		"strange names": func() {
			for _, name := range []string{"a\nb", "\x1b[2J", "\xff\xfe", "-rf", "...", " ", "CON", "a:b", "a\\b", "\u202egnp.exe", "ﬁ", strings.Repeat("é", 127), "*", "$(id)", "`id`", "\x7f"} {
				must(os.WriteFile("/out/"+name, []byte(name), 0o600))
				must(os.WriteFile("/tmp/"+name, []byte(name), 0o600))
			}
		},
		"strange times": func() {
			for name, at := range map[string]time.Time{"old": time.Unix(-1<<33, 0), "new": time.Unix(1<<33, 999), "zero": {}} {
				must(os.Chtimes(made("/out/"+name), at, at))
			}
		},
		"links in a circle": func() {
			must(os.Symlink("b", "/out/a"))
			must(os.Symlink("a", "/out/b"))
			must(os.Symlink(".", "/out/here"))
			must(os.Symlink("/out", "/out/up"))
		},
		"strange files": func() {
			must(unix.Mkfifo("/out/pipe", 0o600))
			must(os.Chmod(made("/out/suid"), os.ModeSetuid|os.ModeSetgid|0o755))
		},
		"sockets and pipes": func() {
			must(os.Mkdir("/out/deep", 0o700))
			must(unix.Mkfifo("/out/deep/pipe", 0))
			l, err := net.Listen("unix", "/out/deep/socket")
			must(err)
			l.(*net.UnixListener).SetUnlinkOnClose(false)
		},
		"rights of another": func() {
			for n, mode := range []os.FileMode{0, 0o111, 0o222, 0o777} {
				must(os.Chmod(made(fmt.Sprint("/out/", n)), mode))
			}
		},
		"sticky folders": func() {
			must(os.Mkdir("/out/d", 0o700))
			must(os.Chmod("/out/d", os.ModeSticky|os.ModeSetgid|0o777))
			made("/out/d/x")
		},

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
		"both": func() { go acts["endless output"](); acts["endless complaints"]() },
		"byte by byte": func() {
			go endlessly(func(int) error { _, err := unix.Write(2, []byte("y")); return err })()
			endlessly(func(int) error { _, err := unix.Write(1, []byte("x")); return err })()
		},
		"by sendfile": func() {
			f, err := os.OpenFile("/tmp/x", os.O_CREATE|os.O_RDWR, 0o600)
			must(err)
			must(f.Truncate(1 << 20))
			endlessly(func(int) error { at := int64(0); _, err := unix.Sendfile(1, int(f.Fd()), &at, 1<<20); return err })()
		},
		"by splice": func() {
			f, err := os.OpenFile("/tmp/x", os.O_CREATE|os.O_RDWR, 0o600)
			must(err)
			must(f.Truncate(1 << 20))
			endlessly(func(int) error { at := int64(0); _, err := unix.Splice(int(f.Fd()), &at, 1, nil, 1<<16, 0); return err })()
		},
		"a larger pipe": func() {
			_, err := unix.FcntlInt(1, unix.F_SETPIPE_SZ, 1<<30)
			got("a pipe of a GiB", err)
			_ = unix.SetNonblock(1, true)
			_ = unix.SetNonblock(1, false)
		},
		"without its output": func() { fmt.Println("done"); _ = unix.Close(1); _ = unix.Close(2); _ = unix.Close(0) },
		"read its own output": func() {
			f, err := os.Open("/proc/self/fd/1")
			must(err)
			for b := make([]byte, 1<<10); ; {
				_, _ = f.Read(b) // what it takes back was its own
			}
		},
	})
}
