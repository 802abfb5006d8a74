package proto

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func TestGeneratedCodeIsWhatTheSourcesSay(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // the first run on a machine builds the generators
	defer cancel()
	for _, source := range []string{"hpips", "../etc/tools", "../go.mod"} {
		read(t, filepath.FromSlash(source)) // go test runs a test again when what it read has changed
	}
	out := t.TempDir()
	cmd := exec.CommandContext(ctx, "go", "-C", filepath.FromSlash("../etc/tools"), "run", "./protogen", "-out", out)
	cmd.WaitDelay = 5 * time.Second
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("protogen: %v\n%s", err, said)
	}
	want, have := read(t, out), read(t, "gen")
	if len(want) == 0 {
		t.Fatal("protogen wrote nothing")
	}
	for name := range want {
		if !bytes.Equal(want[name], have[name]) {
			t.Errorf("gen/%s is not what the sources say: make gen", name)
		}
	}
	for name := range have {
		if _, ok := want[name]; !ok {
			t.Errorf("gen/%s comes from no source: make gen", name)
		}
	}
}

// read gives a file, or the files below a folder.
func read(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		below, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		files[filepath.ToSlash(below)], err = os.ReadFile(p)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
