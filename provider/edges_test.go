package provider

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hpips/hpips/engine/execution"
	"github.com/hpips/hpips/p2p"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
)

func TestLeasesThatBobDoesNotBegin(t *testing.T) {
	type begin = lease.Begin
	edit := func(fn func(*lease.Terms)) func(*client, *begin) {
		return func(c *client, b *begin) { b.Lease = c.signs(1, fn) }
	}
	rows := []struct {
		name, want string
		edit       func(c *client, b *begin)
		program    bool
	}{
		{name: "expired", want: "expired", edit: edit(func(t *lease.Terms) { t.Until = time.Now().UnixMilli(); t.From = t.Until - 1000 })},
		{name: "of another requester", want: "of another requester", edit: func(c *client, b *begin) {
			carol := *c
			carol.me = named(c.t, "carol")
			b.Lease = carol.signs(1)
		}},
		{name: "with another provider", want: "with another provider", edit: edit(func(t *lease.Terms) { t.Quote.Provider = t.Order.Requester })},
		{name: "not signed by bob", want: "signature", edit: func(_ *client, b *begin) { b.Lease.Provider = b.Lease.Requester }},
		{name: "not signed by alice", want: "signature", edit: func(_ *client, b *begin) { b.Lease.Requester = nil }},
		{name: "edited after the signatures", want: "signature", edit: func(_ *client, b *begin) { b.Lease.Terms.Order.Resources.Memory *= 2 }},
		{name: "for an engine that is not here", want: "engine \"mpi\" is not here", edit: edit(func(t *lease.Terms) { t.Order.Engine = "mpi" })},
		{name: "with more memory than ordered", want: "more than the lease gives", edit: func(_ *client, b *begin) { b.Work.Resources.Memory *= 2 }},
		{name: "with a GPU", want: "more than the lease gives", edit: func(_ *client, b *begin) { b.Work.Resources.GPU.Count = 1 }},
		{name: "with endless output", want: "an output of", edit: func(_ *client, b *begin) { b.Work.Limits.Output = 1 << 40 }},
		{name: "with a negative limit", want: "negative", edit: func(_ *client, b *begin) { b.Work.Limits.Time = -1 }},
		{name: "with an output outside", want: "clean absolute path", edit: func(_ *client, b *begin) { b.Work.Outputs = []string{"/out/../../etc"} }, program: true},
		{name: "with an input nowhere", want: "clean absolute path", edit: func(_ *client, b *begin) { b.Work.Inputs = []job.Input{{From: "x", To: "in"}} }, program: true},
		{name: "with a strange variable", want: "environment variable", edit: func(_ *client, b *begin) { b.Work.Env = map[string]string{"A=B": ""} }, program: true},
		{name: "whose program is no program", want: "_start", edit: func(c *client, b *begin) { b.Work = c.work("not a program") }, program: true},
		{name: "whose program is no address", want: "program /etc/passwd", edit: func(_ *client, b *begin) { b.Work.Module = "/etc/passwd" }},
		{name: "whose program nobody has", want: "nobody sent any of it", edit: func(_ *client, b *begin) { b.Work.Module = address([]byte("?")).String() }},
		{name: "whose program is huge", want: "larger than 64 MiB", edit: func(c *client, b *begin) { b.Work.Module = c.bob.shelf.put(make([]byte, execution.MaxModule+1)) }},
		{name: "whose input nobody has", want: "input " + address([]byte("?")).String(), edit: func(_ *client, b *begin) {
			b.Work.Inputs = []job.Input{{From: address([]byte("?")).String(), To: "/in"}}
		}},
		{name: "whose sandbox cannot start", want: "no child process", edit: func(c *client, b *begin) { b.Work = c.work("machine at fault") }},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			story(t, func(t *testing.T, b *bob) {
				alice := b.visits("alice")
				begin := lease.Begin{Lease: alice.signs(1), Work: alice.work("index")}
				r.edit(alice, &begin)
				alice.id = begin.Lease.ID()
				alice.says(lease.Message{Begin: &begin})
				alice.assigns(0)
				no := alice.refusal()
				if !strings.Contains(no.Reason, r.want) || no.Program != r.program {
					t.Errorf("refused with %+v, want %q", no, r.want)
				}
				synctest.Wait()
				if s := b.Status(); s.Leases != 0 || s.Done != 0 || s.Disk != 0 {
					t.Errorf("afterwards: %+v", s)
				}
			})
		})
	}
}

