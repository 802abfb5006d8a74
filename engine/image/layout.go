package image

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/hpips/hpips/engine"
)

// The bounds of what a layout may be made of.
const (
	MaxIndex   = 4 << 20 // bytes of an index, a manifest or a configuration, as registries have it
	maxEntries = 256     // of all its indexes together
	maxNesting = 3       // indexes in one another
	maxLayers  = 127     // of an image, as the engines' file systems take
	maxBlob    = 1 << 60 // bytes, where nothing less is said
)

// Media types of Docker that layouts hold beside those of the OCI, and mean the same.
const (
	dockerIndex    = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerConfig   = "application/vnd.docker.container.image.v1+json"
	dockerLayer    = "application/vnd.docker.image.rootfs.diff.tar"
	dockerGzip     = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	dockerZstd     = "application/vnd.docker.image.rootfs.diff.tar.zstd"
)

// Layout is a folder with an OCI image layout (image-spec, image-layout.md), in which no name leads outside. It is nobody's word: what is read of it is checked.
type Layout struct {
	root *os.Root
	name string // for people
}

// Image is what is needed of one to run it: its documents, which have been checked, and where its layers are.
type Image struct {
	*Layout
	Manifest     v1.Descriptor
	ManifestText []byte
	ConfigText   []byte
	Parts        v1.Manifest
	Config       v1.Image
}

// ErrPlatform is for an image that is well and for other machines than this; it says what to do.
var ErrPlatform = errors.New("build it for this machine's platform too, such as by podman build --platform linux/amd64,linux/arm64")

// Open opens a folder, which must be a layout. What is wrong with one is a *engine.ProgramError, here as everywhere below.
func Open(dir string) (*Layout, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	l := &Layout{root: root, name: filepath.Base(dir)}
	if err := l.check(); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return l, nil
}

// Close closes the folder.
func (l *Layout) Close() error { return l.root.Close() }

// Name is the folder's, for people.
func (l *Layout) Name() string { return l.name }

// Bad is what is wrong with the image itself.
func (l *Layout) Bad(hint, format string, args ...any) error {
	return &engine.ProgramError{Module: l.name, Message: fmt.Sprintf(format, args...), Hint: hint}
}

// Again is the remedy for what came to harm on its way.
const Again = "write the layout again, such as by skopeo copy or podman save --format oci-archive"

func (l *Layout) check() error {
	text, err := l.read(Marker, 1<<10)
	if err != nil {
		return err
	}
	var v v1.ImageLayout
	if err := decode(text, &v); err != nil {
		return l.Bad(Again, "%s: %v", Marker, err)
	}
	if v.Version != v1.ImageLayoutVersion {
		return l.Bad("write it by a tool that knows version "+v1.ImageLayoutVersion, "its layout has version %q", v.Version)
	}
	return nil
}

