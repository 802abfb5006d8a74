package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() {
	add(map[string]func(){
		"fork bomb": func() {
			for {
				_ = again("fork bomb")
			}
		},
		"fork bomb without programs": func() {
			for {
				unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
			}
		},
		"threads": func() {
			for {
				go func() {
					runtime.LockOSThread()
					unix.Pause()
				}()
				time.Sleep(time.Millisecond)
			}
		},
		"zombies": func() {
			for range 40 {
				if _, child := fork(0); child {
					unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
				}
			}
		},
		"stay behind":          func() { must(again("ignore signals", apart, loud)) }, // and keep the pipes open
		"stay behind, quietly": func() { must(again("ignore signals", apart)) },
		"stay behind, stopped": func() { must(again("stop itself", apart, loud)) },
		"keep the pipes":       func() { must(again("sleep", apart, loud)) },
		"another parent": func() {
			_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
			_ = unix.Prctl(unix.PR_SET_PDEATHSIG, 0, 0, 0, 0)
			for range 5 {
				must(again("stay behind", apart, loud))
			}
		},
		"run from memory": func() {
			fd, err := unix.MemfdCreate("x", 0)
			if err != nil {
				return // where nothing counts such memory
			}
			b, err := os.ReadFile("/proc/self/exe")
			must(err)
			_, err = unix.Write(fd, b)
			must(err)
			c := exec.Command(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd), "ignore signals", os.Args[2])
			apart(c)
			must(c.Start())
		},
		"signal the node": func() {
			pid, err := strconv.Atoi(hostPID)
			must(err)
			got("signal the node", unix.Kill(pid, 0))
			got("a handle of the node", func() error { _, err := unix.PidfdOpen(pid, 0); return err }())
		},
		"kill the first process": func() { _ = unix.Kill(1, unix.SIGKILL); _ = unix.Kill(1, unix.SIGSTOP) }, // it does not hear
		"kill all":               func() { _ = unix.Kill(-1, unix.SIGTERM) },
		"kill by a handle": func() {
			if fd, err := unix.PidfdOpen(1, 0); err == nil {
				_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
			}
		},

		"spin":  spin,
		"sleep": func() { time.Sleep(time.Hour) },
		"spin on all processors": func() {
			for range 8 {
				go spin()
			}
			spin()
		},
		"spin in the kernel": func() {
			f, err := os.Open("/dev/urandom")
			must(err)
			for b := make([]byte, 1<<20); ; {
				_, _ = f.Read(b)
			}
		},
		"spin as many": func() {
			for range 8 {
				must(again("ignore signals"))
			}
			spin()
		},
		"ignore signals": func() { signal.Ignore(); spin() },
		"stop itself":    func() { _ = unix.Kill(os.Getpid(), unix.SIGSTOP); spin() },
		"exec for ever":  func() { must(syscall.Exec("/proc/self/exe", os.Args, os.Environ())) },
		"wait for a child that never ends": func() {
			if _, child := fork(unix.CLONE_VFORK); child { // the parent waits until the child is another program
				for {
					unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
				}
			}
		},
		"leave its session": func() {
			_, _ = unix.Setsid()
			_ = unix.Setpgid(0, 0)
			spin()
		},
		"yield for ever": func() {
			for {
				unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
			}
		},
		"signal itself for ever": func() {
			heard := make(chan os.Signal, 1)
			signal.Notify(heard, unix.SIGUSR1)
			for {
				_ = unix.Kill(os.Getpid(), unix.SIGUSR1)
			}
		},

		"affinity":   refused(unix.SYS_SCHED_SETAFFINITY, 0, 8, text("\xff\xff\xff\xff\xff\xff\xff\xff")),
		"real time":  func() { call("real time", unix.SYS_SCHED_SETSCHEDULER, 0, 1, uintptr(unsafe.Pointer(&[4]byte{1}))) },
		"disk first": refused(unix.SYS_IOPRIO_SET, 1, 0, 1<<13),
		"priority":   func() { got("priority", unix.Setpriority(unix.PRIO_PROCESS, 0, -20)) },
		"autogroup":  writing("/proc/self/autogroup"),
	})
	for name, signal := range map[string]string{"SIGABRT": "ABRT", "SIGSEGV": "SEGV", "SIGBUS": "BUS", "SIGILL": "ILL", "SIGFPE": "FPE", "SIGTRAP": "TRAP", "SIGXCPU": "XCPU"} {
		acts[name] = func() { // a shell leaves signals as they are
			_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 1 << 30, Max: 1 << 30})
			must(syscall.Exec("/bin/sh", []string{"sh", "-c", "cd /out; kill -" + signal + " $$; sleep 100", os.Args[2]}, os.Environ()))
		}
	}
	acts["a core"] = func() {
		_ = unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
		_ = unix.Kill(os.Getpid(), unix.SIGKILL)
		spin()
	}
}
