package auditor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/execution"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/meter"
	"github.com/hpips/hpips/spec/trust"
	"github.com/hpips/hpips/store"
)

// bench is what statements of one program with the same inputs need, on this disk: what they share, what the present one has for itself, and a sandbox.
type bench struct {
	e       *Examiner
	s       lease.Statement // the present one
	from    []peer.ID
	dir     string
	program engine.Program
	stdin   string
	kept    int64 // bytes that were brought
	box     engine.Sandbox
	leave   func() // ends that a hold stops the sandbox
	bounded bool   // its work ends before the statement says
	begun   uint64 // statements
	input   string // the task's own; "": it has none
	own     int64  // bytes of it
	large   bool   // it is past its limit: the task is not begun
}

// bench brings what statements of a work share. Their sandbox is watched if states are asked for.
func (e *Examiner) bench(ctx context.Context, w lease.Work, watched bool, from []peer.ID) (*bench, error) {
	dir, err := os.MkdirTemp(e.cfg.Dir, "examination-")
	if err != nil {
		return nil, noAnswer("folder: %w", err)
	}
	b := &bench{e: e, from: from, dir: dir, program: execution.Program(w), leave: func() {}}
	b.program.Lease, b.program.Inputs, b.program.Dir = filepath.Base(dir), filepath.Join(dir, "in"), filepath.Join(dir, "box")
	b.program.Limits.Time, b.program.Watched = e.cfg.Time, watched
	if most := int64(min(e.cfg.Work, 1<<62)); most > 0 && (b.program.Limits.Work == 0 || b.program.Limits.Work > most) {
		b.program.Limits.Work, b.bounded = most, true
	}
	err = errors.Join(os.Mkdir(b.program.Inputs, 0o700), os.Mkdir(b.program.Dir, 0o700))
	if err == nil {
		err = b.bring(ctx, w)
	}
	if err == nil {
		return b, nil
	}
	b.close()
	return nil, unanswered(ctx, err)
}

// unanswered is the end of ctx, or that there is no answer here.
func unanswered(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return noAnswer("%w", err)
}

// begin brings what a statement has for itself, and opens the sandbox if that is still to do. What has no provider that could begin it has no answer.
func (b *bench) begin(ctx context.Context, s lease.Statement) error {
	b.s, b.begun = s, b.begun+1
	err := b.bringOwn(ctx)
	if err == nil && !b.large && b.box == nil {
		if b.box, err = b.e.engine.Open(ctx, b.program); err == nil {
			b.leave, err = b.e.held.watch(b.box)
		}
	}
	if err != nil {
		return unanswered(ctx, err)
	}
	return nil
}

// bring fetches program, inputs and standard input, as a provider does when a lease begins.
func (b *bench) bring(ctx context.Context, w lease.Work) (err error) {
	b.program.Module = filepath.Join(b.dir, "module")
	if err := b.fetch(ctx, "program", w.Module, b.program.Module, execution.MaxModule); err != nil {
		return err
	}
	if b.program.Key, err = execution.Key(b.program.Module); err != nil {
		return err
	}
	for i, in := range w.Inputs {
		host := filepath.Join(b.dir, fmt.Sprint("input-", i))
		if err := b.fetch(ctx, "input", in.From, host, b.program.Limits.Disk); err != nil {
			return err
		}
		b.program.Mounts = append(b.program.Mounts, engine.Mount{Guest: in.To, Host: host})
	}
	if w.Stdin != "" {
		b.stdin = filepath.Join(b.program.Inputs, "stdin")
		if err := b.fetch(ctx, "standard input", w.Stdin, b.stdin, b.program.Limits.Disk); err != nil {
			return err
		}
	}
	return nil
}

