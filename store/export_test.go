package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	ipld "github.com/ipfs/go-ipld-format"
)

// snapshot reads a folder into path → content; links read as "->target".
func snapshot(t testing.TB, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		name = filepath.ToSlash(name)
		switch {
		case d.IsDir():
			found[name] = "/"
		case d.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			found[name] = "->" + target
			return err
		default:
			data, err := os.ReadFile(path)
			found[name] = string(data)
			return err
		}
		return nil
	}))
	return found
}

func same(t testing.TB, got, want map[string]string) {
	t.Helper()
	for name, text := range want {
		if other, ok := got[name]; !ok || other != text {
			t.Errorf("%s differs or is missing", name)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d entries, want %d", len(got), len(want))
	}
}

func TestExport(t *testing.T) {
	ctx, s, dir := t.Context(), alone(t), t.TempDir()
	plant(t, dir, map[string]string{
		"b": "bb", "a/deep/x": "x", "big": strings.Repeat("0123456789abcdef", 200_000), "a/up": "->../b", "a/down": "->deep/x", "zero": "",
	})
	must(t, os.Mkdir(filepath.Join(dir, "empty"), 0o755))
	e, err := s.AddPath(ctx, dir, nil)
	must(t, err)
	out := filepath.Join(t.TempDir(), "out")
	var last Progress
	must(t, s.Export(ctx, e.CID, out, 0, func(p Progress) { last = p }))
	same(t, snapshot(t, out), snapshot(t, dir))
	if last.Files != 6 || last.Bytes != 3_200_003 {
		t.Errorf("progress %+v", last)
	}

	if err := s.Export(ctx, e.CID, out, 0, nil); !errors.Is(err, ErrExists) {
		t.Errorf("over an existing target: %v", err)
	}
	must(t, os.WriteFile(filepath.Join(out, "stale"), nil, 0o644))
	must(t, s.Replace(ctx, e.CID, out, 0, nil))
	same(t, snapshot(t, out), snapshot(t, dir))

	file, err := s.Resolve(ctx, e.CID.String()+"/b")
	must(t, err)
	must(t, s.Replace(ctx, file, out, 0, nil)) // a file where a folder was
	if data, err := os.ReadFile(out); err != nil || string(data) != "bb" {
		t.Errorf("file: %q, %v", data, err)
	}
	if left, err := os.ReadDir(filepath.Dir(out)); err != nil || len(left) != 1 {
		t.Errorf("something was left behind: %v, %v", left, err)
	}
}

// Carol forges trees that would write outside the folder that alice names, or more than
// she allows.
func TestExportRefuses(t *testing.T) {
	ctx, s := t.Context(), alone(t)
	leaf, err := s.AddBytes(ctx, []byte("evil"))
	must(t, err)
	link := func(name string) *ipld.Link { return &ipld.Link{Name: name, Cid: leaf.CID, Size: 4} }
	sym := func(target string) *ipld.Link {
		p, err := s.symlink(ctx, target)
		must(t, err)
		return &ipld.Link{Name: "sub", Cid: p.cid, Size: p.total}
	}
	inner := &ipld.Link{Name: "sub", Cid: forged(t, s, link("evil")), Size: 100}
	lying := forged(t, s, &ipld.Link{Name: "a", Cid: leaf.CID, Size: 1}, &ipld.Link{Name: "b", Cid: leaf.CID, Size: 1})
	for name, row := range map[string]struct {
		links []*ipld.Link
		want  error
	}{
		"parent":                  {[]*ipld.Link{link("..")}, ErrUnsafe},
		"itself":                  {[]*ipld.Link{link(".")}, ErrUnsafe},
		"no name":                 {[]*ipld.Link{link("")}, ErrUnsafe},
		"climbing":                {[]*ipld.Link{link("../../evil")}, ErrUnsafe},
		"absolute":                {[]*ipld.Link{link("/tmp/evil")}, ErrUnsafe},
		"slash inside":            {[]*ipld.Link{link("a/b")}, ErrUnsafe},
		"NUL":                     {[]*ipld.Link{link("a\x00b")}, ErrUnsafe},
		"too long":                {[]*ipld.Link{link(strings.Repeat("n", 256))}, ErrUnsafe},
		"a name twice":            {[]*ipld.Link{link("a"), link("a")}, fs.ErrExist},
		"link, then folder":       {[]*ipld.Link{sym("elsewhere"), inner}, fs.ErrExist},
		"link to a parent":        {[]*ipld.Link{sym("..")}, ErrUnsafe},
		"link to the root":        {[]*ipld.Link{sym("/etc/passwd")}, ErrUnsafe},
		"link down and up":        {[]*ipld.Link{sym("a/../..")}, ErrUnsafe},
		"link that stays by text": {[]*ipld.Link{sym("a/../b")}, ErrUnsafe},
	} {
		at := t.TempDir()
		err := s.Export(ctx, forged(t, s, row.links...), filepath.Join(at, "out"), 0, nil)
		if !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", name, err, row.want)
		}
		if left, _ := os.ReadDir(at); len(left) > 0 {
			t.Errorf("%s: left %v behind", name, left)
		}
	}
	out := filepath.Join(t.TempDir(), "out")
	if err := s.Export(ctx, lying, out, 2*entryCost+7, nil); !errors.Is(err, ErrTooLarge) {
		t.Errorf("8 bytes that claim to be 2, limit 7 and two entries: %v", err)
	}
	var told Progress
	must(t, s.Export(ctx, lying, out, 2*entryCost+8, func(p Progress) { told = p }))
	if told.Bytes != 2*entryCost+8 {
		t.Errorf("it took %d bytes, want %d", told.Bytes, 2*entryCost+8)
	}
	alone, err := s.symlink(ctx, "x")
	must(t, err)
	if err := s.Export(ctx, alone.cid, out+"2", 0, nil); !errors.Is(err, ErrUnsafe) {
		t.Errorf("a symbolic link alone: %v", err)
	}
	if _, err := s.Open(ctx, alone.cid); err == nil || !strings.Contains(err.Error(), "is a symbolic link (name what it leads to") {
		t.Errorf("a symbolic link is read: %v", err)
	}
}

