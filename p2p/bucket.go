package p2p

import (
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// maxBuckets bounds the memory for callers; those who have not called for long are forgotten first.
const maxBuckets = 4096

// bucket is a token bucket: it fills at a rate up to its depth, and each call takes one.
type bucket struct {
	level float64
	at    time.Time
}

// take tells whether a call may pass at now.
func (b *bucket) take(now time.Time, rate, depth float64) bool {
	b.level = min(depth, b.level+now.Sub(b.at).Seconds()*rate)
	b.at = now
	if b.level < 1 {
		return false
	}
	b.level--
	return true
}

// mayCall takes one call from the peer's allowance.
func (h *Host) mayCall(from peer.ID, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	b := h.buckets[from]
	if b == nil {
		if len(h.buckets) >= maxBuckets {
			h.forgetFull(now)
		}
		b = &bucket{level: h.cfg.CallBurst, at: now}
		h.buckets[from] = b
	}
	return b.take(now, h.cfg.CallRate, h.cfg.CallBurst)
}

// forgetFull drops the buckets that have filled up again, which are as good as new ones; if none has, all.
func (h *Host) forgetFull(now time.Time) {
	for p, b := range h.buckets {
		if b.level+now.Sub(b.at).Seconds()*h.cfg.CallRate >= h.cfg.CallBurst {
			delete(h.buckets, p)
		}
	}
	if len(h.buckets) >= maxBuckets {
		clear(h.buckets)
	}
}
