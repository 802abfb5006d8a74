package p2p

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// newLibp2p builds the host underneath, not listening yet.
func newLibp2p(key crypto.PrivKey, cfg Config) (host.Host, error) {
	limits, err := newLimits(cfg)
	if err != nil {
		return nil, err
	}
	// Between the low and the high mark nothing is closed; a new connection has a minute to become useful.
	conns, err := connmgr.NewConnManager(cfg.Conns*3/4, cfg.Conns, connmgr.WithGracePeriod(time.Minute))
	if err != nil {
		return nil, err
	}
	var h host.Host
	built := make(chan struct{})
	opts := []libp2p.Option{
		libp2p.Identity(key),
		libp2p.NoListenAddrs, // open listens, one address at a time
		libp2p.Transport(tcp.NewTCPTransport),
		libp2p.Transport(libp2pquic.NewTransport),
		libp2p.Security(libp2ptls.ID, libp2ptls.New), // first: twice as fast as noise where the CPU has AES
		libp2p.Security(noise.ID, noise.New),
		libp2p.Muxer(yamux.ID, muxer()),
		libp2p.UserAgent("hpips/" + cfg.Version),
		libp2p.ResourceManager(limits),
		libp2p.ConnectionManager(conns),
		libp2p.ConnectionGater(gater{cfg.Overlay}),
		libp2p.AddrsFactory(func(as []ma.Multiaddr) []ma.Multiaddr { return without(as, cfg.Overlay) }),
		libp2p.SwarmOpts(swarm.WithDialRanker(rankTCPFirst)),
		libp2p.WithDialTimeout(10 * time.Second),
		libp2p.DisableMetrics(), // 3 MB of counters nobody reads; the node measures what it shows
	}
	if cfg.loopbackOnly() {
		opts = append(opts, libp2p.DisableRelay())
	} else {
		// Each does nothing until a node turns out to be public (answer, relay) or not (ask, punch).
		opts = append(opts, libp2p.EnableRelay(), libp2p.EnableRelayService(), libp2p.EnableNATService(),
			libp2p.EnableHolePunching(), libp2p.EnableAutoRelayWithPeerSource(relaysAmong(&h, built)))
	}
	if cfg.PortMap {
		opts = append(opts, libp2p.NATPortMap())
	}
	if h, err = libp2p.New(opts...); err != nil {
		return nil, err
	}
	close(built)
	return h, nil
}

// muxer is yamux with a first window of 2 MiB: at 50 ms of delay nine times the throughput of the default 256 KiB.
// A window is a promise, not a buffer: an idle stream holds none of it. The rest is libp2p's own setting.
func muxer() *yamux.Transport {
	t := *yamux.DefaultTransport
	t.InitialStreamWindowSize = 2 << 20
	t.MaxStreamWindowSize = 16 << 20
	return &t
}

// relaysAmong offers the peers of a host as relays, for the day when the host finds itself unreachable.
// It waits for built to be closed, because libp2p asks for it before there is a host.
func relaysAmong(h *host.Host, built <-chan struct{}) func(context.Context, int) <-chan peer.AddrInfo {
	return func(ctx context.Context, n int) <-chan peer.AddrInfo {
		out := make(chan peer.AddrInfo, n)
		defer close(out)
		select {
		case <-built:
		case <-ctx.Done():
			return out
		}
		for i, p := range (*h).Network().Peers() {
			if i == n {
				break
			}
			out <- (*h).Peerstore().PeerInfo(p)
		}
		return out
	}
}

// rankTCPFirst dials TCP before QUIC on private networks, where TCP costs half the processor time for the same bytes,
// and leaves the wide world, with its address translators, to libp2p's ranking.
func rankTCPFirst(addrs []ma.Multiaddr) []network.AddrDelay {
	var out []network.AddrDelay
	var rest []ma.Multiaddr
	var late time.Duration
	for _, a := range addrs {
		if manet.IsPrivateAddr(a) && isTCP(a) {
			out = append(out, network.AddrDelay{Addr: a})
			late = 150 * time.Millisecond
		} else {
			rest = append(rest, a)
		}
	}
	for _, d := range swarm.DefaultDialRanker(rest) {
		d.Delay += late
		out = append(out, d)
	}
	return out
}

func isTCP(a ma.Multiaddr) bool {
	_, err := a.ValueForProtocol(ma.P_TCP)
	return err == nil
}

// sortReachable puts public addresses first, then private ones, then loopback; TCP before QUIC within each.
func sortReachable(addrs []ma.Multiaddr) {
	rank := func(a ma.Multiaddr) int {
		n := 0
		switch {
		case manet.IsIPLoopback(a):
			n = 4
		case manet.IsPrivateAddr(a):
			n = 2
		}
		if !isTCP(a) {
			n++
		}
		return n
	}
	slices.SortStableFunc(addrs, func(a, b ma.Multiaddr) int { return cmp.Compare(rank(a), rank(b)) })
}

// gater keeps connections out of the private networks of jobs. Without it libp2p, after a lost link, finds its peers
// again through the overlay that the link carries.
type gater struct{ overlay []netip.Prefix }

func (g gater) InterceptPeerDial(peer.ID) bool { return true }

func (g gater) InterceptAddrDial(_ peer.ID, a ma.Multiaddr) bool { return !inside(a, g.overlay) }

func (g gater) InterceptAccept(c network.ConnMultiaddrs) bool {
	return !inside(c.RemoteMultiaddr(), g.overlay)
}

func (g gater) InterceptSecured(network.Direction, peer.ID, network.ConnMultiaddrs) bool { return true }

func (g gater) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }

// without is addrs less those inside any of the networks.
func without(addrs []ma.Multiaddr, networks []netip.Prefix) []ma.Multiaddr {
	return slices.DeleteFunc(slices.Clone(addrs), func(a ma.Multiaddr) bool { return inside(a, networks) })
}

func inside(a ma.Multiaddr, networks []netip.Prefix) bool {
	ip, err := manet.ToIP(a)
	if err != nil {
		return false
	}
	at, ok := netip.AddrFromSlice(ip)
	return ok && slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(at.Unmap()) })
}
