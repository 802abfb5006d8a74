// Command guest is the program of the end-to-end tests: its first argument says what to do.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

func main() {
	acts := map[string]func([]string) error{
		"part": part, "reduce": reduce, "env": env, "echo": echo, "stderr": stderr, "flood": flood, "grow": grow, "write": write,
		"fill": fill, "list": list, "exit": exit, "odd": odd, "squares": squares, "hold": hold,
	}
	if len(os.Args) < 2 || acts[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "guest: no such act:", os.Args[1:])
		os.Exit(99)
	}
	if err := acts[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
		os.Exit(1)
	}
}

// part prints its index, the count, and its part of the input: a file's content, or a folder's names; "unset" without one.
func part([]string) error {
	fmt.Printf("%s of %s: ", os.Getenv("HPIPS_INDEX"), os.Getenv("HPIPS_COUNT"))
	name, ok := os.LookupEnv("HPIPS_INPUT")
	if !ok {
		fmt.Println("unset")
		return nil
	}
	if !filepath.IsAbs(name) {
		return fmt.Errorf("HPIPS_INPUT %q is not absolute", name)
	}
	fi, err := os.Stat(name)
	if err != nil {
		return err
	}
	if !fi.IsDir() {
		b, err := os.ReadFile(name)
		fmt.Printf("%q\n", b)
		return err
	}
	var files []string
	err = filepath.WalkDir(name, func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			below, _ := filepath.Rel(name, p)
			files = append(files, below)
		}
		return err
	})
	fmt.Println(strings.Join(files, " "))
	return err
}

// reduce prints the names below /in as the system lists them, and then the parts one after the other by index.
func reduce([]string) error {
	var names []string
	err := filepath.WalkDir("/in", func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, p)
		}
		return err
	})
	if err != nil {
		return err
	}
	fmt.Printf("%d parts, index %s of %s\n", len(names), os.Getenv("HPIPS_INDEX"), os.Getenv("HPIPS_COUNT"))
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		fmt.Printf("%s: %s", name, b)
	}
	return nil
}

func env(names []string) error {
	for _, name := range names {
		v, ok := os.LookupEnv(name)
		fmt.Printf("%s=%s %v\n", name, v, ok)
	}
	return nil
}

// echo answers each line as it comes, and tells the end.
func echo([]string) error {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		fmt.Printf("got %s\n", in.Text())
	}
	fmt.Println("end")
	return in.Err()
}

func stderr(words []string) error {
	fmt.Fprintln(os.Stderr, strings.Join(words, " "))
	fmt.Println("said")
	return nil
}

// flood writes so many MiB to standard output.
func flood(a []string) error {
	n, err := strconv.Atoi(a[0])
	block := []byte(strings.Repeat("all work and no play makes jack\n", 32<<10))
	for range n {
		if _, err := os.Stdout.Write(block); err != nil {
			return err
		}
	}
	return err
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

// write writes its index into files of a folder.
func write(a []string) error {
	dir := a[0]
	if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "one.txt"), []byte("one\n"), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "sub", "two.txt"), []byte(strings.Join(a[1:], " ")+"\n"), 0o644)
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

// list prints a tree as the program sees it.
func list(a []string) error {
	return filepath.WalkDir(a[0], func(p string, d os.DirEntry, err error) error {
		if err == nil {
			fmt.Println(p)
		}
		return err
	})
}

func exit(a []string) error {
	n, err := strconv.Atoi(a[0])
	if err == nil {
		os.Exit(n)
	}
	return err
}

// odd ends tasks of an odd index with code 7.
func odd([]string) error {
	if n, _ := strconv.Atoi(os.Getenv("HPIPS_INDEX")); n%2 == 1 {
		fmt.Fprintln(os.Stderr, "odd ones fail")
		os.Exit(7)
	}
	return nil
}

// squares takes about a[0] thousand steps and prints a number that depends on all of them and on the index.
func squares(a []string) error {
	n, err := strconv.Atoi(a[0])
	index, _ := strconv.Atoi(os.Getenv("HPIPS_INDEX"))
	sum := uint64(index)
	for i := range n * 1000 {
		sum = sum*6364136223846793005 + uint64(i)
	}
	fmt.Println(sum)
	return err
}

// hold says that it runs, and stays until its standard input ends.
func hold([]string) error {
	fmt.Println("running")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}
