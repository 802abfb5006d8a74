package requester

import (
	"context"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/pay"
	"github.com/hpips/hpips/spec/lease"
)

// The times of telling the chain that leases are over.
const (
	closeAgain = 10 * time.Second // after it could not be told
	closeLate  = time.Minute      // for leases that ended before their phase
	pruneAfter = 24 * time.Hour   // since leaves were last looked at that were kept long enough
	remindFor  = time.Hour        // after a lease's end a voucher waits so long for who is away, and is sent again by each life that begins
)

// toClose wakes closeLeases.
func (r *Requester) toClose() { signal(r.closing) }

// closeLeases tells the chain which leases are over, all in one transaction, until ctx ends. First it brings the last vouchers of earlier lives to those
// who may not have them.
func (r *Requester) closeLeases(ctx context.Context) {
	if r.deps.Payer == nil {
		return
	}
	if err := r.journal.endOrphans(ctx, r.now()); err != nil && ctx.Err() == nil {
		r.log.Warn("Leases of jobs that are over stay open", "err", err)
	}
	r.remindAll(ctx)
	r.toClose()
	var pruned time.Time
	again := time.NewTimer(closeLate)
	defer again.Stop()
	for {
		select {
		case <-r.closing:
		case <-again.C:
		case <-ctx.Done():
			return
		}
		if now := r.now(); now.Sub(pruned) > pruneAfter {
			if err := r.journal.pruneLeaves(ctx, now.Add(-pay.KeepLeaves)); err != nil && ctx.Err() == nil {
				r.log.Warn("Old leaves stay", "err", err)
			}
			pruned = now
		}
		next := closeLate
		if err := r.closeEnded(ctx); err != nil {
			next = closeAgain
			if ctx.Err() == nil {
				r.log.Warn("Leases that are over cannot be closed yet", "err", err)
			}
		}
		again.Reset(next)
	}
}

func (r *Requester) closeEnded(ctx context.Context) error {
	ended, err := r.journal.pursesIn(ctx, purseEnded, time.Time{})
	if err != nil || len(ended) == 0 {
		return err
	}
	leases := make([]lease.Lease, len(ended))
	for i, p := range ended {
		leases[i] = p.Lease
	}
	if err := r.deps.Payer.Close(ctx, leases); err != nil {
		return err
	}
	return r.journal.closePurses(context.WithoutCancel(ctx), leases)
}

// remindAll sends again the last vouchers of leases that have ended not long ago.
func (r *Requester) remindAll(ctx context.Context) {
	since := r.now().Add(-remindFor)
	for _, state := range []purseState{purseEnded, purseClosed} {
		purses, err := r.journal.pursesIn(ctx, state, since)
		if err != nil {
			r.log.Warn("Vouchers cannot be read", "err", err)
			return
		}
		for _, p := range purses {
			to, err := peer.Decode(p.Lease.Terms.Quote.Provider)
			if err != nil || p.Voucher == nil {
				continue
			}
			id := p.Lease.ID()
			said := lease.Voucher{Signed: *p.Voucher}
			if p.Lease.Terms.Pay.Jury {
				tally, err := r.journal.tally(ctx, p.Lease)
				if err != nil {
					r.log.Warn("The leaves of a lease cannot be read", "lease", id, "err", err)
					continue
				}
				said = tally.Message(*p.Voucher)
			}
			if err := r.link(to).send(lease.Message{Lease: id, Voucher: &said}); err != nil {
				r.log.Debug("Voucher is not sent", "lease", id, "err", err)
			}
		}
	}
}
