package meter_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	_ "unsafe" // for go:linkname

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"

	"github.com/hpips/hpips/spec/meter"
	"github.com/hpips/hpips/spec/meter/metertest"
)

// callStackCeiling is after how many calls wazero's interpreter gives up: 2000. It is raised, so that programs end where they are metered to end.
//
//go:linkname callStackCeiling github.com/tetratelabs/wazero/internal/engine/interpreter.callStackCeiling
var callStackCeiling int

var modules = flag.Uint64("modules", 20, "of the generator; all that are asked for are 1,000")

func TestMain(m *testing.M) {
	callStackCeiling = 1 << 30
	if n, err := strconv.ParseUint(os.Getenv("METER_TELL"), 10, 64); err == nil {
		*modules = n
		os.Exit(tell())
	}
	os.Exit(m.Run())
}

// runtimes are wazero's two engines.
func runtimes(ctx context.Context) map[string]wazero.Runtime {
	out := map[string]wazero.Runtime{}
	for name, cfg := range map[string]wazero.RuntimeConfig{"compiler": wazero.NewRuntimeConfigCompiler(), "interpreter": wazero.NewRuntimeConfigInterpreter()} {
		out[name] = wazero.NewRuntimeWithConfig(ctx, cfg.WithCoreFeatures(api.CoreFeaturesV2))
		wasi_snapshot_preview1.MustInstantiate(ctx, out[name])
	}
	return out
}

// told is what a run of a program gives.
type told struct {
	out  string
	end  string
	left int64
	room int64
	sum  [32]byte // of its state at the end
}

// run runs a metered program with a limit.
func run(ctx context.Context, rt wazero.Runtime, module []byte, limit int64, args ...string) (t told) {
	t.out, t.end = begin(ctx, rt, module, limit, args, func(mod api.Module, left int64) {
		t.left, t.room = left, spareRoom(mod)
		t.sum = state(mod, limit-left, left < 0).Sum()
	})
	return t
}

// runWatched runs the watched form with a limit, and gives its states at points, which ascend, from the one execution.
func runWatched(ctx context.Context, rt wazero.Runtime, module []byte, limit int64, points []int64, args ...string) (t told, states [][32]byte) {
	w := &watcher{limit: limit, points: points}
	w.allow()
	t.out, t.end = begin(experimental.WithFunctionListenerFactory(ctx, w), rt, module, w.most, args, func(mod api.Module, left int64) {
		count := w.most - left
		t.left, t.room = limit-count, spareRoom(mod)
		t.sum = state(mod, count, t.left < 0).Sum()
		for _, point := range w.points[len(w.states):] {
			w.states = append(w.states, state(mod, count, count > point).Sum())
		}
	})
	return t, w.states
}

// watcher is a host that takes down states on the way.
type watcher struct {
	limit, most int64
	points      []int64
	states      [][32]byte
}

// allow sets how far the program may come before it is looked at again.
func (w *watcher) allow() {
	if w.most = w.limit; len(w.states) < len(w.points) {
		w.most = min(w.most, w.points[len(w.states)])
	}
}

// NewFunctionListener wants to be told of one function.
func (w *watcher) NewFunctionListener(f api.FunctionDefinition) experimental.FunctionListener {
	if slices.Contains(f.ExportNames(), meter.Passed) {
		return w
	}
	return nil
}

// Before takes down the state at the points that were passed.
func (w *watcher) Before(_ context.Context, mod api.Module, _ api.FunctionDefinition, _ []uint64, _ experimental.StackIterator) {
	left := mod.ExportedGlobal(meter.Left).(api.MutableGlobal)
	count := w.most - int64(left.Get())
	for len(w.states) < len(w.points) && w.points[len(w.states)] < count {
		w.states = append(w.states, state(mod, count, true).Sum())
	}
	w.allow()
	left.Set(uint64(w.most - count))
}

func (w *watcher) After(context.Context, api.Module, api.FunctionDefinition, []uint64) {}

func (w *watcher) Abort(context.Context, api.Module, api.FunctionDefinition, error) {}

// begin runs a metered program with a limit, and has it looked at when it has ended.
func begin(ctx context.Context, rt wazero.Runtime, module []byte, limit int64, args []string, look func(mod api.Module, left int64)) (said, end string) {
	var out bytes.Buffer
	code, err := rt.CompileModule(ctx, module)
	if err != nil {
		return "", "compile: " + err.Error()
	}
	defer code.Close(ctx)
	mod, err := rt.InstantiateModule(ctx, code, wazero.NewModuleConfig().WithName("").WithStartFunctions().WithStdout(&out).WithArgs(args...))
	if err != nil {
		return "", "instantiate: " + line(err)
	}
	defer mod.Close(ctx)
	left := supply(mod, limit)
	if left != nil {
		if start := mod.ExportedFunction(meter.Start); start != nil {
			if _, err := start.Call(ctx); err != nil {
				return "", "start: " + line(err)
			}
		}
	}
	_, err = mod.ExportedFunction("_start").Call(ctx)
	var exit *sys.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 0 {
		err = nil
	}
	if left != nil {
		look(mod, int64(left.Get()))
	}
	return out.String(), line(err)
}

// state is what a program has come to that has ended, or was stopped.
func state(mod api.Module, count int64, passed bool) meter.State {
	s := meter.State{Count: uint64(count), Passed: passed}
	if memory := mod.Memory(); memory != nil {
		s.Memory, _ = memory.Read(0, memory.Size())
	}
	inside := mod.(experimental.InternalModule)
	left := inside.NumGlobal() - 1
	if mod.ExportedGlobal(meter.Room) != nil {
		left--
	}
	for i := range inside.NumGlobal() {
		if g := inside.Global(i); i != left {
			s.Globals = append(s.Globals, meter.Global{Type: g.Type(), Bits: g.Get()})
		}
	}
	return s
}

