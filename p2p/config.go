package p2p

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Config says where a host listens, whom it looks for, and how much it may spend on them.
type Config struct {
	Listen      []string       // multiaddrs without /p2p; port 0 takes any free port
	Join        []string       // multiaddrs with /p2p/ID to keep a connection to
	MDNS        bool           // look for nodes of the same Label on the local network
	Label       string         // the network's name; only separates mDNS neighbourhoods: lower-case letters, digits, "-"
	Version     string         // told to peers as user agent "hpips/<Version>"
	PortMap     bool           // ask the router to open the port (UPnP, NAT-PMP)
	IncludeSelf bool           // Candidates counts this node too
	Peers       int            // stop dialling peers found through others at this many connections
	Conns       int            // close the least useful connections above this many
	MemoryLimit int64          // bytes the streams of all peers may hold; 0: an eighth of this machine, at most 1 GiB
	CallRate    float64        // calls a second that one peer may make, on average
	CallBurst   float64        // calls that one peer may make at once
	Throttle    *Throttle      // nil: no rate is kept, and nothing is counted
	Overlay     []netip.Prefix // private networks of jobs: never announced, dialled or accepted from
}

// Default is the configuration of a node on a user's machine.
func Default() Config {
	return Config{
		Listen:    []string{"/ip4/0.0.0.0/tcp/4711", "/ip4/0.0.0.0/udp/4711/quic-v1"},
		MDNS:      true,
		Label:     "hpips",
		Version:   "dev",
		Peers:     64,
		Conns:     256,
		CallRate:  200,
		CallBurst: 400,
		Overlay:   []netip.Prefix{netip.MustParsePrefix("10.77.0.0/16")},
	}
}

var labelForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

// Check names the first field that cannot work, and what would.
func (c Config) Check() error {
	for _, s := range c.Listen {
		if err := checkListen(s); err != nil {
			return err
		}
	}
	if _, err := parseJoin(c.Join); err != nil {
		return err
	}
	switch {
	case !labelForm.MatchString(c.Label):
		return fmt.Errorf("p2p config: label %q: want 1 to 32 lower-case letters, digits and inner dashes", c.Label)
	case c.Peers < 1 || c.Conns < c.Peers:
		return fmt.Errorf("p2p config: peers %d, conns %d: want 1 <= peers <= conns", c.Peers, c.Conns)
	case c.MemoryLimit != 0 && c.MemoryLimit < minMemory:
		return fmt.Errorf("p2p config: memory limit %d bytes: want 0 or at least %d", c.MemoryLimit, minMemory)
	case c.CallRate <= 0 || c.CallBurst < 1:
		return fmt.Errorf("p2p config: call rate %g, burst %g: want a rate above 0 and a burst of at least 1", c.CallRate, c.CallBurst)
	}
	return nil
}

func checkListen(s string) error {
	a, err := ma.NewMultiaddr(s)
	if err != nil {
		return fmt.Errorf("p2p listen %q: %w (want an address like /ip4/0.0.0.0/tcp/4711)", s, err)
	}
	if !slices.ContainsFunc(a.Protocols(), func(p ma.Protocol) bool { return p.Code == ma.P_TCP || p.Code == ma.P_QUIC_V1 }) {
		return fmt.Errorf("p2p listen %q: neither TCP nor QUIC (want /ip4/0.0.0.0/tcp/4711 or /ip4/0.0.0.0/udp/4711/quic-v1)", s)
	}
	if _, err := a.ValueForProtocol(ma.P_P2P); err == nil {
		return fmt.Errorf("p2p listen %q: leave out the /p2p part", s)
	}
	return nil
}

// parseJoin reads addresses to join; the error of a malformed one shows how a good one looks.
func parseJoin(join []string) ([]peer.AddrInfo, error) {
	out := make([]peer.AddrInfo, 0, len(join))
	for _, s := range join {
		ai, err := peer.AddrInfoFromString(s)
		if err == nil && len(ai.Addrs) == 0 {
			err = errors.New("no network address before /p2p/")
		}
		if err != nil {
			return nil, fmt.Errorf("p2p join %q: %w (want an address as `hpips up` prints it: /ip4/192.168.1.5/tcp/4711/p2p/12D3…)", s, err)
		}
		out = append(out, *ai)
	}
	return out, nil
}

// portsFree tells a busy TCP port apart before libp2p takes it: libp2p listens with SO_REUSEPORT, so that two daemons
// would share one port without an error and each get half of the other's connections.
func portsFree(listen []string) error {
	for _, s := range listen {
		network, addr, err := manet.DialArgs(hostPort(ma.StringCast(s)))
		if err != nil || !strings.HasPrefix(network, "tcp") || strings.HasSuffix(addr, ":0") {
			continue
		}
		l, err := net.Listen(network, addr)
		if err != nil {
			return listenError(s, err)
		}
		if err := l.Close(); err != nil {
			return listenError(s, err)
		}
	}
	return nil
}

// hostPort cuts an address after its port, where what follows (quic-v1) is not the kernel's.
func hostPort(a ma.Multiaddr) ma.Multiaddr {
	if len(a) > 2 {
		return a[:2]
	}
	return a
}

func listenError(s string, err error) error {
	return fmt.Errorf("p2p listen %s: %w (port taken or not allowed: choose another with --listen, or stop the program that has it)", s, err)
}

// loopbackOnly tells whether nobody outside this machine can reach the host.
func (c Config) loopbackOnly() bool {
	for _, s := range c.Listen {
		if !manet.IsIPLoopback(ma.StringCast(s)) {
			return false
		}
	}
	return true
}
