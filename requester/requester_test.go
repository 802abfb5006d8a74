package requester

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
)

// program puts a module on the shelf and returns its address.
func (tn *town) program() string {
	e, err := tn.shelf.AddBytes(context.Background(), []byte(wasmMagic+"rest"))
	if err != nil {
		tn.t.Fatal(err)
	}
	return e.CID.String()
}

func (tn *town) count(n int) job.Spec {
	return job.Spec{Kind: job.Map, Run: job.Run{WASM: tn.program()}, Over: &job.Over{Count: n}}
}

// finish waits for a job to end.
func finish(t testing.TB, r *Requester, id string) job.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Hour) // of the fake clock
	defer cancel()
	states, err := r.Watch(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	var last job.Status
	for s := range states {
		last = s
	}
	if !last.State.Final() {
		t.Fatalf("job %s does not end: %+v", id, last)
	}
	return last
}

func submit(t testing.TB, r *Requester, s job.Spec) string {
	t.Helper()
	if r.cfg.Jury && s.Verify.Mode != job.Quorum {
		s.Verify = job.Verify{Mode: job.Jury, Copies: 1} // without further copies
	}
	id, err := r.Submit(context.Background(), s, false)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestAliceAsksBobAndCarolCompute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob", "carol")
		for _, one := range tn.folk {
			one.pace = time.Millisecond // so that neither is through before the other has begun
		}
		r, stop := tn.life()
		defer stop()
		s := finish(t, r, submit(t, r, tn.count(100)))
		if s.State != job.Settled || s.Tasks.Done != 100 || s.Tasks.Total != 100 || s.Tasks.Lost != 0 || len(s.Nodes) != 2 {
			t.Fatalf("status %+v", s)
		}
		parts := tn.shelf.files(t, s.Result)
		for i := range 100 {
			if got, want := parts[fmt.Sprint(i)], fmt.Sprintf("out %d\n", i); got != want {
				t.Fatalf("part %d is %q, want %q", i, got, want)
			}
		}
		if len(parts) != 100 {
			t.Fatalf("%d parts", len(parts))
		}
	})
}

func TestReduceSeesPartsSorted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob")
		bob := tn.folk[0]
		bob.answer = func(w lease.Work, task job.Task) *job.Result {
			if task.Index != job.ReduceIndex {
				return echo(w, task)
			}
			var all strings.Builder
			for name, content := range tn.shelf.files(t, w.Inputs[0].From) {
				fmt.Fprintf(&all, "%s=%s", name, content)
			}
			return &job.Result{Index: task.Index, End: job.Exited, Stdout: text(fmt.Sprint(len(tn.shelf.files(t, w.Inputs[0].From)), strings.Contains(all.String(), "03=out 3\n")))}
		}
		r, stop := tn.life()
		defer stop()
		spec := tn.count(12)
		spec.Reduce = &job.Reduce{Run: job.Run{WASM: tn.program()}}
		s := finish(t, r, submit(t, r, spec))
		if s.State != job.Settled || s.Tasks.Total != 13 || s.Tasks.Done != 13 {
			t.Fatalf("status %+v", s)
		}
		if got := tn.shelf.files(t, s.Result)[""]; got != "12 true" {
			t.Fatalf("reduce saw %q, want 12 parts with padded names", got)
		}
	})
}

func TestBobVanishesWithAllHeHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob", "carol")
		bob := tn.folk[0]
		bob.mute = true
		r, stop := tn.life()
		defer stop()
		id := submit(t, r, tn.count(20))
		synctest.Wait()
		bob.vanish()
		s := finish(t, r, id)
		if s.State != job.Settled || s.Tasks.Done != 20 || s.Tasks.Lost == 0 {
			t.Fatalf("status %+v: nothing was lost", s)
		}
	})
}

func TestBobRestartsAndGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob")
		bob := tn.folk[0]
		bob.mute = true
		r, stop := tn.life()
		defer stop()
		id := submit(t, r, tn.count(10))
		synctest.Wait()
		bob.restart()
		s := finish(t, r, id)
		if s.State != job.Settled || s.Tasks.Done != 10 || s.Tasks.Lost == 0 || s.Tasks.Rerun == 0 {
			t.Fatalf("status %+v", s)
		}
	})
}

func TestAliceIsKilledAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob", "carol")
		bob := tn.folk[0]
		done := 0
		bob.answer = func(w lease.Work, task job.Task) *job.Result {
			if done++; done > 10 {
				return nil
			}
			return echo(w, task)
		}
		tn.folk[1].here = false
		r, stop := tn.life()
		id := submit(t, r, tn.count(40))
		synctest.Wait()
		stop()
		bob.answer = echo
		r, stop = tn.life()
		defer stop()
		synctest.Wait()
		bob.speak()
		s := finish(t, r, id)
		if s.State != job.Settled || s.Tasks.Done != 40 || s.Tasks.Lost != 0 {
			t.Fatalf("status %+v", s)
		}
		ran := map[uint64]int{}
		for _, i := range bob.ran {
			if ran[i]++; ran[i] > 1 {
				t.Fatalf("task %d ran twice", i)
			}
		}
	})
}

