package provider

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/hpips/hpips/market"
	"github.com/hpips/hpips/p2p"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ market.Capacity = (*Provider)(nil)

// story runs fn with bob at work, in virtual time.
func story(t *testing.T, fn func(t *testing.T, b *bob), change ...func(*Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := opens(t, change...)
		defer func() { b.stop() }()
		fn(t, b)
	})
}

func TestAliceHasTenTasksComputed(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		alice := b.visits("alice")
		held := alice.begins(alice.work("index"), 1)
		if len(held.Tasks) != 0 || held.Credit != 2 {
			t.Fatalf("a new lease holds %v, credit %d", held.Tasks, held.Credit)
		}
		alice.assigns(upTo(10)...)
		for i, r := range alice.collects(10) {
			if !r.Succeeded() || string(r.Stdout.Inline) != fmt.Sprint(i) || r.Stdout.Size != 1 {
				t.Errorf("task %d: %+v", i, r)
			}
		}
		if s := b.Status(); s.Done != 10 || s.Leases != 1 {
			t.Errorf("status %+v", s)
		}
		alice.says(lease.Message{End: &lease.End{}})
		synctest.Wait()
		left, err := os.ReadDir(filepath.Join(b.cfg.Dir, "leases"))
		if err != nil || len(left) != 0 || b.engine.rooms() != 0 {
			t.Errorf("after the end: %d folders, %d sandboxes, %v", len(left), b.engine.rooms(), err)
		}
		if s := b.Status(); s.Leases != 0 || s.Disk != 0 || s.Busy != 0 {
			t.Errorf("after the end: %+v", s)
		}
	})
}

func TestWhatATaskSees(t *testing.T) {
	rows := []struct {
		name, program, want string
		work                func(b *bob, w *lease.Work)
		task                func(b *bob, j *job.Task)
		exit                int
		end                 job.End
	}{
		{name: "arguments and environment", program: "env", want: "[-v x] 5/9 /in/part red 7",
			work: func(_ *bob, w *lease.Work) {
				w.Args, w.Count, w.Env = []string{"-v", "x"}, 9, map[string]string{"COLOUR": "blue", "SIZE": "7"}
			},
			task: func(_ *bob, j *job.Task) { j.Path, j.Env = "/in/part", map[string]string{"COLOUR": "red"} }},
		{name: "an inline input", program: "cat", want: "hello",
			task: func(_ *bob, j *job.Task) {
				j.Path, j.Input = "/in/part", &job.Content{Inline: []byte("hello"), Size: 5}
			}},
		{name: "an empty input", program: "cat", want: "",
			task: func(_ *bob, j *job.Task) { j.Path, j.Input = "/in/part", &job.Content{} }},
		{name: "an input by address", program: "cat", want: "from the shelf",
			task: func(b *bob, j *job.Task) {
				j.Path, j.Input = "/in/part", &job.Content{CID: b.shelf.put([]byte("from the shelf")), Size: 14}
			}},
		{name: "a folder by address", program: "folder", want: "second",
			task: func(b *bob, j *job.Task) {
				j.Path, j.Input = "/in/part", &job.Content{CID: b.shelf.folder(map[string]string{"a.txt": "first", "b.txt": "second"})}
			}},
		{name: "an input that all share", program: "shared", want: "a b c",
			work: func(b *bob, w *lease.Work) {
				w.Inputs = []job.Input{{From: b.shelf.put([]byte("a b c")), To: "/data/words"}}
			}},
		{name: "a standard input", program: "stdin", want: "read me",
			work: func(b *bob, w *lease.Work) { w.Stdin = b.shelf.put([]byte("read me")) }},
		{name: "its own exit code", program: "exit3", exit: 3},
		{name: "a trap", program: "trap", end: job.Trapped},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			story(t, func(t *testing.T, b *bob) {
				alice := b.visits("alice")
				w, j := alice.work(r.program), job.Task{Index: 5}
				if r.work != nil {
					r.work(b, &w)
				}
				if r.task != nil {
					r.task(b, &j)
				}
				alice.begins(w, 1)
				alice.gives(j)
				got := alice.collects(1)[5]
				if r.end == "" {
					r.end = job.Exited
				}
				if got.End != r.end || got.Exit != r.exit || string(got.Stdout.Inline) != r.want {
					t.Errorf("%+v, stdout %q, stderr %q", got, got.Stdout.Inline, got.Stderr)
				}
				synctest.Wait()
				in, err := os.ReadDir(b.tenantOnly().program.Inputs)
				in = slices.DeleteFunc(in, func(e os.DirEntry) bool { return e.Name() == "stdin" }) // for all tasks
				if len(in) != 0 || err != nil {
					t.Errorf("its input stays on disk: %v, %v", in, err)
				}
			})
		})
	}
}

