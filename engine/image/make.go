package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// File is one of a layer.
type File struct {
	Name    string
	Content []byte
}

// Pack makes a layer of executable files.
func Pack(files ...File) ([]byte, error) {
	var b bytes.Buffer
	t := tar.NewWriter(&b)
	for _, f := range files {
		err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.Name, Mode: 0o755, Size: int64(len(f.Content))})
		if err == nil {
			_, err = t.Write(f.Content)
		}
		if err != nil {
			return nil, err
		}
	}
	err := t.Close()
	return b.Bytes(), err
}

// Make writes the layout of an image for this machine of plain layers, and gives the sha256 of its index. One that is there already is the same.
func Make(dir string, c v1.ImageConfig, layers ...[]byte) (key string, err error) {
	blobs := filepath.Join(dir, v1.ImageBlobsDir, "sha256")
	if err := os.MkdirAll(blobs, 0o700); err != nil {
		return "", err
	}
	blob := func(mediaType string, text []byte) v1.Descriptor {
		d := v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(text), Size: int64(len(text))}
		err = errors.Join(err, os.WriteFile(filepath.Join(blobs, d.Digest.Encoded()), text, 0o600))
		return d
	}
	document := func(v any) []byte {
		text, e := json.Marshal(v)
		err = errors.Join(err, e)
		return text
	}
	config := v1.Image{Platform: v1.Platform{OS: "linux", Architecture: runtime.GOARCH}, Config: c, RootFS: v1.RootFS{Type: "layers", DiffIDs: []digest.Digest{}}}
	m := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest, Layers: []v1.Descriptor{}}
	for _, layer := range layers {
		d := blob(v1.MediaTypeImageLayer, layer)
		m.Layers, config.RootFS.DiffIDs = append(m.Layers, d), append(config.RootFS.DiffIDs, d.Digest)
	}
	m.Config = blob(v1.MediaTypeImageConfig, document(config))
	index := document(v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{blob(v1.MediaTypeImageManifest, document(m))}})
	err = errors.Join(err, os.WriteFile(filepath.Join(dir, Index), index, 0o600), os.WriteFile(filepath.Join(dir, Marker), []byte(marker), 0o600))
	return digest.FromBytes(index).Encoded(), err
}
