// Package gateway keeps the HTTP face of a node's content: the trustless gateway (raw blocks and CARs by content address), whole files where only
// this machine can ask, Delegated Routing v1, and the IPFS Pinning Service API.
// It promises that only bytes which match their address leave it, that nothing is fetched for others unless the owner said so, and that no client can
// take more of the node than its share: of requests, connections, time and memory; content with a price is given to nobody who owes more than the stated credit.
// It leaves the blocks and their exchange to package store, what other nodes serve to whoever builds it, and deposits and redemptions to the stages above.
package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/hpips/hpips/store"
)

// Config says where the gateway listens, what it serves, and what a client may take. Start from Default.
type Config struct {
	Address     string    // host:port; without a host this machine's loopback; port 0 lets the system choose
	URL         string    // by which others reach it, without a path; empty: as it listens
	Certificate string    // PEM file, with Key: serve HTTPS; both are read again when the certificate's file changes
	Key         string    // PEM file
	Fetch       bool      // bring what is not here from connected peers; else only what is in the store is served
	Cache       int64     // bytes of blocks in memory: those often asked for, and those fetched for others; 0 keeps none
	Deny        []cid.Cid // blocks that are never served, and nothing that is reached through them
	Origins     []string  // whose pages may ask at a loopback address, such as "https://site.example"; elsewhere all may

	Rate        float64       // requests a second of one client, an IPv4 address or an IPv6 /64
	Burst       int           // requests of one client at once, above the rate
	Requests    int           // requests under way, of all clients
	Connections int           // connections, of all clients
	PerClient   int           // connections of one client; at a loopback address all clients are one, and it does not count
	Header      time.Duration // for a request's header to arrive whole
	Quiet       time.Duration // a client may take nothing of an answer for so long, and a peer send nothing
	Longest     time.Duration // of one answer
}

// Default are settings for a PC that serves its neighbourhood.
func Default() Config {
	return Config{
		Address: "127.0.0.1:4713", Cache: 256 << 20,
		Rate: 500, Burst: 2000, Requests: 4096, Connections: 4096, PerClient: 256,
		Header: 10 * time.Second, Quiet: 30 * time.Second, Longest: time.Hour,
	}
}

// Check reports the first field that cannot work.
func (c Config) Check() error {
	if _, _, err := c.listen(); err != nil {
		return err
	}
	switch {
	case (c.Certificate == "") != (c.Key == ""):
		return errors.New("gateway: certificate and key belong together: one of them is not named")
	case c.Cache < 0:
		return fmt.Errorf("gateway: cache of %d bytes is negative", c.Cache)
	case c.Rate <= 0 || c.Burst < 1:
		return fmt.Errorf("gateway: %g requests a second and %d at once are no allowance", c.Rate, c.Burst)
	case c.Requests < 1 || c.Connections < 1 || c.PerClient < 1:
		return errors.New("gateway: requests and connections are 1 at least")
	case c.Header <= 0 || c.Quiet <= 0 || c.Longest <= 0:
		return errors.New("gateway: times are positive")
	}
	if c.URL != "" {
		u, err := url.Parse(c.URL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
			return fmt.Errorf("gateway: %q is not a URL such as https://cdn.example", c.URL)
		}
	}
	return nil
}

// listen gives the address with its host, and whether only this machine reaches it.
func (c Config) listen() (address string, loopback bool, err error) {
	host, port, err := net.SplitHostPort(c.Address)
	if err != nil || port == "" {
		return "", false, fmt.Errorf("gateway: %q is not an address, write host:port", c.Address)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), isLoopback(host), nil
}

// Private reports whether a secret may travel to the gateway: by HTTPS, or within this machine.
func (c Config) Private() bool {
	_, loopback, err := c.listen()
	return err == nil && (loopback || c.Certificate != "")
}

// isLoopback reports whether only this machine reaches a host part of an address.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// Gateway is the server of one node.
type Gateway struct {
	log      *slog.Logger
	cfg      Config
	listener net.Listener
	http     *http.Server
	stop     context.CancelFunc
	loopback bool
	shelf    *shelf
}

// Parts are what the gateway serves besides blocks; nil ones are answered with 404.
type Parts struct {
	Guide   Guide                 // who has what
	Pins    *Pins                 // the pinning service
	Metrics prometheus.Registerer // of the gateway itself
	Sale    *Sale                 // of what has a price; nil: nothing has one

	// Paced holds what other machines are given to its owner's rates; nil: to none. Closed says why they are given nothing now; nil, or "", that they are.
	Paced  func(net.Listener) net.Listener
	Closed func() string
}

