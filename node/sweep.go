package node

import (
	"context"
	"slices"
	"time"

	"github.com/hpips/hpips/spec/job"
)

// sweepAgain is the time between two tries to sweep.
const sweepAgain = 2 * time.Second

// outOfSpace asks for a sweep. It does not wait for it.
func (m *member) outOfSpace() {
	select {
	case m.full <- struct{}{}:
	default: // asked already
	}
}

// sweeping gives back the disk that half an import took, once nothing is at work, until ctx ends.
func (m *member) sweeping(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-m.full:
		}
		for !m.sweep(ctx) {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(sweepAgain):
			}
		}
	}
}

// sweep collects what no pin holds; false means that it has to wait, since the contents of jobs and leases under way have no pins.
func (m *member) sweep(ctx context.Context) bool {
	if m.provider != nil && m.provider.Status().Leases > 0 {
		return false
	}
	if m.requester != nil {
		jobs, err := m.requester.Jobs(ctx)
		if err != nil || slices.ContainsFunc(jobs, func(j job.Status) bool { return !j.State.Final() }) {
			return false
		}
	}
	got, err := m.store.GC(ctx)
	if err != nil {
		m.log.Warn("What was half brought in stays on the disk", "err", err)
		return ctx.Err() != nil // the disk may have room for the work of sweeping later
	}
	m.log.Info("What was half brought in is off the disk", "blocks", got.Blocks, "bytes", got.Bytes)
	return true
}
