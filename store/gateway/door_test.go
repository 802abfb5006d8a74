package gateway

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/store"
)

// dial opens a connection of a client that speaks by hand.
func dial(t testing.TB, url string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	must(t, c.SetDeadline(time.Now().Add(time.Minute)))
	return c
}

// Mallory opens connections and says little: half a header, a body that does not come, and nothing at all to what she is sent.
func TestSlowClientsAreCutOff(t *testing.T) {
	s := blocks(t, t.TempDir())
	file := add(t, s, random(64<<20, 1))
	url := serve(t, s, Parts{}, func(c *Config) { c.Header, c.Quiet = 200*time.Millisecond, 300*time.Millisecond })
	host := strings.TrimPrefix(url, "http://")
	for name, says := range map[string]string{
		"half a header":             "GET /ipfs/" + file.String() + " HTTP/1.1\r\nHost: " + host + "\r\nX-Slow: ",
		"a body that does not come": "GET /ipfs/" + file.String() + "?format=raw HTTP/1.1\r\nHost: " + host + "\r\nContent-Length: 60000\r\n\r\n",
		"nothing":                   "",
	} {
		c := dial(t, url)
		_, err := io.WriteString(c, says)
		must(t, err)
		began := time.Now()
		if _, err := io.Copy(io.Discard, c); err != nil && strings.Contains(err.Error(), "timeout") || time.Since(began) > 30*time.Second {
			t.Errorf("%s: held for %v, %v", name, time.Since(began), err)
		}
	}
	c := dial(t, url) // asks for a large file and takes nothing of it
	must(t, c.(*net.TCPConn).SetReadBuffer(4<<10))
	_, err := io.WriteString(c, "GET /ipfs/"+file.String()+" HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
	must(t, err)
	inside := dial(t, url) // somebody else is served meanwhile
	_, err = io.WriteString(inside, "GET /ipfs/"+file.String()+" HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
	must(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(inside), nil)
	must(t, err)
	n, err := io.Copy(io.Discard, resp.Body)
	must(t, resp.Body.Close())
	if n != 64<<20 || err != nil {
		t.Errorf("bob got %d bytes beside mallory: %v", n, err)
	}
	waitClosed(t, c)
}

// waitClosed waits, without reading, until the other side has given a connection up: then writing to it fails.
func waitClosed(t testing.TB, c net.Conn) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if _, err := io.WriteString(c, "x"); err != nil {
			if strings.Contains(err.Error(), "timeout") {
				t.Error("who takes nothing is held for ever")
			}
			return
		}
	}
}

func TestAllowance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAllowances(2, 3)
		alice, bob := clientOf("192.0.2.1:1"), clientOf("192.0.2.2:1")
		for i := range 3 {
			if _, ok := a.take(alice); !ok {
				t.Errorf("request %d of three is refused", i+1)
			}
		}
		if wait, ok := a.take(alice); ok || wait != 500*time.Millisecond {
			t.Errorf("a fourth at once: %v, wait %v", ok, wait)
		}
		if _, ok := a.take(bob); !ok {
			t.Error("bob pays for alice")
		}
		time.Sleep(500 * time.Millisecond)
		if _, ok := a.take(alice); !ok {
			t.Error("half a second later")
		}
	})
	if clientOf("[2001:db8::1:2]:1") != clientOf("[2001:db8::ffff:2]:9") || clientOf("[2001:db8:0:1::1]:1") == clientOf("[2001:db8::1]:1") || clientOf("[::ffff:192.0.2.1]:1") != clientOf("192.0.2.1:2") {
		t.Error("a client is an IPv4 address or an IPv6 /64")
	}
}

func TestTooManyRequests(t *testing.T) {
	s := blocks(t, t.TempDir())
	c := add(t, s, []byte("x"))
	url := serve(t, s, Parts{}, func(c *Config) { c.Rate, c.Burst = 0.001, 2 })
	for i, want := range []int{200, 200, 429, 429} {
		got := ask(t, "GET", url+"/ipfs/"+c.String())
		if got.code != want || want == 429 && (got.Get("Retry-After") == "" || !strings.Contains(string(got.body), "more often")) {
			t.Errorf("request %d: %d %q, want %d", i+1, got.code, got.body, want)
		}
	}
}

// slow is a guide that answers when it is told to.
type slow struct {
	asked chan struct{}
	tell  chan struct{}
}

