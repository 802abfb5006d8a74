package requester

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs/go-cid"
	"pgregory.net/rapid"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/verify"
)

func TestResultsThatWaitedForAliceAreCheckedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob", "carol")
		bob := tn.folk[0]
		bob.mute, tn.folk[1].here = true, false
		spec := tn.count(10)
		spec.Verify = job.Verify{Mode: job.Quorum, Copies: 2}
		r, stop := tn.life()
		id := submit(t, r, spec)
		synctest.Wait()
		stop()
		bob.speak()
		tn.folk[1].here = true
		r, stop = tn.life()
		defer stop()
		synctest.Wait()
		if s := finish(t, r, id); s.State != job.Settled || s.Verified != 10 || len(s.Odd) != 0 {
			t.Fatalf("status %+v: every task is to be checked", s)
		}
	})
}

func TestWhatComesAfterTheEndIsForTheNextLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob")
		bob := tn.folk[0]
		bob.mute = true
		r := tn.open()
		ctx, cancel := context.WithCancel(context.Background())
		served := make(chan error, 1)
		go func() { served <- r.Serve(ctx) }()
		id := submit(t, r, tn.unchecked(4))
		synctest.Wait()
		cancel()
		if err := <-served; err != nil {
			t.Fatal(err)
		}
		bob.speak()
		synctest.Wait()
		if bob.unacked() == 0 {
			t.Fatal("bob may forget results that are not in the journal")
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		r, stop := tn.life()
		defer stop()
		synctest.Wait()
		if s := finish(t, r, id); s.State != job.Settled || len(bob.ran) != 4 {
			t.Fatalf("status %+v; bob ran %v", s, bob.ran)
		}
	})
}

func TestNothingIsOwedAfterACancelledJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob")
		bob := tn.folk[0]
		bob.answer = func(_ lease.Work, task job.Task) *job.Result {
			return &job.Result{Index: task.Index, End: job.Exited, Stdout: job.Content{CID: address(cid.Raw, []byte("slow")).String(), Size: 4}}
		}
		r, stop := tn.life()
		defer stop()
		id := submit(t, r, tn.unchecked(20))
		synctest.Wait()
		if err := r.Cancel(context.Background(), id); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := bob.unacked(); n != 0 {
			t.Fatalf("bob keeps %d messages for ever, and with them his session fills", n)
		}
	})
}

func TestKilledBeforeTheEndIsWritten(t *testing.T) {
	rows := map[string]struct {
		kind  job.Kind
		state job.State
	}{"a failed task": {job.Map, job.Failed}, "the exit code of a program": {job.Batch, job.Settled}}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tn := newTown(t, "bob")
				tn.folk[0].answer = func(_ lease.Work, task job.Task) *job.Result {
					return &job.Result{Index: task.Index, End: job.Exited, Exit: 3}
				}
				spec := tn.batch()
				if row.kind == job.Map {
					spec = tn.unchecked(1)
				}
				r, stop := tn.life()
				if _, err := r.journal.w.Exec(`CREATE TRIGGER full BEFORE UPDATE ON job WHEN NEW.final BEGIN SELECT RAISE(ABORT, 'disk is full'); END`); err != nil {
					t.Fatal(err)
				}
				id := submit(t, r, spec)
				if s := finish(t, r, id); s.State != row.state || s.ExitCode != 3 {
					t.Fatalf("alice is told %+v", s)
				}
				if _, err := r.journal.w.Exec(`DROP TRIGGER full`); err != nil {
					t.Fatal(err)
				}
				stop()
				r, stop = tn.life()
				defer stop()
				synctest.Wait()
				if s := finish(t, r, id); s.State != row.state || s.ExitCode != 3 || s.Error == nil {
					t.Fatalf("status %+v, error %+v", s, s.Error)
				}
			})
		})
	}
}

