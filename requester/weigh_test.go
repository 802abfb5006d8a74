package requester

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/enginetest"
	"github.com/hpips/hpips/market"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/verify"
)

// off answers with a number that belongs to the task and is off by so much.
func off(by float64) func(lease.Work, job.Task) *job.Result {
	return func(_ lease.Work, task job.Task) *job.Result {
		return &job.Result{Index: task.Index, End: job.Exited, Stdout: text(fmt.Sprintf("energy %.12f\n", float64(task.Index)+by))}
	}
}

func numeric() job.Verify {
	return job.Verify{Mode: job.Quorum, Copies: 2, Compare: job.Numeric, Absolute: "1e-9"}
}

func TestResultsThatDifferInTheLastDigits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob", "carol", "dave")
		for i, by := range []float64{0, 0.5, 1e-11} { // carol's is wrong
			tn.folk[i].answer, tn.folk[i].pace = off(by), time.Millisecond
		}
		spec := tn.count(30)
		spec.Verify = numeric()
		r, stop := tn.life()
		defer stop()
		s := finish(t, r, submit(t, r, spec))
		if s.State != job.Settled || s.Verified != 30 || len(s.Odd) != 1 || s.Odd[0] != tn.folk[1].id.String() {
			t.Fatalf("status %+v, error %+v", s, s.Error)
		}
		for name, content := range tn.shelf.files(t, s.Result) {
			if !strings.HasPrefix(content, "energy "+name+".0000000000") {
				t.Errorf("part %s is %q", name, content)
			}
		}
	})
}

// The same with bytes has no majority: this is what tolerance is for.
func TestResultsThatDifferWithoutTolerance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob", "carol", "dave")
		for i, by := range []float64{0, 2e-11, 1e-11} {
			tn.folk[i].answer, tn.folk[i].pace = off(by), time.Millisecond
		}
		spec := tn.count(1)
		spec.Verify = job.Verify{Mode: job.Quorum, Copies: 2, Limit: 3}
		r, stop := tn.life()
		defer stop()
		if s := finish(t, r, submit(t, r, spec)); s.State != job.Failed || s.ExitCode != 120 || s.Verified != 0 {
			t.Fatalf("status %+v, error %+v", s, s.Error)
		}
	})
}

func TestLargeContentsAreCompared(t *testing.T) {
	rows := map[string]struct {
		size  int
		state job.State
	}{"fetched": {100_000, job.Settled}, "past what is compared": {verify.MaxCompared + 10, job.Failed}}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tn := newTown(t, "bob", "dave")
				for i, number := range []string{"1.0", "1.00"} {
					e, err := tn.shelf.AddBytes(t.Context(), []byte(number+strings.Repeat(" 7", row.size/2)))
					if err != nil {
						t.Fatal(err)
					}
					tn.folk[i].answer = func(_ lease.Work, task job.Task) *job.Result {
						return &job.Result{Index: task.Index, End: job.Exited, Stdout: job.Content{CID: e.CID.String(), Size: int64(e.Size)}}
					}
				}
				spec := tn.count(4)
				spec.Verify = numeric()
				spec.Verify.Limit, spec.Limits.Queue = 2, job.Duration(time.Minute)
				r, stop := tn.life()
				defer stop()
				if s := finish(t, r, submit(t, r, spec)); s.State != row.state || row.state == job.Settled && s.Verified != 4 {
					t.Fatalf("status %+v, error %+v", s, s.Error)
				}
			})
		})
	}
}

// Alice is killed when one owner of each task has voted: the votes of the earlier life are compared with those of the next one.
func TestToleranceOutlivesAKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob", "dave")
		bob, dave := tn.folk[0], tn.folk[1]
		bob.answer, dave.answer = off(0), off(1e-11)
		dave.mute = true
		spec := tn.count(10)
		spec.Verify = numeric()
		r, stop := tn.life()
		id := submit(t, r, spec)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		stop()
		r, stop = tn.life()
		defer stop()
		synctest.Wait()
		dave.speak()
		if s := finish(t, r, id); s.State != job.Settled || s.Verified != 10 || len(s.Odd) != 0 {
			t.Fatalf("status %+v, error %+v", s, s.Error)
		}
	})
}

