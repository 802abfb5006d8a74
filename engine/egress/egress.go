// Package egress keeps the one way out of a task's sandbox: an HTTP proxy that the node runs for it, which lets through what the job asked for and the owner allowed.
// It promises that a task reaches no other place, and nothing of this machine or of the owner's own networks unless the owner named their addresses; names are looked up
// here, and what they lead to is judged before it is called. What goes through is counted and kept to a rate.
// It leaves to the engines how the proxy comes into a sandbox that has no network, and to the node what its owner allows.
package egress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/netutil"

	"github.com/hpips/hpips/spec/job"
)

// Port is where a task finds the proxy, at 127.0.0.1 of its own network. It is squid's, which programs and people know.
const Port = 3128

// Environment are the variables by which programs find the proxy.
func Environment() []string {
	at := "http://127.0.0.1:" + strconv.Itoa(Port)
	return []string{"http_proxy=" + at, "https_proxy=" + at, "all_proxy=" + at, "HTTP_PROXY=" + at, "HTTPS_PROXY=" + at, "ALL_PROXY=" + at, "no_proxy=localhost,127.0.0.1,::1", "NO_PROXY=localhost,127.0.0.1,::1"}
}

// Config of a proxy.
type Config struct {
	// Asked are the places that the job asked for, and Allowed those that the owner lets tasks reach: a place has to be among both.
	Asked, Allowed []job.Reach
	// Resolver looks names up; nil is this machine's.
	Resolver *net.Resolver
	// Own are networks that this machine is in: what a name leads to there is not called, as if it were a private address. nil takes those of its interfaces.
	Own []netip.Prefix
	// Seen are addresses by which others see this machine, such as its router's: no name leads there either. It is asked at each call, as they change; nil knows none.
	Seen func() []netip.Addr
	// Pace gives a connection to outside the pace of the machine's; nil leaves it as it is.
	Pace func(net.Conn) net.Conn
	// Connections at once; 0 is 64.
	Connections int
}

// The patience of a proxy.
const (
	dialTime = 15 * time.Second
	idleTime = 2 * time.Minute
	headTime = 30 * time.Second
	maxHead  = 64 << 10 // bytes
	piece    = 32 << 10 // bytes of a tunnel that are read at once
)

// Proxy is the way out of one task. It speaks HTTP as RFC 9110 has it for proxies: CONNECT for tunnels, and requests with whole addresses.
type Proxy struct {
	log   *slog.Logger
	cfg   Config
	http  *http.Server
	onway *httputil.ReverseProxy
	dial  net.Dialer
	slots chan struct{}

	sent, received atomic.Int64
	mu             sync.Mutex
	requests       sync.WaitGroup
	ctx            context.Context // of all connections
	stop           context.CancelFunc
}

// New makes a proxy; Serve lets it work, Close ends it.
func New(log *slog.Logger, cfg Config) *Proxy {
	if cfg.Connections <= 0 {
		cfg.Connections = 64
	}
	if cfg.Resolver == nil {
		cfg.Resolver = net.DefaultResolver
	}
	if cfg.Own == nil {
		cfg.Own = own()
	}
	if cfg.Seen == nil {
		cfg.Seen = func() []netip.Addr { return nil }
	}
	p := &Proxy{log: log, cfg: cfg, dial: net.Dialer{Timeout: dialTime}, slots: make(chan struct{}, cfg.Connections)}
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.onway = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.Out.Host = r.In.Host },
		Transport: &http.Transport{DialContext: p.call, MaxConnsPerHost: 8, MaxIdleConns: 16, IdleConnTimeout: idleTime, ResponseHeaderTimeout: idleTime,
			MaxResponseHeaderBytes: maxHead, DisableCompression: true},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) { p.refuse(w, r.Host, err) },
		ErrorLog:     slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	p.http = &http.Server{Handler: http.HandlerFunc(p.serve), BaseContext: func(net.Listener) context.Context { return p.ctx }, ReadHeaderTimeout: headTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHead,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	return p
}

// Serve takes what comes until Close.
func (p *Proxy) Serve(l net.Listener) error {
	if err := p.http.Serve(netutil.LimitListener(l, 2*p.cfg.Connections)); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("way out: %w", err)
	}
	return nil
}

// Close ends all connections and waits for them. It may be repeated.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.stop()
	p.mu.Unlock()
	err := p.http.Close()
	p.requests.Wait()
	p.onway.Transport.(*http.Transport).CloseIdleConnections()
	return err
}

// Moved is how many bytes have gone out and come in.
func (p *Proxy) Moved() (sent, received int64) { return p.sent.Load(), p.received.Load() }

// errPlace is for what the task may not reach.
type errPlace struct{ place, why string }

func (e errPlace) Error() string { return e.place + ": " + e.why }

