package hpips

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// source is one Go file of the house.
type source struct {
	path string // below the module, with slashes
	text []byte
	tree *ast.File
	fset *token.FileSet
}

func (s *source) test() bool { return strings.HasSuffix(s.path, "_test.go") }

// tracked lists the files of the house: what git would commit, or in an unpacked archive what lies there.
func tracked(t *testing.T) []string {
	t.Helper()
	if _, err := os.Stat(".git"); err == nil {
		out, err := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
		if err == nil {
			all := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
			return slices.DeleteFunc(all, func(p string) bool { _, err := os.Lstat(p); return err != nil })
		}
		t.Logf("git ls-files: %v; looking at all files", err)
	}
	var all []string
	err := fs.WalkDir(os.DirFS("."), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (p == "bin" || p == "dist" || p == ".git" || d.Name() == "node_modules") {
			return fs.SkipDir
		}
		if d.Type().IsRegular() && path.Ext(p) != ".wasm" {
			all = append(all, p)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// sources parses the Go files of the house, test data and generated code left out.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	for _, p := range tracked(t) {
		if path.Ext(p) != ".go" || strings.Contains(p, "testdata/") || strings.HasPrefix(p, "proto/gen/") {
			continue
		}
		text, err := os.ReadFile(filepath.FromSlash(p))
		if err != nil {
			t.Fatal(err)
		}
		s := source{path: p, text: text, fset: token.NewFileSet()}
		if s.tree, err = parser.ParseFile(s.fset, p, text, parser.ParseComments|parser.SkipObjectResolution); err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	if len(all) < 20 {
		t.Fatalf("only %d Go files found", len(all))
	}
	return all
}

var sentence = regexp.MustCompile(`[.!?:](\s|$)`)

func TestEveryRoomSaysWhatItKeepsPromisesAndLeavesToOthers(t *testing.T) {
	comments := map[string][]string{}
	for _, s := range sources(t) {
		dir := path.Dir(s.path)
		if s.test() {
			continue
		}
		list := comments[dir]
		if s.tree.Doc != nil {
			list = append(list, s.tree.Doc.Text())
		}
		comments[dir] = list
	}
	for dir, list := range comments {
		switch {
		case len(list) != 1:
			t.Errorf("%s has %d package comments, want one, in one file", dir, len(list))
		case len(sentence.FindAllString(list[0], -1)) < 3:
			t.Errorf("%s: the package comment has fewer than three sentences: %q", dir, list[0])
		}
		if slices.Contains([]string{"util", "utils", "common", "helper", "helpers", "types", "models", "pkg", "internal", "misc", "lib"}, path.Base(dir)) {
			t.Errorf("%s: a room is named by a noun of the field", dir)
		}
	}
}

func TestFilesAreShortAndFinished(t *testing.T) {
	unfinished := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b`)
	for _, s := range sources(t) {
		if n := bytes.Count(s.text, []byte{'\n'}); n > 600 {
			t.Errorf("%s has %d lines: about 400 is good, 600 the most", s.path, n)
		}
		for _, group := range s.tree.Comments {
			if word := unfinished.FindString(group.Text()); word != "" {
				t.Errorf("%s: %s: finish it or file an issue", s.fset.Position(group.Pos()), word)
			}
		}
	}
}

// Inside testing/synctest, time passes at once and Sleep is how a story moves on.
func TestTestsDoNotSleep(t *testing.T) {
	for _, s := range sources(t) {
		if s.test() && !bytes.Contains(s.text, []byte(`"testing/synctest"`)) {
			s.uses(func(pkg, name string, at token.Pos) {
				if pkg == "time" && name == "Sleep" {
					t.Errorf("%s: a test waits for what it waits for: testing/synctest, a channel, a fake clock", s.fset.Position(at))
				}
			})
		}
	}
}

// uses reports each use of a name of an imported package.
func (s *source) uses(found func(pkg, name string, at token.Pos)) {
	imported := map[string]string{}
	for _, imp := range s.tree.Imports {
		p := strings.Trim(imp.Path.Value, `"`)
		name := path.Base(p)
		if imp.Name != nil {
			name = imp.Name.Name
		}
		imported[name] = p
	}
	ast.Inspect(s.tree, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok && imported[x.Name] != "" {
				found(imported[x.Name], sel.Sel.Name, sel.Pos())
			}
		}
		return true
	})
}

func TestSpecHasNoClockAndNoGoroutine(t *testing.T) {
	for _, s := range sources(t) {
		if !strings.HasPrefix(s.path, "spec/") || s.test() {
			continue
		}
		s.uses(func(pkg, name string, at token.Pos) {
			if pkg == "time" && slices.Contains([]string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker", "Local"}, name) {
				t.Errorf("%s: time.%s: the time comes in as an argument", s.fset.Position(at), name)
			}
		})
		ast.Inspect(s.tree, func(n ast.Node) bool {
			switch n.(type) {
			case *ast.GoStmt, *ast.ChanType, *ast.SelectStmt:
				t.Errorf("%s: spec has no goroutines", s.fset.Position(n.Pos()))
			}
			return true
		})
	}
}