func TestKilledWhilePartsAreWritten(t *testing.T) {
	tn := newTown(t)
	r := tn.open()
	defer r.Close()
	ctx := context.Background()
	for _, n := range []int{700, 300} { // the second life sees the first one's
		made, err := r.journal.addParts(ctx, "job", func(yield func(part) error) error {
			for i := range n {
				if err := yield(part{Path: fmt.Sprint(n, i)}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || made != uint64(n) {
			t.Fatalf("%d parts, %v", made, err)
		}
	}
	if p, err := r.journal.part(ctx, "job", 299); err != nil || p.Path != "300 299" {
		t.Fatalf("part %+v, %v", p, err)
	}
	if p, err := r.journal.part(ctx, "job", 300); err == nil {
		t.Fatalf("part %+v of an earlier life is left", p)
	}
}

func TestStandardInputGoesOnAfterAliceIsKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob")
		bob := tn.folk[0]
		bob.mute = true
		r, stop := tn.life()
		id, err := r.Submit(context.Background(), tn.batch(), true)
		if err != nil {
			t.Fatal(err)
		}
		from, to := io.Pipe()
		go func() { _ = r.Stdin(context.Background(), id, from) }()
		if _, err := to.Write([]byte("half a line")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		stop()
		to.Close()
		_, stop = tn.life()
		defer stop()
		synctest.Wait()
		if string(bob.input) != "half a line" || !bob.eof {
			t.Fatalf("bob read %q, end %v", bob.input, bob.eof)
		}
	})
}

func TestStandardInputBeginsAnewWithBobsNewProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob")
		bob := tn.folk[0]
		bob.answer = func(lease.Work, job.Task) *job.Result { return nil }
		r, stop := tn.life()
		defer stop()
		id, err := r.Submit(context.Background(), tn.batch(), true)
		if err != nil {
			t.Fatal(err)
		}
		from, to := io.Pipe()
		go func() { _ = r.Stdin(context.Background(), id, from) }()
		said := make([]byte, 3*chunk/2)
		if _, err := to.Write(said); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		bob.restart()
		synctest.Wait()
		if _, err := to.Write([]byte("more")); err != nil {
			t.Fatal(err)
		}
		to.Close()
		synctest.Wait()
		if bob.gap || !bob.eof || !bytes.Equal(bob.input, append(said, "more"...)) {
			t.Fatalf("bob read %d bytes, end %v, gap %v", len(bob.input), bob.eof, bob.gap)
		}
	})
}

func TestALongerTermTakesNoTaskBack(t *testing.T) {
	b := newBoard(2, rules{policy: verify.Policy{Copies: 1, Limit: 1}})
	bob := person("bob")
	g := &gathering{r: &Requester{now: time.Now}, board: b, p: phase{count: 2}}
	b.give(bob, 2, time.Now(), 0)
	g.heldBy(context.Background(), bob, &lease.Held{Credit: 7}) // as it was when the longer lease came
	if len(bob.held) != 2 || b.wanted() != 0 || bob.credit != 7 {
		t.Fatalf("bob holds %v with credit %d; %d tasks are to be run again", bob.held, bob.credit, b.wanted())
	}
}

func TestATermIsExtendedThoughOnceItCouldNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob")
		bob := tn.folk[0]
		bob.mute, tn.unwilling = true, 3
		r, stop := tn.life()
		defer stop()
		spec := tn.unchecked(2)
		spec.Limits.Time = job.Duration(9 * time.Hour)
		id := submit(t, r, spec)
		time.Sleep(2 * time.Hour)
		if tn.extended == 0 {
			t.Fatal("the lease runs out")
		}
		bob.speak()
		if s := finish(t, r, id); s.State != job.Settled || s.Tasks.Rerun != 0 {
			t.Fatalf("status %+v", s)
		}
	})
}

func TestASpecificationThatWouldNotComeBack(t *testing.T) {
	tn := newTown(t, "bob")
	r := tn.open()
	defer r.Close()
	spec := tn.count(1)
	spec.Run.Args = make([]string, 2<<20)
	_, err := r.Submit(context.Background(), spec, false)
	var bad *job.Error
	if !errors.As(err, &bad) {
		t.Fatalf("error %v", err)
	}
	if list, err := r.Jobs(context.Background()); err != nil || len(list) != 0 {
		t.Fatalf("jobs %v, %v", list, err)
	}
}

func TestLinesAreCutWhereTheyEnd(t *testing.T) {
	tn := newTown(t)
	r, err := New(slog.New(slog.DiscardHandler), Deps{Store: tn.shelf}, Default(tn.dir))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"\n", "a", "b\n", strings.Repeat("long", 20<<10)}), 0, 20).Draw(t, "text"), "")
		n := rapid.Int64Range(1, 5).Draw(t, "n")
		in, err := tn.shelf.AddBytes(context.Background(), []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		files, err := r.files(context.Background(), in.CID)
		if err != nil {
			t.Fatal(err)
		}
		var back strings.Builder
		err = cutter{r: r, ctx: context.Background()}.lines(files, "lines", n, func(p part) error {
			piece := string(p.Content.Inline)
			if p.Content.CID != "" {
				piece = string(tn.shelf.kept[cid.MustParse(p.Content.CID)])
			}
			if back.WriteString(piece); piece == "" || int64(len(piece)) != p.Content.Size {
				return fmt.Errorf("piece of %d bytes, said to be %d", len(piece), p.Content.Size)
			}
			if k := int64(strings.Count(piece, "\n")); k > n || k < n && back.Len() < len(text) {
				return fmt.Errorf("piece with %d lines, want %d", k, n)
			}
			return nil
		})
		if err != nil || back.String() != text {
			t.Fatalf("%v; %d bytes of %d came back", err, back.Len(), len(text))
		}
	})
}
