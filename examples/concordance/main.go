// Command concordance counts the identifiers of Go source: how often each one stands there, and in how many files.
// It promises one total order of its lines and that parts add up: reducing the parts of a tree gives the very bytes
// that one run over the whole tree gives. Splitting the tree, moving it and checking the results are left to HPIPS.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
)

const usage = `usage: concordance [-top N] [PATH]          count; without PATH the part named by HPIPS_INPUT
       concordance [-top N] reduce [DIR]    add up the counts of all files under DIR (default /in)`

func main() {
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	err := run(os.Args[1:], os.Getenv, out)
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "concordance: %v\n", err)
		os.Exit(1)
	}
}

// run reads the command line and does the one thing that it asks for.
func run(args []string, getenv func(string) string, out io.Writer) error {
	top, args, err := topFlag(args)
	if err != nil {
		return err
	}
	t := newTable()
	switch {
	case len(args) > 0 && args[0] == "reduce":
		dir := "/in"
		if len(args) > 1 {
			dir = args[1]
		}
		err = reduce(t, os.DirFS(dir), dir)
	case len(args) > 0:
		err = count(t, args[0])
	case reducing(getenv):
		err = reduce(t, os.DirFS("/in"), "/in")
	case getenv("HPIPS_INPUT") != "":
		err = count(t, getenv("HPIPS_INPUT"))
	default:
		return fmt.Errorf("no input\n%s", usage)
	}
	if err != nil {
		return err
	}
	if top > 0 {
		return t.writeTop(out, top)
	}
	return t.write(out)
}

// reducing tells whether this is the reduce of a map: HPIPS runs it under an index past those of all parts. By hand,
// without an index, it is one where parts lie under /in.
func reducing(getenv func(string) string) bool {
	index, count := getenv("HPIPS_INDEX"), getenv("HPIPS_COUNT")
	if index == "" {
		return getenv("HPIPS_INPUT") == "" && isDir("/in")
	}
	i, err1 := strconv.ParseUint(index, 10, 64)
	n, err2 := strconv.ParseUint(count, 10, 64)
	return err1 == nil && err2 == nil && i >= n
}

// topFlag takes "-top N" off the front of args; 0 means all.
func topFlag(args []string) (int, []string, error) {
	if len(args) == 0 || args[0] != "-top" {
		return 0, args, nil
	}
	if len(args) < 2 {
		return 0, nil, fmt.Errorf("-top needs a number\n%s", usage)
	}
	n, err := strconv.Atoi(args[1])
	if err != nil || n < 1 {
		return 0, nil, fmt.Errorf("-top %q: want a number from 1 up\n%s", args[1], usage)
	}
	return n, args[2:], nil
}

func isDir(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.IsDir()
}

// count adds the identifiers of one file, whatever its name, or of every regular .go file below a directory.
func count(t *table, path string) error {
	if !isDir(path) {
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		t.nextFile()
		scan(src, t)
		return nil
	}
	root := os.DirFS(path)
	var buf []byte
	return fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !d.Type().IsRegular() || len(name) < 3 || name[len(name)-3:] != ".go" {
			return nil
		}
		if buf, err = readInto(root, name, buf[:0]); err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		t.nextFile()
		scan(buf, t)
		return nil
	})
}

// readInto reads a file into buf, which grows as needed and is given back for the next file.
func readInto(root fs.FS, name string, buf []byte) ([]byte, error) {
	f, err := root.Open(name)
	if err != nil {
		return buf, err
	}
	defer f.Close()
	for {
		if cap(buf)-len(buf) < 4096 {
			buf = append(buf, make([]byte, max(64<<10, cap(buf)))...)[:len(buf)]
		}
		n, err := f.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if errors.Is(err, io.EOF) {
			return buf, nil
		}
		if err != nil {
			return buf, err
		}
	}
}
