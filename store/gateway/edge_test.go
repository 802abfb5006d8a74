package gateway

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/multiformats/go-multiaddr"
)

// Alice publishes at bob's node, again, and withdraws.
func TestEdge(t *testing.T) {
	alice, bob, origins := homes(t)
	film := add(t, alice, random(2<<20, 1))
	var at []multiaddr.Multiaddr
	for _, o := range origins {
		at = append(at, multiaddr.StringCast(o))
	}
	url := pinning(t, bob, func(c *PinsConfig) { c.Idle = 500 * time.Millisecond })
	edge := Edge{URL: url + "/", Token: token}
	must(t, edge.Check())
	if err := edge.Serves(t.Context(), film, 0); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("serves what it does not have: %v", err)
	}
	if err := edge.Hold(t.Context(), film, "film", 0, nil); err == nil || !strings.Contains(err.Error(), "no connected node sent any of it") {
		t.Errorf("nobody is named who has it: %v", err)
	}
	for range 2 { // what failed is asked for again, what is held is not
		must(t, edge.Hold(t.Context(), film, "film", 0, at))
	}
	if names, n := listed(t, url, "status=queued,pinning,pinned,failed"); names != "film" || n != 1 {
		t.Errorf("bob lists %q, %d", names, n)
	}
	must(t, edge.Serves(t.Context(), film, 0))
	if n, err := edge.LetGo(t.Context(), film); n != 1 || err != nil {
		t.Errorf("letting go: %d, %v", n, err)
	}
	if collect(t, bob, film) {
		t.Error("bob holds it still")
	}
	wrong := Edge{URL: url, Token: "of somebody else"}
	if err := wrong.Hold(t.Context(), film, "film", 0, at); err == nil || !strings.Contains(err.Error(), "UNAUTHORIZED") {
		t.Errorf("a wrong token: %v", err)
	}
	slow := pinning(t, bob, nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := (Edge{URL: slow, Token: token}).Hold(ctx, contentOf("nobody has it"), "", 0, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no patience: %v", err)
	}
}

func TestEdgeThatLies(t *testing.T) {
	mallory := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("something else")) }))
	defer mallory.Close()
	if err := (Edge{URL: mallory.URL, Token: token}).Serves(t.Context(), contentOf("film"), 0); err == nil || !strings.Contains(err.Error(), "other bytes") {
		t.Errorf("mallory serves: %v", err)
	}
	for url, says := range map[string]string{
		"cdn.example": "not a URL", "ftp://cdn.example": "not a URL", "https://cdn.example/x": "not a URL", "https://u:p@cdn.example": "not a URL",
		"http://cdn.example": "in the clear", "https://cdn.example": "", "http://127.0.0.1:4713": "", "http://[::1]:1/": "",
	} {
		if err := (Edge{URL: url, Token: token}).Check(); (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", url, err, says)
		}
	}
	for _, secret := range []string{"", "two\nlines", "ü"} {
		if err := (Edge{URL: "https://cdn.example", Token: secret}).Check(); err == nil {
			t.Errorf("token %q: %v", secret, err)
		}
	}
}
