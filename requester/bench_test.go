package requester

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hpips/hpips/engine/enginetest"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/verify"
)

// checker puts a checker on the shelf that alice's sandbox runs as this function, and returns a policy with it.
func (tn *town) checker(judge enginetest.Program) job.Verify {
	module := []byte(wasmMagic + "checker")
	e, err := tn.shelf.AddBytes(context.Background(), module)
	if err != nil {
		tn.t.Fatal(err)
	}
	key := sha256.Sum256(module)
	tn.sandbox = enginetest.NewFake(map[string]enginetest.Program{hex.EncodeToString(key[:]): judge})
	return job.Verify{Mode: job.Check, Check: &job.Run{WASM: e.CID.String(), Args: []string{"strictly"}}}
}

// fair judges what echo answers: the result has to name the task.
func fair(_ context.Context, g *enginetest.Guest) int {
	said := make([]byte, 100)
	n, err := g.Read(said)
	if err != nil && err != io.EOF {
		return 9
	}
	if string(said[:n]) == fmt.Sprintf("out %s\n", g.Env("HPIPS_INDEX")) {
		return 0
	}
	_ = g.Stderr(append(make([]byte, 100_000), "it does not name its task\n"...)) // its end is told
	return 1
}

// lie answers every task with something else.
func lie(_ lease.Work, task job.Task) *job.Result {
	return &job.Result{Index: task.Index, End: job.Exited, Stdout: text("a lie")}
}

func TestCarolLiesAndTheCheckerSeesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob", "carol")
		for _, w := range tn.folk {
			w.pace = time.Millisecond
		}
		tn.folk[1].answer = lie
		spec := tn.count(60)
		spec.Verify = tn.checker(fair)
		r, stop := tn.life()
		defer stop()
		id := submit(t, r, spec)
		s := finish(t, r, id)
		if s.State != job.Settled || s.Tasks.Done != 60 || s.Verified != 60 || s.Tasks.Rerun == 0 {
			t.Fatalf("status %+v, error %+v", s, s.Error)
		}
		if len(s.Odd) != 1 || s.Odd[0] != tn.folk[1].id.String() || len(s.Nodes) != 1 {
			t.Fatalf("odd %v, nodes %v: carol alone is odd and nothing of hers counts", s.Odd, s.Nodes)
		}
		for name, content := range tn.shelf.files(t, s.Result) {
			if content != "out "+name+"\n" {
				t.Fatalf("part %s is %q", name, content)
			}
		}
		if n := len(tn.folk[1].ran); n > 4*tn.folk[1].credit {
			t.Errorf("carol was given %d tasks after her first lies", n)
		}
		logs, err := r.Logs(context.Background(), id, -1)
		if err != nil {
			t.Fatal(err)
		}
		told := false
		for _, l := range logs {
			told = told || l.Message == "the checker says: it does not name its task" && l.Node == tn.folk[1].id.String()
		}
		if !told {
			t.Error("job logs does not say what the checker said")
		}
	})
}

func TestTheCheckerFindsNobodyRight(t *testing.T) {
	rows := map[string][]string{"one owner": {"carol"}, "two owners": {"carol", "eve"}}
	for name, folk := range rows {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tn := newTown(t, folk...)
				for _, w := range tn.folk {
					w.answer = lie
				}
				spec := tn.count(3)
				spec.Verify = tn.checker(fair)
				spec.Verify.Limit = 4
				r, stop := tn.life()
				defer stop()
				s := finish(t, r, submit(t, r, spec))
				if s.State != job.Failed || s.Error.Code != job.CodeVerification || s.ExitCode != 120 || !strings.Contains(s.Error.Message, "refused all of 4 results") {
					t.Fatalf("status %+v, error %+v", s, s.Error)
				}
				ran := map[uint64]int{}
				for _, w := range tn.folk {
					for _, i := range w.ran {
						if ran[i]++; ran[i] > 4 {
							t.Fatalf("task %d ran %d times", i, ran[i])
						}
					}
				}
			})
		})
	}
}

