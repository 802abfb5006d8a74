package chain_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"strings"
	"testing"
)

// TestRulesAreDeterministic looks through the code that decides what a block does, and through spec, for what could differ between two
// computers: floats, the order of a map, the clock, goroutines, chance.
func TestRulesAreDeterministic(t *testing.T) {
	ours, err1 := filepath.Glob("*")
	words, err2 := filepath.Glob("../spec/*")
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	seen := 0
	for _, folder := range append(append(ours, words...), ".") {
		switch filepath.Base(folder) {
		case "full", "chaintest", "testdata":
			continue
		case "job": // what people ask for; no block depends on it
			continue
		}
		seen += lint(t, folder)
	}
	if seen < 30 {
		t.Errorf("only %d files were looked at", seen)
	}
}

func lint(t *testing.T, folder string) (files int) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	var trees []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(set, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		trees = append(trees, f)
	}
	info := types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
	config := types.Config{Importer: fakes{}, Error: func(error) {}}
	_, _ = config.Check(folder, set, trees, &info) // imports are fakes: what is ours is typed all the same
	for _, f := range trees {
		// The application itself may walk a map where the order is nothing; the rules may not.
		for _, n := range faults(f, &info, folder != ".") {
			t.Errorf("%s: %s", set.Position(n.at.Pos()), n.what)
		}
	}
	return len(trees)
}

type fault struct {
	at   ast.Node
	what string
}

type fakes struct{}

func (fakes) Import(path string) (*types.Package, error) {
	p := types.NewPackage(path, filepath.Base(path))
	p.MarkComplete()
	return p, nil
}

func faults(f *ast.File, info *types.Info, rules bool) (all []fault) {
	add := func(n ast.Node, what string) { all = append(all, fault{n, what}) }
	for _, i := range f.Imports {
		if path := strings.Trim(i.Path.Value, `"`); strings.HasPrefix(path, "math/rand") || path == "crypto/rand" {
			add(i, "import of "+path)
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			add(n, "goroutine")
		case *ast.Ident:
			if n.Name == "float32" || n.Name == "float64" {
				add(n, n.Name)
			}
		case *ast.BasicLit:
			if n.Kind == token.FLOAT {
				add(n, "float "+n.Value)
			}
		case *ast.RangeStmt:
			if tv, ok := info.Types[n.X]; ok && tv.Type != nil {
				if _, isMap := tv.Type.Underlying().(*types.Map); isMap && rules {
					add(n, "range over a map")
				}
			}
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && (n.Sel.Name == "Now" || n.Sel.Name == "Since" || n.Sel.Name == "Until") {
				add(n, "time."+n.Sel.Name)
			}
		}
		return true
	})
	return all
}
