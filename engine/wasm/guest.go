package wasm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/capture"
	"github.com/hpips/hpips/spec/meter"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/experimental/sysfs"
	wsys "github.com/tetratelabs/wazero/sys"
)

// runner runs one task after another from one compiled module. Each has a fresh instance; what an instance sees of the world (clock,
// random bytes, files, outputs) is this one object, set back before each task, so that a task costs no more than its memory.
type runner struct {
	set    *setup
	out    *outbox
	rt     wazero.Runtime
	code   wazero.CompiledModule
	first  bool // a function runs before _start
	seen   bool // an instance of it was looked at
	recurs bool // which counts calls
	ctx    context.Context
	mem    *arena
	base   wazero.ModuleConfig
	env    []string // fixed, program's
	stdin  *inlet
	stdout *written
	stderr *written
	files  *view

	// Of the task at hand.
	id         uint64
	streaming  bool
	outputLeft int64
	disk       quota
	stopped    engine.End // set by stop
	why        string
	clock      int64 // nanoseconds since the task's start, as the task sees it
	random     *rand.ChaCha8
	index      string
	limit      int64 // instructions that it may be charged
	most       int64 // up to where it is looked at next
	work       int64 // that it was charged
	points     []uint64
	states     []byte // at the first of them, so far
	deep       bool   // its calls were nested too deep
}

// view is the file system that instances are given; what is behind it changes from task to task.
type view struct{ *tree }

// tick is by how much the clock moves with each look at it.
const tick = 1000

// newRunner loads the compiled module; it needs the cache entry, and compiles nothing.
func newRunner(set *setup, out *outbox) (*runner, error) {
	r := &runner{set: set, out: out, stdin: &inlet{}}
	var err error
	if r.mem, err = newArena(set.Limits.Memory); err != nil {
		return nil, err
	}
	r.ctx = experimental.WithMemoryAllocator(context.Background(), r.mem)
	if r.rt, r.code, err = load(r.ctx, set, r); err != nil {
		return nil, err
	}
	_, r.first = r.code.ExportedFunctions()[meter.Start]
	r.stdout = &written{Output: capture.Output{FD: 1, Spill: r.spill}, run: r}
	r.stderr = &written{Output: capture.Output{FD: 2}, run: r}
	r.env = append([]string{"PWD=/", "HOME=/"}, set.Env...)
	plain, err := r.plainTree()
	if err != nil {
		return nil, err
	}
	r.files = &view{plain}
	r.base = wazero.NewModuleConfig().WithName("").WithStartFunctions().
		WithStdin(r.stdin).WithStdout(r.stdout).WithStderr(r.stderr).
		WithWalltime(r.wall, 1000).WithNanotime(r.nano, 1).WithNanosleep(r.sleep).
		WithRandSource(reader(r.read)).
		WithFSConfig(wazero.NewFSConfig().(sysfs.FSConfig).WithSysFSMount(r.files, "/"))
	return r, nil
}

// plainTree is what a task without files of its own sees.
func (r *runner) plainTree() (*tree, error) {
	t := newTree(&r.disk)
	for _, m := range r.set.Mounts {
		if err := t.show(m); err != nil {
			return nil, fmt.Errorf("mount %s: %w", m.Guest, cause(err))
		}
	}
	t.at("/tmp").mount = &mount{write: true, lazy: r.scratch}
	return t, nil
}

// scratch makes /tmp of the task at hand.
func (r *runner) scratch() (*os.Root, error) {
	host := filepath.Join(taskDir(r.set.Dir, r.id), "tmp")
	if err := os.MkdirAll(host, 0o700); err != nil {
		return nil, err
	}
	return os.OpenRoot(host)
}

// run runs one task to its end.
func (r *runner) run(t *taskOrder, in *inlet) *outcome {
	r.reset(t, in)
	start, cpu := time.Now(), threadCPU()
	o := &outcome{ID: t.ID, Exit: -1}
	plain := r.files.tree
	if err := r.furnish(t); err != nil {
		o.End, o.Message = engine.Broken, clip(err.Error())
	} else {
		o.End, o.Exit, o.Message = r.end(r.call(t))
	}
	r.tidy(plain)
	var errOut, errErr error
	o.Stdout, errOut = r.stdout.result()
	o.Stderr, errErr = r.stderr.result()
	if err := errors.Join(errOut, errErr); err != nil {
		o.End, o.Exit, o.Message = engine.Broken, -1, clip("output cannot be kept: "+cause(err).Error())
	}
	o.CPU, o.Wall, o.Memory, o.Work = int64(threadCPU()-cpu), int64(time.Since(start)), int64(r.mem.peak), r.work
	if len(r.points) > 0 && o.End != engine.Broken {
		r.fill(meter.State{}, len(r.points)) // of a program that did not even begin
		o.States = bytes.Clone(r.states)
	}
	return o
}

