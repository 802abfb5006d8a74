package requester

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/verify"
)

// unchecked is a Map whose results nobody compares.
func (tn *town) unchecked(n int) job.Spec {
	s := tn.count(n)
	s.Verify.Mode = job.None
	return s
}

func (tn *town) batch() job.Spec {
	return job.Spec{Kind: job.Batch, Run: job.Run{WASM: tn.program()}}
}

func TestCarolTakesNothingAndHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob", "carol")
		carol := tn.folk[1]
		carol.deaf = true
		r, stop := tn.life()
		defer stop()
		if s := finish(t, r, submit(t, r, tn.unchecked(20))); s.State != job.Settled || s.Tasks.Done != 20 {
			t.Fatalf("status %+v, error %+v", s, s.Error)
		}
	})
}

func TestCarolIsOwedLittleWhenSheTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "carol")
		carol := tn.folk[0]
		carol.credit = maxCredit
		carol.answer = func(w lease.Work, task job.Task) *job.Result {
			carol.deaf = true // from the first task on
			return echo(w, task)
		}
		r, stop := tn.life()
		defer stop()
		in, err := tn.shelf.AddBytes(context.Background(), make([]byte, 16<<20))
		if err != nil {
			t.Fatal(err)
		}
		submit(t, r, job.Spec{Kind: job.Map, Run: job.Run{WASM: tn.program()}, Over: &job.Over{From: in.CID.String(), Split: "bytes:64KiB"}})
		synctest.Wait()
		l := r.link(carol.id)
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.queued == 0 || l.queued > 3<<20 {
			t.Fatalf("%d bytes wait for carol", l.queued)
		}
	})
}

func TestCarolAnswersWhatSheWasNotAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob", "carol")
		carol := tn.folk[1]
		carol.credit = 1
		carol.answer = func(w lease.Work, task job.Task) *job.Result {
			var lies []job.Result
			held := &lease.Held{Credit: 1}
			for i := range uint64(100) {
				if i != task.Index {
					lies = append(lies, job.Result{Index: i, End: job.Exited, Stdout: text("a lie")})
					held.Tasks = append(held.Tasks, i)
				}
			}
			for id := range carol.work {
				carol.say(lease.Message{Lease: id, Held: held})
				carol.say(lease.Message{Lease: id, Results: &lease.Results{Results: lies}})
			}
			return echo(w, task)
		}
		r, stop := tn.life()
		defer stop()
		s := finish(t, r, submit(t, r, tn.unchecked(100)))
		for name, content := range tn.shelf.files(t, s.Result) {
			if content != "out "+name+"\n" {
				t.Fatalf("part %s is %q", name, content)
			}
		}
	})
}

func TestOutputThatNeverEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob")
		bob := tn.folk[0]
		bob.answer = func(w lease.Work, task job.Task) *job.Result {
			for id := range bob.work {
				for n := range int64(100) {
					bob.say(lease.Message{Lease: id, Output: &lease.Output{Task: task.Index, FD: 1, Offset: n * 400, Data: make([]byte, 400)}})
				}
			}
			return echo(w, task)
		}
		r, stop := tn.life()
		defer stop()
		spec := tn.batch()
		spec.Limits.Output = 1000
		id, err := r.Submit(context.Background(), spec, false)
		if err != nil {
			t.Fatal(err)
		}
		out := r.live(id).out
		finish(t, r, id)
		if out.size == 0 || out.size > 1000 {
			t.Fatalf("%d bytes of output are kept, the limit is 1000", out.size)
		}
	})
}

func TestContentThatNeverEnds(t *testing.T) {
	rows := map[string]job.Content{"said to be small": {Size: 10}, "said to be large": {Size: 1 << 40}}
	for name, lie := range rows {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tn := newTown(t, "bob", "carol")
				tn.shelf.flood = address(cid.Raw, []byte("flood"))
				lie.CID = tn.shelf.flood.String()
				tn.folk[1].answer = func(_ lease.Work, task job.Task) *job.Result {
					return &job.Result{Index: task.Index, End: job.Exited, Stdout: lie}
				}
				r, stop := tn.life()
				defer stop()
				spec := tn.unchecked(1)
				spec.Over.Count, spec.Limits.Output = 8, 1<<20
				s := finish(t, r, submit(t, r, spec))
				if s.State != job.Settled || tn.shelf.flooded.Load() > 100<<20 {
					t.Fatalf("status %+v, error %+v; %d bytes came", s, s.Error, tn.shelf.flooded.Load())
				}
			})
		})
	}
}

