package full

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	cmttypes "github.com/cometbft/cometbft/types"

	"github.com/hpips/hpips/chain"
	"github.com/hpips/hpips/chain/chaintest"
)

const testChain = "hpips-test-1"

// logger shows the engine's lines when a test is run with -v and HPIPS_CHAIN_LOG is a file that exists in the package's folder.
func logger(t testing.TB) *slog.Logger {
	level := slog.LevelWarn
	if _, err := os.Stat("loud"); err == nil {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: level}))
}

func genesis(t *testing.T, change func(*chain.Genesis), people ...chaintest.Person) *cmttypes.GenesisDoc {
	t.Helper()
	g, err := chaintest.Genesis(testChain, people...)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&g)
	}
	doc, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func home(t *testing.T, p chaintest.Person, doc *cmttypes.GenesisDoc) Config {
	return Config{
		Home: filepath.Join(t.TempDir(), p.Name), Doc: doc, Consensus: p.Consensus, VRF: p.VRF, Listen: "127.0.0.1:0", Dev: true, Log: logger(t),
	}
}

// serve runs a node until the test or the returned function ends it. The function gives Serve's error.
func serve(t *testing.T, c Config) (*Node, func() error) {
	t.Helper()
	n, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Serve(ctx) }()
	var ended error
	stopped := false
	stop := func() error {
		cancel()
		if !stopped {
			stopped, ended = true, <-done
		}
		return ended
	}
	t.Cleanup(func() { _ = stop() })
	return n, stop
}

// until polls a condition; it fails the test after a minute.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	limit := time.After(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-limit:
			t.Fatalf("no %s within a minute", what)
		case <-tick.C:
		}
	}
}

func height(n *Node) int64 { return n.app.LastBlockHeight() }