func (s slow) Providers(ctx context.Context, _ cid.Cid) ([]Provider, error) {
	s.asked <- struct{}{}
	<-s.tell
	return nil, nil
}
func (s slow) Peer(context.Context, peer.ID) ([]Provider, error) { return nil, nil }

func TestTooManyAtOnce(t *testing.T) {
	s := blocks(t, t.TempDir())
	c := add(t, s, []byte("x"))
	guide := slow{make(chan struct{}), make(chan struct{})}
	url := serve(t, s, Parts{Guide: guide}, func(c *Config) { c.Requests = 1 })
	var waits sync.WaitGroup
	waits.Go(func() { ask(t, "GET", url+"/routing/v1/providers/"+c.String()) })
	<-guide.asked
	if got := ask(t, "GET", url+"/ipfs/"+c.String()); got.code != 503 || got.Get("Retry-After") != "1" {
		t.Errorf("a second request: %d", got.code)
	}
	close(guide.tell)
	waits.Wait()
	if got := ask(t, "GET", url+"/ipfs/"+c.String()); got.code != 200 {
		t.Errorf("after the first: %d", got.code)
	}
}

func TestTooManyConnections(t *testing.T) {
	d := &door{most: 3, each: 2, inside: map[netip.Addr]int{}}
	alice, bob, carol := clientOf("192.0.2.1:1"), clientOf("192.0.2.2:1"), clientOf("192.0.2.3:1")
	for i, row := range []struct {
		who netip.Addr
		ok  bool
	}{{alice, true}, {alice, true}, {alice, false}, {bob, true}, {carol, false}} {
		if d.enter(row.who) != row.ok {
			t.Errorf("visit %d: want %v", i+1, row.ok)
		}
	}
	d.leave(alice)
	if !d.enter(carol) || len(d.inside) != 3 {
		t.Error("carol takes the place that is free")
	}
	s := blocks(t, t.TempDir())
	url := serve(t, s, Parts{}, func(c *Config) { c.Connections = 1 })
	first := dial(t, url)
	_, err := fmt.Fprintf(first, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", strings.TrimPrefix(url, "http://"))
	must(t, err)
	_, err = http.ReadResponse(bufio.NewReader(first), nil) // it is inside
	must(t, err)
	if _, err := io.ReadFull(dial(t, url), make([]byte, 1)); err == nil {
		t.Error("a second connection is answered")
	}
}

// pair opens alice's and bob's stores, connected.
func pair(t testing.TB) (alice, bob *store.Store) {
	t.Helper()
	hosts := [2]host.Host{}
	for i := range hosts {
		h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableRelay())
		must(t, err)
		t.Cleanup(func() { must(t, h.Close()) })
		hosts[i] = h
	}
	open := func(h host.Host) *store.Store {
		s, err := store.Open(quiet(), t.TempDir(), h, store.Default())
		must(t, err)
		t.Cleanup(func() { must(t, s.Close()) })
		return s
	}
	alice, bob = open(hosts[0]), open(hosts[1])
	must(t, hosts[0].Connect(t.Context(), peer.AddrInfo{ID: hosts[1].ID(), Addrs: hosts[1].Addrs()}))
	return alice, bob
}

// Alice has a file that bob lacks. His gateway brings it only where he said so, keeps none of it on his disk, and no more than its budget in memory.
func TestFetchingForOthers(t *testing.T) {
	alice, bob := pair(t)
	data := random(12<<20, 4)
	file := add(t, alice, data)
	closed := serve(t, bob, Parts{}, nil)
	if got := ask(t, "GET", closed+"/ipfs/"+file.String()); got.code != 404 {
		t.Errorf("without being told to fetch: %d", got.code)
	}
	for name, cache := range map[string]int64{"no cache": 0, "a cache smaller than the file": 4 << 20, "a large cache": 64 << 20} {
		cfg := Default()
		cfg.Address, cfg.Fetch, cfg.Cache, cfg.Quiet = "127.0.0.1:0", true, cache, 5*time.Second
		g, err := New(quiet(), bob, Parts{}, cfg)
		must(t, err)
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- g.Serve(ctx) }()
		for range 2 {
			if got := ask(t, "GET", g.URL()+"/ipfs/"+file.String()); got.code != 200 || !bytes.Equal(got.body, data) {
				t.Errorf("%s: %d, %d bytes, %v", name, got.code, len(got.body), got.err)
			}
		}
		if cache > 0 {
			g.shelf.cache.CleanUp()
			if held := g.shelf.cache.WeightedSize(); held > uint64(cache) {
				t.Errorf("%s: %d bytes held", name, held)
			}
		}
		stop()
		<-ended
	}
	if held, err := bob.Stat(t.Context()); err != nil || held.Blocks != 0 {
		t.Errorf("%d blocks are on bob's disk: %v", held.Blocks, err)
	}
	url := serve(t, bob, Parts{}, func(c *Config) { c.Fetch, c.Quiet = true, 300*time.Millisecond })
	if got := ask(t, "GET", url+"/ipfs/"+cid.NewCidV1(cid.Raw, sumOf([]byte("nobody"))).String()); got.code != 504 || !strings.Contains(string(got.body), "no connected node") {
		t.Errorf("content that nobody has: %d %s", got.code, got.body)
	}
}

