package chain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/hpips/hpips/chain/chaintest"
	"github.com/hpips/hpips/chain/full"
	"github.com/hpips/hpips/ledger"
	committeev1 "github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/test/e2e/pc"
)

// Alice's node is an archive and keeps all blocks. Bob's joins her by a snapshot, as joiners do, and holds none of before it; without flags his chain is verified from
// the oldest block that he holds.
func TestAnArchiveKeepsAllAndAJoinerTheNewest(t *testing.T) {
	t.Parallel()
	alice, bob := chaintest.New("alice"), chaintest.New("bob")
	g, err := chaintest.Genesis("kept-1", alice)
	if err != nil {
		t.Fatal(err)
	}
	g.Tune = func(p *committeev1.Params) { p.HeartbeatSeconds, p.EpochBlocks, p.ClaimBlocks = 1, 6, 4 }
	doc, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	node := func(p chaintest.Person, c full.Config) (*full.Node, func()) {
		c.Home, c.Doc, c.Listen, c.Dev, c.SnapshotEvery = filepath.Join(t.TempDir(), p.Name), doc, "127.0.0.1:0", true, 5
		c.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
		return serves(t, c)
	}
	reaches := func(n *full.Node, height int64) {
		t.Helper()
		pc.Eventually(t, fmt.Sprint("block ", height), func() bool { _, to := holds(t, n); return to >= height }, func() string { return "" })
	}
	archive, stop := node(alice, full.Config{Consensus: alice.Consensus, VRF: alice.VRF, Archive: true, RPC: "127.0.0.1:0"})
	reaches(archive, 16)
	trusted := int64(9)
	block, err := archive.Client().Block(t.Context(), &trusted)
	if err != nil {
		t.Fatal(err)
	}
	rpc, _, _ := archive.Addresses()
	joiner, _ := node(bob, full.Config{Peers: []string{archive.Address()}, Trust: &full.Trust{Height: trusted, Hash: block.BlockID.Hash}, StateSyncServers: []string{"http://" + rpc, "http://" + rpc}})
	reaches(joiner, 24)

	hers := verified(t, archive)
	stop() // no block comes, and none goes, from here on
	his := verified(t, joiner)
	from, to := holds(t, joiner)
	if hers.From != 1 || !hers.Whole || hers.To < 23 {
		t.Errorf("alice's node has blocks %d to %d", hers.From, hers.To)
	}
	if from < 2 || his.From != from || his.Whole || his.To < to-1 || his.SeedsFrom < from {
		t.Errorf("bob's node holds blocks %d to %d, %d to %d were verified, the seeds from %d", from, to, his.From, his.To, his.SeedsFrom)
	}
	if _, err := joiner.Blocks().Block(1); !errors.Is(err, full.ErrPruned) {
		t.Errorf("bob's first block: %v", err)
	}
}

// serves runs a chain node until the test or the function ends it.
func serves(t *testing.T, c full.Config) (*full.Node, func()) {
	t.Helper()
	n, err := full.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Serve(ctx) }()
	stopped := false
	stop := func() {
		cancel()
		if stopped {
			return
		}
		stopped = true
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return n, stop
}

// holds are the first and the last block of a node.
func holds(t *testing.T, n *full.Node) (from, to int64) {
	t.Helper()
	st, err := n.Client().Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return st.SyncInfo.EarliestBlockHeight, st.SyncInfo.LatestBlockHeight
}

// verified is what chain verify finds without flags.
func verified(t *testing.T, n *full.Node) ledger.Verified {
	t.Helper()
	l, err := ledger.New(n.Client(), ledger.Default())
	if err != nil {
		t.Fatal(err)
	}
	v, err := l.Verify(t.Context(), 0, 0, nil)
	if err != nil || !v.OK {
		t.Fatalf("%v, %+v", err, v.Wrong)
	}
	return v
}
