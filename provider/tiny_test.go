package provider

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
)

// FuzzTake feeds a provider whatever a requester might send, under a lease and without one.
func FuzzTake(f *testing.F) {
	b := opens(f)
	f.Cleanup(b.stop)
	alice := b.visits("alice")
	l := alice.signs(1)
	seeds := []lease.Message{
		{Lease: l.ID(), Begin: &lease.Begin{Lease: l, Work: alice.work("index")}},
		{Lease: l.ID(), Assign: &lease.Assign{Tasks: []job.Task{{Index: 1, Path: "/in", Input: &job.Content{Inline: []byte("x")}}}}},
		{Lease: l.ID(), Cancel: &lease.Cancel{Tasks: []uint64{1}}},
		{Lease: l.ID(), Stdin: &lease.Stdin{Task: 1, Data: []byte("x")}},
		{Lease: l.ID(), End: &lease.End{}},
		{Lease: l.ID(), Held: &lease.Held{}},
	}
	for _, m := range seeds {
		data, err := m.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	link := b.join(alice.wire)
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := b.take(context.Background(), link, data); err == nil {
			if _, err := lease.DecodeMessage(data); err != nil {
				t.Fatalf("took what is not a message: %v", err)
			}
		}
	})
}

// instant is an engine whose tasks take no time: what is left is the provider's own cost.
type instant struct{ *works }

func (e instant) Open(_ context.Context, p engine.Program) (engine.Sandbox, error) {
	return &instantRoom{room{w: e.works, p: p, cancelled: map[uint64]bool{}, change: make(chan struct{})}}, nil
}

type instantRoom struct{ room }

func (r *instantRoom) Run(_ context.Context, tasks []engine.Task, sink engine.Sink) error {
	for len(tasks) > 0 {
		n := min(64, len(tasks))
		out := make([]engine.Outcome, n)
		for i, task := range tasks[:n] {
			out[i] = engine.Outcome{ID: task.ID, End: engine.Exited, Stdout: engine.Blob{Inline: []byte("42"), Size: 2}}
		}
		sink.Done(out)
		tasks = tasks[n:]
	}
	return nil
}

func (r *instantRoom) Close() error { return nil }

// BenchmarkTinyTasks sends tasks through a provider whose engine is instant: assignments and results are encoded and decoded as between machines.
func BenchmarkTinyTasks(bm *testing.B) {
	b := &bob{t: bm, me: named(bm, "bob"), shelf: newShelf(), engine: newWorks(bm), doors: &doors{}}
	cfg := Default(filepath.Join(bm.TempDir(), "provider"))
	cfg.Slots = 1
	p, err := New(quiet(), Deps{Self: b.me.id, Sessions: b.doors, Store: b.shelf, Engines: map[string]engine.Engine{"fake": instant{b.engine}}}, cfg)
	if err != nil {
		bm.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- p.Serve(ctx) }()
	b.Provider = p
	alice := b.visits("alice")
	held := alice.begins(alice.work("index"), 1)
	credit, next, out, got := held.Credit, uint64(0), 0, 0
	bm.ReportAllocs()
	bm.ResetTimer()
	for got < bm.N {
		if room := min(credit-out, bm.N-int(next)); room > credit/4 || (out == 0 && room > 0) {
			tasks := make([]job.Task, min(room, 1024))
			for i := range tasks {
				tasks[i].Index = next
				next++
			}
			out += len(tasks)
			alice.gives(tasks...)
			continue
		}
		switch m := alice.hears(); {
		case m.Results != nil:
			got += len(m.Results.Results)
			out -= len(m.Results.Results)
		case m.Credit != nil:
			credit = m.Credit.Tasks
		case m.Refused != nil:
			bm.Fatal(m.Refused.Reason)
		}
	}
	bm.StopTimer()
	bm.ReportMetric(float64(bm.N)/bm.Elapsed().Seconds(), "tasks/s")
	cancel()
	if err := <-done; err != nil {
		bm.Fatal(err)
	}
}
