package container

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

// The bounds of what an image may be made of.
const (
	maxDocument  = 4 << 20 // bytes of an index, a manifest or a configuration
	maxEntries   = 4096    // of an index
	maxNesting   = 3       // indexes in one another
	maxDocuments = 64      // that indexes lead to on the way to one image
	maxLayers    = 127     // as the engines' file systems take
	maxVolumes   = 16
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

// layout is a folder with an OCI image layout (image-spec, image-layout.md), in which no name leads outside.
type layout struct {
	root *os.Root
	name string // for people

	documents int // that were read
}

// image is what is needed of one to run it: its documents, which have been checked, and where its layers are.
type image struct {
	*layout
	manifest     v1.Descriptor
	manifestText []byte
	configText   []byte
	parts        v1.Manifest
	config       v1.Image
	plan         plan
}

// plan is what a container of an image is made of, if its job says nothing else.
type plan struct {
	entrypoint, cmd, env []string
	folder               string
	volumes              []string
	checked              bool // it wants its health looked at, which is nobody's business here
}

// openLayout opens a folder, which must be a layout.
func openLayout(dir string) (*layout, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	l := &layout{root: root, name: filepath.Base(dir)}
	if err := l.check(); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return l, nil
}

// bad is what is wrong with the image itself.
func (l *layout) bad(hint, format string, args ...any) error {
	return &engine.ProgramError{Module: l.name, Message: fmt.Sprintf(format, args...), Hint: hint}
}

// again is the remedy for what came to harm on its way.
const again = "write the layout again, such as by skopeo copy or podman save --format oci-archive"

func (l *layout) check() error {
	text, err := l.read(v1.ImageLayoutFile, 1<<10)
	if err != nil {
		return err
	}
	var v v1.ImageLayout
	if err := decode(text, &v); err != nil {
		return l.bad(again, "%s: %v", v1.ImageLayoutFile, err)
	}
	if v.Version != v1.ImageLayoutVersion {
		return l.bad("write it by a tool that knows version "+v1.ImageLayoutVersion, "its layout has version %q", v.Version)
	}
	return nil
}

// open opens a file of the layout.
func (l *layout) open(name string) (*os.File, int64, error) {
	f, err := l.root.Open(filepath.FromSlash(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, l.bad(again, "it is no whole OCI image layout: there is no %s", name)
	} else if err != nil {
		return nil, 0, fmt.Errorf("image %s: %w", l.name, err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = l.bad(again, "%s is no file", name)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// read gives a small file.
func (l *layout) read(name string, most int64) ([]byte, error) {
	f, size, err := l.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > most {
		return nil, l.bad("make the image anew", "%s has %s, more than the %s that such a file may have", name, engine.Bytes(size), engine.Bytes(most))
	}
	text, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", l.name, err)
	}
	return text, nil
}

// blobFile is where a blob lies.
func blobFile(d digest.Digest) string {
	return path.Join(v1.ImageBlobsDir, string(d.Algorithm()), d.Encoded())
}

// named checks that a descriptor names its blob as blobs are named here.
func (l *layout) named(d v1.Descriptor, most int64) error {
	switch {
	case d.Digest.Validate() != nil || d.Digest.Algorithm() != digest.SHA256:
		return l.bad("use sha256 digests", "it names a blob by %q, which is no sha256 digest", d.Digest)
	case d.Size < 0 || d.Size > most:
		return l.bad("make the image smaller", "blob %s has %s, more than the %s that are taken", d.Digest.Encoded()[:12], engine.Bytes(d.Size), engine.Bytes(most))
	}
	return nil
}

// document gives a small blob, which is what its descriptor says.
func (l *layout) document(d v1.Descriptor) ([]byte, error) {
	if l.documents++; l.documents > maxDocuments {
		return nil, l.bad("write the image's own layout", "its indexes lead to more than %d documents", maxDocuments)
	}
	if err := l.named(d, maxDocument); err != nil {
		return nil, err
	}
	text, err := l.read(blobFile(d.Digest), maxDocument)
	if err != nil {
		return nil, err
	}
	if int64(len(text)) != d.Size || digest.FromBytes(text) != d.Digest {
		return nil, l.bad(again, "blob %s is not what its digest says", d.Digest.Encoded()[:12])
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

// image finds the image for this machine, whose index has the given sha256, and reads its documents.
func (l *layout) image(key string) (*image, error) {
	text, err := l.read(v1.ImageIndexFile, maxDocument)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != key {
		return nil, fmt.Errorf("image %s: sha256 of its index is %x, expected %q", l.name, sum, key)
	}
	i := &image{layout: l}
	if i.manifest, err = l.choose(text, 0); err != nil {
		return nil, err
	}
	if i.manifestText, err = l.document(i.manifest); err != nil {
		return nil, err
	}
	if err := i.readParts(); err != nil {
		return nil, err
	}
	return i, i.readConfig()
}

// choose gives the manifest that an index has for this machine.
func (l *layout) choose(text []byte, nesting int) (found v1.Descriptor, err error) {
	var index v1.Index
	if err := decode(text, &index); err != nil {
		return found, l.bad(again, "its index: %v", err)
	}
	switch {
	case index.SchemaVersion != 2 || index.MediaType != "" && index.MediaType != v1.MediaTypeImageIndex && index.MediaType != dockerIndex:
		return found, l.bad(again, "its index is of version %d, type %q", index.SchemaVersion, index.MediaType)
	case len(index.Manifests) > maxEntries:
		return found, l.bad("leave out what is not needed", "its index has %d entries, more than %d", len(index.Manifests), maxEntries)
	}
	var other []string
	for _, d := range index.Manifests {
		switch d.MediaType {
		case v1.MediaTypeImageManifest, dockerManifest:
			if fits(d.Platform) {
				return d, nil
			}
			other = append(other, d.Platform.OS+"/"+d.Platform.Architecture)
		case v1.MediaTypeImageIndex, dockerIndex:
			if nesting >= maxNesting {
				return found, l.bad("write the image's own layout", "its indexes lie deeper than %d in one another", maxNesting)
			}
			inner, err := l.document(d)
			if err != nil {
				return found, err
			}
			if found, err = l.choose(inner, nesting+1); err == nil {
				return found, nil
			} else if bad := (*engine.ProgramError)(nil); !errors.As(err, &bad) || bad.Hint != build {
				return found, err
			}
			other = append(other, "more")
		}
	}
	if len(other) == 0 {
		other = []string{"nothing"}
	}
	return found, l.bad(build, "it has no image for linux/%s, but for: %s", runtime.GOARCH, strings.Join(slices.Compact(other), ", "))
}

// build is the remedy for a machine that an image is not for.
const build = "build it for this machine's platform too, such as by podman build --platform linux/amd64,linux/arm64"

// fits says whether an image is for this machine. One that does not say is looked at more closely (readConfig).
func fits(p *v1.Platform) bool {
	return p == nil || p.OS == "linux" && p.Architecture == runtime.GOARCH
}

// readParts reads the manifest.
func (i *image) readParts() error {
	if err := decode(i.manifestText, &i.parts); err != nil {
		return i.bad(again, "its manifest: %v", err)
	}
	m := &i.parts
	switch {
	case m.SchemaVersion != 2 || m.MediaType != "" && m.MediaType != i.manifest.MediaType:
		return i.bad(again, "its manifest is of version %d, type %q", m.SchemaVersion, m.MediaType)
	case m.Config.MediaType != v1.MediaTypeImageConfig && m.Config.MediaType != dockerConfig:
		return i.bad("give an image of programs", "it is something else than an image that can be run: %q", m.Config.MediaType)
	case len(m.Layers) > maxLayers:
		return i.bad("merge layers, such as by podman build --squash-all", "it has %d layers, more than %d", len(m.Layers), maxLayers)
	}
	for _, layer := range m.Layers {
		if packing(layer.MediaType) == "" {
			return i.bad("use layers of tar, plain or packed by gzip or zstd", "a layer is of type %q", layer.MediaType)
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

// readConfig reads the configuration and makes the plan.
func (i *image) readConfig() (err error) {
	if i.configText, err = i.document(i.parts.Config); err != nil {
		return err
	}
	if err := decode(i.configText, &i.config); err != nil {
		return i.bad(again, "its configuration: %v", err)
	}
	c := &i.config
	switch {
	case c.OS != "linux" || c.Architecture != runtime.GOARCH:
		return i.bad(build, "it is for %s/%s, and this machine is linux/%s", c.OS, c.Architecture, runtime.GOARCH)
	case c.RootFS.Type != "layers" || len(c.RootFS.DiffIDs) != len(i.parts.Layers):
		return i.bad(again, "its configuration names %d layers, its manifest %d", len(c.RootFS.DiffIDs), len(i.parts.Layers))
	}
	var more struct { // of Docker's, beyond the specification
		Config struct{ Healthcheck json.RawMessage } `json:"config"`
	}
	if err := decode(i.configText, &more); err != nil {
		return i.bad(again, "its configuration: %v", err)
	}
	p := plan{entrypoint: c.Config.Entrypoint, cmd: c.Config.Cmd, env: c.Config.Env, folder: c.Config.WorkingDir, checked: len(more.Config.Healthcheck) > 0}
	for v := range c.Config.Volumes {
		if v = path.Clean(v); v == "/tmp" || v == "/dev/shm" {
			continue // are there in any case
		}
		if err := admit(v); err != nil || len(c.Config.Volumes) > maxVolumes {
			return i.bad("build it with other volumes, or none", "its volume %q cannot be made", v)
		}
		p.volumes = append(p.volumes, v)
	}
	slices.Sort(p.volumes)
	for _, kv := range p.env {
		if name, _, ok := strings.Cut(kv, "="); !ok || name == "" || strings.ContainsRune(kv, 0) {
			return i.bad(again, "its configuration sets %q", kv)
		}
	}
	for _, word := range append(append([]string{p.folder}, p.entrypoint...), p.cmd...) {
		if strings.ContainsRune(word, 0) {
			return i.bad(again, "its command contains a zero byte")
		}
	}
	i.plan = p
	return nil
}

// admit says why nothing can be shown at a clean absolute path of a container: its kernel's folders, what the sandbox itself puts there, and names that engines misread.
func admit(guest string) error {
	if !path.IsAbs(guest) || path.Clean(guest) != guest || guest == "/" {
		return errors.New("it is no clean absolute path of a folder or file")
	}
	for _, own := range reserved {
		if guest == own || strings.HasPrefix(guest, own+"/") {
			return fmt.Errorf("the sandbox has its own %s: choose another folder, such as /in or /out", own)
		}
	}
	return plain(guest)
}

// reserved are the folders that a container has for itself.
var reserved = []string{"/proc", "/sys", "/dev", "/tmp", "/run", "/etc"}

// plain says whether an engine takes a path as it is: some write mounts as words between such marks.
func plain(name string) error {
	if strings.ContainsAny(name, ",:\"\\\n\r\x00") {
		return fmt.Errorf("the path %q contains a mark that engines misread (a comma, colon, quote or backslash): choose another name", name)
	}
	return nil
}
