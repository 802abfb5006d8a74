package gateway

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	boxo "github.com/ipfs/boxo/gateway"
	"github.com/ipfs/boxo/path"
	"github.com/ipfs/go-cid"
	"go.uber.org/goleak"

	"github.com/hpips/hpips/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func random(n int, seed byte) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(data)
	return data
}

// blocks opens an offline store in dir.
func blocks(t testing.TB, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(quiet(), dir, nil, store.Default())
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

func add(t testing.TB, s *store.Store, data []byte) cid.Cid {
	t.Helper()
	e, err := s.AddBytes(t.Context(), data)
	must(t, err)
	must(t, s.Flush(t.Context()))
	return e.CID
}

// serve runs a gateway at a free port until the test ends and gives its URL.
func serve(t testing.TB, s *store.Store, parts Parts, change func(*Config)) string {
	t.Helper()
	cfg := Default()
	cfg.Address = "127.0.0.1:0"
	if change != nil {
		change(&cfg)
	}
	g, err := New(quiet(), s, parts, cfg)
	must(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- g.Serve(ctx) }()
	t.Cleanup(func() { stop(); <-ended })
	return g.URL()
}

// trustless makes a gateway behave as where other machines reach it, without opening a port to them.
func trustless(t testing.TB, s *store.Store, parts Parts, change func(*Config)) string {
	t.Helper()
	url := serve(t, s, parts, func(c *Config) {
		c.Address = "0.0.0.0:0"
		if change != nil {
			change(c)
		}
	})
	_, port, err := net.SplitHostPort(strings.TrimPrefix(strings.TrimPrefix(url, "https://"), "http://"))
	must(t, err)
	scheme, _, _ := strings.Cut(url, "://")
	return scheme + "://127.0.0.1:" + port
}

// answer is what one request brought.
type answer struct {
	code int
	http.Header
	body []byte
	err  error // of reading the body
}

func ask(t testing.TB, method, url string, header ...string) answer {
	t.Helper()
	return askOf(t, http.DefaultClient, method, url, nil, header...)
}

func askOf(t testing.TB, c *http.Client, method, url string, body io.Reader, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	must(t, err)
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	must(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, text, err}
}

// car reads a CAR of version 1 and gives its blocks in order, each with its hash checked; whole is false where it ends within one.
func car(t testing.TB, body []byte) (found []cid.Cid, whole bool) {
	t.Helper()
	for first := true; len(body) > 0; first = false {
		n, k := binary.Uvarint(body)
		if k <= 0 || uint64(len(body)-k) < n {
			return found, false
		}
		section := body[k : k+int(n)]
		body = body[k+int(n):]
		if first {
			continue // the header
		}
		size, c, err := cid.CidFromBytes(section)
		if err != nil {
			return found, false
		}
		sum, err := c.Prefix().Sum(section[size:])
		must(t, err)
		if !sum.Equals(c) {
			t.Fatalf("block %s in a CAR has other bytes", c)
		}
		found = append(found, c)
	}
	return found, true
}

// Alice keeps a file of three and a half leaves, a small one, and a folder. Bob asks for them from her own PC and from afar.
func TestWhatIsServed(t *testing.T) {
	s := blocks(t, t.TempDir())
	data := random(3<<20+512<<10, 1)
	big := add(t, s, data)
	small := add(t, s, []byte("hello"))
	dir, err := s.Dir(t.Context(), []store.Link{{Name: "big", CID: big}, {Name: "hello.txt", CID: small, Size: 5}})
	must(t, err)
	near, far := serve(t, s, Parts{}, nil), trustless(t, s, Parts{}, nil)

	const immutable = "public, max-age=29030400, immutable"
	root, err := s.Block(t.Context(), big)
	must(t, err)
	for _, row := range []struct {
		name, url, header string
		code              int
		want              []byte
		etag              string
	}{
		{"a file", near + "/ipfs/" + big.String(), "", 200, data, `"` + big.String() + `"`},
		{"a file in a folder", near + "/ipfs/" + dir.CID.String() + "/hello.txt", "", 200, []byte("hello"), `"` + small.String() + `"`},
		{"a range over a leaf's end", near + "/ipfs/" + big.String(), "Range: bytes=1048000-1049000", 206, data[1048000:1049001], `"` + big.String() + `"`},
		{"the last bytes", near + "/ipfs/" + big.String(), "Range: bytes=-7", 206, data[len(data)-7:], `"` + big.String() + `"`},
		{"a range behind the end", near + "/ipfs/" + big.String(), "Range: bytes=9999999-", 416, nil, `"` + big.String() + `"`},
		{"a raw block", far + "/ipfs/" + big.String() + "?format=raw", "", 200, root.RawData(), `"` + big.String() + `.raw"`},
		{"a raw block by Accept", far + "/ipfs/" + small.String(), "Accept: application/vnd.ipld.raw", 200, []byte("hello"), `"` + small.String() + `.raw"`},
		{"known already", near + "/ipfs/" + big.String(), `If-None-Match: "` + big.String() + `"`, 304, []byte{}, `"` + big.String() + `"`},
		{"known already, raw", far + "/ipfs/" + big.String() + "?format=raw", `If-None-Match: "` + big.String() + `.raw"`, 304, []byte{}, `"` + big.String() + `.raw"`},
		{"a whole file from afar", far + "/ipfs/" + big.String(), "", 406, nil, ""},
		{"a folder from afar", far + "/ipfs/" + dir.CID.String() + "/", "", 406, nil, ""},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			header := []string{}
			if k, v, ok := strings.Cut(row.header, ": "); ok {
				header = []string{k, v}
			}
			got := ask(t, method, row.url, header...)
			if got.code != row.code {
				t.Errorf("%s, %s: %d %s, want %d", row.name, method, got.code, got.body, row.code)
				continue
			}
			if method == "GET" && row.want != nil && !bytes.Equal(got.body, row.want) {
				t.Errorf("%s: %d bytes, want %d", row.name, len(got.body), len(row.want))
			}
			if method == "HEAD" && len(got.body) != 0 {
				t.Errorf("%s: HEAD has a body of %d bytes", row.name, len(got.body))
			}
			if row.code/100 == 2 && got.Get("Cache-Control") != immutable {
				t.Errorf("%s, %s: Cache-Control %q", row.name, method, got.Get("Cache-Control"))
			}
			if row.code < 400 && got.Get("Etag") != row.etag {
				t.Errorf("%s, %s: Etag %q, want %q", row.name, method, got.Get("Etag"), row.etag)
			}
		}
	}
	if got := ask(t, "GET", near+"/ipfs/"+dir.CID.String()+"/"); got.code != 200 || !bytes.Contains(got.body, []byte("hello.txt")) {
		t.Errorf("a folder near: %d", got.code)
	}
}

