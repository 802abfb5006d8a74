package requester

import (
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hpips/hpips/p2p"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
)

// Alice asks what became of her job: its history names everybody who worked on it, whoever was lost on the way and with how much, and what was run again.
func TestTheHistoryOfAJob(t *testing.T) {
	for name, row := range map[string]struct {
		folk  []string
		tasks int
		mute  bool
		then  func(folk []*worker)
		want  string // expressions, in order, one a line
	}{
		"nothing happens": {[]string{"bob"}, 3, false, nil, `
			^pending: submitted$
			^planned: planned 3 tasks$
			^leased: leased from 1 provider with 1 slot: \S{8}$
			^running: runs: the first tasks are with provider \S{8}$
			^verifying: all parts are done, their results are put together$
			^settled: settled$`},
		"bob is lost": {[]string{"bob", "carol"}, 20, true, func(folk []*worker) {
			folk[0].vanish()
			time.Sleep(10 * time.Second)
			folk[1].speak()
		}, `
			^leased: leased from 2 providers with 2 slots: \S{8}, \S{8}$
			^running: runs: the first tasks are with provider
			^running: provider \S{8} is lost: [1-9]\d* executions? lost, [1-9]\d* tasks? run again$
			^settled: settled$`},
		"bob begins anew": {[]string{"bob"}, 10, true, func(folk []*worker) { folk[0].restart() }, `
			^running: runs: the first tasks
			^running: provider \S{8} began anew: [1-9]\d* executions? lost, [1-9]\d* tasks? run again$
			^settled: settled$`},
		"bob is away as carol does the rest": {[]string{"bob", "carol"}, 2, true, func(folk []*worker) {
			folk[0].cut()
			folk[1].speak()
		}, `
			^running: provider \S{8} is away as the leases end: 1 execution lost$
			^settled: settled$`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tn := newTown(t, row.folk...)
				for _, w := range tn.folk {
					w.mute = row.mute
				}
				r, stop := tn.life()
				defer stop()
				id := submit(t, r, tn.unchecked(row.tasks))
				synctest.Wait()
				if row.then != nil {
					row.then(tn.folk)
				}
				s := finish(t, r, id)
				lines := history(t, r, id)
				tells(t, lines, row.want)
				if lost := added(lines, `(\d+) executions? lost`); s.State != job.Settled || lost != s.Tasks.Lost {
					t.Errorf("%s, %d lost; the history has %d:\n%s", s.State, s.Tasks.Lost, lost, strings.Join(lines, "\n"))
				}
			})
		})
	}
}

// Alice's node is killed in the middle: the history goes on.
func TestTheHistoryGoesOnAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob")
		tn.folk[0].mute = true
		r, stop := tn.life()
		id := submit(t, r, tn.unchecked(40))
		synctest.Wait()
		stop()
		r, stop = tn.life()
		defer stop()
		synctest.Wait()
		tn.folk[0].speak()
		finish(t, r, id)
		tells(t, history(t, r, id), `
			^leased: leased from 1 provider
			^running: goes on after a restart of this node with 1 lease: 0 of 40 tasks done$
			^settled: settled$`)
	})
}

// Carol gives the job back whenever she is asked, for an hour: that is one line.
func TestWhoGivesAJobBackAgainAndAgainIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "carol")
		carol := tn.folk[0]
		var asked atomic.Int64
		carol.answer = func(lease.Work, job.Task) *job.Result {
			asked.Add(1)
			for id := range carol.work {
				carol.say(lease.Message{Lease: id, Refused: &lease.Refused{Reason: "my disk is full"}})
			}
			return nil
		}
		r, stop := tn.life()
		defer stop()
		spec := tn.unchecked(3)
		spec.Limits.Queue = job.Duration(time.Hour)
		id := submit(t, r, spec)
		time.Sleep(50 * time.Minute)
		lines := history(t, r, id)
		tells(t, lines, `
			^leased: leased from 1 provider
			^running: provider \S{8} does not go on: my disk is full; [1-9]\d* tasks? run again$`)
		if n := asked.Load(); len(lines) > 5 || n < 10 {
			t.Errorf("carol was asked %d times:\n%s", n, strings.Join(lines, "\n"))
		}
		if err := r.Cancel(t.Context(), id); err != nil {
			t.Error(err)
		}
		finish(t, r, id)
	})
}

// Carol lies: her first wrong result is in the history.
func TestTheHistoryNamesWhoIsOdd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "bob", "carol", "dave")
		tn.folk[1].answer = func(w lease.Work, task job.Task) *job.Result {
			r := echo(w, task)
			r.Stdout = text("a lie")
			return r
		}
		r, stop := tn.life()
		defer stop()
		spec := tn.count(30)
		spec.Verify = job.Verify{Mode: job.Quorum, Copies: 2}
		s := finish(t, r, submit(t, r, spec))
		lines := history(t, r, s.Job)
		tells(t, lines, `^running: the result of task \d+ from provider \S{8} is not the one that others agree on$`)
		if n := strings.Count(strings.Join(lines, "\n"), "agree on"); n != 1 || len(s.Odd) != 1 {
			t.Errorf("%d lines, odd %v", n, s.Odd)
		}
	})
}

func history(t *testing.T, r *Requester, id string) (lines []string) {
	t.Helper()
	w, err := r.Why(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range w.Events {
		lines = append(lines, string(e.State)+": "+e.Text)
	}
	return lines
}

// tells looks for expressions, one a line, in lines, in their order.
func tells(t *testing.T, lines []string, want string) {
	t.Helper()
	left := lines
	for one := range strings.Lines(want) {
		if one = strings.TrimSpace(one); one == "" {
			continue
		}
		e := regexp.MustCompile(one)
		for len(left) > 0 && !e.MatchString(left[0]) {
			left = left[1:]
		}
		if len(left) == 0 {
			t.Errorf("%q is not told, or not in this order:\n%s", one, strings.Join(lines, "\n"))
			return
		}
		left = left[1:]
	}
}

// added adds the numbers that an expression finds.
func added(lines []string, expression string) (n int) {
	for _, m := range regexp.MustCompile(expression).FindAllStringSubmatch(strings.Join(lines, "\n"), -1) {
		one, _ := strconv.Atoi(m[1])
		n += one
	}
	return n
}

// cut takes the line away for the moment; what the worker has is still there.
func (w *worker) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.line.push(nil, p2p.EventDown)
}