// New listens at once, so that a busy port is told before anything else starts, and answers from Serve on. Close it in any case.
func New(log *slog.Logger, blocks *store.Store, parts Parts, cfg Config) (*Gateway, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	address, loopback, _ := cfg.listen() // checked
	g := &Gateway{log: log, cfg: cfg, loopback: loopback}
	var secure *tls.Config
	if cfg.Certificate != "" {
		pair := &keyPair{certificate: cfg.Certificate, key: cfg.Key}
		if _, err := pair.get(nil); err != nil {
			return nil, err
		}
		secure = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: pair.get, NextProtos: []string{"h2", "http/1.1"}}
	}
	var prices *Prices
	if parts.Sale != nil {
		prices = parts.Sale.Prices
	}
	g.shelf = newShelf(blocks, prices, cfg)
	handler, err := g.routes(parts)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("gateway: listen: %w", err)
	}
	most := cfg.PerClient
	switch {
	case loopback:
		most = cfg.Connections
	case parts.Paced != nil:
		l = parts.Paced(l)
	}
	g.listener = &door{Listener: l, most: cfg.Connections, each: most, inside: map[netip.Addr]int{}}
	if secure != nil {
		g.listener = tls.NewListener(g.listener, secure)
	}
	answers, stop := context.WithCancel(context.Background())
	g.stop = stop
	g.http = &http.Server{
		Handler:           handler(l.Addr()),
		ReadHeaderTimeout: cfg.Header,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    maxHeader,
		BaseContext:       func(net.Listener) context.Context { return answers },
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return g, nil
}

// Addr is the host:port that the gateway listens on.
func (g *Gateway) Addr() string { return g.listener.Addr().String() }

// Trustless tells whether files are served as blocks and CARs alone, because other machines can ask.
func (g *Gateway) Trustless() bool { return !g.loopback }

// URL is how this machine, or with Config.URL everybody, reaches the gateway; it has no path.
func (g *Gateway) URL() string {
	if g.cfg.URL != "" {
		return strings.TrimSuffix(g.cfg.URL, "/")
	}
	host, port, _ := net.SplitHostPort(g.Addr()) // it is an address that the system wrote
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return g.scheme() + "://" + net.JoinHostPort(host, port)
}

func (g *Gateway) scheme() string {
	if g.cfg.Certificate != "" {
		return "https"
	}
	return "http"
}

// URLs are those by which somebody may reach the gateway who runs on this machine (near) or elsewhere: Config.URL, else the address that it
// listens on, which stands for each of hosts where it listens on all. hosts are IP addresses of this machine.
func (g *Gateway) URLs(near bool, hosts []netip.Addr) []string {
	if g.cfg.URL != "" {
		return []string{g.URL()}
	}
	if g.loopback && !near {
		return nil
	}
	host, port, _ := net.SplitHostPort(g.Addr()) // it is an address that the system wrote
	if ip, err := netip.ParseAddr(host); err != nil || !ip.IsUnspecified() {
		return []string{g.URL()}
	}
	var all []string
	for _, h := range hosts {
		if u := g.scheme() + "://" + net.JoinHostPort(h.String(), port); !h.IsLoopback() && !slices.Contains(all, u) {
			all = append(all, u)
		}
	}
	if len(all) == 0 && near {
		all = []string{g.URL()}
	}
	return all
}

// Serve answers until ctx ends, then lets answers under way finish for at most two seconds.
func (g *Gateway) Serve(ctx context.Context) error {
	failed := make(chan error, 1)
	go func() { failed <- g.http.Serve(g.listener) }()
	select {
	case err := <-failed:
		g.stop()
		return fmt.Errorf("gateway serve: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	err := g.http.Shutdown(grace)
	g.stop()
	if err != nil {
		_ = g.http.Close()
	}
	<-failed
	return ctx.Err()
}

// Close stops listening. Serve must not be running.
func (g *Gateway) Close() error {
	g.stop()
	err := g.listener.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil // Serve closed it
	}
	return errors.Join(g.http.Close(), err)
}

// keyPair is a certificate on the disk.
type keyPair struct {
	certificate, key string
	held             held[*tls.Certificate]
}

// get gives the certificate, read anew where its file is not as it was; one that cannot be read any more is served as it was.
func (k *keyPair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	info, err := os.Stat(k.certificate)
	if err != nil {
		return k.held.orElse(fmt.Errorf("gateway certificate: %w", err))
	}
	return k.held.at(info.ModTime(), func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(k.certificate, k.key)
		if err != nil {
			return nil, fmt.Errorf("gateway certificate: %w", err)
		}
		return &pair, nil
	})
}
