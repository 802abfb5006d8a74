package seal

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hpips/hpips/store"
)

// tree is alice's folder: files, one of them empty, an empty folder, a link.
func tree(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "letters")
	for _, d := range []string{"", "sub", "sub/deep", "nothing"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"a": "dear bob", "empty": "", "sub/ü ö": "umlauts", "sub/deep/b": strings.Repeat("long ", 1000)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../a", filepath.Join(dir, "sub", "link")); err != nil {
		t.Skip(err) // Windows, without the right to make links
	}
	return dir
}

// same compares two trees.
func same(t *testing.T, a, b string) {
	t.Helper()
	look := func(dir string) map[string]string {
		all := map[string]string{}
		err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(dir, p)
			switch {
			case err != nil:
			case d.IsDir():
				all[rel] = "folder"
			case d.Type()&fs.ModeSymlink != 0:
				to, e := os.Readlink(p)
				all[rel], err = "link "+to, e
			default:
				b, e := os.ReadFile(p)
				all[rel], err = "file "+string(b), e
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	want, got := look(a), look(b)
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%s is %q, want %q", name, got[name], want[name])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d entries, want %d", len(got), len(want))
	}
}

func packed(t testing.TB, k Key, path string) ([]byte, Kind) {
	t.Helper()
	var b bytes.Buffer
	kind, err := Pack(t.Context(), &b, k, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), kind
}

func unpack(t testing.TB, k Key, b []byte, to string, over bool) (int64, error) {
	t.Helper()
	r, err := Open(bytes.NewReader(b), k)
	if err != nil {
		t.Fatal(err)
	}
	return Unpack(t.Context(), r, to, over, nil)
}

func TestAFolderComesBack(t *testing.T) {
	k, dir, out := key(t), tree(t), filepath.Join(t.TempDir(), "out")
	b, kind := packed(t, k, dir)
	if kind != Folder || bytes.Contains(b, []byte("umlauts")) || bytes.Contains(b, []byte("letters")) || bytes.Contains(b, []byte("deep")) {
		t.Fatalf("%s, or names and bytes are seen", kind)
	}
	if size, err := unpack(t, k, b, out, false); err != nil || size != 8+7+5000 {
		t.Fatalf("%d bytes: %v", size, err)
	}
	same(t, dir, out)
	if _, err := unpack(t, k, b, out, false); !errors.Is(err, store.ErrExists) {
		t.Errorf("it falls on what is there: %v", err)
	}
	file, kind := packed(t, k, filepath.Join(dir, "a"))
	if _, err := unpack(t, k, file, out, true); err != nil || kind != File {
		t.Errorf("a file in the place of a folder: %s, %v", kind, err)
	}
	if got, err := os.ReadFile(out); err != nil || string(got) != "dear bob" {
		t.Errorf("%q, %v", got, err)
	}
	var told int64
	if _, err := Pack(t.Context(), io.Discard, k, dir, func(n int64) { told = n }); err != nil || told != 8+7+5000 {
		t.Errorf("progress is %d: %v", told, err)
	}
}

