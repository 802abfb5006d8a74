package replica

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/hpips/hpips/spec/erasure"
	"github.com/hpips/hpips/store"
)

var kills = flag.Int("kills", 6, "how often each kind of work is killed")

// The environment of a test program that works in a store until it is killed.
const (
	workEnv  = "HPIPS_REPLICA_WORK"  // kind of work
	dirEnv   = "HPIPS_REPLICA_DIR"   // of its store
	shelfEnv = "HPIPS_REPLICA_SHELF" // what holders have: manifests by number, and a file for each block
)

// work makes pieces, repairs them or brings objects back. It tells each promise once it has been given: "+ CID" is pinned.
func work(t *testing.T, kind string) {
	ctx, s, shelf := t.Context(), open(t, os.Getenv(dirEnv)), os.Getenv(shelfEnv)
	say := func(c cid.Cid) { fmt.Println("+", c) } // one write, whole or not at all
	dice := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	source := func(_ context.Context, _ int, c cid.Cid) ([]byte, error) {
		return os.ReadFile(filepath.Join(shelf, c.String()))
	}
	for {
		b, err := os.ReadFile(filepath.Join(shelf, fmt.Sprint(dice.IntN(8))))
		must(t, err)
		m, err := Parse(b)
		must(t, err)
		switch kind {
		case "make":
			root := file(1+dice.IntN(12<<20), dice.Uint64())(t, s)
			made, err := Make(ctx, s, root, m.Scheme, "made")
			must(t, err)
			say(made.Folder)
		case "repair":
			lost := dice.Perm(m.Scheme.Pieces)[:1+dice.IntN(2)]
			kept, err := Repair(ctx, s, m, lost, "piece", source)
			must(t, err)
			for _, k := range kept {
				say(k.CID)
			}
		case "recover":
			must(t, Recover(ctx, s, m, "back", source))
			say(m.Root)
		}
		if dice.IntN(3) == 0 { // what has no pin, of the work that was killed before, goes
			_, err := s.GC(ctx)
			must(t, err)
		}
	}
}

// Bob's program is killed at any moment while it makes pieces, repairs them or brings objects back: what it had promised is there and whole when it is started again, and the same work goes on.
func TestKilledAtAnyMoment(t *testing.T) {
	if kind := os.Getenv(workEnv); kind != "" {
		work(t, kind)
		return
	}
	alice, shelf := alone(t), t.TempDir()
	for n := range 8 {
		m, err := Make(t.Context(), alice, file(2<<20+n*(1<<20)+n, uint64(n))(t, alice), erasure.Scheme{Need: 3, Pieces: 6}, "pieces")
		must(t, err)
		must(t, os.WriteFile(filepath.Join(shelf, fmt.Sprint(n)), m.Manifest.Bytes(), 0o600))
		for _, blocks := range newShelf(t, alice, m.Manifest).pieces {
			for c, b := range blocks {
				must(t, os.WriteFile(filepath.Join(shelf, c.String()), b, 0o600))
			}
		}
	}
	for _, kind := range []string{"make", "repair", "recover"} {
		t.Run(kind, func(t *testing.T) { killed(t, kind, shelf) })
	}
}

func killed(t *testing.T, kind, shelf string) {
	dice, dir, kills := rand.New(rand.NewPCG(3, 4)), t.TempDir(), *kills
	if testing.Short() {
		kills = (kills + 3) / 4
	}
	promised := map[cid.Cid]bool{}
	for round := range kills {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestKilledAtAnyMoment$")
		cmd.Env = append(os.Environ(), workEnv+"="+kind, dirEnv+"="+dir, shelfEnv+"="+shelf)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		said := bufio.NewScanner(out)
		enough := 1 + dice.IntN(4)
		for n := 0; said.Scan(); {
			sign, text, ok := strings.Cut(said.Text(), " ")
			c, err := cid.Parse(text)
			if !ok || err != nil || sign != "+" {
				continue // the test program's own words
			}
			promised[c] = true
			if n++; n == enough { // and then at any moment of the next one
				time.AfterFunc(time.Duration(dice.IntN(120))*time.Millisecond, func() { _ = cmd.Process.Kill() })
			}
		}
		if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatalf("round %d ended by itself: %v", round, err)
		}
		s, err := store.Open(discard, dir, nil, store.Default())
		must(t, err)
		var roots []cid.Cid
		for c := range promised {
			roots = append(roots, c)
		}
		whole(t, s, roots...)
		must(t, s.Close())
	}
	t.Logf("%s: killed %d times, %d promises", kind, kills, len(promised))
}