// bringOwn fetches the task's own input, if it has one.
func (b *bench) bringOwn(ctx context.Context) error {
	in := b.s.Task.Input
	if in == nil {
		return nil
	}
	b.input = filepath.Join(b.program.Inputs, fmt.Sprint("own-", b.begun))
	if in.CID == "" {
		return os.WriteFile(b.input, in.Inline, 0o600)
	}
	before := b.kept
	err := b.fetch(ctx, "input", in.CID, b.input, b.program.Limits.Disk)
	b.own = b.kept - before
	b.large = errors.Is(err, store.ErrTooLarge)
	if b.large {
		return nil
	}
	return err
}

// errFull is why content is given up that this node has no room for.
var errFull = errors.New("what it needs is more than the disk that this node gives to examinations")

func (b *bench) fetch(ctx context.Context, what, ref, host string, limit int64) error {
	free := b.e.cfg.Disk - b.kept
	if free <= 0 {
		return fmt.Errorf("%s %s: %w", what, ref, errFull)
	}
	var size atomic.Int64
	err := execution.Bring(ctx, b.e.store, ref, host, min(limit, free), b.e.cfg.Stall, func(n int64) error { size.Store(n); return nil }, b.from...)
	if free < limit && errors.Is(err, store.ErrTooLarge) {
		err = errFull
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", what, ref, err)
	}
	b.kept += size.Load()
	return nil
}

// run runs the task to its end, and tells what came of it and its states at points, which ascend. It errs when ctx has ended, or this machine has no answer.
func (b *bench) run(ctx context.Context, points []uint64) (job.Result, []trust.Digest, error) {
	if b.large {
		return execution.TooLarge(b.s.Task, b.program.Limits.Disk), slices.Repeat([]trust.Digest{meter.State{}.Sum()}, len(points)), nil
	}
	task := execution.Task(b.s.Work, b.s.Task, b.stdin, b.input)
	task.ID, task.Stream, task.Points = b.begun, false, points
	var only outcome
	err := b.box.Run(ctx, []engine.Task{task}, &only)
	switch {
	case ctx.Err() != nil:
		return job.Result{}, nil, ctx.Err()
	case err != nil:
		return job.Result{}, nil, noAnswer("sandbox: %w", err)
	}
	r, err := execution.Result(b.s.Task.Index, &only.Outcome, b.e.put(ctx))
	switch {
	case ctx.Err() != nil:
		return job.Result{}, nil, ctx.Err()
	case err != nil:
		return job.Result{}, nil, noAnswer("result: %w", err)
	case r.End == job.WorkFull && b.bounded:
		return job.Result{}, nil, noAnswer("it takes more than %d instructions, which is what is paid for", b.program.Limits.Work)
	case r.End == job.TimedOut || r.End == job.Stopped || r.End == job.Broken:
		return job.Result{}, nil, noAnswer("%s: %s", r.End, r.Message)
	case len(only.States) != len(points):
		return job.Result{}, nil, noAnswer("the engine tells %d states at %d points", len(only.States), len(points))
	}
	var states []trust.Digest
	for _, s := range only.States {
		states = append(states, s)
	}
	return r, states, nil
}

// clear removes what was the present statement's alone.
func (b *bench) clear() error {
	if b.box != nil {
		b.box.Release(b.begun)
	}
	var err error
	if b.input != "" {
		err = os.RemoveAll(b.input)
	}
	b.input, b.kept, b.own, b.large = "", b.kept-b.own, 0, false
	return err
}

// close removes all of it.
func (b *bench) close() {
	b.leave()
	var err error
	if b.box != nil {
		err = b.box.Close()
	}
	if err := errors.Join(err, os.RemoveAll(b.dir)); err != nil {
		b.e.log.Warn("An examination leaves something behind", "dir", b.dir, "err", err)
	}
}

// outcome takes the only outcome of a run.
type outcome struct{ engine.Outcome }

// Done keeps it.
func (o *outcome) Done(outcomes []engine.Outcome) { o.Outcome = outcomes[len(outcomes)-1] }

// Output has nothing to do: no task streams.
func (o *outcome) Output(uint64, int, int64, []byte) {}
