package requester

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ipfs/go-cid"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/spec/job"
)

// Engine runs checkers on this machine; *wasm.Engine is one.
type Engine interface {
	Open(ctx context.Context, p engine.Program) (engine.Sandbox, error)
}

// bench is where the checker of a job judges results, in sandboxes of this machine. It belongs to one phase.
//
//  1. set brings the checker and what all tasks see to the disk, once.
//  2. judge lays out the files of a few results, runs the checker once for each of them, and says what it found.
//  3. close ends the sandboxes and removes the files.
type bench struct {
	engine Engine
	store  Store
	e      *errand
	p      phase
	task   func(ctx context.Context, i uint64) (job.Task, error)
	dir    string

	once    sync.Once
	program engine.Program
	broken  error // why there is no checker

	working sync.WaitGroup
	mu      sync.Mutex
	free    []engine.Sandbox
	boxes   int
	ids     uint64
}

// finding is what the checker says of one result.
type finding struct {
	*arrival
	wrong bool
	said  string // on its standard error
	err   error  // the checker itself failed
}

// The bounds of checking: sandboxes at once, results that one of them takes at a time, and results that may wait before no more are read.
const (
	maxSeats  = 4
	maxJudged = 64
	maxQueue  = 1 << 12
)

// maxSaid is how much of a checker's standard error is told, in bytes.
const maxSaid = 1 << 10

// seats is how many results are judged at once: half of this machine's processors, for the others may compute for somebody.
func seats() int { return max(1, min(maxSeats, runtime.GOMAXPROCS(0)/2)) }

func (g *gathering) newBench() *bench {
	return &bench{engine: g.r.deps.Engine, store: g.r.deps.Store, e: g.e, p: g.p, task: g.task,
		dir: filepath.Join(g.r.cfg.Dir, "checks", fmt.Sprintf("%s-%d", g.e.id, g.p.number))}
}

// set prepares the checker.
func (b *bench) set(ctx context.Context) error {
	b.once.Do(func() { b.broken = b.prepare(ctx) })
	return b.broken
}

func (b *bench) prepare(ctx context.Context) error {
	if err := os.RemoveAll(b.dir); err != nil { // what an earlier life left
		return err
	}
	inputs := filepath.Join(b.dir, "in")
	if err := os.MkdirAll(inputs, 0o700); err != nil {
		return err
	}
	check, work := b.e.spec.Verify.Check, b.p.work
	module := filepath.Join(b.dir, "checker.wasm")
	if err := b.export(ctx, check.WASM, module, 0); err != nil {
		return err
	}
	key, err := digestOf(module)
	if err != nil {
		return err
	}
	b.program = engine.Program{Lease: "check " + b.e.id, Module: module, Key: key, Args: check.Args, Inputs: inputs, Seed: work.Seed,
		Env: append(environment(check.Env), fmt.Sprint("HPIPS_COUNT=", work.Count)),
		Limits: engine.Limits{Time: time.Duration(work.Limits.Time), Memory: int64(work.Resources.Memory), Output: int64(work.Limits.Output),
			Disk: int64(work.Resources.Disk), Work: work.Limits.Work}.OrDefault()}
	for i, in := range work.Inputs {
		host := filepath.Join(inputs, fmt.Sprint("all-", i))
		if err := b.export(ctx, in.From, host, 0); err != nil {
			return err
		}
		b.program.Mounts = append(b.program.Mounts, engine.Mount{Guest: in.To, Host: host})
	}
	return nil
}

func digestOf(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// environment writes variables in the order of their names.
func environment(vars map[string]string) []string {
	env := make([]string, 0, len(vars)+1)
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		env = append(env, name+"="+vars[name])
	}
	return env
}

// export writes a content of this node's store to the disk; limit 0 is none.
func (b *bench) export(ctx context.Context, address, host string, limit int64) error {
	root, err := cid.Decode(address)
	if err != nil {
		return fmt.Errorf("content %q: %w", address, err)
	}
	return b.store.Export(ctx, root, host, limit, nil)
}

