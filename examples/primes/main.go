// Command primes counts the primes below a limit, each task those of its own range.
// It promises that the counts of any number of ranges add up to the same total.
// Handing out the ranges is left to HPIPS.
package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

const usage = `usage: primes LIMIT      count the primes below LIMIT; with HPIPS_INDEX and HPIPS_COUNT those of one range
       primes reduce [DIR]    add up the counts below DIR (default /in)`

func main() {
	if err := run(os.Args[1:], os.Getenv, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "primes: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string, getenv func(string) string, out io.Writer) error {
	byName := len(args) > 0 && args[0] == "reduce"
	if byName || reducing(getenv) {
		dir := "/in"
		if byName && len(args) > 1 {
			dir = args[1]
		}
		total, err := reduce(os.DirFS(dir), dir)
		if err == nil {
			_, err = fmt.Fprintln(out, total)
		}
		return err
	}
	if len(args) != 1 {
		return fmt.Errorf("one argument is needed\n%s", usage)
	}
	low, high, err := share(args[0], getenv("HPIPS_INDEX"), getenv("HPIPS_COUNT"))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, countPrimes(low, high))
	return err
}

// reducing tells whether this is the reduce of a map: HPIPS runs it under an index past those of all parts. By hand,
// without an index, it is one where parts lie under /in.
func reducing(getenv func(string) string) bool {
	index, count := getenv("HPIPS_INDEX"), getenv("HPIPS_COUNT")
	if index == "" {
		fi, err := os.Stat("/in")
		return err == nil && fi.IsDir()
	}
	i, err1 := strconv.ParseUint(index, 10, 64)
	n, err2 := strconv.ParseUint(count, 10, 64)
	return err1 == nil && err2 == nil && i >= n
}

const mostLimit = 1 << 50

// share gives the range [low, high) of task index of count tasks; without an index the range of all.
func share(limit, index, count string) (low, high uint64, err error) {
	n, err := strconv.ParseUint(limit, 10, 64)
	if err != nil || n > mostLimit {
		return 0, 0, fmt.Errorf("LIMIT %q: want a number up to %d\n%s", limit, uint64(mostLimit), usage)
	}
	if index == "" {
		return 0, n, nil
	}
	of, err := strconv.ParseUint(count, 10, 32)
	if err != nil || of == 0 {
		return 0, 0, fmt.Errorf("HPIPS_COUNT is %q: want a number from 1 up", count)
	}
	i, err := strconv.ParseUint(index, 10, 32)
	if err != nil || i >= of {
		return 0, 0, fmt.Errorf("HPIPS_INDEX is %q: want a number below %d", index, of)
	}
	return part(n, i, of), part(n, i+1, of), nil
}

// part gives n*i/of, rounded down, without overflow.
func part(n, i, of uint64) uint64 { return n/of*i + n%of*i/of }

// reduce adds up the numbers in all regular files below root, which is called dir in errors.
func reduce(root fs.FS, dir string) (uint64, error) {
	total, files := uint64(0), 0
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("reduce %s: %w", dir, err)
		}
		if !d.Type().IsRegular() {
			return nil
		}
		b, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 50)
		if err != nil {
			return fmt.Errorf("%s/%s: want one number, got %.40q", dir, name, b)
		}
		total, files = total+n, files+1
		return nil
	})
	if err == nil && files == 0 {
		err = fmt.Errorf("%s: no counts to add up", dir)
	}
	return total, err
}
