package p2p

import (
	"math"
	"net/netip"

	"github.com/libp2p/go-libp2p/core/network"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/x/rate"
)

const (
	minMemory = 64 << 20
	maxMemory = 1 << 30

	// A peer keeps about 8 streams open: one session each way, two of bitswap, identify, ping and a few calls. A lease's
	// burst of transfers may take eight times that.
	streamsPerPeer = 64
	// Both sides may dial at once, over TCP and QUIC, while an old connection is still closing.
	connsPerPeer = 8
)

// newLimits is the resource manager. Its numbers, and why:
//   - memory: yamux books 256 KiB when a stream opens and more as its window grows; 64 peers × 8 streams × 256 KiB is
//     128 MiB. What is booked is the most that may pile up, not what is held: an idle stream holds next to nothing. At half
//     of the limit windows stop growing, at all of it new streams are refused. Scaled to the machine, at most 1 GiB.
//   - one peer: 64 streams and a quarter of the memory, so that none can starve the others.
//   - connections: cfg.Conns and half as many again, because the connection manager closes after the fact.
//   - addresses: libp2p's defaults (8 connections per IPv4 address or IPv6 /56, one new in 5 s) would refuse the ninth
//     computer of a lab behind one router; private networks are free, others get what a lab needs.
func newLimits(cfg Config) (network.ResourceManager, error) {
	auto := rcmgr.DefaultLimits.AutoScale()
	whole := auto.ToPartialLimitConfig().System
	memory := cfg.MemoryLimit
	if memory == 0 {
		memory = min(max(int64(whole.Memory), minMemory), maxMemory)
	}
	conns := rcmgr.LimitVal(cfg.Conns + cfg.Conns/2)
	streams := rcmgr.LimitVal(cfg.Conns * streamsPerPeer)
	share := rcmgr.LimitVal64(memory / 4)
	partial := rcmgr.PartialLimitConfig{
		System: rcmgr.ResourceLimits{
			Conns: conns, ConnsInbound: conns, ConnsOutbound: conns, FD: max(conns, 64),
			Streams: streams, StreamsInbound: streams, StreamsOutbound: streams,
			Memory: rcmgr.LimitVal64(memory),
		},
		Transient: rcmgr.ResourceLimits{ // not yet authenticated, or no protocol chosen yet
			Conns: conns / 2, ConnsInbound: conns / 2, ConnsOutbound: conns / 2, FD: max(conns/2, 32),
			Streams: streams / 4, StreamsInbound: streams / 4, StreamsOutbound: streams / 4,
			Memory: share,
		},
		PeerDefault: rcmgr.ResourceLimits{
			Conns: connsPerPeer, ConnsInbound: connsPerPeer, ConnsOutbound: connsPerPeer, FD: connsPerPeer,
			Streams: 2 * streamsPerPeer, StreamsInbound: streamsPerPeer, StreamsOutbound: 2 * streamsPerPeer,
			Memory: share,
		},
		ProtocolDefault:     rcmgr.ResourceLimits{Streams: streams, StreamsInbound: streams, StreamsOutbound: streams, Memory: rcmgr.LimitVal64(memory)},
		ProtocolPeerDefault: rcmgr.ResourceLimits{Streams: 2 * streamsPerPeer, StreamsInbound: streamsPerPeer, StreamsOutbound: 2 * streamsPerPeer, Memory: share},
		Conn:                rcmgr.ResourceLimits{Memory: share},
		Stream:              rcmgr.ResourceLimits{Memory: 16 << 20}, // one full yamux window
	}
	four, six := perAddress(cfg.Conns)
	return rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(partial.Build(auto)),
		rcmgr.WithMetricsDisabled(),
		rcmgr.WithNetworkPrefixLimit(private(cfg.Conns)),
		rcmgr.WithLimitPerSubnet(four, six),
		rcmgr.WithConnRateLimiters(newcomers(cfg.Conns)))
}

// privateNetworks are the networks of one house: RFC 1918, carrier-grade NAT, link-local and unique local addresses.
func privateNetworks() (four, six []netip.Prefix) {
	for _, s := range []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16"} {
		four = append(four, netip.MustParsePrefix(s))
	}
	for _, s := range []string{"fc00::/7", "fe80::/10"} {
		six = append(six, netip.MustParsePrefix(s))
	}
	return four, six
}

func private(conns int) (four, six []rcmgr.NetworkPrefixLimit) {
	p4, p6 := privateNetworks()
	for _, p := range p4 {
		four = append(four, rcmgr.NetworkPrefixLimit{Network: p, ConnCount: conns})
	}
	for _, p := range p6 {
		six = append(six, rcmgr.NetworkPrefixLimit{Network: p, ConnCount: conns})
	}
	four = append(four, rcmgr.NetworkPrefixLimit{Network: netip.MustParsePrefix("127.0.0.0/8"), ConnCount: math.MaxInt})
	six = append(six, rcmgr.NetworkPrefixLimit{Network: netip.MustParsePrefix("::1/128"), ConnCount: math.MaxInt})
	return four, six
}

// perAddress lets a quarter of all connections come from one public address or home network, half from one provider's.
func perAddress(conns int) (four, six []rcmgr.ConnLimitPerSubnet) {
	return []rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: max(conns/4, connsPerPeer)}},
		[]rcmgr.ConnLimitPerSubnet{
			{PrefixLength: 56, ConnCount: max(conns/4, connsPerPeer)},
			{PrefixLength: 48, ConnCount: max(conns/2, connsPerPeer)},
		}
}

// newcomers limits how fast one public address may open connections; private ones are not limited.
func newcomers(conns int) *rate.Limiter {
	var free []rate.PrefixLimit
	p4, p6 := privateNetworks()
	for _, p := range append(p4, p6...) {
		free = append(free, rate.PrefixLimit{Prefix: p})
	}
	free = append(free, rate.PrefixLimit{Prefix: netip.MustParsePrefix("127.0.0.0/8")},
		rate.PrefixLimit{Prefix: netip.MustParsePrefix("::1/128")})
	public := rate.Limit{RPS: 2, Burst: conns / 2}
	return &rate.Limiter{
		NetworkPrefixLimits: free,
		SubnetRateLimiter: rate.SubnetLimiter{
			IPv4SubnetLimits: []rate.SubnetLimit{{PrefixLength: 32, Limit: public}},
			IPv6SubnetLimits: []rate.SubnetLimit{{PrefixLength: 56, Limit: public}},
		},
	}
}
