package chain

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/test/e2e/pc"
)

// Alice has locked the keys of her accounts away before her node starts. It pays for her jobs all the same, by its spending key; her wallet sends nothing until she has them back.
func TestANodeSpendsWithoutItsOwnersKey(t *testing.T) {
	t.Parallel()
	program, err := pc.Program(filepath.Join("..", ".."), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	primes, err := pc.Guest(filepath.Join("..", ".."), t.TempDir(), "./examples/primes")
	if err != nil {
		t.Fatal(err)
	}
	alice := pc.New(t, program, "alice", "--dev", "--nodes", "2")
	alice.Up(t)
	window(t, alice.Home)
	if code := alice.Stop(t); code != 0 {
		t.Fatalf("alice's node ends with %d", code)
	}
	drawer := t.TempDir()
	var locked []string
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(filepath.WalkDir(alice.Home, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() || e.Name() != "keyring-test" {
			return err
		}
		locked = append(locked, name)
		return fs.SkipDir
	}))
	for i, name := range locked {
		must(os.Rename(name, filepath.Join(drawer, fmt.Sprint(i))))
	}
	if len(locked) != 2 {
		t.Fatalf("the keys of two owners should lie open on a development network: %v", locked)
	}

	alice.Up(t)
	l := window(t, alice.Home)
	st := alice.Hpips(t, "map", primes, "--over", "count:2", "--copies", "2", "-o", "json", "--", "100000").Status(t) // two owners: one of them is paid
	if st.State != job.Settled {
		t.Fatalf("the job: %+v", st)
	}
	var cost job.Cost
	reads(t, alice.Must(t, "job", "cost", st.Job, "-o", "json"), &cost)
	if cost.Promised == 0 {
		t.Errorf("nobody was paid: %+v", cost)
	}
	const bob = "hpips1r5v5srda7xfth3hn2s26txvrcrntldjust84q8"
	if a := alice.Hpips(t, "wallet", "send", bob, "1", "--from", "dev", "--yes"); a.Code != 125 || !strings.Contains(a.Stderr, "this wallet has no account") {
		t.Errorf("a wallet without keys: %+v", a)
	}
	for i, name := range locked {
		must(os.RemoveAll(name)) // the wallet has made an empty one
		must(os.Rename(filepath.Join(drawer, fmt.Sprint(i)), name))
	}
	alice.Must(t, "wallet", "send", bob, "1", "--from", "dev", "--yes")
	if b, err := l.Balance(t.Context(), bob); err != nil || b.Balance != 1_000_000 {
		t.Errorf("bob has %s, %v", b.Balance, err)
	}
}