// What boxo's own clients of a gateway make of ours.
func TestBoxosClients(t *testing.T) {
	s := blocks(t, t.TempDir())
	data := random(2<<20+5, 2)
	big := add(t, s, data)
	dir, err := s.Dir(t.Context(), []store.Link{{Name: "big", CID: big}})
	must(t, err)
	url := trustless(t, s, Parts{}, nil)
	byBlock, err := boxo.NewRemoteBlocksBackend([]string{url}, http.DefaultClient)
	must(t, err)
	byCAR, err := boxo.NewRemoteCarBackend([]string{url}, http.DefaultClient)
	must(t, err)
	p, err := path.NewPath("/ipfs/" + dir.CID.String() + "/big")
	must(t, err)
	where, err := path.NewImmutablePath(p)
	must(t, err)
	for name, b := range map[string]boxo.IPFSBackend{"by blocks": byBlock, "by CAR": byCAR} {
		again := httpOver(t, b)
		got := ask(t, "GET", again+where.String())
		if got.code != 200 || !bytes.Equal(got.body, data) {
			t.Errorf("%s: %d, %d bytes", name, got.code, len(got.body))
		}
		got = ask(t, "GET", again+where.String(), "Range", "bytes=1048570-1048580")
		if got.code != 206 || !bytes.Equal(got.body, data[1048570:1048581]) {
			t.Errorf("%s, a range: %d, %d bytes", name, got.code, len(got.body))
		}
	}
}

// httpOver serves a backend of boxo's.
func httpOver(t testing.TB, b boxo.IPFSBackend) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	srv := &http.Server{Handler: boxo.NewHandler(boxo.Config{DeserializedResponses: true, NoDNSLink: true}, b), ReadHeaderTimeout: time.Second}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close(); <-ended })
	return "http://" + l.Addr().String()
}

