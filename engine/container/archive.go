package container

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/hpips/hpips/engine"
)

// maxFiles is how many files, folders and links the layers of one image may make.
const maxFiles = 4 << 20

// weight is what an image's layers come to, unpacked.
type weight struct {
	bytes int64 // of contents, holes counted, and 4 KiB for each entry
	files int
}

// weigh unpacks all layers to nowhere: each must be what its digest and the configuration say, and all of them stay below most bytes. An engine that unpacked them unseen would
// fill the disk with what a few bytes can stand for.
func (i *image) weigh(ctx context.Context, most int64) (weight, error) {
	var w weight
	for n, layer := range i.parts.Layers {
		if err := i.weighLayer(ctx, layer, i.config.RootFS.DiffIDs[n], most, &w); err != nil {
			return w, err
		}
	}
	return w, nil
}

func (i *image) weighLayer(ctx context.Context, d v1.Descriptor, diff digest.Digest, most int64, w *weight) error {
	if err := i.named(d, most); err != nil {
		return err
	}
	f, size, err := i.open(blobFile(d.Digest))
	if err != nil {
		return err
	}
	defer f.Close()
	short := d.Digest.Encoded()[:12]
	if size != d.Size {
		return i.bad(again, "layer %s has %d bytes, and not %d", short, size, d.Size)
	}
	packed, unpacked := sha256.New(), sha256.New()
	raw := bufio.NewReaderSize(io.TeeReader(&disk{ctx: ctx, r: io.LimitReader(f, size)}, packed), 1<<20)
	plain, err := unpack(raw, packing(d.MediaType))
	if err == nil {
		defer plain.Close()
		err = walk(io.TeeReader(io.LimitReader(plain, 2*most), unpacked), most, w)
	}
	if !errors.Is(err, errHeavy) { // what follows the packed data is part of the blob, and so is what cannot be unpacked
		_, e := io.Copy(io.Discard, raw)
		err = errors.Join(err, e)
	}
	var host *diskError
	switch {
	case errors.As(err, &host):
		return fmt.Errorf("image %s: %w", i.name, host.error)
	case errors.Is(err, errHeavy):
		return i.bad("leave out what programs do not need", "its layers come to more than %s, or %d files, when they are unpacked", engine.Bytes(most), maxFiles)
	case hex.EncodeToString(packed.Sum(nil)) != d.Digest.Encoded():
		return i.bad(again, "layer %s is not what its digest says", short)
	case err != nil:
		return i.bad(again, "layer %s cannot be unpacked: %v", short, err)
	case hex.EncodeToString(unpacked.Sum(nil)) != diff.Encoded() || diff.Algorithm() != digest.SHA256:
		return i.bad(again, "layer %s is not what the image's configuration says", short)
	}
	return nil
}

// errHeavy is for layers that pass their bounds.
var errHeavy = errors.New("too large")

// disk reads from this machine's disk, whose errors are not the image's, until ctx ends.
type disk struct {
	ctx context.Context
	r   io.Reader
}

type diskError struct{ error }

// Read reads.
func (d *disk) Read(p []byte) (int, error) {
	if err := d.ctx.Err(); err != nil {
		return 0, &diskError{err}
	}
	n, err := d.r.Read(p)
	if err != nil && err != io.EOF {
		err = &diskError{err}
	}
	return n, err
}

// unpack reads what is packed.
func unpack(r io.Reader, packing string) (io.ReadCloser, error) {
	switch packing {
	case "gzip":
		return gzip.NewReader(r)
	case "zstd":
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20), zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	}
	return io.NopCloser(r), nil
}

// walk adds a layer's entries up.
func walk(r io.Reader, most int64, w *weight) error {
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		if h.Size < 0 || h.Size > most {
			return errHeavy
		}
		w.bytes += h.Size + entry
		if w.files++; w.bytes > most || w.files > maxFiles {
			return errHeavy
		}
	}
	rest, err := io.Copy(io.Discard, r) // filling behind the end
	if w.bytes += rest; err == nil && w.bytes > most {
		err = errHeavy
	}
	return err
}

// entry is what each file or folder counts beside its content, in bytes.
const entry = 4096

// archive writes the image as a tar that is an OCI layout and what docker save writes both at once, under a name of its own.
func (i *image) archive(ctx context.Context, to io.Writer, name string) error {
	d := i.manifest
	d.Platform = &v1.Platform{OS: i.config.OS, Architecture: i.config.Architecture}
	d.Annotations = map[string]string{v1.AnnotationRefName: name, "io.containerd.image.name": name}
	index := v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{d}}
	index.SchemaVersion = 2
	type saved struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	docker := saved{Config: blobFile(i.parts.Config.Digest), RepoTags: []string{name}, Layers: []string{}}
	for _, layer := range i.parts.Layers {
		docker.Layers = append(docker.Layers, blobFile(layer.Digest))
	}
	t := tar.NewWriter(to)
	document := func(name string, v any) error {
		text, err := json.Marshal(v)
		if err != nil {
			return err
		}
		return put(t, name, int64(len(text)), func(w io.Writer) error { _, err := w.Write(text); return err })
	}
	text := func(d v1.Descriptor, text []byte) error {
		return put(t, blobFile(d.Digest), int64(len(text)), func(w io.Writer) error { _, err := w.Write(text); return err })
	}
	err := errors.Join(document(v1.ImageLayoutFile, v1.ImageLayout{Version: v1.ImageLayoutVersion}), document(v1.ImageIndexFile, index),
		document("manifest.json", []saved{docker}), text(i.manifest, i.manifestText), text(i.parts.Config, i.configText))
	seen := map[digest.Digest]bool{}
	for _, layer := range i.parts.Layers {
		if err == nil && !seen[layer.Digest] {
			seen[layer.Digest], err = true, i.copyLayer(ctx, t, layer)
		}
	}
	if err != nil {
		return fmt.Errorf("image %s: %w", i.name, err)
	}
	return t.Close()
}

func (i *image) copyLayer(ctx context.Context, t *tar.Writer, layer v1.Descriptor) error {
	f, size, err := i.open(blobFile(layer.Digest))
	if err != nil {
		return err
	}
	defer f.Close()
	return put(t, blobFile(layer.Digest), size, func(w io.Writer) error {
		_, err := io.Copy(w, &disk{ctx: ctx, r: io.LimitReader(f, size)})
		return err
	})
}

func put(t *tar.Writer, name string, size int64, content func(io.Writer) error) error {
	if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0)}); err != nil {
		return err
	}
	return content(t)
}
