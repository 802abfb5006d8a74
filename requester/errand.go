package requester

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/hpips/hpips/spec/canon"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/verify"
)

// errCancelled is the cause with which a person's cancel ends a job.
var errCancelled = errors.New("cancelled by its owner")

// errand is a job that is being carried: the live side of a journal record.
type errand struct {
	id     string
	spec   job.Spec
	live   bool
	secret [32]byte // see newIdentity
	budget budget   // of all its phases

	stdin *spool // of a live standard input
	out   *spool // standard output of a Batch
	err   *spool // standard error of a Batch

	resumed func()        // to be called when the leases of an earlier life are taken up
	ended   chan struct{} // closed when run has returned

	mu       sync.Mutex
	status   job.Status
	changed  chan struct{} // closed and replaced at each change
	cancel   context.CancelCauseFunc
	stopped  bool
	asked    int // in the last round
	working  int // then, and not asked again
	rejected []job.Rejection
}

// arm gives the errand what ends it; a stop that came before takes effect now.
func (e *errand) arm(cancel context.CancelCauseFunc) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cancel = cancel
	if e.stopped {
		cancel(errCancelled)
	}
}

// stop ends the errand for its owner.
func (e *errand) stop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stopped = true
	if e.cancel != nil {
		e.cancel(errCancelled)
	}
}

// change alters the status and wakes every watch.
func (e *errand) change(f func(*job.Status)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f(&e.status)
	close(e.changed)
	e.changed = make(chan struct{})
}

// enter moves the job forward to a state; a job never moves back. It tells whether it did.
func (e *errand) enter(s job.State) (changed bool) {
	if changed = order[e.snapshot().State] < order[s]; changed {
		e.change(func(st *job.Status) {
			if st.State = s; s.Final() {
				st.Coming = nil
			}
		})
	}
	return changed
}

var order = map[job.State]int{job.Pending: 0, job.Planned: 1, job.Leased: 2, job.Running: 3, job.Verifying: 4, job.Settled: 5, job.Failed: 5, job.Cancelled: 5}

func (e *errand) snapshot() job.Status {
	s, _ := e.watch()
	return s
}

// watch returns the status and a channel that is closed when it is no longer the latest.
func (e *errand) watch() (job.Status, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.status
	s.Nodes = append([]job.Share{}, s.Nodes...)
	s.Odd = append([]string(nil), s.Odd...)
	return s, e.changed
}

// phase is one round of tasks of a job: its parts, or its reduce.
type phase struct {
	number int
	engine string
	base   uint64 // of the indexes in the journal and on the wire
	count  uint64
	work   lease.Work
	rules  rules
	input  func(ctx context.Context, index uint64) (job.Task, error)
}

// seed is the root of the tasks' random numbers: the same specification gives the same numbers, on every machine and in every run.
func (e *errand) seed() [32]byte {
	return sha256.Sum256(append([]byte("hpips/job/seed\n"), canon.MustEncode(e.spec)...))
}

// newIdentity makes a job's name and the secret behind it. The secret chooses which tasks are checked, so providers must not guess it.
func newIdentity() (id string, secret [32]byte) {
	rand.Read(secret[:])
	public := sha256.Sum256(append([]byte("hpips/job/id\n"), secret[:]...))
	return hex.EncodeToString(public[:8]), secret
}

func (e *errand) rules() rules {
	v := e.spec.Verify
	p := verify.Policy{Copies: 1, Limit: 1}
	switch v.Mode {
	case job.Jury, job.Quorum:
		p = verify.Policy{Copies: v.Copies, Limit: v.Limit, Same: verify.NewComparator(v)}
	case job.Check:
		p.Limit = v.Limit
	}
	return rules{policy: p, rate: v.Rate, seed: e.secret, judged: v.Mode == job.Check, classed: e.spec.Run.Engine() != job.EngineWASM}
}

func (e *errand) work(run job.Run, count uint64) lease.Work {
	w := lease.Work{Module: *run.Program(), Args: run.Args, Env: run.Env, Inputs: e.spec.Inputs, Count: count, Stdin: e.spec.Stdin,
		Resources: e.spec.Resources.For(run.Engine()), Limits: e.spec.Limits, Seed: e.seed(), Reach: e.spec.Reach}
	w.Limits.Price, w.Limits.Hour = "", ""
	for _, o := range e.spec.Outputs {
		w.Outputs = append(w.Outputs, o.Path)
	}
	return w
}

