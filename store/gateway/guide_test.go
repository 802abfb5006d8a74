package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/boxo/routing/http/types"
	"github.com/ipfs/boxo/routing/http/types/iter"
	jsontypes "github.com/ipfs/boxo/routing/http/types/json"
	"github.com/ipfs/boxo/routing/http/types/ndjson"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/test"
	"github.com/multiformats/go-multiaddr"

	"github.com/hpips/hpips/spec/canon"
)

// town is a network of nodes in one process.
type town map[peer.ID]*house

// house is one node of it.
type house struct {
	town  town
	id    peer.ID
	at    netip.Addr
	held  map[cid.Cid]bool
	guide *Neighbours
	lies  []byte // answered instead, if there are any
	asked int

	recorded map[cid.Cid][]peer.ID // on record as keeping a content, as this node reads it
	away     bool                  // nobody is connected to it, but its address is known
}

func (tn town) add(t *testing.T, at string, urls ...string) *house {
	t.Helper()
	id, err := test.RandPeerID()
	must(t, err)
	h := &house{town: tn, id: id, at: netip.MustParseAddr(at), held: map[cid.Cid]bool{}}
	h.guide = NewNeighbours(h, h, func(near bool) []string {
		return slices.DeleteFunc(slices.Clone(urls), func(u string) bool { return !near && strings.Contains(u, "127.0.0.1") })
	}, func(_ context.Context, c cid.Cid) ([]peer.ID, error) { return h.recorded[c], nil })
	tn[id] = h
	return h
}

func (h *house) ID() peer.ID                                    { return h.id }
func (h *house) Has(_ context.Context, c cid.Cid) (bool, error) { return h.held[c], nil }
func (h *house) Candidates(...protocol.ID) []peer.ID {
	var all []peer.ID
	for id, other := range h.town {
		if !other.away {
			all = append(all, id)
		}
	}
	slices.Sort(all)
	return all
}
func (h *house) Call(ctx context.Context, to peer.ID, proto protocol.ID, req []byte) ([]byte, error) {
	other := h.town[to]
	if proto != ServingProtocol || len(req) > MaxQuestion {
		return nil, errors.New("not understood")
	}
	other.asked++
	if other.lies != nil {
		return other.lies, nil
	}
	return other.guide.Answer(ctx, h.id, req)
}
func (h *house) Where(p peer.ID) ([]multiaddr.Multiaddr, []netip.Addr) {
	other := h.town[p]
	if other == nil {
		return nil, nil
	}
	kind := map[bool]string{true: "/ip4/", false: "/ip6/"}[other.at.Is4()]
	return []multiaddr.Multiaddr{multiaddr.StringCast(kind + other.at.String() + "/tcp/4711")}, []netip.Addr{other.at}
}

func contentOf(text string) cid.Cid { return cid.NewCidV1(cid.Raw, sumOf([]byte(text))) }

