package full

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cometbft/cometbft/p2p"
)

const (
	keptPeers = 64              // of those that were dialled, how many the node comes back to
	comeBack  = 5 * time.Second // between two tries, as the engine's own first ones are
)

// Dial makes connections to other chain nodes, each id@host:port, once the node serves, and keeps them as long: the newest of them, besides those
// that the owner named. A node that tells several addresses is kept at the last.
func (n *Node) Dial(peers ...string) error {
	at, errs := p2p.NewNetAddressStrings(peers)
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("dial chain peers: %w", err)
	}
	n.dialling.Lock()
	for _, a := range at {
		n.dialled = append(slices.DeleteFunc(n.dialled, func(old *p2p.NetAddress) bool { return old.ID == a.ID }), a)
		n.fresh = append(n.fresh, a.String())
	}
	n.dialled = n.dialled[max(0, len(n.dialled)-keptPeers):]
	n.fresh = n.fresh[max(0, len(n.fresh)-keptPeers):]
	n.dialling.Unlock()
	select {
	case n.met <- struct{}{}:
	default: // keep is told already
	}
	return nil
}

// keep dials those that were met and comes back to those that are lost, from when the engine has started until ctx ends. The engine would come
// back by itself, but it may be told of them only before it starts: its goroutines read that list without a lock; and before it listens it may
// not dial at all.
func (n *Node) keep(ctx context.Context) {
	tick := time.NewTicker(comeBack)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.met:
			n.dialling.Lock()
			fresh := n.fresh
			n.fresh = nil
			n.dialling.Unlock()
			if err := n.engine.node.Switch().DialPeersAsync(fresh); err != nil {
				n.log.Debug("A chain peer cannot be dialled", "err", err)
			}
			continue
		case <-tick.C:
		}
		for _, at := range n.missed() {
			go func() {
				if err := n.engine.node.Switch().DialPeerWithAddress(at); err != nil {
					n.log.Debug("A chain peer that was lost is still away", "peer", at, "err", err)
				}
			}()
		}
	}
}

// missed are the dialled peers that are not connected.
func (n *Node) missed() []*p2p.NetAddress {
	connected := n.engine.node.Switch().Peers()
	n.dialling.Lock()
	defer n.dialling.Unlock()
	var all []*p2p.NetAddress
	for _, at := range n.dialled {
		if !connected.Has(at.ID) {
			all = append(all, at)
		}
	}
	return all
}
