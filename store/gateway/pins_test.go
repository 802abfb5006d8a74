package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/store"
	"github.com/hpips/hpips/store/storetest"
)

const token = "a-token-of-the-tests"

// openPins opens a pinning service over a store, without anybody who works.
func openPins(t testing.TB, s *store.Store, file string, change func(*PinsConfig)) *Pins {
	t.Helper()
	cfg := DefaultPins(file, token)
	if change != nil {
		change(&cfg)
	}
	p, err := OpenPins(quiet(), s, func() []string {
		return []string{"/ip4/192.0.2.1/tcp/4711/p2p/12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5"}
	}, cfg)
	must(t, err)
	return p
}

// work serves until the returned function is called.
func work(p *Pins) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Serve(ctx) }()
	return func() { cancel(); <-ended }
}

// pinning opens a service that works until the test ends, behind a gateway, and gives its URL.
func pinning(t testing.TB, s *store.Store, change func(*PinsConfig)) string {
	t.Helper()
	p := openPins(t, s, filepath.Join(t.TempDir(), "pins.db"), change)
	stop := work(p)
	t.Cleanup(func() { stop(); must(t, p.Close()) })
	return serve(t, s, Parts{Pins: p}, nil)
}

// call speaks to the service as a client that has the token.
func call(t testing.TB, method, url string, body any) answer {
	t.Helper()
	text, ok := body.(string)
	if !ok && body != nil {
		raw, err := json.Marshal(body)
		must(t, err)
		text = string(raw)
	}
	return askOf(t, http.DefaultClient, method, url, strings.NewReader(text), "Authorization", "Bearer "+token, "Content-Type", "application/json")
}

// request asks for a pin and gives what was taken on.
func request(t testing.TB, url string, p Pin) (s Status) {
	t.Helper()
	got := call(t, "POST", url, p)
	if got.code != http.StatusAccepted || json.Unmarshal(got.body, &s) != nil || s.Request == "" || len(s.Delegates) != 1 {
		t.Fatalf("asking for %+v: %d %s", p, got.code, got.body)
	}
	return s
}

// await waits until a request is in a state, as clients do.
func await(t testing.TB, url, id, state string) (s Status) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for until := time.Now().Add(30 * time.Second); ; <-tick.C {
		got := call(t, "GET", url+"/pins/"+id, nil)
		if got.code != 200 || json.Unmarshal(got.body, &s) != nil {
			t.Fatalf("request %s: %d %s", id, got.code, got.body)
		}
		if s.Status == state {
			return s
		}
		if time.Now().After(until) {
			t.Fatalf("request %s is not %s: %+v", id, state, s)
		}
	}
}

// listed gives the names of what a query finds, newest first, and how many there are.
func listed(t testing.TB, url, query string) (names string, count int) {
	t.Helper()
	var l struct {
		Count   int
		Results []Status
	}
	got := call(t, "GET", url+"/pins?"+query, nil)
	if got.code != 200 || json.Unmarshal(got.body, &l) != nil || l.Results == nil {
		t.Fatalf("list %s: %d %s", query, got.code, got.body)
	}
	all := []string{}
	for _, s := range l.Results {
		all = append(all, s.Pin.Name)
	}
	return strings.Join(all, " "), l.Count
}

// homes opens alice's and bob's stores, which do not know each other, and alice's addresses.
func homes(t testing.TB) (alice, bob *store.Store, origins []string) {
	t.Helper()
	var stores []*store.Store
	for range 2 {
		h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableRelay())
		must(t, err)
		t.Cleanup(func() { must(t, h.Close()) })
		s, err := store.Open(quiet(), t.TempDir(), h, store.Default())
		must(t, err)
		t.Cleanup(func() { must(t, s.Close()) })
		if stores = append(stores, s); len(origins) == 0 {
			origins = addresses(t, h)
		}
	}
	return stores[0], stores[1], origins
}

func addresses(t testing.TB, h host.Host) (all []string) {
	t.Helper()
	list, err := peer.AddrInfoToP2pAddrs(&peer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()})
	must(t, err)
	for _, a := range list {
		all = append(all, a.String())
	}
	return all
}

