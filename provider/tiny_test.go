package provider

import (
	"context"
	"testing"
	"time"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/pay"
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
			out[i] = engine.Outcome{ID: task.ID, End: engine.Exited, Stdout: engine.Blob{Inline: []byte("42"), Size: 2},
				Usage: engine.Usage{CPU: 20 * time.Microsecond, Wall: 20 * time.Microsecond}}
		}
		sink.Done(out)
		tasks = tasks[n:]
	}
	return nil
}

func (r *instantRoom) Close() error { return nil }

// BenchmarkTinyTasks sends tasks through a provider whose engine is instant: assignments and results are encoded and decoded as between machines.
// The paid row has alice sign whenever half a window is owed, and bob keep each voucher synced; its chain is instant.
func BenchmarkTinyTasks(bm *testing.B) {
	bm.Run("free", func(bm *testing.B) { tiny(bm, false) })
	bm.Run("paid", func(bm *testing.B) { tiny(bm, true) })
}

func tiny(bm *testing.B, paid bool) {
	c := newTill()
	b := earns(bm, c, func(cfg *Config) { cfg.Slots = 1 })
	b.stop()
	b.serve(instant{b.engine})
	defer func() { b.stop() }()
	alice := b.patronises(c, "alice")
	var held *lease.Held
	if w := alice.work("index"); paid {
		held = alice.hires(w, 1, plenty)
	} else {
		held = alice.begins(w, 1)
	}
	purse := pay.NewWindow(alice.lease.Terms, job.Limits{})
	var promised uint64
	vouchers := 0
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
			for i := range m.Results.Results {
				u := pay.Used(m.Results.Results[i], alice.lease.Terms.Order.Resources)
				alice.used = alice.used.Add(u)
				purse.Ended(u)
			}
		case m.Credit != nil:
			credit = m.Credit.Tasks
		case m.Refused != nil:
			bm.Fatal(m.Refused.Reason)
		}
		if paid && purse.Due(alice.worth()-promised, 0, out == 0) {
			promised = alice.pays().Voucher.Amount
			purse.Paid(promised)
			vouchers++
		}
	}
	bm.StopTimer()
	bm.ReportMetric(float64(bm.N)/bm.Elapsed().Seconds(), "tasks/s")
	bm.ReportMetric(float64(vouchers), "vouchers")
}