// tenantOnly is the only lease.
func (b *bob) tenantOnly() *tenant {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range b.tenants {
		return t
	}
	b.t.Fatal("there is no lease")
	return nil
}

func TestLargeResultsGoToTheStore(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		alice := b.visits("alice")
		alice.wire.greedy = false
		alice.begins(alice.work("large"), 1)
		alice.assigns(0)
		r := alice.collects(1)[0]
		if r.Stdout.Inline != nil || r.Stdout.Size != 100<<10 || b.shelf.read(t, r.Stdout.CID) != strings.Repeat("x", 100<<10) {
			t.Fatalf("stdout %+v", r.Stdout)
		}
		time.Sleep(3 * time.Second)
		if b.shelf.pinned() != 1 || b.Status().Disk < 100<<10 {
			t.Fatalf("before the acknowledgement: %d pins, %d bytes kept", b.shelf.pinned(), b.Status().Disk)
		}
		alice.wire.do(func() { alice.wire.unread = 0 })
		time.Sleep(3 * time.Second)
		if n := b.shelf.pinned(); n != 0 {
			t.Fatalf("after the acknowledgement: %d pins", n)
		}
	})
}

func TestOutputFoldersAreKept(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		alice := b.visits("alice")
		w := alice.work("files")
		w.Outputs = []string{"/out", "/logs"}
		alice.begins(w, 1)
		alice.assigns(0, 1)
		for i, r := range alice.collects(2) {
			if !r.Succeeded() || b.shelf.read(t, r.Outputs["/out"].CID, "made") != "in /out" || b.shelf.read(t, r.Outputs["/logs"].CID, "made") != "in /logs" {
				t.Errorf("task %d: %+v", i, r)
			}
		}
		alice.says(lease.Message{End: &lease.End{}})
		time.Sleep(2 * time.Second)
		if b.shelf.pinned() != 0 || b.shelf.reserves != 0 {
			t.Errorf("%d pins and %d reserves stay", b.shelf.pinned(), b.shelf.reserves)
		}
	})
}

func TestAFullStoreBreaksTheTaskOnly(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		b.shelf.full = true
		alice := b.visits("alice")
		alice.begins(alice.work("large"), 1)
		alice.assigns(0)
		if r := alice.collects(1)[0]; r.End != job.Broken || !strings.Contains(r.Message, "no space left") {
			t.Fatalf("%+v", r)
		}
	})
}

func TestOneOfFiftyIsCancelled(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		alice := b.visits("alice")
		alice.begins(alice.work("odd waits"), 2)
		alice.assigns(upTo(50)...)
		time.Sleep(5 * time.Second)
		alice.says(lease.Message{Cancel: &lease.Cancel{Tasks: []uint64{7}}})
		got := alice.collects(49)
		for i, r := range got {
			if string(r.Stdout.Inline) != fmt.Sprint(i) {
				t.Errorf("task %d: %+v", i, r)
			}
		}
		if _, ok := got[7]; ok {
			t.Error("the cancelled task has a result")
		}
		synctest.Wait()
		if s := b.Status(); s.Running+s.Waiting != 0 {
			t.Errorf("after all: %+v", s)
		}
	}, func(c *Config) { c.Slots = 2 })
}