func (r *runner) reset(t *taskOrder, in *inlet) {
	r.stdin.from = in
	r.stdout.Reset()
	r.stderr.Reset()
	r.id, r.streaming = t.ID, t.Stream
	r.outputLeft, r.disk = r.set.Limits.Output, quota{left: r.set.Limits.Disk}
	r.stopped, r.why, r.clock, r.random, r.work, r.deep = "", "", 0, nil, 0, false
	r.mem.peak, r.mem.refused, r.files.fault = 0, false, nil
	r.aim(t)
	r.index = ""
	for _, e := range t.Env {
		if v, ok := strings.CutPrefix(e, "HPIPS_INDEX="); ok {
			r.index = v
		}
	}
	if r.index == "" {
		r.index = strconv.FormatUint(t.ID, 10)
	}
}

// furnish gives the task its own files, if it has any.
func (r *runner) furnish(t *taskOrder) error {
	if t.Stdin != "" {
		if err := r.stdin.open(t.Stdin); err != nil {
			return fmt.Errorf("standard input: %w", cause(err))
		}
	}
	if len(t.Mounts) == 0 && len(t.Outputs) == 0 {
		return nil
	}
	own, err := r.plainTree()
	if err != nil {
		return err
	}
	r.files.tree = own
	for _, m := range t.Mounts {
		if err := own.show(m); err != nil {
			return fmt.Errorf("mount %s: %w", m.Guest, cause(err))
		}
	}
	for i, guest := range t.Outputs {
		host := outputDir(r.set.Dir, t.ID, i)
		if err := os.MkdirAll(host, 0o700); err != nil {
			return fmt.Errorf("output %s: %w", guest, cause(err))
		}
		if err := own.lend(guest, host); err != nil {
			return fmt.Errorf("output %s: %w", guest, cause(err))
		}
	}
	return nil
}

// tidy takes the task's own files away again, and what it left in /tmp.
func (r *runner) tidy(plain *tree) {
	r.stdin.close()
	if own := r.files.tree; own != plain {
		own.sweep(r.set.Dir, r.id)
		own.close()
		r.files.tree = plain
		return
	}
	plain.sweep(r.set.Dir, r.id)
	plain.open = 0
}

// sweep empties /tmp if the task used it.
func (t *tree) sweep(dir string, id uint64) {
	tmp := t.at("/tmp").mount
	if tmp.root == nil {
		return
	}
	tmp.root.Close()
	tmp.root = nil
	os.RemoveAll(filepath.Join(taskDir(dir, id), "tmp"))
	os.Remove(taskDir(dir, id)) // if nothing else is there
}

// call makes an instance, runs _start, and closes it. A panic of the engine is the task's end, not the child's.
func (r *runner) call(t *taskOrder) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("engine panic: %v", p)
		}
	}()
	mod, err := r.rt.InstantiateModule(r.ctx, r.code, r.config(t))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, mod.Close(r.ctx)) }()
	return r.start(mod)
}

// start runs the program with its counts set, and reads them when it has ended, in whatever way.
func (r *runner) start(mod api.Module) error {
	left, ok := mod.ExportedGlobal(meter.Left).(api.MutableGlobal)
	if !ok {
		return errors.New("the module is not metered")
	}
	if !r.seen {
		r.seen, r.recurs = true, mod.ExportedGlobal(meter.Room) != nil
	}
	var room api.MutableGlobal
	if r.recurs {
		room = mod.ExportedGlobal(meter.Room).(api.MutableGlobal)
		room.Set(meter.Depth)
	}
	left.Set(uint64(r.most))
	defer func() {
		r.work = max(0, r.most-int64(left.Get()))
		r.deep = room != nil && int64(room.Get()) < 0
		r.note(mod)
	}()
	if r.first {
		if _, err := mod.ExportedFunction(meter.Start).Call(r.ctx); err != nil {
			return err
		}
	}
	_, err := mod.ExportedFunction("_start").Call(r.ctx)
	return err
}

// config adds arguments and environment. Names are unique, the last value wins, and the order is that of first mention: wazero shares
// the memory of an environment between configurations, so that each task's is built from none.
func (r *runner) config(t *taskOrder) wazero.ModuleConfig {
	args := make([]string, 0, 1+len(r.set.Args)+len(t.Args))
	args = append(append(append(args, "program"), r.set.Args...), t.Args...)
	c := r.base.WithArgs(args...)
	type pair struct{ k, v string }
	env := make([]pair, 0, len(r.env)+len(t.Env))
	for _, list := range [2][]string{r.env, t.Env} {
		for _, e := range list {
			k, v, _ := strings.Cut(e, "=")
			if i := slices.IndexFunc(env, func(p pair) bool { return p.k == k }); i >= 0 {
				env[i].v = v
			} else if k != "" {
				env = append(env, pair{k, v})
			}
		}
	}
	for _, p := range env {
		c = c.WithEnv(p.k, p.v)
	}
	return c
}

