// Package sdk runs the JavaScript client of sdk/js in Node.js and in a browser.
// It promises that it reads what real gateways serve, from several at once, and that no wrong byte gets through, whatever the others among them send.
// It leaves the gateways to store/gateway, and what needs none of them to the tests in sdk/js.
package sdk

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/hpips/hpips/store"
	"github.com/hpips/hpips/store/gateway"
)

const js = "../../sdk/js"

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// world is what the scripts are told.
type world struct {
	Alice    string `json:"alice"`   // a gateway
	Bob      string `json:"bob"`     // another one
	Mallory  string `json:"mallory"` // changes one byte of each answer
	Carol    string `json:"carol"`   // has nothing
	Dave     string `json:"dave"`    // takes requests and does not answer
	Film     string `json:"film"`    // CID
	FilmSize int    `json:"filmSize"`
	FilmSum  string `json:"filmSum"` // SHA-256
	Folder   string `json:"folder"`
	Many     int    `json:"many"` // files in folder/many
}

// newWorld fills two stores and opens gateways as other machines meet them.
func newWorld(t *testing.T) world {
	t.Helper()
	film := make([]byte, 40<<20+12_345)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(film)
	sum := sha256.Sum256(film)
	w := world{FilmSize: len(film), FilmSum: hex.EncodeToString(sum[:]), Many: 6000}
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "many"), 0o755))
	for i := range w.Many { // more than a folder of one block holds
		must(t, os.WriteFile(filepath.Join(dir, "many", fmt.Sprintf("f%05d", i)), []byte(fmt.Sprint(i)), 0o644))
	}
	must(t, os.WriteFile(filepath.Join(dir, "readme.txt"), []byte("read me"), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "empty"), nil, 0o644))
	for _, at := range []*string{&w.Alice, &w.Bob} {
		s := open(t)
		e, err := s.AddBytes(t.Context(), film)
		must(t, err)
		f, err := s.AddPath(t.Context(), dir, nil)
		must(t, err)
		must(t, s.Flush(t.Context()))
		w.Film, w.Folder, *at = e.CID.String(), f.CID.String(), serve(t, s)
	}
	w.Carol = serve(t, open(t))
	w.Mallory = listen(t, func(rw http.ResponseWriter, r *http.Request) {
		req, err := http.NewRequestWithContext(r.Context(), r.Method, w.Alice+r.URL.RequestURI(), nil)
		if err != nil {
			return
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		if err != nil {
			return
		}
		if len(data) > 0 {
			data[len(data)/2] ^= 1
		}
		rw.Header().Set("Access-Control-Allow-Origin", "*")
		rw.WriteHeader(resp.StatusCode)
		_, _ = rw.Write(data)
	})
	w.Dave = listen(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	return w
}

func open(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.Open(slog.New(slog.DiscardHandler), t.TempDir(), nil, store.Default())
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

// serve runs a gateway that other machines could reach, and gives its URL on this one.
func serve(t *testing.T, s *store.Store) string {
	t.Helper()
	cfg := gateway.Default()
	cfg.Address = "0.0.0.0:0"
	g, err := gateway.New(slog.New(slog.DiscardHandler), s, gateway.Parts{}, cfg)
	must(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- g.Serve(ctx) }()
	t.Cleanup(func() { stop(); <-ended })
	_, port, err := net.SplitHostPort(g.Addr())
	must(t, err)
	return "http://127.0.0.1:" + port
}

func listen(t *testing.T, f http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s.URL
}

func (w world) environment(t *testing.T, further ...string) []string {
	t.Helper()
	text, err := json.Marshal(w)
	must(t, err)
	return append(append(os.Environ(), "HPIPS_WORLD="+string(text)), further...)
}

// run runs a command in sdk/js and gives its standard output.
func run(t *testing.T, env []string, name string, args ...string) []byte {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 4*time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, name, args...)
	var errs bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stderr = js, env, &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s\n%s", name, args, err, out, &errs)
	}
	return out
}

// install puts the packages that package-lock.json names, and no others, into node_modules, once.
func install(t *testing.T) {
	t.Helper()
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%v (make setup installs what is missing)", err)
		}
	}
	mark := filepath.Join(js, "node_modules/.package-lock.json")
	lock, err := os.Stat(filepath.Join(js, "package-lock.json"))
	must(t, err)
	if done, err := os.Stat(mark); err == nil && done.ModTime().After(lock.ModTime()) {
		return
	}
	run(t, os.Environ(), "npm", "ci", "--no-fund", "--no-audit", "--loglevel=error")
	now := time.Now()
	must(t, os.Chtimes(mark, now, now))
}

// Alice and bob serve a film and folders; mallory lies, carol has nothing, dave is silent.
func TestNode(t *testing.T) {
	install(t)
	t.Logf("%s", run(t, newWorld(t).environment(t), "npm", "test"))
}

// page fetches the film in a browser from all of them, and a part of it from those who serve it.
const page = `<!doctype html><script type="module">
import { open } from '/fetch.js'
const hex = b => [...new Uint8Array(b)].map(v => v.toString(16).padStart(2, '0')).join('')
try {
  const w = %s
  const film = await open('ipfs://' + w.film, { gateways: [w.mallory, w.alice, w.carol, w.bob, w.dave], patience: 5000 })
  const sum = hex(await crypto.subtle.digest('SHA-256', await film.bytes()))
  const alone = await open('ipfs://' + w.film, { gateways: [w.mallory] }).then(() => 'wrong bytes got through', err => err.message)
  const readme = await (await open('ipfs://' + w.folder + '/readme.txt?gateway=' + w.alice)).text()
  globalThis.outcome = { sum, alone, readme, report: film.report() }
} catch (err) {
  globalThis.outcome = { error: String(err) }
}
</script>`

func TestBrowser(t *testing.T) {
	install(t)
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("%v (make setup installs what is missing)", err)
	}
	run(t, os.Environ(), "npm", "run", "build")
	w := newWorld(t)
	text, err := json.Marshal(w)
	must(t, err)
	at := listen(t, func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/fetch.js":
			http.ServeFile(rw, r, filepath.Join(js, "dist", "fetch.js"))
		case "/":
			rw.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = fmt.Fprintf(rw, page, text)
		default:
			http.NotFound(rw, r)
		}
	})
	var saw struct {
		Error, Sum, Alone, Readme string
		Report                    []struct {
			URL    string
			Blocks int
			Lied   bool
		}
	}
	out := run(t, w.environment(t, "CHROMIUM="+chromium), "node", "test/browser.mjs", at)
	must(t, json.Unmarshal(out, &saw))
	t.Logf("%s", out)
	if saw.Error != "" || saw.Sum != w.FilmSum || saw.Readme != "read me" || !bytes.Contains([]byte(saw.Alone), []byte("other bytes")) {
		t.Errorf("the browser saw %+v, want the sum %s", saw, w.FilmSum)
	}
	for _, g := range saw.Report {
		honest := g.URL == w.Alice || g.URL == w.Bob
		if honest != (g.Blocks > 0) || g.Lied != (g.URL == w.Mallory) {
			t.Errorf("%s sent %d blocks, lied: %v", g.URL, g.Blocks, g.Lied)
		}
	}
}