func TestACheckerThatCrashes(t *testing.T) {
	rows := map[string]struct {
		judge enginetest.Program
		says  string
	}{
		"exit code": {func(_ context.Context, g *enginetest.Guest) int { _ = g.Stderr([]byte("no rules for this")); return 3 }, "exit code 3; it says: no rules for this"},
		"trap":      {func(context.Context, *enginetest.Guest) int { panic("unreachable") }, "trapped"},
		"time":      {func(ctx context.Context, _ *enginetest.Guest) int { <-ctx.Done(); return 0 }, "raise it with --time"},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tn := newTown(t, "bob")
				spec := tn.count(3)
				spec.Limits.Time = job.Duration(time.Minute)
				spec.Verify = tn.checker(row.judge)
				r, stop := tn.life()
				defer stop()
				s := finish(t, r, submit(t, r, spec))
				if s.State != job.Failed || s.ExitCode != 120 || !strings.Contains(s.Error.Message, "the checker failed on the result of task") || !strings.Contains(s.Error.Message, row.says) {
					t.Fatalf("status %+v, error %+v", s, s.Error)
				}
			})
		})
	}
}

// What the checker is shown: the task's input, its axes and the folders that it wrote, at paths that it knows.
func TestWhatTheCheckerSees(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob")
		kept, err := tn.shelf.AddFiles(t.Context(), func(yield func(string, []byte) bool) { yield("f.txt", []byte("kept")) })
		if err != nil {
			t.Fatal(err)
		}
		folder, err := tn.shelf.Dir(t.Context(), kept)
		if err != nil {
			t.Fatal(err)
		}
		tn.folk[0].answer = func(_ lease.Work, task job.Task) *job.Result {
			return &job.Result{Index: task.Index, End: job.Exited, Stdout: text("said"), Stderr: []byte("whispered"), Outputs: map[string]job.Content{"/data": {CID: folder.CID.String(), Size: 4}}}
		}
		seen := ""
		spec := tn.batch()
		in, err := tn.shelf.AddBytes(t.Context(), []byte("input"))
		if err != nil {
			t.Fatal(err)
		}
		spec.Inputs, spec.Outputs = []job.Input{{From: in.CID.String(), To: "/in/x"}}, []job.Output{{Path: "/data"}}
		spec.Verify = tn.checker(func(_ context.Context, g *enginetest.Guest) int {
			said := make([]byte, 10)
			n, _ := g.Read(said)
			file, err := g.ReadFile("/out/data/f.txt")
			if err != nil {
				return 5
			}
			input, err := g.ReadFile("/in/x")
			if err != nil || g.WriteFile("/out/data/f.txt", []byte("x")) == nil {
				return 6
			}
			seen = fmt.Sprint(string(said[:n]), " ", string(file), " ", string(input), " ", g.Args()[1:], g.Env("HPIPS_INDEX"), g.Env("HPIPS_COUNT"))
			return 0
		})
		r, stop := tn.life()
		defer stop()
		id := submit(t, r, spec)
		out, err := r.Output(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		streams := map[int]string{}
		for c := range out {
			streams[c.FD] += string(c.Data)
		}
		if s := finish(t, r, id); s.State != job.Settled || s.Verified != 1 {
			t.Fatalf("status %+v, error %+v", s, s.Error)
		}
		if want := "said kept input [strictly]01"; seen != want {
			t.Errorf("the checker saw %q, want %q", seen, want)
		}
		if streams[1] != "said" || streams[2] != "whispered" {
			t.Errorf("alice was shown %v", streams)
		}
	})
}

// A part and its input come from the store, a matrix is in the environment, and the reduce is made by two owners instead of being judged.
func TestTheReduceIsNotJudged(t *testing.T) {
	rows := map[string]struct {
		folk                 []string
		verified, executions int
	}{
		"two owners: it runs twice":            {[]string{"bob", "carol"}, 3, 4},
		"one owner: nobody else is waited for": {[]string{"bob"}, 2, 3},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tn := newTown(t, row.folk...)
				spec := job.Spec{Kind: job.Map, Run: job.Run{WASM: tn.program()}, Over: &job.Over{Matrix: job.OrderedMap{{Name: "A", Values: []string{"x", "y"}}}}, Reduce: &job.Reduce{Run: job.Run{WASM: tn.program()}}}
				spec.Verify = tn.checker(func(_ context.Context, g *enginetest.Guest) int {
					input, err := g.ReadFile(g.Env("HPIPS_INPUT"))
					if err != nil || string(input) != fmt.Sprintf(`{"A":%q}`, g.Env("A")) || g.Env("HPIPS_COUNT") != "2" {
						return 4
					}
					return 0
				})
				for _, w := range tn.folk {
					w.pace = time.Millisecond
				}
				r, stop := tn.life()
				defer stop()
				s := finish(t, r, submit(t, r, spec))
				if s.State != job.Settled || s.Verified != row.verified || s.Executions != row.executions || s.Seconds > 20 {
					t.Fatalf("status %+v, error %+v", s, s.Error)
				}
			})
		})
	}
}

