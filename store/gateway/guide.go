package gateway

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/maypok86/otter/v2"
	"github.com/multiformats/go-multiaddr"

	"github.com/hpips/hpips/spec/canon"
)

// ServingProtocol asks a node whether it has a content, and where its gateways are: a Question, answered with an Answer, in canonical CBOR.
const ServingProtocol protocol.ID = "/hpips/serving/1"

// MaxQuestion is the most bytes of a Question.
const MaxQuestion = 256

const (
	maxAnswer    = 4 << 10
	maxNeighbour = 32              // nodes asked for one content
	maxURLs      = 8               // of one node
	maxURLText   = 256             // bytes of one
	askTime      = 2 * time.Second // for all of them to answer
	tellFor      = 30 * time.Second
	maxTold      = 4096 // contents remembered
)

// Question asks for the content with a root; without one it asks for the gateways alone.
type Question struct {
	Root []byte `cbor:"root,omitempty"` // CID
}

// Answer says whether the root's block is here, and by which URLs the node's gateways are reached.
type Answer struct {
	Has  bool     `cbor:"has"`
	URLs []string `cbor:"urls,omitempty"`
}

// Network is what the guide asks of the connections to other nodes.
type Network interface {
	ID() peer.ID
	Candidates(speak ...protocol.ID) []peer.ID                                           // connected peers that speak all of it
	Call(ctx context.Context, to peer.ID, proto protocol.ID, req []byte) ([]byte, error) // one question, one answer
	Where(p peer.ID) (known []multiaddr.Multiaddr, connected []netip.Addr)               // addresses of a peer, and those that it was seen at
}

// Holdings tells whether a block is on this disk.
type Holdings interface {
	Has(ctx context.Context, c cid.Cid) (bool, error)
}

// Neighbours is the Guide of a node that knows itself, the peers that it is connected to, and who is recorded somewhere as keeping a content.
type Neighbours struct {
	net      Network
	held     Holdings
	urls     func(near bool) []string // of this node's gateways; near: for who is on this machine
	recorded Recorded
	told     *otter.Cache[string, told]
}

// Recorded tells which nodes are on record as keeping a content, the best ones to ask first.
type Recorded func(ctx context.Context, c cid.Cid) ([]peer.ID, error)

// told is what was found out, and when.
type told struct {
	at  time.Time
	all []Provider
}

// NewNeighbours asks over net. urls gives where this node's own gateways are; near is whether the one who asks runs on this machine. recorded may be nil: there is no record.
func NewNeighbours(net Network, held Holdings, urls func(near bool) []string, recorded Recorded) *Neighbours {
	if recorded == nil {
		recorded = func(context.Context, cid.Cid) ([]peer.ID, error) { return nil, nil }
	}
	return &Neighbours{net: net, held: held, urls: urls, recorded: recorded, told: otter.Must(&otter.Options[string, told]{MaximumSize: maxTold, Executor: inPlace})}
}

// Providers tells who has the root of a content: this node first, then peers that say so, then those on record as keeping it that did not answer, where an address of theirs is known. What was told is told again for half a minute.
func (n *Neighbours) Providers(ctx context.Context, c cid.Cid) ([]Provider, error) {
	key := string(c.Hash())
	if t, ok := n.told.GetIfPresent(key); ok && time.Since(t.at) > tellFor {
		n.told.Invalidate(key)
	}
	// Many who ask at the same moment have the peers asked once.
	t, err := n.told.Get(ctx, key, otter.LoaderFunc[string, told](func(ctx context.Context, _ string) (told, error) {
		all, err := n.Ask(context.WithoutCancel(ctx), c)
		return told{time.Now(), all}, err
	}))
	return t.all, err
}

