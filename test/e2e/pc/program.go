package pc

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Program gives the hpips to test: HPIPS_BIN, or one built into dir. root is the module's folder.
func Program(root, dir string) (string, error) {
	if name := os.Getenv("HPIPS_BIN"); name != "" {
		if _, err := os.Stat(name); err != nil {
			return "", fmt.Errorf("HPIPS_BIN: %w (make build writes it)", err)
		}
		return filepath.Abs(name)
	}
	out := filepath.Join(dir, "hpips")
	return out, build(root, out, "./cmd/hpips", "CGO_ENABLED=0")
}

// Liar builds an hpips whose nodes lie as a file in their homes says.
func Liar(root, dir string) (string, error) {
	out := filepath.Join(dir, "hpips-that-lies")
	return out, build(root, out, "./cmd/hpips", "CGO_ENABLED=0", "GOFLAGS=-tags=lies")
}

// Guest builds a Go program of the module for WASI into dir and gives its name. pkg is its folder below root.
func Guest(root, dir, pkg string) (string, error) {
	out := filepath.Join(dir, filepath.Base(pkg)+".wasm")
	return out, build(root, out, "./"+pkg, "CGO_ENABLED=0", "GOOS=wasip1", "GOARCH=wasm")
}

// Native builds a Go program of the module for Linux and this machine's processor, statically, into dir and gives its name. pkg is its folder below root.
func Native(root, dir, pkg string) (string, error) {
	out := filepath.Join(dir, filepath.Base(pkg))
	return out, build(root, out, "./"+pkg, "CGO_ENABLED=0", "GOOS=linux")
}

func build(root, out, pkg string, env ...string) error {
	cmd := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o", out, pkg)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), env...)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, text)
	}
	return nil
}
