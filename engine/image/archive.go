package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// The kinds of archives.
const (
	ociArchive    = "oci"    // a layout in a tar file (podman save --format oci-archive, docker save from version 25 on)
	dockerArchive = "docker" // manifest.json and layers (podman save, older docker save)
)

// look reads an archive's names until one tells its kind. An archive that is both is taken as the layout.
func look(file string) (string, error) {
	kind := ""
	err := each(file, func(h *tar.Header, _ io.Reader) error {
		switch path.Clean(h.Name) {
		case Marker:
			kind = ociArchive
			return io.EOF
		case "manifest.json":
			kind = dockerArchive
		}
		return nil
	})
	if err == nil && kind == "" {
		err = errors.New("neither oci-layout nor manifest.json is in it")
	}
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNone, err)
	}
	return kind, nil
}

// each calls f with the entries of an archive, until it gives io.EOF or another error.
func each(file string, f func(*tar.Header, io.Reader) error) error {
	in, err := plain(file)
	if err != nil {
		return err
	}
	defer in.Close()
	for list := tar.NewReader(in); ; {
		h, err := list.Next()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := f(h, list); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// blob is the name of one in a layout, of the one algorithm that all engines write.
var blob = regexp.MustCompile(`^blobs/sha256/[0-9a-f]{64}$`)

// untar writes the files of a layout in an archive into a new folder; what has no place in a layout is left out.
func untar(ctx context.Context, file, to string) error {
	if err := os.MkdirAll(filepath.Join(to, "blobs", "sha256"), 0o700); err != nil {
		return err
	}
	return each(file, func(h *tar.Header, r io.Reader) error {
		name := path.Clean(strings.TrimPrefix(h.Name, "./"))
		small := name == Marker || name == Index
		if h.Typeflag != tar.TypeReg || !small && !blob.MatchString(name) {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if small && h.Size > MaxIndex {
			return fmt.Errorf("%w: its %s has %d bytes, more than %d", ErrNone, name, h.Size, MaxIndex)
		}
		out, err := os.OpenFile(filepath.Join(to, filepath.FromSlash(name)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if errors.Is(err, os.ErrExist) {
			return fmt.Errorf("%w: %s is in it twice", ErrNone, name)
		} else if err != nil {
			return err
		}
		_, err = io.Copy(out, r) // its digest is looked at when it is copied
		return errors.Join(err, out.Close())
	})
}