func TestALeaseHasOneName(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		alice := b.visits("alice")
		alice.id = "another name"
		alice.says(lease.Message{Begin: &lease.Begin{Lease: alice.signs(1), Work: alice.work("index")}})
		if no := alice.refusal(); !strings.Contains(no.Reason, "another name") {
			t.Fatalf("%+v", no)
		}
	})
}

func TestWorkDoesNotChangeUnderALease(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		alice := b.visits("alice")
		alice.begins(alice.work("index"), 1)
		alice.says(lease.Message{Begin: &lease.Begin{Lease: alice.lease, Work: alice.work("exit3")}})
		if no := alice.refusal(); !strings.Contains(no.Reason, "other work") {
			t.Fatalf("%+v", no)
		}
		alice.assigns(0)
		if r := alice.collects(1)[0]; !r.Succeeded() {
			t.Fatalf("%+v", r)
		}
	})
}

func TestCarolCannotSpeakForAlice(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		alice, carol := b.visits("alice"), b.visits("carol")
		w := alice.work("second")
		alice.begins(w, 1)
		alice.assigns(0)
		synctest.Wait()
		carol.id = alice.id
		carol.assigns(1)
		carol.says(lease.Message{Cancel: &lease.Cancel{Tasks: []uint64{0}}})
		carol.says(lease.Message{End: &lease.End{}})
		carol.says(lease.Message{Begin: &lease.Begin{Lease: alice.lease, Work: w}})
		if no := carol.refusal(); !strings.Contains(no.Reason, "another requester") {
			t.Fatalf("%+v", no)
		}
		alice.collects(1)
		if n := len(b.engine.started()); n != 1 {
			t.Fatalf("%d tasks ran", n)
		}
	})
}

func TestGarbageClosesTheSession(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		alice, carol := b.visits("alice"), b.visits("carol")
		alice.begins(alice.work("index"), 1)
		carol.begins(carol.work("index"), 1)
		carol.wire.deliver([]byte{0xff, 0x00, 0x01})
		for {
			if _, ok := carol.wire.next(); !ok {
				break
			}
		}
		alice.assigns(0)
		alice.collects(1)
		time.Sleep(b.cfg.Grace + 5*time.Second)
		if s := b.Status(); s.Leases != 1 {
			t.Fatalf("carol's lease outlived her session: %+v", s)
		}
	})
}

func TestMoreTasksThanWanted(t *testing.T) {
	rows := map[string]func(c *client){
		"too many": func(c *client) {
			for i := range uint64(20) {
				var some []uint64
				for k := range uint64(1000) {
					some = append(some, 1000*i+k)
				}
				c.assigns(some...)
			}
		},
		"too large": func(c *client) {
			for i := range uint64(2000) {
				c.gives(job.Task{Index: i, Path: "/in", Input: &job.Content{Inline: make([]byte, job.InlineLimit)}})
			}
		},
	}
	for name, flood := range rows {
		t.Run(name, func(t *testing.T) {
			story(t, func(t *testing.T, b *bob) {
				carol := b.visits("carol")
				carol.begins(carol.work("forever"), 1)
				flood(carol)
				if no := carol.refusal(); no.Hint != "keep to the credit" {
					t.Fatalf("%+v", no)
				}
				synctest.Wait()
				if s := b.Status(); s.Leases != 0 || s.Busy != 0 || b.engine.rooms() != 0 {
					t.Fatalf("after the flood: %+v, %d sandboxes", s, b.engine.rooms())
				}
			})
		})
	}
}

func TestATaskThatNoProgramGives(t *testing.T) {
	rows := map[string]job.Task{
		"an input without a path": {Input: &job.Content{Inline: []byte("x")}},
		"a path outside":          {Path: "../x"},
		"too large to be inline":  {Path: "/in", Input: &job.Content{Inline: make([]byte, job.InlineLimit+1)}},
		"a strange variable":      {Env: map[string]string{"": "x"}},
	}
	for name, j := range rows {
		story(t, func(t *testing.T, b *bob) {
			carol := b.visits("carol")
			carol.begins(carol.work("index"), 1)
			carol.gives(j)
			if no := carol.refusal(); !no.Program {
				t.Errorf("%s: %+v", name, no)
			}
		})
	}
}

