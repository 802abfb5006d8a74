package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/hpips/hpips/spec/canon"
)

// answers is a peer that answers questions about the chain in a given way.
type answers func(q chainAsk) (chainAnswer, error)

func (f answers) Call(_ context.Context, _ peer.ID, _ protocol.ID, req []byte) ([]byte, error) {
	q, err := parseChainAsk(req)
	if err != nil {
		return nil, err
	}
	a, err := f(q)
	if err != nil {
		return nil, err
	}
	return canon.Encode(a)
}

func TestBobTakesTheGenesisFromAlice(t *testing.T) {
	text := []byte(`{"chain_id":"hpips-dev-1"}`)
	sum := sha256.Sum256(text)
	alice := func(q chainAsk) (chainAnswer, error) {
		if q.What == askGenesis {
			return chainAnswer{Text: text}, nil
		}
		return chainAnswer{Chain: "hpips-dev-1", Genesis: sum[:]}, nil
	}
	got, err := fetchGenesis(t.Context(), answers(alice), "alice", "")
	if err != nil || !bytes.Equal(got, text) {
		t.Fatalf("%q, %v", got, err)
	}
	if _, err := fetchGenesis(t.Context(), answers(alice), "alice", hex.EncodeToString(sum[:])); err != nil {
		t.Errorf("the one that he wants: %v", err)
	}
	for says, row := range map[string]struct {
		peer answers
		pin  string
	}{
		"asked for is": {alice, strings.Repeat("00", 32)},
		"not the one that was announced": {func(q chainAsk) (chainAnswer, error) {
			a, err := alice(q)
			if q.What == askGenesis {
				a.Text = []byte("{}")
			}
			return a, err
		}, ""},
		"follows no chain": {func(chainAsk) (chainAnswer, error) { return chainAnswer{}, nil }, ""},
		"nobody answers":   {func(chainAsk) (chainAnswer, error) { return chainAnswer{}, errors.New("nobody answers") }, ""},
		"too long":         {func(chainAsk) (chainAnswer, error) { return chainAnswer{Genesis: []byte{1}}, nil }, ""},
	} {
		if _, err := fetchGenesis(t.Context(), row.peer, "alice", row.pin); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
}

func TestAChainNodeIsReachedWhereItsNodeIsSeen(t *testing.T) {
	id := strings.Repeat("ab", 20)
	for _, row := range []struct{ told, seen, want string }{
		{id + "@192.0.2.1:26656", "198.51.100.1", id + "@192.0.2.1:26656"},
		{id + "@0.0.0.0:26656", "198.51.100.1", id + "@198.51.100.1:26656"},
		{id + "@[::]:26656", "2001:db8::1", id + "@[2001:db8::1]:26656"},
		{id + "@127.0.0.1:26656", "127.0.0.1", id + "@127.0.0.1:26656"},
		{id + "@127.0.0.1:26656", "198.51.100.1", ""}, // its chain is for its own machine
		{id + "@0.0.0.0:26656", "", ""},               // met through a relay
		{id + "@home.example:26656", "", id + "@home.example:26656"},
		{"0.0.0.0:26656", "198.51.100.1", ""},
		{"x@0.0.0.0:26656", "198.51.100.1", ""},
		{"", "198.51.100.1", ""},
	} {
		var seen []netip.Addr
		if row.seen != "" {
			seen = append(seen, netip.MustParseAddr(row.seen))
		}
		if got, _ := reach(row.told, seen); got != row.want {
			t.Errorf("%q seen at %q: %q, want %q", row.told, row.seen, got, row.want)
		}
	}
}

func TestNodesOfOneChainMeet(t *testing.T) {
	ours, theirs := sha256.Sum256([]byte("ours")), sha256.Sum256([]byte("theirs"))
	id := strings.Repeat("ab", 20)
	var dialled []string
	told := chainAnswer{Chain: "town", Genesis: theirs[:], Address: id + "@0.0.0.0:1"}
	m := &meeting{log: slog.New(slog.DiscardHandler), host: answers(func(chainAsk) (chainAnswer, error) { return told, nil }), genesis: ours,
		peers: func() []peer.ID { return []peer.ID{"bob"} },
		seen:  func(peer.ID) []netip.Addr { return []netip.Addr{netip.MustParseAddr("192.0.2.7")} },
		dial:  func(all ...string) { dialled = append(dialled, all...) }, known: map[peer.ID]string{}}
	m.round(t.Context())
	if len(dialled) != 0 {
		t.Errorf("a node of another chain is dialled: %v", dialled)
	}
	told.Genesis = ours[:]
	m.round(t.Context())
	m.round(t.Context())
	told.Address = id + "@0.0.0.0:2"
	m.round(t.Context())
	if strings.Join(dialled, " ") != id+"@192.0.2.7:1 "+id+"@192.0.2.7:2" {
		t.Errorf("dialled: %v", dialled)
	}
}

func FuzzChainWords(f *testing.F) {
	f.Add([]byte{0xa1})
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = parseChainAsk(b)
		if a, err := parseChainAnswer(b); err == nil {
			_, _ = reach(a.Address, nil)
		}
	})
}

// Who joins late asks for headers through a server of its own; nothing else of the other's RPC can be asked for.
func TestHeadersAreAskedForThroughAPeer(t *testing.T) {
	rpc := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		_, _ = w.Write(append([]byte("answer to "), text...))
	}))
	defer rpc.Close()
	alice := answers(func(q chainAsk) (chainAnswer, error) {
		text, err := askOwnRPC(t.Context(), strings.TrimPrefix(rpc.URL, "http://"), q.RPC)
		return chainAnswer{Text: text}, err
	})
	w, err := openWitness(alice, "alice")
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	for question, good := range map[string]bool{
		`{"method":"commit","params":{"height":"7"}}`: true,
		`{"method":"validators"}`:                     true,
		`{"method":"broadcast_tx_sync"}`:              false,
		`{"method":"dial_peers"}`:                     false,
		`[{"method":"commit"}]`:                       false,
		`commit`:                                      false,
		`{"method":"commit","x":"` + strings.Repeat("y", 4000) + `"}`: false,
	} {
		resp, err := http.Post(w.at, "application/json", strings.NewReader(question))
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if got := resp.StatusCode == http.StatusOK; got != good || good && string(text) != "answer to "+question {
			t.Errorf("%.60s: %s, %.80q", question, resp.Status, text)
		}
	}
}

func TestTheNewestSnapshotIsTold(t *testing.T) {
	dir := t.TempDir()
	if got := snapshot(filepath.Join(dir, "none")); got != 0 {
		t.Errorf("without a folder: %d", got)
	}
	for _, name := range []string{"100", "2000", "metadata.db"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "9000"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := snapshot(dir); got != 2000 {
		t.Errorf("the newest is %d", got)
	}
}
