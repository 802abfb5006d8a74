package p2p

import (
	"context"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

const sessionProtocol protocol.ID = protocolPrefix + "session/1"

// openWire opens a stream for a session, over the connection there is or a new one.
func (h *Host) openWire(ctx context.Context, to peer.ID) (wire, error) {
	h.unback(to)
	return h.host.NewStream(network.WithAllowLimitedConn(ctx, "session"), to, sessionProtocol)
}

// serveWires hands streams that peers open for sessions to serve, and tells near of peers that have just come.
func (h *Host) serveWires(serve func(peer.ID, wire), near func(peer.ID)) {
	h.mu.Lock()
	h.near = near
	h.mu.Unlock()
	if serve == nil {
		h.host.RemoveStreamHandler(sessionProtocol)
		return
	}
	h.host.SetStreamHandler(sessionProtocol, func(s network.Stream) { serve(s.Conn().RemotePeer(), s) })
}

// hold keeps the connection to a peer when the connection manager has to choose.
func (h *Host) hold(p peer.ID, on bool) {
	if on {
		h.host.ConnManager().Protect(p, "session")
	} else {
		h.host.ConnManager().Unprotect(p, "session")
	}
}

// hangUp closes the connections to a peer that no longer carry anything.
func (h *Host) hangUp(p peer.ID) {
	if h.host.Network().Connectedness(p) == network.NotConnected {
		return
	}
	h.log.Debug("connection is mute, closing it", "peer", p)
	if err := h.host.Network().ClosePeer(p); err != nil {
		h.log.Debug("closing connection", "peer", p, "error", err)
	}
}
