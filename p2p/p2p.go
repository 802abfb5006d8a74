// Package p2p keeps this node's place among the others: its libp2p host, the peers it knows, short calls and
// resumable sessions with them.
// It promises that bytes from a peer are size-limited, strictly decoded and never panic, that nodes which joined one
// address come to know each other, and that a session's messages arrive once and in order across lost links.
// It leaves to others what the messages mean, who may be trusted, and when to give up on a peer.
package p2p

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	ma "github.com/multiformats/go-multiaddr"
)

// Host is one node in the network: keys, listening sockets, connections, and the calls it answers.
type Host struct {
	log  *slog.Logger
	cfg  Config
	host host.Host
	join []peer.AddrInfo

	ctx  context.Context // ends with Close; the calls of peers run under it
	stop context.CancelFunc
	wg   sync.WaitGroup // the calls of peers that are being answered

	mu      sync.Mutex
	closed  bool
	calls   map[protocol.ID]callee
	buckets map[peer.ID]*bucket
	records map[peer.ID][]byte // sealed peer records of connected peers, as they sent them
	joins   []Join
	near    func(peer.ID) // told of each new connection; set by Sessions

	found chan peer.AddrInfo // from mDNS and peer exchange, to be dialled
	fresh chan peer.ID       // peers identified just now, to be asked for their peers
	ident event.Subscription
	lost  event.Subscription
}

// New opens a host under key, an ed25519 key, and listens on every address of cfg.Listen. An address that cannot be
// listened on is an error that names it and the remedy. The host answers calls at once; Serve looks for peers.
func New(log *slog.Logger, key crypto.PrivKey, cfg Config) (*Host, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	join, err := parseJoin(cfg.Join)
	if err != nil {
		return nil, err
	}
	if err := portsFree(cfg.Listen); err != nil {
		return nil, err
	}
	lh, err := newLibp2p(key, cfg)
	if err != nil {
		return nil, fmt.Errorf("p2p host: %w", err)
	}
	if cfg.Throttle != nil {
		lh = throttled{lh, cfg.Throttle}
	}
	h := &Host{log: log, cfg: cfg, host: lh, join: join,
		calls:   map[protocol.ID]callee{},
		buckets: map[peer.ID]*bucket{},
		records: map[peer.ID][]byte{},
		found:   make(chan peer.AddrInfo, 256),
		fresh:   make(chan peer.ID, 256),
	}
	h.ctx, h.stop = context.WithCancel(context.Background())
	for _, j := range cfg.Join {
		h.joins = append(h.joins, Join{Addr: j})
	}
	if err := h.open(); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// open listens and subscribes; it is the half of New that has something to undo.
func (h *Host) open() error {
	var err error
	if h.ident, err = h.host.EventBus().Subscribe(new(event.EvtPeerIdentificationCompleted), eventbus.BufSize(256)); err != nil {
		return fmt.Errorf("p2p host: %w", err)
	}
	if h.lost, err = h.host.EventBus().Subscribe(new(event.EvtPeerConnectednessChanged), eventbus.BufSize(256)); err != nil {
		return fmt.Errorf("p2p host: %w", err)
	}
	for _, s := range h.cfg.Listen {
		// One by one: asked for several, the swarm is content when one of them works.
		if err := h.host.Network().Listen(ma.StringCast(s)); err != nil {
			return listenError(s, err)
		}
	}
	h.wg.Go(h.watch)
	return h.Handle(peersProtocol, maxPeersRequest, h.givePeers)
}

// ID is this node's peer ID, made from its key.
func (h *Host) ID() peer.ID { return h.host.ID() }

// Libp2p is the host underneath, for protocols that bring their own streams (bitswap).
func (h *Host) Libp2p() host.Host { return h.host }

// Addrs are the full addresses, each with /p2p/ID, by which others can join this node; the most local one comes last.
func (h *Host) Addrs() []string {
	full, err := peer.AddrInfoToP2pAddrs(&peer.AddrInfo{ID: h.ID(), Addrs: h.host.Addrs()})
	if err != nil {
		return nil
	}
	sortReachable(full)
	out := make([]string, len(full))
	for i, a := range full {
		out[i] = a.String()
	}
	return out
}

// Serve dials the addresses to join, finds peers on the local network and through the peers it has, and keeps doing so
// until ctx ends. A join address that does not answer is logged and tried for ever, with back-off. Call it once.
func (h *Host) Serve(ctx context.Context) error {
	var wg sync.WaitGroup
	for i := range h.join {
		wg.Go(func() { h.keepJoined(ctx, i) })
	}
	for range dialers {
		wg.Go(func() { h.dialFound(ctx) })
	}
	wg.Go(func() { h.exchange(ctx) })
	wg.Go(func() { h.measure(ctx) })
	if h.cfg.MDNS {
		wg.Go(func() { h.announce(ctx) })
	}
	wg.Wait()
	return ctx.Err()
}

// Close ends every connection and waits for the calls being answered. It may be called again.
func (h *Host) Close() error {
	h.mu.Lock()
	done := h.closed
	h.closed = true
	h.mu.Unlock()
	if done {
		return nil
	}
	h.stop()
	err := h.host.Close()
	for _, s := range []event.Subscription{h.ident, h.lost} {
		if s != nil {
			err = errors.Join(err, s.Close())
		}
	}
	h.wg.Wait()
	return err
}

// watch keeps the book of peer records and passes on who came.
func (h *Host) watch() {
	for {
		select {
		case <-h.ctx.Done():
			return
		case e, ok := <-h.ident.Out():
			if !ok {
				return
			}
			h.met(e.(event.EvtPeerIdentificationCompleted))
		case e, ok := <-h.lost.Out():
			if !ok {
				return
			}
			h.changed(e.(event.EvtPeerConnectednessChanged))
		}
	}
}