// What breaks off leaves nothing behind.
func TestAllOrNothing(t *testing.T) {
	k, dir, to := key(t), tree(t), t.TempDir()
	b, _ := packed(t, k, dir)
	if _, err := unpack(t, k, b[:len(b)-1], filepath.Join(to, "out"), false); !errors.Is(err, ErrChanged) {
		t.Errorf("cut: %v", err)
	}
	r, err := Open(bytes.NewReader(b), k)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := Unpack(ctx, r, filepath.Join(to, "out"), false, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	if left, err := os.ReadDir(to); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := Pack(ctx, io.Discard, k, dir, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("packing, given up: %v", err)
	}
}

func TestWhatCannotBePackedIsNamed(t *testing.T) {
	k, dir := key(t), tree(t)
	if _, err := Pack(t.Context(), io.Discard, k, filepath.Join(dir, "nowhere"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not there: %v", err)
	}
	out := filepath.Join(dir, "out")
	if err := os.Symlink("../../etc", out); err != nil {
		t.Fatal(err)
	}
	if _, err := Pack(t.Context(), io.Discard, k, dir, nil); !errors.Is(err, store.ErrUnsafe) || !strings.Contains(err.Error(), "etc") {
		t.Errorf("a link that leads out: %v", err)
	}
}

// archive is a folder as mallory writes it.
func archive(t testing.TB, k Key, all ...*tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range all {
		if h.Typeflag == tar.TypeReg {
			h.Size = 1
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := w.Write([]byte{'x'}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return sealed(t, k, Folder, b.Bytes())
}

// mallory gives bob a key and an address: what comes out stays in the folder, or does not come out.
func TestAnArchiveStaysInItsFolder(t *testing.T) {
	file := func(name string) *tar.Header { return &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644} }
	folder := func(name string) *tar.Header { return &tar.Header{Typeflag: tar.TypeDir, Name: name} }
	link := func(name, to string) *tar.Header {
		return &tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to}
	}
	k := key(t)
	for what, all := range map[string][]*tar.Header{
		"above":                  {file("../x")},
		"above, in the middle":   {folder("a"), file("a/../../x")},
		"absolute":               {file("/tmp/x")},
		"the folder itself":      {folder("./")},
		"no name":                {file("")},
		"a link out":             {link("l", "../x")},
		"a link to the root":     {link("l", "/etc")},
		"through a link":         {folder("a"), link("a/l", ".."), link("m", "a/l/..")},
		"a device":               {{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3}},
		"a pipe":                 {{Typeflag: tar.TypeFifo, Name: "pipe"}},
		"a hard link":            {file("a"), {Typeflag: tar.TypeLink, Name: "b", Linkname: "a"}},
		"a name twice":           {file("a"), file("a")},
		"a file where a folder":  {file("a"), file("a/b")},
		"a very long name":       {file(strings.Repeat("n/", 3000) + "x")},
		"a folder that is there": {folder("a"), folder("a")},
	} {
		to := t.TempDir()
		if _, err := unpack(t, k, archive(t, k, all...), filepath.Join(to, "deep"), false); err == nil {
			t.Errorf("%s: it was written", what)
		}
		if left, err := os.ReadDir(to); err != nil || len(left) != 0 {
			t.Errorf("%s: left behind: %v, %v", what, left, err)
		}
	}
	to := filepath.Join(t.TempDir(), "out")
	if _, err := unpack(t, k, archive(t, k, folder("a/"), link("b", "a"), file("a/x")), to, false); err != nil {
		t.Errorf("a good one: %v", err)
	}
}

// A few bytes of an archive may say that a file is full of holes, which would fill bob's disk.
func TestHolesAreRefused(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	records := map[string]string{"XXX.sparse.major": "0", "XXX.sparse.minor": "1", "XXX.sparse.numblocks": "1", "XXX.sparse.map": "0,0", "XXX.sparse.size": "1099511627776"}
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "holes", PAXRecords: records}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	holes := bytes.ReplaceAll(b.Bytes(), []byte("XXX."), []byte("GNU.")) // which the writer does not write
	if h, err := tar.NewReader(bytes.NewReader(holes)).Next(); err != nil || h.Size != 1<<40 {
		t.Fatalf("this is no archive of holes: %+v, %v", h, err)
	}
	to, k := t.TempDir(), key(t)
	if _, err := unpack(t, k, sealed(t, k, Folder, holes), filepath.Join(to, "out"), false); !errors.Is(err, store.ErrUnsafe) {
		t.Errorf("holes: %v", err)
	}
	if left, err := os.ReadDir(to); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// FuzzUnpack: whatever a folder's archive is, nothing is written beside its target, and what breaks off leaves nothing.
func FuzzUnpack(f *testing.F) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "a/"})
	w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "a/b", Size: 3})
	w.Write([]byte("abc"))
	w.Close()
	f.Add(b.Bytes())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		to := t.TempDir()
		_, err := Unpack(t.Context(), &Reader{Folder, bytes.NewReader(b), &source{}}, filepath.Join(to, "out"), false, nil)
		left, lost := os.ReadDir(to)
		if lost != nil || err != nil && len(left) != 0 || err == nil && (len(left) != 1 || left[0].Name() != "out") {
			t.Fatalf("%v, %v: %v", err, lost, left)
		}
	})
}
