package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/store/storetest"
	"github.com/hpips/hpips/test/e2e/pc"
)

// edge starts a node whose gateway holds what it is asked to.
func edge(t *testing.T, name string) (*pc.PC, string) {
	t.Helper()
	p := pc.New(t, built.hpips, name, "--no-chain", "--no-provider", "--gateway", ":0", "--pins")
	p.Up(t)
	st := p.Await(t, "has a gateway", func(st client.Status) bool { return st.Gateway != nil && st.Gateway.Pins })
	return p, st.Gateway.URL
}

// Alice publishes a film; bob's and carol's gateways hold it. It is read from both when she has gone, and from neither when she has withdrawn it.
func TestPublish(t *testing.T) {
	p := alice(t, "--no-chain")
	file := filepath.Join(t.TempDir(), "film.bin")
	film := bytes.Repeat([]byte("0123456789abcdef"), 200_000)
	plant(t, file, string(film))
	if a := p.Hpips(t, "cdn", "publish", file); a.Code == 0 || !strings.Contains(a.Stderr, "hpips cdn add") {
		t.Errorf("without a gateway: %d %s", a.Code, a.Stderr)
	}
	var urls []string
	for _, name := range []string{"bob", "carol"} {
		other, at := edge(t, name)
		p.Must(t, "cdn", "add", at, "--token-file", filepath.Join(other.Home, "pins.token"))
		urls = append(urls, at)
	}
	if got := p.Must(t, "cdn", "ls"); got != strings.Join(urls, "\n") {
		t.Errorf("gateways: %q", got)
	}
	if info, err := os.Stat(filepath.Join(p.Home, "edges.json")); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("the tokens are readable by others: %v %v", info.Mode(), err)
	}
	var told struct {
		CID, URL string
		Gateways []struct {
			URL    string
			Serves bool
		}
	}
	text := p.Must(t, "cdn", "publish", file, "--copies", "2", "-o", "json")
	if err := json.Unmarshal([]byte(text), &told); err != nil || len(told.Gateways) != 2 {
		t.Fatalf("published: %s", text)
	}
	u, err := url.Parse(told.URL)
	if err != nil || u.Scheme != "ipfs" || u.Host != told.CID || len(u.Query()["gateway"]) != 2 {
		t.Errorf("the URL is %s", told.URL)
	}
	if again := p.Must(t, "cdn", "publish", file, "--copies", "2", "-q"); again != told.URL {
		t.Errorf("published again: %s", again)
	}
	p.Stop(t)
	for i, g := range told.Gateways {
		if got := fetch(t, "GET", g.URL); !g.Serves || got.code != 200 || sha256.Sum256(got.body) != sha256.Sum256(film) || !strings.HasPrefix(g.URL, urls[i]) {
			t.Errorf("%s: %d, %d bytes", g.URL, got.code, len(got.body))
		}
	}
	p.Up(t)
	if got := p.Must(t, "cdn", "withdraw", told.CID); !strings.Contains(got, "2 gateways") {
		t.Errorf("withdrawn: %s", got)
	}
	p.Must(t, "cdn", "rm", urls[0])
	if got := p.Must(t, "cdn", "ls"); got != urls[1] {
		t.Errorf("gateways that are left: %q", got)
	}
	for _, row := range []struct {
		args []string
		says string
	}{
		{[]string{"cdn", "add", "http://cdn.example"}, "in the clear"},
		{[]string{"cdn", "add", urls[0], "--token-file", "none"}, "not there"},
		{[]string{"cdn", "rm", urls[0]}, "hpips cdn ls"},
		{[]string{"cdn", "publish", file, "--copies", "2"}, "knows 1 gateway"},
		{[]string{"cdn", "publish", filepath.Join(p.Home, "none")}, "not there"},
		{[]string{"cdn", "withdraw", "x"}, "no content address"},
	} {
		if a := p.Hpips(t, row.args...); a.Code == 0 || !strings.Contains(a.Stderr, row.says) {
			t.Errorf("%v: %d %s", row.args, a.Code, a.Stderr)
		}
	}
}

// Whoever has Kubo has a node hold what is on it: the real command line, with a real node.
func TestKuboPinsAtANode(t *testing.T) {
	k := storetest.NewDaemon(t, filepath.Join("..", "..", "store", "testdata", "kubo"))
	k.Start()
	bob, at := edge(t, "bob")
	token, err := os.ReadFile(filepath.Join(bob.Home, "pins.token"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "film")
	plant(t, file, strings.Repeat("a film ", 500_000))
	film, err := cid.Decode(k.Add(file))
	if err != nil {
		t.Fatal(err)
	}
	k.Run("pin", "remote", "service", "add", "bob", at, strings.TrimSpace(string(token)))
	k.Run("pin", "remote", "add", "--service=bob", "--name=film", film.String())
	if got := fetch(t, "GET", at+"/ipfs/"+film.String()); got.code != 200 || len(got.body) != 7*500_000 {
		t.Errorf("bob serves it: %d, %d bytes", got.code, len(got.body))
	}
	if got := k.Run("pin", "remote", "ls", "--service=bob"); got != film.String()+"\tpinned\tfilm" {
		t.Errorf("ls: %q", got)
	}
	k.Run("pin", "remote", "rm", "--service=bob", "--name=film")
	if got := k.Run("pin", "remote", "ls", "--service=bob"); got != "" {
		t.Errorf("ls after rm: %q", got)
	}
}
