package full

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// The engine has filled a thousand parts of its log. The last two and the one being written stay, in the order of their numbers.
func TestTrim(t *testing.T) {
	home := t.TempDir()
	dir := filepath.Join(home, "data", "cs.wal")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name string) {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("wal")
	for i := 997; i <= 1001; i++ {
		write(fmt.Sprintf("wal.%03d", i))
	}
	for range 2 {
		if err := Trim(home); err != nil {
			t.Fatal(err)
		}
	}
	var left []string
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		left = append(left, f.Name())
	}
	if want := []string{"wal", "wal.1000", "wal.1001"}; !slices.Equal(left, want) {
		t.Errorf("left are %v, want %v", left, want)
	}
	if err := Trim(t.TempDir()); err != nil {
		t.Errorf("a home without a log: %v", err)
	}
}
