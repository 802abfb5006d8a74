package seat

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/hpips/hpips/p2p"
	"github.com/hpips/hpips/spec/sortition"
)

// Peers is what a seat needs of the network: calls, as p2p has them, and from where a peer is connected.
type Peers interface {
	Call(ctx context.Context, to peer.ID, proto protocol.ID, req []byte) ([]byte, error)
	Handle(proto protocol.ID, max int, fn func(ctx context.Context, from peer.ID, req []byte) ([]byte, error)) error
	// Seen are the addresses at the other ends of the direct connections to a peer; relays tell nothing.
	Seen(p peer.ID) []netip.Addr
}

// Over makes a host fit.
func Over(h *p2p.Host) Peers { return host{h} }

type host struct{ *p2p.Host }

// Seen looks at the connections that are open now.
func (h host) Seen(p peer.ID) []netip.Addr {
	var all []netip.Addr
	for _, c := range h.Libp2p().Network().ConnsToPeer(p) {
		a := c.RemoteMultiaddr()
		if _, err := a.ValueForProtocol(ma.P_CIRCUIT); err == nil || c.Stat().Limited {
			continue
		}
		ip, err := manet.ToIP(a)
		if err != nil {
			continue
		}
		if at, ok := netip.AddrFromSlice(ip); ok {
			all = append(all, at.Unmap())
		}
	}
	return all
}

// networkOf names the network of a peer that is seen at some addresses: of a public IPv4 one where there is any, else of a public IPv6 one, else
// "local". False: it is not seen at all. The order makes observers that see a peer twice say the same.
func networkOf(seen []netip.Addr) (string, bool) {
	seen = slices.DeleteFunc(slices.Clone(seen), func(a netip.Addr) bool { return sortition.Network(a) == "" })
	if len(seen) == 0 {
		return "", false
	}
	best := slices.MinFunc(seen, func(a, b netip.Addr) int {
		return cmp.Or(cmp.Compare(distance(a), distance(b)), a.Compare(b))
	})
	return sortition.Network(best), true
}

func distance(a netip.Addr) int {
	switch {
	case sortition.Network(a) == sortition.Local:
		return 2
	case a.Is4():
		return 0
	}
	return 1
}

// KeyOf is the node key of a peer: its libp2p identity.
func KeyOf(id peer.ID) (sortition.Key, error) {
	var k sortition.Key
	public, err := id.ExtractPublicKey()
	if err != nil {
		return k, fmt.Errorf("peer %s: %w", id, err)
	}
	raw, err := public.Raw()
	if err != nil || public.Type() != crypto.Ed25519 || len(raw) != len(k) {
		return k, fmt.Errorf("peer %s has no Ed25519 key", id)
	}
	return sortition.Key(raw), nil
}

// PeerOf is the peer with a node key.
func PeerOf(k sortition.Key) (peer.ID, error) {
	public, err := crypto.UnmarshalEd25519PublicKey(k[:])
	if err != nil {
		return "", fmt.Errorf("node key %s: %w", k, err)
	}
	return peer.IDFromPublicKey(public)
}
