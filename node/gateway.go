package node

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/hpips/hpips/p2p"
	"github.com/hpips/hpips/store/gateway"
)

// open opens what tells others who serves what, and the gateway if the owner wants one.
func (m *member) open(all Config) error {
	cfg := all.Gateway
	around := surroundings{m.host}
	m.guide = gateway.NewNeighbours(around, m.store, func(near bool) []string {
		if m.gateway == nil {
			return nil
		}
		_, hosts := around.Where(m.host.ID())
		return m.gateway.URLs(near, hosts)
	}, m.recorded)
	if err := m.openPrices(all); err != nil {
		return err
	}
	if cfg.Address != "" {
		m.served = prometheus.NewRegistry()
		g, err := gateway.New(m.log.With("room", "gateway"), m.store, gateway.Parts{Guide: m.guide, Pins: m.pins, Metrics: m.served, Paced: all.throttle.Listener, Closed: all.throttle.Closed, Sale: m.sale()}, cfg)
		if err != nil {
			return asUsage(err, "choose another address with --gateway, such as --gateway 127.0.0.1:0")
		}
		m.gateway = g
		m.opened(g.Close)
	}
	return m.host.Handle(gateway.ServingProtocol, gateway.MaxQuestion, m.guide.Answer)
}

// recorded tells who keeps a content, as the chain has it; without a chain, nobody.
func (m *member) recorded(ctx context.Context, c cid.Cid) ([]peer.ID, error) {
	if m.chain == nil {
		return nil, nil
	}
	life := m.chain.running()
	if life == nil {
		return nil, nil
	}
	return m.records.of(ctx, life.ledger, c)
}

// pinsTokenFile is what clients of the pinning service show.
const pinsTokenFile = "pins.token"

// openPrices opens the pinning service if there is one to be, and learns in any case what costs something here.
func (m *member) openPrices(all Config) error {
	defer m.recalling.Store(false)
	if all.Pins && all.Gateway.Address != "" {
		return m.openPins(all)
	}
	return gateway.Recall(m.log.With("room", "pins"), m.store, m.pinsFile(), m.prices)
}

// pinsFile is the database of the pinning service.
func (m *member) pinsFile() string { return filepath.Join(m.dir, "pins.db") }

// openPins opens the pinning service of the gateway.
func (m *member) openPins(all Config) error {
	token, err := secret(filepath.Join(m.dir, pinsTokenFile))
	if err != nil {
		return fmt.Errorf("pins token: %w", err)
	}
	cfg := gateway.DefaultPins(m.pinsFile(), token)
	cfg.Bytes, cfg.Prices = all.PinSize, m.prices
	m.pins, err = gateway.OpenPins(m.log.With("room", "pins"), m.store, m.host.Addrs, cfg)
	if err != nil {
		return err
	}
	m.opened(m.pins.Close)
	return nil
}

// GatewayURL is where content is served over HTTP; empty: nowhere.
func (h *House) GatewayURL() string {
	if g := h.first().gateway; g != nil {
		return g.URL()
	}
	return ""
}

// surroundings are the connections of a node, as the guide of its gateway asks for them.
type surroundings struct{ *p2p.Host }

// Where gives the addresses of a peer and those that it is connected by; of this node, those that it listens on.
func (s surroundings) Where(p peer.ID) (known []ma.Multiaddr, connected []netip.Addr) {
	h := s.Libp2p()
	at := func(a ma.Multiaddr) {
		ip, err := manet.ToIP(a)
		if _, direct := a.ValueForProtocol(ma.P_CIRCUIT); err != nil || direct == nil {
			return
		}
		if addr, ok := netip.AddrFromSlice(ip); ok && !slices.Contains(connected, addr.Unmap()) {
			connected = append(connected, addr.Unmap())
		}
	}
	if p == h.ID() {
		known = h.Addrs()
		for _, a := range known {
			at(a)
		}
		return known, connected
	}
	for _, c := range h.Network().ConnsToPeer(p) {
		at(c.RemoteMultiaddr())
	}
	near := slices.ContainsFunc(connected, netip.Addr.IsLoopback)
	for _, a := range h.Peerstore().Addrs(p) {
		if near || !manet.IsIPLoopback(a) {
			known = append(known, a)
		}
	}
	return known, connected
}
