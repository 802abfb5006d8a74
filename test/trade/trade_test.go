package trade

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"go.uber.org/goleak"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/market"
	"github.com/hpips/hpips/p2p"
	"github.com/hpips/hpips/pay"
	"github.com/hpips/hpips/provider"
	"github.com/hpips/hpips/requester"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/voucher"
	"github.com/hpips/hpips/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// home is somebody's node up to the conductors.
type home struct {
	key      ed25519.PrivateKey
	priv     crypto.PrivKey
	id       peer.ID
	host     *p2p.Host
	sessions *p2p.Sessions
	store    *store.Store
}

func moveIn(t *testing.T, name string) *home {
	t.Helper()
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, name)
	h := &home{key: ed25519.NewKeyFromSeed(seed)}
	var err error
	if h.priv, err = crypto.UnmarshalEd25519PrivateKey(h.key); err != nil {
		t.Fatal(err)
	}
	cfg := p2p.Default()
	cfg.Listen, cfg.MDNS = []string{"/ip4/127.0.0.1/tcp/0"}, false
	if h.host, err = p2p.New(quiet(), h.priv, cfg); err != nil {
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
	return h
}

// serve runs a Serve until the test's end.
func serve(t *testing.T, fn func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- fn(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && ctx.Err() == nil {
			t.Error(err)
		}
	})
}

// calls drops the error of Handle, which these tests cannot bring about.
type calls struct {
	t *testing.T
	*p2p.Host
}

func (c calls) Handle(proto protocol.ID, limit int, fn func(context.Context, peer.ID, []byte) ([]byte, error)) {
	if err := c.Host.Handle(proto, limit, fn); err != nil {
		c.t.Error(err)
	}
}

// clock is an engine whose programs wait for a while and say so.
type clock struct{ each time.Duration }

func (clock) Name() string { return "wasm" }

func (c clock) Open(context.Context, engine.Program) (engine.Sandbox, error) {
	return &room{each: c.each, gone: map[uint64]bool{}}, nil
}

type room struct {
	each time.Duration
	mu   sync.Mutex
	gone map[uint64]bool
}

func (r *room) Run(ctx context.Context, tasks []engine.Task, sink engine.Sink) error {
	for _, task := range tasks {
		began := time.Now()
		select {
		case <-time.After(r.each):
		case <-ctx.Done():
		}
		r.mu.Lock()
		o := engine.Outcome{ID: task.ID, End: engine.Exited, Stdout: engine.Blob{Inline: []byte("42"), Size: 2}}
		if took := time.Since(began); r.gone[task.ID] || ctx.Err() != nil {
			o = engine.Outcome{ID: task.ID, End: engine.Cancelled, Exit: -1}
		} else {
			o.Usage = engine.Usage{CPU: took, Wall: took}
		}
		r.mu.Unlock()
		sink.Done([]engine.Outcome{o})
	}
	return nil
}

func (r *room) Cancel(id uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone[id] = true
}

func (r *room) Feed(uint64, int64, bool) {}
func (r *room) Release(uint64)           {}
func (r *room) Pause() error             { return nil }
func (r *room) Resume() error            { return nil }
func (r *room) Close() error             { return nil }

// sells opens a provider of some slots that is paid on a till.
func (h *home) sells(t *testing.T, c *till, slots int, each time.Duration) {
	t.Helper()
	cfg := pay.DefaultPayee(20 * time.Second)
	cfg.Path, cfg.Key = filepath.Join(t.TempDir(), "pay.db"), h.key
	cfg.Soon, cfg.Poll = 100*time.Millisecond, 50*time.Millisecond
	payee, err := pay.OpenPayee(quiet(), c, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { payee.Close() })
	own := provider.Default(filepath.Join(t.TempDir(), "tasks"))
	own.Slots = slots
	p, err := provider.New(quiet(), provider.Deps{Self: h.id, Sessions: provider.Over(h.sessions), Store: h.store,
		Engines: map[string]engine.Engine{"wasm": clock{each}}, Payee: payee}, own)
	if err != nil {
		t.Fatal(err)
	}
	terms := market.DefaultBidder()
	terms.Owner, terms.Chain = owner(h.key.Public().(ed25519.PublicKey)), c.ID()
	terms.Rates = voucher.Rates{CPU: 3_600_000_000, Memory: 7_000_000, Disk: 3_000_000}
	bidder, err := market.NewBidder(quiet(), h.priv, time.Now, p, terms)
	if err != nil {
		t.Fatal(err)
	}
	bidder.Answer(calls{t, h.host})
	serve(t, payee.Serve)
	serve(t, p.Serve)
}