func TestContentThatNobodyHas(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		alice := b.visits("alice")
		alice.begins(alice.work("cat"), 1)
		nobody := address([]byte("nobody has this")).String()
		began := time.Now()
		alice.gives(
			job.Task{Index: 0, Path: "/in/x", Input: &job.Content{CID: nobody, Size: 1}},
			job.Task{Index: 1, Path: "/in/x", Input: &job.Content{CID: b.shelf.put([]byte("here")), Size: 4}},
			job.Task{Index: 2, Path: "/in/x", Input: &job.Content{CID: "not an address"}})
		if r := alice.collects(2); string(r[1].Stdout.Inline) != "here" || r[2].End != job.Broken || time.Since(began) > time.Second {
			t.Fatalf("after %v: %+v", time.Since(began), r)
		}
		r := alice.collects(1)[0]
		if r.End != job.Broken || !strings.Contains(r.Message, nobody) || time.Since(began) != b.cfg.Stall {
			t.Fatalf("after %v: %+v", time.Since(began), r)
		}
	})
}

func TestTheTimeLimitBoundsTheSearch(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		alice := b.visits("alice")
		w := alice.work("cat")
		w.Limits.Time = job.Duration(5 * time.Second)
		alice.begins(w, 1)
		began := time.Now()
		alice.gives(job.Task{Index: 0, Path: "/in/x", Input: &job.Content{CID: address([]byte("?")).String(), Size: 1}})
		if r := alice.collects(1)[0]; r.End != job.Broken || time.Since(began) != 5*time.Second {
			t.Fatalf("after %v: %+v", time.Since(began), r)
		}
	})
}

func TestInputsHaveALimit(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		alice := b.visits("alice")
		alice.begins(alice.work("cat"), 1)
		alice.gives(job.Task{Index: 0, Path: "/in/x", Input: &job.Content{CID: b.shelf.put(make([]byte, 1<<20+1)), Size: 5}})
		r := alice.collects(1)[0]
		if r.End != job.DiskFull || !strings.Contains(r.Message, "raise it with --disk") {
			t.Fatalf("%+v", r)
		}
		synctest.Wait()
		if s := b.Status(); s.Disk > 1<<10 { // the program
			t.Fatalf("%d bytes are counted", s.Disk)
		}
	})
}

// TestTheDiskHasACap lets alice assign many large inputs at once: not all are staged at once, and all tasks come through.
func TestTheDiskHasACap(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		alice := b.visits("alice")
		w := alice.work("cat")
		alice.begins(w, 1)
		var most int64
		for i := range uint64(30) {
			large := make([]byte, 1<<20)
			large[0] = byte(i)
			alice.gives(job.Task{Index: i, Path: "/in/x", Input: &job.Content{CID: b.shelf.put(large), Size: 1 << 20}})
			most = max(most, b.Status().Disk)
		}
		for i, r := range alice.collects(30) {
			if r.Stdout.Size != 1<<20 {
				t.Errorf("task %d: %+v", i, r)
			}
		}
		if most > b.cfg.Disk {
			t.Errorf("%d bytes on disk, the cap is %d", most, b.cfg.Disk)
		}
	}, func(c *Config) { c.Disk = 300 << 20 })
}

func TestAFullNodeIsNotTheTasksFault(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		alice := b.visits("alice")
		w := alice.work("cat")
		w.Limits.Output = 64 << 10
		alice.begins(w, 1)
		alice.gives(job.Task{Index: 0, Path: "/in/x", Input: &job.Content{CID: b.shelf.put(make([]byte, 900<<10)), Size: 900 << 10}})
		if r := alice.collects(1)[0]; r.End != job.Broken || !strings.Contains(r.Message, "this node gives to tasks is full") {
			t.Fatalf("%+v", r)
		}
	}, func(c *Config) { c.Disk = 800 << 10 })
}