// collect has a store forget what nobody holds and tells whether c is left.
func collect(t testing.TB, s *store.Store, c cid.Cid) bool {
	t.Helper()
	_, err := s.GC(t.Context())
	must(t, err)
	here, err := s.Has(t.Context(), c)
	must(t, err)
	return here
}

// Alice has bob's service hold a film, twice, and bob pins it himself. Each lets go of its own alone.
func TestPinsHoldAndLetGo(t *testing.T) {
	alice, bob, origins := homes(t)
	film := add(t, alice, random(3<<20, 1))
	url := pinning(t, bob, nil)
	first := request(t, url+"/pins", Pin{CID: film.String(), Name: "film", Origins: origins, Meta: map[string]string{"for": "bob"}})
	if first.Status != Queued || first.Pin.Meta["for"] != "bob" {
		t.Errorf("taken on as %+v", first)
	}
	await(t, url, first.Request, Pinned)
	second := request(t, url+"/pins", Pin{CID: film.String(), Name: "film"})
	await(t, url, second.Request, Pinned)
	must(t, bob.Pin(t.Context(), film, "mine"))
	for i, letGo := range []func(){
		func() {},
		func() { call(t, "DELETE", url+"/pins/"+first.Request, nil) },
		func() { must(t, bob.Unpin(t.Context(), film)) },
	} {
		if letGo(); !collect(t, bob, film) {
			t.Errorf("step %d: the film is gone", i)
		}
	}
	if got := call(t, "DELETE", url+"/pins/"+second.Request, nil); got.code != http.StatusAccepted || len(got.body) != 0 {
		t.Errorf("letting go: %d %s", got.code, got.body)
	}
	if collect(t, bob, film) {
		t.Error("the film stays when all have let go")
	}
	for _, method := range []string{"GET", "DELETE", "POST"} {
		if got := call(t, method, url+"/pins/"+second.Request, Pin{CID: film.String()}); got.code != 404 || !bytes.Contains(got.body, []byte(`"reason":"NOT_FOUND"`)) {
			t.Errorf("%s of what is gone: %d %s", method, got.code, got.body)
		}
	}
}

// Alice replaces a first cut by a second. The first is held until the second is here.
func TestPinsReplace(t *testing.T) {
	alice, bob, origins := homes(t)
	cut1, cut2, cut3 := add(t, alice, random(1<<20, 1)), add(t, alice, random(1<<20, 2)), add(t, alice, random(1<<20, 3))
	p := openPins(t, bob, filepath.Join(t.TempDir(), "pins.db"), nil)
	stop := work(p)
	url := serve(t, bob, Parts{Pins: p}, nil)
	s := request(t, url+"/pins", Pin{CID: cut1.String(), Origins: origins})
	await(t, url, s.Request, Pinned)
	stop() // nobody works
	s = request(t, url+"/pins/"+s.Request, Pin{CID: cut2.String(), Origins: origins})
	s = request(t, url+"/pins/"+s.Request, Pin{CID: cut3.String(), Origins: origins}) // she changes her mind meanwhile
	if !collect(t, bob, cut1) {
		t.Error("the first cut is gone before the one in its place is here")
	}
	stop = work(p)
	await(t, url, s.Request, Pinned)
	stop()
	must(t, p.Close())
	if collect(t, bob, cut1) || collect(t, bob, cut2) || !collect(t, bob, cut3) {
		t.Error("the last cut alone is to be held")
	}
	if _, n := listed(t, pinning(t, bob, nil), "status=queued,pinning,pinned,failed"); n != 0 {
		t.Errorf("another service lists %d requests", n)
	}
}