func TestCarolLies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob", "carol", "dave")
		carol := tn.folk[1]
		carol.answer = func(w lease.Work, task job.Task) *job.Result {
			r := echo(w, task)
			r.Stdout = text("a lie")
			return r
		}
		r, stop := tn.life()
		defer stop()
		spec := tn.count(30)
		spec.Verify = job.Verify{Mode: job.Quorum, Copies: 2}
		s := finish(t, r, submit(t, r, spec))
		if s.State != job.Settled || s.Verified != 30 {
			t.Fatalf("status %+v", s)
		}
		for name, content := range tn.shelf.files(t, s.Result) {
			if content == "a lie" {
				t.Fatalf("part %s is carol's lie", name)
			}
		}
		if len(s.Odd) != 1 || s.Odd[0] != carol.id.String() {
			t.Fatalf("odd %v, want carol", s.Odd)
		}
	})
}

func TestHowProgramsFail(t *testing.T) {
	rows := []struct {
		result     job.Result
		code       job.Code
		exit       int
		words      string
		executions int
	}{
		{job.Result{End: job.Exited, Exit: 3}, job.CodeExit, 3, "task 0 ended with exit code 3", 1},
		{job.Result{End: job.Trapped, Message: "unreachable"}, job.CodeTrap, 134, "trapped: unreachable", 1},
		{job.Result{End: job.Trapped, Message: "the program trapped: out of bounds"}, job.CodeTrap, 134, "task 0 trapped: out of bounds", 1},
		{job.Result{End: job.TimedOut, Message: "time passed its limit of 1h0m0s"}, job.CodeTime, 124, "task 0 passed its time limit of 1h0m0s", 1},
		{job.Result{End: job.OutputFull}, job.CodeOutput, 125, "output limit of 256MiB", 1},
		{job.Result{End: job.MemoryFull}, job.CodeMemory, 125, "memory limit of 512MiB", 1},
		{job.Result{End: job.Refused, Message: "no _start"}, job.CodeProgram, 125, "no _start", 1},
		{job.Result{End: job.Broken, Message: "the host"}, job.CodeInternal, 125, "the host", maxBreaks + 1},
	}
	for _, row := range rows {
		t.Run(string(row.code), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tn := newTown(t, "bob", "carol")
				for _, w := range tn.folk {
					w.answer = func(_ lease.Work, task job.Task) *job.Result {
						r := row.result
						r.Index = task.Index
						return &r
					}
				}
				r, stop := tn.life()
				defer stop()
				s := finish(t, r, submit(t, r, tn.count(1)))
				if s.State != job.Failed || s.Error == nil || s.Error.Code != row.code || s.ExitCode != row.exit || !strings.HasSuffix(s.Error.Message, row.words) || s.Error.Hint == "" {
					t.Fatalf("status %+v, error %+v", s, s.Error)
				}
				if strings.Contains(s.Error.Hint, "job logs") && !strings.HasSuffix(s.Error.Hint, "hpips job logs "+s.Job) {
					t.Errorf("the hint %q does not name the job", s.Error.Hint)
				}
				// One that breaks its sandbox is tried again until enough is enough.
				if s.Executions != row.executions {
					t.Errorf("%d executions, want %d", s.Executions, row.executions)
				}
			})
		})
	}
}

// A failure that another owner confirmed was two executions, and both are counted.
func TestAConfirmedFailureCountsBothExecutions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob", "carol")
		for _, w := range tn.folk {
			w.answer = func(_ lease.Work, task job.Task) *job.Result {
				return &job.Result{Index: task.Index, End: job.Exited, Exit: 3}
			}
		}
		r, stop := tn.life()
		defer stop()
		spec := tn.count(1)
		spec.Verify = job.Verify{Mode: job.Quorum, Copies: 2}
		s := finish(t, r, submit(t, r, spec))
		if s.State != job.Failed || s.Tasks.Done != 1 || s.Verified != 1 || s.Executions != 2 {
			t.Fatalf("status %+v, error %+v", s, s.Error)
		}
		if kept, err := r.Job(context.Background(), s.Job); err != nil || kept.Executions != s.Executions {
			t.Fatalf("the journal says %d executions, error %v; the end said %d", kept.Executions, err, s.Executions)
		}
	})
}

// The exit code of a single program is its result, which is kept; that it is not 0 is told nevertheless.
func TestTheExitCodeOfABatchIsItsResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob")
		tn.folk[0].answer = func(_ lease.Work, task job.Task) *job.Result {
			return &job.Result{Index: task.Index, End: job.Exited, Exit: 3, Stdout: job.Content{Inline: []byte("almost"), Size: 6}}
		}
		r, stop := tn.life()
		defer stop()
		s := finish(t, r, submit(t, r, job.Spec{Kind: job.Batch, Run: job.Run{WASM: tn.program()}}))
		if s.State != job.Settled || s.ExitCode != 3 || s.Result == "" || s.Error == nil || s.Error.Code != job.CodeExit || s.Error.Message != "the program ended with exit code 3" {
			t.Fatalf("status %+v, error %+v", s, s.Error)
		}
	})
}

func TestOneLiarCannotFailAJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob", "carol", "dave")
		tn.folk[1].answer = func(_ lease.Work, task job.Task) *job.Result {
			return &job.Result{Index: task.Index, End: job.Exited, Exit: 1}
		}
		r, stop := tn.life()
		defer stop()
		s := finish(t, r, submit(t, r, tn.count(30)))
		if s.State != job.Settled || len(s.Odd) != 1 {
			t.Fatalf("status %+v, error %+v", s, s.Error)
		}
	})
}

func TestNobodyTakesTheJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob", "carol")
		tn.folk[0].refuses, tn.folk[1].refuses = "memory: wants 2GiB, has 1GiB free", "paused by its owner"
		r, stop := tn.life()
		defer stop()
		spec := tn.count(1)
		spec.Limits.Queue = job.Duration(time.Minute)
		id := submit(t, r, spec)
		time.Sleep(30 * time.Second)
		w, err := r.Why(context.Background(), id)
		if err != nil || w.Asked != 2 || w.Accepted != 0 || len(w.Rejected) != 2 {
			t.Fatalf("why %+v, %v", w, err)
		}
		s := finish(t, r, id)
		if s.Error == nil || s.Error.Code != job.CodeUnplaceable || s.ExitCode != 122 || !strings.Contains(s.Error.Message, "paused by its owner") {
			t.Fatalf("status %+v, error %+v", s, s.Error)
		}
	})
}

func TestContentThatNobodyHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob")
		r, stop := tn.life()
		defer stop()
		nowhere := address(0x55, []byte("nobody has this")).String()
		spec := tn.count(1)
		spec.Run.WASM = nowhere
		s := finish(t, r, submit(t, r, spec))
		if s.Error == nil || s.Error.Code != job.CodeNotFound || !strings.Contains(s.Error.Message, nowhere) {
			t.Fatalf("status %+v, error %+v", s, s.Error)
		}
	})
}

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob")
		bob := tn.folk[0]
		bob.mute = true
		r, stop := tn.life()
		defer stop()
		id := submit(t, r, tn.count(5))
		synctest.Wait()
		if err := r.Cancel(context.Background(), id); err != nil {
			t.Fatal(err)
		}
		s := finish(t, r, id)
		synctest.Wait()
		if s.State != job.Cancelled || len(bob.held) != 0 {
			t.Fatalf("status %+v; bob still holds %v", s, bob.held)
		}
	})
}

func TestBadSpecIsRefusedBeforeItIsAJob(t *testing.T) {
	tn := newTown(t)
	r, stop := tn.life()
	defer stop()
	_, err := r.Submit(context.Background(), job.Spec{Kind: job.Ray}, false)
	var bad *job.Error
	if !errors.As(err, &bad) || bad.Field != "kind" {
		t.Fatalf("error %v", err)
	}
	if list, err := r.Jobs(context.Background()); err != nil || len(list) != 0 {
		t.Fatalf("jobs %v, %v", list, err)
	}
}

func TestSplitWords(t *testing.T) {
	rows := map[string][]string{ // split → what each part's content is
		"lines:2":  {"a\nb\n", "c\nd\n", "e"},
		"bytes:4":  {"a\nb\n", "c\nd\n", "e"},
		"parts:3":  {"a\nb", "\nc\n", "d\ne"},
		"lines:99": {"a\nb\nc\nd\ne"},
	}
	for split, want := range rows {
		t.Run(split, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tn := newTown(t, "bob")
				tn.folk[0].answer = func(_ lease.Work, task job.Task) *job.Result {
					return &job.Result{Index: task.Index, End: job.Exited, Stdout: text(task.Path + " " + string(task.Input.Inline))}
				}
				r, stop := tn.life()
				defer stop()
				in, err := tn.shelf.AddBytes(context.Background(), []byte("a\nb\nc\nd\ne"))
				if err != nil {
					t.Fatal(err)
				}
				spec := job.Spec{Kind: job.Map, Run: job.Run{WASM: tn.program()}, Over: &job.Over{From: in.CID.String(), Split: split}}
				s := finish(t, r, submit(t, r, spec))
				parts := tn.shelf.files(t, s.Result)
				if len(parts) != len(want) {
					t.Fatalf("parts %q", parts)
				}
				for i, w := range want {
					if got := parts[fmt.Sprint(i)]; got != "/in/input "+w {
						t.Errorf("part %d is %q, want %q", i, got, w)
					}
				}
			})
		})
	}
}

func TestTheJournalIsItsOwnersAlone(t *testing.T) {
	tn := newTown(t)
	_, stop := tn.life()
	defer stop()
	for _, name := range []string{"node.db", "node.db-wal"} {
		info, err := os.Stat(filepath.Join(tn.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode().Perm(); mode&0o077 != 0 && runtime.GOOS != "windows" {
			t.Errorf("%s has mode %v", name, mode)
		}
	}
}
