package egress

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/hpips/hpips/p2p"
	"github.com/hpips/hpips/spec/job"
)

func places(t *testing.T, list ...string) []job.Reach {
	t.Helper()
	all, err := job.ParseReaches(list)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// open runs a proxy on loopback until the test ends.
func open(t *testing.T, cfg Config) (*Proxy, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := New(slog.New(slog.NewTextHandler(t.Output(), nil)), cfg)
	ended := make(chan error, 1)
	go func() { ended <- p.Serve(l) }()
	t.Cleanup(func() {
		if err := errors.Join(p.Close(), <-ended); err != nil {
			t.Error(err)
		}
	})
	return p, l.Addr().String()
}

// names is a resolver that knows what it is told, spoken to by DNS over a pipe of its own.
func names(t *testing.T, known map[string]string) *net.Resolver {
	t.Helper()
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		mine, theirs := net.Pipe()
		go answer(theirs, known)
		return mine, nil
	}}
}

func client(proxy string) *http.Client {
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: proxy}), DisableKeepAlives: true}}
}

func get(t *testing.T, c *http.Client, address string) (int, string) {
	t.Helper()
	resp, err := c.Get(address)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// Alice's task reaches what she asked for and bob allowed, by name and by address, and is told why it reaches nothing else.
func TestWhatIsReached(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello from ", r.Host) }))
	defer web.Close()
	_, port, err := net.SplitHostPort(web.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	resolver := names(t, map[string]string{"data.example.": "127.0.0.1", "sneaky.example.": "127.0.0.1", "public.example.": "9.9.9.9", "inside.example.": "192.168.1.1"})
	rows := []struct {
		name           string
		asked, allowed []string
		address        string
		status         int
		says           string
	}{
		{"a named address", []string{"127.0.0.1:" + port}, []string{"127.0.0.0/8:" + port}, "127.0.0.1", 200, "hello from 127.0.0.1"},
		{"a name whose address the owner named", []string{"data.example:" + port}, []string{"data.example:" + port, "127.0.0.1:" + port}, "data.example", 200, "hello from data.example"},
		{"a name that leads to this PC", []string{"*:" + port}, []string{"*:" + port}, "sneaky.example", 403, "owner's own networks"},
		{"a name that leads into the owner's home", []string{"*:" + port}, []string{"*:" + port}, "inside.example", 403, "owner's own networks"},
		{"what the job did not ask for", []string{"other.example:" + port}, []string{"*:" + port, "127.0.0.1:" + port}, "data.example", 403, "did not ask"},
		{"what the owner did not allow", []string{"data.example:" + port}, []string{"other.example:" + port}, "data.example", 403, "owner of this node"},
		{"another port", []string{"127.0.0.1"}, []string{"127.0.0.1"}, "127.0.0.1", 403, "did not ask"},
		{"an address by a rule for names", []string{"*:" + port}, []string{"*:" + port}, "127.0.0.1", 403, "did not ask"},
		{"nothing asked for", nil, []string{"*:" + port}, "data.example", 403, "did not ask"},
		{"a name that nobody has", []string{"*:" + port}, []string{"*:" + port}, "nowhere.example", 502, "not found"},
	}
	for _, row := range rows {
		_, proxy := open(t, Config{Asked: places(t, row.asked...), Allowed: places(t, row.allowed...), Resolver: resolver, Own: []netip.Prefix{}})
		if status, said := get(t, client(proxy), "http://"+row.address+":"+port+"/"); status != row.status || !strings.Contains(said, row.says) {
			t.Errorf("%s: %d %q", row.name, status, said)
		}
		// The same through a tunnel, as programs ask for https.
		c, err := net.Dial("tcp", proxy)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "CONNECT %s:%s HTTP/1.1\r\nHost: %s\r\n\r\n", row.address, port, row.address)
		r := bufio.NewReader(c)
		resp, err := http.ReadResponse(r, &http.Request{Method: http.MethodConnect})
		if err != nil || resp.StatusCode != row.status {
			t.Errorf("%s, by a tunnel: %v, %v", row.name, resp, err)
		}
		if row.status == 200 {
			fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", row.address)
			inner, err := http.ReadResponse(r, nil)
			if err != nil || inner.StatusCode != 200 {
				t.Errorf("%s, through the tunnel: %v, %v", row.name, inner, err)
			} else {
				inner.Body.Close()
			}
		}
		c.Close()
	}
}

// A name that leads into a network of this machine is no way to the owner's other devices, public as their addresses may be.
func TestNeighboursAreNotReached(t *testing.T) {
	resolver := names(t, map[string]string{"printer.example.": "9.9.9.9"})
	_, proxy := open(t, Config{Asked: places(t, "*"), Allowed: places(t, "*"), Resolver: resolver, Own: []netip.Prefix{netip.MustParsePrefix("9.9.9.0/24")}})
	if status, said := get(t, client(proxy), "http://printer.example/"); status != 403 || !strings.Contains(said, "own networks") {
		t.Errorf("%d %q", status, said)
	}
}

// A name that leads to the address by which others see this machine leads to the owner's router, public as that is.
func TestTheRouterIsNotReached(t *testing.T) {
	resolver := names(t, map[string]string{"router.example.": "9.9.9.9"})
	seen := []netip.Addr{netip.MustParseAddr("8.8.4.4")}
	p, proxy := open(t, Config{Asked: places(t, "*"), Allowed: places(t, "*"), Resolver: resolver, Own: []netip.Prefix{}, Seen: func() []netip.Addr { return seen }})
	if to, err := p.targets(t.Context(), "router.example", 80); err != nil || len(to) != 1 {
		t.Fatalf("before it is known: %v, %v", to, err)
	}
	seen = append(seen, netip.MustParseAddr("9.9.9.9"))
	if status, said := get(t, client(proxy), "http://router.example/"); status != 403 || !strings.Contains(said, "own networks") {
		t.Errorf("%d %q", status, said)
	}
}

func TestPublicAddresses(t *testing.T) {
	for text, want := range map[string]bool{"9.9.9.9": true, "2606:4700::1": true, "127.0.0.1": false, "10.1.1.1": false, "192.168.0.1": false, "172.16.0.1": false, "169.254.169.254": false, "100.64.0.1": false,
		"0.0.0.0": false, "224.0.0.1": false, "255.255.255.255": false, "::1": false, "::": false, "fe80::1": false, "fc00::1": false, "ff02::1": false, "::ffff:127.0.0.1": false, "64:ff9b::7f00:1": false, "2002:7f00:1::": false, "198.18.0.1": false} {
		if got := Public(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

// What is no request for a proxy is refused, and more connections than are possible are told so.
func TestOddRequests(t *testing.T) {
	_, proxy := open(t, Config{Asked: places(t, "*"), Allowed: places(t, "*"), Connections: 1})
	for request, want := range map[string]int{"GET / HTTP/1.1\r\nHost: x\r\n\r\n": 400, "GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\n": 400, "CONNECT x HTTP/1.1\r\nHost: x\r\n\r\n": 403, "CONNECT x:0 HTTP/1.1\r\nHost: x\r\n\r\n": 403,
		"CONNECT x:99999 HTTP/1.1\r\nHost: x\r\n\r\n": 403} {
		c, err := net.Dial("tcp", proxy)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(c, request)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || resp.StatusCode != want {
			t.Errorf("%q: %v, %v", request, resp, err)
		}
		c.Close()
	}
	quiet, err := net.Listen("tcp", "127.0.0.1:0") // a place that takes a connection and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer quiet.Close()
	at := quiet.Addr().String()
	_, proxy = open(t, Config{Asked: places(t, at), Allowed: places(t, at), Connections: 1})
	first, err := net.Dial("tcp", proxy)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	fmt.Fprintf(first, "CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n", at)
	if resp, err := http.ReadResponse(bufio.NewReader(first), &http.Request{Method: http.MethodConnect}); err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	if status, said := get(t, client(proxy), "http://"+at+"/"); status != 503 || !strings.Contains(said, "no more are possible") {
		t.Errorf("%d %q", status, said)
	}
}

// What goes through is counted, and keeps to the rate within a tenth.
func TestRate(t *testing.T) {
	const size, perSecond = 3 << 20, 2 << 20
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, size)) }))
	defer web.Close()
	at := web.Listener.Addr().String()
	throttle := p2p.NewThrottle()
	throttle.Limit(0, perSecond)
	p, proxy := open(t, Config{Asked: places(t, at), Allowed: places(t, at), Pace: throttle.Conn})
	began := time.Now()
	status, body := get(t, client(proxy), web.URL)
	took := time.Since(began)
	if status != 200 || len(body) != size {
		t.Fatalf("%d, %d bytes", status, len(body))
	}
	want := time.Duration(float64(size) / perSecond * float64(time.Second))
	if took < want*9/10-100*time.Millisecond || took > want*11/10+time.Second {
		t.Errorf("%d bytes came in %v, and %v is what the rate allows", size, took, want)
	}
	if sent, received := p.Moved(); received < size || received > size+4096 || sent == 0 || sent > 4096 {
		t.Errorf("%d bytes sent and %d received are counted", sent, received)
	}
}

// The end of the proxy ends what is open.
func TestCloseEndsTunnels(t *testing.T) {
	quiet, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer quiet.Close()
	at := quiet.Addr().String()
	p, proxy := open(t, Config{Asked: places(t, at), Allowed: places(t, at)})
	c, err := net.Dial("tcp", proxy)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n", at)
	r := bufio.NewReader(c)
	if resp, err := http.ReadResponse(r, &http.Request{Method: http.MethodConnect}); err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if _, err := r.ReadByte(); err == nil {
		t.Error("the tunnel goes on")
	}
}