// What is not there, too large, or given up, says why.
func TestPinsFail(t *testing.T) {
	alice, bob, origins := homes(t)
	film := add(t, alice, random(8<<20, 1))
	nobodys := contentOf("nobody has this")
	url := pinning(t, bob, func(c *PinsConfig) { c.Bytes, c.Idle = 2<<20, 500*time.Millisecond })
	for c, says := range map[cid.Cid]string{film: "larger than this service takes: 2097152 bytes", nobodys: "no connected node sent any of it within 500ms"} {
		s := request(t, url+"/pins", Pin{CID: c.String(), Origins: origins})
		if s = await(t, url, s.Request, Failed); !strings.Contains(s.Info["status_details"], says) {
			t.Errorf("%s: %v, want %q", c, s.Info, says)
		}
	}
	patient := pinning(t, bob, func(c *PinsConfig) { c.AtOnce = 1 })
	s := request(t, patient+"/pins", Pin{CID: nobodys.String()})
	await(t, patient, s.Request, Pinning)
	small := add(t, alice, []byte("small"))
	next := request(t, patient+"/pins", Pin{CID: small.String(), Origins: origins})
	if got := call(t, "DELETE", patient+"/pins/"+s.Request, nil); got.code != http.StatusAccepted {
		t.Errorf("giving up: %d %s", got.code, got.body)
	}
	await(t, patient, next.Request, Pinned) // its turn comes, since the first has ended
}