// open opens a file of the layout.
func (l *Layout) open(name string) (*os.File, int64, error) {
	f, err := l.root.Open(filepath.FromSlash(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, l.Bad(Again, "it is no whole OCI image layout: there is no %s", name)
	} else if err != nil {
		return nil, 0, fmt.Errorf("image %s: %w", l.name, err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = l.Bad(Again, "%s is no file", name)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// read gives a small file.
func (l *Layout) read(name string, most int64) ([]byte, error) {
	f, size, err := l.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > most {
		return nil, l.Bad("make the image anew", "%s has %s, more than the %s that such a file may have", name, engine.Bytes(size), engine.Bytes(most))
	}
	text, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", l.name, err)
	}
	return text, nil
}

// Blob opens one, of which nothing has been checked but its name.
func (l *Layout) Blob(d v1.Descriptor) (*os.File, int64, error) {
	if err := l.named(d, maxBlob); err != nil {
		return nil, 0, err
	}
	return l.open(BlobFile(d.Digest))
}

// BlobFile is where a blob lies.
func BlobFile(d digest.Digest) string {
	return path.Join(v1.ImageBlobsDir, string(d.Algorithm()), d.Encoded())
}

// named checks that a descriptor names its blob as blobs are named here.
func (l *Layout) named(d v1.Descriptor, most int64) error {
	switch {
	case d.Digest.Validate() != nil || d.Digest.Algorithm() != digest.SHA256:
		return l.Bad("use sha256 digests", "it names a blob by %q, which is no sha256 digest", d.Digest)
	case d.Size < 0 || d.Size > most:
		return l.Bad("make the image smaller", "blob %s has %s, more than the %s that are taken", d.Digest.Encoded()[:12], engine.Bytes(d.Size), engine.Bytes(most))
	}
	return nil
}

// document gives a small blob, which is what its descriptor says.
func (l *Layout) document(d v1.Descriptor) ([]byte, error) {
	if err := l.named(d, MaxIndex); err != nil {
		return nil, err
	}
	text, err := l.read(BlobFile(d.Digest), MaxIndex)
	if err != nil {
		return nil, err
	}
	if int64(len(text)) != d.Size || digest.FromBytes(text) != d.Digest {
		return nil, l.Bad(Again, "blob %s is not what its digest says", d.Digest.Encoded()[:12])
	}
	return text, nil
}

// decode reads one JSON value and nothing behind it. Fields that the specification does not know are left aside, as it wants.
func decode(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows its end")
	}
	return nil
}

// Image finds the image for this machine, whose index has the given sha256, and reads its documents. An ErrPlatform says that another machine may be one that it is for.
func (l *Layout) Image(key string) (*Image, error) {
	text, err := l.read(Index, MaxIndex)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != key {
		return nil, fmt.Errorf("image %s: sha256 of its index is %x, expected %q", l.name, sum, key)
	}
	all, err := l.list(text, nil)
	if err != nil {
		return nil, err
	}
	d, err := l.choose(all)
	if err != nil {
		return nil, err
	}
	i, err := l.parse(d)
	if err != nil {
		return nil, err
	}
	if c := &i.Config; c.OS != "linux" || c.Architecture != runtime.GOARCH {
		return nil, l.elsewhere(c.OS + "/" + c.Architecture)
	}
	return i, nil
}

func (l *Layout) elsewhere(platforms ...string) error {
	if len(platforms) == 0 {
		platforms = []string{"nothing"}
	}
	return fmt.Errorf("image %s: it has none for linux/%s, but for: %s; %w", l.name, runtime.GOARCH, strings.Join(slices.Compact(platforms), ", "), ErrPlatform)
}

// list gives the descriptors of the manifests that an index leads to, in their order; what is neither that nor another index is passed over. met, if there is one, is told every
// descriptor with the text of an index.
func (l *Layout) list(text []byte, met func(d v1.Descriptor, index []byte) error) (all []v1.Descriptor, err error) {
	entries := 0
	var walk func(text []byte, nesting int) error
	walk = func(text []byte, nesting int) error {
		var index v1.Index
		if err := decode(text, &index); err != nil {
			return l.Bad(Again, "its index: %v", err)
		}
		entries += len(index.Manifests)
		switch {
		case index.SchemaVersion != 2 || index.MediaType != "" && index.MediaType != v1.MediaTypeImageIndex && index.MediaType != dockerIndex:
			return l.Bad(Again, "its index is of version %d, type %q", index.SchemaVersion, index.MediaType)
		case entries > maxEntries:
			return l.Bad("leave out what is not needed", "its indexes have more than %d entries", maxEntries)
		}
		for _, d := range index.Manifests {
			var inner []byte
			switch d.MediaType {
			case v1.MediaTypeImageManifest, dockerManifest:
				all = append(all, d)
			case v1.MediaTypeImageIndex, dockerIndex:
				if nesting >= maxNesting {
					return l.Bad("write the image's own layout", "its indexes lie deeper than %d in one another", maxNesting)
				}
				var err error
				if inner, err = l.document(d); err != nil {
					return err
				}
				if err := walk(inner, nesting+1); err != nil {
					return err
				}
			}
			if met != nil {
				if err := met(d, inner); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return all, walk(text, 0)
}

// choose gives the first manifest for this machine. One that does not say what it is for is looked at more closely later.
func (l *Layout) choose(all []v1.Descriptor) (v1.Descriptor, error) {
	var other []string
	for _, d := range all {
		if p := d.Platform; p == nil || p.OS == "linux" && p.Architecture == runtime.GOARCH {
			return d, nil
		}
		other = append(other, d.Platform.OS+"/"+d.Platform.Architecture)
	}
	return v1.Descriptor{}, l.elsewhere(other...)
}

// parse reads the image of a manifest.
func (l *Layout) parse(d v1.Descriptor) (i *Image, err error) {
	i = &Image{Layout: l, Manifest: d}
	if i.ManifestText, err = l.document(d); err != nil {
		return nil, err
	}
	if err := i.readParts(); err != nil {
		return nil, err
	}
	return i, i.readConfig()
}

// readParts reads the manifest.
func (i *Image) readParts() error {
	if err := decode(i.ManifestText, &i.Parts); err != nil {
		return i.Bad(Again, "its manifest: %v", err)
	}
	m := &i.Parts
	switch {
	case m.SchemaVersion != 2 || m.MediaType != "" && m.MediaType != i.Manifest.MediaType:
		return i.Bad(Again, "its manifest is of version %d, type %q", m.SchemaVersion, m.MediaType)
	case m.Config.MediaType != v1.MediaTypeImageConfig && m.Config.MediaType != dockerConfig:
		return i.Bad("give an image of programs", "it is something else than an image that can be run: %q", m.Config.MediaType)
	case len(m.Layers) > maxLayers:
		return i.Bad("merge layers, such as by podman build --squash-all", "it has %d layers, more than %d", len(m.Layers), maxLayers)
	}
	for _, layer := range m.Layers {
		if packing(layer.MediaType) == "" {
			return i.Bad("use layers of tar, plain or packed by gzip or zstd", "a layer is of type %q", layer.MediaType)
		}
	}
	return nil
}

// packing is how a layer's tar is packed; "" for a type that is not known.
func packing(mediaType string) string {
	switch mediaType {
	case v1.MediaTypeImageLayer, dockerLayer:
		return "tar"
	case v1.MediaTypeImageLayerGzip, dockerGzip:
		return "gzip"
	case v1.MediaTypeImageLayerZstd, dockerZstd:
		return "zstd"
	}
	return ""
}

// readConfig reads the configuration.
func (i *Image) readConfig() (err error) {
	if i.ConfigText, err = i.document(i.Parts.Config); err != nil {
		return err
	}
	if err := decode(i.ConfigText, &i.Config); err != nil {
		return i.Bad(Again, "its configuration: %v", err)
	}
	if c := &i.Config; c.RootFS.Type != "layers" || len(c.RootFS.DiffIDs) != len(i.Parts.Layers) {
		return i.Bad(Again, "its configuration names %d layers, its manifest %d", len(c.RootFS.DiffIDs), len(i.Parts.Layers))
	}
	return nil
}