// Bob's program fails on one task only, carol's never does: the failure is doubted, and the checker overrules it.
func TestAFailureThatTheCheckerOverrules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob", "carol")
		bob := tn.folk[0]
		bob.answer = func(w lease.Work, task job.Task) *job.Result {
			return &job.Result{Index: task.Index, End: job.Exited, Exit: 3}
		}
		for _, w := range tn.folk {
			w.pace = time.Millisecond
		}
		spec := tn.count(10)
		spec.Verify = tn.checker(fair)
		r, stop := tn.life()
		defer stop()
		s := finish(t, r, submit(t, r, spec))
		if s.State != job.Settled || s.Verified != 10 || len(s.Odd) != 1 || s.Odd[0] != bob.id.String() {
			t.Fatalf("status %+v, error %+v", s, s.Error)
		}
	})
}

// Alice is killed while the checker is at work and after it has refused results: what was refused is not forgotten, and nothing counts twice.
func TestKilledWhileTheCheckerJudges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob", "carol")
		bob, carol := tn.folk[0], tn.folk[1]
		carol.answer, bob.mute = lie, true
		gate := make(chan struct{})
		var judged atomic.Int64
		spec := tn.count(12)
		spec.Verify = tn.checker(func(ctx context.Context, g *enginetest.Guest) int {
			if judged.Add(1) > 3 {
				select {
				case <-gate:
				case <-ctx.Done():
				}
			}
			return fair(ctx, g)
		})
		r, stop := tn.life()
		id := submit(t, r, spec)
		time.Sleep(time.Second)
		synctest.Wait()
		before, err := r.Job(t.Context(), id)
		if err != nil || before.State.Final() || before.Verified != 0 {
			t.Fatalf("status %+v, %v", before, err)
		}
		stop()
		close(gate)
		r, stop = tn.life()
		synctest.Wait()
		bob.speak()
		s := finish(t, r, id)
		if s.State != job.Settled || s.Verified != 12 || s.Tasks.Done != 12 || len(s.Odd) != 1 || s.Odd[0] != carol.id.String() {
			t.Fatalf("status %+v, error %+v", s, s.Error)
		}
		stop()
		r, stop = tn.life()
		defer stop()
		if again, err := r.Job(t.Context(), id); err != nil || again.Verified != 12 {
			t.Fatalf("after all: %+v, %v", again, err)
		}
	})
}

// Contents that came from the store are judged too, and a slow checker holds up nobody: bob's results wait, his session does not.
func TestLargeResultsAreJudged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob")
		whole := []byte(strings.Repeat("large ", 20000))
		e, err := tn.shelf.AddBytes(t.Context(), whole)
		if err != nil {
			t.Fatal(err)
		}
		tn.folk[0].answer = func(_ lease.Work, task job.Task) *job.Result {
			return &job.Result{Index: task.Index, End: job.Exited, Stdout: job.Content{CID: e.CID.String(), Size: int64(len(whole))}}
		}
		spec := tn.count(8)
		spec.Verify = tn.checker(func(_ context.Context, g *enginetest.Guest) int {
			n := 0
			for buf := make([]byte, 4096); ; {
				k, err := g.Read(buf)
				if n += k; err == io.EOF {
					break
				} else if err != nil {
					return 8
				}
			}
			if n != len(whole) {
				return 1
			}
			return 0
		})
		r, stop := tn.life()
		defer stop()
		if s := finish(t, r, submit(t, r, spec)); s.State != job.Settled || s.Verified != 8 {
			t.Fatalf("status %+v, error %+v", s, s.Error)
		}
	})
}

