package audit

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/goleak"

	"github.com/hpips/hpips/auditor"
	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/wasm"
	"github.com/hpips/hpips/p2p"
	"github.com/hpips/hpips/provider"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/store"
	"github.com/hpips/hpips/test/e2e/pc"
)

// TestMain lets the test binary be the sandboxes' child, as the hpips binary is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "wasm-child" {
		os.Exit(wasm.Child())
	}
	goleak.VerifyTestMain(m)
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// home is somebody's node up to the conductors.
type home struct {
	t        *testing.T
	key      crypto.PrivKey
	id       peer.ID
	host     *p2p.Host
	sessions *p2p.Sessions
	store    *store.Store
}

func moveIn(t *testing.T, name string) *home {
	t.Helper()
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, name)
	h := &home{t: t}
	var err error
	if h.key, err = crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(seed)); err != nil {
		t.Fatal(err)
	}
	cfg := p2p.Default()
	cfg.Listen, cfg.MDNS = []string{"/ip4/127.0.0.1/tcp/0"}, false
	if h.host, err = p2p.New(quiet(), h.key, cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.host.Close() })
	h.id = h.host.ID()
	if h.store, err = store.Open(quiet(), filepath.Join(t.TempDir(), "store"), h.host.Libp2p(), store.Default()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.store.Close(); err != nil {
			t.Error(err)
		}
	})
	h.sessions = p2p.NewSessions(quiet(), h.host, p2p.SessionConfig{})
	h.serve(h.host.Serve)
	h.serve(h.sessions.Serve)
	return h
}

// serve runs a Serve until the test's end.
func (h *home) serve(fn func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- fn(ctx) }()
	h.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && ctx.Err() == nil {
			h.t.Error(err)
		}
	})
}

func (h *home) knows(other *home) {
	h.t.Helper()
	if err := h.host.Libp2p().Connect(h.t.Context(), peer.AddrInfo{ID: other.id, Addrs: other.host.Libp2p().Addrs()}); err != nil {
		h.t.Fatal(err)
	}
}

func (h *home) sandboxes() engine.Engine {
	h.t.Helper()
	self, err := os.Executable()
	if err != nil {
		h.t.Fatal(err)
	}
	e, err := wasm.New(quiet(), wasm.Config{Command: []string{self, "wasm-child"}, Cache: filepath.Join(h.t.TempDir(), "cache")})
	if err != nil {
		h.t.Fatal(err)
	}
	return e
}

// works opens a provider.
func (h *home) works() {
	h.t.Helper()
	cfg := provider.Default(filepath.Join(h.t.TempDir(), "tasks"))
	cfg.Slots = 2
	p, err := provider.New(quiet(), provider.Deps{Self: h.id, Sessions: provider.Over(h.sessions), Store: h.store, Engines: map[string]engine.Engine{"wasm": h.sandboxes()}}, cfg)
	if err != nil {
		h.t.Fatal(err)
	}
	h.serve(p.Serve)
}

// examines opens an examiner; change edits its configuration.
func (h *home) examines(change ...func(*auditor.Config)) *auditor.Examiner {
	h.t.Helper()
	cfg := auditor.Default(filepath.Join(h.t.TempDir(), "examinations"))
	cfg.Time = 2 * time.Minute
	for _, c := range change {
		c(&cfg)
	}
	e, err := auditor.New(quiet(), h.store, h.sandboxes(), cfg)
	if err != nil {
		h.t.Fatal(err)
	}
	return e
}

// town is alice, who asks; bob, who works for her; carol and dave, who look at it again.
type town struct {
	t                       *testing.T
	alice, bob, carol, dave *home
	session                 *p2p.Session
	leases                  uint64
}

func settle(t *testing.T) *town {
	t.Helper()
	v := &town{t: t, alice: moveIn(t, "alice"), bob: moveIn(t, "bob"), carol: moveIn(t, "carol"), dave: moveIn(t, "dave")}
	for _, h := range []*home{v.bob, v.carol, v.dave} {
		v.alice.knows(h)
	}
	v.bob.works()
	v.session = v.alice.sessions.Open(v.bob.id, lease.Session)
	return v
}

// has puts a file into alice's store.
func (h *home) has(b []byte) string {
	h.t.Helper()
	e, err := h.store.AddBytes(h.t.Context(), b)
	if err != nil {
		h.t.Fatal(err)
	}
	return e.CID.String()
}

// hasDir puts a folder of this machine into the store.
func (h *home) hasDir(path string) string {
	h.t.Helper()
	e, err := h.store.AddPath(h.t.Context(), path, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	return e.CID.String()
}

// built puts a Go program of the module into alice's store.
func (h *home) built(pkg string) string {
	h.t.Helper()
	name, err := pc.Guest(filepath.Join("..", ".."), h.t.TempDir(), pkg)
	if err != nil {
		h.t.Fatal(err)
	}
	return h.hasDir(name)
}

// asks has bob do tasks, and gives what he says of each.
func (v *town) asks(ctx context.Context, w lease.Work, tasks ...job.Task) map[uint64]job.Result {
	v.t.Helper()
	v.leases++
	now := time.Now()
	terms := lease.Terms{
		Order: lease.Order{Job: fmt.Sprint("job-", v.leases), Requester: v.alice.id.String(), Engine: "wasm", Slots: 2, Resources: w.Resources},
		Quote: lease.Quote{Provider: v.bob.id.String(), Slots: 2, Until: now.Add(time.Minute).UnixMilli()},
		From:  now.UnixMilli(), Until: now.Add(time.Hour).UnixMilli(),
	}
	l := lease.Lease{Terms: terms}
	var err error
	if l.Requester, err = terms.Sign(v.alice.key); err != nil {
		v.t.Fatal(err)
	}
	if l.Provider, err = terms.Sign(v.bob.key); err != nil {
		v.t.Fatal(err)
	}
	send := func(m lease.Message) {
		m.Lease = l.ID()
		b, err := m.Encode()
		if err == nil {
			err = v.session.Send(ctx, b)
		}
		if err != nil {
			v.t.Fatal(err)
		}
	}
	send(lease.Message{Begin: &lease.Begin{Lease: l, Work: w}})
	send(lease.Message{Assign: &lease.Assign{Tasks: tasks}})
	got := map[uint64]job.Result{}
	for len(got) < len(tasks) {
		m, err := v.session.Receive(ctx)
		if err != nil {
			v.t.Fatalf("after %d results: %v", len(got), err)
		}
		if m.Event != p2p.EventNone {
			continue
		}
		word, err := lease.DecodeMessage(m.Data)
		if err != nil || word.Refused != nil {
			v.t.Fatalf("%+v, %v", word.Refused, err)
		}
		if word.Results != nil && word.Lease == l.ID() {
			for _, r := range word.Results.Results {
				got[r.Index] = r
			}
		}
		v.session.Ack(m.Seq)
	}
	send(lease.Message{End: &lease.End{}})
	return got
}

// collects deletes what nothing holds in a store, and tells whether an address is still there.
func (h *home) collects(ref string) bool {
	h.t.Helper()
	if _, err := h.store.GC(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
	c, err := cid.Decode(ref)
	if err != nil {
		h.t.Fatal(err)
	}
	has, err := h.store.Has(h.t.Context(), c)
	if err != nil {
		h.t.Fatal(err)
	}
	return has
}
