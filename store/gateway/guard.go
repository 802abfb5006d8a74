package gateway

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ipfs/boxo/blockservice"
	"github.com/ipfs/boxo/blockstore"
	"github.com/ipfs/boxo/exchange"
	boxo "github.com/ipfs/boxo/gateway"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	maxHeader = 16 << 10 // bytes of a request's header
	maxURL    = 4 << 10  // bytes of its path and query
	maxBody   = 64 << 10 // bytes of its body, where one is taken
)

// routes builds what answers, given the address that is listened on.
func (g *Gateway) routes(parts Parts) (func(net.Addr) http.Handler, error) {
	var from exchange.Interface
	if peers := g.shelf.store.Elsewhere(); g.cfg.Fetch && peers != nil {
		from = afar{peers, g.cfg.Quiet, g.shelf}
	}
	service := blockservice.New(blockstore.NewIdStore(g.shelf), from, blockservice.WriteThrough(true))
	content, err := g.content(service, parts.Metrics)
	if err != nil {
		return nil, err
	}
	d := &desk{content: content, blocks: service, shelf: g.shelf}
	if parts.Sale != nil {
		if d.sale, err = newCounter(*parts.Sale); err != nil {
			return nil, err
		}
	}
	if parts.Guide != nil {
		d.routing = routing(parts.Guide)
	}
	if parts.Pins != nil && g.cfg.Private() {
		d.pins = parts.Pins
	}
	closed := parts.Closed
	if closed == nil || g.loopback {
		closed = func() string { return "" }
	}
	return func(at net.Addr) http.Handler {
		_, port, _ := net.SplitHostPort(at.String()) // it is an address that the system wrote
		return &guard{
			port: port, closed: closed, loopback: g.loopback, origins: g.cfg.Origins, quiet: g.cfg.Quiet,
			turns: make(chan struct{}, g.cfg.Requests), allowed: newAllowances(g.cfg.Rate, g.cfg.Burst), next: d,
		}
	}, nil
}

// content serves /ipfs/.
func (g *Gateway) content(service blockservice.BlockService, metrics prometheus.Registerer) (http.Handler, error) {
	if metrics == nil {
		metrics = prometheus.NewRegistry()
	}
	backend, err := boxo.NewBlocksBackend(service)
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	return boxo.NewHandler(boxo.Config{
		DeserializedResponses: g.loopback,
		NoDNSLink:             true,
		DisableHTMLErrors:     true,
		MaxRequestDuration:    g.cfg.Longest,
		MetricsRegistry:       metrics,
	}, backend), nil
}

// guard stands before every request, whatever its path. In this order:
//  1. a loopback listener answers to loopback names with its port alone, so that a page whose name was rebound stays outside, and to pages of
//     other origins only where they are named;
//  2. the client has an allowance left;
//  3. not too many are answered already;
//  4. address and body are of a size that there is.
type guard struct {
	port     string
	loopback bool
	closed   func() string // why nothing is given now
	origins  []string
	quiet    time.Duration
	turns    chan struct{} // one for each request under way
	allowed  *allowances
	next     http.Handler
}

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Now().Add(g.quiet)) // the one of the request before would still hold
	w = &patient{ResponseWriter: w, control: control, quiet: g.quiet}
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	if r.ContentLength != 0 { // nobody has a thread wait for a body that does not come
		_ = control.SetReadDeadline(time.Now().Add(g.quiet))
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	}
	switch {
	case g.loopback && !g.ours(r.Host):
		refuse(w, http.StatusForbidden, "this gateway answers to this machine's loopback address alone: use http://127.0.0.1:"+g.port)
		return
	case g.loopback && !g.mayRead(r):
		refuse(w, http.StatusForbidden, "pages of other sites may not ask this gateway, unless its owner names them in gateway.origins")
		return
	}
	if why := g.closed(); why != "" {
		h.Set("Retry-After", "3600")
		refuse(w, http.StatusServiceUnavailable, "this gateway gives nothing now: "+why)
		return
	}
	if wait, ok := g.allowed.take(clientOf(r.RemoteAddr)); !ok {
		h.Set("Retry-After", strconv.Itoa(1+int(wait/time.Second)))
		refuse(w, http.StatusTooManyRequests, "you ask more often than this gateway allows: wait a moment")
		return
	}
	select {
	case g.turns <- struct{}{}:
		defer func() { <-g.turns }()
	default:
		h.Set("Retry-After", "1")
		refuse(w, http.StatusServiceUnavailable, "this gateway is busy with others: try again in a moment")
		return
	}
	if len(r.URL.RequestURI()) > maxURL {
		refuse(w, http.StatusRequestURITooLong, fmt.Sprintf("the address is longer than %d bytes", maxURL))
		return
	}
	g.cors(h, r)
	g.next.ServeHTTP(w, r)
}

// ours reports whether host (host:port, as in a Host header) is a loopback name with our port.
func (g *guard) ours(host string) bool {
	name, port, err := net.SplitHostPort(host)
	if err != nil || port != g.port {
		return false
	}
	switch strings.ToLower(name) {
	case "localhost", "127.0.0.1", "::1":
		return true
	}
	return false
}

