package full

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// keepLogs is how many full parts of the engine's log are kept beside the one being written. The engine itself keeps 1 GB of them. It reads
// back to the end of the block before the last, which is never further away than the part before.
const keepLogs = 2

// Trim removes from a node's home the parts of the engine's log that no restart will read. The engine may be running. It may be called again.
func Trim(home string) error {
	parts, err := filepath.Glob(filepath.Join(home, "data", "cs.wal", "wal.[0-9]*"))
	if err != nil {
		return fmt.Errorf("trim the engine's log: %w", err)
	}
	slices.SortFunc(parts, func(a, b string) int { // wal.1000 comes after wal.999
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return slices.Compare([]byte(a), []byte(b))
	})
	for _, old := range parts[:max(0, len(parts)-keepLogs)] {
		if err := os.Remove(old); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("trim the engine's log: %w", err)
		}
	}
	return nil
}

// trim keeps the engine's log short, and the chain's states few, until ctx ends.
func (n *Node) trim(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		n.tidy(ctx, keepStates)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// tidy is one round of trim: keep is how many states stay in a node that is no archive.
func (n *Node) tidy(ctx context.Context, keep int64) {
	if err := Trim(n.config.Home); err != nil {
		n.log.Debug("The engine's log grows", "err", err)
	}
	if n.config.Archive {
		return
	}
	if err := n.prune(ctx, keep); err != nil {
		n.log.Warn("The chain's state grows", "err", err)
	}
}

// pruneStep is how many states are removed at once: between two steps the node may end.
const pruneStep = 10

// prune removes the chain's states but for the last ones, in whole steps.
func (n *Node) prune(ctx context.Context, keep int64) error {
	if n.app.LastBlockHeight() < keep+pruneStep {
		return nil
	}
	if n.pruned == 0 {
		n.pruned = n.app.Oldest() - 1
	}
	for n.pruned+pruneStep <= n.app.LastBlockHeight()-keep && ctx.Err() == nil {
		if err := n.app.Prune(n.pruned + pruneStep); err != nil {
			return err
		}
		n.pruned += pruneStep
	}
	return nil
}
