package image

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/hpips/hpips/engine"
)

// draft is an image that tests spoil before it is written.
type draft struct {
	t        *testing.T
	dir      string
	layers   [][]byte // as they are stored
	types    []string
	config   v1.Image
	manifest v1.Manifest
	index    v1.Index
	documents
}

// documents change what is written.
type documents struct {
	onConfig   func(*v1.Image)
	onManifest func(*v1.Manifest)
	onIndex    func(*draft, *v1.Index)
	onFiles    func(*draft)
	rawIndex   func([]byte) []byte
}

func (d *draft) blob(mediaType string, text []byte) v1.Descriptor {
	d.t.Helper()
	sum := digest.FromBytes(text)
	path := filepath.Join(d.dir, "blobs/sha256", sum.Encoded())
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		d.t.Fatal(err)
	}
	return v1.Descriptor{MediaType: mediaType, Digest: sum, Size: int64(len(text))}
}

func text(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// layer is one plain layer of a folder and two files.
func layer(t *testing.T) []byte {
	t.Helper()
	b, err := Pack(File{"bin/hello", []byte("#!/bin/sh\n")}, File{"etc/motd", []byte("welcome")})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// write gives the folder and the key.
func (d *draft) write() (dir, key string) {
	if len(d.layers) == 0 {
		plain := layer(d.t)
		d.layers, d.types = [][]byte{plain}, []string{v1.MediaTypeImageLayer}
		d.config.RootFS.DiffIDs = []digest.Digest{digest.FromBytes(plain)}
	}
	d.config.OS, d.config.Architecture, d.config.RootFS.Type = "linux", runtime.GOARCH, "layers"
	d.config.Config = v1.ImageConfig{Entrypoint: []string{"/bin/hello"}, Cmd: []string{"world"}}
	if d.onConfig != nil {
		d.onConfig(&d.config)
	}
	d.manifest = v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest}
	for i, layer := range d.layers {
		d.manifest.Layers = append(d.manifest.Layers, d.blob(d.types[i], layer))
	}
	d.manifest.Config = d.blob(v1.MediaTypeImageConfig, text(d.t, d.config))
	if d.onManifest != nil {
		d.onManifest(&d.manifest)
	}
	d.index = v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: []v1.Descriptor{d.blob(v1.MediaTypeImageManifest, text(d.t, d.manifest))}}
	if d.onIndex != nil {
		d.onIndex(d, &d.index)
	}
	raw := text(d.t, d.index)
	if d.rawIndex != nil {
		raw = d.rawIndex(raw)
	}
	for name, content := range map[string][]byte{"index.json": raw, "oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)} {
		if err := os.WriteFile(filepath.Join(d.dir, name), content, 0o600); err != nil {
			d.t.Fatal(err)
		}
	}
	if d.onFiles != nil {
		d.onFiles(d)
	}
	return d.dir, digest.FromBytes(raw).Encoded()
}

// read is what an engine reads of a layout before it takes it, its layers unpacked up to most bytes.
func read(t *testing.T, dir, key string, most int64) (*Image, Weight, error) {
	t.Helper()
	l, err := Open(dir)
	if err != nil {
		return nil, Weight{}, err
	}
	t.Cleanup(func() { l.Close() })
	i, err := l.Image(key)
	if err != nil {
		return nil, Weight{}, err
	}
	w, err := i.Weigh(t.Context(), most)
	return i, w, err
}

// gone removes a blob, spoilt changes its last byte, swapped puts something of the same length in its place elsewhere by a link.
func (d *draft) gone(b v1.Descriptor) {
	if err := os.Remove(filepath.Join(d.dir, BlobFile(b.Digest))); err != nil {
		d.t.Fatal(err)
	}
}

func (d *draft) spoilt(b v1.Descriptor) {
	path := filepath.Join(d.dir, BlobFile(b.Digest))
	content, err := os.ReadFile(path)
	if err != nil {
		d.t.Fatal(err)
	}
	content[len(content)-1] ^= 1
	if err := os.WriteFile(path, content, 0o600); err != nil {
		d.t.Fatal(err)
	}
}

