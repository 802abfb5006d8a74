package container

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/hpips/hpips/engine/image"
)

// archive writes the image as a tar that is an OCI layout and what docker save writes both at once, under a name of its own.
func (i *boxed) archive(ctx context.Context, to io.Writer, name string) error {
	d := i.Manifest
	d.Platform = &v1.Platform{OS: i.Config.OS, Architecture: i.Config.Architecture}
	d.Annotations = map[string]string{v1.AnnotationRefName: name, "io.containerd.image.name": name}
	index := v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{d}}
	index.SchemaVersion = 2
	type saved struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	docker := saved{Config: image.BlobFile(i.Parts.Config.Digest), RepoTags: []string{name}, Layers: []string{}}
	for _, layer := range i.Parts.Layers {
		docker.Layers = append(docker.Layers, image.BlobFile(layer.Digest))
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
		return put(t, image.BlobFile(d.Digest), int64(len(text)), func(w io.Writer) error { _, err := w.Write(text); return err })
	}
	err := errors.Join(document(v1.ImageLayoutFile, v1.ImageLayout{Version: v1.ImageLayoutVersion}), document(v1.ImageIndexFile, index),
		document("manifest.json", []saved{docker}), text(i.Manifest, i.ManifestText), text(i.Parts.Config, i.ConfigText))
	seen := map[digest.Digest]bool{}
	for _, layer := range i.Parts.Layers {
		if err == nil && !seen[layer.Digest] {
			seen[layer.Digest], err = true, errors.Join(ctx.Err(), i.copyLayer(t, layer))
		}
	}
	if err != nil {
		return fmt.Errorf("image %s: %w", i.Name(), err)
	}
	return t.Close()
}

func (i *boxed) copyLayer(t *tar.Writer, layer v1.Descriptor) error {
	f, size, err := i.Blob(layer)
	if err != nil {
		return err
	}
	defer f.Close()
	return put(t, image.BlobFile(layer.Digest), size, func(w io.Writer) error {
		_, err := io.Copy(w, io.LimitReader(f, size))
		return err
	})
}

func put(t *tar.Writer, name string, size int64, content func(io.Writer) error) error {
	if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0)}); err != nil {
		return err
	}
	return content(t)
}
