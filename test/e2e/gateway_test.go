package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/test/e2e/pc"
)

// fetched is what one plain HTTP request brought.
type fetched struct {
	code int
	http.Header
	body []byte
}

func fetch(t *testing.T, method, url string, header ...string) fetched {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fetched{resp.StatusCode, resp.Header, body}
}

// plant writes a file, and the folders above it.
func plant(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Alice puts a folder and starts a gateway. Bob, who has nothing but HTTP, reads files, ranges and blocks; a second life of the gateway, reachable
// from other machines, gives him blocks alone.
func TestGateway(t *testing.T) {
	p := alice(t, "--no-chain", "--gateway", ":0")
	st := p.Await(t, "has a gateway", func(st client.Status) bool { return st.Gateway != nil })
	if g := st.Gateway; !strings.HasPrefix(g.URL, "http://127.0.0.1:") || g.Trustless || g.Fetch {
		t.Fatalf("the gateway says %+v", g)
	}
	dir := filepath.Join(t.TempDir(), "site")
	movie := bytes.Repeat([]byte("0123456789abcdef"), 200_000)
	plant(t, filepath.Join(dir, "index.html"), "<h1>alice</h1>")
	plant(t, filepath.Join(dir, "films", "one.bin"), string(movie))
	root := p.Must(t, "put", "-q", dir)
	near := st.Gateway.URL + "/ipfs/" + root
	if got := fetch(t, "GET", near+"/"); got.code != 200 || string(got.body) != "<h1>alice</h1>" || !strings.HasPrefix(got.Get("Content-Type"), "text/html") {
		t.Errorf("the page: %d %q %s", got.code, got.body, got.Get("Content-Type"))
	}
	got := fetch(t, "GET", near+"/films/one.bin", "Range", "bytes=1048570-1048600")
	if got.code != 206 || !bytes.Equal(got.body, movie[1048570:1048601]) {
		t.Errorf("a range: %d, %d bytes", got.code, len(got.body))
	}
	if again := fetch(t, "GET", near+"/films/one.bin", "If-None-Match", got.Get("Etag")); again.code != 304 {
		t.Errorf("what bob has already: %d", again.code)
	}
	if got := fetch(t, "HEAD", near+"/films/one.bin"); got.code != 200 || got.Get("Content-Length") != "3200000" || !strings.Contains(got.Get("Cache-Control"), "immutable") {
		t.Errorf("HEAD: %d %v", got.code, got.Header)
	}
	for path, code := range map[string]int{"/": 404, "/api.token": 404, "/ipns/x": 404, "/ipfs/%2e%2e/api.token": 400, "/ipfs/bafkreic22obqjnjvykmh3pjemv6buenyqsme75qa3hzytxvq2ttdj7xhsi": 404} {
		if got := fetch(t, "GET", st.Gateway.URL+path); got.code != code {
			t.Errorf("%s: %d %s, want %d", path, got.code, got.body, code)
		}
	}
	var who struct{ Providers []struct{ ID, Schema string } }
	if got := fetch(t, "GET", st.Gateway.URL+"/routing/v1/providers/"+root); json.Unmarshal(got.body, &who) != nil || len(who.Providers) != 1 || who.Providers[0].ID != st.Node {
		t.Errorf("who has it: %d %s", got.code, got.body)
	}
	metrics := bytes.Buffer{}
	if err := p.API(t).Metrics(t.Context(), &metrics); err != nil || !strings.Contains(metrics.String(), "ipfs_http_gw_responses_total") {
		t.Errorf("the metrics lack the gateway: %v", err)
	}
	if code := p.Stop(t); code != 0 {
		t.Fatalf("alice's node ends with %d\n%s", code, p.Log(10))
	}

	p.Up(t, "--gateway", "0.0.0.0:0")
	st = p.Await(t, "has a gateway again", func(st client.Status) bool { return st.Gateway != nil })
	_, port, _ := strings.Cut(strings.TrimPrefix(st.Gateway.URL, "http://"), "]:")
	if port == "" {
		_, port, _ = strings.Cut(strings.TrimPrefix(st.Gateway.URL, "http://"), ":")
	}
	far := "http://127.0.0.1:" + port + "/ipfs/" + root
	if !st.Gateway.Trustless {
		t.Errorf("at all addresses: %+v", st.Gateway)
	}
	if got := fetch(t, "GET", far+"/index.html"); got.code != 406 {
		t.Errorf("a page from afar: %d", got.code)
	}
	got = fetch(t, "GET", far+"?format=raw")
	c, err := cid.Decode(root)
	if sum := sha256.Sum256(got.body); err != nil || got.code != 200 || !bytes.Equal(sum[:], c.Hash()[2:]) {
		t.Errorf("the block: %d, %d bytes, %v", got.code, len(got.body), err)
	}
}

// What is said about the gateway is checked before anything starts.
func TestGatewayThatCannotBe(t *testing.T) {
	p := pc.New(t, built.hpips, "alice")
	config := filepath.Join(p.Home, "config.toml")
	for text, says := range map[string]string{
		"address = \"nowhere\"":                                 "nowhere",
		"address = \"127.0.0.1:0\"\ncertificate = \"cert.pem\"": "belong together",
		"address = \"127.0.0.1:0\"\ndeny = [\"x\"]":             "gateway.deny",
		"address = \"127.0.0.1:0\"\ncache = \"much\"":           "gateway.cache",
		"host = \"127.0.0.1:0\"":                                "unknown field",
		"address = \"127.0.0.1:0\"\npin_size = \"x\"":           "gateway.pin_size",
		"address = \"0.0.0.0:0\"\npins = true":                  "in the clear",
		"pins = true":                                           "needs a gateway",
		"address = \"127.0.0.1:0\"\nurl = \"cdn.example\"":      "URL",
	} {
		plant(t, config, "version = 1\n[gateway]\n"+text+"\n")
		a := p.Hpips(t, "up", "--no-mdns", "--no-chain", "--api", "127.0.0.1:0", "--listen", "/ip4/127.0.0.1/tcp/0", "-o", "json")
		var told struct{ Error job.Failure }
		if err := json.Unmarshal([]byte(a.Stdout), &told); a.Code != 125 || err != nil || !strings.Contains(told.Error.Message, says) || told.Error.Hint == "" {
			t.Errorf("%q: %d %s%s", text, a.Code, a.Stdout, a.Stderr)
		}
	}
}