// Alice asks who has a film. Bob has it behind a gateway, carol has it and no gateway, dave has it on a gateway of this very machine, erin has
// something else, and mallory sends people to others.
func TestNeighbours(t *testing.T) {
	tn, film := town{}, contentOf("film")
	alice := tn.add(t, "192.0.2.1", "http://192.0.2.1:4713")
	bob := tn.add(t, "192.0.2.2", "http://192.0.2.2:4713", "https://bob.example", "http://127.0.0.1:4713")
	carol, erin := tn.add(t, "192.0.2.3"), tn.add(t, "192.0.2.5", "http://192.0.2.5:1")
	mallory, broken := tn.add(t, "192.0.2.66"), tn.add(t, "192.0.2.67")
	for _, h := range []*house{bob, carol, mallory} {
		h.held[film] = true
	}
	erin.held[contentOf("book")] = true
	mallory.lies = canon.MustEncode(Answer{Has: true, URLs: []string{
		"http://192.0.2.1:80", "http://127.0.0.1:4712", "http://localhost:1", "http://192.0.2.66/path", "ftp://192.0.2.66", "http://u:p@192.0.2.66",
		"http://192.0.2.66/?x", "http://192.0.2.66:1", "http://192.0.2.66:2",
	}})
	broken.lies = []byte("\xa1not an answer")

	all, err := alice.guide.Providers(t.Context(), film)
	must(t, err)
	got := map[peer.ID][]string{}
	for _, p := range all {
		got[p.ID] = p.URLs
	}
	want := map[peer.ID][]string{bob.id: {"http://192.0.2.2:4713", "https://bob.example"}, carol.id: nil, mallory.id: {"http://192.0.2.66:1"}}
	if len(got) != len(want) {
		t.Errorf("providers %v", got)
	}
	for id, urls := range want {
		if found, ok := got[id]; !ok || !slices.Equal(found, urls) {
			t.Errorf("%s: %v, want %v", id, found, urls)
		}
	}
	asked := bob.asked
	_, err = alice.guide.Providers(t.Context(), film)
	must(t, err)
	if bob.asked != asked {
		t.Error("bob is asked again within half a minute")
	}
	alice.held[film] = true
	all, err = alice.guide.Ask(t.Context(), film)
	must(t, err)
	if len(all) != 4 || all[0].ID != alice.id || bob.asked != asked+1 {
		t.Errorf("asked anew: %d providers, the first is %v", len(all), all[0].ID)
	}
	if one, err := alice.guide.Peer(t.Context(), bob.id); err != nil || len(one) != 1 || len(one[0].URLs) != 2 {
		t.Errorf("bob: %v %v", one, err)
	}
	stranger, err := test.RandPeerID()
	must(t, err)
	if one, err := alice.guide.Peer(t.Context(), stranger); err != nil || len(one) != 0 {
		t.Errorf("a stranger: %v %v", one, err)
	}
	for name, req := range map[string][]byte{"no CBOR": []byte("x"), "no CID": canon.MustEncode(Question{Root: []byte("x")}), "too long": canon.MustEncode(Question{Root: make([]byte, 300)})} {
		if _, err := alice.guide.Answer(t.Context(), bob.id, req); err == nil {
			t.Errorf("%s is answered", name)
		}
	}
	near := tn.add(t, "127.0.0.1", "http://127.0.0.1:4713")
	near.held[film] = true
	if all, err := near.guide.Ask(t.Context(), film); err != nil || all[0].URLs[0] != "http://127.0.0.1:4713" {
		t.Errorf("on the machine itself: %v %v", all, err)
	}
}

// What boxo's own readers of Delegated Routing v1 make of our answers.
func TestRouting(t *testing.T) {
	tn, film := town{}, contentOf("film")
	alice, bob := tn.add(t, "192.0.2.1"), tn.add(t, "2001:db8::2", "https://bob.example", "http://[2001:db8::2]:4713")
	bob.held[film] = true
	s := blocks(t, t.TempDir())
	url := trustless(t, s, Parts{Guide: alice.guide}, nil)
	for accept, read := range map[string]func(t *testing.T, body []byte) []types.Record{
		"application/json": func(t *testing.T, body []byte) []types.Record {
			var r jsontypes.ProvidersResponse
			must(t, json.Unmarshal(body, &r))
			return r.Providers
		},
		"application/x-ndjson": func(t *testing.T, body []byte) []types.Record {
			all, err := iter.ReadAllResults(ndjson.NewRecordsIter(bytes.NewReader(body)))
			must(t, err)
			return all
		},
	} {
		for _, path := range []string{"/routing/v1/providers/" + film.String(), "/routing/v1/peers/" + peer.ToCid(bob.id).String()} {
			got := ask(t, "GET", url+path, "Accept", accept)
			if strings.Contains(path, "peers") && accept == "application/json" {
				got.body = bytes.Replace(got.body, []byte(`"Peers"`), []byte(`"Providers"`), 1)
			}
			all := read(t, got.body)
			if got.code != 200 || len(all) != 1 {
				t.Fatalf("%s, %s: %d, %d records", path, accept, got.code, len(all))
			}
			p := all[0].(*types.PeerRecord)
			var addrs []string
			for _, a := range p.Addrs {
				addrs = append(addrs, a.String())
			}
			want := []string{"/ip6/2001:db8::2/tcp/4711", "/dns/bob.example/tcp/443/tls/http", "/ip6/2001:db8::2/tcp/4713/http"}
			if *p.ID != bob.id || !slices.Equal(addrs, want) || !slices.Equal(p.Protocols, []string{"transport-bitswap", "transport-ipfs-gateway-http"}) {
				t.Errorf("%s, %s: %v at %v by %v", path, accept, p.ID, addrs, p.Protocols)
			}
		}
	}
	for path, code := range map[string]int{
		"/routing/v1/providers/" + film.String():              200,
		"/routing/v1/providers/" + contentOf("x").String():    200,
		"/routing/v1/providers/nonsense":                      400,
		"/routing/v1/providers/":                              405,
		"/routing/v1/peers/nonsense":                          400,
		"/routing/v1/ipns/k51x":                               404,
		"/routing/v1/dht/closest/peers/" + bob.id.String():    404,
		"/routing/v1/providers/" + film.String() + "/../../x": 400,
	} {
		if got := ask(t, "GET", url+path, "Accept", "application/json"); got.code != code {
			t.Errorf("%s: %d %s, want %d", path, got.code, got.body, code)
		}
	}
	if got := ask(t, "PUT", url+"/routing/v1/providers/"+film.String()); got.code != 405 {
		t.Errorf("PUT: %d", got.code)
	}
	if got := ask(t, "GET", url+"/routing/v1/providers/"+film.String(), "Origin", "https://any.example"); got.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("pages may not ask: %v", got.Header)
	}
}

