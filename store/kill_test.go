package store

import (
	"bufio"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
)

var kills = flag.Int("kills", 6, "how often the test of each kind of work is killed")

// The environment of a test program that works in a store until it is killed.
const (
	workEnv = "HPIPS_STORE_WORK" // kind of work
	dirEnv  = "HPIPS_STORE_DIR"
	fromEnv = "HPIPS_STORE_FROM" // alice's address, for pulls and repairs
)

// work is what bob's program does. It tells each promise once the store has given it: "+ CID" is pinned, "- CID" may go from now on, "= CID" is whole again, "~ CID" that packs are emptied now.
func work(t *testing.T, kind string) {
	ctx := t.Context()
	h := newHost(t)
	cfg := Default()
	if kind == "compact" {
		cfg.PackSize = 4 << 20
	}
	s, err := Open(slog.New(slog.DiscardHandler), os.Getenv(dirEnv), h, cfg)
	must(t, err)
	alice, err := peer.AddrInfoFromString(os.Getenv(fromEnv))
	must(t, err)
	must(t, h.Connect(ctx, *alice))
	say := func(sign string, c cid.Cid) { fmt.Println(sign, c) } // one write, whole or not at all
	seed := uint64(time.Now().UnixNano())
	dice := rand.New(rand.NewPCG(seed, 1))
	if kind == "repair" {
		got, err := s.Check(ctx, nil)
		must(t, err)
		for _, p := range got.Short {
			_, err := s.Fetch(ctx, p.CID, nil, alice.ID)
			must(t, err)
			say("=", p.CID)
		}
	}
	wanted := strings.Fields(os.Getenv("HPIPS_STORE_WANTED"))
	for n := uint64(0); ; n++ {
		var c cid.Cid
		if kind == "pull" || kind == "repair" {
			c, err = cid.Parse(wanted[dice.IntN(len(wanted))])
			must(t, err)
			_, err = s.Fetch(ctx, c, nil, alice.ID)
			must(t, err)
		} else {
			e, err := s.AddBytes(ctx, random(1+dice.IntN(3<<20), seed+n))
			must(t, err)
			c = e.CID
		}
		must(t, s.Pin(ctx, c, fmt.Sprint(n)))
		say("+", c)
		switch {
		case kind == "collect" && n%3 == 2:
			pins, err := s.Pins(ctx)
			must(t, err)
			say("-", pins[0].CID)
			must(t, s.Unpin(ctx, pins[0].CID))
			_, err = s.GC(ctx)
			must(t, err)
		case kind == "compact" && n%12 == 11: // two of three, so that many packs are emptied at once
			pins, err := s.Pins(ctx)
			must(t, err)
			for i, p := range pins {
				if i%3 != 0 {
					say("-", p.CID)
					must(t, s.Unpin(ctx, p.CID))
				}
			}
			_, err = s.collect(ctx)
			must(t, err)
			fmt.Println("~", c) // what follows is the compaction
			must(t, s.blocks.compact(ctx))
		}
	}
}

// Bob's program is killed at any moment while it adds, pulls, repairs, collects or compacts: what it had promised is there and whole when it is started again.
func TestKilledAtAnyMoment(t *testing.T) {
	if kind := os.Getenv(workEnv); kind != "" {
		work(t, kind)
		return
	}
	for _, kind := range []string{"add", "pull", "repair", "collect", "compact"} {
		t.Run(kind, func(t *testing.T) { killed(t, kind) })
	}
}

func killed(t *testing.T, kind string) {
	ctx, dice := t.Context(), rand.New(rand.NewPCG(3, 4))
	a := newHost(t)
	alice := openStore(t, t.TempDir(), a)
	from := fmt.Sprintf("%s/p2p/%s", a.Addrs()[0], a.ID())
	var wanted []string
	for n := range uint64(60) {
		e, err := alice.AddBytes(ctx, random(1+dice.IntN(3<<20), n))
		must(t, err)
		wanted = append(wanted, e.CID.String())
	}
	dir := t.TempDir()
	promised := map[cid.Cid]bool{}
	kills, midway := reduced(*kills), 0 // times that packs were left to be emptied
	for round := range kills {
		if kind == "repair" && round > 0 {
			s, err := Open(slog.New(slog.DiscardHandler), dir, nil, Default())
			must(t, err)
			s.spoil(t, dice, 3)
			must(t, s.Close())
		}
		repaired := map[cid.Cid]bool{}
		cmd := exec.Command(os.Args[0], "-test.run", "^TestKilledAtAnyMoment$")
		cmd.Env = append(os.Environ(), workEnv+"="+kind, dirEnv+"="+dir, fromEnv+"="+from, "HPIPS_STORE_WANTED="+strings.Join(wanted, " "))
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		said := bufio.NewScanner(out)
		enough := 1 + dice.IntN(8)
		if kind == "compact" {
			enough = 1
		}
		for n := 0; said.Scan(); {
			sign, text, ok := strings.Cut(said.Text(), " ")
			c, err := cid.Parse(text)
			if !ok || err != nil || !strings.Contains("+-=~", sign) {
				continue // the test program's own words
			}
			switch sign {
			case "=":
				repaired[c] = true
			case "+", "-":
				promised[c] = sign == "+"
			}
			if kind == "compact" && sign != "~" {
				continue
			}
			if n++; n == enough { // and then at any moment of the next one
				time.AfterFunc(time.Duration(dice.IntN(30))*time.Millisecond, func() { _ = cmd.Process.Kill() })
			}
		}
		if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatalf("round %d ended by itself: %v", round, err)
		}
		s, err := Open(slog.New(slog.DiscardHandler), dir, nil, Default())
		must(t, err)
		if kind == "compact" {
			todo, err := s.blocks.clear(ctx)
			must(t, err)
			if len(todo) > 0 {
				midway++
			}
		}
		got, err := s.Check(ctx, nil)
		must(t, err)
		if kind != "repair" && (got.Damaged > 0 || len(got.Short) > 0) {
			t.Errorf("round %d: %d damaged blocks, %d pins lack something", round, got.Damaged, len(got.Short))
		}
		for _, p := range got.Short {
			if repaired[p.CID] {
				t.Errorf("round %d: %s was repaired and lacks something", round, p.CID)
			}
		}
		pins, err := s.Pins(ctx)
		must(t, err)
		pinned := map[cid.Cid]bool{}
		for _, p := range pins {
			pinned[p.CID] = true
		}
		for c, yes := range promised {
			if yes && !pinned[c] {
				t.Errorf("round %d: %s was promised and is not pinned", round, c)
			}
		}
		must(t, s.Close())
	}
	t.Logf("%s: killed %d times, %d promises; %d times while packs were emptied", kind, kills, len(promised), midway)
}