func TestWaitingTasksAreCancelledWithoutTrace(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		alice := b.visits("alice")
		alice.begins(alice.work("second"), 1)
		nobody := address([]byte("nobody has this")).String()
		alice.assigns(0, 1, 2)
		alice.gives(job.Task{Index: 3, Path: "/in/x", Input: &job.Content{CID: nobody, Size: 1}})
		synctest.Wait()
		alice.says(lease.Message{Cancel: &lease.Cancel{Tasks: []uint64{1, 3, 99}}})
		if got := alice.collects(2); got[0].End != job.Exited || got[2].End != job.Exited {
			t.Fatalf("%+v", got)
		}
		if held := alice.resumes(b.tenantOnly().work); len(held.Tasks) != 0 {
			t.Fatalf("held after all: %v", held.Tasks)
		}
	})
}

func TestAliceRestarts(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		alice := b.visits("alice")
		w := alice.work("second")
		alice.begins(w, 1)
		alice.assigns(upTo(5)...)
		time.Sleep(1500 * time.Millisecond)
		alice.collects(1)
		alice.wire.event(p2p.EventRestarted)
		time.Sleep(time.Second)
		early := alice.collects(1) // was sent again by the session, before the answer to Begin
		held := alice.resumes(w)
		if !slices.Equal(held.Tasks, []uint64{2, 3, 4}) || early[1].End != job.Exited {
			t.Fatalf("held %v", held.Tasks)
		}
		alice.assigns(2, 3, 4) // they are passed over
		alice.collects(3)
		if n := len(b.engine.started()); n != 5 {
			t.Errorf("5 tasks were started %d times: %v", n, b.engine.started())
		}
	})
}

func TestBobRestarts(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		alice := b.visits("alice")
		w := alice.work("second")
		alice.begins(w, 1)
		alice.assigns(0, 1)
		alice.collects(1)
		b.restarts()

		// The session brings what bob's old process had not acknowledged, then alice begins again: bob's own signature is enough.
		again := b.visits("alice")
		again.lease, again.id = alice.lease, alice.id
		again.assigns(1)
		if held := again.resumes(w); len(held.Tasks) != 0 {
			t.Fatalf("a new process holds %v", held.Tasks)
		}
		again.assigns(1)
		if r := again.collects(1)[1]; string(r.Stdout.Inline) != "1" {
			t.Fatalf("%+v", r)
		}
	})
}

func TestABrokenTaskMayComeAgain(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		alice := b.visits("alice")
		alice.begins(alice.work("broken"), 1)
		left := 19
		heard := func(msg []byte) { // she is so quick that bob's session has not yet returned from sending
			if m, err := lease.DecodeMessage(msg); err == nil && m.Results != nil && left > 0 {
				left--
				alice.assigns(0)
				alice.wire.await(context.Background(), func() bool { return alice.wire.acked == alice.wire.seq })
			}
		}
		alice.wire.do(func() { alice.wire.heard = heard })
		alice.assigns(0)
		for n := range 20 {
			if r := alice.collects(1)[0]; r.End != job.Broken || r.Message != "the sandbox died" {
				t.Fatalf("attempt %d: %+v", n, r)
			}
		}
	})
}

// TestNothingComesForACancelledTask: the program does not care for the cancel and comes to its end.
func TestNothingComesForACancelledTask(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		alice := b.visits("alice")
		alice.begins(alice.work("stubborn"), 1)
		alice.assigns(0)
		synctest.Wait()
		alice.says(lease.Message{Cancel: &lease.Cancel{Tasks: []uint64{0}}})
		alice.assigns(1)
		if r := alice.collects(1); r[1].End != job.Exited {
			t.Fatalf("%+v", r)
		}
	})
}

func TestALeaseTakesNoMoreSlotsThanItsOwn(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		alice := b.visits("alice")
		alice.begins(alice.work("second"), 2)
		began := time.Now()
		alice.assigns(upTo(6)...)
		alice.collects(6)
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("6 tasks of 1 s in two of four slots took %v", took)
		}
	}, func(c *Config) { c.Slots = 4 })
}