func TestAliceStaysAway(t *testing.T) {
	rows := map[string]struct {
		leave func(c *client)
		after func(c Config) time.Duration
	}{
		"the link is down":        {func(c *client) { c.wire.event(p2p.EventDown) }, func(c Config) time.Duration { return c.Patience }},
		"she restarts, forgets":   {func(c *client) { c.wire.event(p2p.EventRestarted); c.wire.event(p2p.EventUp) }, func(c Config) time.Duration { return c.Patience }},
		"she closes the session":  {func(c *client) { c.wire.Close() }, func(c Config) time.Duration { return c.Grace }},
		"her lease comes to term": {func(*client) {}, func(Config) time.Duration { return time.Hour }},
	}
	for name, r := range rows {
		t.Run(name, func(t *testing.T) {
			story(t, func(t *testing.T, b *bob) {
				alice := b.visits("alice")
				alice.begins(alice.work("forever"), 1)
				alice.assigns(0)
				synctest.Wait()
				r.leave(alice)
				time.Sleep(r.after(b.cfg) - 5*time.Second)
				if s := b.Status(); s.Leases != 1 || s.Running != 1 {
					t.Fatalf("too early: %+v", s)
				}
				time.Sleep(10 * time.Second)
				synctest.Wait()
				left, _ := os.ReadDir(filepath.Join(b.cfg.Dir, "leases"))
				if s := b.Status(); s.Leases != 0 || len(left) != 0 || b.engine.rooms() != 0 {
					t.Fatalf("after her time: %+v, %d folders, %d sandboxes", s, len(left), b.engine.rooms())
				}
			})
		})
	}
}

// TestResultsThatASessionTookAlong: alice closes a session that still had results to bring, and begins again over another one.
func TestResultsThatASessionTookAlong(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		alice := b.visits("alice")
		alice.wire.greedy = false
		w := alice.work("index")
		alice.begins(w, 1)
		alice.wire.do(func() { alice.wire.window = 1 }) // full
		alice.assigns(upTo(5)...)
		time.Sleep(time.Second)
		alice.wire.Close()
		synctest.Wait()
		again := b.visits("alice")
		again.lease, again.id = alice.lease, alice.id
		if held := again.resumes(w); len(held.Tasks) != 0 {
			t.Fatalf("held %v: their results are gone with the session", held.Tasks)
		}
		again.assigns(upTo(5)...)
		again.collects(5)
	})
}

func TestAShortInterruptionCostsNothing(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		alice := b.visits("alice")
		alice.begins(alice.work("second"), 1)
		alice.assigns(0)
		alice.wire.event(p2p.EventDown)
		time.Sleep(b.cfg.Patience - 2*time.Second)
		alice.wire.event(p2p.EventUp)
		time.Sleep(b.cfg.Patience)
		alice.collects(1)
		alice.assigns(1)
		alice.collects(1)
	})
}

func TestAnEndedLeaseIsNotSilent(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		alice := b.visits("alice")
		alice.begins(alice.work("index"), 1)
		alice.wire.event(p2p.EventDown)
		time.Sleep(b.cfg.Patience + 2*time.Second)
		alice.wire.event(p2p.EventUp)
		alice.assigns(0)
		if no := alice.refusal(); !strings.Contains(no.Reason, "away for too long") {
			t.Fatalf("%+v", no)
		}
	})
}

func TestExtensionKeepsTheLease(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		alice := b.visits("alice")
		alice.begins(alice.work("forever"), 1)
		longer := alice.lease.Terms
		longer.Serial, longer.Until = 1, longer.Until+time.Hour.Milliseconds()
		if err := b.Hold(lease.Lease{Terms: longer}); err != nil { // the market has checked it
			t.Fatal(err)
		}
		time.Sleep(90 * time.Minute)
		if s := b.Status(); s.Leases != 1 {
			t.Fatal("the extended lease ended")
		}
		time.Sleep(time.Hour)
		if s := b.Status(); s.Leases != 0 {
			t.Fatal("the lease did not end")
		}
		if no := alice.refusal(); no.Reason != "lease has expired" {
			t.Fatalf("%+v", no)
		}
	})
}