// native is a fake machine whose native program adds three numbers in the order that its processor likes, and prints noise in the last digits.
func native(t testing.TB, sum func(a, b, c float64) float64, noise float64) func(lease.Work, job.Task) *job.Result {
	t.Helper()
	fake := enginetest.NewFake(map[string]enginetest.Program{"sum": func(_ context.Context, g *enginetest.Guest) int {
		if g.Stdout([]byte(fmt.Sprintf("%.17g\n", sum(0.1, 0.2, 0.3)+noise))) != nil {
			return 1
		}
		return 0
	}})
	box, err := fake.Open(t.Context(), engine.Program{Key: "sum", Module: "sum", Dir: filepath.Join(t.TempDir())})
	if err != nil {
		t.Fatal(err)
	}
	return func(_ lease.Work, task job.Task) *job.Result {
		var r job.Result
		err := box.Run(context.Background(), []engine.Task{{ID: task.Index + 1}}, ear{func(o engine.Outcome) {
			r = job.Result{Index: task.Index, End: job.Exited, Exit: o.Exit, Stdout: job.Content{Inline: o.Stdout.Inline, Size: o.Stdout.Size}}
		}})
		if err != nil {
			t.Error(err)
		}
		return &r
	}
}

func forward(a, b, c float64) float64  { return a + b + c }
func backward(a, b, c float64) float64 { return c + b + a }

// carryNative carries a Map of a native program, which no store has, past its finding to the gathering.
func carryNative(t *testing.T, tn *town, r *Requester, tasks uint64, v job.Verify) (job.Status, error) {
	t.Helper()
	spec := job.Spec{Kind: job.Map, Run: job.Run{Native: "sum"}, Over: &job.Over{Count: int(tasks)}, Verify: v}.Filled()
	id, secret := newIdentity()
	rec := record{ID: id, Secret: secret, Spec: spec, Status: job.Status{Job: id, Kind: job.Map, State: job.Planned, Created: time.Now()}}
	if err := r.journal.addJob(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	e, err := r.enlist(rec)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.reckon(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	err = r.gather(t.Context(), e, e.parts(tasks))
	return e.snapshot(), err
}

// Two classes of machines differ in the last bits, and more than their tolerance allows; within a class they agree by it.
func TestNativeCopiesStayInOneHardwareClass(t *testing.T) {
	v := job.Verify{Compare: job.Numeric, Absolute: "1e-17", ULP: 0} // less than a bit of 0.6
	if forward(0.1, 0.2, 0.3) == backward(0.1, 0.2, 0.3) {
		t.Fatal("they do not differ")
	}
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "alma", "ben", "cora", "dan")
		for i, w := range tn.folk {
			w.class, w.answer, w.pace = "amd64-linux", native(t, forward, 0), time.Millisecond
			if i >= 2 {
				w.class, w.answer = "arm64-linux", native(t, backward, 0)
			}
		}
		r, stop := tn.life()
		defer stop()
		s, err := carryNative(t, tn, r, 40, v)
		if err != nil || s.Tasks.Done != 40 || s.Verified != 40 || s.Executions != 80 || len(s.Odd) != 0 {
			t.Fatalf("status %+v, %v", s, err)
		}
		ran := map[uint64][]string{}
		for _, w := range tn.folk {
			for _, i := range w.ran {
				ran[i] = append(ran[i], w.class)
			}
		}
		both := map[string]bool{}
		for i, classes := range ran {
			if len(slices.Compact(classes)) != 1 {
				t.Fatalf("task %d was run by %v", i, classes)
			}
			both[classes[0]] = true
		}
		if len(both) != 2 {
			t.Fatalf("only %v had work", both)
		}
	})
}

// Cora is alone in her class: what she began is begun anew where two are at work.
func TestAClassWithOneOwnerIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "alma", "ben", "cora")
		for i, w := range tn.folk {
			w.class, w.answer, w.pace = "amd64-linux", native(t, forward, 1e-12*float64(i)), time.Millisecond
		}
		tn.folk[2].class, tn.folk[2].answer = "arm64-linux", native(t, backward, 1)
		r, stop := tn.life()
		defer stop()
		s, err := carryNative(t, tn, r, 12, job.Verify{Compare: job.Numeric, Absolute: "1e-9"})
		if err != nil || s.Tasks.Done != 12 || s.Verified != 12 || len(s.Odd) != 0 {
			t.Fatalf("status %+v, %v", s, err)
		}
		if len(tn.folk[2].ran) == 0 {
			t.Fatal("cora had nothing to begin with")
		}
		for _, sh := range s.Nodes {
			if sh.Node == tn.folk[2].id.String() {
				t.Errorf("a result of cora's counts, and nobody has checked it")
			}
		}
	})
}