func TestCARs(t *testing.T) {
	s := blocks(t, t.TempDir())
	big := add(t, s, random(3<<20+5, 1))
	dir, err := s.Dir(t.Context(), []store.Link{{Name: "big", CID: big}})
	must(t, err)
	far := trustless(t, s, Parts{}, nil)
	for _, row := range []struct {
		name, path string
		count      int
		first      cid.Cid
	}{
		{"all", "/ipfs/" + dir.CID.String(), 6, dir.CID},
		{"one block", "/ipfs/" + dir.CID.String() + "?dag-scope=block", 1, dir.CID},
		{"a folder alone", "/ipfs/" + dir.CID.String() + "?dag-scope=entity", 1, dir.CID},
		{"a file by its path", "/ipfs/" + dir.CID.String() + "/big?dag-scope=entity", 6, dir.CID},
		{"bytes of the second leaf", "/ipfs/" + big.String() + "?dag-scope=entity&entity-bytes=1048576:1048580", 2, big},
		{"bytes of two leaves", "/ipfs/" + big.String() + "?dag-scope=entity&entity-bytes=1048570:1048580", 3, big},
		{"the last byte", "/ipfs/" + big.String() + "?dag-scope=entity&entity-bytes=-1:*", 2, big},
	} {
		got := ask(t, "GET", far+row.path, "Accept", "application/vnd.ipld.car; version=1; order=dfs; dups=n")
		found, whole := car(t, got.body)
		if got.code != 200 || !whole || len(found) != row.count || found[0] != row.first {
			t.Errorf("%s: %d, %d blocks, whole %v: %s", row.name, got.code, len(found), whole, found)
		}
		if got.Get("Etag") == "" || !strings.Contains(got.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: header %v", row.name, got.Header)
		}
		if again := ask(t, "GET", far+row.path, "Accept", "application/vnd.ipld.car; version=1; order=dfs; dups=n", "If-None-Match", got.Get("Etag")); again.code != 304 {
			t.Errorf("%s, known already: %d", row.name, again.code)
		}
	}
}