// buys opens a requester that pays on a till.
func (h *home) buys(t *testing.T, c *till, from ...*home) *requester.Requester {
	t.Helper()
	secret := make([]byte, 32)
	secret[0] = 1
	payer, err := pay.NewPayer(c, pay.PayerConfig{Account: "alice", Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	var peers []peer.ID
	for _, f := range from {
		peers = append(peers, f.id)
	}
	r, err := requester.New(quiet(), requester.Deps{Self: h.id, Peers: func() []peer.ID { return slices.Clone(peers) },
		Dial:  func(p peer.ID) requester.Session { return h.sessions.Open(p, lease.Session) },
		Addrs: func(peer.ID) []string { return nil }, Learn: func(peer.ID, []string) {},
		Market: market.NewBroker(quiet(), h.priv, time.Now, h.host, market.DefaultBroker()), Store: h.store, Payer: payer}, requester.Default(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	serve(t, r.Serve)
	return r
}

// town is alice with bob and carol, connected.
func town(t *testing.T) (alice, bob, carol *home) {
	t.Helper()
	alice, bob, carol = moveIn(t, "alice"), moveIn(t, "bob"), moveIn(t, "carol")
	for _, h := range []*home{alice, bob, carol} {
		serve(t, h.host.Serve)
		serve(t, h.sessions.Serve)
	}
	for _, h := range []*home{bob, carol} {
		if err := alice.host.Libp2p().Connect(t.Context(), peer.AddrInfo{ID: h.id, Addrs: h.host.Libp2p().Addrs()}); err != nil {
			t.Fatal(err)
		}
	}
	return alice, bob, carol
}

// count is a job of n tasks of a program that alice has.
func (h *home) count(t *testing.T, n int) job.Spec {
	t.Helper()
	e, err := h.store.AddBytes(t.Context(), []byte("\x00asm\x01\x00\x00\x00"))
	if err != nil {
		t.Fatal(err)
	}
	return job.Spec{Kind: job.Map, Run: job.Run{WASM: e.CID.String()}, Over: &job.Over{Count: n}, Limits: job.Limits{Hour: "100000 HPIPS"}}
}

func finish(t *testing.T, r *requester.Requester, id string) job.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for {
		states, err := r.Watch(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		var last job.Status
		for s := range states {
			last = s
		}
		switch {
		case last.State.Final():
			return last
		case ctx.Err() != nil:
			why, err := r.Why(context.Background(), id)
			t.Fatalf("job %s does not end: %+v, %v", id, why, err)
		}
	}
}

// eventually tries until it is so; the test's own time limit ends it.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s does not come about", what)
		}
	}
}

// TestBothSidesReckonAlike has a job carried by bob and carol, checked in part: all that was executed is paid, for exactly what is redeemed.
func TestBothSidesReckonAlike(t *testing.T) {
	c := newTill()
	alice, bob, carol := town(t)
	bob.sells(t, c, 2, 2*time.Millisecond)
	carol.sells(t, c, 1, 3*time.Millisecond)
	r := alice.buys(t, c, bob, carol)
	id, err := r.Submit(t.Context(), alice.count(t, 800), false)
	if err != nil {
		t.Fatal(err)
	}
	s := finish(t, r, id)
	if s.State != job.Settled || s.Tasks.Done != 800 || s.Tasks.Rerun != 0 {
		t.Fatalf("status %+v, error %+v", s, s.Error)
	}
	cost, err := r.Cost(t.Context(), id)
	if err != nil || cost.Promised < 800*2000 {
		t.Fatalf("cost %+v, %v", cost, err)
	}
	eventually(t, "the end of all leases", func() bool { _, _, open, redeemed := c.told(); return open == 0 && redeemed == cost.Promised })
	if opens, closes, _, _ := c.told(); opens != len(cost.Leases) && opens != 1 || closes != 1 {
		t.Errorf("%d leases: %d transactions opened them, %d closed them", len(cost.Leases), opens, closes)
	}
	tasks := uint64(0)
	for _, l := range cost.Leases {
		tasks += l.Usage.Tasks
	}
	if int(tasks) != s.Executions {
		t.Errorf("%d executions were paid of %d", tasks, s.Executions)
	}
}

// TestACeilingStopsBothSides: the job fails, and what was promised until then is redeemed, within the ceiling.
func TestACeilingStopsBothSides(t *testing.T) {
	c := newTill()
	alice, bob, carol := town(t)
	bob.sells(t, c, 2, 2*time.Millisecond)
	carol.sells(t, c, 1, 3*time.Millisecond)
	r := alice.buys(t, c, bob, carol)
	spec := alice.count(t, 2000)
	spec.Limits.Price = "1 HPIPS" // of about five
	id, err := r.Submit(t.Context(), spec, false)
	if err != nil {
		t.Fatal(err)
	}
	s := finish(t, r, id)
	if s.Error == nil || s.Error.Code != job.CodeFunds || s.ExitCode != 121 {
		t.Fatalf("status %+v, error %+v", s, s.Error)
	}
	cost, err := r.Cost(t.Context(), id)
	if err != nil || cost.Promised > 1_000_000 || cost.Promised < 800_000 {
		t.Fatalf("cost %+v, %v", cost, err)
	}
	eventually(t, "the end of all leases", func() bool { _, _, open, redeemed := c.told(); return open == 0 && redeemed == cost.Promised })
}
