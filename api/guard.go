package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/hpips/hpips/spec/job"
)

// maxBody is the largest request body, in bytes, of everything but the uploads named in streamed.
const maxBody = 8 << 20

// guard stands before every request, whatever its path. In this order:
//  1. the Host header names this machine's loopback and our port, else 403: a page whose name was rebound to 127.0.0.1 stays outside;
//  2. an Origin header, which browsers set, is ours, else 403;
//  3. the token is ours, else 401; it is compared in constant time;
//  4. the body is limited.
type guard struct {
	port  string
	token [sha256.Size]byte // of the token, so that the comparison does not tell its length
	next  http.Handler
}

func newGuard(port, token string, next http.Handler) *guard {
	return &guard{port: port, token: sha256.Sum256([]byte(token)), next: next}
}

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox")
	switch {
	case !g.ours(r.Host):
		refuse(w, http.StatusForbidden, &job.Failure{Code: job.CodeUsage, Message: "the API answers on this machine's loopback address alone", Hint: "use http://127.0.0.1:" + g.port})
	case !g.originOurs(r):
		refuse(w, http.StatusForbidden, &job.Failure{Code: job.CodeUsage, Message: "requests from other origins are refused", Hint: "the API is for programs of this machine; pages of other sites have no part in it"})
	case !g.allowed(r):
		w.Header().Set("WWW-Authenticate", `Bearer realm="hpips"`)
		refuse(w, http.StatusUnauthorized, &job.Failure{Code: job.CodeUsage, Message: "the API token is missing or wrong", Hint: "send Authorization: Bearer TOKEN; the token stands in api.token in the node's home"})
	default:
		if !streamed(r) {
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		}
		g.next.ServeHTTP(w, r)
	}
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

// originOurs reports whether there is no Origin, or it is ours. "null" is no origin of ours.
func (g *guard) originOurs(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site == "cross-site" || site == "same-site" {
		return false // another port of this machine is "same-site" and foreign
	}
	for _, origin := range r.Header.Values("Origin") {
		host, ok := strings.CutPrefix(origin, "http://")
		if !ok || !g.ours(host) {
			return false
		}
	}
	return true
}

func (g *guard) allowed(r *http.Request) bool {
	kind, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	sum := sha256.Sum256([]byte(strings.TrimSpace(token)))
	return subtle.ConstantTimeCompare(sum[:], g.token[:]) == 1 && ok && strings.EqualFold(kind, "Bearer")
}

// streamed reports whether the body is content, which has no limit but the disk's.
func streamed(r *http.Request) bool {
	return r.Method == http.MethodPost && (r.URL.Path == "/v1/content" || strings.HasPrefix(r.URL.Path, "/v1/jobs/") && strings.HasSuffix(r.URL.Path, "/stdin"))
}

// loopback reports whether a host part of a listening address is reachable from this machine alone.
func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