// judge runs the checker over a few results. When ctx ends it finds nothing more.
func (b *bench) judge(ctx context.Context, batch []*arrival) []finding {
	found := make([]finding, 0, len(batch))
	fail := func(a *arrival, err error) {
		if ctx.Err() != nil {
			return
		}
		found = append(found, finding{arrival: a, err: b.fault(a, err.Error(), "")})
	}
	if err := b.set(ctx); err != nil {
		fail(batch[0], err)
		return found
	}
	box, err := b.sandbox(ctx)
	if err != nil {
		fail(batch[0], err)
		return found
	}
	defer b.back(box)
	waiting := map[uint64]*arrival{}
	var tasks []engine.Task
	for _, a := range batch {
		t, err := b.lay(ctx, a)
		if err != nil {
			fail(a, err)
			return found
		}
		defer os.RemoveAll(b.folder(t.ID))
		waiting[t.ID], tasks = a, append(tasks, t)
	}
	again := tasks[:0:0]
	heard := func(o engine.Outcome, last bool) {
		defer box.Release(o.ID)
		if o.End == engine.Broken && !last {
			again = append(again, tasks[slices.IndexFunc(tasks, func(t engine.Task) bool { return t.ID == o.ID })])
			return
		}
		found = append(found, b.finding(waiting[o.ID], o))
	}
	for _, last := range []bool{false, true} { // what broke with its sandbox is tried once more
		todo := tasks
		if last {
			todo, again = again, nil
		}
		if len(todo) == 0 || ctx.Err() != nil {
			break
		}
		if err := box.Run(ctx, todo, ear{func(o engine.Outcome) { heard(o, last) }}); err != nil && last && ctx.Err() == nil {
			fail(batch[0], err)
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return found
}

// ear takes the outcomes of a sandbox.
type ear struct{ each func(engine.Outcome) }

func (s ear) Done(outcomes []engine.Outcome) {
	for _, o := range outcomes {
		s.each(o)
	}
}

func (ear) Output(uint64, int, int64, []byte) {}

// finding reads the verdict in a checker's end.
func (b *bench) finding(a *arrival, o engine.Outcome) finding {
	said := o.Stderr.Inline
	if o.Stderr.Path != "" {
		said, _ = os.ReadFile(o.Stderr.Path) // as much as can be read
	}
	text := legible(said[max(0, len(said)-maxSaid):])
	switch {
	case o.End == engine.Exited && o.Exit == 0:
		return finding{arrival: a}
	case o.End == engine.Exited && o.Exit == 1:
		return finding{arrival: a, wrong: true, said: text}
	case o.End == engine.Exited:
		return finding{arrival: a, err: b.fault(a, fmt.Sprintf("it ended with exit code %d", o.Exit), text)}
	}
	return finding{arrival: a, err: b.fault(a, cmp.Or(o.Message, string(o.End)), text)}
}

// legible is what of a text may stand in a message: a checker may repeat a result, whose bytes must not speak to a terminal.
func legible(text []byte) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r == '\n' || unicode.IsPrint(r) && r != utf8.RuneError {
			return r
		}
		return -1
	}, string(text)))
}

// fault is a checker that gave no verdict: nothing can be said about any result, so the job fails.
func (b *bench) fault(a *arrival, why, said string) *job.Failure {
	f := &job.Failure{Code: job.CodeVerification, Message: fmt.Sprintf("the checker failed on the result of %s: %s", describe(a.result.Index+b.p.base, b.e.spec.Kind), why),
		Hint: "a checker ends with exit code 0 (right) or 1 (wrong); limits are the job's: --time, --memory, --work"}
	if said != "" {
		f.Message += "; it says: " + said
	}
	return f
}

// sandbox takes one that is free, or a new one.
func (b *bench) sandbox(ctx context.Context) (engine.Sandbox, error) {
	b.mu.Lock()
	if n := len(b.free); n > 0 {
		box := b.free[n-1]
		b.free = b.free[:n-1]
		b.mu.Unlock()
		return box, nil
	}
	b.boxes++
	p := b.program
	p.Dir = filepath.Join(b.dir, fmt.Sprint("box-", b.boxes))
	b.mu.Unlock()
	if err := os.MkdirAll(p.Dir, 0o700); err != nil {
		return nil, err
	}
	return b.engine.Open(ctx, p)
}

func (b *bench) back(box engine.Sandbox) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free = append(b.free, box)
}

func (b *bench) folder(id uint64) string { return filepath.Join(b.program.Inputs, fmt.Sprint(id)) }

// lay writes down what the checker is to see of one result: the result's standard output as its input, the task's input where the task saw
// it, and the folders that the task wrote below /out.
func (b *bench) lay(ctx context.Context, a *arrival) (engine.Task, error) {
	b.mu.Lock()
	b.ids++
	id := b.ids
	b.mu.Unlock()
	dir := b.folder(id)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return engine.Task{}, err
	}
	task, err := b.task(ctx, a.result.Index)
	if err != nil {
		return engine.Task{}, err
	}
	t := engine.Task{ID: id, Stdin: filepath.Join(dir, "stdin"), Env: []string{fmt.Sprint("HPIPS_INDEX=", task.Index)}}
	if task.Path != "" {
		t.Env = append(t.Env, "HPIPS_INPUT="+task.Path)
	}
	t.Env = append(t.Env, environment(task.Env)...)
	if err := b.place(ctx, a.result.Stdout, t.Stdin); err != nil {
		return t, err
	}
	show := func(guest string, c job.Content, name string) error {
		host := filepath.Join(dir, name)
		t.Mounts = append(t.Mounts, engine.Mount{Guest: guest, Host: host})
		return b.place(ctx, c, host)
	}
	if task.Input != nil {
		if err := show(task.Path, *task.Input, "input"); err != nil {
			return t, err
		}
	}
	for n, guest := range slices.Sorted(maps.Keys(a.result.Outputs)) {
		if err := show(belowOut(guest), a.result.Outputs[guest], fmt.Sprint("out-", n)); err != nil {
			return t, err
		}
	}
	return t, nil
}

