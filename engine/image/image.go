// Package image keeps container images as files: OCI image layouts (image-spec, image-layout.md), as they lie in the store under one content address.
// It promises that a layout it has written is whole: each blob is what its digest says, nothing else lies beside, and the same image gives the same files; and that of one which
// somebody else wrote nothing is taken that its digests do not name, or that passes a bound.
// It leaves running images to engine/container, and moving them between nodes to the store.
package image

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	registry "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/klauspost/compress/gzip"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// The files of a layout that have fixed names.
const (
	Marker = "oci-layout"
	Index  = "index.json"
)

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
// folder to. What it has written is taken away again when it fails. An ErrNone tells what from is not, an ErrSeveral that it is too much, a
// *engine.ProgramError what is wrong with it.
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
	return Read(ctx, to)
}

// copied writes those blobs of a layout that its index leads to.
func copied(ctx context.Context, from, to string) error {
	if _, err := os.Stat(filepath.Join(from, Marker)); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: a folder is one with %s and %s in it", ErrNone, Marker, Index)
	}
	l, err := Open(from)
	if err != nil {
		return err
	}
	defer l.Close()
	text, err := l.read(Index, MaxIndex)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(to, v1.ImageBlobsDir, "sha256"), 0o700); err != nil {
		return err
	}
	_, err = l.list(text, func(d v1.Descriptor, index []byte) error {
		if index != nil {
			return l.copyBlob(ctx, d, to)
		}
		return l.copyParts(ctx, d, to)
	})
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(filepath.Join(to, Index), text, 0o600), os.WriteFile(filepath.Join(to, Marker), []byte(marker), 0o600))
}

// marker is what other writers of layouts have in that file, to the letter: the same image has the same address.
const marker = "{\n    \"imageLayoutVersion\": \"1.0.0\"\n}"

// copyParts copies a manifest with its configuration and layers, or whatever else an index names.
func (l *Layout) copyParts(ctx context.Context, d v1.Descriptor, to string) error {
	parts := []v1.Descriptor{d}
	if d.MediaType == v1.MediaTypeImageManifest || d.MediaType == dockerManifest {
		text, err := l.document(d)
		if err != nil {
			return err
		}
		var m v1.Manifest
		if err := decode(text, &m); err != nil {
			return l.Bad(Again, "its manifest: %v", err)
		}
		parts = append(append(parts, m.Config), m.Layers...)
	}
	for _, part := range parts {
		if err := l.copyBlob(ctx, part, to); err != nil {
			return err
		}
	}
	return nil
}

// copyBlob copies one that is what its digest says. One that several images share is copied once.
func (l *Layout) copyBlob(ctx context.Context, d v1.Descriptor, to string) error {
	in, size, err := l.Blob(d)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(filepath.Join(to, filepath.FromSlash(BlobFile(d.Digest))), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	} else if err != nil {
		return err
	}
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(out, sum), &disk{ctx: ctx, r: io.LimitReader(in, size)})
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	if size != d.Size || hex.EncodeToString(sum.Sum(nil)) != d.Digest.Encoded() {
		return l.Bad(Again, "blob %s is not what its digest says", d.Digest.Encoded()[:12])
	}
	return nil
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
	return list.AppendImage(img, layout.WithPlatform(registry.Platform{OS: config.OS, Architecture: config.Architecture, Variant: config.Variant}))
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

// Read checks a layout, each blob by its digest, and tells what is in it. What is wrong with it is a *engine.ProgramError, or an ErrSeveral.
func Read(ctx context.Context, dir string) (s Summary, err error) {
	l, err := Open(dir)
	if err != nil {
		return s, err
	}
	defer l.Close()
	text, err := l.read(Index, MaxIndex)
	if err != nil {
		return s, err
	}
	all, err := l.list(text, nil)
	if err != nil {
		return s, err
	}
	for _, d := range all {
		if d.Platform != nil && d.Platform.OS == "unknown" {
			continue // no image, but what somebody attests of one
		}
		if err := s.take(ctx, l, d); err != nil {
			return Summary{}, err
		}
	}
	if len(s.Platforms) == 0 {
		return s, l.Bad(Again, "its index leads to no image")
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
func (s *Summary) take(ctx context.Context, l *Layout, d v1.Descriptor) error {
	i, err := l.parse(d)
	if err != nil {
		return err
	}
	c := &i.Config
	platform := path.Join(c.OS, c.Architecture, c.Variant)
	if slices.Contains(s.Platforms, platform) {
		return fmt.Errorf("%w for %s: save one alone", ErrSeveral, platform)
	}
	if s.Platforms = append(s.Platforms, platform); len(s.Platforms) == 1 {
		s.Entrypoint, s.Command, s.Layers = c.Config.Entrypoint, c.Config.Cmd, len(c.RootFS.DiffIDs)
	}
	_, err = i.Weigh(ctx, maxBlob)
	return err
}
