package cli

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/hpips/hpips/ledger"
)

func TestOnlyYesIsAYes(t *testing.T) {
	for text, want := range map[string]bool{
		"y\n": true, "Y\n": true, "yes\n": true, " YES \r\n": true, "y": true,
		"n\n": false, "no\n": false, "\n": false, "": false, "yep\n": false, "ye\n": false, "j\n": false, "\ny\n": false, "no\nyes\n": false, "n y\n": false,
	} {
		if got, err := agrees(strings.NewReader(text)); err != nil || got != want {
			t.Errorf("%q is taken as %v, %v", text, got, err)
		}
	}
	gone := errors.New("the terminal is gone")
	if got, err := agrees(iotest.ErrReader(gone)); got || !errors.Is(err, gone) {
		t.Errorf("a terminal that is gone agrees: %v, %v", got, err)
	}
}

// A wallet goes on with the store that it has. The first account goes to that of the operating system, if it has one, else into files.
func TestWhereKeysAreKept(t *testing.T) {
	with := func(kinds ...string) string {
		dir := t.TempDir()
		for _, kind := range kinds {
			folder := filepath.Join(dir, "keyring-"+kind)
			if err := errors.Join(os.Mkdir(folder, 0o700), os.WriteFile(filepath.Join(folder, "alice.info"), nil, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	hollow := t.TempDir()
	if err := os.Mkdir(filepath.Join(hollow, "keyring-file"), 0o700); err != nil {
		t.Fatal(err)
	}
	for what, row := range map[string]struct {
		dir, named string
		system     bool
		want       string
	}{
		"a first account":                          {with(), "", true, ledger.StoreOS},
		"a first account without a system's store": {with(), "", false, ledger.StoreFile},
		"a folder without keys":                    {hollow, "", true, ledger.StoreOS},
		"files that are there":                     {with("file"), "", true, ledger.StoreFile},
		"a development network's":                  {with("test"), "", true, ledger.StoreTest},
		"both":                                     {with("test", "file"), "", true, ledger.StoreFile},
		"what is named":                            {with("file"), "os", false, ledger.StoreOS},
		"what is named, without a store yet":       {with(), "file", true, ledger.StoreFile},
		"what is no store":                         {with(), "cloud", true, "cloud"},
	} {
		if got := storeOf(row.dir, row.named, row.system); got != row.want {
			t.Errorf("%s: %s, want %s", what, got, row.want)
		}
	}
}