func TestReservationsEndByThemselves(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		carol := b.visits("carol")
		for i := range 32 {
			if i%8 == 0 && i > 0 { // nobody keeps more than a quarter without beginning
				if err := b.Hold(carol.signs(1)); err == nil || !strings.Contains(err.Error(), "8 of yours wait here") {
					t.Fatalf("lease %d: %v", i, err)
				}
				carol = b.visits(fmt.Sprint("carol ", i))
			}
			if err := b.Hold(carol.signs(1)); err != nil {
				t.Fatalf("lease %d: %v", i, err)
			}
		}
		carol = b.visits("carol at last")
		if err := b.Hold(carol.signs(1)); err == nil || err.Error() != "leases: 32 of 32 taken" || b.Free("").Leases != 32 {
			t.Fatalf("lease 33: %v", err)
		}
		time.Sleep(b.cfg.Grace + 2*time.Second)
		alice := b.visits("alice")
		if err := b.Hold(alice.signs(1)); err != nil {
			t.Fatal(err)
		}
	})
}

// TestCarolTakesNoResults: her session is full, and alice's work goes on in the same slot.
func TestCarolTakesNoResults(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		carol, alice := b.visits("carol"), b.visits("alice")
		carol.wire.greedy = false
		carol.wire.do(func() { carol.wire.window = 3 })
		carol.begins(carol.work("page"), 1)
		carol.assigns(upTo(1000)...)
		time.Sleep(10 * time.Second)
		alice.begins(alice.work("index"), 1)
		began := time.Now()
		alice.assigns(upTo(100)...)
		alice.collects(100)
		if took := time.Since(began); took > time.Second {
			t.Fatalf("alice waited %v behind carol's results", took)
		}
		time.Sleep(b.cfg.Patience + 5*time.Second)
		if s := b.Status(); s.Leases != 1 {
			t.Fatalf("carol holds on: %+v", s)
		}
	})
}

func TestALargeTaskIsNotPassedOverForEver(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		carol, alice := b.visits("carol"), b.visits("alice")
		carol.begins(carol.work("second"), 2)
		carol.assigns(upTo(1000)...)
		w := alice.work("index")
		w.Resources.Memory = 4 << 30
		alice.lease = alice.signs(1, func(t *lease.Terms) { t.Order.Resources.Memory = 4 << 30 })
		alice.id = alice.lease.ID()
		alice.resumes(w)
		began := time.Now()
		alice.assigns(0)
		alice.collects(1)
		if took := time.Since(began); took > maxPassed*time.Second {
			t.Errorf("alice's task waited %v for its memory", took)
		}
	}, func(c *Config) { c.Slots = 2 })
}

func TestStoppingLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := opens(t)
		alice := b.visits("alice")
		alice.begins(alice.work("forever"), 1)
		alice.assigns(upTo(10)...)
		alice.gives(job.Task{Index: 99, Path: "/in", Input: &job.Content{CID: address([]byte("?")).String()}})
		synctest.Wait()
		b.stop()
		left, err := os.ReadDir(filepath.Join(b.cfg.Dir, "leases"))
		if err != nil || len(left) != 0 || b.engine.rooms() != 0 {
			t.Fatalf("%d folders, %d sandboxes, %v", len(left), b.engine.rooms(), err)
		}
		late := &client{t: t, me: named(t, "late"), bob: b, wire: newWire()}
		b.doors.fn(late.wire) // returns
	})
}

func TestMetrics(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		alice := b.visits("alice")
		alice.begins(alice.work("exit3"), 1)
		alice.assigns(0, 1)
		alice.collects(2)
		r := prometheus.NewRegistry()
		if err := r.Register(b.Metrics()); err != nil {
			t.Fatal(err)
		}
		families, err := r.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, f := range families {
			m := f.GetMetric()[0]
			got[f.GetName()] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
		if got["hpips_provider_executions_total"] != 2 || got["hpips_provider_leases"] != 1 || got["hpips_provider_slots"] != 1 {
			t.Errorf("%v", got)
		}
	})
}

func TestConfig(t *testing.T) {
	good := Default("somewhere")
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Config){
		"no folder": func(c *Config) { c.Dir = "" }, "no slot": func(c *Config) { c.Slots = 0 }, "no disk": func(c *Config) { c.Disk = -1 },
		"no patience": func(c *Config) { c.Patience = 0 }, "no stager": func(c *Config) { c.Stagers = 0 },
	} {
		c := good
		spoil(&c)
		if c.Check() == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
