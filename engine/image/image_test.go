package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/klauspost/compress/gzip"
)

// hello is an image of two layers for a platform.
func hello(t *testing.T, arch string) v1.Image {
	t.Helper()
	img, err := random.Image(1000, 2, random.WithSource(&steps{}))
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", arch
	config.Config.Entrypoint, config.Config.Cmd = []string{"/bin/hello"}, []string{"alice"}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	return img
}

// steps is a source of numbers that are the same each time.
type steps struct{ n int64 }

// Int63 counts.
func (s *steps) Int63() int64 { s.n += 1 << 40; return s.n & (1<<63 - 1) }

// Seed does nothing.
func (s *steps) Seed(int64) {}

// saved writes an image as older docker save does.
func saved(t *testing.T, path string, images ...v1.Image) {
	t.Helper()
	all := map[name.Reference]v1.Image{}
	for i, img := range images {
		ref, err := name.NewTag("example.org/hello:" + string(rune('a'+i)))
		if err != nil {
			t.Fatal(err)
		}
		all[ref] = img
	}
	if err := tarball.MultiRefWriteToFile(path, all); err != nil {
		t.Fatal(err)
	}
}

// laid writes images as a layout.
func laid(t *testing.T, dir string, images ...v1.Image) {
	t.Helper()
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	for _, img := range images {
		config, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if err := p.AppendImage(img, layout.WithPlatform(v1.Platform{OS: config.OS, Architecture: config.Architecture})); err != nil {
			t.Fatal(err)
		}
	}
}

// archived writes a folder as a tar file, with what change makes of its entries.
func archived(t *testing.T, dir, to string, change func(*tar.Header, []byte) []byte) {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		h := &tar.Header{Name: filepath.ToSlash(rel), Mode: 0o600, Typeflag: tar.TypeReg, Size: int64(len(data))}
		if change != nil {
			if data = change(h, data); data == nil {
				return nil
			}
			h.Size = int64(len(data))
		}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	})
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

