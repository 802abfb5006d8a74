package image

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/hpips/hpips/engine"
)

// maxFiles is how many files, folders and links the layers of one image may make.
const maxFiles = 4 << 20

// Weight is what an image's layers come to, unpacked.
type Weight struct {
	Bytes int64 // of contents, holes counted, and 4 KiB for each entry
	Files int
}

// Weigh unpacks all layers to nowhere: each must be what its digest and the configuration say, and all of them stay below most bytes. An engine that unpacked them unseen would
// fill the disk with what a few bytes can stand for.
func (i *Image) Weigh(ctx context.Context, most int64) (Weight, error) {
	var w Weight
	for n, layer := range i.Parts.Layers {
		if err := i.weighLayer(ctx, layer, i.Config.RootFS.DiffIDs[n], most, &w); err != nil {
			return w, err
		}
	}
	return w, nil
}

func (i *Image) weighLayer(ctx context.Context, d v1.Descriptor, diff digest.Digest, most int64, w *Weight) error {
	if err := i.named(d, most); err != nil {
		return err
	}
	f, size, err := i.open(BlobFile(d.Digest))
	if err != nil {
		return err
	}
	defer f.Close()
	short := d.Digest.Encoded()[:12]
	if size != d.Size {
		return i.Bad(Again, "layer %s has %d bytes, and not %d", short, size, d.Size)
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
		return i.Bad("leave out what programs do not need", "its layers come to more than %s, or %d files, when they are unpacked", engine.Bytes(most), maxFiles)
	case hex.EncodeToString(packed.Sum(nil)) != d.Digest.Encoded():
		return i.Bad(Again, "layer %s is not what its digest says", short)
	case err != nil:
		return i.Bad(Again, "layer %s cannot be unpacked: %v", short, err)
	case hex.EncodeToString(unpacked.Sum(nil)) != diff.Encoded() || diff.Algorithm() != digest.SHA256:
		return i.Bad(Again, "layer %s is not what the image's configuration says", short)
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

func (e *diskError) Unwrap() error { return e.error }

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
func walk(r io.Reader, most int64, w *Weight) error {
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
		w.Bytes += h.Size + entry
		if w.Files++; w.Bytes > most || w.Files > maxFiles {
			return errHeavy
		}
	}
	rest, err := io.Copy(io.Discard, r) // filling behind the end
	if w.Bytes += rest; err == nil && w.Bytes > most {
		err = errHeavy
	}
	return err
}

// entry is what each file or folder counts beside its content, in bytes.
const entry = 4096
