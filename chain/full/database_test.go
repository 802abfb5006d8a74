package full

import (
	"testing"

	cmtdb "github.com/cometbft/cometbft-db"
)

// The engine is stopped and its files are closed; a routine that still speaks with bob asks for a block. It learns that there is none.
func TestAskingAfterTheEnd(t *testing.T) {
	opened, err := cmtdb.NewGoLevelDB("blockstore", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	db := &database{DB: opened}
	if err := db.SetSync([]byte("block"), []byte("1")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := db.Close(); err != nil {
			t.Fatalf("close: %v", err)
		}
	}
	if value, err := db.Get([]byte("block")); value != nil || err != nil {
		t.Errorf("after the end: %q, %v, want nothing", value, err)
	}
	if _, err := opened.Get([]byte("block")); err == nil {
		t.Error("the files are still open")
	}
}