func TestALayoutIsRead(t *testing.T) {
	d := &draft{t: t, dir: t.TempDir()}
	dir, key := d.write()
	i, w, err := read(t, dir, key, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if c := i.Config.Config; !slices.Equal(c.Entrypoint, []string{"/bin/hello"}) || !slices.Equal(c.Cmd, []string{"world"}) || i.Manifest.Digest != d.index.Manifests[0].Digest {
		t.Errorf("it reads %+v", c)
	}
	if w.Files != 2 || w.Bytes < 17 || w.Bytes > 2*entry+4096 {
		t.Errorf("it weighs %+v", w)
	}
}

// TestBadLayouts has everything refused that no honest maker of images writes, with words for its maker.
func TestBadLayouts(t *testing.T) {
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.WriteFile(elsewhere, []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		documents
		says string
	}{
		"no layout": {documents{onFiles: func(d *draft) { os.Remove(filepath.Join(d.dir, "oci-layout")) }}, "there is no oci-layout"},
		"another version": {documents{onFiles: func(d *draft) {
			os.WriteFile(filepath.Join(d.dir, "oci-layout"), []byte(`{"imageLayoutVersion":"2.0.0"}`), 0o600)
		}}, `version "2.0.0"`},
		"no index":            {documents{onFiles: func(d *draft) { os.Remove(filepath.Join(d.dir, "index.json")) }}, "there is no index.json"},
		"no JSON":             {documents{rawIndex: func([]byte) []byte { return []byte("<index>") }}, "its index: invalid"},
		"two values":          {documents{rawIndex: func(b []byte) []byte { return append(b, "{}"...) }}, "something follows"},
		"a large index":       {documents{rawIndex: func(b []byte) []byte { return append(b, bytes.Repeat([]byte(" "), MaxIndex)...) }}, "more than the 4 MiB"},
		"version 1":           {documents{onIndex: func(_ *draft, i *v1.Index) { i.SchemaVersion = 1 }}, "version 1"},
		"other digests":       {documents{onIndex: func(_ *draft, i *v1.Index) { i.Manifests[0].Digest = digest.SHA512.FromString("x") }}, "no sha256 digest"},
		"a path for a digest": {documents{onIndex: func(_ *draft, i *v1.Index) { i.Manifests[0].Digest = "sha256:../../../../etc/passwd" }}, "no sha256 digest"},
		"no manifest":         {documents{onFiles: func(d *draft) { d.gone(d.index.Manifests[0]) }}, "there is no blobs/sha256/"},
		"a spoilt manifest":   {documents{onFiles: func(d *draft) { d.spoilt(d.index.Manifests[0]) }}, "not what its digest says"},
		"a manifest's size":   {documents{onIndex: func(_ *draft, i *v1.Index) { i.Manifests[0].Size++ }}, "not what its digest says"},
		"a huge manifest":     {documents{onIndex: func(_ *draft, i *v1.Index) { i.Manifests[0].Size = 1 << 40 }}, "more than the 4 MiB"},
		"a chart":             {documents{onManifest: func(m *v1.Manifest) { m.Config.MediaType = "application/vnd.cncf.helm.config.v1+json" }}, "something else than an image"},
		"too many layers": {documents{onManifest: func(m *v1.Manifest) {
			for range maxLayers {
				m.Layers = append(m.Layers, m.Layers[0])
			}
		}}, "128 layers"},
		"a strange layer": {documents{onManifest: func(m *v1.Manifest) {
			m.Layers[0].MediaType = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
		}}, "a layer is of type"},
		"no config":             {documents{onFiles: func(d *draft) { d.gone(d.manifest.Config) }}, "there is no blobs/sha256/"},
		"a spoilt config":       {documents{onFiles: func(d *draft) { d.spoilt(d.manifest.Config) }}, "not what its digest says"},
		"layers without a name": {documents{onConfig: func(c *v1.Image) { c.RootFS.DiffIDs = nil }}, "names 0 layers, its manifest 1"},
		"no layer":              {documents{onFiles: func(d *draft) { d.gone(d.manifest.Layers[0]) }}, "there is no blobs/sha256/"},
		"a spoilt layer":        {documents{onFiles: func(d *draft) { d.spoilt(d.manifest.Layers[0]) }}, "not what its digest says"},
		"a longer layer":        {documents{onManifest: func(m *v1.Manifest) { m.Layers[0].Size++ }}, "bytes, and not"},
		"another layer":         {documents{onConfig: func(c *v1.Image) { c.RootFS.DiffIDs[0] = digest.FromString("x") }}, "not what the image's configuration says"},
		"a folder for a blob": {documents{onFiles: func(d *draft) {
			d.gone(d.manifest.Config)
			os.Mkdir(filepath.Join(d.dir, BlobFile(d.manifest.Config.Digest)), 0o700)
		}}, "is no file"},
		"an index without measure": {documents{onIndex: func(_ *draft, i *v1.Index) {
			for range maxEntries {
				i.Manifests = append(i.Manifests, i.Manifests[0])
			}
		}}, "more than 256 entries"},
		"indexes without measure": {documents{onIndex: func(d *draft, i *v1.Index) {
			for range maxNesting { // of 7 entries each, the 7 times 7 times 7 of all of them
				inner := d.blob(v1.MediaTypeImageIndex, text(d.t, i))
				i.Manifests = slices.Repeat([]v1.Descriptor{inner}, 7)
			}
		}}, "more than 256 entries"},
		"indexes in indexes": {documents{onIndex: func(d *draft, i *v1.Index) {
			for range maxNesting + 1 {
				i.Manifests = []v1.Descriptor{d.blob(v1.MediaTypeImageIndex, text(d.t, i))}
			}
		}}, "deeper than 3"},
	} {
		t.Run(name, func(t *testing.T) {
			d := &draft{t: t, dir: t.TempDir(), documents: row.documents}
			dir, key := d.write()
			_, _, err := read(t, dir, key, 1<<20)
			var bad *engine.ProgramError
			if !errors.As(err, &bad) || bad.Hint == "" || !strings.Contains(bad.Message, row.says) {
				t.Errorf("it says %v, want %q", err, row.says)
			}
		})
	}
	t.Run("a link out", func(t *testing.T) {
		d := &draft{t: t, dir: t.TempDir(), documents: documents{onFiles: func(d *draft) {
			if err := errors.Join(os.Remove(filepath.Join(d.dir, "oci-layout")), os.Symlink(elsewhere, filepath.Join(d.dir, "oci-layout"))); err != nil {
				d.t.Skip(err)
			}
		}}}
		dir, key := d.write()
		if _, _, err := read(t, dir, key, 1<<20); err == nil || !strings.Contains(err.Error(), "escapes") {
			t.Errorf("it says %v", err)
		}
	})
	t.Run("another key", func(t *testing.T) {
		d := &draft{t: t, dir: t.TempDir()}
		dir, _ := d.write()
		if _, _, err := read(t, dir, strings.Repeat("0", 64), 1<<20); err == nil || !strings.Contains(err.Error(), "sha256 of its index is") {
			t.Errorf("it says %v", err)
		}
	})
}

// TestForOtherMachines says of images that are well and not for this machine what they are for: another machine may be one.
func TestForOtherMachines(t *testing.T) {
	for name, row := range map[string]struct {
		documents
		says string
	}{
		"an empty index": {documents{onIndex: func(_ *draft, i *v1.Index) { i.Manifests = nil }}, "but for: nothing"},
		"another platform": {documents{onIndex: func(_ *draft, i *v1.Index) {
			i.Manifests[0].Platform = &v1.Platform{OS: "linux", Architecture: "s390x"}
		}}, "but for: linux/s390x"},
		"another system": {documents{onIndex: func(_ *draft, i *v1.Index) {
			i.Manifests[0].Platform = &v1.Platform{OS: "windows", Architecture: runtime.GOARCH}
		}}, "but for: windows/"},
		"its words differ": {documents{onConfig: func(c *v1.Image) { c.Architecture = "s390x" }}, "but for: linux/s390x"},
	} {
		t.Run(name, func(t *testing.T) {
			d := &draft{t: t, dir: t.TempDir(), documents: row.documents}
			dir, key := d.write()
			_, _, err := read(t, dir, key, 1<<20)
			if bad := (*engine.ProgramError)(nil); !errors.Is(err, ErrPlatform) || errors.As(err, &bad) || !strings.Contains(err.Error(), row.says) {
				t.Errorf("it says %v, want %q", err, row.says)
			}
		})
	}
}

// TestNestedIndexes finds the image for this machine among others, as builders for several machines write it.
func TestNestedIndexes(t *testing.T) {
	d := &draft{t: t, dir: t.TempDir(), documents: documents{onIndex: func(d *draft, i *v1.Index) {
		own := i.Manifests[0]
		own.Platform = &v1.Platform{OS: "linux", Architecture: runtime.GOARCH}
		other := d.blob(v1.MediaTypeImageManifest, []byte("{}"))
		other.Platform = &v1.Platform{OS: "linux", Architecture: "s390x"}
		attested := d.blob(v1.MediaTypeImageManifest, []byte("[]"))
		attested.Platform = &v1.Platform{OS: "unknown", Architecture: "unknown"}
		i.Manifests = []v1.Descriptor{other, own, attested}
		i.Manifests = []v1.Descriptor{d.blob(v1.MediaTypeImageIndex, text(d.t, i))}
	}}}
	dir, key := d.write()
	if i, _, err := read(t, dir, key, 1<<20); err != nil || i.Config.Architecture != runtime.GOARCH {
		t.Error(err)
	}
}

func gzipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zstandard(t *testing.T, b []byte) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return z.EncodeAll(b, nil)
}

