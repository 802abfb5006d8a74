package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/spec/job"
)

const token = "0123456789abcdef0123456789abcdef"

// serve starts an API over the fakes and returns its host:port.
func serve(t *testing.T, house *fakeHouse) string {
	t.Helper()
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hpips_up 1\n") })
	s, err := New(slog.New(slog.DiscardHandler), house, house, house, metrics, Config{Address: "127.0.0.1:0", Token: token, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()
	t.Cleanup(func() { stop(); <-ended })
	return s.Addr()
}

func TestTheGuardStandsBeforeEverything(t *testing.T) {
	addr := serve(t, newFakeHouse())
	_, port, _ := net.SplitHostPort(addr)
	bearer := "Bearer " + token
	rows := []struct {
		name                       string
		host, origin, site, header string
		want                       int
	}{
		{"alice's own program", addr, "", "", bearer, 200},
		{"by the name localhost", "localhost:" + port, "", "", bearer, 200},
		{"by IPv6 loopback", "[::1]:" + port, "", "", bearer, 200},
		{"in capitals", "LOCALHOST:" + port, "", "", "bearer " + token, 200},
		{"without a token", addr, "", "", "", 401},
		{"with carol's token", addr, "", "", "Bearer " + strings.Repeat("x", len(token)), 401},
		{"with the beginning of the token", addr, "", "", bearer[:len(bearer)-1], 401},
		{"with more than the token", addr, "", "", bearer + "0", 401},
		{"with another scheme", addr, "", "", "Basic " + token, 401},
		{"with the bare token", addr, "", "", token, 401},
		{"rebound name, with a token", "evil.example:" + port, "", "", bearer, 403},
		{"rebound name, without a token", "evil.example:" + port, "", "", "", 403},
		{"name that begins as ours", "127.0.0.1.evil.example:" + port, "", "", bearer, 403},
		{"our address, another port", "127.0.0.1:1", "", "", bearer, 403},
		{"our address, no port", "127.0.0.1", "", "", bearer, 403},
		{"another loopback address", "127.0.0.2:" + port, "", "", bearer, 403},
		{"from our own page", addr, "http://" + addr, "", bearer, 200},
		{"from another page", addr, "http://evil.example", "", bearer, 403},
		{"from another port of this PC", addr, "http://127.0.0.1:1", "", bearer, 403},
		{"from a page without origin", addr, "null", "", bearer, 403},
		{"from TLS, which is not ours", addr, "https://" + addr, "", bearer, 403},
		{"cross-site without Origin", addr, "", "cross-site", bearer, 403},
		{"typed into the browser", addr, "", "none", bearer, 200},
	}
	for _, path := range []string{"/v1/status", "/metrics", "/openapi.json"} {
		for _, row := range rows {
			t.Run(row.name+path, func(t *testing.T) {
				req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+path, nil)
				req.Host = row.host
				setIf(req.Header, "Origin", row.origin)
				setIf(req.Header, "Sec-Fetch-Site", row.site)
				setIf(req.Header, "Authorization", row.header)
				resp, body := send(t, req)
				if resp.StatusCode != row.want {
					t.Fatalf("%d, want %d: %s", resp.StatusCode, row.want, body)
				}
				if row.want != 200 {
					checkFailure(t, body)
				}
				if resp.Header.Get("Access-Control-Allow-Origin") != "" || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
					t.Errorf("headers: %v", resp.Header)
				}
			})
		}
	}
}

func TestErrorsAreGuardedAndHaveOneShape(t *testing.T) {
	addr := serve(t, newFakeHouse())
	rows := []struct {
		name, method, path, body string
		want                     int
		says                     string
	}{
		{"no such page", "GET", "/nothing", "", 404, "/nothing"},
		{"wrong method", "DELETE", "/v1/jobs", "", 0, ""},
		{"no such job", "GET", "/v1/jobs/zzz", "", 404, "zzz"},
		{"no such job to watch", "GET", "/v1/jobs/zzz/events", "", 404, "zzz"},
		{"a number that is none", "GET", "/v1/logs?lines=many", "", 422, "lines"},
		{"a task below all", "GET", "/v1/jobs/a1/logs?task=-2", "", 422, "task"},
		{"unknown field", "POST", "/v1/jobs", `{"kind":"Batch","run":{"wasn":"x"}}`, 422, `did you mean "wasm"?`},
		{"kind without an engine", "POST", "/v1/jobs", `{"kind":"MPI","run":{"wasm":"x"}}`, 422, "MPI has no engine"},
		{"not JSON", "POST", "/v1/jobs", `{{{`, 422, ""},
		{"relative path", "POST", "/v1/content/import", `{"path":"x"}`, 422, "not an absolute path"},
		{"body over the limit", "POST", "/v1/content/import", `{"path":"` + strings.Repeat("x", maxBody) + `"}`, 0, ""},
		{"spec over the limit", "POST", "/v1/jobs", strings.Repeat(" ", job.MaxSpec+1), 0, ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			req, _ := http.NewRequestWithContext(t.Context(), row.method, "http://"+addr+row.path, strings.NewReader(row.body))
			if row.body != "" {
				req.Header.Set("Content-Type", "application/json")
			}
			resp, _ := send(t, req.Clone(t.Context()))
			if resp.StatusCode != 401 {
				t.Fatalf("without a token: %d", resp.StatusCode)
			}
			req.Header.Set("Authorization", "Bearer "+token)
			req.Body = io.NopCloser(strings.NewReader(row.body))
			resp, body := send(t, req)
			if resp.StatusCode < 400 || row.want != 0 && resp.StatusCode != row.want {
				t.Fatalf("%d, want %d: %s", resp.StatusCode, row.want, body)
			}
			if f := checkFailure(t, body); !strings.Contains(f.Message+f.Hint, row.says) {
				t.Errorf("%+v does not say %q", f, row.says)
			}
		})
	}
}

func TestOnlyLoopbackIsListenedOn(t *testing.T) {
	for _, row := range []struct {
		address string
		ok      bool
	}{
		{"127.0.0.1:0", true}, {"localhost:0", true}, {"[::1]:0", true},
		{"0.0.0.0:4712", false}, {":4712", false}, {"192.168.1.2:4712", false}, {"[::]:0", false}, {"example.org:80", false}, {"127.0.0.1", false}, {"", false},
	} {
		if err := (Config{Address: row.address, Token: token}).Check(); (err == nil) != row.ok {
			t.Errorf("%q: %v", row.address, err)
		}
	}
}

func TestABusyPortIsNamedWithItsRemedy(t *testing.T) {
	addr := serve(t, newFakeHouse())
	house := newFakeHouse()
	_, err := New(slog.New(slog.DiscardHandler), house, house, house, nil, Config{Address: addr, Token: token})
	f := AsFailure(err)
	if err == nil || !strings.Contains(f.Message, addr) || !strings.Contains(f.Hint, "--api") {
		t.Fatalf("%+v", f)
	}
}

func send(t *testing.T, req *http.Request) (*http.Response, []byte) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}

func checkFailure(t *testing.T, body []byte) job.Failure {
	t.Helper()
	var b client.ErrorBody
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&b); err != nil || b.Error.Code == "" || b.Error.Message == "" || !bytes.Contains(body, []byte(`"hint":"`)) {
		t.Fatalf("not a failure (%v): %s", err, body)
	}
	return b.Error
}

func setIf(h http.Header, name, value string) {
	if value != "" {
		h.Set(name, value)
	}
}
