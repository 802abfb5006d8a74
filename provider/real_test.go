package provider

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/enginetest"
	"github.com/hpips/hpips/market"
	"github.com/hpips/hpips/p2p"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/store"
)

// home is somebody's node up to the conductor: a host on loopback, sessions and a store.
type home struct {
	person
	host     *p2p.Host
	sessions *p2p.Sessions
	store    *store.Store
}

func moveIn(t *testing.T, name string) *home {
	t.Helper()
	h := &home{person: named(t, name)}
	cfg := p2p.Default()
	cfg.Listen, cfg.MDNS = []string{"/ip4/127.0.0.1/tcp/0"}, false
	var err error
	if h.host, err = p2p.New(quiet(), h.key, cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.host.Close() })
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

// serve runs a Serve until the test ends.
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

// TestATradeOverRealSockets is the whole way with real rooms below: quote, lease, session, program and input from alice's store, a result that is
// too large for a message, and the end.
func TestATradeOverRealSockets(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	bob := moveIn(t, "bob")
	alice := moveIn(t, "alice")
	if err := alice.host.Libp2p().Connect(ctx, peer.AddrInfo{ID: bob.id, Addrs: bob.host.Libp2p().Addrs()}); err != nil {
		t.Fatal(err)
	}

	module := []byte("upper")
	sum := sha256.Sum256(module)
	works := enginetest.NewFake(map[string]enginetest.Program{hex.EncodeToString(sum[:]): func(_ context.Context, g *enginetest.Guest) int {
		b, err := g.ReadFile(g.Env("HPIPS_INPUT"))
		if err != nil || g.Stdout([]byte(strings.ToUpper(string(b)))) != nil {
			return 1
		}
		return 0
	}})
	cfg := Default(filepath.Join(t.TempDir(), "tasks"))
	cfg.Slots = 2
	p, err := New(quiet(), Deps{Self: bob.id, Sessions: Over(bob.sessions), Store: bob.store, Engines: map[string]engine.Engine{works.Name(): works}}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	bidder, err := market.NewBidder(quiet(), bob.key, time.Now, p, market.DefaultBidder())
	if err != nil {
		t.Fatal(err)
	}
	bidder.Answer(calls{t, bob.host})
	serve(t, p.Serve)
	for _, h := range []*home{bob, alice} {
		serve(t, h.host.Serve)
		serve(t, h.sessions.Serve)
	}

	resources := job.Resources{CPU: 1, Memory: 64 << 20, Disk: 64 << 20}
	order := lease.Order{Job: "job-1", Requester: alice.id.String(), Engine: "wasm", Slots: 8, Resources: resources}
	broker := market.NewBroker(quiet(), alice.key, time.Now, alice.host, market.DefaultBroker())
	offers := market.Choose(broker.Ask(ctx, order, 0, []peer.ID{bob.id}), 8)
	if len(offers) != 1 || offers[0].Quote.Slots != 2 {
		t.Fatalf("offers %+v", offers)
	}
	l, err := broker.Open(ctx, bob.id, order, offers[0].Quote, nil, time.Hour)
	if err != nil {
		t.Fatal(err)
	}

	program, err := alice.store.AddBytes(ctx, module)
	if err != nil {
		t.Fatal(err)
	}
	session := alice.sessions.Open(bob.id, lease.Session)
	send := func(m lease.Message) {
		t.Helper()
		m.Lease = l.ID()
		b, err := m.Encode()
		if err == nil {
			err = session.Send(ctx, b)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	send(lease.Message{Begin: &lease.Begin{Lease: l, Work: lease.Work{Module: program.CID.String(), Count: 20, Resources: resources}}})
	var tasks []job.Task
	for i := range uint64(20) {
		e, err := alice.store.AddBytes(ctx, []byte(strings.Repeat(fmt.Sprint("abc", i, " "), 30_000)))
		if err != nil {
			t.Fatal(err)
		}
		tasks = append(tasks, job.Task{Index: i, Path: "/in/part", Input: &job.Content{CID: e.CID.String(), Size: int64(e.Size)}})
	}
	send(lease.Message{Assign: &lease.Assign{Tasks: tasks}})

	got := 0
	for got < 20 {
		m, err := session.Receive(ctx)
		if err != nil {
			t.Fatalf("after %d results: %v", got, err)
		}
		if m.Event != p2p.EventNone {
			continue
		}
		word, err := lease.DecodeMessage(m.Data)
		if err != nil || word.Refused != nil {
			t.Fatalf("%+v, %v", word.Refused, err)
		}
		if word.Results != nil {
			for _, r := range word.Results.Results {
				got++
				if want := strings.Repeat(fmt.Sprint("ABC", r.Index, " "), 30_000); !r.Succeeded() || alice.reads(ctx, t, r.Stdout.CID, bob.id) != want {
					t.Errorf("task %d: %+v", r.Index, r)
				}
			}
		}
		session.Ack(m.Seq)
	}
	send(lease.Message{End: &lease.End{}})
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for p.Free("").Leases > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("the lease did not end")
		}
	}
}

// reads fetches a file from a peer.
func (h *home) reads(ctx context.Context, t *testing.T, ref string, from peer.ID) string {
	t.Helper()
	c, err := cid.Decode(ref)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.store.Fetch(ctx, c, nil, from); err != nil {
		t.Fatal(err)
	}
	r, err := h.store.Open(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
