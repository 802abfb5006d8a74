//go:build linux

package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"

	contract "github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/enginetest"
	"github.com/hpips/hpips/engine/execution"
	"github.com/hpips/hpips/engine/wasm"
)

// kernels are those of spec/meter/testdata/kernels.c that say what an engine costs, each with a size and how often it is run, so that it takes a third of a second natively.
var kernels = []struct{ name, size, times string }{
	{"sha256", "12000", "60"}, {"sieve", "6", "30"}, {"collatz", "50000", "40"}, {"nbody", "40000", "60"}, {"mandel", "150", "20"}, {"matmul", "4", "100"}, {"matf32", "4", "200"}, {"series", "200000", "30"}, {"icall", "4000000", "30"},
}

// folding has wasm-opt put what is added to addresses into loads and stores, for which the engine looks at the bounds once where it looked for each: the linker leaves the first kilobyte of memory
// empty, so that no address below it is ever meant.
var folding = []string{"-O3", "--low-memory-unused", "--enable-simd", "--enable-bulk-memory", "--enable-sign-ext", "--enable-mutable-globals", "--enable-nontrapping-float-to-int"}

// Erin has programs in C. What they cost as WASI programs in a sandbox, metered as they are there, stands beside what they cost natively, by processor time, in turns in one
// run; both must print the same. Both are built by one compiler as well as it can for any PC: natively vectors have the 128 bits that every x86-64 and ARM64 has, as in WASM. Beside them stands
// the same module as it was before it was metered.
func TestKernels(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join("testdata", "kernels_main.c")
	native := filepath.Join(dir, "native")
	command(t, "clang", "-O3", "-Wno-unknown-attributes", "-Wno-ignored-attributes", "-o", native, source, "-lm")
	e, err := wasm.New(slog.New(slog.NewTextHandler(t.Output(), nil)), wasm.Config{Command: []string{program(t), "wasm-child"}, Cache: filepath.Join(dir, "cache")})
	must(t, err)
	forms := map[string][]string{"simd": {"-msimd128"}, "plain": nil}
	boxes, bare := map[string]contract.Sandbox{}, map[string]*unmetered{}
	for form, flags := range forms {
		module := filepath.Join(dir, form+".wasm")
		command(t, "clang", append([]string{"--target=wasm32-wasi", "-O3", "-o", module, source}, flags...)...)
		command(t, "wasm-opt", append(slices.Clone(folding), "-o", module, module)...)
		key, err := execution.Key(module)
		must(t, err)
		work := filepath.Join(dir, form)
		must(t, os.Mkdir(work, 0o700))
		s, err := e.Open(t.Context(), contract.Program{Lease: form, Module: module, Key: key, Dir: work})
		must(t, err)
		defer s.Close()
		boxes[form], bare[form] = s, newUnmetered(t, module)
	}
	id, logs := uint64(0), map[string]float64{}
	for _, k := range kernels {
		ratios := map[string][]float64{}
		for range either(1, 3) {
			alone := exec.CommandContext(t.Context(), native, k.name, k.size, k.times)
			want := finish(t, alone)
			own := (alone.ProcessState.UserTime() + alone.ProcessState.SystemTime()).Seconds()
			for form, s := range boxes {
				id++
				l := enginetest.NewLedger()
				must(t, s.Run(t.Context(), []contract.Task{{ID: id, Args: []string{k.name, k.size, k.times}}}, l))
				o := l.Of[id]
				if got := strings.TrimSpace(string(o.Stdout.Inline)); o.End != contract.Exited || o.Exit != 0 || got != want {
					t.Fatalf("%s, %s: %s %d %s, %s and natively %s", k.name, form, o.End, o.Exit, o.Message, got, want)
				}
				ratios[form] = append(ratios[form], o.Usage.CPU.Seconds()/max(own, 0.001))
				took, printed := bare[form].run(t, k.name, k.size, k.times)
				if printed != want {
					t.Fatalf("%s, %s, not metered: %s and natively %s", k.name, form, printed, want)
				}
				ratios[form+"-unmetered"] = append(ratios[form+"-unmetered"], took/max(own, 0.001))
			}
		}
		for form := range ratios {
			logs[form] += math.Log(median(ratios[form])) / float64(len(kernels))
			figure(t, fmt.Sprintf("kernel-%s-%s", k.name, form), median(ratios[form]), "times native")
		}
	}
	for form := range logs {
		figure(t, "kernels-"+form, math.Exp(logs[form]), "times native, geometric mean")
	}
	if most := math.Exp(logs["simd"]); *full && most > 2.2 {
		t.Errorf("with SIMD the kernels take %.3f times native, 2.2 at most are required; the machine's load is %s", most, load(t))
	}
}

// unmetered is a module on the engine's compiler, as it came.
type unmetered struct {
	rt   wazero.Runtime
	code wazero.CompiledModule
}

func newUnmetered(t *testing.T, module string) *unmetered {
	t.Helper()
	b, err := os.ReadFile(module)
	must(t, err)
	rt := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfigCompiler())
	t.Cleanup(func() { rt.Close(context.Background()) })
	wasi_snapshot_preview1.MustInstantiate(t.Context(), rt)
	code, err := rt.CompileModule(t.Context(), b)
	must(t, err)
	return &unmetered{rt, code}
}

// run gives the processor time of one execution in seconds, and what it printed.
func (u *unmetered) run(t *testing.T, args ...string) (float64, string) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var out strings.Builder
	before := threadTime()
	m, err := u.rt.InstantiateModule(t.Context(), u.code, wazero.NewModuleConfig().WithName("").WithStdout(&out).WithArgs(append([]string{"kernels"}, args...)...))
	took := (threadTime() - before).Seconds()
	if exit := new(sys.ExitError); errors.As(err, &exit) && exit.ExitCode() == 0 {
		return took, strings.TrimSpace(out.String())
	}
	must(t, err)
	must(t, m.Close(t.Context()))
	return took, strings.TrimSpace(out.String())
}