func squeezed(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// files are the names and contents below a folder.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(dir, p))
		all[p] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Alice's image is the same whichever way she saved it, and what does not belong to it stays out.
func TestEveryWayOfSaving(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	img := hello(t, "amd64")
	saved(t, at("docker.tar"), img)
	squeezed(t, at("docker.tar"), at("docker.tgz"))
	laid(t, at("layout"), img)
	if err := os.WriteFile(filepath.Join(at("layout"), "notes.txt"), []byte("bob was here"), 0o600); err != nil {
		t.Fatal(err)
	}
	archived(t, at("layout"), at("oci.tar"), func(h *tar.Header, data []byte) []byte { h.Name = "./" + h.Name; return data })
	for _, from := range []string{"docker.tar", "docker.tgz", "layout", "oci.tar"} {
		if !Likely(at(from)) {
			t.Errorf("%s does not look like an image", from)
		}
		s, err := Import(context.Background(), at(from), at("to-"+from))
		if err != nil {
			t.Errorf("%s: %v", from, err)
			continue
		}
		if s.Layers != 2 || !reflect.DeepEqual(s.Platforms, []string{"linux/amd64"}) || !reflect.DeepEqual(s.Entrypoint, []string{"/bin/hello"}) || !reflect.DeepEqual(s.Command, []string{"alice"}) {
			t.Errorf("%s: %+v", from, s)
		}
		got := files(t, at("to-"+from))
		var size int64
		for name, data := range got {
			size += int64(len(data))
			if name != Marker && name != Index && !blob.MatchString(name) {
				t.Errorf("%s: %s lies in it", from, name)
			}
		}
		if s.Size != size || len(got) != 6 { // two layers, configuration, manifest, index, marker
			t.Errorf("%s: %d files of %d bytes, told as %d", from, len(got), size, s.Size)
		}
		again, err := Import(context.Background(), at(from), at("again-"+from))
		if err != nil || again.Size != s.Size || !reflect.DeepEqual(files(t, at("again-"+from)), got) {
			t.Errorf("%s: the same image gives other files: %v", from, err)
		}
		if left, err := filepath.Glob(at("*.part")); err != nil || len(left) > 0 {
			t.Errorf("%s leaves %v, %v", from, left, err)
		}
	}
	for _, way := range []string{"docker.tgz", "oci.tar"} {
		if base := map[string]string{"docker.tgz": "docker.tar", "oci.tar": "layout"}[way]; !reflect.DeepEqual(files(t, at("to-"+way)), files(t, at("to-"+base))) {
			t.Errorf("%s and %s differ", way, base)
		}
	}
}

// An image for several kinds of machines keeps all of them.
func TestSeveralPlatforms(t *testing.T) {
	dir := t.TempDir()
	laid(t, filepath.Join(dir, "both"), hello(t, "amd64"), hello(t, "arm64"))
	s, err := Import(context.Background(), filepath.Join(dir, "both"), filepath.Join(dir, "to"))
	if err != nil || !reflect.DeepEqual(s.Platforms, []string{"linux/amd64", "linux/arm64"}) {
		t.Errorf("%+v, %v", s, err)
	}
}

// What is no image, or a damaged one, is refused by name, and nothing is left of it.
func TestBadImages(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good")
	laid(t, good, hello(t, "amd64"))
	write := func(data string) func(*testing.T, string) {
		return func(t *testing.T, to string) {
			if err := os.WriteFile(to, []byte(data), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	tampered := func(change func(*tar.Header, []byte) []byte) func(*testing.T, string) {
		return func(t *testing.T, to string) { archived(t, good, to, change) }
	}
	largest := ""
	for name, data := range files(t, good) {
		if strings.HasPrefix(name, "blobs") && len(data) > len(files(t, good)[largest]) {
			largest = name
		}
	}
	rows := map[string]struct {
		make func(*testing.T, string)
		want error
		says string
	}{
		"nothing":               {func(*testing.T, string) {}, fs.ErrNotExist, ""},
		"a text":                {write("hello"), ErrNone, ""},
		"an empty file":         {write(""), ErrNone, ""},
		"an empty folder":       {func(t *testing.T, to string) { _ = os.Mkdir(to, 0o700) }, ErrNone, ""},
		"a cut archive of gzip": {write("\x1f\x8b\x08\x00"), io.ErrUnexpectedEOF, ""},
		"another archive":       {tampered(func(h *tar.Header, d []byte) []byte { h.Name = "x/" + h.Name; return d }), ErrNone, "neither"},
		"a blob that was changed": {tampered(func(h *tar.Header, d []byte) []byte {
			if h.Name == largest {
				d = append([]byte(nil), d...)
				d[len(d)-1] ^= 1
			}
			return d
		}), nil, ""},
		"a blob that is missing": {tampered(func(h *tar.Header, d []byte) []byte {
			if h.Name == largest {
				return nil
			}
			return d
		}), nil, ""},
		"an index that leads to nothing": {tampered(func(h *tar.Header, d []byte) []byte {
			if h.Name == Index {
				return []byte(`{"schemaVersion":2,"manifests":[]}`)
			}
			return d
		}), nil, "leads to no image"},
		"an index that is no JSON": {tampered(func(h *tar.Header, d []byte) []byte {
			if h.Name == Index {
				return []byte(`{`)
			}
			return d
		}), nil, ""},
		"an index without end": {tampered(func(h *tar.Header, d []byte) []byte {
			if h.Name == Index {
				return append(d, bytes.Repeat([]byte(" "), MaxIndex)...)
			}
			return d
		}), ErrNone, "more than"},
		"several images":                {func(t *testing.T, to string) { saved(t, to, hello(t, "amd64"), hello(t, "arm64")) }, ErrSeveral, ""},
		"several for the same machines": {func(t *testing.T, to string) { laid(t, to, hello(t, "amd64"), mutated(t)) }, ErrSeveral, "linux/amd64"},
	}
	for name, row := range rows {
		from, to := filepath.Join(dir, "from "+name), filepath.Join(dir, "to "+name)
		row.make(t, from)
		_, err := Import(context.Background(), from, to)
		if err == nil || row.want != nil && !errors.Is(err, row.want) || !strings.Contains(err.Error(), row.says) || !strings.Contains(err.Error(), "from "+name) {
			t.Errorf("%s: %v", name, err)
		}
		if left, err := filepath.Glob(to + "*"); err != nil || len(left) > 0 {
			t.Errorf("%s leaves %v", name, left)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Import(ctx, good, filepath.Join(dir, "stopped")); !errors.Is(err, context.Canceled) {
		t.Errorf("told to stop: %v", err)
	}
}

// mutated is another image for the same machines.
func mutated(t *testing.T) v1.Image {
	t.Helper()
	config, err := hello(t, "amd64").ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.Config.Cmd = []string{"bob"}
	img, err := mutate.ConfigFile(hello(t, "amd64"), config)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// FuzzRead holds the reading of layouts against any index.
func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"manifests":[]}`))
	f.Add([]byte(`{"manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000","size":1}]}`))
	f.Add([]byte(`{"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:../../etc","size":-1}]}`))
	f.Fuzz(func(t *testing.T, index []byte) {
		dir := t.TempDir()
		for name, data := range map[string][]byte{Marker: []byte(`{"imageLayoutVersion":"1.0.0"}`), Index: index} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if s, err := Read(t.Context(), dir); err == nil {
			t.Errorf("an image without blobs is taken: %+v", s)
		}
	})
}
