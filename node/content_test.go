package node

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/store"
)

// Grace puts a folder of many files: one pin holds them all, so that they are synced together and can be let go of together.
func TestOneUploadIsOnePin(t *testing.T) {
	dir, folder := t.TempDir(), t.TempDir()
	for i := range 50 {
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprint("file ", i)), []byte{byte(i)}, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	blocks, err := store.Open(slog.New(slog.DiscardHandler), dir, nil, store.Default())
	if err != nil {
		t.Fatal(err)
	}
	defer blocks.Close()
	c := &content{m: &member{log: slog.New(slog.DiscardHandler), dir: dir, store: blocks}}
	e, err := c.Import(t.Context(), folder, func(client.Progress) {})
	if err != nil {
		t.Fatal(err)
	}
	pins, err := blocks.Pins(t.Context())
	if err != nil || len(pins) != 1 || pins[0].CID.String() != e.CID || pins[0].Name != folder {
		t.Errorf("%d pins, %v, for %+v: %v", len(pins), pins, e, err)
	}
}
