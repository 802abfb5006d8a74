package container

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/image"
)

// TestThePlan makes of an image's words what a container is made of, and refuses words that none can be made of.
func TestThePlan(t *testing.T) {
	good := v1.ImageConfig{Entrypoint: []string{"/bin/hello"}, Cmd: []string{"world"}, Env: []string{"A=1"}, WorkingDir: "/bin", Volumes: map[string]struct{}{"/data": {}, "/tmp": {}}}
	of := func(c v1.ImageConfig) (*boxed, error) {
		p := layoutOf(t, c)
		i, err := read(p.Module, p.Key)
		if err == nil {
			t.Cleanup(func() { i.Close() })
		}
		return i, err
	}
	i, err := of(good)
	if err != nil {
		t.Fatal(err)
	}
	if p := i.plan; !slices.Equal(p.entrypoint, good.Entrypoint) || !slices.Equal(p.cmd, good.Cmd) || !slices.Equal(p.env, good.Env) || p.folder != "/bin" || !slices.Equal(p.volumes, []string{"/data"}) {
		t.Errorf("the plan is %+v", p)
	}
	for name, row := range map[string]struct {
		change func(*v1.ImageConfig)
		says   string
	}{
		"a volume of the host": {func(c *v1.ImageConfig) { c.Volumes = map[string]struct{}{"/proc/x": {}} }, `volume "/proc/x"`},
		"a variable":           {func(c *v1.ImageConfig) { c.Env = []string{"novalue"} }, `sets "novalue"`},
		"a zero byte":          {func(c *v1.ImageConfig) { c.Cmd = []string{"a\x00b"} }, "zero byte"},
	} {
		c := good
		row.change(&c)
		_, err := of(c)
		if bad := (*engine.ProgramError)(nil); !errors.As(err, &bad) || bad.Hint == "" || !strings.Contains(bad.Message, row.says) {
			t.Errorf("%s: it says %v", name, err)
		}
	}
}

// TestAnArchiveIsBoth reads what is sent to engines as a layout and as what docker save writes.
func TestAnArchiveIsBoth(t *testing.T) {
	content, err := image.Pack(image.File{Name: "bin/hello", Content: []byte("#!/bin/sh\n")})
	if err != nil {
		t.Fatal(err)
	}
	p := layoutOf(t, v1.ImageConfig{Entrypoint: []string{"/bin/hello"}}, content)
	i, err := read(p.Module, p.Key)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	var sent bytes.Buffer
	if err := i.archive(t.Context(), &sent, "hpips.local/x:latest"); err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	for r := tar.NewReader(&sent); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		path := filepath.Join(to, h.Name)
		if err = errors.Join(err, os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, content, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	index, err := os.ReadFile(filepath.Join(to, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := read(to, digest.FromBytes(index).Encoded())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if again.Manifest.Digest != i.Manifest.Digest || again.Manifest.Annotations[v1.AnnotationRefName] != "hpips.local/x:latest" {
		t.Errorf("as a layout: %+v", again.Manifest)
	}
	var saved []struct {
		Config           string
		RepoTags, Layers []string
	}
	list, err := os.ReadFile(filepath.Join(to, "manifest.json"))
	if err = errors.Join(err, json.Unmarshal(list, &saved)); err != nil || len(saved) != 1 {
		t.Fatal(err, saved)
	}
	config, err := os.ReadFile(filepath.Join(to, saved[0].Config))
	if err != nil || !bytes.Equal(config, i.ConfigText) || len(saved[0].Layers) != 1 || saved[0].RepoTags[0] != "hpips.local/x:latest" {
		t.Errorf("as docker save: %v, %+v", err, saved)
	}
	if got, err := os.ReadFile(filepath.Join(to, saved[0].Layers[0])); err != nil || !bytes.Equal(got, content) {
		t.Errorf("its layer has %d bytes, %v", len(got), err)
	}
}
