package node

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/hpips/hpips/store"
)

// A disk is read through once a week, an hour after the node began at the earliest, and at a tenth of its speed.
const (
	scrubEvery   = 7 * 24 * time.Hour
	scrubFirst   = time.Hour
	scrubRest    = 9 // parts of rest for one of reading
	scrubAgain   = time.Hour
	repairTime   = 10 * time.Minute
	scrubbedFile = "blocks.checked" // in the home: its time is when all blocks were read last
)

// scrubbing finds what the disk spoiled before somebody needs it, and brings it again from others, until ctx ends. What did not come is asked for each hour.
func (m *member) scrubbing(ctx context.Context) error {
	wait := scrubFirst
	var short []store.Pin
	for {
		next := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			next.Stop()
			return nil
		case <-next.C:
		}
		if wait = m.scrubDue(time.Now()); wait == 0 {
			var whole bool
			short, whole = m.scrub(ctx)
			if wait = scrubEvery; !whole {
				wait = scrubAgain
			}
		}
		if short = m.repair(ctx, short); len(short) > 0 {
			wait = min(wait, scrubAgain)
		}
	}
}

// repair brings what pins lack, and gives those that lack it still.
func (m *member) repair(ctx context.Context, short []store.Pin) (still []store.Pin) {
	for _, p := range short {
		within, cancel := context.WithTimeout(ctx, repairTime)
		_, err := m.store.Fetch(within, p.CID, nil)
		cancel()
		if err != nil && ctx.Err() == nil {
			m.log.Warn("What the disk lost did not come again", "cid", p.CID, "name", p.Name, "err", err)
			still = append(still, p)
		}
	}
	return still
}

// scrubDue is how long the disk need not be read yet.
func (m *member) scrubDue(now time.Time) time.Duration {
	s, err := os.Stat(filepath.Join(m.dir, scrubbedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	if err != nil {
		return scrubAgain
	}
	return max(0, s.ModTime().Add(scrubEvery).Sub(now))
}

// scrub reads all blocks and gives the pins that lack something; without whole it has to be done again soon.
func (m *member) scrub(ctx context.Context) (short []store.Pin, whole bool) {
	began := time.Now()
	got, err := m.store.Check(ctx, func() {
		rest := time.NewTimer(scrubRest * time.Since(began))
		defer rest.Stop()
		select {
		case <-ctx.Done():
		case <-rest.C:
		}
		began = time.Now()
	})
	if err != nil {
		if ctx.Err() == nil {
			m.log.Warn("The disk's blocks cannot be checked", "err", err)
		}
		return nil, false
	}
	m.log.Info("The disk's blocks were checked", "blocks", got.Blocks, "bytes", got.Bytes, "damaged", got.Damaged, "pins", len(got.Short))
	if err := writeWhole(filepath.Join(m.dir, scrubbedFile), nil); err != nil {
		m.log.Warn("When the blocks were checked cannot be noted", "err", err)
	}
	return got.Short, true
}