func TestLiveStandardInput(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		alice := b.visits("alice")
		w := alice.work("stdin")
		w.Live, w.Stream = true, true
		alice.begins(w, 1)
		say := func(offset int64, data string, eof bool) {
			alice.says(lease.Message{Stdin: &lease.Stdin{Task: 0, Offset: offset, Data: []byte(data), EOF: eof}})
		}
		hear := func(want string) {
			t.Helper()
			if m := alice.hears(); m.Output == nil || string(m.Output.Data) != want {
				t.Fatalf("got %+v, want %q", m.Output, want)
			}
		}
		say(0, "before ", false)
		alice.assigns(0)
		hear("before ")
		say(7, "it ", false)
		hear("it ")
		say(0, "before it ", false) // sent again after a restart of alice
		say(3, "ore it starts", true)
		hear("starts")
		if r := alice.collects(1)[0]; string(r.Stdout.Inline) != "before it starts" {
			t.Fatalf("%q", r.Stdout.Inline)
		}
		say(100, "beyond", false)
		if r := alice.refusal(); !strings.Contains(r.Reason, "a piece is missing") {
			t.Fatalf("%+v", r)
		}
	})
}

func TestOutputComesWhileItRuns(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		alice := b.visits("alice")
		w := alice.work("stream")
		w.Stream = true
		alice.begins(w, 1)
		alice.assigns(0)
		began, text := time.Now(), ""
		for len(text) < 21 {
			o := alice.hears().Output
			if o == nil || o.FD != 1 || o.Offset != int64(len(text)) {
				t.Fatalf("after %q: %+v", text, o)
			}
			text += string(o.Data)
		}
		if took := time.Since(began); took > 2500*time.Millisecond {
			t.Errorf("the third line came after %v", took)
		}
		if r := alice.collects(1)[0]; string(r.Stdout.Inline) != text {
			t.Errorf("%q, streamed %q", r.Stdout.Inline, text)
		}
	})
}

func TestLeasesShareTheSlotFairly(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		carol, alice := b.visits("carol"), b.visits("alice")
		carol.begins(carol.work("10ms"), 1)
		carol.assigns(upTo(5000)...)
		time.Sleep(2 * time.Second)
		alice.begins(alice.work("10ms"), 1)
		began := time.Now()
		alice.assigns(upTo(50)...)
		alice.collects(50)
		// Fifty tasks of 10 ms take half a second; carol's take turns of 75 ms with alice's.
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("alice's tasks took %v behind carol's", took)
		}
	})
}

func TestSandboxesAreNeverShared(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		alice, carol := b.visits("alice"), b.visits("carol")
		alice.begins(alice.work("10ms"), 1)
		carol.begins(carol.work("10ms"), 1) // the same program
		for round := range uint64(3) {
			alice.assigns(round)
			carol.assigns(round)
			alice.collects(1)
			carol.collects(1)
		}
		if b.engine.opens != 2 {
			t.Errorf("two leases took turns in %d sandboxes", b.engine.opens)
		}
		for i := range 4 {
			c := b.visits(fmt.Sprint("client-", i))
			c.begins(c.work("index"), 1)
			c.assigns(0)
			c.collects(1)
		}
		if n := b.engine.rooms(); n > b.cfg.Idle {
			t.Errorf("one slot keeps %d sandboxes", n)
		}
	})
}