func TestWhatIsRefused(t *testing.T) {
	s := blocks(t, t.TempDir())
	here := add(t, s, []byte("here"))
	bad := add(t, s, random(2<<20, 9))
	above, err := s.Dir(t.Context(), []store.Link{{Name: "bad", CID: bad}, {Name: "good", CID: here, Size: 4}})
	must(t, err)
	near := serve(t, s, Parts{}, func(c *Config) { c.Deny = []cid.Cid{bad}; c.Origins = []string{"https://friend.example"} })
	far := trustless(t, s, Parts{}, func(c *Config) { c.Deny = []cid.Cid{bad} })
	port := near[strings.LastIndex(near, ":")+1:]
	absent := cid.NewCidV1(cid.Raw, sumOf([]byte("absent")))
	for _, row := range []struct {
		name, method, url string
		header            []string
		code              int
		says              string
	}{
		{"the root", "GET", near + "/", nil, 404, "/ipfs/CID"},
		{"no CID", "GET", near + "/ipfs/", nil, 404, "/ipfs/CID"},
		{"a bad CID", "GET", near + "/ipfs/bafybroken", nil, 400, "cid"},
		{"a CID of an unsafe hash", "GET", near + "/ipfs/" + cid.NewCidV1(cid.Raw, []byte{0xd5, 0x01, 1, 7}).String(), nil, 500, "hash"},
		{"content that is not here", "GET", near + "/ipfs/" + absent.String(), nil, 404, "could not find"},
		{"content that is not here, raw", "GET", far + "/ipfs/" + absent.String() + "?format=raw", nil, 404, "could not find"},
		{"content that is not here, CAR", "GET", far + "/ipfs/" + absent.String() + "?format=car", nil, 404, "could not find"},
		{"only if cached", "GET", near + "/ipfs/" + absent.String(), []string{"Cache-Control", "only-if-cached"}, 412, ""},
		{"a name that a folder lacks", "GET", near + "/ipfs/" + above.CID.String() + "/ugly", nil, 404, "ugly"},
		{"a name", "GET", near + "/ipns/example.com", nil, 404, "names (/ipns/) are not looked up"},
		{"what is denied", "GET", near + "/ipfs/" + bad.String(), nil, 410, "the owner of this node does not serve"},
		{"what is denied, raw", "GET", far + "/ipfs/" + bad.String() + "?format=raw", nil, 410, "does not serve"},
		{"what is denied, by its path", "GET", near + "/ipfs/" + above.CID.String() + "/bad", nil, 410, "does not serve"},
		{"its neighbour", "GET", near + "/ipfs/" + above.CID.String() + "/good", nil, 200, "here"},
		{"a path that climbs", "GET", near + "/ipfs/../../etc/passwd", nil, 400, "no . and .."},
		{"a path that climbs, escaped", "GET", near + "/ipfs/" + above.CID.String() + "/%2e%2e/%2e%2e/etc/passwd", nil, 400, "no . and .."},
		{"a path that climbs by slashes", "GET", near + "/ipfs/..%2f..%2fapi.token", nil, 400, "no . and .."},
		{"a file of the home", "GET", near + "/api.token", nil, 404, "nothing at this address"},
		{"an API of Kubo's", "POST", near + "/api/v0/id", nil, 404, "nothing at this address"},
		{"writing", "PUT", near + "/ipfs/" + here.String(), nil, 405, "not possible"},
		{"posting", "POST", near + "/ipfs/", nil, 404, ""},
		{"pins in the clear", "GET", far + "/pins", nil, 403, "HTTPS"},
		{"a long address", "GET", near + "/ipfs/" + here.String() + "?filename=" + strings.Repeat("x", maxURL), nil, 414, "longer than"},
		{"a name that was rebound", "GET", near + "/ipfs/" + here.String(), []string{"Host", "evil.example:" + port}, 403, "loopback"},
		{"another port", "GET", near + "/ipfs/" + here.String(), []string{"Host", "127.0.0.1:1"}, 403, "loopback"},
		{"a name that begins as ours", "GET", near + "/ipfs/" + here.String(), []string{"Host", "127.0.0.1.evil.example:" + port}, 403, "loopback"},
		{"by the name localhost", "GET", near + "/ipfs/" + here.String(), []string{"Host", "LOCALHOST:" + port}, 200, "here"},
		{"any name from afar", "GET", far + "/ipfs/" + here.String() + "?format=raw", []string{"Host", "cdn.example"}, 200, "here"},
		{"a strange page", "GET", near + "/ipfs/" + here.String(), []string{"Origin", "https://evil.example"}, 403, "other sites"},
		{"a page without origin", "GET", near + "/ipfs/" + here.String(), []string{"Origin", "null"}, 403, "other sites"},
		{"an image in a strange page", "GET", near + "/ipfs/" + here.String(), []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"}, 403, "other sites"},
		{"a link that a person follows", "GET", near + "/ipfs/" + here.String(), []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, 200, "here"},
		{"a frame in a strange page", "GET", near + "/ipfs/" + here.String(), []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}, 403, "other sites"},
		{"a friend's page", "GET", near + "/ipfs/" + here.String(), []string{"Origin", "https://friend.example", "Sec-Fetch-Site", "cross-site"}, 200, "here"},
		{"any page from afar", "GET", far + "/ipfs/" + here.String() + "?format=raw", []string{"Origin", "https://any.example"}, 200, "here"},
		{"a header that is too large", "GET", near + "/ipfs/" + here.String(), []string{"X-Large", strings.Repeat("x", 2*maxHeader)}, 431, ""},
	} {
		got := ask(t, row.method, row.url, row.header...)
		if got.code != row.code || !strings.Contains(string(got.body), row.says) {
			t.Errorf("%s: %d %q, want %d and %q", row.name, got.code, got.body, row.code, row.says)
		}
		if strings.Contains(string(got.body), "<html") {
			t.Errorf("%s: an error is a page", row.name)
		}
	}
	resp, err := http.Get(far + "/ipfs/" + above.CID.String() + "?format=car")
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		must(t, resp.Body.Close())
	}
	if err == nil {
		t.Error("a CAR with what is denied came whole")
	}
	for name, origin := range map[string]string{near: "https://friend.example", far: "*"} {
		if got := ask(t, "GET", name+"/ipfs/"+here.String()+"?format=raw", "Origin", "https://friend.example"); got.Get("Access-Control-Allow-Origin") != origin {
			t.Errorf("pages may read: %q, want %q", got.Get("Access-Control-Allow-Origin"), origin)
		}
	}
}

