package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapped takes memory of the kernel and touches it.
func mapped(n, flags int) error {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, flags)
	if err == nil {
		touch(b)
	}
	return err
}

// pair makes two ends that nobody reads, and fills them.
func pair() error {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	for b := make([]byte, 1<<16); err == nil; {
		_, err = unix.Write(fds[0], b)
	}
	return nil
}

// deeper uses n frames of some 4 KiB.
func deeper(n int) int {
	var frame [512]int
	frame[n%512] = n
	return deeper(n+1) + frame[(n+1)%512]
}

func init() {
	add(map[string]func(){
		"heap": func() {
			for all := [][]byte{}; ; {
				all = append(all, take(1<<20))
			}
		},
		"many small": func() {
			type link struct {
				next *link
				_    [48]byte
			}
			for all := (*link)(nil); ; {
				all = &link{next: all}
			}
		},
		"by brk": func() {
			end, _, _ := unix.Syscall(unix.SYS_BRK, 0, 0, 0)
			for {
				next, _, _ := unix.Syscall(unix.SYS_BRK, end+1<<20, 0, 0)
				if next == end {
					os.Exit(1)
				}
				for ; end < next; end += 4096 {
					*(*byte)(unsafe.Pointer(end)) = 1 //nolint:govet // memory that Go does not know
				}
			}
		},
		"stack": func() {
			debug.SetMaxStack(1 << 34)
			fmt.Println(deeper(0))
		},
		"moved and grown": func() {
			at, size := uintptr(0), uintptr(1<<20)
			at, _, e := unix.Syscall6(unix.SYS_MMAP, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON, ^uintptr(0), 0)
			for e == 0 {
				touch(unsafe.Slice((*byte)(unsafe.Pointer(at)), size)) //nolint:govet // memory that Go does not know
				at, _, e = unix.Syscall6(unix.SYS_MREMAP, at, size, 2*size, 1, 0, 0)
				size *= 2
			}
			os.Exit(1)
		},
		"by copies": func() { // each child writes into what it shares with its parent
			b := take(48 << 20)
			for range 8 {
				if _, child := fork(0); child {
					for i := 0; i < len(b); i += 4096 {
						b[i] = 2
					}
					for {
						unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
					}
				}
			}
			for status := unix.WaitStatus(0); ; {
				if _, err := unix.Wait4(-1, &status, 0, nil); err != nil || status.Signaled() {
					os.Exit(1) // the kernel took one of them
				}
			}
		},
		"shared and nameless": endlessly(func(int) error { return mapped(4<<20, unix.MAP_SHARED|unix.MAP_ANON) }),
		"shared by two names of zero": endlessly(func(int) error {
			f, err := os.OpenFile("/dev/zero", os.O_RDWR, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			b, err := unix.Mmap(int(f.Fd()), 0, 4<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			if err == nil {
				touch(b)
			}
			return err
		}),
		"of many": func() {
			for range 16 {
				_ = again("half of the memory")
			}
			time.Sleep(time.Hour)
		},
		"half of the memory": func() { b := take(32 << 20); time.Sleep(time.Hour); fmt.Println(b[0]) },
		"in files of memory": endlessly(func(int) error {
			fd, err := unix.MemfdCreate("x", 0)
			if err == nil {
				_, err = unix.Write(fd, take(4<<20))
			}
			return err
		}),
		"of System V": endlessly(func(int) error {
			id, err := unix.SysvShmGet(unix.IPC_PRIVATE, 8<<20, unix.IPC_CREAT|0o600)
			if err != nil {
				return err
			}
			b, err := unix.SysvShmAttach(id, 0, 0)
			if err == nil {
				touch(b)
			}
			return err
		}),
		"in pipes": endlessly(func(int) error {
			var p [2]int
			err := unix.Pipe2(p[:], unix.O_NONBLOCK)
			if err == nil {
				_, _ = unix.FcntlInt(uintptr(p[0]), unix.F_SETPIPE_SZ, 1<<20)
				_, err = unix.Write(p[1], make([]byte, 1<<20))
			}
			return err
		}),
		"in sockets": endlessly(func(int) error { return pair() }),
		"in page tables": endlessly(func(int) error { // a page in every 2 MiB
			b, err := unix.Mmap(-1, 0, 1<<30, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
			for i := 0; i < len(b); i += 2 << 20 {
				b[i] = 1
			}
			return err
		}),
		"in timers": endlessly(func(int) error {
			var id int32
			_, _, e := unix.Syscall(unix.SYS_TIMER_CREATE, unix.CLOCK_MONOTONIC, 0, uintptr(unsafe.Pointer(&id)))
			if e != 0 {
				return e
			}
			return nil
		}),
		"in watches": endlessly(func(n int) error {
			fd, err := unix.InotifyInit()
			for i := 0; i < 100 && err == nil; i++ {
				dir := fmt.Sprintf("/tmp/%d", i)
				_ = os.Mkdir(dir, 0o700)
				_, err = unix.InotifyAddWatch(fd, dir, unix.IN_ALL_EVENTS)
			}
			return err
		}),
		"in locks": func() {
			f, err := os.Create("/tmp/x")
			must(err)
			for n := int64(0); ; n += 2 {
				must(unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Start: n, Len: 1}))
			}
		},
		"in descriptors in flight": endlessly(func(int) error {
			fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0)
			for err == nil {
				err = unix.Sendmsg(fds[0], []byte("x"), unix.UnixRights(fds[1]), nil, 0)
			}
			if err == unix.EAGAIN {
				return nil
			}
			return err
		}),
		"of files that are read": func() {
			list, err := filepath.Glob("/usr/lib/*/*.so*")
			must(err)
			read := int64(0)
			for _, name := range list {
				if f, err := os.Open(name); err == nil {
					n, _ := io.Copy(io.Discard, f)
					f.Close()
					if read += n; read > 128<<20 {
						break
					}
				}
			}
		},
		"locked": func() {
			b := take(1 << 20)
			got("lock a MiB", unix.Mlock(b))
			got("lock all", unix.Mlockall(unix.MCL_CURRENT))
		},
		"in queues of messages": func() {
			for n := range 100 {
				_, _, e := unix.Syscall6(unix.SYS_MQ_OPEN, text(fmt.Sprint("q", n)), unix.O_CREAT|unix.O_RDWR, 0o600, 0, 0, 0)
				if e == 0 {
					fmt.Println("escaped: a queue of messages")
				}
			}
		},
		"huge pages": func() {
			got("huge pages", mapped(2<<20, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_HUGETLB))
			_, err := unix.MemfdCreate("x", unix.MFD_HUGETLB)
			got("a file of huge pages", err)
		},
		"poisoned": func() {
			b := take(8192)
			got("break a page", unix.Madvise(b[:4096], unix.MADV_HWPOISON))
			got("take a page away", unix.Madvise(b[:4096], 101)) // MADV_SOFT_OFFLINE
		},
		"merged":    func() { got("merge pages with others'", unix.Prctl(67, 1, 0, 0, 0)) }, // PR_SET_MEMORY_MERGE
		"oom score": writing("/proc/self/oom_score_adj", "/proc/self/oom_adj", "/proc/1/oom_score_adj"),
	})
}