// A few blocks of carol's claim 2^60 folders; alice's node ends early.
func TestTreeBomb(t *testing.T) {
	s := alone(t)
	s.cfg.MaxEntries = 100_000
	c := forged(t, s)
	for range 60 {
		c = forged(t, s, &ipld.Link{Name: "l", Cid: c, Size: 1}, &ipld.Link{Name: "r", Cid: c, Size: 1})
	}
	if _, err := s.Tree(t.Context(), c); !errors.Is(err, ErrTooLarge) {
		t.Errorf("wide: %v", err)
	}
	hollow := make([]*ipld.Link, 1000)
	for i := range hollow {
		hollow[i] = &ipld.Link{Name: strconv.Itoa(i), Cid: forged(t, s), Size: 1}
	}
	at := filepath.Join(t.TempDir(), "hollow")
	if err := s.Export(t.Context(), forged(t, s, hollow...), at, 1<<20, nil); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a thousand empty folders in 1 MiB: %v", err)
	}
	long := forged(t, s, &ipld.Link{Name: "below", Cid: forged(t, s, hollow...), Size: 1})
	for i := range hollow {
		hollow[i].Cid = long
	}
	long = forged(t, s, hollow...)
	for range 14 {
		long = forged(t, s, &ipld.Link{Name: strings.Repeat("n", maxName), Cid: long, Size: 1})
	}
	s.cfg.MaxEntries = 2_000_000
	if _, err := s.Tree(t.Context(), long); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a million paths of 4 KiB from a few blocks: %v", err)
	}
	c = forged(t, s)
	for range maxDepth + 2 {
		c = forged(t, s, &ipld.Link{Name: "d", Cid: c, Size: 1})
	}
	if err := s.Export(t.Context(), c, filepath.Join(t.TempDir(), "out"), 0, nil); !errors.Is(err, ErrTooLarge) {
		t.Errorf("deep: %v", err)
	}
}

func FuzzParseRef(f *testing.F) {
	for _, s := range []string{"bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku", "/ipfs/QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn/a/b",
		"ipfs://bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku/%2e%2e/x", "ipfs://", "/ipfs/", "bafyaaaa/..", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, ref string) {
		c, names, err := parseRef(ref)
		if err != nil {
			if !errors.Is(err, ErrReference) {
				t.Fatalf("unexpected kind of error: %v", err)
			}
			return
		}
		if !c.Defined() {
			t.Fatal("no root and no error")
		}
		for _, name := range names {
			if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
				t.Fatalf("name %q came through", name)
			}
		}
	})
}

// Whatever name or link target is let through must lead to a place inside.
func FuzzNames(f *testing.F) {
	for _, s := range []string{"a", "..", "../x", "a/../..", "C:\\x", "a\x00b", "/etc", "./..", "..//..", "a//b", "CON"} {
		f.Add(s, "sub/link")
	}
	f.Fuzz(func(t *testing.T, name, at string) {
		base := filepath.FromSlash("/base/x")
		if checkName(name) == nil {
			if got := filepath.Join(base, name); filepath.Dir(got) != base {
				t.Fatalf("name %q leads to %q", name, got)
			}
		}
		if !filepath.IsLocal(at) || filepath.ToSlash(filepath.Clean(at)) != at {
			return
		}
		if CheckLink(at, name) == nil {
			got := filepath.Join(base, filepath.Dir(at), name)
			if got != base && !strings.HasPrefix(got, base+string(filepath.Separator)) {
				t.Fatalf("target %q of %q leads to %q", name, at, got)
			}
		}
	})
}
