package wasm

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hpips/hpips/engine"
	"github.com/tetratelabs/wazero/experimental/sys"
)

// garden is a folder with what a careless owner might share.
func garden(t *testing.T) (dir, secret string) {
	t.Helper()
	dir = t.TempDir()
	secret = filepath.Join(t.TempDir(), "secret")
	put := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(secret, "the owner's key")
	for _, name := range []string{"b", "a", "c/z", "c/y", "B"} {
		put(filepath.Join(dir, name), "text of "+name)
	}
	for link, to := range map[string]string{"inside": "c/y", "outside": secret, "up": "../../../../etc/passwd", "etc": "/etc", "nowhere": "void"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	return dir, secret
}

func TestEscapes(t *testing.T) {
	dir, secret := garden(t)
	p := program(t, guest(t))
	p.Args, p.Mounts = []string{"show"}, []engine.Mount{{Guest: "/in", Host: dir}}
	s := openSandbox(t, p)
	for i, row := range []struct{ path, want string }{
		{"/in/a", "text of a"},
		{"/in/c/../a", "text of a"},
		{"/../../in/./a", "text of a"},
		{"/in/inside", "text of c/y"},
		{"/in/outside", "No such file or directory"},
		{"/in/up", "No such file or directory"},
		{"/in/etc/passwd", "No such file or directory"},
		{"/in/nowhere", "No such file or directory"},
		{"/in/../../../../etc/passwd", "No such file or directory"},
		{"/etc/passwd", "No such file or directory"},
		{secret, "No such file or directory"},
		{"/proc/self/environ", "No such file or directory"},
		{"/dev/null", "No such file or directory"},
		{"/in/a/b", "Not a directory"},
		{"/in/a/", "Not a directory"},
		{"/in", "Is a directory"},
	} {
		id := uint64(i + 1)
		o := runAll(t, s, engine.Task{ID: id, Args: []string{row.path}}).byID[id]
		if got := strings.TrimSpace(string(o.Stdout.Inline)); !strings.HasSuffix(strings.ToLower(got), ": "+strings.ToLower(row.want)) && !strings.HasSuffix(strings.ToLower(got), strings.ToLower(row.want)) {
			t.Errorf("%s: %q, want %q", row.path, got, row.want)
		}
	}
}

func TestWriteWhereNot(t *testing.T) {
	dir, secret := garden(t)
	p := program(t, guest(t))
	p.Args, p.Mounts = []string{"write"}, []engine.Mount{{Guest: "/in", Host: dir}}
	s := openSandbox(t, p)
	for i, path := range []string{"/in/a", "/in/new", "/in/c/new", "/new", "/in/outside", "/in/etc/new", "/out/../in/a", "/out/../../x", "/etc/x", "/in"} {
		id := uint64(i + 1)
		o := runAll(t, s, engine.Task{ID: id, Args: []string{path, "carol was here"}, Outputs: []string{"/out"}}).byID[id]
		if o.End != engine.Exited || o.Exit != 1 {
			t.Errorf("writing %s: %s %d %q", path, o.End, o.Exit, o.Message)
		}
	}
	for path, want := range map[string]string{secret: "the owner's key", filepath.Join(dir, "a"): "text of a"} {
		if b, err := os.ReadFile(path); err != nil || string(b) != want {
			t.Errorf("%s now holds %q, %v", path, b, err)
		}
	}
	if o := runAll(t, s, engine.Task{ID: 99, Args: []string{"/out/sub/x", "fine"}, Outputs: []string{"/out"}}).byID[99]; string(o.Stdout.Inline) != "fine" {
		t.Errorf("writing where it may: %d %q %q", o.Exit, o.Stdout.Inline, o.Stderr.Inline)
	}
}

func TestList(t *testing.T) {
	dir, _ := garden(t)
	p := program(t, guest(t))
	p.Args = []string{"list", "/"}
	p.Mounts = []engine.Mount{{Guest: "/in", Host: dir}, {Guest: "/in/c/more", Host: dir}, {Guest: "/one", Host: filepath.Join(dir, "b")}}
	o := one(t, p, engine.Task{})
	var names []string
	for line := range strings.Lines(string(o.Stdout.Inline)) {
		name, rest, _ := strings.Cut(line, " ")
		names = append(names, name)
		if !strings.Contains(rest, "2000-01-01T00:00:00Z") && !strings.Contains(line, "nowhere") && !strings.Contains(line, "outside") && !strings.Contains(line, "/up") && !strings.Contains(line, "/etc") {
			t.Errorf("%q", line)
		}
	}
	for _, want := range []string{"/in/B", "/in/a", "/in/c/more/c/z", "/one", "/tmp", "/in/inside"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is missing from %q", want, names)
		}
	}
	if b, a := slices.Index(names, "/in/B"), slices.Index(names, "/in/a"); b > a {
		t.Errorf("names are not sorted by bytes: %q", names)
	}
}