func TestPause(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		alice := b.visits("alice")
		alice.begins(alice.work("second"), 1)
		alice.assigns(0, 1)
		time.Sleep(500 * time.Millisecond)
		if err := b.Allow(Allowance{Why: "paused by its owner"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if s := b.Status(); s.Done != 0 || s.Mode != Suspended {
			t.Fatalf("paused: %+v", s)
		}
		if f := b.Free(""); f.Refusal != "paused by its owner" {
			t.Fatalf("the market is told %q", f.Refusal)
		}
		if err := b.Hold(alice.signs(1)); err == nil {
			t.Fatal("a paused provider took a lease")
		}
		if err := b.Allow(Everything()); err != nil {
			t.Fatal(err)
		}
		alice.collects(2)
		if err := b.Allow(Allowance{Cores: 4, Finish: true, Why: "finishing"}); err != nil {
			t.Fatal(err)
		}
		alice.assigns(2)
		alice.collects(1)
		if b.Free("").Refusal == "" {
			t.Fatal("a finishing provider sells")
		}
	})
}

// TestNoSlotStaysIdle: a batch was cut when tasks were quick; then they become slow, and another slot has nothing to do.
func TestNoSlotStaysIdle(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		alice := b.visits("alice")
		alice.begins(alice.work("uneven"), 2)
		alice.assigns(upTo(100)...)
		alice.collects(100)
		began := time.Now()
		slow, quick := []uint64{100, 101, 102, 103, 104, 105, 106, 107, 108, 109}, []uint64{10, 11, 12, 13, 14, 15, 16, 17, 18, 19}
		alice.assigns(append(slow, quick...)...)
		alice.collects(20)
		if took := time.Since(began); took > 7*time.Second {
			t.Errorf("10 tasks of 1 s in two slots took %v", took)
		}
		if n := len(b.engine.started()); n != 120 {
			t.Errorf("120 tasks were started %d times", n)
		}
	}, func(c *Config) { c.Slots = 2 })
}

func TestCreditFollowsTheTasks(t *testing.T) {
	rows := []struct {
		slots int
		mean  time.Duration
		want  int
	}{
		{1, 0, 2}, {4, 0, 8}, {1, time.Hour, 2}, {2, 100 * time.Millisecond, 4}, {2, 10 * time.Millisecond, 40},
		{1, 50 * time.Microsecond, 4000}, {8, 50 * time.Microsecond, 4096}, {1, time.Nanosecond, 4096}, {4000, 0, 4096},
	}
	for _, r := range rows {
		if got := credit(r.slots, r.mean); got != r.want {
			t.Errorf("%d slots, tasks of %v: %d, want %d", r.slots, r.mean, got, r.want)
		}
	}
	if n := (&tenant{slots: 1, mean: 50 * time.Microsecond, weight: 64 << 10}).wish(); n != 512 {
		t.Errorf("inline inputs of 64 KiB: credit %d, want 512: they wait in memory", n)
	}
	for _, r := range []struct {
		told, now int
		want      bool
	}{{8, 8, false}, {8, 10, false}, {8, 11, true}, {8, 5, true}, {0, 1, true}} {
		if changed(r.told, r.now) != r.want {
			t.Errorf("told %d, now %d", r.told, r.now)
		}
	}
	story(t, func(t *testing.T, b *bob) {
		alice := b.visits("alice")
		alice.begins(alice.work("10ms"), 1)
		alice.assigns(0, 1)
		for {
			if m := alice.hears(); m.Credit != nil {
				if m.Credit.Tasks != 20 {
					t.Errorf("tasks of 10 ms: credit %d, want 20", m.Credit.Tasks)
				}
				return
			}
		}
	})
}

func TestBatch(t *testing.T) {
	rows := []struct {
		mean         time.Duration
		ready, slots int
		want         int
	}{
		{0, 100, 1, 1}, {time.Hour, 100, 1, 1}, {10 * time.Millisecond, 100, 1, 7}, {10 * time.Millisecond, 3, 1, 3},
		{time.Millisecond, 100, 4, 25}, {time.Microsecond, 5000, 1, 1024}, {time.Microsecond, 1, 8, 1},
	}
	for _, r := range rows {
		if got := batch(r.mean, r.ready, r.slots); got != r.want {
			t.Errorf("tasks of %v, %d ready, %d slots: %d, want %d", r.mean, r.ready, r.slots, got, r.want)
		}
	}
}