// Who is on record as keeping a content is named to whoever asks over HTTP, with the addresses that are known: carol, who is not connected. Bob is, and says that he has it not; of dave no address is known; alice herself has it not either.
func TestRoutingNamesWhoIsOnRecord(t *testing.T) {
	tn, film := town{}, contentOf("film")
	alice, bob, carol, erin := tn.add(t, "192.0.2.1"), tn.add(t, "192.0.2.2"), tn.add(t, "192.0.2.3"), tn.add(t, "192.0.2.5", "https://erin.example")
	dave, err := test.RandPeerID()
	must(t, err)
	carol.away, erin.held[film] = true, true
	alice.recorded = map[cid.Cid][]peer.ID{film: {bob.id, dave, carol.id, alice.id, erin.id}}
	url := trustless(t, blocks(t, t.TempDir()), Parts{Guide: alice.guide}, nil)
	type record struct {
		Schema, ID       string
		Addrs, Protocols []string
	}
	want := []record{
		{"peer", erin.id.String(), []string{"/ip4/192.0.2.5/tcp/4711", "/dns/erin.example/tcp/443/tls/http"}, []string{"transport-bitswap", "transport-ipfs-gateway-http"}},
		{"peer", carol.id.String(), []string{"/ip4/192.0.2.3/tcp/4711"}, []string{"transport-bitswap"}},
	}
	same := func(a, b record) bool {
		return a.Schema == b.Schema && a.ID == b.ID && slices.Equal(a.Addrs, b.Addrs) && slices.Equal(a.Protocols, b.Protocols)
	}
	got := ask(t, "GET", url+"/routing/v1/providers/"+film.String(), "Accept", "application/json")
	var whole struct{ Providers []record }
	must(t, json.Unmarshal(got.body, &whole))
	if got.code != 200 || got.Get("Content-Type") != "application/json" || !slices.EqualFunc(whole.Providers, want, same) {
		t.Errorf("JSON: %d %s: %s", got.code, got.Get("Content-Type"), got.body)
	}
	got = ask(t, "GET", url+"/routing/v1/providers/"+film.String(), "Accept", "application/x-ndjson")
	var lines []record
	for _, line := range bytes.Split(bytes.TrimSpace(got.body), []byte("\n")) {
		var r record
		must(t, json.Unmarshal(line, &r))
		lines = append(lines, r)
	}
	if got.code != 200 || got.Get("Content-Type") != "application/x-ndjson" || !slices.EqualFunc(lines, want, same) {
		t.Errorf("NDJSON: %d %s: %s", got.code, got.Get("Content-Type"), got.body)
	}
	if got := ask(t, "GET", url+"/routing/v1/providers/"+contentOf("another").String(), "Accept", "application/json"); got.code != 200 || bytes.Contains(got.body, []byte(carol.id.String())) {
		t.Errorf("another content: %d %s", got.code, got.body)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(canon.MustEncode(Answer{Has: true, URLs: []string{"http://192.0.2.1:1"}}))
	f.Add([]byte{0xa0})
	f.Fuzz(func(t *testing.T, reply []byte) {
		var a Answer
		if canon.Decode(reply, maxAnswer, &a) != nil {
			return
		}
		tn := town{}
		alice, err := test.RandPeerID()
		must(t, err)
		h := &house{town: tn, id: alice, at: netip.MustParseAddr("192.0.2.1")}
		tn[alice] = h
		n := NewNeighbours(h, h, func(bool) []string { return nil }, nil)
		record(*n.provider(alice, a.URLs))
	})
}