func TestOutputsHoldFilesOnly(t *testing.T) {
	p := program(t, guest(t))
	s := openSandbox(t, p)
	o := runAll(t, s, engine.Task{ID: 1, Args: []string{"rename", "/out/x", "/out/y"}, Outputs: []string{"/out"}}).byID[1]
	b, err := os.ReadFile(filepath.Join(o.Outputs["/out"], "y"))
	if err != nil || string(b) != "moved and more" {
		t.Errorf("%q, %v; %d %s", b, err, o.Exit, o.Stderr.Inline)
	}
	list, err := os.ReadDir(o.Outputs["/out"])
	if err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
	if err := os.Symlink("/etc", filepath.Join(o.Outputs["/out"], "link")); err != nil {
		t.Fatal(err)
	}
	if plainFiles(o.Outputs["/out"]) == nil {
		t.Error("a link in an output was taken for a file")
	}
}

// TestScratch has /tmp for each task, empty at first and gone afterwards.
func TestScratch(t *testing.T) {
	p := program(t, guest(t))
	s := openSandbox(t, p)
	l := runAll(t, s, engine.Task{ID: 1, Args: []string{"write", "/tmp/x", "scratch"}}, engine.Task{ID: 2, Args: []string{"show", "/tmp/x"}},
		engine.Task{ID: 3, Args: []string{"write", "/tmp/x", "again"}, Outputs: []string{"/out"}})
	for id, want := range map[uint64]string{1: "scratch", 3: "again"} {
		if got := string(l.byID[id].Stdout.Inline); got != want {
			t.Errorf("task %d read %q back: %s", id, got, l.byID[id].Stderr.Inline)
		}
	}
	if got := string(l.byID[2].Stdout.Inline); !strings.Contains(got, "o such file") {
		t.Errorf("the next task found %q", got)
	}
	if left, err := filepath.Glob(filepath.Join(p.Dir, "tasks", "*", "tmp")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestDiskLimit(t *testing.T) {
	p := program(t, guest(t))
	s := openSandbox(t, p)
	l := runAll(t, s,
		engine.Task{ID: 1, Args: []string{"fill", "/tmp/big"}},
		engine.Task{ID: 2, Args: []string{"files", "/out"}, Outputs: []string{"/out"}},
		engine.Task{ID: 3, Args: []string{"write", "/tmp/x", "after"}})
	for _, id := range []uint64{1, 2} {
		if o := l.byID[id]; o.End != engine.DiskFull || o.Message != "files passed their limit of 4 MiB; raise it with --disk" {
			t.Errorf("task %d: %s %q %s", id, o.End, o.Message, o.Stderr.Inline)
		}
	}
	list, err := os.ReadDir(l.byID[2].Outputs["/out"])
	if err != nil || len(list) != 1024 {
		t.Errorf("%d empty files fit into 4 MiB, want 1024; %v", len(list), err)
	}
	if got := string(l.byID[3].Stdout.Inline); got != "after" {
		t.Errorf("the next task has a disk of its own, but: %q", got)
	}
}

// TestTree looks at the file system from below WASI, where names are not cleaned yet.
func TestTree(t *testing.T) {
	dir, secret := garden(t)
	tree := newTree(&quota{left: 1 << 20})
	defer tree.close()
	if err := tree.show(engine.Mount{Guest: "/in", Host: dir}); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name string
		want sys.Errno
	}{
		{"in/a", 0}, {"/in/a", 0}, {"in/../in/a", 0}, {"../in/a", 0}, {"in/outside", sys.ENOENT}, {"in/../../etc/passwd", sys.ENOENT},
		{secret, sys.ENOENT}, {"in/a\x00b", sys.EINVAL}, {"in/etc/passwd", sys.ENOENT}, {"", 0}, {".", 0}, {"in/" + strings.Repeat("x", 300), sys.ENAMETOOLONG},
	} {
		if _, got := tree.Stat(row.name); got != row.want {
			t.Errorf("stat %q: %v, want %v", row.name, got, row.want)
		}
		f, got := tree.OpenFile(row.name, sys.O_RDONLY, 0)
		if got != row.want {
			t.Errorf("open %q: %v, want %v", row.name, got, row.want)
		}
		if f != nil {
			f.Close()
		}
	}
	for name, got := range map[string]sys.Errno{
		"mkdir": tree.Mkdir("in/new", 0), "unlink": tree.Unlink("in/a"), "rmdir": tree.Rmdir("in/c"), "rename": tree.Rename("in/a", "in/new"),
		"mkdir /new": tree.Mkdir("new", 0), "rename out": tree.Rename("in/a", "../../tmp/x"),
	} {
		if got == 0 {
			t.Errorf("%s was allowed", name)
		}
	}
	var open []sys.File
	for {
		f, e := tree.OpenFile("in/a", sys.O_RDONLY, 0)
		if e != 0 {
			break
		}
		open = append(open, f)
	}
	if len(open) != maxOpen {
		t.Errorf("%d files were open at once, want %d", len(open), maxOpen)
	}
	for _, f := range open {
		f.Close()
	}
	if tree.open != 0 {
		t.Errorf("%d files are still open", tree.open)
	}
}

// TestBurrow digs so deep that removing it takes more open files than there are: what is not removed would fill the owner's disk.
func TestBurrow(t *testing.T) {
	p := program(t, guest(t))
	p.Args = []string{"burrow"}
	s := openSandbox(t, p)
	for i, args := range [][]string{{"/tmp", "names"}, {"/out", "names"}, {"/tmp", "renames"}, {"/out", "renames"}} {
		id := uint64(i + 1)
		o := runAll(t, s, engine.Task{ID: id, Args: args, Outputs: []string{"/out"}}).byID[id]
		if o.End != engine.Exited || o.Exit != 1 || !strings.Contains(string(o.Stderr.Inline), "File name too long") {
			t.Errorf("burrowing in %s: %s %d %q %.200q", args, o.End, o.Exit, o.Message, o.Stderr.Inline)
		}
		s.Release(id)
	}
	if left, err := os.ReadDir(filepath.Join(p.Dir, "tasks")); err != nil || len(left) > 0 {
		t.Errorf("there remain %v, %v", left, err)
	}
}

// TestDeepRename lets a folder move up and sideways as it likes, and down as far as names go.
func TestDeepRename(t *testing.T) {
	dir := t.TempDir()
	tree := newTree(&quota{left: 1 << 20})
	if err := tree.lend("/out", dir); err != nil {
		t.Fatal(err)
	}
	defer tree.close()
	long := strings.Repeat("x", 250)
	for _, name := range []string{"/out/a", "/out/a/" + long, "/out/b", "/out/b/" + long, "/out/b/" + long + "/" + long} {
		if e := tree.Mkdir(name, 0); e != 0 {
			t.Fatalf("make %.20s: %v", name, e)
		}
	}
	for _, row := range []struct {
		from, to string
		want     sys.Errno
	}{
		{"/out/a/" + long, "/out/b/" + long + "/" + long + "/" + long, 0},
		{"/out/b/" + long + "/" + long, "/out/a/c", 0},
		{"/out/a/c/" + long, "/out/a/d", 0},
		{"/out/b", "/out/a/" + strings.Repeat("y/", 2), sys.ENOENT},
		{"/out/b", "/out/a/" + strings.Repeat("y/", longest/2), sys.ENAMETOOLONG},
	} {
		if e := tree.Rename(row.from, row.to); e != row.want {
			t.Errorf("from %.20s (%d) to %.20s (%d): %v, want %v", row.from, len(row.from), row.to, len(row.to), e, row.want)
		}
	}
}
