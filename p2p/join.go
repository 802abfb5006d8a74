package p2p

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/discovery/mdns"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
)

const (
	joinFirst = 250 * time.Millisecond
	joinLast  = 30 * time.Second
	joinCheck = 2 * time.Second // how soon a lost join address is dialled again
	dialers   = 8               // dials of found peers at once
)

// Join is how things stand with one address of Config.Join.
type Join struct {
	Addr      string
	Connected bool
	Tries     int    // failed dials since the last connection
	Error     string // of the last dial; empty when connected
}

// Joins tells, in the order of Config.Join, which addresses answer.
func (h *Host) Joins() []Join {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := slices.Clone(h.joins)
	for i := range out {
		out[i].Connected = h.join[i].ID == h.ID() || h.host.Network().Connectedness(h.join[i].ID) == network.Connected
	}
	return out
}

// keepJoined holds the connection to one join address, for ever.
func (h *Host) keepJoined(ctx context.Context, i int) {
	ai := h.join[i]
	if ai.ID == h.ID() {
		return // this node's own address, as in a pool where all share one configuration
	}
	h.host.ConnManager().Protect(ai.ID, "join")
	wait := time.Duration(0)
	for pause(ctx, wait) {
		if h.host.Network().Connectedness(ai.ID) == network.Connected {
			wait = joinCheck
			continue
		}
		err := h.dial(ctx, ai)
		tries := h.noteJoin(i, err)
		switch {
		case err == nil:
			h.log.Info("joined", "addr", h.cfg.Join[i])
			wait = joinCheck
		case ctx.Err() != nil:
			return
		default:
			if tries == 1 || tries%20 == 0 {
				h.log.Warn("join address does not answer, trying on", "addr", h.cfg.Join[i], "tries", tries, "error", err)
			}
			wait = jitter(backoff(joinFirst, joinLast, tries-1))
		}
	}
}

func (h *Host) noteJoin(i int, err error) (tries int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	j := &h.joins[i]
	if err == nil {
		j.Tries, j.Error = 0, ""
	} else {
		j.Tries++
		j.Error = printable(err.Error(), 300)
	}
	return j.Tries
}

// dial connects to a peer. It forgets libp2p's own back-off first, which grows to minutes: the callers have theirs.
func (h *Host) dial(ctx context.Context, ai peer.AddrInfo) error {
	h.unback(ai.ID)
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	return h.host.Connect(ctx, ai)
}

func (h *Host) unback(p peer.ID) {
	if s, ok := h.host.Network().(*swarm.Swarm); ok {
		s.Backoff().Clear(p)
	}
}

// dialFound connects to peers that others told of, up to Config.Peers connections.
func (h *Host) dialFound(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case ai := <-h.found:
			if !h.wants(ai.ID) {
				continue
			}
			h.learn(ai)
			dctx, cancel := context.WithTimeout(ctx, 15*time.Second)
			if err := h.host.Connect(dctx, ai); err != nil && ctx.Err() == nil {
				h.log.Debug("found peer does not answer", "peer", ai.ID, "error", err)
			}
			cancel()
		}
	}
}

func (h *Host) wants(p peer.ID) bool {
	n := h.host.Network()
	return p != h.ID() && n.Connectedness(p) != network.Connected && len(n.Peers()) < h.cfg.Peers
}

// offer hands a found peer to the dialers; when they are behind it is dropped, and found again later.
func (h *Host) offer(ai peer.AddrInfo) {
	if !h.wants(ai.ID) {
		return
	}
	select {
	case h.found <- ai:
	default:
	}
}

// HandlePeerFound takes what mDNS found.
func (f finder) HandlePeerFound(ai peer.AddrInfo) { f.h.offer(ai) }

type finder struct{ h *Host }

// announce makes this node known on the local network until ctx ends.
func (h *Host) announce(ctx context.Context) {
	s := mdns.NewMdnsService(h.host, "_hpips-"+h.cfg.Label+"._udp", finder{h})
	if err := s.Start(); err != nil {
		h.log.Warn("local discovery is off: mDNS does not start", "error", err)
	} else {
		<-ctx.Done()
	}
	if err := s.Close(); err != nil {
		h.log.Debug("closing mDNS", "error", err)
	}
}

// backoff doubles from first up to last; n counts from 0.
func backoff(first, last time.Duration, n int) time.Duration {
	if n > 30 || first<<n > last {
		return last
	}
	return first << n
}

// jitter is between half of d and d, so that nodes that lost the same peer do not return all at once.
func jitter(d time.Duration) time.Duration {
	return d/2 + rand.N(d/2+1)
}

// pause waits for d; false means that ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
