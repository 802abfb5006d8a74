package main

import (
	"bytes"
	"fmt"
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// reference counts as go/scanner sees the source.
func reference(t *table, src []byte) {
	fset := token.NewFileSet()
	var s scanner.Scanner
	s.Init(fset.AddFile("", -1, len(src)), src, nil, 0)
	for {
		_, tok, lit := s.Scan()
		if tok == token.EOF {
			return
		}
		if tok == token.IDENT || tok.IsKeyword() {
			t.add([]byte(lit), hashOf([]byte(lit)), 1)
		}
	}
}

func lines(t *table) string {
	var out bytes.Buffer
	if err := t.write(&out); err != nil {
		panic(err)
	}
	return out.String()
}

func counted(src string) string {
	t := newTable()
	t.nextFile()
	scan([]byte(src), t)
	return lines(t)
}

func TestWhatCountsAsAnIdentifier(t *testing.T) {
	for name, row := range map[string]struct{ src, want string }{
		"keywords are left out":      {"func f(x int) { return x }", "f\t1\t1\nint\t1\t1\nx\t2\t1\n"},
		"comments":                   {"a // b\n/* c\n */ d", "a\t1\t1\nd\t1\t1\n"},
		"broken comment":             {"a /* b", "a\t1\t1\n"},
		"strings":                    {`a "b\"c" d 'e' '\'' '\\' f` + " `g\\` h", "a\t1\t1\nd\t1\t1\nf\t1\t1\nh\t1\t1\n"},
		"broken string":              {"a \"b c\nd", "a\t1\t1\nd\t1\t1\n"},
		"numbers":                    {"0xFFg 1e9 1e+9x 2i .5e3 0b1 0o7 1_000_z 0x1p-2 a.b 1.e3", ""},
		"wide letters":               {"größe Ωmega 世界 x² ٣x", ""},
		"bytes that are no text":     {"a\xffb \x00 c\xc3", "a\t1\t1\nb\t1\t1\nc\t1\t1\n"},
		"three dots are one":         {"...1.e2", ""},
		"UTF-16":                     {"\xfe\xff\x00a", ""},
		"underscore":                 {"_ = _x", "_\t1\t1\n_x\t1\t1\n"},
		"a division is no comment":   {"a/b", "a\t1\t1\nb\t1\t1\n"},
		"escape before a line's end": {"'\\\na", "a\t1\t1\n"},
	} {
		t.Run(name, func(t *testing.T) {
			ref := newTable()
			ref.nextFile()
			reference(ref, []byte(row.src))
			got := counted(row.src)
			if want := lines(ref); got != want {
				t.Errorf("%q:\n%swant as go/scanner:\n%s", row.src, got, want)
			}
			if row.want != "" && got != row.want {
				t.Errorf("%q:\n%swant:\n%s", row.src, got, row.want)
			}
		})
	}
}

// goTree is where this machine has the Go source.
func goTree(t testing.TB) string {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatalf("go env GOROOT: %v", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "src")
}

// The Go tree holds every oddity that Go source can have, broken files for the compilers' own tests among them.
func TestTheGoTreeCountsAsGoScannerSaysAndPartsAddUp(t *testing.T) {
	root := goTree(t)
	if testing.Short() {
		root = filepath.Join(root, "go")
	}
	const parts = 7
	whole, ref := newTable(), newTable()
	var part [parts]*table
	for i := range part {
		part[i] = newTable()
	}
	files := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || filepath.Ext(path) != ".go" {
			return err
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, one := range []*table{whole, part[files%parts]} {
			one.nextFile()
			scan(src, one)
		}
		ref.nextFile()
		reference(ref, src)
		files++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 100 {
		t.Fatalf("only %d files below %s", files, root)
	}
	want := lines(whole)
	if want != lines(ref) {
		t.Errorf("go/scanner counts otherwise: %s", firstDifference(want, lines(ref)))
	}

	// Alice has the parts reduced in two steps, by different machines; the bytes stay the same.
	in := fstest.MapFS{}
	for i, p := range part[:4] {
		in["part/"+strconv.Itoa(i)] = &fstest.MapFile{Data: []byte(lines(p))}
	}
	first := newTable()
	if err := reduce(first, in, "/in"); err != nil {
		t.Fatal(err)
	}
	in = fstest.MapFS{"a": {Data: []byte(lines(first))}}
	for i, p := range part[4:] {
		in[fmt.Sprint("b", i)] = &fstest.MapFile{Data: []byte(lines(p))}
	}
	second := newTable()
	if err := reduce(second, in, "/in"); err != nil {
		t.Fatal(err)
	}
	if got := lines(second); got != want {
		t.Errorf("reduced parts differ from the whole: %s", firstDifference(got, want))
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d: %q against %q", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("%d lines against %d", len(g), len(w))
}

func TestTheMostFrequentComeFirst(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a.go")
	if err := os.WriteFile(file, []byte("b b a a c"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("z z z z"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "no_file.go"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, input := range []string{dir, file} {
		var out bytes.Buffer
		env := func(k string) string { return map[string]string{"HPIPS_INPUT": input, "HPIPS_INDEX": "0"}[k] }
		if err := run([]string{"-top", "2"}, env, &out); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); got != "a\t2\t1\nb\t2\t1\n" {
			t.Errorf("%s: %q", input, got)
		}
	}
}

func TestBadInputIsNamed(t *testing.T) {
	for _, row := range []struct{ text, want string }{
		{"a\t1\n", "line 1"},
		{"a\t1\t1\nb\tx\t1\n", "line 2"},
		{"a\t1\t1", "line 1"},
		{"a\t-1\t1\n", "line 1"},
		{"\t1\t1\n", "line 1"},
		{"a\t1\t9999999999999999999\n", "line 1"},
	} {
		err := reduce(newTable(), fstest.MapFS{"p": {Data: []byte(row.text)}}, "/in")
		if err == nil || !strings.Contains(err.Error(), row.want) || !strings.Contains(err.Error(), "/in/p") {
			t.Errorf("%q: error %v, want one that names /in/p and %s", row.text, err, row.want)
		}
	}
	for _, args := range [][]string{{"-top"}, {"-top", "0"}, {}, {"missing.go"}, {"reduce", "missing"}} {
		if err := run(args, func(string) string { return "" }, &bytes.Buffer{}); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}

func FuzzScanAgreesWithGoScanner(f *testing.F) {
	for _, s := range []string{"a0x1p2i", "'\\''a", "\"\\\n", "/*/a*/b", "1.e+_x", "\ufeffa", "a\u0301", "``", "0b12e3"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		ref := newTable()
		ref.nextFile()
		reference(ref, src)
		if got, want := counted(string(src)), lines(ref); got != want {
			t.Errorf("%q: %s", src, firstDifference(got, want))
		}
	})
}

func BenchmarkScan(b *testing.B) {
	src, err := os.ReadFile(filepath.Join(goTree(b), "net", "http", "server.go"))
	if err != nil {
		b.Fatal(err)
	}
	t := newTable()
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		t.nextFile()
		scan(src, t)
	}
}