func TestVotesOfTwoClassesAreNotMixedAfterARestart(t *testing.T) {
	rules := rules{policy: verify.Policy{Copies: 2, Limit: 7, Same: func([]byte, []byte) bool { return true }}, classed: true}
	b := newBoard(1, rules)
	first, other := ballot(person("alma"), 1), ballot(person("cora"), 2)
	first.Class, other.Class, first.Value, other.Value = "amd64", "arm64", []byte("1"), []byte("2")
	if b.revote(0, first).decided || b.revote(0, other).decided {
		t.Fatal("two classes make a verdict")
	}
	ben := person("ben")
	ben.class = "arm64"
	if got := b.give(ben, 1, time.Unix(0, 0), 0); len(got) != 0 {
		t.Fatal("ben is of another class than the first vote")
	}
	ben.class = "amd64"
	if got := b.give(ben, 1, time.Unix(0, 0), 0); len(got) != 1 {
		t.Fatal("ben is of the class of the first vote")
	}
}

// dice answers with what a program of chance prints: one of so many sides.
func dice(rng *rand.Rand, sides int) func(lease.Work, job.Task) *job.Result {
	return func(_ lease.Work, task job.Task) *job.Result {
		return &job.Result{Index: task.Index, End: job.Exited, Stdout: text(fmt.Sprintln(rng.IntN(sides)))}
	}
}

// A native program tosses a coin: of two copies that differ and a third one has a majority, and whoever is odd did nothing wrong.
func TestANativeProgramOfChanceSpoilsNoRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob", "carol", "dave")
		for i, w := range tn.folk {
			w.class, w.answer, w.pace = "amd64-linux", dice(rand.New(rand.NewPCG(5, uint64(i))), 2), time.Millisecond
		}
		r, stop := tn.life()
		defer stop()
		s, err := carryNative(t, tn, r, 400, job.Verify{})
		if err != nil || s.Tasks.Done != 400 || s.Verified != 400 || s.Executions < 500 || len(s.Odd) != 3 {
			t.Fatalf("status %+v, %v", s, err)
		}
		for _, w := range tn.folk {
			if h := w.history(r); h.Wrong != 0 || h.Right == 0 || r.Histories()[w.id.String()].Score(w.class, time.Now()) < market.Newcomer {
				t.Errorf("%s: %+v", w.name, h)
			}
		}
	})
}

// Carol lies in each task of a native program: she is odd from the first one on, and wrong once chance does not explain it any more.
func TestWhoLiesAboutNativeResultsIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob", "carol", "dave")
		for i, w := range tn.folk {
			w.class, w.answer, w.pace = "amd64-linux", native(t, forward, float64(i&1)), time.Millisecond
		}
		r, stop := tn.life()
		defer stop()
		s, err := carryNative(t, tn, r, 120, job.Verify{})
		if err != nil || s.Verified != 120 || len(s.Odd) != 1 {
			t.Fatalf("status %+v, %v", s, err)
		}
		lies := len(tn.folk[1].ran)
		if h := tn.folk[1].history(r); h.Wrong == 0 || h.Right != 0 || int(h.Wrong) > lies-18 {
			t.Errorf("carol lied %d times: %+v", lies, h)
		}
		for _, i := range []int{0, 2} {
			if h := tn.folk[i].history(r); h.Wrong != 0 {
				t.Errorf("%s: %+v", tn.folk[i].name, h)
			}
		}
	})
}

// Three owners give three results, and there is no fourth: the end of the queue is one of verification, not of placement.
func TestNobodyElseToDecide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob", "carol", "dave")
		for i, w := range tn.folk {
			w.class, w.answer, w.pace = "amd64-linux", native(t, forward, float64(i)), time.Millisecond
		}
		spec := job.Verify{Limit: 7}
		r, stop := tn.life()
		defer stop()
		s, err := carryNative(t, tn, r, 1, spec)
		var failure *job.Failure
		if !errors.As(err, &failure) || failure.Code != job.CodeVerification || !strings.Contains(failure.Message, "3 executions gave no majority, and nobody else") || s.Executions != 3 {
			t.Fatalf("%+v, %v", s, err)
		}
	})
}
