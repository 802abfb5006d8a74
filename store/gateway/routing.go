package gateway

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/ipfs/boxo/ipns"
	"github.com/ipfs/boxo/routing/http/server"
	"github.com/ipfs/boxo/routing/http/types"
	"github.com/ipfs/boxo/routing/http/types/iter"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	rt "github.com/libp2p/go-libp2p/core/routing"
	"github.com/multiformats/go-multiaddr"
	"github.com/prometheus/client_golang/prometheus"
)

// maxRecords is how many providers one answer names.
const maxRecords = 100

// Provider is a node that says it has a content, and how to get that from it.
type Provider struct {
	ID    peer.ID
	Addrs []multiaddr.Multiaddr // of bitswap over libp2p
	URLs  []string              // of gateways, such as https://cdn.example:4713, without a path
}

// Guide tells who has what, this node among them. Nobody is no error. The nodes' own words are as good as the nodes: whoever fetches checks the bytes.
type Guide interface {
	Providers(ctx context.Context, c cid.Cid) ([]Provider, error)
	Peer(ctx context.Context, id peer.ID) ([]Provider, error) // one or none
}

// routing serves GET /routing/v1/providers/{cid} and /routing/v1/peers/{id} (Delegated Routing V1, specs.ipfs.tech/routing/http-routing-v1).
func routing(g Guide) http.Handler {
	return server.Handler(router{g}, server.WithPrometheusRegistry(prometheus.NewRegistry()),
		server.WithRecordsLimit(maxRecords), server.WithStreamingRecordsLimit(maxRecords))
}

// router is a Guide in the words of boxo.
type router struct{ guide Guide }

// FindProviders tells who has a content.
func (r router) FindProviders(ctx context.Context, c cid.Cid, _ int) (iter.ResultIter[types.Record], error) {
	all, err := r.guide.Providers(ctx, c)
	if err != nil {
		return nil, err
	}
	var found []iter.Result[types.Record]
	for _, p := range all {
		found = append(found, iter.Result[types.Record]{Val: record(p)})
	}
	return iter.FromSlice(found), nil
}

// FindPeers tells where a node is.
func (r router) FindPeers(ctx context.Context, id peer.ID, _ int) (iter.ResultIter[*types.PeerRecord], error) {
	all, err := r.guide.Peer(ctx, id)
	if err != nil {
		return nil, err
	}
	var found []iter.Result[*types.PeerRecord]
	for _, p := range all {
		found = append(found, iter.Result[*types.PeerRecord]{Val: record(p)})
	}
	return iter.FromSlice(found), nil
}

// ProvideBitswap is refused.
func (router) ProvideBitswap(context.Context, *server.BitswapWriteProvideRequest) (time.Duration, error) { //nolint:staticcheck // boxo's interface has it still
	return 0, rt.ErrNotSupported
}

// GetIPNS is refused.
func (router) GetIPNS(context.Context, ipns.Name) (*ipns.Record, error) {
	return nil, rt.ErrNotSupported
}

// PutIPNS is refused.
func (router) PutIPNS(context.Context, ipns.Name, *ipns.Record) error { return rt.ErrNotSupported }

// GetClosestPeers is refused: there is no distributed hash table here.
func (router) GetClosestPeers(context.Context, cid.Cid) (iter.ResultIter[*types.PeerRecord], error) {
	return nil, rt.ErrNotSupported
}

// record is a provider in the words of the specification: libp2p addresses, then those of its gateways.
func record(p Provider) *types.PeerRecord {
	r := &types.PeerRecord{Schema: types.SchemaPeer, ID: &p.ID, Addrs: []types.Multiaddr{}}
	for _, a := range p.Addrs {
		r.Addrs = append(r.Addrs, types.Multiaddr{Multiaddr: a})
	}
	if len(p.Addrs) > 0 {
		r.Protocols = append(r.Protocols, "transport-bitswap")
	}
	before := len(r.Addrs)
	for _, u := range p.URLs {
		if a, err := addressOf(u); err == nil {
			r.Addrs = append(r.Addrs, types.Multiaddr{Multiaddr: a})
		}
	}
	if len(r.Addrs) > before {
		r.Protocols = append(r.Protocols, "transport-ipfs-gateway-http")
	}
	return r
}

// addressOf writes a gateway's URL as a multiaddr: /ip4/192.0.2.7/tcp/4713/http, /dns/cdn.example/tcp/443/tls/http.
func addressOf(text string) (multiaddr.Multiaddr, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, err
	}
	port, tail := u.Port(), "/http"
	if u.Scheme == "https" {
		tail = "/tls/http"
	}
	if port == "" {
		port = strconv.Itoa(map[string]int{"http": 80, "https": 443}[u.Scheme])
	}
	head := "/dns/" + u.Hostname()
	if ip := net.ParseIP(u.Hostname()); ip != nil && ip.To4() != nil {
		head = "/ip4/" + ip.String()
	} else if ip != nil {
		head = "/ip6/" + ip.String()
	}
	return multiaddr.NewMultiaddr(head + "/tcp/" + port + tail)
}
