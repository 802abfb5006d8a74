package store

import (
	"context"
	"time"

	"github.com/ipfs/boxo/exchange"
	blockfmt "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
)

// meetTime is how long an address that somebody named is remembered.
const meetTime = time.Hour

// Block gives the block c of this disk with its hash checked, or ipld.ErrNotFound when it is not here or was damaged. It asks nobody.
func (s *Store) Block(ctx context.Context, c cid.Cid) (blockfmt.Block, error) {
	return s.service.Blockstore().Get(ctx, c)
}

// BlockSize gives the bytes of the block c of this disk without reading it, or ipld.ErrNotFound. It asks nobody.
func (s *Store) BlockSize(ctx context.Context, c cid.Cid) (int, error) {
	return s.service.Blockstore().GetSize(ctx, c)
}

// Elsewhere brings blocks of connected peers, their hashes checked, to somebody who keeps them in another place than this disk; nil when the
// store works offline. Closing it does nothing: it is the store's own.
func (s *Store) Elsewhere() exchange.SessionExchange {
	if s.swap == nil {
		return nil
	}
	return elsewhere{s.swap}
}

// elsewhere is the store's exchange, to which nothing is announced: what it would announce is not on this disk.
type elsewhere struct{ exchange.SessionExchange }

// NotifyNewBlocks announces nothing.
func (elsewhere) NotifyNewBlocks(context.Context, ...blockfmt.Block) error { return nil }

// Close does nothing.
func (elsewhere) Close() error { return nil }

// Meet tells where peers can be reached, so that a Fetch that names them can dial them. Addresses end in /p2p/ID; it returns the IDs.
func (s *Store) Meet(addresses []multiaddr.Multiaddr) ([]peer.ID, error) {
	infos, err := peer.AddrInfosFromP2pAddrs(addresses...)
	if err != nil || s.host == nil {
		return nil, err
	}
	ids := make([]peer.ID, 0, len(infos))
	for _, i := range infos {
		s.host.Peerstore().AddAddrs(i.ID, i.Addrs, meetTime)
		ids = append(ids, i.ID)
	}
	return ids, nil
}