// parts is the first phase: the one task of a Batch, or the tasks of a Map.
func (e *errand) parts(count uint64) phase {
	p := phase{number: 0, engine: e.spec.Run.Engine(), count: count, work: e.work(e.spec.Run, count), rules: e.rules()}
	p.work.Stream = e.spec.Kind == job.Batch && !p.rules.judged // what may be wrong is not shown
	p.work.Live = e.live
	return p
}

// reduce is the second phase of a Map: one task that sees the folder whole under /in.
func (e *errand) reduce(count uint64, whole job.Content) phase {
	p := phase{number: 1, engine: e.spec.Reduce.Run.Engine(), base: job.ReduceIndex, count: 1, work: e.work(e.spec.Reduce.Run, count), rules: e.rules()}
	if p.rules.judged { // the checker knows the parts, not what is made of them: a second owner makes it too
		p.rules.judged, p.rules.rate, p.rules.patient = false, 1, true
	}
	p.rules.classed = e.spec.Reduce.Run.Engine() != job.EngineWASM
	p.work.Inputs = append([]job.Input{{From: whole.CID, To: "/in"}}, e.spec.Inputs...)
	p.work.Stdin = ""
	p.input = func(_ context.Context, index uint64) (job.Task, error) {
		return reduceTask(index), nil
	}
	return p
}

// reduceTask is the one task of a reduce.
func reduceTask(index uint64) job.Task {
	return job.Task{Index: index, Env: map[string]string{}, Path: "/in"}
}

// describe names a task for people.
func describe(index uint64, kind job.Kind) string {
	switch {
	case index == job.ReduceIndex:
		return "the reduce"
	case kind == job.Batch:
		return "the program"
	}
	return fmt.Sprintf("task %d", index)
}

// failureOf turns the accepted result of a failed task into what a person is told.
func (e *errand) failureOf(r job.Result) *job.Failure {
	s, who := e.spec, describe(r.Index, e.spec.Kind)
	says := func(code job.Code, text, hint string) *job.Failure {
		if r.Message != "" && (code == job.CodeTrap || code == job.CodeProgram || code == job.CodeInternal) { // a limit is told with its number already
			text += ": " + strings.TrimPrefix(r.Message, "the program trapped: ")
		}
		return &job.Failure{Code: code, Message: who + " " + text, Hint: hint}
	}
	switch r.End {
	case job.Exited:
		return says(job.CodeExit, fmt.Sprintf("ended with exit code %d", r.Exit), "see what it said: hpips job logs "+e.id)
	case job.Trapped:
		return says(job.CodeTrap, "trapped", "a fault of the program; see what it said: hpips job logs "+e.id)
	case job.TimedOut:
		return says(job.CodeTime, fmt.Sprintf("passed its time limit of %v", s.Limits.Time), "raise it with --time (limits.time)")
	case job.WorkFull:
		return says(job.CodeWork, fmt.Sprintf("passed its work limit of %d instructions", s.Limits.Work), "raise it with --work (limits.work)")
	case job.OutputFull:
		return says(job.CodeOutput, fmt.Sprintf("passed its output limit of %v", s.Limits.Output), "raise it with --max-output (limits.output)")
	case job.MemoryFull:
		return says(job.CodeMemory, fmt.Sprintf("passed its memory limit of %v", s.Resources.Memory), "raise it with --memory (resources.memory)")
	case job.DiskFull:
		return says(job.CodeDisk, fmt.Sprintf("passed its disk limit of %v", s.Resources.Disk), "raise it with --disk (resources.disk)")
	case job.Refused:
		hint := "it has to be a WASI module with a _start function"
		switch s.Run.Engine() {
		case job.EngineNative:
			hint = "it has to be a program for Linux and the providers' processors, best linked statically"
		case job.EngineContainer:
			hint = "it has to be an image for Linux and the providers' processors; hpips image show tells what it is built for"
		}
		return says(job.CodeProgram, "cannot run", hint)
	}
	return says(job.CodeInternal, "could not be run to its end", "see hpips node logs on the providers")
}
