package node

import (
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
)

// eventually looks until done, for at most half a minute.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	late, tick := time.After(30*time.Second), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("this has not come: %s", what)
		}
	}
}

// Bob knows alice's old address alone, and she moves: it is on her to find him again.
func TestAliceMovesAndFindsBobAgain(t *testing.T) {
	cfg := quiet(t)
	h, err := New(t.Context(), cfg)
	alice := start(t, h, err)
	bobs := quiet(t)
	bobs.Join = alice.Addresses()
	h, err = New(t.Context(), bobs)
	bob := start(t, h, err)
	before := alice.Addresses()
	eventually(t, "alice writes bob down", func() bool {
		text, err := os.ReadFile(filepath.Join(cfg.Home, peersFile))
		return err == nil && strings.Contains(string(text), bob.ID())
	})
	_ = alice.stop()
	h, err = New(t.Context(), cfg)
	alice = start(t, h, err)
	if slices.Equal(before, alice.Addresses()) {
		t.Fatalf("alice is at %v as before", before)
	}
	eventually(t, "alice has a peer", func() bool {
		peers, err := alice.Peers(t.Context())
		return err == nil && len(peers) == 1 && peers[0].Node == bob.ID()
	})
	if fi, err := os.Stat(filepath.Join(cfg.Home, peersFile)); err != nil || fi.Mode().Perm() != fs.FileMode(0o600) {
		t.Errorf("%v, %v", fi, err)
	}
}

func silent(t *testing.T) host.Host {
	t.Helper()
	h, err := libp2p.New(libp2p.NoListenAddrs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func TestADamagedMemoryIsForgotten(t *testing.T) {
	const carol = "12D3KooWRRZgPvFLGz8J1wJsSnwTMz66fSdk1whtLyGRb8NGorx8"
	for _, row := range []struct {
		what, text string
		good       bool
	}{
		{"nothing", "", false},
		{"no list", `{"id":1}`, false},
		{"an unknown field", `[{"id":"` + carol + `","addrs":[],"seen":"2026-01-01T00:00:00Z","key":"x"}]`, false},
		{"no peer", `[{"id":"bob","addrs":[],"seen":"2026-01-01T00:00:00Z"}]`, false},
		{"too much", "[" + strings.Repeat(" ", maxPeersFile) + "]", false},
		{"null", `[null]`, true},
		{"bad addresses", `[{"id":"` + carol + `","addrs":["/nonsense","/ip4/127.0.0.1/tcp/1"],"seen":"2026-01-01T00:00:00Z"}]`, true},
	} {
		a := &acquaintances{log: slog.New(slog.DiscardHandler), file: filepath.Join(t.TempDir(), peersFile), host: silent(t)}
		if err := os.WriteFile(a.file, []byte(row.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := a.load(); (err == nil) != row.good {
			t.Errorf("%s: %v", row.what, err)
		}
		a.call(t.Context()) // nobody answers, and nothing breaks
	}
}

func TestOldAcquaintancesAreForgotten(t *testing.T) {
	a := &acquaintances{log: slog.New(slog.DiscardHandler), host: silent(t)}
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for i := range maxAcquaintances + 10 {
		a.list = append(a.list, &acquaintance{ID: peer.ID(rune(i + 1)), Seen: now.Add(-time.Duration(i) * 2 * time.Hour)})
	}
	a.list = append(a.list, &acquaintance{ID: "long ago", Seen: now.Add(-forgetAfter - 1)})
	if !a.meet(now) || len(a.list) != maxAcquaintances || a.list[0].Seen != now || a.find("long ago") != nil {
		t.Errorf("%d are left, the first seen %v", len(a.list), a.list[0].Seen)
	}
	if a.meet(now) {
		t.Error("nothing has changed, and yet it would be written")
	}
}
