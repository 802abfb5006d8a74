package provider

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
)

// person is somebody with a node: a key and the peer ID that holds it.
type person struct {
	key crypto.PrivKey
	id  peer.ID
}

func named(t testing.TB, name string) person {
	t.Helper()
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, name)
	key, err := crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(seed))
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return person{key, id}
}

// bob is a provider at work, with a shelf of content and an engine whose programs are Go functions.
type bob struct {
	*Provider
	t      testing.TB
	me     person
	shelf  *shelf
	engine *works
	doors  *doors
	stop   func()
	payee  Payee
	barred func(engine string, buyer peer.ID) string
	config Config
}

// opens a provider of one slot that serves until the test ends; change edits its configuration.
func opens(t testing.TB, change ...func(*Config)) *bob {
	t.Helper()
	b := &bob{t: t, me: named(t, "bob"), shelf: newShelf(), engine: newWorks(t), doors: &doors{}}
	cfg := Default(filepath.Join(t.TempDir(), "provider"))
	cfg.Slots, cfg.Memory, cfg.Disk = 1, 4<<30, 4<<30
	for _, c := range change {
		c(&cfg)
	}
	b.begin(cfg)
	return b
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// begin starts a process of bob's.
func (b *bob) begin(cfg Config) {
	b.t.Helper()
	b.config = cfg
	b.serve(b.engine)
}

// serve starts a process of bob's with an engine.
func (b *bob) serve(e engine.Engine) {
	p, err := New(quiet(), Deps{Self: b.me.id, Sessions: b.doors, Store: b.shelf, Engines: map[string]engine.Engine{"fake": e}, Payee: b.payee, Barred: b.barred}, b.config)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Serve(ctx) }()
	b.Provider = p
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Error(err)
		}
	})
}

// restarts kills bob's process and starts another one; nobody's sessions survive on its side.
func (b *bob) restarts() {
	b.stop()
	b.begin(b.cfg)
}

// doors are where sessions come in.
type doors struct{ fn func(Session) }

func (d *doors) Accept(_ string, fn func(Session)) { d.fn = fn }

// client is a requester's end: alice, or carol.
type client struct {
	t     testing.TB
	me    person
	bob   *bob
	wire  *wire
	lease lease.Lease
	id    string
	seq   uint64
}

// visits opens a session with bob.
func (b *bob) visits(name string) *client {
	c := &client{t: b.t, me: named(b.t, name), bob: b, wire: newWire()}
	c.wire.peer = c.me.id
	b.doors.fn(c.wire)
	return c
}

// signs makes a lease with bob without the market; edit changes its terms before they are signed.
func (c *client) signs(slots int, edit ...func(*lease.Terms)) lease.Lease {
	c.t.Helper()
	now := time.Now()
	c.seq++
	terms := lease.Terms{
		Order: lease.Order{Job: fmt.Sprint("job-", c.seq), Requester: c.me.id.String(), Engine: "fake", Slots: slots,
			Resources: job.Resources{CPU: 1, Memory: 64 << 20, Disk: 1 << 20}},
		Quote: lease.Quote{Provider: c.bob.me.id.String(), Slots: slots, Until: now.Add(time.Minute).UnixMilli()},
		From:  now.UnixMilli(), Until: now.Add(time.Hour).UnixMilli(),
	}
	for _, e := range edit {
		e(&terms)
	}
	return lease.Lease{Terms: terms, Requester: sign(c.t, terms, c.me), Provider: sign(c.t, terms, c.bob.me)}
}

func sign(t testing.TB, terms lease.Terms, by person) []byte {
	t.Helper()
	sig, err := terms.Sign(by.key)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

// work is what a job of this program asks for.
func (c *client) work(program string) lease.Work {
	return lease.Work{Module: c.bob.shelf.put([]byte(program)), Count: 1, Resources: job.Resources{CPU: 1, Memory: 64 << 20, Disk: 1 << 20}}
}

// begins makes a lease, begins it and waits until bob holds it.
func (c *client) begins(w lease.Work, slots int) *lease.Held {
	c.t.Helper()
	c.lease = c.signs(slots)
	c.id = c.lease.ID()
	return c.resumes(w)
}

func (c *client) resumes(w lease.Work) *lease.Held {
	c.t.Helper()
	c.says(lease.Message{Begin: &lease.Begin{Lease: c.lease, Work: w}})
	for {
		m := c.hears()
		if m.Refused != nil {
			c.t.Fatalf("refused: %+v", m.Refused)
		}
		if m.Held != nil {
			return m.Held
		}
	}
}

func (c *client) says(m lease.Message) {
	c.t.Helper()
	if m.Lease == "" {
		m.Lease = c.id
	}
	b, err := m.Encode()
	if err != nil {
		c.t.Fatal(err)
	}
	c.wire.deliver(b)
}

// assigns gives tasks with these indexes.
func (c *client) assigns(indexes ...uint64) {
	c.t.Helper()
	var tasks []job.Task
	for _, i := range indexes {
		tasks = append(tasks, job.Task{Index: i})
	}
	c.gives(tasks...)
}

func (c *client) gives(tasks ...job.Task) {
	c.t.Helper()
	c.says(lease.Message{Assign: &lease.Assign{Tasks: tasks}})
}

// hears waits for bob's next message.
func (c *client) hears() lease.Message {
	c.t.Helper()
	b, ok := c.wire.next()
	if !ok {
		c.t.Fatal("the session is closed")
	}
	m, err := lease.DecodeMessage(b)
	if err != nil {
		c.t.Fatal(err)
	}
	return m
}

// collects waits for n results, each of another task.
func (c *client) collects(n int) map[uint64]job.Result {
	c.t.Helper()
	got := map[uint64]job.Result{}
	for len(got) < n {
		m := c.hears()
		switch {
		case m.Refused != nil:
			c.t.Fatalf("refused: %+v", m.Refused)
		case m.Results != nil:
			for _, r := range m.Results.Results {
				if _, twice := got[r.Index]; twice {
					c.t.Fatalf("two results of task %d", r.Index)
				}
				got[r.Index] = r
			}
		}
	}
	return got
}

// refusal waits until bob refuses.
func (c *client) refusal() lease.Refused {
	c.t.Helper()
	for {
		if m := c.hears(); m.Refused != nil {
			return *m.Refused
		}
	}
}

// upTo is the indexes 0 … n-1.
func upTo(n int) []uint64 {
	var all []uint64
	for i := range n {
		all = append(all, uint64(i))
	}
	return all
}