// A node dies with requests waiting and under way; the next life goes on, and lets go of a pin whose request was removed in the last moment.
func TestPinsAfterAKill(t *testing.T) {
	alice, bob, origins := homes(t)
	one, two := add(t, alice, random(2<<20, 1)), contentOf("nobody has this yet")
	file := filepath.Join(t.TempDir(), "pins.db")
	p := openPins(t, bob, file, nil)
	waiting, err := p.add(t.Context(), Pin{CID: two.String()}, "")
	must(t, err)
	stop := work(p)
	url := serve(t, bob, Parts{Pins: p}, nil)
	await(t, url, waiting.Request, Pinning)
	stop()
	_, err = p.add(t.Context(), Pin{CID: one.String(), Name: "one", Origins: origins}, "")
	must(t, err)
	must(t, p.Close())
	stray, err := bob.Dir(t.Context(), []store.Link{{Name: "gone", CID: add(t, bob, []byte("gone"))}})
	must(t, err)
	must(t, bob.Pin(t.Context(), stray.CID, pinPrefix+"gone"))
	must(t, bob.Pin(t.Context(), add(t, bob, []byte("bob's")), "pinned by bob"))

	p = openPins(t, bob, file, nil)
	stop = work(p)
	defer func() { stop(); must(t, p.Close()) }()
	url = serve(t, bob, Parts{Pins: p}, nil)
	await(t, url, waiting.Request, Pinning)
	got, _ := listed(t, url, "status=queued,pinning,pinned&cid="+one.String())
	if got != "one" {
		t.Errorf("after the kill: %q", got)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for until := time.Now().Add(30 * time.Second); time.Now().Before(until); <-tick.C {
		if got, _ = listed(t, url, ""); got == "one" {
			break
		}
	}
	held, err := bob.Pins(t.Context())
	must(t, err)
	var names []string
	for _, h := range held {
		names = append(names, strings.SplitAfter(h.Name, "/")[0])
	}
	if got := strings.Join(names, " "); got != "pinned by bob pins/" && got != "pins/ pinned by bob" {
		t.Errorf("pins after the kill: %q", got)
	}
}

func TestPinsRefuse(t *testing.T) {
	s := blocks(t, t.TempDir())
	at := pinning(t, s, func(c *PinsConfig) { c.Most = 1 }) + "/pins"
	good := `{"cid":"` + contentOf("x").String() + `"}`
	long := strings.Repeat("ü", 256)
	for name, row := range map[string]struct {
		method, url, body, says string
		code                    int
	}{
		"no JSON":           {"POST", at, "pin it", "is no pin", 400},
		"something behind":  {"POST", at, good + good, "behind the pin", 400},
		"unknown field":     {"POST", at, `{"cid":"bafkqaaa","cidd":1}`, "cidd", 400},
		"no CID":            {"POST", at, `{"name":"x"}`, "no CID", 400},
		"not files":         {"POST", at, `{"cid":"bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua"}`, "0x71", 400},
		"weak hash":         {"POST", at, `{"cid":"bafkrcaaa"}`, "no CID", 400},
		"long name":         {"POST", at, `{"cid":"` + contentOf("x").String() + `","name":"` + long + `"}`, "255 characters", 400},
		"origin without ID": {"POST", at, `{"cid":"` + contentOf("x").String() + `","origins":["/ip4/192.0.2.1/tcp/1"]}`, "/p2p/ID", 400},
		"large":             {"POST", at, `{"name":"` + strings.Repeat("x", maxBody) + `"}`, "larger than 65536", 413},
		"match":             {"GET", at + "?match=most", "", "iexact", 400},
		"status":            {"GET", at + "?status=lost", "", "queued", 400},
		"time":              {"GET", at + "?before=noon", "", "RFC 3339", 400},
		"limit":             {"GET", at + "?limit=1001", "", "1…1000", 400},
		"meta":              {"GET", at + "?meta=x", "", "JSON", 400},
		"cids":              {"GET", at + "?cid=" + strings.Repeat(contentOf("x").String()+",", 10) + "y", "", "more than 10", 400},
		"twice":             {"GET", at + "?limit=1&limit=2", "", "2 times", 400},
		"unknown filter":    {"GET", at + "?owner=x", "", "no filter", 400},
		"method":            {"PUT", at, good, "not possible", 405},
		"method of one":     {"PATCH", at + "/x", good, "not possible", 405},
		"no request":        {"GET", at + "/x", "", "no such request", 404},
	} {
		got := call(t, row.method, row.url, row.body)
		var told struct {
			Error struct{ Reason, Details string }
		}
		if got.code != row.code || json.Unmarshal(got.body, &told) != nil || told.Error.Reason == "" || !strings.Contains(told.Error.Details, row.says) {
			t.Errorf("%s: %d %s, want %d %q", name, got.code, got.body, row.code, row.says)
		}
	}
	for _, header := range []string{"", "Bearer", "Bearer ", "Bearer wrong", token, "Basic " + token, "Bearer " + token + "x"} {
		for _, method := range []string{"GET", "POST", "DELETE"} {
			if got := askOf(t, http.DefaultClient, method, at, strings.NewReader(good), "Authorization", header); got.code != 401 || !strings.Contains(string(got.body), "pins.token") {
				t.Errorf("%s with %q: %d %s", method, header, got.code, got.body)
			}
		}
	}
	request(t, at, Pin{CID: contentOf("x").String()})
	if got := call(t, "POST", at, good); got.code != http.StatusConflict || !strings.Contains(string(got.body), "TOO_MANY_PINS") {
		t.Errorf("a second where one is the most: %d %s", got.code, got.body)
	}
	if got := call(t, "GET", trustless(t, s, Parts{Pins: openClosed(t, s)}, nil)+"/pins", nil); got.code != 403 || !strings.Contains(string(got.body), "HTTPS") {
		t.Errorf("in the clear, from other machines: %d %s", got.code, got.body)
	}
	if got := call(t, "GET", serve(t, s, Parts{}, nil)+"/pins", nil); got.code != 403 {
		t.Errorf("without a service: %d %s", got.code, got.body)
	}
}

// openClosed is a service that is only there to be refused.
func openClosed(t testing.TB, s *store.Store) *Pins {
	p := openPins(t, s, filepath.Join(t.TempDir(), "pins.db"), nil)
	t.Cleanup(func() { must(t, p.Close()) })
	return p
}

func TestPinsList(t *testing.T) {
	s := blocks(t, t.TempDir())
	at := pinning(t, s, func(c *PinsConfig) { c.Idle = time.Hour })
	var times []time.Time
	var ids []string
	for i, name := range []string{"Alpha", "alphabet", "beta"} {
		r := request(t, at+"/pins", Pin{CID: add(t, s, []byte(name)).String(), Name: name, Meta: map[string]string{"n": fmt.Sprint(i), "all": "yes"}})
		ids, times = append(ids, r.Request), append(times, r.Created)
	}
	for _, id := range ids {
		await(t, at, id, Pinned)
	}
	when := func(i int) string { return url.QueryEscape(times[i].Format(time.RFC3339Nano)) }
	for query, want := range map[string]string{
		"":                          "beta alphabet Alpha 3",
		"limit=1":                   "beta 3",
		"name=alpha":                " 0",
		"name=alpha&match=iexact":   "Alpha 1",
		"name=alpha&match=partial":  "alphabet 1",
		"name=ALPHA&match=ipartial": "alphabet Alpha 2",
		"name=%25&match=partial":    " 0", // no pattern
		"status=failed":             " 0",
		"status=queued,pinned":      "beta alphabet Alpha 3",
		"before=" + when(1):         "Alpha 1",
		"after=" + when(1):          "beta 1",
		"meta=" + url.QueryEscape(`{"n":"1","all":"yes"}`):                      "alphabet 1",
		"meta=" + url.QueryEscape(`{"n":"9"}`):                                  " 0",
		"cid=" + contentOf("Alpha").String() + "," + contentOf("none").String(): "Alpha 1",
	} {
		if names, n := listed(t, at, query); fmt.Sprintf("%s %d", names, n) != want {
			t.Errorf("%s: %s %d, want %s", query, names, n, want)
		}
	}
}

// Several clients ask and remove at the same time; what is left is what is held.
func TestPinsManyAtOnce(t *testing.T) {
	s := blocks(t, t.TempDir())
	at := pinning(t, s, nil)
	var kept sync.Map
	var clients sync.WaitGroup
	for k := range 4 {
		c := add(t, s, []byte{byte(k % 2)}).String() // two contents
		clients.Go(func() {
			for i := range 8 {
				r := request(t, at+"/pins", Pin{CID: c})
				if i%2 == 0 {
					call(t, "DELETE", at+"/pins/"+r.Request, nil)
				} else {
					kept.Store(r.Request, true)
				}
			}
		})
	}
	clients.Wait()
	n := 0
	kept.Range(func(id, _ any) bool { n++; await(t, at, id.(string), Pinned); return true })
	request(t, at+"/pins", Pin{CID: contentOf("last").String()}) // nobody has it
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for until := time.Now().Add(30 * time.Second); ; <-tick.C {
		held, err := s.Pins(t.Context())
		must(t, err)
		if len(held) == n {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("%d pins for %d requests", len(held), n)
		}
	}
}

// The real Kubo speaks to the service: add, in the background and not, ls and rm.
func TestKuboPinsRemotely(t *testing.T) {
	k := storetest.NewDaemon(t, filepath.Join("..", "testdata", "kubo"))
	k.Start()
	_, bob, _ := homes(t)
	url := pinning(t, bob, nil)
	file := filepath.Join(t.TempDir(), "film")
	plantFile(t, file, random(5<<20, 7))
	film, err := cid.Decode(k.Add(file))
	must(t, err)
	k.Run("pin", "remote", "service", "add", "hpips", url, token)
	if got := k.Run("pin", "remote", "service", "ls", "--stat"); !strings.Contains(got, "0/0/0/0") {
		t.Errorf("services: %s", got)
	}
	if got := k.Run("pin", "remote", "add", "--service=hpips", "--name=film", film.String()); !strings.Contains(got, "pinned") {
		t.Errorf("add: %s", got)
	}
	if here, err := bob.Has(t.Context(), film); err != nil || !here {
		t.Errorf("bob does not have it: %v", err)
	}
	if got := k.Run("pin", "remote", "ls", "--service=hpips", "--name=film"); got != film.String()+"\tpinned\tfilm" {
		t.Errorf("ls: %q", got)
	}
	nobodys := contentOf("nobody has this").String()
	k.Run("pin", "remote", "add", "--service=hpips", "--name=later", "--background", nobodys)
	if got := k.Run("pin", "remote", "ls", "--service=hpips", "--status=queued,pinning"); !strings.HasPrefix(got, nobodys) {
		t.Errorf("ls of what waits: %q", got)
	}
	k.Run("pin", "remote", "rm", "--service=hpips", "--name=film")
	k.Run("pin", "remote", "rm", "--service=hpips", "--name=later", "--status=queued,pinning", "--force")
	if got := k.Run("pin", "remote", "ls", "--service=hpips", "--status=queued,pinning,pinned,failed"); got != "" {
		t.Errorf("ls after rm: %q", got)
	}
	if collect(t, bob, film) {
		t.Error("it stays after rm")
	}
}
