package p2p

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	ma "github.com/multiformats/go-multiaddr"
)

// protocolPrefix begins the name of everything that HPIPS nodes say to each other.
const protocolPrefix = "/hpips/"

// PeerInfo is one connected peer, seen from here.
type PeerInfo struct {
	ID        peer.ID
	Addrs     []string      // full multiaddrs of its connections, as seen from here
	Latency   time.Duration // smoothed round trip; 0 until measured
	Agent     string        // as the peer names itself, e.g. "hpips/0.1.0"
	Since     time.Time     // start of the oldest connection
	Direction string        // "inbound" or "outbound"
	Transport string        // "tcp", "quic" or "relay"
}

// Peers are the peers connected now, ordered by ID.
func (h *Host) Peers() []PeerInfo {
	byID := map[peer.ID]*PeerInfo{}
	for _, c := range h.host.Network().Conns() {
		p := c.RemotePeer()
		i := byID[p]
		if i == nil {
			i = &PeerInfo{ID: p, Latency: h.host.Peerstore().LatencyEWMA(p), Agent: h.agent(p)}
			byID[p] = i
		}
		st := c.Stat()
		if i.Since.IsZero() || st.Opened.Before(i.Since) {
			i.Since = st.Opened
			i.Direction = strings.ToLower(st.Direction.String())
			i.Transport = transportOf(c.RemoteMultiaddr())
		}
		i.Addrs = append(i.Addrs, c.RemoteMultiaddr().String()+"/p2p/"+p.String())
	}
	out := make([]PeerInfo, 0, len(byID))
	for _, i := range byID {
		slices.Sort(i.Addrs)
		out = append(out, *i)
	}
	slices.SortFunc(out, func(a, b PeerInfo) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

func (h *Host) agent(p peer.ID) string {
	v, err := h.host.Peerstore().Get(p, "AgentVersion")
	if err != nil {
		return ""
	}
	s, _ := v.(string)
	return printable(s, 64)
}

func transportOf(a ma.Multiaddr) string {
	has := func(code int) bool { _, err := a.ValueForProtocol(code); return err == nil }
	switch {
	case has(ma.P_CIRCUIT):
		return "relay"
	case has(ma.P_QUIC_V1):
		return "quic"
	default:
		return "tcp"
	}
}

// Candidates are the connected peers that speak every one of the given protocols, or anything of HPIPS where none is
// given, ordered by ID; with Config.IncludeSelf this node is among them.
func (h *Host) Candidates(speak ...protocol.ID) []peer.ID {
	var out []peer.ID
	for _, p := range h.host.Network().Peers() {
		known, err := h.host.Peerstore().GetProtocols(p)
		if err == nil && speaks(known, speak) {
			out = append(out, p)
		}
	}
	if h.cfg.IncludeSelf && speaks(h.host.Mux().Protocols(), speak) {
		out = append(out, h.ID())
	}
	slices.Sort(out)
	return out
}

func speaks(known, want []protocol.ID) bool {
	if len(want) == 0 {
		return slices.ContainsFunc(known, func(p protocol.ID) bool { return strings.HasPrefix(string(p), protocolPrefix) })
	}
	for _, w := range want {
		if !slices.Contains(known, w) {
			return false
		}
	}
	return true
}

// met notes a peer that has just told who it is: its sealed record for others who ask, and itself for those who wait.
func (h *Host) met(e event.EvtPeerIdentificationCompleted) {
	if e.SignedPeerRecord != nil && h.host.Network().Connectedness(e.Peer) == network.Connected {
		if sealed, err := e.SignedPeerRecord.Marshal(); err == nil && len(sealed) <= maxRecord {
			h.mu.Lock()
			h.records[e.Peer] = sealed
			h.mu.Unlock()
		}
	}
	h.mu.Lock()
	near := h.near
	h.mu.Unlock()
	if near != nil {
		near(e.Peer)
	}
	if !speaks(e.Protocols, nil) {
		return
	}
	select {
	case h.fresh <- e.Peer:
	default: // the slow round asks it later
	}
}

// changed forgets what belonged to a peer that has gone.
func (h *Host) changed(e event.EvtPeerConnectednessChanged) {
	if e.Connectedness == network.Connected || e.Connectedness == network.Limited {
		return
	}
	h.mu.Lock()
	delete(h.records, e.Peer)
	h.mu.Unlock()
}

const (
	measureNew = 5 * time.Second // how soon a peer's first round trip is taken
	measureAll = 12              // every so many rounds everyone's is
)

// measure takes the round trip to new peers soon, and to all now and then.
func (h *Host) measure(ctx context.Context) {
	tick := time.NewTicker(measureNew)
	defer tick.Stop()
	for round := 0; ; round++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var wg sync.WaitGroup
		free := make(chan struct{}, 4)
		for _, p := range h.host.Network().Peers() {
			if round%measureAll == 0 || h.host.Peerstore().LatencyEWMA(p) == 0 {
				free <- struct{}{}
				wg.Go(func() { h.pingOnce(ctx, p); <-free })
			}
		}
		wg.Wait()
	}
}

// pingOnce measures one round trip to a connected peer; libp2p's peerstore keeps the smoothed value.
func (h *Host) pingOnce(ctx context.Context, p peer.ID) {
	ctx, cancel := context.WithTimeout(network.WithNoDial(ctx, "latency"), 5*time.Second)
	defer cancel()
	<-ping.Ping(ctx, h.host, p)
}

// learn keeps addresses of a peer that somebody else told of, for as long as a dial may take.
func (h *Host) learn(ai peer.AddrInfo) {
	h.host.Peerstore().AddAddrs(ai.ID, ai.Addrs, peerstore.TempAddrTTL)
}
