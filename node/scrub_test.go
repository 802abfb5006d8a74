package node

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	blockfmt "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"

	"github.com/hpips/hpips/store"
)

// Bob's node reads its disk an hour after it began, and not again within a week, however often it is started.
func TestADiskIsReadOnceAWeek(t *testing.T) {
	dir := t.TempDir()
	blocks, err := store.Open(slog.New(slog.DiscardHandler), filepath.Join(dir, "blocks"), nil, store.Default())
	if err != nil {
		t.Fatal(err)
	}
	defer blocks.Close()
	if _, err := blocks.AddBytes(t.Context(), []byte("kept")); err != nil {
		t.Fatal(err)
	}
	m := &member{log: slog.New(slog.DiscardHandler), dir: dir, store: blocks}
	if m.scrubDue(time.Now()) != 0 {
		t.Error("a disk that was never read is not due")
	}
	if short, whole := m.scrub(t.Context()); !whole || len(short) != 0 {
		t.Fatalf("the disk was read: %v; %d pins lack something", whole, len(short))
	}
	if left := m.scrubDue(time.Now()); left < scrubEvery-time.Minute || left > scrubEvery {
		t.Errorf("it is due in %v", left)
	}
	old := time.Now().Add(-8 * 24 * time.Hour)
	if err := os.Chtimes(filepath.Join(dir, scrubbedFile), old, old); err != nil {
		t.Fatal(err)
	}
	if m.scrubDue(time.Now()) != 0 {
		t.Error("after eight days it is not due")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, whole := m.scrub(ended); whole {
		t.Error("a check that was ended counts")
	}
	lost := blockOf("lost")
	if still := m.repair(t.Context(), []store.Pin{{CID: lost}}); len(still) != 1 || still[0].CID != lost {
		t.Errorf("what nobody has is wanted no more: %v", still)
	}
	synctest.Test(t, func(t *testing.T) { // what waits an hour ends when it is told to
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.scrubbing(ctx) }()
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func blockOf(text string) cid.Cid { return blockfmt.NewBlock([]byte(text)).Cid() }
