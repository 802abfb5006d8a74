// Command hostile tries, as its first argument says, to do what no WASI program may. What it got away with it prints as "escaped: WHAT"; what it did for cover, as "done".
package main

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// The words of the test: a file of the host, and its folder.
var canary, house = os.Getenv("CANARY"), os.Getenv("HOUSE")

// Exit codes, by which the test sees that an act is unknown, or could not be tried.
const (
	unknown = 99
	noStage = 98
)

func main() {
	act := acts[os.Args[1]]
	if act == nil {
		os.Exit(unknown)
	}
	fmt.Println("begun")
	act()
	fmt.Println("done")
}

// got tells of what must have failed and did not.
func got(what string, errno uint32) {
	if errno == 0 {
		fmt.Println("escaped:", what)
	}
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(noStage)
	}
}

// well ends an act whose stage a call could not set.
func well(errno uint32) {
	if errno != 0 {
		must(fmt.Errorf("errno %d", errno))
	}
}

// opens opens a name for reading, from a folder.
func opens(dir int32, name string) (fd int32, errno uint32) {
	errno = pathOpen(dir, follow, name, 0, reading, reading, 0, &fd)
	return fd, errno
}

// folder opens a folder.
func folder(name string) (fd int32) {
	well(pathOpen(preopen, follow, name, directory, reading, reading, 0, &fd))
	return fd
}

// file makes a file with some bytes in it.
func file(name string) (fd int32) {
	must(os.WriteFile("/"+name, []byte("x"), 0o600))
	well(pathOpen(preopen, follow, name, 0, all, all, 0, &fd))
	return fd
}

// opening is an act of names that must not be opened, for reading or for writing.
func opening(names ...string) func() {
	return func() {
		for _, name := range names {
			_, errno := opens(preopen, name)
			got("open "+name, errno)
			var fd int32
			got("open "+name+" for writing", pathOpen(preopen, follow, name, truncate, all, all, 0, &fd))
			got("make "+name, pathOpen(preopen, follow, name, create, all, all, 0, &fd))
			got("look at "+name, pathStat(preopen, follow, name, &[64]byte{}))
		}
	}
}

const up = "../../../../../../../.."

func endlessly(do func(n int) error) func() {
	return func() {
		for n := 0; ; n++ {
			if do(n) != nil {
				os.Exit(1)
			}
		}
	}
}

func fill(name string) func() {
	block := make([]byte, 1<<16)
	return endlessly(func(n int) error { return os.WriteFile(fmt.Sprint(name, n), block, 0o600) })
}

// repeat makes a call again and again, whatever comes of it.
func repeat(call func()) func() {
	return func() {
		for {
			call()
		}
	}
}

var kept [][]byte

func deeper(n int) int {
	var frame [512]int
	frame[n%512] = n
	return deeper(n+1) + frame[(n+1)%512]
}

type link struct {
	next *link
	_    [48]byte
}

var chain *link

var acts = map[string]func(){
	"spin":                          repeat(func() { deep++ }),
	"yield without end":             repeat(func() { yield() }),
	"look at the clock without end": repeat(func() { var at uint64; clockTime(0, 0, where(&at)) }),
	"random bytes without end":      repeat(func() { var b [1 << 12]byte; randomGet(where(&b), uint32(len(b))) }),
	"look at files without end":     repeat(func() { pathStat(preopen, follow, "in/data", &[64]byte{}) }),
	"write nothing without end":     repeat(func() { var n uint32; fdWrite(1, 0, 0, where(&n)) }),
	"poll without end":              repeat(func() { waits(1 << 62) }),
	"rename without end": func() {
		must(os.WriteFile("/out/a", nil, 0o600))
		repeat(func() { pathRename(preopen, "out/a", preopen, "out/b"); pathRename(preopen, "out/b", preopen, "out/a") })()
	},
	"sleep for ever": func() { time.Sleep(1 << 62); waits(1<<64 - 1) },
	"a clock that is none": func() {
		var at uint64
		for _, id := range []uint32{4, 99, 1 << 31, 1<<32 - 1} {
			got("a clock", clockTime(id, 0, where(&at)))
		}
	},
	"the host's clock": func() {
		if time.Now().Year() != 2000 {
			fmt.Println("escaped: it is", time.Now())
		}
	},
	"poll its input": func() {
		in, out, n := [48]byte{8: 1}, [32]byte{}, uint32(0) // descriptor 0, for reading
		poll(where(&in), where(&out), 1, where(&n))
	},

	"heap": func() {
		for {
			b := make([]byte, 1<<20)
			for i := range b {
				b[i] = 1
			}
			kept = append(kept, b)
		}
	},
	"many small": repeat(func() { chain = &link{next: chain} }),
	"stack":      func() { deep = deeper(0) },

	"endless output":     repeat(func() { os.Stdout.Write(make([]byte, 1<<16)) }),
	"endless complaints": repeat(func() { os.Stderr.Write(make([]byte, 1<<16)) }),
	"both":               repeat(func() { os.Stdout.Write(make([]byte, 1<<10)); os.Stderr.Write(make([]byte, 1<<10)) }),
	"byte by byte":       repeat(func() { os.Stdout.Write([]byte("x")) }),
	"one call of many buffers": func() {
		block := make([]byte, 1<<20)
		list, n := make([]buffer, 1024), uint32(0)
		for i := range list {
			list[i] = bufferOf(block)
		}
		repeat(func() { fdWrite(1, where(&list[0]), 1024, where(&n)) })()
	},

	"fill /out":           fill("/out/"),
	"fill /tmp":           fill("/tmp/"),
	"files without end":   endlessly(func(n int) error { return os.WriteFile(fmt.Sprint("/out/", n), nil, 0o600) }),
	"folders without end": endlessly(func(n int) error { return os.Mkdir(fmt.Sprint("/out/", n), 0o700) }),
	"hidden": endlessly(func(n int) error {
		f, err := os.Create("/out/x")
		if err != nil {
			return err
		}
		_ = os.Remove("/out/x")
		_, err = f.Write(make([]byte, 1<<18))
		return err
	}),
	"again and again": endlessly(func(n int) error { return os.WriteFile("/out/x", make([]byte, 1<<18), 0o600) }), // what is deleted gives nothing back
	"deep folders": func() {
		name := "/out"
		endlessly(func(int) error { name += "/d"; return os.Mkdir(name, 0o700) })()
	},
	"long names": func() {
		name := "/out"
		endlessly(func(int) error { name += "/" + strings.Repeat("n", 255); return os.Mkdir(name, 0o700) })()
	},
	"strange names": func() {
		for _, name := range []string{"a\nb", "\x1b[2J", "-rf", "...", " ", "CON", "a:b", "\u202egnp.exe", "ﬁ", strings.Repeat("é", 100), "*", "$(id)", "\x7f"} {
			if os.WriteFile("/out/"+name, []byte(name), 0o600) == nil {
				_ = os.WriteFile("/tmp/"+name, []byte(name), 0o600)
			}
		}
	},
	"exit with strange codes": func() { os.Exit(-1 << 31) },
	"raise signals": func() {
		for signal := range uint32(32) {
			raise(signal)
		}
	},
}

var deep int

// waits polls a clock for so many nanoseconds.
func waits(ns uint64) {
	var in [48]byte
	for i := range 8 {
		in[24+i] = byte(ns >> (8 * i))
	}
	out, n := [32]byte{}, uint32(0)
	poll(where(&in), where(&out), 1, where(&n))
}
