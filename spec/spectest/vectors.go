// Package spectest keeps what the tests of spec's rooms share: test vectors, files from which another implementation can check itself.
// It promises that a file under testdata says what the code computes, and writes it anew with -rewrite.
// It leaves what is computed to the tests of each room.
package spectest

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the test vectors anew")

// Octets are written in hexadecimal digits.
type Octets []byte

// MarshalText writes them.
func (o Octets) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, o), nil }

// Vectors compares what each function computes, as JSON, with testdata/NAME.json, and names the first line that says otherwise.
func Vectors(t *testing.T, all map[string]func(*testing.T) any) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			enc := json.NewEncoder(&b)
			enc.SetIndent("", "  ")
			enc.SetEscapeHTML(false)
			if err := enc.Encode(all[name](t)); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", name+".json")
			if *rewrite {
				if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got, want := bytes.Split(b.Bytes(), []byte("\n")), bytes.Split(bytes.ReplaceAll(text, []byte("\r"), nil), []byte("\n"))
			for i := range min(len(got), len(want)) {
				if !bytes.Equal(got[i], want[i]) {
					t.Fatalf("%s:%d: %s, want %s", path, i+1, got[i], want[i])
				}
			}
			if len(got) != len(want) {
				t.Fatalf("%s has %d lines, want %d", path, len(want), len(got))
			}
		})
	}
}
