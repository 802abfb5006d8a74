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

// full runs all 1,000 modules; without it there are 150.
var full = flag.Bool("full", false, "run all modules")

func amount() uint64 {
	if *full {
		return 1000
	}
	return 150
}

func TestMain(m *testing.M) {
	callStackCeiling = 1 << 30
	if os.Getenv("METER_TELL") != "" {
		*full = os.Getenv("METER_TELL") == "full"
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
func run(ctx context.Context, rt wazero.Runtime, module []byte, limit int64, args ...string) told {
	var out bytes.Buffer
	code, err := rt.CompileModule(ctx, module)
	if err != nil {
		return told{end: "compile: " + err.Error()}
	}
	defer code.Close(ctx)
	mod, err := rt.InstantiateModule(ctx, code, wazero.NewModuleConfig().WithName("").WithStartFunctions().WithStdout(&out).WithArgs(args...))
	if err != nil {
		return told{end: "instantiate: " + line(err)}
	}
	defer mod.Close(ctx)
	left := supply(mod, limit)
	if left != nil {
		if start := mod.ExportedFunction(meter.Start); start != nil {
			if _, err := start.Call(ctx); err != nil {
				return told{end: "start: " + line(err)}
			}
		}
	}
	_, err = mod.ExportedFunction("_start").Call(ctx)
	var exit *sys.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 0 {
		err = nil
	}
	t := told{out: out.String(), end: line(err)}
	if left != nil {
		t.left, t.room = int64(left.Get()), spareRoom(mod)
		t.sum = state(mod, limit-t.left, t.left < 0).Sum()
	}
	return t
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

// somewhere is a point within an execution, drawn by the name of its program.
func somewhere(name string, of told) int64 {
	sum := sha256.Sum256([]byte(name))
	return int64(binary.BigEndian.Uint64(sum[:]) % uint64(limit-of.left+1))
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
	for seed := range amount() {
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
		metered, err := meter.Rewrite(module)
		if err != nil {
			fmt.Println(name, err)
			return
		}
		whole := run(ctx, rt, metered, limit, args...)
		fmt.Println(name, whole.brief(), run(ctx, rt, metered, somewhere(name, whole), args...).brief())
	})
	return 0
}

// TestAlike runs modules on two engines and in two processes, to their end and up to a point: each must give the same bytes, the same end, the same count and the
// same state.
func TestAlike(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	other := exec.Command(self)
	other.Env = append(os.Environ(), "METER_TELL=some")
	if *full {
		other.Env = append(os.Environ(), "METER_TELL=full")
	}
	second, err := other.Output()
	if err != nil {
		t.Fatal(err)
	}
	said := strings.Split(strings.TrimSpace(string(second)), "\n")
	ctx := context.Background()
	engines := runtimes(ctx)
	n, stopped, ends := 0, 0, map[string]int{}
	cast(func(name string, module []byte, args []string) {
		metered, err := meter.Rewrite(module)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		a, b := run(ctx, engines["compiler"], metered, limit, args...), run(ctx, engines["interpreter"], metered, limit, args...)
		if a != b {
			t.Errorf("%s: compiler %s\ninterpreter %s", name, a.brief(), b.brief())
		}
		point := somewhere(name, a)
		c, d := run(ctx, engines["compiler"], metered, point, args...), run(ctx, engines["interpreter"], metered, point, args...)
		if c != d {
			t.Errorf("%s up to %d: compiler %s\ninterpreter %s", name, point, c.brief(), d.brief())
		}
		if c.sum == a.sum && c.left != a.left-limit+point {
			t.Errorf("%s: the state at %d is that at the end", name, point)
		}
		if n >= len(said) || said[n] != name+" "+a.brief()+" "+c.brief() {
			t.Errorf("%s: another process gives other bytes, another count or another state", name)
		}
		if c.left < 0 {
			stopped++
		}
		n++
		ends[a.end]++
	})
	if n != len(said) || uint64(n) < amount() {
		t.Errorf("%d modules here, %d there, %d wanted", n, len(said), amount())
	}
	if stopped < n/2 {
		t.Errorf("%d of %d were stopped at a point", stopped, n)
	}
	t.Logf("%d modules alike, %d of them at a point; they ended with %v", n, stopped, ends)
}