// hole is a tar of one file of 4 GiB without any content (GNU tar, sparse files of the old format).
func hole() []byte {
	h := make([]byte, 1536)
	field := func(at int, s string) { copy(h[at:], s) }
	field(0, "hole")
	field(100, "0000600\x000000000\x000000000\x0000000000000\x0000000000000\x00        S") // mode, owners, size, time, checksum, kind
	field(257, "ustar  \x00")
	field(386, "40000000000\x0000000000000\x00") // the only piece: nothing, at the end
	field(483, "40000000000\x00")                // its real size
	sum := 0
	for _, b := range h[:512] {
		sum += int(b)
	}
	field(148, fmt.Sprintf("%06o\x00 ", sum))
	return h
}

// TestLayers unpacks layers of each kind, and refuses those that a few bytes stand for more than an image may have.
func TestLayers(t *testing.T) {
	plain := layer(t)
	zeros, err := Pack(File{"zeros", make([]byte, 4<<20)})
	if err != nil {
		t.Fatal(err)
	}
	many := []File{}
	for n := range 300 {
		many = append(many, File{fmt.Sprint("empty", n), nil})
	}
	empty, err := Pack(many...)
	if err != nil {
		t.Fatal(err)
	}
	padded := append(slices.Clone(plain), make([]byte, 3<<20)...)
	for name, row := range map[string]struct {
		mediaType     string
		plain, packed []byte
		says          string
	}{
		"plain":                   {mediaType: v1.MediaTypeImageLayer, plain: plain, packed: plain},
		"gzip":                    {mediaType: v1.MediaTypeImageLayerGzip, plain: plain, packed: gzipped(t, plain)},
		"zstd":                    {mediaType: v1.MediaTypeImageLayerZstd, plain: plain, packed: zstandard(t, plain)},
		"Docker's":                {mediaType: dockerGzip, plain: plain, packed: gzipped(t, plain)},
		"no gzip":                 {mediaType: v1.MediaTypeImageLayerGzip, plain: plain, packed: plain, says: "cannot be unpacked"},
		"cut":                     {mediaType: v1.MediaTypeImageLayerGzip, plain: plain, packed: gzipped(t, plain)[:40], says: "cannot be unpacked"},
		"no tar":                  {mediaType: v1.MediaTypeImageLayer, plain: []byte(strings.Repeat("x", 1024)), packed: []byte(strings.Repeat("x", 1024)), says: "cannot be unpacked"},
		"zeros by gzip":           {mediaType: v1.MediaTypeImageLayerGzip, plain: zeros, packed: gzipped(t, zeros), says: "more than 1 MiB"},
		"zeros by zstd":           {mediaType: v1.MediaTypeImageLayerZstd, plain: zeros, packed: zstandard(t, zeros), says: "more than 1 MiB"},
		"a hole of 4 GiB":         {mediaType: v1.MediaTypeImageLayer, plain: hole(), packed: hole(), says: "more than 1 MiB"},
		"many files":              {mediaType: v1.MediaTypeImageLayerGzip, plain: empty, packed: gzipped(t, empty), says: "more than 1 MiB"},
		"filling behind the end":  {mediaType: v1.MediaTypeImageLayerGzip, plain: padded, packed: gzipped(t, padded), says: "more than 1 MiB"},
		"something behind packed": {mediaType: v1.MediaTypeImageLayer, plain: append(slices.Clone(plain), 1), packed: append(slices.Clone(plain), 1)},
	} {
		t.Run(name, func(t *testing.T) {
			d := &draft{t: t, dir: t.TempDir(), layers: [][]byte{row.packed}, types: []string{row.mediaType}}
			d.config.RootFS.DiffIDs = []digest.Digest{digest.FromBytes(row.plain)}
			dir, key := d.write()
			_, _, err := read(t, dir, key, 1<<20)
			if row.says == "" && err != nil || row.says != "" && (err == nil || !strings.Contains(err.Error(), row.says)) {
				t.Errorf("it says %v, want %q", err, row.says)
			}
		})
	}
}