// somewhere are points within an execution and one behind it, drawn by the name of its program; the second is looked at on every engine and in both processes.
func somewhere(name string, of told) []int64 {
	sum, work := sha256.Sum256([]byte(name)), limit-of.left
	points := []int64{0}
	for i := range 3 {
		points = append(points, int64(binary.BigEndian.Uint64(sum[8*i:])%uint64(work+1)))
	}
	slices.Sort(points)
	return append(slices.Compact(points), work+1)
}

// supply sets the counts of a module, and gives the one of work; nil if it is not metered.
func supply(m api.Module, limit int64) api.MutableGlobal {
	left, ok := m.ExportedGlobal(meter.Left).(api.MutableGlobal)
	if !ok {
		return nil
	}
	left.Set(uint64(limit))
	if room, ok := m.ExportedGlobal(meter.Room).(api.MutableGlobal); ok {
		room.Set(meter.Depth)
	}
	return left
}

// spareRoom is how much is left for calls.
func spareRoom(m api.Module) int64 {
	if g := m.ExportedGlobal(meter.Room); g != nil {
		return int64(g.Get())
	}
	return meter.Depth
}

func line(err error) string {
	if err == nil {
		return ""
	}
	s, _, _ := strings.Cut(err.Error(), "\n")
	return s
}

// brief tells a run in one line.
func (t told) brief() string {
	return fmt.Sprintf("%x %d bytes %q left %d room %d state %x", sha256.Sum256([]byte(t.out)), len(t.out), t.end, t.left, t.room, t.sum)
}

// limit is more than what is drawn takes, and ends the examples, which the interpreter would take hours for.
const limit = 10_000_000

// cast gives the modules of the test: those of the generator, and the examples that are built.
func cast(each func(name string, module []byte, args []string)) {
	for seed := range *modules {
		kind := metertest.Mixed
		switch seed % 20 {
		case 7, 13:
			kind = metertest.Whole
		case 19:
			if seed%40 == 19 {
				kind = metertest.Deep
			}
		}
		each(fmt.Sprintf("seed %d", seed), metertest.Program(seed, kind), nil)
	}
	built, _ := filepath.Glob("../../examples/*/*.wasm")
	for _, path := range built {
		module, err := os.ReadFile(path)
		if err == nil {
			each(filepath.Base(path), module, []string{"program"})
		}
	}
}

// tell prints what each module gives in this process, on wazero's compiler.
func tell() int {
	ctx := context.Background()
	rt := runtimes(ctx)["compiler"]
	cast(func(name string, module []byte, args []string) {
		metered, err1 := meter.Rewrite(module)
		watched, err2 := meter.RewriteWatched(module)
		if err := errors.Join(err1, err2); err != nil {
			fmt.Println(name, err)
			return
		}
		whole := run(ctx, rt, metered, limit, args...)
		_, states := runWatched(ctx, rt, watched, limit, somewhere(name, whole), args...)
		fmt.Printf("%s %s %x\n", name, whole.brief(), states)
	})
	return 0
}

// TestAlike runs modules on two engines and in two processes: each must give the same bytes, the same end, the same count and the same states at points,
// in one execution that is watched as in one for each point that ends there.
func TestAlike(t *testing.T) {
	said := elsewhere(t)
	ctx := context.Background()
	engines := runtimes(ctx)
	n, stopped, ends := 0, 0, map[string]int{}
	cast(func(name string, module []byte, args []string) {
		metered, err1 := meter.Rewrite(module)
		watched, err2 := meter.RewriteWatched(module)
		if err := errors.Join(err1, err2); err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		whole := run(ctx, engines["compiler"], metered, limit, args...)
		points := somewhere(name, whole)
		var first [][32]byte
		for _, engine := range []string{"compiler", "interpreter"} {
			if engine == "interpreter" {
				if b := run(ctx, engines[engine], metered, limit, args...); b != whole {
					t.Errorf("%s: compiler %s\ninterpreter %s", name, whole.brief(), b.brief())
				}
			}
			b, states := runWatched(ctx, engines[engine], watched, limit, points, args...)
			if b != whole {
				t.Errorf("%s: compiler %s\n%s, watched, %s", name, whole.brief(), engine, b.brief())
			}
			if first == nil {
				first = states
			}
			if !slices.Equal(first, states) {
				t.Errorf("%s: %s gives other states: %x, not %x", name, engine, states, first)
			}
		}
		for i, point := range points {
			if engine := []string{"compiler", "interpreter"}[(n+i)%2]; i < len(points)-1 {
				alone := run(ctx, engines[engine], metered, point, args...)
				if alone.sum != first[i] {
					t.Errorf("%s: %s, stopped at %d, has another state than what went on", name, engine, point)
				}
				if alone.left < 0 {
					stopped++
				}
			}
		}
		if n >= len(said) || said[n] != fmt.Sprintf("%s %s %x", name, whole.brief(), first) {
			t.Errorf("%s: another process gives other bytes, another count or another state", name)
		}
		n++
		ends[whole.end]++
	})
	if n != len(said) || uint64(n) < *modules {
		t.Errorf("%d modules here, %d there, %d wanted", n, len(said), *modules)
	}
	if stopped < 2*n {
		t.Errorf("%d states of %d modules are of one that was stopped", stopped, n)
	}
	t.Logf("%d modules alike, and %d states where they were stopped; they ended with %v", n, stopped, ends)
}

// elsewhere has another process tell what each module gives.
func elsewhere(t *testing.T) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	other := exec.Command(self)
	other.Env = append(os.Environ(), fmt.Sprintf("METER_TELL=%d", *modules))
	out, err := other.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}