// stop ends the program from inside a host call: wazero unwinds on an ExitError.
func (r *runner) stop(end engine.End, why string) {
	if r.stopped == "" {
		r.stopped, r.why = end, why
	}
	panic(wsys.NewExitError(1))
}

// engineOverflow is what wazero says when its own stack ends. Where that is differs from engine to engine, so that it is no result.
const engineOverflow = "wasm error: stack overflow"

// end says how the call ended.
func (r *runner) end(err error) (engine.End, int, string) {
	limits := r.set.Limits
	var exit *wsys.ExitError
	code := 0
	switch {
	case r.stopped == engine.Broken:
		return engine.Broken, -1, clip(r.why)
	case r.files.fault != nil:
		return engine.Broken, -1, clip("this machine's disk failed the task: " + r.files.fault.Error())
	case err != nil && strings.Contains(err.Error(), engineOverflow):
		return engine.Broken, -1, "the stack of this machine's engine ended before the program's"
	case r.work > r.limit:
		return engine.WorkFull, -1, limits.Excess(engine.WorkFull)
	case r.stopped == engine.OutputFull:
		return engine.OutputFull, -1, limits.Excess(engine.OutputFull)
	case r.stopped != "":
		return r.stopped, -1, clip(r.why)
	case r.deep:
		return engine.Trapped, -1, "the program trapped: stack overflow"
	case errors.As(err, &exit):
		code = int(int32(exit.ExitCode()))
		err = nil
	}
	failed := err != nil || code != 0
	switch {
	case failed && r.mem.refused:
		return engine.MemoryFull, -1, limits.Excess(engine.MemoryFull)
	case failed && r.disk.refused:
		return engine.DiskFull, -1, limits.Excess(engine.DiskFull)
	case err != nil:
		return engine.Trapped, -1, trap(err)
	case code != 0:
		return engine.Exited, code, fmt.Sprintf("the program ended with exit code %d", code)
	}
	return engine.Exited, 0, ""
}

// trap cuts the engine's message to the line that names the trap.
func trap(err error) string {
	s, _, _ := strings.Cut(err.Error(), "\n")
	s = strings.TrimPrefix(s, "wasm error: ")
	s = strings.TrimSuffix(s, " (recovered by wazero)")
	return clip("the program trapped: " + s)
}

// clip makes s fit for a message: short, and valid UTF-8.
func clip(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) > maxText/2 {
		return strings.ToValidUTF8(s[:maxText/2], "")
	}
	return s
}

// wall is the wall clock: it starts at epoch and moves with each look and each sleep.
func (r *runner) wall() (int64, int32) {
	now := epoch + r.nano()
	return now / 1e9, int32(now % 1e9)
}

func (r *runner) nano() int64 {
	r.clock = min(r.clock+tick, lastTick)
	return r.clock
}

// lastTick is where the clock stops: 73 years on, so that no sum of it overflows.
const lastTick = 1 << 61

// sleep returns at once and moves the clock.
func (r *runner) sleep(ns int64) { r.clock = min(r.clock+min(max(ns, 0), lastTick), lastTick) }

// read gives random bytes: ChaCha8 keyed by the lease's seed and the task's index, so that every attempt on every machine reads the same.
func (r *runner) read(p []byte) (int, error) {
	if r.random == nil {
		h := sha256.New()
		io.WriteString(h, "hpips/random/1\x00")
		h.Write(r.set.Seed[:])
		io.WriteString(h, r.index)
		r.random = rand.NewChaCha8([32]byte(h.Sum(nil)))
	}
	return r.random.Read(p)
}

type reader func([]byte) (int, error)

func (f reader) Read(p []byte) (int, error) { return f(p) }

// spill opens the file that a long standard output goes to.
func (r *runner) spill() (io.WriteCloser, error) {
	if err := os.MkdirAll(taskDir(r.set.Dir, r.id), 0o700); err != nil {
		return nil, err
	}
	return os.OpenFile(stdoutFile(r.set.Dir, r.id), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

// Where a task's files lie in Program.Dir. Node and child each work it out, so that no path ever comes from the child.
func taskDir(dir string, id uint64) string {
	return filepath.Join(dir, "tasks", strconv.FormatUint(id, 10))
}
func stdoutFile(dir string, id uint64) string { return filepath.Join(taskDir(dir, id), "stdout") }
func outputDir(dir string, id uint64, i int) string {
	return filepath.Join(taskDir(dir, id), "out"+strconv.Itoa(i))
}
