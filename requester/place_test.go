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
		var file string
		if err := j.w.QueryRow("SELECT file FROM pragma_database_list").Scan(&file); err != nil {
			t.Fatal(err)
		}
		want, err := os.Stat(filepath.Join(dir, "node.db"))
		if got, gotErr := os.Stat(file); err != nil || gotErr != nil || !os.SameFile(got, want) {
			t.Errorf("%s: the journal lies at %s", name, file)
		}
		if err := j.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