// A bit of alice's disk turns over. Nobody gets the block, and a CAR or a file with it in the middle is not taken for whole.
func TestATamperedBlockIsNeverServed(t *testing.T) {
	for _, cache := range []int64{0, 64 << 20} {
		dir := t.TempDir()
		first, err := store.Open(quiet(), dir, nil, store.Default())
		must(t, err)
		data := random(4<<20, 3)
		e, err := first.AddBytes(t.Context(), data)
		must(t, err)
		must(t, first.Close())
		damaged := 0
		must(t, filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
			if err != nil || filepath.Ext(name) != ".pack" {
				return err
			}
			bytesOf, err := os.ReadFile(name)
			must(t, err)
			if at := bytes.Index(bytesOf, data[2<<20:3<<20]); at >= 0 {
				bytesOf[at+77] ^= 1
				damaged++
				must(t, os.WriteFile(name, bytesOf, 0o600))
			}
			return nil
		}))
		if damaged != 1 {
			t.Fatalf("damaged %d packs", damaged)
		}
		s := blocks(t, dir)
		leaf := cid.NewCidV1(cid.Raw, sumOf(data[2<<20:3<<20]))
		near, far := serve(t, s, Parts{}, func(c *Config) { c.Cache = cache }), trustless(t, s, Parts{}, func(c *Config) { c.Cache = cache })
		got := ask(t, "GET", far+"/ipfs/"+e.CID.String()+"?format=car&order=dfs&dups=n")
		found, whole := car(t, got.body)
		if whole && got.err == nil || slices.Contains(found, leaf) {
			t.Errorf("a CAR over a damaged block: whole %v, error %v, %d blocks", whole, got.err, len(found))
		}
		if got := ask(t, "GET", far+"/ipfs/"+leaf.String()+"?format=raw"); got.code != 404 {
			t.Errorf("the damaged block: %d, %d bytes", got.code, len(got.body))
		}
		got = ask(t, "GET", near+"/ipfs/"+e.CID.String())
		if got.code == 200 && (got.err == nil || !bytes.HasPrefix(data, got.body)) {
			t.Errorf("the file over it: %d, %d bytes, error %v", got.code, len(got.body), got.err)
		}
		if got := ask(t, "GET", near+"/ipfs/"+e.CID.String(), "Range", "bytes=0-99"); got.code != 206 || !bytes.Equal(got.body, data[:100]) {
			t.Errorf("its good part: %d", got.code)
		}
	}
}

func sumOf(data []byte) []byte {
	sum := sha256.Sum256(data)
	return append([]byte{0x12, 0x20}, sum[:]...)
}

func TestConfigIsChecked(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no port":           func(c *Config) { c.Address = "127.0.0.1" },
		"half a pair":       func(c *Config) { c.Certificate = "cert.pem" },
		"a negative cache":  func(c *Config) { c.Cache = -1 },
		"no allowance":      func(c *Config) { c.Rate = 0 },
		"nobody may come":   func(c *Config) { c.Connections = 0 },
		"no time":           func(c *Config) { c.Quiet = 0 },
		"a URL with a path": func(c *Config) { c.URL = "https://cdn.example/ipfs" },
		"a URL of another":  func(c *Config) { c.URL = "ftp://cdn.example" },
	} {
		c := Default()
		if change(&c); c.Check() == nil {
			t.Errorf("%s is taken", name)
		}
	}
	for address, loopback := range map[string]bool{":0": true, "localhost:80": true, "[::1]:80": true, "[::ffff:127.0.0.1]:80": true, "0.0.0.0:80": false, "[::]:80": false, "192.0.2.1:80": false, "example.com:80": false} {
		c := Default()
		c.Address = address
		if _, got, err := c.listen(); err != nil || got != loopback {
			t.Errorf("%s: only this machine %v, error %v", address, got, err)
		}
	}
	s := blocks(t, t.TempDir())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	c := Default()
	c.Address = l.Addr().String()
	var busy *net.OpError
	if _, err := New(quiet(), s, Parts{}, c); !errors.As(err, &busy) {
		t.Errorf("a busy port: %v", err)
	}
}

func plantFile(t testing.TB, name string, data []byte) {
	t.Helper()
	must(t, os.WriteFile(name, data, 0o644))
}