// Carol is paid for the bytes that her results have: ten are not a thousand.
func TestContentThatIsSmallerThanItsClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob", "carol")
		ten, err := tn.shelf.AddBytes(t.Context(), []byte("ten bytes."))
		if err != nil {
			t.Fatal(err)
		}
		claims := 0
		tn.folk[0].pace, tn.folk[1].pace = time.Millisecond, time.Millisecond
		tn.folk[1].answer = func(_ lease.Work, task job.Task) *job.Result {
			claims++
			return &job.Result{Index: task.Index, End: job.Exited, Stdout: job.Content{CID: ten.CID.String(), Size: 1000}}
		}
		r, stop := tn.life()
		defer stop()
		s := finish(t, r, submit(t, r, tn.unchecked(8)))
		if s.State != job.Settled || claims == 0 {
			t.Fatalf("status %+v, error %+v; carol made %d claims", s, s.Error, claims)
		}
		for path, text := range tn.shelf.files(t, s.Result) {
			if text == "ten bytes." {
				t.Errorf("part %s is carol's", path)
			}
		}
	})
}

func TestBobsBrokenMachineDoesNotFailAJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob", "carol")
		tn.folk[0].answer = func(_ lease.Work, task job.Task) *job.Result {
			return &job.Result{Index: task.Index, End: job.Broken, Message: "no sandbox"}
		}
		tn.folk[1].mute = true
		r, stop := tn.life()
		defer stop()
		id := submit(t, r, tn.unchecked(30))
		time.Sleep(10 * time.Second)
		tn.folk[1].speak()
		if s := finish(t, r, id); s.State != job.Settled {
			t.Fatalf("status %+v, error %+v", s, s.Error)
		}
	})
}

func TestWhoSaysThatTheProgramIsAtFault(t *testing.T) {
	rows := map[string]struct {
		folk, accusers int
		state          job.State
	}{"the only one": {1, 1, job.Failed}, "one of three": {3, 1, job.Settled}, "two of three": {3, 2, job.Failed}}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tn := newTown(t, []string{"bob", "carol", "dave"}[:row.folk]...)
				for _, w := range tn.folk[:row.accusers] {
					w.answer = func(lease.Work, job.Task) *job.Result {
						for id := range w.work {
							w.say(lease.Message{Lease: id, Refused: &lease.Refused{Reason: "no _start", Program: true}})
						}
						return nil
					}
				}
				r, stop := tn.life()
				defer stop()
				s := finish(t, r, submit(t, r, tn.unchecked(30)))
				if s.State != row.state || s.State == job.Failed && s.Error.Code != job.CodeProgram {
					t.Fatalf("status %+v, error %+v", s, s.Error)
				}
			})
		})
	}
}

func TestCarolNeverAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob", "carol")
		tn.folk[1].mute = true
		r, stop := tn.life()
		defer stop()
		spec := tn.count(20)
		spec.Verify = job.Verify{Mode: job.Jury, Rate: 1}
		if s := finish(t, r, submit(t, r, spec)); s.State != job.Settled || s.Tasks.Done != 20 {
			t.Fatalf("status %+v, error %+v", s, s.Error)
		}
	})
}

func TestBobHangsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob")
		bob := tn.folk[0]
		bob.mute = true
		r, stop := tn.life()
		defer stop()
		id := submit(t, r, tn.unchecked(10))
		synctest.Wait()
		bob.mute = false
		bob.line.Close()
		if s := finish(t, r, id); s.State != job.Settled || s.Tasks.Lost == 0 || s.Seconds > 20 {
			t.Fatalf("status %+v, error %+v", s, s.Error)
		}
	})
}

func TestAResultThatCountsIsNotDoubted(t *testing.T) {
	b := newBoard(1, rules{policy: verify.Policy{Copies: 1, Limit: 7}})
	bob, carol := person("bob"), person("carol")
	start := time.Unix(0, 0)
	b.give(bob, 1, start, 0)
	b.give(carol, 1, start.Add(time.Minute), time.Second)
	b.arrived(0, bob)
	b.arrived(0, carol)
	failed := ballot(bob, 1)
	failed.Failed = true
	if b.vote(0, failed, 2).decided { // carol's is on its way into the journal as a result
		t.Fatal("bob's failure is believed alone")
	}
	if !b.count(0, "carol").decided || !b.finished() || len(b.checks) != 0 {
		t.Fatal("the board doubts a result that the journal counts")
	}
}
