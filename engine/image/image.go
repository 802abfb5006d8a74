// Package image keeps container images as files: OCI image layouts (image-spec, image-layout.md), as they lie in the store under one content address.
// It promises that a layout it has written is whole: each blob is what its digest says, nothing else lies beside, and the same image gives the same files.
// It leaves running images to engine/container, and moving them between nodes to the store.
package image

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/klauspost/compress/gzip"
)

// The files of a layout that have fixed names.
const (
	Marker = "oci-layout"
	Index  = "index.json"
)

// MaxIndex bounds an index or a manifest, in bytes, as registries do.
const MaxIndex = 4 << 20

// Errors of what is no image.
var (
	ErrNone    = errors.New("it is no container image")
	ErrSeveral = errors.New("it holds several images")
)

// Summary is what people are told of an image.
type Summary struct {
	// Platforms are those it is built for, such as "linux/amd64".
	Platforms []string `json:"platforms"`
	// Entrypoint and Command are what runs in it, of its first platform.
	Entrypoint []string `json:"entrypoint,omitempty"`
	Command    []string `json:"command,omitempty"`
	// Layers of its first platform.
	Layers int `json:"layers"`
	// Size is that of all its files, in bytes.
	Size int64 `json:"size"`
}

// Likely says whether a path looks like an image, by its beginning: a folder that is a layout, or an archive, plain or by gzip.
func Likely(path string) bool {
	if info, err := os.Stat(path); err != nil {
		return false
	} else if info.IsDir() {
		_, err := os.Stat(filepath.Join(path, Marker))
		return err == nil
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, 512)
	if _, err := io.ReadFull(f, head); err != nil {
		return false
	}
	return isTar(head) || isGzip(head)
}

func isTar(head []byte) bool  { return len(head) >= 262 && string(head[257:262]) == "ustar" }
func isGzip(head []byte) bool { return bytes.HasPrefix(head, []byte{0x1f, 0x8b}) }

// Import writes the image at from, an archive that an engine wrote (docker save, podman save, an OCI archive, plain or by gzip) or a layout, as a layout into the new
// folder to. What it has written is taken away again when it fails. An ErrNone tells what from is not, an ErrSeveral that it is too much.
func Import(ctx context.Context, from, to string) (s Summary, err error) {
	if err := os.Mkdir(to, 0o700); err != nil {
		return s, fmt.Errorf("image: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("image %s: %w", filepath.Base(from), err), os.RemoveAll(to))
		}
	}()
	info, err := os.Stat(from)
	if err != nil {
		return s, err
	}
	if info.IsDir() {
		err = copied(ctx, from, to)
	} else {
		err = unpacked(ctx, from, to)
	}
	if err != nil {
		return s, err
	}
	return Read(to)
}

// copied writes those blobs of a layout that its index leads to.
func copied(ctx context.Context, from, to string) error {
	index, err := layout.ImageIndexFromPath(from)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: a folder is one with %s and %s in it", ErrNone, Marker, Index)
	} else if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	_, err = layout.Write(to, index)
	return err
}

// unpacked writes the image of an archive.
func unpacked(ctx context.Context, from, to string) error {
	kind, err := look(from)
	if err != nil {
		return err
	}
	if kind == ociArchive {
		loose := to + ".part"
		defer os.RemoveAll(loose)
		if err := untar(ctx, from, loose); err != nil {
			return err
		}
		return copied(ctx, loose, to)
	}
	open := func() (io.ReadCloser, error) { return plain(from) }
	manifest, err := tarball.LoadManifest(open)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNone, err)
	}
	if len(manifest) != 1 {
		return fmt.Errorf("%w: save them one by one", ErrSeveral)
	}
	img, err := tarball.Image(open, nil)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNone, err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	list, err := layout.Write(to, empty.Index)
	if err != nil {
		return err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNone, err)
	}
	return list.AppendImage(img, layout.WithPlatform(v1.Platform{OS: config.OS, Architecture: config.Architecture, Variant: config.Variant}))
}

// plain opens an archive, unpacked if it is one of gzip.
func plain(path string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	in := bufio.NewReaderSize(f, 64<<10)
	head, err := in.Peek(2)
	if err != nil || !isGzip(head) {
		return both{in, []io.Closer{f}}, nil //nolint:nilerr // a short file tells of itself when it is read
	}
	z, err := gzip.NewReader(in)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return both{z, []io.Closer{z, f}}, nil
}

// both reads from one and closes all.
type both struct {
	io.Reader
	closers []io.Closer
}

// Close closes all.
func (b both) Close() error {
	var errs []error
	for _, c := range b.closers {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// Read checks a layout, each blob by its digest, and tells what is in it.
func Read(dir string) (s Summary, err error) {
	if info, err := os.Stat(filepath.Join(dir, Index)); err != nil || info.Size() > MaxIndex {
		return s, fmt.Errorf("%w: it has no %s of at most %d bytes", ErrNone, Index, MaxIndex)
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return s, fmt.Errorf("%w: %w", ErrNone, err)
	}
	entries := 0
	images, err := inside(index, 0, &entries)
	if err != nil {
		return s, fmt.Errorf("%w: %w", ErrNone, err)
	}
	if len(images) == 0 {
		return s, fmt.Errorf("%w: its index leads to none", ErrNone)
	}
	for i, img := range images {
		if err := s.take(i, img); err != nil {
			return Summary{}, err
		}
	}
	return s, filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			s.Size += info.Size()
		}
		return err
	})
}

// take adds one image of the layout to what is told.
func (s *Summary) take(i int, img v1.Image) error {
	if err := validate.Image(img); err != nil {
		return fmt.Errorf("image: it is damaged: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	config, err := img.ConfigFile()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNone, err)
	}
	platform := v1.Platform{OS: config.OS, Architecture: config.Architecture, Variant: config.Variant}
	if p := platform.String(); !slices.Contains(s.Platforms, p) {
		s.Platforms = append(s.Platforms, p)
	} else {
		return fmt.Errorf("%w for %s: save one alone", ErrSeveral, p)
	}
	if i == 0 {
		s.Entrypoint, s.Command, s.Layers = config.Config.Entrypoint, config.Config.Cmd, len(config.RootFS.DiffIDs)
	}
	return nil
}

// nesting is how deep indexes may lie in one another: image-spec speaks of one in another. most is how many entries all indexes may have together.
const (
	nesting = 3
	most    = 256
)

// inside lists the images that an index leads to; what is no image (attestations say "unknown") is passed over.
func inside(index v1.ImageIndex, depth int, entries *int) ([]v1.Image, error) {
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	if depth == nesting {
		return nil, fmt.Errorf("indexes lie more than %d deep in one another", nesting)
	}
	if *entries += len(manifest.Manifests); *entries > most {
		return nil, fmt.Errorf("its indexes have more than %d entries", most)
	}
	var all []v1.Image
	for _, d := range manifest.Manifests {
		switch {
		case d.MediaType.IsIndex():
			sub, err := index.ImageIndex(d.Digest)
			if err != nil {
				return nil, err
			}
			more, err := inside(sub, depth+1, entries)
			if err != nil {
				return nil, err
			}
			all = append(all, more...)
		case d.MediaType.IsImage() && (d.Platform == nil || d.Platform.OS != "unknown"):
			img, err := index.Image(d.Digest)
			if err != nil {
				return nil, err
			}
			all = append(all, img)
		}
	}
	return all, nil
}