// Ask is Providers as of now. It takes two seconds at most.
func (n *Neighbours) Ask(ctx context.Context, c cid.Cid) ([]Provider, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	here, err := n.held.Has(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("who serves %s: %w", c, err)
	}
	recorded, err := n.recorded(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("who keeps %s: %w", c, err)
	}
	peers := slices.DeleteFunc(n.net.Candidates(ServingProtocol), func(p peer.ID) bool { return p == n.net.ID() })
	slices.SortStableFunc(peers, func(a, b peer.ID) int { return cmp.Compare(place(recorded, a), place(recorded, b)) })
	peers = peers[:min(len(peers), maxNeighbour)]
	found := make([]*Provider, len(peers))
	answered := make([]bool, len(peers))
	var asking sync.WaitGroup
	for i, p := range peers {
		asking.Go(func() {
			a, err := n.ask(ctx, p, c.Bytes())
			if answered[i] = err == nil; answered[i] && a.Has {
				found[i] = n.provider(p, a.URLs)
			}
		})
	}
	asking.Wait()
	var all []Provider
	if here {
		all = append(all, *n.self())
	}
	for _, p := range found {
		if p != nil {
			all = append(all, *p)
		}
	}
	for _, p := range recorded {
		if i := slices.Index(peers, p); p == n.net.ID() || i >= 0 && answered[i] { // its own word is newer
			continue
		}
		if known, _ := n.net.Where(p); len(known) > 0 {
			all = append(all, Provider{ID: p, Addrs: known})
		}
	}
	return all, nil
}

// place is where a node stands on record; behind all where it does not.
func place(recorded []peer.ID, p peer.ID) int {
	if i := slices.Index(recorded, p); i >= 0 {
		return i
	}
	return len(recorded)
}

// Peer tells where a node is: this one, or a connected one.
func (n *Neighbours) Peer(ctx context.Context, id peer.ID) ([]Provider, error) {
	if id == n.net.ID() {
		return []Provider{*n.self()}, nil
	}
	known, connected := n.net.Where(id)
	if len(connected) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	if slices.Contains(n.net.Candidates(ServingProtocol), id) {
		if a, err := n.ask(ctx, id, nil); err == nil {
			return []Provider{*n.provider(id, a.URLs)}, nil
		}
	}
	return []Provider{{ID: id, Addrs: known}}, nil
}

func (n *Neighbours) self() *Provider {
	known, _ := n.net.Where(n.net.ID())
	return &Provider{ID: n.net.ID(), Addrs: known, URLs: n.urls(true)}
}

func (n *Neighbours) ask(ctx context.Context, p peer.ID, root []byte) (a Answer, err error) {
	reply, err := n.net.Call(ctx, p, ServingProtocol, canon.MustEncode(Question{Root: root}))
	if err != nil {
		return a, err
	}
	return a, canon.Decode(reply, maxAnswer, &a)
}

// provider takes a peer's word, but sends nobody to a machine that is not the peer: an address in a URL has to be one that it is connected by.
func (n *Neighbours) provider(p peer.ID, urls []string) *Provider {
	known, connected := n.net.Where(p)
	out := &Provider{ID: p, Addrs: known}
	for _, text := range urls[:min(len(urls), maxURLs)] {
		u, err := url.Parse(text)
		if err != nil || len(text) > maxURLText || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
			continue
		}
		if ip, err := netip.ParseAddr(u.Hostname()); err == nil && !slices.Contains(connected, ip.Unmap()) || err != nil && isLoopback(u.Hostname()) {
			continue
		}
		out.URLs = append(out.URLs, text)
	}
	return out
}

// Answer answers a peer's Question; it is what ServingProtocol is handled with.
func (n *Neighbours) Answer(ctx context.Context, from peer.ID, req []byte) ([]byte, error) {
	var q Question
	if err := canon.Decode(req, MaxQuestion, &q); err != nil {
		return nil, err
	}
	_, connected := n.net.Where(from)
	a := Answer{URLs: n.urls(slices.ContainsFunc(connected, netip.Addr.IsLoopback))}
	if len(q.Root) > 0 {
		c, err := cid.Cast(q.Root)
		if err != nil {
			return nil, err
		}
		if a.Has, err = n.held.Has(ctx, c); err != nil {
			return nil, err
		}
	}
	return canon.Encode(a)
}
