package requester

import (
	"os"
	"path/filepath"
	"testing"
)

// Alice's home folder may have any name: the journal lies in it, and is one that survives a power cut.
func TestJournalLiesWhereItShould(t *testing.T) {
	for _, name := range []string{"plain", "with space", "c#", "what now?", "100%41", "a&b=c"} {
		if filepath.Separator == '\\' && name == "what now?" {
			continue // Windows has no such folder
		}
		dir := filepath.Join(t.TempDir(), name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		j, err := openJournal(dir)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var mode string
		var synchronous int
		if err := j.w.QueryRow("PRAGMA journal_mode").Scan(&mode); err != nil || mode != "wal" {
			t.Errorf("%s: journal mode %q, %v", name, mode, err)
		}
		if err := j.w.QueryRow("PRAGMA synchronous").Scan(&synchronous); err != nil || synchronous != 2 {
			t.Errorf("%s: synchronous is %d, not FULL; %v", name, synchronous, err)
		}
		if _, err := os.Stat(j.path); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := j.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