// selfSigned writes a certificate for 127.0.0.1 with a serial number.
func selfSigned(t testing.TB, dir string, serial int64) (certificate, key string, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	must(t, err)
	about := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "cdn.example"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(crand.Reader, about, about, private.Public(), private)
	must(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	must(t, err)
	certificate, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	must(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	must(t, os.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(t, os.Chtimes(certificate, time.Unix(serial, 0), time.Unix(serial, 0)))
	pool = x509.NewCertPool()
	parsed, err := x509.ParseCertificate(der)
	must(t, err)
	pool.AddCert(parsed)
	return certificate, key, pool
}

// Alice serves the neighbourhood by HTTPS, and renews her certificate while the gateway runs.
func TestHTTPS(t *testing.T) {
	s, dir := blocks(t, t.TempDir()), t.TempDir()
	c := add(t, s, []byte("hello"))
	certificate, key, pool := selfSigned(t, dir, 1)
	url := trustless(t, s, Parts{}, func(c *Config) { c.Certificate, c.Key = certificate, key })
	if !strings.HasPrefix(url, "https://") {
		t.Fatalf("the URL is %s", url)
	}
	get := func(pool *x509.CertPool) (serial int64, protocol string) {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
		defer transport.CloseIdleConnections()
		resp, err := (&http.Client{Transport: transport}).Get(url + "/ipfs/" + c.String() + "?format=raw")
		must(t, err)
		defer resp.Body.Close()
		if text, err := io.ReadAll(resp.Body); err != nil || string(text) != "hello" {
			t.Errorf("%d %q %v", resp.StatusCode, text, err)
		}
		return resp.TLS.PeerCertificates[0].SerialNumber.Int64(), resp.Proto
	}
	if serial, protocol := get(pool); serial != 1 || protocol != "HTTP/2.0" {
		t.Errorf("certificate %d by %s", serial, protocol)
	}
	_, _, pool = selfSigned(t, dir, 2)
	if serial, _ := get(pool); serial != 2 {
		t.Errorf("certificate %d after it was renewed", serial)
	}
	must(t, os.WriteFile(certificate, []byte("half written"), 0o600))
	if serial, _ := get(pool); serial != 2 {
		t.Errorf("certificate %d while the file is broken", serial)
	}
	cfg := Default()
	cfg.Certificate, cfg.Key = certificate, key
	if _, err := New(quiet(), s, Parts{}, cfg); err == nil {
		t.Error("a gateway starts with a broken certificate")
	}
}

// An owner whose month is used up gives other machines nothing, and themselves what they have; what others are given goes through the throttle.
func TestAGatewayThatGivesNothingNow(t *testing.T) {
	s := blocks(t, t.TempDir())
	c := add(t, s, []byte("hello"))
	why := "300 GB went over the network this month"
	let := 0
	parts := Parts{Closed: func() string { return why }, Paced: func(l net.Listener) net.Listener { let++; return l }}
	far, near := trustless(t, s, parts, nil), serve(t, s, parts, nil)
	if let != 1 {
		t.Errorf("%d of two listeners are paced, want that for other machines", let)
	}
	a := ask(t, "GET", far+"/ipfs/"+c.String()+"?format=raw")
	if a.code != http.StatusServiceUnavailable || !strings.Contains(string(a.body), why) || a.Get("Retry-After") == "" {
		t.Errorf("%d %s", a.code, a.body)
	}
	if a := ask(t, "GET", near+"/ipfs/"+c.String()); a.code != http.StatusOK || string(a.body) != "hello" {
		t.Errorf("the owner gets %d %s", a.code, a.body)
	}
	why = ""
	if a := ask(t, "GET", far+"/ipfs/"+c.String()+"?format=raw"); a.code != http.StatusOK {
		t.Errorf("a month later: %d %s", a.code, a.body)
	}
}