func TestWithoutASandboxThereIsNoChecker(t *testing.T) {
	tn := newTown(t)
	spec := tn.count(3)
	spec.Verify = tn.checker(fair)
	tn.sandbox = nil
	r := tn.open()
	defer r.Close()
	if _, err := r.Submit(t.Context(), spec, false); err == nil || !strings.Contains(err.Error(), "no sandbox") {
		t.Fatalf("%v", err)
	}
}

func TestWhoWasWrongGetsTheTaskLast(t *testing.T) {
	b := newBoard(1, rules{policy: verify.Policy{Copies: 1, Limit: 7}, judged: true})
	carol, bob := person("carol"), person("bob")
	now := time.Unix(0, 0)
	b.give(carol, 1, now, 0)
	b.arrived(0, carol)
	if b.mislead(0, "carol") != 1 || !b.back(0, carol) {
		t.Fatal("the task does not come back")
	}
	if got := b.give(carol, 1, now, 0); len(got) != 0 {
		t.Fatal("carol has it again")
	}
	both := map[string]bool{"carol": true, "bob": true}
	if len(b.barred(both)) != 0 || len(b.barred(map[string]bool{"carol": true})) != 1 {
		t.Fatal("bob could have it")
	}
	if got := b.give(bob, 1, now, 0); len(got) != 1 {
		t.Fatal("bob does not get it")
	}
	b.arrived(0, bob)
	b.mislead(0, "bob")
	b.back(0, bob)
	stuck := b.barred(both)
	if len(stuck) != 1 {
		t.Fatal("both were wrong")
	}
	b.forgive(stuck)
	if got := b.give(carol, 1, now, 0); len(got) != 1 || b.mislead(0, "carol") != 3 {
		t.Fatal("nobody tries again, or what was refused is forgotten")
	}
}

// Bob is paid for every result that the checker found right, carol for none of hers, whether alice was killed on the way or not.
func TestWrongResultsAreNotPaid(t *testing.T) {
	for name, kill := range map[string]bool{"in one life": false, "killed": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tn := payingTown(t, 10*time.Millisecond, "bob", "carol")
				bob, carol := tn.folk[0], tn.folk[1]
				carol.answer = func(w lease.Work, task job.Task) *job.Result {
					r := honest(10*time.Millisecond)(w, task)
					r.Stdout = text("a lie")
					return r
				}
				spec := tn.dearCount(100)
				spec.Verify = tn.checker(fair)
				r, stop := tn.life()
				id := submit(t, r, spec)
				if kill {
					time.Sleep(300 * time.Millisecond)
					synctest.Wait()
					stop()
					r, stop = tn.life()
					synctest.Wait()
				}
				defer stop()
				s := finish(t, r, id)
				synctest.Wait()
				if s.State != job.Settled || s.Verified != 100 || len(s.Odd) != 1 {
					t.Fatalf("status %+v, error %+v", s, s.Error)
				}
				if promised, worth := tn.bank.earned(t, bob); promised != worth || promised == 0 {
					t.Errorf("bob did work of %d and was promised %d", worth, promised)
				}
				if promised, worth := tn.bank.earned(t, carol); promised != 0 || worth == 0 {
					t.Errorf("carol was promised %d for lies of %d", promised, worth)
				}
			})
		})
	}
}

// A slow checker holds up nobody: while it thinks, bob's tasks go out and other results come in, and no more of them wait than bob may have.
func TestASlowCheckerHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob")
		spec := tn.count(50)
		gate := make(chan struct{})
		var at atomic.Int64
		spec.Verify = tn.checker(func(ctx context.Context, g *enginetest.Guest) int {
			at.Add(1)
			<-gate
			return fair(ctx, g)
		})
		r, stop := tn.life()
		defer stop()
		id := submit(t, r, spec)
		time.Sleep(time.Second)
		synctest.Wait()
		if ran, judged := len(tn.folk[0].ran), at.Load(); ran != tn.folk[0].credit || judged == 0 || judged > maxSeats {
			t.Fatalf("bob has run %d tasks, %d are being judged", ran, judged)
		}
		if err := r.Cancel(t.Context(), submit(t, r, tn.unchecked(2))); err != nil {
			t.Fatal(err)
		}
		close(gate)
		if s := finish(t, r, id); s.State != job.Settled || s.Verified != 50 {
			t.Fatalf("status %+v, error %+v", s, s.Error)
		}
	})
}