// belowOut is where a checker sees a folder that its task wrote.
func belowOut(guest string) string {
	if guest == "/out" || strings.HasPrefix(guest, "/out/") {
		return guest
	}
	return path.Join("/out", guest)
}

// place writes a content to the disk.
func (b *bench) place(ctx context.Context, c job.Content, host string) error {
	if c.CID == "" {
		return os.WriteFile(host, c.Inline, 0o600)
	}
	return b.export(ctx, c.CID, host, math.MaxInt64)
}

// close waits for the judges, whose ctx has ended.
func (b *bench) close() error {
	b.working.Wait()
	var errs []error
	for _, box := range b.free {
		errs = append(errs, box.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(b.dir))...)
}

// check sends a result on: to be judged where there is a checker and something to judge, else into the journal.
func (g *gathering) check(ctx context.Context, a arrival) {
	if g.bench == nil || !a.result.Succeeded() {
		g.commit(a)
		return
	}
	waits := a // so that what is not judged costs no memory of its own
	waits.hire.fetching++
	g.toCheck = append(g.toCheck, &waits)
	g.examine(ctx)
}

// examine hands what waits to judges, as long as one of them is free. A result that came after its task was decided is not judged any more.
func (g *gathering) examine(ctx context.Context) {
	for len(g.toCheck) > 0 && g.judging < seats() {
		n := min(maxJudged, max(1, len(g.toCheck)/seats()))
		var batch []*arrival
		for _, a := range g.toCheck[:n] {
			if g.board.state[a.result.Index] == done {
				a.hire.fetching--
				g.commit(*a)
				continue
			}
			batch = append(batch, a)
		}
		g.toCheck = g.toCheck[n:]
		if len(batch) == 0 {
			continue
		}
		g.judging++
		g.bench.working.Go(func() {
			found := g.bench.judge(ctx, batch)
			select {
			case g.judged <- found:
			case <-ctx.Done():
			}
		})
	}
}

// found takes in verdicts of the checker. A right result goes into the journal as one; a wrong one as the vote of who was wrong, unpaid.
func (g *gathering) found(ctx context.Context, all []finding) error {
	g.judging--
	g.progress = g.r.now()
	for _, f := range all {
		if f.err != nil {
			return f.err
		}
		f.hire.fetching--
		if !f.wrong {
			f.checked = true
			g.commit(*f.arrival)
			continue
		}
		r := f.result
		r.Index += g.p.base
		if f.said != "" {
			r.Message = "the checker says: " + f.said // beside what the program said, for job logs
		}
		g.pending = append(g.pending, entry{hire: f.hire, result: r, vote: true, wrong: true, done: f.done})
		if f.hire.wrong++; f.hire.wrong >= maxWrong && len(g.atWork()) > 1 && slices.Contains(g.hires, f.hire) {
			g.turnAway(ctx, f.hire, "its results are wrong")
			g.spurned[f.hire.peer] = g.r.now().Add(shunned)
		}
	}
	g.examine(ctx)
	return nil
}

// maxWrong is how many wrong results are taken from a provider before its tasks go to others, if there are any.
const maxWrong = 3

// shunned is how long it is not asked again then.
const shunned = time.Hour

// wronged deals with a wrong result that is durable: its task is run again, elsewhere if that can be.
func (g *gathering) wronged(ctx context.Context, en entry) error {
	i, h := en.result.Index-g.p.base, en.hire
	if !slices.Contains(g.e.snapshot().Odd, h.node) { // a line for each of its results would fill the history
		g.r.note(ctx, g.e, fmt.Sprintf("the checker refuses the result of %s from %s", describe(en.result.Index, g.e.spec.Kind), short(h.node)))
	}
	g.e.ruled(verdict{odd: []string{h.node}})
	g.doubted = g.r.now()
	if g.board.state[i] == done {
		g.board.landed(i, h.owner)
		return nil
	}
	if n, limit := g.board.mislead(i, h.owner), g.p.rules.policy.Limit; n >= limit {
		return &job.Failure{Code: job.CodeVerification, Message: fmt.Sprintf("%s: the checker refused all of %d results", describe(en.result.Index, g.e.spec.Kind), n),
			Hint: "is the checker right, and the program? hpips job logs " + g.e.id + " shows what both said"}
	}
	if g.board.back(i, h) {
		g.e.rerun(1)
	}
	return nil
}