// mayRead reports whether the page that asks, if one does, may learn what this machine holds. Following a link to here is no asking.
func (g *guard) mayRead(r *http.Request) bool {
	if slices.Contains(g.origins, "*") {
		return true
	}
	origins := r.Header.Values("Origin")
	for _, o := range origins {
		_, host, ok := strings.Cut(o, "://")
		if !slices.Contains(g.origins, o) && !(ok && g.ours(host)) {
			return false
		}
	}
	site := r.Header.Get("Sec-Fetch-Site")
	foreign := site == "cross-site" || site == "same-site" // another port of this machine is "same-site" and foreign
	follows := r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
	return !foreign || len(origins) > 0 || follows
}

// cors lets pages read answers: all pages where all machines may, the named ones on loopback. The pinning service is not for pages.
func (g *guard) cors(h http.Header, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/pins") {
		return
	}
	origin := r.Header.Get("Origin")
	switch {
	case !g.loopback || slices.Contains(g.origins, "*"):
		origin = "*"
	case origin == "":
		return
	default:
		h.Add("Vary", "Origin")
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
	h.Set("Access-Control-Allow-Headers", "Content-Type, Range, X-Requested-With")
	h.Set("Access-Control-Expose-Headers", "Content-Length, Content-Range, Etag, Ipfs-Uri, X-Ipfs-Roots")
}

// desk sends each request to what answers it; everything else gets a sentence.
type desk struct {
	content http.Handler
	blocks  blockservice.BlockGetter // those that content serves
	routing http.Handler             // nil: nobody is told who has what
	pins    http.Handler             // nil: no pinning service here
	shelf   *shelf
	sale    *counter // nil: nothing has a price
}

func (d *desk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p := r.URL.Path
	for part := range strings.SplitSeq(p, "/") {
		if part == ".." || part == "." {
			refuse(w, http.StatusBadRequest, "an address here has no . and .. in it")
			return
		}
	}
	switch {
	case strings.HasPrefix(p, "/ipfs/") && len(p) > len("/ipfs/"):
		d.serveContent(w, r)
	case d.sale != nil && strings.HasPrefix(p, payPath):
		d.sale.ServeHTTP(w, r)
	case strings.HasPrefix(p, "/ipns/"):
		refuse(w, http.StatusNotFound, "names (/ipns/) are not looked up here: ask for /ipfs/CID")
	case d.routing != nil && (strings.HasPrefix(p, "/routing/v1/providers/") || strings.HasPrefix(p, "/routing/v1/peers/")):
		if r.Method != http.MethodGet {
			notAllowed(w, r, "GET")
			return
		}
		d.routing.ServeHTTP(w, r)
	case p == "/pins" || strings.HasPrefix(p, "/pins/"):
		if d.pins == nil {
			refuse(w, http.StatusForbidden, "there is no pinning service here: its token would travel in the clear, so it needs HTTPS or the machine itself")
			return
		}
		d.pins.ServeHTTP(w, r)
	default:
		refuse(w, http.StatusNotFound, "there is nothing at this address: content is at /ipfs/CID")
	}
}

// serveContent answers for /ipfs/. An answer that cannot be sent whole breaks the connection: nobody takes a part for the whole.
func (d *desk) serveContent(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodOptions {
		notAllowed(w, r, "GET, HEAD, OPTIONS")
		return
	}
	// A stranger's page is shown without its scripts, and loads nothing from other sites: it could tell them what else this machine holds.
	w.Header().Set("Content-Security-Policy", "default-src 'self' 'unsafe-inline' data: blob:; frame-ancestors 'self'; sandbox allow-same-origin")
	if c, rate := d.price(r); rate > 0 && r.Method != http.MethodOptions {
		d.sell(w, r, c, rate)
		return
	}
	if asksCAR(r) && r.Header.Get("Cache-Control") != "only-if-cached" {
		if status, err := d.lacksRoot(r); err != nil {
			refuse(w, status, err.Error())
			return
		}
	}
	d.content.ServeHTTP(w, r)
	if w.Header().Get("X-Stream-Error") != "" {
		panic(http.ErrAbortHandler)
	}
}

// price is what the root of a path costs; 0: nothing.
func (d *desk) price(r *http.Request) (cid.Cid, uint64) {
	root, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/ipfs/"), "/")
	c, err := cid.Decode(root)
	if err != nil || d.sale == nil {
		return cid.Undef, 0 // boxo has the words for it
	}
	return c, d.sale.Prices.Of(c)
}

func asksCAR(r *http.Request) bool {
	return r.URL.Query().Get("format") == "car" || strings.Contains(r.Header.Get("Accept"), "application/vnd.ipld.car")
}

// lacksRoot tells before a CAR begins that its first block cannot be had; boxo would find that out when the answer has begun.
func (d *desk) lacksRoot(r *http.Request) (status int, err error) {
	root, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/ipfs/"), "/")
	c, err := cid.Decode(root)
	if err != nil {
		return 0, nil // boxo has the words for it
	}
	var known *boxo.ErrorStatusCode
	switch _, err = d.blocks.GetBlock(r.Context(), c); {
	case ipld.IsNotFound(err):
		return http.StatusNotFound, err
	case errors.As(err, &known):
		return known.StatusCode, err
	}
	return http.StatusInternalServerError, err
}

func notAllowed(w http.ResponseWriter, r *http.Request, allow string) {
	w.Header().Set("Allow", allow)
	refuse(w, http.StatusMethodNotAllowed, r.Method+" is not possible here")
}

// refuse answers with one sentence.
func refuse(w http.ResponseWriter, status int, sentence string) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, sentence) // nobody is left to tell
}