// What must not be committed: a place on somebody's machine, a host that a registry client was sent to, a built file, marks of a merge.
func TestNothingOfAMachineIsCommitted(t *testing.T) {
	strange := regexp.MustCompile(strings.Join([]string{
		`(?m:^<{7} |^>{7} )`, // of a merge that nobody finished
		`/ro` + `ot/`, `/wo` + `rk/(main|shared)`, `/Us` + `ers/\w`, `C:\\Us` + `ers`, `registry\.npm` + `js`, `proxy\.go` + `lang`, `npm` + `mirror`, `py` + `pi\.org`, `static\.cra` + `tes`,
	}, "|"))
	for _, p := range tracked(t) {
		b, err := os.ReadFile(filepath.FromSlash(p))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.HasPrefix(b, []byte("\x7fELF")) || bytes.HasPrefix(b, []byte("\x00asm")) || bytes.HasPrefix(b, []byte("MZ\x90")) || bytes.HasPrefix(b, []byte("!<arch>")) {
			t.Errorf("%s is a built file", p)
		}
		if len(b) > 1<<20 {
			t.Errorf("%s has %d bytes: what is that large does not belong here", p, len(b))
		}
		if at := strange.FindIndex(b); at != nil {
			t.Errorf("%s:%d: %q", p, 1+bytes.Count(b[:at[0]], []byte{'\n'}), b[at[0]:at[1]])
		}
		if path.Base(p) == "package-lock.json" && bytes.Contains(b, []byte(`"resolved"`)) {
			t.Errorf("%s names hosts: npm install with omit-lockfile-registry-resolved=true in .npmrc", p)
		}
	}
}

// required gives the modules that the house, or its tools, asks for by name.
func required(t *testing.T, modfile string) []string {
	t.Helper()
	out, err := exec.Command("go", "mod", "edit", "-json", modfile).Output()
	if err != nil {
		t.Fatalf("go mod edit: %v", err)
	}
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
		Tool []struct{ Path string }
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, r := range mod.Require {
		if !r.Indirect {
			paths = append(paths, r.Path)
		}
	}
	for _, tool := range mod.Tool {
		paths = append(paths, tool.Path)
	}
	return paths
}

func TestEveryDependencyHasItsReason(t *testing.T) {
	text, err := os.ReadFile("RATIONALE.md")
	if err != nil {
		t.Fatal(err)
	}
	reasons := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| [^|]{8,} \\| [^|]{8,} \\| [^|]{8,} \\|$").FindAllSubmatch(text, -1) {
		reasons[string(row[1])] = true
	}
	wanted := append(required(t, "go.mod"), required(t, "etc/tools/go.mod")...)
	slices.Sort(wanted)
	for _, p := range slices.Compact(wanted) {
		if !reasons[p] {
			t.Errorf("%s: no row `module` | what for | why this one | how well kept in RATIONALE.md", p)
		}
		delete(reasons, p)
	}
	for p := range reasons {
		t.Errorf("RATIONALE.md gives reasons for %s, which go.mod does not ask for", p)
	}
}

// replacement is one module in place of another.
type replacement struct {
	Old, New struct{ Path, Version string }
}

// replaced are the replacements of a go.mod, sorted by what they stand for.
func replaced(t *testing.T, modfile string) []replacement {
	t.Helper()
	text, err := exec.Command("go", "mod", "edit", "-json", modfile).Output()
	if err != nil {
		t.Fatal(err)
	}
	var mod struct{ Replace []replacement }
	if err := json.Unmarshal(text, &mod); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(mod.Replace, func(a, b replacement) int { return strings.Compare(a.Old.Path, b.Old.Path) })
	return mod.Replace
}

// What the SDK replaces it replaces in its own build alone: one of them is the database under every state. Ours are those, and no more.
func TestTheSDKsReplacementsAreOurs(t *testing.T) {
	at, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/cosmos/cosmos-sdk").Output()
	if err != nil {
		t.Fatal(err)
	}
	want, have := replaced(t, filepath.Join(strings.TrimSpace(string(at)), "go.mod")), replaced(t, "go.mod")
	if len(want) == 0 || !slices.Equal(have, want) {
		t.Errorf("go.mod replaces\n%+v\nthe SDK\n%+v", have, want)
	}
}

func TestLinksOfThePagesLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#\s]+)`)
	for _, p := range tracked(t) {
		if path.Ext(p) != ".md" {
			continue
		}
		text, err := os.ReadFile(filepath.FromSlash(p))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllSubmatch(text, -1) {
			to := string(m[1])
			if strings.Contains(to, "://") || strings.HasPrefix(to, "mailto:") {
				continue
			}
			if _, err := os.Stat(filepath.FromSlash(path.Join(path.Dir(p), to))); err != nil {
				t.Errorf("%s links to %s, which is not there", p, to)
			}
		}
	}
}
