package p2p

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/record"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Peer exchange, in outline:
//   - A node keeps the sealed peer record of each connected peer, as that peer signed it, and hands them out.
//   - It asks each peer it has just met, and then some peers again: soon at first, because those who join at the same
//     moment do not know of each other yet, then ever more slowly.
//   - A record counts only with the signature of the peer it is about; it is dialled if there is room for more peers.
const (
	peersProtocol   protocol.ID = protocolPrefix + "peers/1"
	maxPeersRequest             = 64
	maxRecord                   = 4 << 10 // bytes of one sealed record
	maxRecords                  = 128     // records in one answer
	maxRecordAddrs              = 16      // addresses taken from one record

	askFirst = 200 * time.Millisecond
	askLast  = 30 * time.Second
	askOf    = 3 // peers asked in one round
	askers   = 8 // peers asked at the same time, so that one that is slow to answer stops nobody
)

// peersRequest asks for at most Want records.
type peersRequest struct {
	_    struct{} `cbor:",toarray"`
	Want uint64
}

// peersReply holds sealed peer records.
type peersReply struct {
	_       struct{} `cbor:",toarray"`
	Records [][]byte
}

// givePeers answers with records of connected peers other than the asker, a random choice if there are too many.
func (h *Host) givePeers(_ context.Context, from peer.ID, req []byte) ([]byte, error) {
	var q peersRequest
	if err := decode(req, &q); err != nil {
		return nil, fmt.Errorf("peers request: %w", err)
	}
	want := int(min(q.Want, maxRecords))
	var out peersReply
	h.mu.Lock()
	for p, sealed := range h.records {
		if p != from {
			out.Records = append(out.Records, sealed)
		}
	}
	h.mu.Unlock()
	rand.Shuffle(len(out.Records), func(i, j int) { out.Records[i], out.Records[j] = out.Records[j], out.Records[i] })
	out.Records = out.Records[:min(len(out.Records), want)]
	return encode(out)
}

// exchange asks for peers until ctx ends.
func (h *Host) exchange(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	free := make(chan struct{}, askers)
	ask := func(p peer.ID) {
		select {
		case free <- struct{}{}:
			wg.Go(func() { h.ask(ctx, p); <-free })
		case <-ctx.Done():
		}
	}
	round := 0
	t := time.NewTimer(askFirst)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-h.fresh:
			ask(p)
			round = 0
			t.Reset(jitter(askFirst))
		case <-t.C:
			for _, p := range h.someSpeakers() {
				ask(p)
			}
			round++
			t.Reset(jitter(backoff(askFirst, askLast, round)))
		}
	}
}

// someSpeakers are the joined peers and a few others, at most askOf in all.
func (h *Host) someSpeakers() []peer.ID {
	all := h.Candidates(peersProtocol)
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	joined := map[peer.ID]bool{}
	for _, j := range h.join {
		joined[j.ID] = true
	}
	var out []peer.ID
	for _, first := range []bool{true, false} {
		for _, p := range all {
			if joined[p] == first && p != h.ID() && len(out) < askOf {
				out = append(out, p)
			}
		}
	}
	return out
}

// ask gets records from a peer and offers those unknown to the dialers.
func (h *Host) ask(ctx context.Context, p peer.ID) {
	if len(h.host.Network().Peers()) >= h.cfg.Peers {
		return
	}
	conns := h.host.Network().ConnsToPeer(p)
	if len(conns) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := encode(peersRequest{Want: maxRecords})
	if err != nil {
		h.log.Error("asking for peers", "error", err)
		return
	}
	reply, err := h.Call(ctx, p, peersProtocol, req)
	if err != nil {
		h.log.Debug("asking for peers", "peer", p, "error", err)
		return
	}
	infos, err := decodePeers(reply)
	if err != nil {
		h.log.Warn("peer gave a bad list of peers", "peer", p, "error", err)
	}
	for _, ai := range infos {
		ai.Addrs = plausible(ai.Addrs, conns[0].RemoteMultiaddr())
		if len(ai.Addrs) > 0 {
			h.offer(ai)
		}
	}
}

// decodePeers reads an answer. Good records before a bad one count; the bad one is the error.
func decodePeers(reply []byte) ([]peer.AddrInfo, error) {
	var r peersReply
	if err := decode(reply, &r); err != nil {
		return nil, fmt.Errorf("peers answer: %w", err)
	}
	if len(r.Records) > maxRecords {
		return nil, fmt.Errorf("peers answer: %d records, more than %d", len(r.Records), maxRecords)
	}
	out := make([]peer.AddrInfo, 0, len(r.Records))
	for i, sealed := range r.Records {
		ai, err := openRecord(sealed)
		if err != nil {
			return out, fmt.Errorf("peers answer: record %d: %w", i, err)
		}
		out = append(out, ai)
	}
	return out, nil
}

// openRecord checks that a record is about the peer whose key sealed it.
func openRecord(sealed []byte) (peer.AddrInfo, error) {
	if len(sealed) > maxRecord {
		return peer.AddrInfo{}, errors.New(tooLarge(len(sealed), maxRecord))
	}
	var rec peer.PeerRecord
	env, err := record.ConsumeTypedEnvelope(sealed, &rec)
	if err != nil {
		return peer.AddrInfo{}, err
	}
	if env.PublicKey == nil || !rec.PeerID.MatchesPublicKey(env.PublicKey) {
		return peer.AddrInfo{}, fmt.Errorf("about %s, but not signed by it", rec.PeerID)
	}
	return peer.AddrInfo{ID: rec.PeerID, Addrs: rec.Addrs[:min(len(rec.Addrs), maxRecordAddrs)]}, nil
}

// plausible drops the addresses that mean something else here than where they were written: loopback unless the teller
// is on this machine, private ones unless the teller is on a private network.
func plausible(addrs []ma.Multiaddr, teller ma.Multiaddr) []ma.Multiaddr {
	switch {
	case manet.IsIPLoopback(teller):
		return addrs
	case manet.IsPrivateAddr(teller):
		return ma.FilterAddrs(addrs, func(a ma.Multiaddr) bool { return !manet.IsIPLoopback(a) })
	default:
		return ma.FilterAddrs(addrs, manet.IsPublicAddr)
	}
}
