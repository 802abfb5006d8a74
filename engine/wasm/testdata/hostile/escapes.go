package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"unsafe"
)

func init() {
	for name, act := range map[string]func(){
		"climb from /in":      opening("in/"+up+canary, "in/deep/"+up+canary, "/in/"+up+canary, "in/.."+canary),
		"climb from /out":     opening("out/"+up+canary, "/out/../.."+canary),
		"climb from the root": opening(up+canary, "./"+up+canary, "../"+canary, "..", "../.."),
		"climb from a folder": func() {
			for _, name := range []string{"in", "in/deep", "out", "tmp"} {
				dir := folder(name)
				for _, path := range []string{up + canary, "../" + up + canary, "x/../" + up + canary} {
					_, errno := opens(dir, path)
					got(name+": "+path, errno)
					got("make "+path, pathMkdir(dir, path+"2"))
				}
			}
		},
		"the canary":                opening(canary, strings.TrimPrefix(canary, "/"), house, "/"+canary),
		"absolute below a folder":   func() { _, errno := opens(folder("in"), canary); got("the canary", errno) },
		"links of its inputs":       opening("in/outside", "in/house/canary", "in/up", "in/etc/passwd", "in/root"+canary, "in/self"+canary, "in/loop", "in/nowhere", "in/root"+"/proc/self/environ"),
		"links with a slash behind": opening("in/outside/", "in/house/", "in/house//", "in/house/.", "in/etc/", "in/etc//passwd", "in/root"+"/", "in/root"+"/./", "in/self/", "in/loop/", "in/house/../canary"),
		"links that are not followed": func() {
			for _, name := range []string{"in/outside", "in/house", "in/etc", "in/root"} {
				var fd int32
				if pathOpen(preopen, 0, name, 0, reading, reading, 0, &fd) == 0 {
					fmt.Println("escaped:", name)
				}
				if pathOpen(preopen, 0, name+"/", directory, reading, reading, 0, &fd) == 0 {
					fmt.Println("escaped: folder", name)
				}
			}
		},
		"what links say": func() {
			b, n := make([]byte, 256), uint32(0)
			for _, name := range []string{"in/outside", "in/house", "in/root"} {
				if pathReadlink(preopen, name, unsafe.Pointer(&b[0]), uint32(len(b)), &n) == 0 && strings.Contains(string(b[:n]), house) {
					fmt.Println("escaped: a place of the host", string(b[:n]))
				}
			}
		},
		"/proc": opening("/proc/self/environ", "proc/self/root"+canary, "/proc/1/mem", "proc", "/proc/self/fd/0"), "/dev": opening("/dev/null", "dev/mem", "/dev/stdin", "dev"),
		"/etc": opening("/etc/passwd", "etc/shadow", "etc"), "/sys": opening("/sys/kernel", "sys"), "/home": opening("/home", "/root", "/var", "/usr/bin/env"),
		"its neighbours":         opening("out/../out0", "out/../../1/out0", "out/../stdout", "tmp/../../tasks", "../tasks", "../module"),
		"zeros in names":         opening("in/data\x00", "in/outside\x00x", "\x00"+canary, "in/\x00/../.."+canary),
		"names that are no text": opening("\xff\xfe", "in/\xc0\xae\xc0\xae/"+canary, "in/\xed\xa0\x80"),
		"the other slash":        opening("in\\..\\..\\.."+canary, "..\\..\\", "C:\\", "\\\\?\\C:\\", "in/..\\.."+canary),
		"a name of 64 KiB":       opening(strings.Repeat("a", 1<<16), "in/"+strings.Repeat("../", 1<<14)+canary),
		"no name":                func() { _, errno := opens(preopen, ""); got("no name", errno); got("made", pathMkdir(preopen, "")) },
		"many slashes":           opening("in"+strings.Repeat("/", 1000)+"outside", strings.Repeat("/", 1000)+canary),
		"many dots":              opening("in/"+strings.Repeat("./", 1000)+"outside", "in/.../outside", "in/..../"+canary),

		"a link out": func() {
			for _, to := range []string{canary, up + canary, "/", "../in/outside"} {
				got("a link to "+to, pathSymlink(to, preopen, "out/x"))
			}
			_, errno := opens(preopen, "out/x")
			got("open it", errno)
		},
		"a hard link": func() {
			must(os.WriteFile("/out/x", nil, 0o600))
			got("a link", pathLink(preopen, 0, "out/x", preopen, "out/y"))
		},
		"a hard link to an input": func() {
			got("a link", pathLink(preopen, follow, "in/data", preopen, "out/y"))
			got("through a link", pathLink(preopen, follow, "in/outside", preopen, "out/z"))
		},
		"rename out": func() {
			must(os.WriteFile("/out/x", nil, 0o600))
			for _, to := range []string{up + house + "/x", "../x", "in/../../x", house + "/x", "tmp/../../x"} {
				got("rename to "+to, pathRename(preopen, "out/x", preopen, to))
			}
		},
		"rename an input": func() {
			got("a file", pathRename(preopen, "in/data", preopen, "out/x"))
			got("a folder", pathRename(preopen, "in/deep", preopen, "out/x"))
			got("all", pathRename(preopen, "in", preopen, "out/x"))
			got("the root", pathRename(preopen, ".", preopen, "out/x"))
			got("the output", pathRename(preopen, "out", preopen, "tmp/x"))
		},
		"rename into an input": func() {
			must(os.WriteFile("/out/x", nil, 0o600))
			got("new", pathRename(preopen, "out/x", preopen, "in/x"))
			got("over another", pathRename(preopen, "out/x", preopen, "in/data"))
			got("through a link", pathRename(preopen, "out/x", preopen, "in/house/x"))
		},
		"remove an input": func() {
			for _, name := range []string{"in/data", "in/deep/data", "in/outside", "in/house/canary"} {
				got("remove "+name, pathUnlink(preopen, name))
			}
			for _, name := range []string{"in/deep", "in", "out", "tmp", ".", "in/house"} {
				got("remove "+name, pathRmdir(preopen, name))
			}
		},
		"times of an input": func() {
			_ = pathTimes(preopen, follow, "in/data", 1, 1, 5) // the picture of the host's files would show it
			fd, errno := opens(preopen, "in/data")
			well(errno)
			_ = fdTimes(fd, 1, 1, 5)
			_ = pathTimes(preopen, follow, "in/outside", 1, 1, 5)
		},
		"write an input": func() {
			for _, how := range []int{os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND, os.O_WRONLY | os.O_TRUNC, os.O_RDWR | os.O_CREATE} {
				if f, err := os.OpenFile("/in/data", how, 0o600); err == nil {
					if _, err := f.Write([]byte("changed")); err == nil {
						fmt.Println("escaped: written with", how)
					}
				}
			}
		},
		"cut an input": func() {
			fd, errno := opens(preopen, "in/data")
			well(errno)
			got("cut", fdSize(fd, 0))
			got("grown", fdSize(fd, 1<<20))
			got("room", fdAllocate(fd, 0, 1<<20))
		},
		"a folder in an input": func() {
			got("made", pathMkdir(preopen, "in/x"))
			got("made below", pathMkdir(preopen, "in/deep/x"))
			got("in the root", pathMkdir(preopen, "x"))
		},
		"open a folder for writing": func() {
			for _, name := range []string{"/in", "/out", "/"} {
				if f, err := os.OpenFile(name, os.O_WRONLY, 0); err == nil {
					_, err := f.Write([]byte("x"))
					if err == nil {
						fmt.Println("escaped:", name)
					}
				}
			}
		},
		"below a removed folder": func() {
			must(os.Mkdir("/out/d", 0o700))
			dir := folder("out/d")
			must(os.Remove("/out/d"))
			for _, name := range []string{"..", "../" + up + canary, "x"} {
				var fd int32
				_, errno := opens(dir, name)
				got(name, errno)
				got("make "+name, pathOpen(dir, follow, name, create, all, all, 0, &fd))
			}
		},

		"open files": func() {
			for fd := int32(4); fd < 1024; fd++ {
				got(fmt.Sprint("descriptor ", fd), fdStat(fd, &[64]byte{}))
			}
		},
		"preopens": func() {
			var stat [8]byte
			name := make([]byte, 64)
			well(fdPrestat(preopen, &stat))
			well(fdPrestatName(preopen, unsafe.Pointer(&name[0]), uint32(stat[4])))
			if string(name[:stat[4]]) != "/" {
				fmt.Printf("escaped: it is given %q\n", name)
			}
			for fd := int32(4); fd < 64; fd++ {
				got(fmt.Sprint("preopen ", fd), fdPrestat(fd, &stat))
			}
		},
		"move the preopen": func() {
			_ = fdRenumber(preopen, 0)
			_ = fdRenumber(0, 9)
			_, errno := opens(9, up+canary)
			got("the canary", errno)
			_, errno = opens(0, up+canary)
			got("the canary by another", errno)
		},
		"move a file over another": func() {
			in, errno := opens(preopen, "in/data")
			well(errno)
			_ = fdRenumber(in, file("out/x"))
			b, n := []byte("changed"), uint32(0)
			list := bufferOf(b)
			_ = fdWrite(in, where(&list), 1, where(&n))
			for fd := int32(4); fd < 16; fd++ {
				_ = fdWrite(fd, where(&list), 1, where(&n))
			}
		},
		"close all": func() {
			for fd := int32(3); fd < 64; fd++ {
				fdClose(fd)
			}
			_, errno := opens(preopen, "in/data")
			got("without a preopen", errno)
		},
		"close twice": func() { fd := file("out/x"); well(fdClose(fd)); got("closed twice", fdClose(fd)) },
		"descriptors that are none": func() {
			var n uint32
			for _, fd := range []int32{-1, -2, 1 << 30, 1<<31 - 1, -1 << 31} {
				got("read", fdRead(fd, 0, 0, where(&n)))
				got("write", fdWrite(fd, 0, 0, where(&n)))
				got("close", fdClose(fd))
				got("move", fdRenumber(fd, 5))
				got("move there", fdRenumber(preopen, fd))
				_, errno := opens(fd, "in/data")
				got("open", errno)
			}
		},
		"many files": func() {
			open := 0
			for ; open < 10000; open++ {
				if _, errno := opens(preopen, "in/data"); errno != 0 {
					break
				}
			}
			if open >= 1000 {
				fmt.Println("escaped: opened", open)
			}
		},
		"more rights": func() {
			fd, errno := opens(preopen, "in/data")
			well(errno)
			_ = fdRights(fd, 1<<64-1, 1<<64-1)
			list, n := bufferOf([]byte("changed")), uint32(0)
			got("write", fdWrite(fd, where(&list), 1, where(&n)))
			got("write at", fdPwrite(fd, where(&list), 1, 0, where(&n)))
		},
		"other flags": func() {
			fd, errno := opens(preopen, "in/data")
			well(errno)
			for _, flags := range []uint32{1, 4, 31, 1 << 31} {
				_ = fdFlags(fd, flags)
				_ = fdFlags(0, flags)
			}
			list, n := bufferOf([]byte("changed")), uint32(0)
			got("write", fdWrite(fd, where(&list), 1, where(&n)))
		},
		"seek far": func() {
			fd, at := file("out/x"), uint64(0)
			for _, by := range []int64{1 << 62, -1 << 62, 1<<63 - 1} {
				_ = fdSeek(fd, by, 0, where(&at))
				_ = fdSeek(fd, by, 1, where(&at))
				_ = fdSeek(fd, by, 2, where(&at))
				writesOnce(fd)
			}
			os.Exit(1)
		},
		"write far": func() {
			fd := file("out/x")
			list, n := bufferOf([]byte("x")), uint32(0)
			for _, at := range []uint64{1 << 40, 1 << 62, 1 << 63, 1<<64 - 1} {
				got("write far", fdPwrite(fd, where(&list), 1, at, where(&n)))
			}
			os.Exit(1)
		},
		"room": func() {
			got("room", fdAllocate(file("out/x"), 0, 1<<50))
			got("far", fdAllocate(file("out/y"), 1<<62, 1<<62))
			os.Exit(1)
		},
		"sparse": func() {
			got("a terabyte", fdSize(file("out/x"), 1<<40))
			got("more", fdSize(file("out/y"), 1<<63))
			os.Exit(1)
		},
		"read far": func() {
			fd, errno := opens(preopen, "in/data")
			well(errno)
			b := make([]byte, 64)
			list, n := bufferOf(b), uint32(0)
			for _, at := range []uint64{1 << 20, 1 << 62, 1 << 63, 1<<64 - 1} {
				if fdPread(fd, where(&list), 1, at, where(&n)) == 0 && n > 0 {
					fmt.Println("escaped: read", n)
				}
			}
		},
		"write its input": func() {
			list, n := bufferOf([]byte("x")), uint32(0)
			got("written", fdWrite(0, where(&list), 1, where(&n)))
		},
		"read its output": func() {
			list, n := bufferOf(make([]byte, 8)), uint32(0)
			got("read", fdRead(1, where(&list), 1, where(&n)))
		},
		"folders as files": func() {
			list, n := bufferOf(make([]byte, 8)), uint32(0)
			for _, fd := range []int32{preopen, folder("in"), folder("out")} {
				got("read", fdRead(fd, where(&list), 1, where(&n)))
				got("read at", fdPread(fd, where(&list), 1, 0, where(&n)))
				got("write", fdWrite(fd, where(&list), 1, where(&n)))
				got("cut", fdSize(fd, 0))
			}
		},
		"lists from the midst": func() {
			b, n := make([]byte, 4096), uint32(0)
			dir := folder(".")
			for _, cookie := range []uint64{1, 2, 1000, 1 << 32, 1 << 63, 1<<64 - 1} {
				for _, size := range []uint32{0, 1, 23, 24, 25, 4096} {
					_ = fdReaddir(dir, where(&b[0]), size, cookie, where(&n))
				}
			}
			list, err := os.ReadDir("/")
			must(err)
			for _, e := range list {
				if !slices.Contains([]string{"in", "out", "tmp"}, e.Name()) {
					fmt.Println("escaped: there is", e.Name())
				}
			}
		},
		"sockets": func() {
			var a, b uint32
			for fd := int32(0); fd < 16; fd++ {
				got("accept", sockAccept(fd, 0, where(&a)))
				got("receive", sockRecv(fd, 0, 0, 0, where(&a), where(&b)))
				got("send", sockSend(fd, 0, 0, 0, where(&a)))
				got("shut", sockShutdown(fd, 3))
			}
		},

		"buffers out of memory": func() {
			var n uint32
			got("write", fdWrite(1, outside, 1, where(&n)))
			list := buffer{outside, 8}
			got("write from outside", fdWrite(1, where(&list), 1, where(&n)))
			got("read to outside", fdRead(0, where(&list), 1, where(&n)))
		},
		"too many buffers": func() {
			var n uint32
			list := bufferOf(make([]byte, 1))
			for _, count := range []uint32{1 << 29, 1 << 31, 1<<32 - 1} {
				_ = fdWrite(2, where(&list), count, where(&n)) // it may take them for none, and must not take more than there are
				_ = fdRead(0, where(&list), count, where(&n))
			}
		},
		"a buffer too long": func() {
			var n uint32
			list := buffer{where(&n), 1<<32 - 1}
			got("write", fdWrite(2, where(&list), 1, where(&n)))
			got("read", fdRead(0, where(&list), 1, where(&n)))
		},
		"results out of memory": func() {
			got("a time", clockTime(0, 0, outside+12))
			fd := file("out/x")
			got("a place", fdSeek(fd, 0, 0, outside+12))
			got("a count", fdWrite(fd, 0, 0, outside+14))
		},
		"arguments out of memory": func() { got("arguments", argsGet(outside, outside)); got("environment", environGet(outside, outside)) },
		"names out of memory": func() {
			var fd int32
			for _, b := range []buffer{{outside, 64}, {0, 1<<32 - 1}, {1 << 31, 1 << 31}} {
				got("open", pathOpenAt(preopen, follow, b.at, b.size, 0, all, all, 0, &fd))
			}
		},
		"polls out of memory": func() {
			var n uint32
			in := [48]byte{}
			got("in", poll(outside, where(&in), 1, where(&n)))
			got("out", poll(where(&in), outside, 1, where(&n)))
			got("both", poll(outside, outside, 2, outside+14))
		},
		"polls of nothing": func() { var n uint32; got("nothing", poll(0, 0, 0, where(&n))) },
		"too many polls": func() {
			var n uint32
			for _, count := range []uint32{1 << 28, 1 << 31, 1<<32 - 1} {
				got("many", poll(0, 0, count, where(&n)))
			}
		},
		"lists out of memory":        func() { var n uint32; got("a list", fdReaddir(folder("in"), outside, 4096, 0, where(&n))) },
		"random bytes out of memory": func() { got("random", randomGet(outside, 4096)); got("too many", randomGet(0, 1<<32-1)) },
	} {
		acts[name] = act
	}
}

func writesOnce(fd int32) {
	list, n := bufferOf([]byte("x")), uint32(0)
	_ = fdWrite(fd, where(&list), 1, where(&n))
}
