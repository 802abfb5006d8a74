package e2e

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/hpips/hpips/test/e2e/pc"
)

// image FILE writes what docker save would of an image with one program in it, testdata/boxed, for this machine or, as image FILE ARCH, for another.
func image(ts *testscript.TestScript, _ bool, args []string) {
	arch := runtime.GOARCH
	if len(args) > 1 {
		arch = args[1]
	}
	ts.Check(boxed(ts.MkAbs(args[0]), arch))
}

func boxed(to, arch string) error {
	dir, err := os.MkdirTemp(built.dir, "boxed-")
	if err != nil {
		return err
	}
	program, err := pc.Native(filepath.Join("..", ".."), dir, "test/e2e/testdata/boxed")
	if err != nil {
		return err
	}
	data, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "boxed", Mode: 0o755, Size: int64(len(data)), Typeflag: tar.TypeReg}); err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	if err != nil {
		return err
	}
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: arch, RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{Entrypoint: []string{"/boxed"}, Cmd: []string{"greet", "everybody"}, Env: []string{"GREETING=and good morning"}}})
	if err != nil {
		return err
	}
	if img, err = mutate.AppendLayers(img, layer); err != nil {
		return err
	}
	tag, err := name.NewTag("example.org/boxed:1")
	if err != nil {
		return err
	}
	if err := tarball.WriteToFile(to, tag, img); err != nil {
		return fmt.Errorf("image: %w", err)
	}
	return nil
}
