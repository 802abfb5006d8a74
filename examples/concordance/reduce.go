package main

import (
	"bytes"
	"fmt"
	"io/fs"
)

// reduce adds up the counts of all regular files below root, which is called dir in errors. Each file is what one
// count, or an earlier reduce, has written; adding is associative, so parts may be reduced in any grouping.
func reduce(t *table, root fs.FS, dir string) error {
	var buf []byte
	return fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("reduce %s: %w", dir, err)
		}
		if !d.Type().IsRegular() {
			return nil
		}
		if buf, err = readInto(root, name, buf[:0]); err != nil {
			return fmt.Errorf("read %s/%s: %w", dir, name, err)
		}
		if err := addLines(t, buf); err != nil {
			return fmt.Errorf("reduce %s/%s: %w", dir, name, err)
		}
		return nil
	})
}

// addLines adds the lines of one part. A line that is no "identifier\tcount\tfiles" is an error that names it.
func addLines(t *table, text []byte) error {
	for number := 1; len(text) > 0; number++ {
		line, rest, ended := bytes.Cut(text, []byte{'\n'})
		name, figures, _ := bytes.Cut(line, []byte{'\t'})
		first, second, _ := bytes.Cut(figures, []byte{'\t'})
		count, ok1 := decimal(first)
		files, ok2 := decimal(second)
		if !ended || len(name) == 0 || !ok1 || !ok2 {
			return fmt.Errorf("line %d: want identifier, count and files with tabs between, got %.80q", number, line)
		}
		e := t.find(name, hashOf(name))
		e.count += count
		e.files += files
		text = rest
	}
	return nil
}

// decimal reads 1 to 18 decimal digits.
func decimal(s []byte) (uint64, bool) {
	n := uint64(0)
	for _, b := range s {
		if b < '0' || b > '9' {
			return 0, false
		}
		n = n*10 + uint64(b-'0')
	}
	return n, len(s) > 0 && len(s) <= 18
}