func (p *Proxy) serve(w http.ResponseWriter, r *http.Request) {
	if !p.enter() {
		http.Error(w, "hpips: the task is over", http.StatusServiceUnavailable)
		return
	}
	defer p.requests.Done()
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	default:
		http.Error(w, fmt.Sprintf("hpips: %d connections are open, and no more are possible", p.cfg.Connections), http.StatusServiceUnavailable)
		return
	}
	switch {
	case r.Method == http.MethodConnect:
		p.tunnel(w, r)
	case r.URL.Scheme != "http" || r.URL.Host == "":
		http.Error(w, "hpips: this is a proxy: ask it for whole addresses, http://HOST/PATH, or by CONNECT", http.StatusBadRequest)
	default:
		p.onway.ServeHTTP(w, r)
	}
}

// enter counts a request, unless the proxy is closed.
func (p *Proxy) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return false
	}
	p.requests.Add(1)
	return true
}

// tunnel carries what CONNECT asks for.
func (p *Proxy) tunnel(w http.ResponseWriter, r *http.Request) {
	out, err := p.call(r.Context(), "tcp", r.Host)
	if err != nil {
		p.refuse(w, r.Host, err)
		return
	}
	defer out.Close()
	in, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		p.refuse(w, r.Host, err)
		return
	}
	defer in.Close()
	defer context.AfterFunc(p.ctx, func() { in.Close(); out.Close() })()
	if _, err := io.WriteString(in, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	var back sync.WaitGroup
	back.Go(func() {
		carry(in, out)
		halve(in)
	})
	carry(out, buffered) // what has come already, and all after it
	halve(out)
	back.Wait()
}

// halve tells the other side that no more comes; what it still has to say goes on.
func halve(c net.Conn) {
	if h, ok := c.(interface{ CloseWrite() error }); ok {
		_ = h.CloseWrite() // it may be gone
		return
	}
	c.Close()
}

func carry(to io.Writer, from io.Reader) {
	_, _ = io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, piece)) // either end may go at any time
}

// refuse answers for a place that is not reached: 403 for what is not allowed, 502 for what does not answer.
func (p *Proxy) refuse(w http.ResponseWriter, place string, err error) {
	status := http.StatusBadGateway
	var not errPlace
	if errors.As(err, &not) {
		status = http.StatusForbidden
	}
	p.log.Debug("A task did not reach a place", "place", place, "err", err)
	http.Error(w, "hpips: "+err.Error(), status)
}

// call connects to a place, if it may be reached; the connection counts what it moves.
func (p *Proxy) call(ctx context.Context, _, address string) (net.Conn, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, errPlace{address, "it has no port"}
	}
	n, err := strconv.ParseUint(service, 10, 16)
	if err != nil || n == 0 {
		return nil, errPlace{address, "its port is none"}
	}
	port := uint16(n)
	targets, err := p.targets(ctx, host, port)
	if err != nil {
		return nil, err
	}
	var failed error
	for _, a := range targets {
		c, err := p.dial.DialContext(ctx, "tcp", netip.AddrPortFrom(a, port).String())
		if err == nil {
			return p.counting(c), nil
		}
		failed = errors.Join(failed, err)
	}
	return nil, fmt.Errorf("%s does not answer: %w", address, failed)
}

// targets are the addresses of a host that may be called at a port.
func (p *Proxy) targets(ctx context.Context, host string, port uint16) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		a = a.Unmap()
		addressed := func(r job.Reach) bool { return r.Addressed(a, port) }
		if err := p.judge(host, port, addressed); err != nil {
			return nil, err
		}
		return []netip.Addr{a}, nil // the owner has named it, be it of the owner's own networks
	}
	if err := p.judge(host, port, func(r job.Reach) bool { return r.Named(host, port) }); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	found, err := p.cfg.Resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("%s is not found: %w", host, err)
	}
	var open []netip.Addr
	seen := p.cfg.Seen()
	for _, a := range found {
		if a = a.Unmap(); Public(a) && !within(p.cfg.Own, a) && !slices.Contains(seen, a) || among(p.cfg.Allowed, func(r job.Reach) bool { return r.Addressed(a, port) }) {
			open = append(open, a)
		}
	}
	if len(open) == 0 {
		return nil, errPlace{host, "it leads to this PC or to its owner's own networks, which no name opens"}
	}
	return open, nil
}

// judge says why a place is not reached.
func (p *Proxy) judge(host string, port uint16, means func(job.Reach) bool) error {
	place := net.JoinHostPort(host, strconv.Itoa(int(port)))
	switch {
	case !among(p.cfg.Asked, means):
		return errPlace{place, "the job did not ask for it: name it with --reach (reach: in a job file)"}
	case !among(p.cfg.Allowed, means):
		return errPlace{place, "the owner of this node does not let tasks reach it"}
	}
	return nil
}

func among(list []job.Reach, means func(job.Reach) bool) bool {
	for _, r := range list {
		if means(r) {
			return true
		}
	}
	return false
}
