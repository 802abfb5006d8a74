// Command guest is the program that the tests run: its first argument says what to do.
package main

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

func main() {
	acts := map[string]func([]string) error{
		"args": args, "env": env, "exit": exit, "cat": cat, "read": read, "show": show, "write": write, "list": list, "stderr": stderr, "flood": flood,
		"grow": grow, "spin": spin, "sleep": sleep, "world": world, "fill": fill, "files": files, "panic": boom, "rename": rename,
		"lines": lines, "index": index, "count": count, "trap": trap, "burrow": burrow,
	}
	act := acts[os.Args[1]]
	if act == nil {
		fmt.Fprintln(os.Stderr, "no such act:", os.Args[1])
		os.Exit(99)
	}
	if err := act(os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func args([]string) error { _, err := fmt.Printf("%q", os.Args); return err }

func env([]string) error { _, err := fmt.Printf("%q", os.Environ()); return err }

func exit(a []string) error {
	code, err := strconv.Atoi(a[0])
	if err == nil {
		os.Exit(code)
	}
	return err
}

func index([]string) error { _, err := fmt.Print(os.Getenv("HPIPS_INDEX")); return err }

var counted int

func count([]string) error {
	counted++
	_, err := fmt.Print(counted)
	return err
}

// unreachable is the instruction of that name.
func unreachable()

func trap([]string) error {
	unreachable()
	return nil
}

// read prints a file, or fails.
func read(a []string) error {
	b, err := os.ReadFile(a[0])
	if err == nil {
		_, err = os.Stdout.Write(b)
	}
	return err
}

func cat([]string) error { _, err := io.Copy(os.Stdout, os.Stdin); return err }

func lines([]string) error {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		fmt.Printf("<%s>", in.Text())
	}
	return in.Err()
}

// show prints files, or why it cannot.
func show(a []string) error {
	for _, name := range a {
		b, err := os.ReadFile(name)
		if err != nil {
			fmt.Printf("%s: %v\n", name, err)
			continue
		}
		fmt.Printf("%s: %s\n", name, b)
	}
	return nil
}

// write writes the second argument into the file named by the first, making its folder.
func write(a []string) error {
	if err := os.MkdirAll(filepath.Dir(a[0]), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(a[0], []byte(a[1]), 0o644); err != nil {
		return err
	}
	b, err := os.ReadFile(a[0])
	if err == nil {
		fmt.Printf("%s", b)
	}
	return err
}

func rename(a []string) error {
	if err := os.WriteFile(a[0], []byte("moved"), 0o644); err != nil {
		return err
	}
	if err := os.Rename(a[0], a[1]); err != nil {
		return err
	}
	f, err := os.OpenFile(a[1], os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	fmt.Fprint(f, " and more")
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(filepath.Dir(a[1]), "d"), 0o755); err != nil {
		return err
	}
	return os.Remove(filepath.Join(filepath.Dir(a[1]), "d"))
}

// list prints a tree as the program sees it.
func list(a []string) error {
	return filepath.WalkDir(a[0], func(path string, d os.DirEntry, err error) error {
		if err != nil {
			fmt.Printf("%s: %v\n", path, err)
			return nil
		}
		info, err := d.Info()
		if err != nil {
			fmt.Printf("%s: %v\n", path, err)
			return nil
		}
		fmt.Printf("%s %v %d %s\n", path, info.IsDir(), info.Size(), info.ModTime().UTC().Format(time.RFC3339))
		return nil
	})
}

func stderr(a []string) error {
	n, err := strconv.Atoi(a[0])
	if err != nil {
		return err
	}
	w := bufio.NewWriter(os.Stderr)
	for i := range n {
		fmt.Fprintf(w, "line %d\n", i)
	}
	return w.Flush()
}

// flood writes MiB after MiB to standard output: as many as told, or for ever.
func flood(a []string) error {
	block := []byte(strings.Repeat("all work and no play makes jack \n", 32<<10))[:1<<20]
	for i := 0; len(a) == 0 || strconv.Itoa(i) != a[0]; i++ {
		if _, err := os.Stdout.Write(block); err != nil {
			return err
		}
	}
	return nil
}

func grow([]string) error {
	var all [][]byte
	for {
		b := make([]byte, 1<<20)
		for i := range b {
			b[i] = byte(i)
		}
		all = append(all, b)
	}
}

func spin([]string) error {
	fmt.Print("spinning")
	for i := uint32(1); i != 0; i += 2 {
	}
	return nil
}

func sleep(a []string) error {
	d, err := time.ParseDuration(a[0])
	if err != nil {
		return err
	}
	time.Sleep(d)
	fmt.Print("slept")
	return nil
}

// world prints all that might differ from machine to machine.
func world([]string) error {
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		return err
	}
	start := time.Now()
	m := map[int]bool{}
	for i := range 64 {
		m[i] = true
	}
	var order []int
	for k := range m {
		order = append(order, k)
	}
	time.Sleep(time.Hour)
	host, err := os.Hostname()
	fmt.Printf("%x %v %v %v %s %v %d\n", b, start.UTC(), time.Since(start), order, host, err != nil, os.Getuid())
	return list([]string{"/"})
}

// fill writes MiB after MiB into a file.
func fill(a []string) error {
	f, err := os.Create(a[0])
	if err != nil {
		return err
	}
	block := make([]byte, 1<<20)
	for {
		if _, err := f.Write(block); err != nil {
			return err
		}
	}
}

// files makes empty files without end.
func files(a []string) error {
	for i := 0; ; i++ {
		if err := os.WriteFile(filepath.Join(a[0], strconv.Itoa(i)), nil, 0o644); err != nil {
			return err
		}
	}
}

// burrow puts a folder into a folder into a folder, 3000 times: by longer and longer names, or by short ones alone.
func burrow(a []string) error {
	room := strings.Repeat("cellar", 20)
	outer, inner := filepath.Join(a[0], "basement"), filepath.Join(a[0], room)
	if err := os.Mkdir(inner, 0o755); err != nil {
		return err
	}
	for range 3000 {
		if a[1] == "names" {
			inner += "/" + room
			if err := os.Mkdir(inner, 0o755); err != nil {
				return err
			}
			continue
		}
		if err := os.Mkdir(outer, 0o755); err != nil {
			return err
		}
		if err := os.Rename(inner, filepath.Join(outer, room)); err != nil {
			return err
		}
		if err := os.Rename(outer, inner); err != nil {
			return err
		}
	}
	return nil
}

func boom([]string) error { panic("boom") }
