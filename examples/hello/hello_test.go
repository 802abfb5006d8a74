package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWhatHelloDoes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "letter")
	if err := os.WriteFile(file, []byte("dear bob"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		args string
		in   string
		out  string
		code int
	}{
		{"", "", "hello, world\n", 0},
		{"alice and bob", "", "hello, alice and bob\n", 0},
		{"copy", "as it is\x00", "as it is\x00", 0},
		{"cat " + file, "", "dear bob", 0},
		{"cat " + file + ".none", "", "", 1},
		{"exit 3", "", "", 3},
		{"exit three", "", "", 2},
		{"exit 128", "", "", 2},
	} {
		var out bytes.Buffer
		code, err := run(strings.Fields(row.args), strings.NewReader(row.in), &out)
		if code != row.code || out.String() != row.out || (err == nil) != (code == 0 || code == 3) {
			t.Errorf("hello %s: %q, code %d, error %v; want %q, code %d", row.args, out.String(), code, err, row.out, row.code)
		}
	}
}
