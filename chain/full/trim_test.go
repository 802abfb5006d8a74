package full

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hpips/hpips/chain/chaintest"
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

// Alice's node keeps the last states of its chain, in whole steps, and finds out in each life which are left.
func TestStatesArePruned(t *testing.T) {
	t.Parallel()
	alice := chaintest.New("alice")
	c := home(t, alice, genesis(t, quick(1, 50), alice))
	n, stop := serve(t, c)
	until(t, "blocks", func() bool { return height(n) >= 35 })
	if err := n.prune(t.Context(), 100); err != nil || n.app.Oldest() != 1 {
		t.Errorf("a young chain: %v, the oldest state is that of block %d", err, n.app.Oldest())
	}
	keep := height(n) - 25 // 25 are more, and two steps
	if err := n.prune(t.Context(), keep); err != nil {
		t.Fatal(err)
	}
	if h := n.app.Oldest(); h < 21 || (h-1)%pruneStep != 0 {
		t.Errorf("the oldest state is that of block %d", h)
	}
	first := n.app.Oldest()
	stop()
	n, _ = serve(t, c)
	until(t, "blocks", func() bool { return height(n) >= first+pruneStep+5 })
	if err := n.prune(t.Context(), height(n)-first-pruneStep+1); err != nil || n.app.Oldest() != first+pruneStep {
		t.Errorf("in the next life: %v, the oldest state is that of block %d, want %d", err, n.app.Oldest(), first+pruneStep)
	}
}

// Alice's node keeps every state and every block while she asks for an archive, and lets the old ones go once she does not.
func TestAnArchiveKeepsAll(t *testing.T) {
	t.Parallel()
	alice := chaintest.New("alice")
	c := home(t, alice, genesis(t, quick(1, 50), alice))
	n, stop := serve(t, c)
	until(t, "blocks", func() bool { return height(n) >= pruneStep+5 })
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		archive bool
		oldest  int64
	}{{true, 1}, {false, pruneStep + 1}} {
		c.Archive = row.archive
		n, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		n.tidy(t.Context(), 5)
		if got := n.app.Oldest(); got != row.oldest {
			t.Errorf("archive %v: the oldest state is that of block %d, want %d", row.archive, got, row.oldest)
		}
		if o := n.options(nil); (o.Retain == 0) != row.archive || !row.archive && o.Retain != keepBlocks {
			t.Errorf("archive %v: %d blocks are kept", row.archive, o.Retain)
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
